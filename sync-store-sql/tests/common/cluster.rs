//! PostgreSQL clusters of a test's own, by PostgreSQL's own programs.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Where PostgreSQL's own programs are.
pub fn programs() -> PathBuf {
    let told = Command::new("pg_config").arg("--bindir").output();
    let told = told.ok().filter(|told| told.status.success());
    let folders = told.map(|told| PathBuf::from(String::from_utf8_lossy(&told.stdout).trim())).into_iter();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders = folders.chain(debian.map(|version| version.path().join("bin")));
    folders
        .find(|folder| folder.join("initdb").exists())
        .expect("initdb; `scripts/services` installs PostgreSQL")
}

/// A command of PostgreSQL, which refuses to be run by root.
pub fn as_postgres(program: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let mut command = match is_root {
        true => {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        }
        false => Command::new(program),
    };
    command.current_dir("/");
    command
}

pub fn done(command: &mut Command) -> Output {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Whether a process runs; one that is dead and was not reaped does not.
fn is_alive(process: &str) -> bool {
    let told = Command::new("ps").args(["-o", "stat=", "-p", process]).output().expect("the ps program");
    let state = String::from_utf8_lossy(&told.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

/// A backup, which goes with it unless it is restored.
pub struct Backup(PathBuf);

impl Drop for Backup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A cluster of the test's own, which goes with it.
pub struct Cluster {
    pub folder: PathBuf,
    pub port: u16,
    settings: &'static str,
}

impl Cluster {
    fn place() -> (PathBuf, u16) {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(format!("/tmp/sync-cluster-{}-{number}", std::process::id()));
        // A free port, as far as one can know.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        (folder, listener.local_addr().expect("an address").port())
    }

    /// One that forgets what the machine forgets in a power cut, which no test here has.
    pub fn new() -> Self {
        Self::with("-c fsync=off")
    }

    /// One with the settings that PostgreSQL has by itself.
    pub fn durable() -> Self {
        Self::with("")
    }

    pub fn with(settings: &'static str) -> Self {
        let (folder, port) = Self::place();
        let data = folder.to_string_lossy().into_owned();
        let initdb = programs().join("initdb");
        done(as_postgres(&initdb).args([
            "-D",
            &data,
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-sync",
        ]));
        let cluster = Cluster { folder, port, settings };
        cluster.start();
        cluster
    }

    /// A standby of this cluster, as it is now.
    pub fn standby(&self) -> Self {
        let (folder, port) = Self::place();
        self.copy_to(&folder, &["-R"]);
        let standby = Cluster { folder, port, settings: self.settings };
        standby.start();
        standby
    }

    fn copy_to(&self, folder: &Path, more: &[&str]) {
        let (data, from) = (folder.to_string_lossy().into_owned(), self.port.to_string());
        let backup = programs().join("pg_basebackup");
        let how = ["-h", "127.0.0.1", "-p", &from, "-U", "postgres", "-D", &data, "--no-sync", "-c", "fast"];
        done(as_postgres(&backup).args(how).args(more));
    }

    /// A backup of the cluster as it is now, taken while it runs.
    pub fn backup(&self) -> Backup {
        let (folder, _) = Self::place();
        self.copy_to(&folder, &[]);
        Backup(folder)
    }

    /// Puts the backup in the place of what the cluster has.
    pub fn restore(&self, backup: Backup) {
        self.stop();
        std::fs::remove_dir_all(&self.folder).expect("removed");
        std::fs::rename(&backup.0, &self.folder).expect("moved");
        self.start();
    }

    /// Kills the server and all its processes as they are, with `kill -9`.
    pub fn kill(&self) {
        let file = self.folder.join("postmaster.pid");
        let told = std::fs::read_to_string(&file).expect("the server runs");
        let server = told.lines().next().expect("its number").trim().to_owned();
        let found = Command::new("pgrep").args(["-P", &server]).output().expect("the pgrep program");
        let mut all = vec![server];
        all.extend(String::from_utf8_lossy(&found.stdout).split_whitespace().map(str::to_owned));
        // Some may have ended by themselves, once the first was gone.
        let _ = Command::new("kill").arg("-9").args(&all).output().expect("the kill program");
        let until = Instant::now() + Duration::from_secs(20);
        while all.iter().any(|process| is_alive(process)) {
            assert!(Instant::now() < until, "{all:?} do not die");
            std::thread::sleep(Duration::from_millis(5));
        }
        // Where nobody reaps it, the dead server still has its number, and the next one would think that it runs.
        std::fs::remove_file(&file).expect("removed");
    }

    fn control(&self, arguments: &[&str]) -> Command {
        let program = programs().join("pg_ctl");
        let data = self.folder.to_string_lossy().into_owned();
        let mut command = as_postgres(&program);
        command.args(["-D", &data, "-w"]).args(arguments);
        command
    }

    pub fn start(&self) {
        let options = format!(
            "-c port={} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=100 \
             -c max_prepared_transactions=4 {}",
            self.port, self.settings
        );
        let log = format!("{}/log", self.folder.display());
        let until = Instant::now() + Duration::from_secs(20);
        // What is left of a server that was killed may hold its memory or its port for a moment.
        while !self.control(&["-l", &log, "-o", &options, "start"]).output().expect("pg_ctl").status.success()
        {
            let told = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < until, "the server does not start: {told}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn stop(&self) {
        done(&mut self.control(&["-m", "immediate", "stop"]));
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    pub fn psql(&self, sql: &str) -> String {
        let told = done(Command::new("psql").args([&self.url(), "-X", "-q", "-A", "-t", "-c", sql]));
        String::from_utf8_lossy(&told.stdout).trim().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let program = programs().join("pg_ctl");
        let data = self.folder.to_string_lossy().into_owned();
        let _ = as_postgres(&program).args(["-D", &data, "-m", "immediate", "stop"]).output();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
