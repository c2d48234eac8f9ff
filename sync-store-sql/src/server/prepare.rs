//! The tables of the models and those of the library: made where absent, checked where there. What the databases say
//! otherwise (catalogue, types, definitions) is their [`Catalog`]'s.

use super::learning::learn;
use super::link::{Arg, Cell, Failure, Kind, Link, Row};
use super::statement::{Dialect, Statement};
use super::tables::{CHANGE, Column, Table, Tables};
use crate::names;
use std::collections::BTreeSet;
use std::fmt::Debug;
use sync_runtime::schema::{FieldSchema, ModelSchema};
use sync_runtime::value::{FieldType, Value};
use sync_runtime::version::ReplicaId;
use sync_runtime::{Error, ErrorKind, Models, Result};

/// The layout of the library's own tables that this program knows.
const FORMAT: i64 = 1;

/// What a store is prepared with.
pub(crate) struct Wish<'w> {
    pub(crate) location: &'w str,
    pub(crate) models: &'w Models,
    pub(crate) fresh: ReplicaId,
    pub(crate) adopt: bool,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thing {
    Table,
    View,
    /// Something else, by what people call it.
    Other(&'static str),
}

/// A column as the database describes it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) place: i64,
    /// Its type as it is written in a definition.
    pub(crate) declared: String,
    /// The name of its type alone.
    pub(crate) ty: String,
    /// Whether a row needs a value for it.
    pub(crate) required: bool,
    pub(crate) generated: bool,
    /// Whether equal means equal bytes in it.
    pub(crate) by_bytes: bool,
    /// Whether it keeps times less exactly than to the microsecond.
    pub(crate) coarse: bool,
}

/// A connection while it is prepared, with what its errors need to say.
pub(crate) struct Session<'s> {
    pub(crate) link: &'s mut dyn Link,
    pub(crate) location: &'s str,
    /// What to do where the role lacks a right.
    pub(crate) rights: String,
}

impl Session<'_> {
    fn failed(&self, failure: Failure, doing: &str) -> Error {
        let denied = matches!(failure, Failure::Denied(_));
        let mut error = failure.at(self.location);
        if denied {
            error = error.context(self.rights.clone());
        }
        error.context(doing.to_owned())
    }

    pub(crate) async fn fetch(&mut self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>> {
        let fetched = self.link.fetch(sql, args).await;
        fetched.map_err(|failure| self.failed(failure, "preparing the store"))
    }

    pub(crate) async fn script(&mut self, sql: &str, doing: &str) -> Result<()> {
        let run = self.link.script(sql).await;
        run.map_err(|failure| self.failed(failure, doing))
    }

    async fn run(&mut self, statement: Statement) -> Result<Vec<Row>> {
        self.fetch(&statement.sql, statement.args).await
    }
}

/// What one database says otherwise when tables are made and looked at.
#[sync_runtime::async_trait]
pub(crate) trait Catalog: Debug + Send + Sync {
    fn dialect(&self) -> &'static dyn Dialect;

    /// What stands before the names of the library's own tables.
    fn own(&self) -> &str;

    /// What to do where the role lacks a right.
    fn rights(&self) -> String;

    /// Whether definitions roll back with their transaction. Where they do not, each step is made so that it can be
    /// done again.
    fn transactional(&self) -> bool;

    /// Makes the library's own tables.
    fn own_tables(&self) -> String;

    /// Makes what else is the library's own.
    async fn own_functions(&self, session: &mut Session<'_>) -> Result<()>;

    async fn kind_of(&self, session: &mut Session<'_>, name: &str) -> Result<Option<Thing>>;

    /// The columns of a table in their order; none where there is no table.
    async fn columns(&self, session: &mut Session<'_>, table: &str) -> Result<Vec<Found>>;

    /// The names of the constraints and indexes that keep this column alone unique.
    async fn unique_keys(
        &self,
        session: &mut Session<'_>,
        table: &str,
        column: &Found,
    ) -> Result<Vec<String>>;

    /// Whether somebody else's triggers run on writes to this table.
    async fn has_foreign_triggers(&self, session: &mut Session<'_>, table: &str) -> Result<bool>;

    /// What else keeps this table from being tracked.
    async fn misfits(&self, session: &mut Session<'_>, schema: &ModelSchema) -> Result<Vec<String>>;

    /// The kind of a column for a field of this type, and whether it may change values; or what it should be.
    fn fitting(&self, ty: FieldType, column: &Found) -> Result<(Kind, bool), &'static str>;

    /// What to do about an id that does not compare by bytes.
    fn by_bytes(&self) -> &'static str;

    /// The type that a column is declared with, for a field of this type.
    fn declared(&self, ty: FieldType, is_id: bool) -> &'static str;

    /// The type of a column of a change.
    fn named(&self, kind: Kind) -> &'static str;

    /// A value as an SQL literal, for a column's default.
    fn literal(&self, ty: FieldType, value: &Value) -> String;

    /// What stands behind the columns of a table that is made.
    fn table_options(&self) -> &'static str;

    /// Makes the table of overwritten states, with these columns of the model and of its changes.
    fn base_table(&self, table: &Table, columns: &str) -> String;

    /// Makes the triggers, and again those that an earlier program made otherwise or that somebody took away.
    async fn triggers(&self, session: &mut Session<'_>, table: &Table) -> Result<()>;

    /// Makes the view that shows a model's changes to people.
    fn view(&self, table: &Table, name: &str) -> String;
}

/// Makes or checks everything that the models need, where nobody else does so at the same time.
pub(crate) async fn prepare(link: &mut dyn Link, catalog: &dyn Catalog, wish: &Wish<'_>) -> Result<Tables> {
    let session = Session { link, location: wish.location, rights: catalog.rights() };
    let mut preparing = Preparing { session, catalog };
    preparing.own_tables(wish.fresh).await?;
    let mut tables = Tables::default();
    let mut taken = BTreeSet::new();
    for model in wish.models.iter() {
        names::check(model.schema)?;
        names::refuse_composite_id(model.schema)?;
        if !taken.insert(model.schema.table.to_lowercase()) {
            return Err(names::shared_table(model.schema));
        }
        tables.add(preparing.table(model.schema, wish.adopt).await?);
    }
    Ok(tables)
}

struct Preparing<'p> {
    session: Session<'p>,
    catalog: &'p dyn Catalog,
}

impl Preparing<'_> {
    fn quoted(&self, name: &str) -> String {
        self.catalog.dialect().quote().name(name)
    }

    fn own_table(&self, name: &str) -> String {
        format!("{}{}{name}", self.catalog.own(), names::PREFIX)
    }

    /// A table of a model, quoted, with where it is.
    fn table_name(&self, name: &str) -> String {
        format!("{}{}", self.catalog.own(), self.quoted(name))
    }

    async fn kind_of(&mut self, name: &str) -> Result<Option<Thing>> {
        self.catalog.kind_of(&mut self.session, name).await
    }

    async fn columns(&mut self, table: &str) -> Result<Vec<Found>> {
        self.catalog.columns(&mut self.session, table).await
    }

    async fn format(&mut self) -> Result<Option<i64>> {
        if self.kind_of("sync_state").await?.is_none() {
            return Ok(None);
        }
        let found =
            self.session.fetch(&format!("SELECT format FROM {}", self.own_table("state")), vec![]).await?;
        Ok(match found.first().map(Vec::as_slice) {
            Some([Cell::Int(format)]) => Some(*format),
            _ => None,
        })
    }

    async fn own_tables(&mut self, fresh: ReplicaId) -> Result<()> {
        match self.format().await? {
            Some(format) if format > FORMAT => {
                let message = format!(
                    "`{}` has layout {format}, which a newer version of this program made; this one knows {FORMAT}: \
                     update it",
                    self.session.location,
                );
                return Err(Error::new(ErrorKind::Incompatible, message));
            }
            Some(_) => {}
            None => {
                let dialect = self.catalog.dialect();
                let tables = self.catalog.own_tables();
                self.session.script(&tables, "making the library's own tables").await?;
                let mut insert =
                    Statement::new(format!("INSERT INTO {}(id) VALUES (", self.own_table("replica")));
                insert.bind(dialect, Arg::bytes(fresh.0.as_bytes().to_vec())).push(") RETURNING n");
                let me = self.numbered(insert, "the store's own name").await?;
                let mut insert =
                    Statement::new(format!("INSERT INTO {}(format, me) VALUES (", self.own_table("state")));
                insert.bind(dialect, Arg::int(FORMAT)).push(", ");
                insert.bind(dialect, Arg::One(Kind::Int(4), Cell::Int(me))).push(")");
                self.session.run(insert).await?;
            }
        }
        self.catalog.own_functions(&mut self.session).await
    }

    /// The number that a row got.
    async fn numbered(&mut self, insert: Statement, what: &str) -> Result<i64> {
        match self.session.run(insert).await?.first().map(Vec::as_slice) {
            Some([Cell::Int(number)]) => Ok(*number),
            _ => Err(Error::new(ErrorKind::Storage, format!("{what} got no number"))),
        }
    }

    async fn table(&mut self, schema: &'static ModelSchema, adopt: bool) -> Result<Table> {
        let known = self.number(schema).await?;
        let mut added = Vec::new();
        let number = match self.kind_of(schema.table).await? {
            // The number first: a table without one would be somebody else's the next time.
            None => {
                let number = self.numbered_model(schema, known).await?;
                self.make(schema).await?;
                number
            }
            Some(Thing::Table) => match known {
                Some(number) => {
                    added = self.add_columns(schema, number).await?;
                    number
                }
                None if adopt => {
                    self.inspect(schema, 0).await?;
                    self.numbered_model(schema, None).await?
                }
                None => return Err(names::not_adopted(schema)),
            },
            Some(other) => {
                let kind = match other {
                    Thing::Other(kind) => kind,
                    _ => "view",
                };
                return Err(names::misfit(
                    schema,
                    format!("it is a {kind}; choose another name with `table`"),
                ));
            }
        };
        let table = self.inspect(schema, number).await?;
        self.base(&table).await?;
        // Before the triggers know the columns, so that nothing is tracked.
        if !added.is_empty() {
            self.learn(&table, &added).await?;
        }
        self.catalog.triggers(&mut self.session, &table).await?;
        self.view(&table).await?;
        Ok(table)
    }

    /// The model's number, if the database knows the model.
    async fn number(&mut self, schema: &'static ModelSchema) -> Result<Option<i64>> {
        let dialect = self.catalog.dialect();
        let mut select = Statement::new(format!(
            "SELECT n, {} FROM {} WHERE name = ",
            self.quoted("table"),
            self.own_table("model")
        ));
        select.bind(dialect, Arg::text(schema.name));
        match self.session.run(select).await?.first().map(Vec::as_slice) {
            Some([Cell::Int(number), Cell::Text(table)]) if table == schema.table => Ok(Some(*number)),
            Some([_, Cell::Text(table)]) => Err(names::moved_table(schema, table)),
            _ => Ok(None),
        }
    }

    /// The number, which a model that is new gets here.
    async fn numbered_model(&mut self, schema: &'static ModelSchema, known: Option<i64>) -> Result<i64> {
        if let Some(number) = known {
            return Ok(number);
        }
        let dialect = self.catalog.dialect();
        let mut insert = Statement::new(format!(
            "INSERT INTO {}(name, {}) VALUES (",
            self.own_table("model"),
            self.quoted("table")
        ));
        insert.bind(dialect, Arg::text(schema.name)).push(", ").bind(dialect, Arg::text(schema.table));
        insert.push(") RETURNING n");
        match self.session.link.fetch(&insert.sql, insert.args).await {
            Ok(rows) => match rows.first().map(Vec::as_slice) {
                Some([Cell::Int(number)]) => Ok(*number),
                _ => Err(Error::new(ErrorKind::Storage, "a model got no number")),
            },
            Err(Failure::Refused { .. }) => {
                Err(names::misfit(schema, "it holds the records of another model"))
            }
            Err(failure) => Err(self.session.failed(failure, "preparing the store")),
        }
    }

    async fn make(&mut self, schema: &'static ModelSchema) -> Result<()> {
        let columns: Vec<_> = schema
            .fields
            .iter()
            .enumerate()
            .map(|(index, field)| match index == schema.id {
                true => {
                    format!(
                        "{} {} PRIMARY KEY",
                        self.quoted(field.name),
                        self.catalog.declared(field.ty, true)
                    )
                }
                false => self.definition(field),
            })
            .collect();
        let create = format!(
            "CREATE TABLE {}({}){}",
            self.table_name(schema.table),
            columns.join(", "),
            self.catalog.table_options()
        );
        self.session.script(&create, &format!("making the table `{}`", schema.table)).await
    }

    fn definition(&self, field: &FieldSchema) -> String {
        let mut definition =
            format!("{} {}", self.quoted(field.name), self.catalog.declared(field.ty, false));
        if !field.nullable {
            definition.push_str(" NOT NULL");
        }
        if let Some(default) = field.default {
            definition.push_str(&format!(" DEFAULT {}", self.catalog.literal(field.ty, &default())));
        }
        definition
    }

    /// Makes a column of each field that is new in the model; gives the places of those that travel and that have not
    /// yet taken what peers had sent of them.
    async fn add_columns(&mut self, schema: &'static ModelSchema, number: i64) -> Result<Vec<usize>> {
        let found = self.columns(schema.table).await?;
        let name = self.table_name(schema.table);
        let begun = self.begun(number).await?;
        let mut added = Vec::new();
        for (index, field) in schema.fields.iter().enumerate() {
            if column_of(&found, field).is_some() {
                if begun.iter().any(|name| name == field.name) {
                    added.push(index);
                }
                continue;
            }
            if !field.nullable && field.default.is_none() {
                let filled = self.session.fetch(&format!("SELECT 1 FROM {name} LIMIT 1"), vec![]).await?;
                if !filled.is_empty() {
                    return Err(names::required_is_new(schema, field));
                }
            }
            if field.replicated() {
                self.begin(number, field).await?;
                added.push(index);
            }
            let add = format!("ALTER TABLE {name} ADD COLUMN {}", self.definition(field));
            self.session
                .script(&add, &format!("adding the column `{}` to `{}`", field.name, schema.table))
                .await?;
        }
        Ok(added)
    }

    /// The columns whose adding was begun; a program may have ended in between.
    async fn begun(&mut self, number: i64) -> Result<Vec<String>> {
        if self.catalog.transactional() {
            return Ok(Vec::new());
        }
        let select = format!("SELECT field FROM {} WHERE model = {number}", self.own_table("adding"));
        Ok(texts(self.session.fetch(&select, vec![]).await?))
    }

    async fn begin(&mut self, number: i64, field: &FieldSchema) -> Result<()> {
        if self.catalog.transactional() {
            return Ok(());
        }
        let mut insert = Statement::new(format!(
            "REPLACE INTO {}(model, field) VALUES ({number}, ",
            self.own_table("adding")
        ));
        insert.bind(self.catalog.dialect(), Arg::text(field.name)).push(")");
        self.session.run(insert).await.map(|_| ())
    }

    /// Fills new columns with what peers had sent of them.
    async fn learn(&mut self, table: &Table, added: &[usize]) -> Result<()> {
        const DOING: &str = "taking over what peers had sent of new fields";
        let transactional = self.catalog.transactional();
        if !transactional {
            self.session.script("START TRANSACTION", DOING).await?;
        }
        let change = self.own_table("change");
        let learned = learn(&mut *self.session.link, self.catalog.dialect(), &change, table, added).await;
        learned.map_err(|failure| self.session.failed(failure, DOING))?;
        if !transactional {
            let end =
                format!("DELETE FROM {} WHERE model = {}; COMMIT", self.own_table("adding"), table.number);
            self.session.script(&end, DOING).await?;
        }
        Ok(())
    }

    /// Looks at the table as it is, and names everything in it that does not fit.
    async fn inspect(&mut self, schema: &'static ModelSchema, number: i64) -> Result<Table> {
        let found = self.columns(schema.table).await?;
        let mut misfits = self.catalog.misfits(&mut self.session, schema).await?;
        let mut columns = Vec::with_capacity(schema.fields.len());
        for field in schema.fields {
            let Some(column) = column_of(&found, field) else {
                misfits.push(format!("there is no column `{}`", field.name));
                continue;
            };
            match self.catalog.fitting(field.ty, column) {
                Ok((kind, lossy)) => columns.push(Column {
                    name: self.quoted(&column.name),
                    ty: field.ty,
                    kind,
                    generated: column.generated,
                    lossy: lossy || column.generated || column.coarse,
                }),
                Err(expected) => misfits.push(format!(
                    "the column `{}` is declared `{}`, and a {} needs {expected}",
                    column.name, column.declared, field.ty
                )),
            }
        }
        for column in found.iter().filter(|column| column.required) {
            if !schema.fields.iter().any(|field| field.name.eq_ignore_ascii_case(&column.name)) {
                misfits.push(format!(
                    "the column `{}` is no field of the model, is required and has no default",
                    column.name
                ));
            }
        }
        let mut id_keys = Vec::new();
        if let Some(id) = column_of(&found, schema.id_field()) {
            id_keys = self.catalog.unique_keys(&mut self.session, schema.table, id).await?;
            if id_keys.is_empty() {
                misfits.push(format!("the id `{}` is neither the primary key nor unique", id.name));
            }
            if !id.by_bytes && schema.id_field().ty == FieldType::Text {
                misfits.push(format!(
                    "the id `{}`, declared `{}`, does not compare by bytes{}",
                    id.name,
                    id.declared,
                    self.catalog.by_bytes()
                ));
            }
        }
        if !misfits.is_empty() {
            return Err(names::misfit(schema, misfits.join("; ")));
        }
        let lossy = columns.iter().any(|column| column.lossy);
        Ok(Table {
            schema,
            number,
            verify: lossy || self.catalog.has_foreign_triggers(&mut self.session, schema.table).await?,
            base: self.table_name(&base_name(number)),
            name: self.table_name(schema.table),
            columns,
            id_keys,
        })
    }

    /// Makes the table of overwritten states.
    async fn base(&mut self, table: &Table) -> Result<()> {
        let name = base_name(table.number);
        let own = self.columns(table.schema.table).await?;
        let found = self.columns(&name).await?;
        let declared = |field: &FieldSchema| {
            column_of(&own, field).map_or("text", |column| column.declared.as_str()).to_owned()
        };
        if found.is_empty() {
            let columns = table
                .travelling()
                .map(|(field, column)| format!("{} {}", column.name, declared(&table.schema.fields[field])));
            let changes = CHANGE.map(|(name, kind)| format!("sync_{name} {}", self.catalog.named(kind)));
            let columns = columns.chain(changes).collect::<Vec<_>>().join(", ");
            let create = self.catalog.base_table(table, &columns);
            return self.session.script(&create, &format!("making the table `{name}`")).await;
        }
        for (field, column) in table.travelling() {
            let schema = &table.schema.fields[field];
            if column_of(&found, schema).is_some() {
                continue;
            }
            let default = match schema.missing() {
                Some(value) => self.catalog.literal(schema.ty, &value),
                None => "NULL".to_owned(),
            };
            let add = format!(
                "ALTER TABLE {} ADD COLUMN {} {} DEFAULT {default}",
                table.base,
                column.name,
                declared(schema)
            );
            self.session.script(&add, &format!("adding a column to `{name}`")).await?;
        }
        Ok(())
    }

    async fn view(&mut self, table: &Table) -> Result<()> {
        let name = names::change_view(table.schema);
        match self.kind_of(&name).await? {
            None | Some(Thing::View) => {}
            Some(_) => return Err(names::view_in_the_way(table.schema, "table", &name)),
        }
        let view = self.catalog.view(table, &self.table_name(&name));
        self.session.script(&view, &format!("making the view `{name}`")).await
    }
}

/// The table of a model's overwritten states.
fn base_name(number: i64) -> String {
    format!("{}base_{number}", names::PREFIX)
}

/// The column of a field: by its name, or by its name in another case.
fn column_of<'f>(found: &'f [Found], field: &FieldSchema) -> Option<&'f Found> {
    let exact = found.iter().find(|column| column.name == field.name);
    exact.or_else(|| found.iter().find(|column| column.name.eq_ignore_ascii_case(field.name)))
}

/// The texts that stand first in rows.
pub(crate) fn texts(rows: Vec<Row>) -> Vec<String> {
    let text = |row: Row| match row.into_iter().next() {
        Some(Cell::Text(text)) => Some(text),
        _ => None,
    };
    rows.into_iter().filter_map(text).collect()
}
