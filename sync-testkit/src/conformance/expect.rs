//! Each expectation in each situation: no record, a live one, a tombstone.

use super::models::{TASK, task, text_id};
use super::suite::{NOW, OTHER, Suite, at, delete, expecting, write};
use sync_runtime::store::{Expect, Saved, Write};
use sync_runtime::version::Revision;

/// Makes `never` (nothing), `live` (second revision) and `gone` (a tombstone), and gives the live and the gone
/// record's revisions.
async fn situations(suite: &Suite) -> (Revision, Revision) {
    suite.tasks(0, &["live", "gone"]).await;
    suite.track(5, &TASK, task("live", "second")).await;
    suite.remove(6, &TASK, &text_id("gone")).await;
    (suite.task_change("live").await.ancestry.current, suite.task_change("gone").await.ancestry.current)
}

/// Does one write and checks that it was done exactly if the outcome says so.
async fn case(suite: &Suite, write: Write, outcome: Saved) {
    let id = write.id.clone();
    let (record, expect) = (write.record.clone(), write.expect);
    let (before, newest) = (suite.record(&TASK, &id).await, suite.newest().await);
    let done = outcome == Saved::Tracked;
    assert_eq!(suite.save(10, vec![write]).await, [outcome], "{id} expecting {expect:?}");
    let after = suite.record(&TASK, &id).await;
    assert_eq!(after, if done { record } else { before }, "{id} expecting {expect:?}");
    assert_eq!(suite.newest().await, newest + i64::from(done), "{id} expecting {expect:?}");
}

fn saving(id: &str, expect: Expect) -> Write {
    expecting(write(&TASK, task(id, "saved")), expect)
}

fn deleting(id: &str, expect: Expect) -> Write {
    expecting(delete(&TASK, &text_id(id)), expect)
}

pub(super) async fn saving_with_any_expectation_writes_in_every_situation(suite: &mut Suite) {
    situations(suite).await;
    for id in ["never", "live", "gone"] {
        case(suite, saving(id, Expect::Any), Saved::Tracked).await;
    }
}

pub(super) async fn saving_what_must_be_absent_does_not_touch_a_live_record(suite: &mut Suite) {
    situations(suite).await;
    case(suite, saving("live", Expect::Absent), Saved::Exists).await;
    case(suite, saving("never", Expect::Absent), Saved::Tracked).await;
    case(suite, saving("gone", Expect::Absent), Saved::Tracked).await;
    case(suite, saving("gone", Expect::Absent), Saved::Exists).await;
}

pub(super) async fn saving_what_must_be_present_needs_a_live_record(suite: &mut Suite) {
    situations(suite).await;
    case(suite, saving("never", Expect::Present), Saved::Missing).await;
    case(suite, saving("gone", Expect::Present), Saved::Missing).await;
    case(suite, saving("live", Expect::Present), Saved::Tracked).await;
}

pub(super) async fn saving_at_a_revision_needs_exactly_that_revision(suite: &mut Suite) {
    let (live, gone) = situations(suite).await;
    case(suite, saving("never", Expect::At(live)), Saved::Missing).await;
    case(suite, saving("gone", Expect::At(gone)), Saved::Missing).await;
    let others = [
        at(0, live.replica),
        Revision { stamp: live.stamp + 1, ..live },
        Revision { replica: OTHER, ..live },
        Revision { stamp: NOW - 1, ..live },
    ];
    for other in others {
        case(suite, saving("live", Expect::At(other)), Saved::Moved).await;
    }
    case(suite, saving("live", Expect::At(live)), Saved::Tracked).await;
    case(suite, saving("live", Expect::At(live)), Saved::Moved).await;
}

pub(super) async fn deleting_with_any_expectation_needs_a_live_record(suite: &mut Suite) {
    situations(suite).await;
    case(suite, deleting("never", Expect::Any), Saved::Missing).await;
    case(suite, deleting("gone", Expect::Any), Saved::Missing).await;
    case(suite, deleting("live", Expect::Any), Saved::Tracked).await;
    case(suite, deleting("live", Expect::Any), Saved::Missing).await;
}

pub(super) async fn deleting_what_must_be_absent_never_deletes(suite: &mut Suite) {
    situations(suite).await;
    case(suite, deleting("live", Expect::Absent), Saved::Exists).await;
    case(suite, deleting("never", Expect::Absent), Saved::Missing).await;
    case(suite, deleting("gone", Expect::Absent), Saved::Missing).await;
}

pub(super) async fn deleting_what_must_be_present_needs_a_live_record(suite: &mut Suite) {
    situations(suite).await;
    case(suite, deleting("never", Expect::Present), Saved::Missing).await;
    case(suite, deleting("gone", Expect::Present), Saved::Missing).await;
    case(suite, deleting("live", Expect::Present), Saved::Tracked).await;
}

pub(super) async fn deleting_at_a_revision_needs_exactly_that_revision(suite: &mut Suite) {
    let (live, gone) = situations(suite).await;
    case(suite, deleting("never", Expect::At(live)), Saved::Missing).await;
    case(suite, deleting("gone", Expect::At(gone)), Saved::Missing).await;
    case(suite, deleting("live", Expect::At(Revision { replica: OTHER, ..live })), Saved::Moved).await;
    case(suite, deleting("live", Expect::At(at(0, live.replica))), Saved::Moved).await;
    case(suite, deleting("live", Expect::At(live)), Saved::Tracked).await;
    case(suite, deleting("live", Expect::At(live)), Saved::Missing).await;
}
