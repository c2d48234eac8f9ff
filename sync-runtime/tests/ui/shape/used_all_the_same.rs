use sync_runtime::prelude::*;

#[derive(Syncable)]
enum State {
    Open,
}

fn needs_model<T: Syncable>(_: T) {}

fn main() {
    // Only the derive's message: the enum counts as a model here.
    needs_model(State::Open);
}
