//! How much one caller may have at work at the same time, and on its way here or there: what is more waits for its turn.
//!
//! A request takes memory from when its body comes until its answer is gone, for as long as its sender likes to take. Small
//! ones wait for nobody's large ones but while those are at work.

use super::HEAVY;
use axum::body::{Body, Bytes};
use futures_util::stream;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use sync_runtime::{Caller, Error, ErrorKind, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A request with a large body takes this part of its caller's places.
const LARGE: u32 = 4;
/// Bytes are counted in units of so many.
const UNIT: usize = 1 << 10;

/// What all callers have.
pub(super) struct Turns {
    places: u32,
    units: u32,
    callers: Mutex<HashMap<String, Arc<Share>>>,
}

/// What one caller has.
struct Share {
    places: Arc<Semaphore>,
    units: Arc<Semaphore>,
}

impl Turns {
    /// So many places at work, and so many bytes on their way, for each caller.
    pub(super) fn new(places: u32, bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX);
        Turns { places: places.max(1), units: units.max(1), callers: Mutex::default() }
    }

    /// The turn of a request by this caller, which has nothing yet. The owner of the store needs none.
    pub(super) fn of(self: &Arc<Self>, caller: &Caller) -> Option<Turn> {
        let subject = caller.subject()?.to_owned();
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let all = || {
            let semaphore = |count: u32| Arc::new(Semaphore::new(count as usize));
            Arc::new(Share { places: semaphore(self.places), units: semaphore(self.units) })
        };
        let share = callers.entry(subject.clone()).or_insert_with(all).clone();
        drop(callers);
        Some(Turn { turns: self.clone(), subject, share, place: None, room: None })
    }

    fn units(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units)
    }
}

/// What a request has taken. It is given back when this is dropped.
pub(super) struct Turn {
    turns: Arc<Turns>,
    subject: String,
    share: Arc<Share>,
    place: Option<OwnedSemaphorePermit>,
    room: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Waits for room for a body of so many bytes.
    pub(super) async fn room(&mut self, bytes: usize) {
        let units = self.turns.units(bytes);
        self.room = self.share.units.clone().acquire_many_owned(units).await.ok();
    }

    /// Waits for a place to be at work.
    pub(super) async fn place(&mut self, large: bool) {
        let places = if large { self.turns.places.div_ceil(LARGE) } else { 1 };
        self.place = self.share.places.clone().acquire_many_owned(places).await.ok();
    }

    /// The work is done: takes room for an answer of so many bytes in the place of all that was taken.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] where too much is on its way to this caller already.
    fn answer(&mut self, bytes: usize) -> Result<()> {
        (self.place, self.room) = (None, None);
        let units = self.turns.units(bytes);
        let room = self.share.units.clone().try_acquire_many_owned(units).map_err(|_| {
            Error::new(ErrorKind::Busy, "too much is on its way to you already; read that first")
        })?;
        self.room = Some(room);
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut callers = self.turns.callers.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody else has the share of this caller.
        if Arc::strong_count(&self.share) == 2 {
            callers.remove(&self.subject);
        }
    }
}

/// The body of an answer. A large one is on its way until the last of it is handed to the connection.
///
/// # Errors
/// As [`Turn::answer`].
pub(super) fn body(bytes: Vec<u8>, turn: Option<Turn>) -> Result<Body> {
    let Some(mut turn) = turn.filter(|_| bytes.len() > HEAVY) else { return Ok(Body::from(bytes)) };
    turn.answer(bytes.len())?;
    let chunks = stream::unfold((Bytes::from(bytes), turn), async |(mut rest, turn)| {
        let next = match rest.len() {
            0 => return None,
            // A part of the whole would keep all of it in memory.
            1..=HEAVY => Bytes::copy_from_slice(&std::mem::take(&mut rest)),
            _ => rest.split_to(HEAVY),
        };
        Some((Ok::<_, Infallible>(next), (rest, turn)))
    });
    Ok(Body::from_stream(chunks))
}
