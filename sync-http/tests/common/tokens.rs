//! A policy as an app would have it: bearer tokens (JWT), whose claims say who it is and with which right.

use axum::http::request::Parts;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use sync_http::{Policy, Refusal};
use sync_runtime::{Attempt, Caller, Right};

const SECRET: &[u8] = b"a secret that nobody guesses, of 32 bytes or more";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    pub sub: String,
    pub aud: String,
    /// In seconds.
    pub exp: u64,
    pub right: String,
    /// The scopes in which the right holds.
    #[serde(default)]
    pub scopes: Vec<String>,
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

impl Claims {
    pub fn of(subject: &str, right: &str) -> Self {
        let (sub, right) = (subject.into(), right.into());
        Claims { sub, aud: "sync".into(), exp: now() + 3600, right, scopes: Vec::new() }
    }

    pub fn in_scopes(self, scopes: &[&str]) -> Self {
        Claims { scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(), ..self }
    }

    pub fn token(&self) -> String {
        self.signed(Algorithm::HS256)
    }

    pub fn signed(&self, algorithm: Algorithm) -> String {
        encode(&Header::new(algorithm), self, &EncodingKey::from_secret(SECRET)).expect("a token")
    }
}

/// Lets in whoever has a good token that was not revoked.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    pub revoked: Arc<Mutex<BTreeSet<String>>>,
}

#[sync_runtime::async_trait]
impl Policy for Tokens {
    async fn caller(&self, request: &Parts) -> Result<Caller, Refusal> {
        let header = request.headers.get("authorization").and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| Refusal::unauthorized("sign in first"))?;
        let mut rules = Validation::new(Algorithm::HS256);
        rules.leeway = 0;
        rules.set_audience(&["sync"]);
        let claims = decode::<Claims>(token, &DecodingKey::from_secret(SECRET), &rules);
        let claims = claims.map_err(|_| Refusal::unauthorized("this token is not good"))?.claims;
        if self.revoked.lock().expect("no panic").contains(&claims.sub) {
            return Err(Refusal::unauthorized("this token was revoked"));
        }
        let right = match claims.right.as_str() {
            "read" => Right::Read,
            "write" => Right::Write,
            "replicate" => Right::Replicate,
            _ => Right::Nothing,
        };
        let caller = Caller::named(claims.sub).with(right).until(claims.exp as i64 * 1_000_000);
        Ok(claims.scopes.into_iter().fold(caller, |caller, scope| caller.in_scope(scope, right)))
    }

    fn check(&self, caller: &Caller, _write: &Attempt<'_>) -> Result<(), String> {
        assert!(caller.subject().is_some(), "a write has somebody who makes it");
        Ok(())
    }
}
