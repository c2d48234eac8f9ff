//! The laws of merging: whoever merges what, in whatever order and over whatever path, comes to the same, or says that
//! people have to decide.
//!
//! ```
//! use sync_runtime::prelude::*;
//!
//! #[derive(Debug, Clone, PartialEq, Syncable)]
//! struct Ticket {
//!     #[sync(id)]
//!     id: i64,
//!     #[sync(merge = "sum")]
//!     votes: i64,
//!     #[sync(with = more_urgent)]
//!     urgency: i64,
//! }
//!
//! fn more_urgent(_base: &i64, older: &i64, newer: &i64) -> Result<i64, String> {
//!     Ok(*older.max(newer))
//! }
//!
//! sync_testkit::check_merge::<Ticket>();
//! ```

use crate::sim::Random;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::merge::merge_states;
use sync_runtime::record::difference;
use sync_runtime::schema::{Model, ModelSchema};
use sync_runtime::syncable::model_of;
use sync_runtime::version::{Relation, compare};
use sync_runtime::{
    Ancestry, FieldSchema, FieldType, Merge, Record, ReplicaId, Revision, Side, Stamp, Syncable, Value,
};
use uuid::Uuid;

/// How many histories [`check_merge`] plays.
const CASES: usize = 2_000;
/// How often the replicas of a history sync until they must be level.
const ROUNDS: usize = 12;

/// Proves that the policies of a model keep the laws of merging, on random records in random histories.
///
/// # Panics
/// With the law that was broken and the values that broke it. And where a field is JSON of a shape that cannot be
/// guessed: then [`check_merge_of`] takes records that you draw.
pub fn check_merge<T: Syncable>() {
    check(&model_of::<T>(), CASES, 0, &mut |random| {
        for _ in 0..200 {
            let record = drawn(T::SCHEMA, random);
            if T::from_record(record.clone()).is_ok() {
                return record.without_local(T::SCHEMA);
            }
        }
        panic!(
            "no random record reads as a `{}`: its JSON has a shape that cannot be guessed; draw records with \
             `check_merge_of`",
            T::SCHEMA.name
        );
    });
}

/// The same over records that are drawn by this function, which is given a source of random numbers below a bound.
///
/// # Panics
/// With the law that was broken and the values that broke it.
pub fn check_merge_of<T: Syncable>(cases: usize, mut draw: impl FnMut(&mut dyn FnMut(usize) -> usize) -> T) {
    check(&model_of::<T>(), cases, 0, &mut |random| {
        let record = draw(&mut |below| random.below(below)).to_record();
        record.unwrap_or_else(|error| panic!("a drawn record is none: {error}")).without_local(T::SCHEMA)
    });
}

/// Draws records for the checks of a schema that has no struct.
pub type Draw<'a> = dyn FnMut(&mut Random) -> Record + 'a;

/// Plays so many histories over a model, from this seed on, and gives how many merges there were, and how many conflicts.
///
/// # Panics
/// With the law that was broken and the values that broke it.
#[doc(hidden)]
pub fn check(model: &Model, cases: usize, seed: u64, draw: &mut Draw<'_>) -> (usize, usize) {
    let (mut merges, mut conflicts) = (0, 0);
    for case in 0..cases {
        let random = &mut Random::new(seed.wrapping_add(case as u64).wrapping_mul(0x9e37_79b9));
        let mut history = History::new(model, random, draw);
        match history.play(random, draw) {
            Ok(()) => {}
            Err(End::Conflict) => conflicts += 1,
            Err(End::Broken(law)) => panic!("case {case} of `{}`: {law}", model.schema.name),
        }
        merges += history.merges;
    }
    (merges, conflicts)
}

/// Why a history ends before its time.
enum End {
    /// People have to decide, which is no fault.
    Conflict,
    Broken(String),
}

/// Some replicas with one record in common.
struct History<'m> {
    model: &'m Model,
    replicas: Vec<State>,
    /// Every state that ever was: a base for whoever needs one.
    seen: Vec<State>,
    now: Stamp,
    merges: usize,
    /// What each `sum` field must come to while nobody deleted the record.
    sums: Option<Vec<i128>>,
}

fn replica(number: usize) -> ReplicaId {
    ReplicaId(Uuid::from_u128(number as u128 + 1))
}

fn is_sum(field: &FieldSchema) -> bool {
    field.merge.name() == "sum" && matches!(field.ty, FieldType::Int { .. })
}

fn int(record: &Record, place: usize) -> i128 {
    match record.get(place) {
        Some(Value::Int(n)) => i128::from(*n),
        _ => 0,
    }
}

impl<'m> History<'m> {
    fn new(model: &'m Model, random: &mut Random, draw: &mut Draw<'_>) -> Self {
        let schema = model.schema;
        let record = draw(random);
        let id = schema.id_of(&record).unwrap_or_else(|error| panic!("a drawn record has no id: {error}"));
        let change = Change {
            schema,
            id,
            kind: ChangeKind::Create,
            ancestry: Ancestry::of(Revision { stamp: 1, replica: replica(0) }),
            merged: None,
            previous: None,
            position: 0,
            group: None,
            origin: None,
            unknown: None,
            stamps: None,
        };
        let sums = (0..schema.fields.len()).map(|place| int(&record, place)).collect();
        let state = State { change, record: Some(record) };
        let replicas = vec![state.clone(); 2 + random.below(3)];
        History { model, replicas, seen: vec![state], now: 1, merges: 0, sums: Some(sums) }
    }

    fn play(&mut self, random: &mut Random, draw: &mut Draw<'_>) -> Result<(), End> {
        let count = self.replicas.len();
        for _ in 0..random.between(2, 12) {
            match random.below(5) {
                0..3 => self.write(random.below(count), random, draw),
                _ => {
                    let one = random.below(count);
                    let other = (one + 1 + random.below(count - 1)) % count;
                    self.sync(one, other)?;
                }
            }
        }
        for _ in 0..ROUNDS {
            for one in 0..count {
                self.sync(one, (one + 1) % count)?;
            }
        }
        self.check_level()
    }

    /// An edit of some fields, a delete, or a record made anew.
    fn write(&mut self, at: usize, random: &mut Random, draw: &mut Draw<'_>) {
        // Clocks differ; a stamp may stand still, but is above what its record has seen.
        self.now += random.between(0, 3);
        let schema = self.model.schema;
        let before = &self.replicas[at];
        let (id, drawn) = (before.change.id.clone(), draw(random));
        let record = match &before.record {
            Some(_) if random.chance(40) => None,
            Some(record) => {
                let mut edited = record.clone();
                for (place, _) in schema.replicated().filter(|(place, _)| !schema.is_key(*place)) {
                    if random.chance(350)
                        && let Some(value) = drawn.get(place)
                    {
                        edited.set(place, value.clone());
                    }
                }
                if edited == *record {
                    return;
                }
                Some(edited)
            }
            None => {
                let mut made = drawn;
                for (place, value) in schema.id_values(&id).unwrap_or_default() {
                    made.set(place, value);
                }
                Some(made)
            }
        };
        self.sums = match (self.sums.take(), &before.record, &record) {
            (Some(mut sums), Some(before), Some(record)) => {
                for (place, sum) in sums.iter_mut().enumerate() {
                    *sum += int(record, place) - int(before, place);
                }
                Some(sums)
            }
            _ => None,
        };
        let stamps = match (&before.record, &record) {
            (Some(old), Some(new)) => before.change.stamps_after(|place| old.get(place) == new.get(place)),
            _ => None,
        };
        let change = Change {
            kind: if record.is_some() { ChangeKind::Update } else { ChangeKind::Delete },
            ancestry: before.change.ancestry.next(self.now, replica(at)),
            previous: Some(before.change.revision()),
            merged: None,
            stamps,
            ..before.change.clone()
        };
        self.stand(at, State { change, record });
    }

    fn stand(&mut self, at: usize, state: State) {
        self.seen.push(state.clone());
        self.replicas[at] = state;
    }

    /// Two replicas come to one state, the first of them merging.
    fn sync(&mut self, one: usize, other: usize) -> Result<(), End> {
        let (a, b) = (self.replicas[one].clone(), self.replicas[other].clone());
        let joined = |newer: &State, older: &State| {
            let ancestry = newer.change.ancestry.join_into(&older.change.ancestry);
            State { change: Change { ancestry, ..newer.change.clone() }, record: newer.record.clone() }
        };
        let state = match compare(&a.change.ancestry, &b.change.ancestry) {
            Relation::Same if !a.same_content(&b) => {
                return Err(End::Broken(format!("one revision, two contents: {a:?} and {b:?}")));
            }
            Relation::Same | Relation::Newer => joined(&a, &b),
            Relation::Older => joined(&b, &a),
            Relation::Concurrent => self.merge(one, &a, &b)?,
        };
        self.stand(one, state.clone());
        self.stand(other, state);
        Ok(())
    }

    fn merge(&mut self, at: usize, a: &State, b: &State) -> Result<State, End> {
        self.merges += 1;
        self.now += 1;
        let by = (replica(at), self.now);
        let exact = |state: &&State| state.change.ancestry.is_meet_of(&a.change.ancestry, &b.change.ancestry);
        let base = self.seen.iter().find(exact);
        let merged = merge_states(base, a, b, Some(Side::Target), by);
        let broken = |law: &str| {
            Err(End::Broken(format!(
                "{law}:\nbase   {:?}\nsource {:?}\ntarget {:?}\nmerged {:?}",
                base.map(|base| &base.record),
                a.record,
                b.record,
                merged.as_ref().map(|state| &state.record)
            )))
        };
        let content = |merged: &Result<State, Vec<usize>>| match merged {
            Ok(state) => Ok(state.record.clone()),
            Err(places) => Err(places.clone()),
        };
        if content(&merge_states(base, a, b, Some(Side::Target), by)) != content(&merged) {
            return broken("merging the same twice gives two results");
        }
        if content(&merge_states(base, b, a, Some(Side::Source), by)) != content(&merged) {
            return broken("merging is not symmetric");
        }
        let Ok(state) = &merged else { return Err(End::Conflict) };
        for side in [a, b] {
            let relation = compare(&state.change.ancestry, &side.change.ancestry);
            if !matches!(relation, Relation::Newer | Relation::Same) {
                return broken("a merge does not descend from both sides");
            }
        }
        if let Some(record) = &state.record {
            if let Err(error) = (self.model.check)(record) {
                return broken(&format!("a merge is not a record of the model: {error}"));
            }
            if let (Some(a), Some(b)) = (&a.record, &b.record) {
                let base = base.and_then(|base| base.record.as_ref());
                if let Some(law) = self.breaks_a_law(base, a, b, record) {
                    return broken(&law);
                }
            }
        }
        match merged {
            Ok(state) => Ok(state),
            Err(_) => Err(End::Conflict),
        }
    }

    /// A law of fields that a merge breaks.
    fn breaks_a_law(&self, base: Option<&Record>, a: &Record, b: &Record, merged: &Record) -> Option<String> {
        let schema = self.model.schema;
        let base = base?;
        let changed = |side: &Record| difference(schema, base, side).into_iter().collect::<BTreeSet<_>>();
        let (of_a, of_b) = (changed(a), changed(b));
        for (place, field) in schema.replicated() {
            let alone = match (of_a.contains(&place), of_b.contains(&place)) {
                (true, false) => Some(a),
                (false, true) => Some(b),
                (false, false) => Some(base),
                (true, true) => None,
            };
            if alone.is_some_and(|side| side.get(place) != merged.get(place)) {
                return Some(format!("the side that alone changed `{}` does not stand", field.name));
            }
            let sum = int(a, place) + int(b, place) - int(base, place);
            if is_sum(field) && !field.nullable && int(merged, place) != sum {
                return Some(format!("`{}` counts wrong: it should be {sum}", field.name));
            }
        }
        None
    }

    /// All hold the same in the end, and every increment counted once.
    fn check_level(&self) -> Result<(), End> {
        let first = &self.replicas[0];
        for other in &self.replicas[1..] {
            if other.change.ancestry != first.change.ancestry || !other.same_content(first) {
                return Err(End::Broken(format!("two replicas do not agree: {first:?} and {other:?}")));
            }
        }
        if let (Some(sums), Some(record)) = (&self.sums, &first.record) {
            for (place, field) in self.model.schema.replicated() {
                if is_sum(field) && !field.nullable && int(record, place) != sums[place] {
                    let (name, sum, is) = (field.name, sums[place], int(record, place));
                    return Err(End::Broken(format!("`{name}` should be {sum} in the end, and is {is}")));
                }
            }
        }
        Ok(())
    }
}

/// A record with random values by its schema. Values are few, so that both sides often come to the same.
pub(crate) fn drawn(schema: &'static ModelSchema, random: &mut Random) -> Record {
    let values = schema.fields.iter().enumerate().map(|(place, field)| {
        // One record, edited over and over.
        let of = if schema.is_key(place) { &mut Random::new(7) } else { &mut *random };
        Some(value(field, schema.is_key(place), of))
    });
    Record::new(values.collect())
}

fn value(field: &FieldSchema, id: bool, random: &mut Random) -> Value {
    if field.nullable && !id && random.chance(100) {
        return Value::Null;
    }
    let n = random.below(6) as i64;
    match field.ty {
        FieldType::Bool => Value::Bool(n % 2 == 0),
        FieldType::Int { min, max } => Value::Int(n.clamp(min, max)),
        FieldType::Float | FieldType::Float32 => Value::Float(n as f64 / 2.0 - 1.0),
        FieldType::Text => {
            let words = ["a", "b", "a b", "a c\nb", "a\nb\nc", "x"];
            Value::Text(words[n as usize].to_owned())
        }
        FieldType::Bytes => Value::Bytes(vec![n as u8]),
        FieldType::Uuid => Value::Uuid(Uuid::from_u128(n as u128 + 1)),
        FieldType::Timestamp => Value::Timestamp(n * 1_000),
        FieldType::Date => Value::Date(n as i32),
        FieldType::Decimal => Value::Decimal(["0", "1", "1.0", "-1", "2.50", "10"][n as usize].to_owned()),
        _ => Value::Json(shape(field.merge, random)),
    }
}

/// JSON of a shape that fits the policy, as far as it can be guessed.
fn shape(merge: Merge, random: &mut Random) -> Json {
    let some = |random: &mut Random| (0..6).filter(|_| random.chance(400)).collect::<Vec<i64>>();
    let texts = |numbers: Vec<i64>| numbers.into_iter().map(|n| format!("item {n}")).collect::<Vec<_>>();
    let guess = match merge.name() {
        "union" => random.below(4),
        "list" => random.below(2),
        _ => random.below(5),
    };
    match guess {
        0 => json!(texts(some(random))),
        1 => json!(some(random)),
        2 => some(random).into_iter().map(|n| (format!("key {n}"), json!(random.below(3)))).collect(),
        3 => some(random)
            .into_iter()
            .map(|n| (format!("key {n}"), json!(format!("v{}", random.below(3)))))
            .collect(),
        _ => json!(random.below(3)),
    }
}
