//! The accept loop: a bounded number of connections, small buffers, and an end that comes.
//!
//! axum's own server waits for ever for streams that never end, and cannot bound what a connection may hold. Here the
//! number of connections is bounded, in all and of one address, each has one buffer of bounded size and no other memory
//! that grows, and a stop ends everything within [`GRACE`].

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

use super::crowd::{Bounds, Crowd, Place};
use crate::spawn::Tasks;

/// Bytes of a connection's read buffer, hence of a request's head; its write buffer has as many.
const BUFFER: usize = 64 << 10;
/// A request's head must arrive within this time; also how long a connection may idle.
const HEAD: Duration = Duration::from_mins(1);
/// After a stop, what is still being answered has this long.
const GRACE: Duration = Duration::from_secs(5);
/// An answer that came before the end of its request is left this long to be read, see [`linger`].
const LINGER: Duration = Duration::from_secs(2);
/// How long to wait after the system refused to accept a connection (too many open files).
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` within `bounds` until `tasks` stop; returns when every connection has ended, at most [`GRACE`] (and a
/// last [`LINGER`]) later.
pub async fn serve(listener: TcpListener, router: Router, bounds: Bounds, tasks: &Tasks) {
    let drain = tasks.stopping();
    let crowd = Crowd::new(bounds);
    while let Some((stream, place)) = next(&listener, &crowd, drain).await {
        tasks.spawn("connection", connection(stream, router.clone(), drain.clone(), place));
    }
    drop(listener);
    crowd.left().await;
}

/// The next connection and its place; `None` once the door is to close.
async fn next(
    listener: &TcpListener,
    crowd: &Crowd,
    drain: &CancellationToken,
) -> Option<(TcpStream, Place)> {
    let accept = async {
        let mut room = crowd.room().await?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => match crowd.seat(peer.ip(), room) {
                    Ok(place) => return Some((stream, place)),
                    Err(back) => room = back,
                },
                Err(error) if is_theirs(&error) => {}
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "no connection can be accepted"
                    );
                    sleep(BACK_OFF).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = drain.cancelled() => None,
        accepted = accept => accepted,
    }
}

/// Serves one connection to its end.
async fn connection(stream: TcpStream, router: Router, drain: CancellationToken, _place: Place) {
    // Lines are relayed as they come: a small write must not wait for the next.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "no TCP_NODELAY");
    }
    let service =
        service_fn(move |request: Request<Incoming>| -> BoxFuture<'static, Result<Response, Infallible>> {
            Box::pin(router.clone().oneshot(request))
        });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
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
            tracing::debug!("a connection is cut: its last answer took too long");
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

/// Closes our half and reads on for a while. Closing both at once while the other side still sends would make its
/// system throw away the answer unread: a client that sends too much would see a broken pipe instead of the reason.
async fn linger(mut stream: TcpStream) {
    let mut sink = [0; 4096];
    let _ = timeout(LINGER, async {
        stream.shutdown().await?;
        while stream.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}

/// True for errors of one connection that was gone before it was accepted.
fn is_theirs(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
