//! Reading: records and changes by id, queries, the feed.

use super::super::link::{Arg, Cell, Kind, Row};
use super::super::statement::{Dialect, Statement};
use super::super::tables::{IdType, Table, change_columns, id_of_key};
use super::{Looked, Next, SqlTransaction, changes_of, rows};
use crate::filter::{self, Terms, Words};
use crate::records::{Reading, is_possible, possible_id};
use std::collections::{HashMap, HashSet};
use sync_runtime::change::{Change, State};
use sync_runtime::query::{Filter, Selection};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::{Feed, Unreadable};
use sync_runtime::version::Position;
use sync_runtime::{Error, ErrorKind, Result, Value};

/// As many records as it pays for to look whether they stand side by side.
const NEIGHBOURS: usize = 100;

/// How many rows are looked at together for those that cannot be read.
const LOOKED_AT: usize = 1_000;

/// How many values one statement may have.
const MOST_VALUES: usize = 32_000;

impl SqlTransaction<'_> {
    /// The records with these ids, with their local fields.
    pub(super) async fn records(&mut self, table: &Table, ids: &[Id]) -> Result<Vec<Option<Record>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut select =
            Statement::new(format!("SELECT {} FROM {} WHERE ", table.names("", true), table.name));
        table.one_of(self.dialect(), &mut select, "", ids);
        let mut found = HashMap::with_capacity(ids.len());
        for row in self.fetch(select).await? {
            let record = table.record(row, true)?;
            found.insert(table.schema.id_of(&record)?, record);
        }
        Ok(in_order(ids, found))
    }

    /// The changes of these ids.
    pub(super) async fn changes_by_id(&mut self, table: &Table, ids: &[Id]) -> Result<Vec<Option<Change>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut select = Statement::new(format!(
            "SELECT c.id, {} FROM {} c WHERE ",
            change_columns("c."),
            self.own_table("change")
        ));
        changes_of(&mut select, self.dialect(), table, ids);
        let found = self.fetch(select).await?;
        self.know_all_in(&found, 1).await?;
        let mut changes = HashMap::with_capacity(found.len());
        for mut row in found {
            let id = id_in(table, std::mem::replace(&mut row[0], Cell::Null))?;
            let change = rows::change(&self.replicas, table, id, &row[1..])?;
            changes.insert(change.id.clone(), change);
        }
        Ok(in_order(ids, changes))
    }

    /// These records without their local fields, as far as each can be read.
    pub(super) async fn as_they_travel(&mut self, table: &Table, ids: &[Id]) -> Result<Vec<Option<Reading>>> {
        let mut select =
            Statement::new(format!("SELECT {} FROM {} WHERE ", table.names("", false), table.name));
        table.one_of(self.dialect(), &mut select, "", ids);
        let mut found = HashMap::with_capacity(ids.len());
        for row in self.fetch(select).await? {
            let reading = table.reading(row, false);
            found.insert(table.schema.id_of(&reading.record)?, reading);
        }
        Ok(in_order(ids, found))
    }

    /// Adds their records to the changes of this model among these. The two are read by two statements: a transaction sees
    /// one snapshot, and the database finds rows by their own ids sooner than by what stands in the changes.
    async fn add_records(&mut self, table: &Table, states: &mut [State]) -> Result<()> {
        let schema = table.schema;
        let live = ids_without_record(states, schema);
        let mut found = Vec::with_capacity(live.len());
        for row in self.neighbours(table, &live).await? {
            // One that cannot be read may be none of these.
            let Ok(record) = table.record(row, false) else { continue };
            let Ok(id) = schema.id_of(&record) else { continue };
            found.push((id, record));
        }
        // Only who writes afterwards asks again.
        let asked: Option<HashSet<Id>> = self.write.then(|| live.into_iter().cloned().collect());
        give(states, schema, found);
        let mut unreadable: Vec<Id> = Vec::new();
        // Not every database has ids in the order that they have here.
        let missing = ids_without_record(states, schema);
        if !missing.is_empty() {
            let mut select =
                Statement::new(format!("SELECT {} FROM {} WHERE ", table.names("", false), table.name));
            table.one_of(self.dialect(), &mut select, "", missing);
            let mut found = Vec::new();
            for row in self.fetch(select).await? {
                let Reading { record, misread } = table.reading(row, false);
                let id = schema.id_of(&record)?;
                match misread {
                    None => found.push((id, record)),
                    Some(_) => unreadable.push(id),
                }
            }
            give(states, schema, found);
        }
        if let Some(asked) = asked {
            let mut there = asked.clone();
            for id in ids_without_record(states, schema) {
                there.remove(id);
            }
            there.extend(unreadable);
            self.looked = Some(Looked { model: table.number, asked, there });
        }
        Ok(())
    }

    /// All rows between the first and the last of these ids, if those are about as many: records that were made one after
    /// the other often have ids in a row, and to read them so costs a third. Nothing where others are in between, and for a
    /// while after that.
    async fn neighbours(&mut self, table: &Table, ids: &[&Id]) -> Result<Vec<Row>> {
        let sorts = match table.id_type() {
            IdType::Int => true,
            IdType::Uuid => matches!(table.columns[table.schema.id].kind, Kind::Uuid | Kind::Bytes),
            IdType::Text => false,
        };
        let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else { return Ok(Vec::new()) };
        if ids.len() < NEIGHBOURS || !sorts || !self.shared.may_be_neighbours() {
            return Ok(Vec::new());
        }
        let most = ids.len() + ids.len() / 8;
        let (dialect, column) = (self.dialect(), &table.columns[table.schema.id]);
        let mut select =
            Statement::new(format!("SELECT {} FROM {} WHERE ", table.names("", false), table.name));
        let arg = |id: &Id| Arg::One(column.kind, column.encode(&id.to_value()));
        select.push(&format!("{} >= ", column.name)).bind(dialect, arg(first));
        select.push(&format!(" AND {} <= ", column.name)).bind(dialect, arg(last));
        select.push(&format!(" LIMIT {}", most + 1));
        let rows = self.fetch(select).await?;
        let all = rows.len() <= most;
        self.shared.were_neighbours(all);
        Ok(if all { rows } else { Vec::new() })
    }

    pub(super) async fn unreadable_rows(
        &mut self,
        schema: &'static ModelSchema,
        only: Option<&[Id]>,
        limit: usize,
    ) -> Result<Vec<Unreadable>> {
        let table = self.table(schema)?;
        let mut unreadable = Vec::new();
        for ids in only.unwrap_or_default().chunks(LOOKED_AT) {
            unreadable.extend(self.unreadable_among(&table, ids).await?);
        }
        let mut after = if only.is_some() { Position::MAX } else { 0 };
        while unreadable.len() < limit && after < Position::MAX {
            let feed = Feed { schema: Some(schema), limit: LOOKED_AT, ..Feed::after(after) };
            let states = self.fed_changes(&feed).await?;
            after = states.last().map_or(Position::MAX, |state| state.change.position);
            let live = states.into_iter().filter(|state| !state.change.is_delete());
            let ids: Vec<Id> = live.map(|state| state.change.id).collect();
            unreadable.extend(self.unreadable_among(&table, &ids).await?);
        }
        unreadable.truncate(limit);
        Ok(unreadable)
    }

    async fn unreadable_among(&mut self, table: &Table, ids: &[Id]) -> Result<Vec<Unreadable>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut select =
            Statement::new(format!("SELECT {} FROM {} WHERE ", table.names("", true), table.name));
        table.one_of(self.dialect(), &mut select, "", ids);
        let found = self.fetch(select).await?.into_iter();
        Ok(found.filter_map(|row| table.reading(row, true).unreadable(table.schema)).collect())
    }

    pub(super) async fn states_by_id(&mut self, table: &Table, ids: &[Id]) -> Result<Vec<Option<State>>> {
        let mut changes: HashMap<Id, Change> = HashMap::with_capacity(ids.len());
        for change in self.changes_by_id(table, ids).await?.into_iter().flatten() {
            changes.insert(change.id.clone(), change);
        }
        let states = changes.into_values().map(|change| State { change, record: None });
        let mut states: Vec<State> = states.collect();
        self.add_records(table, &mut states).await?;
        Ok(in_order(ids, states.into_iter().map(|state| (state.change.id.clone(), state)).collect()))
    }

    pub(super) async fn selected(
        &mut self,
        schema: &'static ModelSchema,
        selection: &Selection,
    ) -> Result<Vec<Record>> {
        let table = self.table(schema)?;
        let mut terms = Parameters::new(&table, self.dialect());
        let condition = filter::condition(&selection.filter, &mut terms)?;
        let mut order = Vec::with_capacity(selection.order.len() + 1);
        let by_id = schema.key().map(|place| (place, false));
        for (field, descending) in selection.order.iter().copied().chain(by_id) {
            let column = terms.field(field)?;
            let direction = if descending { " DESC" } else { "" };
            // Null is the least of all.
            order.push(format!("{} IS NOT NULL{direction}", column.name));
            order.push(format!("{}{direction}", self.dialect().compared(column, &column.name)));
        }
        let sql = format!(
            "SELECT {} FROM {} WHERE {condition} ORDER BY {}",
            table.names("", true),
            table.name,
            order.join(", ")
        );
        let limit = selection.limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        let mut skip = i64::try_from(selection.skip).unwrap_or(i64::MAX);
        let mut records = Vec::new();
        loop {
            let sql = format!("{sql} LIMIT {limit} OFFSET {skip}");
            let found = self.fetch(Statement { sql, args: terms.args.clone() }).await?;
            if !selection.lenient {
                return found.into_iter().map(|row| table.record(row, true)).collect();
            }
            let rows = i64::try_from(found.len()).unwrap_or(i64::MAX);
            let read = found.into_iter().map(|row| table.reading(row, true).record);
            // A row without an id is no record to anybody, and what comes behind it takes its place.
            records.extend(read.filter(|record| possible_id(schema, record).is_some()));
            let enough = usize::try_from(limit).unwrap_or(usize::MAX);
            if rows < limit || records.len() >= enough {
                records.truncate(enough);
                return Ok(records);
            }
            skip = skip.saturating_add(rows);
        }
    }

    pub(super) async fn counted(&mut self, schema: &'static ModelSchema, filter: &Filter) -> Result<u64> {
        let table = self.table(schema)?;
        let mut terms = Parameters::new(&table, self.dialect());
        let condition = filter::condition(filter, &mut terms)?;
        let sql = format!("SELECT count(*) FROM {} WHERE {condition}", table.name);
        let args = terms.args;
        match self.fetch(Statement { sql, args }).await?.first().map(Vec::as_slice) {
            Some([Cell::Int(count)]) => Ok(count.unsigned_abs()),
            _ => Err(Error::new(ErrorKind::Storage, "the database counts nothing")),
        }
    }

    /// Adds the condition of a feed, on `c`.
    fn feed_condition(&self, select: &mut Statement, feed: &Feed) -> Result<()> {
        let dialect = self.dialect();
        select.push("c.position > ").bind(dialect, Arg::int(feed.after.max(0)));
        select.push(" AND c.position <= ").bind(dialect, Arg::int(feed.through));
        if let Some(peer) = feed.not_from.and_then(|peer| self.replicas.number(peer)) {
            let arg = Arg::One(Kind::Int(4), Cell::Int(peer));
            select.push(" AND (c.origin IS NULL OR c.origin <> ").bind(dialect, arg).push(")");
        }
        if let Some(schema) = feed.schema {
            let number = self.tables.of(schema)?.number;
            select.push(" AND c.model = ").bind(dialect, Arg::One(Kind::Int(4), Cell::Int(number)));
        }
        Ok(())
    }

    pub(super) async fn fed(&mut self, feed: &Feed) -> Result<Vec<State>> {
        if feed.limit == 0 || feed.through <= feed.after {
            return Ok(Vec::new());
        }
        if let Some(next) = self.next.take_if(|next| next.is_of(feed)) {
            return Ok(next.change.map(|change| State { change, record: None }).into_iter().collect());
        }
        // A peer that another process met has a number by now.
        if feed.not_from.is_some_and(|peer| self.replicas.number(peer).is_none()) {
            self.read_replicas().await?;
        }
        match feed.data {
            false => self.fed_changes(feed).await,
            true => self.fed_states(feed).await,
        }
    }

    /// Changes in the order of their positions, of models that are registered.
    async fn fed_changes(&mut self, feed: &Feed) -> Result<Vec<State>> {
        let columns = change_columns("c.");
        let mut after = feed.after;
        let mut states = Vec::new();
        loop {
            let mut select = Statement::new(format!(
                "SELECT c.model, c.id, {columns} FROM {} c WHERE ",
                self.own_table("change")
            ));
            self.feed_condition(&mut select, &Feed { after, ..feed.clone() })?;
            let wanted = feed.limit - states.len();
            select.push(&format!(" ORDER BY c.position LIMIT {}", i64::try_from(wanted).unwrap_or(i64::MAX)));
            let found = self.fetch(select).await?;
            let ended = found.len() < wanted;
            self.know_all_in(&found, 2).await?;
            for mut row in found {
                if let Cell::Int(position) = row[3] {
                    after = position;
                }
                // A model that this program did not register is no business of its feed.
                let number = if let Cell::Int(number) = row[0] { number } else { 0 };
                let Some(table) = self.tables.numbered(number).cloned() else { continue };
                let id = id_in(&table, std::mem::replace(&mut row[1], Cell::Null))?;
                // Nor is a row whose id no record can have.
                if !is_possible(table.schema, &id) {
                    continue;
                }
                let change = rows::change(&self.replicas, &table, id, &row[2..])?;
                states.push(State { change, record: None });
            }
            if ended || states.len() >= feed.limit {
                return Ok(states);
            }
        }
    }

    /// Changes with their records. How many are read at a time follows from what others took before.
    async fn fed_states(&mut self, feed: &Feed) -> Result<Vec<State>> {
        let (mut after, mut bytes) = (feed.after, 0_usize);
        let mut states: Vec<State> = Vec::new();
        loop {
            let left = feed.bytes.saturating_sub(bytes);
            let step = match feed.bytes {
                usize::MAX => usize::MAX,
                _ => left / self.shared.record_bytes() + 1,
            };
            let wanted = step.min(feed.limit - states.len());
            // One more than wanted: the end of a page is the end of a group, or not.
            let limit = wanted.saturating_add(1);
            let mut part = self.fed_changes(&Feed { after, limit, ..feed.clone() }).await?;
            let more = part.split_off(wanted.min(part.len())).pop();
            if let Some(last) = part.last() {
                let feed = Feed { after: last.change.position, limit: 1, data: false, ..feed.clone() };
                self.next = Some(Next { feed, change: more.as_ref().map(|more| more.change.clone()) });
            }
            let ended = more.is_none();
            self.add_all_records(&mut part).await?;
            let (mut fitting, mut took) = (0, 0_usize);
            for state in &part {
                took = took.saturating_add(state.size());
                if bytes.saturating_add(took) > feed.bytes && fitting + states.len() > 0 {
                    break;
                }
                fitting += 1;
            }
            self.shared.saw_records((fitting + 1).min(part.len()), took);
            let full = fitting < part.len();
            part.truncate(fitting);
            bytes = bytes.saturating_add(took);
            after = part.last().map_or(after, |state| state.change.position);
            states.append(&mut part);
            if full || ended || states.len() >= feed.limit {
                return Ok(states);
            }
        }
    }

    /// Adds their records to changes of any models.
    async fn add_all_records(&mut self, states: &mut [State]) -> Result<()> {
        let mut schemas: Vec<&'static ModelSchema> = Vec::new();
        for state in &*states {
            if !schemas.iter().any(|schema| schema.name == state.change.schema.name) {
                schemas.push(state.change.schema);
            }
        }
        for schema in schemas {
            let table = self.table(schema)?;
            self.add_records(&table, states).await?;
        }
        Ok(())
    }
}

/// The id in a row of changes.
fn id_in(table: &Table, key: Cell) -> Result<Id> {
    let Cell::Bytes(key) = key else { return Err(rows::corrupt("it has no id")) };
    id_of_key(table.id_type(), key).ok_or_else(|| rows::corrupt("its id is none"))
}

/// The ids of live records of a model that have not been read.
fn ids_without_record<'s>(states: &'s [State], schema: &ModelSchema) -> Vec<&'s Id> {
    states.iter().filter(|state| lacks_record(state, schema)).map(|state| &state.change.id).collect()
}

fn lacks_record(state: &State, schema: &ModelSchema) -> bool {
    state.record.is_none() && !state.change.is_delete() && state.change.schema.name == schema.name
}

/// Gives their records to the states of a model. Most often they come in the same order.
fn give(states: &mut [State], schema: &ModelSchema, found: Vec<(Id, Record)>) {
    let mut found = found.into_iter().peekable();
    let mut others: HashMap<Id, Record> = HashMap::new();
    for state in states.iter_mut().filter(|state| lacks_record(state, schema)) {
        state.record = match found.next_if(|(id, _)| *id == state.change.id) {
            Some((_, record)) => Some(record),
            None => {
                others.extend(found.by_ref());
                others.remove(&state.change.id)
            }
        };
    }
}

/// What was found, in the order of the ids.
fn in_order<T: Clone>(ids: &[Id], mut found: HashMap<Id, T>) -> Vec<Option<T>> {
    // An id may be asked for twice; most often it is not.
    let last: HashMap<&Id, usize> = ids.iter().enumerate().map(|(place, id)| (id, place)).collect();
    let one = |(place, id): (usize, &Id)| match last.get(id) == Some(&place) {
        true => found.remove(id),
        false => found.get(id).cloned(),
    };
    ids.iter().enumerate().map(one).collect()
}

/// The values of a query, in the order of their placeholders.
struct Parameters<'t> {
    table: &'t Table,
    dialect: &'static dyn Dialect,
    args: Vec<Arg>,
}

impl<'t> Parameters<'t> {
    fn new(table: &'t Table, dialect: &'static dyn Dialect) -> Self {
        Parameters { table, dialect, args: Vec::new() }
    }

    fn field(&self, field: usize) -> Result<&'t super::super::tables::Column> {
        self.table.columns.get(field).ok_or_else(|| {
            let message =
                format!("a query names field {field} of `{}`, which has none", self.table.schema.name);
            Error::new(ErrorKind::Usage, message)
        })
    }
}

impl Terms for Parameters<'_> {
    fn words(&self) -> &'static Words {
        self.dialect.words()
    }

    fn column(&self, field: usize) -> Result<String> {
        let column = self.field(field)?;
        Ok(self.dialect.compared(column, &column.name))
    }

    fn bind(&mut self, field: usize, value: &Value) -> Result<String> {
        if self.args.len() >= MOST_VALUES {
            let message = format!("a query compares with more than {MOST_VALUES} values; ask in parts");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let column = self.field(field)?;
        self.args.push(Arg::One(column.kind, column.encode(value)));
        Ok(self.dialect.compared(column, &self.dialect.parameter(self.args.len())))
    }
}
