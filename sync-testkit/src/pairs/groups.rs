//! P12: what one transaction wrote arrives in one transaction, whatever the page size, whatever is lost.

use super::ReplicaPair;
use super::models::{Item, List, Tag};
use super::world::{Device, assert_level, three, two};
use crate::flaky::{LineFault, Request, ids_of};
use sync_runtime::Query;

/// How many records of each model there are.
async fn counts(device: &Device) -> [u64; 3] {
    let workspace = &device.workspace;
    let items = workspace.collection::<Item>().expect("the model is registered");
    let lists = workspace.collection::<List>().expect("the model is registered");
    let tags = workspace.collection::<Tag>().expect("the model is registered");
    [
        items.count(Query::all()).await.expect("items are counted"),
        lists.count(Query::all()).await.expect("lists are counted"),
        tags.count(Query::all()).await.expect("tags are counted"),
    ]
}

/// Writes a group of an item, a list and a tag for each of so many rounds.
async fn write_group(device: &Device, name: &'static str, rounds: i64) {
    let written = device.workspace.transaction(move |tx| {
        Box::pin(async move {
            for n in 0..rounds {
                tx.upsert(&Item::new(&format!("{name}{n}"), name)).await?;
                tx.upsert(&List::new(&format!("{name}{n}"), name)).await?;
                tx.upsert(&Tag::new(n, name)).await?;
            }
            Ok(())
        })
    });
    written.await.expect("the transaction commits");
}

/// Whether the group is there as a whole, or not at all.
fn all_or_nothing(counts: [u64; 3], rounds: u64) -> bool {
    counts == [0, 0, 0] || counts == [rounds; 3]
}

/// Syncs again and again; each sync is cut after a few pages, at the request or at the answer. Looks at `reader`
/// after every step.
async fn step_by_step(a: &Device, peer: &Device, reader: &Device, size: usize, rounds: u64) {
    for step in 0..200 {
        let line = peer.line();
        (0..step % 4).for_each(|_| line.next(Request::Exchange, LineFault::Repeat));
        let cut = if step % 3 == 0 { LineFault::LoseRequest } else { LineFault::LoseAnswer };
        line.next(Request::Exchange, cut);
        let done = a.workspace.sync(&line).page_size(size).await;
        let counts = counts(reader).await;
        assert!(all_or_nothing(counts, rounds), "page size {size}, step {step}: {counts:?}");
        if done.is_ok_and(|report| report.level) && counts == [rounds; 3] {
            return;
        }
    }
    panic!("page size {size}: the group never came");
}

/// Three models in one transaction, pushed.
pub(super) async fn three_models_are_pushed_together(pair: &dyn ReplicaPair) {
    for size in 1..=8 {
        let (a, b) = two(pair).await;
        write_group(&a, "g", 1).await;
        step_by_step(&a, &b, &b, size, 1).await;
        assert_level(&[&a, &b]).await;
    }
}

/// Three models in one transaction, pulled.
pub(super) async fn three_models_are_pulled_together(pair: &dyn ReplicaPair) {
    for size in 1..=8 {
        let (a, b) = two(pair).await;
        write_group(&b, "g", 1).await;
        step_by_step(&a, &b, &a, size, 1).await;
        assert_level(&[&a, &b]).await;
    }
}

/// A group of five pages and more, pushed, with answers lost in the middle.
pub(super) async fn a_group_of_many_pages_is_pushed_together(pair: &dyn ReplicaPair) {
    for size in 1..=8 {
        let (a, b) = two(pair).await;
        a.put("before", "foo").await;
        a.delete("before").await;
        write_group(&a, "g", 14).await;
        step_by_step(&a, &b, &b, size, 14).await;
        assert_level(&[&a, &b]).await;
    }
}

/// A group of five pages and more, pulled, with answers lost in the middle.
pub(super) async fn a_group_of_many_pages_is_pulled_together(pair: &dyn ReplicaPair) {
    for size in 1..=8 {
        let (a, b) = two(pair).await;
        b.put("before", "foo").await;
        b.delete("before").await;
        write_group(&b, "g", 14).await;
        step_by_step(&a, &b, &a, size, 14).await;
        assert_level(&[&a, &b]).await;
    }
}

/// A group that came in parts is whole at the next replica as well.
pub(super) async fn a_group_stays_whole_on_its_way_on(pair: &dyn ReplicaPair) {
    for size in [1, 4] {
        let (a, server, b) = super::world::three(pair).await;
        write_group(&a, "g", 4).await;
        step_by_step(&a, &server, &server, size, 4).await;
        step_by_step(&b, &server, &b, size, 4).await;
        assert_level(&[&a, &server, &b]).await;
    }
}

/// The process of the pusher dies in the middle of a group.
pub(super) async fn a_group_is_pushed_together_over_restarts(pair: &dyn ReplicaPair) {
    let (mut a, b) = two(pair).await;
    write_group(&a, "g", 3).await;
    for _ in 0..5 {
        let line = b.line();
        line.next(Request::Exchange, LineFault::Repeat);
        line.next(Request::Exchange, LineFault::LoseAnswer);
        let _ = a.workspace.sync(&line).page_size(2).await;
        assert!(all_or_nothing(counts(&b).await, 3));
        a = a.restart().await;
    }
    a.workspace.sync(&b.replica).page_size(2).await.expect("the line is good again");
    assert_eq!(counts(&b).await, [3; 3]);
    assert_level(&[&a, &b]).await;
}

/// The process of the puller dies in the middle of a group; so does the server's.
pub(super) async fn a_group_is_pulled_together_over_restarts(pair: &dyn ReplicaPair) {
    let (mut a, mut b) = two(pair).await;
    write_group(&b, "g", 3).await;
    for _ in 0..5 {
        let line = b.line();
        line.next(Request::Exchange, LineFault::Repeat);
        line.next(Request::Exchange, LineFault::LoseAnswer);
        let _ = a.workspace.sync(&line).page_size(2).await;
        assert!(all_or_nothing(counts(&a).await, 3));
        (a, b) = (a.restart().await, b.restart().await);
    }
    a.workspace.sync(&b.replica).page_size(2).await.expect("the line is good again");
    assert_eq!(counts(&a).await, [3; 3]);
    assert_level(&[&a, &b]).await;
}

/// Groups that fit are not torn by the end of a page: it ends where a group ends.
pub(super) async fn a_page_ends_where_a_group_ends(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    write_group(&a, "x", 1).await;
    a.put("alone", "foo").await;
    write_group(&a, "y", 1).await;
    let line = b.line();
    a.workspace.sync(&line).page_size(5).await.expect("it syncs");
    let pages: Vec<_> = line.pages().iter().map(|page| (ids_of(page).len(), page.page.group_open)).collect();
    // The tag of the first group was written again by the second.
    assert_eq!(pages, [(3, false), (3, false)]);
    assert_level(&[&a, &b]).await;
}

/// A record of the group was edited before the group was sent: the rest stays together, and the edit comes.
pub(super) async fn an_edit_before_the_push_leaves_the_group(pair: &dyn ReplicaPair) {
    for size in [1, 2, 8] {
        let (a, b) = two(pair).await;
        write_group(&a, "g", 2).await;
        a.put("g0", "edited").await;
        let report = a.workspace.sync(&b.replica).page_size(size).await.expect("it syncs");
        assert!(report.level);
        assert_eq!(counts(&b).await, [2; 3]);
        assert_eq!(b.title("g0").await.as_deref(), Some("edited"));
        assert_level(&[&a, &b]).await;
    }
}

/// Records of the group are edited while it is on its way in parts: those that were sent, and those that were not.
pub(super) async fn an_edit_between_the_parts_of_a_push(pair: &dyn ReplicaPair) {
    for (edited, deleted) in [("g0", "g1"), ("g2", "g0"), ("g3", "g2"), ("g0", "g3")] {
        for size in [1, 2, 3, 5] {
            let (a, b) = two(pair).await;
            write_group(&a, "g", 4).await;
            let line = b.line();
            let workspace = a.workspace.clone();
            line.after(Request::Exchange, move || {
                Box::pin(async move {
                    let items = workspace.collection::<Item>().expect("the model is registered");
                    let renamed = items.update(edited, |item| item.title = "edited".into()).await;
                    renamed.expect("an item is saved");
                    assert!(items.delete(deleted).await.expect("an item is deleted"));
                })
            });
            a.workspace.sync(&line).page_size(size).await.expect("it syncs");
            let report = a.workspace.sync(&line).page_size(size).await.expect("it syncs");
            assert!(report.level && report.conflict_count() == 0, "{report:?}");
            assert_eq!(b.title(edited).await.as_deref(), Some("edited"));
            assert_eq!(b.get(deleted).await, None);
            assert_level(&[&a, &b]).await;
        }
    }
}

/// The same, with the source of a pull edited between two parts.
pub(super) async fn an_edit_between_the_parts_of_a_pull(pair: &dyn ReplicaPair) {
    for (edited, deleted) in [("g0", "g1"), ("g2", "g0"), ("g3", "g2"), ("g0", "g3")] {
        for size in [1, 2, 3, 5] {
            let (a, b) = two(pair).await;
            write_group(&b, "g", 4).await;
            let line = b.line();
            let workspace = b.workspace.clone();
            line.after(Request::Exchange, move || {
                Box::pin(async move {
                    let items = workspace.collection::<Item>().expect("the model is registered");
                    let renamed = items.update(edited, |item| item.title = "edited".into()).await;
                    renamed.expect("an item is saved");
                    assert!(items.delete(deleted).await.expect("an item is deleted"));
                })
            });
            a.workspace.sync(&line).page_size(size).await.expect("it syncs");
            let report = a.workspace.sync(&line).page_size(size).await.expect("it syncs");
            assert!(report.level && report.conflict_count() == 0, "{report:?}");
            assert_eq!(a.title(edited).await.as_deref(), Some("edited"));
            assert_level(&[&a, &b]).await;
        }
    }
}

/// The rest of a group went away from the feed by a pull, after a part of it was sent: the part is not stuck.
pub(super) async fn a_group_whose_rest_is_overtaken_is_not_stuck(pair: &dyn ReplicaPair) {
    let (a, server, b) = super::world::three(pair).await;
    let written = a.workspace.transaction(|tx| {
        Box::pin(async move {
            tx.upsert(&Item::new("1", "of a")).await?;
            tx.upsert(&Item::new("2", "of a")).await
        })
    });
    written.await.expect("the transaction commits");
    // The answer to the first part is lost; meanwhile the second record takes another way to the server, is
    // edited on it, and comes home.
    let line = server.line();
    line.next(Request::Exchange, LineFault::LoseAnswer);
    a.workspace.sync(&line).page_size(1).await.expect_err("the answer is lost");
    a.sync_clean(&b).await;
    b.put("2", "of b").await;
    let second: Vec<_> =
        b.states().await.into_iter().filter(|state| state.change.id.to_string() == "2").collect();
    let updates = second.into_iter().map(|state| sync_runtime::replica::Update { state, based_on: None });
    let owner = sync_runtime::replica::Caller::owner();
    let outcomes = server.replica.bulk_update(&owner, None, updates.collect()).await.expect("it is updated");
    assert_eq!(outcomes.len(), 1);
    a.workspace.sync(&line).pull_only().await.expect("it pulls");
    assert_eq!(a.title("2").await.as_deref(), Some("of b"));
    a.workspace.sync(&line).page_size(1).await.expect("it syncs");
    a.workspace.sync(&line).page_size(1).await.expect("it syncs");
    assert_eq!(server.title("1").await.as_deref(), Some("of a"), "the part that was sent is not stuck");
    assert_level(&[&a, &server]).await;
}

/// A conflict in the group holds up its own record only.
pub(super) async fn a_conflict_in_a_group_holds_up_its_record_only(pair: &dyn ReplicaPair) {
    for size in [1, 8] {
        let (a, b) = two(pair).await;
        write_group(&a, "g", 2).await;
        b.put("g1", "of b").await;
        let report = a.workspace.sync(&b.replica).page_size(size).await.expect("it syncs");
        assert_eq!(report.conflict_count(), 1, "{report:?}");
        assert_eq!(counts(&b).await, [2; 3]);
        assert_eq!(b.title("g1").await.as_deref(), Some("of b"));
        report.conflicts::<Item>().remove(0).resolve_using_source().await.expect("it is resolved");
        a.sync_clean(&b).await;
        assert_level(&[&a, &b]).await;
    }
}

/// A transaction that fails wrote nothing, and nothing of it travels.
pub(super) async fn a_transaction_is_all_or_nothing(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    let failed = a.workspace.transaction(|tx| {
        Box::pin(async move {
            tx.upsert(&List::new("1", "foo")).await?;
            tx.upsert(&Item::new("2", "foo")).await?;
            tx.create(Item::new("1", "there is one")).await?;
            Ok(())
        })
    });
    assert!(failed.await.expect_err("there is one").is_exists());
    assert_eq!(counts(&a).await, [1, 0, 0]);
    assert_eq!(a.sync_clean(&b).await.pushed, 1);
    assert_eq!(counts(&b).await, [1, 0, 0]);
}

/// A transaction sees its own writes, and gives what its work returned.
pub(super) async fn a_transaction_sees_its_own_writes(pair: &dyn ReplicaPair) {
    let (a, _) = two(pair).await;
    let seen = a.workspace.transaction(|tx| {
        Box::pin(async move {
            let id = tx.create(Item::new("", "a fresh id")).await?;
            let made = tx.get::<Item>(&id).await?.map(|item| item.title);
            let gone = tx.delete::<Item>(&id).await?;
            let again = tx.delete::<Item>(&id).await?;
            Ok((made, gone, again))
        })
    });
    let seen = seen.await.expect("the transaction commits");
    assert_eq!(seen, (Some("a fresh id".into()), true, false));
}

/// One-way replication keeps groups whole as well, also such as are larger than a page.
pub(super) async fn replicate_keeps_groups_whole(pair: &dyn ReplicaPair) {
    for size in [1, 2, 3, 100] {
        let (a, b) = two(pair).await;
        a.put("before", "foo").await;
        let items = a.workspace.collection::<Item>().expect("the model is registered");
        items.upsert_all((0..4).map(|n| Item::new(&format!("g{n}"), "foo"))).await.expect("items are saved");
        let line = b.line();
        let (sender, receiver) = std::sync::mpsc::channel();
        for _ in 0..6 {
            let (reader, sender) = (b.workspace.clone(), sender.clone());
            line.after(Request::BulkUpdate, move || {
                Box::pin(async move {
                    let items = reader.collection::<Item>().expect("the model is registered");
                    let grouped = items.find(Query::all()).await.expect("items are found").into_iter();
                    let grouped = grouped.filter(|item| item.id.starts_with('g')).count();
                    sender.send(grouped).expect("the case listens");
                })
            });
        }
        let done = Item::replicate(&a.workspace, &line).page_size(size).await.expect("it replicates");
        assert_eq!((done.applied, done.level), (5, true));
        let seen: Vec<_> = receiver.try_iter().collect();
        assert!(seen.iter().all(|seen| [0, 4].contains(seen)), "page size {size}: {seen:?}");
        assert_level(&[&a, &b]).await;
    }
}

/// A record that left its group while one-way replication was on its way, because an equal edit of another replica
/// joined it, does not tear the group: it comes later, and the others are one group still, for whoever is next.
pub(super) async fn replicate_keeps_a_group_whole_that_a_record_leaves(pair: &dyn ReplicaPair) {
    let (device, source, target) = three(pair).await;
    device.put("g1", "foo").await;
    let items = source.workspace.collection::<Item>().expect("the model is registered");
    items.upsert_all((0..3).map(|n| Item::new(&format!("g{n}"), "foo"))).await.expect("items are saved");
    let line = source.line();
    let (other, joining) = (device.workspace.clone(), source.replica.clone());
    line.before(Request::CreateUpdates, move || {
        Box::pin(async move {
            let report = other.sync(&joining).await.expect("it syncs");
            assert_eq!(report.conflict_count(), 0, "equal edits join");
        })
    });
    let done = Item::replicate(&line, &target.workspace).await.expect("it replicates");
    assert!(done.level);
    assert_level(&[&source, &target]).await;
    let (first, last) = (target.change("g0").await.group, target.change("g2").await.group);
    assert_eq!(first, last, "they were written together");
    assert_ne!(target.change("g1").await.group, first);
}
