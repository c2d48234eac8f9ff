//! Saves and deletes on behalf of the app. The triggers track them, told of the time; what is decided here is whether
//! to write at all.

use super::super::link::{Cell, Kind};
use super::super::statement::{Rows, Statement, Then};
use super::super::tables::{CHANGE, Table, change_columns};
use super::SqlTransaction;
use crate::records::{completed, ignored, with_local_defaults};
use std::collections::{HashMap, HashSet};
use sync_runtime::Result;
use sync_runtime::change::Change;
use sync_runtime::record::{Id, Record};
use sync_runtime::store::{Expect, Saved, Write};
use sync_runtime::version::Stamp;

/// The most records that are written together.
pub(super) const TOGETHER: usize = 1_000;

/// What is done to the row of a record.
#[derive(Debug)]
pub(super) enum Op {
    Insert(Record),
    /// The places of the fields that are set, and the record that has them.
    Update(Vec<usize>, Record),
    Delete,
}

impl Op {
    /// About how many bytes of values are written.
    fn size(&self) -> usize {
        match self {
            Op::Insert(record) => record.size(),
            Op::Update(set, record) => {
                let values = set.iter().filter_map(|field| record.get(*field));
                values.map(|value| value.size() + 8).sum()
            }
            Op::Delete => 8,
        }
    }

    /// Whether two can be done by one statement.
    fn goes_with(&self, other: &Op) -> bool {
        match (self, other) {
            (Op::Insert(_), Op::Insert(_)) | (Op::Delete, Op::Delete) => true,
            (Op::Update(a, _), Op::Update(b, _)) => a == b,
            _ => false,
        }
    }
}

/// A record as it stands before it is written, with its change.
struct Old {
    record: Record,
    change: Option<Change>,
}

impl Old {
    fn is_tracked(&self) -> bool {
        self.change.as_ref().is_some_and(|change| !change.is_delete())
    }
}

impl SqlTransaction<'_> {
    pub(super) async fn saved(&mut self, writes: Vec<Write>, now: Stamp) -> Result<Vec<Saved>> {
        self.writing()?;
        self.looked = None;
        // Looked up first, so that a call fails before it has written anything.
        for write in &writes {
            self.tables.of(write.schema)?;
        }
        self.put_no_more().await?;
        let mut outcomes = Vec::with_capacity(writes.len());
        let mut rest = writes.as_slice();
        while !rest.is_empty() {
            let part;
            (part, rest) = rest.split_at(batch(rest, |write| (write.schema.name, &write.id)));
            outcomes.extend(self.save_part(part, now).await?);
        }
        Ok(outcomes)
    }

    /// Saves records of one model, none of them twice.
    async fn save_part(&mut self, writes: &[Write], now: Stamp) -> Result<Vec<Saved>> {
        let table = self.table(writes[0].schema)?;
        let ids: Vec<Id> = writes.iter().map(|write| write.id.clone()).collect();
        // First of all, because the snapshot of a transaction is as old as its first statement.
        let mut olds = self.lock(&table, &ids).await?;
        self.tell(now).await?;
        let mut outcomes: Vec<Option<Saved>> = vec![None; writes.len()];
        let mut ops: Vec<(usize, Op)> = Vec::with_capacity(writes.len());
        let mut untracked = Vec::new();
        for (place, write) in writes.iter().enumerate() {
            let old = olds.remove(&write.id);
            match decided(&table, write, old.as_ref()) {
                Err(saved) => outcomes[place] = Some(saved),
                Ok((op, saved)) => {
                    outcomes[place] = Some(saved);
                    if matches!(op, Op::Update(..)) && !old.is_some_and(|old| old.is_tracked()) {
                        untracked.push(write.id.clone());
                    }
                    ops.push((place, op));
                }
            }
        }
        for (place, refusal) in self.write_rows(&table, &ids, ops).await? {
            outcomes[place] = Some(Saved::Refused(refusal));
        }
        // An update that changes nothing is none to the triggers.
        if !untracked.is_empty() {
            self.retracked(table.schema, &untracked, now).await?;
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// The records that are there, locked until the transaction ends: the row first and then its change, as the
    /// triggers have it.
    async fn lock(&mut self, table: &Table, ids: &[Id]) -> Result<HashMap<Id, Old>> {
        let there;
        // Of a transaction of the app nobody knows what it sees: what is there is locked as it stands, and nothing else.
        let ids = match self.shared_with_app {
            false => ids,
            true => {
                there = self.locked_ids(table, ids).await?.into_iter().collect::<Vec<_>>();
                there.as_slice()
            }
        };
        let dialect = self.dialect();
        let key = table.change_id(dialect, "t");
        let mut select = Statement::new(format!(
            "SELECT {}, c.id, {} FROM {} t LEFT JOIN {} c ON c.model = {} AND c.id = {key} WHERE ",
            table.names("t.", true),
            change_columns("c."),
            table.name,
            self.own_table("change"),
            table.number,
        ));
        table.one_of(dialect, &mut select, "t.", ids);
        select.push(dialect.lock(self.shared_with_app));
        let found = self.fetch(select).await?;
        let width = table.width(true);
        self.know_all_in(&found, width + 1).await?;
        let mut olds = HashMap::with_capacity(found.len());
        for mut row in found {
            let columns = row.split_off(width);
            // What cannot be read of it differs from anything that is given.
            let record = table.reading(row, true).record;
            let id = table.schema.id_of(&record)?;
            let change = match columns[0] {
                Cell::Null => None,
                _ => {
                    Some(super::rows::change(&self.replicas, table, id.clone(), &columns[1..=CHANGE.len()])?)
                }
            };
            olds.insert(id, Old { record, change });
        }
        Ok(olds)
    }

    /// Writes rows in this order, as many at a time as one statement can; gives the reasons of those that were refused.
    pub(super) async fn write_rows(
        &mut self,
        table: &Table,
        ids: &[Id],
        ops: Vec<(usize, Op)>,
    ) -> Result<Vec<(usize, String)>> {
        let mut refused = Vec::new();
        // Runs that one statement can write, the first of them last.
        let mut runs: Vec<Vec<(usize, Op)>> = Vec::new();
        for (place, op) in ops.into_iter().rev() {
            match runs.last_mut().filter(|run| run.last().is_some_and(|(_, last)| last.goes_with(&op))) {
                Some(run) => run.push((place, op)),
                None => runs.push(vec![(place, op)]),
            }
        }
        runs.iter_mut().for_each(|run| run.reverse());
        while let Some(mut run) = runs.pop() {
            let bytes: usize = run.iter().map(|(_, op)| op.size()).sum();
            let is_long = run.len() > self.dialect().most_rows(table.columns.len());
            if is_long || run.len() > 1 && bytes > self.dialect().most_bytes() {
                let half = run.split_off(run.len() / 2);
                runs.push(half);
                runs.push(run);
                continue;
            }
            let statement = self.row_statement(table, ids, &run);
            let expected = self.dialect().touched(run.len(), matches!(run[0].1, Op::Update(..)));
            let Err(refusal) = self.attempt(statement, expected, || ignored(table.schema)).await? else {
                continue;
            };
            // The id was not there when it was looked for.
            let is_id = refusal.constraint.as_ref().is_some_and(|name| table.id_keys.contains(name));
            if is_id && matches!(run[0].1, Op::Insert(_)) {
                return Err(self.overtaken(&format!("a record of {}", table.schema.name)));
            }
            if run.len() == 1 {
                refused.push((run[0].0, refusal.reason));
                continue;
            }
            let half = run.split_off(run.len() / 2);
            runs.push(half);
            runs.push(run);
        }
        Ok(refused)
    }

    fn row_statement(&self, table: &Table, ids: &[Id], run: &[(usize, Op)]) -> Statement {
        let dialect = self.dialect();
        let cells = |fields: &[usize], id: &Id, record: &Record| {
            let cell = |field: &usize| match record.get(*field) {
                Some(value) => table.columns[*field].encode(value),
                // Only an id of one field may be absent from its record.
                None if *field == table.schema.id => table.columns[*field].encode(&id.to_value()),
                None => Cell::Null,
            };
            fields.iter().map(cell).collect::<Vec<_>>()
        };
        let columns = |fields: &[usize]| -> Vec<(String, Kind)> {
            fields
                .iter()
                .map(|field| (table.columns[*field].name.clone(), table.columns[*field].kind))
                .collect()
        };
        let index = table.id_keys.first().map(String::as_str);
        match &run[0].1 {
            Op::Delete => {
                let mut delete = Statement::new(format!("{} ", dialect.delete_some(&table.name, index)));
                table.one_of(dialect, &mut delete, "t.", run.iter().map(|(place, _)| &ids[*place]));
                delete
            }
            Op::Insert(_) => {
                let fields: Vec<usize> = table.written().map(|(field, _)| field).collect();
                let row = |(place, op): &(usize, Op)| match op {
                    Op::Insert(record) => cells(&fields, &ids[*place], record),
                    _ => Vec::new(),
                };
                let rows = run.iter().map(row).collect();
                let rows = Rows { into: &table.name, columns: columns(&fields), rows, computed: Vec::new() };
                dialect.insert(rows, Then::Fail)
            }
            Op::Update(set, _) => {
                let keys = table.schema.key().count();
                let fields: Vec<usize> = table.schema.key().chain(set.iter().copied()).collect();
                let row = |(place, op): &(usize, Op)| match op {
                    Op::Update(_, record) => cells(&fields, &ids[*place], record),
                    _ => Vec::new(),
                };
                let rows = run.iter().map(row).collect();
                let rows = Rows { into: &table.name, columns: columns(&fields), rows, computed: Vec::new() };
                dialect.update(rows, keys, index)
            }
        }
    }
}

/// How many of these can be written together: of one model, and none of them twice.
pub(super) fn batch<'w, W, K>(rest: &'w [W], key: impl Fn(&'w W) -> (&'static str, &'w K)) -> usize
where
    K: std::hash::Hash + Eq + 'w,
{
    let mut seen = HashSet::new();
    let model = key(&rest[0]).0;
    let together = rest.iter().take(TOGETHER).take_while(|write| {
        let (name, id) = key(write);
        name == model && seen.insert(id)
    });
    together.count()
}

/// What to do about one write, and what comes of it if nothing refuses it; or why nothing is done.
fn decided(table: &Table, write: &Write, old: Option<&Old>) -> Result<(Op, Saved), Saved> {
    let schema = table.schema;
    let moved = |revision| old.is_some_and(|old| old.change.as_ref().map(Change::revision) != Some(revision));
    let Some(record) = &write.record else {
        return match (write.expect, old) {
            (_, None) => Err(Saved::Missing),
            (Expect::Absent, Some(_)) => Err(Saved::Exists),
            (Expect::At(revision), _) if moved(revision) => Err(Saved::Moved),
            _ => Ok((Op::Delete, Saved::Tracked)),
        };
    };
    let record = completed(schema, &write.id, record.clone()).map_err(Saved::Refused)?;
    match (write.expect, old) {
        (Expect::Absent, Some(_)) => Err(Saved::Exists),
        (Expect::Present | Expect::At(_), None) => Err(Saved::Missing),
        (Expect::At(revision), Some(_)) if moved(revision) => Err(Saved::Moved),
        (_, None) => {
            let record = with_local_defaults(schema, &record).into_owned();
            Ok((Op::Insert(record), Saved::Tracked))
        }
        (_, Some(old)) => {
            let differs =
                |field: usize| record.get(field).is_some() && record.get(field) != old.record.get(field);
            let fields = (0..schema.fields.len()).filter(|field| !schema.is_key(*field));
            let set: Vec<usize> =
                fields.filter(|field| !table.columns[*field].generated && differs(*field)).collect();
            let travels = set.iter().any(|field| schema.fields[*field].replicated());
            match (travels || !old.is_tracked(), set.is_empty()) {
                (false, true) => Err(Saved::Unchanged),
                (false, false) => Ok((Op::Update(set, record), Saved::Unchanged)),
                // Something has to be set; it may be what is there already.
                (true, true) => {
                    let any = table.written().map(|(field, _)| field).find(|field| !schema.is_key(*field));
                    Ok((Op::Update(any.into_iter().collect(), record), Saved::Tracked))
                }
                (true, false) => Ok((Op::Update(set, record), Saved::Tracked)),
            }
        }
    }
}
