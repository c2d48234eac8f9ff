#![deny(warnings, non_local_definitions)]

use sync_runtime::prelude::*;

fn first() -> &'static str {
    type Title = String;

    fn default_title() -> Title {
        "first".to_owned()
    }

    #[derive(Syncable)]
    struct Todo {
        #[sync(id)]
        id: i64,
        #[sync(default = default_title)]
        title: Title,
    }

    let todo = Todo { id: 1, title: Title::new() };
    assert_eq!((todo.id, todo.title.as_str()), (1, ""));
    Todo::SCHEMA.fields[1].name
}

fn second() -> &'static str {
    #[derive(Syncable)]
    #[sync(table = "second")]
    struct Todo {
        #[sync(id)]
        id: i64,
    }

    assert_eq!(Todo { id: 2 }.id(), 2);
    Todo::SCHEMA.table
}

fn main() {
    assert_eq!((first(), second()), ("title", "second"));
    let closure = || {
        #[derive(Syncable)]
        struct Todo {
            #[sync(id)]
            id: i64,
        }
        Todo { id: 3 }.id()
    };
    assert_eq!(closure(), 3);
}
