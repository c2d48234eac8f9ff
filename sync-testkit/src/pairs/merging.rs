//! Conflicts that policies merge: what stands, what is told, what it costs, and what is left for people.

use super::ReplicaPair;
use super::models::{Address, Card, CardField, Gone, Kept, Latest, Soonest};
use super::world::{Device, assert_level};
use crate::flaky::{LineFault, Request};
use sync_runtime::replica::Limits;
use sync_runtime::{
    Ancestry, ConflictKind, ErrorKind, Field, Revision, Side, SyncReport, Syncable, Value, WorkspaceBuilder,
};

pub(super) fn cards(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<Card>().model::<Kept>().model::<Gone>().model::<Latest>()
}

pub(super) async fn two_with_cards(pair: &dyn ReplicaPair) -> (Device, Device) {
    let a = Device::open(pair, pair.a().await, cards).await;
    let b = Device::open(pair, pair.b().await, cards).await;
    (a, b)
}

/// Card `1` as a case begins.
fn card() -> Card {
    Card {
        id: "1".into(),
        title: "start".into(),
        votes: 10,
        due: Some(50),
        best: 5,
        tags: ["red", "old"].map(String::from).into(),
        steps: ["one", "two"].map(String::from).into(),
        notes: "The quick fox\njumps".into(),
        price: 100,
        place: "here".into(),
        code: "ab".into(),
        address: Address { street: "Main".into(), city: "Rome".into(), floors: 3 },
        ..Card::default()
    }
}

/// Two devices that have card `1` in common.
pub(super) async fn two_level(pair: &dyn ReplicaPair) -> (Device, Device) {
    let (a, b) = two_with_cards(pair).await;
    create(&a, card()).await;
    a.sync_clean(&b).await;
    (a, b)
}

pub(super) async fn create<T: Syncable + Clone>(device: &Device, value: T) {
    let records = device.workspace.collection::<T>().expect("the model is registered");
    records.create(value).await.expect("a record is made");
}

pub(super) async fn edit<T: Syncable<Id = String> + Clone>(device: &Device, change: impl Fn(&mut T)) {
    let records = device.workspace.collection::<T>().expect("the model is registered");
    records.update("1", |value| change(value)).await.expect("a record is saved");
}

pub(super) async fn get<T: Syncable<Id = String> + Clone>(device: &Device) -> Option<T> {
    let records = device.workspace.collection::<T>().expect("the model is registered");
    records.get("1").await.expect("a record is read")
}

pub(super) async fn the_card(device: &Device) -> Card {
    get(device).await.expect("the card is there")
}

async fn remove<T: Syncable<Id = String> + Clone>(device: &Device) {
    let records = device.workspace.collection::<T>().expect("the model is registered");
    assert!(records.delete("1").await.expect("a record is deleted"));
}

/// The policy and the lost value of each field that one decided.
fn told(report: &SyncReport) -> Vec<(&'static str, &'static str, Value, Option<Value>)> {
    let merged = report.merged::<Card>();
    assert_eq!(merged.len(), 1, "{report:?}");
    let fields = merged[0].fields.iter();
    fields.map(|field| (field.field.name(), field.policy, field.kept.clone(), field.lost.clone())).collect()
}

/// Each side edited another field: both edits stand, everywhere.
pub(super) async fn edits_of_different_fields_both_stand(pair: &dyn ReplicaPair) {
    let (a, b) = two_level(pair).await;
    edit::<Card>(&a, |card| card.title = "of a".into()).await;
    edit::<Card>(&b, |card| card.best = 9).await;
    let report = a.sync_clean(&b).await;
    assert_eq!(report.merged_count(), 1);
    assert_eq!(told(&report), [], "nothing had to be decided");
    assert_eq!(report.requests, 2, "one more than without a conflict");
    let card = the_card(&b).await;
    assert_eq!((card.title.as_str(), card.best), ("of a", 9));
    assert_level(&[&a, &b]).await;
    assert_eq!(a.sync_clean(&b).await.pushed, 0, "nothing is left to send");
}

/// Every policy decides its field, and the report tells what was lost.
pub(super) async fn every_policy_decides_its_field(pair: &dyn ReplicaPair) {
    let (a, b) = two_with_cards(pair).await;
    let a = with(a, |builder| builder.upstream(&b.replica)).await;
    create(&a, card()).await;
    a.sync_clean(&b).await;
    let now = pair.env().now();
    b.env.freeze(now);
    a.env.freeze(now + 1_000_000);
    edit::<Card>(&b, |card| {
        *card = Card {
            done: true,
            color: "of b".into(),
            votes: 13,
            due: Some(30),
            best: 8,
            tags: ["red", "of b"].map(String::from).into(),
            steps: ["one", "two", "of b"].map(String::from).into(),
            notes: "The slow fox\njumps".into(),
            price: 120,
            place: "there".into(),
            code: "abcd".into(),
            address: Address { street: "Side".into(), city: "Rome".into(), floors: 4 },
            ..card.clone()
        };
    })
    .await;
    edit::<Card>(&a, |card| {
        *card = Card {
            color: "of a".into(),
            votes: 12,
            due: Some(40),
            best: 7,
            tags: ["red", "old", "of a"].map(String::from).into(),
            steps: ["two", "of a"].map(String::from).into(),
            notes: "The quick fox\njumps high".into(),
            price: 90,
            place: "elsewhere".into(),
            code: "abc".into(),
            address: Address { street: "Main".into(), city: "Oslo".into(), floors: 5 },
            ..card.clone()
        };
    })
    .await;
    let report = a.sync_clean(&b).await;
    let merged = Card {
        done: true,
        color: "of a".into(),
        votes: 15,
        due: Some(30),
        best: 8,
        tags: ["red", "of a", "of b"].map(String::from).into(),
        steps: ["two", "of b", "of a"].map(String::from).into(),
        notes: "The slow fox\njumps high".into(),
        price: 120,
        place: "elsewhere".into(),
        code: "abcd".into(),
        address: Address { street: "Side".into(), city: "Oslo".into(), floors: 6 },
        ..card()
    };
    assert_eq!(the_card(&a).await, merged);
    assert_level(&[&a, &b]).await;
    let told = told(&report);
    let lost = |name: &str| {
        let field = told.iter().find(|field| field.0 == name);
        field.map(|field| (field.1, field.3.clone()))
    };
    assert_eq!(lost("color"), Some(("last_write", Some(Value::Text("of b".into())))));
    assert_eq!(lost("votes"), Some(("sum", None)));
    assert_eq!(lost("due"), Some(("min", Some(Value::Int(40)))));
    assert_eq!(lost("best"), Some(("max", Some(Value::Int(7)))));
    assert_eq!(lost("price"), Some(("server_wins", Some(Value::Int(90)))));
    assert_eq!(lost("place"), Some(("client_wins", Some(Value::Text("there".into())))));
    assert_eq!(lost("code"), Some(("with", None)));
    assert_eq!((lost("title"), lost("done")), (None, None), "not both had changed it");
}

/// rule: exact base. Ten votes; one is added and the answer lost; another is added; somebody who saw eleven adds two.
pub(super) async fn rule_exact_base_votes_of_a_lost_answer_count_once(pair: &dyn ReplicaPair) {
    let (d, server) = two_level(pair).await;
    let f = Device::open(pair, pair.a().await, cards).await;
    edit::<Card>(&d, |card| card.votes += 1).await;
    let line = server.line();
    line.next(Request::Exchange, LineFault::LoseAnswer);
    d.workspace.sync(&line).await.expect_err("the answer is lost");
    edit::<Card>(&d, |card| card.votes += 1).await;
    f.sync_clean(&server).await;
    assert_eq!(the_card(&f).await.votes, 11);
    edit::<Card>(&f, |card| card.votes += 2).await;
    f.sync_clean(&server).await;
    d.workspace.sync(&line).await.expect("the line is good again");
    f.sync_clean(&server).await;
    for device in [&d, &server, &f] {
        assert_eq!(the_card(device).await.votes, 14);
    }
    assert_level(&[&d, &server, &f]).await;
}

/// An edit whose answer was lost, made again under a new name, does not count twice: people are asked instead.
pub(super) async fn rule_exact_base_votes_under_a_new_name_count_once(pair: &dyn ReplicaPair) {
    let (a, server) = two_level(pair).await;
    edit::<Card>(&a, |card| card.votes += 1).await;
    let line = server.line();
    line.next(Request::Exchange, LineFault::LoseAnswer);
    a.workspace.sync(&line).await.expect_err("the answer is lost");
    a.workspace.restored().await.expect("it takes a new name");
    edit::<Card>(&a, |card| (card.votes, card.title) = (card.votes + 1, "of a".into())).await;
    a.sync(&server).await;
    assert_eq!(the_card(&server).await.votes, 11, "never 13");
    let conflicts = a.workspace.conflicts::<Card>().await.expect("conflicts are read");
    assert!(conflicts[0].fields().contains(&CardField::Votes), "{:?}", conflicts[0]);
}

/// Two equal increments are two, whoever meets whom in between.
pub(super) async fn equal_increments_are_two(pair: &dyn ReplicaPair) {
    let (a, server) = two_level(pair).await;
    let b = Device::open(pair, pair.a().await, cards).await;
    b.sync_clean(&server).await;
    for device in [&a, &server, &b] {
        edit::<Card>(device, |card| card.votes += 1).await;
    }
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    a.sync_clean(&server).await;
    for device in [&a, &server, &b] {
        assert_eq!(the_card(device).await.votes, 13);
    }
    assert_level(&[&a, &server, &b]).await;
}

/// The later edit of a field stands, however late the rest of its record was written.
pub(super) async fn last_write_goes_by_the_stamp_of_the_field(pair: &dyn ReplicaPair) {
    let (a, b) = two_level(pair).await;
    let now = pair.env().now();
    a.env.freeze(now + 1_000);
    edit::<Card>(&a, |card| card.color = "first".into()).await;
    b.env.freeze(now + 2_000);
    edit::<Card>(&b, |card| card.color = "second".into()).await;
    a.env.freeze(now + 3_000);
    edit::<Card>(&a, |card| card.best = 6).await;
    let report = a.sync_clean(&b).await;
    assert_eq!(the_card(&a).await.color, "second", "the record of `a` is newer, its color is not");
    assert_eq!(told(&report)[0].3, Some(Value::Text("first".into())));
    assert_level(&[&a, &b]).await;
}

/// A record that stands against a delete is as old as it was, also where that makes a revision of its own: a later edit
/// of a field still stands.
pub(super) async fn last_write_goes_by_the_stamp_of_the_field_after_a_delete(pair: &dyn ReplicaPair) {
    let (a, server) = two_with_cards(pair).await;
    let b = Device::open(pair, pair.a().await, cards).await;
    create(&server, Kept { id: "1".into(), title: "start".into() }).await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    let now = pair.env().now();
    a.env.freeze(now + 1_000);
    edit::<Kept>(&a, |record| record.title = "first".into()).await;
    server.env.freeze(now + 2_000);
    edit::<Kept>(&server, |record| record.title = "second".into()).await;
    b.sync_clean(&server).await;
    b.env.freeze(now + 3_000);
    remove::<Kept>(&b).await;
    // The first edit loses against the second one, and stands against the delete of that: the two hold each other.
    pull(&server, &a).await;
    pull(&a, &b).await;
    pull(&b, &server).await;
    assert_eq!((title(&a).await.as_deref(), title(&b).await), (Some("first"), None));
    server.env.freeze(now + 4_000);
    edit::<Kept>(&server, |record| record.title = "third".into()).await;
    a.env.freeze(now + 5_000);
    a.sync_clean(&b).await;
    assert_eq!(title(&b).await.as_deref(), Some("first"), "it was edited");
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    assert_eq!(title(&a).await.as_deref(), Some("third"), "nobody wrote the first title anew");
    assert_level(&[&a, &server, &b]).await;
}

/// A revision that is made anew, as to send a refused record once more, writes none of its fields.
pub(super) async fn last_write_goes_by_the_stamp_of_the_field_after_a_new_revision(pair: &dyn ReplicaPair) {
    let (a, b) = two_level(pair).await;
    let now = pair.env().now();
    a.env.freeze(now + 1_000);
    edit::<Card>(&a, |card| card.color = "first".into()).await;
    b.env.freeze(now + 2_000);
    edit::<Card>(&b, |card| card.color = "second".into()).await;
    a.env.freeze(now + 3_000);
    let other = "77777777777777777777777777777777".parse().expect("a replica id");
    let knew = Ancestry::of(Revision { stamp: now, replica: other });
    assert!(a.workspace.update_last_change::<Card>("1", &knew).await.expect("it is updated"));
    a.sync_clean(&b).await;
    assert_eq!(the_card(&a).await.color, "second", "the record of `a` is newer, its color is not");
    assert_level(&[&a, &b]).await;
}

/// The same where two hold each other and have the same: the later of the two edits counts, whichever revision stands.
pub(super) async fn last_write_goes_by_the_stamp_of_the_field_in_a_join(pair: &dyn ReplicaPair) {
    let (a, server) = two_with_cards(pair).await;
    let b = Device::open(pair, pair.a().await, cards).await;
    let c = Device::open(pair, pair.a().await, cards).await;
    let d = Device::open(pair, pair.a().await, cards).await;
    create(&a, Kept { id: "1".into(), title: "start".into() }).await;
    for device in [&a, &b, &c, &d] {
        device.sync_clean(&server).await;
    }
    let now = pair.env().now();
    for (device, after, title) in
        [(&b, 1_000, "same"), (&c, 2_000, "same"), (&d, 3_000, "other"), (&a, 4_000, "same")]
    {
        device.env.freeze(now + after);
        edit::<Kept>(device, |record| record.title = title.into()).await;
    }
    for device in [&b, &c, &a] {
        pull(&server, device).await;
    }
    a.env.freeze(now + 5_000);
    remove::<Kept>(&a).await;
    // The edit of `c` stands against the delete; the server has seen the later edit, and not the delete.
    pull(&c, &a).await;
    pull(&server, &c).await;
    for device in [&a, &b, &c, &d, &a, &b, &c] {
        device.sync_clean(&server).await;
    }
    assert_eq!(title(&server).await.as_deref(), Some("same"), "it was written after the other title");
    assert_level(&[&a, &server, &b, &c, &d]).await;
}

async fn title(device: &Device) -> Option<String> {
    get::<Kept>(device).await.map(|record| record.title)
}

async fn pull(device: &Device, from: &Device) {
    let report = device.workspace.sync(&from.replica).pull_only().await.expect("it pulls");
    assert_eq!(report.conflict_count(), 0, "{report:?}");
}

/// rule: exact base. Without one only `last_write`, `min` and `max` decide; nothing is counted.
pub(super) async fn rule_exact_base_without_one_nothing_is_counted(pair: &dyn ReplicaPair) {
    let (a, b) = two_with_cards(pair).await;
    create(&a, Card { votes: 3, best: 1, color: "of a".into(), ..card() }).await;
    create(&b, Card { votes: 4, best: 2, color: "of b".into(), ..card() }).await;
    let report = a.sync(&b).await;
    let conflicts = report.conflicts::<Card>();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].fields(), [CardField::Votes], "the others are decided");
    assert_eq!(conflicts[0].base(), None);
    let conflict = a.workspace.conflicts::<Card>().await.expect("conflicts are read").remove(0);
    conflict.resolve_field(CardField::Votes, Side::Source).resolve_fields().await.expect("it is resolved");
    a.sync_clean(&b).await;
    let card = the_card(&b).await;
    assert_eq!((card.votes, card.best, card.color.as_str()), (3, 2, "of b"));
    assert_level(&[&a, &b]).await;
}

/// A field that only a side declared upstream could decide is a conflict with anybody else.
pub(super) async fn without_an_upstream_people_decide(pair: &dyn ReplicaPair) {
    let (a, b) = two_level(pair).await;
    edit::<Card>(&a, |card| (card.price, card.place) = (1, "of a".into())).await;
    edit::<Card>(&b, |card| (card.price, card.place) = (2, "of b".into())).await;
    let conflicts = a.sync(&b).await.conflicts::<Card>();
    assert_eq!(conflicts[0].fields(), [CardField::Price, CardField::Place]);
}

/// A merge function that fails, and one that panics: the record is a conflict with the reason, the sync goes on.
pub(super) async fn a_merge_function_that_fails_parks_its_record(pair: &dyn ReplicaPair) {
    for (code, reason) in [("a?", "`a?` is no code"), ("a!", "the function panicked: no such code")] {
        let (a, b) = two_level(pair).await;
        edit::<Card>(&a, |card| card.code = code.into()).await;
        edit::<Card>(&b, |card| card.code = "of b".into()).await;
        create(&a, Card { id: "2".into(), ..card() }).await;
        let report = a.sync(&b).await;
        let conflicts = report.conflicts::<Card>();
        assert_eq!(conflicts[0].fields(), [CardField::Code]);
        let told = conflicts[0].reason().expect("a reason");
        assert!(told.contains(reason) && told.contains("code"), "{told}");
        let there = b.workspace.collection::<Card>().expect("the model is registered");
        assert!(there.get("2").await.expect("a record is read").is_some(), "the others flow");
    }
}

/// A sum that the field cannot hold is a conflict.
pub(super) async fn an_overflow_is_a_conflict(pair: &dyn ReplicaPair) {
    let (a, b) = two_level(pair).await;
    edit::<Card>(&a, |card| card.votes = i64::MAX).await;
    edit::<Card>(&b, |card| card.votes += 1).await;
    let conflicts = a.sync(&b).await.conflicts::<Card>();
    assert_eq!(conflicts[0].fields(), [CardField::Votes]);
    assert!(conflicts[0].reason().expect("a reason").contains("cannot hold"));
}

/// A merge that comes to what the newer side has makes no new revision: nothing was written. The older one does not stand
/// for both.
pub(super) async fn a_merge_that_equals_the_newer_side_makes_no_revision(pair: &dyn ReplicaPair) {
    for b_is_newer in [true, false] {
        let (a, b) = two_level(pair).await;
        let now = pair.env().now();
        a.env.freeze(now + 1_000);
        b.env.freeze(if b_is_newer { now + 2_000 } else { now });
        edit::<Card>(&a, |card| card.best = 7).await;
        edit::<Card>(&b, |card| card.best = 8).await;
        let revision = |device: &Device| {
            let cards = device.workspace.collection::<Card>().expect("the model is registered");
            async move {
                cards
                    .find_last_change("1")
                    .await
                    .expect("a change is read")
                    .expect("it is tracked")
                    .revision()
            }
        };
        let (of_a, of_b) = (revision(&a).await, revision(&b).await);
        let report = a.sync_clean(&b).await;
        assert_eq!(report.merged_count(), 1);
        let both = revision(&a).await;
        assert_eq!(both, revision(&b).await);
        assert_eq!(both == of_b, b_is_newer, "`b` had the larger one");
        assert!(both >= of_a.max(of_b), "the current revision is the newest of all");
        assert_level(&[&a, &b]).await;
        assert_eq!(a.sync_clean(&b).await.pushed, 0);
        edit::<Card>(&b, |card| card.best = 20).await;
        a.sync_clean(&b).await;
        assert_eq!(the_card(&a).await.best, 20);
    }
}

/// Two replicas that merge the same two versions do not conflict with each other's result.
pub(super) async fn the_same_merge_at_two_places_is_one(pair: &dyn ReplicaPair) {
    let (a, server) = two_level(pair).await;
    let (b, c) =
        (Device::open(pair, pair.a().await, cards).await, Device::open(pair, pair.b().await, cards).await);
    b.sync_clean(&server).await;
    // Bases are kept for peers that are known.
    a.sync_clean(&c).await;
    b.sync_clean(&c).await;
    edit::<Card>(&a, |card| (card.votes, card.title) = (11, "of a".into())).await;
    edit::<Card>(&b, |card| (card.votes, card.notes) = (12, "The quick fox\nsleeps".into())).await;
    // Each of the four learns of the two edits on another way.
    a.sync_clean(&server).await;
    b.sync_clean(&c).await;
    let merged = a.sync_clean(&c).await;
    assert_eq!(merged.merged_count(), 1);
    assert_eq!(b.sync_clean(&server).await.merged_count(), 1);
    a.sync_clean(&server).await;
    b.sync_clean(&c).await;
    a.sync_clean(&c).await;
    b.sync_clean(&server).await;
    for device in [&a, &b, &c, &server] {
        let card = the_card(device).await;
        assert_eq!((card.votes, card.title.as_str()), (13, "of a"));
    }
    assert_level(&[&a, &b, &c, &server]).await;
}

/// Two who merged the same two versions, one with the state that both come from and one without it, came to different
/// sides. What is written on top of the one does not count as a change of the other.
pub(super) async fn rule_exact_base_of_merges_that_came_to_different_sides(pair: &dyn ReplicaPair) {
    let soonest = |builder: WorkspaceBuilder| builder.model::<Soonest>();
    let a = Device::open(pair, pair.a().await, soonest).await;
    let server = Device::open(pair, pair.b().await, soonest).await;
    let b = Device::open(pair, pair.b().await, soonest).await;
    let c = Device::open(pair, pair.b().await, soonest).await;
    create(&a, Soonest { id: "1".into(), title: "start".into(), due: 50 }).await;
    a.sync_clean(&server).await;
    let now = pair.env().now();
    a.env.freeze(now + 1_000);
    server.env.freeze(now + 2_000);
    edit::<Soonest>(&a, |record| record.due = 70).await;
    edit::<Soonest>(&server, |record| record.title = "other".into()).await;
    edit::<Soonest>(&server, |record| record.title = "start".into()).await;
    b.sync_clean(&server).await;
    a.sync_clean(&c).await;
    let due = async |device: &Device| get::<Soonest>(device).await.expect("it is there").due;
    assert_eq!(a.sync_clean(&server).await.merged_count(), 1);
    assert_eq!(due(&a).await, 70, "only `a` has changed it");
    assert_eq!(c.sync_clean(&b).await.merged_count(), 1);
    assert_eq!(due(&c).await, 50, "`c` never saw the state before, so the sooner one");
    edit::<Soonest>(&a, |record| record.title = "of a".into()).await;
    edit::<Soonest>(&c, |record| record.due = 80).await;
    a.sync_clean(&c).await;
    let merged = get::<Soonest>(&c).await.expect("it is there");
    assert_eq!((merged.title.as_str(), merged.due), ("of a", 70), "both put it off");
    assert_level(&[&a, &c]).await;
}

/// What is left for people has the fields in dispute only; the others are merged when it is resolved.
pub(super) async fn a_conflict_is_resolved_field_by_field(pair: &dyn ReplicaPair) {
    let (a, b) = two_level(pair).await;
    edit::<Card>(&a, |card| (card.title, card.votes) = ("of a".into(), 11)).await;
    edit::<Card>(&b, |card| (card.title, card.votes, card.best) = ("of b".into(), 12, 9)).await;
    let conflicts = a.sync(&b).await.conflicts::<Card>();
    assert_eq!(conflicts[0].fields(), [CardField::Title]);
    assert_eq!(conflicts[0].kind(), ConflictKind::Update);
    assert_eq!(conflicts[0].base().map(|card| card.title.as_str()), Some("start"));
    let (mine, theirs) = conflicts[0].revisions();
    assert_eq!(mine.map(|revision| revision.replica), Some(a.workspace.id().await.expect("an id")));
    assert_eq!(theirs.map(|revision| revision.replica), Some(b.workspace.id().await.expect("an id")));
    assert_eq!(the_card(&a).await.votes, 11, "the record stays as it is meanwhile");
    let conflict = || async { a.workspace.conflicts_of::<Card>("1").await.expect("it is read").remove(0) };
    let error = conflict().await.resolve_fields().await.expect_err("nobody chose");
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("title"), "{error}");
    let shown = conflict().await.merged().expect("both have the card");
    assert_eq!((shown.title.as_str(), shown.votes, shown.best), ("of a", 13, 9), "as it would be, with mine");
    conflict()
        .await
        .resolve_field(CardField::Title, Side::Target)
        .resolve_fields()
        .await
        .expect("it is resolved");
    a.sync_clean(&b).await;
    let card = the_card(&b).await;
    assert_eq!((card.title.as_str(), card.votes, card.best), ("of b", 13, 9));
    assert_level(&[&a, &b]).await;
}

/// A delete against an edit, by the policy of the struct: what stands, and what is told.
pub(super) async fn a_delete_against_an_edit_by_policy(pair: &dyn ReplicaPair) {
    for deleted_here in [true, false] {
        let (a, b) = two_with_cards(pair).await;
        create(&a, Kept { id: "1".into(), title: "start".into() }).await;
        create(&a, Gone { id: "1".into(), title: "start".into() }).await;
        create(&a, Latest { id: "1".into(), title: "start".into() }).await;
        a.sync_clean(&b).await;
        let (deletes, edits) = if deleted_here { (&a, &b) } else { (&b, &a) };
        let now = pair.env().now();
        deletes.env.freeze(now + 1_000);
        edits.env.freeze(now + 2_000);
        remove::<Kept>(deletes).await;
        remove::<Gone>(deletes).await;
        remove::<Latest>(deletes).await;
        edit::<Kept>(edits, |record| record.title = "edited".into()).await;
        edit::<Gone>(edits, |record| record.title = "edited".into()).await;
        edit::<Latest>(edits, |record| record.title = "edited".into()).await;
        let report = a.sync_clean(&b).await;
        for device in [&a, &b] {
            assert_eq!(get::<Kept>(device).await.map(|record| record.title).as_deref(), Some("edited"));
            assert_eq!(get::<Gone>(device).await, None);
            assert_eq!(get::<Latest>(device).await.map(|record| record.title).as_deref(), Some("edited"));
        }
        let gone = report.merged::<Gone>();
        assert_eq!(gone[0].on_delete, Some("keep_delete"));
        assert_eq!(gone[0].lost.as_ref().map(|record| record.title.as_str()), Some("edited"));
        let kept = report.merged::<Kept>();
        assert_eq!((kept[0].on_delete, &kept[0].lost), (Some("keep_edit"), &None));
        assert_level(&[&a, &b]).await;
        // What stands can be edited and deleted as before.
        remove::<Kept>(&a).await;
        edit::<Latest>(&b, |record| record.title = "again".into()).await;
        a.sync_clean(&b).await;
        assert_level(&[&a, &b]).await;
    }
}

/// Three who edit and sync at random: every vote counts once, and all hold the same in the end.
pub(super) async fn random_merges_end_level(pair: &dyn ReplicaPair) {
    let (a, server) = two_level(pair).await;
    let b = Device::open(pair, pair.a().await, cards).await;
    b.sync_clean(&server).await;
    let mut votes = 10;
    let mut seed = 7_u64;
    for round in 0..40 {
        for (n, device) in [&a, &server, &b].into_iter().enumerate() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let draw = seed >> 33;
            if draw.is_multiple_of(3) {
                continue;
            }
            votes += 1;
            edit::<Card>(device, |card| {
                card.votes += 1;
                card.best = card.best.max(i64::from(draw as u32 % 1_000));
                card.tags.insert(format!("{n}-{round}"));
                card.done = draw.is_multiple_of(2);
            })
            .await;
        }
        if seed >> 40 & 1 == 0 {
            a.sync_clean(&server).await;
        }
        if seed >> 41 & 1 == 0 {
            b.sync_clean(&server).await;
        }
    }
    for device in [&a, &b, &a] {
        device.sync_clean(&server).await;
    }
    assert_eq!(the_card(&server).await.votes, votes, "every vote counts once");
    assert_level(&[&a, &b, &server]).await;
}

/// An edit after which nothing is in dispute any more settles the conflict by itself.
pub(super) async fn a_merge_settles_a_conflict_that_stood(pair: &dyn ReplicaPair) {
    let (a, b) = two_level(pair).await;
    edit::<Card>(&a, |card| card.title = "of a".into()).await;
    edit::<Card>(&b, |card| card.title = "of b".into()).await;
    assert_eq!(a.sync(&b).await.conflict_count(), 1);
    // The user makes the two titles equal; what else differs, policies merge.
    edit::<Card>(&a, |card| (card.title, card.votes) = ("of b".into(), 11)).await;
    edit::<Card>(&b, |card| card.votes = 12).await;
    a.sync_clean(&b).await;
    assert_eq!(a.workspace.conflicts::<Card>().await.expect("conflicts are read").len(), 0);
    assert_eq!(the_card(&b).await.votes, 13);
    assert_level(&[&a, &b]).await;
}

/// Opens a device anew with more said to its builder.
pub(super) async fn with(device: Device, more: impl FnOnce(WorkspaceBuilder) -> WorkspaceBuilder) -> Device {
    device.workspace.close();
    let builder = more(cards(device.party.builder().await)).env(device.env.clone());
    let workspace = builder.limits(Limits::default()).build().await.expect("the workspace opens");
    let replica = device.party.reach(&workspace).await;
    device.replaced(workspace, replica)
}
