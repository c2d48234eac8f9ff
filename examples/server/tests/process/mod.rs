//! The server as a process of its own, and a client that can send anything.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use sync_http::HttpReplica;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command as AsyncCommand};

const PROGRAM: &str = env!("CARGO_BIN_EXE_server");
const SECRET: &str = "a secret that nobody guesses, of 32 bytes or more";

/// A server; it is killed where it is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    pub async fn start(database: &str) -> Self {
        Server::start_with(database, "error", Stdio::inherit()).await
    }

    /// Starts it with its log on this level and in this place.
    pub async fn start_with(database: &str, level: &str, log: impl Into<Stdio>) -> Self {
        let started = Server::try_start("127.0.0.1:0", database, level, log).await;
        started.expect("it says where it listens")
    }

    /// Starts it to listen there; `None` if it ends before it does.
    pub async fn try_start(listen: &str, database: &str, level: &str, log: impl Into<Stdio>) -> Option<Self> {
        let mut command = AsyncCommand::new(PROGRAM);
        command.env("SYNC_SECRET", SECRET).args(["serve", "--listen", listen]);
        command.args(["--database", database, "--log", level]).stderr(log);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let Some(line) = lines.next_line().await.expect("its output") else {
            child.wait().await.expect("it ends");
            return None;
        };
        let address =
            line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
        Some(Server { address: address.parse().expect("an address"), child })
    }

    pub fn url(&self) -> String {
        format!("http://{}/sync", self.address)
    }

    /// A token, as the program prints it.
    pub fn token(&self, user: &str) -> String {
        let printed =
            Command::new(PROGRAM).env("SYNC_SECRET", SECRET).args(["token", user]).output().expect("it runs");
        assert!(printed.status.success(), "{printed:?}");
        String::from_utf8(printed.stdout).expect("text").trim().to_owned()
    }

    pub fn client(&self, user: &str) -> HttpReplica {
        HttpReplica::builder(&self.url()).token(self.token(user)).build().expect("a URL")
    }

    /// The most memory that it ever had, in bytes.
    pub fn memory(&self) -> u64 {
        let id = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("a process has a status");
        let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("the most memory");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
        kib << 10
    }

    /// Kills it, with `kill -9`.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it is killed");
    }

    /// Interrupts it, as Ctrl-C does; it ends by itself.
    pub async fn end(self) {
        self.end_by("-INT").await;
    }

    /// Asks it to end by this signal; it does so by itself.
    pub async fn end_by(mut self, signal: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([signal, &id]).status().expect("a signal is sent");
        assert!(sent.success());
        let ended = tokio::time::timeout(std::time::Duration::from_secs(40), self.child.wait()).await;
        assert!(ended.expect("it ends in time").expect("it ends").success());
    }
}

/// An answer as a plain client sees it; status 0 is none.
#[derive(Debug)]
pub struct Plain {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Plain {
    pub fn header(&self, name: &str) -> Option<String> {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    }
}

/// Sends bytes as they are, and reads until the server closes.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> Plain {
    let mut connection = TcpStream::connect(address).await.expect("connects");
    // A server that refuses early may close before all was written.
    let _ = connection.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer).await;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Plain { status, head, body: answer.get(end + 4..).unwrap_or_default().to_vec() }
}

/// A request with these headers; the connection closes after it.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if method != "GET" && !headers.iter().any(|(name, _)| *name == "content-length") {
        request += &format!("content-length: {}\r\n", body.len());
    }
    [(request + "\r\n").into_bytes(), body.to_vec()].concat()
}
