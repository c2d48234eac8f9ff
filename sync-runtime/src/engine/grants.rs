//! P10: since when each replica gets which parts. What left one of them before that it is not told: it may never have been
//! its to see.

use super::parts::{self, Parts};
use crate::version::{Position, ReplicaId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Since when a replica gets a part without a break, as far as it was seen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Grant {
    /// Nothing that left the part up to here is told.
    #[serde(rename = "p")]
    after: Position,
    /// Whether the replica had nothing of the part then, so that it misses nothing by that.
    #[serde(rename = "n", default, skip_serializing_if = "std::ops::Not::not")]
    had_nothing: bool,
}

/// The parts that a replica gets, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Grants(BTreeMap<String, Grant>);

/// What a replica hears of something that left a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// That it left.
    Told,
    /// Nothing, so it has to look itself whether it has something that is gone.
    Withheld,
    /// Nothing, and it cannot have it.
    Needless,
}

pub(crate) fn key(replica: ReplicaId) -> String {
    format!("grants/{replica}")
}

impl Grants {
    /// What the replica hears of a record of a model that left a scope at a position.
    pub(crate) fn word(&self, scope: &str, model: Option<&str>, position: Position) -> Word {
        match self.0.get(&parts::name(scope, model)) {
            Some(grant) if position > grant.after => Word::Told,
            Some(Grant { had_nothing: true, .. }) => Word::Needless,
            _ => Word::Withheld,
        }
    }

    /// Those of a replica that gets these parts now; `first` are the ones of which it has nothing yet. What left up to
    /// `now` is not told of those that are new.
    pub(crate) fn renewed(&self, covered: &Parts, first: &BTreeSet<String>, now: Position) -> Grants {
        let renewed = covered.names().into_iter().map(|name| {
            let had_nothing = first.contains(&name);
            let known = self.0.get(&name).filter(|known| known.had_nothing || !had_nothing);
            let grant = known.copied().unwrap_or(Grant { after: now, had_nothing });
            (name, grant)
        });
        Grants(renewed.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(names: &[&str]) -> Parts {
        Parts::named(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_left_before_a_part_was_given_is_not_told() {
        let none = BTreeSet::new();
        let grants = Grants::default().renewed(&parts(&["a"]), &none, 10);
        assert_eq!(grants.word("a", None, 10), Word::Withheld);
        assert_eq!(grants.word("a", None, 11), Word::Told);
        assert_eq!(grants.word("b", None, 11), Word::Withheld);
        let both = grants.renewed(&parts(&["a", "b"]), &["b".to_owned()].into(), 20);
        assert_eq!((both.word("a", None, 11), both.word("b", None, 20)), (Word::Told, Word::Needless));
        let again = both.renewed(&parts(&["b"]), &none, 30).renewed(&parts(&["a", "b"]), &none, 40);
        assert_eq!((again.word("a", None, 40), again.word("b", None, 21)), (Word::Withheld, Word::Told));
    }

    #[test]
    fn who_says_that_it_has_nothing_is_believed() {
        let known = Grants::default().renewed(&parts(&["a"]), &BTreeSet::new(), 10);
        let first = known.renewed(&parts(&["a"]), &["a".to_owned()].into(), 20);
        assert_eq!((first.word("a", None, 15), first.word("a", None, 21)), (Word::Needless, Word::Told));
        assert_eq!(first.renewed(&parts(&["a"]), &["a".to_owned()].into(), 30), first);
    }
}
