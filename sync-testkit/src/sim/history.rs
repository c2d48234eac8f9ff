//! What happened to one record, everywhere: a graph of its states, kept apart from the engine's vectors.
//!
//! The engine's ancestry serves as the name of a state, and is never asked who descends from whom: that is known
//! from having seen every write, every resolution and every state that travelled.

use super::merges::{self, Common};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use sync_runtime::schema::ModelSchema;
use sync_runtime::{Ancestry, Record, Revision};

/// A set of small numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn has(&self, bit: usize) -> bool {
        self.0.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    pub(crate) fn add(&mut self, bit: usize) {
        if self.0.len() <= bit / 64 {
            self.0.resize(bit / 64 + 1, 0);
        }
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    fn add_all(&mut self, other: &Bits) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine |= theirs);
    }

    fn has_all(&self, other: &Bits) -> bool {
        let none = std::iter::repeat(&0);
        other.0.iter().zip(self.0.iter().chain(none)).all(|(theirs, mine)| theirs & !mine == 0)
    }

    fn and(&self, other: &Bits) -> Bits {
        let mut both: Vec<u64> = self.0.iter().zip(&other.0).map(|(mine, theirs)| mine & theirs).collect();
        while both.last() == Some(&0) {
            both.pop();
        }
        Bits(both)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn meets(&self, other: &Bits) -> bool {
        self.0.iter().zip(&other.0).any(|(mine, theirs)| mine & theirs != 0)
    }
}

/// How a state came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    /// A tracked write.
    Written,
    /// A conflict was resolved, by people or by the rule of a server.
    Resolved,
    /// The policies of the model merged two states.
    Merged,
    /// Ancestries were joined; the content is that of one of the sides.
    Joined,
    /// The store took a new name.
    Restamped,
}

/// One state of the record.
pub(crate) struct Node {
    /// Its name.
    pub(crate) ancestry: Ancestry,
    /// Without local fields; `None` for a tombstone.
    pub(crate) content: Option<Record>,
    pub(crate) made: Made,
    /// When each field was written, by place; of no meaning in a tombstone.
    pub(crate) stamps: Vec<i64>,
    /// This state and all that it comes from, apart from what was only joined.
    covers: Bits,
    /// The same without what a new name dropped from the ancestry.
    kept: Bits,
    /// This state and those of the same content that it was joined from.
    alike: Bits,
    /// The transaction that wrote it.
    pub(crate) group: Option<usize>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} with {:?}", self.made, self.ancestry, self.content)
    }
}

impl Node {
    fn revision(&self) -> Revision {
        self.ancestry.current
    }
}

/// All states of one record.
#[derive(Debug, Default)]
pub(crate) struct History {
    nodes: Vec<Node>,
    by_revision: BTreeMap<Revision, Vec<usize>>,
    /// By replica: the states that ever came to it.
    delivered: Vec<Bits>,
}

impl History {
    pub(crate) fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate()
    }

    /// The state of this name.
    pub(crate) fn find(&self, ancestry: &Ancestry) -> Option<usize> {
        let of_revision = self.by_revision.get(&ancestry.current)?;
        of_revision.iter().copied().find(|node| self.nodes[*node].ancestry == *ancestry)
    }

    /// The first state of this revision.
    pub(crate) fn of_revision(&self, revision: Revision) -> Option<usize> {
        self.by_revision.get(&revision)?.first().copied()
    }

    /// Whether one state is another, or comes from it.
    pub(crate) fn covers(&self, node: usize, other: usize) -> bool {
        self.nodes[node].covers.has_all(&self.nodes[other].covers)
    }

    /// The same, as far as the engine can know it: a new name drops what nobody was to have seen.
    pub(crate) fn keeps(&self, node: usize, other: usize) -> bool {
        self.nodes[node].kept.has_all(&self.nodes[other].kept)
    }

    /// Whether something was written on top of this state, or joined with it.
    pub(crate) fn is_overwritten(&self, node: usize) -> bool {
        self.nodes().any(|(later, state)| later != node && state.covers.has(node))
    }

    /// Whether something was written beside this state, so that the two are in conflict wherever they meet.
    pub(crate) fn is_contested(&self, node: usize) -> bool {
        self.nodes().any(|(other, _)| !self.keeps(node, other) && !self.keeps(other, node))
    }

    pub(crate) fn deliver(&mut self, replica: usize, node: usize) {
        if self.delivered.len() <= replica {
            self.delivered.resize(replica + 1, Bits::default());
        }
        self.delivered[replica].add(node);
    }

    /// A write on top of what was there.
    pub(crate) fn write(
        &mut self,
        schema: &ModelSchema,
        before: Option<usize>,
        ancestry: Ancestry,
        content: Option<Record>,
        group: usize,
    ) -> Result<usize, String> {
        if self.find(&ancestry).is_some() || self.by_revision.contains_key(&ancestry.current) {
            return Err(format!("one revision for two writes: {}", ancestry.current));
        }
        let parents: Vec<usize> = before.into_iter().collect();
        self.check_claims(&ancestry, &parents)?;
        let stamps = self.stamps(schema, &parents, &ancestry, &content);
        Ok(self.add(ancestry, content, Made::Written, &parents, Some(group), stamps))
    }

    /// When the fields of a state were written: where it has the value of a side, when that side wrote it.
    fn stamps(
        &self,
        schema: &ModelSchema,
        sides: &[usize],
        ancestry: &Ancestry,
        content: &Option<Record>,
    ) -> Vec<i64> {
        let of = |place: usize| {
            let value = content.as_ref()?.get(place)?;
            let sides = sides.iter().map(|side| &self.nodes[*side]);
            let same = sides
                .filter(|side| side.content.as_ref().and_then(|record| record.get(place)) == Some(value));
            same.map(|side| side.stamps[place]).max()
        };
        (0..schema.fields.len()).map(|place| of(place).unwrap_or(ancestry.current.stamp)).collect()
    }

    /// The policies of the model merged what is here with the other side's revision.
    pub(crate) fn merge(
        &mut self,
        schema: &'static ModelSchema,
        replica: usize,
        before: usize,
        theirs: Revision,
        ancestry: Ancestry,
        content: Option<Record>,
    ) -> Result<usize, String> {
        let mut parents = self.within(replica, &ancestry);
        let sides = parents.iter().copied().filter(|node| self.nodes[*node].revision() == theirs);
        let sides: Vec<usize> = sides.collect();
        let stamps = sides.iter().find_map(|side| self.merged(schema, before, *side, &content));
        let Some(stamps) = stamps else {
            let sides: Vec<_> = sides.iter().map(|node| &self.nodes[*node]).collect();
            let common = self.common(before, self.of_revision(theirs).unwrap_or(before));
            return Err(format!(
                "P2: no policy makes {content:?} of {:?} and {sides:?}, which have in common {}",
                self.nodes[before],
                match common {
                    Common::State(node) => format!("{node:?}"),
                    Common::Nothing => "nothing".to_owned(),
                    Common::Something => "something".to_owned(),
                }
            ));
        };
        parents.push(before);
        self.check_claims(&ancestry, &parents)?;
        Ok(self.add(ancestry, content, Made::Merged, &parents, None, stamps))
    }

    /// The stamps of a merge of these two, if it comes to this content.
    fn merged(
        &self,
        schema: &'static ModelSchema,
        mine: usize,
        theirs: usize,
        content: &Option<Record>,
    ) -> Option<Vec<i64>> {
        let (a, b) = (&self.nodes[mine], &self.nodes[theirs]);
        // The base need not be kept here; without it some policies still decide.
        let bases = [self.common(mine, theirs), Common::Something];
        // Where a store took a new name, its edits were stamped anew, and who wrote a field last is anybody's word.
        let restamped = self.nodes.iter().any(|node| node.made == Made::Restamped);
        let later: &[Option<Ordering>] = match restamped {
            true => &[None, Some(Ordering::Less), Some(Ordering::Greater)],
            false => &[None],
        };
        let cases = bases.into_iter().flat_map(|common| later.iter().map(move |later| (common, *later)));
        let mut merges = cases.filter_map(|(common, later)| merges::merged(schema, a, b, common, later));
        merges.find(|(merged, _)| merged == content).map(|(_, stamps)| stamps)
    }

    /// What two states come from.
    fn common(&self, mine: usize, theirs: usize) -> Common<'_> {
        let both = self.nodes[mine].kept.and(&self.nodes[theirs].kept);
        if both.is_empty() {
            return Common::Nothing;
        }
        match self.nodes.iter().find(|node| node.kept == both) {
            Some(node) => Common::State(node),
            None => Common::Something,
        }
    }

    /// A server stored what its rule made of a state that was pushed to it, on top of that and of what was here.
    pub(crate) fn rule(
        &mut self,
        schema: &'static ModelSchema,
        replica: usize,
        before: Option<usize>,
        sent: Revision,
        ancestry: Ancestry,
        content: Option<Record>,
    ) -> Result<usize, String> {
        let mut parents = self.within(replica, &ancestry);
        let current = before.and_then(|before| self.nodes[before].content.clone());
        let fits = parents.iter().any(|node| {
            let node = &self.nodes[*node];
            // What comes from the revision that is here need not have seen all that was joined with it since.
            node.revision() == sent
                && [true, false].into_iter().any(|in_conflict| {
                    let ruled = merges::ruled(schema, current.as_ref(), node.content.as_ref(), in_conflict);
                    ruled.as_ref() == Some(&content)
                })
        });
        if !fits {
            return Err(format!("no rule makes {content:?} of {sent}"));
        }
        parents.extend(before);
        self.check_claims(&ancestry, &parents)?;
        let stamps = self.stamps(schema, &parents, &ancestry, &content);
        Ok(self.add(ancestry, content, Made::Resolved, &parents, None, stamps))
    }

    /// A conflict was resolved between what is here and the other side's revision.
    pub(crate) fn resolve(
        &mut self,
        schema: &ModelSchema,
        replica: usize,
        before: usize,
        theirs: Revision,
        ancestry: Ancestry,
        content: Option<Record>,
    ) -> Result<usize, String> {
        let mut parents = self.within(replica, &ancestry);
        if !parents.iter().any(|node| self.nodes[*node].revision() == theirs) {
            return Err(format!("a conflict was resolved with {theirs}, which never came here"));
        }
        let of_revision = parents.iter().copied().filter(|node| self.nodes[*node].revision() == theirs);
        let sides: Vec<usize> = of_revision.chain([before]).collect();
        let stamps = self.stamps(schema, &sides, &ancestry, &content);
        parents.push(before);
        self.check_claims(&ancestry, &parents)?;
        Ok(self.add(ancestry, content, Made::Resolved, &parents, None, stamps))
    }

    /// A state under a name that nobody wrote: what was here was joined with something that came.
    pub(crate) fn join(
        &mut self,
        schema: &'static ModelSchema,
        replica: usize,
        before: Option<usize>,
        ancestry: Ancestry,
        content: Option<Record>,
    ) -> Result<usize, String> {
        let mut parents = self.within(replica, &ancestry);
        parents.extend(before);
        self.check_claims(&ancestry, &parents)?;
        // Every side either has the content that stands, or something that has it comes from that side.
        let standing: Vec<&Node> =
            parents.iter().map(|node| &self.nodes[*node]).filter(|node| node.content == content).collect();
        let below = |node: &usize, other: &usize| {
            self.covers(*other, *node) && (!self.covers(*node, *other) || other > node)
        };
        let is_side = |node: &usize| !parents.iter().any(|other| other != node && below(node, other));
        // A join wrote nothing of its own: where the others have all that it was made of, they are what counts.
        let is_made_of_others = |node: &usize| {
            let mut others = Bits::default();
            for other in parents.iter().filter(|other| *other != node) {
                others.add_all(&self.nodes[*other].covers);
            }
            self.nodes[*node].made == Made::Joined && others.has_all(&self.nodes[*node].covers)
        };
        let lost = parents.iter().filter(|node| is_side(node) && !is_made_of_others(node));
        let lost = lost.map(|node| &self.nodes[*node]);
        let mut lost = lost.filter(|side| !standing.iter().any(|node| node.covers.meets(&side.alike)));
        let lost = lost.next();
        let sides: Vec<usize> = parents.iter().copied().filter(|node| is_side(node)).collect();
        // What equals a side may be what policies made of both.
        let merged = before.and_then(|before| {
            // Under a new name a store may not know what it wrote under the old one.
            let others = sides.iter().chain(&parents).filter(|side| **side != before);
            others.filter_map(|side| self.merged(schema, before, *side, &content)).next()
        });
        if let Some(lost) = lost.filter(|_| merged.is_none()) {
            let sides: Vec<_> = parents.iter().map(|node| &self.nodes[*node]).collect();
            return Err(format!(
                "P2: a join lost a side: {ancestry:?} with {content:?} lost {lost:?}; it comes from {sides:#?}"
            ));
        }
        if let Some(before) = before {
            self.check_counts(schema, before, &sides, &content)?;
        }
        let stamps = merged.unwrap_or_else(|| self.stamps(schema, &sides, &ancestry, &content));
        Ok(self.add(ancestry, content, Made::Joined, &parents, None, stamps))
    }

    /// Sides that came to the same are one, unless both counted something up to it.
    fn check_counts(
        &self,
        schema: &'static ModelSchema,
        before: usize,
        sides: &[usize],
        content: &Option<Record>,
    ) -> Result<(), String> {
        let mine = &self.nodes[before];
        // Under a new name one edit may stand for two.
        if mine.content != *content || self.nodes.iter().any(|node| node.made == Made::Restamped) {
            return Ok(());
        }
        for side in sides.iter().filter(|side| !self.keeps(before, **side) && !self.keeps(**side, before)) {
            let theirs = &self.nodes[*side];
            // Two who decide one conflict alike count nothing.
            if ![mine.made, theirs.made].contains(&Made::Written) {
                continue;
            }
            let common = self.common(before, *side);
            if theirs.content == *content
                && let Common::State(_) = common
                && let Some((merged, _)) = merges::merged(schema, mine, theirs, common, None)
                && merged != *content
            {
                return Err(format!(
                    "P2: equal changes of {mine:?} and {theirs:?} were joined: it should be {merged:?}"
                ));
            }
        }
        Ok(())
    }

    /// What is here under a new name.
    pub(crate) fn restamp(
        &mut self,
        before: usize,
        ancestry: Ancestry,
        content: Option<Record>,
    ) -> Result<usize, String> {
        if self.nodes[before].content != content {
            return Err(format!("P2: a new name changed the content: {content:?}"));
        }
        let group = self.nodes[before].group;
        let held: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.covers(before, *node) && ancestry.holds(self.nodes[*node].revision()))
            .collect();
        let newest = ancestry.current.stamp;
        let stamps = self.nodes[before].stamps.iter().map(|stamp| (*stamp).min(newest)).collect();
        let node = self.add(ancestry, content, Made::Restamped, &[before], group, stamps);
        let mut kept = Bits::default();
        kept.add(node);
        for held in held.into_iter().filter(|held| self.nodes[*held].made != Made::Joined) {
            kept.add(held);
        }
        self.nodes[node].kept = kept;
        Ok(node)
    }

    /// The states that came to this replica and are within this ancestry.
    fn within(&self, replica: usize, ancestry: &Ancestry) -> Vec<usize> {
        let Some(delivered) = self.delivered.get(replica) else {
            return Vec::new();
        };
        let inside = |node: &usize| {
            delivered.has(*node) && self.nodes[*node].ancestry.entries().all(|entry| ancestry.holds(entry))
        };
        (0..self.nodes.len()).filter(inside).collect()
    }

    /// An ancestry says exactly what those say from which it comes.
    fn check_claims(&self, ancestry: &Ancestry, parents: &[usize]) -> Result<(), String> {
        for entry in ancestry.entries() {
            let known = entry == ancestry.current
                || parents.iter().any(|parent| self.nodes[*parent].ancestry.holds(entry));
            if !known {
                return Err(format!("P2: {ancestry:?} claims to have seen {entry}, which it never saw"));
            }
        }
        for parent in parents {
            for entry in self.nodes[*parent].ancestry.entries() {
                if !ancestry.holds(entry) {
                    return Err(format!("P2: {ancestry:?} forgot {entry}, which it comes from"));
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        ancestry: Ancestry,
        content: Option<Record>,
        made: Made,
        parents: &[usize],
        group: Option<usize>,
        stamps: Vec<i64>,
    ) -> usize {
        let node = self.nodes.len();
        let (mut covers, mut kept, mut alike) = (Bits::default(), Bits::default(), Bits::default());
        alike.add(node);
        if made != Made::Joined {
            covers.add(node);
            kept.add(node);
        }
        for parent in parents {
            let parent = &self.nodes[*parent];
            covers.add_all(&parent.covers);
            kept.add_all(&parent.kept);
            if made == Made::Joined && parent.content == content {
                alike.add_all(&parent.alike);
            }
        }
        self.by_revision.entry(ancestry.current).or_default().push(node);
        self.nodes.push(Node { ancestry, content, made, stamps, covers, kept, alike, group });
        node
    }
}
