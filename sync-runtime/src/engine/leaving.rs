//! Records that left the scopes which this replica may read at a peer: they leave this store too, without a trace, unless
//! something in them is not at the peer.

use super::arrival::Arrival;
use super::inbox::{self, Home, Matter, Parked};
use super::left;
use super::notes::{Leaving, PeerState};
use super::parents::{self, Step};
use super::purge;
use super::scopes::id_of;
use crate::change::{Change, ChangeKind, State};
use crate::replica::{Exit, Rejection};
use crate::store::{Put, Transaction};
use crate::version::{ReplicaId, Stamp};
use crate::{ErrorKind, Result};
use std::collections::HashSet;

/// A record on its way out, with what would stand in its place.
struct Gone {
    exit: Exit,
    here: State,
    tombstone: State,
    is_unwanted: bool,
}

/// Takes away what left. An edit that is not at the peer stays, and is reported, unless the peer takes it still; a record that
/// others here need stays until they are gone too.
pub(crate) async fn leave(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    from: ReplicaId,
    peer: &mut PeerState,
    exits: Vec<Exit>,
    home: &mut Home,
) -> Result<()> {
    let (unmatched, left): (Vec<Exit>, Vec<Exit>) = exits.into_iter().partition(|exit| exit.unmatched);
    take_away(tx, arrival, from, peer, left, Why::Left(home)).await?;
    match unmatched.is_empty() {
        true => Ok(()),
        false => take_away(tx, arrival, from, peer, unmatched, Why::Unmatched).await,
    }
}

/// Why records go.
pub(crate) enum Why<'h> {
    /// They left their scope. What is not at the peer cannot go there any more, and is reported here.
    Left(&'h mut Home),
    /// They are not at the peer any more, or not where this replica pulls, and it was not told why. An edit that is not at the
    /// peer is pushed; what the peer refused of them is reported as gone.
    Lacking(&'h mut Home),
    /// They do not match what is pulled. An edit that is not at the peer is pushed.
    Unmatched,
    /// They are not subscribed to any more. An edit stays until it is at the peer.
    Unwanted,
}

/// Takes records away, but for edits that are not at the peer.
pub(crate) async fn take_away(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    from: ReplicaId,
    peer: &mut PeerState,
    exits: Vec<Exit>,
    mut why: Why<'_>,
) -> Result<()> {
    if exits.is_empty() && peer.leaving.is_empty() {
        return Ok(());
    }
    let mut waiting = std::mem::take(&mut peer.leaving);
    if !waiting.is_empty() {
        // What is told now is newer.
        let told = exits.iter().map(|exit| (exit.schema.name, exit.id.to_string()));
        let told: HashSet<(&str, String)> = told.collect();
        waiting.retain(|left| !told.contains(&(left.model.as_str(), left.id.clone())));
    }
    let waiting = waiting.into_iter().filter_map(|left| {
        let schema = arrival.models.get(&left.model).ok()?.schema;
        let id = id_of(schema, &left.id)?;
        let exit = Exit { schema, id, scope: left.scope, unmatched: left.unmatched };
        Some((exit, left.unwanted, true))
    });
    let (is_unwanted, is_lacking) = (matches!(why, Why::Unwanted), matches!(why, Why::Lacking(_)));
    let (mut gone, mut stays) = (Vec::new(), Vec::new());
    // A peer of this process may have another program's schema of the model.
    let exits = exits.into_iter().filter_map(|exit| {
        let schema = arrival.models.get(exit.schema.name).ok()?.schema;
        Some((Exit { schema, ..exit }, is_unwanted, false))
    });
    for (exit, is_unwanted, has_waited) in waiting.chain(exits) {
        // The checkpoint has to be behind what was pushed of it first, see `Session::drop_unwanted`.
        if is_unwanted && !matches!(why, Why::Unwanted) {
            stays.push((exit, true));
            continue;
        }
        let Some(here) = tx.states(exit.schema, std::slice::from_ref(&exit.id)).await?.pop().flatten() else {
            // What could not be stored here does not come any more.
            for entry in inbox::list(tx, &arrival.models, exit.schema, Some(&exit.id)).await? {
                if entry.peer == from && matches!(entry.matter, Matter::Refused { .. }) {
                    inbox::remove(tx, &entry).await?;
                }
            }
            continue;
        };
        let parked = inbox::list(tx, &arrival.models, exit.schema, Some(&exit.id)).await?;
        let change = &here.change;
        let parked = parked.into_iter().find(|entry| entry.peer == from).map(|entry| entry.matter);
        let refused = match &parked {
            Some(Matter::Rejected { revision, rejection, held }) if *revision == change.revision() => {
                Some((rejection, held))
            }
            _ => None,
        };
        let is_open = refused.is_some() || !peer.has(from, change);
        let scope = here.record.as_ref().and_then(|record| exit.schema.scope_of(record).ok());
        // It came back in another scope. Where an edit took it there, or deleted it, the peer's has left all the same.
        let is_elsewhere = scope.as_ref() != Some(&exit.scope);
        if is_elsewhere && (!is_open || is_unwanted || exit.unmatched) {
            continue;
        }
        if is_open {
            let is_told = refused.is_some_and(|(rejection, _)| rejection.code == ErrorKind::Gone.code());
            let was_there =
                refused.is_some_and(|(_, held)| held.as_ref().is_some_and(|held| held.record.is_some()));
            let is_left = match &why {
                Why::Left(_) => true,
                Why::Lacking(_) => was_there,
                Why::Unmatched | Why::Unwanted => false,
            };
            match &mut why {
                _ if is_unwanted => stays.push((exit, true)),
                _ if exit.unmatched => {}
                Why::Left(home) | Why::Lacking(home) if is_left => {
                    if !is_told {
                        park(tx, arrival, from, &exit, change, home).await?;
                    }
                    stays.push((exit, false));
                }
                // It is reported once the peer's exits are looked at again.
                _ if has_waited => stays.push((exit, false)),
                _ => {}
            }
            continue;
        }
        // What people have to decide stays until they have.
        if parked.is_some() {
            stays.push((exit, is_unwanted));
            continue;
        }
        let tombstone = tombstone(&here);
        gone.push(Gone { exit, here, tombstone, is_unwanted });
    }
    let steps: Vec<Step> =
        gone.iter().map(|gone| Step::new(&arrival.models, Some(&gone.here), &gone.tombstone)).collect();
    let needed = parents::waiting(tx, &arrival.models, &steps.iter().collect::<Vec<_>>()).await?;
    let (mut left, mut changes, before) = (Vec::new(), Vec::new(), tx.newest().await?);
    for place in parents::order(&steps) {
        let Gone { exit, here, tombstone, is_unwanted } = &gone[place];
        match needed.contains_key(&place) || erase(tx, tombstone, arrival.now).await?.is_err() {
            true => stays.push((exit.clone(), *is_unwanted)),
            false => {
                changes.push(&here.change);
                left.push((exit.schema, exit.id.clone()));
            }
        }
    }
    left::note(tx, &left, arrival.now).await?;
    // Who pulls here has to look for what is gone; and of what was purged nobody else may bring anything back.
    let newest = changes.iter().map(|change| change.revision().stamp).max().filter(|newest| *newest > 0);
    if let Some(newest) = newest
        && (is_lacking || purge::is_pulled(tx).await?)
    {
        purge::note_writers(tx, changes.into_iter()).await?;
        // One that is ahead of all clocks would have later records taken for old ones.
        purge::raise(tx, newest.min(arrival.latest()), before).await?;
    }
    peer.leaving.extend(stays.into_iter().map(|(exit, is_unwanted)| Leaving::of(exit, is_unwanted)));
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

/// Reports an edit that cannot go to the peer any more.
async fn park(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    peer: ReplicaId,
    exit: &Exit,
    change: &Change,
    home: &mut Home,
) -> Result<()> {
    let reason = format!(
        "{} left the scope `{}` at the peer, which takes no edit of it any more; it stays here as it is",
        change.name(),
        exit.scope
    );
    let rejection = Rejection { code: ErrorKind::Gone.code().to_owned(), reason };
    let matter = Matter::Rejected { revision: change.revision(), rejection, held: None };
    let mut entry = Parked { schema: exit.schema, id: exit.id.clone(), peer, since: arrival.now, matter };
    inbox::park(tx, &arrival.models, &mut entry).await?;
    home.parked.push(entry);
    Ok(())
}
