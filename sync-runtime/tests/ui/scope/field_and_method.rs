//! A field and a method that both tell the scope.

use sync_runtime::prelude::*;

#[derive(Syncable)]
#[sync(scope = Self::place)]
struct Task {
    #[sync(id)]
    id: String,
    #[sync(scope)]
    project: String,
}

impl Task {
    fn place(&self) -> String {
        self.project.clone()
    }
}

fn main() {}
