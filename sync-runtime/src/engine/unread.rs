//! Records of which only the change can be read: another program wrote a value that no peer can take, or took the row away
//! past the tracking. They stay as they are, and keep nothing else from going on.

use crate::change::{Change, RecordName};
use crate::record::Id;
use crate::replica::Rejection;
use crate::schema::ModelSchema;
use crate::store::Transaction;
use crate::{ErrorKind, Result};
use std::collections::{BTreeMap, HashMap};

/// Why the rows of these records cannot be read, for those that are there.
pub(crate) async fn refusals(
    tx: &mut dyn Transaction,
    changes: impl Iterator<Item = &Change>,
) -> Result<HashMap<RecordName, Rejection>> {
    let mut wanted: BTreeMap<&'static str, (&'static ModelSchema, Vec<Id>)> = BTreeMap::new();
    for change in changes {
        let schema = change.schema;
        wanted.entry(schema.name).or_insert((schema, Vec::new())).1.push(change.id.clone());
    }
    let mut found = HashMap::new();
    for (name, (schema, ids)) in wanted {
        let code = ErrorKind::InvalidValue.code();
        for row in tx.unreadable(schema, Some(&ids), ids.len()).await? {
            let rejection = Rejection { code: code.to_owned(), reason: row.reason };
            found.extend(row.id.map(|id| ((name, id), rejection)));
        }
    }
    Ok(found)
}

/// Why a record is not sent of which only the change can be read.
pub(crate) async fn refusal(tx: &mut dyn Transaction, change: &Change) -> Result<Rejection> {
    let found = refusals(tx, std::iter::once(change)).await?.into_values().next();
    Ok(found.unwrap_or_else(|| Rejection {
        code: ErrorKind::Storage.code().to_owned(),
        reason: format!(
            "the row of {} is gone, and its tracking does not know of it; call `rectify_change`",
            change.name()
        ),
    }))
}
