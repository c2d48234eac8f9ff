//! The client against servers that are not there, are something else, or stop in the middle; and what travels.

mod common;

use common::*;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use sync_http::{AllowAll, HttpReplica, SyncRoutes, serve};
use sync_runtime::replica::{Caller, Exchange, Page, Pulled, PushPage, Replica, Watching};
use sync_runtime::{Checkpoint, Error, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that reads a request's head and then says what it was told to.
async fn saying(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let (listener, answer) = (TcpListener::bind("127.0.0.1:0").await.expect("a port"), answer.into());
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            let _ = connection.read(&mut bytes).await;
            let _ = connection.write_all(&answer).await;
            let _ = connection.shutdown().await;
        }
    });
    address
}

async fn asked(url: &str) -> Error {
    let client =
        HttpReplica::builder(url).request_timeout(Duration::from_millis(700)).build().expect("a URL");
    client.checkpoint(&Caller::owner()).await.expect_err("no such server is a replica")
}

#[tokio::test]
async fn strange_answers_are_errors_that_say_what_to_do() {
    let html = "<html><body>Welcome to the hotel network</body></html>";
    let page = |status: &str| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{html}",
            html.len()
        )
    };
    let with =
        |status: &str, header: &str| format!("HTTP/1.1 {status}\r\n{header}\r\ncontent-length: 0\r\n\r\n");
    let binary = "HTTP/1.1 200 OK\r\ncontent-type: application/msgpack\r\n";
    let cases = [
        (
            page("200 OK"),
            ErrorKind::Protocol,
            false,
            "of type text/html, as no sync server does; is the URL right?",
        ),
        (page("404 Not Found"), ErrorKind::Protocol, false, "answers 404"),
        (page("500 Internal Server Error"), ErrorKind::Storage, false, "answers 500"),
        (page("502 Bad Gateway"), ErrorKind::Unreachable, true, "answers 502"),
        (page("401 Unauthorized"), ErrorKind::Unauthorized, false, "answers 401"),
        (page("413 Content Too Large"), ErrorKind::TooLarge, false, "answers 413"),
        (with("429 Too Many Requests", "retry-after: 17"), ErrorKind::Unreachable, true, "answers 429"),
        (with("503 Service Unavailable", "retry-after: 17"), ErrorKind::Unreachable, true, "answers 503"),
        (
            with("302 Found", "location: https://u:hunter2@other.example/x?token=hunter2"),
            ErrorKind::Protocol,
            false,
            "redirects to https://other.example/x; use the URL",
        ),
        (
            with("301 Moved", "location: /sync/v1/checkpoint"),
            ErrorKind::Protocol,
            false,
            "redirects to /sync/v1/checkpoint",
        ),
        (with("204 No Content", "x: y"), ErrorKind::Protocol, false, "answers 204"),
        (with("200 OK", "x: y"), ErrorKind::Protocol, false, "with a body without a type"),
        (format!("{binary}content-length: 0\r\n\r\n"), ErrorKind::Protocol, false, "reading a checkpoint"),
        (
            format!("{binary}content-length: 5\r\n\r\nhello"),
            ErrorKind::Protocol,
            false,
            "reading a checkpoint",
        ),
        (
            format!("{binary}content-length: 500\r\n\r\nhello"),
            ErrorKind::Unreachable,
            true,
            "the connection to",
        ),
        (
            format!("{binary}content-encoding: br\r\ncontent-length: 5\r\n\r\nhello"),
            ErrorKind::Protocol,
            false,
            "compressed with `br`",
        ),
        (
            format!("{binary}content-encoding: zstd\r\ncontent-length: 5\r\n\r\nhello"),
            ErrorKind::Protocol,
            false,
            "not one whole zstd stream",
        ),
        (
            format!("{binary}content-length: 999999999\r\n\r\n"),
            ErrorKind::Unreachable,
            true,
            "the connection to",
        ),
        ("HTTP/1.1 200 OK\r\n".to_owned(), ErrorKind::Unreachable, true, "the connection to"),
        (String::new(), ErrorKind::Unreachable, true, "the connection to"),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), ErrorKind::Protocol, false, "does not speak HTTP"),
    ];
    for (answer, kind, retryable, message) in cases {
        let address = saying(answer.clone()).await;
        let error = asked(&url(address)).await;
        let shown = format!("{error} {error:?}");
        assert!(error.to_string().contains(message), "{answer}: {error}");
        assert!(error.to_string().contains(&format!("{}/v1/checkpoint", url(address))), "{error}");
        assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{answer}: {error}");
        assert_eq!(error.retry_after().is_some(), answer.contains("retry-after"), "{answer}: {error}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[tokio::test]
async fn servers_that_are_not_there_are_unreachable() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let error = asked(&url(free)).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true), "{error}");
    assert!(error.to_string().contains("is the server running?"), "{error}");

    let error = asked("http://no-such-host.invalid/sync").await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true), "{error}");
    assert!(error.to_string().contains("no-such-host.invalid"), "{error}");

    // Accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let began = Instant::now();
    let error = asked(&url(silent.local_addr().expect("an address"))).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true), "{error}");
    assert!(error.to_string().contains("did not answer within 0.7 s"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));

    // Says TLS to a server that does not.
    let plain = served(Shelf::default()).await;
    let error = asked(&format!("https://{plain}/sync")).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Protocol, false), "{error}");
    assert!(error.to_string().contains("is it http://"), "{error}");
}

/// A TLS server with a certificate of its own for this name, in front of a plain one; and the certificate.
async fn with_certificate(name: &str, plain: SocketAddr) -> (SocketAddr, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.expect("a key"))
        .expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut client) = acceptor.accept(client).await {
                    let mut server = TcpStream::connect(plain).await.expect("connects");
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (address, certificate.to_vec())
}

#[tokio::test]
async fn a_certificate_is_trusted_by_name_or_not_at_all() {
    let plain = served(Shelf::default()).await;
    let (address, certificate) = with_certificate("localhost", plain).await;
    let (other, elsewhere) = with_certificate("other.example", plain).await;
    let at = |address: SocketAddr| format!("https://localhost:{}/sync", address.port());
    let trusting = |address, certificate: &[u8]| {
        HttpReplica::builder(&at(address)).trust_only(certificate).build().expect("builds")
    };
    let caller = Caller::owner();
    let checkpoint = trusting(address, &certificate).checkpoint(&caller).await.expect("is trusted");
    assert_eq!(checkpoint.replica, ME);
    for client in [trusting(address, &elsewhere), trusting(other, &elsewhere)] {
        let error = client.checkpoint(&caller).await.expect_err("is not trusted");
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, false), "{error}");
        assert!(error.to_string().contains("shows a certificate that is not trusted"), "{error}");
    }
    let error = HttpReplica::builder(&at(address)).trust_only(*b"no certificate").build().expect_err("none");
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[test]
fn any_executor_will_do() {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async move {
            send.send(served(Shelf::default()).await).expect("somebody waits");
            std::future::pending::<()>().await;
        });
    });
    let client = HttpReplica::new(&url(receive.recv().expect("served"))).expect("a URL");
    for _ in 0..3 {
        let checkpoint = pollster::block_on(client.checkpoint(&Caller::owner())).expect("answers");
        assert_eq!(checkpoint, Checkpoint::new(ME, 0));
    }
}

#[tokio::test]
async fn a_dropped_call_ends_its_request() {
    let shelf = Arc::new(Shelf::default().slow(Duration::from_millis(200)));
    let client = HttpReplica::new(&url(served(shelf.clone()).await)).expect("a URL");
    let call = client.bulk_update(&Caller::owner(), None, vec![update(todo(1, "eat"))]).await;
    assert_eq!(call.expect("applies").len(), 1);
    let cut = {
        let caller = Caller::owner();
        let call = client.bulk_update(&caller, None, vec![update(todo(2, "eat"))]);
        tokio::time::timeout(Duration::from_millis(80), call).await
    };
    assert!(cut.is_err());
    tokio::time::sleep(Duration::from_millis(400)).await;
    // What the server had begun it ended, and the next call works.
    assert_eq!((shelf.ended.load(Ordering::SeqCst), shelf.len()), (2, 2));
    client.checkpoint(&Caller::owner()).await.expect("works");
}

/// Passes bytes on to a server, counts them and the connections.
#[derive(Default)]
struct Counted {
    connections: AtomicU64,
    there: AtomicU64,
    back: AtomicU64,
}

impl Counted {
    async fn before(server: SocketAddr) -> (SocketAddr, Arc<Counted>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let counted = Arc::new(Counted::default());
        let counts = counted.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counts.connections.fetch_add(1, Ordering::SeqCst);
                let server = TcpStream::connect(server).await.expect("connects");
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let (there, back) = (counts.clone(), counts.clone());
                tokio::spawn(async move { pass(&mut from_client, &mut to_server, &there.there).await });
                tokio::spawn(async move { pass(&mut from_server, &mut to_client, &back.back).await });
            }
        });
        (address, counted)
    }

    /// What was counted since the last call.
    fn take(&self) -> (u64, u64) {
        (self.there.swap(0, Ordering::SeqCst), self.back.swap(0, Ordering::SeqCst))
    }
}

async fn pass(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    count: &AtomicU64,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        count.fetch_add(read as u64, Ordering::SeqCst);
        if to.write_all(&bytes[..read]).await.is_err() {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_travels_is_little_and_counted() {
    let n = 10_000;
    let shelf = Shelf::with((0..n).map(|n| todo(n, &format!("todo number {n} of a long list, buy milk"))));
    let json = {
        let feed = shelf.changes(&Caller::owner(), pull(None, usize::MAX)).await.expect("reads");
        let Pulled::Page(page) = feed else { panic!("no page") };
        let each = sync_runtime::codec::Each(&page.page.updates, sync_runtime::codec::wire);
        serde_json::to_vec(&each).expect("json").len() as u64
    };
    let (address, counted) = Counted::before(served(shelf).await).await;
    let client = HttpReplica::new(&url(address)).expect("a URL");
    let caller = Caller::owner();
    let mut traffic = client.traffic();
    client.describe(&caller).await.expect("describes");
    let mut travelled = |what: &str| {
        let now = client.traffic();
        let (there, back) = counted.take();
        let counts = (now.sent - traffic.sent, now.received - traffic.received);
        traffic = now;
        assert_eq!((there, back), counts, "{what}: what the client counts is what travelled");
        there + back
    };
    travelled("describing");

    let mut since = None;
    loop {
        let exchange = Exchange { from: PEER, to: ME, push: None, pull: Some(pull(since, 1000)) };
        let answer = client.exchange(&caller, exchange).await.expect("answers");
        let Some(Pulled::Page(page)) = answer.pulled else { panic!("no page") };
        since = Some(page.checkpoint);
        if !page.more {
            break;
        }
    }
    let first = travelled("first pull");
    assert!(first * 10 <= json * 4, "the first pull took {first} bytes, as JSON it has {json}");

    let idle = Exchange { from: PEER, to: ME, push: None, pull: Some(pull(since, 1000)) };
    client.exchange(&caller, idle.clone()).await.expect("answers");
    let idle_bytes = travelled("idle");
    assert!(idle_bytes <= 700, "an idle exchange took {idle_bytes} bytes");

    let page = Page { updates: vec![update(todo(n + 1, "one more thing to do"))], group_open: false };
    let push = PushPage { number: 1, digest: u64::MAX, page };
    // A position above the record: an engine does not send it back either.
    let behind = since.map(|since| Checkpoint { position: since.position + 1, ..since });
    let one = Exchange { push: Some(push), pull: Some(pull(behind, 1000)), ..idle };
    client.exchange(&caller, one).await.expect("answers");
    let pushed = travelled("one record");
    println!("first pull {first} of {json} as JSON, idle {idle_bytes}, one record {pushed}");
    assert!(pushed <= 1000, "one changed record took {pushed} bytes");
    assert_eq!(counted.connections.load(Ordering::SeqCst), 1, "the connection is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_is_found_again() {
    fn start(listener: TcpListener, shelf: Arc<Shelf>) -> tokio::runtime::Runtime {
        // A runtime of its own, whose end closes every connection as the end of a process does.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = listener.into_std().expect("a listener");
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            let routes = SyncRoutes::new(shelf, AllowAll).router();
            serve(listener, axum::Router::new().nest("/sync", routes)).await
        });
        runtime
    }
    let shelf = Arc::new(Shelf::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = start(listener, shelf.clone());
    let client = HttpReplica::new(&url(address)).expect("a URL");
    client.checkpoint(&Caller::owner()).await.expect("answers");
    server.shutdown_background();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let error = client.checkpoint(&Caller::owner()).await.expect_err("is down");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true), "{error}");
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("reuse");
    socket.bind(address).expect("the same port");
    let server = start(socket.listen(64).expect("listens"), shelf);
    client.checkpoint(&Caller::owner()).await.expect("answers again");
    server.shutdown_background();
}

#[test]
fn calls_can_be_made_from_any_thread() {
    fn sendable<T: Send>(_: impl Future<Output = T> + Send) {}
    let client = HttpReplica::new("http://localhost/").expect("a URL");
    sendable(client.checkpoint(&Caller::owner()));
    sendable(client.watch(&Caller::owner(), Watching::default(), &|_| ()));
}
