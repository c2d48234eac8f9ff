//! Everything at once that decides what a device holds: people who share devices, scopes that are granted and revoked,
//! subscriptions, filters, records that move, purging, new names, and a bad line. Drawn at random; what is asserted is that no
//! edit is lost.
//!
//! Each edit adds a name of its own to a set that merges by union, so an edit is lost where its name is in no record.
//! `PAIR_FIRST` and `PAIR_SEEDS` set which seeds run; in the even ones days pass, and what is deleted is purged;
//! in every third one the server and devices take new names.

use super::ReplicaPair;
use super::models::{Sheet, SheetField};
use super::scopes::{self, delete, of, put, sync_as, tasks};
use super::world::Device;
use crate::flaky::{FlakyReplica, LineFault, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use sync_runtime::prelude::*;
use sync_runtime::replica::{Caller, Limits};
use sync_runtime::{Collection, ErrorKind, Right, Subscription, WorkspaceBuilder};

const SCOPES: [&str; 3] = ["a", "b", "c"];
const PEOPLE: [&str; 2] = ["alice", "bob"];
const DEVICES: usize = 2;
const STEPS: usize = 80;
const DAY: i64 = 24 * 3_600_000_000;

/// Numbers that look random and are the same in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % sides as u64) as usize
    }
}

fn models(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    builder.model::<Sheet>().model::<Subscription>().retention(days(2), days(6))
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// One run.
struct Run {
    seed: u64,
    dice: Dice,
    server: Device,
    /// Each with the line that it uses.
    devices: Vec<(Device, Option<FlakyReplica>)>,
    /// By person.
    granted: BTreeMap<&'static str, BTreeSet<&'static str>>,
    /// The names of all edits so far.
    edits: BTreeSet<String>,
    /// Those that were in a record when somebody deleted it.
    deleted: BTreeSet<String>,
    step: usize,
    /// How many days have passed.
    days: i64,
}

fn sheets(device: &Device) -> Collection<Sheet> {
    device.workspace.collection::<Sheet>().expect("the model is registered")
}

async fn all(device: &Device) -> BTreeMap<String, Sheet> {
    let found = sheets(device).find(Query::all()).await.expect("sheets are found");
    found.into_iter().map(|sheet| (sheet.id.clone(), sheet)).collect()
}

impl Run {
    async fn new(pair: &dyn ReplicaPair, seed: u64) -> Run {
        let mut dice = Dice(seed);
        let limits = Limits { page_records: [1, 2, 3, 1_000][dice.below(4)], ..Limits::default() };
        let server = Device::open(pair, pair.b().await, models).await.limited(limits).await;
        let mut devices = Vec::new();
        for _ in 0..DEVICES {
            devices.push((Device::open(pair, pair.a().await, models).await, None));
        }
        let granted = PEOPLE.iter().map(|person| (*person, SCOPES.into_iter().take(2).collect())).collect();
        let (edits, deleted) = (BTreeSet::new(), BTreeSet::new());
        Run { seed, dice, server, devices, granted, edits, deleted, step: 0, days: 0 }
    }

    fn one_of<T: Copy>(&mut self, these: &[T]) -> Option<T> {
        match these.len() {
            0 => None,
            sides => Some(these[self.dice.below(sides)]),
        }
    }

    fn scope(&mut self) -> &'static str {
        SCOPES[self.dice.below(SCOPES.len())]
    }

    /// The server, or a device.
    fn somebody(&mut self) -> Option<usize> {
        [None, None, Some(0), Some(1)][self.dice.below(4)]
    }

    async fn person(&self, device: usize) -> Option<&'static str> {
        let signed_in = self.devices[device].0.workspace.signed_in().await.expect("who is signed in is read");
        PEOPLE.into_iter().find(|person| signed_in.as_deref() == Some(*person))
    }

    fn line(&self, person: &str) -> FlakyReplica {
        let caller = Caller::named(person).with(Right::Write);
        let caller = caller.in_scope(Subscription::scope_of(person), Right::Write);
        let scopes = self.granted[person].iter();
        let caller = scopes.fold(caller, |caller, scope| caller.in_scope(*scope, Right::Write));
        FlakyReplica::new(&self.server.workspace).calling_as(caller)
    }

    /// Makes a record, or edits one of those that are there.
    async fn edit(&mut self, device: Option<usize>) {
        let edit = format!("{}", self.step);
        let there = all(self.device(device)).await.into_values().collect::<Vec<_>>();
        let project = self.scope().to_owned();
        let (makes, finishes, moves) = (self.dice.below(4) == 0, self.dice.below(3) == 0, self.dice.below(3));
        let mut sheet = match there.is_empty() || makes {
            true => Sheet { id: format!("made in {edit}"), project: project.clone(), ..Sheet::default() },
            false => there[self.dice.below(there.len())].clone(),
        };
        if device.is_none() && moves == 0 {
            sheet.project = project;
        }
        sheet.done ^= finishes;
        sheet.edits.insert(edit.clone());
        sheets(self.device(device)).upsert(sheet).await.expect("a sheet is saved");
        self.edits.insert(edit);
    }

    /// Edits, moves and makes some of the server's records in one transaction.
    async fn edit_together(&mut self) {
        let mut sheets: Vec<Sheet> = all(&self.server).await.into_values().collect();
        sheets.retain(|_| self.dice.below(3) > 0);
        let made = format!("made in {}", self.step);
        sheets.push(Sheet { id: made, project: self.scope().to_owned(), ..Sheet::default() });
        for (number, sheet) in sheets.iter_mut().enumerate() {
            let (edit, moves) = (format!("{}.{number}", self.step), self.dice.below(2) == 0);
            if moves {
                sheet.project = self.scope().to_owned();
            }
            sheet.edits.insert(edit.clone());
            self.edits.insert(edit);
        }
        let written = self.server.workspace.transaction(move |tx| {
            Box::pin(async move {
                for sheet in &sheets {
                    tx.upsert(sheet).await?;
                }
                Ok(())
            })
        });
        written.await.expect("the transaction commits");
    }

    async fn delete(&mut self, device: Option<usize>) {
        let there = all(self.device(device)).await.into_values().collect::<Vec<_>>();
        if there.is_empty() {
            return;
        }
        let sheet = &there[self.dice.below(there.len())];
        sheets(self.device(device)).delete(&sheet.id).await.expect("a sheet is deleted");
        self.deleted.extend(sheet.edits.iter().cloned());
    }

    fn device(&self, device: Option<usize>) -> &Device {
        device.map_or(&self.server, |device| &self.devices[device].0)
    }

    async fn sign_in(&self, device: usize, person: &str) {
        self.devices[device].0.workspace.sign_in(person).await.expect("the person signs in");
    }

    /// What whoever is signed in wants of their scopes.
    async fn subscribe(&self, device: usize, scopes: BTreeSet<&'static str>) {
        if let Some(person) = self.person(device).await {
            let wanted = self.device(Some(device)).workspace.collection::<Subscription>();
            let wanted = wanted.expect("the model is registered");
            wanted.upsert(Subscription::new::<Sheet>(person, scopes)).await.expect("a subscription is saved");
        }
    }

    /// Syncs over a line that may lose something, and pulls everything or what is not done.
    async fn sync(&mut self, device: usize) {
        let Some(person) = self.person(device).await else { return };
        let line = self.line(person);
        let faults = [LineFault::LoseRequest, LineFault::LoseAnswer, LineFault::Repeat, LineFault::Late];
        let requests = [Request::Exchange, Request::Changes, Request::Diff, Request::CreateUpdates];
        let faulty = self.dice.below(2) == 0;
        let (request, fault) = (self.one_of(&requests), self.one_of(&faults));
        if let Some((request, fault)) = request.zip(fault).filter(|_| faulty) {
            line.next(request, fault);
        }
        let sync = self.devices[device].0.workspace.sync(&line);
        let sync = match self.dice.below(3) {
            0 => sync.only(SheetField::Done.eq(false)),
            _ => sync,
        };
        match sync.await {
            Ok(_) => {}
            Err(error) if faulty && error.kind() == ErrorKind::Unreachable => {}
            Err(error) => panic!("seed {}, step {}: {error}", self.seed, self.step),
        }
        self.devices[device].1 = Some(line);
    }

    /// Lets days pass for everybody; then the server or a device purges.
    async fn purge(&mut self) {
        self.days += [1, 3, 8][self.dice.below(3)];
        for device in 0..DEVICES {
            self.device(Some(device)).env.ahead(self.days * DAY);
        }
        self.server.env.ahead(self.days * DAY);
        let who = self.somebody();
        self.device(who).workspace.purge().await.expect("it purges");
    }

    async fn act(&mut self) {
        let device = self.dice.below(DEVICES);
        match self.dice.below(20) {
            0..=1 => self.edit(None).await,
            2 => self.edit_together().await,
            3..=7 => self.edit(Some(device)).await,
            8 => {
                let side = Some(device).filter(|_| self.step.is_multiple_of(2));
                self.delete(side).await;
            }
            9..=10 => {
                let person = PEOPLE[self.dice.below(PEOPLE.len())];
                self.sign_in(device, person).await;
            }
            11 => {
                let (person, scope) = (PEOPLE[self.dice.below(PEOPLE.len())], self.scope());
                let granted = self.granted.entry(person).or_default();
                if !granted.remove(scope) {
                    granted.insert(scope);
                }
            }
            12 => {
                let scopes = [self.scope(), self.scope()].into();
                self.subscribe(device, scopes).await;
            }
            13 => {
                if let Some(line) = &self.devices[device].1 {
                    line.deliver_late().await;
                }
            }
            14 => {
                let (there, line) = self.devices.remove(device);
                self.devices.insert(device, (there.restart().await, line));
            }
            15 if self.seed.is_multiple_of(2) => self.purge().await,
            16 if self.seed.is_multiple_of(3) => {
                let who = self.somebody();
                self.device(who).workspace.restored().await.expect("a new name is taken");
            }
            _ => self.sync(device).await,
        }
    }

    /// Syncs until there is nothing more to do: what was refused is tried again, what is in conflict is merged by hand.
    async fn settle(&self, device: usize, person: &str) {
        let workspace = &self.devices[device].0.workspace;
        let mut last = String::new();
        for round in 0..10 {
            let report = workspace.sync(&self.line(person)).await.expect("the sync succeeds");
            let rejected = workspace.rejected::<Sheet>().await.expect("what was refused is read");
            let conflicts = workspace.conflicts::<Sheet>().await.expect("conflicts are read");
            let wishes = workspace.conflicts::<Subscription>().await.expect("conflicts are read");
            // What is edited after everybody forgot that it was deleted may be refused for good; it stays here, and is told.
            let forgotten = self.days > 0 && round > 5;
            if report.level && (rejected.is_empty() || forgotten) && conflicts.is_empty() && wishes.is_empty()
            {
                return;
            }
            last = format!("{report:?}, refused {rejected:?}, in conflict {conflicts:?} {wishes:?}");
            for conflict in wishes {
                let wish = Subscription::new::<Sheet>(person, SCOPES);
                conflict.resolve_manually(Some(wish)).await.expect("the conflict is resolved");
            }
            for conflict in conflicts {
                let sides = [conflict.target(), conflict.source()];
                let merged = sides.into_iter().flatten().cloned().reduce(|mut one, other| {
                    one.edits.extend(other.edits);
                    one
                });
                conflict.resolve_manually(merged).await.expect("the conflict is resolved");
            }
            for refused in rejected {
                workspace.retry::<Sheet>(refused.id.to_string()).await.expect("it is tried again");
            }
        }
        panic!("seed {}: {person} does not come to rest on device {device}: {last}", self.seed);
    }

    /// Lets everybody have everything, everywhere.
    async fn finish(&mut self) {
        for granted in self.granted.values_mut() {
            granted.extend(SCOPES);
        }
        for round in 0..3 {
            for device in 0..DEVICES {
                for person in PEOPLE {
                    self.sign_in(device, person).await;
                    if round == 0 {
                        self.subscribe(device, SCOPES.into()).await;
                    }
                    self.settle(device, person).await;
                }
            }
        }
    }

    /// The ids of what was refused. Where nothing was purged there is none.
    async fn refused(&self, device: usize) -> BTreeSet<String> {
        let rejected =
            self.devices[device].0.workspace.rejected::<Sheet>().await.expect("what was refused is read");
        assert!(rejected.is_empty() || self.days > 0, "seed {}: {rejected:?}", self.seed);
        rejected.into_iter().map(|refused| refused.id.to_string()).collect()
    }

    async fn check(&self) {
        let seed = self.seed;
        let there = all(&self.server).await;
        let mut found: BTreeSet<String> =
            there.values().flat_map(|sheet| sheet.edits.iter().cloned()).collect();
        for device in 0..DEVICES {
            for person in PEOPLE {
                self.sign_in(device, person).await;
                let refused = self.refused(device).await;
                let mut here = all(&self.devices[device].0).await;
                let kept = refused.iter().filter_map(|id| here.get(id));
                found.extend(kept.flat_map(|sheet| sheet.edits.iter().cloned()));
                let mut there = there.clone();
                for sheets in [&mut here, &mut there] {
                    sheets.retain(|id, _| !refused.contains(id));
                }
                assert_eq!(here, there, "seed {seed}: {person} on {device}");
            }
            let aside = self.devices[device].0.workspace.accounts().await.expect("accounts are listed");
            assert!(
                aside.iter().all(|account| account.unsent == 0 || self.days > 0),
                "seed {seed}: {aside:?}"
            );
        }
        let is_lost = |edit: &&String| !found.contains(*edit) && !self.deleted.contains(*edit);
        let lost: Vec<&String> = self.edits.iter().filter(is_lost).collect();
        assert!(lost.is_empty(), "seed {seed}: the edits {lost:?} are lost");
    }
}

/// Whoever signs in, is granted, subscribes to or filters what, over whatever line: in the end every edit is at the server, and
/// everybody who may read everything has it on every device.
pub(super) async fn no_edit_is_lost_on_shared_devices_whatever_happens(pair: &dyn ReplicaPair) {
    let first = number("PAIR_FIRST", 1);
    for seed in first..first + number("PAIR_SEEDS", 4) {
        let mut run = Run::new(pair, seed).await;
        for step in 0..STEPS {
            run.step = step;
            run.act().await;
        }
        run.finish().await;
        run.check().await;
    }
}

/// Whatever is written, moved, deleted, granted and revoked, and in pages of any size: in the end each device holds
/// just what is in its scopes, and nothing was refused that it might write.
pub(super) async fn devices_hold_just_their_scopes_whatever_happens(pair: &dyn ReplicaPair) {
    for seed in 1..=8 {
        let mut dice = Dice(seed);
        let limits = Limits { page_records: [1, 2, 3, 1_000][dice.below(4)], ..Limits::default() };
        let server = scopes::server(pair).await.limited(limits).await;
        let devices = [scopes::device(pair).await, scopes::device(pair).await, scopes::device(pair).await];
        let mut granted: Vec<BTreeSet<&str>> = (0..3).map(|number| [SCOPES[number]].into()).collect();
        let caller = |number: usize, granted: &BTreeSet<&str>| {
            of(&format!("{number}"), &granted.iter().copied().collect::<Vec<_>>())
        };
        for step in 0..60 {
            let (number, id) = (dice.below(3), format!("{}", dice.below(8)));
            match dice.below(10) {
                0..=4 => put(&server, &id, SCOPES[dice.below(3)], &format!("{step}")).await,
                5 => {
                    if tasks(&server).await.contains_key(&id) {
                        delete(&server, &id).await;
                    }
                }
                6 => {
                    let scope = SCOPES[dice.below(3)];
                    if !granted[number].remove(scope) {
                        granted[number].insert(scope);
                    }
                }
                7 => {
                    // Where it may still write and has all that is new, so that no conflict is its own.
                    sync_as(&devices[number], &server, &caller(number, &granted[number])).await;
                    let own = tasks(&devices[number]).await;
                    if let Some((project, _)) =
                        own.get(&id).filter(|(project, _)| granted[number].contains(project.as_str()))
                    {
                        put(&devices[number], &id, project, &format!("{step} by {number}")).await;
                        let report =
                            sync_as(&devices[number], &server, &caller(number, &granted[number])).await;
                        assert!(report.rejected.is_empty(), "seed {seed}, step {step}: {report:?}");
                    }
                }
                _ => {
                    sync_as(&devices[number], &server, &caller(number, &granted[number])).await;
                }
            }
        }
        let there = tasks(&server).await;
        for (number, device) in devices.iter().enumerate() {
            sync_as(device, &server, &caller(number, &granted[number])).await;
            let here = tasks(device).await;
            let is_mine = |project: &String| granted[number].contains(project.as_str());
            let wanted: BTreeMap<_, _> = there.iter().filter(|(_, (project, _))| is_mine(project)).collect();
            // What was revoked stays as it was; it gets no further.
            let held: BTreeMap<_, _> = here.iter().filter(|(_, (project, _))| is_mine(project)).collect();
            assert_eq!(held, wanted, "seed {seed}, device {number}, scopes {:?}", granted[number]);
        }
    }
}
