//! What the derive costs the compiler: 200 models against the same structs without it, and what merge policies cost
//! on top.

use crate::Outcome;
use crate::figure::{median, print, seconds};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const MODELS: usize = 200;
const ROUNDS: usize = 5;

/// How the structs are written.
#[derive(Clone, Copy)]
enum Structs {
    /// Without the derive.
    Bare,
    /// With it.
    Derived,
    /// With a policy on each field.
    Merged,
}

const KINDS: [Structs; 3] = [Structs::Bare, Structs::Derived, Structs::Merged];

fn source(structs: Structs) -> String {
    let (derive, of_struct, id) = match structs {
        Structs::Bare => ("Debug, Clone", "", ""),
        Structs::Derived => ("Debug, Clone, Syncable", "", "#[sync(id)] "),
        Structs::Merged => ("Debug, Clone, Syncable", "#[sync(on_delete = \"keep_edit\")] ", "#[sync(id)] "),
    };
    let policies = match structs {
        Structs::Merged => {
            ["text", "last_write", "sum", "min"].map(|name| format!("#[sync(merge = {name:?})] "))
        }
        Structs::Bare | Structs::Derived => Default::default(),
    };
    let [title, done, votes, notes] = policies;
    let mut source = String::from("#![allow(dead_code)]\n");
    if !matches!(structs, Structs::Bare) {
        source.push_str("use sync_runtime::Syncable;\n");
    }
    for n in 0..MODELS {
        let _ = writeln!(
            source,
            "#[derive({derive})] {of_struct}pub struct Model{n} {{ {id}id: String, {title}title: String, \
             {done}done: bool, {votes}votes: i64, {notes}notes: Option<String> }}"
        );
    }
    source.push_str("fn main() {}\n");
    source
}

fn run_check(folder: &Path) -> Result<f64, Box<dyn std::error::Error + Send + Sync>> {
    let start = Instant::now();
    let status = Command::new("cargo")
        .args(["check", "--offline", "--quiet"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .stderr(Stdio::inherit())
        .status()?;
    if !status.success() {
        return Err("cargo check of the models failed".into());
    }
    Ok(seconds(start))
}

pub(crate) fn check() -> Outcome {
    let folder = tempfile::tempdir()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let manifest = format!(
        "[package]\nname = \"models\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         sync-runtime = {{ path = {:?} }}\n",
        root.join("sync-runtime")
    );
    std::fs::create_dir(folder.path().join("src"))?;
    std::fs::write(folder.path().join("Cargo.toml"), manifest)?;
    std::fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock"))?;
    let main = folder.path().join("src/main.rs");
    let mut times = KINDS.map(|_| Vec::new());
    for round in 0..=ROUNDS {
        for (structs, times) in KINDS.into_iter().zip(&mut times) {
            std::fs::write(&main, source(structs))?;
            let time = run_check(folder.path())?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    let [bare, derived, merged] = times.map(median);
    print("compile/added", MODELS, derived - bare, "s", None);
    // The floor is what the derive adds without policies.
    print("compile/merge", MODELS, merged - bare, "s", Some(derived - bare));
    Ok(())
}
