use sync_runtime::prelude::*;

#[derive(Syncable)]
#[sync(methods = false)]
struct Todo {
    #[sync(id)]
    id: i64,
    changes: i64,
}

impl Todo {
    fn changes(&self) -> i64 {
        self.changes
    }

    fn checkpoint(&self) -> i64 {
        self.id
    }
}

fn main() {
    let todo = Todo { id: 1, changes: 5 };
    assert_eq!((todo.checkpoint(), todo.changes()), (1, 5));
}
