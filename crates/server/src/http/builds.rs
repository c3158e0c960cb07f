//! Clients' builds: submit, list, view, cancel, follow.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bakery_core::names::BuildId;
use bakery_core::wire::FRAMES_TYPE;
use bakery_core::wire::build::{BuildList, BuildView, Info, SubmitBuild};
use bakery_core::wire::log::{Cursor, EPOCH_HEADER};
use bakery_core::wire::route;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;

use super::auth::Owner;
use super::body;
use super::problem::{Kind, Refusal};
use super::{Front, Named, yaml};

/// Asks nginx not to gather what is to be read as it comes.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// From where, and whether to stay.
#[derive(Deserialize)]
pub(super) struct Place {
    #[serde(default)]
    from: Cursor,
    #[serde(default)]
    follow: bool,
}

/// Accepts JSON, or YAML in the form of the user's config.
pub(super) async fn submit(
    Owner(owner): Owner,
    State(front): State<Front>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let pieces = front.pieces(body);
    let (build, notices) = match body::media_type(&headers).as_str() {
        "application/json" => (body::json::<SubmitBuild>(&headers, pieces).await?, Vec::new()),
        kind if yaml::TYPES.contains(&kind) => yaml::read(&front, owner, &headers, pieces).await?,
        kind => return Err(body::unsupported(kind, "application/json or application/yaml")),
    };
    let builds = front.rooms.builds.clone();
    // A task of its own: half a submission must not be left where the client hangs up in the middle.
    let submitted = front.tasks.spawn("submit", async move { builds.submit(owner, build).await }).await;
    let mut submitted = submitted.map_err(|panic| Refusal::internal(&panic))??;
    submitted.notices.splice(0..0, notices);
    let location = [(LOCATION, route::build(submitted.id))];
    Ok((StatusCode::ACCEPTED, location, Json(submitted)).into_response())
}

pub(super) async fn list(
    Owner(owner): Owner,
    State(front): State<Front>,
) -> Result<Json<BuildList>, Refusal> {
    Ok(Json(front.rooms.builds.list(owner).await?))
}

pub(super) async fn view(
    Owner(owner): Owner,
    State(front): State<Front>,
    Named(id): Named<BuildId>,
) -> Result<Json<BuildView>, Refusal> {
    Ok(Json(front.rooms.builds.view(owner, id).await?))
}

pub(super) async fn cancel(
    Owner(owner): Owner,
    State(front): State<Front>,
    Named(id): Named<BuildId>,
) -> Result<(StatusCode, Json<BuildView>), Refusal> {
    Ok((StatusCode::ACCEPTED, Json(front.rooms.builds.cancel(owner, id).await?)))
}

pub(super) async fn info(_: Owner, State(front): State<Front>) -> Json<Info> {
    Json(front.rooms.builds.info())
}

/// The log's bytes as they lie in the store. A follower that reads slowly holds one chunk, and nobody up.
pub(super) async fn logs(
    Owner(owner): Owner,
    State(front): State<Front>,
    Named(id): Named<BuildId>,
    place: Result<Query<Place>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(Place { from, follow }) = place.map_err(|rejection| {
        Refusal::new(Kind::BadRequest, rejection.body_text())
            .hint("expected from=EPOCH:SEQ and follow=true|false")
    })?;
    front.rooms.builds.view(owner, id).await?;
    let logs = &front.rooms.logs;
    let epoch = logs.epoch(id).await?;
    let frames = logs.follow(id, from, follow).await?;
    let frames = frames
        .inspect_err(move |error| {
            tracing::error!(build = %id, error = error as &dyn std::error::Error, "a follower is cut off");
        })
        .take_until(front.drain.clone().cancelled_owned());
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(FRAMES_TYPE)),
        (HeaderName::from_static(EPOCH_HEADER), HeaderValue::from(epoch)),
        UNBUFFERED,
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}
