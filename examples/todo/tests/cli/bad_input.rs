//! What a user may get wrong: each has an error that names the thing, and an exit code.

use crate::program::Place;
use std::io::{Read, Write};
use std::net::TcpListener;

#[test]
fn a_wrong_command_line_is_code_2() {
    let place = Place::new();
    place.run("frobnicate").fails(2, &["unrecognized subcommand", "frobnicate"]);
    place.run("lisst").fails(2, &["similar", "list"]);
    place.run("add").fails(2, &["TEXT"]);
    place.run("edit abc").fails(2, &["TEXT"]);
    place.run("resolve abc").fails(2, &["--mine", "--theirs"]);
    place.run("resolve abc --mine --theirs").fails(2, &["cannot be used with"]);
    place.run("resolve abc --field text=mine --edit").fails(2, &["cannot be used with"]);
    let fields = "text, done, priority, completed, created, place, votes";
    place.run("resolve abc --field title=mine").fails(2, &["no field `title`", fields]);
    place.run("resolve abc --field id=mine").fails(2, &["no field `id`", fields]);
    place.run("resolve abc --field text=ours").fails(2, &["`mine` or `theirs`", "`ours`"]);
    place.run("resolve abc --field text").fails(2, &["text=mine"]);
    place.run("vote abc --times many").fails(2, &["many", "--times"]);
    place.run("serve --listen nowhere").fails(2, &["nowhere", "--listen"]);
}

#[test]
fn an_id_that_nobody_has() {
    let place = Place::new();
    place.add("sqlite:todo.db", "one");
    let unknown = "01234567-89ab-7cde-8f01-23456789abcd";
    for line in ["edit {} text", "done {}", "vote {}", "rm {}"] {
        place.run(&line.replace("{}", unknown)).fails(1, &["there is no todo", unknown, "list"]);
        place.run(&line.replace("{}", "xyz")).fails(1, &["there is no todo xyz"]);
    }
    place.run("resolve xyz --mine").fails(1, &["there is no conflict xyz", "conflicts"]);
    place.run("retry xyz").fails(1, &["nobody refuses xyz", "status"]);
    place.run("revert xyz").fails(1, &["nobody refuses xyz", "status"]);
}

#[test]
fn an_end_that_several_ids_have() {
    let place = Place::new();
    // With 17 ids, two end in the same of 16 digits.
    let ids: Vec<String> =
        (0..17).map(|number| place.add("sqlite:todo.db", &format!("todo {number}"))).collect();
    let ends = |end: char| ids.iter().filter(|id| id.ends_with(end)).count();
    let end = "0123456789abcdef".chars().find(|end| ends(*end) > 1).unwrap();
    place.run(&format!("done {end}")).fails(1, &["write more of it", &ends(end).to_string()]);
    assert_eq!(place.json("list").as_array().unwrap().len(), 17);
}

#[test]
fn errors_are_json_where_json_is_asked_for() {
    let ran = Place::new().run("done xyz --json");
    ran.fails(1, &["there is no todo xyz"]);
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert!(error["error"].as_str().unwrap().contains("xyz"));
}

#[test]
fn a_todo_that_cannot_be() {
    let place = Place::new();
    place.run_with(["add", "  "]).fails(1, &["needs a text"]);
    place.run_with(["add", "two\nlines"]).fails(1, &["one line"]);
    let id = place.add("sqlite:todo.db", "one");
    place.run(&format!("edit {id} --priority AA")).fails(1, &["A to Z", "AA"]);
    place.run(&format!("edit {id} x done")).fails(1, &["todo done"]);
    assert!(place.export("sqlite:todo.db").ends_with(" one\n"));
    let most = place.add("sqlite:todo.db", &format!("two votes:{}", i64::MAX));
    place.run(&format!("vote {most}")).fails(1, &["more than can be counted"]);
}

#[test]
fn a_store_that_is_none() {
    let place = Place::new();
    for store in ["todo.db", "postgres://here", "memory:", "sqlite:"] {
        place.run(&format!("list --store {store}")).fails(1, &["sqlite:"]);
    }
    std::fs::write(place.path("letter.txt"), "Dear Ana,\n".repeat(1_000)).unwrap();
    place.run("list --store sqlite:letter.txt").fails(1, &["letter.txt", "database"]);
    place.run("list --store memory:letter.txt").fails(1, &["letter.txt"]);
    let kept = std::fs::read_to_string(place.path("letter.txt")).unwrap();
    assert_eq!(kept, "Dear Ana,\n".repeat(1_000), "a file that is something else stays as it is");
    place.run("list --store sqlite:no/such/folder/todo.db").fails(1, &["no/such/folder/todo.db"]);
}

#[test]
fn a_file_that_cannot_be_imported() {
    let place = Place::new();
    place.run("import missing.txt").fails(1, &["missing.txt"]);
    std::fs::write(place.path("bytes.txt"), [b'a', 0xFF, b'b']).unwrap();
    place.run("import bytes.txt").fails(1, &["bytes.txt", "UTF-8"]);
    std::fs::write(place.path("nul.txt"), "fine\nnot\0fine\n").unwrap();
    place.run("import nul.txt").fails(1, &["text", "U+0000"]);
    assert_eq!(place.export("sqlite:todo.db"), "", "all of a file or nothing");
}

#[test]
fn a_server_that_is_none() {
    let place = Place::new();
    place.add("sqlite:todo.db", "one");
    place.run("sync").fails(1, &["--server", "TODO_SERVER"]);
    place.run("sync --server example.org/sync").fails(1, &["example.org/sync", "http"]);
    place.run("sync --server ftp://example.org/sync").fails(1, &["http"]);

    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/sync");
    place.run(&format!("sync --server {url}")).fails(1, &[&url, "server"]);
    let status = place.json(&format!("status --server {url}"));
    assert_eq!((&status["reachable"], &status["to_send"]), (&false.into(), &1.into()));
}

#[test]
fn a_server_that_answers_html() {
    let place = Place::new();
    place.add("sqlite:todo.db", "one");
    let url = html_server();
    place.run(&format!("sync --server {url}")).fails(1, &[&url, "text/html"]);
    assert_eq!(place.json("status")["to_send"], 1);
}

#[test]
fn a_server_at_another_path() {
    let place = Place::new();
    let server = place.serve("sqlite:server.db");
    let url = server.url.replace("/sync", "/elsewhere");
    place.run(&format!("sync --server {url} --store sqlite:a.db")).fails(1, &[&url, "404"]);
}

#[test]
fn only_this_machine_is_served() {
    let place = Place::new();
    place.run("serve --listen 0.0.0.0:0").fails(1, &["0.0.0.0:0", "other machines", "policy"]);
}

#[test]
fn a_port_that_is_taken() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    place.run(&format!("serve --listen {address}")).fails(1, &[&address, "use"]);
}

/// A web server that knows one page.
fn html_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/sync", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 4096];
            let _ = connection.read(&mut request);
            let page = "<!doctype html><title>Welcome</title><p>It works!";
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                page.len()
            );
            let _ = connection.write_all((head + page).as_bytes());
        }
    });
    url
}
