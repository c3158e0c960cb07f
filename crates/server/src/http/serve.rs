//! The accept loop: a bounded number of connections, small buffers, and a bounded shutdown.
//!
//! axum's own server waits forever for streams that never end, and cannot bound the memory of a connection. Here the number
//! of connections is bounded, in total and per address, each has one buffer of bounded size and no other memory that
//! grows, idle ones are closed for new ones, and a shutdown ends every connection within [`GRACE`].

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::connection_limits::ConnectionLimits;
use super::connections::{BusyGuard, Connection, Connections};
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
    let connections = Connections::new(limits);
    let next = async || {
        loop {
            let (stream, peer) = accept(&listener).await;
            if let Some(connection) = connections.admit(peer).await {
                return (stream, connection);
            }
        }
    };
    while let Some((stream, connection)) = drain.run_until_cancelled(next()).await {
        tasks.spawn("connection", serve_connection(stream, router.clone(), drain.clone(), connection));
    }
    drop(listener);
    connections.all_ended().await;
}

/// The next connection, and the address that it comes from.
async fn accept(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip()),
            Err(error) if is_peer_error(&error) => {}
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "connections cannot be accepted");
                sleep(BACK_OFF).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn serve_connection(stream: TcpStream, router: Router, drain: CancellationToken, own: Connection) {
    // Log lines are relayed at once: a small write must not wait for the next.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "TCP_NODELAY could not be set");
    }
    let handle = own.handle();
    let service = service_fn(
        move |mut request: Request<Incoming>| -> BoxFuture<'static, Result<Response<BusyBody>, Infallible>> {
            let busy = handle.begin();
            request.extensions_mut().insert(handle.clone());
            let response = router.clone().oneshot(request);
            Box::pin(async { Ok(response.await?.map(|body| BusyBody { body, _busy: busy })) })
        },
    );
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
            () = own.evicted() => {
                tracing::debug!("an idle connection was closed: the connection limit is reached");
                return;
            }
        }
        if last.is_some() {
            tracing::debug!("a connection was closed: its last response took too long");
            return;
        }
        Pin::new(&mut connection).graceful_shutdown();
        last = Some(Instant::now() + GRACE);
    };
    match ended {
        Ok(()) => tokio::select! {
            () = linger(connection.into_parts().io.into_inner()) => {}
            () = own.evicted() => {}
        },
        Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended early"),
    }
}

/// The body of a response. Its connection is busy until it was written.
struct BusyBody {
    body: Body,
    _busy: BusyGuard,
}

impl http_body::Body for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
