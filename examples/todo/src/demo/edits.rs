//! What the two users do while they are offline.

use super::device::Device;
use super::story::Story;
use crate::app::next_place;
use crate::model::{Todo, TodoField};
use crate::todotxt::{self, Line};
use anyhow::{Context, Result};
use jiff::Zoned;
use sync_runtime::prelude::*;

/// How many todos the laptop changes.
pub(super) const ON_LAPTOP: usize = 6;
/// How many todos the phone changes.
pub(super) const ON_PHONE: usize = 5;
/// The text that both change: as it was, on the phone, on the laptop.
pub(super) const DENTIST: [&str; 3] = [
    "Call the dentist about the crown @phone due:2026-11-24",
    "Call the dentist: the crown is loose again @phone due:2026-11-24",
    "Call the dentist about the crown, in the morning @phone due:2026-11-25",
];
/// The todo of the second act, which each changes in another field, and for which both vote.
const HIKE: &str = "Plan the hike: map, water, torch, Ana's rope +hike";
/// What becomes of it, with all that both did.
const HIKE_AFTERWARDS: &str = "(A) Plan the hike: map, water, torch, Ana's rope +hike due:2026-12-06 votes:2";
/// How many votes that are.
pub(super) const VOTES: i64 = 2;

/// The edits on the laptop. `expected` is the list as everybody shall have it at the end.
pub(super) async fn on_laptop(story: &Story, laptop: &Device, expected: &mut Vec<String>) -> Result<()> {
    let today = Zoned::now().date();
    let mut user = User { story, device: laptop, expected };
    user.create("(B) Pack the small umbrella +lisbon @home").await?;
    user.create("Ask Ana for her packing list +lisbon @phone").await?;
    user.update("Fix the flaky login test", |todo| todo.priority = Some("A".into())).await?;
    let done = |todo: &mut Todo| (todo.done, todo.completed) = (true, Some(today));
    user.update("Pick up the parcel", done).await?;
    user.delete("Cancel the gym").await?;
    // The phone changes the same field, and its version will stand.
    user.change(DENTIST[0], |todo| todo.text = DENTIST[2].into()).await?;
    Ok(())
}

/// The edits on the phone.
pub(super) async fn on_phone(story: &Story, phone: &Device, expected: &mut Vec<String>) -> Result<()> {
    let today = Zoned::now().date();
    let mut user = User { story, device: phone, expected };
    user.create("Buy tickets for the tram +lisbon @errand").await?;
    user.update("Buy oat milk", |todo| todo.text = "Buy oat milk, bread, and two leeks @shop".into()).await?;
    let done = |todo: &mut Todo| (todo.done, todo.completed) = (true, Some(today));
    user.update("Bring the lemon tree inside", done).await?;
    user.delete("Choose a name for the band").await?;
    user.update(DENTIST[0], |todo| todo.text = DENTIST[1].into()).await
}

/// The second act: the user of the laptop says how urgent the hike is, the user of the phone until when it is to be
/// planned, and both vote for it. Gives the todo as both had it before.
pub(super) async fn of_the_hike(
    story: &Story,
    laptop: &Device,
    phone: &Device,
    expected: &mut Vec<String>,
) -> Result<Todo> {
    let vote = |todo: &mut Todo| todo.votes += 1;
    let mut user = User { story, device: laptop, expected };
    let before = user.find(HIKE).await?;
    user.change(HIKE, |todo| todo.priority = Some("A".into())).await?;
    user.change(HIKE, vote).await?;
    let mut user = User { story, device: phone, expected };
    user.change(HIKE, |todo| todo.text.push_str(" due:2026-12-06")).await?;
    user.change(HIKE, vote).await?;
    // Neither has seen this line yet.
    user.expect(&Line(&before).to_string(), HIKE_AFTERWARDS.to_owned())?;
    Ok(before)
}

/// Somebody with a device.
struct User<'a> {
    story: &'a Story,
    device: &'a Device,
    expected: &'a mut Vec<String>,
}

impl User<'_> {
    async fn create(&mut self, line: &str) -> Result<()> {
        let todos = self.device.todos()?;
        let todo = Todo { place: next_place(&todos).await?, ..todotxt::read(line) };
        todos.create(todo).await?;
        self.story.tell(self.device.name, format!("+ {line}"))?;
        self.expected.push(line.to_owned());
        Ok(())
    }

    /// Changes the todo that has this in its text, for good.
    async fn update(&mut self, part: &str, change: impl Fn(&mut Todo)) -> Result<()> {
        let (before, after) = self.change(part, change).await?;
        self.expect(&before, after)
    }

    /// From now on this line shall be another.
    fn expect(&mut self, before: &str, after: String) -> Result<()> {
        let place = self.expected.iter_mut().find(|line| **line == before);
        *place.with_context(|| format!("`{before}` is not expected to be there"))? = after;
        Ok(())
    }

    /// Changes the todo that has this in its text; gives the line before and after.
    async fn change(&mut self, part: &str, change: impl Fn(&mut Todo)) -> Result<(String, String)> {
        let before = self.find(part).await?;
        let after = self.device.todos()?.update(before.id, |todo| change(todo)).await?;
        let (before, after) = (Line(&before).to_string(), Line(&after).to_string());
        self.story.tell(self.device.name, format!("~ {after}"))?;
        Ok((before, after))
    }

    async fn delete(&mut self, part: &str) -> Result<()> {
        let todo = self.find(part).await?;
        self.device.todos()?.delete(todo.id).await?;
        let line = Line(&todo).to_string();
        self.story.tell(self.device.name, format!("− {line}"))?;
        self.expected.retain(|other| *other != line);
        Ok(())
    }

    async fn find(&self, part: &str) -> Result<Todo> {
        let found = self.device.todos()?.find(Query::all().filter(TodoField::Text.contains(part))).await?;
        found.into_iter().next().with_context(|| format!("no todo has `{part}` in it"))
    }
}
