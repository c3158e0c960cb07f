//! The output of `RUN` steps, apart from Kaniko's own.
//!
//! A `RUN` inherits Kaniko's stdout and stderr, so its lines could not be told from Kaniko's. Kaniko can start each `RUN` by
//! the program `tini` in its own folder; the agent puts itself in that place (see [`crate::step_shim`]), which asks here for a
//! pipe of its own and reports how the step ended. A step that comes around this has its output among Kaniko's, as without it.

use std::cell::RefCell;
use std::fs::{self, Permissions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;

use bakery_core::wire::log::Source;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustix::fs::{Gid, Uid, fchown};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::failure::SharedTail;
use crate::fresh;
use crate::layout::Layout;
use crate::output::Output;
use crate::process::{Exit, Processes};

/// Connections that are served at once. There is one `RUN` step at a time; others are a build's own doing.
const CONNECTIONS: usize = 16;

/// How the last `RUN` step ended.
#[derive(Debug, Clone)]
pub struct EndedStep {
    /// Its exit code or signal.
    pub exit: Exit,
    /// The last lines of its output.
    pub tail: Vec<String>,
}

/// Where `RUN` steps get their outputs.
#[derive(Debug)]
pub struct RunSteps {
    listener: UnixListener,
    socket: PathBuf,
    /// Whether they are started by tini.
    by_tini: bool,
    last: RefCell<Option<EndedStep>>,
}

impl RunSteps {
    /// Puts the agent in the place of tini. `None` if the image has no agent beside Kaniko: then it is another's image.
    pub fn install(layout: &Layout, by_tini: bool) -> io::Result<Option<Self>> {
        let agent = layout.agent();
        if !agent.is_file() {
            return Ok(None);
        }
        let (shim, tini, socket) = (layout.shim(), &layout.tini, layout.steps());
        if by_tini && !fs::symlink_metadata(&shim)?.is_symlink() {
            fs::rename(&shim, tini)?;
        }
        fresh::remove(&shim)?;
        symlink(&agent, &shim)?;
        fresh::remove(&socket)?;
        let listener = UnixListener::bind(&socket)?;
        // A `RUN` may be another user's.
        fs::set_permissions(&socket, Permissions::from_mode(0o666))?;
        Ok(Some(Self { listener, socket, by_tini, last: RefCell::default() }))
    }

    /// Serves until it is dropped. What Kaniko has written to `kaniko` before a step is in the log before the step's lines.
    pub async fn serve(&self, processes: &Processes, kaniko: &Output) {
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if open.len() < CONNECTIONS => {
                    if let Ok((stream, _)) = accepted {
                        open.push(self.step(stream, processes, kaniko));
                    }
                }
                // A step that breaks off has ended without a result.
                Some(_) = open.next() => {}
            }
        }
    }

    /// How the last step ended, if one did.
    pub fn last(&self) -> Option<EndedStep> {
        self.last.borrow().clone()
    }

    async fn step(&self, mut stream: UnixStream, processes: &Processes, kaniko: &Output) -> io::Result<()> {
        // Kaniko waits for the step, so all that it has written is from before.
        kaniko.drained().await;
        let tail = SharedTail::default();
        let lines = tail.clone();
        let (output, writer) = processes.output(Source::Run, move |line| lines.push(line))?;
        // So that a step of another user can open its own `/dev/stdout`.
        let peer = stream.peer_cred()?;
        let _ = fchown(&writer, Some(Uid::from_raw(peer.uid())), Some(Gid::from_raw(peer.gid())));
        send(&stream, u8::from(self.by_tini), writer.as_fd())?;
        drop(writer);
        let mut status = [0; 4];
        let ended = stream.read_exact(&mut status).await;
        output.drained().await;
        ended?;
        let exit = Exit::from(ExitStatus::from_raw(i32::from_le_bytes(status)));
        self.last.replace(Some(EndedStep { exit, tail: tail.lines() }));
        stream.write_all(&[0]).await
    }
}

impl Drop for RunSteps {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

/// Sends a byte and a file descriptor. The stream is new, so there is room.
fn send(stream: &UnixStream, byte: u8, file: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [file];
    control.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg(stream, &[io::IoSlice::new(&[byte])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
