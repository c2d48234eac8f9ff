//! The todo.txt format of todotxt.org: one line, one todo.
//!
//! ```text
//! x (A) 2026-11-21 2026-11-20 Call mum +family @phone due:2026-11-22
//! │  │  completed  created    text, with projects, contexts and key:value tags anywhere in it
//! │  priority
//! done
//! ```
//!
//! Votes are a tag too, `votes:3`, the last word of the line; where it stands elsewhere it is text like any other.
//!
//! A line that was read is written back byte for byte: whatever does not follow the rules stays in the text.

use crate::model::Todo;
use jiff::civil::Date;
use std::fmt;

/// Reads one line, which has no line break in it. Every line that is not blank is a todo.
pub(crate) fn read(line: &str) -> Todo {
    let mut todo = Todo::default();
    let mut rest = line;
    if let Some(after) = token(rest, |token| (token == "x").then_some(())) {
        todo.done = true;
        rest = after.1;
    }
    if let Some((priority, after)) = token(rest, priority) {
        todo.priority = Some(priority);
        rest = after;
    }
    let mut dates = Vec::new();
    while let Some((date, after)) = token(rest, date).filter(|_| dates.len() < 1 + usize::from(todo.done)) {
        dates.push(date);
        rest = after;
    }
    // The completion date comes first, and only a done todo has one.
    todo.completed = dates.first().copied().filter(|_| todo.done);
    todo.created = dates.get(usize::from(todo.done)).copied();
    let (text, votes) = split_votes(rest);
    (todo.text, todo.votes) = (text.to_owned(), votes);
    todo
}

/// Takes `votes:3` from the end of a text, with the one space before it. Anything that would be written back in another
/// way, such as `votes:03` or `votes:0`, stays where it is.
fn split_votes(text: &str) -> (&str, i64) {
    let read = || {
        let (text, word) = text.rsplit_once(' ')?;
        let votes: i64 = word.strip_prefix("votes:")?.parse().ok()?;
        let exact = votes != 0 && word == votes_tag(votes) && !text.trim().is_empty();
        exact.then_some((text, votes))
    };
    read().unwrap_or((text, 0))
}

fn votes_tag(votes: i64) -> String {
    format!("votes:{votes}")
}

/// Takes the first word of a line and the one space behind it, if the word reads and something is left for a text.
fn token<T>(line: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<(T, &str)> {
    let (word, rest) = line.split_once(' ')?;
    if rest.trim().is_empty() {
        return None;
    }
    Some((read(word)?, rest))
}

/// `(A)`
fn priority(word: &str) -> Option<String> {
    let letter = word.strip_prefix('(')?.strip_suffix(')')?;
    is_priority(letter).then(|| letter.to_owned())
}

/// Whether this is one letter from A to Z.
pub(crate) fn is_priority(letter: &str) -> bool {
    matches!(letter.as_bytes(), [b'A'..=b'Z'])
}

/// `2026-11-21`, and nothing shorter or longer: other spellings would not be written back as they were.
fn date(word: &str) -> Option<Date> {
    let day: Date = word.parse().ok()?;
    (day.year() > 0 && day.to_string() == word).then_some(day)
}

/// Writes a todo as its line.
pub(crate) struct Line<'a>(pub(crate) &'a Todo);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Todo { text, done, priority, completed, created, votes, .. } = self.0;
        if *done {
            f.write_str("x ")?;
        }
        if let Some(priority) = priority {
            write!(f, "({priority}) ")?;
        }
        for date in [completed, created].into_iter().flatten() {
            write!(f, "{date} ")?;
        }
        f.write_str(text)?;
        if *votes != 0 {
            write!(f, " {}", votes_tag(*votes))?;
        }
        Ok(())
    }
}

/// What makes a todo one that a todo.txt file can hold; the model's `validate`.
pub(crate) fn check(todo: &Todo) -> Result<(), String> {
    if todo.text.trim().is_empty() {
        return Err("a todo needs a text".into());
    }
    if todo.text.contains(['\n', '\r']) {
        return Err("the text of a todo is one line".into());
    }
    if let Some(priority) = todo.priority.as_deref().filter(|priority| !is_priority(priority)) {
        return Err(format!("a priority is one letter from A to Z, not {priority:?}"));
    }
    if todo.completed.is_some() && !todo.done {
        return Err("only a todo that is done has a day of completion".into());
    }
    let line = Line(todo).to_string();
    let back = Todo { id: todo.id, place: todo.place, ..read(&line) };
    if back != *todo {
        return Err(format!("written to a file it would read as something else: {line}"));
    }
    Ok(())
}

/// The `+projects` of a text, in order, without the plus.
pub(crate) fn projects(text: &str) -> impl Iterator<Item = &str> {
    marked(text, '+')
}

/// The `@contexts` of a text, in order, without the at sign.
pub(crate) fn contexts(text: &str) -> impl Iterator<Item = &str> {
    marked(text, '@')
}

fn marked(text: &str, mark: char) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter_map(move |word| word.strip_prefix(mark)).filter(|name| !name.is_empty())
}

/// The `key:value` tags of a text, in order. An address such as `https://…` is not one.
pub(crate) fn tags(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_whitespace()
        .filter(|word| !word.starts_with(['+', '@']))
        .filter_map(|word| word.split_once(':'))
        .filter(|(key, value)| {
            !key.is_empty() && !value.is_empty() && !value.contains(':') && !value.starts_with("//")
        })
}

/// The value of a tag, if the text has it.
pub(crate) fn tag<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    tags(text).find(|(name, _)| *name == key).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Option<Date> {
        Some(text.parse().expect("a date"))
    }

    #[test]
    fn every_part_is_read() {
        let line = "x (A) 2026-11-21 2026-11-20 Call mum +family @phone due:2026-11-22";
        let todo = read(line);
        assert!(todo.done);
        assert_eq!(todo.priority.as_deref(), Some("A"));
        assert_eq!(todo.completed, day("2026-11-21"));
        assert_eq!(todo.created, day("2026-11-20"));
        assert_eq!(todo.text, "Call mum +family @phone due:2026-11-22");
        assert_eq!(projects(&todo.text).collect::<Vec<_>>(), ["family"]);
        assert_eq!(contexts(&todo.text).collect::<Vec<_>>(), ["phone"]);
        assert_eq!(tag(&todo.text, "due"), Some("2026-11-22"));
    }

    #[test]
    fn an_open_todo_has_one_date_and_it_is_the_creation() {
        let todo = read("2026-11-20 2026-11-21 is a fine day");
        assert_eq!((todo.completed, todo.created), (None, day("2026-11-20")));
        assert_eq!(todo.text, "2026-11-21 is a fine day");
    }

    #[test]
    fn one_date_of_a_done_todo_is_the_completion() {
        let todo = read("x 2026-11-21 Buy milk");
        assert_eq!((todo.completed, todo.created), (day("2026-11-21"), None));
    }

    #[test]
    fn what_only_looks_like_a_part_is_text() {
        for line in [
            "X marks the spot",
            "xylophone lesson",
            "x",
            "x ",
            "(a) lower case",
            "(AB) two letters",
            "(A)-> no space",
            "Really (A) urgent",
            "2026-02-30 is no day",
            "2026-1-2 is short",
            "0000-01-01 year nought",
            "+002026-01-01 long year",
            " (A) starts with a space",
            "2026-11-21T10:00 has a time",
        ] {
            let todo = read(line);
            assert_eq!(todo.text, line);
            assert_eq!((todo.done, todo.priority, todo.created), (false, None, None), "{line}");
        }
    }

    #[test]
    fn every_line_is_written_back_as_it_was() {
        for line in [
            "x (A) 2026-11-21 2026-11-20 all parts",
            "x 2026-11-21 2026-11-20 2026-11-19 three dates",
            "x (B) no dates",
            "(C)  two spaces",
            "x  two spaces",
            "  leading and trailing  ",
            "tab\there",
            "x (A) ",
            "(A) x not done",
            "x x twice",
            "Grüße an 家族 🎉 +家 @büro",
            "see https://example.org/a:b?c=d note:a:b +",
            "x (A) 2026-11-21 2026-11-20 all parts due:2026-11-22 votes:3",
            "Pizza  votes:-3",
            "Pizza votes:3 @home",
            "Pizza votes:3 votes:4",
            "Pizza votes:0",
            "Pizza votes:03",
            "Pizza votes:+3",
            "Pizza votes:3 ",
            "Pizza votes:9223372036854775808",
            "votes:3",
            "x votes:3",
        ] {
            assert_eq!(Line(&read(line)).to_string(), line);
            assert_eq!(check(&read(line)), Ok(()), "{line}");
        }
    }

    #[test]
    fn votes_are_the_last_word_and_no_other() {
        for (line, text, votes) in [
            ("Pizza @home votes:3", "Pizza @home", 3),
            ("Pizza votes:-1", "Pizza", -1),
            ("Pizza votes:3 votes:4", "Pizza votes:3", 4),
            ("Pizza votes:3 @home", "Pizza votes:3 @home", 0),
            ("Pizza votes:0", "Pizza votes:0", 0),
            ("Pizza votes:03", "Pizza votes:03", 0),
            ("Pizza\tvotes:3", "Pizza\tvotes:3", 0),
            ("votes:3", "votes:3", 0),
        ] {
            let todo = read(line);
            assert_eq!((&*todo.text, todo.votes), (text, votes), "{line}");
        }
        assert_eq!(Line(&Todo { text: "Pizza".into(), ..Todo::default() }).to_string(), "Pizza");
    }

    #[test]
    fn an_address_is_no_tag() {
        let found: Vec<_> = tags("see https://example.org at 10:30 due:2026-11-22 a: :b +p:q").collect();
        assert_eq!(found, [("10", "30"), ("due", "2026-11-22")]);
    }

    #[test]
    fn a_todo_that_no_line_can_hold_is_refused() {
        let base = Todo { text: "a".into(), ..Todo::default() };
        for (todo, word) in [
            (Todo { text: " ".into(), ..base.clone() }, "needs a text"),
            (Todo { text: "a\nb".into(), ..base.clone() }, "one line"),
            (Todo { priority: Some("a".into()), ..base.clone() }, "one letter"),
            (Todo { completed: day("2026-11-21"), ..base.clone() }, "completion"),
            (Todo { created: day("2026-11-21"), done: true, ..base.clone() }, "something else"),
            (Todo { text: "x marks".into(), ..base.clone() }, "something else"),
            (Todo { text: "a votes:3".into(), ..base.clone() }, "something else"),
            (Todo { text: "x".into(), votes: 1, ..base.clone() }, "something else"),
        ] {
            let reason = check(&todo).expect_err("is refused");
            assert!(reason.contains(word), "{reason}");
        }
    }
}
