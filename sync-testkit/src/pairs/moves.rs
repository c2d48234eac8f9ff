//! Records that move from scope to scope: whom they leave, whom they come to, and who is told of it.

use super::ReplicaPair;
use super::models::{Item, Task, TaskField, TitledTask};
use super::purging::{pass, purge, short_with_tasks, some};
use super::scopes::{delete, device, ids, of, put, server, sync_as, sync_clean, tasks, traces};
use super::world::Device;
use crate::flaky::{FlakyReplica, LineFault, Request};
use std::collections::BTreeSet;
use sync_runtime::replica::{Caller, Exchange, FeedPage, Limits, Pull, Pulled, Replica};
use sync_runtime::version::{Checkpoint, ReplicaId};
use sync_runtime::{BoxFuture, ErrorKind, Event, Field};

/// A record that moves from one scope to another, and on, leaves the devices that only had that scope, and comes to
/// those that have the other.
pub(super) async fn a_record_that_moves_leaves_the_devices_that_only_had_its_scope(pair: &dyn ReplicaPair) {
    let server = server(pair).await;
    let (a, b, c, ab) = (device(pair).await, device(pair).await, device(pair).await, device(pair).await);
    let callers = [of("a", &["a"]), of("b", &["b"]), of("c", &["c"]), of("ab", &["a", "b"])];
    let devices = [&a, &b, &c, &ab];
    let holders = async || {
        let mut holders = Vec::new();
        for (device, caller) in devices.iter().zip(&callers) {
            sync_clean(device, &server, caller).await;
            holders.push(traces(device).await.contains("1"));
        }
        holders
    };
    put(&server, "1", "a", "first").await;
    put(&server, "other", "a", "stays").await;
    assert_eq!(holders().await, [true, false, false, true]);
    put(&server, "1", "b", "second").await;
    assert_eq!(holders().await, [false, true, false, true], "and no trace of it stays where it left");
    // Further than anybody looked.
    put(&server, "1", "a", "third").await;
    put(&server, "1", "c", "fourth").await;
    assert_eq!(holders().await, [false, false, true, false]);
    assert_eq!(tasks(&c).await["1"], ("c".into(), "fourth".into()));
    put(&server, "1", "a", "back").await;
    assert_eq!(holders().await, [true, false, false, true]);
    assert_eq!(ids(&a).await, ["1", "other"]);
    // Moved by one who may write both.
    put(&ab, "1", "b", "by ab").await;
    sync_clean(&ab, &server, &callers[3]).await;
    assert_eq!(holders().await, [false, true, false, true]);
    delete(&server, "1").await;
    sync_clean(&b, &server, &callers[1]).await;
    assert_eq!(ids(&b).await, Vec::<String>::new());
}

/// Where the program tells scopes by another rule from now on, records that nobody wrote move with it; and what left a
/// scope by the former rule has left it still.
pub(super) async fn another_rule_moves_what_nobody_wrote(pair: &dyn ReplicaPair) {
    let server = server(pair).await;
    let (a, b) = (device(pair).await, device(pair).await);
    let callers = [of("a", &["a"]), of("b", &["b"])];
    for (id, project, title) in [("1", "a", "a"), ("2", "a", "a"), ("3", "a", "b"), ("4", "b", "b")] {
        put(&server, id, project, title).await;
    }
    sync_clean(&a, &server, &callers[0]).await;
    assert_eq!(ids(&a).await, ["1", "2", "3"]);
    // It leaves while that rule holds, and `a` does not look.
    put(&server, "1", "b", "b").await;
    sync_clean(&b, &server, &callers[1]).await;
    assert_eq!(ids(&b).await, ["1", "4"]);
    let server = server.restart_as(|builder| builder.model::<Item>().model::<TitledTask>()).await;
    sync_clean(&a, &server, &callers[0]).await;
    sync_clean(&b, &server, &callers[1]).await;
    assert_eq!(ids(&a).await, ["2"]);
    assert_eq!(ids(&b).await, ["1", "3", "4"]);
}

/// What leaves and is back before anybody looked did not leave; what comes back later is there again.
pub(super) async fn a_record_that_comes_back_stays(pair: &dyn ReplicaPair) {
    let server = server(pair).await.limited(Limits { page_records: 2, ..Limits::default() }).await;
    let (a, witness) = (device(pair).await, device(pair).await);
    let (caller, other) = (of("a", &["a"]), of("w", &["a", "b"]));
    for id in ["1", "2", "3", "4"] {
        put(&server, id, "a", "first").await;
    }
    sync_clean(&a, &server, &caller).await;
    for id in ["1", "2", "3", "4"] {
        put(&server, id, "b", "away").await;
        // Somebody looks, so that the projection sees each step.
        sync_clean(&witness, &server, &other).await;
        put(&server, id, "a", "back").await;
        sync_clean(&witness, &server, &other).await;
    }
    sync_clean(&a, &server, &caller).await;
    assert_eq!(ids(&a).await, ["1", "2", "3", "4"]);
    assert!(tasks(&a).await.values().all(|(_, title)| title == "back"));
    put(&a, "1", "a", "edited").await;
    sync_clean(&a, &server, &caller).await;
    assert_eq!(tasks(&server).await["1"].1, "edited");
}

/// An edit of a record that left meanwhile is reported, stays on the device, and changes nothing at the server; without
/// one the id alone comes, and the record goes.
pub(super) async fn a_pending_edit_of_a_record_that_left_is_reported(pair: &dyn ReplicaPair) {
    let server = server(pair).await;
    let (a, later) = (device(pair).await, device(pair).await);
    let caller = of("a", &["a"]);
    put(&server, "1", "a", "first").await;
    put(&server, "2", "a", "first").await;
    sync_clean(&a, &server, &caller).await;
    put(&a, "1", "a", "edited offline").await;
    put(&server, "1", "b", "elsewhere").await;
    put(&server, "2", "b", "elsewhere").await;
    let report = sync_as(&a, &server, &caller).await;
    assert_eq!(report.rejected.len(), 1, "{report:?}");
    assert_eq!(report.rejected[0].id.to_string(), "1");
    assert!(!format!("{report:?}").contains("elsewhere"), "of what it is now it learns nothing: {report:?}");
    assert_eq!(tasks(&a).await, [("1".to_owned(), ("a".to_owned(), "edited offline".to_owned()))].into());
    assert_eq!(tasks(&server).await["1"], ("b".into(), "elsewhere".into()));
    let rejected = a.workspace.rejected::<Task>().await.expect("the refused are read");
    assert_eq!(rejected.len(), 1, "it is reported until it is resolved");
    let again = sync_as(&a, &server, &caller).await;
    assert_eq!(tasks(&a).await.len(), 1, "{again:?}");
    sync_clean(&later, &server, &of("b", &["b"])).await;
    assert_eq!(tasks(&later).await.len(), 2);
}

/// A record that left stays where a child of it is that did not, and goes with it.
pub(super) async fn a_record_that_left_stays_while_others_need_it(pair: &dyn ReplicaPair) {
    let (server, a) = (server(pair).await, device(pair).await);
    let caller = of("a", &["a"]);
    put(&server, "whole", "a", "first").await;
    let part =
        Task { id: "part".into(), project: "a".into(), part_of: Some("whole".into()), ..Task::default() };
    let all = server.workspace.collection::<Task>().expect("the model is registered");
    all.create(part.clone()).await.expect("a task is made");
    sync_clean(&a, &server, &caller).await;
    put(&server, "whole", "b", "elsewhere").await;
    sync_clean(&a, &server, &caller).await;
    assert_eq!(ids(&a).await, ["part", "whole"]);
    all.upsert(Task { project: "b".into(), ..part }).await.expect("a task is saved");
    sync_clean(&a, &server, &caller).await;
    assert_eq!(traces(&a).await, BTreeSet::new());
}

/// Where a record moved and was deleted while both scopes were out of reach, it is gone once both are granted at once.
pub(super) async fn what_moved_and_was_deleted_out_of_reach_is_gone(pair: &dyn ReplicaPair) {
    let (a, server) = (device(pair).await, server(pair).await);
    for id in ["1", "2"] {
        put(&server, id, "a", "first").await;
    }
    sync_clean(&a, &server, &of("a", &["a"])).await;
    sync_clean(&a, &server, &of("a", &[])).await;
    put(&server, "1", "b", "elsewhere").await;
    // Somebody looks, so that the projection sees the move.
    sync_clean(&a, &server, &of("a", &[])).await;
    delete(&server, "1").await;
    // And the other scopes are pulled past it.
    server.put("1", "for everybody").await;
    sync_clean(&a, &server, &of("a", &[])).await;
    sync_clean(&a, &server, &of("a", &["a", "b"])).await;
    assert_eq!(ids(&a).await, ["2"]);
}

/// Who watches a model is told what leaves it here, and what comes back.
pub(super) async fn what_leaves_is_told_to_who_watches(pair: &dyn ReplicaPair) {
    let (a, server, caller) = (device(pair).await, server(pair).await, of("a", &["a"]));
    for id in ["1", "2"] {
        put(&server, id, "a", "first").await;
    }
    sync_clean(&a, &server, &caller).await;
    let mut watch = a.workspace.collection::<Task>().expect("the model is registered").watch();
    watch.start().await.expect("it starts");
    for (project, deleted) in [("b", true), ("a", false)] {
        put(&server, "1", project, "moved").await;
        sync_clean(&a, &server, &caller).await;
        let told = watch.next().await.expect("events are told");
        assert_eq!(told, [Event { id: "1".to_owned(), deleted, from_peer: true }]);
    }
}

/// A page of what the caller gets, as a replica asks for it.
async fn page(server: &Device, caller: &Caller, from: ReplicaId, pull: Pull) -> FeedPage {
    let to = server.workspace.id().await.expect("the server has a name");
    let exchange = Exchange { from, to, push: None, pull: Some(pull) };
    let answer = Replica::exchange(server.engine(), caller, exchange).await.expect("an answer");
    let Some(Pulled::Page(page)) = answer.pulled else { panic!("a page comes: {answer:?}") };
    page
}

fn left(page: &FeedPage) -> Vec<String> {
    page.exits.iter().map(|exit| exit.id.to_string()).collect()
}

/// P10: what left a scope before a caller got it is told to nobody who gets it later, however they ask; that there is
/// something, and what left since, is.
pub(super) async fn what_left_before_a_scope_was_granted_is_not_told(pair: &dyn ReplicaPair) {
    let (server, a) = (server(pair).await, device(pair).await);
    let (both, only) = (of("a", &["a", "b"]), of("a", &["a"]));
    put(&server, "canary", "b", "first").await;
    put(&server, "1", "a", "first").await;
    let (to, from) = (server.workspace.id().await.expect("a name"), ReplicaId(uuid::Uuid::from_u128(7)));
    let early = page(&server, &only, from, Pull::of(server.engine().models().clone())).await;
    // Somebody looks, so that the projection sees the move.
    put(&server, "canary", "c", "elsewhere").await;
    sync_clean(&a, &server, &of("w", &["a"])).await;
    let begin = Some(Checkpoint::new(to, 0));
    let named = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
    let stranger = ReplicaId(uuid::Uuid::from_u128(8));
    for data in [true, false] {
        for (from, since, scopes) in [
            (from, Some(early.checkpoint), None),
            (from, Some(early.checkpoint), named(&["b"])),
            (from, begin, named(&["b"])),
            (stranger, begin, None),
            (stranger, None, None),
            (stranger, Some(early.checkpoint), named(&["a", "b"])),
        ] {
            let pull = Pull { data, since, scopes, ..Pull::of(server.engine().models().clone()) };
            let told = page(&server, &both, from, pull.clone()).await;
            assert_eq!(left(&told), Vec::<String>::new(), "{pull:?}");
            assert!(from == stranger || told.withheld, "that something did is told: {pull:?}");
            let Ok(Pulled::Page(told)) = Replica::changes(server.engine(), &both, pull).await else {
                panic!("a page comes");
            };
            assert_eq!(left(&told), Vec::<String>::new());
        }
    }
    // What leaves from now on is told to those who have it.
    put(&server, "1", "c", "elsewhere").await;
    let pull = Pull { since: begin, ..Pull::of(server.engine().models().clone()) };
    assert_eq!(left(&page(&server, &both, from, pull.clone()).await), ["1"]);
    let stranger = ReplicaId(uuid::Uuid::from_u128(9));
    let told = page(&server, &both, stranger, pull).await;
    assert_eq!((left(&told), told.withheld), (vec![], true), "somebody else has to look");
}

/// Who has records of a scope that was out of reach looks itself for those that left meanwhile.
pub(super) async fn what_left_out_of_reach_is_looked_for(pair: &dyn ReplicaPair) {
    let (server, a) = (server(pair).await, device(pair).await);
    for id in ["1", "2", "3"] {
        put(&server, id, "a", "first").await;
    }
    sync_clean(&a, &server, &of("a", &["a"])).await;
    sync_clean(&a, &server, &of("a", &[])).await;
    put(&server, "1", "c", "elsewhere").await;
    put(&a, "2", "a", "edited").await;
    put(&server, "2", "c", "elsewhere").await;
    sync_as(&a, &server, &of("a", &[])).await;
    let report = sync_as(&a, &server, &of("a", &["a"])).await;
    assert_eq!(ids(&a).await, ["2", "3"]);
    let rejected = a.workspace.rejected::<Task>().await.expect("what was refused is read");
    assert_eq!(rejected.len(), 1, "{report:?}");
    assert_eq!(rejected[0].code, ErrorKind::Gone.code(), "{rejected:?}");
    a.workspace.revert::<Task>("2").await.expect("it is given up");
    assert_eq!(ids(&a).await, ["3"]);
    sync_clean(&a, &server, &of("a", &["a"])).await;
}

/// What leaves in a transaction that takes several pages leaves with it.
pub(super) async fn what_leaves_in_a_group_larger_than_a_page_leaves(pair: &dyn ReplicaPair) {
    let limits = Limits { page_records: 2, ..Limits::default() };
    let (server, a) = (server(pair).await.limited(limits).await, device(pair).await);
    let caller = of("a", &["a"]);
    for id in ["1", "2", "3", "4", "5", "6", "7"] {
        put(&server, id, "a", "first").await;
    }
    sync_clean(&a, &server, &caller).await;
    let written = server.workspace.transaction(|tx| {
        Box::pin(async move {
            for (id, project) in
                [("1", "b"), ("2", "a"), ("3", "a"), ("4", "a"), ("5", "b"), ("6", "a"), ("7", "a")]
            {
                let task =
                    Task { id: id.into(), project: project.into(), title: "second".into(), part_of: None };
                tx.upsert(&task).await?;
            }
            Ok(())
        })
    });
    written.await.expect("the transaction commits");
    sync_clean(&a, &server, &caller).await;
    assert_eq!(ids(&a).await, ["2", "3", "4", "6", "7"]);
    assert!(tasks(&a).await.values().all(|(_, title)| title == "second"));
}

/// A record that left, and whose edit the peer turns out to know, goes once that is known: the pull has passed it by.
pub(super) async fn what_left_goes_when_the_peer_knows_the_edit(pair: &dyn ReplicaPair) {
    let (server, a) = (server(pair).await, device(pair).await);
    let caller = of("a", &["a"]);
    for id in ["1", "2", "3", "4"] {
        put(&server, id, "a", "first").await;
    }
    sync_clean(&a, &server, &caller).await;
    for id in ["1", "2", "4"] {
        put(&a, id, "a", "edited").await;
    }
    let line = FlakyReplica::new(&server.workspace).calling_as(caller.clone());
    line.next(Request::Exchange, LineFault::LoseAnswer);
    a.workspace.sync(&line).await.expect_err("the line is cut");
    for id in ["1", "2", "4"] {
        put(&server, id, "b", "elsewhere").await;
    }
    a.workspace.sync(&line).pull_only().await.expect("it pulls");
    let rejected = a.workspace.rejected::<Task>().await.expect("what was refused is read");
    assert_eq!(rejected.len(), 3, "as far as it knows, the edits are not there: {rejected:?}");
    delete(&server, "2").await;
    put(&server, "4", "a", "back").await;
    a.workspace.sync(&line).push_only().await.expect("it pushes");
    assert_eq!(ids(&a).await, ["3", "4"], "one is back");
    sync_as(&a, &server, &caller).await;
    let rejected = a.workspace.rejected::<Task>().await.expect("what was refused is read");
    assert_eq!((ids(&a).await, rejected.len()), (vec!["3".to_owned(), "4".to_owned()], 0), "{rejected:?}");
    assert_eq!(tasks(&server).await["1"], ("b".to_owned(), "elsewhere".to_owned()));
    assert_eq!(tasks(&a).await["4"].1, "back");
}

/// A record that left while it was in conflict, refused, or moved or deleted here by an edit that is not sent, goes once that
/// is decided.
pub(super) async fn what_left_goes_once_it_is_decided(pair: &dyn ReplicaPair) {
    let (server, a) = (server(pair).await, device(pair).await);
    let caller = of("a", &["a", "b"]);
    for id in ["conflict", "refused", "moved", "deleted", "stays"] {
        put(&server, id, "a", "first").await;
    }
    sync_clean(&a, &server, &caller).await;
    put(&a, "conflict", "a", "here").await;
    put(&server, "conflict", "a", "there").await;
    let report = sync_as(&a, &server, &caller).await;
    assert_eq!(report.conflict_count(), 1, "{report:?}");
    put(&a, "refused", "a", "here").await;
    put(&a, "moved", "b", "here").await;
    delete(&a, "deleted").await;
    for id in ["conflict", "refused", "moved", "deleted"] {
        put(&server, id, "c", "elsewhere").await;
    }
    for _ in 0..2 {
        sync_as(&a, &server, &caller).await;
    }
    assert_eq!(ids(&a).await, ["conflict", "moved", "refused", "stays"]);
    let rejected = a.workspace.rejected::<Task>().await.expect("what was refused is read");
    assert_eq!(rejected.len(), 3, "{rejected:?}");
    let conflict = a.workspace.conflicts::<Task>().await.expect("conflicts are read").remove(0);
    conflict.resolve_using_target().await.expect("it is resolved");
    sync_as(&a, &server, &caller).await;
    let rejected = a.workspace.rejected::<Task>().await.expect("what was refused is read");
    assert!(
        rejected.len() == 4 && rejected.iter().all(|it| it.code == ErrorKind::Gone.code()),
        "{rejected:?}"
    );
    for rejected in rejected {
        a.workspace.revert::<Task>(&rejected.id.to_string()).await.expect("it is given up");
    }
    for _ in 0..2 {
        sync_as(&a, &server, &caller).await;
    }
    assert_eq!(traces(&a).await, BTreeSet::from(["stays".to_owned()]));
    let rejected = a.workspace.rejected::<Task>().await.expect("what was refused is read");
    assert_eq!(rejected.len(), 0, "{rejected:?}");
    assert_eq!(sync_as(&a, &server, &caller).await.requests, 1);
}

/// What is to be looked for in a scope is looked for when it may be read again, where the look was cut off before that.
pub(super) async fn what_was_not_looked_for_in_time_is_looked_for_later(pair: &dyn ReplicaPair) {
    let (server, a) = (server(pair).await, device(pair).await);
    for id in ["1", "2"] {
        put(&server, id, "a", "first").await;
    }
    for scopes in [vec!["a"], vec![]] {
        sync_clean(&a, &server, &of("a", &scopes)).await;
    }
    put(&server, "1", "c", "elsewhere").await;
    let line = FlakyReplica::new(&server.workspace).calling_as(of("a", &["a"]));
    line.next(Request::Diff, LineFault::LoseRequest);
    a.workspace.sync(&line).await.expect_err("the look is cut off");
    for scopes in [vec![], vec!["a"]] {
        sync_clean(&a, &server, &of("a", &scopes)).await;
    }
    assert_eq!(ids(&a).await, ["2"]);
}

/// The same for what was deleted and purged meanwhile.
pub(super) async fn what_was_purged_and_not_looked_for_in_time_is_looked_for_later(pair: &dyn ReplicaPair) {
    let ([a], server) = some(pair, short_with_tasks).await;
    for id in ["1", "2"] {
        put(&server, id, "a", "first").await;
    }
    sync_clean(&a, &server, &of("a", &["a", "b"])).await;
    delete(&server, "1").await;
    put(&server, "3", "b", "later").await;
    pass(40, &[&a, &server]);
    assert_eq!(purge(&server).await, [""; 0]);
    let line = FlakyReplica::new(&server.workspace).calling_as(of("a", &["a", "b"]));
    line.next(Request::Diff, LineFault::LoseRequest);
    a.workspace.sync(&line).await.expect_err("the look is cut off");
    for scopes in [vec!["b"], vec!["a", "b"]] {
        sync_clean(&a, &server, &of("a", &scopes)).await;
    }
    assert_eq!(ids(&a).await, ["2", "3"]);
}

/// What leaves a replica leaves those too that pull from it.
pub(super) async fn what_left_a_replica_leaves_those_behind_it(pair: &dyn ReplicaPair) {
    let (server, hub, a) = (server(pair).await, device(pair).await, device(pair).await);
    for id in ["1", "2", "3"] {
        put(&server, id, "a", "first").await;
    }
    sync_clean(&hub, &server, &of("hub", &["a"])).await;
    a.workspace.sync(&hub.workspace).await.expect("it syncs");
    put(&a, "3", "a", "edited").await;
    for id in ["1", "3"] {
        put(&server, id, "b", "elsewhere").await;
    }
    sync_clean(&hub, &server, &of("hub", &["a"])).await;
    assert_eq!(ids(&hub).await, ["2"]);
    for _ in 0..2 {
        a.workspace.sync(&hub.workspace).await.expect("it syncs");
    }
    assert_eq!(ids(&a).await, ["2", "3"], "an edit stays");
    sync_as(&hub, &server, &of("hub", &["a"])).await;
    let rejected = hub.workspace.rejected::<Task>().await.expect("what was refused is read");
    assert_eq!(rejected.len(), 1, "and is told of where it goes no further: {rejected:?}");
}

/// Also what leaves after that, with nothing written there between.
pub(super) async fn what_leaves_a_replica_later_leaves_those_behind_it_too(pair: &dyn ReplicaPair) {
    let (server, hub, a) = (server(pair).await, device(pair).await, device(pair).await);
    for id in ["1", "2", "3"] {
        put(&server, id, "a", "first").await;
    }
    let of_hub = of("hub", &["a"]);
    sync_clean(&hub, &server, &of_hub).await;
    a.workspace.sync(&hub.workspace).await.expect("it syncs");
    for (left, stay) in [("1", vec!["2", "3"]), ("2", vec!["3"]), ("3", vec![])] {
        put(&server, left, "b", "elsewhere").await;
        sync_clean(&hub, &server, &of_hub).await;
        a.workspace.sync(&hub.workspace).await.expect("it syncs");
        assert_eq!(ids(&a).await, stay);
    }
    put(&a, "4", "a", "by a").await;
    let report = a.workspace.sync(&hub.workspace).await.expect("it syncs");
    assert_eq!((report.rejected.len(), ids(&hub).await), (0, vec!["4".to_owned()]));
}

/// Who looks for what is gone takes nothing for it that only may not be read any more: not where that changes just then, nor
/// where the look was cut off; and goes on with what may be read besides.
pub(super) async fn what_may_not_be_read_just_now_is_not_gone(pair: &dyn ReplicaPair) {
    for meanwhile in [None, Some(vec!["a"]), Some(vec!["a", "b", "c"])] {
        let (server, a) = (server(pair).await, device(pair).await);
        let both = of("a", &["a", "b"]);
        for (id, project) in [("1", "a"), ("2", "a"), ("3", "b")] {
            put(&server, id, project, "first").await;
        }
        sync_clean(&a, &server, &both).await;
        // Another filter makes it compare everything, and what left then it has to look for.
        let filter = || TaskField::PartOf.eq(None::<String>);
        let line = FlakyReplica::new(&server.workspace).calling_as(both.clone());
        put(&server, "1", "d", "elsewhere").await;
        match &meanwhile {
            None => line.after(Request::Changes, {
                let line = line.clone();
                move || Box::pin(async move { line.calls_as(of("a", &["a"])) })
            }),
            Some(_) => line.next(Request::Diff, LineFault::LoseRequest),
        }
        let looked = a.workspace.sync(&line).only(filter()).await;
        assert_eq!(looked.is_err(), meanwhile.is_some(), "{looked:?}");
        assert!(ids(&a).await.contains(&"3".to_owned()), "{meanwhile:?}");
        line.calls_as(of("a", &meanwhile.clone().unwrap_or(vec!["a"])));
        let report = a.workspace.sync(&line).only(filter()).await.expect("it syncs");
        assert_eq!(
            (report.level, ids(&a).await),
            (true, vec!["2".to_owned(), "3".to_owned()]),
            "{meanwhile:?}"
        );
        line.calls_as(both.clone());
        put(&server, "2", "d", "elsewhere").await;
        let report = a.workspace.sync(&line).only(filter()).await.expect("it syncs");
        assert_eq!((report.level, ids(&a).await), (true, vec!["3".to_owned()]), "{meanwhile:?}");
    }
}

/// Nor where the right was away only for a moment, just as it looked.
pub(super) async fn what_could_not_be_read_for_a_moment_is_not_gone(pair: &dyn ReplicaPair) {
    for until in [Request::Diff, Request::CreateUpdates] {
        let (server, a) = (server(pair).await, device(pair).await);
        let (both, only) = (of("a", &["a", "b"]), of("a", &["b"]));
        for (id, project) in [("1", "a"), ("2", "a"), ("3", "b")] {
            put(&server, id, project, "first").await;
        }
        sync_clean(&a, &server, &both).await;
        put(&server, "1", "d", "elsewhere").await;
        let line = FlakyReplica::new(&server.workspace).calling_as(both.clone());
        for (request, caller) in [(Request::Changes, only), (until, both.clone())] {
            let now = line.clone();
            line.after(request, move || -> BoxFuture<'static, ()> {
                Box::pin(async move { now.calls_as(caller) })
            });
        }
        let filter = || TaskField::PartOf.eq(None::<String>);
        a.workspace.sync(&line).only(filter()).await.expect("it syncs");
        let held = ids(&a).await;
        assert!(held.ends_with(&["2".to_owned(), "3".to_owned()]), "{until:?}: {held:?}");
        line.calls_as(both.clone());
        a.workspace.sync(&line).only(filter()).await.expect("it syncs");
        assert_eq!(ids(&a).await, ["2", "3"], "{until:?}");
    }
}
