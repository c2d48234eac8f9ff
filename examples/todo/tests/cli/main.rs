//! The program from the outside: every command with `--json`, in a folder of its own.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod commands;
mod decide;
mod demo;
mod other_models;
mod program;
mod sync;
