//! Three replicas in a chain and in a ring, where every one syncs by itself: no server decides.

use super::ReplicaPair;
use super::models::{Item, List};
use super::world::{Device, all_models, assert_level};

/// Replicas and who syncs with whom.
struct Net {
    devices: Vec<Device>,
    links: Vec<(usize, usize)>,
}

impl Net {
    /// Three in a chain: each of the ends knows only the middle.
    async fn chain(pair: &dyn ReplicaPair) -> Net {
        Net { devices: Net::devices(pair).await, links: vec![(0, 1), (1, 2)] }
    }

    /// Three in a ring: each syncs with the next.
    async fn ring(pair: &dyn ReplicaPair) -> Net {
        Net { devices: Net::devices(pair).await, links: vec![(0, 1), (1, 2), (2, 0)] }
    }

    async fn both(pair: &dyn ReplicaPair) -> [Net; 2] {
        [Net::chain(pair).await, Net::ring(pair).await]
    }

    async fn devices(pair: &dyn ReplicaPair) -> Vec<Device> {
        vec![
            Device::open(pair, pair.a().await, all_models).await,
            Device::open(pair, pair.b().await, all_models).await,
            Device::open(pair, pair.a().await, all_models).await,
        ]
    }

    /// Syncs every link once, without conflicts; gives how many records travelled.
    async fn round(&self) -> usize {
        let mut travelled = 0;
        for &(from, to) in &self.links {
            let report = self.devices[from].sync_clean(&self.devices[to]).await;
            travelled += report.pushed + report.pulled;
        }
        travelled
    }

    /// Syncs until nothing travels any more; resolves conflicts as they come, in favour of whoever meets them.
    async fn settle(&self) {
        for _ in 0..12 {
            let mut travelled = 0;
            for &(from, to) in &self.links {
                let report = self.devices[from].sync(&self.devices[to]).await;
                travelled += report.pushed + report.pulled;
                let conflicts = self.devices[from].conflicts().await;
                let met = !conflicts.is_empty();
                for conflict in conflicts {
                    // Two entries of one record are settled by the first resolution.
                    let settled = conflict.resolve_using_source().await;
                    if let Err(error) = settled {
                        assert_eq!(error.kind(), sync_runtime::ErrorKind::Moved, "{error}");
                    }
                }
                if met {
                    // As a user would: the resolution goes there before others make one of their own.
                    travelled += 1 + self.devices[from].sync(&self.devices[to]).await.pushed;
                }
            }
            if travelled == 0 {
                return;
            }
        }
        panic!("the replicas do not come to rest");
    }

    /// Syncs until nothing travels any more, without conflicts; then all are level.
    async fn settle_clean(&self) {
        for _ in 0..6 {
            if self.round().await == 0 {
                return self.level().await;
            }
        }
        panic!("the replicas do not come to rest");
    }

    async fn level(&self) {
        let [a, b, c] = &self.devices[..] else { panic!("three devices") };
        assert_level(&[a, b, c]).await;
    }
}

/// A create, an update and a delete reach everyone, from every place.
pub(super) async fn every_kind_of_change_reaches_everyone(pair: &dyn ReplicaPair) {
    for net in Net::both(pair).await {
        for device in &net.devices {
            device.put("1", "made").await;
            net.settle_clean().await;
            device.put("1", "changed").await;
            net.settle_clean().await;
            for other in &net.devices {
                assert_eq!(other.title("1").await.as_deref(), Some("changed"));
            }
            device.delete("1").await;
            net.settle_clean().await;
            for other in &net.devices {
                assert_eq!(other.get("1").await, None);
            }
        }
    }
}

/// P3: work that goes round, each step on top of the last, is no conflict anywhere.
pub(super) async fn work_that_goes_round_is_no_conflict(pair: &dyn ReplicaPair) {
    for net in Net::both(pair).await {
        net.devices[0].put("1", "start").await;
        net.settle_clean().await;
        for step in 0..7 {
            net.devices[step % 3].put("1", &format!("step {step}")).await;
            net.devices[step % 3].count("1", step as i64).await;
            net.settle_clean().await;
        }
        for device in &net.devices {
            assert_eq!(device.title("1").await.as_deref(), Some("step 6"));
        }
    }
}

/// What everybody has goes round no more, and each record travels each link at most once a direction.
pub(super) async fn rule_no_echo_no_starvation_in_a_ring(pair: &dyn ReplicaPair) {
    let net = Net::ring(pair).await;
    for (n, device) in net.devices.iter().enumerate() {
        for k in 0..5 {
            device.put(&format!("{n} {k}"), "foo").await;
        }
    }
    let first = net.round().await + net.round().await;
    assert!(first <= 2 * 15 * net.links.len(), "{first} records travelled");
    assert_eq!(net.round().await, 0);
    net.level().await;
}

/// A conflict is met once, resolved once, and gone everywhere.
pub(super) async fn a_conflict_resolved_once_is_gone_everywhere(pair: &dyn ReplicaPair) {
    for net in Net::both(pair).await {
        let [a, b, c] = &net.devices[..] else { panic!("three devices") };
        a.put("1", "start").await;
        net.settle_clean().await;
        a.put("1", "of a").await;
        c.put("1", "of c").await;
        for &(from, to) in &net.links {
            net.devices[from].sync(&net.devices[to]).await;
        }
        let mut met: usize = 0;
        for device in &net.devices {
            met += device.conflicts().await.len();
        }
        assert!(met >= 1);
        let resolver = if b.conflicts().await.is_empty() { a } else { b };
        resolver
            .conflicts()
            .await
            .remove(0)
            .resolve_manually(Some(Item::new("1", "resolved")))
            .await
            .expect("it is resolved");
        for _ in 0..3 {
            for &(from, to) in &net.links {
                net.devices[from].sync(&net.devices[to]).await;
            }
        }
        for device in &net.devices {
            assert_eq!(device.conflicts().await.len(), 0, "it is gone");
            assert_eq!(device.title("1").await.as_deref(), Some("resolved"));
        }
        net.settle_clean().await;
    }
}

/// Three edit one record at once; whoever meets a conflict resolves it; all end level.
pub(super) async fn three_edits_at_once_are_settled(pair: &dyn ReplicaPair) {
    for net in Net::both(pair).await {
        net.devices[0].put("1", "start").await;
        net.settle_clean().await;
        for (n, device) in net.devices.iter().enumerate() {
            device.put("1", &format!("of {n}")).await;
            device.put(&format!("beside {n}"), "foo").await;
        }
        net.settle().await;
        net.level().await;
        assert_eq!(net.devices[2].ids().await, ["1", "beside 0", "beside 1", "beside 2"]);
    }
}

/// Equal edits at three places join without a conflict.
pub(super) async fn equal_edits_at_three_places_join(pair: &dyn ReplicaPair) {
    for net in Net::both(pair).await {
        for device in &net.devices {
            device.put("1", "equal").await;
        }
        net.settle_clean().await;
        for device in &net.devices {
            device.put("1", "equal again").await;
        }
        net.settle_clean().await;
        net.devices[1].delete("1").await;
        net.devices[2].delete("1").await;
        net.settle_clean().await;
    }
}

/// A transaction stays whole over two hops.
pub(super) async fn a_transaction_goes_round_as_a_whole(pair: &dyn ReplicaPair) {
    for net in Net::both(pair).await {
        let written = net.devices[0].workspace.transaction(|tx| {
            Box::pin(async move {
                tx.upsert(&Item::new("1", "foo")).await?;
                tx.upsert(&List::new("1", "bar")).await
            })
        });
        written.await.expect("the transaction commits");
        net.settle_clean().await;
        let positions = async |device: &Device| {
            let states = device.states().await;
            states.iter().map(|state| state.change.group).collect::<Vec<_>>()
        };
        for device in &net.devices {
            let groups = positions(device).await;
            assert_eq!(groups.len(), 2);
            assert!(groups[0].is_some() && groups[0] == groups[1], "one group: {groups:?}");
        }
    }
}

/// Many edits at random places in random order, synced at random: all end level, and nothing is lost that was
/// not resolved away.
pub(super) async fn random_work_ends_level(pair: &dyn ReplicaPair) {
    for (run, net) in Net::both(pair).await.into_iter().enumerate() {
        let mut seed = 12_345 + run as u64;
        let mut draw = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for step in 0..150 {
            let device = &net.devices[draw(3) as usize];
            let id = format!("{}", draw(6));
            match draw(6) {
                0 | 1 => device.put(&id, &format!("step {step}")).await,
                2 => {
                    if device.get(&id).await.is_some() {
                        device.delete(&id).await;
                    }
                }
                3 => {
                    if let Some(conflict) = device.conflicts().await.pop() {
                        conflict.resolve_using_target().await.expect("it is resolved");
                    }
                }
                _ => {
                    let (from, to) = net.links[draw(net.links.len() as u64) as usize];
                    let size = 1 + draw(4) as usize;
                    let sync = net.devices[from].workspace.sync(&net.devices[to].replica).page_size(size);
                    sync.await.expect("it syncs");
                }
            }
        }
        net.settle().await;
        net.level().await;
        for device in &net.devices {
            assert_eq!(device.conflicts().await.len(), 0);
        }
    }
}
