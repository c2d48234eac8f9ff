//! Two versions of a whole record as one.

use super::{Merge, OnDelete, Side};
use crate::change::{Change, Stamps, State};
use crate::record::{Record, Unknown};
use crate::schema::{FieldSchema, ModelSchema};
use crate::value::Value;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is known of the state that both versions come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Base<'a> {
    /// rule: exact base. This is it.
    Exact(&'a State),
    /// Both were made on their own: no writer wrote both.
    Nothing,
    /// They have something in common, and nobody here knows what.
    Unknown,
}

/// Two versions of one record, neither of which knew of the other: the source is this replica's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Versions<'a> {
    pub(crate) base: Base<'a>,
    pub(crate) source: &'a State,
    pub(crate) target: &'a State,
    /// Which side is declared upstream, if one is.
    pub(crate) upstream: Option<Side>,
}

/// A field that a policy decided, because both sides had changed it.
#[derive(Debug, Clone)]
pub(crate) struct Decided {
    /// The field's place; `None` where the whole record was decided over: a delete against an edit.
    pub(crate) place: Option<usize>,
    pub(crate) policy: &'static str,
    pub(crate) kept: Option<Value>,
    /// The value that did not stand, if there is one.
    pub(crate) lost: Option<Value>,
}

/// A field that no policy may decide.
#[derive(Debug, Clone)]
pub(crate) struct Dispute {
    pub(crate) place: usize,
    /// Why its function failed, if it has one.
    pub(crate) reason: Option<String>,
}

/// What came of two versions.
#[derive(Debug)]
pub(crate) struct Combined {
    /// The merged record; of a disputed field the source's value. `None` for a delete.
    pub(crate) record: Option<Record>,
    pub(crate) unknown: Option<Box<Unknown>>,
    pub(crate) stamps: Option<Box<Stamps>>,
    pub(crate) decided: Vec<Decided>,
    pub(crate) disputed: Vec<Dispute>,
    /// Whether the record as a whole is in dispute: a delete against an edit, or fields that are not known here.
    pub(crate) whole: bool,
}

impl Combined {
    /// Whether nothing is left for people.
    pub(crate) fn is_settled(&self) -> bool {
        self.disputed.is_empty() && !self.whole
    }

    /// One side as it stands.
    fn of(side: &State) -> Self {
        Combined {
            record: side.record.clone(),
            unknown: side.change.unknown.clone(),
            stamps: side.change.stamps.clone(),
            decided: Vec::new(),
            disputed: Vec::new(),
            whole: false,
        }
    }
}

/// Merges two versions of one record.
pub(crate) fn combine(versions: Versions<'_>) -> Combined {
    match (&versions.source.record, &versions.target.record) {
        (Some(source), Some(target)) => by_field(versions, source, target),
        (None, None) => Combined::of(later(versions)),
        _ => delete_against_edit(versions),
    }
}

fn later<'a>(versions: Versions<'a>) -> &'a State {
    match versions.source.change.revision() > versions.target.change.revision() {
        true => versions.source,
        false => versions.target,
    }
}

fn delete_against_edit(versions: Versions<'_>) -> Combined {
    let (edit, delete) = match versions.source.record.is_some() {
        true => (versions.source, versions.target),
        false => (versions.target, versions.source),
    };
    let on_delete = edit.change.schema.on_delete;
    let kept = match on_delete {
        OnDelete::Manual => return Combined { whole: true, ..Combined::of(versions.source) },
        OnDelete::KeepEdit => edit,
        OnDelete::KeepDelete => delete,
        OnDelete::LastWrite => later(versions),
    };
    let decided = Decided { place: None, policy: on_delete.name(), kept: None, lost: None };
    // What stands may do so under a revision of its own, and a field that is not named counts as written with that.
    let stamps = kept.change.stamps_after(|_| true);
    Combined { stamps, decided: vec![decided], ..Combined::of(kept) }
}

/// One field on its way: its versions, and when each side changed it.
struct Contest<'a> {
    base: Option<&'a Value>,
    source: &'a Value,
    target: &'a Value,
    source_stamp: i64,
    target_stamp: i64,
}

/// What one field comes to.
enum Verdict {
    /// This side's value; `true` if a policy said so.
    Take(Side, bool),
    /// Both sides have this value.
    Both,
    /// A value of its own.
    Made(Value),
    Dispute(Option<String>),
}

fn by_field(versions: Versions<'_>, source: &Record, target: &Record) -> Combined {
    let schema = versions.source.change.schema;
    let mut combined = Combined::of(versions.source);
    let mut record = source.clone();
    let mut stamps = Stamps::new();
    for (place, field) in schema.replicated().filter(|(place, _)| !schema.is_key(*place)) {
        let (Some(mine), Some(theirs)) = (source.get(place), target.get(place)) else {
            if let Some(theirs) = target.get(place) {
                record.set(place, theirs.clone());
            }
            continue;
        };
        let contest = Contest {
            base: base_record(versions.base).and_then(|base| base.get(place)),
            source: mine,
            target: theirs,
            source_stamp: versions.source.change.stamp_of(field.name),
            target_stamp: versions.target.change.stamp_of(field.name),
        };
        let verdict = decide(field, &versions, &contest);
        let stamp = match &verdict {
            Verdict::Take(Side::Source, _) | Verdict::Dispute(_) => Some(contest.source_stamp),
            Verdict::Take(Side::Target, _) => Some(contest.target_stamp),
            Verdict::Both => Some(contest.source_stamp.max(contest.target_stamp)),
            Verdict::Made(_) => None,
        };
        let policy = field.merge.name();
        match verdict {
            Verdict::Take(side, by_policy) => {
                let (kept, lost) = match side {
                    Side::Source => (mine, theirs),
                    Side::Target => (theirs, mine),
                };
                record.set(place, kept.clone());
                if by_policy {
                    let (kept, lost) = (Some(kept.clone()), Some(lost.clone()));
                    combined.decided.push(Decided { place: Some(place), policy, kept, lost });
                }
            }
            Verdict::Made(value) => {
                record.set(place, value.clone());
                let kept = Some(value);
                combined.decided.push(Decided { place: Some(place), policy, kept, lost: None });
            }
            Verdict::Dispute(reason) => combined.disputed.push(Dispute { place, reason }),
            Verdict::Both => {}
        }
        if let Some(stamp) = stamp
            && (matches!(field.merge, Merge::LastWrite) || is_stamped(&versions, field.name))
        {
            stamps.insert(field.name.to_owned(), stamp);
        }
    }
    combined.record = Some(record);
    let (unknown, disputed) = unknown_fields(versions);
    (combined.unknown, combined.whole) = (unknown, disputed);
    stamps_of_unknown(&versions, schema, &mut stamps);
    combined.stamps = (!stamps.is_empty()).then(|| Box::new(stamps));
    combined
}

fn base_record(base: Base<'_>) -> Option<&Record> {
    match base {
        Base::Exact(base) => base.record.as_ref(),
        Base::Nothing | Base::Unknown => None,
    }
}

fn is_stamped(versions: &Versions<'_>, name: &str) -> bool {
    let has = |change: &Change| change.stamps.as_deref().is_some_and(|stamps| stamps.contains_key(name));
    has(&versions.source.change) || has(&versions.target.change)
}

/// Stamps of fields that this replica does not know stay, the later one of each.
fn stamps_of_unknown(versions: &Versions<'_>, schema: &ModelSchema, stamps: &mut Stamps) {
    for change in [&versions.source.change, &versions.target.change] {
        for (name, stamp) in change.stamps.iter().flat_map(|stamps| stamps.iter()) {
            if schema.position(name).is_none() {
                let kept = stamps.entry(name.clone()).or_insert(*stamp);
                *kept = (*kept).max(*stamp);
            }
        }
    }
}

fn decide(field: &FieldSchema, versions: &Versions<'_>, contest: &Contest<'_>) -> Verdict {
    let (source, target) = (contest.source, contest.target);
    let exact = matches!(versions.base, Base::Exact(_));
    let counts = matches!(field.merge, Merge::Sum(..));
    if let Some(base) = contest.base {
        match (source == base, target == base) {
            (true, true) => return Verdict::Both,
            (true, false) => return Verdict::Take(Side::Target, false),
            (false, true) => return Verdict::Take(Side::Source, false),
            (false, false) => {}
        }
    }
    if source == target {
        // Without the base nobody knows whether both added to it.
        return match counts {
            true if contest.base.is_some() => by_policy(field, versions, contest),
            true if matches!(versions.base, Base::Unknown) => Verdict::Dispute(None),
            _ => Verdict::Both,
        };
    }
    match field.merge {
        Merge::LastWrite | Merge::Min | Merge::Max => by_policy(field, versions, contest),
        // Of what both made on their own there is no base, and nothing to add to or to take from.
        _ if exact && contest.base.is_some() => by_policy(field, versions, contest),
        _ => Verdict::Dispute(None),
    }
}

fn by_policy(field: &FieldSchema, versions: &Versions<'_>, contest: &Contest<'_>) -> Verdict {
    let side_of = |source: bool| if source { Side::Source } else { Side::Target };
    let source_is_newer = versions.source.change.revision() > versions.target.change.revision();
    match field.merge {
        Merge::Manual => Verdict::Dispute(None),
        Merge::LastWrite => {
            let source_is_later = match contest.source_stamp.cmp(&contest.target_stamp) {
                Ordering::Less => false,
                Ordering::Equal => source_is_newer,
                Ordering::Greater => true,
            };
            Verdict::Take(side_of(source_is_later), true)
        }
        Merge::ServerWins | Merge::ClientWins => match versions.upstream {
            Some(upstream) if matches!(field.merge, Merge::ServerWins) => Verdict::Take(upstream, true),
            Some(upstream) => Verdict::Take(upstream.other(), true),
            None => Verdict::Dispute(None),
        },
        Merge::Min | Merge::Max => {
            let kept = extreme(field.merge, contest.source, contest.target);
            Verdict::Take(side_of(std::ptr::eq(kept, contest.source)), true)
        }
        Merge::Sum(_, merge) | Merge::Function(_, merge) => {
            let (older, newer) = match source_is_newer {
                true => (contest.target, contest.source),
                false => (contest.source, contest.target),
            };
            let base = contest.base.unwrap_or(&Value::Null);
            // The function may be the user's; one that panics must not end the sync.
            let merged = catch_unwind(AssertUnwindSafe(|| merge(base, older, newer)));
            let merged =
                merged.unwrap_or_else(|panic| Err(format!("the function panicked: {}", said(&*panic))));
            match merged.and_then(|value| field.check(&value).map(|()| value).map_err(|e| e.to_string())) {
                Ok(value) => Verdict::Made(value),
                Err(reason) => Verdict::Dispute(Some(reason)),
            }
        }
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// The smaller or larger of two values, whichever side has it.
pub(super) fn extreme<'v>(merge: Merge, a: &'v Value, b: &'v Value) -> &'v Value {
    // Values that are equal without being the same, such as 1.0 and 1.00, have an order of their own.
    let order = a.order(b).then_with(|| match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
        _ => Ordering::Equal,
    });
    match (order == Ordering::Less) == matches!(merge, Merge::Min) {
        true => a,
        false => b,
    }
}

/// The fields that this replica does not know, name by name, and whether both sides changed one differently.
fn unknown_fields(versions: Versions<'_>) -> (Option<Box<Unknown>>, bool) {
    let of = |state: &'_ State| state.change.unknown.clone().unwrap_or_default();
    let (source, target) = (of(versions.source), of(versions.target));
    if source == target {
        return ((!source.is_empty()).then_some(source), false);
    }
    let base = match versions.base {
        Base::Exact(base) => of(base),
        Base::Nothing | Base::Unknown => Default::default(),
    };
    let exact = matches!(versions.base, Base::Exact(_));
    let mut merged = Unknown::new();
    let mut disputed = false;
    let names: BTreeSet<&String> = source.keys().chain(target.keys()).collect();
    for name in names {
        let (before, mine, theirs) = (base.get(name), source.get(name), target.get(name));
        let value = match (mine, theirs) {
            (mine, theirs) if mine == theirs => mine,
            // Absent is unknown: that side never saw the field, or a newer schema there has taken it in.
            (None, Some(value)) | (Some(value), None) => Some(value),
            (mine, theirs) if exact && mine == before => theirs,
            (mine, theirs) if exact && theirs == before => mine,
            (mine, _) => {
                disputed = true;
                mine
            }
        };
        merged.extend(value.map(|value| (name.clone(), value.clone())));
    }
    ((!merged.is_empty()).then(|| Box::new(merged)), disputed)
}
