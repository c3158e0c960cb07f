//! What an unauthenticated caller, a page in a browser and an agent of yesterday get at the listeners.

use std::time::Duration;

use bakery_core::names::RunName;
use bakery_core::secret::Secret;
use bakery_core::wire::route;
use bakery_core::wire::run::OrderRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{ConnectionLimits, SOON, Tasks, TestServer, good, refused, serve};

const TOKEN: &str = "flour-water-salt";

/// The status of the answer to a request by hand.
async fn status(server: &TestServer, head: &str) -> u16 {
    let mut stream = TcpStream::connect(server.public).await.unwrap();
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(SOON, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

#[tokio::test]
async fn probe_02_a_page_in_a_browser_gets_nothing() {
    let (open, closed) = (TestServer::open(None).await, TestServer::open(Some(TOKEN)).await);
    let foreign =
        |server: &TestServer| server.call("GET", route::BUILDS).header("host", "rebind.evil.test:3000");
    let problem = refused(foreign(&open), 421, "foreign-host").await;
    assert!(problem.detail.contains("rebind.evil.test") && problem.hint.unwrap().contains("CONTROLLER_URL"));
    good(foreign(&closed)).await;
    for server in [&open, &closed] {
        for (method, path) in [("GET", route::LIVEZ), ("POST", route::BUILDS), ("PUT", "/v1/contexts/x")] {
            let page = server.call(method, path).header("origin", "http://rebind.evil.test:3000");
            refused(page, 403, "foreign-origin").await;
        }
        let own = format!("http://{}", server.public);
        good(server.call("GET", route::BUILDS).header("origin", own)).await;
        // A kubelet asks at the address of the pod.
        for probe in [route::LIVEZ, route::READYZ] {
            good(server.call("GET", probe).header("host", "10.0.0.7:3000")).await;
        }
    }
    // The agent listener is as it was.
    let agents = open.http.get(format!("http://{}{}", open.agents, route::INFO)).header("host", "evil.test");
    refused(agents, 404, "no-such-route").await;
}

#[tokio::test]
async fn probe_18_a_missing_or_doubled_host_is_refused() {
    let server = TestServer::open(Some(TOKEN)).await;
    let info = format!("GET {} HTTP/1.1\r\nauthorization: Bearer {TOKEN}", route::INFO);
    assert_eq!(status(&server, &info).await, 400);
    assert_eq!(status(&server, &format!("{info}\r\nhost: a\r\nhost: a")).await, 400);
    assert_eq!(status(&server, &format!("{info}\r\nhost: a b")).await, 400);
    assert_eq!(status(&server, &format!("{info}\r\nhost: a")).await, 200);
    assert_eq!(status(&server, "GET /livez HTTP/1.1").await, 400);
    assert_eq!(status(&server, "GET /livez HTTP/1.0").await, 200);
}

/// Each request is followed by a second one, as it would be smuggled past a proxy: none may get two answers.
#[tokio::test]
async fn probe_18_a_request_with_two_ends_is_refused_and_its_connection_closed() {
    let server = TestServer::open(None).await;
    let smuggled = format!("GET {} HTTP/1.1\r\nhost: localhost\r\n\r\n", route::INFO);
    let length = smuggled.len();
    for lengths in [
        format!("content-length: {length}\r\ntransfer-encoding: chunked"),
        format!("transfer-encoding: chunked\r\ncontent-length: {length}"),
        format!("content-length: 0\r\ncontent-length: {length}"),
        format!("content-length: {length}, 0"),
        "content-length: -1".to_owned(),
        format!("content-length: +{length}"),
        "transfer-encoding: chunked, identity".to_owned(),
        "transfer-encoding: xchunked".to_owned(),
        format!("content-length : {length}"),
        format!("x-folded: a\r\n content-length: {length}\r\nx: y\r\n\tz: w"),
    ] {
        let mut stream = TcpStream::connect(server.public).await.unwrap();
        let head =
            format!("POST {} HTTP/1.1\r\nhost: localhost\r\n{lengths}\r\n\r\n0\r\n\r\n", route::BUILDS);
        stream.write_all(format!("{head}{smuggled}").as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        let closed = timeout(SOON, stream.read_to_end(&mut answers)).await;
        let answers = String::from_utf8_lossy(&answers);
        assert!(closed.is_ok(), "{lengths}: the connection is open after {answers}");
        assert!(answers.starts_with("HTTP/1.1 4"), "{lengths}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{lengths}: {answers}");
    }
}

#[tokio::test]
async fn probe_18_ten_thousand_requests_in_one_connection_are_answered_in_order() {
    const REQUESTS: usize = 10_000;
    let server = TestServer::open(None).await;
    let (mut read, mut write) = TcpStream::connect(server.public).await.unwrap().into_split();
    let one = format!("GET {} HTTP/1.1\r\nhost: localhost\r\n\r\n", route::LIVEZ);
    let requests = one.repeat(REQUESTS);
    let answered = async {
        let (mut answers, mut buffer) = (0, Vec::new());
        while answers < REQUESTS {
            let count = timeout(SOON, read.read_buf(&mut buffer)).await.unwrap().unwrap();
            assert_ne!(count, 0, "closed after {answers} answers");
            let text = String::from_utf8(std::mem::take(&mut buffer)).unwrap();
            // What may be the beginning of the next answer waits for its rest.
            let whole = text.rfind("HTTP/1.1").unwrap_or(0);
            answers += text[..whole].matches("HTTP/1.1 200").count();
            buffer.extend_from_slice(&text.as_bytes()[whole..]);
            answers += usize::from(answers == REQUESTS - 1 && buffer.ends_with(b"alive\n"));
        }
    };
    let (sent, ()) = tokio::join!(write.write_all(requests.as_bytes()), answered);
    sent.unwrap();
    good(server.call("GET", route::READYZ)).await;
}

#[tokio::test]
async fn probe_12_of_twenty_binders_at_once_one_gets_the_order() {
    let server = TestServer::open(None).await;
    server.submit().await;
    let launch = server.platform.wait_launches(1).await.remove(0);
    let value = |name| launch.env.iter().find(|(known, _)| known == name).unwrap().1.expose().to_owned();
    let (run, url): (RunName, _) =
        (value(super::launch_env::RUN).parse().unwrap(), value(super::launch_env::URL));
    let order = |token: String, session: String| {
        let request = OrderRequest { session: Secret::new(session), agent_version: "0.0.0".to_owned() };
        let url = format!("{url}{}", route::run_order(run));
        server.http.post(url).bearer_auth(token).json(&request).timeout(SOON).send()
    };
    let token = value(super::launch_env::TOKEN);
    for session in ["", "x", "another session", &"5E5".repeat(30), &"é".repeat(32)] {
        assert_eq!(order(token.clone(), session.to_owned()).await.unwrap().status(), 400, "{session}");
    }
    for wrong in [format!("+{}", &token[1..]), format!("0x{}", &token[2..]), token[1..].to_owned()] {
        assert_eq!(order(wrong.clone(), "5e".repeat(32)).await.unwrap().status(), 401, "{wrong}");
    }
    let binders = (0..20).map(|nth| order(token.clone(), format!("{nth:064x}")));
    let mut answers: Vec<_> = futures_util::future::join_all(binders)
        .await
        .into_iter()
        .map(|it| it.unwrap().status().as_u16())
        .collect();
    answers.sort_unstable();
    assert_eq!(answers[0], 200, "{answers:?}");
    assert!(answers[1..].iter().all(|status| matches!(status, 409 | 410)), "{answers:?}");
}

#[tokio::test]
async fn probe_01_wrong_tokens_are_counted() {
    let server = TestServer::open(Some(TOKEN)).await;
    let url = format!("http://{}{}", server.public, route::INFO);
    let counted = async || {
        let text = good(server.call("GET", route::METRICS)).await.text().await.unwrap();
        ["missing", "wrong"].map(|token| {
            let name = format!("bakery_unauthorized_requests_total{{token=\"{token}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            line.unwrap_or_else(|| panic!("{text}")).parse::<u64>().unwrap()
        })
    };
    assert_eq!(counted().await, [0, 0]);
    refused(server.http.get(&url), 401, "unauthorized").await;
    for wrong in ["sugar", "flour-water-sugar"] {
        refused(server.http.get(&url).bearer_auth(wrong), 401, "unauthorized").await;
    }
    assert_eq!(counted().await, [1, 2]);
}

#[tokio::test]
async fn probe_12_after_its_end_a_run_gets_nothing() {
    let server = TestServer::open(None).await;
    server.submit().await;
    let (agent, _) = server.agent().await;
    assert_eq!(agent.send(agent.block(1, 1, "flour")).await.next, 2);
    good(agent.call("GET", &route::run_context(agent.run))).await;
    let mut open = super::streams::open_segment(&server, &agent).await;

    // A second binder ends the run.
    let launch = server.platform.wait_launches(1).await.remove(0);
    let token = launch.env.iter().find(|(name, _)| name == super::launch_env::TOKEN).unwrap().1.clone();
    let order = |session: &str| {
        let request = OrderRequest { session: Secret::new(session), agent_version: "0.0.0".to_owned() };
        let url = format!("{}{}", agent.url, route::run_order(agent.run));
        server.http.post(url).bearer_auth(token.expose()).json(&request).timeout(SOON)
    };
    refused(order(&"a0".repeat(32)), 409, "run-taken").await;

    let gone = async || {
        refused(agent.call("GET", &route::run_context(agent.run)), 410, "run-over").await;
        refused(agent.segment(agent.block(2, 1, "late")), 410, "run-over").await;
        refused(agent.segment(Vec::new()), 410, "run-over").await;
        refused(order(&agent.session), 410, "run-over").await;
    };
    gone().await;
    // A segment that was open is no way in either.
    super::streams::write_chunk(&mut open, &agent.block(2, 1, "late")).await;
    let mut answer = [0; 12];
    timeout(SOON, open.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer[9..], b"410");

    // The same once nothing is left of the build but the ledger.
    server.platform.exit(agent.run, 1);
    gone().await;
}

#[tokio::test]
async fn probe_12_after_its_report_a_run_gets_nothing_but_the_same_answer() {
    let server = TestServer::open(None).await;
    server.submit().await;
    let (agent, _) = server.agent().await;
    for _ in 0..2 {
        assert_eq!(agent.report(0).await.status(), 200, "the answer to a report may have been lost");
        refused(agent.call("GET", &route::run_context(agent.run)), 410, "run-over").await;
        refused(agent.segment(agent.block(1, 1, "late")), 410, "run-over").await;
    }
}

#[tokio::test]
async fn probe_12_a_cancelled_run_may_send_its_last_lines_and_gets_no_context() {
    let server = TestServer::open(None).await;
    let build = server.submit().await.id;
    let (agent, _) = server.agent().await;
    server.containers_stay();
    good(server.call("DELETE", &route::build(build))).await;
    refused(agent.call("GET", &route::run_context(agent.run)), 410, "run-over").await;
    let ack = agent.send(agent.block(1, 1, "cancelled")).await;
    assert!(ack.cancel && ack.next == 2, "{ack:?}");
    assert_eq!(agent.report(1).await.status(), 200);
    refused(agent.segment(Vec::new()), 410, "run-over").await;
}

#[tokio::test]
async fn probe_18_livez_answers_while_two_addresses_hold_every_connection() {
    let (tasks, listener) = (Tasks::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().route(route::LIVEZ, axum::routing::get(async || "alive\n"));
    let (limits, own) = (ConnectionLimits { total: 32, per_address: 16 }, tasks.clone());
    drop(tasks.spawn("listener", async move { serve(listener, router, limits, &own).await }));
    let connect = async |last: u8| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, last], 0).into()).unwrap();
        socket.connect(address).await.unwrap()
    };
    let mut held = Vec::new();
    for last in [2, 3] {
        for count in 0..16 {
            let mut stream = connect(last).await;
            match count % 3 {
                // No byte; a head that never ends; an answered request, and then nothing.
                0 => {}
                1 => stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nx-a: ").await.unwrap(),
                _ => {
                    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
                    stream.read_exact(&mut [0; 12]).await.unwrap();
                }
            }
            held.push(stream);
        }
    }
    for _ in 0..40 {
        let mut stream = connect(1).await;
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let answered = timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await;
        answered.expect("no answer at the connection limit").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    tasks.stop();
}

#[tokio::test]
async fn what_a_problem_quotes_of_a_request_is_masked_and_short() {
    let server = TestServer::open(None).await;
    let login = "u:hunter2@r.example.com";
    let long = "x".repeat(20_000);
    let json = |body: String| {
        server.call("POST", route::BUILDS).header("content-type", "application/json").body(body)
    };
    let bucket = serde_json::json!({
        "id": format!("sha256:{}", "0".repeat(64)), "sha256": format!("sha256:{}", "0".repeat(64)), "len": 1,
        "place": { "kind": "s3", "bucket": format!("{login}/{long}"), "key": "k" },
    });
    let offer = server.call("POST", route::CONTEXTS).json(&bucket);
    let requests = [
        (json(format!("{{\"{login}\\n{long}\": 1}}")), 400, "bad-request"),
        (
            server.call("POST", route::BUILDS).header("content-type", format!("{login} {long}")),
            415,
            "unsupported-type",
        ),
        (server.call("GET", &format!("{}/{login}{long}", route::BUILDS)), 404, "no-such-build"),
        (server.call("GET", &format!("/{login}{long}")), 404, "no-such-route"),
        (
            server.call("PUT", &format!("{}/{login}{long}?sha256=x&len=1", route::CONTEXTS)),
            400,
            "bad-request",
        ),
        (
            server.call(
                "GET",
                &format!("{}/01kb0000000000000000000000/logs?from={login}{long}", route::BUILDS),
            ),
            400,
            "bad-request",
        ),
        (offer, 422, "bad-context"),
    ];
    for (request, status, kind) in requests {
        let problem = refused(request, status, kind).await;
        let text = format!("{problem:?}");
        assert!(!text.contains("hunter2") && !text.contains(char::is_control), "{text}");
        assert!(problem.detail.len() < 400, "{} bytes: {text}", text.len());
    }
    let curl = refused(json("{".to_owned()), 400, "bad-request").await;
    assert!(curl.hint.as_deref().unwrap().contains("at this position"), "{curl:?}");
}
