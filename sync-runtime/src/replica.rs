//! What replication talks to, and the messages that travel.
//!
//! Everything that holds records is a [`Replica`]: a workspace over a store, or a remote server. Device to
//! server, server to server, database to database are all the same calls.

pub use crate::caller::Caller;
use crate::change::{Change, State};
use crate::env::{MaybeSend, MaybeSync};
use crate::query::Filter;
use crate::record::{Id, MAX_ID_BYTES, Record};
use crate::schema::{ModelSchema, Models};
use crate::value::{MAX_JSON_DEPTH, MAX_VALUE_BYTES, Value, json_depth};
use crate::version::{Checkpoint, Position, ReplicaId, Revision, Stamp};
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

/// What a replica says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The replica id.
    pub replica: ReplicaId,
    /// The names that it had before; who knows it by one of them need not remember that any more.
    #[serde(default)]
    pub former: Vec<ReplicaId>,
    /// Its clock.
    pub now: Stamp,
    /// What it accepts.
    pub limits: Limits,
    /// The stable name by which it knows who asks ([`Caller::subject`]); `None` where it does not tell them apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The models that it holds.
    pub models: Vec<ModelDescription>,
}

impl Description {
    /// P13: a field that both sides have is of one type; else the two are kept apart, by name.
    pub(crate) fn check_against(&self, models: &Models) -> Result<()> {
        for theirs in &self.models {
            let Ok(mine) = models.get(&theirs.name) else { continue };
            for (name, ty, _) in &theirs.fields {
                let mut fields = mine.schema.replicated().map(|(_, field)| field);
                let Some(field) = fields.find(|field| field.name == *name) else { continue };
                if field.ty.to_string() != *ty {
                    let message = format!(
                        "the field `{name}` of {} is {} here and {ty} at {}; give one of the two another name",
                        theirs.name, field.ty, self.replica
                    );
                    return Err(Error::new(ErrorKind::Incompatible, message));
                }
            }
        }
        Ok(())
    }
}

/// A model as a peer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelDescription {
    /// The model's name.
    pub name: String,
    /// The fields that travel: name, type as text, whether it may be null or left out.
    pub fields: Vec<(String, String, bool)>,
}

/// What a replica accepts, announced in its description and kept by its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of a request body as it travels.
    pub body: usize,
    /// Bytes of a request body when it is decompressed.
    pub decompressed: usize,
    /// Records in a page.
    pub page_records: usize,
    /// Bytes of the records in a page; a single record may exceed it.
    pub page_bytes: usize,
    /// Bytes of the records that one transaction takes from a caller which is not the owner, and of those that it finds in
    /// their place: all of a group, in however many pages it comes, or all of a page. A page with more is sent again in two.
    pub transaction_bytes: usize,
    /// Bytes of one record.
    pub record_bytes: usize,
    /// Bytes of one value; no store takes more than 4 MiB.
    pub value_bytes: usize,
    /// How deep JSON in a value may nest; nothing nests deeper than 64.
    pub depth: usize,
    /// Bytes of a text as id; no store takes more than 255.
    pub id_bytes: usize,
    /// How far a pushed stamp may be ahead of this replica's clock, in microseconds.
    pub clock_skew: i64,
    /// How long a request may take, in microseconds: its body to come, and then the answer. The server's routes keep it.
    pub request_time: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body: 8 << 20,
            decompressed: 32 << 20,
            page_records: 1_000,
            page_bytes: 4 << 20,
            transaction_bytes: 64 << 20,
            record_bytes: 6 << 20,
            value_bytes: MAX_VALUE_BYTES,
            depth: MAX_JSON_DEPTH,
            id_bytes: MAX_ID_BYTES,
            clock_skew: 120_000_000,
            request_time: 30_000_000,
        }
    }
}

impl Limits {
    /// Whether a record is within them, with so many bytes of fields that are not known here.
    pub(crate) fn check(&self, schema: &ModelSchema, id: &Id, record: &Record, unknown: usize) -> Result<()> {
        let name = || format!("{} {id}", schema.name);
        let too_large = |what: &str, size: usize, most: usize| {
            let message = format!("{}: {what} has {size} bytes; at most {most} are accepted", name());
            Err(Error::new(ErrorKind::TooLarge, message))
        };
        let size = record.size() + unknown;
        if size > self.record_bytes {
            return too_large("the record", size, self.record_bytes);
        }
        if let Id::Text(id) = id
            && id.len() > self.id_bytes
        {
            return too_large("its id", id.len(), self.id_bytes);
        }
        for (place, field) in schema.replicated() {
            let Some(value) = record.get(place) else { continue };
            if value.size() > self.value_bytes {
                return too_large(&format!("`{}`", field.name), value.size(), self.value_bytes);
            }
            if let Value::Json(json) = value
                && json_depth(json) > self.depth
            {
                let message = format!("{}: `{}` nests deeper than {}", name(), field.name, self.depth);
                return Err(Error::new(ErrorKind::TooLarge, message));
            }
        }
        Ok(())
    }
}

/// A change with the data to apply it.
#[derive(Debug, Clone)]
pub struct Update {
    /// The change, and the record: whole, or with `based_on` only the fields that changed. No record for a delete.
    pub state: State,
    /// The one revision that the patch fits; `None` if the record is whole.
    pub based_on: Option<Revision>,
}

/// Updates that travel together, in the order of their source's feed.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The updates.
    pub updates: Vec<Update>,
    /// Whether the group of the last update goes on in the next page.
    pub group_open: bool,
}

/// A page that a replica pushes, numbered so that a repeated one is known and a copied device is noticed.
#[derive(Debug, Clone)]
pub struct PushPage {
    /// 1 for the first page of this replica id to this peer, then one more each.
    pub number: u64,
    /// Says whether two pages of one number have the same content.
    pub digest: u64,
    /// The updates.
    pub page: Page,
}

/// A wish for the changes of a replica.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Changes after this checkpoint; `None` for all.
    pub since: Option<Checkpoint>,
    /// At most this many records; the replica's own limit holds as well.
    pub limit: usize,
    /// Whether the records should come too.
    pub data: bool,
    /// Only this model.
    pub model: Option<&'static ModelSchema>,
    /// The models that the puller has registered. Changes of any other are left out, which is no error: an
    /// older app pulls from a newer server.
    pub models: Models,
    /// Only what is in these scopes, of those that the caller may read, and nothing of models without scopes. `None` is
    /// all that the caller may read. Who has something of them already asks with a `since`, at position 0 where it was never
    /// told one: without one nothing comes of what is gone.
    pub scopes: Option<BTreeSet<String>>,
    /// Of these models only records that match. One that does not match any more comes as an [`Exit`].
    pub only: Vec<(&'static ModelSchema, Filter)>,
    /// Only changes up to this position of the replica; `None` for all.
    pub through: Option<Position>,
    /// The horizon that the last page told of which led to `since`; see [`FeedPage::horizon`].
    pub horizon: Position,
}

impl Pull {
    /// A wish for all changes of these models, with their records.
    ///
    /// ```
    /// use sync_runtime::{Models, replica::Pull};
    ///
    /// let pull = Pull { limit: 100, ..Pull::of(Models::default()) };
    /// assert!(pull.data && pull.since.is_none() && pull.scopes.is_none());
    /// ```
    pub fn of(models: Models) -> Self {
        Pull {
            since: None,
            limit: usize::MAX,
            data: true,
            model: None,
            models,
            scopes: None,
            only: Vec::new(),
            through: None,
            horizon: 0,
        }
    }
}

/// One round trip of a sync: a page to push, a wish to pull, either or both.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Who pushes and pulls; changes that it brought do not come back.
    pub from: ReplicaId,
    /// Who is meant. Another replica answers with its own id and does nothing.
    pub to: ReplicaId,
    /// The page to push.
    pub push: Option<PushPage>,
    /// What to pull, after the page was applied.
    pub pull: Option<Pull>,
}

/// The answer to an [`Exchange`].
#[derive(Debug, Clone)]
pub struct Exchanged {
    /// Who answers. If it is not who was meant, nothing was done.
    pub replica: ReplicaId,
    /// Its clock.
    pub now: Stamp,
    /// The number of the last page of the asker that was taken, that of this exchange included; 0 if none was.
    ///
    /// An asker that numbered fewer pages was copied or restored; one that had an answer to more knows that this
    /// replica was rolled back. Both show here although nothing is pushed.
    pub taken: u64,
    /// What came of the page.
    pub pushed: Option<Pushed>,
    /// What was pulled.
    pub pulled: Option<Pulled>,
}

/// What came of a pushed page.
#[derive(Debug, Clone)]
pub enum Pushed {
    /// It was applied; one outcome for each update of the page, and before them those of the staged pages whose
    /// group it completed.
    Applied(Vec<Outcome>),
    /// It is kept until the rest of its group has come.
    Staged,
    /// The number was used for another page, or is below the last: this history was broken, take a new name.
    TakeNewName,
    /// The number is above the next one: the target lost pages. Start again with this number, diff first.
    Expected(u64),
    /// A stamp is too far ahead of the target's clock, which is [`Exchanged::now`]. Nothing was applied.
    ClockAhead,
}

impl Pushed {
    /// Whether the target stored anything of the page.
    pub(crate) fn stored(&self) -> bool {
        let stored = |outcome: &Outcome| matches!(outcome, Outcome::Applied | Outcome::Amended(_));
        matches!(self, Pushed::Applied(outcomes) if outcomes.iter().any(stored))
    }
}

/// What came of one update at the target.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was applied.
    Applied,
    /// The target had it already, or something newer that descends from it.
    Known,
    /// It was applied, but the target stores this instead, a revision of its own that descends from the update's.
    Amended(Box<State>),
    /// The target's revision is not the one the patch is based on; the whole record is needed.
    NeedWhole,
    /// Neither descends from the other. This is what the target holds.
    Conflict(Box<State>),
    /// The target refuses the record, and says why.
    Rejected(Rejection),
}

/// Why a record was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The code of an [`crate::ErrorKind`].
    pub code: String,
    /// A sentence for people.
    pub reason: String,
}

/// What came of a [`Pull`].
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a page is the usual answer")]
pub enum Pulled {
    /// Changes in the order of the feed.
    Page(FeedPage),
    /// The checkpoint is not of this history: start from the beginning, diff first.
    UnknownCheckpoint,
    /// Tombstones behind the checkpoint were purged: compare everything, what is lacking here too.
    Purged,
}

/// Changes of a replica, up to a checkpoint.
#[derive(Debug, Clone)]
pub struct FeedPage {
    /// The updates; without records where none were asked for.
    pub page: Page,
    /// Covers the page and everything before it.
    pub checkpoint: Checkpoint,
    /// Whether there is more.
    pub more: bool,
    /// How many positions are still ahead, for progress.
    pub ahead: Position,
    /// How many changes of the page were left out because the puller does not know their model.
    pub skipped: u64,
    /// The models that the page and its checkpoint cover, by name; `None` if that is all of the wish. Of the others the
    /// caller learns nothing: they are not here, or it may not read them.
    pub covers: Option<BTreeSet<String>>,
    /// The scopes that the page and its checkpoint cover, where the caller may not read every scope. Where people subscribe
    /// ([`crate::Subscription`]), each is one model in a scope: both names with U+001F between them.
    pub scopes: Option<BTreeSet<String>>,
    /// What the caller may read and has not subscribed to, named in the same way. It leaves a device that has it.
    pub unwanted: BTreeSet<String>,
    /// The records that left these scopes and are in no other one that the caller may read, and those that do not match
    /// what was asked for.
    pub exits: Vec<Exit>,
    /// Whether other records left them before the replica was known to get them (P10). It is not told which: it asks itself
    /// for what it has whether that is still there.
    pub withheld: bool,
    /// Tombstones up to this position were purged. Who goes on from the checkpoint tells it again, so that the replica
    /// sees whether more were since; 0 if none was ever.
    pub horizon: Position,
}

/// The note that a record left a scope, or does not match any more what was asked for.
#[derive(Debug, Clone)]
pub struct Exit {
    /// The model.
    pub schema: &'static ModelSchema,
    /// The record's id.
    pub id: Id,
    /// The scope that it left.
    pub scope: String,
    /// Whether it is in its scope still, and does not match [`Pull::only`].
    pub unmatched: bool,
}

impl FeedPage {
    /// Whether the page and its checkpoint cover the model of this name.
    pub fn covers(&self, model: &str) -> bool {
        self.covers.as_ref().is_none_or(|covers| covers.contains(model))
    }
}

/// What a target lacks, and what it would not take.
#[derive(Debug, Clone, Default)]
pub struct Diff {
    /// Changes that the target lacks.
    pub deltas: Vec<Change>,
    /// Changes that conflict with what the target holds, each with the target's change.
    pub conflicts: Vec<(Change, Change)>,
    /// The places in `deltas` of those of whose records nothing is there that a pull by the caller covers.
    pub absent: Vec<usize>,
    /// The scopes that such a pull covers; `None` where it covers all. See [`FeedPage::scopes`].
    pub scopes: Option<BTreeSet<String>>,
}

/// A write to a replica on behalf of a caller.
#[derive(Debug, Clone)]
pub struct RemoteWrite {
    /// The model.
    pub schema: &'static ModelSchema,
    /// The record's id.
    pub id: Id,
    /// The record, or `None` to delete it.
    pub record: Option<Record>,
    /// Refused as moved if the record is in another revision; `None` writes over anything.
    pub expect: Option<Revision>,
}

/// Which records to read.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// These, tombstones included.
    Ids(Vec<Id>),
    /// Live ones that match, by id, after this id, at most so many.
    Matching {
        /// Which.
        filter: Filter,
        /// Only ids after this one.
        after: Option<Id>,
        /// At most this many.
        limit: usize,
    },
}

/// From where on a replica is watched, and for whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watching {
    /// Who watches; what it brought itself is not told.
    pub from: Option<ReplicaId>,
    /// What it has.
    pub since: Option<Checkpoint>,
}

/// Is told that a replica moved, with a checkpoint behind what is new.
pub type Tell<'a> = &'a (dyn Fn(Checkpoint) + Send + Sync);

/// Anything that holds records and can replicate.
///
/// Every call names its [`Caller`]; permission is decided inside the transaction of the call, never in a layer.
/// Every call may be cut and repeated at any point; repeating has the effect of doing it once.
#[crate::async_trait]
pub trait Replica: Debug + MaybeSend + MaybeSync + 'static {
    /// Says who this is, what it accepts and which models it holds.
    async fn describe(&self, caller: &Caller) -> Result<Description>;

    /// One round trip of a sync: applies a pushed page, then reads the feed.
    async fn exchange(&self, caller: &Caller, exchange: Exchange) -> Result<Exchanged>;

    /// Changes since a checkpoint, with or without data. LoopBack's `changes`.
    async fn changes(&self, caller: &Caller, pull: Pull) -> Result<Pulled>;

    /// Compares changes of another replica with what this one holds. LoopBack's `diff`.
    async fn diff(&self, caller: &Caller, changes: Vec<Change>) -> Result<Diff>;

    /// The updates for deltas, as they stand now. A record that is gone since comes as the delete that it is now;
    /// one that was never here is left out. LoopBack's `createUpdates`.
    async fn create_updates(&self, caller: &Caller, deltas: Vec<Change>) -> Result<Vec<Update>>;

    /// Applies updates; each revision is compared again inside the transaction. One outcome for each. The caller's own
    /// edits are those written as `from`, or as another replica id that it pushed under. LoopBack's `bulkUpdate`.
    async fn bulk_update(
        &self,
        caller: &Caller,
        from: Option<ReplicaId>,
        updates: Vec<Update>,
    ) -> Result<Vec<Outcome>>;

    /// The newest checkpoint: everything committed up to now.
    async fn checkpoint(&self, caller: &Caller) -> Result<Checkpoint>;

    /// Records with their changes.
    async fn read(&self, caller: &Caller, schema: &'static ModelSchema, wanted: Wanted)
    -> Result<Vec<State>>;

    /// Writes on behalf of the caller, tracked here; gives the resulting states. All or nothing.
    async fn write(&self, caller: &Caller, writes: Vec<RemoteWrite>) -> Result<Vec<State>>;

    /// Tells whenever something was committed that the caller may read and the peer `from` has not brought itself, with a
    /// checkpoint behind it; at once if that is so since the checkpoint `since`, or if none is given. Goes on until the
    /// connection ends or the caller is not known any more. Dropping the future ends it.
    async fn watch(&self, caller: &Caller, watch: Watching, tell: Tell<'_>) -> Result<()>;

    /// The models that are registered here; `None` where the replica is not in this process.
    fn models(&self) -> Option<&Models>;

    /// The engine, where it is in this process.
    fn engine(&self) -> Option<&crate::engine::Engine>;
}

#[crate::async_trait]
impl<R: Replica + ?Sized> Replica for Arc<R> {
    async fn describe(&self, caller: &Caller) -> Result<Description> {
        (**self).describe(caller).await
    }

    async fn exchange(&self, caller: &Caller, exchange: Exchange) -> Result<Exchanged> {
        (**self).exchange(caller, exchange).await
    }

    async fn changes(&self, caller: &Caller, pull: Pull) -> Result<Pulled> {
        (**self).changes(caller, pull).await
    }

    async fn diff(&self, caller: &Caller, changes: Vec<Change>) -> Result<Diff> {
        (**self).diff(caller, changes).await
    }

    async fn create_updates(&self, caller: &Caller, deltas: Vec<Change>) -> Result<Vec<Update>> {
        (**self).create_updates(caller, deltas).await
    }

    async fn bulk_update(
        &self,
        caller: &Caller,
        from: Option<ReplicaId>,
        updates: Vec<Update>,
    ) -> Result<Vec<Outcome>> {
        (**self).bulk_update(caller, from, updates).await
    }

    async fn checkpoint(&self, caller: &Caller) -> Result<Checkpoint> {
        (**self).checkpoint(caller).await
    }

    async fn read(
        &self,
        caller: &Caller,
        schema: &'static ModelSchema,
        wanted: Wanted,
    ) -> Result<Vec<State>> {
        (**self).read(caller, schema, wanted).await
    }

    async fn write(&self, caller: &Caller, writes: Vec<RemoteWrite>) -> Result<Vec<State>> {
        (**self).write(caller, writes).await
    }

    async fn watch(&self, caller: &Caller, watch: Watching, tell: Tell<'_>) -> Result<()> {
        (**self).watch(caller, watch, tell).await
    }

    fn models(&self) -> Option<&Models> {
        (**self).models()
    }

    fn engine(&self) -> Option<&crate::engine::Engine> {
        (**self).engine()
    }
}
