//! Reading records by id without holding more of them in memory than is needed, whatever size they are.

use crate::caller::Caller;
use crate::change::State;
use crate::record::Id;
use crate::replica::Limits;
use crate::schema::ModelSchema;
use crate::store::Transaction;
use crate::{Error, ErrorKind, Result};

/// How many records are read first, when nobody knows yet how large they are.
const FIRST: usize = 8;
/// About how many bytes are read at a time.
const BYTES: usize = 8 << 20;

/// Records are read in portions of about as many bytes.
pub(super) struct Portions {
    /// How many records were read, and how many bytes they had.
    records: usize,
    bytes: usize,
    /// How many bytes the answer has, and may have.
    answered: usize,
    most: usize,
}

impl Portions {
    /// Any number of bytes: of each portion little is kept.
    pub(super) fn endless() -> Self {
        Portions { records: 0, bytes: 0, answered: 0, most: usize::MAX }
    }

    /// As many bytes as an answer to this caller holds. The owner of the store may ask for any number.
    pub(super) fn of_an_answer(caller: &Caller, limits: &Limits) -> Self {
        let most = if caller.subject().is_some() { limits.decompressed } else { usize::MAX };
        Portions { most, ..Portions::endless() }
    }

    /// How many records to read next.
    pub(super) fn next(&self) -> usize {
        match self.bytes.checked_div(self.records) {
            Some(each) => BYTES / each.max(1) + 1,
            None => FIRST,
        }
    }

    /// The states of the next of these ids, which are taken out of them.
    pub(super) async fn read(
        &mut self,
        tx: &mut dyn Transaction,
        schema: &'static ModelSchema,
        ids: &mut &[Id],
    ) -> Result<Vec<State>> {
        let (next, rest) = ids.split_at(self.next().min(ids.len()));
        *ids = rest;
        let states: Vec<State> = tx.states(schema, next).await?.into_iter().flatten().collect();
        self.records += next.len();
        self.bytes += states.iter().map(State::size).sum::<usize>();
        Ok(states)
    }

    /// Counts what goes into the answer. What was read and is not the caller's to see does not.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] where that is more than it holds.
    pub(super) fn answer<'s>(&mut self, states: impl IntoIterator<Item = &'s State>) -> Result<()> {
        self.answered += states.into_iter().map(State::size).sum::<usize>();
        if self.answered > self.most {
            let message = format!(
                "the records asked for have more than {} bytes, which is all that an answer holds; ask for fewer",
                self.most
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(())
    }
}
