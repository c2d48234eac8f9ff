use sync_runtime::prelude::*;
use uuid::Uuid;
use serde::{Deserialize, Serialize};

mod cents {
    pub fn serialize<S: serde::Serializer>(value: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(value * 100)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        <i64 as serde::Deserialize>::deserialize(from).map(|cents| cents / 100)
    }
}

#[derive(Serialize, Deserialize, Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[serde(with = "cents")]
    price: i64,
}

fn main() {}
