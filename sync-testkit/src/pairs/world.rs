//! Devices of a case, and what is asserted about them.

use super::models::{Item, List, Tag};
use super::{BentEnv, Party, ReplicaPair};
use crate::flaky::FlakyReplica;
use std::collections::BTreeMap;
use std::sync::Arc;
use sync_runtime::change::{Change, State};
use sync_runtime::codec;
use sync_runtime::replica::{Caller, Limits, Pull, Pulled, Replica};
use sync_runtime::{Conflict, Engine, Status, SyncReport, Workspace, WorkspaceBuilder};

/// Registers the models of a device.
pub(super) type Register = fn(WorkspaceBuilder) -> WorkspaceBuilder;

/// The models that most cases have.
pub(super) fn all_models(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<Item>().model::<List>().model::<Tag>()
}

/// A party with its workspace open.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) party: Box<dyn Party>,
    pub(super) env: BentEnv,
    pub(super) workspace: Workspace,
    /// The workspace as others reach it.
    pub(super) replica: Arc<dyn Replica>,
    register: Register,
    limits: Limits,
}

impl Device {
    /// Opens a party with its own clock.
    pub(super) async fn open(pair: &dyn ReplicaPair, party: Box<dyn Party>, register: Register) -> Self {
        Device::open_with(party, BentEnv::new(pair.env()), register, Limits::default()).await
    }

    pub(super) async fn open_with(
        party: Box<dyn Party>,
        env: BentEnv,
        register: Register,
        limits: Limits,
    ) -> Self {
        let builder = register(party.builder().await).env(env.clone()).limits(limits);
        let workspace = builder.build().await.expect("the workspace opens");
        let replica = party.reach(&workspace).await;
        Device { party, env, workspace, replica, register, limits }
    }

    /// Closes the workspace and opens the same store again.
    pub(super) async fn restart(self) -> Self {
        let register = self.register;
        self.restart_as(register).await
    }

    /// Closes the workspace and opens the same store again with these models.
    pub(super) async fn restart_as(self, register: Register) -> Self {
        self.workspace.close();
        let Device { party, env, limits, workspace, replica, .. } = self;
        drop((workspace, replica));
        Device::open_with(party, env, register, limits).await
    }

    /// The same device with another workspace over its store.
    pub(super) fn replaced(self, workspace: Workspace, replica: Arc<dyn Replica>) -> Self {
        Device { workspace, replica, ..self }
    }

    /// The same device with other limits.
    pub(super) async fn limited(self, limits: Limits) -> Self {
        Device { limits, ..self }.restart().await
    }

    /// Another device with a copy of the store as it stands.
    pub(super) async fn copy(&self) -> Self {
        let party = self.party.copy().await;
        Device::open_with(party, self.env.clone(), self.register, self.limits).await
    }

    /// A copy of the store as it stands, to go back to.
    pub(super) async fn backup(&self) -> Box<dyn Party> {
        self.party.copy().await
    }

    /// The device as its backup has it: what was done since never happened here.
    pub(super) async fn rolled_back(self, backup: Box<dyn Party>) -> Self {
        self.workspace.close();
        Device::open_with(backup, self.env, self.register, self.limits).await
    }

    pub(super) fn engine(&self) -> &Engine {
        self.workspace.engine()
    }

    /// A line to this device that can be told to fail.
    pub(super) fn line(&self) -> FlakyReplica {
        FlakyReplica::new(&self.replica)
    }

    /// Makes an item or gives it another title.
    pub(super) async fn put(&self, id: &str, title: &str) {
        let items = self.workspace.collection::<Item>().expect("the model is registered");
        match items.get(id).await.expect("an item is read") {
            Some(_) => {
                items.update(id, |item| item.title = title.into()).await.expect("an item is saved");
            }
            None => {
                items.create(Item::new(id, title)).await.expect("an item is made");
            }
        }
    }

    /// Sets the count of an item that is there.
    pub(super) async fn count(&self, id: &str, count: i64) {
        let items = self.workspace.collection::<Item>().expect("the model is registered");
        items.update(id, |item| item.count = count).await.expect("an item is saved");
    }

    pub(super) async fn delete(&self, id: &str) {
        let items = self.workspace.collection::<Item>().expect("the model is registered");
        assert!(items.delete(id).await.expect("an item is deleted"), "there was no item {id}");
    }

    pub(super) async fn get(&self, id: &str) -> Option<Item> {
        let items = self.workspace.collection::<Item>().expect("the model is registered");
        items.get(id).await.expect("an item is read")
    }

    pub(super) async fn title(&self, id: &str) -> Option<String> {
        self.get(id).await.map(|item| item.title)
    }

    /// The ids of the items, in order.
    pub(super) async fn ids(&self) -> Vec<String> {
        let items = self.workspace.collection::<Item>().expect("the model is registered");
        let found = items.find(sync_runtime::Query::all()).await.expect("items are found");
        found.into_iter().map(|item| item.id).collect()
    }

    pub(super) async fn change(&self, id: &str) -> Change {
        let items = self.workspace.collection::<Item>().expect("the model is registered");
        items.find_last_change(id).await.expect("a change is read").expect("the item was tracked")
    }

    pub(super) async fn status(&self, id: &str) -> Status {
        let status = self.workspace.status::<Item>(id).await.expect("a status is read");
        status.expect("the item was tracked")
    }

    /// The conflicts that wait for a decision.
    pub(super) async fn conflicts(&self) -> Vec<Conflict<Item>> {
        self.workspace.conflicts::<Item>().await.expect("conflicts are read")
    }

    /// Syncs with another device.
    pub(super) async fn sync(&self, peer: &Device) -> SyncReport {
        self.workspace.sync(&peer.replica).await.expect("the sync succeeds")
    }

    /// Syncs with another device, which must end level, without conflict or refusal.
    pub(super) async fn sync_clean(&self, peer: &Device) -> SyncReport {
        let report = self.sync(peer).await;
        assert!(report.level, "not level: {report:?}");
        assert_eq!(report.conflict_count(), 0, "{report:?}");
        assert_eq!(report.rejected, vec![], "nothing is refused");
        report
    }

    /// Everything that this device holds, tombstones included, in the order of its feed.
    pub(super) async fn states(&self) -> Vec<State> {
        let pull = Pull::of(self.engine().models().clone());
        let mut states = Vec::new();
        let mut since = None;
        loop {
            let pull = Pull { since, ..pull.clone() };
            let pulled = Replica::changes(self.engine(), &Caller::owner(), pull).await;
            let Pulled::Page(feed) = pulled.expect("the feed is read") else {
                panic!("the engine does not know its own checkpoint {since:?}");
            };
            states.extend(feed.page.updates.into_iter().map(|update| update.state));
            if !feed.more {
                return states;
            }
            since = Some(feed.checkpoint);
        }
    }

    /// Live records, tombstones and ancestry, as promise P1 compares them.
    pub(super) async fn picture(&self) -> BTreeMap<String, String> {
        let states = self.states().await;
        let entries = states.into_iter().map(|state| {
            let mut ancestry: Vec<_> = state.change.ancestry.entries().skip(1).collect();
            ancestry.sort();
            let record = state.record.as_ref().map(|record| {
                let unknown = state.change.unknown.as_deref();
                let json = codec::to_json(&codec::wire_record(state.change.schema, record, unknown));
                String::from_utf8_lossy(&json.expect("a record is JSON")).into_owned()
            });
            let record = record.unwrap_or_else(|| "deleted".into());
            let shown = format!("{} {ancestry:?} {record}", state.change.revision());
            (state.change.name(), shown)
        });
        entries.collect()
    }
}

/// Two devices of a pair with the usual models.
pub(super) async fn two(pair: &dyn ReplicaPair) -> (Device, Device) {
    let a = Device::open(pair, pair.a().await, all_models).await;
    let b = Device::open(pair, pair.b().await, all_models).await;
    (a, b)
}

/// Three devices: two of the first kind with one of the second between them.
pub(super) async fn three(pair: &dyn ReplicaPair) -> (Device, Device, Device) {
    let (a, server) = two(pair).await;
    let b = Device::open(pair, pair.a().await, all_models).await;
    (a, server, b)
}

/// P1: all hold the same live records, tombstones and ancestry.
pub(super) async fn assert_level(devices: &[&Device]) {
    let first = devices[0].picture().await;
    for device in &devices[1..] {
        assert_eq!(first, device.picture().await, "two replicas differ");
    }
}
