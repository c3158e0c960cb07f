//! Signals from the terminal and the CI system.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal means for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT or SIGTERM: the user no longer wants the build.
    Interrupt,
    /// SIGHUP: the terminal is gone.
    Hangup,
}

/// Receives signals.
pub struct Signals {
    int: Stream,
    term: Stream,
    hup: Stream,
}

impl Signals {
    /// Installs the handlers. From now on these signals no longer terminate the program by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.int.recv() => Signal::Interrupt,
            _ = self.term.recv() => Signal::Interrupt,
            _ = self.hup.recv() => Signal::Hangup,
        }
    }
}
