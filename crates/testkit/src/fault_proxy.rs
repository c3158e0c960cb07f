//! A proxy between two programs that lets a test act at an exact moment: when a request passes, before it arrives or
//! before its answer returns.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use crate::sync::lock;

/// The address of a proxy's upstream.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// `host:port`.
    Tcp(String),
    /// A socket file.
    Unix(PathBuf),
}

/// When to act on a request that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The request never arrives.
    BeforeRequest,
    /// The request arrives, its answer never returns.
    BeforeAnswer,
}

/// A pattern to wait for.
#[derive(Debug)]
struct Trap {
    pattern: String,
    moment: Moment,
    reached: oneshot::Sender<()>,
}

/// The state that all connections of a proxy share.
#[derive(Debug, Default)]
struct TrapState {
    traps: Mutex<VecDeque<Trap>>,
    seen: Mutex<Vec<String>>,
    answers: Mutex<Vec<String>>,
    release: Notify,
}

/// A running proxy; ends when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    shared: Arc<TrapState>,
    _tasks: JoinSet<()>,
}

impl FaultProxy {
    /// Listens on a TCP address.
    pub async fn tcp(listen: &str, upstream: Upstream) -> Result<(Self, std::net::SocketAddr)> {
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let accept = move |cx: &mut Context<'_>| listener.poll_accept(cx).map_ok(|(stream, _)| stream);
        Ok((Self::before(upstream, accept), addr))
    }

    /// Listens on a socket file.
    pub fn unix(listen: &Path, upstream: Upstream) -> Result<Self> {
        let listener = UnixListener::bind(listen)?;
        let accept = move |cx: &mut Context<'_>| listener.poll_accept(cx).map_ok(|(stream, _)| stream);
        Ok(Self::before(upstream, accept))
    }

    /// Connects each accepted connection to the upstream.
    fn before<S>(
        upstream: Upstream,
        mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<S>> + Send + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(TrapState::default());
        let mut tasks = JoinSet::new();
        let state = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok(stream) = poll_fn(&mut accept).await {
                connections.spawn(connect(stream, upstream.clone(), Arc::clone(&state)));
            }
        });
        Self { shared, _tasks: tasks }
    }

    /// Sets a trap: the returned receiver fires when a request line contains every part of `pattern` (parts separated by
    /// `*`). That connection is then held until [`FaultProxy::release`].
    pub fn trap(&self, pattern: &str, moment: Moment) -> oneshot::Receiver<()> {
        let (reached, receiver) = oneshot::channel();
        lock(&self.shared.traps).push_back(Trap { pattern: pattern.to_owned(), moment, reached });
        receiver
    }

    /// Drops every connection that a trap holds.
    pub fn release(&self) {
        self.shared.release.notify_waiters();
    }

    /// The status lines of answers that contain `text`.
    pub fn answers(&self, text: &str) -> Vec<String> {
        lock(&self.shared.answers).iter().filter(|line| line.contains(text)).cloned().collect()
    }

    /// Every request line so far.
    pub fn seen(&self) -> Vec<String> {
        lock(&self.shared.seen).clone()
    }
}

impl TrapState {
    /// Records a request line; returns when to hold the connection if a trap matches.
    fn note(&self, line: &str) -> Option<Moment> {
        lock(&self.seen).push(line.to_owned());
        let mut traps = lock(&self.traps);
        let hit = traps.iter().position(|trap| trap.pattern.split('*').all(|part| line.contains(part)))?;
        let trap = traps.remove(hit)?;
        let _ = trap.reached.send(());
        Some(trap.moment)
    }
}

async fn connect<S: AsyncRead + AsyncWrite + Unpin>(stream: S, upstream: Upstream, shared: Arc<TrapState>) {
    let (down_read, down_write) = tokio::io::split(stream);
    match upstream {
        Upstream::Tcp(addr) => {
            let Ok(up) = TcpStream::connect(addr).await else { return };
            let (up_read, up_write) = up.into_split();
            relay(down_read, down_write, up_read, up_write, &shared).await;
        }
        Upstream::Unix(path) => {
            let Ok(up) = UnixStream::connect(path).await else { return };
            let (up_read, up_write) = up.into_split();
            relay(down_read, down_write, up_read, up_write, &shared).await;
        }
    }
}

/// Copies both ways; ends, which closes the connection, when either side ends or a trap is released.
async fn relay<DR, DW, UR, UW>(
    mut down_read: DR,
    mut down_write: DW,
    mut up_read: UR,
    mut up_write: UW,
    shared: &TrapState,
) where
    DR: AsyncRead + Unpin,
    DW: AsyncWrite + Unpin,
    UR: AsyncRead + Unpin,
    UW: AsyncWrite + Unpin,
{
    let stopped = Notify::new();
    let stop = tokio::sync::Mutex::new(());
    let requests = async {
        let mut buf = vec![0; 64 << 10];
        while let Ok(read @ 1..) = down_read.read(&mut buf).await {
            match request_line(&buf[..read]).and_then(|line| shared.note(&line)) {
                Some(Moment::BeforeRequest) => {
                    shared.release.notified().await;
                    return;
                }
                Some(Moment::BeforeAnswer) => {
                    // Locked before the request is sent, so that no byte of the answer passes.
                    let _held = stop.lock().await;
                    stopped.notify_one();
                    let _ = up_write.write_all(&buf[..read]).await;
                    let rest = async {
                        while let Ok(read @ 1..) = down_read.read(&mut buf).await {
                            if up_write.write_all(&buf[..read]).await.is_err() {
                                break;
                            }
                        }
                        std::future::pending::<()>().await;
                    };
                    tokio::select! { () = rest => {} () = shared.release.notified() => {} }
                    return;
                }
                None => {
                    if up_write.write_all(&buf[..read]).await.is_err() {
                        return;
                    }
                }
            }
        }
        let _ = up_write.shutdown().await;
        std::future::pending::<()>().await;
    };
    let answers = async {
        let mut buf = vec![0; 64 << 10];
        loop {
            let read = tokio::select! {
                () = stopped.notified() => return std::future::pending().await,
                read = up_read.read(&mut buf) => read,
            };
            let Ok(read @ 1..) = read else { return };
            if let Some(line) = first_line(&buf[..read]).filter(|line| line.starts_with("HTTP/1.1 ")) {
                lock(&shared.answers).push(line);
            }
            let Ok(_free) = stop.try_lock() else { return std::future::pending().await };
            if down_write.write_all(&buf[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = requests => {} () = answers => {} }
}

/// The request line if a chunk begins with one: all our clients begin a request with a new write.
fn request_line(chunk: &[u8]) -> Option<String> {
    first_line(chunk).filter(|line| line.ends_with("HTTP/1.1"))
}

fn first_line(chunk: &[u8]) -> Option<String> {
    let end = chunk.iter().take(4096).position(|&b| b == b'\r')?;
    std::str::from_utf8(&chunk[..end]).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_trap_holds_the_answer_and_lets_the_request_through() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Upstream::Tcp(server.local_addr().unwrap().to_string());
        let (proxy, addr) = FaultProxy::tcp("127.0.0.1:0", upstream).await.unwrap();
        let reached = proxy.trap("POST*/report", Moment::BeforeAnswer);
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(b"POST /v1/runs/x/report HTTP/1.1\r\n\r\n").await.unwrap();
        let (mut got, _) = server.accept().await.unwrap();
        let mut buf = [0; 33];
        got.read_exact(&mut buf).await.unwrap();
        reached.await.unwrap();
        got.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        proxy.release();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
        assert_eq!(proxy.seen(), ["POST /v1/runs/x/report HTTP/1.1"]);
    }
}
