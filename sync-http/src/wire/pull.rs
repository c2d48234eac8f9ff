//! Wishes for changes, and the pages that answer them.

use super::records::{IdText, model};
use super::{Dressed, MOST_MODELS, each, no};
use crate::filter::{FilterText, ReadFilter};
use crate::message::{Choice, message};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeSet;
use sync_runtime::codec::{Each, List, Plain, Reader, Whole, required};
use sync_runtime::query::Filter;
use sync_runtime::replica::{Exit, FeedPage, Limits, Page, Pull, Pulled, Update};
use sync_runtime::version::Position;
use sync_runtime::{Checkpoint, Error, ErrorKind, Id, ModelSchema, Models};

/// The most names of scopes in a message.
pub(super) const MOST_SCOPES: usize = 100_000;

/// The most exits in a page; a server sends about ten thousand.
const MOST_EXITS: usize = 100_000;

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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    only: Vec<OnlyText<'a>>,
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
        let only = pull
            .only
            .iter()
            .map(|(schema, filter)| OnlyText { model: schema.name, filter: FilterText::of(schema, filter) });
        PullText { since, limit, data, model, models, scopes, only: only.collect(), through, horizon }
    }
}

#[derive(Serialize)]
struct OnlyText<'a> {
    model: &'static str,
    filter: FilterText<'a>,
}

message! { ReadOnly, "which records of a model", |message, reader, most| {
    model: String = Plain::seed();
    filter: Filter = ReadFilter::seed(reader, model(reader, message.model.as_ref())?);
} -> (&'static ModelSchema, Filter) {
    let schema = model(message.reader, message.model.as_ref())?;
    Ok((schema, required(message.filter, "filter")?))
}}

/// A wish as it was read, before it is known to fit the server's models.
#[derive(Debug, Clone, Default)]
pub(crate) struct PullAsked {
    pub(crate) since: Option<Checkpoint>,
    pub(crate) limit: Option<usize>,
    pub(crate) data: Option<bool>,
    pub(crate) model: Option<String>,
    pub(crate) models: Option<Vec<String>>,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) only: Option<Vec<(&'static ModelSchema, Filter)>>,
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
        let only = self.only.unwrap_or_default();
        Ok((Pull { since, limit, data, model, models, scopes, only, through, horizon }, has_all))
    }
}

message! { ReadPull, "a wish for changes", |message, reader, most| {
    since: Checkpoint = Plain::seed();
    limit: usize = Plain::seed();
    data: bool = Plain::seed();
    model: String = Plain::seed();
    models: Vec<String> = List { item: Plain::seed(), most: MOST_MODELS, what: "models" };
    scopes: Vec<String> = List { item: Plain::seed(), most: MOST_SCOPES, what: "scopes" };
    only: Vec<(&'static ModelSchema, Filter)> =
        List { item: ReadOnly::seed(reader, most), most: MOST_MODELS, what: "filters" };
    through: Position = Plain::seed();
    horizon: Position = Plain::seed();
} -> PullAsked {
    let ReadPull { since, limit, data, model, models, scopes, only, through, horizon, .. } = message;
    Ok(PullAsked { since, limit, data, model, models, scopes, only, through, horizon })
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
    unwanted: Option<&'a BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exits: Option<ExitsText<'a>>,
    #[serde(skip_serializing_if = "no")]
    withheld: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    horizon: Option<Position>,
}

type ExitsText<'a> = Each<'a, Exit, fn(&'a Exit) -> ExitText<'a>>;

#[derive(Serialize)]
struct ExitText<'a> {
    model: &'static str,
    id: IdText<'a>,
    scope: &'a str,
    #[serde(skip_serializing_if = "no")]
    unmatched: bool,
}

impl<'a> From<&'a Exit> for ExitText<'a> {
    fn from(exit: &'a Exit) -> Self {
        let Exit { schema, id, scope, unmatched } = exit;
        ExitText { model: schema.name, id: IdText(id), scope, unmatched: *unmatched }
    }
}

impl<'a> From<&'a Pulled> for PulledText<'a> {
    fn from(pulled: &'a Pulled) -> Self {
        let feed = match pulled {
            Pulled::Page(feed) => feed,
            Pulled::UnknownCheckpoint => return PulledText::UnknownCheckpoint,
            Pulled::Purged => return PulledText::Purged,
        };
        let FeedPage {
            page,
            checkpoint,
            more,
            ahead,
            skipped,
            covers,
            scopes,
            unwanted,
            exits,
            withheld,
            horizon,
        } = feed;
        PulledText::Page(FeedText {
            updates: each(&page.updates),
            group_open: page.group_open,
            checkpoint: *checkpoint,
            more: *more,
            ahead: Some(*ahead).filter(|ahead| *ahead != 0),
            skipped: Some(Whole(*skipped)).filter(|skipped| skipped.0 != 0),
            covers: covers.as_ref(),
            scopes: scopes.as_ref(),
            unwanted: Some(unwanted).filter(|unwanted| !unwanted.is_empty()),
            exits: Some(Each(exits, ExitText::from as fn(&'a Exit) -> ExitText<'a>))
                .filter(|_| !exits.is_empty()),
            withheld: *withheld,
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
    unwanted: Vec<String> = List { item: Plain::seed(), most: MOST_SCOPES, what: "scopes" };
    exits: Vec<Option<Exit>> = List { item: ReadExit::seed(reader, most), most: MOST_EXITS, what: "exits" };
    withheld: bool = Plain::seed();
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
        unwanted: message.unwanted.into_iter().flatten().collect(),
        exits: message.exits.into_iter().flatten().flatten().collect(),
        withheld: message.withheld.unwrap_or(false),
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
    unmatched: bool = Plain::seed();
} -> Option<Exit> {
    let model = required(message.model, "model")?;
    let (id, scope) = (required(message.id, "id")?, required(message.scope, "scope")?);
    // One of a model that is not registered here concerns nobody here.
    let (schema, unmatched) = (message.reader.schema(&model).ok(), message.unmatched.unwrap_or(false));
    Ok(schema.zip(id).map(|(schema, id)| Exit { schema, id, scope, unmatched }))
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
