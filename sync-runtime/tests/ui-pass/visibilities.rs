#![deny(private_interfaces, private_bounds, unreachable_pub)]

mod outer {
    pub(crate) mod inner {
        use sync_runtime::prelude::*;

        #[derive(Syncable)]
        pub(in crate::outer) struct Restricted {
            #[sync(id)]
            id: i64,
        }

        #[derive(Syncable)]
        pub(super) struct Above {
            #[sync(id)]
            id: i64,
        }

        #[derive(Syncable)]
        struct Private {
            #[sync(id)]
            id: i64,
        }

        pub(crate) fn sum() -> i64 {
            Restricted { id: 1 }.id() + Above { id: 2 }.id() + Private { id: 4 }.id()
        }
    }

    pub(crate) fn names() -> (&'static str, &'static str) {
        use sync_runtime::prelude::*;
        (inner::RestrictedField::Id.name(), inner::AboveField::Id.name())
    }
}

fn main() {
    assert_eq!(outer::inner::sum(), 7);
    assert_eq!(outer::names(), ("id", "id"));
}
