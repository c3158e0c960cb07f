//! Routes of agents: the order, the context, log segments, the report.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bakery_core::names::RunName;
use bakery_core::wire::FRAMES_TYPE;
use bakery_core::wire::context::ContextLocation;
use bakery_core::wire::run::{
    OrderRequest, ReportAck, STAGE_HEADER, SegmentAck, Stage, TaskOrder, TaskReport,
};
use futures_util::StreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use tokio_util::io::ReaderStream;

use super::auth::Bearer;
use super::problem::{ProblemKind, ProblemResponse};
use super::{AppState, PathId, body, segment};
use crate::builds::{RunError, RunSession};

/// Bytes of a blob that are read at a time.
const CHUNK: usize = 128 << 10;

/// The bearer token is the launch token; the session secret for all later requests is in the body.
pub(super) async fn order(
    bearer: Bearer,
    State(app): State<AppState>,
    PathId(run): PathId<RunName>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TaskOrder>, ProblemResponse> {
    // The body is read only after the token was checked.
    app.services.builds.launched(run, &bearer.token).map_err(|error| run_problem(&app, error))?;
    bearer.trust();
    let request: OrderRequest = body::json(&headers, app.body_reader(body)).await?;
    if !request.has_valid_session() {
        return Err(ProblemResponse::new(ProblemKind::BadRequest, "`session` is not 32 bytes in hex"));
    }
    let order = app.services.builds.bind(run, &bearer.token, request).await;
    order.map(Json).map_err(|error| run_problem(&app, error))
}

pub(super) async fn context(
    bearer: Bearer,
    State(app): State<AppState>,
    PathId(run): PathId<RunName>,
) -> Result<Response, ProblemResponse> {
    let session = session(&app, run, &bearer).await?;
    // A run that is being stopped has no use for its context either.
    if session.cancelled() || session.ended() {
        return Err(run_problem(&app, RunError::Over));
    }
    session.contact(Stage::Prepare);
    if session.context.location != ContextLocation::Store {
        return Err(ProblemResponse::new(
            ProblemKind::NoSuchContext,
            "the run's context is not in the server's store",
        )
        .hint("the order has its location"));
    }
    let (file, len) = app.services.contexts.open_blob(&session.context).await?;
    // Interrupted when the server stops: the agent detects it by the declared length.
    let blob = ReaderStream::with_capacity(file, CHUNK).take_until(app.drain.clone().cancelled_owned());
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/gzip")),
        (CONTENT_LENGTH, HeaderValue::from(len)),
    ];
    Ok((headers, Body::from_stream(blob)).into_response())
}

pub(super) async fn logs(
    bearer: Bearer,
    State(app): State<AppState>,
    PathId(run): PathId<RunName>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SegmentAck>, ProblemResponse> {
    let session = session(&app, run, &bearer).await?;
    if session.ended() {
        return Err(run_problem(&app, RunError::Over));
    }
    let kind = body::media_type(&headers);
    if kind != FRAMES_TYPE {
        return Err(body::unsupported(&kind, FRAMES_TYPE));
    }
    let stage = stage(&headers)?;
    segment::receive(&app.services.logs, &session, stage, app.body_reader(body)).await.map(Json)
}

pub(super) async fn report(
    bearer: Bearer,
    State(app): State<AppState>,
    PathId(run): PathId<RunName>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ReportAck>, ProblemResponse> {
    session(&app, run, &bearer).await?;
    let report: TaskReport = body::json(&headers, app.body_reader(body)).await?;
    let ack = app.services.builds.report(run, &bearer.token, report).await;
    ack.map(Json).map_err(|error| run_problem(&app, error))
}

async fn session(app: &AppState, run: RunName, bearer: &Bearer) -> Result<RunSession, ProblemResponse> {
    let session = app.services.builds.session(run, &bearer.token).await;
    let session = session.map_err(|error| run_problem(app, error))?;
    bearer.trust();
    Ok(session)
}

fn stage(headers: &HeaderMap) -> Result<Stage, ProblemResponse> {
    let stage = headers.get(STAGE_HEADER).and_then(|value| value.to_str().ok());
    stage.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let stages: Vec<_> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
        let detail = format!("the header {STAGE_HEADER} is not one of {}", stages.join(", "));
        ProblemResponse::new(ProblemKind::BadRequest, detail)
    })
}

/// While the server stops, builds look as if they had ended; the agent must retry.
fn run_problem(app: &AppState, error: RunError) -> ProblemResponse {
    match error {
        RunError::Over if app.drain.is_cancelled() => ProblemResponse::draining(),
        error => error.into(),
    }
}
