//! What preparing would do, found out in a copy: definitions do not roll back here.

use super::MODE;
use crate::names::{Quote, literal};
use crate::server::link::{Cell, Failure, Link, Row};

/// The database whose tables are copied, and the one that the copies are in. It is dropped again.
#[derive(Debug)]
pub(crate) struct Scratch {
    of: String,
    pub(crate) name: String,
}

impl Scratch {
    /// Copies the tables of these names and the library's own, empty but for what preparing looks at.
    pub(crate) async fn new(link: &mut dyn Link, of: String, tables: &[&str]) -> Result<Self, Failure> {
        let id = match link.fetch("SELECT CONNECTION_ID()", Vec::new()).await?.pop().as_deref() {
            Some([Cell::Int(id)]) => *id,
            _ => 0,
        };
        let scratch = Scratch { of, name: format!("sync_plan_{id}") };
        let name = Quote::Backtick.name(&scratch.name);
        link.script(&format!("CREATE OR REPLACE DATABASE {name}; USE {name}; SET foreign_key_checks = 0"))
            .await?;
        let copied = scratch.copy(link, tables).await;
        match copied {
            Ok(()) => Ok(scratch),
            Err(failure) => {
                scratch.drop(link).await;
                Err(failure)
            }
        }
    }

    async fn copy(&self, link: &mut dyn Link, tables: &[&str]) -> Result<(), Failure> {
        let of = Quote::Backtick.name(&self.of);
        let list = |kind: &str, select: &str| {
            format!("SELECT {select} FROM information_schema.{kind} WHERE {{}} = {}", literal(&self.of))
        };
        let mut wanted: Vec<String> = vec!["LEFT(TABLE_NAME, 5) = 'sync_'".to_owned()];
        wanted.extend(tables.iter().map(|table| format!("TABLE_NAME = {}", literal(table))));
        let select = list("TABLES", "TABLE_NAME, TABLE_TYPE").replace("{}", "TABLE_SCHEMA");
        let select =
            format!("{select} AND TABLE_TYPE IN ('BASE TABLE', 'SEQUENCE') AND ({})", wanted.join(" OR "));
        let found = link.fetch(&select, Vec::new()).await?;
        let mut copied = Vec::new();
        // What a definition shows has backslashes in it.
        link.script("SET SESSION sql_mode = ''").await?;
        for (table, kind) in pairs(found) {
            let quoted = Quote::Backtick.name(&table);
            let show = format!(
                "SHOW CREATE {} {of}.{quoted}",
                if kind == "SEQUENCE" { "SEQUENCE" } else { "TABLE" }
            );
            for (_, create) in pairs(link.fetch(&show, Vec::new()).await?) {
                link.script(&create).await?;
            }
            if kind != "SEQUENCE" {
                copied.push(table);
            }
        }
        link.script(&format!("SET SESSION sql_mode = '{MODE}'")).await?;
        for table in &copied {
            let rows = match table.as_str() {
                "sync_model" | "sync_adding" | "sync_state" | "sync_replica" => "",
                own if own.starts_with("sync_") => continue,
                // One row says that there are some.
                _ => " LIMIT 1",
            };
            let columns = list("COLUMNS", "COLUMN_NAME, ''").replace("{}", "TABLE_SCHEMA");
            let columns = format!("{columns} AND TABLE_NAME = {} AND IS_GENERATED = 'NEVER'", literal(table));
            let columns: Vec<String> = pairs(link.fetch(&columns, Vec::new()).await?)
                .into_iter()
                .map(|(column, _)| Quote::Backtick.name(&column))
                .collect();
            let (columns, quoted) = (columns.join(", "), Quote::Backtick.name(table));
            link.script(&format!(
                "INSERT INTO {quoted}({columns}) SELECT {columns} FROM {of}.{quoted}{rows}"
            ))
            .await?;
        }
        for table in &copied {
            let triggers = list(
                "TRIGGERS",
                "TRIGGER_NAME, CONCAT(ACTION_TIMING, ' ', EVENT_MANIPULATION, ' ON `', \
                 REPLACE(EVENT_OBJECT_TABLE, '`', '``'), '` FOR EACH ROW ', ACTION_STATEMENT)",
            );
            let triggers = triggers.replace("{}", "TRIGGER_SCHEMA");
            let triggers = format!("{triggers} AND EVENT_OBJECT_TABLE = {}", literal(table));
            for (name, trigger) in pairs(link.fetch(&triggers, Vec::new()).await?) {
                link.script(&format!("CREATE TRIGGER {} {trigger}", Quote::Backtick.name(&name))).await?;
            }
        }
        let views =
            list("VIEWS", "TABLE_NAME, IF(LOCATE('sync_change', VIEW_DEFINITION), 'sync_change', '')");
        let views = views.replace("{}", "TABLE_SCHEMA");
        for (view, of) in pairs(link.fetch(&views, Vec::new()).await?) {
            link.script(&format!(
                "CREATE VIEW {} AS SELECT {} AS x",
                Quote::Backtick.name(&view),
                literal(&of)
            ))
            .await?;
        }
        Ok(())
    }

    /// A statement as it is for the database itself.
    pub(crate) fn for_itself(&self, statement: &str) -> String {
        statement.replace(&Quote::Backtick.name(&self.name), &Quote::Backtick.name(&self.of))
    }

    /// Drops the copies; what fails of it leaves a database that its name explains.
    pub(crate) async fn drop(&self, link: &mut dyn Link) {
        let _ = link.script(&format!("DROP DATABASE IF EXISTS {}", Quote::Backtick.name(&self.name))).await;
    }
}

/// The first two texts of each row.
fn pairs(rows: Vec<Row>) -> Vec<(String, String)> {
    let pair = |row: Row| {
        let mut cells = row.into_iter();
        match (cells.next(), cells.next()) {
            (Some(Cell::Text(a)), Some(Cell::Text(b))) => Some((a, b)),
            _ => None,
        }
    };
    rows.into_iter().filter_map(pair).collect()
}
