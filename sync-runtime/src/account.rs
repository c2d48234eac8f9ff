//! Whose records a store holds: several people may use one device, one after the other.

use crate::Result;
use crate::engine::accounts::Account;
use crate::version::ReplicaId;
use crate::workspace::Workspace;

impl Workspace {
    /// Goes over to the records of this subject, by the stable name that the server's policy gives it
    /// ([`crate::Caller::named`]): call it when somebody signs in, before the first sync with their token.
    ///
    /// What was edited before anybody signed in belongs to the first one who does. When another one does, the store goes
    /// on under another replica id and without any record: those of the one before lie aside as they stand, with their
    /// unsent edits, conflicts and fields that stay on the device, until their subject signs in again, and then go on
    /// under the replica id that they had. All of it in one transaction. Syncs that are running commit nothing more;
    /// [`Workspace::keep_in_sync`] goes on for who is signed in now. The collections are empty then without having told
    /// of any delete, so an app loads its views anew.
    ///
    /// A peer that knows who calls by another name is neither sent anything nor asked: the sync fails with
    /// [`crate::ErrorKind::Forbidden`], so that a token of somebody else never brings a queue to the wrong name.
    ///
    /// Gives the replica id that the store goes on under. To sign in who is signed in already does nothing.
    ///
    /// ```
    /// # use sync_runtime::{Result, Workspace};
    /// # async fn example(workspace: &Workspace, server: &impl sync_runtime::AsReplica) -> Result<()> {
    /// workspace.sign_in("alice").await?;
    /// assert_eq!(workspace.signed_in().await?.as_deref(), Some("alice"));
    /// workspace.sync(server).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`crate::ErrorKind::Usage`] where others push to this store, which is a server then and not one person's;
    /// [`crate::ErrorKind::Storage`] where records are not tracked, which would be left for others to see; what the store
    /// fails with. Nothing was changed then.
    pub async fn sign_in(&self, subject: impl Into<String>) -> Result<ReplicaId> {
        self.engine().sign_in(subject.into()).await
    }

    /// Whose records are here: who signed in last, or, where nobody did by [`Workspace::sign_in`], as whom a peer knows
    /// the caller. `None` if neither is known.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn signed_in(&self) -> Result<Option<String>> {
        self.engine().signed_in().await
    }

    /// Who else has records in this store that lie aside, by name, and how many of their edits no peer has yet.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn accounts(&self) -> Result<Vec<Account>> {
        self.engine().accounts().await
    }

    /// Takes away what lies aside of a subject, with the edits that no peer has: for a device that changes hands. Says
    /// whether there was something.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn forget_account(&self, subject: impl Into<String>) -> Result<bool> {
        self.engine().forget_account(subject.into()).await
    }
}
