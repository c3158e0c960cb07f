//! What Kaniko starts in the place of tini: it gets an output of its own from the agent, starts the command of the `RUN` step,
//! and tells the agent how it ended.
//!
//! Nothing here may make a build fail that runs without it: where the agent does not answer, tini takes its place.

use std::ffi::OsString;
use std::io::{self, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::stdio::{dup2_stderr, dup2_stdout};

use crate::layout::Layout;

/// How long the agent may take to answer. It first writes down what Kaniko has printed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The exit code of a shell whose command cannot be started.
const NOT_STARTED: u8 = 127;

/// Runs the step whose command line Kaniko gave: `-s -- COMMAND ARGUMENT...`, for tini.
pub fn run(program: &Path, args: &[OsString]) -> ExitCode {
    let layout = Layout::below(program.parent().unwrap_or(Path::new("/")));
    let Ok((mut agent, by_tini)) = ask(&layout.steps()) else {
        return not_started(&layout.tini, &Command::new(&layout.tini).args(args).exec());
    };
    let own = args.iter().position(|arg| arg == "--").map_or(args, |at| &args[at + 1..]);
    let (program, args) = match own.split_first() {
        Some((program, args)) if !by_tini => (PathBuf::from(program), args),
        _ => (layout.tini.clone(), args),
    };
    let status = match Command::new(&program).args(args).status() {
        Ok(status) => status,
        Err(error) => return not_started(&program, &error),
    };
    // The answer comes when everything that the step has written is in the log.
    let _ = agent.write_all(&status.into_raw().to_le_bytes()).and_then(|()| agent.read_exact(&mut [0]));
    // As tini and shells do.
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(code).unwrap_or(NOT_STARTED))
}

/// Makes the agent's pipe stdout and stderr; returns the connection, and whether tini starts the command.
fn ask(socket: &Path) -> io::Result<(UnixStream, bool)> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(&stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut files = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => files.collect::<Vec<OwnedFd>>(),
        _ => Vec::new(),
    });
    let pipe = files.next().ok_or(io::ErrorKind::UnexpectedEof)?;
    dup2_stdout(&pipe)?;
    dup2_stderr(&pipe)?;
    Ok((stream, byte[0] == 1))
}

fn not_started(program: &Path, error: &io::Error) -> ExitCode {
    eprintln!("{}: {error}", program.display());
    ExitCode::from(NOT_STARTED)
}
