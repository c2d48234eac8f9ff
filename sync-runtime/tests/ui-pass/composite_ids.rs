//! Ids of several fields, in any place of the struct, and fields that hold such an id.

use sync_runtime::prelude::*;
use sync_runtime::{FieldType, Id};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Syncable)]
struct Line {
    title: String,
    #[sync(id)]
    order: Uuid,
    #[sync(id, rename = "no")]
    line: i64,
    #[sync(local)]
    draft: String,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(methods = false)]
struct Note {
    #[sync(id)]
    a: String,
    #[sync(id)]
    b: String,
    #[sync(id)]
    c: i64,
    #[sync(id)]
    d: Uuid,
    #[sync(parent = Line)]
    line: Option<(Uuid, i64)>,
}

fn main() {
    let mut line = Line { title: "eggs".into(), order: Uuid::from_u128(7), line: -3, draft: String::new() };
    assert_eq!(Line::SCHEMA.key().collect::<Vec<_>>(), [1, 2]);
    assert!(Line::SCHEMA.has_composite_id() && Line::SCHEMA.id == 1);
    assert_eq!(line.id(), (Uuid::from_u128(7), -3));
    let record = line.to_record().unwrap();
    let id = Line::SCHEMA.id_of(&record).unwrap();
    assert_eq!(id, Id::Text("00000000-0000-0000-0000-000000000007/-3".into()));
    assert_eq!(Line::from_record(record).unwrap(), line);
    line.set_id((Uuid::nil(), 4));
    assert_eq!((line.order, line.line), (Uuid::nil(), 4));

    let (a, b) = ("50%/2".to_owned(), "%2F".to_owned());
    let note = Note { a, b, c: 1, d: Uuid::nil(), line: Some((Uuid::from_u128(7), 4)) };
    let record = note.to_record().unwrap();
    let id = Note::SCHEMA.id_of(&record).unwrap();
    assert_eq!(id.to_string(), format!("50%25%2F2/%252F/1/{}", Uuid::nil()));
    assert_eq!(Note::from_record(record).unwrap(), note);
    assert_eq!(Note::SCHEMA.fields[4].ty, FieldType::Text);
}
