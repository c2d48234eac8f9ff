//! The commands that need no server.

use crate::program::{Place, shipped};

#[test]
fn a_todo_is_added_listed_edited_done_and_deleted() {
    let place = Place::new();
    let added = place.run_with(["add", "--json", "(A) 2026-11-20 Call mum +family @phone"]).json(0);
    assert_eq!(added["text"], "Call mum +family @phone");
    assert_eq!(added["priority"], "A");
    assert_eq!(added["created"], "2026-11-20");
    let id = added["id"].as_str().unwrap();
    let short = &id[id.len() - 6..];

    let listed = place.json("list");
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0], added);

    let edited = place.json(&format!("edit {short} Call dad --priority b"));
    assert_eq!((&edited["text"], &edited["priority"]), (&"Call dad".into(), &"B".into()));
    assert_eq!(edited["created"], "2026-11-20", "what was not said stays");

    let done = place.json(&format!("done {short}"));
    assert_eq!(done[0]["done"], true);
    assert!(done[0]["completed"].is_string());
    assert_eq!(place.json("list").as_array().unwrap().len(), 0);
    assert_eq!(place.json("list --all").as_array().unwrap().len(), 1);
    let undone = place.json(&format!("done --undo {id}"));
    assert_eq!((&undone[0]["done"], &undone[0]["completed"]), (&false.into(), &().into()));

    assert_eq!(place.json(&format!("rm {short}"))["deleted"][0], id);
    assert_eq!(place.json("list --all").as_array().unwrap().len(), 0);
}

#[test]
fn today_is_noted_and_the_place_counts_up() {
    let place = Place::new();
    let first = place.json("add one");
    let second = place.json("add two");
    assert!(first["created"].is_string());
    assert_eq!((&first["place"], &second["place"]), (&1.into(), &2.into()));
}

#[test]
fn the_list_is_filtered_and_the_most_urgent_comes_first() {
    let place = Place::new();
    for line in ["plain @home", "(B) second +garden", "(A) first +garden", "(C) third +gardening"] {
        place.add("sqlite:todo.db", line);
    }
    let texts = |line: &str| -> Vec<String> {
        let listed = place.json(line);
        listed.as_array().unwrap().iter().map(|todo| todo["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts("list"), ["first +garden", "second +garden", "third +gardening", "plain @home"]);
    assert_eq!(texts("list --project garden"), ["first +garden", "second +garden"]);
    assert_eq!(texts("list --project +garden"), ["first +garden", "second +garden"]);
    assert_eq!(texts("list --context home"), ["plain @home"]);
    assert_eq!(texts("list second"), ["second +garden"]);
    let table = place.run("list").out;
    assert!(table.contains("first +garden") && table.contains("4 of 4 todos"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn votes_add_up_and_are_a_tag_of_the_line() {
    let place = Place::new();
    let id = place.add("sqlite:todo.db", "2026-11-20 Eat pizza @town");
    assert!(place.run("list").out.lines().any(|line| line.trim_end().ends_with("to send")));
    assert_eq!(place.json(&format!("vote {id}"))["votes"], 1);
    assert_eq!(place.json(&format!("vote {} --times 3", &id[id.len() - 6..]))["votes"], 4);
    assert_eq!(place.json("list")[0]["votes"], 4);
    let table = place.run("list").out;
    assert!(table.contains("Votes") && table.contains(" 4 "), "{table}");
    assert_eq!(place.export("sqlite:todo.db"), "2026-11-20 Eat pizza @town votes:4\n");

    assert_eq!(place.json(&format!("edit {id} Eat tofu"))["votes"], 4, "what was not said stays");
    assert_eq!(place.json(&format!("edit {id} Eat tofu votes:9"))["votes"], 9);
    assert_eq!(place.json(&format!("vote {id} --times -9"))["votes"], 0);
    assert_eq!(place.export("sqlite:todo.db"), "2026-11-20 Eat tofu\n");
}

#[test]
fn a_file_with_votes_is_written_back_byte_for_byte() {
    let place = Place::new();
    let text = "(A) Eat pizza votes:3\nvotes:3\nEat votes:3 pizza\nx 2026-11-20 Eat votes:03\n";
    std::fs::write(place.path("votes.txt"), text).unwrap();
    place.json("import votes.txt");
    assert_eq!(place.export("sqlite:todo.db"), text);
    let list = place.json("list --all");
    let votes: Vec<&serde_json::Value> = list.as_array().unwrap().iter().map(|todo| &todo["votes"]).collect();
    assert_eq!(votes, [3, 0, 0, 0]);
}

#[test]
fn the_shipped_list_is_written_back_byte_for_byte() {
    let (path, text) = shipped();
    for store in ["sqlite:list.db", "memory:list.journal"] {
        let place = Place::new();
        let ran = place.run_with(["import", path.to_str().unwrap(), "--store", store, "--json"]);
        assert_eq!(ran.json(0)["imported"], text.lines().count());
        assert!(text.lines().count() >= 40);
        assert_eq!(place.export(store), text);

        let exported = place.json(&format!("export copy.txt --store {store}"));
        assert_eq!(exported["exported"], text.lines().count());
        assert_eq!(std::fs::read_to_string(place.path("copy.txt")).unwrap(), text);
        let lines = place.json(&format!("export --store {store}"));
        assert_eq!(lines.as_array().unwrap().len(), text.lines().count());
    }
}

#[test]
fn a_list_larger_than_a_batch_is_imported_and_blank_lines_are_left_out() {
    let place = Place::new();
    let lines: Vec<String> = (0..2_500).map(|number| format!("todo number {number}")).collect();
    std::fs::write(place.path("long.txt"), lines.join("\r\n\r\n")).unwrap();
    assert_eq!(place.json("import long.txt")["imported"], 2_500);
    assert_eq!(place.export("sqlite:todo.db"), lines.join("\n") + "\n");
}

#[test]
fn the_status_counts() {
    let place = Place::new();
    let id = place.add("sqlite:todo.db", "one");
    place.add("sqlite:todo.db", "two");
    place.json(&format!("done {id}"));
    let status = place.json("status");
    assert_eq!((&status["open"], &status["done"]), (&1.into(), &1.into()));
    assert_eq!((&status["to_send"], &status["conflicts"]), (&2.into(), &0.into()));
    assert_eq!((&status["synced"], &status["refused"]), (&0.into(), &serde_json::json!([])));
    assert_eq!((&status["server"], &status["reachable"]), (&().into(), &().into()));
    assert_eq!(status["store"], "sqlite:todo.db");
}

#[test]
fn an_empty_list_is_no_error() {
    let place = Place::new();
    assert_eq!(place.run("list").out, "0 of 0 todos\n");
    assert_eq!(place.export("sqlite:todo.db"), "");
    assert_eq!(place.json("conflicts").as_array().unwrap().len(), 0);
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    use std::process::{Command, Stdio};
    let place = Place::new();
    let (path, _) = shipped();
    place.json(&format!("import {}", path.display()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_todo"))
        .args(["list", "--store", &format!("sqlite:{}", place.path("todo.db").display())])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}
