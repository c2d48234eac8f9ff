//! Fields that cannot hold a scope, all reported in one go.

use sync_runtime::prelude::*;

#[derive(Syncable)]
struct OnTheDevice {
    #[sync(id)]
    id: String,
    #[sync(scope, local)]
    project: String,
}

#[derive(serde::Serialize, serde::Deserialize, Syncable)]
struct Skipped {
    #[sync(id)]
    id: String,
    #[sync(scope)]
    #[serde(skip)]
    project: String,
}

#[derive(Syncable)]
struct AsJson {
    #[sync(id)]
    id: String,
    #[sync(scope, json)]
    place: Place,
}

#[derive(Syncable)]
struct WithValue {
    #[sync(id)]
    id: String,
    #[sync(scope = "bridge")]
    project: String,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Place {
    town: String,
}

fn main() {}
