//! Masks the secrets of a run in its log, before a line is written to the spool. Scripts can add to them.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bakery_core::limits::LINE_BYTES;
use bakery_core::mask::{self, Matcher, SHORTEST, Secrets, TooManySecrets};

/// How many texts a task's scripts may add: each takes time and memory.
const ADDED_TEXTS: usize = 100;
/// How many bytes these texts may have in total.
const ADDED_BYTES: usize = 128 << 10;

/// Why a text is not masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotMasked {
    /// It would match in half of the log.
    #[error("it is a common word or has fewer than {SHORTEST} characters")]
    Common,
    /// It is longer than a line of the log.
    #[error("it has more than {LINE_BYTES} bytes")]
    Long,
    /// The limits of added texts are reached.
    #[error("scripts may add {ADDED_TEXTS} texts of {ADDED_BYTES} bytes in total")]
    TooMany,
}

/// Finds and masks secrets. More can be added while it is used.
#[derive(Debug, Default)]
pub struct Masker {
    state: Mutex<MaskerState>,
    version: AtomicUsize,
}

/// The secrets of a masker, and what finds those of `version`: it is made when it is needed, not for every addition.
#[derive(Debug, Default)]
struct MaskerState {
    secrets: Secrets,
    /// How many texts and bytes were added since the masker was made.
    added: (usize, usize),
    matcher: Arc<Matcher>,
    version: usize,
}

impl Masker {
    /// A masker for these secrets.
    pub fn new(secrets: Secrets) -> Result<Self, TooManySecrets> {
        let matcher = Arc::new(secrets.matcher()?);
        let state = Mutex::new(MaskerState { secrets, matcher, ..MaskerState::default() });
        Ok(Self { state, version: AtomicUsize::new(0) })
    }

    /// Masks `text` too from now on.
    pub fn add(&self, text: &str) -> Result<(), NotMasked> {
        if text.len() > LINE_BYTES {
            return Err(NotMasked::Long);
        }
        if mask::pieces(text).is_empty() {
            return Err(NotMasked::Common);
        }
        let mut state = self.lock();
        let (count, bytes) = (state.added.0 + 1, state.added.1 + text.len());
        if count > ADDED_TEXTS || bytes > ADDED_BYTES {
            return Err(NotMasked::TooMany);
        }
        state.added = (count, bytes);
        state.secrets.add(text);
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// A number that changes whenever a secret was added.
    pub fn version(&self) -> usize {
        self.version.load(Ordering::Acquire)
    }

    /// What finds the secrets that are known now.
    pub fn matcher(&self) -> Arc<Matcher> {
        let mut state = self.lock();
        let version = self.version();
        if state.version != version {
            state.version = version;
            // What may be added is far below the limits of an automaton; the secrets of the task stay masked in any case.
            if let Ok(matcher) = state.secrets.matcher() {
                state.matcher = Arc::new(matcher);
            }
        }
        Arc::clone(&state.matcher)
    }

    fn lock(&self) -> MutexGuard<'_, MaskerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `text` with its secrets masked.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.matcher().text(text)
    }
}
