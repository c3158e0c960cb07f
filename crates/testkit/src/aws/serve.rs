//! The handling of a call, from its head to its answer.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::{AwsCall, Service};
use super::fault::{Fault, hide};
use super::listener::CutHandle;
use super::record::{Outcome, Recorded, redacted};
use super::rights::definition;
use super::signature::leave_session;
use super::state::ProxyShared;
use super::token::Known;

/// Larger than any JSON call of AWS.
const LARGEST: usize = 1 << 20;

/// Headers that apply to one connection only.
const HOP: [HeaderName; 4] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::EXPECT, HeaderName::from_static("keep-alive")];

/// The result of a call: a complete answer, or one that streams.
enum Done {
    Whole(Answer, Outcome),
    Stream(Response<Body>),
    /// No answer at all.
    Cut,
}

impl ProxyShared {
    /// Passes a JSON call on and reads the answer.
    async fn pass(&self, head: &Parts, call: &AwsCall, raw: Bytes) -> Answer {
        let sent = self.send(&self.emulator, head, reqwest::Body::from(raw)).await;
        let read = async {
            let answer = sent?;
            let (status, bytes) = (answer.status(), answer.bytes().await?);
            Ok::<_, reqwest::Error>((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
        };
        match read.await {
            Ok((status, mut body)) => {
                if status.is_success() {
                    self.learn(&call.action, &body);
                    if call.action == "ecs:DescribeTasks" {
                        self.disguise(&mut body);
                    }
                }
                Answer::read(status, body)
            }
            Err(error) => {
                let body =
                    json!({ "__type": "ServerException", "message": format!("the emulator: {error}") });
                Answer::read(StatusCode::INTERNAL_SERVER_ERROR, body)
            }
        }
    }

    async fn send(
        &self,
        to: &str,
        head: &Parts,
        body: reqwest::Body,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let path = head.uri.path_and_query().map_or("/", axum::http::uri::PathAndQuery::as_str);
        let mut headers = head.headers.clone();
        for name in HOP {
            headers.remove(name);
        }
        // The host header stays as the caller has signed it.
        self.client
            .request(head.method.clone(), format!("{to}{path}"))
            .headers(headers)
            .body(body)
            .send()
            .await
    }

    /// `RunTask`: adds what the emulator lacks.
    async fn launch(&self, head: &Parts, call: &AwsCall, raw: Bytes) -> (Answer, Outcome) {
        let token = call.text("clientToken");
        if token.is_empty() {
            return self.start_container(head, call, raw).await;
        }
        let mut used = self.tokens.of(token).await;
        match used.knows(&call.body) {
            Known::Again(answer) => (Answer::json(answer), Outcome::Remembered),
            Known::Conflict(tasks) => (Answer::conflict(call, tasks), Outcome::Remembered),
            Known::New => {
                let (answer, outcome) = self.start_container(head, call, raw).await;
                used.keep(&call.body, &answer.body);
                (answer, outcome)
            }
        }
    }

    async fn start_container(&self, head: &Parts, call: &AwsCall, raw: Bytes) -> (Answer, Outcome) {
        if self.state().inactive.contains(&definition(call, &self.account)) {
            let message = if call.text("taskDefinition").contains(':') {
                "TaskDefinition is inactive"
            } else {
                "TaskDefinition not found."
            };
            let answer = Answer::error(call, StatusCode::OK, "ClientException", message);
            return (answer, Outcome::Remembered);
        }
        if let Some(answer) = self.stub.start(call, &self.account) {
            return (Answer::json(answer), Outcome::Stubbed);
        }
        (self.pass(head, call, raw).await, Outcome::Forwarded)
    }

    /// `DescribeTasks`: the stub answers for its own tasks, the emulator for the others.
    async fn describe(&self, head: &Parts, call: &AwsCall, raw: Bytes) -> (Answer, Outcome) {
        let (shown, others) = self.stub.describe(&call.body);
        if shown.is_empty() {
            return (self.pass(head, call, raw).await, Outcome::Forwarded);
        } else if others.is_empty() {
            return (Answer::json(json!({ "tasks": shown, "failures": [] })), Outcome::Stubbed);
        }
        let (mut head, mut body) = (head.clone(), call.body.clone());
        head.headers.remove(header::CONTENT_LENGTH);
        body["tasks"] = others.into();
        let mut answer = self.pass(&head, call, body.to_string().into()).await;
        if let Some(tasks) = answer.body["tasks"].as_array_mut() {
            tasks.extend(shown);
        }
        (answer, Outcome::Forwarded)
    }

    async fn stop(&self, head: &Parts, call: &AwsCall, raw: Bytes) -> (Answer, Outcome) {
        match self.stub.stop(call) {
            Some(answer) => (Answer::json(answer), Outcome::Stubbed),
            None => (self.pass(head, call, raw).await, Outcome::Forwarded),
        }
    }

    /// The answer to a call that is not passed on: a fault, or a missing right.
    async fn forestall(&self, fault: Option<&Fault>, call: &AwsCall) -> Option<Done> {
        let answer = match fault {
            Some(Fault::Throttle) => Answer::throttled(call),
            Some(Fault::Error(name, message)) => Answer::error(call, StatusCode::BAD_REQUEST, name, message),
            Some(Fault::Failure(reason)) if call.service == Service::Json => {
                Answer::json(json!({ "tasks": [], "failures": [{ "reason": reason }] }))
            }
            Some(Fault::Cut) => return Some(Done::Cut),
            Some(Fault::Failure(_) | Fault::Missing | Fault::Lost) | None => {
                let refused = self.refuse(call).await?;
                return Some(Done::Whole(refused, Outcome::Refused));
            }
        };
        Some(Done::Whole(answer, Outcome::Injected))
    }

    async fn json(&self, head: &Parts, call: &AwsCall, raw: Bytes) -> Done {
        let fault = self.state().faults.take(&call.action);
        if let Some(done) = self.forestall(fault.as_ref(), call).await {
            return done;
        }
        let (mut answer, outcome) = match call.action.as_str() {
            "ecs:RunTask" => self.launch(head, call, raw).await,
            "ecs:DescribeTasks" => self.describe(head, call, raw).await,
            "ecs:StopTask" => self.stop(head, call, raw).await,
            _ => (self.pass(head, call, raw).await, Outcome::Forwarded),
        };
        match fault {
            Some(Fault::Lost) => Done::Cut,
            Some(Fault::Missing) => {
                hide(&mut answer.body, &|_| true);
                Done::Whole(answer, Outcome::Injected)
            }
            _ => Done::Whole(answer, outcome),
        }
    }

    async fn s3(&self, head: &Parts, call: &AwsCall, body: Body) -> Done {
        let fault = self.state().faults.take(&call.action);
        if let Some(done) = self.forestall(fault.as_ref(), call).await {
            return done;
        }
        let mut head = head.clone();
        let session = self.state().sessions.get(call.key.as_deref().unwrap_or_default()).cloned();
        if let Some((secret, token)) = session
            && let Err(name) = leave_session(&mut head, &secret, &token)
        {
            return Done::Whole(Answer::unbelieved(call, name), Outcome::Refused);
        }
        let Some(s3) = &self.s3 else {
            let answer =
                Answer::error(call, StatusCode::BAD_GATEWAY, "NoServer", "the test has no S3 server");
            return Done::Whole(answer, Outcome::Injected);
        };
        let sent = self.send(s3, &head, reqwest::Body::wrap_stream(body.into_data_stream())).await;
        match sent {
            Err(_) => Done::Cut,
            Ok(_) if fault == Some(Fault::Lost) => Done::Cut,
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND && self.conceals(call) => {
                let answer = Answer::error(call, StatusCode::FORBIDDEN, "AccessDenied", "Access Denied");
                Done::Whole(answer, Outcome::Refused)
            }
            Ok(answer) => {
                let (status, headers) = (answer.status(), answer.headers().clone());
                let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
                *response.status_mut() = status;
                *response.headers_mut() = without(headers);
                Done::Stream(response)
            }
        }
    }
}

pub(super) async fn serve(
    State(shared): State<Arc<ProxyShared>>,
    ConnectInfo(scissors): ConnectInfo<CutHandle>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut call = AwsCall::read(&head);
    let mut raw = format!("{} {}\n", head.method, head.uri);
    for (name, value) in &head.headers {
        raw = raw + name.as_str() + ": " + &String::from_utf8_lossy(value.as_bytes()) + "\n";
    }
    let announced =
        head.headers.get(header::CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse().ok());
    let (bytes, stream) = match call.service {
        Service::Json => {
            let bytes = to_bytes(body, LARGEST).await.unwrap_or_default();
            call.body = serde_json::from_slice(&bytes).unwrap_or_default();
            raw += &String::from_utf8_lossy(&bytes);
            (bytes, Body::empty())
        }
        Service::S3 { .. } => (Bytes::new(), body),
    };
    let principal =
        shared.state().principals.get(call.key.as_deref().unwrap_or_default()).map(|(name, _)| name.clone());
    let principal = principal.or_else(|| call.key.clone()).unwrap_or_else(|| "nobody".to_owned());
    let mut record = Recorded::begin(principal, call.action.clone(), &call.body, raw);
    record.size = announced.unwrap_or(bytes.len() as u64);
    let done = match call.service {
        Service::Json => shared.json(&head, &call, bytes).await,
        Service::S3 { .. } => shared.s3(&head, &call, stream).await,
    };
    record.took = record.at.elapsed();
    let response = match done {
        Done::Whole(answer, outcome) => {
            record.outcome = outcome;
            record.status = answer.status.as_u16();
            record.answer = redacted(&answer.body);
            let mut response = answer.response();
            if head.method == Method::HEAD {
                *response.body_mut() = Body::empty();
            }
            Some(response)
        }
        Done::Stream(response) => {
            record.outcome = Outcome::Forwarded;
            record.status = response.status().as_u16();
            Some(response)
        }
        Done::Cut => None,
    };
    shared.state().calls.push(record);
    match response {
        Some(response) => response,
        None => scissors.cut().await,
    }
}

fn without(mut headers: HeaderMap) -> HeaderMap {
    for name in HOP {
        headers.remove(name);
    }
    headers
}
