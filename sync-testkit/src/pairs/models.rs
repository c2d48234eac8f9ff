//! The models that the cases use.

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
#[sync(model = "List", table = "pair_list")]
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

/// A child of [`List`], where a database says so.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Entry", table = "pair_entry", methods = false)]
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
