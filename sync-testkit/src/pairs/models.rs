//! The models that the cases use.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use sync_runtime::prelude::*;

/// What most cases write.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Item", table = "pair_item")]
pub(super) struct Item {
    #[sync(id)]
    pub(super) id: String,
    pub(super) title: String,
    pub(super) count: i64,
    pub(super) done: bool,
    #[sync(local)]
    pub(super) draft: Option<String>,
}

impl Item {
    pub(super) fn new(id: &str, title: &str) -> Self {
        Item { id: id.into(), title: title.into(), ..Item::default() }
    }
}

/// A second model, with the generated methods.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "List", table = "pair_list", adopt)]
pub(super) struct List {
    #[sync(id)]
    pub(super) id: String,
    pub(super) name: String,
}

impl List {
    pub(super) fn new(id: &str, name: &str) -> Self {
        List { id: id.into(), name: name.into() }
    }
}

/// A third model, with another type of id.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Tag", table = "pair_tag", methods = false)]
pub(super) struct Tag {
    #[sync(id)]
    pub(super) id: i64,
    pub(super) label: String,
}

impl Tag {
    pub(super) fn new(id: i64, label: &str) -> Self {
        Tag { id, label: label.into() }
    }
}

/// A model with fields that are the server's own.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Account", table = "pair_account", methods = false)]
pub(super) struct Account {
    #[sync(id)]
    pub(super) id: String,
    pub(super) name: String,
    #[sync(server)]
    pub(super) credit: i64,
    #[sync(server)]
    pub(super) role: Option<String>,
}

/// A model whose records belong to projects.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Task", table = "pair_task", methods = false)]
pub(super) struct Task {
    #[sync(id)]
    pub(super) id: String,
    #[sync(scope)]
    pub(super) project: String,
    pub(super) title: String,
    #[sync(parent = Task)]
    pub(super) part_of: Option<String>,
}

/// The records of [`Task`], by another rule of whose they are.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Task", table = "pair_task", methods = false)]
pub(super) struct TitledTask {
    #[sync(id)]
    id: String,
    project: String,
    #[sync(scope)]
    title: String,
    #[sync(parent = TitledTask)]
    part_of: Option<String>,
}

/// A model whose records belong to projects, and merge by themselves.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Sheet", table = "pair_sheet", methods = false, on_delete = "keep_edit")]
pub(super) struct Sheet {
    #[sync(id)]
    pub(super) id: String,
    #[sync(scope)]
    pub(super) project: String,
    #[sync(merge = "last_write")]
    pub(super) done: bool,
    #[sync(merge = "union")]
    pub(super) edits: BTreeSet<String>,
}

/// A model whose records belong to scopes that a method tells.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Memo", table = "pair_memo", methods = false, scope = Self::project)]
pub(super) struct Memo {
    #[sync(id)]
    pub(super) id: i64,
    pub(super) house: String,
    pub(super) floor: i64,
}

impl Memo {
    fn project(&self) -> String {
        format!("{}/{}", self.house, self.floor)
    }
}

/// [`Item`] as a stricter replica has it: it refuses the title `poison`.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Item", table = "pair_item", methods = false, validate = not_poison)]
pub(super) struct StrictItem {
    #[sync(id)]
    pub(super) id: String,
    pub(super) title: String,
    pub(super) count: i64,
    pub(super) done: bool,
    #[sync(local)]
    pub(super) draft: Option<String>,
}

fn not_poison(item: &StrictItem) -> Result<(), String> {
    match item.title.as_str() {
        "poison" => Err("no poison here".into()),
        _ => Ok(()),
    }
}

/// [`Item`] as a later version of the app has it: with a field that may be null and a required one.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Item", table = "pair_item", methods = false)]
pub(super) struct RicherItem {
    #[sync(id)]
    pub(super) id: String,
    pub(super) title: String,
    pub(super) count: i64,
    pub(super) done: bool,
    #[sync(local)]
    pub(super) draft: Option<String>,
    pub(super) color: Option<String>,
    #[sync(default = 3)]
    pub(super) priority: i64,
}

/// [`RicherItem`] with a field that is of another type there.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Item", table = "pair_item", methods = false)]
pub(super) struct StrangeItem {
    #[sync(id)]
    pub(super) id: String,
    pub(super) title: String,
    #[sync(default = "low")]
    pub(super) priority: String,
}

/// [`Item`] with a field that nobody else has and that has no default.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Item", table = "pair_item", methods = false)]
pub(super) struct DemandingItem {
    #[sync(id)]
    pub(super) id: String,
    pub(super) title: String,
    pub(super) count: i64,
    pub(super) done: bool,
    #[sync(local)]
    pub(super) draft: Option<String>,
    pub(super) owner: String,
}

/// [`DemandingItem`] where a record without an owner has a default.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Item", table = "pair_item", methods = false)]
pub(super) struct OwnedItem {
    #[sync(id)]
    pub(super) id: String,
    pub(super) title: String,
    pub(super) count: i64,
    pub(super) done: bool,
    #[sync(local)]
    pub(super) draft: Option<String>,
    #[sync(default = "nobody")]
    pub(super) owner: String,
}

/// [`DemandingItem`] as a later version of the app has it: nobody owns anything.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Item", table = "pair_item", methods = false, removed("owner"))]
pub(super) struct DisownedItem {
    #[sync(id)]
    pub(super) id: String,
    pub(super) title: String,
    pub(super) count: i64,
    pub(super) done: bool,
    #[sync(local)]
    pub(super) draft: Option<String>,
}

/// Values that can be such that no store holds them.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Measure", table = "pair_measure", methods = false)]
pub(super) struct Measure {
    #[sync(id)]
    pub(super) id: String,
    pub(super) value: f64,
    pub(super) small: Option<f32>,
    pub(super) unit: String,
    #[sync(json)]
    pub(super) notes: Vec<String>,
}

/// A child of [`List`], where a database says so.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Entry", table = "pair_entry", adopt, methods = false)]
pub(super) struct Entry {
    #[sync(id)]
    pub(super) id: String,
    pub(super) list: String,
    pub(super) text: String,
}

impl Entry {
    pub(super) fn new(id: &str, list: &str) -> Self {
        Entry { id: id.into(), list: list.into(), text: "foo".into() }
    }
}

/// What [`Album`]s have as parent; each may have a best album, so the two models have each other.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Artist", table = "pair_artist", adopt, methods = false)]
pub(super) struct Artist {
    #[sync(id)]
    pub(super) id: String,
    pub(super) title: String,
    #[sync(parent = Album)]
    pub(super) best: Option<String>,
}

/// A child of [`Artist`], and maybe of another album.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Album", table = "pair_album", adopt, methods = false)]
pub(super) struct Album {
    #[sync(id)]
    pub(super) id: String,
    pub(super) title: String,
    #[sync(parent = Artist)]
    pub(super) artist: Option<String>,
    #[sync(parent = Album)]
    pub(super) before: Option<String>,
}

/// A child of [`Album`], with another type of id.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Track", table = "pair_track", methods = false)]
pub(super) struct Track {
    #[sync(id)]
    pub(super) id: i64,
    #[sync(parent = Album)]
    pub(super) album: String,
    pub(super) title: String,
}

/// A record with a field for each policy.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Card", table = "pair_card", methods = false)]
pub(super) struct Card {
    #[sync(id)]
    pub(super) id: String,
    pub(super) title: String,
    #[sync(merge = "last_write")]
    pub(super) done: bool,
    #[sync(merge = "last_write")]
    pub(super) color: String,
    #[sync(merge = "sum")]
    pub(super) votes: i64,
    #[sync(merge = "min")]
    pub(super) due: Option<i64>,
    #[sync(merge = "max")]
    pub(super) best: i64,
    #[sync(merge = "union")]
    pub(super) tags: BTreeSet<String>,
    #[sync(merge = "list")]
    pub(super) steps: Vec<String>,
    #[sync(merge = "text")]
    pub(super) notes: String,
    #[sync(merge = "server_wins")]
    pub(super) price: i64,
    #[sync(merge = "client_wins")]
    pub(super) place: String,
    #[sync(with = longer)]
    pub(super) code: String,
    #[sync(json, merge = "fields")]
    pub(super) address: Address,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, SyncFields)]
pub(super) struct Address {
    pub(super) street: String,
    pub(super) city: String,
    #[sync(merge = "sum")]
    pub(super) floors: i64,
}

/// The longer of two codes. One of a strange form cannot be merged, and one of a stranger form is too much.
fn longer(_: &String, older: &String, newer: &String) -> Result<String, String> {
    if [older, newer].iter().any(|code| code.contains('!')) {
        panic!("no such code");
    }
    match [older, newer].iter().find(|code| code.contains('?')) {
        Some(code) => Err(format!("`{code}` is no code")),
        None if older.len() > newer.len() => Ok(older.clone()),
        None => Ok(newer.clone()),
    }
}

/// A record that stays where one side edited what the other deleted.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Kept", table = "pair_kept", methods = false, on_delete = "keep_edit")]
pub(super) struct Kept {
    #[sync(id)]
    pub(super) id: String,
    #[sync(merge = "last_write")]
    pub(super) title: String,
}

/// A record whose every field merges without the state that both sides come from.
#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(model = "Soonest", table = "pair_soonest", methods = false)]
pub(super) struct Soonest {
    #[sync(id)]
    pub(super) id: String,
    #[sync(merge = "last_write")]
    pub(super) title: String,
    #[sync(merge = "min")]
    pub(super) due: i64,
}

/// A record that goes then.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Gone", table = "pair_gone", methods = false, on_delete = "keep_delete")]
pub(super) struct Gone {
    #[sync(id)]
    pub(super) id: String,
    pub(super) title: String,
}

/// A record that is then as who wrote later left it.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(
    model = "Latest",
    table = "pair_latest",
    methods = false,
    on_delete = "last_write",
    merge = "last_write"
)]
pub(super) struct Latest {
    #[sync(id)]
    pub(super) id: String,
    pub(super) title: String,
}
