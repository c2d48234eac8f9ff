//! `GET /v1/events`: a stream that says when there is something to pull.
//!
//! One task of the process reads the feed as it grows; every stream hears from it what was committed, and tells its
//! caller what concerns that caller. Who may listen is asked again before each event, and from time to time, so that a
//! stream does not outlive its token.

use super::listen::Closing;
use super::observe::Listening;
use super::policy::Policy;
use super::rate::OpenStream;
use crate::problem::Problem;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, header};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use sync_runtime::engine::moves::{Moved, Moves};
use sync_runtime::replica::{Replica, Watching};
use sync_runtime::{Caller, Checkpoint, Engine, Error, ErrorKind, Right};
use tokio::sync::Mutex;
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};
use tokio::time::{Instant, interval_at, sleep};

/// How often it is asked whether a listener may still listen. A stream ends at most this long after that changed.
const ASK_AGAIN: Duration = Duration::from_secs(4);
/// How long a stream is silent at most; proxies close one that is silent for longer.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many moves a slow listener may be behind before it is told once for all of them.
const BEHIND: usize = 64;
/// In how many turns the listeners are told.
const TURNS: usize = 32;
/// How often the task that reads the feed looks whether anybody still listens.
const STILL_HEARD: Duration = Duration::from_secs(10);
/// How long to wait after a failure of the store.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What was committed, for all streams of a process. They are told in turns: whoever is told first has pulled before the
/// last one asks, instead of all waiting for all.
pub(super) struct Hub {
    turns: [Sender<Arc<Moved>>; TURNS],
    /// Whose turn the next listener has.
    next: AtomicUsize,
    /// Whether a task reads the feed.
    reads: Mutex<bool>,
}

impl Hub {
    pub(super) fn new() -> Arc<Self> {
        let turns = std::array::from_fn(|_| broadcast::channel(BEHIND).0);
        Arc::new(Hub { turns, next: AtomicUsize::new(0), reads: Mutex::new(false) })
    }

    /// Listens from here on.
    async fn listen(self: &Arc<Self>, engine: &Engine) -> Result<Receiver<Arc<Moved>>, Error> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % TURNS;
        let receiver = self.turns[turn].subscribe();
        let mut reads = self.reads.lock().await;
        if !*reads {
            let mut moves = engine.moves();
            moves.start().await?;
            *reads = true;
            let hub = self.clone();
            tokio::spawn(async move { hub.read(moves).await });
        }
        Ok(receiver)
    }

    async fn tell(&self, moved: Moved) {
        let moved = Arc::new(moved);
        for turn in &self.turns {
            // Fails where nobody listens in this turn.
            if turn.send(moved.clone()).is_ok() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Reads the feed as it grows, until nobody listens.
    async fn read(&self, mut moves: Moves) {
        loop {
            match tokio::time::timeout(STILL_HEARD, moves.next()).await {
                Ok(Ok(moved)) => self.tell(moved).await,
                Ok(Err(error)) if error.kind() == ErrorKind::Closed => {
                    *self.reads.lock().await = false;
                    return;
                }
                Ok(Err(_)) => sleep(AFTER_FAILURE).await,
                Err(_) => {}
            }
            let mut reads = self.reads.lock().await;
            if self.turns.iter().all(|turn| turn.receiver_count() == 0) {
                *reads = false;
                return;
            }
        }
    }
}

/// One stream.
struct Listener {
    moves: Receiver<Arc<Moved>>,
    engine: Engine,
    policy: Arc<dyn Policy>,
    /// The request, to be asked about again.
    request: Parts,
    caller: Caller,
    watch: Watching,
    /// What is to be told before anything else.
    first: Option<Checkpoint>,
    ask: tokio::time::Interval,
    /// Where the server can tell that it is about to end.
    closing: Option<Closing>,
    _listening: Listening,
    /// Counts for the subject.
    _open: Option<OpenStream>,
}

/// Answers with a stream of what is committed from here on, and since what the caller has.
pub(super) async fn stream_of(
    hub: &Arc<Hub>,
    replica: &dyn Replica,
    policy: Arc<dyn Policy>,
    caller: Caller,
    request: Parts,
    open: Option<OpenStream>,
) -> Result<Response<Body>, Problem> {
    let problem = |error: Error| Problem::of(&error);
    let Some(engine) = replica.engine().cloned() else {
        return Err(Problem::new(
            ErrorKind::Usage,
            "this replica tells no events: it is not of this process",
        ));
    };
    let watch = watching(&request).map_err(problem)?;
    // In this order, so that nothing falls between the two.
    engine.checkpoint(&caller).await.map_err(problem)?;
    let moves = hub.listen(&engine).await.map_err(problem)?;
    let first = engine.moved_since(&caller, watch).await.map_err(problem)?;
    let ask = interval_at(Instant::now() + ASK_AGAIN, ASK_AGAIN);
    let closing = request.extensions.get::<Closing>().cloned();
    let listener = Listener {
        moves,
        engine,
        policy,
        request,
        caller,
        watch,
        first,
        ask,
        closing,
        _listening: Listening::begin(),
        _open: open,
    };
    let events = stream::unfold(listener, |mut listener| async move {
        let checkpoint = listener.next().await?;
        let event = Event::default().event("moved").id(checkpoint.to_string()).data(checkpoint.to_string());
        Some((Ok::<_, Infallible>(event), listener))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    // Proxies that gather an answer before they hand it on would keep every event back.
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    Ok(response)
}

/// What ends a wait.
enum News {
    Told(Checkpoint),
    Moved(Arc<Moved>),
    /// It is time to ask about the caller again.
    Time,
}

impl Listener {
    /// The next checkpoint to tell; `None` when the caller may not listen any more.
    async fn next(&mut self) -> Option<Checkpoint> {
        loop {
            let news = match self.first.take() {
                Some(first) => News::Told(first),
                None => self.wait().await?,
            };
            if !self.may_listen().await {
                return None;
            }
            // What concerned the caller as it was may not concern it any more.
            match news {
                News::Told(checkpoint) => return Some(checkpoint),
                News::Moved(moved) if moved.concerns(&self.caller, self.watch.from) => {
                    return Some(moved.checkpoint());
                }
                News::Moved(_) | News::Time => {}
            }
        }
    }

    /// Waits for something that concerns the caller, or until it is to be asked about again.
    async fn wait(&mut self) -> Option<News> {
        loop {
            tokio::select! {
                moved = self.moves.recv() => match moved {
                    Ok(moved) if moved.concerns(&self.caller, self.watch.from) => {
                        return Some(News::Moved(moved));
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => {
                        // What was missed may have been for this caller; a needless pull costs one request.
                        return self.engine.checkpoint(&self.caller).await.ok().map(News::Told);
                    }
                    Err(RecvError::Closed) => return None,
                },
                _ = self.ask.tick() => return Some(News::Time),
                () = ending(&mut self.closing) => return None,
            }
        }
    }

    /// Whether the caller is still who it was, and its token good.
    async fn may_listen(&mut self) -> bool {
        let Ok(caller) = self.policy.caller(&self.request).await else { return false };
        let same = caller.subject() == self.caller.subject();
        let ended = caller.ends().is_some_and(|end| end <= self.engine.env().now());
        self.caller = caller;
        same && !ended && self.caller.needs_anywhere(Right::Read, self.engine.models()).is_ok()
    }
}

async fn ending(closing: &mut Option<Closing>) {
    match closing {
        Some(closing) => closing.ended().await,
        None => std::future::pending().await,
    }
}

/// What the request says of who listens and what it has: `from` in the query, `since` there or as `Last-Event-ID`.
fn watching(request: &Parts) -> Result<Watching, Error> {
    let mut watch = Watching::default();
    for pair in request.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace("%40", "@");
        let wrong = || {
            let message = format!(
                "`{name:.50}={value:.100}` in the query; known are from=REPLICA and since=CHECKPOINT"
            );
            Error::new(ErrorKind::Usage, message)
        };
        match name {
            "from" => watch.from = Some(value.parse().map_err(|_| wrong())?),
            "since" => watch.since = Some(value.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        }
    }
    let last = request.headers.get("last-event-id").and_then(|value| value.to_str().ok());
    // One that is none is as if there were none: everything is told then.
    watch.since = last.and_then(|last| last.parse().ok()).or(watch.since);
    Ok(watch)
}
