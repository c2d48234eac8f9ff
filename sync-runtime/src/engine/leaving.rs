//! Records that left the scopes which this replica may read at a peer: they leave this store too, without a trace, unless
//! something in them is not at the peer.

use super::apply::Arrival;
use super::inbox::{self, Home, Matter, Parked};
use super::notes::{Leaving, PeerState};
use super::parents::{self, Step};
use super::scopes::id_of;
use crate::change::{Change, ChangeKind, State};
use crate::replica::{Exit, Rejection};
use crate::store::{Put, Transaction};
use crate::version::{ReplicaId, Stamp};
use crate::{ErrorKind, Result};

/// A record on its way out, with what would stand in its place.
struct Gone {
    exit: Exit,
    here: State,
    tombstone: State,
}

/// Takes away what left. An edit that is not at the peer stays, and is reported; a record that others here need stays until
/// they are gone too.
pub(crate) async fn leave(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    from: ReplicaId,
    peer: &mut PeerState,
    exits: Vec<Exit>,
    home: &mut Home,
) -> Result<()> {
    take_away(tx, arrival, from, peer, exits, Some(home)).await
}

/// Takes away what was deleted so long ago that its tombstone is gone. An edit that is not at the peer stays, and is pushed.
pub(crate) async fn purged(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    from: ReplicaId,
    peer: &mut PeerState,
    records: Vec<Exit>,
) -> Result<()> {
    take_away(tx, arrival, from, peer, records, None).await
}

/// `home` takes the reports of edits that are not at the peer, where those cannot go there any more.
async fn take_away(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    from: ReplicaId,
    peer: &mut PeerState,
    exits: Vec<Exit>,
    mut home: Option<&mut Home>,
) -> Result<()> {
    if exits.is_empty() && peer.leaving.is_empty() {
        return Ok(());
    }
    let waiting = std::mem::take(&mut peer.leaving).into_iter().filter_map(|left| {
        let schema = arrival.models.get(&left.model).ok()?.schema;
        Some(Exit { schema, id: id_of(schema, &left.id)?, scope: left.scope })
    });
    let mut gone = Vec::new();
    for exit in waiting.chain(exits) {
        let Some(here) = tx.states(exit.schema, std::slice::from_ref(&exit.id)).await?.pop().flatten() else {
            continue;
        };
        let Some(record) = &here.record else { continue };
        // It came back in another scope, or went there by an edit that the peer has still to answer.
        if exit.schema.scope_of(record).ok().as_ref() != Some(&exit.scope) {
            continue;
        }
        let parked = inbox::list(tx, &arrival.models, exit.schema, Some(&exit.id)).await?;
        let change = &here.change;
        let parked = parked.into_iter().find(|entry| entry.peer == from).map(|entry| entry.matter);
        let is_refused =
            matches!(&parked, Some(Matter::Rejected { revision, .. }) if *revision == change.revision());
        let is_unsent = change.origin != Some(from) && !peer.has_acknowledged(change.position);
        if is_refused || is_unsent {
            if let Some(home) = &mut home {
                let mut entry = unsent(arrival, from, &exit, change);
                inbox::park(tx, &arrival.models, &mut entry).await?;
                home.parked.push(entry);
            }
            continue;
        }
        // What people have to decide stays until they have.
        if parked.is_some() {
            continue;
        }
        let tombstone = tombstone(&here);
        gone.push(Gone { exit, here, tombstone });
    }
    let steps: Vec<Step> =
        gone.iter().map(|gone| Step::new(&arrival.models, Some(&gone.here), &gone.tombstone)).collect();
    let needed = parents::waiting(tx, &arrival.models, &steps.iter().collect::<Vec<_>>()).await?;
    for place in parents::order(&steps) {
        let Gone { exit, tombstone, .. } = &gone[place];
        let is_needed = needed.contains_key(&place) || erase(tx, tombstone, arrival.now).await?.is_err();
        if is_needed {
            let (model, id, scope) = (exit.schema.name.to_owned(), exit.id.to_string(), exit.scope.clone());
            peer.leaving.push(Leaving { model, id, scope });
        }
    }
    Ok(())
}

/// What would stand in the place of a record that goes.
pub(crate) fn tombstone(here: &State) -> State {
    let change = Change {
        kind: ChangeKind::Delete,
        origin: None,
        group: None,
        unknown: None,
        stamps: None,
        ..here.change.clone()
    };
    State { change, record: None }
}

/// Takes a record and its tracking away, as if it had never been here; the reason if a constraint refuses it.
pub(crate) async fn erase(
    tx: &mut dyn Transaction,
    tombstone: &State,
    now: Stamp,
) -> Result<std::result::Result<(), String>> {
    let put = tx.put(std::slice::from_ref(tombstone), now).await?.pop();
    if let Some(Put::Refused(reason)) = put {
        return Ok(Err(reason));
    }
    tx.erase(tombstone.change.schema, std::slice::from_ref(&tombstone.change.id)).await?;
    Ok(Ok(()))
}

fn unsent(arrival: &Arrival, peer: ReplicaId, exit: &Exit, change: &Change) -> Parked {
    let reason = format!(
        "{} left the scope `{}` at the peer, which takes no edit of it any more; it stays here as it is",
        change.name(),
        exit.scope
    );
    let rejection = Rejection { code: ErrorKind::Gone.code().to_owned(), reason };
    let matter = Matter::Rejected { revision: change.revision(), rejection, held: None };
    Parked { schema: exit.schema, id: exit.id.clone(), peer, since: arrival.now, matter }
}
