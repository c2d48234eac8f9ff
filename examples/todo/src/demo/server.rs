//! The server process: this program again, with `serve`.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long the server may take to open its file and listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server process. Killed when dropped, and it ends by itself when this process does.
pub(super) struct Server {
    child: Child,
    url: String,
    process: u32,
    // Kept open, as what is printed to a closed pipe is an error.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts a server over this SQLite file, on a free port.
    pub(super) async fn start(database: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--json", "--store"])
            .arg(format!("sqlite:{}", database.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the server process")?;
        let process = child.id().unwrap_or_default();
        let stdout = child.stdout.take().context("the server process has no output")?;
        let mut output = BufReader::new(stdout).lines();
        let url = timeout(PATIENCE, url(&mut output)).await;
        let url = url.context("the server process did not say where it listens")??;
        Ok(Server { child, url, process, _output: output })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The id of the process.
    pub(super) fn process(&self) -> u32 {
        self.process
    }

    /// Ends the process, as hard as it goes, and waits until it is gone.
    pub(super) async fn stop(&mut self) -> Result<()> {
        self.child.kill().await.context("ending the server process")
    }
}

/// Reads what the server prints first.
async fn url(output: &mut Lines<BufReader<ChildStdout>>) -> Result<String> {
    let mut text = String::new();
    while let Some(line) = output.next_line().await? {
        text.push_str(&line);
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let url = value["url"].as_str().context("the server printed no url")?;
            return Ok(url.to_owned());
        }
    }
    ensure!(!text.is_empty(), "the server ended without a word");
    anyhow::bail!("the server printed {text}")
}
