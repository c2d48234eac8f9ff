use serde::{Deserialize, Serialize};
use sync_runtime::prelude::*;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, Syncable)]
#[serde(rename = "Task", rename_all = "camelCase", deny_unknown_fields, default)]
struct Todo {
    #[sync(id)]
    id: i64,
    due_on: i64,
    #[serde(rename = "text")]
    the_title: String,
    #[serde(skip)]
    draft: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

#[derive(Serialize, Deserialize, Syncable)]
#[serde(rename = "a name", rename_all = "kebab-case")]
#[sync(model = "List", rename_all = "SCREAMING_SNAKE_CASE")]
struct Overruled {
    #[sync(id)]
    list_id: i64,
    #[serde(rename(serialize = "a b", deserialize = "c d"))]
    #[sync(rename = "ab")]
    both: i64,
}

// One word is the same in kebab case.
#[derive(Serialize, Deserialize, Syncable)]
#[serde(rename_all = "kebab-case")]
struct Plain {
    #[sync(id)]
    id: i64,
}

fn main() {
    let names: Vec<_> = Todo::SCHEMA.fields.iter().map(|field| field.name).collect();
    assert_eq!(names, ["id", "dueOn", "text", "draft", "note", "tags"]);
    assert_eq!((Todo::SCHEMA.name, Todo::SCHEMA.table), ("Task", "todo"));
    assert!(Todo::SCHEMA.fields[3].local);
    let names: Vec<_> = Overruled::SCHEMA.fields.iter().map(|field| field.name).collect();
    assert_eq!(names, ["LIST_ID", "ab"]);
    assert_eq!(Overruled::SCHEMA.name, "List");
    assert_eq!(Plain::SCHEMA.fields[0].name, "id");
}
