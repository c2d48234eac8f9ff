//! Syncing over HTTP: [`HttpReplica`] is a remote server as a replica, [`sync_router`] a replica as routes of
//! an axum server.
//!
//! # Protocol
//!
//! `application/msgpack` or `application/json`, with the same names in both; a request is answered in its own
//! format unless `Accept` names the other, and a request without body in JSON. Bodies may be compressed with
//! zstd or gzip. Errors are problem documents (RFC 9457) with a stable `code`.
//!
//! | request | what it is |
//! | --- | --- |
//! | `GET /v1` | describes the replica: id, clock, limits, models |
//! | `POST /v1/exchange` | one round trip of a sync: a page to push, a wish to pull |
//! | `GET`, `POST /v1/changes` | changes since a checkpoint |
//! | `POST /v1/diff`, `/v1/create-updates`, `/v1/bulk-update` | LoopBack's replication, step by step |
//! | `GET /v1/checkpoint` | the newest checkpoint |
//! | `POST /v1/read`, `/v1/write` | records |
//! | `GET /v1/events` | a stream that says when there is something to pull |
//!
//! A page of a feed reads with `curl 'https://example.org/sync/v1/changes?limit=10&model=Todo'`.

#![forbid(unsafe_code)]
// What is written at one end is read at the other, and both stand in the same files.
#![cfg_attr(not(all(feature = "client", feature = "server")), allow(dead_code))]

#[cfg(feature = "client")]
mod client;
#[cfg(all(test, any(feature = "client", feature = "server")))]
mod documented;
#[cfg(any(feature = "client", feature = "server"))]
mod encoding;
#[cfg(any(feature = "client", feature = "server"))]
mod filter;
#[cfg(any(feature = "client", feature = "server"))]
mod format;
#[cfg(any(feature = "client", feature = "server"))]
mod message;
#[cfg(any(feature = "client", feature = "server"))]
mod problem;
#[cfg(feature = "server")]
mod server;
#[cfg(any(feature = "client", feature = "server"))]
mod wire;

#[cfg(feature = "client")]
pub use client::{HttpReplica, HttpReplicaBuilder, TokenProvider, Traffic};
#[cfg(feature = "server")]
pub use server::{
    AllowAll, Policy, RateLimit, Refusal, SyncRoutes, health_router, serve, serve_until, sync_router,
};
