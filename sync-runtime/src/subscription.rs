//! What people want of the scopes that they may read, as records that sync like any other.

use crate::Syncable;
use std::collections::BTreeSet;

/// Which scopes of a model somebody wants on their devices. There is one record for each person and model, and it syncs
/// like any other, so that a page of settings is a form over it.
///
/// Registered on the server, it narrows what each person pulls there by scope: of a model that they have a subscription of,
/// only what is in its scopes, as far as they may read them; of any other model all that they may read. A scope that is added
/// comes with the next sync, from its beginning; one that is taken out leaves the device, but for edits that are still to be
/// sent. The model is registered on the device as well, and the policy lets each person write their own:
///
/// ```
/// use sync_runtime::{Caller, Result, Right, Subscription, Workspace, prelude::*};
///
/// #[derive(Syncable)]
/// struct Task {
///     #[sync(id)]
///     id: i64,
///     #[sync(scope)]
///     project: String,
/// }
///
/// # async fn example(phone: &Workspace) -> Result<()> {
/// let alice = Caller::named("alice")
///     .with(Right::Write)
///     .in_scope(Subscription::scope_of("alice"), Right::Write)
///     .in_scope("bridge", Right::Write)
///     .in_scope("tower", Right::Read);
///
/// let wanted = Subscription::new::<Task>("alice", ["bridge"]);
/// phone.collection::<Subscription>()?.upsert(wanted).await?;
/// # Ok(())
/// # }
/// ```
///
/// Nobody is kept from what they may read by it: it says what is wanted, the policy what is allowed. It holds for those who
/// may read scopes by name ([`Caller::in_scope`](crate::Caller::in_scope)), not for those who may read every scope.
#[derive(Debug, Clone, PartialEq, Eq, Syncable)]
#[sync(
    model = "SyncSubscription",
    table = "syncable_subscription",
    methods = false,
    scope = Self::own_scope,
    validate = Self::check
)]
#[non_exhaustive]
pub struct Subscription {
    /// [`Subscription::id_of`] the owner and the model.
    #[sync(id)]
    pub id: String,
    /// The stable name of the person ([`crate::Caller::named`]).
    pub owner: String,
    /// The name of the model ([`crate::ModelSchema::name`]).
    pub model: String,
    /// The scopes; none of the model's records comes where there are none.
    #[sync(merge = "union")]
    pub scopes: BTreeSet<String>,
}

impl Subscription {
    /// That this person wants these scopes of a model, and no other.
    pub fn new<T: Syncable>(owner: &str, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let model = T::SCHEMA.name;
        Subscription {
            id: Subscription::id_of(owner, model),
            owner: owner.to_owned(),
            model: model.to_owned(),
            scopes: scopes.into_iter().map(Into::into).collect(),
        }
    }

    /// The id of the subscription of this person to the model of this name.
    ///
    /// ```
    /// use sync_runtime::Subscription;
    ///
    /// assert_eq!(Subscription::id_of("alice", "Task"), "alice/Task");
    /// ```
    pub fn id_of(owner: &str, model: &str) -> String {
        format!("{}/{model}", owner.replace('%', "%25").replace('/', "%2F"))
    }

    /// The scope that the subscriptions of this person are in, for a policy to grant.
    pub fn scope_of(owner: &str) -> String {
        format!("subscriptions of {owner}")
    }

    fn own_scope(&self) -> String {
        Subscription::scope_of(&self.owner)
    }

    /// Nobody may take the place of another one's.
    fn check(&self) -> Result<(), String> {
        let id = Subscription::id_of(&self.owner, &self.model);
        match self.id == id {
            true => Ok(()),
            false => Err(format!("the subscription of {} to {} has the id `{id}`", self.owner, self.model)),
        }
    }
}
