//! Bringing a store's tables up to what the models need, and seeing beforehand what that takes.

use crate::{Result, Workspace, WorkspaceBuilder};
use std::fmt;

/// What a store would do to its tables for these models: statements, in their order.
///
/// As text it is SQL, for people who review migrations. What is run by hand from it is not done again by
/// [`WorkspaceBuilder::build`]. No column and no table of the app is ever dropped.
///
/// ```
/// use sync_runtime::{Workspace, prelude::*};
/// use sync_runtime::store::Store;
/// # #[derive(Debug, Clone, PartialEq, Syncable)]
/// # struct Todo { #[sync(id)] id: String, title: String }
///
/// async fn open(store: impl Store) -> sync_runtime::Result<Workspace> {
///     let builder = Workspace::builder(store).model::<Todo>();
///     println!("{}", builder.plan().await?);
///     builder.build().await
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Migration {
    statements: Vec<String>,
}

impl Migration {
    /// The statements, each without a semicolon at its end; some are several statements themselves.
    pub fn statements(&self) -> &[String] {
        &self.statements
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.statements.iter().try_for_each(|statement| writeln!(f, "{statement};"))
    }
}

impl WorkspaceBuilder {
    /// What [`WorkspaceBuilder::build`] would do to the tables; empty where they are as the models need them, and on
    /// stores without statements, such as memory. Nothing is changed by asking.
    ///
    /// On SQLite and PostgreSQL it is done and rolled back, under the same locks. On MariaDB, where definitions do not roll
    /// back, it is done in a database for the purpose, `sync_plan_…`, which takes the right to make one.
    ///
    /// # Errors
    /// What the store fails with: columns that do not fit, a newer layout, a right that is missing.
    pub async fn plan(&self) -> Result<Migration> {
        let statements = self.store.plan(&self.models).await;
        Ok(Migration { statements: statements.map_err(|error| error.context("planning the migration"))? })
    }
}

impl Workspace {
    /// Makes and upgrades what the models need, as [`WorkspaceBuilder::build`] has done: for when somebody changed a table
    /// since, or took a trigger away. In one transaction where the database can; no column is ever dropped.
    ///
    /// # Errors
    /// As [`WorkspaceBuilder::build`].
    pub async fn migrate(&self) -> Result<()> {
        let migrated = self.engine().migrate().await;
        migrated.map_err(|error| error.context("migrating the workspace's tables"))
    }
}
