//! What a server says to requests that no client of ours sends: always a problem document, never a panic, and
//! nothing half done.

mod common;

use common::*;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use sync_http::{AllowAll, SyncRoutes};
use sync_runtime::replica::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CHANGES: &str = "/sync/v1/changes";

async fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Plain {
    raw(address, &request("POST", path, headers, body)).await
}

async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Plain {
    raw(address, &request("GET", path, headers, b"")).await
}

#[tokio::test]
async fn a_page_of_a_feed_reads_with_curl() {
    let address = served(Shelf::with([todo(1, "eat food"), tag("x")])).await;
    let curl = ("accept", "*/*");
    let page = get(address, "/sync/v1/changes?limit=1&model=Todo", &[curl]).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("application/json")));
    let page = page.json();
    assert_eq!(page["page"]["updates"][0]["data"]["title"], "eat food", "{page}");
    let checkpoint = page["page"]["checkpoint"].as_str().expect("a checkpoint").replace('@', "%40");
    let next = get(address, &format!("/sync/v1/changes?since={checkpoint}&data=false"), &[curl]).await.json();
    assert_eq!(next["page"]["updates"][0]["model"], "Tag", "{next}");
    assert!(next["page"]["updates"][0].get("data").is_none(), "{next}");
    let binary = get(address, CHANGES, &[("accept", "application/msgpack")]).await;
    assert_eq!(binary.header("content-type"), Some("application/msgpack"));
}

#[tokio::test]
async fn wrong_paths_methods_and_headers_are_named() {
    let address = served(Shelf::default()).await;
    let cases = [
        ("GET", "/sync/v1/nothing", vec![], 404, "protocol", "nothing at this path"),
        ("GET", "/sync", vec![], 404, "protocol", "start with /v1"),
        ("GET", "/sync/v2/changes", vec![], 404, "incompatible", "speaks v1 of the protocol, not v2"),
        ("POST", "/sync/v99", vec![JSON], 404, "incompatible", "not v99"),
        ("DELETE", CHANGES, vec![], 405, "protocol", "not called by this method"),
        ("GET", "/sync/v1/exchange", vec![], 405, "protocol", "not called by this method"),
        ("POST", CHANGES, vec![], 415, "protocol", "send application/msgpack or application/json"),
        ("POST", CHANGES, vec![("content-type", "text/plain")], 415, "protocol", "not `text/plain`"),
        ("POST", CHANGES, vec![("content-type", "text/html; charset=utf-8")], 415, "protocol", "text/html"),
        ("POST", CHANGES, vec![JSON, ("content-encoding", "br")], 415, "protocol", "not with `br`"),
        ("POST", CHANGES, vec![JSON, ("content-encoding", "gzip, gzip")], 415, "protocol", "once"),
        (
            "POST",
            CHANGES,
            vec![JSON, ("content-encoding", "gzip"), ("content-encoding", "zstd")],
            415,
            "protocol",
            "once",
        ),
        ("POST", CHANGES, vec![JSON, ("accept", "text/html")], 406, "protocol", "not in text/html"),
        (
            "GET",
            "/sync/v1/changes?limit=x",
            vec![],
            400,
            "usage",
            "`limit` in the query is a number, not `x`",
        ),
        ("GET", "/sync/v1/changes?limit=0", vec![], 400, "usage", "at least 1"),
        ("GET", "/sync/v1/changes?since=5", vec![], 400, "usage", "position@replica"),
        ("GET", "/sync/v1/changes?order=1", vec![], 400, "usage", "`order`"),
        ("GET", "/sync/v1/changes?model=Nothing", vec![], 422, "unknown_model", "`Nothing`"),
    ];
    for (method, path, headers, status, code, detail) in cases {
        let problem = raw(address, &request(method, path, &headers, b"{}")).await.problem();
        assert_eq!((problem.0, problem.1.as_str()), (status, code), "{method} {path}: {}", problem.2);
        assert!(problem.2.contains(detail), "{method} {path}: {}", problem.2);
    }
    let allowed = post(address, CHANGES, &[("content-type", "application/json; charset=utf-8")], b"{}").await;
    assert_eq!(allowed.status, 200);
}

#[tokio::test]
async fn malformed_bodies_are_named() {
    let address = served(Shelf::default()).await;
    let nested = format!(r#"{{"later":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    let filters =
        format!(r#"{{"model":"Todo","filter":{}"all"{}}}"#, r#"{"not":"#.repeat(40), "}".repeat(40));
    let many = format!(r#"{{"deltas":[{}]}}"#, ["{}"; 1001].join(","));
    let id = todo_id(1);
    let rev = r#""rev":"5@00000000000000000000000000000001""#;
    let write = |rest: &str| format!(r#"{{"writes":[{{"model":"Todo","id":"{id}"{rest}}}]}}"#);
    let cases = [
        ("changes", "", 400, "protocol", "EOF"),
        ("changes", "{", 400, "protocol", "EOF"),
        ("changes", "{} {}", 400, "protocol", "trailing"),
        ("changes", "[]", 400, "protocol", "expected a wish for changes"),
        ("changes", r#"{"limit":1,"limit":2}"#, 400, "protocol", "`limit` stands twice"),
        ("changes", r#"{"later":{"a":1,"a":2}}"#, 400, "protocol", "`a` stands twice"),
        ("changes", r#"{"limit":-1}"#, 400, "protocol", "limit: invalid value"),
        ("changes", r#"{"since":"x"}"#, 400, "protocol", "since: "),
        ("changes", &nested, 400, "protocol", "nested deeper than 64"),
        ("exchange", "{}", 400, "protocol", "missing field `from`"),
        ("exchange", r#"{"from":"me"}"#, 400, "protocol", "from: "),
        ("create-updates", "{}", 400, "protocol", "missing field `deltas`"),
        (
            "create-updates",
            &many.replace("{}", &format!(r#"{{"model":"Todo","id":"{id}","kind":"create",{rev}}}"#)),
            413,
            "too_large",
            "more than 1000",
        ),
        ("diff", r#"{"changes":[{"model":"Nothing"}]}"#, 422, "unknown_model", "`Nothing` is not registered"),
        (
            "bulk-update",
            r#"{"updates":[{"model":"Todo","id":7}]}"#,
            422,
            "invalid_value",
            "field `id`: expected uuid",
        ),
        (
            "bulk-update",
            r#"{"updates":[{"model":"Tag","id":""}]}"#,
            422,
            "invalid_value",
            "an id is not empty",
        ),
        (
            "bulk-update",
            &format!(r#"{{"updates":[{{"model":"Tag","id":"{}"}}]}}"#, "x".repeat(256)),
            422,
            "invalid_value",
            "at most 255 bytes",
        ),
        ("read", "{}", 400, "protocol", "`model` has to come first"),
        ("read", r#"{"model":"Nothing"}"#, 422, "unknown_model", "`Nothing`"),
        ("read", r#"{"model":"Todo","filter":"some"}"#, 400, "protocol", "expected a filter"),
        ("read", r#"{"model":"Todo","filter":{"compare":{"field":"x"}}}"#, 400, "protocol", "no field `x`"),
        (
            "read",
            r#"{"model":"Todo","filter":{"compare":{"field":"rank","is":"equal","value":"x"}}}"#,
            422,
            "invalid_value",
            "field `rank`",
        ),
        (
            "read",
            r#"{"model":"Todo","filter":{"compare":{"value":1}}}"#,
            400,
            "protocol",
            "`field` has to come first",
        ),
        ("read", r#"{"model":"Todo","filter":{"and":[],"or":[]}}"#, 400, "protocol", "more than one name"),
        ("read", &filters, 400, "protocol", "filters nested deeper than 32"),
        ("write", &write(""), 400, "protocol", "say either `record`"),
        ("write", &write(r#","record":{},"delete":true"#), 400, "protocol", "say either `record`"),
        ("write", &write(r#","record":{"admin":true}"#), 400, "protocol", "the model has no field admin"),
        (
            "write",
            &write(r#","record":{"id":"00000000-0000-0000-0000-000000000009"}"#),
            422,
            "invalid_value",
            "another id",
        ),
        ("write", &write(r#","record":{"title":5}"#), 422, "invalid_value", "field `title`: expected text"),
    ];
    for (path, body, status, code, detail) in cases {
        let problem = post(address, &format!("/sync/v1/{path}"), &[JSON], body.as_bytes()).await.problem();
        assert!(problem.2.contains(detail), "{path} {body:.100}: {}", problem.2);
        assert_eq!((problem.0, problem.1.as_str()), (status, code), "{path} {body:.100}: {}", problem.2);
    }
    let binary = [("content-type", "application/msgpack")];
    for (body, detail) in [
        (&b"\x80\x80"[..], "there is more behind the message"),
        (b"\x82\xa5limit\x01\xa5limit\x01", "`limit` stands twice"),
        (b"\x81\xa5limit", "limit"),
        (b"\xc1", "changes"),
        (b"", "changes"),
    ] {
        let problem = post(address, CHANGES, &binary, body).await.problem();
        assert_eq!((problem.0, problem.1.as_str()), (400, "protocol"), "{}", problem.2);
        assert!(problem.2.contains(detail), "{body:?}: {}", problem.2);
    }
    let mut deep = b"\x81\xa5later".to_vec();
    deep.extend([0x91; 100_000]);
    assert_eq!(post(address, CHANGES, &binary, &deep).await.problem().0, 400);
}

fn gzip(read: impl Read) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut { read }, &mut encoder).expect("compresses");
    encoder.finish().expect("compresses")
}

fn zstd(read: impl Read) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 19).expect("compresses");
    std::io::copy(&mut { read }, &mut encoder).expect("compresses");
    encoder.finish().expect("compresses")
}

/// The most memory that this process had at once, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

#[tokio::test]
async fn compressed_bodies_are_read_and_bombs_refused_in_bounded_memory() {
    let address = served(Shelf::default()).await;
    let good = br#"{"limit":5}"#;
    for (name, body) in [("gzip", gzip(&good[..])), ("zstd", zstd(&good[..])), ("identity", good.to_vec())] {
        let answer = post(address, CHANGES, &[JSON, ("content-encoding", name)], &body).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        if name != "identity" {
            let cut =
                post(address, CHANGES, &[JSON, ("content-encoding", name)], &body[..body.len() - 3]).await;
            assert_eq!(cut.problem().0, 400);
            let doubled = [&body[..], &body].concat();
            let doubled = post(address, CHANGES, &[JSON, ("content-encoding", name)], &doubled).await;
            assert_eq!(doubled.problem().0, 400);
        }
    }
    let gigabyte = || std::io::repeat(b' ').take(1 << 30);
    let bombs = [("gzip", gzip(gigabyte())), ("zstd", zstd(gigabyte()))];
    for (name, bomb) in bombs {
        let (before, began) = (peak_memory(), Instant::now());
        let problem = post(address, CHANGES, &[JSON, ("content-encoding", name)], &bomb).await.problem();
        assert_eq!((problem.0, problem.1.as_str()), (413, "too_large"), "{}", problem.2);
        let grown = peak_memory() - before;
        assert!(grown <= 16 << 20, "{name}: {} bytes of bomb cost {grown} bytes", bomb.len());
        assert!(began.elapsed() < Duration::from_secs(5), "{name}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_before_it_is_read() {
    let address =
        served(Shelf::limited(Limits { body: 1000, decompressed: 2000, ..Limits::default() })).await;
    let announced = request("POST", CHANGES, &[JSON], b"");
    let announced =
        String::from_utf8(announced).expect("text").replace("content-length: 0", "content-length: 999999999");
    assert_eq!(raw(address, announced.as_bytes()).await.problem().0, 413);
    let body = format!(r#"{{"later":"{}"}}"#, "x".repeat(1000));
    assert_eq!(post(address, CHANGES, &[JSON], body.as_bytes()).await.problem().0, 413);
    // Chunks announce nothing, and count as well.
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let head = format!(
        "POST {CHANGES} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    assert_eq!(raw(address, (head + &chunk).as_bytes()).await.problem().0, 413);
    let small = zstd(format!(r#"{{"later":"{}"}}"#, "x".repeat(3000)).as_bytes());
    assert_eq!(post(address, CHANGES, &[JSON, ("content-encoding", "zstd")], &small).await.problem().0, 413);
}

#[tokio::test]
async fn answers_are_compressed_only_where_it_pays() {
    let address = served(Shelf::with((0..50).map(|n| todo(n, "eat food")))).await;
    let both = ("accept-encoding", "gzip, deflate, zstd");
    let large = get(address, CHANGES, &[both]).await;
    assert_eq!(large.header("content-encoding"), Some("zstd"));
    let plain = zstd::stream::decode_all(&large.body[..]).expect("zstd");
    assert_eq!(get(address, CHANGES, &[]).await.body, plain);
    let gzipped = get(address, CHANGES, &[("accept-encoding", "gzip")]).await;
    assert_eq!(gzipped.header("content-encoding"), Some("gzip"));
    let mut read = Vec::new();
    flate2::read::GzDecoder::new(&gzipped.body[..]).read_to_end(&mut read).expect("gzip");
    assert_eq!(read, plain);
    assert_eq!(get(address, "/sync/v1/checkpoint", &[both]).await.header("content-encoding"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_slow_bodies_end_in_the_request_time() {
    let limits = Limits { request_time: 500_000, ..Limits::default() };
    let address = served(Shelf::limited(limits)).await;
    let began = Instant::now();
    let slow = (0..100).map(|_| async move {
        let mut connection = TcpStream::connect(address).await.expect("connects");
        let head = format!("POST {CHANGES} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{");
        connection.write_all(head.as_bytes()).await.expect("sends");
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await.expect("answers");
        parse(&answer).problem()
    });
    let slow = slow.map(tokio::spawn).collect::<Vec<_>>();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(get(address, "/sync/v1/checkpoint", &[]).await.status, 200, "others are served meanwhile");
    for task in slow {
        let (status, _, detail) = task.await.expect("no panic");
        assert_eq!(status, 408, "{detail}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

fn bulk(title: &str) -> Vec<u8> {
    let id = todo_id(1);
    let body = format!(
        r#"{{"updates":[{{"model":"Todo","id":"{id}","kind":"create","rev":"5@00000000000000000000000000000001","data":{{"title":"{title}","completed":true,"rank":"9007199254740993","notes":null}}}}]}}"#
    );
    body.into_bytes()
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_nothing_half_done() {
    let shelf = Arc::new(Shelf::default().slow(Duration::from_millis(300)));
    let address = served(shelf.clone()).await;
    let whole = request("POST", "/sync/v1/bulk-update", &[JSON], &bulk("eat"));
    // Cut at every place before the end: the call is never begun.
    for end in (0..whole.len()).step_by(17) {
        let mut connection = TcpStream::connect(address).await.expect("connects");
        connection.write_all(&whole[..end]).await.expect("sends");
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((shelf.begun.load(Ordering::SeqCst), shelf.len()), (0, 0));
    // Cut after the end: the call was begun, so it ends.
    let mut connection = TcpStream::connect(address).await.expect("connects");
    connection.write_all(&whole).await.expect("sends");
    while shelf.begun.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    connection.set_zero_linger().expect("resets");
    drop(connection);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!((shelf.ended.load(Ordering::SeqCst), shelf.len()), (1, 1));
}

#[tokio::test]
async fn a_call_that_lasts_too_long_is_answered_and_goes_on() {
    let limits = Limits { request_time: 100_000, ..Limits::default() };
    let shelf = Arc::new(Shelf::limited(limits).slow(Duration::from_millis(400)));
    let address = served(shelf.clone()).await;
    let answer = post(address, "/sync/v1/bulk-update", &[JSON], &bulk("eat")).await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    let problem = answer.problem();
    assert_eq!((problem.0, problem.1.as_str()), (503, "busy"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(shelf.len(), 1);
}

#[tokio::test]
async fn a_panic_in_the_apps_own_code_is_one_failed_request() {
    struct Panics;
    #[sync_runtime::async_trait]
    impl sync_http::Policy for Panics {
        async fn caller(
            &self,
            request: &axum::http::request::Parts,
        ) -> Result<sync_runtime::replica::Caller, sync_http::Refusal> {
            assert!(request.headers.get("x-panic").is_none(), "as the test wants it to");
            AllowAll.caller(request).await
        }
    }
    let address = served_by(Shelf::default(), Panics).await;
    let panicking = post(address, "/sync/v1/bulk-update", &[JSON], &bulk("panic")).await.problem();
    assert_eq!((panicking.0, panicking.1.as_str()), (500, "storage"));
    assert!(!panicking.2.contains("hook"), "{}", panicking.2);
    assert_eq!(get(address, "/sync/v1/checkpoint", &[("x-panic", "1")]).await.problem().0, 500);
    assert_eq!(get(address, "/sync/v1/checkpoint", &[]).await.status, 200);
}

#[tokio::test]
async fn who_is_refused_is_told_why_before_anything_is_read() {
    struct Nobody;
    #[sync_runtime::async_trait]
    impl sync_http::Policy for Nobody {
        async fn caller(
            &self,
            request: &axum::http::request::Parts,
        ) -> Result<sync_runtime::replica::Caller, sync_http::Refusal> {
            Err(match request.headers.get("x-name") {
                Some(_) => sync_http::Refusal::forbidden("not you"),
                None => sync_http::Refusal::unauthorized("who are you?"),
            })
        }
    }
    let address = served_by(Shelf::default(), Nobody).await;
    for (method, path) in SyncRoutes::paths() {
        // The body is announced and never sent: a server that waited for it would not answer.
        let head = format!(
            "{method} /sync{path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 10\r\n"
        );
        let answer = raw(address, format!("{head}\r\n").as_bytes()).await;
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
        let problem = answer.problem();
        assert_eq!(
            (problem.0, problem.1.as_str(), problem.2.as_str()),
            (401, "unauthorized", "who are you?"),
            "{path}"
        );
        let problem = raw(address, format!("{head}x-name: eve\r\n\r\n").as_bytes()).await.problem();
        assert_eq!(
            (problem.0, problem.1.as_str(), problem.2.as_str()),
            (403, "forbidden", "not you"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn garbage_on_the_connection_harms_nobody() {
    let address = served(Shelf::default()).await;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let garbage = tokio::task::spawn_blocking(move || {
        for _ in 0..50 {
            let bytes: Vec<u8> = (0..200)
                .map(|_| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
                    (seed >> 33) as u8
                })
                .collect();
            let mut connection = std::net::TcpStream::connect(address).expect("connects");
            let _ = connection.write_all(&bytes);
        }
    });
    garbage.await.expect("sent");
    assert_eq!(get(address, "/sync/v1/checkpoint", &[]).await.status, 200);
}
