//! Streams that are slow, cut, or open when the server stops.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bakery_core::wire::run::{STAGE_HEADER, SegmentAck};
use bakery_core::wire::{FRAMES_TYPE, route};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{Agent, ConnectionLimits, SOON, Tasks, TestServer, serve};

/// A segment by hand, open until it is dropped.
pub(super) async fn open_segment(server: &TestServer, agent: &Agent) -> TcpStream {
    let mut stream = TcpStream::connect(server.agents).await.unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: bakery\r\nauthorization: Bearer {}\r\ncontent-type: {FRAMES_TYPE}\r\n\
         {STAGE_HEADER}: bake\r\ntransfer-encoding: chunked\r\n\r\n",
        route::run_logs(agent.run),
        agent.session,
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

pub(super) async fn write_chunk(stream: &mut TcpStream, bytes: &[u8]) {
    let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    stream.write_all(&chunk).await.unwrap();
}

#[tokio::test]
async fn lines_are_seen_while_their_segment_is_open_and_stay_when_it_is_cut() {
    let server = TestServer::open(None).await;
    let build = server.submit().await.id;
    let (agent, _) = server.agent().await;
    let mut follower = server.follow(build).await;
    let mut segment = open_segment(&server, &agent).await;
    let second = agent.block(2, 1, "water");
    write_chunk(&mut segment, &agent.block(1, 1, "flour")).await;
    follower.lines_until(1).await;
    write_chunk(&mut segment, &second[..second.len() / 2]).await;
    drop(segment);
    assert_eq!(agent.send(Vec::new()).await.next, 2);
    assert_eq!(agent.send(second).await.next, 3);
}

#[tokio::test]
async fn a_slow_reader_delays_nobody_and_misses_nothing() {
    let server = TestServer::open(None).await;
    let build = server.submit().await.id;
    let (agent, _) = server.agent().await;
    let (mut slow, mut fast) = (server.follow(build).await, server.follow(build).await);
    // 16 MiB: more than the sockets of a reader that reads nothing can hold.
    let (blocks, lines) = (80, 200);
    let msg = "x".repeat(1000);
    for block in 0..blocks {
        let first = 1 + block * u64::from(lines);
        assert_eq!(agent.send(agent.block(first, lines, &msg)).await.next, first + u64::from(lines));
    }
    fast.lines_until(blocks * u64::from(lines)).await;
    slow.lines_until(blocks * u64::from(lines)).await;
}

#[tokio::test]
async fn one_address_cannot_take_every_connection() {
    let (tasks, listener) = (Tasks::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(async || "open"));
    let (limits, own) = (ConnectionLimits { total: 4, per_address: 2 }, tasks.clone());
    let task = tasks.spawn("listener", async move { serve(listener, router, limits, &own).await });
    // Answered on a connection that stays open, or closed unanswered.
    let enter = async |from: [u8; 4]| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let mut answer = [0; 12];
        let asked = stream.write_all(b"GET / HTTP/1.1\r\nhost: bakery\r\n\r\n").await;
        let answered = asked.is_ok() && stream.read_exact(&mut answer).await.is_ok();
        answered.then_some(stream)
    };
    let (greedy, other) = ([127, 0, 0, 1], [127, 0, 0, 2]);
    let mut held = vec![enter(greedy).await.unwrap(), enter(greedy).await.unwrap()];
    assert!(enter(greedy).await.is_none(), "a third connection is one too many");
    assert!(enter(other).await.is_some());
    drop(held.pop());
    let again = async {
        while enter(greedy).await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, again).await.expect("a closed connection frees its slot");
    tasks.stop();
    timeout(SOON, task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_ends_everything_that_is_open() {
    let mut server = TestServer::open(None).await;
    let build = server.submit().await.id;
    let (agent, _) = server.agent().await;
    let mut follower = server.follow(build).await;
    let mut segment = open_segment(&server, &agent).await;
    write_chunk(&mut segment, &agent.block(1, 1, "flour")).await;
    follower.lines_until(1).await;
    let mut idle = TcpStream::connect(server.public).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: bakery\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"alive\n") {
        assert_ne!(timeout(SOON, idle.read_buf(&mut answer)).await.unwrap().unwrap(), 0);
    }

    server.tasks.stop();
    // Well below the time after which connections are cut.
    for listener in server.listeners.drain(..) {
        timeout(Duration::from_secs(4), listener).await.expect("a listener did not stop").unwrap();
    }
    assert!(follower.next().await.is_none());
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    // The open segment was answered for what had come.
    let mut answer = String::new();
    timeout(SOON, segment.read_to_string(&mut answer)).await.unwrap().unwrap();
    let ack: SegmentAck = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((ack.next, ack.cancel), (2, false), "{answer}");
    assert!(TcpStream::connect(server.public).await.is_err());
}
