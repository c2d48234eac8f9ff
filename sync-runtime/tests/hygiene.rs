//! The derive's code names nothing that a user's module could hide or replace.

#![no_implicit_prelude]
#![allow(dead_code, non_camel_case_types, unreachable_pub, unused_macros)]

/// Everything that generated code could be tempted to name, as something else.
#[macro_use]
mod shadows {
    pub mod core {}
    pub mod std {}
    pub mod alloc {}
    pub mod sync_runtime {}
    pub mod serde {}
    pub mod methods {}
    pub mod fields {}

    pub struct Option;
    pub struct Some;
    pub struct None;
    pub struct Result;
    pub struct Ok;
    pub struct Err;
    pub struct String;
    pub struct Vec;
    pub struct Box;
    pub struct Record;
    pub struct Value;
    pub struct ValueError;
    pub struct ModelSchema;
    pub struct FieldSchema;
    pub struct FieldType;
    pub struct Reader;
    pub struct Workspace;
    pub struct Checkpoint;
    pub struct Change;
    pub struct Replicate;
    pub struct ModelFuture;
    pub struct Same;
    pub struct SumField;
    pub struct NestedField;
    pub struct OnDelete;
    pub struct Merge;
    pub struct Send;
    pub struct Sync;

    pub struct bool;
    pub struct u64;
    pub struct usize;
    pub struct str;

    pub trait Clone {}
    pub trait Copy {}
    pub trait Debug {}
    pub trait PartialEq {}
    pub trait Eq {}
    pub trait Default {}
    pub trait From {}
    pub trait Into {}
    pub trait Iterator {}
    pub trait Field {}
    pub trait FieldValue {}
    pub trait Syncable {}
    pub trait AsReplica {}
    pub trait SyncFields {}
    pub trait TextField {}
    pub trait Fn {}

    macro_rules! vec {
        ($($anything:tt)*) => {
            ::core::compile_error!("generated code calls the user's `vec!`")
        };
    }

    macro_rules! stringify {
        ($($anything:tt)*) => {
            ::core::compile_error!("generated code calls the user's `stringify!`")
        };
    }
}

/// Where nothing is shadowed, as serde's own derives need it.
mod outside {
    #[derive(::serde::Serialize, ::serde::Deserialize, ::sync_runtime::SyncFields)]
    pub(super) struct Place {
        #[sync(merge = "sum")]
        pub(super) visits: i64,
    }
}

mod model {
    // Unused, which is what is tested.
    #[allow(unused_imports)]
    use super::shadows::*;

    pub(super) fn valid(_: &Todo) -> ::core::result::Result<(), &'static ::core::primitive::str> {
        ::core::result::Result::Ok(())
    }

    pub(super) fn longer(
        _: &::std::string::String,
        a: &::std::string::String,
        b: &::std::string::String,
    ) -> ::core::result::Result<::std::string::String, &'static ::core::primitive::str> {
        let longer = if a.len() > b.len() { a } else { b };
        ::core::result::Result::Ok(::core::clone::Clone::clone(longer))
    }

    #[derive(::sync_runtime::SyncFields)]
    pub(super) struct Place {
        #[sync(with = longer)]
        pub(super) town: ::std::string::String,
        #[sync(merge = "sum")]
        pub(super) visits: ::core::primitive::i64,
        #[sync(merge = "text")]
        pub(super) note: ::std::string::String,
        #[sync(merge = "min")]
        pub(super) height: ::core::primitive::i64,
        #[sync(merge = "list")]
        pub(super) streets: ::std::vec::Vec<::std::string::String>,
        pub(super) rest: ::core::primitive::bool,
    }

    #[derive(::sync_runtime::Syncable)]
    #[sync(validate = valid, merge = "last_write", on_delete = "keep_edit")]
    pub(super) struct Todo {
        #[sync(id)]
        pub(super) id: ::uuid::Uuid,
        #[sync(default = "none", with = longer)]
        pub(super) title: ::std::string::String,
        #[sync(merge = "sum")]
        pub(super) votes: ::core::primitive::i64,
        #[sync(merge = "max")]
        pub(super) rank: ::core::primitive::i64,
        #[sync(merge = "text")]
        pub(super) note: ::std::string::String,
        #[sync(json, merge = "fields")]
        pub(super) place: ::core::option::Option<super::outside::Place>,
        #[sync(merge = "list")]
        pub(super) list: ::std::vec::Vec<::std::string::String>,
        #[sync(merge = "union")]
        pub(super) set: ::std::collections::BTreeSet<::std::string::String>,
        pub(super) done: ::core::primitive::bool,
        #[sync(default)]
        pub(super) due: ::core::option::Option<i64>,
        #[sync(json, default = ::std::vec::Vec::new)]
        pub(super) tags: ::std::vec::Vec<::std::string::String>,
        #[sync(local)]
        pub(super) draft: ::std::string::String,
    }
}

#[test]
fn generated_code_works_where_every_name_is_taken() {
    use ::std::prelude::rust_2024::*;
    use ::sync_runtime::prelude::*;

    let todo = model::Todo {
        id: ::uuid::Uuid::from_u128(1),
        title: "a".into(),
        votes: 1,
        rank: 2,
        note: "n".into(),
        place: None,
        list: ::std::vec![],
        set: ::std::collections::BTreeSet::new(),
        done: true,
        due: None,
        tags: ::std::vec!["b".into()],
        draft: String::new(),
    };
    ::std::assert_eq!(todo.validate(), Ok(()));
    let record = todo.to_record().expect("can be held");
    let back = model::Todo::from_record(record).expect("reads back");
    ::std::assert_eq!(back.difference(&todo), Ok(::std::vec![]));
    ::std::assert_eq!(::std::format!("{:?}", model::TodoField::Title), "Title");
    ::std::assert_eq!(model::Todo::SCHEMA.table, "todo");
}
