//! What goes over the wire, for tests of the pure half: the body that AWS would read.

use aws_config::{BehaviorVersion, Region};
use aws_sdk_ecs::Client;
use aws_sdk_ecs::config::{Config, Credentials};
use axum::Router;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// The bodies that a caller sends.
pub(super) async fn bodies(call: impl AsyncFnOnce(Client)) -> Vec<Value> {
    let (sender, mut sent) = mpsc::unbounded_channel();
    let keep = async move |body: String| {
        let _ = sender.send(serde_json::from_str(&body).unwrap());
        "{}"
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let aws = axum::serve(listener, Router::new().fallback(keep));
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("ap-northeast-2"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .endpoint_url(url);
    tokio::select! {
        ended = aws => panic!("{ended:?}"),
        () = call(Client::from_conf(config.build())) => {}
    }
    let mut bodies = Vec::new();
    while let Ok(body) = sent.try_recv() {
        bodies.push(body);
    }
    bodies
}
