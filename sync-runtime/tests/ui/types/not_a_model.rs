use sync_runtime::prelude::*;

struct Todo;

fn needs_model<T: Syncable>() {}

fn main() {
    needs_model::<Todo>();
}
