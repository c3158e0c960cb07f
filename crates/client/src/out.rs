//! Standard output: written by a thread of its own, so that a reader who is slow, or stands still, holds up neither
//! signals nor the connection.

use std::io::{self, Write};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::exit::{Exit, Failure};

/// Chunks that wait for a slow reader; the log is held back beyond that.
const WAITING: usize = 16;

/// Where the log goes.
pub struct Out {
    chunks: mpsc::Sender<Vec<u8>>,
    written: JoinHandle<io::Result<()>>,
}

impl Out {
    /// Starts writing to `target`.
    pub fn new(mut target: impl Write + Send + 'static) -> Self {
        let (chunks, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
        let written = tokio::task::spawn_blocking(move || {
            while let Some(chunk) = waiting.blocking_recv() {
                target.write_all(&chunk)?;
                target.flush()?;
            }
            Ok(())
        });
        Self { chunks, written }
    }

    /// Hands over what is to be written; waits while too much of it is still to be. False once nothing can be written
    /// any more: [`Out::finish`] says why.
    pub async fn send(&self, chunk: Vec<u8>) -> bool {
        chunk.is_empty() || self.chunks.send(chunk).await.is_ok()
    }

    /// Waits until all is written. A reader that has gone away is no news to anybody: the failure is silent then.
    pub async fn finish(self) -> Result<(), Failure> {
        drop(self.chunks);
        match self.written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::quiet(Exit::Unknown)),
            Ok(Err(error)) => Err(unwritable(&error)),
            Err(error) => Err(Failure::ours(format!("standard output: {error}"))),
        }
    }
}

/// Prints one finished text.
pub fn print(text: &str) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritable(&error)),
        _ => Ok(Exit::Good),
    }
}

fn unwritable(error: &io::Error) -> Failure {
    Failure { exit: Exit::Unknown, text: format!("standard output cannot be written: {error}"), hint: None }
}
