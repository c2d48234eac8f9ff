//! Checkpoints that cannot be made up.
//!
//! A checkpoint above the newest position tells a replica that it was rolled back, and makes it take a new name (P9), which
//! costs every peer a comparison. So whoever has no right to rewrite history is believed only with a checkpoint that the
//! replica gave out itself: each carries a code that only a key makes which is kept in the store, and in its backups.

use super::Engine;
use super::notes;
use super::scopes;
use crate::Result;
use crate::caller::{Caller, Right};
use crate::schema::Models;
use crate::store::{Access, Room, Transaction};
use crate::version::{Checkpoint, Position, ReplicaId};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use uuid::Uuid;

const SEAL_NOTE: &str = "seal";

/// The key that checkpoints are sealed with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal(Uuid);

impl Seal {
    /// The checkpoint at this position.
    pub(crate) fn checkpoint(self, replica: ReplicaId, position: Position) -> Checkpoint {
        let mut hasher = SipHasher24::new_with_key(self.0.as_bytes());
        hasher.write(replica.0.as_bytes());
        hasher.write(&position.to_be_bytes());
        Checkpoint { replica, position, seal: Some(hasher.finish()) }
    }

    /// Whether a checkpoint that cannot be true now was true once, as far as this caller is to be believed.
    pub(super) fn believes(self, caller: &Caller, models: &Models, checkpoint: Checkpoint) -> bool {
        let may_everywhere = caller.scopes().is_none() || !scopes::are_known(models);
        may_everywhere && caller.needs_anywhere(Right::Replicate, models).is_ok()
            || self.checkpoint(checkpoint.replica, checkpoint.position) == checkpoint
    }
}

impl Engine {
    /// Reads the key, and makes one where there is none yet.
    pub(super) async fn read_seal(&self) -> Result<Seal> {
        let read = self.read(|tx| Box::pin(load(tx)));
        if let Some(seal) = read.await? {
            return Ok(seal);
        }
        // Random, and told to nobody: it names this process in leases, which stay in the store.
        let fresh = Seal(self.instance().0);
        self.run(Access::WRITE, move |tx| {
            Box::pin(async move {
                if let Some(seal) = load(tx).await? {
                    return Ok(seal);
                }
                notes::save(tx, Room::Peer, SEAL_NOTE, &fresh.0).await?;
                Ok(fresh)
            })
        })
        .await
    }
}

async fn load(tx: &mut dyn Transaction) -> Result<Option<Seal>> {
    Ok(notes::load::<Uuid>(tx, Room::Peer, SEAL_NOTE).await?.map(Seal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_rewrite_history_needs_the_seal() {
        let seal = Seal(Uuid::from_u128(7));
        let given = seal.checkpoint(ReplicaId(Uuid::from_u128(1)), 41);
        let text = given.to_string();
        assert_eq!(text.parse(), Ok(given), "{text}");
        let reader = Caller::named("a reader").with(Right::Write);
        let models = Models::default();
        assert!(seal.believes(&reader, &models, given));
        let made_up = [
            Checkpoint { position: 42, ..given },
            Checkpoint { seal: None, ..given },
            Checkpoint { seal: Some(0), ..given },
            Seal(Uuid::from_u128(8)).checkpoint(given.replica, 41),
        ];
        for made_up in made_up {
            assert!(!seal.believes(&reader, &models, made_up), "{made_up}");
            assert!(seal.believes(&Caller::owner(), &models, made_up), "{made_up}");
            assert!(seal.believes(&reader.clone().with(Right::Replicate), &models, made_up), "{made_up}");
        }
    }
}
