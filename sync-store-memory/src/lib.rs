//! The reference store: records, changes and everything else in memory, and with the feature `file` in a file as well.
//!
//! Without that feature it needs no files, threads or clock, and builds for wasm32.

#![forbid(unsafe_code)]

mod drive;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "file")]
mod journal;
mod state;
mod store;
mod transaction;

#[cfg(feature = "file")]
pub use journal::Cut;
pub use store::MemoryStore;
