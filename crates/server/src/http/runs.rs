//! Agents: the order, the context, segments of log, the report.

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
use super::problem::{Kind, Refusal};
use super::{Front, Named, body, segment};
use crate::builds::{RunError, RunSession};

/// Bytes of a blob that are read at a time.
const PIECE: usize = 128 << 10;

/// The bearer is the launch token; the session secret that counts from here on is in the body.
pub(super) async fn order(
    Bearer(token): Bearer,
    State(front): State<Front>,
    Named(run): Named<RunName>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TaskOrder>, Refusal> {
    // Nobody else's body is read.
    front.rooms.builds.launched(run, &token).map_err(|error| refusal(&front, error))?;
    let request: OrderRequest = body::json(&headers, front.pieces(body)).await?;
    let order = front.rooms.builds.bind(run, &token, request).await;
    order.map(Json).map_err(|error| refusal(&front, error))
}

pub(super) async fn context(
    bearer: Bearer,
    State(front): State<Front>,
    Named(run): Named<RunName>,
) -> Result<Response, Refusal> {
    let session = session(&front, run, &bearer).await?;
    session.heard(Stage::Prepare);
    if session.context.location != ContextLocation::Store {
        return Err(Refusal::new(Kind::NoSuchContext, "this run's context is not in the server's store")
            .hint("the order says where it is"));
    }
    let (file, len) = front.rooms.contexts.open_blob(&session.context).await?;
    // Cut at a stop: the length in the head tells the agent that it has not got everything.
    let blob = ReaderStream::with_capacity(file, PIECE).take_until(front.drain.clone().cancelled_owned());
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/gzip")),
        (CONTENT_LENGTH, HeaderValue::from(len)),
    ];
    Ok((headers, Body::from_stream(blob)).into_response())
}

pub(super) async fn logs(
    bearer: Bearer,
    State(front): State<Front>,
    Named(run): Named<RunName>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SegmentAck>, Refusal> {
    let session = session(&front, run, &bearer).await?;
    let kind = body::media_type(&headers);
    if kind != FRAMES_TYPE {
        return Err(body::unsupported(&kind, FRAMES_TYPE));
    }
    let stage = stage(&headers)?;
    segment::receive(&front.rooms.logs, &session, stage, front.pieces(body)).await.map(Json)
}

pub(super) async fn report(
    bearer: Bearer,
    State(front): State<Front>,
    Named(run): Named<RunName>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ReportAck>, Refusal> {
    session(&front, run, &bearer).await?;
    let report: TaskReport = body::json(&headers, front.pieces(body)).await?;
    let ack = front.rooms.builds.report(run, &bearer.0, report).await;
    ack.map(Json).map_err(|error| refusal(&front, error))
}

async fn session(front: &Front, run: RunName, bearer: &Bearer) -> Result<RunSession, Refusal> {
    front.rooms.builds.session(run, &bearer.0).await.map_err(|error| refusal(front, error))
}

fn stage(headers: &HeaderMap) -> Result<Stage, Refusal> {
    let stage = headers.get(STAGE_HEADER).and_then(|value| value.to_str().ok());
    stage.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let words: Vec<_> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
        let detail = format!("the header {STAGE_HEADER} is not one of {}", words.join(", "));
        Refusal::new(Kind::BadRequest, detail)
    })
}

/// Builds that have left their owners because of a stop look as if they were over; the agent must come again.
fn refusal(front: &Front, error: RunError) -> Refusal {
    match error {
        RunError::Over if front.drain.is_cancelled() => Refusal::draining(),
        error => error.into(),
    }
}
