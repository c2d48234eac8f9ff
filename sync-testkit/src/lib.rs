//! What a new store or replica is proven with: suites to run on it, and stores and replicas that fail on purpose.
//!
//! [`store_conformance!`] runs the conformance suite on a store, [`replica_pairs!`] the replica-pair suite on two
//! kinds of replicas. [`FaultStore`] wraps a store and fails where it is told to; [`flaky::FlakyReplica`] wraps a
//! replica and loses, repeats or delays messages.
//! [`sim::simulate`] runs whole systems of replicas from a seed.

#![forbid(unsafe_code)]

pub mod conformance;
pub mod faults;
pub mod flaky;
pub mod laws;
pub mod pairs;
pub mod sim;

pub use conformance::{CASES, StoreFactory};
pub use faults::{Call, Fault, FaultStore, Faults};
pub use laws::{check_merge, check_merge_of};
