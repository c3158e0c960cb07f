//! The output of processes: what they write to a pipe goes to the log.

use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;

use rustix::io::ioctl_fionread;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, yield_now};

use crate::log::Writer;
use crate::spawn::spawn;

/// Size of the read buffer: the default capacity of a pipe.
const CHUNK_BYTES: usize = 64 << 10;

/// One stream of output, which is read in the background.
#[derive(Debug, Clone)]
pub struct Output {
    requests: mpsc::Sender<oneshot::Sender<()>>,
}

impl Output {
    /// Starts to read. One pipe for stdout and stderr keeps the order in which they are written.
    pub(crate) fn new(
        writer: Writer,
        on_line: impl FnMut(&str) + Send + 'static,
    ) -> io::Result<(JoinHandle<()>, Self, PipeWriter)> {
        let (reader, end) = io::pipe()?;
        let receiver = Receiver::from_owned_fd(OwnedFd::from(reader))?;
        let (requests, requested) = mpsc::channel(1);
        let reader = Reader { receiver, writer, on_line };
        Ok((spawn("output", reader.run(requested)), Self { requests }, end))
    }

    /// Waits until everything that has been written so far is in the log. An incomplete line is ended.
    pub async fn drained(&self) {
        let (done, all_read) = oneshot::channel();
        if self.requests.send(done).await.is_err() {
            // The reader has ended, and has read everything.
            return;
        }
        tokio::select! {
            _ = all_read => {}
            // It may end while the request is sent: that stays in the channel, and nobody answers it.
            () = self.requests.closed() => {}
        }
    }
}

struct Reader<S> {
    receiver: Receiver,
    writer: Writer,
    on_line: S,
}

impl<S: FnMut(&str)> Reader<S> {
    /// Reads until all write ends are closed. For each request it reads everything that has been written so far, and then
    /// answers.
    async fn run(mut self, mut requests: mpsc::Receiver<oneshot::Sender<()>>) {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let done = tokio::select! {
                // The request first: the pipe of a process that never stops writing is always readable.
                biased;
                Some(done) = requests.recv() => done,
                readable = self.receiver.readable() => {
                    if readable.is_err() || self.read(&mut chunk).is_none() {
                        break;
                    }
                    // Such a pipe never makes this loop wait either, so it has to yield to other tasks.
                    yield_now().await;
                    continue;
                }
            };
            let open = self.drain(&mut chunk).await;
            self.writer.flush(&mut self.on_line);
            let _ = done.send(());
            if !open {
                return;
            }
        }
        self.writer.flush(&mut self.on_line);
    }

    /// Reads once and returns the number of bytes, 0 if there are none at the moment. `None` at the end of the stream.
    fn read(&mut self, chunk: &mut [u8]) -> Option<usize> {
        match self.receiver.try_read(chunk) {
            Ok(0) => None,
            Ok(len) => {
                self.writer.push(&chunk[..len], &mut self.on_line);
                Some(len)
            }
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted).then_some(0)
            }
        }
    }

    /// Reads what is in the pipe now and no more: a process may never stop writing. False at the end of the stream.
    async fn drain(&mut self, chunk: &mut [u8]) -> bool {
        let Ok(available) = ioctl_fionread(&self.receiver) else { return self.read(chunk).is_some() };
        let mut left = usize::try_from(available).unwrap_or(usize::MAX);
        while left > 0 {
            // The bytes are there, but the runtime may not have been notified yet. There is no other reader.
            if self.receiver.readable().await.is_err() {
                return false;
            }
            let max = left.min(chunk.len());
            let Some(len) = self.read(&mut chunk[..max]) else { return false };
            left -= len;
            yield_now().await;
        }
        true
    }
}
