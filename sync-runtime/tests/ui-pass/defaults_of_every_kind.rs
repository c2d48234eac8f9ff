use serde::{Deserialize, Serialize};
use sync_runtime::Value;
use sync_runtime::prelude::*;

const LOW: i64 = -3;

mod names {
    pub fn first() -> String {
        "first".to_owned()
    }
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
enum State {
    #[default]
    Open,
    Done,
}

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: i64,
    #[sync(default)]
    by_trait: i64,
    #[sync(default = 5)]
    literal: u8,
    #[sync(default = -5)]
    negative: i8,
    #[sync(default = true)]
    yes: bool,
    #[sync(default = "text")]
    text: String,
    #[sync(default = Some("text".to_owned()))]
    maybe: Option<String>,
    #[sync(default = None)]
    nothing: Option<String>,
    #[sync(default = LOW)]
    constant: i64,
    #[sync(default = i64::MAX)]
    path: i64,
    #[sync(default = names::first)]
    function: String,
    #[sync(default = names::first() + "!")]
    expression: String,
    #[sync(default = Self::made)]
    own_function: Vec<String>,
    #[sync(json, default = State::Done)]
    variant: State,
    #[sync(default = [1, 2].into())]
    list: Vec<i64>,
    #[sync(local)]
    draft: String,
}

impl Todo {
    fn made() -> Vec<String> {
        vec!["made".to_owned()]
    }
}

fn main() {
    let json = |json| Some(Value::Json(json));
    let expected = [
        None,
        Some(Value::Int(0)),
        Some(Value::Int(5)),
        Some(Value::Int(-5)),
        Some(Value::Bool(true)),
        Some(Value::Text("text".into())),
        Some(Value::Text("text".into())),
        Some(Value::Null),
        Some(Value::Int(-3)),
        Some(Value::Int(i64::MAX)),
        Some(Value::Text("first".into())),
        Some(Value::Text("first!".into())),
        json(serde_json::json!(["made"])),
        json(serde_json::json!("Done")),
        json(serde_json::json!([1, 2])),
        Some(Value::Text(String::new())),
    ];
    for (field, expected) in Todo::SCHEMA.fields.iter().zip(expected) {
        assert_eq!(field.missing(), expected, "{}", field.name);
    }
}
