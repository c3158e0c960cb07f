//! A gate where tasks wait until the benchmark has measured.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Clones are handles to the same gate.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    open: Arc<watch::Sender<bool>>,
    came: Arc<watch::Sender<usize>>,
}

/// A URL that answers once the gate is open; ends when dropped.
pub(crate) struct GatePage {
    pub(crate) url: String,
    _server: JoinSet<()>,
}

impl Gate {
    /// Arrives at the gate and waits there.
    pub(crate) async fn pass(self) {
        self.came.send_modify(|came| *came += 1);
        // A dropped gate is open.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    /// Waits until `all` have arrived.
    pub(crate) async fn came(&self, all: usize) {
        let _ = self.came.subscribe().wait_for(|came| *came >= all).await;
    }

    /// Opens the gate.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Serves the gate over HTTP on a port of `ip`.
    pub(crate) async fn page(&self, ip: &str) -> Result<GatePage> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let gate = self.clone();
        let router = Router::new().fallback(move || gate.clone().pass());
        let mut server = JoinSet::new();
        server.spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(GatePage { url, _server: server })
    }
}
