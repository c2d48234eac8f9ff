//! Listening to a server's events (server-sent events, as the HTML standard writes them).
//!
//! Of the format only what the server sends is read, in bounded memory: a line that is longer than any of its lines
//! ends the connection.

use super::request::{Answered, Connection, Failure, answered};
use reqwest::Client;
use std::time::Duration;
use sync_runtime::replica::Tell;
use sync_runtime::{Checkpoint, Error, ErrorKind, Result};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The media type of a stream of events.
pub(super) const MEDIA_TYPE: &str = "text/event-stream";
/// The longest line.
const LONGEST_LINE: usize = 1024;
/// A server that is silent for this long is gone: it sends a comment every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);

impl Connection {
    /// Tells each checkpoint that the server tells, until it ends the stream.
    pub(super) async fn listen(&self, path: &str, tell: Tell<'_>) -> Result<()> {
        let url = self.at(path);
        let (sender, mut told) = channel(16);
        let request = self.listening(&url)?;
        let reading =
            self.send(&url, request, None, move |client, request| read(client, request, sender.clone()));
        let (done, ()) = futures_util::future::join(reading, hand_on(&mut told, tell)).await;
        match done?.0 {
            None => Ok(()),
            Some(answered) => super::request::accept(&url, answered).and_then(|_| {
                Err(Error::new(
                    ErrorKind::Protocol,
                    format!("{url} answers, and not with a stream of events"),
                ))
            }),
        }
    }
}

async fn hand_on(told: &mut Receiver<Checkpoint>, tell: Tell<'_>) {
    while let Some(checkpoint) = told.recv().await {
        tell(checkpoint);
    }
}

/// Reads a stream of events to its end; gives the answer where it is none.
async fn read(
    client: Client,
    request: reqwest::Request,
    told: Sender<Checkpoint>,
) -> Result<Option<Answered>, Failure> {
    let network = |error: reqwest::Error| Failure::Network(error.without_url());
    let mut response = unless_silent(client.execute(request)).await?.map_err(network)?;
    let media_type =
        response.headers().get(reqwest::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // A proxy may have named the charset behind it.
    let media_type = media_type.and_then(|value| value.split(';').next()).map(str::trim);
    if response.status() != 200 || media_type != Some(MEDIA_TYPE) {
        return unless_silent(answered(response, |_| {})).await?.map(Some);
    }
    let mut line = Vec::new();
    loop {
        let Some(chunk) = unless_silent(response.chunk()).await?.map_err(network)? else { return Ok(None) };
        for byte in chunk {
            match byte {
                b'\n' => {
                    if let Some(checkpoint) = checkpoint(&line)
                        && told.send(checkpoint).await.is_err()
                    {
                        return Ok(None);
                    }
                    line.clear();
                }
                _ if line.len() == LONGEST_LINE => {
                    let message = format!("an event has a line of more than {LONGEST_LINE} bytes");
                    return Err(Failure::Answer(Error::new(ErrorKind::Protocol, message)));
                }
                byte => line.push(byte),
            }
        }
    }
}

/// What comes, unless nothing does for too long.
async fn unless_silent<T>(coming: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(SILENCE, coming).await.map_err(|_| {
        let message = format!("nothing came for {} s", SILENCE.as_secs());
        Failure::Answer(Error::new(ErrorKind::Unreachable, message))
    })
}

/// The checkpoint of a line with data; other lines and other data say nothing.
fn checkpoint(line: &[u8]) -> Option<Checkpoint> {
    std::str::from_utf8(line).ok()?.trim_end().strip_prefix("data:")?.trim_start().parse().ok()
}
