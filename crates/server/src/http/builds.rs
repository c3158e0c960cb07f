//! Clients' builds: submit, list, view, cancel, follow.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bakery_core::names::BuildId;
use bakery_core::report::shown_within;
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
use super::problem::{ProblemKind, ProblemResponse};
use super::{AppState, PathId, yaml};

/// Tells nginx not to buffer a stream.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// Characters of what is said about a query that cannot be read.
const LONGEST_TEXT: usize = 200;

/// Query of a log: where to begin, and whether to follow.
#[derive(Deserialize)]
pub(super) struct LogQuery {
    #[serde(default)]
    from: Cursor,
    #[serde(default)]
    follow: bool,
}

/// Accepts JSON, or YAML in the form of the user's config.
pub(super) async fn submit(
    Owner(owner): Owner,
    State(app): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ProblemResponse> {
    let reader = app.body_reader(body);
    let submission = match body::media_type(&headers).as_str() {
        "application/json" => body::json::<SubmitBuild>(&headers, reader).await?.into(),
        kind if yaml::TYPES.contains(&kind) => yaml::read(&app, owner, &headers, reader).await?,
        kind => return Err(body::unsupported(kind, "application/json or application/yaml")),
    };
    let builds = app.services.builds.clone();
    // A task of its own: a submission is completed even if the client disconnects in between.
    let submitted = app.tasks.spawn("submit", async move { builds.submit(owner, submission).await }).await;
    let submitted = submitted.map_err(|panic| ProblemResponse::internal(&panic))??;
    let location = [(LOCATION, route::build(submitted.id))];
    Ok((StatusCode::ACCEPTED, location, Json(submitted)).into_response())
}

pub(super) async fn list(
    Owner(owner): Owner,
    State(app): State<AppState>,
) -> Result<Json<BuildList>, ProblemResponse> {
    Ok(Json(app.services.builds.list(owner).await?))
}

pub(super) async fn view(
    Owner(owner): Owner,
    State(app): State<AppState>,
    PathId(id): PathId<BuildId>,
) -> Result<Json<BuildView>, ProblemResponse> {
    Ok(Json(app.services.builds.view(owner, id).await?))
}

pub(super) async fn cancel(
    Owner(owner): Owner,
    State(app): State<AppState>,
    PathId(id): PathId<BuildId>,
) -> Result<(StatusCode, Json<BuildView>), ProblemResponse> {
    Ok((StatusCode::ACCEPTED, Json(app.services.builds.cancel(owner, id).await?)))
}

pub(super) async fn info(_: Owner, State(app): State<AppState>) -> Json<Info> {
    Json(app.services.builds.info())
}

/// The log's bytes as they are stored. A follower that reads slowly holds one chunk and delays nobody.
pub(super) async fn logs(
    Owner(owner): Owner,
    State(app): State<AppState>,
    PathId(id): PathId<BuildId>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Response, ProblemResponse> {
    let Query(LogQuery { from, follow }) = query.map_err(|rejection| {
        ProblemResponse::new(ProblemKind::BadRequest, shown_within(&rejection.body_text(), LONGEST_TEXT))
            .hint("expected from=EPOCH:SEQ and follow=true|false")
    })?;
    app.services.builds.view(owner, id).await?;
    let logs = &app.services.logs;
    let epoch = logs.epoch(id).await?;
    let frames = logs.follow(id, from, follow).await?;
    let frames = frames
        .inspect_err(move |error| {
            tracing::error!(build = %id, error = error as &dyn std::error::Error, "a follower was disconnected");
        })
        .take_until(app.drain.clone().cancelled_owned());
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(FRAMES_TYPE)),
        (HeaderName::from_static(EPOCH_HEADER), HeaderValue::from(epoch)),
        UNBUFFERED,
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}
