use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct ByUuid {
    #[sync(id)]
    id: Uuid,
}

#[derive(Syncable)]
struct ByText {
    name: i64,
    #[sync(id)]
    key: String,
}

#[derive(Syncable)]
struct ByNumber {
    #[sync(id)]
    number: i64,
}

fn main() {
    assert_eq!(ByUuid { id: Uuid::nil() }.id(), Uuid::nil());
    assert_eq!(ByText::SCHEMA.id, 1);
    let mut record = ByNumber { number: 1 };
    record.set_id(7);
    assert_eq!(record.number, 7);
}
