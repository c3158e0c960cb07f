//! The ledger: what survives `kill -9`. `SQLite` in WAL mode with `synchronous=FULL`, one writer, a few readers, and a
//! lock on the data folder, so that two servers never share one.

use std::borrow::Cow;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bakery_core::message::Hint;
use bakery_core::secret::Secret;
use bakery_core::system_folders;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection, SqlitePool};
use tokio::sync::Mutex;

use super::keys::{self, DataKey, KeyError};
use crate::clock::Clock;

mod read;
mod write;

pub(super) use read::{EarlierSubmission, OpenBuild};
pub(super) use write::{NewBuild, Transition};

const READERS: u32 = 4;
const LOCK: &str = "lock";
const FILE: &str = "ledger.sqlite";
/// The bit of a folder in which everybody may create files.
const STICKY: u32 = 0o1000;
const KEY_CHECK: &str = "installation";
/// `SQLite`'s codes for a damaged file, and for a file that is not a database.
const BROKEN: [&str; 2] = ["11", "26"];
/// `SQLite`'s code for a full disk.
const FULL: &str = "13";

/// What goes wrong with the ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another server has this data folder.
    #[error("the data folder {0} is in use by another server")]
    Locked(String),
    /// The data folder cannot be used.
    #[error("the data folder {0} cannot be used: {1}")]
    Folder(String, io::Error),
    /// The file is not a database, or is damaged.
    #[error("{0} cannot be read: {1}")]
    Broken(String, String),
    /// The data folder was sealed with another key.
    #[error("the data folder {0} was sealed with another data key")]
    ForeignKey(String),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database returned an error.
    #[error("the ledger cannot be read or written")]
    Database(#[from] sqlx::Error),
    /// The database cannot be migrated to this version.
    #[error("the ledger cannot be migrated to this version")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A row is not as this version writes it.
    #[error("the ledger holds something that cannot be read: {0}")]
    Row(String),
}

impl LedgerError {
    /// Whether the database could not grow.
    pub(super) fn is_disk_full(&self) -> bool {
        let Self::Database(error) = self else { return false };
        error.as_database_error().is_some_and(|cause| cause.code().as_deref() == Some(FULL))
    }

    /// The hint for a data folder that cannot be used.
    pub const FOLDER_HINT: &str = "the server needs to write there; BAKERY_DATA_DIR names the data folder";
}

impl Hint for LedgerError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Locked(_) => Some("stop that one, or set BAKERY_DATA_DIR to another folder".into()),
            Self::Folder(..) => Some(Self::FOLDER_HINT.into()),
            Self::Broken(..) => Some(
                "put the file back as it was, or start with an empty data folder (BAKERY_DATA_DIR)".into(),
            ),
            Self::ForeignKey(_) => {
                let hint = "set BAKERY_DATA_KEY (or put back the key file `data.key`) as it was, or start with an empty \
                            data folder";
                Some(hint.into())
            }
            Self::Key(error) => error.hint(),
            Self::Database(_) | Self::Migrate(_) | Self::Row(_) => None,
        }
    }
}

/// The ledger of one installation. Clones are handles to the same.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<LedgerInner>,
}

struct LedgerInner {
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
    key: Arc<DataKey>,
    installation: String,
    clock: Clock,
    /// How often states of builds were read.
    #[cfg(test)]
    reads: AtomicUsize,
    /// Held as long as the ledger; the kernel releases it when the process ends, however it ends.
    _lock: File,
}

impl Ledger {
    /// The database returns its error of a full disk from now on where it would grow.
    #[cfg(test)]
    pub(super) async fn stop_growing(&self) {
        let mut writer = self.inner.writer.lock().await;
        sqlx::raw_sql("PRAGMA max_page_count = 1").execute(&mut *writer).await.unwrap();
    }

    /// Opens the ledger in `folder`, which is made if it does not exist, made private (0700), and locked.
    ///
    /// `data_key` is `BAKERY_DATA_KEY`; without it a key file in the folder is used.
    pub async fn open(folder: &Path, data_key: Option<&Secret>, clock: Clock) -> Result<Self, LedgerError> {
        let shown = || folder.display().to_string();
        let lock = lock(folder)?;
        let key = DataKey::open(folder, data_key)?;
        let file = folder.join(FILE);
        make_private(&file).map_err(|err| LedgerError::Folder(shown(), err))?;
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What is erased is overwritten in the file.
            .pragma("secure_delete", "ON")
            .busy_timeout(Duration::from_secs(10))
            .disable_statement_logging();
        let mut writer = SqliteConnection::connect_with(&options).await.map_err(|err| unread(&file, err))?;
        sqlx::migrate!("./migrations").run(&mut writer).await?;
        // A ledger that this process has dropped a moment ago may still be committing on its own thread: nothing may be
        // read before it has finished.
        sqlx::raw_sql("BEGIN IMMEDIATE; COMMIT").execute(&mut writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(options.clone().read_only(true));
        let installation = installation(&mut writer, &key, &clock, &shown()).await?;
        let inner = LedgerInner {
            writer: Mutex::new(writer),
            readers,
            key: Arc::new(key),
            installation,
            clock,
            #[cfg(test)]
            reads: AtomicUsize::new(0),
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Fails if [`Ledger::open`] would refuse the data folder, or another server holds it now.
    pub async fn check(folder: &Path, data_key: Option<&Secret>) -> Result<(), LedgerError> {
        let shown = || folder.display().to_string();
        // Held until the end: a start must not write meanwhile.
        let _lock = match OpenOptions::new().write(true).open(folder.join(LOCK)) {
            Ok(file) => Some(take(&file, folder).map(|()| file)?),
            Err(err) if err.kind() == io::ErrorKind::NotFound => None,
            Err(err) => return Err(LedgerError::Folder(shown(), err)),
        };
        let file = folder.join(FILE);
        if !file.exists() {
            return Ok(());
        }
        // Without a WAL the file holds everything, and is read without making one.
        let whole = !folder.join(format!("{FILE}-wal")).exists();
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .read_only(true)
            .immutable(whole)
            .disable_statement_logging();
        let found = look(&options).await.map_err(|err| unread(&file, err))?;
        let Some((id, check)) = found else { return Ok(()) };
        let key = DataKey::there(folder, data_key)?;
        if key.is_some_and(|key| seals(&key, &id, &check)) {
            Ok(())
        } else {
            Err(LedgerError::ForeignKey(shown()))
        }
    }

    /// The UUID that marks what this installation starts on platforms.
    pub fn installation(&self) -> &str {
        &self.inner.installation
    }

    /// The data key.
    pub(super) fn key(&self) -> &Arc<DataKey> {
        &self.inner.key
    }

    /// Fails if the ledger cannot be read.
    pub(super) async fn ping(&self) -> Result<(), LedgerError> {
        sqlx::query("SELECT 1 FROM installation").fetch_one(&self.inner.readers).await?;
        Ok(())
    }

    fn now_ms(&self) -> i64 {
        self.inner.clock.now().as_millisecond()
    }
}

fn lock(folder: &Path) -> Result<File, LedgerError> {
    let shown = || folder.display().to_string();
    let open = || {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(folder.join(LOCK))
    };
    let file = open().map_err(|err| LedgerError::Folder(shown(), err))?;
    take(&file, folder)?;
    make_folder_private(folder);
    Ok(file)
}

/// Takes an existing folder away from other users (0700). One that cannot be private stays as it is: its files are.
fn make_folder_private(folder: &Path) {
    let Ok(meta) = folder.metadata() else { return };
    let mode = meta.mode() & 0o7777;
    let private = mode & 0o7700;
    if mode == private {
        return;
    }
    let data = folder.display();
    let shared = mode & STICKY != 0
        || folder
            .canonicalize()
            .is_ok_and(|real| real.to_str().is_some_and(system_folders::is_system_folder));
    if shared {
        let hint = "set BAKERY_DATA_DIR to a folder of the server's own";
        tracing::warn!(%data, hint, "the data folder belongs to the system: other users can see which files are in it");
    } else if meta.uid() != rustix::process::geteuid().as_raw() {
        // The root of a volume: nothing to do for an operator who mounts it for this server alone.
        tracing::info!(%data, "the data folder has another owner, and its mode is not changed");
    } else if let Err(error) = fs::set_permissions(folder, Permissions::from_mode(private)) {
        let hint = "make it readable by the server's user only";
        tracing::warn!(%data, error = &error as &dyn std::error::Error, hint, "the data folder cannot be made private");
    }
}

fn take(file: &File, folder: &Path) -> Result<(), LedgerError> {
    let shown = folder.display().to_string();
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(LedgerError::Locked(shown)),
        Err(err) => Err(LedgerError::Folder(shown, err.into())),
    }
}

/// `SQLite` gives its WAL the mode of the database file, so the file is made first.
fn make_private(file: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file).map(drop)
}

async fn installation(
    writer: &mut SqliteConnection,
    key: &DataKey,
    clock: &Clock,
    folder: &str,
) -> Result<String, LedgerError> {
    if let Some((id, check)) = stored(&mut *writer).await? {
        return if seals(key, &id, &check) {
            Ok(id)
        } else {
            Err(LedgerError::ForeignKey(folder.to_owned()))
        };
    }
    let id = keys::new_uuid()?;
    sqlx::query("INSERT INTO installation (one, id, created_ms, key_check) VALUES (1, ?, ?, ?)")
        .bind(&id)
        .bind(clock.now().as_millisecond())
        .bind(key.seal(KEY_CHECK, id.as_bytes())?)
        .execute(writer)
        .await?;
    Ok(id)
}

/// The installation's name, and the same under its data key.
async fn stored(reader: &mut SqliteConnection) -> Result<Option<(String, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query("SELECT id, key_check FROM installation").fetch_optional(reader).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((row.try_get("id")?, row.try_get("key_check")?)))
}

/// The same of a ledger that may not have been made yet.
async fn look(options: &SqliteConnectOptions) -> Result<Option<(String, Vec<u8>)>, sqlx::Error> {
    let mut reader = SqliteConnection::connect_with(options).await?;
    let made = sqlx::query("SELECT 1 FROM sqlite_master WHERE name = 'installation'");
    match made.fetch_optional(&mut reader).await? {
        Some(_) => stored(&mut reader).await,
        None => Ok(None),
    }
}

/// Whether this key has sealed it.
fn seals(key: &DataKey, id: &str, check: &[u8]) -> bool {
    key.unseal(KEY_CHECK, check).is_ok_and(|clear| clear == id.as_bytes())
}

fn unread(file: &Path, error: sqlx::Error) -> LedgerError {
    match error.as_database_error() {
        Some(cause) if cause.code().is_some_and(|code| BROKEN.contains(&&*code)) => {
            LedgerError::Broken(file.display().to_string(), cause.message().to_owned())
        }
        _ => error.into(),
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, LedgerError> {
    serde_json::to_string(value).map_err(|err| LedgerError::Row(err.to_string()))
}

fn unjson<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, LedgerError> {
    // serde_json's message quotes no values of ours beyond a word: rows of states hold no secrets.
    serde_json::from_str(text).map_err(|err| LedgerError::Row(err.to_string()))
}
