//! What the program prints: sentences and tables for people, JSON for programs.

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write};

/// Where the answers of a command go. A reader that has gone away, as in `todo list | head`, is an
/// [`io::ErrorKind::BrokenPipe`] like any other error, which `main` takes for the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Output { json }
    }

    /// Whether a program reads along.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints the sentence for people, or the value for programs.
    pub(crate) fn say(self, sentence: impl Display, value: &impl Serialize) -> Result<()> {
        match self.json {
            true => print(serde_json::to_string_pretty(value)?),
            false => print(sentence),
        }
    }

    /// A bar for work of this many records; invisible where nobody looks at standard error.
    pub(crate) fn bar(self, doing: &'static str, records: usize) -> ProgressBar {
        let bar = if self.json { ProgressBar::hidden() } else { ProgressBar::new(records as u64) };
        if let Ok(style) = ProgressStyle::with_template("{msg:>10} [{bar:30}] {pos}/{len} {per_sec}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.with_message(doing)
    }
}

/// Prints a line, or several.
pub(crate) fn print(text: impl Display) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    // A program that started this one may wait for the line.
    stdout.flush()?;
    Ok(())
}

/// `1 todo`, `2 todos`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Whether an error says that the reader of the output has gone away.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error with its causes. The library's own errors are whole sentences, so what lies beneath one is left out.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain() {
        if !sentence.is_empty() {
            sentence.push_str(": ");
        }
        sentence.push_str(&cause.to_string());
        if cause.is::<sync_runtime::Error>() {
            break;
        }
    }
    sentence
}
