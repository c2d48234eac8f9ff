//! Answers: in which format and encoding they go, and as what.

use super::turns::{self, Turn};
use super::{HEAVY, apart};
use crate::encoding::{Encoding, WORTH_COMPRESSING};
use crate::format::Format;
use crate::problem::{MEDIA_TYPE, Problem};
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use sync_runtime::replica::Limits;
use sync_runtime::{Error, ErrorKind, Result};

/// How the caller wants to be answered.
#[derive(Clone, Copy)]
pub(super) struct Answering {
    format: Format,
    encoding: Encoding,
}

/// An answer as it travels.
pub(super) struct Answer {
    format: Format,
    encoding: Encoding,
    pub(super) body: Vec<u8>,
    /// What the request has taken.
    turn: Option<Turn>,
}

impl Answer {
    /// The same, which gives back what the request has taken.
    pub(super) fn with(self, turn: Option<Turn>) -> Self {
        Answer { turn, ..self }
    }
}

impl Answering {
    /// Writes an answer of about this size.
    pub(super) async fn write<T: Send + 'static>(
        self,
        size: usize,
        limits: Limits,
        message: T,
        write: impl FnOnce(Format, &T) -> Result<Vec<u8>> + Send + 'static,
    ) -> Result<Answer> {
        apart(size >= HEAVY, move || {
            let body = write(self.format, &message)?;
            if body.len() > limits.decompressed {
                let message =
                    format!("the answer has more than {} bytes; ask for fewer records", limits.decompressed);
                return Err(Error::new(ErrorKind::TooLarge, message));
            }
            let encoding = if body.len() >= WORTH_COMPRESSING { self.encoding } else { Encoding::Identity };
            Ok(Answer { format: self.format, encoding, body: encoding.compress(body)?, turn: None })
        })
        .await
    }
}

/// How to answer: what `Accept` names, else as the request came.
pub(super) fn answering(parts: &Parts, asked: Format) -> Result<Answering, Problem> {
    let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let encoding = text(header::ACCEPT_ENCODING).map_or(Encoding::Identity, Encoding::accepted);
    let Some(accept) = text(header::ACCEPT) else {
        return Ok(Answering { format: asked, encoding });
    };
    let named = accept.split(',').find_map(Format::of_media_type);
    let any = accept
        .split(',')
        .any(|part| matches!(part.split(';').next(), Some(name) if name.trim().ends_with("/*")));
    match named.or(any.then_some(asked)) {
        Some(format) => Ok(Answering { format, encoding }),
        None => {
            let detail = format!(
                "this server answers in application/msgpack or application/json, not in {accept:.100}"
            );
            Err(Problem::new(ErrorKind::Protocol, detail).with_status(406))
        }
    }
}

/// The answer as a response.
///
/// # Errors
/// As [`turns::body`].
pub(super) fn respond(answer: Answer) -> Result<Response<Body>, Problem> {
    let length = answer.body.len();
    let body = turns::body(answer.body, answer.turn).map_err(|error| Problem::of(&error))?;
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.format.media_type()));
    if answer.encoding != Encoding::Identity {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(answer.encoding.name()));
    }
    Ok(response)
}

/// A problem as a response.
pub(super) fn problem_response(problem: &Problem) -> Response<Body> {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Some(seconds) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if problem.status == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
