use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use sync_runtime::prelude::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Place {
    town: String,
}

type Maybe<T> = std::option::Option<T>;

#[derive(Debug, PartialEq, Syncable)]
struct Todo {
    #[sync(id)]
    id: i64,
    #[sync(json)]
    place: Place,
    #[sync(json)]
    places: HashMap<String, Place>,
    #[sync(json)]
    maybe: Maybe<Place>,
    #[sync(json)]
    anything: serde_json::Value,
    #[sync(json)]
    number: u64,
    #[sync(json, rename = "pair", local)]
    both: (i64, String),
}

fn main() {
    let nullable: Vec<_> = Todo::SCHEMA.fields.iter().map(|field| field.nullable).collect();
    assert_eq!(nullable, [false, false, false, true, true, false, false]);
    let todo = Todo {
        id: 1,
        place: Place { town: "Ulm".into() },
        places: HashMap::from([("home".into(), Place { town: "Bonn".into() })]),
        maybe: None,
        anything: serde_json::Value::Null,
        number: 7,
        both: (1, "a".into()),
    };
    assert_eq!(Todo::from_record(todo.to_record().unwrap()).unwrap(), todo);
}
