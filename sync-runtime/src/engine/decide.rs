//! What to do with an incoming change, given what is here: plain functions on values.

use crate::change::State;
use crate::planted::{self, Bug};
use crate::replica::Update;
use crate::version::{Ancestry, Relation, compare};

/// What to do with an incoming update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is here already, or something newer is.
    Known,
    /// The content stands; only its ancestry grows to this.
    Join(Ancestry),
    /// Take it, with this ancestry.
    Take(Ancestry),
    /// The patch does not fit; the whole record is needed.
    NeedWhole,
    /// Neither knew of the other.
    Conflict,
}

/// Decides over one update.
pub(crate) fn decide(update: &Update, current: Option<&State>) -> Verdict {
    let incoming = &update.state.change.ancestry;
    let Some(current) = current else {
        return match update.based_on {
            Some(_) => Verdict::NeedWhole,
            None => Verdict::Take(incoming.clone()),
        };
    };
    let mine = &current.change.ancestry;
    let joined = mine.join(incoming);
    match compare(incoming, mine) {
        Relation::Same | Relation::Older if joined == *mine => Verdict::Known,
        Relation::Same | Relation::Older => Verdict::Join(joined),
        // Whole records fit everywhere; a patch only on exactly the state that it was made from.
        Relation::Newer if update.based_on.is_none_or(|base| base == mine.current) => Verdict::Take(joined),
        _ if planted::on(Bug::LoosePatch)
            && current.record.is_some()
            && update.based_on.is_some_and(|base| mine.holds(base)) =>
        {
            Verdict::Take(incoming.join_into(mine))
        }
        Relation::Concurrent if update.based_on.is_none() && is_same(update, current) => {
            Verdict::Join(joined)
        }
        // Whoever pushed a patch has the whole record, and sees whether the two are the same after all.
        Relation::Concurrent => Verdict::Conflict,
        Relation::Newer => Verdict::NeedWhole,
    }
}

/// Whether two versions that knew nothing of each other need no merging: they hold the same, and no field adds up what
/// both sides changed, unless both are the one merge of the same two.
fn is_same(update: &Update, current: &State) -> bool {
    let (mine, theirs) = (&current.change, &update.state.change);
    let one_merge = mine.merged.is_some() && mine.merged == theirs.merged;
    let may_count = mine.schema.counts() && current.record.is_some() && !one_merge;
    (!may_count || planted::on(Bug::EqualIncrements)) && current.same_content(&update.state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Change, ChangeKind};
    use crate::record::{Id, Record};
    use crate::schema::{FieldSchema, ModelSchema};
    use crate::value::{FieldType, Value};
    use crate::version::{ReplicaId, Revision, Stamp};
    use uuid::Uuid;

    static SCHEMA: ModelSchema = ModelSchema {
        name: "Note",
        table: "note",
        fields: &[FieldSchema::new("id", FieldType::I64), FieldSchema::new("text", FieldType::Text)],
        id: 0,
        on_delete: crate::OnDelete::Manual,
        adopt: false,
        removed: &[],
        scope: None,
    };

    fn replica(n: u128) -> ReplicaId {
        ReplicaId(Uuid::from_u128(n))
    }

    fn at(stamp: Stamp, n: u128) -> Revision {
        Revision { stamp, replica: replica(n) }
    }

    fn state(ancestry: Ancestry, text: Option<&str>) -> State {
        State {
            change: Change {
                schema: &SCHEMA,
                id: Id::Int(1),
                kind: if text.is_some() { ChangeKind::Update } else { ChangeKind::Delete },
                ancestry,
                merged: None,
                previous: None,
                position: 1,
                group: None,
                origin: None,
                unknown: None,
                stamps: None,
            },
            record: text
                .map(|text| Record::new(vec![Some(Value::Int(1)), Some(Value::Text(text.to_owned()))])),
        }
    }

    #[test]
    fn decisions_by_cases() {
        let base = Ancestry::of(at(10, 1));
        let (mine, theirs) = (base.next(20, replica(2)), base.next(30, replica(3)));
        let whole =
            |ancestry: &Ancestry, text| Update { state: state(ancestry.clone(), text), based_on: None };
        let patch = |ancestry: &Ancestry, on: &Ancestry| Update {
            state: state(ancestry.clone(), Some("patched")),
            based_on: Some(on.current),
        };
        let current = state(mine.clone(), Some("mine"));
        let newer = mine.next(40, replica(3));
        let joined = mine.join(&theirs);

        assert_eq!(decide(&whole(&mine, Some("mine")), Some(&current)), Verdict::Known);
        assert_eq!(decide(&whole(&base, Some("old")), Some(&current)), Verdict::Known);
        assert_eq!(decide(&whole(&newer, Some("new")), Some(&current)), Verdict::Take(newer.clone()));
        assert_eq!(decide(&whole(&newer, None), Some(&current)), Verdict::Take(newer.clone()));
        assert_eq!(decide(&whole(&theirs, Some("theirs")), Some(&current)), Verdict::Conflict);
        assert_eq!(decide(&whole(&theirs, None), Some(&current)), Verdict::Conflict);
        assert_eq!(decide(&whole(&theirs, Some("mine")), Some(&current)), Verdict::Join(joined.clone()));
        assert_eq!(decide(&whole(&theirs, Some("theirs")), None), Verdict::Take(theirs.clone()));
        let gone = state(mine.clone(), None);
        assert_eq!(decide(&whole(&theirs, None), Some(&gone)), Verdict::Join(joined.clone()));
        // The same revision, once with more ancestry.
        let grown = state(joined.clone(), Some("mine"));
        assert_eq!(decide(&whole(&theirs, Some("mine")), Some(&grown)), Verdict::Known);
        let narrow = state(theirs.clone(), Some("mine"));
        assert_eq!(decide(&whole(&joined, Some("mine")), Some(&narrow)), Verdict::Join(joined.clone()));
        // What grew on one side is not lost by what descends on the other.
        let next = theirs.next(50, replica(3));
        assert_eq!(decide(&whole(&next, Some("next")), Some(&grown)), Verdict::Take(joined.join(&next)));

        // rule: exact patch
        assert_eq!(decide(&patch(&newer, &mine), Some(&current)), Verdict::Take(newer.clone()));
        assert_eq!(decide(&patch(&newer.next(60, replica(3)), &newer), Some(&current)), Verdict::NeedWhole);
        assert_eq!(decide(&patch(&newer, &base), Some(&current)), Verdict::NeedWhole);
        assert_eq!(decide(&patch(&theirs, &base), Some(&current)), Verdict::Conflict);
        assert_eq!(decide(&patch(&newer, &mine), None), Verdict::NeedWhole);
        assert_eq!(decide(&patch(&mine, &base), Some(&current)), Verdict::Known);
    }
}
