mod framework {
    pub mod parts {
        pub use sync_runtime as sync;
    }
}

mod app {
    use crate::framework::parts::sync::prelude::*;

    #[derive(Debug, Syncable)]
    #[sync(crate = crate::framework::parts::sync)]
    pub struct Todo {
        #[sync(id)]
        pub id: i64,
        #[sync(json)]
        pub tags: Vec<String>,
    }

    pub mod deeper {
        use super::super::framework::parts::sync;
        use sync::prelude::*;

        #[derive(Debug, Syncable)]
        #[sync(crate = sync)]
        pub struct List {
            #[sync(id)]
            pub id: i64,
        }

        pub fn table() -> &'static str {
            List::SCHEMA.table
        }
    }
}

fn main() {
    use sync_runtime::Syncable;
    assert_eq!(app::Todo::SCHEMA.name, "Todo");
    assert_eq!(app::deeper::table(), "list");
}
