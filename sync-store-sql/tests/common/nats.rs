//! NATS: the server that the tests share, and servers of a test's own.

#![allow(unreachable_pub)]

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The server that the tests use; `scripts/services` starts it and says where it is.
pub fn shared_url() -> String {
    std::env::var("SYNC_TEST_NATS").unwrap_or_else(|_| "nats://127.0.0.1:4222".into())
}

pub async fn connect(url: &str) -> async_nats::Client {
    let connected = async_nats::connect(url).await;
    connected.unwrap_or_else(|error| panic!("{url}: {error}; `scripts/services` starts NATS"))
}

/// A server that goes with the test, and can be stopped and started before.
pub struct NatsServer {
    port: u16,
    process: Option<Child>,
}

impl NatsServer {
    pub fn new() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let mut server = NatsServer { port, process: None };
        server.start();
        server
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn start(&mut self) {
        // Debian has it off the path of users.
        let debian = Path::new("/usr/sbin/nats-server");
        let program = if debian.exists() { debian } else { Path::new("nats-server") };
        let process = Command::new(program)
            .args(["--addr", "127.0.0.1", "--port", &self.port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the nats-server program; `scripts/services` installs it");
        self.process = Some(process);
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "NATS does not answer on port {}", self.port);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is ours");
            process.wait().expect("it ends");
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}
