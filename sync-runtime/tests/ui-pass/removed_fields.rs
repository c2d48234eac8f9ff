use sync_runtime::prelude::*;

#[derive(Syncable)]
#[sync(removed("subject", "With Space",))]
struct Todo {
    #[sync(id)]
    id: i64,
    title: String,
}

#[derive(Syncable)]
struct Task {
    #[sync(id)]
    id: i64,
}

fn main() {
    assert_eq!(Todo::SCHEMA.removed, ["subject", "With Space"]);
    assert!(Task::SCHEMA.removed.is_empty());
}
