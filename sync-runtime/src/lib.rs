//! Offline-first data for Rust: annotate a struct, and its records are tracked, replicated, synced both ways,
//! with conflicts as typed values, over any storage.
//!
//! A user depends on this crate and on one store. The derive is re-exported here.

#![forbid(unsafe_code)]

// Code that the derive and the attribute generate names this crate; so it works in here too.
extern crate self as sync_runtime;

mod account;
pub mod adoption;
mod caller;
pub mod change;
pub mod codec;
pub mod collection;
pub mod conflict;
mod derived;
pub mod engine;
pub mod env;
pub mod error;
mod finite;
pub mod incoming;
pub mod live;
pub mod merge;
pub mod methods;
pub mod migration;
#[doc(hidden)]
pub mod planted;
pub mod query;
pub mod record;
mod rectify;
pub mod replica;
pub mod report;
pub mod schema;
pub mod status;
pub mod store;
mod subscription;
pub mod syncable;
pub mod value;
pub mod version;
pub mod watch;
pub mod workspace;

pub use adoption::{Adopt, Adopted};
pub use caller::{Attempt, Caller, Guard, Right};
pub use collection::Collection;
pub use conflict::{Conflict, ConflictKind};
pub use engine::Engine;
pub use engine::accounts::Account;
pub use engine::session::Progress;
#[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
pub use env::SystemEnv;
pub use env::{BoxFuture, Env};
pub use error::{Error, ErrorKind, Result};
pub use incoming::{Incoming, Ruling};
pub use live::{Connection, KeepInSync, Live, LiveState};
pub use merge::{Merge, OnDelete, Side, SyncFields};
pub use methods::{ModelFuture, Replicate, replicate_all};
pub use query::{Condition, Query};
pub use record::{Id, Record};
pub use replica::{Limits, Replica};
pub use report::{Checkpoints, Merged, MergedField, Rejected, ReplicationReport, SyncReport};
pub use schema::{FieldSchema, ForeignKey, ModelSchema, Models, ScopeRule};
pub use subscription::Subscription;
pub use syncable::{Field, FieldValue, Syncable};
pub use value::{FieldType, Value, ValueError};
pub use version::{Ancestry, Checkpoint, NotARevision, ReplicaId, Revision, Stamp};

pub use migration::Migration;
pub use status::{PendingChange, Status, Statuses, WatchConflicts, WatchStatus};
pub use watch::{Event, Watch};
pub use workspace::{AsReplica, Workspace, WorkspaceBuilder, WorkspaceTransaction};

pub use sync_derive::{SyncFields, Syncable};

/// The attribute for implementing [`store::Store`], [`store::Transaction`] and [`replica::Replica`]: that of the
/// `async-trait` crate, with `Send` futures except on wasm32.
pub use sync_derive::async_trait;

/// What most apps import.
pub mod prelude {
    pub use crate::merge::SyncFields;
    pub use crate::query::Query;
    pub use crate::syncable::{Field, Syncable};
    pub use sync_derive::{SyncFields, Syncable};
}

/// What generated code names; not for people.
#[doc(hidden)]
pub mod __private {
    pub use crate::change::Change;
    pub use crate::derived::*;
    pub use crate::error::Result;
    pub use crate::merge::{
        ListField, Merge, NestedField, NestedOrdered, NestedSum, OnDelete, OrderedField, SumField,
        SyncFields, TextField, UnionField, merged_by, nested_fields,
    };
    pub use crate::methods::{ModelFuture, Replicate};
    pub use crate::record::Record;
    pub use crate::schema::{FieldSchema, ModelSchema, ScopeRule};
    pub use crate::syncable::{Field, FieldValue, Syncable};
    pub use crate::value::ValueError;
    pub use crate::version::Checkpoint;
    pub use crate::workspace::{AsReplica, Workspace};
    pub use crate::{__model_fields as fields, __model_methods as methods};
    pub use ::async_trait::async_trait;
    pub use ::core;
    pub use ::core::primitive::{bool, str, u64, usize};
    pub use ::std::option::Option::{self, None, Some};
    pub use ::std::string::String;
    pub use ::std::vec::Vec;
    pub use ::uuid::Uuid;
}
