//! Who may do what: rights on models, guards of single writes, replica ids that belong to people, the server's own
//! fields.

use super::ReplicaPair;
use super::models::{Account, Item, List};
use super::world::{Device, all_models, assert_level, three, two};
use crate::flaky::FlakyReplica;
use std::sync::{Arc, Mutex};
use sync_runtime::prelude::*;
use sync_runtime::replica::{
    Caller, Exchange, Outcome, Page, Pull, Pulled, PushPage, RemoteWrite, Replica, Update, Wanted, Watching,
};
use sync_runtime::{Ancestry, Attempt, ErrorKind, Guard, Id, Result, Right, SyncReport};

fn forbidden<T: std::fmt::Debug>(what: &str, done: Result<T>) {
    let error = done.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{what}: {error}");
    assert!(error.to_string().contains("reader"), "{what} names who: {error}");
}

/// All of it was refused, for want of a right.
fn all_refused(what: &str, outcomes: &[Outcome]) {
    assert!(!outcomes.is_empty(), "{what}");
    for outcome in outcomes {
        let Outcome::Rejected(rejection) = outcome else { panic!("{what}: {outcome:?}") };
        assert_eq!(rejection.code, ErrorKind::Forbidden.code(), "{what}: {rejection:?}");
    }
}

fn id(text: &str) -> Id {
    Id::Text(text.into())
}

async fn page_of(device: &Device) -> Page {
    let updates = device.states().await.into_iter().map(|state| Update { state, based_on: None });
    Page { updates: updates.collect(), group_open: false }
}

fn pull(device: &Device) -> Pull {
    let models = device.engine().models().clone();
    Pull::of(models)
}

/// A line to a server that takes everything over it for this caller's.
fn line(server: &Device, caller: Caller) -> FlakyReplica {
    FlakyReplica::new(&server.workspace).calling_as(caller)
}

async fn sync_as(device: &Device, server: &Device, caller: Caller) -> SyncReport {
    device.workspace.sync(&line(server, caller)).await.expect("the sync succeeds")
}

fn alice() -> Caller {
    Caller::named("alice").with(Right::Write)
}

/// Permission is decided in the call's transaction: a caller who may not write changes nothing, whatever call it makes.
/// Its records are refused one by one, so that it may go on pulling (P8).
pub(super) async fn rule_permission_in_the_transaction_a_reader_writes_nothing(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    b.put("2", "of b").await;
    let reader = Caller::named("a reader").with(Right::Read);
    let before = b.picture().await;
    let engine = b.engine();
    let outcomes = Replica::bulk_update(engine, &reader, None, page_of(&a).await.updates).await;
    all_refused("bulk_update", &outcomes.expect("each is refused alone"));
    let delete = RemoteWrite { schema: Item::SCHEMA, id: id("2"), record: None, expect: None };
    forbidden("write", Replica::write(engine, &reader, vec![delete]).await);
    let report = sync_as(&a, &b, reader.clone()).await;
    assert_eq!(b.picture().await, before);
    assert_eq!(report.rejected.len(), 1, "{report:?}");
    assert!(report.rejected[0].reason.contains("a reader has not the right WRITE on Item"), "{report:?}");
    assert_eq!(a.ids().await, ["1", "2"], "a reader may pull");
    a.put("1", "once more").await;
    let report = sync_as(&a, &b, reader).await;
    assert_eq!((b.picture().await, report.rejected.len()), (before, 1));
}

/// A caller who may not read learns nothing: no record, no change, no position.
pub(super) async fn rule_permission_in_the_transaction_a_stranger_learns_nothing(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    b.put("2", "of b").await;
    let stranger = Caller::named("no reader");
    let engine = b.engine();
    let (from, to) = (a.workspace.id().await.expect("an id"), b.workspace.id().await.expect("an id"));
    let exchange = Exchange { from, to, push: None, pull: Some(pull(&a)) };
    forbidden("describe", Replica::describe(engine, &stranger).await);
    forbidden("pull", Replica::exchange(engine, &stranger, exchange.clone()).await);
    let push = Some(PushPage { number: 1, digest: 1, page: page_of(&a).await });
    forbidden("push", Replica::exchange(engine, &stranger, Exchange { push, pull: None, ..exchange }).await);
    forbidden("changes", Replica::changes(engine, &stranger, pull(&a)).await);
    let change = b.change("2").await;
    forbidden("diff", Replica::diff(engine, &stranger, vec![change.clone()]).await);
    forbidden("create_updates", Replica::create_updates(engine, &stranger, vec![change]).await);
    forbidden("bulk_update", Replica::bulk_update(engine, &stranger, None, vec![]).await);
    let delete = RemoteWrite { schema: Item::SCHEMA, id: id("2"), record: None, expect: None };
    forbidden("write", Replica::write(engine, &stranger, vec![delete]).await);
    forbidden("checkpoint", Replica::checkpoint(engine, &stranger).await);
    forbidden("read", Replica::read(engine, &stranger, Item::SCHEMA, Wanted::Ids(vec![id("2")])).await);
    forbidden("watch", Replica::watch(engine, &stranger, Watching::default(), &|_| ()).await);
}

/// Lets nobody change the title of an item that is done, and notes what it was asked.
#[derive(Debug, Default)]
struct DoneIsDone(Mutex<Vec<(Option<String>, Option<String>)>>);

impl Guard for DoneIsDone {
    fn check(&self, caller: &Caller, write: &Attempt<'_>) -> std::result::Result<(), String> {
        assert_eq!(caller.subject(), Some("alice"));
        let Some((before, after)) = write.of::<Item>()? else { return Ok(()) };
        let title = |item: &Option<Item>| item.as_ref().map(|item| item.title.clone());
        self.0.lock().expect("no panic").push((title(&before), title(&after)));
        match after.as_ref() {
            Some(after) if after.title == "panic" => panic!("a guard that fails"),
            _ if before.is_some_and(|before| before.done) => Err("what is done is done".into()),
            _ => Ok(()),
        }
    }
}

/// The guard is asked with the record as it is and as it would be, whatever call would write it; what it refuses is
/// parked with its reason, all else flows.
pub(super) async fn rule_permission_in_the_transaction_a_guard_sees_before_and_after(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let guard = Arc::new(DoneIsDone::default());
    let alice = alice().guarded_by(guard.clone());
    let asked = || std::mem::take(&mut *guard.0.lock().expect("no panic"));
    let titles =
        |before: Option<&str>, after: Option<&str>| (before.map(str::to_owned), after.map(str::to_owned));
    a.put("1", "one").await;
    a.put("2", "two").await;
    sync_as(&a, &b, alice.clone()).await;
    assert_eq!(asked(), [titles(None, Some("one")), titles(None, Some("two"))]);
    let items = b.workspace.collection::<Item>().expect("the model is registered");
    items.update("1", |item| item.done = true).await.expect("the owner may");
    sync_as(&a, &b, alice.clone()).await;
    assert_eq!(asked(), []);
    a.put("1", "uno").await;
    a.put("2", "dos").await;
    let report = sync_as(&a, &b, alice.clone()).await;
    assert_eq!(
        asked(),
        [titles(Some("one"), Some("uno")), titles(Some("two"), Some("dos"))],
        "also for patches"
    );
    let refused: Vec<_> =
        report.rejected.iter().map(|it| (&it.id, it.code.as_str(), it.reason.as_str())).collect();
    assert_eq!(refused, [(&id("1"), "forbidden", "what is done is done")]);
    assert_eq!((b.title("1").await.as_deref(), b.title("2").await.as_deref()), (Some("one"), Some("dos")));
    a.delete("1").await;
    let report = sync_as(&a, &b, alice.clone()).await;
    assert_eq!((asked(), report.rejected.len()), (vec![titles(Some("one"), None)], 1));
    let delete = RemoteWrite { schema: Item::SCHEMA, id: id("1"), record: None, expect: None };
    let refused = Replica::write(b.engine(), &alice, vec![delete]).await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert!(refused.to_string().contains("what is done is done"), "{refused}");
    assert_eq!(asked(), [titles(Some("one"), None)]);
    assert_eq!(b.ids().await, ["1", "2"]);
}

/// A guard that fails refuses the record that it failed at.
pub(super) async fn a_guard_that_panics_refuses(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let alice = alice().guarded_by(Arc::new(DoneIsDone::default()));
    a.put("1", "panic").await;
    let report = sync_as(&a, &b, alice).await;
    assert_eq!(report.rejected.len(), 1, "{report:?}");
    assert_eq!(b.ids().await, Vec::<String>::new());
}

/// Of a model that a caller has no right on it learns nothing, by any call; it cannot be pushed to, and says so alone.
pub(super) async fn a_model_without_a_right_is_not_there(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let lists = |device: &Device| device.workspace.collection::<List>().expect("the model is registered");
    b.put("1", "of b").await;
    lists(&b).create(List::new("secret", "of b")).await.expect("a list is made");
    let reader = alice().with_on("List", Right::Nothing);
    let described = Replica::describe(b.engine(), &reader).await.expect("it is described");
    assert_eq!(described.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["Item", "Tag"]);
    let Pulled::Page(page) = Replica::changes(b.engine(), &reader, pull(&a)).await.expect("a page") else {
        panic!("there is no checkpoint to be unknown")
    };
    assert_eq!((page.page.updates.len(), page.skipped), (1, 0));
    assert!(!page.covers("List") && page.covers("Item") && page.covers("Tag"));
    let only = Pull { model: Some(List::SCHEMA), ..pull(&a) };
    let change =
        lists(&b).find_last_change("secret").await.expect("a change is read").expect("it is tracked");
    let calls = [
        Replica::changes(b.engine(), &reader, only).await.map(drop),
        Replica::diff(b.engine(), &reader, vec![change.clone()]).await.map(drop),
        Replica::create_updates(b.engine(), &reader, vec![change]).await.map(drop),
        Replica::read(b.engine(), &reader, List::SCHEMA, Wanted::Ids(vec![id("secret")])).await.map(drop),
    ];
    for call in calls {
        assert_eq!(call.expect_err("refused").kind(), ErrorKind::Forbidden);
    }
    lists(&a).create(List::new("mine", "of a")).await.expect("a list is made");
    a.put("2", "of a").await;
    let report = sync_as(&a, &b, reader).await;
    let refused: Vec<_> = report.rejected.iter().map(|rejected| (rejected.model, &rejected.id)).collect();
    assert_eq!(refused, [("List", &id("mine"))]);
    assert_eq!(b.ids().await, ["1", "2"]);
    assert_eq!(
        lists(&a).find(Query::all()).await.expect("lists are read").len(),
        1,
        "the secret one did not come"
    );
}

/// What passed by while a model could not be read comes when it can be again, and so does what could not be pushed.
pub(super) async fn a_right_that_is_given_again_skips_nothing(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let lists = |device: &Device| device.workspace.collection::<List>().expect("the model is registered");
    let without = alice().with_on("List", Right::Nothing);
    lists(&b).create(List::new("1", "first")).await.expect("a list is made");
    sync_as(&a, &b, alice()).await;
    lists(&b).update("1", |list| list.name = "second".into()).await.expect("a list is saved");
    lists(&b).create(List::new("2", "another")).await.expect("a list is made");
    b.put("1", "an item").await;
    sync_as(&a, &b, without.clone()).await;
    sync_as(&a, &b, without).await;
    let names = async || {
        let found = lists(&a).find(Query::all()).await.expect("lists are read");
        found.into_iter().map(|list| list.name).collect::<Vec<_>>()
    };
    assert_eq!((a.ids().await, names().await), (vec!["1".to_owned()], vec!["first".to_owned()]));
    sync_as(&a, &b, alice()).await;
    assert_eq!(names().await, ["second", "another"]);
    assert_level(&[&a, &b]).await;
    let idle = sync_as(&a, &b, alice()).await;
    assert_eq!((idle.requests, idle.pulled), (1, 0));
}

/// Edits of others travel by those who hold the right; anybody else's copy of them is refused, and said so.
pub(super) async fn what_others_wrote_takes_the_right_to_replicate(pair: &dyn ReplicaPair) {
    let (a, server, b) = three(pair).await;
    b.put("1", "of b").await;
    a.sync_clean(&b).await;
    a.put("2", "of a").await;
    let report = sync_as(&a, &server, alice()).await;
    assert_eq!((server.ids().await, report.rejected.len()), (vec!["2".to_owned()], 1));
    assert!(report.rejected[0].reason.contains("REPLICATE"), "{report:?}");
    let by_hand = page_of(&a).await.updates;
    let outcomes = Replica::bulk_update(server.engine(), &alice(), None, by_hand.clone())
        .await
        .expect("they are looked at");
    assert!(matches!(outcomes[..], [Outcome::Rejected(_), Outcome::Known]), "{outcomes:?}");
    let trusted = Caller::named("alice").with(Right::Replicate);
    let outcomes =
        Replica::bulk_update(server.engine(), &trusted, None, by_hand).await.expect("they are taken");
    assert!(matches!(outcomes[..], [Outcome::Applied, Outcome::Known]), "{outcomes:?}");
    // An edit on top of what the server has is one's own, whoever wrote before.
    a.put("1", "of b and a").await;
    let report = sync_as(&a, &server, alice()).await;
    assert_eq!((server.title("1").await.as_deref(), report.rejected.len()), (Some("of b and a"), 0));
}

/// An ancestry that names revisions of others which nobody wrote would make their next edit look old; it is refused.
pub(super) async fn nobody_speaks_for_the_next_edit_of_another(pair: &dyn ReplicaPair) {
    let (a, server, b) = three(pair).await;
    b.put("1", "of b").await;
    sync_as(&b, &server, Caller::named("bob").with(Right::Write)).await;
    sync_as(&a, &server, alice()).await;
    a.put("1", "of a").await;
    let mut states = a.states().await;
    let change = &mut states[0].change;
    let of_b = b.workspace.id().await.expect("an id");
    let claimed = change.revision().stamp + 1_000_000_000_000;
    change.ancestry = Ancestry::new(change.revision(), [(of_b, claimed)]);
    let updates = states.into_iter().map(|state| Update { state, based_on: None }).collect();
    let outcomes =
        Replica::bulk_update(server.engine(), &alice(), None, updates).await.expect("it is looked at");
    all_refused("a claimed ancestry", &outcomes);
    b.put("1", "of b, again").await;
    sync_as(&b, &server, Caller::named("bob").with(Right::Write)).await;
    assert_eq!(server.title("1").await.as_deref(), Some("of b, again"), "the next edit counts");
}

/// A replica id is whose it was first: another caller is refused with whatever it pushes or pulls under it, and learns
/// nothing of what was pushed, retried pages included.
pub(super) async fn a_replica_id_belongs_to_who_used_it_first(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    sync_as(&a, &b, alice()).await;
    let before = b.picture().await;
    let (from, to) = (a.workspace.id().await.expect("an id"), b.workspace.id().await.expect("an id"));
    let reader = Caller::named("another reader").with(Right::Replicate);
    let push = Some(PushPage { number: 1, digest: 1, page: page_of(&a).await });
    let retried = Exchange { from, to, push, pull: None };
    forbidden("push", Replica::exchange(b.engine(), &reader, retried).await);
    let pulled = Exchange { from, to, push: None, pull: Some(pull(&a)) };
    forbidden("pull", Replica::exchange(b.engine(), &reader, pulled).await);
    a.put("1", "of the next one who signs in").await;
    forbidden("sync", a.workspace.sync(&line(&b, reader)).await);
    assert_eq!(b.picture().await, before);
    sync_as(&a, &b, alice()).await;
    assert_eq!(
        b.title("1").await.as_deref(),
        Some("of the next one who signs in"),
        "nothing was lost meanwhile"
    );
}

/// The server's own id, the names that it had, and the peers that it syncs with itself are nobody's to push under.
pub(super) async fn nobody_pushes_in_the_name_of_the_server(pair: &dyn ReplicaPair) {
    let (a, server, other) = three(pair).await;
    server.put("1", "of the server").await;
    server.sync_clean(&other).await;
    let former = server.workspace.id().await.expect("an id");
    server.workspace.restored().await.expect("a new name");
    let to = server.workspace.id().await.expect("an id");
    let before = server.picture().await;
    a.put("2", "of a").await;
    let reader = Caller::named("a reader").with(Right::Write);
    for from in [former, to, other.workspace.id().await.expect("an id")] {
        let push = Some(PushPage { number: 1, digest: 1, page: page_of(&a).await });
        let exchange = Exchange { from, to, push, pull: None };
        forbidden("push", Replica::exchange(server.engine(), &reader, exchange).await);
        let updates = page_of(&a).await.updates;
        forbidden("bulk_update", Replica::bulk_update(server.engine(), &reader, Some(from), updates).await);
    }
    assert_eq!(server.picture().await, before);
}

/// The server's own new name does not set the ids of others free.
pub(super) async fn a_replica_id_stays_whose_it_is_under_a_new_name(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    sync_as(&a, &b, alice()).await;
    b.workspace.restored().await.expect("a new name");
    let reader = Caller::named("another reader").with(Right::Write);
    forbidden("sync", a.workspace.sync(&line(&b, reader)).await);
    a.put("1", "once more").await;
    sync_as(&a, &b, alice()).await;
    assert_eq!(b.title("1").await.as_deref(), Some("once more"));
}

/// A field of the server's own is set by nobody else: what comes is stored without it, and the device learns the value
/// that stands. Whoever holds the right to replicate sets it.
pub(super) async fn server_fields_stay_the_servers(pair: &dyn ReplicaPair) {
    let register = |builder: sync_runtime::WorkspaceBuilder| all_models(builder).model::<Account>();
    let a = Device::open(pair, pair.a().await, register).await;
    let b = Device::open(pair, pair.b().await, register).await;
    let accounts =
        |device: &Device| device.workspace.collection::<Account>().expect("the model is registered");
    let get =
        async |device: &Device| accounts(device).get("1").await.expect("it is read").expect("it is there");
    let rich = Account { id: "1".into(), name: "Ann".into(), credit: 1_000_000, role: Some("admin".into()) };
    accounts(&a).create(rich.clone()).await.expect("made");
    sync_as(&a, &b, alice()).await;
    let poor = Account { credit: 0, role: None, ..rich.clone() };
    assert_eq!((get(&b).await, get(&a).await), (poor.clone(), poor));
    assert_level(&[&a, &b]).await;
    accounts(&b).update("1", |account| account.credit = 7).await.expect("the owner sets it");
    sync_as(&a, &b, alice()).await;
    accounts(&a)
        .update("1", |account| (account.credit, account.name) = (1_000, "Anna".into()))
        .await
        .expect("saved");
    sync_as(&a, &b, alice()).await;
    let stands = Account { id: "1".into(), name: "Anna".into(), credit: 7, role: None };
    assert_eq!((get(&b).await, get(&a).await), (stands.clone(), stands.clone()));
    assert_level(&[&a, &b]).await;
    let write = |account: &Account| RemoteWrite {
        schema: Account::SCHEMA,
        id: id("1"),
        record: Some(account.to_record().expect("a record")),
        expect: None,
    };
    Replica::write(b.engine(), &alice(), vec![write(&rich)]).await.expect("written");
    assert_eq!(get(&b).await, Account { name: "Ann".into(), ..stands });
    let trusted = Caller::named("the other server").with(Right::Replicate);
    Replica::write(b.engine(), &trusted, vec![write(&rich)]).await.expect("written");
    assert_eq!(get(&b).await, rich);
    accounts(&b).update("1", |account| account.credit = 8).await.expect("the owner sets it");
    sync_as(&a, &b, Caller::named("alice").with(Right::Replicate)).await;
    accounts(&a).update("1", |account| account.credit = 9).await.expect("saved");
    sync_as(&a, &b, Caller::named("alice").with(Right::Replicate)).await;
    assert_eq!((get(&a).await.credit, get(&b).await.credit), (9, 9));
}
