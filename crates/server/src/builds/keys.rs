//! The data key: seals secrets in the ledger and makes launch tokens.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use bakery_core::hex;
use bakery_core::message::Hint;
use bakery_core::names::{BuildId, RunName};
use bakery_core::secret::Secret;

/// The key file's name in the data folder.
const KEY_FILE: &str = "data.key";
/// A shorter `BAKERY_DATA_KEY` could be guessed.
const KEY_CHARS: usize = 32;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// `BAKERY_DATA_KEY` is too short.
    #[error("BAKERY_DATA_KEY has fewer than {KEY_CHARS} characters")]
    Short,
    /// The key file cannot be read or made.
    #[error("the key file {0} cannot be read or made: {1}")]
    File(String, io::Error),
    /// The system returns no random bytes, or the cipher fails.
    #[error("the system's cryptography fails")]
    Crypto,
    /// Bytes that were sealed with another key, or changed since.
    #[error("this was not sealed with this data key")]
    Foreign,
}

impl Hint for KeyError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Short => Some("make one with `openssl rand -hex 32`".into()),
            Self::File(..) => Some("put back the key file as it was, or set BAKERY_DATA_KEY".into()),
            Self::Crypto | Self::Foreign => None,
        }
    }
}

/// The keys that are derived from the data key, each for one purpose.
pub struct DataKey {
    seal: RandomizedNonceKey,
    launch: hmac::Key,
    request: hmac::Key,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(***)")
    }
}

impl DataKey {
    /// The operator's `BAKERY_DATA_KEY`, else the key file in `folder`, which is made (0600) if it does not exist.
    pub fn open(folder: &Path, given: Option<&Secret>) -> Result<Self, KeyError> {
        if let Some(secret) = given {
            return Self::of(long_enough(secret)?);
        }
        let path = folder.join(KEY_FILE);
        Self::of(&read_or_make(&path).map_err(|err| KeyError::File(path.display().to_string(), err))?)
    }

    /// What [`DataKey::open`] would return; `None` if it would make a new key.
    pub fn there(folder: &Path, given: Option<&Secret>) -> Result<Option<Self>, KeyError> {
        if let Some(secret) = given {
            return Self::of(long_enough(secret)?).map(Some);
        }
        let path = folder.join(KEY_FILE);
        let key = read(&path).map_err(|err| KeyError::File(path.display().to_string(), err))?;
        key.as_ref().map(Self::of).transpose()
    }

    fn of(master: &Secret) -> Result<Self, KeyError> {
        let master = hmac::Key::new(hmac::HMAC_SHA256, master.expose().as_bytes());
        let derive = |purpose: &str| hmac::sign(&master, purpose.as_bytes());
        Ok(Self {
            seal: RandomizedNonceKey::new(&AES_256_GCM, derive("bakery 1 seal").as_ref())
                .map_err(|_| KeyError::Crypto)?,
            launch: hmac::Key::new(hmac::HMAC_SHA256, derive("bakery 1 launch").as_ref()),
            request: hmac::Key::new(hmac::HMAC_SHA256, derive("bakery 1 request").as_ref()),
        })
    }

    /// AES-256-GCM under a fresh nonce, bound to `subject`: sealed bytes of one build cannot be opened as another's.
    pub fn seal(&self, subject: &str, clear: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut bytes = clear.to_vec();
        let nonce = self
            .seal
            .seal_in_place_append_tag(Aad::from(subject.as_bytes()), &mut bytes)
            .map_err(|_| KeyError::Crypto)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut bytes);
        Ok(sealed)
    }

    /// The clear text of what [`DataKey::seal`] sealed for the same subject.
    pub fn unseal(&self, subject: &str, sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or(KeyError::Foreign)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::Foreign)?;
        let mut bytes = rest.to_vec();
        let aad = Aad::from(subject.as_bytes());
        let len = self.seal.open_in_place(nonce, aad, &mut bytes).map_err(|_| KeyError::Foreign)?.len();
        bytes.truncate(len);
        Ok(bytes)
    }

    /// The token that a run is launched with: always the same for the same run, so a relaunch is byte-identical.
    pub fn launch_token(&self, run: RunName) -> Secret {
        Secret::new(hex::encode(hmac::sign(&self.launch, run.to_string().as_bytes()).as_ref()))
    }

    /// Whether `token` is the run's, compared in constant time.
    pub fn is_launch_token(&self, run: RunName, token: &Secret) -> bool {
        hex::decode(token.expose())
            .is_some_and(|tag| hmac::verify(&self.launch, run.to_string().as_bytes(), &tag).is_ok())
    }

    /// A request's fingerprint. Keyed: requests hold passwords, and a plain hash of those could be guessed.
    pub fn fingerprint(&self, request: &[u8]) -> Vec<u8> {
        hmac::sign(&self.request, request).as_ref().to_vec()
    }
}

/// A new build's id.
pub(super) fn new_build(millis: i64) -> Result<BuildId, KeyError> {
    let random = u128::from_le_bytes(random()?);
    Ok(BuildId::new(u64::try_from(millis).unwrap_or_default(), random))
}

/// A random UUID (version 4).
pub(super) fn new_uuid() -> Result<String, KeyError> {
    let mut bytes: [u8; 16] = random()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(&bytes);
    Ok([&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-"))
}

fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    crate::random::bytes().map_err(|_| KeyError::Crypto)
}

fn long_enough(given: &Secret) -> Result<&Secret, KeyError> {
    if given.expose().chars().count() < KEY_CHARS { Err(KeyError::Short) } else { Ok(given) }
}

/// The key in a file; `None` if there is no file.
fn read(path: &Path) -> io::Result<Option<Secret>> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= KEY_CHARS => Ok(Some(Secret::new(text.trim()))),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it does not contain a key")),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

fn read_or_make(path: &Path) -> io::Result<Secret> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    let bytes: [u8; 32] = random().map_err(io::Error::other)?;
    let text = hex::encode(&bytes);
    // Renamed into place: an incomplete key file after a crash would seal everything from then on.
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use bakery_core::names::TaskId;

    use super::*;

    fn run(attempt: u8) -> RunName {
        RunName { task: TaskId { build: BuildId::new(1, 2), index: 0 }, attempt }
    }

    #[test]
    fn the_key_file_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let key = DataKey::open(folder.path(), None).unwrap();
        let mode = fs::metadata(folder.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = DataKey::open(folder.path(), None).unwrap();
        assert_eq!(key.launch_token(run(1)), again.launch_token(run(1)));
    }

    #[test]
    fn what_is_sealed_opens_only_for_its_subject_and_key() {
        let key = DataKey::of(&Secret::new("k".repeat(32))).unwrap();
        let sealed = key.seal("a", b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(key.unseal("a", &sealed).unwrap(), b"hunter2");
        assert!(matches!(key.unseal("b", &sealed), Err(KeyError::Foreign)));
        let other = DataKey::of(&Secret::new("l".repeat(32))).unwrap();
        assert!(matches!(other.unseal("a", &sealed), Err(KeyError::Foreign)));
        assert!(matches!(key.unseal("a", b"short"), Err(KeyError::Foreign)));
    }

    #[test]
    fn a_token_is_valid_for_its_run_only() {
        let key = DataKey::of(&Secret::new("k".repeat(32))).unwrap();
        let token = key.launch_token(run(1));
        assert_eq!(token.expose().len(), 64);
        assert!(key.is_launch_token(run(1), &token));
        assert!(!key.is_launch_token(run(2), &token));
        for wrong in ["", "zz", "0", "ü"] {
            assert!(!key.is_launch_token(run(1), &Secret::new(wrong)), "{wrong}");
        }
    }

    #[test]
    fn a_short_data_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let short = Secret::new("short");
        assert!(matches!(DataKey::open(folder.path(), Some(&short)), Err(KeyError::Short)));
    }
}
