//! Rulings of the receiving side: it settles, refuses or amends what is pushed, and the pusher learns it at once.

use super::ReplicaPair;
use super::merging::{create, edit, get, the_card, two_level, with};
use super::models::Card;
use super::world::{Device, assert_level};
use crate::flaky::{LineFault, Request};
use sync_runtime::{Ruling, Status};

/// A device and a server with card `1` in common; the server has a rule.
async fn ruled(pair: &dyn ReplicaPair) -> (Device, Device) {
    let (a, server) = two_level(pair).await;
    let server = with(server, |builder| {
        builder.on_incoming::<Card>(|update| match (&update.current, &update.incoming) {
            (Some(_), None) => Ruling::Reject("cards are not deleted here".into()),
            (_, Some(card)) if card.title == "panic" => panic!("a rule that fails"),
            (Some(current), Some(card)) if update.in_conflict => {
                let title = format!("{} and {}", current.title, card.title);
                Ruling::Store(Some(Card { title, ..current.clone() }))
            }
            (_, Some(card)) if card.title == "burn" => Ruling::Store(None),
            (_, Some(card)) if card.title.contains(' ') && !card.title.contains(" and ") => {
                Ruling::Store(Some(Card { title: card.title.replace(' ', "-"), ..card.clone() }))
            }
            _ => Ruling::Pass,
        })
    })
    .await;
    (a, server)
}

async fn title(device: &Device) -> Option<String> {
    get::<Card>(device).await.map(|card| card.title)
}

/// What the rule stores instead comes with the answer, as a revision of the server's on top of the pushed one.
pub(super) async fn a_ruling_amends_an_update(pair: &dyn ReplicaPair) {
    let (a, server) = ruled(pair).await;
    edit::<Card>(&a, |card| (card.title, card.votes) = ("two words".into(), 11)).await;
    let report = a.sync_clean(&server).await;
    assert_eq!(report.requests, 1, "in the same answer");
    assert_eq!(title(&a).await.as_deref(), Some("two-words"));
    let cards = server.workspace.collection::<Card>().expect("the model is registered");
    let change = cards.find_last_change("1").await.expect("a change is read").expect("it is tracked");
    assert_eq!(change.revision().replica, server.workspace.id().await.expect("an id"));
    assert_eq!(the_card(&server).await.votes, 11);
    assert_level(&[&a, &server]).await;
    edit::<Card>(&a, |card| card.title = "oneword".into()).await;
    a.sync_clean(&server).await;
    assert_eq!(title(&server).await.as_deref(), Some("oneword"));
    assert_level(&[&a, &server]).await;
}

/// The rule is not asked about a revision that changes nothing, as a merge is that came to what the server has.
pub(super) async fn what_changes_nothing_is_not_asked_about(pair: &dyn ReplicaPair) {
    let (a, server) = two_level(pair).await;
    let server = with(server, |builder| {
        builder.on_incoming::<Card>(|update| match update.current {
            Some(_) if !update.in_conflict => Ruling::Reject("cards stay as they are".into()),
            _ => Ruling::Pass,
        })
    })
    .await;
    // The merge of the two comes to the older one.
    edit::<Card>(&server, |card| card.best = 10).await;
    edit::<Card>(&a, |card| card.best = 9).await;
    a.sync_clean(&server).await;
    assert_eq!(the_card(&a).await.best, 10);
    let cards = server.workspace.collection::<Card>().expect("the model is registered");
    let change = cards.find_last_change("1").await.expect("a change is read").expect("it is tracked");
    assert_eq!(change.revision().replica, a.workspace.id().await.expect("an id"), "the merge came");
    assert_level(&[&a, &server]).await;
    edit::<Card>(&a, |card| card.best = 11).await;
    assert_eq!(a.sync(&server).await.rejected.len(), 1, "it is asked about any other");
}

/// The same for a record that is new to the server.
pub(super) async fn a_ruling_amends_a_new_record(pair: &dyn ReplicaPair) {
    let (a, server) = ruled(pair).await;
    create(&a, Card { id: "2".into(), title: "two words".into(), ..Card::default() }).await;
    a.sync_clean(&server).await;
    let cards = a.workspace.collection::<Card>().expect("the model is registered");
    let card = cards.get("2").await.expect("a record is read").expect("it is there");
    assert_eq!(card.title, "two-words");
    assert_level(&[&a, &server]).await;
}

/// The rule settles a conflict; the pusher learns the outcome in the same answer and is not asked.
pub(super) async fn a_ruling_settles_a_conflict(pair: &dyn ReplicaPair) {
    let (a, server) = ruled(pair).await;
    edit::<Card>(&a, |card| card.title = "of-a".into()).await;
    edit::<Card>(&server, |card| card.title = "of-the-server".into()).await;
    let report = a.sync_clean(&server).await;
    // A patch, which does not fit what is there, and the whole record, which is ruled on.
    assert_eq!((report.requests, report.merged_count()), (2, 0));
    assert_eq!(title(&a).await.as_deref(), Some("of-the-server and of-a"));
    assert_level(&[&a, &server]).await;
}

/// The rule may delete what was pushed.
pub(super) async fn a_ruling_deletes(pair: &dyn ReplicaPair) {
    let (a, server) = ruled(pair).await;
    edit::<Card>(&a, |card| card.title = "burn".into()).await;
    a.sync_clean(&server).await;
    assert_eq!((title(&a).await, title(&server).await), (None, None));
    assert_level(&[&a, &server]).await;
}

/// A refusal parks that record only, with the reason; also one by a rule that panics.
pub(super) async fn a_ruling_refuses_one_record(pair: &dyn ReplicaPair) {
    let (a, server) = ruled(pair).await;
    let cards = a.workspace.collection::<Card>().expect("the model is registered");
    cards.delete("1").await.expect("a record is deleted");
    create(&a, Card { id: "2".into(), title: "fine".into(), ..Card::default() }).await;
    create(&a, Card { id: "3".into(), title: "panic".into(), ..Card::default() }).await;
    let report = a.sync(&server).await;
    let told: Vec<_> = report.rejected.iter().map(|rejected| rejected.reason.as_str()).collect();
    assert_eq!(told.len(), 2, "{report:?}");
    assert!(told.iter().any(|reason| reason.contains("cards are not deleted here")), "{told:?}");
    assert!(told.iter().any(|reason| reason.contains("panicked")), "{told:?}");
    let there = server.workspace.collection::<Card>().expect("the model is registered");
    assert!(there.get("2").await.expect("a record is read").is_some(), "the others flow");
    assert!(there.get("1").await.expect("a record is read").is_some());
}

/// rule: one revision, one content. A retry after a lost answer gets the same outcome, and nothing is done twice.
pub(super) async fn rule_one_revision_one_content_a_ruling_after_a_lost_answer(pair: &dyn ReplicaPair) {
    let (a, server) = ruled(pair).await;
    create(&a, Card { id: "2".into(), title: "two words".into(), ..Card::default() }).await;
    create(&a, Card { id: "3".into(), title: "of-a".into(), ..Card::default() }).await;
    create(&server, Card { id: "3".into(), title: "of-the-server".into(), ..Card::default() }).await;
    let line = server.line();
    line.next(Request::Exchange, LineFault::LoseAnswer);
    a.workspace.sync(&line).await.expect_err("the answer is lost");
    let after_once = server.picture().await;
    let report = a.workspace.sync(&line).await.expect("the line is good again");
    assert_eq!((report.conflict_count(), report.merged_count()), (0, 0), "{report:?}");
    assert_eq!(server.picture().await, after_once);
    let cards = a.workspace.collection::<Card>().expect("the model is registered");
    let card = cards.get("3").await.expect("a record is read").expect("it is there");
    assert_eq!(card.title, "of-the-server and of-a");
    assert_level(&[&a, &server]).await;
}

/// An edit that is made while the ruling is on its way is merged with it.
pub(super) async fn an_edit_during_a_ruling_is_merged(pair: &dyn ReplicaPair) {
    let (a, server) = ruled(pair).await;
    edit::<Card>(&a, |card| card.title = "two words".into()).await;
    let line = server.line();
    let here = a.workspace.clone();
    line.after(Request::Exchange, move || {
        Box::pin(async move {
            let cards = here.collection::<Card>().expect("the model is registered");
            cards.update("1", |card| card.votes += 1).await.expect("it is saved");
        })
    });
    a.workspace.sync(&line).await.expect("the sync succeeds");
    a.sync_clean(&server).await;
    let card = the_card(&server).await;
    assert_eq!((card.title.as_str(), card.votes), ("two-words", 11));
    assert_level(&[&a, &server]).await;
}

/// A refused record goes back to what the server holds, without a connection; or is tried again as it is.
pub(super) async fn a_refused_record_is_reverted_or_tried_again(pair: &dyn ReplicaPair) {
    let (a, server) = ruled(pair).await;
    let status = || async { a.workspace.status::<Card>("1").await.expect("a status is read") };
    edit::<Card>(&a, |card| card.title = "panic".into()).await;
    a.sync(&server).await;
    assert!(matches!(status().await, Some(Status::Rejected(_))));
    a.workspace.retry::<Card>("1").await.expect("it is refused");
    assert_eq!(status().await, Some(Status::NeedsSync));
    assert_eq!(a.sync(&server).await.rejected.len(), 1, "it was sent again");
    edit::<Card>(&a, |card| card.votes = 99).await;
    assert_eq!(a.sync(&server).await.rejected.len(), 1, "an edit is sent too, and refused");
    create(&a, Card { id: "2".into(), title: "panic".into(), ..Card::default() }).await;
    a.sync(&server).await;
    a.workspace.revert::<Card>("1").await.expect("it is refused");
    a.workspace.revert::<Card>("2").await.expect("it is refused");
    let card = the_card(&a).await;
    assert_eq!((card.title.as_str(), card.votes), ("start", 10), "as the server has it");
    let cards = a.workspace.collection::<Card>().expect("the model is registered");
    assert_eq!(cards.get("2").await.expect("a record is read"), None, "the server never had it");
    assert!(a.workspace.revert::<Card>("1").await.expect_err("it is not refused any more").is_not_found());
    a.sync_clean(&server).await;
    assert_eq!(status().await, Some(Status::Synced));
}
