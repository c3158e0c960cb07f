//! Clients' contexts: the offer and the blob.

use std::pin::pin;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use bakery_core::image::Digest;
use bakery_core::wire::context::{ContextAnswer, ContextOffer, ContextRef};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::Front;
use super::auth::Owner;
use super::body::{self, Pieces};
use super::problem::{Kind, Refusal};
use crate::contexts::Expected;

/// What was offered, as the upload path repeats it.
#[derive(Deserialize)]
pub(super) struct Ticket {
    sha256: String,
    len: u64,
}

pub(super) async fn offer(
    Owner(owner): Owner,
    State(front): State<Front>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ContextAnswer>, Refusal> {
    let offer: ContextOffer = body::json(&headers, front.pieces(body)).await?;
    Ok(Json(front.rooms.contexts.offer(owner, &offer).await?))
}

/// Streams the body into the store; nothing of it is kept in memory.
pub(super) async fn put(
    Owner(owner): Owner,
    State(front): State<Front>,
    Path(id): Path<String>,
    ticket: Result<Query<Ticket>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<ContextRef>), Refusal> {
    let id = digest(&id)?;
    let Query(Ticket { sha256, len }) = ticket.map_err(|rejection| bad_path(&rejection.body_text()))?;
    let expected = Expected { sha256: digest(&sha256)?, len };
    let pieces: Pieces = front.pieces(body);
    // What is announced with another length cannot be right: better said before it all has travelled.
    if let Some(announced) = body::content_length(&headers)
        && announced != len
    {
        let detail = format!("the body is announced with {announced} bytes, offered were {len}");
        return Err(Refusal::new(Kind::BadContext, detail).hint("offer it again, and send what was offered"));
    }
    let stream = pin!(pieces.into_stream());
    let context = front.rooms.contexts.receive(owner, id, expected, stream).await?;
    Ok((StatusCode::CREATED, Json(context)))
}

/// A digest as its 64 hex digits.
fn digest(hex: &str) -> Result<Digest, Refusal> {
    format!("sha256:{hex}").parse().map_err(|_| bad_path(&format!("`{hex}` is no SHA-256 in hex")))
}

fn bad_path(detail: &str) -> Refusal {
    Refusal::new(Kind::BadRequest, format!("this is no upload path: {detail}"))
        .hint("offer the context first and use the path of the answer as it is")
}
