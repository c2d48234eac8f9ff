//! What `docs/protocol.md` shows is what travels: every JSON block there is read, and written back the same.

use crate::format::Format;
use crate::message::Chosen;
use crate::problem::Problem;
use crate::wire;
use serde::de::DeserializeSeed;
use serde_json::{Value as Json, json};
use sync_runtime::change::{Change, State};
use sync_runtime::codec::{self, Plain, Reader};
use sync_runtime::replica::{Description, Exchange, Limits};
use sync_runtime::{FieldSchema, FieldType, ModelSchema, Models, schema::Model};

const PAGE: &str = include_str!("../../docs/protocol.md");
const MOST: usize = 1_000;

const TITLE: FieldSchema = FieldSchema::new("title", FieldType::Text);
static TODO: ModelSchema = ModelSchema {
    name: "Todo",
    table: "todo",
    fields: &[
        FieldSchema { name: "id", ty: FieldType::Uuid, ..TITLE },
        TITLE,
        FieldSchema { name: "completed", ty: FieldType::Bool, ..TITLE },
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

/// The blocks of the page: what each is, and its JSON.
fn blocks() -> Vec<(&'static str, String)> {
    let mut blocks = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if let Some(what) = line.trim_start().strip_prefix("```json ") {
            let body: Vec<_> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
            blocks.push((what, body.join("\n")));
        }
    }
    blocks
}

fn models() -> Models {
    let mut models = Models::default();
    models.add(Model { schema: &TODO, check: |_| Ok(()) });
    models
}

fn read<'de, S: DeserializeSeed<'de>>(text: &'de str, reader: &Reader, seed: S) -> S::Value {
    Format::Json.read(text.as_bytes(), reader, seed, "reading a block").expect(text)
}

fn written(message: &impl serde::Serialize) -> Json {
    let text = Format::Json.write(message).expect("writes");
    serde_json::from_slice(&text).expect("reads back as JSON")
}

/// The same message, read and written; `None` where this side never writes it so.
fn again(what: &str, text: &str) -> Option<Json> {
    let models = models();
    let reader = Reader::new(&models);
    Some(match what {
        "change" => {
            let change: Change = read(text, &reader, reader.one());
            written(&codec::wire(&change))
        }
        "describe" => written(&read(text, &reader, Plain::<Description>::seed())),
        "exchange" => {
            let asked = read(text, &reader, wire::ReadExchange::seed(&reader, MOST));
            let pull =
                asked.pull.map(|pull| pull.fit(&models, &models, &Limits::default()).expect("a wish").0);
            let exchange = Exchange { from: asked.from, to: asked.to, push: asked.push, pull };
            written(&wire::ExchangeText::of(&exchange, None))
        }
        "exchanged" => {
            let exchanged = read(text, &reader, wire::ReadExchanged::seed(&reader, MOST));
            written(&wire::ExchangedText::from(&exchanged))
        }
        "pushed" => {
            let answer = json!({ "replica": "c4d1e2f3a4b5464788990a1b2c3d4e5f", "now": 1, "pushed":
                serde_json::from_str::<Json>(text).expect("JSON") });
            let again = again("exchanged", &answer.to_string())?;
            again["pushed"].clone()
        }
        "pull" => {
            let asked = read(text, &reader, wire::ReadPull::seed(&reader, MOST));
            let names = [TODO.name];
            let names = asked.models.is_some().then_some(&names[..]);
            let (pull, _) = asked.fit(&models, &models, &Limits::default()).expect("a wish");
            written(&wire::PullText::of(&pull, names))
        }
        "pulled" => {
            let pulled = read(text, &reader, Chosen(wire::ReadPulled(&reader, MOST)));
            written(&wire::PulledText::from(&pulled))
        }
        "checkpoint" => written(&read(text, &reader, Plain::<wire::CheckpointText>::seed())),
        "changes" => {
            let changes: Vec<Change> = read(text, &reader, wire::ReadChanges::seed(&reader, MOST));
            written(&wire::ChangesText::from(changes.as_slice()))
        }
        "deltas" => {
            let deltas: Vec<Change> = read(text, &reader, wire::ReadDeltas::seed(&reader, MOST));
            written(&wire::DeltasText::from(deltas.as_slice()))
        }
        "diff" => {
            let diff = read(text, &reader, wire::ReadDiff::seed(&reader, MOST));
            written(&wire::DiffText::from(&diff))
        }
        "updates" => {
            let updates = read(text, &reader, wire::ReadUpdates::seed(&reader, MOST));
            written(&wire::UpdatesText::from(updates.as_slice()))
        }
        "bulk" => {
            let (from, updates) = read(text, &reader, wire::ReadBulk::seed(&reader, MOST));
            written(&wire::BulkText::of(from, &updates))
        }
        "outcomes" => {
            let outcomes = read(text, &reader, wire::ReadOutcomes::seed(&reader, MOST));
            written(&wire::OutcomesMessage::from(outcomes.as_slice()))
        }
        "states" => {
            let states: Vec<State> = read(text, &reader, wire::ReadStates::seed(&reader, MOST));
            written(&wire::StatesText::from(states.as_slice()))
        }
        "write" => {
            let writes = read(text, &reader, wire::ReadWrites::seed(&reader, MOST));
            assert_eq!(writes.len(), 2);
            return None;
        }
        "read" => {
            read(text, &reader, wire::ReadWanted::seed(&reader, MOST));
            return None;
        }
        "problem" => written(&serde_json::from_str::<Problem>(text).expect("a problem")),
        other => panic!("docs/protocol.md has a block of an unknown kind: {other}"),
    })
}

#[test]
fn the_documented_messages_are_those_that_travel() {
    let blocks = blocks();
    assert!(blocks.len() >= 20, "only {} blocks were found", blocks.len());
    for (what, text) in blocks {
        let shown: Json = serde_json::from_str(&text).expect(&text);
        if let Some(again) = again(what, &text) {
            assert_eq!(again, shown, "{what}");
        }
    }
}

#[test]
fn every_problem_is_documented_with_its_status() {
    let rows = PAGE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let code = cells.next()?.trim().trim_end_matches('`');
        Some((code, cells.next()?.trim().parse::<u16>().ok()?))
    });
    let mut found = 0;
    for (code, status) in rows {
        let kind = sync_runtime::ErrorKind::from_code(code).expect(code);
        assert_eq!(Problem::new(kind, "").status, status, "{code}");
        found += 1;
    }
    assert_eq!(found, 18, "one row for each kind of error");
}
