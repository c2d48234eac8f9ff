use std::future::Future;
use sync_runtime::prelude::*;
use sync_runtime::{AsReplica, Checkpoint, Result, Workspace};
use uuid::Uuid;

#[derive(Syncable)]
#[sync(methods = true)]
struct Todo {
    #[sync(id)]
    id: Uuid,
}

fn sendable<T: Send>(future: impl Future<Output = T> + Send) -> impl Future<Output = T> + Send {
    future
}

#[allow(dead_code)]
async fn all(workspace: &Workspace, replica: &dyn AsReplica, id: Uuid, since: Checkpoint) -> Result<()> {
    let _: bool = sendable(Todo::rectify_change(workspace, id)).await?;
    let _: u64 = sendable(Todo::rectify_all_changes(workspace)).await?;
    for change in sendable(Todo::changes(replica, Some(since))).await? {
        let _: sync_runtime::change::Change = change;
    }
    let _: Checkpoint = sendable(Todo::checkpoint(replica)).await?;
    let _: sync_runtime::Replicate<'_, Todo> = Todo::replicate(replica, replica);
    Ok(())
}

fn main() {}
