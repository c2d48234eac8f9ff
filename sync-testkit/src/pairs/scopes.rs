//! Scopes: who gets what, what leaves with whom, and that nobody learns of the rest.

use super::ReplicaPair;
use super::models::{Item, Memo, Task};
use super::races::states_of;
use super::world::Device;
use crate::flaky::{FlakyReplica, LineFault, Request};
use std::collections::{BTreeMap, BTreeSet};
use sync_runtime::change::State;
use sync_runtime::prelude::*;
use sync_runtime::replica::{
    Caller, Limits, Outcome, Pull, Pulled, RemoteWrite, Replica, Update, Wanted, Watching,
};
use sync_runtime::version::{Ancestry, Revision};
use sync_runtime::{BoxFuture, ErrorKind, Id, Right, SyncReport, WorkspaceBuilder};

pub(super) fn models(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<Item>().model::<Task>()
}

fn memos(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<Memo>()
}

pub(super) async fn device(pair: &dyn ReplicaPair) -> Device {
    Device::open(pair, pair.a().await, models).await
}

pub(super) async fn server(pair: &dyn ReplicaPair) -> Device {
    Device::open(pair, pair.b().await, models).await
}

/// Somebody with these scopes.
pub(super) fn of(subject: &str, scopes: &[&str]) -> Caller {
    let caller = Caller::named(subject).with(Right::Write);
    scopes.iter().fold(caller, |caller, scope| caller.in_scope(*scope, Right::Write))
}

pub(super) async fn sync_as(device: &Device, server: &Device, caller: &Caller) -> SyncReport {
    let line = FlakyReplica::new(&server.workspace).calling_as(caller.clone());
    device.workspace.sync(&line).await.expect("the sync succeeds")
}

/// The same, level and without anything to report.
pub(super) async fn sync_clean(device: &Device, server: &Device, caller: &Caller) -> SyncReport {
    let report = sync_as(device, server, caller).await;
    assert!(report.level, "not level: {report:?}");
    assert_eq!((report.conflict_count(), report.rejected.len()), (0, 0), "{report:?}");
    report
}

/// Makes a task, or writes it over.
pub(super) async fn put(device: &Device, id: &str, project: &str, title: &str) {
    let tasks = device.workspace.collection::<Task>().expect("the model is registered");
    let task = Task { id: id.into(), project: project.into(), title: title.into(), part_of: None };
    tasks.upsert(task).await.expect("a task is saved");
}

pub(super) async fn delete(device: &Device, id: &str) {
    let tasks = device.workspace.collection::<Task>().expect("the model is registered");
    tasks.delete(id).await.expect("a task is deleted");
}

/// The tasks, each with its project and title.
pub(super) async fn tasks(device: &Device) -> BTreeMap<String, (String, String)> {
    let tasks = device.workspace.collection::<Task>().expect("the model is registered");
    let found = tasks.find(sync_runtime::Query::all()).await.expect("tasks are found");
    found.into_iter().map(|task| (task.id, (task.project, task.title))).collect()
}

pub(super) async fn ids(device: &Device) -> Vec<String> {
    tasks(device).await.into_keys().collect()
}

/// Everything of tasks that the device has any trace of.
pub(super) async fn traces(device: &Device) -> BTreeSet<String> {
    let states = device.states().await.into_iter();
    states
        .filter(|state| state.change.schema.name == "Task")
        .map(|state| state.change.id.to_string())
        .collect()
}

/// A pull brings what is in the caller's scopes, with the models that have none; page by page as well as at once.
pub(super) async fn a_pull_brings_what_is_in_the_callers_scopes(pair: &dyn ReplicaPair) {
    for page in [1, 3, 1_000] {
        let server = server(pair).await.limited(Limits { page_records: page, ..Limits::default() }).await;
        let (a, b, none, all) =
            (device(pair).await, device(pair).await, device(pair).await, device(pair).await);
        for number in 0..6 {
            put(&server, &format!("a{number}"), "a", "of a").await;
            put(&server, &format!("b{number}"), "b", "of b").await;
            server.put(&format!("{number}"), "for everybody").await;
        }
        put(&server, "nobody", "", "of nobody").await;
        for (device, caller, wanted) in [
            (&a, of("a", &["a"]), vec!["a0", "a1", "a2", "a3", "a4", "a5"]),
            (&b, of("b", &["b", "c"]), vec!["b0", "b1", "b2", "b3", "b4", "b5"]),
            (&none, of("n", &[]), vec![]),
        ] {
            sync_clean(device, &server, &caller).await;
            assert_eq!(ids(device).await, wanted);
            assert_eq!(device.ids().await.len(), 6, "models without scopes are everybody's");
            assert_eq!(sync_clean(device, &server, &caller).await.pulled, 0, "nothing comes twice");
        }
        sync_clean(&all, &server, &Caller::named("all").with(Right::Replicate).in_every_scope(Right::Read))
            .await;
        assert_eq!(ids(&all).await.len(), 13);
        put(&server, "b0", "b", "again").await;
        put(&a, "a0", "a", "by a").await;
        assert_eq!(
            sync_clean(&a, &server, &of("a", &["a"])).await.pulled,
            0,
            "what others changed does not come"
        );
        assert_eq!(sync_clean(&b, &server, &of("b", &["b", "c"])).await.pulled, 1);
        assert_eq!(tasks(&server).await["a0"].1, "by a");
    }
}

/// A scope that is granted later comes from its beginning, without what was there before coming again.
pub(super) async fn a_scope_that_is_granted_later_is_brought_from_its_beginning(pair: &dyn ReplicaPair) {
    for page in [1, 2, 1_000] {
        let server = server(pair).await.limited(Limits { page_records: page, ..Limits::default() }).await;
        let a = device(pair).await;
        for number in 0..5 {
            put(&server, &format!("a{number}"), "a", "of a").await;
            put(&server, &format!("b{number}"), "b", "of b").await;
            put(&server, &format!("c{number}"), "c", "of c").await;
        }
        sync_clean(&a, &server, &of("a", &["a"])).await;
        put(&server, "a9", "a", "later").await;
        put(&server, "b0", "b", "later").await;
        let report = sync_clean(&a, &server, &of("a", &["a", "b", "c"])).await;
        assert_eq!(ids(&a).await.len(), 16);
        assert_eq!(report.pulled, 11, "five and five, and what is new");
        assert_eq!(tasks(&a).await["b0"].1, "later");
        assert_eq!(sync_clean(&a, &server, &of("a", &["a", "b", "c"])).await.pulled, 0);
        put(&server, "c1", "a", "moved").await;
        assert_eq!(sync_clean(&a, &server, &of("a", &["a", "b", "c"])).await.pulled, 1);
        assert_eq!(ids(&a).await.len(), 16, "a move between two of one's own scopes is no exit");
    }
}

/// While a scope may not be read its checkpoint stands still: what happened meanwhile comes when it may be read again,
/// deletes and exits too.
pub(super) async fn a_scope_revoked_and_granted_again_skips_nothing(pair: &dyn ReplicaPair) {
    let (server, a) = (server(pair).await, device(pair).await);
    let (both, only) = (of("a", &["a", "b"]), of("a", &["a"]));
    for id in ["b1", "b2", "b3", "b4"] {
        put(&server, id, "b", "first").await;
    }
    put(&server, "a1", "a", "first").await;
    sync_clean(&a, &server, &both).await;
    put(&server, "b1", "b", "changed").await;
    delete(&server, "b2").await;
    put(&server, "b3", "c", "elsewhere").await;
    put(&server, "b5", "b", "made").await;
    put(&server, "a1", "a", "changed").await;
    let report = sync_clean(&a, &server, &only).await;
    assert_eq!(report.pulled, 1, "only what may be read comes");
    assert_eq!(tasks(&a).await["b1"].1, "first");
    put(&server, "a1", "a", "again").await;
    let report = sync_clean(&a, &server, &both).await;
    assert_eq!(ids(&a).await, ["a1", "b1", "b4", "b5"]);
    assert_eq!(tasks(&a).await["b1"].1, "changed");
    assert_eq!(report.pulled, 4, "and nothing else: b1, b2, b5, a1");
    assert_eq!(sync_clean(&a, &server, &both).await.pulled, 0);
}

/// The first pull of a scope carries no tombstones: of what was deleted before, nobody learns.
pub(super) async fn a_first_pull_brings_no_tombstone(pair: &dyn ReplicaPair) {
    let (server, a, late) = (server(pair).await, device(pair).await, device(pair).await);
    let caller = of("a", &["a"]);
    put(&server, "1", "a", "first").await;
    put(&server, "2", "a", "first").await;
    put(&server, "3", "a", "first").await;
    sync_clean(&a, &server, &caller).await;
    delete(&server, "1").await;
    put(&server, "2", "b", "elsewhere").await;
    sync_clean(&a, &server, &caller).await;
    assert_eq!(traces(&a).await, ["1".to_owned(), "3".to_owned()].into(), "who had it gets the tombstone");
    sync_clean(&late, &server, &of("late", &["a"])).await;
    assert_eq!(traces(&late).await, ["3".to_owned()].into());
}

/// Who pushed a record and got no answer is told with the first pull that it is gone, or left, even if nobody read it by
/// scope before.
pub(super) async fn who_got_no_answer_is_told_that_the_record_is_gone(pair: &dyn ReplicaPair) {
    for page in [1, 1_000] {
        let limits = Limits { page_records: page, ..Limits::default() };
        let (server, a) = (server(pair).await.limited(limits).await, device(pair).await);
        let caller = of("a", &["a"]);
        put(&a, "1", "a", "first").await;
        put(&a, "2", "a", "first").await;
        let line = FlakyReplica::new(&server.workspace).calling_as(caller.clone());
        if page == 1 {
            // The page with the wish to pull is the second one, and never arrives.
            line.after(Request::Exchange, {
                let line = line.clone();
                move || -> BoxFuture<'static, ()> {
                    Box::pin(async move { line.next(Request::Exchange, LineFault::LoseRequest) })
                }
            });
        } else {
            line.next(Request::Exchange, LineFault::LoseAnswer);
        }
        a.workspace.sync(&line).await.expect_err("the line is cut");
        for id in ids(&server).await {
            match id.as_str() {
                "1" => delete(&server, "1").await,
                id => put(&server, id, "b", "elsewhere").await,
            }
        }
        sync_as(&a, &server, &caller).await;
        let expected: &[&str] = if page == 1 { &["2"] } else { &[] };
        assert_eq!(ids(&a).await, expected, "with pages of {page}");
    }
}

/// A record that was deleted after it moved is told to those who had it where it was then.
pub(super) async fn a_tombstone_comes_to_those_who_had_the_record(pair: &dyn ReplicaPair) {
    let (server, a, b) = (server(pair).await, device(pair).await, device(pair).await);
    put(&server, "1", "a", "first").await;
    put(&server, "2", "b", "first").await;
    sync_clean(&a, &server, &of("a", &["a"])).await;
    sync_clean(&b, &server, &of("b", &["b"])).await;
    put(&server, "1", "b", "moved").await;
    sync_clean(&b, &server, &of("b", &["b"])).await;
    delete(&server, "1").await;
    delete(&server, "2").await;
    // Made anew, elsewhere.
    put(&server, "2", "a", "anew").await;
    sync_clean(&a, &server, &of("a", &["a"])).await;
    sync_clean(&b, &server, &of("b", &["b"])).await;
    assert_eq!((ids(&a).await, ids(&b).await), (vec!["2".to_owned()], vec![]));
}

/// Permission is decided in the call's transaction: whatever call it makes, nobody makes, changes, deletes or moves a
/// record in a scope that it may not write, nor out of one.
pub(super) async fn rule_permission_in_the_transaction_nobody_writes_into_the_scope_of_another(
    pair: &dyn ReplicaPair,
) {
    let (server, a) = (server(pair).await, device(pair).await);
    let caller = of("a", &["a"]).in_scope("seen", Right::Read);
    put(&server, "1", "a", "first").await;
    put(&server, "2", "b", "hidden").await;
    put(&server, "3", "seen", "first").await;
    sync_clean(&a, &server, &caller).await;
    let before = server.picture().await;
    // Into another scope, of an id that is taken there, and of one that may only be read.
    put(&a, "1", "b", "moved").await;
    put(&a, "2", "a", "mine").await;
    put(&a, "3", "seen", "mine").await;
    put(&a, "4", "b", "mine").await;
    let report = sync_as(&a, &server, &caller).await;
    assert_eq!(report.rejected.len(), 4, "{report:?}");
    assert!(report.rejected.iter().all(|rejected| rejected.reason.contains("in its scope")), "{report:?}");
    assert!(!format!("{report:?}").contains("hidden"));
    assert_eq!(server.picture().await, before);
    let updates: Vec<Update> =
        a.states().await.into_iter().map(|state| Update { state, based_on: None }).collect();
    let from = Some(a.workspace.id().await.expect("an id"));
    let outcomes = Replica::bulk_update(server.engine(), &caller, from, updates).await.expect("one by one");
    let codes = outcomes.iter().map(|outcome| match outcome {
        Outcome::Rejected(rejection) => rejection.code.as_str(),
        _ => "",
    });
    assert_eq!(codes.collect::<Vec<_>>(), ["forbidden"; 4], "{outcomes:?}");
    let id = |text: &str| Id::Text(text.into());
    let task = |id: &str, project: &str| {
        let task = Task { id: id.into(), project: project.into(), ..Task::default() };
        Some(task.to_record().expect("a record"))
    };
    for (what, name, record, kind) in [
        ("move", "1", task("1", "b"), ErrorKind::Forbidden),
        ("take", "2", task("2", "a"), ErrorKind::Forbidden),
        ("write what may be read", "3", task("3", "seen"), ErrorKind::Forbidden),
        ("make elsewhere", "5", task("5", "b"), ErrorKind::Forbidden),
        ("delete what is hidden", "2", None, ErrorKind::NotFound),
        ("delete what is not there", "6", None, ErrorKind::NotFound),
        ("delete what may be read", "3", None, ErrorKind::Forbidden),
    ] {
        let write = RemoteWrite { schema: Task::SCHEMA, id: id(name), record, expect: None };
        let error = Replica::write(server.engine(), &caller, vec![write]).await.expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
    }
    assert_eq!(server.picture().await, before);
    // What is its own goes on flowing.
    put(&a, "7", "a", "mine").await;
    sync_as(&a, &server, &caller).await;
    assert_eq!(tasks(&server).await["7"].1, "mine");
}

/// Whatever call is made: of what is in another scope it says as much as of what nobody made.
pub(super) async fn what_is_in_another_scope_cannot_be_asked_for(pair: &dyn ReplicaPair) {
    let (server, b) = (server(pair).await, device(pair).await);
    put(&server, "1", "a", "canary").await;
    put(&server, "2", "b", "mine").await;
    put(&server, "3", "a", "canary").await;
    sync_clean(&b, &server, &of("b", &["b"])).await;
    delete(&server, "3").await;
    let (engine, caller) = (server.engine(), of("b", &["b"]));
    let changes: Vec<_> = server.states().await.into_iter().map(|state| state.change).collect();
    let diff = Replica::diff(engine, &caller, changes.clone()).await.expect("a diff");
    let lacking: Vec<_> = diff.deltas.iter().map(|change| change.id.to_string()).collect();
    assert_eq!((lacking.len(), diff.conflicts.len()), (2, 0), "as if only `2` was ever made: {lacking:?}");
    let updates = Replica::create_updates(engine, &caller, changes).await.expect("updates");
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].state.change.id.to_string(), "2");
    let all = ["1", "2", "3"].map(|id| Id::Text(id.into())).to_vec();
    let read = Replica::read(engine, &caller, Task::SCHEMA, Wanted::Ids(all)).await.expect("states");
    assert_eq!(read.len(), 1);
    let filter = sync_runtime::query::Filter::All;
    let wanted = Wanted::Matching { filter, after: None, limit: 10 };
    let read = Replica::read(engine, &caller, Task::SCHEMA, wanted).await.expect("states");
    assert_eq!(read.len(), 1);
    for data in [true, false] {
        for scopes in [None, Some(["a".to_owned(), "b".to_owned()].into())] {
            let pull = Pull { data, scopes, ..Pull::of(engine.models().clone()) };
            let Ok(Pulled::Page(page)) = Replica::changes(engine, &caller, pull).await else {
                panic!("a page comes");
            };
            assert_eq!(page.scopes, Some(["b".to_owned()].into()));
            let came: Vec<_> =
                page.page.updates.iter().map(|update| update.state.change.id.to_string()).collect();
            assert_eq!(came, ["2"]);
        }
    }
}

/// What comes of a push does not say what came last to a record in another scope, whoever wrote it and whatever the
/// push claims to know. One's own edit that came before it went there is known, and not reported as refused.
pub(super) async fn what_is_in_another_scope_cannot_be_found_out_by_pushing(pair: &dyn ReplicaPair) {
    let (server, a) = (server(pair).await, device(pair).await);
    let caller = of("a", &["a"]);
    let from = a.workspace.id().await.expect("an id");
    put(&server, "1", "b", "hidden").await;
    put(&server, "2", "a", "first").await;
    sync_clean(&a, &server, &caller).await;
    put(&a, "2", "a", "of a").await;
    let mine = a.states().await.into_iter().find(|state| state.change.id == Id::Text("2".into()));
    let mine = mine.expect("its own edit");
    sync_clean(&a, &server, &caller).await;
    put(&server, "2", "b", "elsewhere").await;
    let hidden = states_of(&server, &Caller::owner(), &["1".to_owned(), "2".to_owned()]).await;
    let revisions = [hidden[0].change.revision(), hidden[1].change.revision()];
    let push = async |state: State| {
        let updates = vec![Update { state, based_on: None }];
        let outcomes = Replica::bulk_update(server.engine(), &caller, Some(from), updates).await;
        format!("{:?}", outcomes.expect("each is looked at alone"))
    };
    let mut told = BTreeSet::new();
    for later in [-1_000, -1, 0, 1] {
        let before = server.picture().await;
        let claimed = |revision: Revision| Revision { stamp: revision.stamp + later, ..revision };
        let mut guess = mine.clone();
        guess.change.id = Id::Text("1".into());
        guess.change.ancestry = Ancestry::of(claimed(revisions[0]));
        let of_others = push(guess).await;
        let mut again = mine.clone();
        let server_knew = claimed(revisions[1]);
        again.change.ancestry =
            Ancestry::new(mine.change.revision(), [(server_knew.replica, server_knew.stamp)]);
        told.insert((of_others, push(again).await));
        assert_eq!(server.picture().await, before);
    }
    let told: Vec<_> = told.into_iter().collect();
    let [(of_others, again)] = told.as_slice() else { panic!("it depends on what came last: {told:?}") };
    assert!(of_others.contains("in its scope"), "{of_others}");
    assert_eq!(again, "[Known]");
}

/// A method of the struct tells the scope as well as a field does.
pub(super) async fn a_method_tells_the_scope(pair: &dyn ReplicaPair) {
    let server = Device::open(pair, pair.b().await, memos).await;
    let a = Device::open(pair, pair.a().await, memos).await;
    let caller = of("a", &["tower/2"]);
    let (here, there) = (
        a.workspace.collection::<Memo>().expect("the model is registered"),
        server.workspace.collection::<Memo>().expect("the model is registered"),
    );
    let memo = |id: i64, floor: i64| Memo { id, house: "tower".into(), floor };
    for id in 1..=6 {
        there.create(memo(id, id % 3)).await.expect("a memo is made");
    }
    sync_clean(&a, &server, &caller).await;
    assert_eq!(here.find(sync_runtime::Query::all()).await.expect("memos"), [memo(2, 2), memo(5, 2)]);
    there.upsert(memo(2, 1)).await.expect("a memo is saved");
    there.upsert(memo(1, 2)).await.expect("a memo is saved");
    sync_clean(&a, &server, &caller).await;
    assert_eq!(here.find(sync_runtime::Query::all()).await.expect("memos"), [memo(1, 2), memo(5, 2)]);
    here.upsert(memo(5, 1)).await.expect("a memo is saved");
    assert_eq!(sync_as(&a, &server, &caller).await.rejected.len(), 1);
    let filter = sync_runtime::query::Filter::All;
    let wanted = Wanted::Matching { filter, after: None, limit: 1 };
    let read = Replica::read(server.engine(), &caller, Memo::SCHEMA, wanted).await.expect("states");
    assert_eq!(read.len(), 1, "others' records do not count in a limit");
}

/// Only those are told that something moved who may read where it was, or from where it left.
pub(super) async fn a_scope_moves_only_those_who_may_read_it(pair: &dyn ReplicaPair) {
    let server = server(pair).await;
    let (a, b, c) = (of("a", &["a"]), of("b", &["b"]), of("c", &["c"]));
    put(&server, "1", "a", "first").await;
    let engine = server.engine();
    let mut moves = engine.moves();
    moves.start().await.expect("it listens");
    let concerned =
        |moved: &sync_runtime::engine::moves::Moved| [&a, &b, &c].map(|caller| moved.concerns(caller, None));
    let since = Some(engine.checkpoint(&Caller::owner()).await.expect("a checkpoint"));
    let told = async |caller: &Caller| {
        let watch = Watching { from: None, since };
        engine.moved_since(caller, watch).await.expect("it looks").is_some()
    };
    put(&server, "1", "a", "second").await;
    assert_eq!(concerned(&moves.next().await.expect("a move")), [true, false, false]);
    assert_eq!([told(&a).await, told(&b).await, told(&c).await], [true, false, false]);
    put(&server, "1", "b", "third").await;
    assert_eq!(concerned(&moves.next().await.expect("a move")), [true, true, false]);
    assert_eq!([told(&a).await, told(&b).await, told(&c).await], [true, true, false]);
    delete(&server, "1").await;
    assert_eq!(concerned(&moves.next().await.expect("a move")), [false, true, false]);
    server.put("1", "for everybody").await;
    assert_eq!(concerned(&moves.next().await.expect("a move")), [true, true, true]);
}

/// [`Task`] before it had scopes.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Task", table = "pair_task", methods = false)]
struct TaskWithout {
    #[sync(id)]
    id: String,
    project: String,
    title: String,
    part_of: Option<String>,
}

/// Where another rule tells the scopes, what is there moves to where it tells.
pub(super) async fn another_rule_moves_what_is_there(pair: &dyn ReplicaPair) {
    let plain = |builder: WorkspaceBuilder| builder.model::<Item>().model::<TaskWithout>();
    let (server, a) = (Device::open(pair, pair.b().await, plain).await, device(pair).await);
    let tasks_before = server.workspace.collection::<TaskWithout>().expect("the model is registered");
    for (id, project) in [("1", "a"), ("2", "b")] {
        let task = TaskWithout { id: id.into(), project: project.into(), ..TaskWithout::default() };
        tasks_before.create(task).await.expect("a task is made");
    }
    let caller = of("a", &["a"]);
    sync_clean(&a, &server, &caller).await;
    assert_eq!(ids(&a).await, ["1", "2"], "without scopes everybody gets all of a model");
    let server = server.restart_as(models).await;
    sync_clean(&a, &server, &caller).await;
    put(&server, "1", "a", "seen").await;
    put(&server, "2", "b", "hidden").await;
    sync_clean(&a, &server, &caller).await;
    assert_eq!(tasks(&a).await["1"].1, "seen");
    assert_ne!(tasks(&a).await.get("2").map(|(_, title)| title.as_str()), Some("hidden"));
}

/// The id of a record that was deleted before the server ever had it can be used again.
pub(super) async fn what_was_deleted_before_it_arrived_can_be_made_anew(pair: &dyn ReplicaPair) {
    let (a, server, caller) = (device(pair).await, server(pair).await, of("a", &["a"]));
    put(&a, "1", "b", "not allowed").await;
    assert_eq!(sync_as(&a, &server, &caller).await.rejected.len(), 1);
    delete(&a, "1").await;
    sync_as(&a, &server, &caller).await;
    put(&a, "1", "a", "allowed").await;
    sync_clean(&a, &server, &caller).await;
    assert_eq!(ids(&server).await, ["1"]);
}
