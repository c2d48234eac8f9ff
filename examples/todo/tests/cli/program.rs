//! Runs the program.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The list that the example ships.
pub(crate) fn shipped() -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/todo.txt");
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_todo"));
    command.current_dir(folder).stdin(Stdio::null());
    for name in ["TODO_STORE", "TODO_SERVER", "VISUAL", "EDITOR"] {
        command.env_remove(name);
    }
    command
}

/// A folder in which the program runs.
pub(crate) struct Place {
    folder: TempDir,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Place { folder: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command line, split at spaces.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.run_with(line.split_whitespace())
    }

    pub(crate) fn run_with<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Ran {
        Ran::of(command(self.folder.path()).args(words))
    }

    /// Runs a command line with an editor that is this shell script; `$1` is the file, and it runs in this folder.
    pub(crate) fn run_with_editor(&self, script: &str, line: &str) -> Ran {
        std::fs::write(self.path("editor.sh"), script).unwrap();
        let mut command = command(self.folder.path());
        Ran::of(command.args(line.split_whitespace()).env("EDITOR", "sh editor.sh"))
    }

    /// Runs a command line that succeeds, and gives the JSON that it prints.
    pub(crate) fn json(&self, line: &str) -> Value {
        self.run(&format!("{line} --json")).json(0)
    }

    /// Adds a todo and gives its id.
    pub(crate) fn add(&self, store: &str, line: &str) -> String {
        let words = ["--store", store, "--json", "add", line];
        self.run_with(words).json(0)["id"].as_str().unwrap().to_owned()
    }

    /// The todos of a store as a file.
    pub(crate) fn export(&self, store: &str) -> String {
        let ran = self.run(&format!("export --store {store}"));
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out
    }

    /// A server over a store of this folder.
    pub(crate) fn serve(&self, store: &str) -> Server {
        let mut child = command(self.folder.path())
            .args(["serve", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--store", store])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.unwrap_or_else(|| panic!("no address in {line:?}")).trim_end_matches(';').to_owned();
        Server { child, url }
    }
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The JSON that a run printed that ended with this code.
    pub(crate) fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that the run failed and that its error has all these words in it.
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(words.iter().all(|word| self.err.contains(word)), "{words:?} in {self:?}");
        assert_eq!(self.out, "");
    }
}

/// A server process, ended with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    /// Ends it by closing its standard input; gives its exit code.
    pub(crate) fn end(mut self) -> i32 {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
