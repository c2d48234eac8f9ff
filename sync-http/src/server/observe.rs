//! What the server tells of its own work: a span for each request by `tracing`, and with the feature `metrics` figures by
//! the facade of that name. Never what is in a record, never a token, and of a caller nothing.

use std::time::Instant;
use sync_runtime::replica::{Exchanged, Pulled, Pushed};
use sync_runtime::{Error, ErrorKind};
use tracing::field::Empty;
use tracing::{Span, debug_span, error};

/// A request under observation.
#[derive(Clone)]
pub(super) struct Observed {
    #[cfg(feature = "metrics")]
    call: &'static str,
    begun: Instant,
    pub(super) span: Span,
}

impl Observed {
    pub(super) fn begin(call: &'static str) -> Self {
        let span = debug_span!(
            "sync_request",
            call,
            received = Empty,
            pushed = Empty,
            pulled = Empty,
            status = Empty,
            answered = Empty,
            micros = Empty
        );
        Observed {
            #[cfg(feature = "metrics")]
            call,
            begun: Instant::now(),
            span,
        }
    }

    /// How many bytes its body had.
    pub(super) fn received(&self, bytes: usize) {
        self.span.record("received", bytes);
        #[cfg(feature = "metrics")]
        metrics::counter!("sync_received_bytes_total").increment(bytes as u64);
    }

    /// What an exchange moved.
    pub(super) fn exchanged(&self, exchanged: &Exchanged) {
        let pushed = match &exchanged.pushed {
            Some(Pushed::Applied(outcomes)) => outcomes.len(),
            _ => 0,
        };
        let pulled = match &exchanged.pulled {
            Some(Pulled::Page(page)) => page.page.updates.len(),
            _ => 0,
        };
        self.span.record("pushed", pushed).record("pulled", pulled);
        #[cfg(feature = "metrics")]
        {
            metrics::counter!("sync_pushed_records_total").increment(pushed as u64);
            metrics::counter!("sync_pulled_records_total").increment(pulled as u64);
        }
    }

    /// What the client is not told, as it is the server's own affair. The causes stay out of it, as databases repeat values.
    pub(super) fn failed(&self, why: &Error) {
        if matches!(why.kind(), ErrorKind::Storage | ErrorKind::Unreachable) {
            error!(parent: &self.span, code = why.kind().code(), "{why}");
        }
    }

    /// A panic in the app's own code, or in this library.
    pub(super) fn panicked(&self) {
        error!(parent: &self.span, "a request panicked");
    }

    /// How it ended.
    pub(super) fn ended(&self, status: u16, answered: usize) {
        let took = self.begun.elapsed();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.span.record("status", status).record("answered", answered).record("micros", micros);
        tracing::debug!(parent: &self.span, "answered");
        #[cfg(feature = "metrics")]
        {
            let status = status.to_string();
            metrics::counter!("sync_requests_total", "call" => self.call, "status" => status).increment(1);
            metrics::counter!("sync_answered_bytes_total").increment(answered as u64);
            metrics::histogram!("sync_request_seconds", "call" => self.call).record(took.as_secs_f64());
        }
    }
}

/// Counts a stream of events for as long as it lasts.
pub(super) struct Listening(());

impl Listening {
    pub(super) fn begin() -> Self {
        #[cfg(feature = "metrics")]
        metrics::gauge!("sync_listeners").increment(1.0);
        Listening(())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        #[cfg(feature = "metrics")]
        metrics::gauge!("sync_listeners").decrement(1.0);
    }
}
