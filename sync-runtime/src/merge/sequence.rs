//! Merging sequences: lists by their items, texts by lines and then by words.
//!
//! The comparing is done by the `merge3` crate; what counts as an item, and what becomes of a place that both sides
//! changed, is decided here.

use merge3::{Merge3, MergeRegion};
use std::borrow::Cow;

/// The most items, on any side, that are compared with each other; the comparison takes up to the square of it.
const MOST_ITEMS: usize = 5_000;

type Items<'t> = Vec<Cow<'t, str>>;

/// What became of one place on the three versions.
struct Clash<'i, 't> {
    base: &'i [&'t str],
    older: &'i [&'t str],
    newer: &'i [&'t str],
}

impl<'t> Clash<'_, 't> {
    /// What both put in at one place, the older side's first; `None` where one of them changed what was there.
    fn insertions(&self) -> Option<Items<'t>> {
        let both = || self.older.iter().chain(self.newer).map(|item| Cow::Borrowed(*item)).collect();
        self.base.is_empty().then(both)
    }
}

/// Merges lists whose items are given as text. What both put in at one place stands in the order of the revisions;
/// an item that both changed, or one changed and the other removed, is a conflict.
pub(super) fn list(base: &[String], older: &[String], newer: &[String]) -> Result<Vec<String>, String> {
    fn items(list: &[String]) -> Vec<&str> {
        list.iter().map(String::as_str).collect()
    }
    let merged = merge(&items(base), &items(older), &items(newer), |clash| {
        clash.insertions().ok_or_else(|| "both sides changed the same items".to_owned())
    })?;
    Ok(merged.into_iter().map(Cow::into_owned).collect())
}

/// Merges texts by lines, and what both changed of them by words. Lines that both put in at one place stand in the
/// order of the revisions; a word that both changed is a conflict.
pub(super) fn text(base: &str, older: &str, newer: &str) -> Result<String, String> {
    fn lines(text: &str) -> Vec<&str> {
        text.split('\n').collect()
    }
    let (base, older, newer) = (lines(base), lines(older), lines(newer));
    let merged = merge(&base, &older, &newer, |clash| match clash.insertions() {
        Some(lines) => Ok(lines),
        None => {
            let [base, older, newer] = [clash.base, clash.older, clash.newer].map(|lines| lines.join("\n"));
            Ok(vec![Cow::Owned(by_words(&base, &older, &newer)?)])
        }
    })?;
    Ok(merged.join("\n"))
}

fn by_words(base: &str, older: &str, newer: &str) -> Result<String, String> {
    let (base, older, newer) = (words(base), words(older), words(newer));
    let merged = merge(&base, &older, &newer, |_| Err("both sides changed the same words".to_owned()))?;
    Ok(merged.concat())
}

/// The words of a text, and between them every other character by itself.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match first.is_alphanumeric() {
            true => rest.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (word, behind) = rest.split_at(end);
        words.push(word);
        rest = behind;
    }
    words
}

fn merge<'t>(
    base: &[&'t str],
    older: &[&'t str],
    newer: &[&'t str],
    mut settle: impl FnMut(Clash<'_, 't>) -> Result<Items<'t>, String>,
) -> Result<Items<'t>, String> {
    let [base_end, older_end, newer_end] = [base, older, newer].map(<[_]>::len);
    let shortest = base_end.min(older_end).min(newer_end);
    let same = |n: &usize| base[*n] == older[*n] && base[*n] == newer[*n];
    let begin = (0..shortest).take_while(same).count();
    let same = |n: &usize| {
        let last = base[base_end - n];
        last == older[older_end - n] && last == newer[newer_end - n]
    };
    let end = (1..=shortest - begin).take_while(same).count();
    let (z, a, b) =
        (&base[begin..base_end - end], &older[begin..older_end - end], &newer[begin..newer_end - end]);
    if [z, a, b].iter().any(|items| items.len() > MOST_ITEMS) {
        return Err(format!("more than {MOST_ITEMS} items in a row differ"));
    }
    let borrowed = |items: &[&'t str]| items.iter().map(|item| Cow::Borrowed(*item)).collect::<Items<'t>>();
    let mut merged = borrowed(&base[..begin]);
    for region in Merge3::new(z, a, b).merge_regions() {
        merged.extend(match region {
            MergeRegion::Unchanged { start, end } => borrowed(&z[start..end]),
            MergeRegion::Same { astart, aend } => borrowed(&a[astart..aend]),
            MergeRegion::A { start, end } => borrowed(&a[start..end]),
            MergeRegion::B { start, end } => borrowed(&b[start..end]),
            MergeRegion::Conflict { zstart, zend, astart, aend, bstart, bend } => {
                let base = zstart.zip(zend).map_or(&z[..0], |(start, end)| &z[start..end]);
                settle(Clash { base, older: &a[astart..aend], newer: &b[bstart..bend] })?
            }
        });
    }
    merged.extend(borrowed(&base[base_end - end..]));
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_by_cases() {
        let cases = [
            ("one two", "one 2 two", "one two three", Some("one 2 two three")),
            ("the quick fox", "the slow fox", "the quick dog", Some("the slow dog")),
            ("the quick fox", "the slow fox", "the fast fox", None),
            ("a\nb\nc", "a\nB\nc", "a\nb\nC", Some("a\nB\nC")),
            ("a", "a\nb", "a\nc", Some("a\nb\nc")),
            ("a\n", "a\nb\n", "a\nc\n", Some("a\nb\nc\n")),
            ("a\nb\nc", "a\nc", "a\nb\nc\nd", Some("a\nc\nd")),
            ("", "hello", "world", None),
            ("größe 1", "Größe 1", "größe 2", Some("Größe 2")),
            ("a b c", "a c", "a B c", None),
        ];
        for (base, older, newer, expected) in cases {
            assert_eq!(text(base, older, newer).ok().as_deref(), expected, "{base:?} {older:?} {newer:?}");
        }
    }

    #[test]
    fn lists_by_cases() {
        type List<'l> = &'l [&'l str];
        let cases: [(List<'_>, List<'_>, List<'_>, Option<List<'_>>); 5] = [
            (&["1", "2"], &["1", "2", "3"], &["1", "2", "4"], Some(&["1", "2", "3", "4"])),
            (&["1", "2", "3"], &["2", "3"], &["1", "2", "3", "4"], Some(&["2", "3", "4"])),
            (&["1", "2", "3"], &["1", "x", "3"], &["1", "y", "3"], None),
            (&["1"], &[], &[], Some(&[])),
            (&[], &["1"], &["1"], Some(&["1"])),
        ];
        let owned = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        for (base, older, newer, expected) in cases {
            let merged = list(&owned(base), &owned(older), &owned(newer));
            assert_eq!(merged.ok(), expected.map(owned), "{base:?} {older:?} {newer:?}");
        }
    }

    #[test]
    fn what_is_too_long_to_compare_is_a_conflict() {
        let lines =
            |word: &str| (0..MOST_ITEMS + 1).map(|n| format!("{word}{n}")).collect::<Vec<_>>().join("\n");
        assert!(text(&lines("a"), &lines("b"), &lines("c")).is_err());
        let long = lines("a");
        let merged = text(&long, &format!("{long}\nx"), &format!("{long}\ny"));
        assert_eq!(merged, Ok(format!("{long}\nx\ny")), "what is the same is not compared");
    }
}
