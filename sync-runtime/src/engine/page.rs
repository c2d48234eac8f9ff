//! Reading the feed in pages: bounded in records and bytes, with groups kept whole.

use super::parents::{self, Room};
use super::view::View;
use crate::change::{Group, State};
use crate::schema::{ModelSchema, Models};
use crate::store::{Feed, Transaction};
use crate::version::{Position, ReplicaId};
use crate::{Error, ErrorKind, Result, codec};
use siphasher::sip::SipHasher;
use std::hash::Hasher;

/// What to read.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    pub(crate) after: Position,
    /// Leaves out what this peer brought.
    pub(crate) not_from: Option<ReplicaId>,
    pub(crate) schema: Option<&'static ModelSchema>,
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    pub(crate) data: bool,
    /// Goes on with this group, of which a part was read before, and ends where it ends.
    pub(crate) within: Option<Group>,
    /// The most records in a page, with the parents that it brings along.
    pub(crate) room: usize,
    /// What of it the one who asks may see; `None` is everything.
    pub(crate) view: Option<View>,
}

impl Cut {
    /// The newest position that there is to see.
    async fn newest(&self, tx: &mut dyn Transaction) -> Result<Position> {
        match &self.view {
            None => tx.newest().await,
            Some(view) => Ok(view.through),
        }
    }

    async fn feed(&self, tx: &mut dyn Transaction, models: &Models, feed: &Feed) -> Result<Vec<State>> {
        match &self.view {
            None => tx.feed(feed).await,
            Some(view) => view.feed(tx, models, feed).await,
        }
    }
}

/// A part of the feed.
#[derive(Debug, Clone)]
pub(crate) struct FeedPart {
    pub(crate) states: Vec<State>,
    /// Parents of them that stand behind the part, with what was written together with those, by position.
    pub(crate) early: Vec<State>,
    /// Everything up to here is in the part, or was left out on purpose.
    pub(crate) through: Position,
    /// Whether there may be more.
    pub(crate) more: bool,
    /// Whether the group of the last state goes on behind the part.
    pub(crate) group_open: bool,
    /// The newest position there is.
    pub(crate) newest: Position,
}

/// Reads the next part of the feed, with the parents that it brings along.
pub(crate) async fn cut(tx: &mut dyn Transaction, models: &Models, cut: &Cut) -> Result<FeedPart> {
    let mut part = cut_at_a_group(tx, models, cut).await?;
    bring_parents(tx, models, cut, &mut part).await?;
    Ok(part)
}

/// rule: parents first. Brings the parents of the records in a part that stand behind it. Where they do not
/// fit into the page, the part is made shorter; where even its first group does not leave them room, that goes
/// without, and is tried again at the target after each later page.
async fn bring_parents(
    tx: &mut dyn Transaction,
    models: &Models,
    cut: &Cut,
    part: &mut FeedPart,
) -> Result<()> {
    // A group in parts is applied when all of it is there.
    let may = cut.data && cut.schema.is_none() && cut.within.is_none() && !part.group_open;
    if !may || !parents::are_known(models) {
        return Ok(());
    }
    loop {
        let (states, through) = (&mut part.states, part.through);
        if states.is_empty() || through >= part.newest {
            return Ok(());
        }
        let bytes = states.iter().map(State::size).sum();
        let room =
            Room { records: cut.room.saturating_sub(states.len()), bytes: cut.bytes.saturating_sub(bytes) };
        if let Some(early) = parents::behind(tx, models, states, through, cut.not_from, room).await? {
            part.early = early;
            return Ok(());
        }
        let Some(length) = half(states) else {
            return Ok(());
        };
        states.truncate(length);
        part.through = states.last().map_or(cut.after, |state| state.change.position);
        part.more = true;
    }
}

/// Where about the first half of these states ends, and with it a group; `None` if all are of one group.
fn half(states: &[State]) -> Option<usize> {
    let ends = |length: &usize| {
        let (last, next) = (&states[*length - 1].change, &states[*length].change);
        last.group.is_none() || last.group != next.group
    };
    let middle = states.len() / 2;
    (1..=middle).rev().find(ends).or_else(|| (middle.max(1)..states.len()).find(ends))
}

/// Reads the next part of the feed. It ends where a group ends; a group larger than a part comes in several,
/// alone, with `group_open` in all but the last. The last one is empty where the rest of the group was written
/// again since, and so stands further on.
async fn cut_at_a_group(tx: &mut dyn Transaction, models: &Models, cut: &Cut) -> Result<FeedPart> {
    let newest = cut.newest(tx).await?;
    let end = FeedPart {
        states: Vec::new(),
        early: Vec::new(),
        through: newest.max(cut.after),
        more: false,
        group_open: false,
        newest,
    };
    if newest <= cut.after {
        return Ok(end);
    }
    let limit = cut.records.max(1);
    let feed = Feed {
        not_from: cut.not_from,
        schema: cut.schema,
        limit,
        bytes: cut.bytes,
        data: cut.data,
        ..Feed::after(cut.after)
    };
    let mut states = cut.feed(tx, models, &feed).await?;
    if let Some(group) = cut.within {
        let of_group = states.iter().take_while(|state| state.change.group == Some(group)).count();
        if of_group == 0 || of_group < states.len() {
            states.truncate(of_group);
            let through = states.last().map_or(cut.after, |state| state.change.position);
            return Ok(FeedPart { states, through, more: through < newest, ..end });
        }
    }
    let Some(last) = states.last() else {
        return Ok(end);
    };
    let (group, through) = (last.change.group, last.change.position);
    let peek = Feed { after: through, limit: 1, data: false, ..feed };
    let next = match through < newest {
        true => cut.feed(tx, models, &peek).await?.pop(),
        false => None,
    };
    let Some(next) = next else {
        // What stands behind the end of a group may have overwritten what is staged of it.
        let through = if cut.within.is_some() { through } else { end.through };
        return Ok(FeedPart { states, through, more: through < newest, ..end });
    };
    if group.is_none() || next.change.group != group {
        return Ok(FeedPart { states, through, more: true, ..end });
    }
    let whole = states.iter().rposition(|state| state.change.group != group).map_or(0, |last| last + 1);
    if whole == 0 {
        return Ok(FeedPart { states, through, more: true, group_open: true, ..end });
    }
    states.truncate(whole);
    let through = states.last().map_or(cut.after, |state| state.change.position);
    Ok(FeedPart { states, through, more: true, ..end })
}

/// Says whether two pages hold the same states of the same records.
///
/// The content counts too: a copied device whose clock stands still gives one revision to two edits.
///
/// # Errors
/// [`ErrorKind::InvalidValue`] if a record has a value that cannot travel.
pub(crate) fn digest<'a>(states: impl IntoIterator<Item = &'a State>) -> Result<u64> {
    let mut hasher = SipHasher::new();
    // Its writer writes a few bytes at a time, which costs more to hash than all of them at once.
    let mut text = Vec::new();
    for state in states {
        text.clear();
        serde_json::to_writer(&mut text, &codec::wire(state)).map_err(|error| {
            let message = format!("reading {} for a page", state.change.name());
            Error::new(ErrorKind::InvalidValue, message).with_source(error)
        })?;
        hasher.write(&text);
    }
    // Below 2^53, so that every JSON reader has it exact.
    Ok(hasher.finish() >> 11)
}
