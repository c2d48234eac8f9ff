//! Settings of a client, checked before anything is sent.

use super::HttpReplica;
use super::request::Connection;
use crate::format::Format;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use rustls_platform_verifier::BuilderVerifierExt;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use sync_runtime::{Error, ErrorKind, Result};

/// Gives the bearer token for the next request.
///
/// ```
/// use sync_http::{HttpReplica, TokenProvider};
///
/// struct Session;
///
/// #[sync_runtime::async_trait]
/// impl TokenProvider for Session {
///     async fn token(&self, refused: Option<&str>) -> Option<String> {
///         match refused {
///             // The last one is kept somewhere.
///             None => Some("the token of today".into()),
///             // It has expired: this is where a refresh token goes to the issuer.
///             Some(_) => Some("the token of tomorrow".into()),
///         }
///     }
/// }
///
/// let server = HttpReplica::builder("https://example.org/sync").token_provider(Session).build()?;
/// # Ok::<(), sync_runtime::Error>(())
/// ```
#[sync_runtime::async_trait]
pub trait TokenProvider: Send + Sync + 'static {
    /// The token; `None` sends none. Asked before each request, and once more with the token that the server has just
    /// refused (status 401). If another one comes of that, the request is sent again.
    async fn token(&self, refused: Option<&str>) -> Option<String>;
}

pub(super) type Token = Arc<dyn TokenProvider>;

/// A function as a provider, which is not asked a second time.
struct ByFunction<F>(F);

#[sync_runtime::async_trait]
impl<F: Fn() -> Option<String> + Send + Sync + 'static> TokenProvider for ByFunction<F> {
    async fn token(&self, refused: Option<&str>) -> Option<String> {
        match refused {
            None => (self.0)(),
            Some(_) => None,
        }
    }
}

/// Settings of an [`HttpReplica`].
///
/// ```
/// use std::time::Duration;
/// use sync_http::HttpReplica;
///
/// let server = HttpReplica::builder("https://example.org/sync")
///     .token("secret")
///     .request_timeout(Duration::from_secs(10))
///     .build()?;
/// assert_eq!(server.url(), "https://example.org/sync");
/// # Ok::<(), sync_runtime::Error>(())
/// ```
#[must_use = "the settings are for `build`"]
pub struct HttpReplicaBuilder {
    url: String,
    format: Format,
    compress: bool,
    connect_timeout: Duration,
    request_timeout: Duration,
    headers: Vec<(String, String)>,
    token: Option<Token>,
    roots: Vec<Vec<u8>>,
}

impl fmt::Debug for HttpReplicaBuilder {
    /// Headers, the token and the URL, which may have credentials in it by mistake, are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpReplicaBuilder").field("format", &self.format).finish_non_exhaustive()
    }
}

impl HttpReplicaBuilder {
    pub(super) fn new(url: &str) -> Self {
        HttpReplicaBuilder {
            url: url.to_owned(),
            format: Format::Binary,
            compress: true,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            headers: Vec::new(),
            token: None,
            roots: Vec::new(),
        }
    }

    /// Sends this bearer token with every request.
    pub fn token(self, token: impl Into<String>) -> Self {
        let token = token.into();
        self.token_from(move || Some(token.clone()))
    }

    /// Asks for the bearer token before every request, so that it can be renewed; `None` sends none.
    pub fn token_from(self, token: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.token_provider(ByFunction(token))
    }

    /// Asks this provider for the bearer token before every request, and once more where the server refuses it. A sync
    /// that was refused all the same fails; what is to be sent stays for the next one.
    pub fn token_provider(self, provider: impl TokenProvider) -> Self {
        HttpReplicaBuilder { token: Some(Arc::new(provider)), ..self }
    }

    /// Sends this header with every request.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Talks JSON instead of MessagePack: larger and slower, but easy to read on the way.
    pub fn json(self) -> Self {
        HttpReplicaBuilder { format: Format::Json, ..self }
    }

    /// Whether bodies may be compressed; they are unless this says no.
    pub fn compress(self, yes: bool) -> Self {
        HttpReplicaBuilder { compress: yes, ..self }
    }

    /// How long connecting may take; 10 seconds if nothing is said.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        HttpReplicaBuilder { connect_timeout: timeout, ..self }
    }

    /// How long a request with its answer may take; 30 seconds if nothing is said.
    pub fn request_timeout(self, timeout: Duration) -> Self {
        HttpReplicaBuilder { request_timeout: timeout, ..self }
    }

    /// Trusts the servers that this certificate (DER) vouches for, and no others: for a server with a
    /// certificate of its own.
    pub fn trust_only(mut self, certificate: impl Into<Vec<u8>>) -> Self {
        self.roots.push(certificate.into());
        self
    }

    /// The replica.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the URL, a header or a certificate is none.
    pub fn build(self) -> Result<HttpReplica> {
        let url = checked(&self.url)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let made = (HeaderName::try_from(name), HeaderValue::try_from(value));
            let (Ok(header), Ok(mut value)) = made else {
                return Err(usage(format!("`{name}` is not a header, or its value cannot travel")));
            };
            value.set_sensitive(true);
            headers.append(header, value);
        }
        let mut client = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls(&url)?)
            .connect_timeout(self.connect_timeout)
            .timeout(self.request_timeout)
            .tcp_nodelay(true)
            // Following one would send the push, and the token, to somebody else.
            .redirect(reqwest::redirect::Policy::none());
        if is_this_machine(&url) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| {
            Error::new(ErrorKind::Usage, "the HTTP client cannot be made").with_source(error.without_url())
        })?;
        let connection =
            Connection::new(url, client, headers, self.token, self.compress, self.request_timeout);
        Ok(HttpReplica::made(connection, self.format))
    }

    fn tls(&self, url: &Url) -> Result<rustls::ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let failed = |error: rustls::Error| {
            Error::new(ErrorKind::Usage, "no certificates to check a server by").with_source(error)
        };
        let config = rustls::ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().map_err(failed)?;
        // Reading the system's certificates takes a while, and without TLS they are not needed.
        if url.scheme() == "https" && self.roots.is_empty() {
            return Ok(config.with_platform_verifier().map_err(failed)?.with_no_client_auth());
        }
        let mut roots = rustls::RootCertStore::empty();
        for certificate in &self.roots {
            let added = roots.add(certificate.clone().into());
            added.map_err(|error| usage("a trusted certificate is not one in DER").with_source(error))?;
        }
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }
}

/// The header of a bearer token.
pub(super) fn bearer(token: &str) -> Result<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| usage("the token has characters that cannot travel in a header"))?;
    value.set_sensitive(true);
    Ok((AUTHORIZATION, value))
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The URL without a slash at its end. No message repeats a URL that may have credentials in it.
fn checked(text: &str) -> Result<Url> {
    let url = match Url::parse(text) {
        Ok(url) if !url.has_host() && !text.contains("://") => return Err(without_scheme(text)),
        Ok(url) => url,
        Err(_) if !text.contains("://") => return Err(without_scheme(text)),
        Err(error) => {
            let shown = if text.contains('@') { "the URL of the server" } else { text };
            return Err(usage(format!("`{shown}` is not a URL: {error}")));
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(usage("the URL of the server has credentials in it; give them as `token` or `header`"));
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(usage(format!("`{url}` starts with {}; a server is at http or https", url.scheme())));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(usage(format!("`{text}` goes on behind its path; leave `?` and `#` out")));
    }
    Ok(url)
}

fn without_scheme(text: &str) -> Error {
    match text.contains('@') {
        true => usage("the URL of the server does not start with https://"),
        false => usage(format!("`{text}` is not a URL; did you mean https://{text}?")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_named_and_credentials_are_not() {
        let cases = [
            ("example.org/sync", "did you mean https://example.org/sync?"),
            ("localhost:8080/sync", "did you mean https://localhost:8080/sync?"),
            ("", "is not a URL"),
            ("ftp://example.org", "starts with ftp; a server is at http or https"),
            ("https://", "is not a URL"),
            ("https://example.org/sync?token=1", "leave `?` and `#` out"),
            ("https://example.org/#x", "leave `?` and `#` out"),
            ("https://alice:hunter2@example.org/", "has credentials in it"),
            ("alice:hunter2@example.org", "does not start with https://"),
            ("https://alice:hunter2@", "is not a URL"),
        ];
        for (url, message) in cases {
            let error = HttpReplica::new(url).expect_err(url);
            assert!(error.to_string().contains(message), "{url}: {error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
            assert_eq!(error.kind(), ErrorKind::Usage);
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let builder = HttpReplica::builder("http://localhost/").token("hunter2").header("x-key", "hunter2");
        assert!(!format!("{builder:?}").contains("hunter2"));
        assert!(!format!("{:?}", builder.build().expect("builds")).contains("hunter2"));
        let error = HttpReplica::builder("http://localhost/")
            .header("x y", "hunter2")
            .build()
            .expect_err("no header");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
