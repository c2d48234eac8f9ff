//! Typed conflicts: values that stay in the store until somebody decides.

use crate::change::{Change, State};
use crate::engine::Engine;
use crate::engine::inbox::{Matter, Parked};
use crate::engine::keep_both::keep_both;
use crate::engine::resolve::{self, Resolution};
use crate::merge::{Combined, Side, combine};
use crate::record::difference;
use crate::store::Access;
use crate::syncable::{Field, ModelId, Syncable};
use crate::version::{ReplicaId, Revision, Stamp};
use crate::{Error, ErrorKind, Result};
use std::fmt;

/// What the two sides did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictKind {
    /// Both changed the record.
    Update,
    /// One side deleted what the other changed.
    Delete,
}

/// Two revisions of one record, neither of which knew of the other.
///
/// In a sync the source is this replica and the target is the peer; [`Conflict::swap_parties`] turns that round.
/// The record stays usable meanwhile. Every way of resolving makes one revision that descends from both, in one
/// transaction, and refuses with [`ErrorKind::Moved`] if either side changed since this conflict was read. The
/// next sync brings the result to the peer.
///
/// After LoopBack's `Conflict`.
pub struct Conflict<T: Syncable> {
    engine: Engine,
    parked: Parked,
    mine: Option<State>,
    theirs: State,
    id: T::Id,
    base: Option<T>,
    here: Option<T>,
    there: Option<T>,
    swapped: bool,
    /// Sides chosen of single fields, as this replica sees them.
    chosen: Vec<(usize, Side)>,
}

impl<T: Syncable + fmt::Debug> fmt::Debug for Conflict<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conflict")
            .field("model", &T::SCHEMA.name)
            .field("id", &self.id)
            .field("base", &self.base)
            .field("source", &self.source())
            .field("target", &self.target())
            .finish()
    }
}

impl<T: Syncable> Conflict<T> {
    /// The conflict of a parked entry; `None` if the entry is of another model or about something else.
    pub(crate) fn read(engine: &Engine, parked: &Parked, mine: Option<State>) -> Result<Option<Self>> {
        let Matter::Conflict { theirs, base, .. } = &parked.matter else {
            return Ok(None);
        };
        let Some(id) = T::Id::from_id(&parked.id).filter(|_| parked.schema.name == T::SCHEMA.name) else {
            return Ok(None);
        };
        let typed = |state: &State| state.record.clone().map(T::from_record).transpose();
        let name = || format!("reading the conflict of {} {}", parked.schema.name, parked.id);
        Ok(Some(Conflict {
            engine: engine.clone(),
            id,
            // A base of an older schema may not read any more; then there is none.
            base: base.as_ref().and_then(|base| typed(base).ok().flatten()),
            here: mine
                .as_ref()
                .map_or(Ok(None), typed)
                .map_err(|error| Error::from(error).context(name()))?,
            there: typed(theirs).map_err(|error| Error::from(error).context(name()))?,
            theirs: theirs.clone(),
            mine,
            parked: parked.clone(),
            swapped: false,
            chosen: Vec::new(),
        }))
    }

    /// The record's id.
    pub fn id(&self) -> &T::Id {
        &self.id
    }

    /// Whether one side deleted the record.
    pub fn kind(&self) -> ConflictKind {
        match self.here.is_some() && self.there.is_some() {
            true => ConflictKind::Update,
            false => ConflictKind::Delete,
        }
    }

    /// The state that both sides come from; `None` if it is not exactly known, or was no record.
    pub fn base(&self) -> Option<&T> {
        self.base.as_ref()
    }

    /// The source's version; `None` if it deleted the record.
    pub fn source(&self) -> Option<&T> {
        if self.swapped { self.there.as_ref() } else { self.here.as_ref() }
    }

    /// The target's version; `None` if it deleted the record.
    pub fn target(&self) -> Option<&T> {
        if self.swapped { self.here.as_ref() } else { self.there.as_ref() }
    }

    /// Both versions, source first. LoopBack's `models`.
    pub fn models(&self) -> (Option<&T>, Option<&T>) {
        (self.source(), self.target())
    }

    /// Both changes, source first; the source's is `None` if it never had the record. LoopBack's `changes`.
    pub fn changes(&self) -> (Option<&Change>, Option<&Change>) {
        let (mine, theirs) = (self.mine.as_ref().map(|state| &state.change), Some(&self.theirs.change));
        if self.swapped { (theirs, mine) } else { (mine, theirs) }
    }

    /// The fields in dispute, in the order of the struct: what no policy may decide. All that travel, apart from the
    /// id, if one side deleted the record; those that differ, if nothing is known of what the two come from but that
    /// they cannot stand together.
    pub fn fields(&self) -> Vec<T::Field> {
        let all = || T::SCHEMA.replicated().map(|(place, _)| place).filter(|place| !T::SCHEMA.is_key(*place));
        let places: Vec<usize> = match self.combined() {
            Some(combined) => {
                let mut disputed: Vec<usize> =
                    combined.disputed.iter().map(|dispute| dispute.place).collect();
                if disputed.is_empty() {
                    // The record fits as it was merged, and was refused as a whole.
                    disputed = self.differences();
                }
                disputed
            }
            None => all().collect(),
        };
        places.into_iter().filter_map(T::Field::from_index).collect()
    }

    /// What [`Conflict::resolve_fields`] would make of the two as things stand: what policies decide is decided, and a
    /// field in dispute is as it was chosen, or else as it is here. `None` if one side deleted the record, or if the
    /// merged values do not read as the struct.
    pub fn merged(&self) -> Option<T> {
        let mut record = self.combined()?.record?;
        for (place, side) in &self.chosen {
            let side = if *side == Side::Target { Some(&self.theirs) } else { self.mine.as_ref() };
            if let Some(value) = side.and_then(|side| side.record.as_ref()?.get(*place)) {
                record.set(*place, value.clone());
            }
        }
        T::from_record(record).ok()
    }

    /// Why the two could not be merged, where that is not just that people have to decide: a merge function failed, or
    /// the merged record was refused.
    pub fn reason(&self) -> Option<String> {
        let Matter::Conflict { reason, .. } = &self.parked.matter else { return None };
        let of_field = || {
            let disputed = self.combined()?.disputed;
            disputed.into_iter().find_map(|dispute| {
                Some(format!("{}: {}", T::SCHEMA.fields[dispute.place].name, dispute.reason?))
            })
        };
        reason.clone().or_else(of_field)
    }

    /// Who wrote the two versions and when, source first: `stamp@replica`. The source's is `None` if it never had the
    /// record.
    pub fn revisions(&self) -> (Option<Revision>, Option<Revision>) {
        let (source, target) = self.changes();
        (source.map(Change::revision), target.map(Change::revision))
    }

    /// What the policies make of the two; `None` if one side deleted the record.
    fn combined(&self) -> Option<Combined> {
        let mine = self.mine.as_ref().filter(|mine| mine.record.is_some() && self.theirs.record.is_some())?;
        Some(combine(self.parked.versions(mine, &self.theirs)))
    }

    fn differences(&self) -> Vec<usize> {
        let mine = self.mine.as_ref().and_then(|state| state.record.as_ref());
        match (mine, &self.theirs.record) {
            (Some(mine), Some(theirs)) => difference(T::SCHEMA, mine, theirs),
            _ => Vec::new(),
        }
    }

    /// The other replica.
    pub fn peer(&self) -> ReplicaId {
        self.parked.peer
    }

    /// When the conflict was noticed, in microseconds by this replica's clock.
    pub fn since(&self) -> Stamp {
        self.parked.since
    }

    /// The same conflict with source and target exchanged: a pull seen from the other side.
    pub fn swap_parties(self) -> Self {
        Conflict { swapped: !self.swapped, ..self }
    }

    /// The source's version stands, as it is now. LoopBack's `resolve`.
    ///
    /// # Errors
    /// [`ErrorKind::Moved`] if either side changed since the conflict was read.
    pub async fn resolve(self) -> Result<()> {
        self.resolve_using_source().await
    }

    /// The source's version stands, whole: what policies would have taken from the other side is left too. To keep
    /// that, choose the source for the fields in dispute with [`Conflict::resolve_field`].
    ///
    /// # Errors
    /// [`ErrorKind::Moved`] if either side changed since the conflict was read.
    #[doc(alias = "resolveUsingSource")]
    pub async fn resolve_using_source(self) -> Result<()> {
        let resolution = if self.swapped { Resolution::Theirs } else { Resolution::Mine };
        self.settle(resolution).await
    }

    /// The target's version stands, whole, as with [`Conflict::resolve_using_source`].
    ///
    /// # Errors
    /// [`ErrorKind::Moved`] if either side changed since the conflict was read.
    #[doc(alias = "resolveUsingTarget")]
    pub async fn resolve_using_target(self) -> Result<()> {
        let resolution = if self.swapped { Resolution::Mine } else { Resolution::Theirs };
        self.settle(resolution).await
    }

    /// Chooses a side for one field, in dispute or not; [`Conflict::resolve_fields`] makes it stand. The last choice for
    /// a field counts.
    ///
    /// ```
    /// # use sync_runtime::{Result, Side, Workspace, prelude::*};
    /// # #[derive(Debug, Clone, PartialEq, Syncable)]
    /// # struct Todo { #[sync(id)] id: String, title: String, notes: String }
    /// # async fn example(workspace: &Workspace) -> Result<()> {
    /// for conflict in workspace.conflicts::<Todo>().await? {
    ///     let mine = conflict.resolve_field(TodoField::Title, Side::Source);
    ///     mine.resolve_field(TodoField::Notes, Side::Target).resolve_fields().await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "a choice stands after `resolve_fields`"]
    pub fn resolve_field(mut self, field: T::Field, side: Side) -> Self {
        let side = if self.swapped { side.other() } else { side };
        self.chosen.push((field.index(), side));
        self
    }

    /// What the policies make of the two versions stands, and of each field in dispute the chosen side.
    ///
    /// # Errors
    /// [`ErrorKind::Moved`] if either side changed since the conflict was read; [`ErrorKind::Usage`] if a field in
    /// dispute was not chosen, with its name, or if one side deleted the record.
    pub async fn resolve_fields(mut self) -> Result<()> {
        let chosen = std::mem::take(&mut self.chosen);
        self.settle(Resolution::Fields(chosen)).await
    }

    /// This value stands; `None` deletes the record.
    ///
    /// # Errors
    /// [`ErrorKind::Moved`] if either side changed since the conflict was read; [`ErrorKind::InvalidValue`] or
    /// [`ErrorKind::Invalid`] if the value cannot be stored; [`ErrorKind::Usage`] if it has another id.
    #[doc(alias = "resolveManually")]
    pub async fn resolve_manually(self, value: Option<T>) -> Result<()> {
        let record = match value {
            Some(value) if value.id() != self.id => {
                let message =
                    format!("resolving {} {}: the value has another id", T::SCHEMA.name, self.parked.id);
                return Err(Error::new(ErrorKind::Usage, message));
            }
            Some(value) => {
                value.validate().map_err(|reason| Error::new(ErrorKind::Invalid, reason))?;
                Some(value.to_record()?)
            }
            None => None,
        };
        self.settle(Resolution::Value(record)).await
    }

    /// Both records stay, where two replicas each made one and gave it the same id: the peer's keeps the id, and this
    /// replica's goes on under a new one.
    ///
    /// The records here whose `parent` field, or foreign key, names the old id go along with this replica's record, as far
    /// as they were written only by replicas that wrote it; the others stay with the peer's. One that has that field in
    /// its own id is deleted and made anew, and its children go along likewise. All of it is one transaction. The fields
    /// that stay on the device go along too.
    ///
    /// ```
    /// # use sync_runtime::{Result, Workspace, prelude::*};
    /// # #[derive(Debug, Clone, PartialEq, Syncable)]
    /// # struct Album { #[sync(id)] id: i64, title: String }
    /// # async fn example(workspace: &Workspace) -> Result<()> {
    /// let albums = workspace.collection::<Album>()?;
    /// for conflict in workspace.conflicts::<Album>().await? {
    ///     let last = albums.find(Query::all().order_by_descending(AlbumField::Id).limit(1)).await?;
    ///     let free = last.first().map_or(1, |album| album.id + 1);
    ///     conflict.resolve_keeping_both(free).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Moved`] if either side changed since the conflict was read; [`ErrorKind::Exists`] if there is a record
    /// of the new id, or of one that a child would get; [`ErrorKind::Usage`] if the two may be versions of one record, or
    /// one side deleted it: then choose a side; [`ErrorKind::Constraint`] if the database refuses one of the records.
    pub async fn resolve_keeping_both(self, new_id: impl Into<T::Id>) -> Result<()> {
        let new_id = new_id.into().to_id();
        let (models, now) = (self.engine.models().clone(), self.engine.write_clock().await?);
        let mine: Option<Revision> = self.mine.as_ref().map(|state| state.change.revision());
        let parked = self.parked;
        let kept = self.engine.run(Access::WRITE.long(), move |tx| {
            Box::pin(async move { keep_both(tx, &models, &parked, mine, new_id, now).await })
        });
        kept.await
    }

    async fn settle(self, resolution: Resolution) -> Result<()> {
        let (models, now) = (self.engine.models().clone(), self.engine.write_clock().await?);
        let mine: Option<Revision> = self.mine.as_ref().map(|state| state.change.revision());
        let parked = self.parked;
        let settled = self.engine.run(Access::WRITE, move |tx| {
            Box::pin(async move { resolve::resolve(tx, &models, &parked, mine, resolution, now).await })
        });
        settled.await.map(|_| ())
    }
}
