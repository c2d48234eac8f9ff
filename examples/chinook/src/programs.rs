//! The databases' own programs, as other people use them.

use anyhow::{Context, bail};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use url::Url;

/// Runs SQL by `sqlite3`.
pub(crate) fn sqlite3(file: &Path, sql: &str) -> anyhow::Result<()> {
    run(Command::new("sqlite3").arg("-bail").arg(file), sql)
}

/// Runs SQL by `psql`, in this schema.
pub(crate) fn psql(url: &Url, schema: &str, sql: &str) -> anyhow::Result<()> {
    let mut command = Command::new("psql");
    command.args([url.as_str(), "-X", "-q", "-v", "ON_ERROR_STOP=1"]);
    run(command.env("PGOPTIONS", format!("-c search_path={schema} -c client_min_messages=warning")), sql)
}

/// Runs SQL by `mariadb`, in the database of the URL.
pub(crate) fn mariadb(url: &Url, sql: &str) -> anyhow::Result<()> {
    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "--default-character-set=utf8mb4", "--batch"]);
    command.args(["-h", url.host_str().unwrap_or("127.0.0.1")]);
    command.args(["-P", &url.port().unwrap_or(3306).to_string(), "-u", url.username()]);
    if let Some(password) = url.password() {
        command.env("MYSQL_PWD", password);
    }
    run(command.arg(url.path().trim_start_matches('/')), sql)
}

fn run(command: &mut Command, sql: &str) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let started = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = started.with_context(|| format!("starting the program `{name}`; is it installed?"))?;
    if let Some(mut input) = child.stdin.take() {
        // One that stops early says why.
        let _ = input.write_all(sql.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("`{name}` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
