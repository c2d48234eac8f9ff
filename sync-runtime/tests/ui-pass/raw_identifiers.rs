use sync_runtime::prelude::*;

#[derive(Debug, PartialEq, Syncable)]
#[allow(non_camel_case_types)]
struct r#match {
    #[sync(id)]
    r#fn: i64,
    r#type: String,
    #[sync(rename = "kind")]
    r#enum: Option<String>,
    #[sync(default = r#loop)]
    r#use: i64,
}

fn r#loop() -> i64 {
    4
}

fn main() {
    let names: Vec<_> = r#match::SCHEMA.fields.iter().map(|field| field.name).collect();
    assert_eq!(names, ["fn", "type", "kind", "use"]);
    assert_eq!((r#match::SCHEMA.name, r#match::SCHEMA.table), ("match", "match"));
    assert_eq!(MatchField::Type.name(), "type");
    assert_eq!(format!("{:?}", MatchField::Enum), "Enum");
}
