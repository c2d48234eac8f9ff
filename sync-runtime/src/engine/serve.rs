//! The replica that others talk to: a workspace's own sync, other workspaces, a server's routes.

use super::Engine;
use super::admission::{self, Pusher};
use super::arrival::{Arrival, Merging};
use super::exchange::{Asks, Known, Puller, Turn, apply_pushed, to_read};
use super::grants::Grants;
use super::notes;
use super::outbox::whole;
use super::portions::Portions;
use super::purge;
use super::reading::{Asked, covered, diff, feed_page, matching, readable};
use super::scopes;
use crate::caller::{Attempt, Right};
use crate::change::{Change, ChangeKind, State};
use crate::codec::{self, Reader};
use crate::incoming::{Hooks, Ruled};
use crate::record::{Id, Record};
use crate::replica::{
    Caller, Description, Diff, Exchange, Exchanged, ModelDescription, Outcome, Pull, Pulled, RemoteWrite,
    Replica, Tell, Update, Wanted, Watching,
};
use crate::schema::{ModelSchema, Models};
use crate::store::{Access, Expect, Room, Saved, Transaction, Write};
use crate::version::{Ancestry, Checkpoint, ReplicaId, Revision, Stamp};
use crate::{Error, ErrorKind, Result};
use std::sync::Arc;

/// What the keys of the parts begin with that were pushed here.
pub(crate) const PUSHED: &str = "push/";

/// Pages of up to this many updates count as short work.
const SHORT: usize = 16;

impl Engine {
    /// About how many changes a pull beside a push will read.
    async fn waiting(&self, pull: &Pull) -> Result<usize> {
        if !self.store().runs_inline() {
            return Ok(pull.limit);
        }
        Ok(to_read(pull, self.run(Access::READ.feed(), |tx| tx.newest()).await?))
    }

    /// Whether what the caller sees of the feed depends on scopes.
    fn sees_by_scope(&self, caller: &Caller) -> bool {
        caller.scopes().is_some() && scopes::are_known(self.models())
    }

    /// The newest checkpoint, by a transaction of this access.
    pub(crate) async fn newest_checkpoint(&self, access: Access) -> Result<Checkpoint> {
        let seal = self.seal().await?;
        self.run(access, move |tx| {
            Box::pin(async move { Ok(seal.checkpoint(tx.replica().await?, tx.newest().await?)) })
        })
        .await
    }

    pub(crate) fn arrival(&self, from: Option<ReplicaId>) -> Arrival {
        Arrival {
            models: self.models().clone(),
            from,
            now: self.now(),
            limits: *self.limits(),
            merging: Merging::Never,
            pushed_by: None,
            purged: 0,
            unseen: false,
        }
    }
}

/// Work that may wait or last goes off the caller's thread.
pub(crate) fn sized(access: Access, updates: usize) -> Access {
    if updates > SHORT { access.long() } else { access }
}

#[crate::async_trait]
impl Replica for Engine {
    async fn describe(&self, caller: &Caller) -> Result<Description> {
        caller.needs_anywhere(Right::Read, self.models())?;
        let readable = self.models().with_right(Right::Read, caller);
        let models = readable.iter().map(|model| {
            let fields = model
                .schema
                .replicated()
                .map(|(_, field)| (field.name.to_owned(), field.ty.to_string(), field.missing().is_some()));
            ModelDescription { name: model.schema.name.to_owned(), fields: fields.collect() }
        });
        let models = models.collect();
        let (replica, former) = self
            .read(|tx| Box::pin(async move { Ok((tx.replica().await?, notes::former(tx).await?)) }))
            .await?;
        let subject = caller.subject().map(str::to_owned);
        Ok(Description { replica, former, now: self.now(), limits: *self.limits(), subject, models })
    }

    async fn exchange(&self, caller: &Caller, exchange: Exchange) -> Result<Exchanged> {
        caller.needs_anywhere(Right::Read, self.models())?;
        let pushed = exchange.push.as_ref().map(|push| push.page.updates.len());
        let by_scope = exchange.pull.is_some() && self.sees_by_scope(caller);
        if by_scope && pushed.is_none() {
            self.project_scopes().await?;
        }
        // A pull alone finds out as it is answered.
        let looks = pushed.is_none() && self.store().runs_inline();
        let to_read = match &exchange.pull {
            Some(pull) if !looks => self.waiting(pull).await?,
            _ => 0,
        };
        let access = if pushed.is_some() { Access::WRITE } else { Access::READ };
        let mut access = sized(access, pushed.unwrap_or(0).max(to_read)).durable();
        if exchange.pull.is_some() {
            access = access.feed();
        }
        let from = exchange.from;
        let pusher = Pusher {
            caller: caller.clone(),
            replica: Some(from),
            is_first: false,
            hooks: self.hooks().clone(),
        };
        let arrival = Arrival { pushed_by: Some(pusher), ..self.arrival(Some(from)) };
        let (caller, limits, seal) = (caller.clone(), *self.limits(), self.seal().await?);
        let asked = Arc::new(Asks { caller, exchange, arrival, limits, seal, by_scope });
        let mut most = if looks { SHORT } else { usize::MAX };
        let turn = loop {
            let asked = asked.clone();
            let turn = self.answer(access, move |tx| Box::pin(async move { asked.turn(tx, most).await }));
            match turn.await? {
                Some(turn) => break turn,
                None => (access, most) = (access.long(), usize::MAX),
            }
        };
        let Turn { mut answer, mut page, seen, puller } = turn;
        if answer.pushed.is_some() && page.is_none() && asked.exchange.pull.is_some() {
            if by_scope {
                self.project_scopes().await?;
            }
            let (asked, me) = (asked.clone(), answer.replica);
            let read = self.run(sized(Access::READ.feed(), to_read).durable(), move |tx| {
                Box::pin(async move { asked.page(tx, me, &puller).await })
            });
            page = read.await?;
        }
        let (mut ahead, mut granted) = (false, None);
        if let Some(page) = page {
            (answer.pulled, ahead, granted) = (Some(page.pulled), page.ahead, page.grants);
        }
        if !ahead && (seen.is_some() || granted.is_some()) {
            self.note_puller(from, seen, granted).await?;
        }
        if ahead {
            // Somebody saw more of this history than there is: it was rolled back.
            answer.replica = self.take_new_name_after(answer.replica).await?;
        }
        Ok(answer)
    }

    async fn changes(&self, caller: &Caller, pull: Pull) -> Result<Pulled> {
        caller.needs_anywhere(Right::Read, self.models())?;
        self.note_compared().await?;
        if self.sees_by_scope(caller) {
            self.project_scopes().await?;
        }
        let (caller, seal) = (caller.clone(), self.seal().await?);
        let (models, limits) = (self.models().clone(), *self.limits());
        let access = Access::READ.long().durable().feed();
        let (me, answer) = self
            .answer(access, move |tx| {
                Box::pin(async move {
                    let me = tx.replica().await?;
                    let (from, has_pushed, grants, horizon) = (None, false, &Grants::default(), None);
                    let asked =
                        Asked { caller: &caller, seal, from, pull: &pull, has_pushed, grants, horizon };
                    Ok((me, feed_page(tx, me, &models, &limits, asked).await?))
                })
            })
            .await?;
        if answer.ahead {
            self.take_new_name_after(me).await?;
        }
        Ok(answer.pulled)
    }

    async fn diff(&self, caller: &Caller, changes: Vec<Change>) -> Result<Diff> {
        for change in &changes {
            caller.needs(Right::Read, change.schema.name)?;
        }
        let (models, caller) = (self.models().clone(), caller.clone());
        // What is not lacking here will not be sent again, so it must not be lost any more.
        self.run(sized(Access::READ, changes.len()).durable(), move |tx| {
            Box::pin(async move { diff(tx, &models, &caller, changes).await })
        })
        .await
    }

    async fn create_updates(&self, caller: &Caller, deltas: Vec<Change>) -> Result<Vec<Update>> {
        for delta in &deltas {
            caller.needs(Right::Read, delta.schema.name)?;
        }
        let (models, caller, limits) = (self.models().clone(), caller.clone(), *self.limits());
        self.run(sized(Access::READ, deltas.len()).durable(), move |tx| {
            Box::pin(async move {
                let mut updates = Vec::with_capacity(deltas.len());
                let mut portions = Portions::of_an_answer(&caller, &limits);
                for run in deltas.chunk_by(|a, b| a.schema.name == b.schema.name) {
                    let ids: Vec<Id> = run.iter().map(|delta| delta.id.clone()).collect();
                    let schema = models.get(run[0].schema.name)?.schema;
                    let mut rest = &ids[..];
                    while !rest.is_empty() {
                        let states = portions.read(tx, schema, &mut rest).await?;
                        let states = covered(tx, &models, &caller, states).await?;
                        portions.answer(&states)?;
                        updates.extend(states.into_iter().map(whole));
                    }
                }
                Ok(updates)
            })
        })
        .await
    }

    async fn bulk_update(
        &self,
        caller: &Caller,
        from: Option<ReplicaId>,
        updates: Vec<Update>,
    ) -> Result<Vec<Outcome>> {
        caller.needs_anywhere(Right::Read, self.models())?;
        let hooks = self.hooks().clone();
        let pushed_by = Some(Pusher { caller: caller.clone(), replica: from, is_first: false, hooks });
        let (caller, arrival) = (caller.clone(), Arrival { pushed_by, ..self.arrival(None) });
        let access = sized(Access::WRITE, updates.len()).durable();
        let applied = self.run(access, move |tx| {
            Box::pin(async move {
                // Who does not say under which name it may have seen anything or nothing.
                let (mut purged, mut unseen) = match caller.subject() {
                    Some(_) => (purge::horizon(tx).await?.stamp, true),
                    None => (0, false),
                };
                if let Some(from) = from {
                    admission::claim_and_keep(tx, &caller, &arrival.models, from).await?;
                    let Known { seen, puller: Puller { horizon, .. }, .. } =
                        Known::of(tx, from, false).await?;
                    (purged, unseen) = (horizon.stamp, !seen.is_good(horizon));
                }
                apply_pushed(tx, &Arrival { purged, unseen, ..arrival }, updates).await
            })
        });
        applied.await
    }

    async fn checkpoint(&self, caller: &Caller) -> Result<Checkpoint> {
        caller.needs_anywhere(Right::Read, self.models())?;
        self.newest_checkpoint(Access::READ.durable().feed()).await
    }

    async fn read(
        &self,
        caller: &Caller,
        schema: &'static ModelSchema,
        wanted: Wanted,
    ) -> Result<Vec<State>> {
        caller.needs(Right::Read, schema.name)?;
        self.models().get(schema.name)?;
        let (caller, limits) = (caller.clone(), *self.limits());
        self.run(Access::READ.long().durable(), move |tx| {
            Box::pin(async move {
                let mut portions = Portions::of_an_answer(&caller, &limits);
                match wanted {
                    Wanted::Ids(ids) => {
                        let (mut rest, mut found) = (&ids[..], Vec::new());
                        while !rest.is_empty() {
                            let states = portions.read(tx, schema, &mut rest).await?;
                            let states = readable(tx, &caller, states).await?;
                            portions.answer(&states)?;
                            found.extend(states);
                        }
                        Ok(found)
                    }
                    Wanted::Matching { filter, after, limit } => {
                        matching(tx, &caller, portions, schema, filter, after, limit).await
                    }
                }
            })
        })
        .await
    }

    async fn write(&self, caller: &Caller, writes: Vec<RemoteWrite>) -> Result<Vec<State>> {
        for write in &writes {
            caller.needs(Right::Write, write.schema.name)?;
        }
        let caller = caller.clone();
        let (models, hooks) = (self.models().clone(), self.hooks().clone());
        let (limits, now) = (*self.limits(), self.now());
        self.run(sized(Access::WRITE, writes.len()).durable(), move |tx| {
            Box::pin(async move {
                let mut states = Vec::with_capacity(writes.len());
                for write in writes {
                    let name = format!("{} {}", write.schema.name, write.id);
                    let schema = write.schema;
                    let model = models.get(schema.name)?;
                    let mine = tx.read(schema, std::slice::from_ref(&write.id)).await?.pop().flatten();
                    let record = write.record.map(|sent| {
                        // What stays on the device of this store is not the caller's to change.
                        let mut record = mine.clone().unwrap_or_else(|| crate::Record::absent(schema));
                        record.lay_over(&sent.without_local(schema));
                        record.fill_missing(schema);
                        if caller.right_to(schema, &record) < Right::Replicate {
                            schema.keep_server_fields(&mut record, mine.as_ref());
                        }
                        record
                    });
                    let right = |record: &crate::Record| caller.right_to(schema, record);
                    let is_hidden = mine.as_ref().is_some_and(|mine| right(mine) < Right::Read);
                    if is_hidden && (record.is_none() || write.expect.is_some()) {
                        // As if nobody had made it.
                        crate::collection::saved(Saved::Missing, schema, &write.id)?;
                    }
                    if mine.iter().chain(&record).any(|record| right(record) < Right::Write) {
                        let who = caller.subject().unwrap_or("the owner");
                        let message =
                            format!("writing {name}: {who} has not the right {} in its scope", Right::Write);
                        return Err(Error::new(ErrorKind::Forbidden, message));
                    }
                    let attempt = Attempt::new(schema, &write.id, mine.as_ref(), record.as_ref());
                    caller.check(&attempt).map_err(|refused| {
                        Error::new(ErrorKind::Forbidden, format!("writing {name}: {}", refused.reason))
                    })?;
                    let ids = [write.id.clone()];
                    let fits = |record: &Record| {
                        limits.check(schema, &ids[0], record, 0)?;
                        (model.check)(record).map_err(|error| error.context(format!("writing {name}")))?;
                        if schema.id_of(record)? != ids[0] {
                            let message = format!("the record of {name} has another id");
                            return Err(Error::new(ErrorKind::InvalidValue, message));
                        }
                        Ok(())
                    };
                    record.as_ref().map_or(Ok(()), fits)?;
                    let record = ruled(tx, &caller, &hooks, schema, &ids, record, now).await?;
                    // The app may have made another one of it.
                    record.as_ref().map_or(Ok(()), fits)?;
                    let expect = write.expect.map_or(Expect::Any, Expect::At);
                    let saved = tx.save(vec![Write { schema, id: write.id, record, expect }], now).await?;
                    for saved in saved {
                        crate::collection::saved(saved, schema, &ids[0])?;
                    }
                    states.extend(tx.states(schema, &ids).await?.into_iter().flatten());
                }
                Ok(states)
            })
        })
        .await
    }

    async fn watch(&self, caller: &Caller, watch: Watching, tell: Tell<'_>) -> Result<()> {
        caller.needs_anywhere(Right::Read, self.models())?;
        let mut moves = self.moves();
        moves.start().await?;
        if let Some(checkpoint) = self.moved_since(caller, watch).await? {
            tell(checkpoint);
        }
        loop {
            let moved = moves.next().await?;
            if moved.concerns(caller, watch.from) {
                tell(moved.checkpoint());
            }
        }
    }

    fn models(&self) -> Option<&Models> {
        Some(Engine::models(self))
    }

    fn engine(&self) -> Option<&Engine> {
        Some(self)
    }
}

/// What the app makes of a record that somebody writes here by its id, as of one that is pushed.
async fn ruled(
    tx: &mut dyn Transaction,
    caller: &Caller,
    hooks: &Hooks,
    schema: &'static ModelSchema,
    id: &[Id; 1],
    record: Option<Record>,
    now: Stamp,
) -> Result<Option<Record>> {
    if !hooks.has(schema) {
        return Ok(record);
    }
    let current = tx.states(schema, id).await?.pop().flatten();
    let travelling = record.as_ref().map(|record| record.clone().without_local(schema));
    if current.as_ref().and_then(|current| current.record.as_ref()) == travelling.as_ref() {
        return Ok(record);
    }
    let me = tx.replica().await?;
    let before = current.as_ref().map(|current| &current.change);
    let kind = match (&record, before) {
        (None, _) => ChangeKind::Delete,
        (Some(_), Some(before)) if !before.is_delete() => ChangeKind::Update,
        (Some(_), _) => ChangeKind::Create,
    };
    let change = Change {
        schema,
        id: id[0].clone(),
        kind,
        ancestry: match before {
            Some(before) => before.ancestry.next(now, me),
            None => Ancestry::of(Revision { stamp: now, replica: me }),
        },
        merged: None,
        previous: before.map(Change::revision),
        position: 0,
        group: None,
        origin: None,
        unknown: None,
        stamps: None,
    };
    let incoming = State { change, record: travelling };
    match hooks.ask(caller, schema, current.as_ref(), &incoming, false) {
        Ruled::Pass => Ok(record),
        Ruled::Store(None) => Ok(None),
        Ruled::Store(Some(stored)) => {
            let mut laid = record.unwrap_or_else(|| Record::absent(schema));
            laid.lay_over(&stored);
            Ok(Some(laid))
        }
        Ruled::Reject(rejection) => {
            let message = format!("writing {} {}: {}", schema.name, id[0], rejection.reason);
            Err(Error::new(ErrorKind::Forbidden, message))
        }
    }
}

/// Keeps a part of a group until the group is whole.
pub(crate) async fn stage(
    tx: &mut dyn Transaction,
    prefix: &str,
    part: u64,
    updates: &[Update],
) -> Result<()> {
    let bytes = codec::to_json(&updates.iter().map(codec::stored).collect::<Vec<_>>())?;
    tx.note(Room::Staged, &format!("{prefix}{part:020}"), Some(bytes)).await
}

/// The parts of a group that were kept.
pub(crate) async fn staged(tx: &mut dyn Transaction, arrival: &Arrival, prefix: &str) -> Result<Vec<Update>> {
    let mut updates = Vec::new();
    for (_, bytes) in tx.notes(Room::Staged, prefix).await? {
        let reader = Reader::new(&arrival.models).stored();
        let seed = reader.list::<Update>(usize::MAX, false);
        updates.extend(reader.from_json(&bytes, seed, "reading the begin of a group")?);
    }
    Ok(updates)
}

/// Forgets the parts of a group.
pub(crate) async fn unstage(tx: &mut dyn Transaction, prefix: &str) -> Result<()> {
    for (key, _) in tx.notes(Room::Staged, prefix).await? {
        tx.note(Room::Staged, &key, None).await?;
    }
    Ok(())
}
