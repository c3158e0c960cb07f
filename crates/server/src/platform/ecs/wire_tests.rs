//! A scripted AWS for tests, and the requests that it received.

use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ecs::Client;
use aws_sdk_ecs::config::Credentials;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::spawn::Tasks;

/// A server that answers each call by a script; an answer with a member `__type` is an error.
pub(super) struct Aws {
    pub(super) config: SdkConfig,
    calls: Arc<Mutex<Vec<(String, Value)>>>,
    _tasks: Tasks,
}

impl Aws {
    pub(super) async fn answering<F, A>(script: F) -> Self
    where
        F: Fn(String, Value) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Value> + Send,
    {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&calls);
        let answer = async move |headers: HeaderMap, body: String| {
            let target = headers["x-amz-target"].to_str().unwrap_or_default();
            let action = target.rsplit('.').next().unwrap_or_default().to_owned();
            let body: Value = serde_json::from_str(&body).unwrap();
            received.lock().unwrap().push((action.clone(), body.clone()));
            let answer = script(action, body).await;
            let status = if answer["__type"].is_string() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
            (status, answer.to_string())
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let tasks = Tasks::new();
        let router = Router::new().fallback(answer);
        drop(tasks.spawn("AWS", async move { axum::serve(listener, router).await }));
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new("ap-northeast-2"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .endpoint_url(url);
        Self { config: config.load().await, calls, _tasks: tasks }
    }

    /// The bodies of the calls of an action.
    pub(super) fn calls(&self, action: &str) -> Vec<Value> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(called, _)| called == action).map(|(_, body)| body.clone()).collect()
    }
}

/// The bodies of the calls of one action that `call` makes.
pub(super) async fn bodies(action: &str, call: impl AsyncFnOnce(Client)) -> Vec<Value> {
    let aws = Aws::answering(|_, _| async { serde_json::json!({}) }).await;
    call(Client::new(&aws.config)).await;
    aws.calls(action)
}
