//! Records of a page that stand side by side in their table, and such as do not.

#![allow(unreachable_pub)]

use crate::world::{World, text};

/// The titles of what the feed tells, by id.
fn told(world: &World, after: i64) -> Vec<(String, String)> {
    let mut told: Vec<(String, String)> = world
        .feed(after)
        .into_iter()
        .map(|state| {
            let title = state.record.as_ref().map_or_else(|| "(gone)".to_owned(), |record| text(record, 1));
            (format!("{:>5}", state.change.id.to_string()), title)
        })
        .collect();
    told.sort();
    told
}

/// Each record comes with what is in it, whatever stands beside it.
pub fn run_through(world: &World, sql: &dyn Fn(&str)) {
    let rows: Vec<String> = (1..=900).map(|id| format!("({id}, 'made {id}')")).collect();
    sql(&format!("INSERT INTO note(id, title) VALUES {}", rows.join(", ")));
    let expected = |ids: &mut dyn Iterator<Item = i64>, title: &dyn Fn(i64) -> String| {
        ids.map(|id| (format!("{id:>5}"), title(id))).collect::<Vec<_>>()
    };
    assert_eq!(told(world, 0), expected(&mut (1..=900), &|id| format!("made {id}")));
    // Side by side, with one that is gone among them.
    let seen = world.newest();
    sql("UPDATE note SET title = 'next' WHERE id BETWEEN 200 AND 400; DELETE FROM note WHERE id = 300");
    let next = |id| if id == 300 { "(gone)".to_owned() } else { "next".to_owned() };
    assert_eq!(told(world, seen), expected(&mut (200..=400), &next));
    // With others in between: few enough to be read as well, and too many.
    for (step, title) in [("id % 20 <> 0", "most"), ("id % 4 = 0", "some"), ("id % 2 = 1", "half")] {
        let seen = world.newest();
        sql(&format!("UPDATE note SET title = '{title}' WHERE {step}"));
        let changed = |id: &i64| match title {
            "most" => id % 20 != 0,
            "some" => id % 4 == 0,
            _ => id % 2 == 1,
        };
        let ids = (1..=900).filter(|id| *id != 300).filter(changed);
        assert_eq!(told(world, seen), expected(&mut ids.into_iter(), &|_| title.to_owned()), "{step}");
    }
}
