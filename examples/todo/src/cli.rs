//! What the program understands on its command line.

use crate::model::TodoField;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use sync_runtime::{Field, Side};

const EVERYWHERE: &str = "Options of every command";

/// A todo list that works offline and syncs.
#[derive(Debug, Parser)]
#[command(
    name = "todo",
    version,
    max_term_width = 100,
    after_help = "Exit codes:
  0  done
  1  it failed; the reason is on standard error
  2  the command line is wrong
  3  conflicts, or records that somebody refuses, wait for you (sync, conflicts)"
)]
pub(crate) struct Cli {
    /// Where the list is kept: `sqlite:FILE` or `memory:FILE`
    #[arg(
        long,
        global = true,
        help_heading = EVERYWHERE,
        value_name = "STORE",
        env = "TODO_STORE",
        default_value = "sqlite:todo.db"
    )]
    pub(crate) store: String,

    /// The server to sync with, as `todo serve` prints it
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "URL", env = "TODO_SERVER")]
    pub(crate) server: Option<String>,

    /// Print JSON for programs
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the list to other devices of this machine, until interrupted
    Serve(Serve),
    /// Add a todo, written as a line of a todo.txt file
    Add(Add),
    /// Show the list
    #[command(visible_alias = "ls")]
    List(List),
    /// Change a todo
    Edit(Edit),
    /// Mark todos as done
    Done(Done),
    /// Say that you want it done too; the votes of all devices count
    Vote(Vote),
    /// Delete todos
    #[command(visible_alias = "delete")]
    Rm(Rm),
    /// Show how the list stands with its server
    Status,
    /// Send what changed here and fetch what changed there
    Sync,
    /// Show what was changed here and elsewhere at the same time
    Conflicts,
    /// Decide a conflict
    Resolve(Resolve),
    /// Send once more, with the next sync, what the server refused
    Retry(Refused),
    /// Give up what the server refused, for what the server has
    Revert(Refused),
    /// Add the todos of a todo.txt file, or of standard input with `-`
    Import(Import),
    /// Write the list as a todo.txt file, or to standard output
    Export(Export),
    /// Watch two devices and a server go offline, disagree, and become equal again
    Demo(Demo),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen; only addresses of this machine, as everybody who connects may do everything
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4000")]
    pub(crate) listen: SocketAddr,

    /// Stop when standard input ends, so that no server outlives the program that started it
    #[arg(long)]
    pub(crate) until_stdin_closes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// For example `(A) Call mum +family @phone due:2026-11-22`; today is noted as its day
    #[arg(required = true, value_name = "TEXT")]
    pub(crate) line: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Also what is done
    #[arg(long, short)]
    pub(crate) all: bool,

    /// Only todos of this `+project`
    #[arg(long, short, value_name = "NAME")]
    pub(crate) project: Option<String>,

    /// Only todos of this `@context`
    #[arg(long, short, value_name = "NAME")]
    pub(crate) context: Option<String>,

    /// Only todos with this in their text
    #[arg(value_name = "TEXT")]
    pub(crate) search: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// The id, or the end of it, as `list` shows it
    pub(crate) id: String,

    /// The new text; a priority or date in front of it is taken too
    #[arg(value_name = "TEXT", required_unless_present = "priority")]
    pub(crate) line: Vec<String>,

    /// The new priority, A to Z, or `none`
    #[arg(long, short)]
    pub(crate) priority: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Done {
    /// The ids, or the ends of them
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,

    /// They are not done after all
    #[arg(long)]
    pub(crate) undo: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Vote {
    /// The id, or the end of it
    pub(crate) id: String,

    /// How many votes; a number below 0 takes votes back
    #[arg(long, short, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub(crate) times: i64,
}

#[derive(Debug, Args)]
pub(crate) struct Refused {
    /// The id, or the end of it, as `status` shows it
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// The ids, or the ends of them
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Resolve {
    /// The id, or the end of it, as `conflicts` shows it
    pub(crate) id: String,

    #[command(flatten)]
    pub(crate) choice: Choice,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Choice {
    /// What is here stands, all of it
    #[arg(long)]
    pub(crate) mine: bool,

    /// What came from the server stands, all of it
    #[arg(long)]
    pub(crate) theirs: bool,

    /// This stands instead, written as a line of a todo.txt file
    #[arg(long = "as", value_name = "TEXT")]
    pub(crate) line: Option<String>,

    /// Of this field this side stands, as in `text=mine` or `priority=theirs`; once for each field that is disputed, and
    /// the rest merges
    #[arg(long = "field", value_name = "FIELD=SIDE", value_parser = field_and_side)]
    pub(crate) fields: Vec<(TodoField, Side)>,

    /// Write it in your editor, which the variable VISUAL or EDITOR names
    #[arg(long)]
    pub(crate) edit: bool,
}

/// `text=mine`
fn field_and_side(text: &str) -> Result<(TodoField, Side), String> {
    let (name, side) = text.split_once('=').ok_or("write it as `text=mine` or `text=theirs`")?;
    let known = || (0..).map_while(TodoField::from_index).filter(|field| *field != TodoField::Id);
    let Some(field) = known().find(|field| field.name() == name) else {
        let names: Vec<&str> = known().map(Field::name).collect();
        return Err(format!("a todo has no field `{name}`; it has {}", names.join(", ")));
    };
    match side {
        "mine" => Ok((field, Side::Source)),
        "theirs" => Ok((field, Side::Target)),
        _ => Err(format!("the side of `{name}` is `mine` or `theirs`, not `{side}`")),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The file; standard output if not given
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keep the database files and say where they are
    #[arg(long)]
    pub(crate) keep: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
