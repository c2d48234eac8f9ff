//! The body of a request: what its headers say of it, and its bytes up to the limit.

use super::HEAVY;
use crate::encoding::Encoding;
use crate::format::Format;
use crate::problem::Problem;
use crate::wire::PullAsked;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use std::time::Duration;
use sync_runtime::{Error, ErrorKind, Result};

/// Room that is made at once for a body, whatever length it announces.
const BELIEVED: usize = 1 << 20;

/// The format and encoding that the headers name.
pub(super) fn described(headers: &HeaderMap) -> Result<(Format, Encoding), Problem> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let media_type = text(header::CONTENT_TYPE).unwrap_or_default();
    let format = Format::of_media_type(media_type).ok_or_else(|| {
        let detail = format!("send application/msgpack or application/json, not `{media_type:.100}`");
        Problem::new(ErrorKind::Protocol, detail).with_status(415)
    })?;
    if headers.get_all(header::CONTENT_ENCODING).iter().count() > 1 {
        return Err(unknown_encoding("several"));
    }
    let encoding = match text(header::CONTENT_ENCODING) {
        Some(name) => Encoding::of_name(name).ok_or_else(|| unknown_encoding(name))?,
        None => Encoding::Identity,
    };
    Ok((format, encoding))
}

fn unknown_encoding(name: &str) -> Problem {
    let detail = format!("a body is compressed with zstd or gzip, once, not with `{name:.100}`");
    Problem::new(ErrorKind::Protocol, detail).with_status(415)
}

/// How many bytes may come, where those are many.
pub(super) fn large(headers: &HeaderMap, limit: usize) -> Option<usize> {
    Some(announced(headers).unwrap_or(limit).min(limit)).filter(|bytes| *bytes > HEAVY)
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The bytes as they travel.
pub(super) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let announced = announced(headers).unwrap_or(0);
    if announced > limit {
        return Err(too_large(limit));
    }
    let mut bytes = Vec::with_capacity(announced.min(BELIEVED));
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|_| Problem::new(ErrorKind::Protocol, "the body ended before it was whole"))?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large(limit: usize) -> Problem {
    Problem::new(ErrorKind::TooLarge, format!("a body has at most {limit} bytes; send smaller pages"))
}

/// What a client learns whose body did not come in time.
pub(super) fn too_slow(time: Duration) -> Problem {
    let seconds = time.as_secs_f32();
    Problem {
        retryable: true,
        ..Problem::new(ErrorKind::Protocol, format!("the body did not come within {seconds} s"))
            .with_status(408)
    }
}

/// A wish for changes from the query of a URL: `since`, `limit`, `data`, `model`, as `curl` sends it.
pub(super) fn pull_by_query(query: Option<&str>) -> Result<PullAsked> {
    let mut pull = PullAsked::default();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // The `@` of a checkpoint is the only character here that some clients escape.
        let value = value.replace("%40", "@");
        let wrong = |expected: &str| {
            let message = format!("`{name:.50}` in the query is {expected}, not `{value:.100}`");
            Error::new(ErrorKind::Usage, message)
        };
        match name {
            "since" => {
                pull.since = Some(value.parse().map_err(|_| wrong("a checkpoint, `position@replica`"))?)
            }
            "limit" => pull.limit = Some(value.parse().map_err(|_| wrong("a number"))?),
            "data" => pull.data = Some(value.parse().map_err(|_| wrong("`true` or `false`"))?),
            "model" => pull.model = Some(value),
            _ => return Err(wrong("not known; known are since, limit, data and model, so leave it out")),
        }
    }
    Ok(pull)
}
