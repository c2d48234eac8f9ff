//! The commands; one file for each kind.

pub(crate) mod conflicts;
pub(crate) mod edit;
pub(crate) mod files;
pub(crate) mod list;
pub(crate) mod refused;
pub(crate) mod serve;
pub(crate) mod sync;
