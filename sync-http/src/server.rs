//! A replica as routes of an axum server.
//!
//! The routes only translate: they read a request, ask the policy who calls, call the replica, and write what
//! it gave. Every call runs in a task of its own, so a client that hangs up leaves nothing half done.

mod answer;
mod body;
mod events;
mod health;
mod listen;
mod observe;
mod policy;
mod rate;
mod turns;

pub use health::health_router;
pub use listen::{serve, serve_until};
pub use policy::{AllowAll, Policy, Refusal};
pub use rate::RateLimit;

use crate::encoding::Encoding;
use crate::format::Format;
use crate::problem::Problem;
use crate::wire::{self, VERSION, path};
use answer::{Answer, Answering, answering, problem_response, respond};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Response, Uri};
use axum::routing::{get, post};
use events::Hub;
use futures_util::FutureExt;
use observe::Observed;
use policy::ByPolicy;
use rate::Rates;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use sync_runtime::codec::Reader;
use sync_runtime::replica::{Exchange, Limits, Pulled, Replica};
use sync_runtime::{AsReplica, Caller, Error, ErrorKind, Guard, Models, Result, Right};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument;
use turns::{Turn, Turns};

/// Messages above this many bytes are read and written on a thread that may block.
const HEAVY: usize = 64 << 10;

/// How many times the bytes of the largest message its JSON values may take in memory: as much as the largest records take.
const KEPT: usize = 4;

/// The routes of a replica, to nest in an app's own server. There is no default policy; to let everybody do
/// everything, write [`AllowAll`].
///
/// ```no_run
/// # async fn example(workspace: sync_runtime::Workspace) -> std::io::Result<()> {
/// use sync_http::{AllowAll, serve, sync_router};
///
/// let app = axum::Router::new().nest("/sync", sync_router(workspace, AllowAll));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// serve(listener, app).await
/// # }
/// ```
pub fn sync_router(replica: impl AsReplica, policy: impl Policy) -> Router {
    SyncRoutes::new(replica, policy).router()
}

/// The routes of a replica, with settings; [`sync_router`] takes the defaults.
#[must_use = "the routes serve nobody until they are in a router"]
pub struct SyncRoutes {
    replica: Arc<dyn Replica>,
    policy: Arc<dyn Policy>,
    rate: Option<RateLimit>,
}

impl fmt::Debug for SyncRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncRoutes").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl SyncRoutes {
    /// The routes of this replica.
    pub fn new(replica: impl AsReplica, policy: impl Policy) -> Self {
        SyncRoutes {
            replica: replica.to_replica(),
            policy: Arc::new(policy),
            rate: Some(RateLimit::default()),
        }
    }

    /// How often one caller may ask; `None` as often as it likes. A request above it is answered with status 429, and
    /// when to come again.
    pub fn rate_limit(self, limit: impl Into<Option<RateLimit>>) -> Self {
        SyncRoutes { rate: limit.into(), ..self }
    }

    /// The methods and paths of the routes, below where they are nested: for a firewall, or for a test of who may do what
    /// that is to fail when a route is missing from it.
    ///
    /// ```
    /// use sync_http::SyncRoutes;
    ///
    /// assert!(SyncRoutes::paths().any(|(method, path)| method == "POST" && path == "/v1/exchange"));
    /// ```
    pub fn paths() -> impl Iterator<Item = (&'static str, String)> {
        let calls = ROUTES.into_iter().map(|(method, path, _)| (method.name(), at(path)));
        calls.chain([(Method::Get.name(), at(path::EVENTS))])
    }

    /// The routes, to nest or merge.
    pub fn router(self) -> Router {
        let server = Arc::new(Server {
            replica: self.replica,
            guard: Arc::new(ByPolicy(self.policy.clone())),
            policy: self.policy,
            rates: self.rate.map(Rates::new).map(Arc::new),
            turns: self.rate.map(|rate| Arc::new(Turns::new(rate.at_work, rate.on_the_way))),
            limits: OnceCell::new(),
            hub: Hub::new(),
        });
        let events = |State(server): State<Arc<Server>>, request: Request| server.events(request);
        let mut router = Router::new().route(&at(path::EVENTS), get(events));
        for (method, path, call) in ROUTES {
            let handle =
                move |State(server): State<Arc<Server>>, request: Request| server.handle(call, request);
            let handle = match method {
                Method::Get => get(handle),
                Method::Post => post(handle),
            };
            router = router.route(&at(path), handle);
        }
        router.fallback(no_such_path).method_not_allowed_fallback(no_such_method).with_state(server)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Post,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
        }
    }
}

/// The routes that are a call and its answer, each with its path below the version.
const ROUTES: [(Method, &str, Call); 10] = [
    (Method::Get, "", Call::Describe),
    (Method::Post, path::EXCHANGE, Call::Exchange),
    (Method::Get, path::CHANGES, Call::ChangesByQuery),
    (Method::Post, path::CHANGES, Call::Changes),
    (Method::Post, path::DIFF, Call::Diff),
    (Method::Post, path::CREATE_UPDATES, Call::CreateUpdates),
    (Method::Post, path::BULK_UPDATE, Call::BulkUpdate),
    (Method::Get, path::CHECKPOINT, Call::Checkpoint),
    (Method::Post, path::READ, Call::Read),
    (Method::Post, path::WRITE, Call::Write),
];

fn at(path: &str) -> String {
    match path {
        "" => format!("/{VERSION}"),
        path => format!("/{VERSION}/{path}"),
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Describe,
    Exchange,
    Changes,
    ChangesByQuery,
    Diff,
    CreateUpdates,
    BulkUpdate,
    Checkpoint,
    Read,
    Write,
}

impl Call {
    /// Its name in spans and figures.
    fn name(self) -> &'static str {
        match self {
            Call::Describe => "describe",
            Call::Exchange => path::EXCHANGE,
            Call::Changes | Call::ChangesByQuery => path::CHANGES,
            Call::Diff => path::DIFF,
            Call::CreateUpdates => path::CREATE_UPDATES,
            Call::BulkUpdate => path::BULK_UPDATE,
            Call::Checkpoint => path::CHECKPOINT,
            Call::Read => path::READ,
            Call::Write => path::WRITE,
        }
    }

    /// Whether the request says what it wants in its body.
    fn has_body(self) -> bool {
        !matches!(self, Call::Describe | Call::ChangesByQuery | Call::Checkpoint)
    }
}

struct Server {
    replica: Arc<dyn Replica>,
    policy: Arc<dyn Policy>,
    /// Asks the policy inside the transactions of writes.
    guard: Arc<dyn Guard>,
    rates: Option<Arc<Rates>>,
    turns: Option<Arc<Turns>>,
    limits: OnceCell<Limits>,
    hub: Arc<Hub>,
}

/// A request that the policy let in.
struct Asked {
    caller: Caller,
    uri: Uri,
    /// The format of the body.
    format: Format,
    encoding: Encoding,
    body: Vec<u8>,
    answer: Answering,
    limits: Limits,
    turn: Option<Turn>,
}

impl Server {
    async fn handle(self: Arc<Self>, call: Call, request: Request) -> Response<Body> {
        let observed = Observed::begin(call.name());
        let answered = self.answer(call, request, &observed).instrument(observed.span.clone()).await;
        let bytes = answered.as_ref().map_or(0, |answer| answer.body.len());
        let response = answered.and_then(respond).unwrap_or_else(|problem| problem_response(&problem));
        observed.ended(response.status().as_u16(), bytes);
        response
    }

    async fn answer(
        self: &Arc<Self>,
        call: Call,
        request: Request,
        observed: &Observed,
    ) -> Result<Answer, Problem> {
        // The policy and the replica are other people's code, and a panic of theirs is one failed request.
        let admitted = AssertUnwindSafe(self.admit(call, request)).catch_unwind().await;
        let mut asked = admitted.unwrap_or_else(|_| Err(broken(observed)))?;
        observed.received(asked.body.len());
        let (server, time) = (self.clone(), request_time(&asked.limits));
        let running = observed.clone();
        // A task of its own: the client may hang up at any time, and what was begun has to end.
        let task = async move {
            let turn = asked.turn.take();
            server.run(call, asked, &running).await.map(|answer| answer.with(turn))
        };
        match timeout(time, tokio::spawn(task.in_current_span())).await {
            Ok(Ok(answered)) => answered.map_err(|error| {
                observed.failed(&error);
                Problem::of(&error)
            }),
            Ok(Err(_)) => Err(broken(observed)),
            Err(_) => {
                let detail = "the server is still at work on this request; send it again later";
                Err(Problem::new(ErrorKind::Busy, detail))
            }
        }
    }

    /// Answers with a stream of events.
    async fn events(self: Arc<Self>, request: Request) -> Response<Body> {
        let observed = Observed::begin("events");
        let (parts, _) = request.into_parts();
        let streamed = async {
            let caller = self.caller(&parts).await?;
            let open = self.rates.as_ref().map(|rates| rates.open(&caller)).transpose()?.flatten();
            events::stream_of(&self.hub, &*self.replica, self.policy.clone(), caller, parts, open).await
        };
        let streamed = AssertUnwindSafe(streamed).catch_unwind().instrument(observed.span.clone());
        let response = streamed.await.unwrap_or_else(|_| Err(broken(&observed)));
        let response = response.unwrap_or_else(|problem| problem_response(&problem));
        observed.ended(response.status().as_u16(), 0);
        response
    }

    /// Who calls, with the policy as the guard of what they write.
    async fn caller(&self, parts: &Parts) -> Result<Caller, Problem> {
        let caller = self.policy.caller(parts).await.map_err(Refusal::into_problem)?;
        if let Some(rates) = &self.rates {
            rates.count(&caller)?;
        }
        Ok(caller.guarded_by(self.guard.clone()))
    }

    /// Lets a request in: the policy first, then the headers, then the body.
    async fn admit(&self, call: Call, request: Request) -> Result<Asked, Problem> {
        let (parts, body) = request.into_parts();
        let caller = self.caller(&parts).await?;
        let limits =
            *self.limits.get_or_try_init(|| self.limits()).await.map_err(|error| Problem::of(&error))?;
        let (format, encoding) = match call.has_body() {
            true => body::described(&parts.headers)?,
            false => (Format::Json, Encoding::Identity),
        };
        let answer = answering(&parts, format)?;
        let time = request_time(&limits);
        let mut turn = self.turns.as_ref().and_then(|turns| turns.of(&caller));
        let body = match call.has_body() {
            true => {
                let until = Instant::now() + time;
                if let (Some(turn), Some(bytes)) = (&mut turn, body::large(&parts.headers, limits.body)) {
                    let room = timeout_at(until, turn.room(bytes)).await;
                    room.map_err(|_| rate::too_many("bytes on their way", 1))?;
                }
                let body = timeout_at(until, body::read(&parts.headers, body, limits.body)).await;
                body.map_err(|_| body::too_slow(time))??
            }
            false => Vec::new(),
        };
        if let Some(turn) = &mut turn {
            let place = timeout(time, turn.place(is_heavy(&body, encoding))).await;
            place.map_err(|_| rate::too_many("requests at work", 1))?;
        }
        Ok(Asked { caller, uri: parts.uri, format, encoding, body, answer, limits, turn })
    }

    async fn limits(&self) -> Result<Limits> {
        Ok(self.replica.describe(&Caller::owner()).await?.limits)
    }

    async fn run(&self, call: Call, mut asked: Asked, observed: &Observed) -> Result<Answer> {
        let limits = asked.limits;
        let most = limits.page_records;
        let answer = asked.answer;
        let caller = std::mem::replace(&mut asked.caller, Caller::owner());
        let (replica, caller) = (&self.replica, &caller);
        // A model that the caller may not read is one that it never heard of.
        let all = self.models()?;
        caller.needs_anywhere(Right::Read, &all)?;
        let models = all.with_right(Right::Read, caller);
        match call {
            Call::Describe => {
                let description = replica.describe(caller).await?;
                answer.write(0, limits, description, |format, it| format.write(it)).await
            }
            Call::Exchange => {
                let doing = "reading an exchange";
                let read = asked.read(models.clone(), move |format, body, reader| {
                    format.read(body, reader, wire::ReadExchange::seed(reader, most), doing)
                });
                let wire::ExchangeAsked { from, to, push, pull } = read.await?;
                let pull = pull.map(|pull| pull.fit(&all, &models, &limits)).transpose()?;
                let (pull, has_all) = pull.unzip();
                let wanted = pull.as_ref().map(|pull| pull.models.clone());
                let mut exchanged = replica.exchange(caller, Exchange { from, to, push, pull }).await?;
                if let (Some(pulled), Some(wanted)) = (&mut exchanged.pulled, wanted) {
                    fit_to_wish(pulled, &wanted, has_all == Some(true));
                }
                observed.exchanged(&exchanged);
                if let Some(engine) = replica.engine() {
                    engine.purge_in_background();
                }
                let size = exchanged.pulled.as_ref().map_or(0, size_of);
                let write = |format: Format, it: &_| format.write(&wire::ExchangedText::from(it));
                answer.write(size, limits, exchanged, write).await
            }
            Call::Changes | Call::ChangesByQuery => {
                let pull = match call {
                    Call::ChangesByQuery => body::pull_by_query(asked.uri.query())?,
                    _ => {
                        let doing = "reading a wish for changes";
                        let read = asked.read(models.clone(), move |format, body, reader| {
                            format.read(body, reader, wire::ReadPull::seed(reader, most), doing)
                        });
                        read.await?
                    }
                };
                let (pull, has_all) = pull.fit(&all, &models, &limits)?;
                let wanted = pull.models.clone();
                let mut pulled = replica.changes(caller, pull).await?;
                fit_to_wish(&mut pulled, &wanted, has_all);
                let write = |format: Format, it: &_| format.write(&wire::PulledText::from(it));
                answer.write(size_of(&pulled), limits, pulled, write).await
            }
            Call::Diff => {
                let read = asked.read(models, move |format, body, reader| {
                    format.read(body, reader, wire::ReadChanges::seed(reader, most), "reading changes")
                });
                let diff = replica.diff(caller, read.await?).await?;
                answer.write(0, limits, diff, |format, it| format.write(&wire::DiffText::from(it))).await
            }
            Call::CreateUpdates => {
                let read = asked.read(models, move |format, body, reader| {
                    format.read(body, reader, wire::ReadDeltas::seed(reader, most), "reading deltas")
                });
                let updates = replica.create_updates(caller, read.await?).await?;
                let write =
                    |format: Format, it: &Vec<_>| format.write(&wire::UpdatesText::from(it.as_slice()));
                answer.write(HEAVY, limits, updates, write).await
            }
            Call::BulkUpdate => {
                let read = asked.read(models, move |format, body, reader| {
                    format.read(body, reader, wire::ReadBulk::seed(reader, most), "reading updates")
                });
                let (from, updates) = read.await?;
                let outcomes = replica.bulk_update(caller, from, updates).await?;
                let write =
                    |format: Format, it: &Vec<_>| format.write(&wire::OutcomesMessage::from(it.as_slice()));
                answer.write(0, limits, outcomes, write).await
            }
            Call::Checkpoint => {
                let checkpoint = replica.checkpoint(caller).await?;
                let text = wire::CheckpointText { checkpoint };
                answer.write(0, limits, text, |format, it| format.write(it)).await
            }
            Call::Read => {
                let doing = "reading what to read";
                let read = asked.read(models, move |format, body, reader| {
                    format.read(body, reader, wire::ReadWanted::seed(reader, most), doing)
                });
                let (schema, wanted) = read.await?;
                let states = replica.read(caller, schema, wanted).await?;
                let write =
                    |format: Format, it: &Vec<_>| format.write(&wire::StatesText::from(it.as_slice()));
                answer.write(HEAVY, limits, states, write).await
            }
            Call::Write => {
                // Unlike a page, all of it is refused or none.
                let read = asked.read_strictly(models, move |format, body, reader| {
                    format.read(body, reader, wire::ReadWrites::seed(reader, most), "reading writes")
                });
                let states = replica.write(caller, read.await?).await?;
                let write =
                    |format: Format, it: &Vec<_>| format.write(&wire::StatesText::from(it.as_slice()));
                answer.write(0, limits, states, write).await
            }
        }
    }

    fn models(&self) -> Result<Models> {
        self.replica.models().cloned().ok_or_else(|| {
            let message = "this server has no models of its own: serve a workspace, not a remote replica";
            Error::new(ErrorKind::Usage, message)
        })
    }
}

impl Asked {
    /// Reads the body. A record that does not fit its model stays for the replica to refuse alone.
    async fn read<T: Send + 'static>(
        self,
        models: Models,
        read: impl FnOnce(Format, &[u8], &Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.read_with(move |bytes| Reader::new(&models).within(bytes).keeping_misfits(), read).await
    }

    /// Reads the body, or none of it.
    async fn read_strictly<T: Send + 'static>(
        self,
        models: Models,
        read: impl FnOnce(Format, &[u8], &Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.read_with(move |bytes| Reader::new(&models).within(bytes), read).await
    }

    async fn read_with<T: Send + 'static>(
        self,
        reader: impl FnOnce(usize) -> Reader + Send + 'static,
        read: impl FnOnce(Format, &[u8], &Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        apart(is_heavy(&self.body, self.encoding), move || {
            let body = self.encoding.decompress(self.body, self.limits.decompressed)?;
            read(self.format, &body, &reader(self.limits.decompressed.saturating_mul(KEPT)))
        })
        .await
    }
}

/// Whether a body is much, or will be once it is decompressed.
fn is_heavy(body: &[u8], encoding: Encoding) -> bool {
    body.len() > HEAVY || (encoding != Encoding::Identity && body.len() > HEAVY / 8)
}

/// Runs work inline, or on a thread that may block if it is heavy.
async fn apart<T: Send + 'static>(
    heavy: bool,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if !heavy {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            Err(Error::new(ErrorKind::Storage, "a task of the server was stopped").with_source(error))
        }
    }
}

/// About how many bytes of records were pulled.
fn size_of(pulled: &Pulled) -> usize {
    match pulled {
        Pulled::UnknownCheckpoint | Pulled::Purged => 0,
        Pulled::Page(page) => {
            let records = page.page.updates.iter().filter_map(|update| update.state.record.as_ref());
            records.map(sync_runtime::Record::size).sum()
        }
    }
}

/// Takes changes of models that the puller does not know out of a page, and says which models it covers, unless that is
/// all that was wished for.
fn fit_to_wish(pulled: &mut Pulled, wanted: &Models, has_all: bool) {
    if let Pulled::Page(page) = pulled {
        if !has_all {
            let names = || wanted.iter().map(|model| model.schema.name.to_owned()).collect();
            page.covers.get_or_insert_with(names);
        }
        let before = page.page.updates.len();
        page.page.updates.retain(|update| wanted.get(update.state.change.schema.name).is_ok());
        page.skipped += (before - page.page.updates.len()) as u64;
    }
}

fn request_time(limits: &Limits) -> Duration {
    Duration::from_micros(limits.request_time.unsigned_abs())
}

/// What a peer learns of a panic.
fn broken(observed: &Observed) -> Problem {
    observed.panicked();
    Problem::new(ErrorKind::Storage, "the server failed at this request; its own log says why")
}

async fn no_such_path(uri: Uri) -> Response<Body> {
    let first = uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
    let version = first.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok());
    let problem = if version && first != VERSION {
        let detail = format!("this server speaks {VERSION} of the protocol, not {first:.20}");
        Problem::new(ErrorKind::Incompatible, detail)
    } else {
        Problem::new(
            ErrorKind::Protocol,
            "there is nothing at this path; the protocol's paths start with /v1",
        )
    };
    problem_response(&problem.with_status(404))
}

async fn no_such_method() -> Response<Body> {
    let detail = "this path is not called by this method; see the protocol";
    problem_response(&Problem::new(ErrorKind::Protocol, detail).with_status(405))
}
