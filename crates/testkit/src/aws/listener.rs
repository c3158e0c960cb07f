//! A listener that can be closed and opened again, and connections that can be cut.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// One address. While it is closed, nothing listens there and every connection is cut.
pub(super) struct ClosableListener {
    addr: SocketAddr,
    listener: Option<TcpListener>,
    open: watch::Receiver<bool>,
    connections: CancellationToken,
}

impl ClosableListener {
    pub(super) async fn new(ip: &str, open: watch::Receiver<bool>) -> io::Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let addr = listener.local_addr()?;
        Ok(Self { addr, listener: Some(listener), open, connections: CancellationToken::new() })
    }

    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Listener for ClosableListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CuttableStream, SocketAddr) {
        loop {
            if !*self.open.borrow_and_update() {
                self.listener = None;
                self.connections.cancel();
                if self.open.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                self.connections = CancellationToken::new();
                continue;
            }
            let Some(listener) = &self.listener else {
                match TcpListener::bind(self.addr).await {
                    Ok(listener) => self.listener = Some(listener),
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
                continue;
            };
            tokio::select! {
                Ok(()) = self.open.changed() => {}
                Ok((stream, peer)) = listener.accept() => {
                    let cut = self.connections.child_token();
                    return (CuttableStream { stream, was_cut: Box::pin(cut.clone().cancelled_owned()), cut }, peer);
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

/// A connection that ends with an error once it is cut.
pub(super) struct CuttableStream {
    stream: TcpStream,
    cut: CancellationToken,
    was_cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl CuttableStream {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.was_cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Cuts a request's connection.
#[derive(Debug, Clone)]
pub(super) struct CutHandle(CancellationToken);

impl CutHandle {
    /// Cuts the connection; never returns, since the caller that waits for an answer is gone.
    pub(super) async fn cut(&self) -> ! {
        self.0.cancel();
        std::future::pending().await
    }
}

impl Connected<IncomingStream<'_, ClosableListener>> for CutHandle {
    fn connect_info(stream: IncomingStream<'_, ClosableListener>) -> Self {
        Self(stream.io().cut.clone())
    }
}
