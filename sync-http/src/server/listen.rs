//! Connections: how they are accepted, how long they may take, how they end.

use axum::Router;
use axum::extract::Request;
use futures_util::future::{Either, pending, select};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep, timeout};

/// How long a client may take to say what it wants, and between two requests on one connection.
const HEAD: Duration = Duration::from_secs(30);
/// How long a client may take to accept [`LEAST`] bytes of an answer.
const TAKING: Duration = Duration::from_secs(30);
/// What a client has to accept in that time, if there is so much.
const LEAST: usize = 16 << 10;
/// How long requests that are being answered may take once the server is to end.
const ENDING: Duration = Duration::from_secs(30);
/// How long to wait where no connection can be accepted, such as without file descriptors.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Serves an app until the process ends.
///
/// Every connection has `TCP_NODELAY`: without it a small answer waits some 40 ms for the client's delayed
/// acknowledgement. A client that does not say in 30 s what it wants, or does not accept 16 KiB of an answer in 30 s, is
/// disconnected.
///
/// # Errors
/// None today; a connection that cannot be accepted is tried again.
pub async fn serve(listener: TcpListener, app: Router) -> io::Result<()> {
    serve_until(listener, app, pending::<()>()).await
}

/// Serves an app until this future ends, such as `tokio::signal::ctrl_c()`. Then no connection is accepted any more,
/// streams of events end, and requests that are being answered get 30 s to come to their ends.
///
/// # Errors
/// None today; a connection that cannot be accepted is tried again.
pub async fn serve_until(listener: TcpListener, app: Router, end: impl Future) -> io::Result<()> {
    let connections = GracefulShutdown::new();
    let (ends, closing) = watch::channel(());
    let mut end = pin!(end);
    loop {
        let accepted = match select(pin!(listener.accept()), end.as_mut()).await {
            Either::Left((accepted, _)) => accepted,
            Either::Right(_) => break,
        };
        let Ok((connection, _)) = accepted else {
            // The next one may do better; where there are no descriptors left, one has to be closed first.
            sleep(AFTER_FAILURE).await;
            continue;
        };
        // A connection without it still works.
        let _ = connection.set_nodelay(true);
        let service =
            WithClosing { app: TowerToHyperService::new(app.clone()), closing: Closing(closing.clone()) };
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(Paced::new(connection)), service);
        let served = connections.watch(served);
        tokio::spawn(async move {
            // What becomes of one connection is its client's affair.
            let _ = served.await;
        });
    }
    drop(listener);
    drop(ends);
    let _ = timeout(ENDING, connections.shutdown()).await;
    Ok(())
}

/// Tells a request that lasts when the server is about to end.
#[derive(Debug, Clone)]
pub(super) struct Closing(watch::Receiver<()>);

impl Closing {
    /// Ends when the server is about to.
    pub(super) async fn ended(&mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// An app whose requests can tell when the server is about to end.
#[derive(Clone)]
struct WithClosing {
    app: TowerToHyperService<Router>,
    closing: Closing,
}

impl Service<Request<hyper::body::Incoming>> for WithClosing {
    type Response = <TowerToHyperService<Router> as Service<Request<hyper::body::Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<hyper::body::Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<hyper::body::Incoming>>>::Future;

    fn call(&self, mut request: Request<hyper::body::Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.closing.clone());
        self.app.call(request)
    }
}

/// A connection whose other end has to keep accepting what is written to it.
struct Paced {
    connection: TcpStream,
    /// Runs while the other end accepts nothing more.
    left: Option<Pin<Box<Sleep>>>,
    /// What it accepted since.
    accepted: usize,
}

impl Paced {
    fn new(connection: TcpStream) -> Self {
        Paced { connection, left: None, accepted: 0 }
    }

    /// Notes what came of a write; fails where the other end took too little for too long.
    fn paced(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(bytes)) => {
                self.accepted = self.accepted.saturating_add(*bytes);
                if self.accepted >= LEAST {
                    self.left = None;
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                if self.left.is_none() {
                    self.accepted = 0;
                }
                let left = self.left.get_or_insert_with(|| Box::pin(sleep(TAKING)));
                ready!(left.as_mut().poll(context));
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")));
            }
        }
        wrote
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.connection).poll_write(context, bytes);
        self.paced(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.connection).poll_write_vectored(context, bytes);
        self.paced(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    /// All that was to be written is written when this is called.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.left = None;
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}
