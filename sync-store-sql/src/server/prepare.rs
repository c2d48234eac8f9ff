//! The tables of the models and those of the library: made where absent, checked where there. What the databases say
//! otherwise (catalogue, types, definitions) is their [`Catalog`]'s.

use super::catalog::{Catalog, Found, Session, Thing, column_of, texts};
use super::learning::{learn, learn_bases};
use super::link::{Arg, Cell, Failure, Kind, Link};
use super::statement::Statement;
use super::tables::{CHANGE, Column, Table, Tables};
use super::{parents, removed};
use crate::names::{self, New};
use std::collections::BTreeSet;
use sync_runtime::schema::{FieldSchema, ModelSchema};
use sync_runtime::value::FieldType;
use sync_runtime::version::ReplicaId;
use sync_runtime::{Error, ErrorKind, Models, Result};

/// The layout of the library's own tables that this program knows.
const FORMAT: i64 = 1;

const LEARNING: &str = "taking over what peers had sent of new fields";

/// What a store is prepared with.
pub(crate) struct Wish<'w> {
    pub(crate) location: &'w str,
    pub(crate) models: &'w Models,
    pub(crate) fresh: ReplicaId,
    pub(crate) adopt: bool,
    pub(crate) partitions: Option<u16>,
}

/// Makes or checks everything that the models need, where nobody else does so at the same time; gives the statements
/// that it took as well.
pub(crate) async fn prepare(
    link: &mut dyn Link,
    catalog: &dyn Catalog,
    wish: &Wish<'_>,
) -> Result<(Tables, Vec<String>)> {
    let session = Session::new(link, wish.location, catalog.rights());
    let mut preparing = Preparing { session, catalog };
    let mut taken = BTreeSet::new();
    let (most, unit) = catalog.longest_name();
    // Before anything is made, as not every database takes it back.
    for model in wish.models.iter() {
        names::check(model.schema)?;
        names::check_length(model.schema, most, unit)?;
        if !taken.insert(model.schema.table.to_lowercase()) {
            return Err(names::shared_table(model.schema));
        }
    }
    preparing.own_tables(wish.fresh, wish.partitions).await?;
    let mut tables = Tables::default();
    for model in wish.models.iter() {
        tables.add(preparing.table(model.schema, wish.adopt || model.schema.adopt).await?);
    }
    let session = &mut preparing.session;
    tables.foreign_keys = parents::foreign_keys(session, catalog, wish.models).await?;
    parents::index(session, catalog, &tables, &tables.foreign_keys).await?;
    Ok((tables, preparing.session.done))
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
        let found =
            self.session.fetch(&format!("SELECT format FROM {}", self.own_table("state")), vec![]).await?;
        Ok(match found.first().map(Vec::as_slice) {
            Some([Cell::Int(format)]) => Some(*format),
            _ => None,
        })
    }

    async fn own_tables(&mut self, fresh: ReplicaId, partitions: Option<u16>) -> Result<()> {
        if self.kind_of("sync_state").await?.is_none() {
            let tables = self.catalog.own_tables(partitions);
            self.session.script(&tables, "making the library's own tables").await?;
        }
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
            // Not among what was defined: each database has a name of its own.
            None => {
                let dialect = self.catalog.dialect();
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
        let New { mut added, mut untold } = New::default();
        let number = match self.kind_of(schema.table).await? {
            // The number first: a table without one would be somebody else's the next time.
            None => {
                let number = self.numbered_model(schema, known).await?;
                self.make(schema).await?;
                number
            }
            Some(Thing::Table) => match known {
                Some(number) => {
                    New { added, untold } = self.add_columns(schema, number).await?;
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
        let (name, found) = (self.table_name(schema.table), self.columns(schema.table).await?);
        removed::release(&mut self.session, self.catalog, schema, &name, &found).await?;
        let table = self.inspect(schema, number).await?;
        self.base(&table).await?;
        if !added.is_empty() {
            self.learn(&table, &added).await?;
        }
        if !untold.is_empty() {
            let (link, dialect) = (&mut *self.session.link, self.catalog.dialect());
            let learned = learn_bases(link, dialect, &table, &untold).await;
            learned.map_err(|failure| self.session.failed(failure, LEARNING))?;
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
        let (own, table) = (self.own_table("model"), self.quoted("table"));
        let mut select = Statement::new(format!("SELECT n FROM {own} WHERE {table} = "));
        select.bind(self.catalog.dialect(), Arg::text(schema.table));
        if !self.session.run(select).await?.is_empty() {
            return Err(names::misfit(schema, "it holds the records of another model"));
        }
        let next = Statement::new(format!("SELECT coalesce(max(n), 0) + 1 FROM {own}"));
        let number = self.numbered(next, "a model").await?;
        let insert = format!(
            "INSERT INTO {own}(n, name, {table}) VALUES ({number}, {}, {})",
            names::literal(schema.name),
            names::literal(schema.table)
        );
        self.session.script(&insert, "naming a model").await?;
        Ok(number)
    }

    async fn make(&mut self, schema: &'static ModelSchema) -> Result<()> {
        let parts = schema.key().count();
        let columns = schema.fields.iter().enumerate().map(|(index, field)| match schema.is_key(index) {
            true => {
                let declared = self.catalog.declared(field.ty, Some(parts));
                format!("{} {declared} NOT NULL", self.quoted(field.name))
            }
            false => self.definition(field),
        });
        let columns: Vec<String> = columns.collect();
        let key: Vec<String> = schema.key().map(|place| self.quoted(schema.fields[place].name)).collect();
        let create = format!(
            "CREATE TABLE {}({}, PRIMARY KEY ({})){}",
            self.table_name(schema.table),
            columns.join(", "),
            key.join(", "),
            self.catalog.table_options()
        );
        self.session.script(&create, &format!("making the table `{}`", schema.table)).await
    }

    fn definition(&self, field: &FieldSchema) -> String {
        let mut definition = format!("{} {}", self.quoted(field.name), self.catalog.declared(field.ty, None));
        if !field.nullable {
            definition.push_str(" NOT NULL");
        }
        if let Some(default) = field.default {
            definition.push_str(&format!(" DEFAULT {}", self.catalog.literal(field.ty, &default())));
        }
        definition
    }

    /// Makes a column of each field that is new in the model.
    async fn add_columns(&mut self, schema: &'static ModelSchema, number: i64) -> Result<New> {
        let found = self.columns(schema.table).await?;
        let name = self.table_name(schema.table);
        let begun = self.begun(number).await?;
        // It has the fields that the model had when it was prepared last.
        let based = self.columns(&base_name(number)).await?;
        let New { mut added, mut untold } = New::default();
        for (index, field) in schema.fields.iter().enumerate() {
            if column_of(&found, field).is_some() {
                let noted = format!("{}{}", names::UNTOLD, field.name);
                if begun.iter().any(|name| name == field.name) {
                    added.push(index);
                } else if begun.contains(&noted) {
                    untold.push(index);
                } else if field.replicated() && !based.is_empty() && column_of(&based, field).is_none() {
                    self.begin(number, &noted).await?;
                    untold.push(index);
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
                self.begin(number, field.name).await?;
                added.push(index);
            }
            let add = format!("ALTER TABLE {name} ADD COLUMN {}", self.definition(field));
            self.session
                .script(&add, &format!("adding the column `{}` to `{}`", field.name, schema.table))
                .await?;
        }
        Ok(New { added, untold })
    }

    /// The columns whose adding was begun; another program may have done it.
    async fn begun(&mut self, number: i64) -> Result<Vec<String>> {
        let select = format!("SELECT field FROM {} WHERE model = {number}", self.own_table("adding"));
        Ok(texts(self.session.fetch(&select, vec![]).await?))
    }

    async fn begin(&mut self, number: i64, field: &str) -> Result<()> {
        let (own, field) = (self.own_table("adding"), names::literal(field));
        let begin = format!(
            "DELETE FROM {own} WHERE model = {number} AND field = {field};
INSERT INTO {own}(model, field) VALUES ({number}, {field})"
        );
        self.session.script(&begin, "noting a column that is new").await
    }

    /// Fills new columns with what peers had sent of them.
    async fn learn(&mut self, table: &Table, added: &[usize]) -> Result<()> {
        let failed = |failure: Failure, session: &Session<'_>| session.failed(failure, LEARNING);
        let transactional = self.catalog.transactional();
        if !transactional {
            let begun = self.session.link.script("START TRANSACTION").await;
            begun.map_err(|failure| failed(failure, &self.session))?;
        }
        let (dialect, own) = (self.catalog.dialect(), self.catalog.own());
        let learned = learn(&mut *self.session.link, dialect, own, table, added).await;
        learned.map_err(|failure| failed(failure, &self.session))?;
        let commit = if transactional { "" } else { "; COMMIT" };
        let end = format!(
            "DELETE FROM {} WHERE model = {} AND LEFT(field, 1) <> {}{commit}",
            self.own_table("adding"),
            table.number,
            names::literal(names::UNTOLD)
        );
        let ended = self.session.link.script(&end).await;
        ended.map_err(|failure| failed(failure, &self.session))
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
                    collation: column.collation.clone(),
                }),
                Err(expected) => misfits.push(format!(
                    "the column `{}` is declared `{}`, and a {} needs {expected}",
                    column.name, column.declared, field.ty
                )),
            }
        }
        for column in removed::without_field(schema, &found) {
            if !names::is_removed(schema, &column.name) {
                misfits.push(names::left_over(&column.name));
            }
        }
        let key: Vec<(&Found, FieldType)> = schema
            .key()
            .filter_map(|place| Some((column_of(&found, &schema.fields[place])?, schema.fields[place].ty)))
            .collect();
        let mut id_keys = Vec::new();
        if key.len() == schema.key().count() {
            let columns: Vec<&Found> = key.iter().map(|(column, _)| *column).collect();
            id_keys = self.catalog.unique_keys(&mut self.session, schema.table, &columns).await?;
            if id_keys.is_empty() {
                let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                misfits
                    .push(format!("the id `{}` is neither the primary key nor unique", names.join("`, `")));
            }
        }
        for (id, ty) in key {
            if id.nullable {
                misfits.push(format!("the id `{}` may be null; declare it `NOT NULL`", id.name));
            }
            if !id.by_bytes && ty == FieldType::Text {
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
        let name = names::change_view(table.schema.table);
        match self.kind_of(&name).await? {
            None => {}
            Some(Thing::View) if self.catalog.is_own_view(&mut self.session, &name).await? => return Ok(()),
            Some(Thing::View) => return Err(names::view_in_the_way(table.schema, "view", &name)),
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
