//! The models of a run, and how a random edit changes one of them.

use super::random::Random;
use sync_runtime::Syncable;
use uuid::Uuid;

/// A model that the simulator can make and edit.
pub(crate) trait Kind: Syncable + Clone {
    /// The record with this number, with content drawn anew.
    fn drawn(number: u64, random: &mut Random) -> Self;
    /// The id of the record with this number.
    fn id_of(number: u64) -> Self::Id;
    /// Changes one or several fields.
    fn edit(&mut self, edit: &Edit);
}

/// An edit drawn beforehand, so that it does the same however often it is tried.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    /// Which fields.
    fields: u64,
    /// What they become.
    value: u64,
}

impl Edit {
    pub(crate) fn drawn(random: &mut Random) -> Self {
        Edit { fields: random.number() | 1 << random.below(3), value: value(random) }
    }

    fn of(&self, field: u32) -> bool {
        // Mostly one field, sometimes several.
        self.fields >> field & 1 == 1 && (self.fields >> 32 & 3 == 0 || self.fields % 3 == u64::from(field))
    }
}

/// Often a value that others write too, so that two sides may come to the same content.
fn value(random: &mut Random) -> u64 {
    if random.chance(250) { random.number() % 3 } else { random.number() % 1_000_000 }
}

/// A model with a whole number as id, and a field that does not travel.
#[derive(Debug, Clone, PartialEq, Syncable)]
pub(crate) struct Note {
    #[sync(id)]
    id: i64,
    title: String,
    #[sync(merge = "sum")]
    count: i64,
    #[sync(merge = "last_write")]
    done: bool,
    #[sync(local)]
    draft: Option<String>,
}

impl Kind for Note {
    fn drawn(number: u64, random: &mut Random) -> Self {
        let value = value(random);
        Note {
            id: Self::id_of(number),
            title: format!("note {value}"),
            count: (value % 3) as i64,
            done: value.is_multiple_of(2),
            draft: None,
        }
    }

    fn id_of(number: u64) -> i64 {
        number as i64
    }

    fn edit(&mut self, edit: &Edit) {
        if edit.of(0) {
            self.title = format!("title {}", edit.value);
        }
        if edit.of(1) {
            // Often by what somebody else adds too.
            self.count += (edit.value % 3) as i64 + 1;
        }
        if edit.of(2) {
            self.done = edit.value.is_multiple_of(2);
        }
        if edit.fields >> 40 & 7 == 0 {
            self.draft = Some(format!("draft {}", edit.value));
        }
    }
}

/// A model with a text as id, and a field that may be null. An edit stands against a delete.
#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(on_delete = "keep_edit")]
pub(crate) struct Tag {
    #[sync(id)]
    id: String,
    #[sync(merge = "last_write")]
    label: Option<String>,
    #[sync(merge = "max")]
    weight: f64,
}

impl Kind for Tag {
    fn drawn(number: u64, random: &mut Random) -> Self {
        let value = value(random);
        Tag { id: Self::id_of(number), label: Some(format!("tag {value}")), weight: value as f64 / 2.0 }
    }

    fn id_of(number: u64) -> String {
        format!("t{number}")
    }

    fn edit(&mut self, edit: &Edit) {
        if edit.of(0) {
            self.label = (!edit.value.is_multiple_of(4)).then(|| format!("label {}", edit.value));
        }
        if edit.of(1) || edit.of(2) {
            self.weight = edit.value as f64 / 4.0;
        }
    }
}

/// A model with a UUID as id. Servers have a rule for it.
#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(on_delete = "last_write")]
pub(crate) struct Visit {
    #[sync(id)]
    id: Uuid,
    place: String,
    #[sync(merge = "min")]
    at: i64,
}

impl Visit {
    /// What a server stores in place of what is pushed to it; `None` lets it pass.
    pub(crate) fn rule(
        current: Option<&Visit>,
        incoming: Option<&Visit>,
        in_conflict: bool,
    ) -> Option<Option<Visit>> {
        match (current, incoming) {
            (Some(current), Some(incoming)) if in_conflict => {
                Some(Some(Visit { at: incoming.at.max(current.at), ..current.clone() }))
            }
            (current, _) if in_conflict => Some(current.cloned()),
            (_, Some(incoming)) if incoming.at % 8 == 5 => {
                Some(Some(Visit { at: incoming.at + 1, ..incoming.clone() }))
            }
            _ => None,
        }
    }
}

impl Kind for Visit {
    fn drawn(number: u64, random: &mut Random) -> Self {
        let value = value(random);
        Visit { id: Self::id_of(number), place: format!("place {value}"), at: value as i64 }
    }

    fn id_of(number: u64) -> Uuid {
        // Never nil: a nil id is filled with a fresh one.
        Uuid::from_u128(u128::from(number) + 1)
    }

    fn edit(&mut self, edit: &Edit) {
        if edit.of(0) {
            self.place = format!("place {}", edit.value);
        }
        if edit.of(1) || edit.of(2) {
            self.at = edit.value as i64;
        }
    }
}
