//! The demo is a test: it fails if anything differs.

use crate::program::Place;

#[test]
fn the_demo_ends_well_and_tells_it() {
    let ran = Place::new().run("demo");
    assert_eq!(ran.code, 0, "{ran:?}");
    for word in ["49 todos", "conflict", "laptop", "phone", "the same on all three", "requests"] {
        assert!(ran.out.contains(word), "{word} in {}", ran.out);
    }
    let (first, second) = ran.out.split_once("The second act").unwrap();
    assert!(first.contains("≠ text") && !first.contains("merged"), "{first}");
    for word in ["✓ text", "✓ priority", "✓ votes", "1 merged", "both devices gave a vote, and 2 count"]
    {
        assert!(second.contains(word), "{word} in {second}");
    }
    assert!(!second.contains("1 conflict") && !second.contains('≠'), "{second}");
    // This is a pipe.
    assert!(!ran.out.contains('\u{1b}'), "{}", ran.out);
    assert_eq!(ran.err, "");
}

#[test]
fn the_demo_tells_programs_what_came_of_it() {
    let demo = Place::new().json("demo");
    assert_eq!((&demo["equal"], &demo["todos"], &demo["tombstones"]), (&true.into(), &50.into(), &2.into()));
    assert_eq!(demo["votes"], 2);
    assert_eq!(demo["devices"].as_array().unwrap().len(), 2);
    assert!(demo["devices"][1]["bytes_down"].as_u64().unwrap() > 1_000);
}
