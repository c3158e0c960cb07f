//! The files on disk: the frames of a log, and beside them its epochs. Opening a file removes an incomplete end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bakery_core::limits;
use bakery_core::wire::log::{Cursor, Frame, FrameHeader};

/// Bytes read at a time while scanning: several times the longest header, so that few bytes are moved in memory.
const WINDOW: usize = 4 * limits::HEADER_BYTES;

/// Each epoch with the sequence number that it began at. A new one begins when an incomplete end is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Epochs(Vec<(u32, u64)>);

impl Epochs {
    pub(super) fn current(&self) -> u32 {
        self.0.last().map_or(0, |(epoch, _)| *epoch)
    }

    /// The sequence number at which reading starts for a cursor: numbers that were reused since then are read again.
    pub(super) fn start(&self, from: Cursor) -> u64 {
        let reused = self.0.iter().filter(|(epoch, _)| *epoch > from.epoch).map(|(_, seq)| *seq);
        reused.fold(from.seq, u64::min)
    }

    fn begin(&mut self, seq: u64) {
        self.0.push((self.current() + 1, seq));
    }

    fn read(path: &Path) -> io::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let parse = |line: &str| {
            let (epoch, seq) = line.split_once(' ')?;
            Some((epoch.parse().ok()?, seq.parse().ok()?))
        };
        let all: Option<Vec<_>> = text.lines().map(parse).collect();
        all.map(Self)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its epochs file is malformed"))
    }

    /// Replaces the file atomically; durable when it returns.
    fn write(&self, path: &Path) -> io::Result<()> {
        let text: String = self
            .0
            .iter()
            .flat_map(|(epoch, seq)| [epoch.to_string(), " ".into(), seq.to_string(), "\n".into()])
            .collect();
        let new = path.with_extension("epochs.new");
        let mut file = private().write(true).create(true).truncate(true).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        sync_folder(path)
    }
}

/// Options for files that only this user can read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn epochs_path(log: &Path) -> PathBuf {
    log.with_extension("epochs")
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Creates an empty log, durably; leaves an existing one unchanged.
pub(super) fn create(path: &Path) -> io::Result<()> {
    match private().write(true).create_new(true).open(path) {
        Ok(_) => sync_folder(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a log and its epochs, where they exist.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    for path in [path.to_owned(), epochs_path(path)] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Opens a log and passes each of its complete frames to `seen`, with its offset. An incomplete end is removed, and a new
/// epoch begins. Returns the file, its size, the next sequence number and the epochs.
pub(super) fn open(
    path: &Path,
    seen: &mut dyn FnMut(u64, &FrameHeader),
) -> io::Result<(File, u64, u64, Epochs)> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut epochs = Epochs::read(&epochs_path(path))?;
    let (mut next, len) = (0, file.metadata()?.len());
    let end = each_frame(&file, 0, len, &mut |at, header| {
        if header.seq != next {
            return false;
        }
        next += header.frame.width();
        seen(at, &header);
        true
    })?;
    if end < len {
        epochs.begin(next);
        epochs.write(&epochs_path(path))?;
        file.set_len(end)?;
        file.sync_all()?;
        tracing::warn!(log = %path.display(), bytes = len - end, epoch = epochs.current(), "incomplete end of a log removed");
    }
    Ok((file, end, next, epochs))
}

/// Passes every complete frame between two offsets to `seen`, with its offset, until it returns `false`. Returns the
/// offset after the last frame for which it returned `true`.
pub(super) fn each_frame(
    file: &File,
    from: u64,
    to: u64,
    seen: &mut dyn FnMut(u64, FrameHeader) -> bool,
) -> io::Result<u64> {
    let mut window = ReadWindow { file, to, at: from, bytes: Vec::new() };
    let mut at = from;
    while at < to {
        let head = window.at_least(at, limits::HEADER_BYTES)?;
        let Some(line) = head.iter().take(limits::HEADER_BYTES).position(|&b| b == b'\n') else { break };
        let Ok(header) = serde_json::from_slice::<FrameHeader>(&head[..line]) else { break };
        let (start, len) = (at + line as u64 + 1, header.len as usize);
        if len > limits::BLOCK_BYTES || start + len as u64 > to {
            break;
        }
        // A payload of lines ends with a newline, or it was not written completely.
        if let Frame::Lines { lines, .. } | Frame::Note { lines, .. } = header.frame {
            let payload = &window.at_least(start, len)?[..len];
            if count_lines(payload) != lines as usize || payload.last().is_some_and(|&b| b != b'\n') {
                break;
            }
        }
        if !seen(at, header) {
            break;
        }
        at = start + len as u64;
    }
    Ok(at)
}

/// The number of line ends in `bytes`.
fn count_lines(bytes: &[u8]) -> usize {
    // Summed in small groups: the compiler turns the inner loop into vector instructions.
    let count = |chunk: &[u8]| chunk.iter().map(|&b| u8::from(b == b'\n')).sum::<u8>();
    bytes.chunks(128).map(|chunk| usize::from(count(chunk))).sum()
}

/// A sliding window over a file.
struct ReadWindow<'a> {
    file: &'a File,
    to: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl ReadWindow<'_> {
    /// The bytes from `at` on: at least `want`, or all up to the end. Never goes back.
    fn at_least(&mut self, at: u64, want: usize) -> io::Result<&[u8]> {
        let gone = usize::try_from(at - self.at).unwrap_or(usize::MAX).min(self.bytes.len());
        let left = usize::try_from(self.to - at).unwrap_or(usize::MAX);
        if self.bytes.len() - gone < want.min(left) {
            self.bytes.drain(..gone);
            self.at = at;
            let have = self.bytes.len();
            self.bytes.resize(left.min(want.max(WINDOW)).max(have), 0);
            self.file.read_exact_at(&mut self.bytes[have..], at + have as u64)?;
            return Ok(&self.bytes);
        }
        Ok(&self.bytes[gone..])
    }
}
