//! Pages: frozen until answered, patched only on exactly the state they were made from, never sent back.

use super::ReplicaPair;
use super::models::Item;
use super::world::{Device, all_models, assert_level, three, two};
use crate::flaky::{FlakyReplica, LineFault, Request, ids_of};
use sync_runtime::change::State;
use sync_runtime::replica::{Caller, Exchange, Limits, Outcome, PushPage, Pushed, Replica};
use sync_runtime::{ErrorKind, Status};

async fn fails(a: &Device, line: &FlakyReplica) {
    let error = a.workspace.sync(line).await.expect_err("the line is bad");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}

fn last_two(line: &FlakyReplica) -> (PushPage, PushPage) {
    let mut pages = line.pages();
    let second = pages.pop().expect("a page was pushed");
    (pages.pop().expect("two pages were pushed"), second)
}

fn shown(page: &PushPage) -> Vec<String> {
    let updates = page.page.updates.iter();
    updates
        .map(|update| {
            format!("{} {:?} {:?}", update.state.change.revision(), update.based_on, update.state.record)
        })
        .collect()
}

/// A page whose answer was lost is sent again unchanged, before anything newer of its records.
pub(super) async fn rule_frozen_page_is_sent_again_unchanged(pair: &dyn ReplicaPair) {
    for fault in [LineFault::LoseAnswer, LineFault::LoseRequest] {
        let (a, b) = two(pair).await;
        a.put("1", "sent").await;
        a.put("2", "sent too").await;
        let line = b.line();
        line.next(Request::Exchange, fault);
        fails(&a, &line).await;
        a.put("1", "edited").await;
        a.delete("2").await;
        a.put("3", "new").await;
        let report = a.workspace.sync(&line).await.expect("the line is good again");
        assert!(report.level && report.conflict_count() == 0, "{fault:?} {report:?}");
        let pages = line.pages();
        assert_eq!(pages.len(), 3, "the frozen page twice, then what is newer");
        assert_eq!((pages[0].number, pages[0].digest), (pages[1].number, pages[1].digest));
        assert_eq!(shown(&pages[0]), shown(&pages[1]));
        assert_eq!(pages[2].number, pages[1].number + 1);
        assert_level(&[&a, &b]).await;
        assert_eq!(b.ids().await, ["1", "3"]);
    }
}

/// Once the sent state is known to be at the peer, it is the base of the edit, which counts once: the edit goes as
/// a patch on exactly the sent revision.
pub(super) async fn rule_frozen_page_the_sent_state_is_the_base(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "sent").await;
    let sent = a.change("1").await.revision();
    let line = b.line();
    line.next(Request::Exchange, LineFault::LoseAnswer);
    fails(&a, &line).await;
    a.count("1", 1).await;
    a.workspace.sync(&line).await.expect("the line is good again");
    let (_, edit) = last_two(&line);
    assert_eq!(edit.page.updates[0].based_on, Some(sent), "a patch on the sent state");
    assert_eq!(b.get("1").await.map(|item| (item.title, item.count)), Some(("sent".into(), 1)));
    assert_eq!(a.sync_clean(&b).await.pushed, 0);
    assert_level(&[&a, &b]).await;
}

/// Edits on both sides after a lost answer: the conflict has the sent state as base.
pub(super) async fn rule_frozen_page_gives_a_conflict_its_base(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "sent").await;
    let line = b.line();
    line.next(Request::Exchange, LineFault::LoseAnswer);
    fails(&a, &line).await;
    a.put("1", "of a").await;
    b.put("1", "of b").await;
    let report = a.workspace.sync(&line).await.expect("the line is good again");
    let conflicts = report.conflicts::<Item>();
    assert_eq!(conflicts.len(), 1, "{report:?}");
    assert_eq!(conflicts[0].base().map(|item| item.title.as_str()), Some("sent"));
}

/// The page stays frozen over a restart.
pub(super) async fn rule_frozen_page_outlives_a_restart(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "sent").await;
    let line = b.line();
    line.next(Request::Exchange, LineFault::LoseAnswer);
    fails(&a, &line).await;
    a.put("1", "edited").await;
    let name = a.workspace.id().await.expect("an id");
    let a = a.restart().await;
    a.put("1", "edited again").await;
    a.workspace.sync(&line).await.expect("the line is good again");
    let pages = line.pages();
    assert_eq!(shown(&pages[0]), shown(&pages[1]));
    assert_eq!(a.workspace.id().await.expect("an id"), name, "nothing was broken");
    assert_level(&[&a, &b]).await;
}

/// A pull that brings a newer state of a record in flight does not thaw the page.
pub(super) async fn rule_frozen_page_outlives_a_pull_over_it(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "sent").await;
    a.put("2", "sent").await;
    let line = b.line();
    line.next(Request::Exchange, LineFault::LoseAnswer);
    fails(&a, &line).await;
    b.put("1", "of b, on top").await;
    let name = a.workspace.id().await.expect("an id");
    a.workspace.sync(&line).pull_only().await.expect("the line is good again");
    assert_eq!(a.title("1").await.as_deref(), Some("of b, on top"));
    a.workspace.sync(&line).await.expect("the line is good again");
    let pages = line.pages();
    assert_eq!(shown(&pages[0]), shown(&pages[1]));
    assert_eq!(a.workspace.id().await.expect("an id"), name, "nothing was broken");
    assert_level(&[&a, &b]).await;
}

/// Resolving a conflict, or rectifying, while the record is in flight does not thaw the page.
pub(super) async fn rule_frozen_page_outlives_a_resolution(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    a.sync_clean(&b).await;
    a.put("1", "of a").await;
    b.put("1", "of b").await;
    a.sync(&b).await;
    a.put("1", "of a again").await;
    let line = b.line();
    line.next(Request::Exchange, LineFault::LoseAnswer);
    fails(&a, &line).await;
    let name = a.workspace.id().await.expect("an id");
    a.conflicts().await.remove(0).resolve_using_source().await.expect("it is resolved");
    a.workspace.rectify_change::<Item>("1").await.expect("it is rectified");
    let report = a.workspace.sync(&line).await.expect("the line is good again");
    assert!(report.level, "{report:?}");
    let pages = line.pages();
    assert_eq!(shown(&pages[0]), shown(&pages[1]));
    assert_eq!(a.workspace.id().await.expect("an id"), name, "nothing was broken");
    assert_eq!(b.title("1").await.as_deref(), Some("of a again"));
    assert_level(&[&a, &b]).await;
}

/// Whatever is lost or repeated, over and over, in pages of any size: the effect is that of doing it once.
pub(super) async fn rule_frozen_page_over_a_line_that_fails_everywhere(pair: &dyn ReplicaPair) {
    for size in [1, 2, 5] {
        let (a, b) = two(pair).await;
        for n in 0..5 {
            a.put(&format!("a{n}"), "v1").await;
            b.put(&format!("b{n}"), "v1").await;
        }
        let line = b.line();
        let faults =
            [LineFault::LoseAnswer, LineFault::LoseRequest, LineFault::Repeat, LineFault::LoseAnswer];
        for (round, fault) in faults.into_iter().cycle().take(12).enumerate() {
            line.next(Request::Exchange, fault);
            let done = a.workspace.sync(&line).page_size(size).await;
            assert_eq!(done.is_ok(), fault == LineFault::Repeat, "{done:?}");
            a.put(&format!("a{}", round % 5), &format!("v{round}")).await;
            b.put(&format!("b{}", round % 5), &format!("v{round}")).await;
        }
        let report = a.workspace.sync(&line).page_size(size).await.expect("the line is good again");
        assert!(report.level && report.conflict_count() == 0, "{report:?}");
        assert_level(&[&a, &b]).await;
        assert_eq!(b.ids().await.len(), 10);
    }
}

/// A page that comes late, after others that were sent after it, has no effect any more.
pub(super) async fn rule_frozen_page_that_comes_late_has_no_effect(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "first").await;
    let line = b.line();
    line.next(Request::Exchange, LineFault::Late);
    fails(&a, &line).await;
    a.workspace.sync(&line).await.expect("the line is good again");
    a.put("1", "second").await;
    a.workspace.sync(&line).await.expect("the line is good again");
    let before = b.picture().await;
    let answers = line.deliver_late().await;
    assert_eq!(answers.len(), 1);
    assert!(answers.into_iter().all(|answer| answer.is_ok()), "it is answered");
    assert_eq!(b.picture().await, before, "the late page changed nothing");
    a.put("1", "third").await;
    a.sync_clean(&b).await;
    assert_level(&[&a, &b]).await;
}

/// Only what changed travels, with the revision it is based on.
pub(super) async fn rule_exact_patch_only_what_changed_travels(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "a long title that need not travel twice").await;
    a.sync_clean(&b).await;
    let base = a.change("1").await.revision();
    a.count("1", 7).await;
    let line = b.line();
    a.workspace.sync(&line).await.expect("it syncs");
    let pages = line.pages();
    let update = &pages[0].page.updates[0];
    assert_eq!(update.based_on, Some(base));
    let record = update.state.record.as_ref().expect("a record");
    let present: Vec<_> = record.values().iter().map(Option::is_some).collect();
    assert_eq!(present, [true, false, true, false, false], "the id and the count");
    assert_level(&[&a, &b]).await;
}

/// A patch on a state that came from the peer travels too.
pub(super) async fn rule_exact_patch_on_what_the_peer_brought(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    b.put("1", "of b").await;
    a.sync_clean(&b).await;
    let base = a.change("1").await.revision();
    a.count("1", 7).await;
    a.count("1", 8).await;
    let line = b.line();
    a.workspace.sync(&line).await.expect("it syncs");
    let pages = line.pages();
    assert_eq!(pages[0].page.updates[0].based_on, Some(base));
    assert_eq!(b.get("1").await.map(|item| (item.title, item.count)), Some(("of b".into(), 8)));
    assert_level(&[&a, &b]).await;
}

/// Where the target is in another revision, it wants the record whole, and gets it under the same number.
pub(super) async fn rule_exact_patch_needs_whole_where_the_target_moved(pair: &dyn ReplicaPair) {
    let (a, server, b) = three(pair).await;
    a.put("1", "first").await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    // B's edit reaches A past the server; so A's patch on what the server had does not fit what it has.
    b.put("1", "of b").await;
    b.sync_clean(&server).await;
    Item::replicate(&b.workspace, &a.workspace).await.expect("it replicates");
    a.count("1", 7).await;
    let line = server.line();
    let report = a.workspace.sync(&line).await.expect("it syncs");
    assert!(report.level && report.conflict_count() == 0, "{report:?}");
    assert_eq!(server.get("1").await.map(|item| (item.title, item.count)), Some(("of b".into(), 7)));
    b.sync_clean(&server).await;
    assert_level(&[&a, &server, &b]).await;
}

/// The target applies a patch only on exactly its base, and then says what it needs.
pub(super) async fn rule_exact_patch_is_refused_on_an_ancestor(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "first").await;
    a.sync_clean(&b).await;
    a.put("1", "second").await;
    let second = a.change("1").await.revision();
    a.count("1", 3).await;
    let state: State = a.states().await.pop().expect("a state");
    let update = sync_runtime::replica::Update { state, based_on: Some(second) };
    let outcomes = b.replica.bulk_update(&Caller::owner(), None, vec![update]).await.expect("it is answered");
    assert!(matches!(outcomes[..], [Outcome::NeedWhole]), "{outcomes:?}");
    assert_eq!(b.get("1").await.map(|item| (item.title, item.count)), Some(("first".into(), 0)));
}

/// A change does not go back to the peer that brought it, exactly as it stands.
pub(super) async fn rule_no_echo_no_starvation_nothing_goes_back(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    b.put("2", "of b").await;
    a.sync_clean(&b).await;
    let line = b.line();
    for _ in 0..2 {
        let report = a.workspace.sync(&line).await.expect("it syncs");
        assert_eq!((report.pushed, report.pulled), (0, 0));
    }
    assert_eq!(line.pages().len(), 0);
    assert_eq!(a.workspace.pending(10).await.expect("what is pending"), vec![]);
}

/// What a peer brought goes on to others, and comes back to the peer as soon as anything about it changed here.
pub(super) async fn rule_no_echo_no_starvation_what_changed_goes_back(pair: &dyn ReplicaPair) {
    let (a, server, b) = three(pair).await;
    a.put("1", "of a").await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    b.put("1", "of b").await;
    b.sync_clean(&server).await;
    assert_eq!(a.sync_clean(&server).await.pulled, 1, "what another made of it comes back");
    server.put("1", "of the server").await;
    assert_eq!(a.sync_clean(&server).await.pulled, 1);
    assert_eq!(b.sync_clean(&server).await.pulled, 1);
    assert_level(&[&a, &server, &b]).await;
}

/// Only the ancestry grew, by a join: the peers get to know it.
pub(super) async fn rule_no_echo_no_starvation_a_join_goes_back(pair: &dyn ReplicaPair) {
    let (a, server, b) = three(pair).await;
    a.put("1", "same").await;
    server.put("1", "same").await;
    b.put("1", "same").await;
    for _ in 0..3 {
        a.sync_clean(&server).await;
        b.sync_clean(&server).await;
    }
    assert_level(&[&a, &server, &b]).await;
    assert_eq!(a.sync_clean(&server).await.pulled, 0, "it came to rest");
    assert_eq!(b.sync_clean(&server).await.pushed, 0, "it came to rest");
}

/// A feed full of what the peer brought itself does not starve what others brought.
pub(super) async fn rule_no_echo_no_starvation_behind_many_of_ones_own(pair: &dyn ReplicaPair) {
    let (a, server, b) = three(pair).await;
    for n in 0..20 {
        a.put(&format!("a{n:02}"), "of a").await;
    }
    b.put("b", "of b").await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    for n in 0..20 {
        a.put(&format!("a{n:02}"), "of a again").await;
    }
    let report = a.workspace.sync(&server.replica).page_size(2).await.expect("it syncs");
    assert!(report.level);
    assert_eq!(report.pulled, 1);
    assert_eq!(a.title("b").await.as_deref(), Some("of b"));
    assert_eq!(a.sync_clean(&server).await.pulled, 0);
}

/// The peer's limits are kept: no page has more records than it announced.
pub(super) async fn pages_keep_the_limits_of_the_peer(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let b = b.limited(Limits { page_records: 3, ..Limits::default() }).await;
    for n in 0..10 {
        a.put(&format!("a{n}"), "foo").await;
        b.put(&format!("b{n}"), "foo").await;
    }
    let line = b.line();
    let report = a.workspace.sync(&line).await.expect("it syncs");
    assert!(report.level);
    assert_eq!((report.pushed, report.pulled), (10, 10));
    let sizes: Vec<_> = line.pages().iter().map(|page| ids_of(page).len()).collect();
    assert_eq!(sizes, [3, 3, 3, 1]);
    assert_level(&[&a, &b]).await;
}

/// Pages are bounded in bytes as well; a single record may exceed the bound.
pub(super) async fn pages_are_bounded_in_bytes(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let b = b.limited(Limits { page_bytes: 2_000, ..Limits::default() }).await;
    let long = "x".repeat(700);
    for n in 0..6 {
        a.put(&format!("a{n}"), &long).await;
        b.put(&format!("b{n}"), &long).await;
    }
    a.put("huge", &"y".repeat(5_000)).await;
    let line = b.line();
    let report = a.workspace.sync(&line).await.expect("it syncs");
    assert!(report.level);
    let sizes: Vec<_> = line.pages().iter().map(|page| ids_of(page).len()).collect();
    assert_eq!(sizes, [2, 2, 2, 1]);
    assert_level(&[&a, &b]).await;
}

/// A page with more records than the target accepts is refused as too large, and nothing of it is taken.
pub(super) async fn a_page_above_the_limit_is_refused(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let b = b.limited(Limits { page_records: 2, ..Limits::default() }).await;
    let source = Device::open(pair, pair.a().await, all_models).await;
    for n in 0..3 {
        source.put(&format!("{n}"), "foo").await;
    }
    let updates = source
        .states()
        .await
        .into_iter()
        .map(|state| sync_runtime::replica::Update { state, based_on: None });
    let page = sync_runtime::replica::Page { updates: updates.collect(), group_open: false };
    let push = Some(PushPage { number: 1, digest: 1, page });
    let from = a.workspace.id().await.expect("an id");
    let to = b.workspace.id().await.expect("an id");
    let answer = b.replica.exchange(&Caller::owner(), Exchange { from, to, push, pull: None }).await;
    assert_eq!(answer.expect_err("too large").kind(), ErrorKind::TooLarge);
    assert_eq!(b.ids().await.len(), 0);
}

/// Page numbers: a repeated page gets its answer again; the same number with other content, or a lower one, is
/// told to take a new name; a number too high is told which one is expected.
pub(super) async fn rule_one_replica_id_one_history_page_numbers(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    a.put("2", "foo").await;
    let line = b.line();
    a.workspace.sync(&line).page_size(1).await.expect("it syncs");
    let pages = line.pages();
    assert_eq!(pages.iter().map(|page| page.number).collect::<Vec<_>>(), [1, 2]);
    let (from, to) = (a.workspace.id().await.expect("an id"), b.workspace.id().await.expect("an id"));
    let push = async |page: PushPage| {
        let exchange = Exchange { from, to, push: Some(page), pull: None };
        let answer = b.replica.exchange(&Caller::owner(), exchange).await.expect("it is answered");
        answer.pushed.expect("the page is answered")
    };
    let again = push(pages[1].clone()).await;
    assert!(
        matches!(&again, Pushed::Applied(outcomes) if matches!(outcomes[..], [Outcome::Known])),
        "{again:?}"
    );
    assert!(matches!(push(PushPage { digest: 7, ..pages[1].clone() }).await, Pushed::TakeNewName));
    assert!(matches!(push(pages[0].clone()).await, Pushed::TakeNewName));
    assert!(matches!(push(PushPage { number: 4, ..pages[1].clone() }).await, Pushed::Expected(3)));
    assert!(matches!(push(PushPage { number: 0, ..pages[1].clone() }).await, Pushed::TakeNewName));
    a.put("3", "foo").await;
    a.sync_clean(&b).await;
    assert_level(&[&a, &b]).await;
}

/// An exchange that is meant for another replica is answered with the own name and does nothing.
pub(super) async fn an_exchange_for_another_does_nothing(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    let line = b.line();
    line.next(Request::Exchange, LineFault::LoseRequest);
    fails(&a, &line).await;
    let push = line.pages().pop();
    let from = a.workspace.id().await.expect("an id");
    let exchange = Exchange { from, to: from, push, pull: None };
    let answer = b.replica.exchange(&Caller::owner(), exchange).await.expect("it is answered");
    assert_eq!(answer.replica, b.workspace.id().await.expect("an id"));
    assert!(answer.pushed.is_none() && answer.pulled.is_none());
    assert_eq!(b.ids().await.len(), 0);
}

/// Nothing leaves a store before it is durable there: the page that is sent is in the store as in flight, with
/// its number, when the request arrives.
pub(super) async fn rule_durable_before_seen_a_page_is_frozen_first(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    let line = b.line();
    let (sender, receiver) = std::sync::mpsc::channel();
    let probe = a.workspace.clone();
    line.before(Request::Exchange, move || {
        Box::pin(async move {
            // An edit after the page left must not change what a repetition of it holds.
            let items = probe.collection::<Item>().expect("the model is registered");
            items
                .update("1", |item| item.title = "edited on the way".into())
                .await
                .expect("an item is saved");
            sender.send(()).expect("the case listens");
        })
    });
    line.next(Request::Exchange, LineFault::LoseAnswer);
    fails(&a, &line).await;
    receiver.recv().expect("the hook ran");
    // The process dies here and starts again.
    let a = a.restart().await;
    a.workspace.sync(&line).await.expect("the line is good again");
    let pages = line.pages();
    assert_eq!(shown(&pages[0]), shown(&pages[1]));
    assert_eq!(b.title("1").await.as_deref(), Some("edited on the way"));
    assert_eq!(a.status("1").await, Status::Synced);
    assert_level(&[&a, &b]).await;
}

/// A page that something on the way takes for too large is halved until it passes; nobody has to know how much that is.
pub(super) async fn a_page_too_large_is_halved(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    for n in 0..20 {
        a.put(&format!("{n:02}"), &"x".repeat(300)).await;
    }
    let line = b.line().taking_at_most(1_200);
    let report = a.workspace.sync(&line).await.expect("the sync succeeds");
    assert!(report.level && report.rejected.is_empty(), "{report:?}");
    assert_eq!((b.ids().await.len(), report.pushed), (20, 20));
    assert!(line.pages().iter().all(|page| (1..=3).contains(&page.page.updates.len())), "{:?}", line.pages());
    assert_level(&[&a, &b]).await;
    let idle = a.workspace.sync(&line).await.expect("the sync succeeds");
    assert_eq!((idle.requests, idle.pushed, idle.pulled), (1, 0, 0));
}

/// A record that is too large by itself is parked with the reason, all others flow, and it is sent when it was made smaller.
pub(super) async fn a_record_too_large_is_parked(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    for n in 0..6 {
        let title = if n == 2 { "x".repeat(5_000) } else { "short".into() };
        a.put(&format!("{n}"), &title).await;
    }
    let line = b.line().taking_at_most(1_200);
    let report = a.workspace.sync(&line).await.expect("the sync succeeds");
    assert_eq!(b.ids().await, ["0", "1", "3", "4", "5"]);
    let parked: Vec<_> = report.rejected.iter().map(|it| (it.id.to_string(), it.code.as_str())).collect();
    assert_eq!(parked, [("2".to_owned(), "too_large")]);
    assert!(matches!(a.status("2").await, Status::Rejected(_)));
    let idle = a.workspace.sync(&line).await.expect("the sync succeeds");
    assert_eq!((idle.requests, idle.pushed), (1, 0), "it does not begin anew: {idle:?}");
    a.put("2", "made smaller").await;
    a.workspace.sync(&line).await.expect("the sync succeeds");
    assert_eq!((b.title("2").await.as_deref(), a.status("2").await), (Some("made smaller"), Status::Synced));
    assert_level(&[&a, &b]).await;
}

/// One that was written together with others is parked by itself too, wherever in the transaction it stands, and however
/// often the line is cut meanwhile.
pub(super) async fn a_record_too_large_is_parked_alone_of_its_transaction(pair: &dyn ReplicaPair) {
    for (large, cut) in
        [(0, None), (3, None), (5, None), (3, Some(2)), (3, Some(3)), (3, Some(4)), (0, Some(2))]
    {
        let (a, b) = two(pair).await;
        let written = a.workspace.transaction(move |tx| {
            Box::pin(async move {
                for n in 0..6 {
                    let title = if n == large { "x".repeat(5_000) } else { "short".into() };
                    tx.upsert(&Item::new(&format!("{n}"), &title)).await?;
                }
                Ok(())
            })
        });
        written.await.expect("the transaction commits");
        a.put("later", "by itself").await;
        let line = b.line().taking_at_most(1_200);
        if let Some(exchanges) = cut {
            for _ in 1..exchanges {
                line.after(Request::Exchange, || Box::pin(async {}));
            }
            let cut = line.clone();
            line.after(Request::Exchange, move || Box::pin(async move { cut.down(true) }));
            a.workspace.sync(&line).await.expect_err("the line is cut");
            line.down(false);
        }
        let report = a.workspace.sync(&line).await.expect("the sync succeeds");
        let there = (0..6).filter(|n| *n != large).map(|n| n.to_string()).chain(["later".to_owned()]);
        assert_eq!(b.ids().await, there.collect::<Vec<_>>(), "{large} {cut:?}");
        let parked = a.workspace.rejected::<Item>().await.expect("what was refused is read");
        let parked: Vec<_> = parked.iter().map(|it| (it.id.to_string(), it.code.as_str())).collect();
        assert_eq!(parked, [(large.to_string(), "too_large")], "{report:?}");
        let idle = a.workspace.sync(&line).await.expect("the sync succeeds");
        assert_eq!((idle.requests, idle.pushed), (1, 0), "it does not begin anew: {idle:?}");
        a.put(&large.to_string(), "made smaller").await;
        a.workspace.sync(&line).await.expect("the sync succeeds");
        assert_level(&[&a, &b]).await;
    }
}
