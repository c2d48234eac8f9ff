//! Two stores and a server.

use crate::program::{Place, shipped};

/// Two lists that have synced one todo, which both then edit.
fn disagreeing(place: &Place, server: &str) -> String {
    let id = place.add("sqlite:a.db", "Call the dentist");
    place.json(&format!("sync --store sqlite:a.db --server {server}"));
    place.json(&format!("sync --store memory:b.journal --server {server}"));
    place.json(&format!("edit {id} Call the dentist today --store sqlite:a.db"));
    place.json(&format!("edit {id} Call the dentist tomorrow --store memory:b.journal"));
    place.json(&format!("sync --store sqlite:a.db --server {server}"));
    id
}

#[test]
fn a_sync_says_what_was_merged_and_what_was_lost() {
    let place = Place::new();
    let server = place.serve("sqlite:server.db");
    let sync = format!("sync --server {} --store", server.url);
    let first = place.add("sqlite:a.db", "2026-11-20 Call the dentist");
    let second = place.add("sqlite:a.db", "2026-11-20 Eat pizza");
    place.json(&format!("{sync} sqlite:a.db"));
    assert_eq!(place.json(&format!("{sync} sqlite:b.db"))["merged"], serde_json::json!([]));

    place.json(&format!("edit {first} 2026-11-01 Call the dentist --store sqlite:a.db"));
    place.json(&format!("vote {first} --store sqlite:a.db"));
    place.json(&format!("edit {second} --priority A --store sqlite:a.db"));
    place.json(&format!("edit {first} 2026-11-02 Call the dentist --store sqlite:b.db"));
    place.json(&format!("vote {first} --times 2 --store sqlite:b.db"));
    place.json(&format!("edit {second} Eat tofu --store sqlite:b.db"));
    place.json(&format!("{sync} sqlite:a.db"));
    let report = place.json(&format!("{sync} sqlite:b.db"));
    assert_eq!((&report["conflicts"], &report["level"]), (&0.into(), &true.into()));
    let merged = report["merged"].as_array().unwrap();
    let of = |id: &str| merged.iter().find(|merged| merged["id"] == id).unwrap();
    let fields = serde_json::json!([
        { "field": "created", "policy": "last_write", "kept": "2026-11-02", "lost": "2026-11-01" },
        { "field": "votes", "policy": "sum", "kept": 3, "lost": null },
    ]);
    assert_eq!(of(&first)["fields"], fields);
    assert_eq!(of(&first)["stands"]["votes"], 3);
    assert_eq!(of(&second)["fields"], serde_json::json!([]), "each side changed another field");
    place.json(&format!("{sync} sqlite:a.db"));
    let list = "2026-11-02 Call the dentist votes:3\n(A) 2026-11-20 Eat tofu\n";
    assert_eq!((&*place.export("sqlite:a.db"), &*place.export("sqlite:b.db")), (list, list));
}

#[test]
fn a_sync_tells_people_what_was_merged() {
    let place = Place::new();
    let server = place.serve("sqlite:server.db");
    let sync = format!("sync --server {} --store", server.url);
    let first = place.add("sqlite:a.db", "2026-11-20 Call the dentist");
    let second = place.add("sqlite:a.db", "2026-11-20 Eat pizza");
    place.json(&format!("{sync} sqlite:a.db"));
    place.json(&format!("{sync} sqlite:b.db"));
    place.json(&format!("edit {first} 2026-11-01 Call the dentist --store sqlite:a.db"));
    place.json(&format!("vote {second} --store sqlite:a.db"));
    place.json(&format!("edit {first} 2026-11-02 Call the dentist --store sqlite:b.db"));
    place.json(&format!("vote {second} --store sqlite:b.db"));
    place.json(&format!("{sync} sqlite:a.db"));
    let ran = place.run(&format!("{sync} sqlite:b.db"));
    assert_eq!(ran.code, 0, "{ran:?}");
    for words in [
        "2 records merged",
        "created: 2026-11-02 stands, 2026-11-01 is lost (last_write)",
        "votes: 2, with what both did (sum)",
    ] {
        assert!(ran.out.contains(words), "{words} in {}", ran.out);
    }
}

#[test]
fn a_list_reaches_another_store_through_the_server() {
    let place = Place::new();
    let (path, text) = shipped();
    let server = place.serve("sqlite:server.db");
    place.json(&format!("import {} --store sqlite:a.db", path.display()));

    let sent = place.json(&format!("sync --store sqlite:a.db --server {}", server.url));
    assert_eq!((&sent["sent"], &sent["received"]), (&text.lines().count().into(), &0.into()));
    assert_eq!(sent["level"], true);
    assert!(sent["requests"].as_u64().unwrap() > 0 && sent["bytes_up"].as_u64().unwrap() > 1_000);
    let received = place.json(&format!("sync --store memory:b.journal --server {}", server.url));
    assert_eq!((&received["sent"], &received["received"]), (&0.into(), &text.lines().count().into()));
    assert_eq!(place.export("memory:b.journal"), text);

    let again = place.json(&format!("sync --store sqlite:a.db --server {}", server.url));
    assert_eq!((&again["sent"], &again["received"]), (&0.into(), &0.into()));
    let status = place.json(&format!("status --store sqlite:a.db --server {}", server.url));
    assert_eq!((&status["to_send"], &status["reachable"]), (&0.into(), &true.into()));
    assert_eq!(status["server"], server.url);
    assert_eq!(server.end(), 0);
    assert_eq!(place.export("sqlite:server.db"), text, "the server's file is a store like any other");
}

#[test]
fn a_delete_reaches_the_other_store() {
    let place = Place::new();
    let server = place.serve("sqlite:server.db");
    let id = place.add("sqlite:a.db", "Rake the leaves");
    place.json(&format!("sync --store sqlite:a.db --server {}", server.url));
    place.json(&format!("sync --store sqlite:b.db --server {}", server.url));
    place.json(&format!("rm {id} --store sqlite:b.db"));
    place.json(&format!("sync --store sqlite:b.db --server {}", server.url));
    assert_eq!(place.json(&format!("sync --store sqlite:a.db --server {}", server.url))["received"], 1);
    assert_eq!(place.export("sqlite:a.db"), "");
}

#[test]
fn a_conflict_is_shown_and_my_version_kept() {
    let place = Place::new();
    let server = place.serve("sqlite:server.db");
    let id = disagreeing(&place, &server.url);
    let sync = format!("sync --json --server {} --store", server.url);
    assert_eq!(place.run(&format!("{sync} memory:b.journal")).json(3)["conflicts"], 1);

    // It is still there in the next process, and the next sync says so again.
    let shown = place.run("conflicts --json --store memory:b.journal").json(3);
    assert_eq!(shown[0]["id"], id.as_str());
    assert_eq!(shown[0]["fields"][0], "text");
    assert_eq!(shown[0]["before"]["text"], "Call the dentist");
    assert_eq!(shown[0]["mine"]["text"], "Call the dentist tomorrow");
    assert_eq!(shown[0]["theirs"]["text"], "Call the dentist today");
    let table = place.run("conflicts --store memory:b.journal");
    assert_eq!(table.code, 3);
    for word in ["before", "mine", "theirs", "today", "tomorrow", "todo resolve"] {
        assert!(table.out.contains(word), "{word} in {}", table.out);
    }
    assert_eq!(place.json("status --store memory:b.journal")["conflicts"], 1);
    assert!(place.run("list --store memory:b.journal").out.contains("conflict"));
    assert_eq!(place.run(&format!("{sync} memory:b.journal")).json(3)["conflicts"], 1);

    let resolved = place.json(&format!("resolve {} --mine --store memory:b.journal", &id[id.len() - 6..]));
    assert_eq!((&resolved["left"], &resolved["resolved"]), (&0.into(), &id.as_str().into()));
    assert_eq!(resolved["stands"]["text"], "Call the dentist tomorrow");
    assert_eq!(place.run(&format!("{sync} memory:b.journal")).json(0)["sent"], 1);
    assert_eq!(place.run(&format!("{sync} sqlite:a.db")).json(0)["received"], 1);
    assert!(place.export("sqlite:a.db").ends_with("Call the dentist tomorrow\n"));
    assert_eq!(place.export("sqlite:a.db"), place.export("memory:b.journal"));
}

#[test]
fn a_conflict_is_decided_for_the_other_side() {
    let place = Place::new();
    let server = place.serve("sqlite:server.db");
    let id = disagreeing(&place, &server.url);
    place.run(&format!("sync --server {} --store memory:b.journal", server.url));
    let resolved = place.json(&format!("resolve {id} --theirs --store memory:b.journal"));
    assert_eq!(resolved["stands"]["text"], "Call the dentist today");
    place.json(&format!("sync --server {} --store memory:b.journal", server.url));
    place.json(&format!("sync --server {} --store sqlite:a.db", server.url));
    assert_eq!(place.export("sqlite:a.db"), place.export("memory:b.journal"));
}

#[test]
fn a_conflict_is_decided_for_neither_side() {
    let place = Place::new();
    let server = place.serve("sqlite:server.db");
    let id = disagreeing(&place, &server.url);
    place.run(&format!("sync --server {} --store memory:b.journal", server.url));
    let resolved = place.json(&format!("resolve {id} --as=Write --store memory:b.journal"));
    assert_eq!((&resolved["resolved"], &resolved["stands"]["text"]), (&id.as_str().into(), &"Write".into()));
    place.json(&format!("sync --server {} --store memory:b.journal", server.url));
    place.json(&format!("sync --server {} --store sqlite:a.db", server.url));
    assert!(place.export("sqlite:a.db").contains("Write"), "{}", place.export("sqlite:a.db"));
    assert_eq!(place.export("sqlite:a.db"), place.export("memory:b.journal"));
}

#[test]
fn a_delete_against_an_edit_is_a_conflict_too() {
    let place = Place::new();
    let server = place.serve("sqlite:server.db");
    let id = place.add("sqlite:a.db", "Cancel the gym");
    let sync = format!("sync --json --server {} --store", server.url);
    place.run(&format!("{sync} sqlite:a.db")).json(0);
    place.run(&format!("{sync} sqlite:b.db")).json(0);
    place.json(&format!("rm {id} --store sqlite:a.db"));
    place.json(&format!("edit {id} Go to the gym --store sqlite:b.db"));
    place.run(&format!("{sync} sqlite:a.db")).json(0);
    place.run(&format!("{sync} sqlite:b.db")).json(3);
    let shown = place.run("conflicts --json --store sqlite:b.db").json(3);
    assert_eq!((&shown[0]["theirs"], &shown[0]["mine"]["text"]), (&().into(), &"Go to the gym".into()));
    assert!(place.run("conflicts --store sqlite:b.db").out.contains("deleted"));
    let resolved = place.json(&format!("resolve {id} --theirs --store sqlite:b.db"));
    assert_eq!(resolved["stands"], serde_json::Value::Null);
    place.run(&format!("{sync} sqlite:b.db")).json(0);
    place.run(&format!("{sync} sqlite:a.db")).json(0);
    assert_eq!((place.export("sqlite:a.db"), place.export("sqlite:b.db")), (String::new(), String::new()));
}

#[test]
fn the_server_may_be_named_by_the_environment() {
    let place = Place::new();
    let server = place.serve("memory:server.journal");
    place.add("sqlite:a.db", "one");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_todo"))
        .args(["sync", "--json"])
        .env("TODO_SERVER", &server.url)
        .env("TODO_STORE", format!("sqlite:{}", place.path("a.db").display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
