//! What a peer had sent of a field before the model had it: kept among the unknown fields of the change, and taken
//! from there into the new column.

use super::link::{Arg, Cell, Failure, Kind, Link, Row};
use super::statement::{Dialect, Rows, Statement};
use super::tables::{Table, id_of_key};
use crate::records::fitting;
use sync_runtime::record::Unknown;

/// Changes that are looked at together, so that memory does not grow with their number.
const PAGE: usize = 1_000;

/// Takes what is known of these fields, by their places, out of the changes and the bases of the table's records.
///
/// Nothing of it is tracked. `own` stands before the names of the library's own tables.
pub(super) async fn learn(
    link: &mut dyn Link,
    dialect: &dyn Dialect,
    own: &str,
    table: &Table,
    added: &[usize],
) -> Result<(), Failure> {
    let change = format!("{own}sync_change");
    let mut after: Option<Vec<u8>> = None;
    loop {
        let mut select = Statement::new(format!(
            "SELECT id, unknown FROM {change} WHERE model = {} AND unknown IS NOT NULL",
            table.number
        ));
        if let Some(after) = after.clone() {
            select.push(" AND id > ").bind(dialect, Arg::bytes(after));
        }
        select.push(&format!(" ORDER BY id LIMIT {PAGE}"));
        let found = link.fetch(&select.sql, select.args).await?;
        let full = found.len() == PAGE;
        // The triggers may know the columns by now.
        let keys = found.iter().filter_map(|row| row.first().cloned()).collect();
        let told = dialect.listen().into_iter().chain(dialect.tell_put(own, Some((table.number, keys))));
        run(link, told).await?;
        for row in found {
            let Ok([Cell::Bytes(key), Cell::Bytes(unknown)]) = <[Cell; 2]>::try_from(row) else { continue };
            after = Some(key.clone());
            let Some((values, left)) = taken(table, added, &unknown) else { continue };
            let Some(id) = id_of_key(table.id_type(), key.clone()) else { continue };
            let Ok(cells) = table.key_cells(&id) else { continue };
            set(link, dialect, table, cells, values).await?;
            let mut update = Statement::new(format!("UPDATE {change} SET unknown = "));
            update.bind(dialect, Arg::One(Kind::Bytes, left));
            update.push(&format!(" WHERE model = {} AND id = ", table.number)).bind(dialect, Arg::bytes(key));
            link.execute(&update.sql, update.args).await?;
        }
        if !full {
            break;
        }
    }
    run(link, dialect.tell_put(own, None).into_iter().chain(dialect.clean(own).map(Statement::new))).await?;
    learn_bases(link, dialect, table, added).await
}

async fn run(link: &mut dyn Link, statements: impl IntoIterator<Item = Statement>) -> Result<(), Failure> {
    for statement in statements {
        link.fetch(&statement.sql, statement.args).await?;
    }
    Ok(())
}

/// The same for bases alone, each of which its revision and position name.
pub(super) async fn learn_bases(
    link: &mut dyn Link,
    dialect: &dyn Dialect,
    table: &Table,
    added: &[usize],
) -> Result<(), Failure> {
    let select = format!(
        "SELECT sync_stamp, sync_writer, sync_position, sync_unknown, {} FROM {} WHERE sync_unknown IS NOT NULL",
        table.key_names(""),
        table.base
    );
    for mut row in link.fetch(&select, Vec::new()).await? {
        let key = row.split_off(4);
        let Ok([stamp, writer, position, Cell::Bytes(unknown)]) = <[Cell; 4]>::try_from(row) else {
            continue;
        };
        let Some((values, left)) = taken(table, added, &unknown) else { continue };
        let mut update = Statement::new(format!("UPDATE {} SET sync_unknown = ", table.base));
        update.bind(dialect, Arg::One(Kind::Bytes, left));
        for (name, kind, cell) in values {
            update.push(&format!(", {name} = ")).bind(dialect, Arg::One(kind, cell));
        }
        update.push(" WHERE ");
        table.has_key(dialect, &mut update, key);
        update.push(" AND sync_stamp = ").bind(dialect, Arg::One(Kind::Int(8), stamp));
        update.push(" AND sync_writer = ").bind(dialect, Arg::One(Kind::Int(4), writer));
        update.push(" AND sync_position = ").bind(dialect, Arg::One(Kind::Int(8), position));
        link.execute(&update.sql, update.args).await?;
    }
    Ok(())
}

type Values = Vec<(String, Kind, Cell)>;

/// The values of the added fields among unknown ones, and the unknown fields that are left; `None` where there are no
/// values. What cannot be read is reported where it is read as part of its change.
fn taken(table: &Table, added: &[usize], unknown: &[u8]) -> Option<(Values, Cell)> {
    let mut unknown = serde_json::from_slice::<Unknown>(unknown).ok()?;
    let before = unknown.len();
    let mut values = Vec::new();
    for &place in added {
        let field = &table.schema.fields[place];
        let sent = unknown.remove(field.name).and_then(|sent| fitting(field, sent));
        if let Some(value) = sent {
            let column = &table.columns[place];
            values.push((column.name.clone(), column.kind, column.encode(&value)));
        }
    }
    let left = match unknown.is_empty() {
        true => Cell::Null,
        false => Cell::Bytes(serde_json::to_vec(&unknown).ok()?),
    };
    (unknown.len() < before).then_some((values, left))
}

/// Sets columns of one row.
async fn set(
    link: &mut dyn Link,
    dialect: &dyn Dialect,
    table: &Table,
    key: Row,
    values: Values,
) -> Result<(), Failure> {
    if values.is_empty() {
        return Ok(());
    }
    let keys = key.len();
    let mut row = key;
    let mut columns: Vec<(String, Kind)> =
        table.key().map(|column| (column.name.clone(), column.kind)).collect();
    for (name, kind, cell) in values {
        columns.push((name, kind));
        row.push(cell);
    }
    let rows = Rows { into: &table.name, columns, rows: vec![row], computed: Vec::new() };
    let update = dialect.update(rows, keys, table.id_keys.first().map(String::as_str));
    link.execute(&update.sql, update.args).await?;
    Ok(())
}
