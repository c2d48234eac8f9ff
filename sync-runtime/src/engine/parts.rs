//! The parts of a replica that a caller's pull covers: scopes, or, where people subscribe, the scopes of each model.
//!
//! Where [`Subscription`] is registered, a part is one model in one scope; else it is a scope with all its models. Either is
//! named by a text, which a device keeps a checkpoint by.

use super::scopes::{self, SEPARATOR, escaped, unescaped};
use crate::Result;
use crate::caller::{Caller, Right};
use crate::record::Id;
use crate::schema::Models;
use crate::store::Transaction;
use crate::subscription::Subscription;
use crate::syncable::Syncable;
use std::collections::{BTreeMap, BTreeSet};

/// The scopes, each with the models of it; `None` are all models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts(BTreeMap<String, Option<BTreeSet<String>>>);

/// The name of a part.
pub(crate) fn name(scope: &str, model: Option<&str>) -> String {
    match model {
        Some(model) => format!("{}{SEPARATOR}{model}", escaped(scope)),
        None => escaped(scope),
    }
}

/// The name of the scope with all its models that the part of this name is of; `None` of one that is that itself.
pub(crate) fn whole(name: &str) -> Option<&str> {
    name.split_once(SEPARATOR).map(|(scope, _)| scope)
}

impl Parts {
    fn of_scopes(scopes: &BTreeSet<String>) -> Parts {
        Parts(scopes.iter().map(|scope| (scope.clone(), None)).collect())
    }

    /// The parts of these names.
    pub(crate) fn named<'n>(names: impl IntoIterator<Item = &'n String>) -> Parts {
        let mut parts = Parts::default();
        for name in names {
            match name.split_once(SEPARATOR) {
                Some((scope, model)) => parts.add(unescaped(scope), model),
                None => drop(parts.0.insert(unescaped(name), None)),
            }
        }
        parts
    }

    /// Adds a model in a scope.
    pub(crate) fn add(&mut self, scope: String, model: &str) {
        if let Some(models) = self.0.entry(scope).or_insert_with(|| Some(BTreeSet::new())) {
            models.insert(model.to_owned());
        }
    }

    /// Their names.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let of_scope = |(scope, models): (&String, &Option<BTreeSet<String>>)| match models {
            None => vec![name(scope, None)],
            Some(models) => models.iter().map(|model| name(scope, Some(model))).collect(),
        };
        self.0.iter().flat_map(of_scope).collect()
    }

    /// The scopes, each with the models of it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, Option<&BTreeSet<String>>)> {
        self.0.iter().map(|(scope, models)| (scope, models.as_ref()))
    }

    /// The scopes with this model in them.
    pub(crate) fn scopes_of(&self, model: &str) -> impl Iterator<Item = &str> + Clone {
        self.0.keys().map(String::as_str).filter(move |scope| self.hold(model, scope))
    }

    /// Whether a model's records in a scope are among them.
    pub(crate) fn hold(&self, model: &str, scope: &str) -> bool {
        self.0.get(scope).is_some_and(|models| models.as_ref().is_none_or(|models| models.contains(model)))
    }

    /// Those of them that have one of these names.
    pub(crate) fn only(&self, names: &BTreeSet<String>) -> Parts {
        Parts::named(self.names().intersection(names))
    }
}

/// What a caller gets who may not read every scope.
#[derive(Debug, Clone)]
pub(crate) struct Coverage {
    /// What it gets.
    pub(crate) parts: Parts,
    /// What it may read and does not want.
    pub(crate) unwanted: Parts,
}

impl Coverage {
    /// What the caller may read, as far as it subscribes; `None` where it may read every scope. A model that it has no
    /// subscription of comes from every scope that it may read.
    pub(crate) async fn of(
        tx: &mut dyn Transaction,
        models: &Models,
        caller: &Caller,
    ) -> Result<Option<Coverage>> {
        let Some(readable) = caller.scopes().filter(|_| scopes::are_known(models)) else { return Ok(None) };
        let subject = caller.subject().filter(|_| models.get(Subscription::SCHEMA.name).is_ok());
        let Some(subject) = subject else {
            return Ok(Some(Coverage { parts: Parts::of_scopes(&readable), unwanted: Parts::default() }));
        };
        let wanted = subscriptions(tx, models, subject).await?;
        let (mut parts, mut unwanted) = (Parts::default(), Parts::default());
        for model in models.iter().filter(|model| model.schema.scope.is_some()) {
            let name = model.schema.name;
            if caller.right_on(name) < Right::Read {
                continue;
            }
            let wanted = wanted.get(name).filter(|_| name != Subscription::SCHEMA.name);
            for scope in &readable {
                match wanted.is_none_or(|wanted| wanted.contains(scope)) {
                    true => parts.add(scope.clone(), name),
                    false => unwanted.add(scope.clone(), name),
                }
            }
        }
        Ok(Some(Coverage { parts, unwanted }))
    }
}

/// The scopes that a subject wants of the models that have scopes, by model.
async fn subscriptions(
    tx: &mut dyn Transaction,
    models: &Models,
    subject: &str,
) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let scoped = models.iter().map(|model| model.schema).filter(|schema| schema.scope.is_some());
    let ids: Vec<Id> = scoped.map(|schema| Id::Text(Subscription::id_of(subject, schema.name))).collect();
    let records = tx.read(Subscription::SCHEMA, &ids).await?.into_iter().flatten();
    let wanted = |record| Subscription::from_record(record).map(|it| (it.model, it.scopes));
    Ok(records.map(wanted).collect::<std::result::Result<_, _>>()?)
}
