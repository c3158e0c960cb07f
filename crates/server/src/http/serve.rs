//! The accept loop: a bounded number of connections, small buffers, and a bounded shutdown.
//!
//! axum's own server waits forever for streams that never end, and cannot bound the memory of a connection. Here the number
//! of connections is bounded, in total and per address, each has one buffer of bounded size and no other memory that
//! grows, and a shutdown ends every connection within [`GRACE`].

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use futures_util::future::BoxFuture;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::connection_limits::{ConnectionLimiter, ConnectionLimits, ConnectionPermit};
use crate::spawn::Tasks;

/// Bytes of a connection's read buffer, hence of a request's head; its write buffer has as many.
const BUFFER: usize = 64 << 10;
/// A request's head must arrive within this time; also how long a connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// How long responses in flight may take after the shutdown begins.
const GRACE: Duration = Duration::from_secs(5);
/// How long the client may read a response that was sent before the end of its request, see [`linger`].
const LINGER: Duration = Duration::from_secs(2);
/// The wait after the system refused to accept a connection (too many open files).
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` within `limits` until `tasks` are stopped. Returns when every connection has ended, at
/// most [`GRACE`] and a last [`LINGER`] later.
pub async fn serve(listener: TcpListener, router: Router, limits: ConnectionLimits, tasks: &Tasks) {
    let drain = tasks.stopping();
    let limiter = ConnectionLimiter::new(limits);
    while let Some((stream, permit)) = accept(&listener, &limiter, drain).await {
        tasks.spawn("connection", connection(stream, router.clone(), drain.clone(), permit));
    }
    drop(listener);
    limiter.all_released().await;
}

/// The next connection and its permit; `None` once the server stops.
async fn accept(
    listener: &TcpListener,
    limiter: &ConnectionLimiter,
    drain: &CancellationToken,
) -> Option<(TcpStream, ConnectionPermit)> {
    let accepted = async {
        let mut free = limiter.acquire().await?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => match limiter.admit(peer.ip(), free) {
                    Ok(permit) => return Some((stream, permit)),
                    Err(unused) => free = unused,
                },
                Err(error) if is_peer_error(&error) => {}
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "connections cannot be accepted"
                    );
                    sleep(BACK_OFF).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = drain.cancelled() => None,
        accepted = accepted => accepted,
    }
}

/// Serves one connection to its end.
async fn connection(stream: TcpStream, router: Router, drain: CancellationToken, _permit: ConnectionPermit) {
    // Log lines are relayed at once: a small write must not wait for the next.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "TCP_NODELAY could not be set");
    }
    let service =
        service_fn(move |request: Request<Incoming>| -> BoxFuture<'static, Result<Response, Infallible>> {
            Box::pin(router.clone().oneshot(request))
        });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut last = None;
    let ended = loop {
        let closing = async {
            match last {
                None => drain.cancelled().await,
                Some(last) => tokio::time::sleep_until(last).await,
            }
        };
        tokio::select! {
            biased;
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended,
            () = closing => {}
        }
        if last.is_some() {
            tracing::debug!("a connection was closed: its last response took too long");
            return;
        }
        Pin::new(&mut connection).graceful_shutdown();
        last = Some(Instant::now() + GRACE);
    };
    match ended {
        Ok(()) => linger(connection.into_parts().io.into_inner()).await,
        Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended early"),
    }
}

/// Closes the sending half and keeps reading for a while. If both halves were closed while the client still sends, its
/// system would discard the response unread: a client that sends too much would see a broken pipe instead of the reason.
async fn linger(mut stream: TcpStream) {
    let mut sink = [0; 4096];
    let _ = timeout(LINGER, async {
        stream.shutdown().await?;
        while stream.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}

/// True for the error of a single connection that was closed before it was accepted.
fn is_peer_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
