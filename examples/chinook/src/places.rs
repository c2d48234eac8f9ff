//! The four databases of a round trip.

use crate::programs::{mariadb, psql, sqlite3};
use std::path::{Path, PathBuf};
use url::Url;

/// What has rows, and a program that changes them.
#[derive(Debug)]
pub(crate) enum Place {
    /// A file.
    Sqlite(PathBuf),
    /// A schema in a database.
    Postgres { url: Url, schema: String },
    /// A database.
    MariaDb(Url),
}

impl Place {
    /// Makes an empty schema of PostgreSQL.
    pub(crate) fn postgres(server: &Url, name: &str) -> anyhow::Result<Self> {
        psql(server, name, &format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}"))?;
        Ok(Place::Postgres { url: server.clone(), schema: name.to_owned() })
    }

    /// Makes an empty database of MariaDB.
    pub(crate) fn mariadb(server: &Url, name: &str) -> anyhow::Result<Self> {
        mariadb(server, &format!("CREATE OR REPLACE DATABASE {name} CHARACTER SET utf8mb4"))?;
        let mut url = server.clone();
        url.set_path(name);
        Ok(Place::MariaDb(url))
    }

    pub(crate) fn sqlite(folder: &Path, name: &str) -> Self {
        Place::Sqlite(folder.join(name))
    }

    /// The URL of a store.
    pub(crate) fn url(&self) -> String {
        match self {
            Place::Sqlite(file) => format!("sqlite:{}", file.display()),
            Place::Postgres { url, schema } => {
                let mut url = url.clone();
                url.query_pairs_mut().append_pair("options", &format!("-csearch_path={schema}"));
                url.into()
            }
            Place::MariaDb(url) => url.to_string(),
        }
    }

    /// Runs SQL by the database's own program.
    pub(crate) fn run(&self, sql: &str) -> anyhow::Result<()> {
        match self {
            Place::Sqlite(file) => sqlite3(file, sql),
            Place::Postgres { url, schema } => psql(url, schema, sql),
            Place::MariaDb(url) => mariadb(url, sql),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Place::Sqlite(_) => "SQLite",
            Place::Postgres { .. } => "PostgreSQL",
            Place::MariaDb(_) => "MariaDB",
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let dropped = match self {
            // It goes with its folder.
            Place::Sqlite(_) => Ok(()),
            Place::Postgres { url, schema } => {
                psql(url, schema, &format!("DROP SCHEMA IF EXISTS {schema} CASCADE"))
            }
            Place::MariaDb(url) => {
                mariadb(url, &format!("DROP DATABASE IF EXISTS {}", url.path().trim_start_matches('/')))
            }
        };
        if let Err(error) = dropped {
            eprintln!("warning: {error:#}");
        }
    }
}
