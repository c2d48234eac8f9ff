//! Conflicts, field by field and in an editor.

use crate::program::{Place, Server};
use serde_json::{Value, json};

/// Two lists, `a.db` and `b.db`, whose users both changed the text and the priority of a todo, and both voted for it.
/// Only the one of `a.db` also marked it as done. The conflict waits in `b.db`.
struct Disagreement {
    place: Place,
    server: Server,
    id: String,
}

impl Disagreement {
    fn new() -> Self {
        let place = Place::new();
        let server = place.serve("sqlite:server.db");
        let id = place.add("sqlite:a.db", "(C) 2026-11-20 Call the dentist");
        let disagreement = Disagreement { place, server, id };
        let Disagreement { place, id, .. } = &disagreement;
        disagreement.sync("sqlite:a.db", 0);
        disagreement.sync("sqlite:b.db", 0);
        place.json(&format!("edit {id} Call the dentist today --priority A --store sqlite:a.db"));
        place.json(&format!("vote {id} --store sqlite:a.db"));
        place.json(&format!("done {id} --store sqlite:a.db"));
        place.json(&format!("edit {id} Call the dentist tomorrow --priority B --store sqlite:b.db"));
        place.json(&format!("vote {id} --store sqlite:b.db"));
        disagreement.sync("sqlite:a.db", 0);
        disagreement.sync("sqlite:b.db", 3);
        disagreement
    }

    fn sync(&self, store: &str, code: i32) -> Value {
        self.place.run(&format!("sync --json --server {} --store {store}", self.server.url)).json(code)
    }

    /// Decides the conflict, and gives the todo that stands in the end everywhere.
    fn resolve(&self, options: &str) -> Value {
        let Disagreement { place, id, .. } = self;
        let resolved = place.json(&format!("resolve {id} {options} --store sqlite:b.db"));
        assert_eq!(resolved["left"], 0);
        self.stands(&resolved)
    }

    /// What a resolution said stands, which is checked on both sides.
    fn stands(&self, resolved: &Value) -> Value {
        self.sync("sqlite:b.db", 0);
        self.sync("sqlite:a.db", 0);
        for store in ["a.db", "b.db"] {
            assert_eq!(self.place.json(&format!("list --all --store sqlite:{store}"))[0], resolved["stands"]);
        }
        resolved["stands"].clone()
    }

    /// Decides the conflict with an editor that runs this shell script; a cancelled one is still there.
    fn cancelled(&self, script: &str, words: &[&str]) {
        let line = format!("resolve {} --edit --store sqlite:b.db", self.id);
        self.place.run_with_editor(script, &line).fails(1, words);
        assert_eq!(
            self.place.run("conflicts --json --store sqlite:b.db").json(3).as_array().unwrap().len(),
            1
        );
    }
}

#[test]
fn a_conflict_shows_what_is_disputed_and_what_merges() {
    let Disagreement { place, id, .. } = Disagreement::new();
    let shown = place.run("conflicts --json --store sqlite:b.db").json(3);
    assert_eq!(shown[0]["id"], id.as_str());
    assert_eq!(shown[0]["fields"], json!(["text", "priority"]));
    assert_eq!(shown[0]["merging"], json!(["done", "completed", "votes"]));
    assert_eq!(shown[0]["reason"], Value::Null);
    let priorities = ["before", "mine", "theirs"].map(|side| &shown[0][side]["priority"]);
    assert_eq!(priorities, ["C", "B", "A"]);

    let table = place.run("conflicts --store sqlite:b.db").out;
    let columns = ["before", "mine", "theirs"].map(|column| table.find(column).unwrap());
    assert!(columns.is_sorted(), "{table}");
    for word in ["≠ text", "≠ priority", "✓ done", "✓ completed", "✓ votes", "✓ merges by itself where"]
    {
        assert!(table.contains(word), "{word} in {table}");
    }
    let id = &id[id.len() - 6..];
    for way in ["--mine", "--theirs", "--field text=mine --field priority=mine", "--as TEXT", "--edit"] {
        assert!(table.contains(&format!("todo resolve {id} {way} ")), "{way} in {table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn each_field_is_decided_for_a_side_and_the_rest_merges() {
    let stands = Disagreement::new().resolve("--field text=mine --field priority=theirs");
    assert_eq!((&stands["text"], &stands["priority"]), (&"Call the dentist tomorrow".into(), &"A".into()));
    assert_eq!((&stands["votes"], &stands["done"]), (&2.into(), &true.into()));

    let stands = Disagreement::new()
        .resolve("--field text=theirs --field priority=mine --field done=mine --field completed=mine");
    assert_eq!((&stands["text"], &stands["priority"]), (&"Call the dentist today".into(), &"B".into()));
    assert_eq!(
        (&stands["votes"], &stands["done"]),
        (&2.into(), &false.into()),
        "a field that merges can be chosen"
    );
}

#[test]
fn a_field_that_nobody_decided_is_named() {
    let disagreement = Disagreement::new();
    let Disagreement { place, id, .. } = &disagreement;
    place
        .run(&format!("resolve {id} --field text=mine --store sqlite:b.db"))
        .fails(1, &["nobody chose", "priority"]);
    place.run(&format!("resolve {id} --field votes=mine --store sqlite:b.db")).fails(1, &["text, priority"]);
    disagreement.resolve("--field text=mine --field priority=mine");
}

#[test]
fn a_delete_is_not_decided_by_fields() {
    let place = Place::new();
    let server = place.serve("sqlite:server.db");
    let id = place.add("sqlite:a.db", "Cancel the gym");
    let sync = format!("sync --json --server {} --store", server.url);
    place.run(&format!("{sync} sqlite:a.db")).json(0);
    place.run(&format!("{sync} sqlite:b.db")).json(0);
    place.json(&format!("edit {id} Go to the gym --store sqlite:a.db"));
    place.json(&format!("rm {id} --store sqlite:b.db"));
    place.run(&format!("{sync} sqlite:a.db")).json(0);
    place.run(&format!("{sync} sqlite:b.db")).json(3);
    let shown = place.run("conflicts --store sqlite:b.db").out;
    assert!(shown.contains("deleted") && !shown.contains("--field"), "{shown}");
    place
        .run(&format!("resolve {id} --field text=theirs --store sqlite:b.db"))
        .fails(1, &["choose one side whole"]);

    // The editor shows what is left of it.
    let line = format!("resolve {id} --edit --json --store sqlite:b.db");
    let resolved = place.run_with_editor("sed -i.bak '1s/Go to/Run past/' \"$1\"", &line);
    let text = resolved.json(0)["stands"]["text"].as_str().unwrap().to_owned();
    assert_eq!(text, "Run past the gym");
}

#[test]
fn what_policies_make_of_it_and_the_model_refuses_has_a_reason() {
    let place = Place::new();
    let server = place.serve("sqlite:server.db");
    let sync = format!("sync --json --server {} --store", server.url);
    let id = place.add("sqlite:a.db", "x 2026-11-01 Rake the leaves");
    place.run(&format!("{sync} sqlite:a.db")).json(0);
    place.run(&format!("{sync} sqlite:b.db")).json(0);
    // The later day stands, and so does what only one changed: that it is not done after all.
    place.json(&format!("done {id} --undo --store sqlite:a.db"));
    place.json(&format!("done {id} --undo --store sqlite:b.db"));
    place.json(&format!("done {id} --store sqlite:b.db"));
    place.run(&format!("{sync} sqlite:a.db")).json(0);
    place.run(&format!("{sync} sqlite:b.db")).json(3);
    let shown = place.run("conflicts --json --store sqlite:b.db").json(3);
    assert_eq!(shown[0]["fields"], json!(["done", "completed"]));
    assert!(shown[0]["reason"].as_str().unwrap().contains("only a todo that is done"), "{shown}");
    let table = place.run("conflicts --store sqlite:b.db").out;
    assert!(table.contains("because: ") && table.contains("only a todo that is done"), "{table}");
    let by_field = "--field done=theirs --field completed=theirs";
    let resolved = place.json(&format!("resolve {id} {by_field} --store sqlite:b.db"));
    assert_eq!(
        (&resolved["stands"]["done"], &resolved["stands"]["completed"]),
        (&false.into(), &Value::Null)
    );
}

#[test]
fn a_conflict_is_decided_in_an_editor() {
    let disagreement = Disagreement::new();
    let script = "printf 'Call her\\r\\nCall him\\r\\n' > \"$1\"";
    let line = format!("resolve {} --edit --json --store sqlite:b.db", disagreement.id);
    disagreement.place.run_with_editor(script, &line).fails(1, &["one line", "nothing is decided"]);
    let script = "cp \"$1\" seen.txt\nsed -i.bak '1s/.*/# 1: call her on Monday votes:7/' \"$1\"";
    let resolved = disagreement.place.run_with_editor(script, &line).json(0);
    let stands = disagreement.stands(&resolved);
    assert_eq!((&stands["text"], &stands["votes"]), (&"# 1: call her on Monday".into(), &7.into()));
    assert_eq!(stands["priority"], Value::Null);

    let seen = std::fs::read_to_string(disagreement.place.path("seen.txt")).unwrap();
    let mut lines = seen.lines();
    assert_eq!(lines.next(), Some("(B) 2026-11-20 Call the dentist tomorrow votes:1"));
    assert!(lines.all(|line| line.starts_with('#')), "{seen}");
    assert!(seen.contains("# before: (C) 2026-11-20 Call the dentist\n"), "{seen}");
    assert!(seen.contains("# theirs: x (A) "), "{seen}");
}

#[test]
fn an_editor_that_changes_nothing_decides_nothing() {
    let disagreement = Disagreement::new();
    disagreement.cancelled("true", &["left the line as it was", "--mine"]);
    disagreement.cancelled(": > \"$1\"", &["left no line", "nothing is decided"]);
    disagreement.cancelled("grep '^#' \"$1\" > less.txt; cp less.txt \"$1\"", &["left no line"]);
    disagreement.cancelled("echo lost > \"$1\"; exit 7", &["sh editor.sh", "7", "nothing is decided"]);
    let line = format!("resolve {} --edit --store sqlite:b.db", disagreement.id);
    disagreement.place.run_with_editor("rm \"$1\"", &line).fails(1, &["reading what the editor wrote"]);
}
