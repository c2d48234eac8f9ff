use sync_runtime::prelude::*;

#[derive(Syncable)]
enum State {
    Open,
    Done,
}

fn main() {}
