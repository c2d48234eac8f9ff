//! A device: a list in a SQLite file, and the way to a server.

use crate::app;
use crate::model::Todo;
use crate::table;
use anyhow::Result;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use sync_http::HttpReplica;
use sync_runtime::{Collection, SyncReport, Workspace};
use sync_store_sql::Durability;

use super::story::bytes;

pub(super) struct Device {
    pub(super) name: &'static str,
    pub(super) workspace: Workspace,
    server: HttpReplica,
    total: Total,
}

/// What travelled.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Total {
    pub(super) requests: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    records_sent: usize,
    records_received: usize,
    syncs: usize,
    took: Duration,
}

/// A sync that went through.
pub(super) struct Synced {
    pub(super) report: SyncReport,
    /// What travelled for this sync.
    pub(super) traffic: Total,
    pub(super) took: Duration,
}

impl Device {
    pub(super) async fn open(name: &'static str, folder: &Path, server: &str) -> Result<Self> {
        let file = folder.join(name).with_extension("db");
        let workspace = app::open(&format!("sqlite:{}", file.display()), Durability::Device).await?;
        Ok(Device { name, workspace, server: HttpReplica::new(server)?, total: Total::default() })
    }

    /// From now on the server is there. It is the same one for this device: what counts is its replica id.
    pub(super) fn connect(&mut self, server: &str) -> Result<()> {
        self.server = HttpReplica::new(server)?;
        Ok(())
    }

    pub(super) fn todos(&self) -> Result<Collection<Todo>> {
        Ok(self.workspace.collection::<Todo>()?)
    }

    /// Syncs with the server.
    pub(super) async fn sync(&mut self) -> sync_runtime::Result<Synced> {
        let (before, started) = (self.server.traffic(), Instant::now());
        let report = self.workspace.sync(&self.server).await?;
        let (after, took) = (self.server.traffic(), started.elapsed());
        let traffic = Total {
            requests: after.requests - before.requests,
            sent: after.sent - before.sent,
            received: after.received - before.received,
            records_sent: report.pushed,
            records_received: report.pulled,
            syncs: 1,
            took,
        };
        self.total = self.total.and(traffic);
        Ok(Synced { report, traffic, took })
    }

    pub(super) fn to_json(&self) -> Value {
        let total = self.total;
        json!({
            "device": self.name,
            "syncs": total.syncs,
            "requests": total.requests,
            "bytes_up": total.sent,
            "bytes_down": total.received,
            "records_sent": total.records_sent,
            "records_received": total.records_received,
            "milliseconds": total.took.as_millis() as u64,
        })
    }
}

impl Total {
    fn and(self, other: Total) -> Total {
        Total {
            requests: self.requests + other.requests,
            sent: self.sent + other.sent,
            received: self.received + other.received,
            records_sent: self.records_sent + other.records_sent,
            records_received: self.records_received + other.records_received,
            syncs: self.syncs + other.syncs,
            took: self.took + other.took,
        }
    }
}

/// What travelled for each device, and in all.
pub(super) fn table(devices: [&Device; 2]) -> comfy_table::Table {
    let mut table = table::plain(["", "syncs", "requests", "up", "down", "records sent", "received", "time"]);
    let all = devices.into_iter().fold(Total::default(), |all, device| all.and(device.total));
    let rows = devices.map(|device| (device.name, device.total)).into_iter().chain([("together", all)]);
    for (name, total) in rows {
        table.add_row([
            name.to_owned(),
            total.syncs.to_string(),
            total.requests.to_string(),
            bytes(total.sent),
            bytes(total.received),
            total.records_sent.to_string(),
            total.records_received.to_string(),
            format!("{} ms", total.took.as_millis()),
        ]);
    }
    table
}
