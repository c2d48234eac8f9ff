//! Peak memory of client and server in a first pull, each a process of its own.

use crate::figure::print;
use crate::local::{open, runtime};
use crate::network::server;
use crate::{Outcome, network};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use sync_http::HttpReplica;

/// The argument that makes this program one of the two processes.
pub(crate) const ROLE: &str = "--role";

const RECORDS: usize = 100_000;

/// Runs one of the two processes.
pub(crate) fn child(arguments: &[String]) -> Outcome {
    let [role, folder, rest @ ..] = arguments else {
        return Err("a role needs a folder".into());
    };
    let folder = Path::new(folder);
    match (role.as_str(), rest) {
        ("fill", []) => runtime()?.block_on(async { server(folder).await?.fill(RECORDS).await })?,
        ("server", []) => runtime()?.block_on(async {
            let server: network::Server = server(folder).await?;
            println!("{}", server.url);
            // Ends when the parent closes the pipe.
            let wait = || std::io::stdin().read_to_end(&mut Vec::new());
            tokio::task::spawn_blocking(wait).await??;
            Outcome::Ok(())
        })?,
        ("client", [url]) => runtime()?.block_on(async {
            let client = open(&folder.join("client.db")).await?;
            let report = client.sync(&HttpReplica::new(&format!("{url}/sync"))?).await?;
            match report.pulled == RECORDS {
                true => Outcome::Ok(()),
                false => Err(format!("{} of {RECORDS} records came", report.pulled).into()),
            }
        })?,
        _ => return Err(format!("no role `{role}`").into()),
    }
    println!("{}", peak_kib()?);
    Ok(())
}

/// The most memory that this process had resident, in KiB.
fn peak_kib() -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM on this system")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

fn spawn(role: &str, folder: &Path, rest: &[&str]) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ROLE).arg(role).arg(folder).args(rest).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
}

/// A server in a process of its own; it is killed where it is dropped.
pub(crate) struct ServerProcess {
    pub(crate) url: String,
    child: Child,
}

impl ServerProcess {
    pub(crate) fn start(folder: &Path) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut child = spawn("server", folder, &[])?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let url = lines.next().ok_or("the server said nothing")??;
        Ok(ServerProcess { url, child })
    }

    fn file(&self, name: &str) -> std::io::Result<String> {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id()))
    }

    fn memory(&self, name: &str) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
        let status = self.file("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? << 10)
    }

    /// The memory that is resident now, in bytes.
    pub(crate) fn resident(&self) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
        self.memory("VmRSS:")
    }

    /// The most that ever was.
    pub(crate) fn peak(&self) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
        self.memory("VmHWM:")
    }

    /// The time of a core that it has used so far, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64, Box<dyn std::error::Error + Send + Sync>> {
        let stat = self.file("stat")?;
        let (_, behind) = stat.rsplit_once(')').ok_or("no such process")?;
        let fields: Vec<&str> = behind.split_whitespace().collect();
        // In hundredths of a second, on every Linux that this runs on.
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        Ok(ticks / 100.0)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn peak() -> Outcome {
    let folder = tempfile::tempdir()?;
    let filled = spawn("fill", folder.path(), &[])?.wait_with_output()?;
    if !filled.status.success() {
        return Err("filling the server failed".into());
    }
    let mut server = spawn("server", folder.path(), &[])?;
    let mut lines = BufReader::new(server.stdout.take().ok_or("no output")?).lines();
    let url = lines.next().ok_or("the server said nothing")??;
    let client = spawn("client", folder.path(), &[&url])?.wait_with_output()?;
    if let Some(mut input) = server.stdin.take() {
        input.flush()?;
    }
    let of_server: f64 = lines.next().ok_or("the server gave no figure")??.parse()?;
    server.wait()?;
    if !client.status.success() {
        return Err("the client failed".into());
    }
    let of_client: f64 = String::from_utf8(client.stdout)?.trim().parse()?;
    print("peak/client", RECORDS, of_client / 1024.0, "MiB", None);
    print("peak/server", RECORDS, of_server / 1024.0, "MiB", None);
    Ok(())
}
