//! What apps do in a run: write, sync, resolve. Each is one task of its replica's process.

use super::link::Link;
use super::models::{Edit, Kind, Note, Tag, Visit};
use super::oracle::Intent;
use super::random::Random;
use super::settings::Settings;
use super::world::World;
use std::sync::Arc;
use sync_runtime::methods::replicate;
use sync_runtime::report::SyncReport;
use sync_runtime::syncable::ModelId;
use sync_runtime::{
    Conflict, ConflictKind, Error, ErrorKind, Record, ReplicationReport, Result, Side, Syncable, Workspace,
    WorkspaceTransaction, replicate_all,
};

/// The way of resolving a conflict field by field.
const FIELDS: usize = 6;
/// How many models there are.
pub(crate) const MODELS: usize = 3;

/// Does something with the model of this number.
macro_rules! with_model {
    ($number:expr, $kind:ident => $then:expr) => {
        match $number % MODELS {
            0 => {
                type $kind = Note;
                $then
            }
            1 => {
                type $kind = Tag;
                $then
            }
            _ => {
                type $kind = Visit;
                $then
            }
        }
    };
}

/// The app on one replica.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) world: World,
    pub(crate) settings: Arc<Settings>,
    pub(crate) replica: usize,
    pub(crate) workspace: Workspace,
}

/// What to do with one record.
#[derive(Debug, Clone)]
enum Act {
    Put,
    Edit(Edit),
    Delete,
}

/// One record and what to do with it; the content is drawn from the seed.
#[derive(Debug, Clone)]
struct Task {
    model: usize,
    number: u64,
    act: Act,
    seed: u64,
}

impl App {
    fn draw(&self, random: &mut Random) -> Task {
        let number = random.below(self.settings.records);
        let act = match random.below(10) {
            0..4 => Act::Put,
            4..8 => Act::Edit(Edit::drawn(random)),
            _ => Act::Delete,
        };
        let model = number % self.settings.models;
        Task { model, number: number as u64, act, seed: random.number() }
    }

    /// An error that is part of the life of an app is noted; any other breaks the run.
    fn judge<T>(&self, what: &str, done: Result<T>, expected: &[ErrorKind]) -> Option<T> {
        match done {
            Ok(done) => Some(done),
            Err(error) => {
                let mut inner = self.world.lock();
                inner.log(|| format!("{what} at {}: {error}", self.replica));
                // A process that dies in this step may have another transaction under way, whose error nobody hears.
                let dying = inner.processes[self.replica].crashing;
                if !dying && !expected.contains(&error.kind()) {
                    inner.fail(format!("{what} at replica {}: {error:?}", self.replica));
                }
                None
            }
        }
    }

    /// One write of one record, or of several together.
    pub(crate) async fn write(self) {
        let (together, task, bulk) = {
            let inner = &mut *self.world.lock();
            let groups = self.settings.groups;
            let together = inner.random.chance(groups).then(|| {
                let count = inner.random.between(2, 6);
                (0..count).map(|_| self.draw(&mut inner.random)).collect::<Vec<_>>()
            });
            let task = self.draw(&mut inner.random);
            inner.log(|| match &together {
                Some(tasks) => format!("{} writes together {tasks:?}", self.replica),
                None => format!("{} writes {task:?}", self.replica),
            });
            (together, task, inner.random.chance(200))
        };
        match together {
            Some(tasks) if bulk => with_model!(task.model, K => self.write_all::<K>(tasks).await),
            Some(tasks) => self.write_together(tasks).await,
            None => with_model!(task.model, K => self.write_one::<K>(task).await),
        }
    }

    async fn write_one<K: Kind>(&self, task: Task) {
        let Some(records) = self.judge("opening a collection", self.workspace.collection::<K>(), &[]) else {
            return;
        };
        let random = &mut Random::new(task.seed);
        let id = K::id_of(task.number);
        match task.act {
            Act::Put if random.chance(400) => {
                let done = records.upsert(K::drawn(task.number, random)).await;
                self.judge("upserting", done, &[]);
            }
            Act::Put => {
                let done = records.create(K::drawn(task.number, random)).await;
                self.judge("creating", done, &[ErrorKind::Exists]);
            }
            Act::Edit(edit) => {
                let done = records.update(id, |record| record.edit(&edit)).await;
                self.judge("updating", done, &[ErrorKind::NotFound]);
            }
            Act::Delete => {
                self.judge("deleting", records.delete(id).await, &[]);
            }
        }
    }

    /// Many of one model.
    async fn write_all<K: Kind>(&self, tasks: Vec<Task>) {
        let drawn = tasks.into_iter().filter(|task| K::SCHEMA.name == name_of(task.model)).map(|task| {
            let random = &mut Random::new(task.seed);
            K::drawn(task.number, random)
        });
        if let Some(records) = self.judge("opening a collection", self.workspace.collection::<K>(), &[]) {
            let done = records.upsert_all(drawn.collect::<Vec<_>>()).await;
            self.judge("upserting many", done, &[]);
        }
    }

    async fn write_together(&self, tasks: Vec<Task>) {
        const GIVEN_UP: &str = "given up on purpose";
        let done = self
            .workspace
            .transaction(move |tx| {
                Box::pin(async move {
                    let gives_up = tasks.first().is_some_and(|task| task.seed.is_multiple_of(16));
                    for task in tasks {
                        with_model!(task.model, K => act::<K>(tx, task).await)?;
                    }
                    if gives_up { Err(Error::new(ErrorKind::Invalid, GIVEN_UP)) } else { Ok(()) }
                })
            })
            .await;
        self.judge("writing together", done, &[ErrorKind::Invalid]);
    }

    /// One sync or replication over a link; gives what it came to.
    pub(crate) async fn sync(self, to: usize) -> Option<SyncReport> {
        let link =
            Link { world: self.world.clone(), settings: self.settings.clone(), from: self.replica, to };
        let (way, model) = {
            let inner = &mut *self.world.lock();
            let one_way = !inner.healed && inner.random.chance(self.settings.one_way);
            let ways: &[usize] = if self.settings.by_model { &[1, 2, 3, 4, 5, 6] } else { &[1, 2, 5, 6] };
            let way = if one_way { inner.random.pick(ways).unwrap_or(0) } else { 0 };
            inner.log(|| format!("{} syncs with {to}, way {way}", self.replica));
            (way, inner.random.below(self.settings.models))
        };
        match way {
            3 => with_model!(model, K => self.replicated(replicate::<K>(&self.workspace, &link).await)),
            4 => with_model!(model, K => self.replicated(replicate::<K>(&link, &self.workspace).await)),
            5 => self.replicated(replicate_all(&self.workspace, &link, None).await),
            6 => self.replicated(replicate_all(&link, &self.workspace, None).await),
            way => {
                let sync = self.workspace.sync(&link).page_size(self.settings.page);
                let done = match way {
                    1 => sync.push_only().await,
                    2 => sync.pull_only().await,
                    _ => sync.await,
                };
                let report = self.judge("syncing", done, &[ErrorKind::Unreachable, ErrorKind::Busy])?;
                self.check_all(&report.conflicts::<Note>());
                self.check_all(&report.conflicts::<Tag>());
                self.check_all(&report.conflicts::<Visit>());
                let mut inner = self.world.lock();
                inner.log(|| format!("{} synced with {to}: {report:?}", self.replica));
                if !report.rejected.is_empty() {
                    inner.fail(format!("a sync rejected {:?}", report.rejected));
                }
                return Some(report);
            }
        }
        None
    }

    fn replicated(&self, done: Result<ReplicationReport>) {
        let Some(report) = self.judge("replicating", done, &[ErrorKind::Unreachable]) else {
            return;
        };
        self.check_all(&report.conflicts::<Note>());
        self.check_all(&report.conflicts::<Tag>());
        self.check_all(&report.conflicts::<Visit>());
        if !report.rejected.is_empty() {
            self.world.lock().fail(format!("a replication rejected {:?}", report.rejected));
        }
    }

    fn check_all<K: Kind>(&self, conflicts: &[Conflict<K>]) {
        let mut inner = self.world.lock();
        for conflict in conflicts {
            let (source, target) = conflict.changes();
            let verdict = match target {
                Some(target) => inner.oracle.check_conflict(source, target),
                None => Err(format!("P3: {:?} is in conflict with nothing", conflict.id().to_id())),
            };
            inner.check(verdict);
        }
    }

    /// Resolves a conflict of some model, if there is one; says whether there was.
    pub(crate) async fn resolve(self, model: usize) -> bool {
        with_model!(model, K => self.resolve_one::<K>().await)
    }

    async fn resolve_one<K: Kind>(&self) -> bool {
        let read = self.workspace.conflicts::<K>().await;
        let Some(conflicts) = self.judge("reading conflicts", read, &[]) else {
            return false;
        };
        self.check_all(&conflicts);
        let (choice, wait, way, seed, healed) = {
            let inner = &mut *self.world.lock();
            let random = &mut inner.random;
            let choice = random.below(conflicts.len());
            let wait = random.chance(200).then(|| random.between(0, 2_000_000));
            (choice, wait, random.below(7), random.number(), inner.healed)
        };
        let Some(mut conflict) = conflicts.into_iter().nth(choice) else {
            return false;
        };
        if let Some(wait) = wait.filter(|_| !healed) {
            // Meanwhile either side may move.
            self.world.sleep(wait).await;
        }
        let content = |value: Option<&K>| -> Result<Option<Record>> {
            Ok(value.map(|value| value.to_record()).transpose()?.map(|r| r.without_local(K::SCHEMA)))
        };
        let (mine, theirs) = (content(conflict.source()), content(conflict.target()));
        let manual = manual(&conflict, seed);
        let way = if way == FIELDS && conflict.kind() == ConflictKind::Delete { 1 } else { way };
        if way == FIELDS {
            for (n, field) in conflict.fields().into_iter().enumerate() {
                let side = if seed >> n & 1 == 0 { Side::Source } else { Side::Target };
                conflict = conflict.resolve_field(field, side);
            }
        }
        let wanted = match way {
            FIELDS => content(conflict.merged().as_ref()),
            0 | 1 | 4 => mine,
            2 | 5 => theirs,
            _ => content(manual.as_ref()),
        };
        let (Some(wanted), (source, Some(target))) =
            (self.judge("reading a conflict", wanted, &[]), conflict.changes())
        else {
            return false;
        };
        {
            let mut inner = self.world.lock();
            let intent = Intent {
                replica: self.replica,
                key: (K::SCHEMA.name, conflict.id().to_id()),
                mine: source.map(|change| change.revision()),
                theirs: target.revision(),
                wanted,
            };
            inner.log(|| format!("{} resolves {intent:?}, way {way}", self.replica));
            inner.oracle.intend(intent);
        }
        if way == 4 || way == 5 {
            conflict = conflict.swap_parties();
        }
        let done = match way {
            0 => conflict.resolve().await,
            1 | 5 => conflict.resolve_using_source().await,
            2 | 4 => conflict.resolve_using_target().await,
            FIELDS => conflict.resolve_fields().await,
            _ => conflict.resolve_manually(manual).await,
        };
        self.judge("resolving", done, &[ErrorKind::Moved]);
        true
    }
}

/// A value of neither side, one of both, or none.
fn manual<K: Kind>(conflict: &Conflict<K>, seed: u64) -> Option<K> {
    let random = &mut Random::new(seed);
    let mut value = conflict.source().or(conflict.target())?.clone();
    if random.chance(200) {
        return None;
    }
    value.edit(&Edit::drawn(random));
    Some(value)
}

fn name_of(model: usize) -> &'static str {
    with_model!(model, K => K::SCHEMA.name)
}

async fn act<K: Kind>(tx: &mut WorkspaceTransaction<'_>, task: Task) -> Result<()> {
    let random = &mut Random::new(task.seed);
    let id = K::id_of(task.number);
    match task.act {
        Act::Put => tx.upsert(&K::drawn(task.number, random)).await,
        Act::Edit(edit) => {
            let Some(mut record) = tx.get::<K>(&id).await? else {
                return Ok(());
            };
            record.edit(&edit);
            tx.update(&record).await
        }
        Act::Delete => tx.delete::<K>(&id).await.map(drop),
    }
}
