//! Resolving conflicts: a revision that descends from both sides, in one transaction, with what it means for the
//! parents and children of the record.

use super::apply::{horizon, kept_as_base, on_top};
use super::inbox::{Matter, Parked, list, remove};
use super::rebase::{common, merged_pair, resolved_stamps};
use super::settle::is_settled;
use super::{parents, unread};
use crate::change::{Change, ChangeKind, Group, RecordName, State};
use crate::merge::{Side, combine};
use crate::planted::{self, Bug};
use crate::record::{Record, Unknown};
use crate::schema::Models;
use crate::store::{Base, Expect, Saved, Transaction, Write};
use crate::version::{Relation, Revision, Stamp, compare};
use crate::{Error, ErrorKind, Result};

/// How a conflict is resolved.
#[derive(Debug, Clone)]
pub(crate) enum Resolution {
    /// This replica's version stands.
    Mine,
    /// The peer's version stands.
    Theirs,
    /// This stands; `None` deletes the record.
    Value(Option<Record>),
    /// What the policies make of the two, and of the fields in dispute the version of this side each.
    Fields(Vec<(usize, Side)>),
}

/// The record of a resolution field by field.
fn by_fields(
    mine: &State,
    entry: &Parked,
    theirs: &State,
    chosen: &[(usize, Side)],
) -> Result<(Option<Record>, Option<Box<Unknown>>)> {
    let combined = combine(entry.versions(mine, theirs));
    let (Some(mut record), Some(target)) = (combined.record, &theirs.record) else {
        let message =
            format!("{} {} is deleted on one side: choose one side whole", entry.schema.name, entry.id);
        return Err(Error::new(ErrorKind::Usage, message));
    };
    let chose =
        |place: usize| chosen.iter().rev().find(|(chosen, _)| *chosen == place).map(|(_, side)| *side);
    let open = combined.disputed.iter().filter(|dispute| chose(dispute.place).is_none());
    let open: Vec<&str> = open.map(|dispute| entry.schema.fields[dispute.place].name).collect();
    if !open.is_empty() {
        let message =
            format!("{} {}: nobody chose a side of {}", entry.schema.name, entry.id, open.join(", "));
        return Err(Error::new(ErrorKind::Usage, message));
    }
    for (place, _) in chosen {
        let side = if chose(*place) == Some(Side::Target) { Some(target) } else { mine.record.as_ref() };
        if let Some(value) = side.and_then(|side| side.get(*place)) {
            record.set(*place, value.clone());
        }
    }
    Ok((Some(record), combined.unknown))
}

/// A conflict as it stands now, with the record as it is here.
///
/// Fails with [`ErrorKind::Moved`] if either side moved since `mine` and `parked` were read, so that nobody overwrites
/// what nobody has seen.
pub(super) async fn standing(
    tx: &mut dyn Transaction,
    models: &Models,
    parked: &Parked,
    mine: Option<Revision>,
) -> Result<(Parked, State)> {
    let (schema, id) = (parked.schema, &parked.id);
    let name = parked.name();
    let moved = |what: &str| {
        Error::new(
            ErrorKind::Moved,
            format!("{what} of {name} changed since the conflict was read; read it again"),
        )
    };
    let Matter::Conflict { theirs: seen, .. } = &parked.matter else {
        return Err(Error::new(ErrorKind::Usage, format!("{name} is not in conflict")));
    };
    let entry = list(tx, models, schema, Some(id)).await?.into_iter().find(|entry| entry.peer == parked.peer);
    let Some(entry) = entry else {
        return Err(moved("the conflict"));
    };
    let Matter::Conflict { theirs, .. } = &entry.matter else {
        return Err(moved("the conflict"));
    };
    let blind = planted::on(Bug::BlindResolution);
    if theirs.change.revision() != seen.change.revision() && !blind {
        return Err(moved("the other side"));
    }
    let current = tx.states(schema, std::slice::from_ref(id)).await?.pop().flatten();
    if current.as_ref().map(|state| state.change.revision()) != mine && !blind {
        return Err(moved("this side"));
    }
    let Some(current) = current else {
        return Err(Error::new(ErrorKind::NotFound, format!("{name} was never here")));
    };
    if current.lacks_record() {
        let reason = unread::refusal(tx, &current.change).await?.reason;
        return Err(Error::new(ErrorKind::InvalidValue, reason));
    }
    // A merge may have settled it and left this side's revision as it is.
    if is_settled(&entry.matter, Some(&current.change)) && !blind {
        return Err(moved("the conflict"));
    }
    Ok((entry, current))
}

/// Resolves a conflict: makes a revision that descends from both sides, in one transaction.
///
/// Gives the record's state afterwards. Fails as [`standing`].
pub(crate) async fn resolve(
    tx: &mut dyn Transaction,
    models: &Models,
    parked: &Parked,
    mine: Option<Revision>,
    resolution: Resolution,
    now: Stamp,
) -> Result<State> {
    let (entry, current) = standing(tx, models, parked, mine).await?;
    let (schema, id) = (entry.schema, &entry.id);
    let name = entry.name();
    let Matter::Conflict { theirs, .. } = &entry.matter else {
        return Err(Error::new(ErrorKind::Usage, format!("{name} is not in conflict")));
    };
    let unknown_of = |state: &State| state.change.unknown.clone();
    let (record, unknown) = match resolution {
        Resolution::Mine => (current.record.clone(), unknown_of(&current)),
        Resolution::Theirs => (theirs.record.clone(), unknown_of(theirs)),
        Resolution::Value(record) => {
            let unknown = record.as_ref().and_then(|_| unknown_of(&current).or_else(|| unknown_of(theirs)));
            (record.map(|record| record.without_local(schema)), unknown)
        }
        Resolution::Fields(chosen) => by_fields(&current, &entry, theirs, &chosen)?,
    };
    if let Some(record) = &record {
        (models.get(schema.name)?.check)(record)
            .map_err(|error| error.context(format!("resolving {name}")))?;
    }
    let me = tx.replica().await?;
    let waiting = matches!(entry.matter, Matter::Conflict { waiting: true, .. });
    if waiting && record.is_none() {
        delete_children(tx, models, &entry, now)
            .await
            .map_err(|error| error.context(format!("resolving {name}")))?;
    }
    let kind = match (&record, &current.record) {
        (None, _) => ChangeKind::Delete,
        (Some(_), None) => ChangeKind::Create,
        (Some(_), Some(_)) => ChangeKind::Update,
    };
    let change = Change {
        kind,
        ancestry: current.change.ancestry.above(&theirs.change.ancestry, now, me),
        merged: Some(merged_pair(current.change.revision(), theirs.change.revision())),
        previous: Some(current.change.revision()),
        group: Some(Group::MIN),
        origin: None,
        unknown,
        ..current.change.clone()
    };
    let until = tx.newest().await? + 1;
    // After a rebase, the other side's state is what both have in common.
    let common = common(theirs, entry.peer);
    let horizon = horizon(tx).await?;
    // What is overwritten here may be in a page that was sent and not answered.
    let mine = Some(current.clone()).filter(|current| kept_as_base(&current.change, horizon));
    let bases = mine.into_iter().chain([common]).map(|state| Base { state, until });
    tx.add_bases(bases.collect()).await?;
    let mut state = State { change, record };
    state.change.stamps = resolved_stamps(&state, &current, theirs);
    let put = tx.put(std::slice::from_ref(&state), now).await?.pop();
    if let Some(crate::store::Put::Refused(reason)) = put {
        let message = format!("resolving {name}: the database refuses the record: {reason}");
        return Err(Error::new(ErrorKind::Constraint, message));
    }
    remove(tx, &entry).await?;
    keep_parents(tx, models, &state, now).await?;
    let stored = tx.states(schema, std::slice::from_ref(id)).await?.pop().flatten();
    Ok(stored.unwrap_or(state))
}

/// rule: parents first. Deletes the live children of a parent that is about to go, and theirs; those of the peer too
/// that a constraint keeps out of this store.
async fn delete_children(
    tx: &mut dyn Transaction,
    models: &Models,
    parent: &Parked,
    now: Stamp,
) -> Result<()> {
    let of: RecordName = (parent.schema.name, parent.id.clone());
    let children = parents::descendants(tx, models, of.clone()).await?;
    let writes =
        children.into_iter().map(|(schema, id)| Write { schema, id, record: None, expect: Expect::Any });
    let writes: Vec<Write> = writes.collect();
    let saved = tx.save(writes.clone(), now).await?;
    for (write, saved) in writes.iter().zip(saved) {
        if let Saved::Refused(reason) = saved {
            let message = format!("deleting its child {} {}: {reason}", write.schema.name, write.id);
            return Err(Error::new(ErrorKind::Constraint, message));
        }
    }
    let me = tx.replica().await?;
    let mut schemas: Vec<_> = models.children_of(of.0).map(|(schema, _)| schema).collect();
    schemas.dedup_by_key(|schema| schema.name);
    for schema in schemas {
        for entry in list(tx, models, schema, None).await? {
            let Matter::Refused { theirs, .. } = &entry.matter else { continue };
            if !parents::parents_of(models, theirs).contains(&of) {
                continue;
            }
            let current = tx.changes(entry.schema, std::slice::from_ref(&entry.id)).await?.pop().flatten();
            let older = |current: &Change| {
                matches!(compare(&current.ancestry, &theirs.change.ancestry), Relation::Older)
            };
            if current.as_ref().is_none_or(older) {
                let mut gone = on_top(theirs, None, me, now);
                gone.change.group = Some(Group::MIN);
                tx.put(std::slice::from_ref(&gone), now).await?;
                remove(tx, &entry).await?;
            }
        }
    }
    Ok(())
}

/// rule: parents first. A child that was kept brings back the parents whose deletes wait for it.
pub(super) async fn keep_parents(
    tx: &mut dyn Transaction,
    models: &Models,
    child: &State,
    now: Stamp,
) -> Result<()> {
    for (model, id) in parents::parents_of(models, child) {
        let Ok(model) = models.get(model) else { continue };
        for entry in list(tx, models, model.schema, Some(&id)).await? {
            let waits = matches!(&entry.matter, Matter::Conflict { theirs, waiting: true, .. } if theirs.record.is_none());
            let here = tx.changes(model.schema, std::slice::from_ref(&id)).await?.pop().flatten();
            if let Some(here) = here.filter(|here| waits && !here.is_delete()) {
                let kept = resolve(tx, models, &entry, Some(here.revision()), Resolution::Mine, now);
                Box::pin(kept).await?;
            }
        }
    }
    Ok(())
}
