//! A TCP connection that can be cut and mended, whatever is spoken over it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A way to `upstream`; ends with its owner.
#[derive(Debug)]
pub struct Wire {
    /// Where it begins.
    pub addr: SocketAddr,
    whole: Arc<watch::Sender<bool>>,
    _tasks: JoinSet<()>,
}

impl Wire {
    /// A whole wire that begins on a port of `ip`.
    pub async fn to(upstream: &str, ip: &str) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let addr = listener.local_addr()?;
        let whole = Arc::new(watch::Sender::new(true));
        let (upstream, state) = (upstream.to_owned(), Arc::clone(&whole));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Dropped with this task, and every connection with it.
            let mut open = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let mut state = state.subscribe();
                if *state.borrow_and_update() {
                    let upstream = upstream.clone();
                    open.spawn(async move {
                        tokio::select! {
                            _ = state.wait_for(|whole| !whole) => {}
                            () = carry(near, &upstream) => {}
                        }
                    });
                }
            }
        });
        Ok(Self { addr, whole, _tasks: tasks })
    }

    /// Breaks every connection; new ones are closed at once.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// New connections go through again.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn carry(mut near: TcpStream, upstream: &str) {
    if let Ok(mut far) = TcpStream::connect(upstream).await {
        // Either side may hang up at any time.
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}
