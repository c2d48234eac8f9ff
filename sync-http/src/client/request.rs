//! One request and its answer, with every way in which a network fails as the project's error.

use super::builder::{Token, bearer};
use super::events;
use crate::encoding::{Encoding, WORTH_COMPRESSING};
use crate::format::Format;
use crate::problem::{MEDIA_TYPE, Problem, kind_of};
use crate::wire::VERSION;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, Response, Url};
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use sync_runtime::Caller;
use sync_runtime::replica::Limits;
use sync_runtime::{Error, ErrorKind, Result};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

/// The most bytes of an answer, as it travels and decompressed.
const MOST_ANSWERED: usize = 32 << 20;

/// The longest wait that a server can ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a stream of events may last: a client's own time for a request does not hold for it.
const LONGEST_STREAM: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub(super) use reqwest::Method as HttpMethod;

/// How a path is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

/// What travelled between a client and its server, headers included, before TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Traffic {
    /// Requests that were sent.
    pub requests: u64,
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that came back.
    pub received: u64,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// The way to a server.
pub(super) struct Connection {
    url: String,
    base: Url,
    client: Client,
    headers: HeaderMap,
    token: Option<Token>,
    compress: bool,
    timeout: Duration,
    counters: Arc<Counters>,
    known: Mutex<Option<Known>>,
}

/// As whom the server knows the caller, and by which token it said so.
#[derive(Clone)]
struct Known {
    subject: String,
    token: String,
}

/// The part of a server's description that says who asks.
#[derive(serde::Deserialize)]
struct Asker {
    #[serde(default)]
    subject: Option<String>,
}

/// The body of a good answer.
pub(super) struct Good {
    pub(super) format: Format,
    pub(super) body: Vec<u8>,
    /// The token that the request went with.
    pub(super) token: Option<String>,
}

/// An answer, before its body is read as a message.
pub(super) struct Answered {
    format: Option<Format>,
    status: u16,
    media_type: String,
    location: Option<String>,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl Connection {
    pub(super) fn new(
        base: Url,
        client: Client,
        headers: HeaderMap,
        token: Option<Token>,
        compress: bool,
        timeout: Duration,
    ) -> Self {
        let url = base.as_str().trim_end_matches('/').to_owned();
        let (counters, known) = (Arc::default(), Mutex::default());
        Connection { url, base, client, headers, token, compress, timeout, counters, known }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn traffic(&self) -> Traffic {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Traffic {
            requests: count(&counters.requests),
            sent: count(&counters.sent),
            received: count(&counters.received),
        }
    }

    pub(super) fn at(&self, path: &str) -> String {
        match path {
            "" => format!("{}/{VERSION}", self.url),
            path => format!("{}/{VERSION}/{path}", self.url),
        }
    }

    /// An error about the answer of this path.
    pub(super) fn answered(&self, path: &str, error: Error) -> Error {
        error.context(format!("the answer of {}", self.at(path)))
    }

    /// The server said by this token as whom it knows the caller. Nobody else's token is sent with a message from now on.
    pub(super) fn is_known_as(&self, subject: Option<String>, token: Option<String>) {
        *self.known() = subject.zip(token).map(|(subject, token)| Known { subject, token });
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the next request goes with the token by which the server said who the caller is.
    pub(super) async fn goes_on_as_known(&self) -> bool {
        let known = self.known().clone();
        match (known, &self.token) {
            (Some(known), Some(provider)) => provider.token(None).await.as_ref() == Some(&known.token),
            _ => true,
        }
    }

    /// Fails where a token is another one's than the one as whom the server knows the caller: what is to be sent is not
    /// theirs. Who syncs was told as whom; others go on as the one of whom the server spoke last.
    async fn vouch(&self, token: &str, caller: &Caller) -> Result<()> {
        let known = self.known().clone();
        let told = known.as_ref().filter(|known| known.token == token).map(|known| known.subject.as_str());
        let expected = caller.known_as().or(known.as_ref().map(|known| known.subject.as_str()));
        let Some(expected) = expected.filter(|expected| told != Some(expected)) else { return Ok(()) };
        let url = self.at("");
        let request = self.request(Method::Get, &url, Format::Json, None, Limits::default())?;
        let counters = self.counters.clone();
        let fetch = move |client, request| fetch(client, request, counters.clone());
        let (_, body) = accept(&url, self.send_with(&url, request, Some(token), &fetch).await?)?;
        let asker: Asker = serde_json::from_slice(&body).map_err(|error| {
            let error = Error::new(ErrorKind::Protocol, "its description cannot be read").with_source(error);
            self.answered("", error)
        })?;
        if asker.subject.as_deref() != Some(expected) {
            let message = format!(
                "the token is not one of `{expected}` any more, as whom {} knew the caller; nothing was sent with it",
                self.url
            );
            return Err(Error::new(ErrorKind::Forbidden, message));
        }
        self.is_known_as(asker.subject, Some(token.to_owned()));
        Ok(())
    }

    /// Sends a message, and gives the body of a good answer. Whatever is not the question who the server is goes out only
    /// in the name of whom it knew then.
    pub(super) async fn call(
        &self,
        caller: Option<&Caller>,
        method: Method,
        path: &str,
        format: Format,
        body: Option<Vec<u8>>,
        limits: Limits,
    ) -> Result<Good> {
        let url = self.at(path);
        let request = self.request(method, &url, format, body, limits)?;
        let counters = self.counters.clone();
        let fetch = move |client, request| fetch(client, request, counters.clone());
        let (answered, token) = self.send(&url, request, caller, fetch).await?;
        accept(&url, answered).map(|(format, body)| Good { format, body, token })
    }

    /// Sends a request with the token; once more with another token, where there is one after it was refused. With
    /// a caller, only with tokens of the one as whom the server knows it. Gives the token that it went with, too.
    pub(super) async fn send<T, F>(
        &self,
        url: &str,
        request: reqwest::Request,
        caller: Option<&Caller>,
        send: impl Fn(Client, reqwest::Request) -> F,
    ) -> Result<(T, Option<String>)>
    where
        T: Refused + Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let mut token = match &self.token {
            Some(provider) => provider.token(None).await,
            None => None,
        };
        let (mut request, mut is_second) = (request, false);
        loop {
            // The same bytes once more: a copy of a request shares its body.
            let again = request.try_clone().filter(|_| !is_second);
            let vouched = match (&token, caller) {
                (Some(token), Some(caller)) => self.vouch(token, caller).await,
                _ => Ok(()),
            };
            let refused = match vouched {
                Ok(()) => {
                    let answered = self.send_with(url, request, token.as_deref(), &send).await?;
                    if !answered.is_refused() {
                        return Ok((answered, token));
                    }
                    Ok(answered)
                }
                Err(error) if error.kind() == ErrorKind::Unauthorized => Err(error),
                Err(error) => return Err(error),
            };
            let other = match (&self.token, &token) {
                (Some(provider), Some(used)) if !is_second => {
                    provider.token(Some(used)).await.filter(|other| other != used)
                }
                _ => None,
            };
            let (Some(other), Some(again)) = (other, again) else {
                return refused.map(|answered| (answered, token));
            };
            (request, token, is_second) = (again, Some(other), true);
        }
    }

    async fn send_with<T, F>(
        &self,
        url: &str,
        mut request: reqwest::Request,
        token: Option<&str>,
        send: impl Fn(Client, reqwest::Request) -> F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        if let Some(token) = token {
            let (name, value) = bearer(token)?;
            request.headers_mut().insert(name, value);
        }
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.counters.sent.fetch_add(size_of_request(&request), Ordering::Relaxed);
        match spawned(send(self.client.clone(), request)).await {
            Some(Ok(answered)) => Ok(answered),
            Some(Err(Failure::Network(error))) => Err(self.failed(url, &error)),
            Some(Err(Failure::Answer(error))) => Err(error.context(format!("the answer of {url}"))),
            None => {
                let message = format!("the request to {url} was stopped with its tokio runtime");
                Err(Error::new(ErrorKind::Unreachable, message))
            }
        }
    }

    /// A request for a stream of events, which lasts as long as it lasts.
    pub(super) fn listening(&self, url: &str) -> Result<reqwest::Request> {
        let mut request = self.empty(Method::Get, url)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(events::MEDIA_TYPE));
        *request.timeout_mut() = Some(LONGEST_STREAM);
        Ok(request)
    }

    fn empty(&self, method: Method, url: &str) -> Result<reqwest::Request> {
        let parsed = Url::parse(url)
            .map_err(|error| Error::new(ErrorKind::Usage, format!("`{url}` is not a URL: {error}")))?;
        let method = match method {
            Method::Get => HttpMethod::GET,
            Method::Post => HttpMethod::POST,
        };
        let mut request = reqwest::Request::new(method, parsed);
        request.headers_mut().extend(self.headers.clone());
        Ok(request)
    }

    fn request(
        &self,
        method: Method,
        url: &str,
        format: Format,
        body: Option<Vec<u8>>,
        limits: Limits,
    ) -> Result<reqwest::Request> {
        let mut request = self.empty(method, url)?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(format.media_type()));
        if self.compress {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(Encoding::Zstd.name()));
        }
        if let Some(plain) = body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
            let large = |what: &str, size: usize, limit: usize| {
                let message = format!("{size} bytes {what}, and {url} takes {limit}; send smaller pages");
                Error::new(ErrorKind::TooLarge, message)
            };
            if plain.len() > limits.decompressed {
                return Err(large("before compression", plain.len(), limits.decompressed));
            }
            let compress = self.compress && plain.len() >= WORTH_COMPRESSING;
            let encoding = if compress { Encoding::Zstd } else { Encoding::Identity };
            let body = encoding.compress(plain)?;
            if body.len() > limits.body {
                return Err(large("as they travel", body.len(), limits.body));
            }
            if encoding != Encoding::Identity {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
            }
            *request.body_mut() = Some(body.into());
        }
        Ok(request)
    }

    /// What a network error means, and what to do.
    fn failed(&self, url: &str, error: &reqwest::Error) -> Error {
        let causes = causes(error);
        let host = self.base.host_str().unwrap_or_default();
        let unreachable = |message: String| Error::new(ErrorKind::Unreachable, message);
        if error.is_timeout() {
            let what = if error.is_connect() {
                "could not be connected to in time".to_owned()
            } else {
                format!("did not answer within {} s", self.timeout.as_secs_f32())
            };
            return unreachable(format!("{url} {what}"));
        }
        if causes.contains("certificate") || causes.contains("UnknownIssuer") {
            let message = format!("{url} shows a certificate that is not trusted: {causes}");
            return unreachable(message).retryable(false);
        }
        if causes.contains("corrupt message") || causes.contains("InvalidContentType") {
            let message = format!("{url} does not speak TLS; is it http:// instead of https://? {causes}");
            return Error::new(ErrorKind::Protocol, message);
        }
        if causes.contains("dns error") || causes.contains("failed to lookup") {
            return unreachable(format!(
                "there is no address for {host}; is {url} right, and the network up?"
            ));
        }
        if causes.contains("refused") {
            return unreachable(format!("nobody listens at {url}; is the server running?"));
        }
        if causes.contains("invalid HTTP") || causes.contains("parse") {
            return Error::new(ErrorKind::Protocol, format!("{url} does not speak HTTP: {causes}"));
        }
        unreachable(format!("the connection to {url} failed: {causes}"))
    }
}

/// Whether an answer says that the token is not good.
pub(super) trait Refused {
    fn is_refused(&self) -> bool;
}

impl Refused for Answered {
    fn is_refused(&self) -> bool {
        self.status == 401
    }
}

impl<T: Refused> Refused for Option<T> {
    fn is_refused(&self) -> bool {
        self.as_ref().is_some_and(T::is_refused)
    }
}

pub(super) enum Failure {
    Network(reqwest::Error),
    Answer(Error),
}

/// The causes beneath an error, outermost first; without the URL, which the error repeats.
fn causes(error: &reqwest::Error) -> String {
    let mut text = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push(error.to_string());
        cause = error.source();
    }
    if text.is_empty() { "no cause was given".to_owned() } else { text.join(": ") }
}

async fn fetch(
    client: Client,
    request: reqwest::Request,
    counters: Arc<Counters>,
) -> Result<Answered, Failure> {
    let response = client.execute(request).await.map_err(|error| Failure::Network(error.without_url()))?;
    let count = |bytes| {
        counters.received.fetch_add(bytes, Ordering::Relaxed);
    };
    count(size_of_head(&response));
    answered(response, count).await
}

/// Reads an answer to its end; `count` is told how many bytes of the body came.
pub(super) async fn answered(mut response: Response, count: impl Fn(u64)) -> Result<Answered, Failure> {
    let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let encoding = match header(CONTENT_ENCODING) {
        None => Encoding::Identity,
        Some(name) => Encoding::of_name(name).ok_or_else(|| {
            let message = format!("it is compressed with `{name:.50}`, which was not asked for");
            Failure::Answer(Error::new(ErrorKind::Protocol, message))
        })?,
    };
    let media_type = header(CONTENT_TYPE).unwrap_or_default().to_owned();
    let mut answered = Answered {
        format: Format::of_media_type(&media_type),
        status: response.status().as_u16(),
        media_type,
        location: header(LOCATION).map(str::to_owned),
        retry_after: header(RETRY_AFTER).and_then(wait),
        body: Vec::new(),
    };
    let mut body = Vec::new();
    let network = |error: reqwest::Error| Failure::Network(error.without_url());
    while let Some(chunk) = response.chunk().await.map_err(network)? {
        count(chunk.len() as u64);
        if body.len() + chunk.len() > MOST_ANSWERED {
            let message = format!("it has more than {MOST_ANSWERED} bytes; ask for smaller pages");
            return Err(Failure::Answer(Error::new(ErrorKind::TooLarge, message)));
        }
        body.extend_from_slice(&chunk);
    }
    answered.body = encoding.decompress(body, MOST_ANSWERED).map_err(Failure::Answer)?;
    Ok(answered)
}

/// How long a `Retry-After` in seconds asks to wait; a date is not read, as clocks differ.
fn wait(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT))
}

/// The body of a good answer; a bad one as what it says, or as what it cannot be.
pub(super) fn accept(url: &str, answered: Answered) -> Result<(Format, Vec<u8>)> {
    let Answered { format, status, media_type, location, retry_after, body } = answered;
    if let (200, Some(format)) = (status, format) {
        return Ok((format, body));
    }
    if media_type.split(';').next().map(str::trim) == Some(MEDIA_TYPE)
        && let Ok(problem) = serde_json::from_slice::<Problem>(&body)
    {
        return Err(problem.into_error(retry_after).context(format!("{url} answers {status}")));
    }
    if (300..400).contains(&status) {
        let to = location.map_or_else(String::new, |to| format!(" to {}", without_credentials(&to)));
        let message = format!("{url} redirects{to}; use the URL where the sync routes are");
        return Err(Error::new(ErrorKind::Protocol, message));
    }
    let kind = match status {
        200..=299 => ErrorKind::Protocol,
        status => kind_of(status),
    };
    let what = if media_type.is_empty() {
        "without a type".to_owned()
    } else {
        format!("of type {media_type:.100}")
    };
    let message =
        format!("{url} answers {status} with a body {what}, as no sync server does; is the URL right?");
    let error = Error::new(kind, message);
    Err(match retry_after {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    })
}

fn without_credentials(location: &str) -> String {
    match Url::parse(location) {
        Ok(mut url) => {
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.set_query(None);
            url.to_string()
        }
        Err(_) => location.split('?').next().unwrap_or_default().to_owned(),
    }
}

/// The bytes of a request in HTTP/1.1.
fn size_of_request(request: &reqwest::Request) -> u64 {
    let url = request.url();
    let body = request.body().and_then(|body| body.as_bytes()).map_or(0, <[u8]>::len);
    let port = url.port().map_or(0, |port| 1 + digits(port.into()));
    let line = request.method().as_str().len() + url.path().len() + " ".len() + " HTTP/1.1\r\n".len();
    let host = "host: \r\n".len() + url.host_str().map_or(0, str::len) + port;
    let length = if request.body().is_some() { "content-length: \r\n".len() + digits(body) } else { 0 };
    (line + host + length + size_of_headers(request.headers()) + "\r\n".len() + body) as u64
}

/// The bytes of an answer before its body, in HTTP/1.1.
fn size_of_head(response: &Response) -> u64 {
    let status = response.status();
    let line = "HTTP/1.1 200 \r\n".len() + status.canonical_reason().map_or(0, str::len);
    (line + size_of_headers(response.headers()) + "\r\n".len()) as u64
}

fn size_of_headers(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + ": \r\n".len() + value.len()).sum()
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Runs a request on the current tokio runtime, or on one in the background; `None` if the runtime ended.
/// Dropping the future ends the request.
async fn spawned<T: Send + 'static>(request: impl Future<Output = T> + Send + 'static) -> Option<T> {
    static BACKGROUND: OnceLock<Option<Runtime>> = OnceLock::new();
    let handle = Handle::try_current().ok().or_else(|| {
        let background = BACKGROUND.get_or_init(|| {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(1).thread_name("sync-http").enable_all().build().ok()
        });
        background.as_ref().map(|runtime| runtime.handle().clone())
    })?;
    Running(handle.spawn(request)).await
}

/// A task that ends with whoever waits for it.
struct Running<T>(JoinHandle<T>);

impl<T> Future for Running<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(context).map(Result::ok)
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
