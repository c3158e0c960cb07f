//! A connection of any protocol that can be cut and mended.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A proxy for `upstream`; ends when dropped.
#[derive(Debug)]
pub struct CuttableLink {
    /// The address to connect to.
    pub addr: SocketAddr,
    connected: Arc<watch::Sender<bool>>,
    _tasks: JoinSet<()>,
}

impl CuttableLink {
    /// A connected link from a port of `ip` to `host:port`, or to `unix://PATH`.
    pub async fn to(upstream: &str, ip: &str) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let addr = listener.local_addr()?;
        let connected = Arc::new(watch::Sender::new(true));
        let (upstream, state) = (upstream.to_owned(), Arc::clone(&connected));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Dropped with this task, which closes every connection.
            let mut open = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let mut state = state.subscribe();
                if *state.borrow_and_update() {
                    let upstream = upstream.clone();
                    open.spawn(async move {
                        tokio::select! {
                            _ = state.wait_for(|connected| !connected) => {}
                            _ = carry(near, &upstream) => {}
                        }
                    });
                }
            }
        });
        Ok(Self { addr, connected, _tasks: tasks })
    }

    /// Closes every connection; new ones are closed at once.
    pub fn cut(&self) {
        self.connected.send_replace(false);
    }

    /// Accepts connections again.
    pub fn mend(&self) {
        self.connected.send_replace(true);
    }
}

/// Copies both ways until either side closes.
async fn carry(mut near: TcpStream, upstream: &str) -> io::Result<(u64, u64)> {
    if let Some(path) = upstream.strip_prefix("unix://") {
        copy_bidirectional(&mut near, &mut UnixStream::connect(path).await?).await
    } else {
        copy_bidirectional(&mut near, &mut TcpStream::connect(upstream).await?).await
    }
}
