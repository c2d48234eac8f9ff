//! rule: permission in the transaction. What a caller may push, asked where what it would overwrite is known.

use super::apply::rejection;
use super::notes::{self, PeerState, PusherState, peer_key, pusher_key};
use super::scopes;
use crate::caller::{Attempt, Caller, Right};
use crate::change::{Change, State};
use crate::incoming::{Hooks, Ruled};
use crate::record::Record;
use crate::replica::{Rejection, Update};
use crate::schema::{ModelSchema, Models};
use crate::store::{Room, Transaction};
use crate::version::{ReplicaId, Stamp};
use crate::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// Who pushes, and what the app has to say of it.
#[derive(Debug, Clone)]
pub(crate) struct Pusher {
    pub(crate) caller: Caller,
    /// The replica id that it pushes under.
    pub(crate) replica: Option<ReplicaId>,
    /// Whether it never pushed before, and nothing that it wrote was here and is purged.
    pub(crate) is_first: bool,
    pub(crate) hooks: Arc<Hooks>,
}

impl Pusher {
    /// Whether the caller may push to this model at all.
    pub(super) fn may_write(&self, schema: &ModelSchema) -> Result<()> {
        self.caller.needs(Right::Write, schema.name)
    }

    pub(super) fn out_of_scope(&self, change: &Change) -> Rejection {
        let who = self.caller.subject().unwrap_or("the owner");
        let message = format!("{}: {who} has not the right {} in its scope", change.name(), Right::Write);
        rejection(&Error::new(ErrorKind::Forbidden, message))
    }

    /// What the caller may do with the record, by the scope that it is in and, where all of it came, by the one that it
    /// comes to.
    fn right_over(&self, here: Option<&State>, update: &Update) -> Right {
        let schema = update.state.change.schema;
        let comes = Some(&update.state).filter(|_| update.based_on.is_none());
        let records = here.into_iter().chain(comes).filter_map(|state| state.record.as_ref());
        records.fold(self.caller.right_on(schema.name), |right, record| {
            right.min(self.caller.right_to(schema, record))
        })
    }

    /// What the scope and the caller's guard say of a write.
    pub(super) fn check(
        &self,
        current: Option<&State>,
        incoming: &State,
    ) -> std::result::Result<(), Rejection> {
        let schema = incoming.change.schema;
        let may_enter = |record: &Record| self.caller.right_to(schema, record) >= Right::Write;
        if !incoming.record.as_ref().is_none_or(may_enter) {
            return Err(self.out_of_scope(&incoming.change));
        }
        self.caller.check(&Attempt::of_states(current, incoming))
    }

    /// What the app says of an update.
    pub(super) fn ask(&self, current: Option<&State>, incoming: &State, in_conflict: bool) -> Ruled {
        self.hooks.ask(&self.caller, incoming.change.schema, current, incoming, in_conflict)
    }

    /// What becomes of an update that fits: fields that are not the caller's to set stay as they are, then its guard
    /// decides, then the app. One that changes nothing of the record, as a merge that came to what is here, is nothing for
    /// the app to decide on.
    pub(super) fn admit(&self, current: Option<&State>, incoming: &State) -> Ruled {
        let kept = self.with_server_fields(current, incoming);
        let left = kept.as_ref().unwrap_or(incoming);
        if let Err(refused) = self.check(current, left) {
            return Ruled::Reject(refused);
        }
        let changes = current.is_none_or(|current| current.record != left.record);
        let ruled = if changes { self.ask(current, left, false) } else { Ruled::Pass };
        match (ruled, kept) {
            (Ruled::Pass, Some(kept)) => Ruled::Store(kept.record),
            (ruled, _) => ruled,
        }
    }

    /// The update with the fields that are the server's own as they are here; `None` where they are so already.
    fn with_server_fields(&self, current: Option<&State>, incoming: &State) -> Option<State> {
        let schema = incoming.change.schema;
        let sent = incoming.record.as_ref()?;
        let is_theirs = self.caller.right_to(schema, sent) >= Right::Replicate;
        if is_theirs || !schema.fields.iter().any(|field| field.server) {
            return None;
        }
        let mut record = sent.clone();
        schema.keep_server_fields(&mut record, current.and_then(|current| current.record.as_ref()));
        (record != *sent).then(|| State { change: incoming.change.clone(), record: Some(record) })
    }
}

/// Whether the stamp of a change is later than this, and not only as it is on top of one that is. What others wrote so a replica
/// may have pulled, and no correction of its clock could help it; `is_excuse` says of which of them to believe that.
pub(super) fn leads(change: &Change, latest: Stamp, is_excuse: impl Fn(&(ReplicaId, Stamp)) -> bool) -> bool {
    let is_late = |before: &&(ReplicaId, Stamp)| before.1 > latest && is_excuse(before);
    change.revision().stamp > latest && !change.ancestry.others().iter().any(|before| is_late(&before))
}

/// Which replica ids are a caller's, as far as that was asked in one transaction.
#[derive(Default)]
pub(super) struct Authors(HashMap<ReplicaId, bool>);

impl Authors {
    /// What the caller may do with the record that is here, by the scope that it is in.
    pub(super) async fn right_here(
        &mut self,
        tx: &mut dyn Transaction,
        pusher: &Pusher,
        here: &State,
    ) -> Result<Right> {
        let is_limited = here.change.schema.scope.is_some() && pusher.caller.scopes().is_some();
        if !is_limited {
            return Ok(Right::Replicate);
        }
        let right = scopes::rights(tx, &pusher.caller, [here]).await?[0];
        // What the caller deleted before it arrived here was in no scope ever; its id is the caller's to use again.
        let is_left_over = right < Right::Write
            && here.record.is_none()
            && scopes::of_states(tx, [here]).await?[0].as_deref() == Some("")
            && self.is_own(tx, pusher, here.change.revision().replica).await?;
        Ok(if is_left_over { pusher.caller.right_on(here.change.schema.name) } else { right })
    }

    /// Whether the caller may bring what this update says of who wrote the record: its own edits, on top of what is here.
    /// Anything else is for those who hold the right to hand on what others wrote; others could make it look here as if
    /// somebody's next edit were an old one.
    pub(super) async fn check(
        &mut self,
        tx: &mut dyn Transaction,
        pusher: &Pusher,
        update: &Update,
        here: Option<&State>,
        latest: Stamp,
    ) -> Result<std::result::Result<(), Rejection>> {
        let change = &update.state.change;
        if pusher.right_over(here, update) >= Right::Replicate {
            return Ok(Ok(()));
        }
        let current = change.revision();
        let wrote =
            [(current.replica, current.stamp)].into_iter().chain(change.ancestry.others().iter().copied());
        let is_here = |(author, stamp): &(ReplicaId, Stamp)| {
            here.and_then(|here| here.change.ancestry.seen(*author)).is_some_and(|seen| seen >= *stamp)
        };
        for entry @ (author, _) in wrote {
            if !is_here(&entry) && !self.is_own(tx, pusher, author).await? {
                return Ok(Err(rejection(&handed_on(&pusher.caller, change))));
            }
        }
        // A page under the author's own name was looked at before; it has a better answer for this.
        if leads(change, latest, is_here) {
            let message = format!(
                "{}: its stamp is {} s ahead of what is taken here; correct the clock and write it again",
                change.name(),
                (current.stamp - latest) / 1_000_000
            );
            return Ok(Err(rejection(&Error::new(ErrorKind::InvalidValue, message))));
        }
        Ok(Ok(()))
    }

    /// Whether the caller's own edit came here before; of another's it is not said, nor of what the edit claims to know.
    pub(super) async fn has_come(
        &mut self,
        tx: &mut dyn Transaction,
        pusher: &Pusher,
        update: &Update,
        here: &State,
    ) -> Result<bool> {
        let edit = update.state.change.revision();
        let is_here = here.change.ancestry.seen(edit.replica).is_some_and(|seen| seen >= edit.stamp);
        Ok(is_here && self.is_own(tx, pusher, edit.replica).await?)
    }

    /// Whether the caller pushes under this replica id, or was the first who did.
    async fn is_own(&mut self, tx: &mut dyn Transaction, pusher: &Pusher, author: ReplicaId) -> Result<bool> {
        if Some(author) == pusher.replica {
            return Ok(true);
        }
        if let Some(known) = self.0.get(&author) {
            return Ok(*known);
        }
        let first = notes::load::<PusherState>(tx, Room::Peer, &pusher_key(author)).await?;
        let first = first.and_then(|first| first.subject);
        let is_own = first.is_some() && first.as_deref() == pusher.caller.subject();
        self.0.insert(author, is_own);
        Ok(is_own)
    }
}

/// Fails where the replica id is somebody else's; one that is nobody's yet is this caller's from now on. Returns whether it
/// became so just now, for what is known of the pusher to be kept.
///
/// This replica, the names that it had, and the peers that it syncs with itself are nobody's to claim.
pub(super) async fn claim(
    tx: &mut dyn Transaction,
    caller: &Caller,
    models: &Models,
    id: ReplicaId,
    pusher: &mut PusherState,
) -> Result<bool> {
    pusher.belongs_to(caller, id)?;
    let (None, Some(subject)) = (&pusher.subject, caller.subject()) else { return Ok(false) };
    if caller.needs_anywhere(Right::Replicate, models).is_err() {
        let is_mine = id == tx.replica().await? || notes::former(tx).await?.contains(&id);
        if is_mine || notes::load::<PeerState>(tx, Room::Peer, &peer_key(id)).await?.is_some() {
            return Err(PusherState::of_another(caller, id));
        }
    }
    pusher.subject = Some(subject.to_owned());
    Ok(true)
}

/// The same for updates that are in no page, which leave no other trace of who brought them.
pub(super) async fn claim_and_keep(
    tx: &mut dyn Transaction,
    caller: &Caller,
    models: &Models,
    id: ReplicaId,
) -> Result<()> {
    let key = pusher_key(id);
    let mut pusher: PusherState = notes::load(tx, Room::Peer, &key).await?.unwrap_or_default();
    let is_known = pusher.has_pushed();
    // What it brings so may be gone by the time of its first pull.
    pusher.formerly = true;
    match claim(tx, caller, models, id, &mut pusher).await? || !is_known {
        true => notes::save(tx, Room::Peer, &key, &pusher).await,
        false => Ok(()),
    }
}

fn handed_on(caller: &Caller, change: &Change) -> Error {
    let who = caller.subject().unwrap_or("the owner");
    let message = format!(
        "{}: {who} has not the right {} on {}, which it takes to hand on what others wrote",
        change.name(),
        Right::Replicate,
        change.schema.name
    );
    Error::new(ErrorKind::Forbidden, message)
}
