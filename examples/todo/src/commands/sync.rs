//! Talking to the server.

use super::refused;
use crate::app::App;
use crate::model::{Todo, TodoField};
use crate::output::count;
use crate::table;
use anyhow::Result;
use serde_json::{Value, json};
use std::time::Instant;
use sync_runtime::{Collection, Field, SyncReport, Syncable};
use uuid::Uuid;

/// `todo sync`; says whether something waits for the user.
pub(crate) async fn sync(app: &App) -> Result<bool> {
    let workspace = app.open().await?;
    let server = app.server()?;
    let bar = app.output.bar("syncing", 0);
    let started = Instant::now();
    let progress = bar.clone();
    let report = workspace.sync(&server).progress(move |far| {
        progress.set_length((far.pushed + far.to_push + far.pulled + far.to_pull) as u64);
        progress.set_position((far.pushed + far.pulled) as u64);
    });
    let report = report.await?;
    bar.finish_and_clear();

    let (took, traffic) = (started.elapsed(), server.traffic());
    let merged = merged(&workspace.collection()?, &report).await?;
    let (conflicts, rejected) = (report.conflict_count(), &report.rejected);
    let mut lines = vec![
        format!("{} sent, {} received", count(report.pushed, "record"), report.pulled),
        format!(
            "{}, {} bytes up, {} bytes down, {} ms",
            count(traffic.requests as usize, "request"),
            traffic.sent,
            traffic.received,
            took.as_millis()
        ),
    ];
    if !merged.is_empty() {
        lines.push(format!("{} merged, with no question asked", count(merged.len(), "record")));
        lines.extend(merged.iter().flat_map(MergedTodo::lines));
    }
    if conflicts > 0 {
        lines.push(format!(
            "{} to decide: `todo conflicts` shows, `todo resolve` decides",
            count(conflicts, "conflict")
        ));
    }
    lines.extend(refused::sentences(rejected));
    if !report.level && conflicts == 0 && rejected.is_empty() {
        lines.push("there is more to do: sync again".into());
    }
    let value = json!({
        "sent": report.pushed,
        "received": report.pulled,
        "level": report.level,
        "merged": merged.iter().map(MergedTodo::to_json).collect::<Vec<_>>(),
        "conflicts": conflicts,
        "refused": refused::to_json(rejected),
        "requests": traffic.requests,
        "bytes_up": traffic.sent,
        "bytes_down": traffic.received,
        "milliseconds": took.as_millis() as u64,
    });
    app.output.say(lines.join("\n"), &value)?;
    Ok(conflicts > 0 || !rejected.is_empty())
}

/// A record that both sides had changed, as nobody was asked: what stands, and field by field what was lost.
struct MergedTodo {
    id: Uuid,
    stands: Option<Todo>,
    fields: Vec<MergedValue>,
}

/// A field that both sides had changed.
struct MergedValue {
    name: &'static str,
    policy: &'static str,
    kept: Shown,
    lost: Option<Shown>,
}

/// A value for people and for programs.
struct Shown {
    text: String,
    json: Value,
}

impl Shown {
    fn new(field: TodoField, value: &sync_runtime::Value) -> Result<Self> {
        // In a todo that has nothing else, it is shown as in any other.
        let mut record = Todo::default().to_record()?;
        record.set(field.index(), value.clone());
        let todo = Todo::from_record(record)?;
        let json = serde_json::to_value(&todo)?[field.name()].take();
        Ok(Shown { text: table::value(&todo, field), json })
    }
}

/// What of a sync was merged.
async fn merged(todos: &Collection<Todo>, report: &SyncReport) -> Result<Vec<MergedTodo>> {
    let mut merged = Vec::new();
    for record in report.merged::<Todo>() {
        let fields = record.fields.iter().map(|merged| {
            let lost = merged.lost.as_ref().map(|lost| Shown::new(merged.field, lost)).transpose()?;
            let kept = Shown::new(merged.field, &merged.kept)?;
            Ok(MergedValue { name: merged.field.name(), policy: merged.policy, kept, lost })
        });
        let fields = fields.collect::<Result<_>>()?;
        merged.push(MergedTodo { id: record.id, stands: todos.get(record.id).await?, fields });
    }
    Ok(merged)
}

impl MergedTodo {
    fn lines(&self) -> Vec<String> {
        let name = self.stands.as_ref().map_or_else(|| table::short(&self.id), crate::app::name);
        let mut lines = vec![format!("merged   {name}")];
        if self.fields.is_empty() {
            lines.push("         each side had changed other fields".to_owned());
        }
        lines.extend(self.fields.iter().map(|MergedValue { name, policy, kept, lost }| match lost {
            Some(lost) => format!("         {name}: {} stands, {} is lost ({policy})", kept.text, lost.text),
            None => format!("         {name}: {}, with what both did ({policy})", kept.text),
        }));
        lines
    }

    fn to_json(&self) -> Value {
        let fields = self.fields.iter().map(|MergedValue { name, policy, kept, lost }| {
            json!({
                "field": name,
                "policy": policy,
                "kept": kept.json,
                "lost": lost.as_ref().map(|lost| &lost.json),
            })
        });
        json!({ "id": self.id, "stands": self.stands, "fields": fields.collect::<Vec<_>>() })
    }
}
