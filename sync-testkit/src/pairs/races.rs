//! Edits that race a change of owner: whichever comes first, nothing is written past the scope, and nothing told.

use super::ReplicaPair;
use super::models::Task;
use super::scopes::{of, put, server};
use super::sharing::Dice;
use super::world::Device;
use std::collections::BTreeMap;
use std::sync::Barrier;
use std::time::{Duration, Instant};
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::prelude::*;
use sync_runtime::replica::{
    Caller, Exchange, Outcome, Page, Pull, Pulled, PushPage, Pushed, RemoteWrite, Replica, Update, Wanted,
};
use sync_runtime::version::ReplicaId;
use sync_runtime::{Id, Record, Value};
use uuid::Uuid;

/// How often an edit meets a change of owner.
const RACES: usize = 1_000;
/// Over so many records, each of which goes back and is raced for again.
const RACED: usize = 50;

/// The calls by which a record can be edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    BulkUpdate,
    Exchange,
    Patch,
    Write,
    WriteAt,
}

const WAYS: [Way; 5] = [Way::BulkUpdate, Way::Exchange, Way::Patch, Way::Write, Way::WriteAt];

/// Somebody who edits tasks at a server as a replica does.
struct Editor<'a> {
    server: &'a Device,
    caller: Caller,
    replica: ReplicaId,
    pages: u64,
}

impl Editor<'_> {
    /// Gives a task another title; why not, where that is refused.
    async fn edit(&mut self, way: Way, before: &State, title: &str) -> Result<(), String> {
        let title_place =
            Task::SCHEMA.fields.iter().position(|field| field.name == "title").expect("a title");
        let mut record = before.record.clone().expect("a task that is there");
        record.set(title_place, Value::Text(title.into()));
        let revision = before.change.revision();
        if matches!(way, Way::Write | Way::WriteAt) {
            let expect = (way == Way::WriteAt).then_some(revision);
            let (schema, id) = (Task::SCHEMA, before.change.id.clone());
            let write = RemoteWrite { schema, id, record: Some(record), expect };
            let written = Replica::write(self.server.engine(), &self.caller, vec![write]).await;
            return written.map(drop).map_err(|error| format!("{}: {error}", error.kind().code()));
        }
        if way == Way::Patch {
            let mut patch = Record::absent(Task::SCHEMA);
            patch.set(title_place, Value::Text(title.into()));
            record = patch;
        }
        let change = Change {
            kind: ChangeKind::Update,
            ancestry: before.change.ancestry.next(0, self.replica),
            previous: Some(revision),
            group: None,
            ..before.change.clone()
        };
        let based_on = (way == Way::Patch).then_some(revision);
        let updates = vec![Update { state: State { change, record: Some(record) }, based_on }];
        let outcomes = if way == Way::BulkUpdate {
            let from = Some(self.replica);
            Replica::bulk_update(self.server.engine(), &self.caller, from, updates).await
        } else {
            self.pages += 1;
            let page = Page { updates, group_open: false };
            let push = PushPage { number: self.pages, digest: self.pages, page };
            let to = self.server.workspace.id().await.expect("an id");
            let exchange = Exchange { from: self.replica, to, push: Some(push), pull: None };
            let answer = Replica::exchange(self.server.engine(), &self.caller, exchange).await;
            answer.map(|answer| match answer.pushed {
                Some(Pushed::Applied(outcomes)) => outcomes,
                other => panic!("{way:?}: {other:?}"),
            })
        };
        match outcomes.expect("each is looked at alone").as_slice() {
            [Outcome::Applied] => Ok(()),
            [Outcome::Rejected(refused)] => Err(format!("{}: {}", refused.code, refused.reason)),
            // A conflict, or a wish for the whole record, would say that there is one.
            other => panic!("{way:?}: {other:?}"),
        }
    }
}

pub(super) async fn states_of(server: &Device, caller: &Caller, ids: &[String]) -> Vec<State> {
    let ids = Wanted::Ids(ids.iter().map(|id| Id::Text(id.clone())).collect());
    Replica::read(server.engine(), caller, Task::SCHEMA, ids).await.expect("states")
}

/// All that calls which only ask tell a caller of these records, as it knew them.
async fn told_of(server: &Device, caller: &Caller, known: &[State]) -> String {
    let ids: Vec<String> = known.iter().map(|state| state.change.id.to_string()).collect();
    let changes: Vec<Change> = known.iter().map(|state| state.change.clone()).collect();
    let read = states_of(server, caller, &ids).await;
    let diff = Replica::diff(server.engine(), caller, changes.clone()).await.expect("a diff");
    let updates = Replica::create_updates(server.engine(), caller, changes).await.expect("updates");
    let id = known[0].change.id.clone();
    let delete = RemoteWrite { schema: Task::SCHEMA, id, record: None, expect: None };
    let deleted =
        Replica::write(server.engine(), caller, vec![delete]).await.expect_err("nobody's to delete");
    format!("{read:?} {diff:?} {updates:?} {:?} {deleted}", deleted.kind())
}

/// Two threads that begin at once, each after its wait.
fn race<T>(waits: (Duration, Duration), one: impl FnOnce() -> T, other: impl FnOnce() + Send) -> T {
    let barrier = Barrier::new(2);
    let begin = |wait| {
        barrier.wait();
        std::thread::sleep(wait);
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            begin(waits.1);
            other();
        });
        begin(waits.0);
        let done = one();
        other.join().expect("the owner moves it");
        done
    })
}

/// Permission is decided in the call's transaction: an edit that meets the move of its record to another scope is applied
/// before the move, or refused, whichever call it comes by. It never stands on top of the move, and tells nothing of it.
pub(super) async fn rule_permission_in_the_transaction_a_thousand_edits_race_a_change_of_owner(
    pair: &dyn ReplicaPair,
) {
    let server = server(pair).await;
    let mine = server.workspace.id().await.expect("an id");
    let caller = of("alice", &["a"]);
    let mut alice =
        Editor { server: &server, caller: caller.clone(), replica: ReplicaId(Uuid::from_u128(7)), pages: 0 };
    // What is said of a record that was never anywhere near her.
    put(&server, "task-never", "b", "hidden").await;
    let never = states_of(&server, &Caller::owner(), &["task-never".to_owned()]).await;
    let mut refusals = BTreeMap::new();
    for way in WAYS {
        let refused = alice.edit(way, &never[0], "mine").await.expect_err("it is elsewhere");
        refusals.insert(way, refused);
    }
    let names: Vec<String> = (0..RACED).map(|number| format!("task-{number}")).collect();
    let mut dice = Dice(1);
    let mut seen: BTreeMap<Way, [usize; 2]> = BTreeMap::new();
    // The last race, which says by how much the two have to miss each other for the next.
    let mut took = Duration::ZERO;
    for round in 0..RACES / RACED {
        let back = names.iter().map(|name| {
            let task = Task { id: name.clone(), project: "a".into(), title: "made".into(), part_of: None };
            let record = Some(task.to_record().expect("a record"));
            RemoteWrite { schema: Task::SCHEMA, id: Id::Text(name.clone()), record, expect: None }
        });
        Replica::write(server.engine(), &Caller::owner(), back.collect()).await.expect("all are moved back");
        let before = states_of(&server, &caller, &names).await;
        assert_eq!(before.len(), RACED, "they are hers again");
        let mut came = Vec::new();
        for (number, state) in before.iter().enumerate() {
            let way = WAYS[(round + number) % WAYS.len()];
            let id = state.change.id.to_string();
            let share = |percent: usize| took.mul_f64(percent as f64 / 100.0);
            let waits = (share(dice.below(50)), share(dice.below(50)));
            let begun = Instant::now();
            let edited = race(
                waits,
                || pollster::block_on(alice.edit(way, state, &format!("by alice {round}"))),
                || {
                    let tasks = server.workspace.collection::<Task>().expect("the model is registered");
                    let moved = tasks.update(id.as_str(), |task| task.project = "b".into());
                    pollster::block_on(moved).expect("the owner may move it");
                },
            );
            took = begun.elapsed().saturating_sub(waits.0.max(waits.1));
            seen.entry(way).or_default()[usize::from(edited.is_ok())] += 1;
            if let Err(refused) = &edited {
                assert_eq!(refused.replace(&id, "task-never"), refusals[&way], "round {round}, {way:?}");
            }
            came.push(edited.is_ok());
        }
        let after = states_of(&server, &Caller::owner(), &names).await;
        for ((after, before), came) in after.iter().zip(&before).zip(came) {
            let (id, change) = (&after.change.id, &after.change);
            let task = Task::from_record(after.record.clone().expect("it is there")).expect("a task");
            let title = if came { format!("by alice {round}") } else { "made".to_owned() };
            assert_eq!((task.project.as_str(), task.title), ("b", title), "round {round}, {id}");
            assert_eq!(change.revision().replica, mine, "round {round}, {id}: the move is what came last");
            let heard = change.ancestry.seen(alice.replica) > before.change.ancestry.seen(alice.replica);
            assert!(came || !heard, "round {round}, {id}: refused, and in its ancestry");
        }
        let unmade: Vec<State> = before
            .iter()
            .map(|state| {
                let id = Id::Text(state.change.id.to_string().replace("task-", "none-"));
                State { change: Change { id, ..state.change.clone() }, record: None }
            })
            .collect();
        let told = told_of(&server, &caller, &before).await;
        assert_eq!(told, told_of(&server, &caller, &unmade).await.replace("none-", "task-"), "round {round}");
        let pull = Pull::of(server.engine().models().clone());
        let Ok(Pulled::Page(page)) = Replica::changes(server.engine(), &caller, pull).await else {
            panic!("a page comes");
        };
        assert_eq!((page.page.updates.len(), page.exits.len()), (0, 0), "round {round}: {page:?}");
    }
    println!("refused and applied: {seen:?}");
    for (way, [refused, applied]) in seen {
        assert!(
            refused > 0 && applied > 0,
            "{way:?} came in one order only: {refused} refused, {applied} applied"
        );
    }
}
