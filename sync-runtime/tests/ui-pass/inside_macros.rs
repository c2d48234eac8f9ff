use sync_runtime::prelude::*;

macro_rules! model {
    ($vis:vis $name:ident, $table:literal, $id:ty, { $($field:ident: $ty:ty = $default:expr),* $(,)? }) => {
        #[derive(Debug, Clone, PartialEq, Syncable)]
        #[sync(table = $table)]
        $vis struct $name {
            #[sync(id)]
            id: $id,
            $(#[sync(default = $default)] $field: $ty,)*
        }
    };
}

model!(pub Todo, "todos", i64, { title: String = String::from("none"), votes: Option<u8> = Some(1 + 2) });
model!(List, "lists", String, { rank: f64 = -1.5, name: String = "list" });

macro_rules! by_tokens {
    ($(#[$attribute:meta])* struct $name:ident { $($fields:tt)* }) => {
        $(#[$attribute])*
        struct $name { $($fields)* }
    };
}

by_tokens! {
    #[derive(Syncable)]
    #[sync(model = "Task")]
    struct Tokens {
        #[sync(id)]
        id: i64,
        #[sync(local)]
        draft: Option<String>,
    }
}

macro_rules! hygienic {
    ($name:ident) => {
        #[derive(Syncable)]
        struct $name {
            #[sync(id)]
            id: i64,
            own: String,
        }

        fn hygienic() -> $name {
            $name { id: 1, own: String::new() }
        }
    };
}

hygienic!(Hygienic);

fn main() {
    let default = Todo::SCHEMA.fields[2].missing().unwrap();
    assert_eq!(format!("{default:?}"), "Int(3)");
    assert_eq!(List::SCHEMA.fields[1].missing(), Some(sync_runtime::Value::Float(-1.5)));
    assert_eq!(List::SCHEMA.fields[2].missing(), Some(sync_runtime::Value::Text("list".into())));
    assert_eq!(Tokens::SCHEMA.name, "Task");
    let hygienic = hygienic();
    assert_eq!((hygienic.id(), hygienic.own.as_str()), (1, ""));
    assert_eq!(HygienicField::Own.index(), 1);
}
