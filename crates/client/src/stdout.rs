//! Standard output, written by a thread of its own: a slow reader, or one that has stopped reading, delays neither
//! signals nor the connection.

use std::io::{self, Write};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::exit::{Exit, Failure};

/// Number of chunks that are buffered for a slow reader. When the buffer is full, no more of the log is read.
const BUFFERED_CHUNKS: usize = 16;

/// Writes the log.
pub struct LogOutput {
    chunks: mpsc::Sender<Vec<u8>>,
    writer: JoinHandle<io::Result<()>>,
}

impl LogOutput {
    /// Starts a thread that writes to `target`.
    pub fn new(mut target: impl Write + Send + 'static) -> Self {
        let (chunks, mut queue) = mpsc::channel::<Vec<u8>>(BUFFERED_CHUNKS);
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(chunk) = queue.blocking_recv() {
                target.write_all(&chunk)?;
                target.flush()?;
            }
            Ok(())
        });
        Self { chunks, writer }
    }

    /// Queues a chunk; waits while the buffer is full. Returns `false` after a failed write: [`LogOutput::finish`] returns
    /// its error.
    pub async fn send(&self, chunk: Vec<u8>) -> bool {
        chunk.is_empty() || self.chunks.send(chunk).await.is_ok()
    }

    /// Waits until everything is written. If the reader has closed the pipe, the failure is silent.
    pub async fn finish(self) -> Result<(), Failure> {
        drop(self.chunks);
        match self.writer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(Failure::silent(Exit::Unknown))
            }
            Ok(Err(error)) => Err(write_failed(&error)),
            Err(error) => Err(Failure::local(format!("standard output: {error}"))),
        }
    }
}

/// Prints a complete text.
pub fn print(text: &str) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    ended(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// How the client exits after it has written its output. A reader that has closed the pipe has what it wanted.
pub fn ended(written: io::Result<()>) -> Result<Exit, Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(write_failed(&error)),
        _ => Ok(Exit::Success),
    }
}

fn write_failed(error: &io::Error) -> Failure {
    Failure::new(Exit::Unknown, format!("standard output cannot be written: {error}"))
}
