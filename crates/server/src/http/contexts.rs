//! Clients' contexts: the offer and the blob.

use std::pin::pin;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use bakery_core::image::Digest;
use bakery_core::report::shown;
use bakery_core::wire::context::{ContextAnswer, ContextOffer, ContextRef};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::AppState;
use super::auth::Owner;
use super::body;
use super::problem::{ProblemKind, ProblemResponse};
use crate::contexts::ExpectedBlob;

/// Query of an upload: what was offered.
#[derive(Deserialize)]
pub(super) struct UploadQuery {
    sha256: String,
    len: u64,
}

pub(super) async fn offer(
    Owner(owner): Owner,
    State(app): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ContextAnswer>, ProblemResponse> {
    let offer: ContextOffer = body::json(&headers, app.body_reader(body)).await?;
    Ok(Json(app.services.contexts.offer(owner, &offer).await?))
}

/// Streams the body into the store; nothing of it is kept in memory.
pub(super) async fn put(
    Owner(owner): Owner,
    State(app): State<AppState>,
    Path(id): Path<String>,
    query: Result<Query<UploadQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<ContextRef>), ProblemResponse> {
    let id = digest(&id)?;
    let Query(UploadQuery { sha256, len }) =
        query.map_err(|rejection| bad_path(&shown(&rejection.body_text())))?;
    let expected = ExpectedBlob { sha256: digest(&sha256)?, len };
    // Refused before the body is transferred.
    if let Some(declared) = body::content_length(&headers)
        && declared != len
    {
        let detail = format!("the request declared {declared} bytes, the offer {len}");
        return Err(ProblemResponse::new(ProblemKind::BadContext, detail)
            .hint("offer the context again, and send exactly what was offered"));
    }
    let stream = pin!(app.body_reader(body).into_stream());
    let context = app.services.contexts.receive(owner, id, expected, stream).await?;
    Ok((StatusCode::CREATED, Json(context)))
}

/// A digest as its 64 hex digits.
fn digest(hex: &str) -> Result<Digest, ProblemResponse> {
    format!("sha256:{hex}")
        .parse()
        .map_err(|_| bad_path(&format!("`{}` is not a SHA-256 digest in hex", shown(hex))))
}

fn bad_path(detail: &str) -> ProblemResponse {
    ProblemResponse::new(ProblemKind::BadRequest, format!("not a valid upload path: {detail}"))
        .hint("offer the context first, and use the path of the response unchanged")
}
