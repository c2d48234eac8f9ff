//! What a sync could not settle: conflicts and refused records, kept in the store until they are resolved (by `resolve`).

use super::apply::apply;
use super::arrival::{Arrival, Merging};
use super::outbox::whole;
use super::parents;
use super::rebase::{self, Rebased};
use super::settle::{Said, Settled, settle};
use crate::change::{Change, RecordName, State};
use crate::codec::{self, Reader};
use crate::merge::{Side, Versions};
use crate::record::Id;
use crate::replica::{Outcome, Rejection, Update};
use crate::schema::{ModelSchema, Models};
use crate::store::{Room, Transaction};
use crate::version::{Relation, ReplicaId, Revision, Stamp, compare};
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet};

/// Stands between the parts of a key; ids may have anything in them but U+0000.
const SEPARATOR: char = '\u{1f}';

/// What is kept of a record that a sync could not settle with a peer.
#[derive(Debug, Clone)]
pub(crate) struct Parked {
    pub(crate) schema: &'static ModelSchema,
    pub(crate) id: Id,
    /// With whom.
    pub(crate) peer: ReplicaId,
    /// When it was noticed, by this replica's clock.
    pub(crate) since: Stamp,
    pub(crate) matter: Matter,
}

/// Why a record is parked.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "few of them are in memory at a time")]
pub(crate) enum Matter {
    /// The peer holds this, and neither side knew of the other.
    Conflict {
        /// What the peer holds.
        theirs: State,
        /// The state that both come from, if it is exactly known.
        base: Option<State>,
        /// Whether one edit may stand on both sides, so that nothing can be counted from the base.
        doubtful: bool,
        /// Whether the peer is declared upstream.
        upstream: bool,
        /// Why the two could not be merged, where that is not just that people have to decide.
        reason: Option<String>,
        /// Whether one side deleted the record and the other has a live child of it, which the delete waits for.
        waiting: bool,
    },
    /// The peer refused this revision of ours.
    Rejected {
        revision: Revision,
        rejection: Rejection,
        /// What the peer holds, as far as it is known; `None` too where it never had the record.
        held: Option<State>,
    },
    /// This store refused what the peer holds.
    Refused { theirs: State, rejection: Rejection },
}

/// A [`Parked`] as it is stored.
#[derive(Serialize, Deserialize)]
struct Row {
    model: String,
    id: Box<RawValue>,
    peer: ReplicaId,
    since: Stamp,
    kind: RowKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    theirs: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    doubtful: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    upstream: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    waiting: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<Revision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum RowKind {
    Conflict,
    Rejected,
    Refused,
}

impl Parked {
    /// The two sides of a conflict, for merging.
    pub(crate) fn versions<'a>(&'a self, mine: &'a State, theirs: &'a State) -> Versions<'a> {
        let (base, upstream) = match &self.matter {
            Matter::Conflict { base, doubtful, upstream, .. } => {
                (base.as_ref().filter(|_| !doubtful), *upstream)
            }
            _ => (None, false),
        };
        rebase::versions(mine, theirs, base, upstream.then_some(Side::Target))
    }

    /// `Todo 0193…`, for messages.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.schema.name, self.id)
    }

    fn key(&self) -> String {
        format!("{}{}{}", prefix(self.schema, Some(&self.id)), SEPARATOR, self.peer)
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let mut row = Row {
            model: self.schema.name.to_owned(),
            id: raw(codec::id(&self.id))?,
            peer: self.peer,
            since: self.since,
            kind: RowKind::Conflict,
            theirs: None,
            base: None,
            doubtful: false,
            upstream: false,
            waiting: false,
            revision: None,
            code: None,
            reason: None,
        };
        match &self.matter {
            Matter::Conflict { theirs, base, doubtful, upstream, reason, waiting } => {
                row.theirs = Some(raw(codec::stored(theirs))?);
                row.base = base.as_ref().map(|base| raw(codec::stored(base))).transpose()?;
                (row.doubtful, row.upstream, row.reason) = (*doubtful, *upstream, reason.clone());
                row.waiting = *waiting;
            }
            Matter::Rejected { revision, rejection, held } => {
                row.kind = RowKind::Rejected;
                row.base = held.as_ref().map(|held| raw(codec::stored(held))).transpose()?;
                row.revision = Some(*revision);
                (row.code, row.reason) = (Some(rejection.code.clone()), Some(rejection.reason.clone()));
            }
            Matter::Refused { theirs, rejection } => {
                row.kind = RowKind::Refused;
                row.theirs = Some(raw(codec::stored(theirs))?);
                (row.code, row.reason) = (Some(rejection.code.clone()), Some(rejection.reason.clone()));
            }
        }
        serde_json::to_vec(&row).map_err(|error| unreadable("write", &self.key()).with_source(error))
    }

    fn decode(models: &Models, key: &str, bytes: &[u8]) -> Result<Parked> {
        let row: Row =
            serde_json::from_slice(bytes).map_err(|error| unreadable("read", key).with_source(error))?;
        let schema = models.get(&row.model)?.schema;
        let missing = || unreadable("read", key);
        let doing = "reading a parked entry";
        let state = |json: Box<RawValue>| -> Result<State> {
            // What fitted an older schema is still shown to whoever decides.
            let reader = Reader::new(models).stored().keeping_misfits();
            reader.from_json(json.get().as_bytes(), reader.one(), doing)
        };
        let theirs = row.theirs.map(state).transpose()?;
        let reason = row.reason;
        let rejection =
            Rejection { code: row.code.unwrap_or_default(), reason: reason.clone().unwrap_or_default() };
        let matter = match row.kind {
            RowKind::Conflict => Matter::Conflict {
                theirs: theirs.ok_or_else(missing)?,
                // A base of an older schema may not read any more; then there is none.
                base: row.base.and_then(|base| state(base).ok()),
                doubtful: row.doubtful,
                upstream: row.upstream,
                reason,
                waiting: row.waiting,
            },
            RowKind::Rejected => Matter::Rejected {
                revision: row.revision.ok_or_else(missing)?,
                rejection,
                held: row.base.and_then(|held| state(held).ok()),
            },
            RowKind::Refused => Matter::Refused { theirs: theirs.ok_or_else(missing)?, rejection },
        };
        let reader = Reader::new(models).stored();
        let id = reader.from_json(row.id.get().as_bytes(), reader.id(schema), doing)?;
        Ok(Parked { schema, id, peer: row.peer, since: row.since, matter })
    }
}

fn raw(value: impl Serialize) -> Result<Box<RawValue>> {
    serde_json::value::to_raw_value(&value)
        .map_err(|error| Error::new(ErrorKind::Storage, "cannot write a parked entry").with_source(error))
}

fn unreadable(doing: &str, key: &str) -> Error {
    let key = key.replace(SEPARATOR, "/");
    Error::new(ErrorKind::Storage, format!("cannot {doing} the parked entry {key}"))
}

fn prefix(schema: &ModelSchema, id: Option<&Id>) -> String {
    match id {
        Some(id) => format!("{}{SEPARATOR}{id}", schema.name),
        None => format!("{}{SEPARATOR}", schema.name),
    }
}

/// The parked entries of a model, or of one record of it. Entries of models that are not registered stay unread.
pub(crate) async fn list(
    tx: &mut dyn Transaction,
    models: &Models,
    schema: &'static ModelSchema,
    id: Option<&Id>,
) -> Result<Vec<Parked>> {
    let prefix = match id {
        Some(id) => format!("{}{SEPARATOR}", prefix(schema, Some(id))),
        None => prefix(schema, None),
    };
    let rows = tx.notes(Room::Parked, &prefix).await?;
    // One that cannot be read stays where it is, and must not keep the others from being settled.
    let entries = rows.iter().filter_map(|(key, bytes)| Parked::decode(models, key, bytes).ok());
    Ok(entries.filter(|parked| id.is_none_or(|id| *id == parked.id)).collect())
}

/// Those of the states of which nothing is parked.
pub(crate) async fn not_parked(tx: &mut dyn Transaction, states: Vec<State>) -> Result<Vec<State>> {
    // Mostly nothing is parked at all: one look instead of one for each.
    if states.is_empty() || tx.notes_after(Room::Parked, "", "", 1).await?.is_empty() {
        return Ok(states);
    }
    let mut free = Vec::with_capacity(states.len());
    for state in states {
        let of_record = format!("{}{SEPARATOR}", prefix(state.change.schema, Some(&state.change.id)));
        if tx.notes_after(Room::Parked, &of_record, &of_record, 1).await?.is_empty() {
            free.push(state);
        }
    }
    Ok(free)
}

/// The revision of a record that a peer refused last, with what the peer holds instead.
pub(crate) async fn rejected_by(
    tx: &mut dyn Transaction,
    models: &Models,
    change: &Change,
    peer: ReplicaId,
) -> Result<Option<(Revision, Option<State>)>> {
    let entries = list(tx, models, change.schema, Some(&change.id)).await?.into_iter();
    let mut rejected = entries.filter(|entry| entry.peer == peer).filter_map(|entry| match entry.matter {
        Matter::Rejected { revision, held, .. } => Some((revision, held)),
        _ => None,
    });
    Ok(rejected.next())
}

/// The conflicts with a peer that were filed and not removed, of all registered models.
pub(crate) async fn conflicts_with(
    tx: &mut dyn Transaction,
    models: &Models,
    peer: ReplicaId,
) -> Result<Vec<Parked>> {
    let mut conflicts = Vec::new();
    // Mostly nothing is parked at all: one look instead of one for each model.
    if !tx.notes(Room::Parked, "").await?.is_empty() {
        for model in models.iter() {
            conflicts.extend(list(tx, models, model.schema, None).await?);
        }
    }
    conflicts.retain(|parked| parked.peer == peer && matches!(parked.matter, Matter::Conflict { .. }));
    Ok(conflicts)
}

/// Keeps an entry; one of the same record and peer is replaced, but stands for as long as that one stood.
pub(crate) async fn park(tx: &mut dyn Transaction, models: &Models, parked: &mut Parked) -> Result<()> {
    let before = list(tx, models, parked.schema, Some(&parked.id)).await?;
    if let Some(before) = before.iter().find(|before| before.peer == parked.peer) {
        parked.since = before.since;
    }
    tx.note(Room::Parked, &parked.key(), Some(parked.encode()?)).await
}

/// What was parked with a peer stands under its new name.
pub(crate) async fn hand_over(
    tx: &mut dyn Transaction,
    models: &Models,
    from: ReplicaId,
    to: ReplicaId,
) -> Result<()> {
    let of_peer = format!("{SEPARATOR}{from}");
    let mut rows = Vec::new();
    for (key, bytes) in tx.notes(Room::Parked, "").await? {
        if key.ends_with(&of_peer)
            && let Ok(parked) = Parked::decode(models, &key, &bytes)
        {
            let parked = Parked { peer: to, ..parked };
            rows.extend([(key, None), (parked.key(), Some(parked.encode()?))]);
        }
    }
    tx.note_all(Room::Parked, rows).await
}

/// Removes an entry.
pub(crate) async fn remove(tx: &mut dyn Transaction, parked: &Parked) -> Result<()> {
    tx.note(Room::Parked, &parked.key(), None).await
}

/// The states that stand in conflicts of these records: what a peer held, and what that was merged on.
pub(crate) async fn states_in_conflicts(
    tx: &mut dyn Transaction,
    models: &Models,
    records: impl Iterator<Item = &RecordName>,
) -> Result<HashMap<RecordName, Vec<State>>> {
    let mut found = HashMap::new();
    // Mostly nothing is parked at all: one look instead of one for each record.
    if tx.notes(Room::Parked, "").await?.is_empty() {
        return Ok(found);
    }
    for name in records {
        let schema = models.get(name.0)?.schema;
        let entries = list(tx, models, schema, Some(&name.1)).await?.into_iter();
        let states = entries.flat_map(|parked| match parked.matter {
            Matter::Conflict { theirs, base, .. } => vec![Some(theirs), base],
            _ => Vec::new(),
        });
        found.insert(name.clone(), states.flatten().collect());
    }
    Ok(found)
}

/// What settled, and what did not, when updates of a peer came home.
#[derive(Debug, Default)]
pub(crate) struct Home {
    /// How many records were taken.
    pub(crate) applied: usize,
    /// How many were here already.
    pub(crate) known: usize,
    /// What was parked.
    pub(crate) parked: Vec<Parked>,
    /// What was merged.
    pub(crate) rebased: Vec<Rebased>,
    /// Whether something was stored that the peer does not hold exactly so.
    pub(crate) news: bool,
}

impl Home {
    /// Adds what came of more updates of the same peer.
    pub(crate) fn add(&mut self, more: Home) {
        self.applied += more.applied;
        self.known += more.known;
        self.parked.extend(more.parked);
        self.rebased.extend(more.rebased);
        self.news |= more.news;
    }
}

/// Takes updates of a peer home: applies them, merges, files conflicts and refusals, clears the entries that settled.
///
/// An unsent edit is never skipped and never overwritten: it descends, joins, or is a conflict at once.
pub(crate) async fn take_home(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    updates: Vec<Update>,
) -> Result<Home> {
    let mut home = Home::default();
    let peer =
        arrival.from.ok_or_else(|| Error::new(ErrorKind::Usage, "updates without a sender come home"))?;
    let touched: Vec<Settled> = updates.iter().map(|update| Settled::at(&update.state.change)).collect();
    let mut applied = apply(tx, arrival, updates).await?;
    home.news = applied.news;
    let left: HashSet<usize> = applied.left.iter().map(|(place, _)| *place).collect();
    for outcome in &applied.outcomes {
        match outcome {
            Outcome::Applied | Outcome::Amended(_) => home.applied += 1,
            Outcome::Known => home.known += 1,
            _ => {}
        }
    }
    let mut settled: Vec<_> = touched
        .into_iter()
        .enumerate()
        .filter(|(place, _)| !left.contains(place))
        .map(|(_, record)| record)
        .collect();
    let (mut conflicts, mut matters) = (Vec::new(), Vec::new());
    for (place, update) in applied.left {
        let theirs = update.state;
        match &applied.outcomes[place] {
            Outcome::Conflict(here) => match applied.waiting.remove(&place) {
                Some(reason) => {
                    let (schema, id) = (theirs.change.schema, theirs.change.id.clone());
                    let upstream = arrival.merging == Merging::By { upstream: true };
                    matters.push((schema, id, waits(theirs, here, upstream, reason)));
                }
                None => conflicts.push(theirs),
            },
            Outcome::Rejected(rejection) => {
                let (schema, id) = (theirs.change.schema, theirs.change.id.clone());
                matters.push((schema, id, Matter::Refused { theirs, rejection: rejection.clone() }));
            }
            _ => {}
        }
    }
    let rebased = rebase::rebase(tx, arrival, peer, conflicts).await?;
    // The peer does not hold what came of the two.
    home.news |= !rebased.rebased.is_empty();
    settled.extend(rebased.rebased.iter().map(|record| Settled::of(record.schema, record.id.clone())));
    settle(tx, &arrival.models, Said::Holds(peer), settled).await?;
    for (schema, id, matter) in matters.into_iter().chain(rebased.left) {
        let mut parked = Parked { schema, id, peer, since: arrival.now, matter };
        park(tx, &arrival.models, &mut parked).await?;
        home.parked.push(parked);
    }
    home.rebased = rebased.rebased;
    Ok(home)
}

/// rule: parents first. The conflict of a parent that one side deleted while the other has a live child of it.
fn waits(theirs: State, live: &State, upstream: bool, reason: String) -> Matter {
    let base = Some(live.clone());
    Matter::Conflict { theirs, base, doubtful: false, upstream, reason: Some(reason), waiting: true }
}

/// Whether the peer answered a tombstone with the live state that it was made from: it has a live child of it.
pub(crate) fn waits_there(sent: &Change, there: &State) -> bool {
    sent.is_delete()
        && there.record.is_some()
        && compare(&sent.ancestry, &there.change.ancestry) == Relation::Newer
}

/// The entry of a tombstone that waits at a peer, which holds this.
pub(crate) fn waiting_there(arrival: &Arrival, peer: ReplicaId, there: State) -> Parked {
    let (schema, id) = (there.change.schema, there.change.id.clone());
    let reason =
        format!("{} cannot be deleted there: a record whose parent it is, is not", there.change.name());
    let upstream = arrival.merging == Merging::By { upstream: true };
    let matter = waits(there.clone(), &there, upstream, reason);
    Parked { schema, id, peer, since: arrival.now, matter }
}

/// Parent and child are one conflict: without the entries of children that only wait for their parent's.
pub(crate) fn as_one(
    models: &Models,
    mut open: Vec<(Parked, Option<State>)>,
) -> Vec<(Parked, Option<State>)> {
    let waiting =
        open.iter().filter(|(parked, _)| matches!(parked.matter, Matter::Conflict { waiting: true, .. }));
    let waiting: HashSet<RecordName> =
        waiting.map(|(parked, _)| (parked.schema.name, parked.id.clone())).collect();
    open.retain(|(parked, mine)| {
        let (child, rejection) = match &parked.matter {
            Matter::Conflict { .. } => return true,
            Matter::Rejected { rejection, .. } => (mine.as_ref(), rejection),
            Matter::Refused { theirs, rejection } => (Some(theirs), rejection),
        };
        let parents = child.map(|child| parents::parents_of(models, child)).unwrap_or_default();
        rejection.code != ErrorKind::Constraint.code()
            || !parents.iter().any(|parent| waiting.contains(parent))
    });
    open
}

/// rule: parents first. Tries again what only a constraint of this store refused before, and the deletes that wait for
/// a child. What is still refused was told before.
pub(crate) async fn retry_refused(tx: &mut dyn Transaction, arrival: &Arrival) -> Result<Home> {
    let mut updates = Vec::new();
    // Mostly nothing is parked at all: one look instead of one for each model.
    if !tx.notes(Room::Parked, "").await?.is_empty() {
        for model in arrival.models.iter() {
            let entries = list(tx, &arrival.models, model.schema, None).await?.into_iter();
            let entries = entries.filter(|parked| Some(parked.peer) == arrival.from);
            updates.extend(entries.filter_map(|parked| match parked.matter {
                Matter::Refused { theirs, rejection } if rejection.code == ErrorKind::Constraint.code() => {
                    Some(whole(theirs))
                }
                Matter::Conflict { theirs, waiting: true, .. } if theirs.record.is_none() => {
                    Some(whole(theirs))
                }
                _ => None,
            }));
        }
    }
    if updates.is_empty() {
        return Ok(Home::default());
    }
    let home = take_home(tx, arrival, updates).await?;
    let is_new = |parked: &Parked| matches!(parked.matter, Matter::Conflict { waiting: false, .. });
    let parked = home.parked.into_iter().filter(is_new).collect();
    Ok(Home { parked, rebased: home.rebased, news: home.news, ..Home::default() })
}

/// What this peer refused for now only (by a constraint, or as gone), with its state here, where that is the refused one
/// still; and the deletes that wait at this peer.
pub(crate) async fn refused_for_now(
    tx: &mut dyn Transaction,
    models: Models,
    peer: ReplicaId,
) -> Result<Vec<(Parked, State)>> {
    let mut refused = Vec::new();
    if tx.notes(Room::Parked, "").await?.is_empty() {
        return Ok(refused);
    }
    for model in models.iter() {
        for parked in list(tx, &models, model.schema, None).await? {
            let revision = match &parked.matter {
                Matter::Rejected { revision, rejection, .. }
                    if [ErrorKind::Constraint.code(), ErrorKind::Gone.code()]
                        .contains(&rejection.code.as_str()) =>
                {
                    Some(*revision)
                }
                Matter::Conflict { theirs, waiting: true, .. } if theirs.record.is_some() => None,
                _ => continue,
            };
            if parked.peer != peer {
                continue;
            }
            let state = tx.states(parked.schema, std::slice::from_ref(&parked.id)).await?.pop().flatten();
            let is_it = |state: &State| {
                revision.map_or(state.record.is_none(), |revision| state.change.revision() == revision)
            };
            if let Some(state) = state.filter(is_it) {
                refused.push((parked, state));
            }
        }
    }
    Ok(refused)
}
