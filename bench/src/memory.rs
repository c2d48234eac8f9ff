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
