//! The demo is a test: it fails if anything differs.

use crate::program::Place;

#[test]
fn the_demo_ends_well_and_tells_it() {
    let ran = Place::new().run("demo");
    assert_eq!(ran.code, 0, "{ran:?}");
    for word in ["49 todos", "conflict", "laptop", "phone", "the same on all three", "requests"] {
        assert!(ran.out.contains(word), "{word} in {}", ran.out);
    }
    // This is a pipe.
    assert!(!ran.out.contains('\u{1b}'), "{}", ran.out);
    assert_eq!(ran.err, "");
}

#[test]
fn the_demo_tells_programs_what_came_of_it() {
    let demo = Place::new().json("demo");
    assert_eq!((&demo["equal"], &demo["todos"], &demo["tombstones"]), (&true.into(), &50.into(), &2.into()));
    assert_eq!(demo["devices"].as_array().unwrap().len(), 2);
    assert!(demo["devices"][1]["bytes_down"].as_u64().unwrap() > 1_000);
}
