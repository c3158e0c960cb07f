//! What the terminal and the CI system tell us.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// A signal in the words of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, SIGTERM: the build is not wanted any more.
    Interrupt,
    /// SIGHUP: nobody is looking any more.
    Hangup,
}

/// All signals from now on.
pub struct Signals {
    int: Stream,
    term: Stream,
    hup: Stream,
}

impl Signals {
    /// From here on signals no longer end the program by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal. Dropping the future loses none.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.int.recv() => Signal::Interrupt,
            _ = self.term.recv() => Signal::Interrupt,
            _ = self.hup.recv() => Signal::Hangup,
        }
    }
}
