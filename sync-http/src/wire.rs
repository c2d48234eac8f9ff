//! The messages of protocol version 1, without I/O: what a request and an answer look like in either format.
//!
//! A message is a map. Where one of several things is said it is a name alone (`"staged"`) or a map with one
//! name (`{"expected": 5}`). What is absent was not said. Records, changes and updates look as
//! [`sync_runtime::codec`] says.

mod pull;
mod records;

pub(crate) use pull::{PullAsked, PullText, PulledText, ReadPull, ReadPulled};
pub(crate) use records::{ReadWanted, ReadWrites, WantedText, WritesText};

use crate::message::{Choice, Chosen, message};
use serde::de::MapAccess;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use sync_runtime::change::{Change, State};
use sync_runtime::codec::{self, Each, List, Plain, Reader, Tracked, Whole, Written, required};
use sync_runtime::replica::{
    Diff, Exchange, Exchanged, Outcome, Page, Pulled, PushPage, Pushed, Rejection, Update,
};
use sync_runtime::{Checkpoint, ReplicaId, Stamp};

/// The version that stands in every path.
pub(crate) const VERSION: &str = "v1";

/// The most names of models in a message.
const MOST_MODELS: usize = 10_000;

/// The paths below the version.
pub(crate) mod path {
    pub(crate) const EXCHANGE: &str = "exchange";
    pub(crate) const CHANGES: &str = "changes";
    pub(crate) const DIFF: &str = "diff";
    pub(crate) const CREATE_UPDATES: &str = "create-updates";
    pub(crate) const BULK_UPDATE: &str = "bulk-update";
    pub(crate) const CHECKPOINT: &str = "checkpoint";
    pub(crate) const READ: &str = "read";
    pub(crate) const WRITE: &str = "write";
    pub(crate) const EVENTS: &str = "events";
}

type Dressed<'a, T> = Each<'a, T, fn(&'a T) -> Written<'a, T>>;

fn each<T: Tracked>(items: &[T]) -> Dressed<'_, T> {
    Each(items, codec::wire)
}

fn no(value: &bool) -> bool {
    !*value
}

// ---- Outcomes ----

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OutcomeText<'a> {
    Applied,
    Known,
    Amended(Written<'a, State>),
    NeedWhole,
    Conflict(Written<'a, State>),
    Rejected(&'a Rejection),
}

impl<'a> From<&'a Outcome> for OutcomeText<'a> {
    fn from(outcome: &'a Outcome) -> Self {
        match outcome {
            Outcome::Applied => OutcomeText::Applied,
            Outcome::Known => OutcomeText::Known,
            Outcome::Amended(state) => OutcomeText::Amended(codec::wire(&**state)),
            Outcome::NeedWhole => OutcomeText::NeedWhole,
            Outcome::Conflict(state) => OutcomeText::Conflict(codec::wire(&**state)),
            Outcome::Rejected(rejection) => OutcomeText::Rejected(rejection),
        }
    }
}

/// Reads an [`Outcome`].
#[derive(Clone)]
pub(crate) struct ReadOutcome<'r>(&'r Reader);

impl<'de> Choice<'de> for ReadOutcome<'_> {
    type Output = Outcome;
    const WHAT: &'static str = "what came of an update";

    fn alone(&self, name: &str) -> Option<Outcome> {
        match name {
            "applied" => Some(Outcome::Applied),
            "known" => Some(Outcome::Known),
            "need_whole" => Some(Outcome::NeedWhole),
            _ => None,
        }
    }

    fn with<A: MapAccess<'de>>(&self, name: &str, map: &mut A) -> Result<Option<Outcome>, A::Error> {
        Ok(Some(match name {
            "amended" => Outcome::Amended(Box::new(map.next_value_seed(self.0.one())?)),
            "conflict" => Outcome::Conflict(Box::new(map.next_value_seed(self.0.one())?)),
            "rejected" => Outcome::Rejected(map.next_value()?),
            _ => return Ok(None),
        }))
    }
}

type OutcomesText<'a> = Each<'a, Outcome, fn(&'a Outcome) -> OutcomeText<'a>>;

fn outcomes_text(outcomes: &[Outcome]) -> OutcomesText<'_> {
    Each(outcomes, OutcomeText::from)
}

fn read_outcomes(reader: &Reader, most: usize) -> List<Chosen<ReadOutcome<'_>>> {
    List { item: Chosen(ReadOutcome(reader)), most, what: "outcomes" }
}

// ---- Exchange ----

#[derive(Serialize)]
struct PushText<'a> {
    number: Whole,
    digest: Whole,
    updates: Dressed<'a, Update>,
    #[serde(skip_serializing_if = "no")]
    group_open: bool,
}

message! { ReadPush, "a page to push", |message, reader, most| {
    number: Whole = Plain::seed();
    digest: Whole = Plain::seed();
    updates: Vec<Update> = reader.list(most, false);
    group_open: bool = Plain::seed();
} -> PushPage {
    Ok(PushPage {
        number: required(message.number, "number")?.0,
        digest: required(message.digest, "digest")?.0,
        page: Page {
            updates: required(message.updates, "updates")?,
            group_open: message.group_open.unwrap_or(false),
        },
    })
}}

/// An [`Exchange`] to write.
#[derive(Serialize)]
pub(crate) struct ExchangeText<'a> {
    from: ReplicaId,
    to: ReplicaId,
    #[serde(skip_serializing_if = "Option::is_none")]
    push: Option<PushText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull: Option<PullText<'a>>,
}

impl<'a> ExchangeText<'a> {
    /// The exchange, and which models are wanted; `None` if all that the server has are.
    pub(crate) fn of(exchange: &'a Exchange, models: Option<&'a [&'static str]>) -> Self {
        let push = exchange.push.as_ref().map(|push| PushText {
            number: Whole(push.number),
            digest: Whole(push.digest),
            updates: each(&push.page.updates),
            group_open: push.page.group_open,
        });
        let pull = exchange.pull.as_ref().map(|pull| PullText::of(pull, models));
        ExchangeText { from: exchange.from, to: exchange.to, push, pull }
    }
}

/// An exchange as it was read, before its wish is known to fit the server's models.
#[derive(Debug)]
pub(crate) struct ExchangeAsked {
    pub(crate) from: ReplicaId,
    pub(crate) to: ReplicaId,
    pub(crate) push: Option<PushPage>,
    pub(crate) pull: Option<PullAsked>,
}

message! { ReadExchange, "an exchange", |message, reader, most| {
    from: ReplicaId = Plain::seed();
    to: ReplicaId = Plain::seed();
    push: PushPage = ReadPush::seed(reader, most);
    pull: PullAsked = ReadPull::seed(reader, most);
} -> ExchangeAsked {
    let (from, to) = (required(message.from, "from")?, required(message.to, "to")?);
    Ok(ExchangeAsked { from, to, push: message.push, pull: message.pull })
}}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum PushedText<'a> {
    Applied(OutcomesText<'a>),
    Staged,
    TakeNewName,
    Expected(Whole),
    ClockAhead,
}

impl<'a> From<&'a Pushed> for PushedText<'a> {
    fn from(pushed: &'a Pushed) -> Self {
        match pushed {
            Pushed::Applied(outcomes) => PushedText::Applied(outcomes_text(outcomes)),
            Pushed::Staged => PushedText::Staged,
            Pushed::TakeNewName => PushedText::TakeNewName,
            Pushed::Expected(number) => PushedText::Expected(Whole(*number)),
            Pushed::ClockAhead => PushedText::ClockAhead,
        }
    }
}

/// Reads a [`Pushed`].
#[derive(Clone)]
struct ReadPushed<'r>(&'r Reader);

impl<'de> Choice<'de> for ReadPushed<'_> {
    type Output = Pushed;
    const WHAT: &'static str = "what came of a page";

    fn alone(&self, name: &str) -> Option<Pushed> {
        match name {
            "staged" => Some(Pushed::Staged),
            "take_new_name" => Some(Pushed::TakeNewName),
            "clock_ahead" => Some(Pushed::ClockAhead),
            _ => None,
        }
    }

    fn with<A: MapAccess<'de>>(&self, name: &str, map: &mut A) -> Result<Option<Pushed>, A::Error> {
        Ok(Some(match name {
            // The last part of a group is answered with the outcomes of all its parts: their bytes are limited.
            "applied" => Pushed::Applied(map.next_value_seed(read_outcomes(self.0, usize::MAX))?),
            "expected" => Pushed::Expected(map.next_value::<Whole>()?.0),
            _ => return Ok(None),
        }))
    }
}

/// An [`Exchanged`] to write.
#[derive(Serialize)]
pub(crate) struct ExchangedText<'a> {
    replica: ReplicaId,
    now: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    taken: Option<Whole>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pushed: Option<PushedText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pulled: Option<PulledText<'a>>,
}

impl<'a> From<&'a Exchanged> for ExchangedText<'a> {
    fn from(exchanged: &'a Exchanged) -> Self {
        ExchangedText {
            replica: exchanged.replica,
            now: exchanged.now,
            taken: Some(exchanged.taken).filter(|taken| *taken > 0).map(Whole),
            pushed: exchanged.pushed.as_ref().map(PushedText::from),
            pulled: exchanged.pulled.as_ref().map(PulledText::from),
        }
    }
}

message! { ReadExchanged, "the answer to an exchange", |message, reader, most| {
    replica: ReplicaId = Plain::seed();
    now: Stamp = Plain::seed();
    taken: Whole = Plain::seed();
    pushed: Pushed = Chosen(ReadPushed(reader));
    pulled: Pulled = Chosen(ReadPulled(reader, most));
} -> Exchanged {
    Ok(Exchanged {
        replica: required(message.replica, "replica")?,
        now: required(message.now, "now")?,
        taken: message.taken.map_or(0, |taken| taken.0),
        pushed: message.pushed,
        pulled: message.pulled,
    })
}}

// ---- The calls of LoopBack's names ----

/// A message that is one list of changes, states or updates under one name.
macro_rules! list_message {
    ($text:ident, $read:ident, $what:literal, $field:ident: $item:ty) => {
        #[derive(Serialize)]
        pub(crate) struct $text<'a> {
            $field: Dressed<'a, $item>,
        }

        impl<'a> From<&'a [$item]> for $text<'a> {
            fn from(items: &'a [$item]) -> Self {
                $text { $field: each(items) }
            }
        }

        message! { $read, $what, |message, reader, most| {
            $field: Vec<$item> = reader.list(most, false);
        } -> Vec<$item> {
            required(message.$field, stringify!($field))
        }}
    };
}

list_message!(ChangesText, ReadChanges, "changes", changes: Change);
list_message!(DeltasText, ReadDeltas, "deltas", deltas: Change);
list_message!(UpdatesText, ReadUpdates, "updates", updates: Update);
list_message!(StatesText, ReadStates, "states", states: State);

/// Updates to apply, with who brings them.
#[derive(Serialize)]
pub(crate) struct BulkText<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<ReplicaId>,
    updates: Dressed<'a, Update>,
}

impl<'a> BulkText<'a> {
    pub(crate) fn of(from: Option<ReplicaId>, updates: &'a [Update]) -> Self {
        BulkText { from, updates: each(updates) }
    }
}

message! { ReadBulk, "updates to apply", |message, reader, most| {
    from: ReplicaId = Plain::seed();
    updates: Vec<Update> = reader.list(most, false);
} -> (Option<ReplicaId>, Vec<Update>) {
    Ok((message.from, required(message.updates, "updates")?))
}}

#[derive(Serialize)]
pub(crate) struct OutcomesMessage<'a> {
    outcomes: OutcomesText<'a>,
}

impl<'a> From<&'a [Outcome]> for OutcomesMessage<'a> {
    fn from(outcomes: &'a [Outcome]) -> Self {
        OutcomesMessage { outcomes: outcomes_text(outcomes) }
    }
}

message! { ReadOutcomes, "outcomes", |message, reader, most| {
    outcomes: Vec<Outcome> = read_outcomes(reader, most);
} -> Vec<Outcome> {
    required(message.outcomes, "outcomes")
}}

#[derive(Serialize)]
struct ConflictText<'a> {
    source: Written<'a, Change>,
    target: Written<'a, Change>,
}

message! { ReadConflict, "two changes in conflict", |message, reader, most| {
    source: Change = reader.one();
    target: Change = reader.one();
} -> (Change, Change) {
    Ok((required(message.source, "source")?, required(message.target, "target")?))
}}

type Pair = (Change, Change);

/// A [`Diff`] to write.
#[derive(Serialize)]
pub(crate) struct DiffText<'a> {
    deltas: Dressed<'a, Change>,
    conflicts: Each<'a, Pair, fn(&'a Pair) -> ConflictText<'a>>,
    #[serde(skip_serializing_if = "<[usize]>::is_empty")]
    absent: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a BTreeSet<String>>,
}

impl<'a> From<&'a Diff> for DiffText<'a> {
    fn from(diff: &'a Diff) -> Self {
        fn conflict((source, target): &Pair) -> ConflictText<'_> {
            ConflictText { source: codec::wire(source), target: codec::wire(target) }
        }
        let (absent, scopes) = (&diff.absent[..], diff.scopes.as_ref());
        DiffText { deltas: each(&diff.deltas), conflicts: Each(&diff.conflicts, conflict), absent, scopes }
    }
}

message! { ReadDiff, "a diff", |message, reader, most| {
    deltas: Vec<Change> = reader.list(most, false);
    conflicts: Vec<Pair> = List { item: ReadConflict::seed(reader, most), most, what: "conflicts" };
    absent: Vec<usize> = List { item: Plain::seed(), most, what: "absent records" };
    scopes: Vec<String> = List { item: Plain::seed(), most: pull::MOST_SCOPES, what: "scopes" };
} -> Diff {
    Ok(Diff {
        deltas: required(message.deltas, "deltas")?,
        conflicts: required(message.conflicts, "conflicts")?,
        absent: message.absent.unwrap_or_default(),
        scopes: message.scopes.map(|scopes| scopes.into_iter().collect()),
    })
}}

/// A checkpoint as a message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckpointText {
    pub(crate) checkpoint: Checkpoint,
}
