//! What the derive costs the compiler: 200 models against the same structs without it.

use crate::Outcome;
use crate::figure::{median, print, seconds};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const MODELS: usize = 200;
const ROUNDS: usize = 5;

fn source(derive: bool) -> String {
    let mut source = String::from("#![allow(dead_code)]\nuse sync_runtime::Syncable;\n");
    if !derive {
        source = String::from("#![allow(dead_code)]\n");
    }
    for n in 0..MODELS {
        let (attribute, id) = match derive {
            true => ("#[derive(Debug, Clone, Syncable)]", "#[sync(id)] "),
            false => ("#[derive(Debug, Clone)]", ""),
        };
        let _ = writeln!(
            source,
            "{attribute} pub struct Model{n} {{ {id}id: String, title: String, done: bool, votes: i64, notes: Option<String> }}"
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
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        for derive in [false, true] {
            std::fs::write(&main, source(derive))?;
            let time = run_check(folder.path())?;
            if round > 0 {
                if derive { with.push(time) } else { without.push(time) }
            }
        }
    }
    print("compile/added", MODELS, median(with) - median(without), "s", None);
    Ok(())
}
