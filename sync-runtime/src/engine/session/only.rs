//! Pulling only what matches: filters that narrow a sync further than scopes and rights do.

use super::Session;
use super::pull::staged_prefix;
use crate::Result;
use crate::engine::{notes, serve};
use crate::query::Filter;
use crate::store::Access;
use siphasher::sip::SipHasher;
use std::fmt::Write;
use std::hash::Hasher;

impl Session<'_> {
    /// What is asked for as a number; `None` for everything.
    fn digest(&self) -> Option<u64> {
        let mut text = String::new();
        for (schema, filter) in &self.only {
            // Another text for the same filter only makes for a comparison more.
            let _ = write!(text, "{} {filter:?};", schema.name);
        }
        let mut hasher = SipHasher::new();
        hasher.write(text.as_bytes());
        (!self.only.is_empty()).then(|| hasher.finish())
    }

    /// Where something else is asked for than the last time, what was pulled covers other records: everything is compared.
    pub(super) async fn narrow(&self, asked: Option<u64>) -> Result<()> {
        let (id, only) = (self.id, self.digest());
        if !self.plan.pull || asked == only {
            return Ok(());
        }
        self.run_leased(Access::WRITE, move |tx| {
            Box::pin(async move {
                let mut peer = notes::peer(tx, id).await?;
                if peer.pulled.is_some() || peer.pulled_staged.is_some() {
                    serve::unstage(tx, &staged_prefix(id)).await?;
                    peer = peer.pulled_anew();
                }
                (peer.only, peer.narrowing) = (only, only.is_some());
                // What does not match what is asked for now is found again.
                peer.leaving.retain(|left| !left.unmatched);
                notes::set_peer(tx, id, &peer).await
            })
        })
        .await
    }

    /// Takes away what is at the peer and does not match what is asked for, after that has changed, or after edits of this
    /// replica, which do not come back to it.
    pub(super) async fn drop_unmatched(&self, has_pushed: bool) -> Result<()> {
        if !self.plan.pull || self.only.is_empty() {
            return Ok(());
        }
        let id = self.id;
        let peer = self.engine.read(move |tx| Box::pin(async move { notes::peer(tx, id).await })).await?;
        if !peer.narrowing && !has_pushed {
            return Ok(());
        }
        for (schema, filter) in &self.only {
            self.take_out(schema, Filter::Not(Box::new(filter.clone())), None).await?;
        }
        self.run_leased(Access::WRITE, move |tx| {
            Box::pin(async move {
                let mut peer = notes::peer(tx, id).await?;
                peer.narrowing = false;
                notes::set_peer(tx, id, &peer).await
            })
        })
        .await
    }
}
