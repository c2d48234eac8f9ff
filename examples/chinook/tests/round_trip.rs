//! The program from the outside: the bookshop always, Chinook where its scripts are.

use std::path::PathBuf;
use std::process::Command;

fn run(arguments: &[&str]) -> String {
    let program =
        Command::new(env!("CARGO_BIN_EXE_chinook")).args(arguments).output().expect("the program starts");
    let told = String::from_utf8_lossy(&[program.stdout, program.stderr].concat()).into_owned();
    assert!(program.status.success(), "{told}\n(`scripts/services` starts the databases)");
    told
}

/// What both runs say when all went well.
fn is_a_round_trip(told: &str) {
    for line in
        ["are adopted", "every value in each of the four is that of the original", "all four are equal"]
    {
        assert!(told.contains(line), "{told}");
    }
}

#[test]
fn a_small_shop_goes_around() {
    let told = run(&[]);
    is_a_round_trip(&told);
    assert!(told.contains("5 tables with 21 rows"), "{told}");
}

#[test]
fn chinook_goes_around() {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/chinook");
    let folder = std::env::var_os("CHINOOK_DATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    if !folder.is_dir() && std::env::var_os("CI").is_none() {
        eprintln!("skipped: {} is not there; see the README of this example", folder.display());
        return;
    }
    let told = run(&["--data", &folder.display().to_string()]);
    is_a_round_trip(&told);
    assert!(told.contains("11 tables with 15607 rows"), "{told}");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let program = Command::new(env!("CARGO_BIN_EXE_chinook"))
        .args(["--postgres", "postgres://nobody@127.0.0.1:1/nowhere"])
        .output()
        .expect("the program starts");
    assert!(!program.status.success());
    let told = String::from_utf8_lossy(&program.stderr).into_owned();
    assert!(told.contains("`psql` failed") && told.contains("127.0.0.1"), "{told}");
}
