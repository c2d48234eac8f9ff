//! Bugs that can be switched on to prove that the simulator finds them. Without the feature `planted` none can.

/// A bug that the simulator must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The checkpoint is saved before the data that it covers.
    CheckpointFirst,
    /// A retried update is applied again, over what is newer.
    NoDedupe,
    /// An acknowledgement marks an edit as sent that was made after the page.
    AckClearsNewer,
    /// A pull overwrites an edit that was not sent.
    PullOverwrites,
    /// The record and its change are not written in one transaction.
    NotAtomic,
    /// Two equal increments count as one.
    EqualIncrements,
    /// The base is the oldest state that was kept, from before the first edit, instead of the one that was sent.
    FirstBase,
    /// One base, the newest that was kept, serves for every peer.
    OneBase,
    /// A patch is applied although its base is merely an ancestor of what is here.
    LoosePatch,
    /// `last_write` goes by the stamp of the record.
    RecordStamp,
    /// A resolution overwrites a version that came after the conflict was read.
    BlindResolution,
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Switches a bug on, or all off, for this thread.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.with(|planted| planted.set(bug));
}

/// Whether this bug is on in this thread.
#[cfg(feature = "planted")]
pub fn on(bug: Bug) -> bool {
    PLANTED.with(|planted| planted.get() == Some(bug))
}

/// Whether this bug is on in this thread: never, without the feature `planted`.
#[cfg(not(feature = "planted"))]
pub(crate) const fn on(_: Bug) -> bool {
    false
}
