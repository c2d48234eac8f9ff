//! What must be so: sees every transaction and every state that travels, and says where a promise is broken.

use super::history::{History, Made};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use sync_runtime::change::{Change, State};
use sync_runtime::replica::Update;
use sync_runtime::version::Position;
use sync_runtime::{Id, Record, ReplicaId, Revision};

/// A record by model and id.
pub(crate) type Key = (&'static str, Id);

/// What a transaction did to one record.
#[derive(Clone)]
pub(crate) enum Step {
    /// A tracked write: the change that it made, and the record.
    Saved(Change, Option<Record>),
    /// A state was put as given; in a transaction that took a new name, if `renaming`.
    Put { change: Change, record: Option<Record>, renaming: bool },
    /// The store took a new name.
    Renamed(ReplicaId),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, change, record) = match self {
            Step::Renamed(name) => return write!(f, "the new name {name}"),
            Step::Saved(change, record) => ("write", change, record),
            Step::Put { change, record, renaming: false } => ("put", change, record),
            Step::Put { change, record, renaming: true } => ("restamp", change, record),
        };
        write!(
            f,
            "{what} {} at {} of {:?} from {:?}: {:?} with {record:?}",
            change.name(),
            change.position,
            change.group,
            change.origin,
            change.ancestry
        )
    }
}

/// What a resolution was asked to do.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    pub(crate) replica: usize,
    pub(crate) key: Key,
    pub(crate) mine: Option<Revision>,
    pub(crate) theirs: Revision,
    pub(crate) wanted: Option<Record>,
}

/// What a store holds of a record.
#[derive(Debug, Clone, Copy)]
struct Held {
    node: usize,
    position: Position,
}

/// What one store holds, as far as was seen.
#[derive(Debug)]
struct Mirror {
    name: ReplicaId,
    held: BTreeMap<Key, Held>,
}

/// What is remembered of a peer: its id, how far it acknowledged pushes, and the checkpoint pulled from it.
pub(crate) type Known = (ReplicaId, Position, Option<(ReplicaId, Position)>);

/// What a store was found to hold, for comparison.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Everything, by position.
    pub(crate) states: Vec<State>,
    /// Records whose tracking is broken.
    pub(crate) untracked: Vec<String>,
    /// For each peer: how far it acknowledged pushes, and the checkpoint pulled from it.
    pub(crate) peers: Vec<Known>,
    /// The keys of parked entries.
    pub(crate) parked: Vec<String>,
}

/// Knows what every replica must hold.
#[derive(Debug)]
pub(crate) struct Oracle {
    histories: BTreeMap<Key, History>,
    mirrors: Vec<Mirror>,
    intents: Vec<Intent>,
    groups: Vec<Vec<(Key, usize)>>,
    /// Whether models travel one by one, so that what was written together does not arrive together.
    pub(crate) by_model: bool,
    /// Whether all clocks agree, so that nobody has a reason to take a new name.
    pub(crate) good_clocks: bool,
    /// Whether servers have a rule for what is pushed to them.
    pub(crate) rules: bool,
    /// How many records were changed in any store.
    pub(crate) changes: u64,
    /// How many states were written.
    pub(crate) writes: u64,
}

type Verdict = Result<(), String>;

impl Oracle {
    pub(crate) fn new(replicas: usize) -> Self {
        let nobody = ReplicaId(uuid::Uuid::nil());
        let mirrors = (0..replicas).map(|_| Mirror { name: nobody, held: BTreeMap::new() });
        Oracle {
            histories: BTreeMap::new(),
            mirrors: mirrors.collect(),
            intents: Vec::new(),
            groups: Vec::new(),
            by_model: false,
            good_clocks: false,
            rules: false,
            changes: 0,
            writes: 0,
        }
    }

    /// The name that a replica goes by.
    pub(crate) fn name(&mut self, replica: usize, name: ReplicaId) {
        self.mirrors[replica].name = name;
    }

    /// Notes that an app asks for a resolution; it may come to pass any time from now on.
    pub(crate) fn intend(&mut self, intent: Intent) {
        self.intents.push(intent);
    }

    /// Takes what a committed transaction did.
    pub(crate) fn commit(&mut self, replica: usize, steps: Vec<Step>) -> Verdict {
        let group = self.groups.len();
        self.groups.push(Vec::new());
        let mut touched = Vec::new();
        for step in steps {
            let (change, node) = match step {
                Step::Renamed(name) => {
                    self.name(replica, name);
                    if self.good_clocks {
                        return Err(format!(
                            "replica {replica} took a new name, but nothing broke its history"
                        ));
                    }
                    continue;
                }
                Step::Saved(change, record) => {
                    let node = self.saved(replica, &change, record, group);
                    (change, node)
                }
                Step::Put { change, record, renaming } => {
                    let node = self.put(replica, &change, record, renaming);
                    (change, node)
                }
            };
            let key = (change.schema.name, change.id.clone());
            let node = node.map_err(|reason| format!("{} at replica {replica}: {reason}", change.name()))?;
            self.mirrors[replica].held.insert(key.clone(), Held { node, position: change.position });
            self.changes += 1;
            touched.push((key, node));
        }
        self.check_groups(replica, &touched)
    }

    fn saved(
        &mut self,
        replica: usize,
        change: &Change,
        record: Option<Record>,
        group: usize,
    ) -> Result<usize, String> {
        let key = (change.schema.name, change.id.clone());
        let before = self.mirrors[replica].held.get(&key).map(|held| held.node);
        let history = self.histories.entry(key.clone()).or_default();
        let previous = before.map(|before| history.node(before).ancestry.current);
        if change.previous != previous {
            return Err(format!("a write on {previous:?} says that it is on {:?}", change.previous));
        }
        let node = history.write(change.schema, before, change.ancestry.clone(), record, group)?;
        self.writes += 1;
        self.groups[group].retain(|(other, _)| *other != key);
        self.groups[group].push((key, node));
        Ok(node)
    }

    fn put(
        &mut self,
        replica: usize,
        change: &Change,
        record: Option<Record>,
        renaming: bool,
    ) -> Result<usize, String> {
        let key = (change.schema.name, change.id.clone());
        let before = self.mirrors[replica].held.get(&key).map(|held| held.node);
        let me = self.mirrors[replica].name;
        let history = self.histories.entry(key.clone()).or_default();
        let ancestry = change.ancestry.clone();
        if let Some(node) = history.find(&ancestry) {
            if history.node(node).content != record {
                return Err(format!("one revision, two contents: {} is {record:?}", ancestry.current));
            }
            return match before {
                Some(before) if !history.covers(node, before) => Err(format!(
                    "P2: {:?} was overwritten by {ancestry:?}, which does not come from it",
                    history.node(before).ancestry
                )),
                _ => Ok(node),
            };
        }
        if history.of_revision(ancestry.current).is_some() {
            return history.join(change.schema, replica, before, ancestry, record);
        }
        if ancestry.current.replica != me {
            return Err(format!("{ancestry:?} was put, but nobody wrote it"));
        }
        if let (None, Some(sent), true) = (change.merged, change.previous, self.rules && !renaming) {
            return history.rule(change.schema, replica, before, sent, ancestry, record);
        }
        let Some(before) = before else {
            return Err(format!("{ancestry:?} was put, but nobody wrote it"));
        };
        if renaming {
            let node = history.restamp(before, ancestry, record)?;
            if let Some(group) = history.node(node).group {
                self.groups[group].push((key, node));
            }
            return Ok(node);
        }
        let mine = history.node(before).ancestry.current;
        let intent = self.intents.iter().find(|intent| {
            intent.replica == replica
                && intent.key == key
                && intent.mine == Some(mine)
                && Some((mine.min(intent.theirs), mine.max(intent.theirs))) == change.merged
                && intent.wanted == record
        });
        if let Some(intent) = intent {
            return history.resolve(change.schema, replica, before, intent.theirs, ancestry, record);
        }
        let Some((a, b)) = change.merged else {
            return Err(format!("{ancestry:?} was put, but nobody wrote it"));
        };
        let theirs = if a == mine { b } else { a };
        let merged = history.merge(change.schema, replica, before, theirs, ancestry.clone(), record.clone());
        match merged {
            Err(_) if self.rules => {
                history.rule(change.schema, replica, Some(before), theirs, ancestry, record).or(merged)
            }
            merged => merged,
        }
    }

    /// P12: what was written together and not since is here together.
    fn check_groups(&self, replica: usize, touched: &[(Key, usize)]) -> Verdict {
        if self.by_model {
            return Ok(());
        }
        let groups: BTreeSet<usize> =
            touched.iter().filter_map(|(key, node)| self.histories[key].node(*node).group).collect();
        for group in groups {
            let (mut has, mut lacks) = (None, None);
            for (key, member) in &self.groups[group] {
                let history = &self.histories[key];
                if history.is_overwritten(*member) || history.is_contested(*member) {
                    continue;
                }
                match self.mirrors[replica].held.get(key) {
                    Some(held) if history.covers(held.node, *member) => has = Some(key),
                    _ => lacks = Some(key),
                }
            }
            if let (Some(has), Some(lacks)) = (has, lacks) {
                return Err(format!(
                    "P12: replica {replica} has {has:?} and lacks {lacks:?}, which were written together"
                ));
            }
        }
        Ok(())
    }

    /// Notes that a state came to a replica.
    pub(crate) fn deliver(&mut self, replica: usize, update: &Update) -> Verdict {
        let change = &update.state.change;
        let key = (change.schema.name, change.id.clone());
        let history = self.histories.entry(key).or_default();
        let Some(node) = history.find(&change.ancestry) else {
            return Err(format!(
                "{} travels as {:?}, which nobody committed",
                change.name(),
                change.ancestry
            ));
        };
        let whole = update.based_on.is_none();
        if whole && history.node(node).content != update.state.record {
            let reason = format!("one revision, two contents: {:?}", update.state);
            return Err(format!("{} travels: {reason}", change.name()));
        }
        history.deliver(replica, node);
        Ok(())
    }

    /// P3: two revisions in conflict do not come from each other.
    pub(crate) fn check_conflict(&self, mine: Option<&Change>, theirs: &Change) -> Verdict {
        let key = (theirs.schema.name, theirs.id.clone());
        let Some(mine) = mine else {
            return Err(format!("P3: {} is in conflict with nothing", theirs.name()));
        };
        let Some(history) = self.histories.get(&key) else {
            return Err(format!("P3: {} is in conflict, but was never written", theirs.name()));
        };
        let (Some(here), Some(there)) = (history.find(&mine.ancestry), history.find(&theirs.ancestry)) else {
            return Err(format!(
                "P3: {} is in conflict between states that nobody committed: {mine:?} and {theirs:?}",
                theirs.name()
            ));
        };
        // Where one place went by the rule of a server and another by policies, each came to another side of the two.
        let differ = history.node(here).content != history.node(there).content;
        let disagree = differ && history.keeps(here, there) && history.keeps(there, here);
        if !disagree && (history.keeps(here, there) || history.keeps(there, here)) {
            return Err(format!(
                "P3: false conflict of {}: {:?} and {:?}",
                theirs.name(),
                mine.ancestry,
                theirs.ancestry
            ));
        }
        Ok(())
    }

    /// Compares a store with what it must hold: P5, one revision one content, P6.
    pub(crate) fn check_store(&self, replica: usize, found: &Found) -> Verdict {
        let mirror = &self.mirrors[replica];
        if let Some(broken) = found.untracked.first() {
            return Err(format!("P5: replica {replica}: the record and the change of {broken} do not agree"));
        }
        if found.states.len() != mirror.held.len() {
            let (has, must) = (found.states.len(), mirror.held.len());
            return Err(format!("P5: replica {replica} has {has} changes instead of {must}"));
        }
        for state in &found.states {
            let change = &state.change;
            let key = (change.schema.name, change.id.clone());
            let node = mirror.held.get(&key).map(|held| self.histories[&key].node(held.node));
            let same =
                node.is_some_and(|node| node.ancestry == change.ancestry && node.content == state.record);
            if !same {
                return Err(format!("P5: replica {replica} holds {state:?} instead of {node:?}"));
            }
        }
        for (peer, pushed, pulled) in &found.peers {
            let Some(other) = self.mirrors.iter().position(|mirror| mirror.name == *peer) else {
                continue;
            };
            if let Some((_, through)) = pulled.filter(|(of, _)| of == peer) {
                self.check_covered(replica, other, through, found, "pulled")?;
            }
            self.check_pushed(replica, other, *pushed, found)?;
        }
        Ok(())
    }

    /// P6: what a checkpoint covers is held or parked.
    fn check_covered(
        &self,
        replica: usize,
        peer: usize,
        through: Position,
        found: &Found,
        what: &str,
    ) -> Verdict {
        for (key, theirs) in self.mirrors[peer].held.iter().filter(|(_, held)| held.position <= through) {
            let mine = self.mirrors[replica].held.get(key);
            let held = mine.is_some_and(|mine| self.histories[key].covers(mine.node, theirs.node));
            if !held && !is_parked(found, key) {
                return Err(format!(
                    "P6: replica {replica} {what} from {peer} through {through}, but lacks {key:?} at {}",
                    theirs.position
                ));
            }
        }
        Ok(())
    }

    /// P2: what counts as pushed is at the peer, or parked.
    fn check_pushed(&self, replica: usize, peer: usize, through: Position, found: &Found) -> Verdict {
        for (key, mine) in self.mirrors[replica].held.iter().filter(|(_, held)| held.position <= through) {
            let theirs = self.mirrors[peer].held.get(key);
            let held = theirs.is_some_and(|theirs| self.histories[key].covers(theirs.node, mine.node));
            if !held && !is_parked(found, key) {
                return Err(format!(
                    "P2: replica {replica} counts {key:?} at {} as pushed to {peer}, which lacks it",
                    mine.position
                ));
            }
        }
        Ok(())
    }

    /// P1 and P2 at the end: all hold the same, and it comes from everything that was ever written.
    pub(crate) fn check_end(&self) -> Verdict {
        for (key, history) in &self.histories {
            let mut held = self.mirrors.iter().map(|mirror| mirror.held.get(key).map(|held| held.node));
            let Some(Some(first)) = held.next() else {
                return Err(format!("P1: replica 0 lacks {key:?}"));
            };
            if let Some(other) = held.position(|other| other != Some(first)) {
                let shown =
                    |replica: usize| self.mirrors[replica].held.get(key).map(|held| history.node(held.node));
                return Err(format!(
                    "P1: {key:?} differs: replica 0 holds {:?}, replica {} holds {:?}",
                    shown(0),
                    other + 1,
                    shown(other + 1)
                ));
            }
            for (node, state) in history.nodes() {
                if !history.covers(first, node) {
                    return Err(format!("P2: the last state of {key:?} does not come from {state:?}"));
                }
                let last = &history.node(first).ancestry;
                let restamped = !history.keeps(first, node);
                if !restamped && state.made != Made::Joined && !last.holds(state.ancestry.current) {
                    return Err(format!("P2: the last ancestry of {key:?}, {last:?}, lacks {state:?}"));
                }
            }
        }
        Ok(())
    }
}

fn is_parked(found: &Found, key: &Key) -> bool {
    // A key is model, id and peer; the separator is the engine's.
    let start = format!("{}\u{1f}{}\u{1f}", key.0, key.1);
    found.parked.iter().any(|parked| parked.starts_with(&start))
}
