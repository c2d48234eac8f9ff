//! Methods that take or answer something else.

use sync_runtime::prelude::*;

#[derive(Syncable)]
#[sync(scope = Self::place)]
struct Answers {
    #[sync(id)]
    id: String,
    floor: i64,
}

impl Answers {
    fn place(&self) -> i64 {
        self.floor
    }
}

#[derive(Syncable)]
#[sync(scope = Self::place)]
struct Takes {
    #[sync(id)]
    id: String,
    floor: i64,
}

impl Takes {
    fn place(&self, house: &str) -> String {
        format!("{house}/{}", self.floor)
    }
}

fn main() {}
