//! Counts the statements that travel to a database, on their way.

#![allow(dead_code, unreachable_pub)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};

/// What a client says to a server.
#[derive(Debug, Clone, Copy)]
pub enum Protocol {
    Postgres,
    MariaDb,
}

/// A way to a server that writes down what is run.
#[derive(Debug)]
pub struct Counting {
    said: Arc<Mutex<Vec<String>>>,
}

impl Counting {
    /// Between a port of its own and the server of this URL; gives the URL of the same database that leads through it.
    pub async fn before(url: &str, protocol: Protocol) -> (Self, String) {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let (authority, path) = rest.split_once('/').expect("a URL with a database");
        let (user, server) = authority.rsplit_once('@').unwrap_or(("", authority));
        let server = match (server.contains(':'), protocol) {
            (true, _) => server.to_owned(),
            (false, Protocol::Postgres) => format!("{server}:5432"),
            (false, Protocol::MariaDb) => format!("{server}:3306"),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let said = Arc::new(Mutex::new(Vec::new()));
        let counting = Counting { said: said.clone() };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.expect("the server");
                for end in [&client, &server] {
                    end.set_nodelay(true).expect("an open connection");
                }
                let (from_client, mut to_client) = client.into_split();
                let (mut from_server, to_server) = server.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                tokio::spawn(pass_on(from_client, to_server, protocol, said.clone()));
            }
        });
        (counting, format!("{scheme}://{user}@127.0.0.1:{port}/{path}"))
    }

    /// What was run since the last time that this was asked.
    pub fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().expect("a list"))
    }
}

/// Passes messages on, each whole.
async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    protocol: Protocol,
    said: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut first = true;
    // PostgreSQL's prepared statements by their names, and the one that is bound.
    let (mut prepared, mut bound) = (HashMap::new(), String::new());
    loop {
        let mut head = [0; 5];
        // PostgreSQL's first message has no type, and MariaDB's headers are of four bytes.
        let size = match protocol {
            Protocol::Postgres if !first => 5,
            _ => 4,
        };
        let head = &mut head[..size];
        from.read_exact(head).await?;
        let length = match protocol {
            Protocol::Postgres => {
                u32::from_be_bytes(head[size - 4..].try_into().expect("four bytes")) as usize - 4
            }
            Protocol::MariaDb => u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize,
        };
        let mut body = vec![0; length];
        from.read_exact(&mut body).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(1_000)]).into_owned();
        let run = match protocol {
            // A simple query, or the execution of a prepared one.
            Protocol::Postgres if size == 5 && head[0] == b'Q' => Some(text(&body)),
            Protocol::Postgres if size == 5 && head[0] == b'P' => {
                let mut parts = body.split(|byte| *byte == 0);
                let name = parts.next().unwrap_or_default().to_vec();
                prepared.insert(name, text(parts.next().unwrap_or_default()));
                None
            }
            Protocol::Postgres if size == 5 && head[0] == b'B' => {
                let name = body.split(|byte| *byte == 0).nth(1).unwrap_or_default();
                bound = prepared.get(name).cloned().unwrap_or_default();
                None
            }
            Protocol::Postgres if size == 5 && head[0] == b'E' => Some(bound.clone()),
            Protocol::MariaDb if head[3] == 0 && body.first() == Some(&3) => Some(text(&body[1..])),
            Protocol::MariaDb if head[3] == 0 && body.first() == Some(&0x17) => Some("(prepared)".to_owned()),
            _ => None,
        };
        said.lock().expect("a list").extend(run);
        to.write_all(head).await?;
        to.write_all(&body).await?;
        first = false;
    }
}
