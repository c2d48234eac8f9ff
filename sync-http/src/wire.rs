//! The messages of protocol version 1, without I/O: what a request and an answer look like in either format.
//!
//! A message is a map. Where one of several things is said it is a name alone (`"staged"`) or a map with one
//! name (`{"expected": 5}`). What is absent was not said. Records, changes and updates look as
//! [`sync_runtime::codec`] says.

use crate::filter::{FilterText, ReadFilter};
use crate::message::{Choice, Chosen, message};
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use sync_runtime::change::{Change, State};
use sync_runtime::codec::{self, Each, Fielded, List, Plain, Reader, Tracked, Whole, Written, required};
use sync_runtime::query::Filter;
use sync_runtime::replica::{
    Diff, Exchange, Exchanged, Exit, FeedPage, Limits, Outcome, Page, Pull, Pulled, PushPage, Pushed,
    Rejection, RemoteWrite, Update, Wanted,
};
use sync_runtime::version::Position;
use sync_runtime::{Checkpoint, Error, ErrorKind, Id, ModelSchema, Models, ReplicaId, Revision, Stamp};

/// The version that stands in every path.
pub(crate) const VERSION: &str = "v1";

/// The most names of models in a message.
const MOST_MODELS: usize = 10_000;

/// The most names of scopes in a message.
const MOST_SCOPES: usize = 100_000;

/// The most exits in a page; a server sends about ten thousand.
const MOST_EXITS: usize = 100_000;

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

// ---- Pull and what was pulled ----

/// A [`Pull`] to write.
#[derive(Serialize)]
pub(crate) struct PullText<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Checkpoint>,
    limit: usize,
    data: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<&'a [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    horizon: Option<Position>,
}

impl<'a> PullText<'a> {
    /// The wish, and which models are wanted; `None` if all that the server has are.
    pub(crate) fn of(pull: &'a Pull, models: Option<&'a [&'static str]>) -> Self {
        let Pull { since, limit, data, through, .. } = *pull;
        let horizon = Some(pull.horizon).filter(|horizon| *horizon != 0);
        let (model, scopes) = (pull.model.map(|schema| schema.name), pull.scopes.as_ref());
        PullText { since, limit, data, model, models, scopes, through, horizon }
    }
}

/// A wish as it was read, before it is known to fit the server's models.
#[derive(Debug, Clone, Default)]
pub(crate) struct PullAsked {
    pub(crate) since: Option<Checkpoint>,
    pub(crate) limit: Option<usize>,
    pub(crate) data: Option<bool>,
    pub(crate) model: Option<String>,
    pub(crate) models: Option<Vec<String>>,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) through: Option<Position>,
    pub(crate) horizon: Option<Position>,
}

impl PullAsked {
    /// The wish to a server with these models, of which the caller sees some; and whether it has all of the wanted
    /// models.
    pub(crate) fn fit(self, all: &Models, seen: &Models, limits: &Limits) -> Result<(Pull, bool), Error> {
        let model = self.model.map(|name| seen.get(&name)).transpose()?.map(|model| model.schema);
        let (models, has_all) = match self.models {
            None => (all.clone(), true),
            Some(names) => {
                let mut models = Models::default();
                let known: Vec<_> = names.iter().filter_map(|name| all.get(name).ok()).collect();
                let has_all = known.len() == names.len();
                known.into_iter().for_each(|model| models.add(model));
                (models, has_all)
            }
        };
        let limit = self.limit.unwrap_or(limits.page_records).min(limits.page_records);
        if limit == 0 {
            return Err(Error::new(
                ErrorKind::Usage,
                "a page of no records brings nothing; ask for at least 1",
            ));
        }
        let scopes = self.scopes.map(|scopes| scopes.into_iter().collect());
        let (since, data, through) = (self.since, self.data.unwrap_or(true), self.through);
        let horizon = self.horizon.unwrap_or(0);
        Ok((Pull { since, limit, data, model, models, scopes, through, horizon }, has_all))
    }
}

message! { ReadPull, "a wish for changes", |message, reader, most| {
    since: Checkpoint = Plain::seed();
    limit: usize = Plain::seed();
    data: bool = Plain::seed();
    model: String = Plain::seed();
    models: Vec<String> = List { item: Plain::seed(), most: MOST_MODELS, what: "models" };
    scopes: Vec<String> = List { item: Plain::seed(), most: MOST_SCOPES, what: "scopes" };
    through: Position = Plain::seed();
    horizon: Position = Plain::seed();
} -> PullAsked {
    let ReadPull { since, limit, data, model, models, scopes, through, horizon, .. } = message;
    Ok(PullAsked { since, limit, data, model, models, scopes, through, horizon })
}}

/// A [`Pulled`] to write.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PulledText<'a> {
    Page(FeedText<'a>),
    UnknownCheckpoint,
    Purged,
}

#[derive(Serialize)]
pub(crate) struct FeedText<'a> {
    updates: Dressed<'a, Update>,
    #[serde(skip_serializing_if = "no")]
    group_open: bool,
    checkpoint: Checkpoint,
    #[serde(skip_serializing_if = "no")]
    more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ahead: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<Whole>,
    #[serde(skip_serializing_if = "Option::is_none")]
    covers: Option<&'a BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exits: Option<ExitsText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    horizon: Option<Position>,
}

type ExitsText<'a> = Each<'a, Exit, fn(&'a Exit) -> ExitText<'a>>;

#[derive(Serialize)]
struct ExitText<'a> {
    model: &'static str,
    id: IdText<'a>,
    scope: &'a str,
}

impl<'a> From<&'a Exit> for ExitText<'a> {
    fn from(exit: &'a Exit) -> Self {
        ExitText { model: exit.schema.name, id: IdText(&exit.id), scope: &exit.scope }
    }
}

impl<'a> From<&'a Pulled> for PulledText<'a> {
    fn from(pulled: &'a Pulled) -> Self {
        let feed = match pulled {
            Pulled::Page(feed) => feed,
            Pulled::UnknownCheckpoint => return PulledText::UnknownCheckpoint,
            Pulled::Purged => return PulledText::Purged,
        };
        let FeedPage { page, checkpoint, more, ahead, skipped, covers, scopes, exits, horizon } = feed;
        PulledText::Page(FeedText {
            updates: each(&page.updates),
            group_open: page.group_open,
            checkpoint: *checkpoint,
            more: *more,
            ahead: Some(*ahead).filter(|ahead| *ahead != 0),
            skipped: Some(Whole(*skipped)).filter(|skipped| skipped.0 != 0),
            covers: covers.as_ref(),
            scopes: scopes.as_ref(),
            exits: Some(Each(exits, ExitText::from as fn(&'a Exit) -> ExitText<'a>))
                .filter(|_| !exits.is_empty()),
            horizon: Some(*horizon).filter(|horizon| *horizon != 0),
        })
    }
}

message! { ReadFeedPage, "a page of a feed", |message, reader, most| {
    updates: Vec<Update> = reader.list(most, true);
    group_open: bool = Plain::seed();
    checkpoint: Checkpoint = Plain::seed();
    more: bool = Plain::seed();
    ahead: i64 = Plain::seed();
    skipped: Whole = Plain::seed();
    covers: Vec<String> = List { item: Plain::seed(), most: MOST_MODELS, what: "models" };
    scopes: Vec<String> = List { item: Plain::seed(), most: MOST_SCOPES, what: "scopes" };
    exits: Vec<Option<Exit>> = List { item: ReadExit::seed(reader, most), most: MOST_EXITS, what: "exits" };
    horizon: Position = Plain::seed();
} -> FeedPage {
    let updates = required(message.updates, "updates")?;
    Ok(FeedPage {
        page: Page { updates, group_open: message.group_open.unwrap_or(false) },
        checkpoint: required(message.checkpoint, "checkpoint")?,
        more: message.more.unwrap_or(false),
        ahead: message.ahead.unwrap_or(0),
        skipped: message.skipped.map_or(0, |skipped| skipped.0) + message.reader.skipped(),
        covers: message.covers.map(|covers| covers.into_iter().collect()),
        scopes: message.scopes.map(|scopes| scopes.into_iter().collect()),
        exits: message.exits.into_iter().flatten().flatten().collect(),
        horizon: message.horizon.unwrap_or(0),
    })
}}

/// The id of a record of this model, if that is registered here.
struct ExitedId<'r>(&'r Reader, Option<&'static ModelSchema>);

impl<'de> DeserializeSeed<'de> for ExitedId<'_> {
    type Value = Option<Id>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Id>, D::Error> {
        match self.1 {
            Some(schema) => self.0.id(schema).deserialize(deserializer).map(Some),
            None => IgnoredAny::deserialize(deserializer).map(|_| None),
        }
    }
}

message! { ReadExit, "an exit", |message, reader, most| {
    model: String = Plain::seed();
    id: Option<Id> = ExitedId(reader, message.model.as_deref().and_then(|name| reader.schema(name).ok()));
    scope: String = Plain::seed();
} -> Option<Exit> {
    let model = required(message.model, "model")?;
    let (id, scope) = (required(message.id, "id")?, required(message.scope, "scope")?);
    // One of a model that is not registered here concerns nobody here.
    Ok(id.and_then(|id| Some(Exit { schema: message.reader.schema(&model).ok()?, id, scope })))
}}

/// Reads a [`Pulled`].
#[derive(Clone)]
pub(crate) struct ReadPulled<'r>(pub(crate) &'r Reader, pub(crate) usize);

impl<'de> Choice<'de> for ReadPulled<'_> {
    type Output = Pulled;
    const WHAT: &'static str = "what was pulled";

    fn alone(&self, name: &str) -> Option<Pulled> {
        match name {
            "unknown_checkpoint" => Some(Pulled::UnknownCheckpoint),
            "purged" => Some(Pulled::Purged),
            _ => None,
        }
    }

    fn with<A: MapAccess<'de>>(&self, name: &str, map: &mut A) -> Result<Option<Pulled>, A::Error> {
        match name {
            "page" => {
                map.next_value_seed(ReadFeedPage::seed(self.0, self.1)).map(|page| Some(Pulled::Page(page)))
            }
            _ => Ok(None),
        }
    }
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
struct ReadPushed<'r>(&'r Reader, usize);

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
            "applied" => Pushed::Applied(map.next_value_seed(read_outcomes(self.0, self.1))?),
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
    pushed: Pushed = Chosen(ReadPushed(reader, most));
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
}

impl<'a> From<&'a Diff> for DiffText<'a> {
    fn from(diff: &'a Diff) -> Self {
        fn conflict((source, target): &Pair) -> ConflictText<'_> {
            ConflictText { source: codec::wire(source), target: codec::wire(target) }
        }
        DiffText { deltas: each(&diff.deltas), conflicts: Each(&diff.conflicts, conflict) }
    }
}

message! { ReadDiff, "a diff", |message, reader, most| {
    deltas: Vec<Change> = reader.list(most, false);
    conflicts: Vec<Pair> = List { item: ReadConflict::seed(reader, most), most, what: "conflicts" };
} -> Diff {
    let deltas = required(message.deltas, "deltas")?;
    Ok(Diff { deltas, conflicts: required(message.conflicts, "conflicts")? })
}}

/// A checkpoint as a message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckpointText {
    pub(crate) checkpoint: Checkpoint,
}

// ---- Reading and writing records ----

struct IdText<'a>(&'a Id);

impl Serialize for IdText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        codec::id(self.0).serialize(serializer)
    }
}

type IdsText<'a> = Each<'a, Id, fn(&'a Id) -> IdText<'a>>;

/// What to read, to write.
#[derive(Serialize)]
pub(crate) struct WantedText<'a> {
    model: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<IdsText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<FilterText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<IdText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
}

impl<'a> WantedText<'a> {
    fn nothing(schema: &'static ModelSchema) -> Self {
        WantedText { model: schema.name, ids: None, filter: None, after: None, limit: None }
    }

    /// These records.
    pub(crate) fn ids(schema: &'static ModelSchema, ids: &'a [Id]) -> Self {
        WantedText { ids: Some(Each(ids, IdText)), ..Self::nothing(schema) }
    }

    /// Records that match.
    pub(crate) fn matching(
        schema: &'static ModelSchema,
        filter: &'a Filter,
        after: Option<&'a Id>,
        limit: usize,
    ) -> Self {
        let (filter, limit) = (Some(FilterText::of(schema, filter)), Some(limit));
        WantedText { filter, after: after.map(IdText), limit, ..Self::nothing(schema) }
    }
}

/// The model of a message, which has to come before what depends on it.
fn model<E: de::Error>(reader: &Reader, name: Option<&String>) -> Result<&'static ModelSchema, E> {
    let name = name.ok_or_else(|| E::custom("`model` has to come first"))?;
    reader.schema(name).map_err(|error| reader.fail(ErrorKind::UnknownModel, error))
}

message! { ReadWanted, "what to read", |message, reader, most| {
    model: String = Plain::seed();
    ids: Vec<Id> = List { item: reader.id(model(reader, message.model.as_ref())?), most, what: "ids" };
    filter: Filter = ReadFilter::seed(reader, model(reader, message.model.as_ref())?);
    after: Id = reader.id(model(reader, message.model.as_ref())?);
    limit: usize = Plain::seed();
} -> (&'static ModelSchema, Wanted) {
    let schema = model(message.reader, message.model.as_ref())?;
    let wanted = match message.ids {
        Some(ids) => Wanted::Ids(ids),
        None => Wanted::Matching {
            filter: message.filter.unwrap_or(Filter::All),
            after: message.after,
            limit: message.limit.unwrap_or(message.most).min(message.most),
        },
    };
    Ok((schema, wanted))
}}

#[derive(Serialize)]
struct WriteText<'a> {
    model: &'static str,
    id: IdText<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Fielded<'a>>,
    #[serde(skip_serializing_if = "no")]
    delete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expect: Option<Revision>,
}

/// Writes to send.
#[derive(Serialize)]
pub(crate) struct WritesText<'a> {
    writes: Each<'a, RemoteWrite, fn(&'a RemoteWrite) -> WriteText<'a>>,
}

impl<'a> From<&'a [RemoteWrite]> for WritesText<'a> {
    fn from(writes: &'a [RemoteWrite]) -> Self {
        fn text(write: &RemoteWrite) -> WriteText<'_> {
            WriteText {
                model: write.schema.name,
                id: IdText(&write.id),
                record: write.record.as_ref().map(|record| codec::wire_record(write.schema, record, None)),
                delete: write.record.is_none(),
                expect: write.expect,
            }
        }
        WritesText { writes: Each(writes, text) }
    }
}

type Parts = (sync_runtime::Record, sync_runtime::record::Unknown);

message! { ReadWrite, "a write", |message, reader, most| {
    model: String = Plain::seed();
    id: Id = reader.id(model(reader, message.model.as_ref())?);
    record: Parts = reader.record(model(reader, message.model.as_ref())?);
    delete: bool = Plain::seed();
    expect: Revision = Plain::seed();
} -> RemoteWrite {
    let reader = message.reader;
    let schema = model(reader, message.model.as_ref())?;
    let id = required(message.id, "id")?;
    let named = |what: String| E::custom(format_args!("{} {id}: {what}", schema.name));
    let record = match (message.record, message.delete.unwrap_or(false)) {
        (None, true) => None,
        (Some((_, unknown)), false) if !unknown.is_empty() => {
            let names: Vec<_> = unknown.keys().map(String::as_str).collect();
            return Err(named(format!("the model has no field {}", names.join(", "))));
        }
        (Some((mut record, _)), false) => {
            let identified = schema.identify(&mut record, &id);
            if !identified.map_err(|error| reader.fail(ErrorKind::InvalidValue, error))? {
                let message = format_args!("{} {id}: the record has another id", schema.name);
                return Err(reader.fail(ErrorKind::InvalidValue, message));
            }
            Some(record)
        }
        _ => return Err(named("say either `record` or `\"delete\": true`".to_owned())),
    };
    Ok(RemoteWrite { schema, id, record, expect: message.expect })
}}

message! { ReadWrites, "writes", |message, reader, most| {
    writes: Vec<RemoteWrite> = List { item: ReadWrite::seed(reader, most), most, what: "writes" };
} -> Vec<RemoteWrite> {
    required(message.writes, "writes")
}}
