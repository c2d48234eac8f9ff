use sync_runtime::prelude::*;

#[derive(Syncable)]
#[cfg_attr(all(), sync(table = "todos"))]
#[cfg_attr(any(), sync(tabel = "todos"))]
struct Todo {
    #[cfg_attr(all(), sync(id))]
    id: i64,
    #[cfg(any())]
    gone: std::thread::Thread,
    #[sync()]
    #[sync(local,)]
    #[sync(json)]
    draft: Option<String>,
}

fn main() {
    let todo = Todo { id: 1, draft: None };
    assert_eq!((todo.id(), todo.draft.is_none()), (1, true));
    assert_eq!(Todo::SCHEMA.table, "todos");
    assert_eq!(Todo::SCHEMA.fields.len(), 2);
}
