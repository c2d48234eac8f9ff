//! How the demo reads in a terminal.

use super::device::Device;
use super::proof::Proof;
use crate::output::{Output, print};
use anyhow::Result;
use console::style;
use serde_json::{Value, json};
use std::cell::Cell;
use std::fmt::Display;
use std::time::Duration;

/// How far a chapter's lines are from the left.
pub(super) const INDENT: u16 = 3;

/// Prints the story, or for programs nothing but its end.
pub(super) struct Story {
    output: Output,
    chapters: Cell<usize>,
}

impl Story {
    pub(super) fn new(output: Output) -> Self {
        Story { output, chapters: Cell::new(0) }
    }

    pub(super) fn title(&self, title: &str) -> Result<()> {
        self.print(style(title).bold())
    }

    pub(super) fn chapter(&self, title: &str) -> Result<()> {
        self.chapters.set(self.chapters.get() + 1);
        self.print(style(format!("\n{}. {title}", self.chapters.get())).bold())
    }

    /// What somebody does.
    pub(super) fn tell(&self, who: &str, what: impl Display) -> Result<()> {
        self.line(format!("{} {what}", style(format!("{who:<8}")).cyan()))
    }

    pub(super) fn line(&self, line: impl Display) -> Result<()> {
        self.print(format!("{:1$}{line}", "", usize::from(INDENT)))
    }

    /// Something of several lines.
    pub(super) fn block(&self, block: impl Display) -> Result<()> {
        block.to_string().lines().try_for_each(|line| self.line(line))
    }

    /// The end, for programs.
    pub(super) fn end(&self, proof: &Proof, devices: [&Device; 2], took: Duration) -> Result<()> {
        if !self.output.is_json() {
            return Ok(());
        }
        let devices: Vec<Value> = devices.into_iter().map(Device::to_json).collect();
        let value = json!({
            "equal": true,
            "todos": proof.todos,
            "tombstones": proof.tombstones,
            "votes": proof.votes,
            "devices": devices,
            "milliseconds": took.as_millis() as u64,
        });
        self.output.say("", &value)
    }

    fn print(&self, text: impl Display) -> Result<()> {
        match self.output.is_json() {
            true => Ok(()),
            false => print(text),
        }
    }
}

/// `812 B`, `4.2 kB`
pub(super) fn bytes(number: u64) -> String {
    match number {
        0..1_000 => format!("{number} B"),
        1_000..1_000_000 => format!("{:.1} kB", number as f64 / 1e3),
        _ => format!("{:.1} MB", number as f64 / 1e6),
    }
}
