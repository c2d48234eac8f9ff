//! What tells a scope: fields of every type that can, and methods that answer with what a `String` can be made from, by
//! a name that other traits have too.

use sync_runtime::prelude::*;
use uuid::Uuid;

trait Elsewhere {
    fn scope(&self) -> u8 {
        1
    }
}

impl Elsewhere for Memo {}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(scope = Self::scope)]
struct Memo {
    #[sync(id)]
    id: String,
    town: String,
}

impl Memo {
    fn scope(&self) -> &str {
        &self.town
    }
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(scope = place)]
struct Floor {
    #[sync(id)]
    id: String,
    number: i64,
}

fn place(floor: &Floor) -> String {
    format!("floor {}", floor.number)
}

#[derive(Debug, Clone, PartialEq, Syncable)]
struct OfUuid {
    #[sync(id)]
    id: String,
    #[sync(scope)]
    owner: Option<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
struct OfNumber {
    #[sync(id, scope)]
    id: i64,
}

fn told<T: Syncable>(record: &T) -> String {
    T::SCHEMA.scope_of(&record.to_record().expect("a record")).expect("a scope")
}

fn main() {
    assert_eq!(told(&Memo { id: "1".into(), town: "Bern".into() }), "Bern");
    assert_eq!(told(&Floor { id: "1".into(), number: 3 }), "floor 3");
    assert_eq!(told(&OfUuid { id: "1".into(), owner: Some(Uuid::nil()) }), Uuid::nil().to_string());
    assert_eq!(told(&OfUuid { id: "1".into(), owner: None }), "");
    assert_eq!(told(&OfNumber { id: 7 }), "7");
}
