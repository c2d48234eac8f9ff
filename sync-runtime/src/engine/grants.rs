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

    /// Up to where the replica cannot have anything that was deleted in the part of this name.
    pub(crate) fn nothing_through(&self, name: &str) -> Position {
        self.0.get(name).filter(|grant| grant.had_nothing).map_or(0, |grant| grant.after)
    }

    /// Those of a replica that gets these parts now, and says of some what it has of them. What left up to `now` is not told
    /// of those that are new.
    pub(crate) fn renewed(&self, covered: &Parts, says: &Says, now: Position) -> Grants {
        let renewed = covered.names().into_iter().map(|name| {
            let grant = match (self.0.get(&name), says) {
                // A request from before the part was given anew may come late: what is known is not overruled by it.
                (Some(known), Says::MayHave(parts)) if parts.contains(&name) => {
                    Grant { had_nothing: false, ..*known }
                }
                (Some(known), _) => *known,
                (None, Says::HasNothing(parts)) => Grant { after: now, had_nothing: parts.contains(&name) },
                (None, _) => Grant { after: now, had_nothing: false },
            };
            (name, grant)
        });
        Grants(renewed.collect())
    }
}

/// What a replica says of the parts that it asks for.
pub(crate) enum Says {
    /// It has nothing of these.
    HasNothing(BTreeSet<String>),
    /// It begins with these, and may have something of them.
    MayHave(BTreeSet<String>),
    /// It goes on.
    GoesOn,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(names: &[&str]) -> Parts {
        Parts::named(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    fn named(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_left_before_a_part_was_given_is_not_told() {
        let goes_on = Says::GoesOn;
        let grants = Grants::default().renewed(&parts(&["a"]), &goes_on, 10);
        assert_eq!(grants.word("a", None, 10), Word::Withheld);
        assert_eq!(grants.word("a", None, 11), Word::Told);
        assert_eq!(grants.word("b", None, 11), Word::Withheld);
        let both = grants.renewed(&parts(&["a", "b"]), &Says::HasNothing(named(&["b"])), 20);
        assert_eq!((both.word("a", None, 11), both.word("b", None, 20)), (Word::Told, Word::Needless));
        assert_eq!((both.nothing_through("a"), both.nothing_through("b")), (0, 20));
        let again = both.renewed(&parts(&["b"]), &goes_on, 30).renewed(&parts(&["a", "b"]), &goes_on, 40);
        assert_eq!((again.word("a", None, 40), again.word("b", None, 21)), (Word::Withheld, Word::Told));
    }

    #[test]
    fn who_got_a_part_before_is_not_believed_to_have_nothing_of_it() {
        let known = Grants::default().renewed(&parts(&["a"]), &Says::GoesOn, 10);
        assert_eq!(known.renewed(&parts(&["a"]), &Says::HasNothing(named(&["a"])), 20), known);
        let first = Grants::default().renewed(&parts(&["a"]), &Says::HasNothing(named(&["a"])), 20);
        assert_eq!(first.renewed(&parts(&["a"]), &Says::GoesOn, 30), first);
        let may_have = first.renewed(&parts(&["a"]), &Says::MayHave(named(&["a"])), 30);
        assert_eq!((may_have.word("a", None, 20), may_have.nothing_through("a")), (Word::Withheld, 0));
    }
}
