//! What an adapter over storage promises: a few batch methods on a transaction.
//!
//! All decisions (who wins, what conflicts) are the engine's. A store keeps its word on atomicity, isolation,
//! durability and order. `sync_testkit::store_conformance!` proves a new one.

use crate::Result;
use crate::change::{Change, State};
use crate::env::{BoxFuture, MaybeSend, MaybeSync};
use crate::query::{Filter, Selection};
use crate::record::{Id, Record};
use crate::schema::{ForeignKey, ModelSchema, Models};
use crate::version::{Position, ReplicaId, Revision, Stamp};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

/// How many records are read at a time where nobody knows how large they are.
const FEW: usize = 16;

/// What a transaction is going to do; the store picks connection and thread by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Access {
    /// Whether it writes. A reading transaction sees one snapshot.
    pub write: bool,
    /// Whether it may last longer than a millisecond, or waits for anything but the transaction's own methods.
    pub long: bool,
    /// Whether everything committed so far, and this, must be on the disk when the transaction has ended.
    ///
    /// A reading transaction may ask for it too: what it read is then durable before anybody else sees it.
    pub durable: bool,
    /// Whether it asks for positions ([`Transaction::newest`], [`Transaction::feed`]) and must find everything there
    /// that was committed before it began. A store that gives positions out as they are asked for does so first.
    pub feed: bool,
}

impl Access {
    /// A short read.
    pub const READ: Access = Access { write: false, long: false, durable: false, feed: false };
    /// A short write.
    pub const WRITE: Access = Access { write: true, ..Access::READ };

    /// It may last longer than a millisecond, or waits for anything but the transaction's own methods.
    pub const fn long(self) -> Self {
        Access { long: true, ..self }
    }

    /// What it wrote or read must be on the disk when it has ended.
    pub const fn durable(self) -> Self {
        Access { durable: true, ..self }
    }

    /// It asks for positions.
    pub const fn feed(self) -> Self {
        Access { feed: true, ..self }
    }
}

/// What runs inside a transaction, once or, where the work can be done anew from its beginning, again. An error rolls
/// everything back.
///
/// Databases with many writers undo a transaction that met another one (a serialization failure, a deadlock). A store
/// then runs the work once more, if it can be; that of the engine can.
pub struct Work(Box<dyn Job>);

impl Work {
    /// Work that can be done once.
    pub fn once<F>(run: F) -> Self
    where
        F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<()>> + MaybeSend + 'static,
    {
        Work(Box::new(Once(run)))
    }

    /// Work that can be done again: what it needs can be copied.
    pub fn repeatable<F>(run: F) -> Self
    where
        F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<()>> + Clone + MaybeSend + 'static,
    {
        Work(Box::new(Repeatable(run)))
    }

    /// The same work, to be done in case it has to be done again; `None` where it cannot.
    pub fn again(&self) -> Option<Self> {
        self.0.again().map(Work)
    }

    /// Does the work.
    ///
    /// # Errors
    /// What the work fails with; the transaction is to be rolled back then.
    pub fn run<'t>(self, transaction: &'t mut dyn Transaction) -> BoxFuture<'t, Result<()>> {
        self.0.run(transaction)
    }

    /// Work that does this one inside of it, and can be done again where this one can.
    ///
    /// For layers over a store, which stand between the work and the transaction.
    pub fn within<F>(self, around: F) -> Self
    where
        F: for<'t> FnOnce(&'t mut dyn Transaction, Work) -> BoxFuture<'t, Result<()>>
            + Clone
            + MaybeSend
            + 'static,
    {
        Work(Box::new(Within { around, work: self }))
    }
}

impl Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

trait Job: MaybeSend {
    fn run<'t>(self: Box<Self>, transaction: &'t mut dyn Transaction) -> BoxFuture<'t, Result<()>>;
    fn again(&self) -> Option<Box<dyn Job>>;
}

struct Once<F>(F);

impl<F> Job for Once<F>
where
    F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<()>> + MaybeSend + 'static,
{
    fn run<'t>(self: Box<Self>, transaction: &'t mut dyn Transaction) -> BoxFuture<'t, Result<()>> {
        (self.0)(transaction)
    }

    fn again(&self) -> Option<Box<dyn Job>> {
        None
    }
}

struct Repeatable<F>(F);

impl<F> Job for Repeatable<F>
where
    F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<()>> + Clone + MaybeSend + 'static,
{
    fn run<'t>(self: Box<Self>, transaction: &'t mut dyn Transaction) -> BoxFuture<'t, Result<()>> {
        (self.0)(transaction)
    }

    fn again(&self) -> Option<Box<dyn Job>> {
        Some(Box::new(Repeatable(self.0.clone())))
    }
}

struct Within<F> {
    around: F,
    work: Work,
}

impl<F> Job for Within<F>
where
    F: for<'t> FnOnce(&'t mut dyn Transaction, Work) -> BoxFuture<'t, Result<()>>
        + Clone
        + MaybeSend
        + 'static,
{
    fn run<'t>(self: Box<Self>, transaction: &'t mut dyn Transaction) -> BoxFuture<'t, Result<()>> {
        (self.around)(transaction, self.work)
    }

    fn again(&self) -> Option<Box<dyn Job>> {
        let work = self.work.again()?;
        Some(Box::new(Within { around: self.around.clone(), work }))
    }
}

/// An adapter over storage.
#[crate::async_trait]
pub trait Store: Debug + MaybeSend + MaybeSync + 'static {
    /// Makes or opens what the models need: tables, tracking, the store's own tables.
    ///
    /// # Behavior
    /// - Runs again without harm; a field that was added to a model becomes a column with its default. Where there
    ///   are records, a required field without a default is refused as [`crate::ErrorKind::Incompatible`], by name.
    /// - An added field that travels takes what a peer had sent of it before, where the change holds a value of that
    ///   name among its unknown fields and the field can hold it (see [`crate::codec::Reader::value`]); that name is
    ///   unknown no more. No change is made for any of this.
    /// - A store that has no replica id yet takes `fresh`; one whose file or process may have lost its history
    ///   since (memory without a file) takes it too.
    /// - A newer layout than this program knows is refused by name.
    async fn prepare(&self, models: &Models, fresh: ReplicaId) -> Result<()>;

    /// What [`Store::prepare`] would do, as statements in their order, without doing it. None where there is nothing to
    /// do, or where a store has no statements.
    async fn plan(&self, _models: &Models) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Runs the work in one transaction: commits if it returns `Ok`, rolls back if not.
    ///
    /// # Behavior
    /// - Once begun it runs to its end, whatever happens to the caller.
    /// - Writers come one after another, or as if they did: a writing transaction sees everything committed before it
    ///   began, and what it read and writes is not written by anybody else until it ends. Where two met, one of them is
    ///   undone and its work done again ([`Work::again`]), a bounded number of times; then, and where it cannot be, the
    ///   error is [`crate::ErrorKind::Busy`].
    /// - A reading transaction sees one snapshot from its first read on.
    /// - In a transaction begun for reading, the methods that write fail.
    /// - A wait for a lock is bounded; at the bound the error is [`crate::ErrorKind::Busy`] and names the lock.
    async fn run(&self, access: Access, work: Work) -> Result<()>;

    /// Whether a short transaction may run on the caller's thread, so that it helps to know beforehand how long one is
    /// going to be; see [`Access::long`].
    fn runs_inline(&self) -> bool {
        true
    }

    /// The foreign keys that the database has between these models, which were prepared: those on one column, to the
    /// column of the parent's id. Asked once, after [`Store::prepare`]. They count as declared parents; ones that are
    /// declared may be among them.
    async fn foreign_keys(&self, _models: &Models) -> Result<Vec<ForeignKey>> {
        Ok(Vec::new())
    }

    /// Fields that travel and whose columns were in their tables before the models had them, as model and field: nobody was
    /// told of what stands in them. The engine makes changes of that, and says so by [`Store::told`].
    async fn untold(&self) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    /// What stands in such fields of this model is told.
    async fn told(&self, _schema: &'static ModelSchema) -> Result<()> {
        Ok(())
    }

    /// A number that differs whenever anybody, this program or another, committed since the last call: a change, a
    /// local field, a note, anything.
    ///
    /// Cheap: no scan, no lock. It may differ although nobody did, where the database is shared with others.
    async fn version(&self) -> Result<u64>;

    /// Ends once somebody commits after this call, this process or another one. `None` where nobody tells the store of
    /// other processes' commits, or just now nobody does: then the engine asks for [`Store::version`] every 250 ms while
    /// somebody watches.
    ///
    /// A hint: one that never comes costs a second, and one too many a look. It may be asked for at any rate, so what it
    /// takes to be told is set up at the first call and kept while it is asked for.
    fn next_commit(&self) -> Option<BoxFuture<'static, ()>> {
        None
    }
}

/// One write to track: a save or delete by the library on behalf of the app.
#[derive(Debug, Clone)]
pub struct Write {
    /// The model.
    pub schema: &'static ModelSchema,
    /// The record's id.
    pub id: Id,
    /// The whole record with its local fields, or `None` to delete it.
    pub record: Option<Record>,
    /// What must be so for the write to happen.
    pub expect: Expect,
}

/// What must be so for a write to happen. A tombstone is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Any,
    /// There is no record of this id.
    Absent,
    /// There is a record of this id.
    Present,
    /// The record is in this revision.
    At(Revision),
}

/// What came of a [`Write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// The record is as asked, and a change was made for it.
    Tracked,
    /// The record is as asked; nothing that travels differed, so no change was made.
    Unchanged,
    /// [`Expect::Absent`], but a record of this id exists. Nothing was done.
    Exists,
    /// [`Expect::Present`] or [`Expect::At`], or a delete, but there is no such record, or only its tombstone.
    /// Nothing was done.
    Missing,
    /// [`Expect::At`], but the record is in another revision. Nothing was done.
    Moved,
    /// A constraint refuses it; the reason names it. Nothing was done for this write.
    Refused(String),
}

/// What came of one state that was put exactly as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It stands as given.
    Stored,
    /// The database stored other values (a trigger, a generated column): these, without local fields.
    Differs(Record),
    /// A constraint refuses it; the reason names it. Nothing was done for this state.
    Refused(String),
}

/// Which changes to read, in the order of their positions.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Only changes after this position.
    pub after: Position,
    /// Only changes up to this position.
    pub through: Position,
    /// Leaves out changes that this peer brought.
    pub not_from: Option<ReplicaId>,
    /// Only this model.
    pub schema: Option<&'static ModelSchema>,
    /// At most this many.
    pub limit: usize,
    /// With `data`, stops before the records read exceed about this many bytes ([`Record::size`] without the local
    /// fields), but gives at least one change.
    pub bytes: usize,
    /// Whether to read the records too; they come without local fields. If not, no state has its record.
    pub data: bool,
}

impl Feed {
    /// Everything after this position.
    pub fn after(position: Position) -> Self {
        Feed {
            after: position,
            through: Position::MAX,
            not_from: None,
            schema: None,
            limit: usize::MAX,
            bytes: usize::MAX,
            data: false,
        }
    }
}

/// A state that was overwritten here, kept as base for merging with peers that still hold it.
#[derive(Debug, Clone)]
pub struct Base {
    /// The state as it stood, with the position it had then.
    pub state: State,
    /// The position of the change that overwrote it.
    pub until: Position,
}

/// A row with a value that no peer can take, which another program wrote: `NaN` in a float, a time at infinity.
///
/// No sync takes the record along, in either direction, until somebody corrects or deletes the row. That is a change like
/// any other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreadable {
    /// The model.
    pub model: &'static str,
    /// The record's id; `None` where just that cannot be read.
    pub id: Option<Id>,
    /// The field that has the value.
    pub field: &'static str,
    /// What stands there, and what to do about it: a sentence for people.
    pub reason: String,
}

impl Unreadable {
    /// Names the field at a place of the schema.
    pub fn new(schema: &'static ModelSchema, id: Option<Id>, field: usize, reason: String) -> Self {
        Unreadable { model: schema.name, id, field: schema.fields[field].name, reason }
    }
}

/// Rooms for the engine's own small rows, which a store keeps as opaque bytes by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Room {
    /// What is remembered of peers.
    Peer,
    /// Conflicts and refused records.
    Parked,
    /// Parts of a group that is larger than a page, until it is whole.
    Staged,
    /// Who syncs a pair just now.
    Lease,
    /// In which scope each record is, and which it left. What stands before the last [`PART_END`] of a key is the part that
    /// the row belongs to, such as one scope; a store may keep parts apart. A prefix that ends with it is one whole part.
    Scope,
    /// What lies aside of those who signed in before.
    Account,
}

/// Ends the part that a row of [`Room::Scope`] belongs to.
pub const PART_END: char = '\u{1f}';

impl Room {
    /// All rooms.
    pub const ALL: [Room; 6] =
        [Room::Peer, Room::Parked, Room::Staged, Room::Lease, Room::Scope, Room::Account];

    /// The room's name in storage.
    pub fn name(self) -> &'static str {
        match self {
            Room::Peer => "peer",
            Room::Parked => "parked",
            Room::Staged => "staged",
            Room::Lease => "lease",
            Room::Scope => "scope",
            Room::Account => "account",
        }
    }
}

/// A transaction on a store. Methods take batches; each is atomic with all others of the same transaction.
///
/// A model that was not given to [`Store::prepare`] is refused as [`crate::ErrorKind::UnknownModel`], by name.
///
/// Records that come from a store have a value for every field, except that those with `data` of a [`Feed`],
/// of [`Transaction::states`] and of bases lack the local ones.
#[crate::async_trait]
pub trait Transaction: MaybeSend {
    /// The store's replica id.
    async fn replica(&mut self) -> Result<ReplicaId>;

    /// A name of the history that the database goes on in, where it can tell: another one after a fail-over to a standby,
    /// and in a database that a backup was restored into. Positions and revisions of the one before may be given out
    /// twice then. `None` where the database cannot tell.
    async fn history(&mut self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Takes another replica id. Revisions written from now on carry it; no change is touched.
    async fn rename(&mut self, fresh: ReplicaId) -> Result<()>;

    /// The position of the newest change; 0 if there never was one. It never goes back.
    ///
    /// Until it is committed, what this transaction wrote may have no position yet: then it counts neither here nor in
    /// the feed, and its changes stand at [`Position::MAX`].
    async fn newest(&mut self) -> Result<Position>;

    /// Records by id with their local fields, in the order of `ids`; `None` where there is none.
    async fn read(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<Record>>>;

    /// Records that match, in order, with their local fields.
    async fn select(&mut self, schema: &'static ModelSchema, selection: &Selection) -> Result<Vec<Record>>;

    /// How many records match.
    async fn count(&mut self, schema: &'static ModelSchema, filter: &Filter) -> Result<u64>;

    /// Changes by id, in the order of `ids`, tombstones included; `None` where nothing was ever tracked.
    async fn changes(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<Change>>>;

    /// Changes by position, with their records if asked for.
    ///
    /// A record whose tracking is broken (a live change without a row) comes as a delete-less state without
    /// record and is left to `rectify`; so does one whose row cannot be read ([`Transaction::unreadable`]), here and in
    /// [`Transaction::states`]. A change whose id cannot be read is left out. A tombstone never has a record.
    async fn feed(&mut self, feed: &Feed) -> Result<Vec<State>>;

    /// Saves and deletes on behalf of the app, tracked: the record and its change in one.
    ///
    /// # Behavior
    /// - Writes happen in order; a later one sees the earlier ones. One outcome for each; one that was not done
    ///   does not keep the others from being done.
    /// - An absent local field stays as it was, any other absent field takes its default; where there is none the
    ///   write is refused.
    /// - A change is made only if a field that travels really differs, to the bit.
    /// - The change: kind create if there was no live record, else update or delete; ancestry
    ///   [`crate::Ancestry::after`] the one before, at `now`; previous revision that one, be it a
    ///   tombstone's; the next position; the transaction's group, which is the position of its first tracked
    ///   change; no origin; no merge. Unknown fields stay, except that a delete drops them.
    /// - Its stamps are [`Change::stamps_after`] of the change before where there was a live record and still is
    ///   one; a create and a delete have none.
    /// - The state before is kept as base if [`Transaction::keep_bases_through`] asks for it.
    async fn save(&mut self, writes: Vec<Write>, now: Stamp) -> Result<Vec<Saved>>;

    /// Puts states exactly as given: the record's fields that travel (local ones stay, or take their defaults),
    /// and the change, which gets the next position whatever `change.position` says. Nothing else is tracked for
    /// these records; what the database's own triggers and cascades do to *other* records is.
    ///
    /// # Behavior
    /// - In order, one outcome for each.
    /// - A state without record removes the record and leaves the change as tombstone. Where the change is none, the
    ///   record stays as it is: nobody could read it.
    /// - `change.group` is replaced by the position of the first state stored of the run of equal groups in this
    ///   call; `None` stays `None`.
    /// - An absent field that travels takes its default; where there is none the state is refused.
    /// - The stamps of fields stand as given, also those of names that the schema does not know.
    /// - No base is kept; the engine does that.
    async fn put(&mut self, states: &[State], now: Stamp) -> Result<Vec<Put>>;

    /// From now on, every state is kept as base when it is overwritten by a tracked write, if its position is at
    /// or below this one or a peer brought it (the change has an origin). `None` keeps nothing, which is where a
    /// store starts.
    ///
    /// # Behavior
    /// - What was asked for last is part of the store: it rolls back with its transaction and outlives a restart.
    /// - A tombstone is a state: a record that is made anew keeps it. A live change whose record is gone is none.
    /// - One of the same record, revision and position is replaced. Of one revision there may be several: its ancestry
    ///   grew in between, and a peer may have been sent the state as it was before.
    async fn keep_bases_through(&mut self, position: Option<Position>) -> Result<()>;

    /// The kept bases of these records, in the order of `ids`, each oldest first: by the position of the state,
    /// then by `until`. One with a value that cannot be read is left out: no peer ever had it.
    async fn bases(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Vec<Base>>>;

    /// Kept bases of all models whose state stood in this range of positions (after the first, through the
    /// second), by position. One with a value that cannot be read comes without its record.
    async fn bases_between(&mut self, after: Position, through: Position) -> Result<Vec<Base>>;

    /// Keeps these states as bases too, as they are given; one of the same record, revision and position is replaced.
    /// Needs no [`Transaction::keep_bases_through`].
    async fn add_bases(&mut self, bases: Vec<Base>) -> Result<()>;

    /// Drops bases that were overwritten at or before this position.
    async fn drop_bases(&mut self, until: Position) -> Result<()>;

    /// Live records of this model whose change is missing or a tombstone, and live changes whose record is gone:
    /// ids, by id, after this one, at most `limit`. Where only these ids are given, looks at them alone.
    async fn untracked(
        &mut self,
        schema: &'static ModelSchema,
        only: Option<&[Id]>,
        after: Option<&Id>,
        limit: usize,
    ) -> Result<Vec<Id>>;

    /// Rows of this model that [`Transaction::read`] fails at, because of what stands in them; at most `limit`. Where only
    /// these ids are given, looks at them alone, and else at all that is tracked.
    ///
    /// None where nobody but the library writes to the store.
    async fn unreadable(
        &mut self,
        _schema: &'static ModelSchema,
        _only: Option<&[Id]>,
        _limit: usize,
    ) -> Result<Vec<Unreadable>> {
        Ok(Vec::new())
    }

    /// Makes the change that a tracked write of the record as it stands would have made: of kind create, on top of
    /// the tombstone if there is one; a record that is gone gets a tombstone. Says for each id whether there was
    /// anything to do; where [`Transaction::untracked`] would not list it there is not.
    async fn retrack(&mut self, schema: &'static ModelSchema, ids: &[Id], now: Stamp) -> Result<Vec<bool>>;

    /// The rows of a room whose keys start with this prefix, by the bytes of the key.
    async fn notes(&mut self, room: Room, prefix: &str) -> Result<Vec<(String, Vec<u8>)>>;

    /// The rows of a room whose keys start with this prefix and come after this key, by the bytes of the key, at most
    /// `limit`. A look into an index, however many rows there are.
    async fn notes_after(
        &mut self,
        room: Room,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>>;

    /// Rows of a room by key, in the order of `keys`; `None` where there is none.
    async fn notes_of(&mut self, room: Room, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>>;

    /// Sets a row of a room, or removes it with `None`.
    async fn note(&mut self, room: Room, key: &str, value: Option<Vec<u8>>) -> Result<()> {
        self.note_all(room, vec![(key.to_owned(), value)]).await
    }

    /// Sets rows of a room, or removes those with `None`. No key comes twice.
    async fn note_all(&mut self, room: Room, rows: Vec<(String, Option<Vec<u8>>)>) -> Result<()>;

    /// Takes away all that is left of records that are gone: their tombstones and their bases. What there is a record of
    /// stays as it is; so does what was never tracked.
    ///
    /// [`Transaction::newest`] does not go back for it, and no position is given out twice.
    async fn erase(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<()>;

    /// Records with their changes by id, in the order of `ids`, without local fields; `None` where nothing was
    /// ever tracked.
    async fn states(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<Vec<Option<State>>>;

    /// The same, for as long as the records have at most so many bytes in all ([`State::size`]); `None` where they have
    /// more. About that much is in memory at a time, whatever size they are: this is how a server looks at the records that
    /// others name.
    async fn states_within(
        &mut self,
        schema: &'static ModelSchema,
        ids: &[Id],
        bytes: usize,
    ) -> Result<Option<Vec<Option<State>>>> {
        let (mut states, mut left) = (Vec::with_capacity(ids.len()), bytes);
        for few in ids.chunks(FEW) {
            for state in self.states(schema, few).await? {
                let size = state.as_ref().map_or(0, State::size);
                let Some(rest) = left.checked_sub(size) else { return Ok(None) };
                left = rest;
                states.push(state);
            }
        }
        Ok(Some(states))
    }
}

/// Runs the work in one transaction and gives what it returned. The store may do it more than once, if it has to; the
/// last time counts.
///
/// # Errors
/// What the work or the store failed with; nothing was written then.
pub async fn transact<T, F>(store: &dyn Store, access: Access, work: F) -> Result<T>
where
    T: MaybeSend + 'static,
    F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T>> + Clone + MaybeSend + 'static,
{
    let slot = Slot::default();
    let filled = slot.clone();
    let work = Work::repeatable(move |transaction| Box::pin(fill(filled, work(transaction))));
    store.run(access, work).await?;
    taken(&slot)
}

/// Runs work in one transaction that cannot be done again, because it uses up what it was given.
///
/// # Errors
/// As [`transact`]; where the store would have had to do it again, one that says that a retry helps.
pub async fn transact_once<T, F>(store: &dyn Store, access: Access, work: F) -> Result<T>
where
    T: MaybeSend + 'static,
    F: for<'t> FnOnce(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T>> + MaybeSend + 'static,
{
    let slot = Slot::default();
    let filled = slot.clone();
    let work = Work::once(move |transaction| Box::pin(fill(filled, work(transaction))));
    store.run(access, work).await?;
    taken(&slot)
}

/// Where work leaves what it returned.
type Slot<T> = Arc<Mutex<Option<T>>>;

async fn fill<T>(slot: Slot<T>, work: BoxFuture<'_, Result<T>>) -> Result<()> {
    let value = work.await?;
    if let Ok(mut slot) = slot.lock() {
        *slot = Some(value);
    }
    Ok(())
}

fn taken<T>(slot: &Slot<T>) -> Result<T> {
    let value = slot.lock().ok().and_then(|mut slot| slot.take());
    value.ok_or_else(|| {
        crate::Error::new(crate::ErrorKind::Storage, "the store committed without running the work")
    })
}
