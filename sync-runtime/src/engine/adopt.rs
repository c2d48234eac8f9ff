//! Updates in the shape that a model has here. Over a wire they come so; in one process a peer's program may
//! have the model in another version, with its fields in other places.

use crate::Result;
use crate::codec::{self, Reader};
use crate::replica::Update;
use crate::schema::Models;

/// The update by the schema that is registered here, where it is not that already: fields that it does not have
/// ride along as unknown ones.
///
/// # Errors
/// [`crate::ErrorKind::UnknownModel`] if the model is not registered; [`crate::ErrorKind::InvalidValue`] if a value
/// cannot travel.
pub(crate) fn adopted(models: &Models, update: &Update) -> Result<Option<Update>> {
    let theirs = update.state.change.schema;
    if models.get(theirs.name)?.schema.fits(theirs) {
        return Ok(None);
    }
    let doing = || format!("reading {} as it is here", update.state.change.name());
    let json = codec::to_json(&codec::wire(update)).map_err(|error| error.context(doing()))?;
    let reader = Reader::new(models).keeping_misfits();
    reader.from_json(&json, reader.one(), &doing()).map(Some)
}

/// The same for many; what cannot be adopted stays as it came, for `apply` to refuse.
pub(crate) fn adopt_all(models: &Models, updates: Vec<Update>) -> Vec<Update> {
    updates.into_iter().map(|update| adopted(models, &update).ok().flatten().unwrap_or(update)).collect()
}
