//! Reading: whole builds, and the few questions asked across them.

use std::collections::HashMap;

use bakery_core::names::{BuildId, Platform, RunName};
use bakery_core::spec::BuildSpec;
use bakery_core::wire::build::PublishState;
use bakery_core::wire::context::ContextRef;
use bakery_core::wire::log::Frame;
use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Ledger, LedgerError, unjson};
use crate::builds::state::{BuildState, ResolvedPlan, TaskRecord};

/// An open build with everything that its actor needs.
pub(in crate::builds) struct OpenBuild {
    pub(in crate::builds) state: BuildState,
    pub(in crate::builds) spec: BuildSpec,
    pub(in crate::builds) context: ContextRef,
    pub(in crate::builds) sessions: HashMap<RunName, [u8; 32]>,
    /// What the log must hold besides lines.
    pub(in crate::builds) frames: Vec<Frame>,
}

impl OpenBuild {
    /// A build to which nothing has happened yet.
    pub(in crate::builds) fn new(state: BuildState, spec: BuildSpec, context: ContextRef) -> Self {
        Self { state, spec, context, sessions: HashMap::new(), frames: Vec::new() }
    }
}

/// An earlier submission under the same key.
pub(in crate::builds) struct EarlierSubmission {
    pub(in crate::builds) id: BuildId,
    pub(in crate::builds) request_mac: Vec<u8>,
}

/// The queries that read the states of some builds.
struct StateQueries {
    builds: &'static str,
    tasks: &'static str,
    publishes: &'static str,
}

/// Of those builds whose ids `$which` selects. It has two parameters.
macro_rules! states_of {
    ($which:literal) => {
        StateQueries {
            builds: concat!(
                "SELECT id, created_ms, ended_ms, blueprint, first_cause, outcome FROM builds WHERE id IN (",
                $which,
                ") ORDER BY id DESC"
            ),
            tasks: concat!(
                "SELECT build, record FROM tasks WHERE build IN (",
                $which,
                ") ORDER BY build, place"
            ),
            publishes: concat!("SELECT build, target, state FROM publishes WHERE build IN (", $which, ")"),
        }
    };
}

const ONE: StateQueries = states_of!("SELECT id FROM builds WHERE id = ?1 LIMIT ?2");
const NEWEST: StateQueries = states_of!("SELECT id FROM builds WHERE owner = ?1 ORDER BY id DESC LIMIT ?2");

impl Ledger {
    /// What the owner has submitted under this key.
    pub(in crate::builds) async fn submitted(
        &self,
        owner: &str,
        key: &str,
    ) -> Result<Option<EarlierSubmission>, LedgerError> {
        let row = sqlx::query("SELECT id, request_mac FROM builds WHERE owner = ? AND idempotency_key = ?")
            .bind(owner)
            .bind(key)
            .fetch_optional(&self.inner.readers)
            .await?;
        row.map(|row| Ok(EarlierSubmission { id: id(&row, "id")?, request_mac: row.try_get("request_mac")? }))
            .transpose()
    }

    /// Whose build it is.
    pub(in crate::builds) async fn owner(&self, build: BuildId) -> Result<Option<String>, LedgerError> {
        let row = sqlx::query("SELECT owner FROM builds WHERE id = ?")
            .bind(build.to_string())
            .fetch_optional(&self.inner.readers)
            .await?;
        Ok(row.map(|row| row.try_get("owner")).transpose()?)
    }

    /// The owner's newest builds, newest first. As many queries as for one build.
    pub(in crate::builds) async fn newest(
        &self,
        owner: &str,
        at_most: u32,
    ) -> Result<Vec<BuildState>, LedgerError> {
        self.states(&NEWEST, owner, at_most).await
    }

    /// Builds that have not ended, oldest first.
    pub(in crate::builds) async fn open_builds(&self) -> Result<Vec<BuildId>, LedgerError> {
        let rows = sqlx::query("SELECT id FROM builds WHERE log_whole = 0 AND ended_ms IS NULL ORDER BY id")
            .fetch_all(&self.inner.readers)
            .await?;
        rows.iter().map(|row| id(row, "id")).collect()
    }

    /// Builds that have ended and whose log may not say so yet.
    pub(in crate::builds) async fn unfinished_logs(&self) -> Result<Vec<BuildId>, LedgerError> {
        let rows = sqlx::query("SELECT id FROM builds WHERE log_whole = 0 AND ended_ms IS NOT NULL")
            .fetch_all(&self.inner.readers)
            .await?;
        rows.iter().map(|row| id(row, "id")).collect()
    }

    /// Every build at one moment, the one that ended first first, with the time of its end if its log says so.
    pub(in crate::builds) async fn all_builds(
        &self,
    ) -> Result<Vec<(BuildId, Option<Timestamp>)>, LedgerError> {
        let rows = sqlx::query(
            "SELECT id, IIF(log_whole = 1, ended_ms, NULL) AS ended FROM builds ORDER BY ended_ms",
        )
        .fetch_all(&self.inner.readers)
        .await?;
        let of_row = |row| Ok((id(row, "id")?, row.try_get::<Option<i64>, _>("ended")?.map(time)));
        rows.iter().map(of_row).collect()
    }

    /// A build's state.
    pub(in crate::builds) async fn state(&self, build: BuildId) -> Result<Option<BuildState>, LedgerError> {
        Ok(self.states(&ONE, &build.to_string(), 1).await?.pop())
    }

    /// An open build, its secrets unsealed.
    pub(in crate::builds) async fn load(&self, build: BuildId) -> Result<Option<OpenBuild>, LedgerError> {
        let row = sqlx::query("SELECT context, sealed FROM builds WHERE id = ?")
            .bind(build.to_string())
            .fetch_optional(&self.inner.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let Some(sealed) = row.try_get::<Option<Vec<u8>>, _>("sealed")? else { return Ok(None) };
        let clear = self.key().unseal(&build.to_string(), &sealed)?;
        // The parser's own message could quote a piece of the spec.
        let spec = serde_json::from_slice(&clear)
            .map_err(|_| LedgerError::Row(format!("the sealed spec of build {build}")))?;
        let Some(state) = self.state(build).await? else { return Ok(None) };
        Ok(Some(OpenBuild {
            state,
            spec,
            context: unjson(row.try_get("context")?)?,
            sessions: self.sessions(build).await?,
            frames: self.frames(build).await?,
        }))
    }

    /// What a build's log must hold besides lines, in order.
    pub(in crate::builds) async fn frames(&self, build: BuildId) -> Result<Vec<Frame>, LedgerError> {
        let rows = sqlx::query("SELECT frame FROM frames WHERE build = ? ORDER BY place")
            .bind(build.to_string())
            .fetch_all(&self.inner.readers)
            .await?;
        rows.iter().map(|row| unjson(row.try_get("frame")?)).collect()
    }

    /// The session of one run and its build's context, also of ended builds.
    pub(in crate::builds) async fn session(
        &self,
        run: RunName,
    ) -> Result<Option<([u8; 32], ContextRef)>, LedgerError> {
        let row = sqlx::query(
            "SELECT sessions.sha256, builds.context FROM sessions JOIN builds ON builds.id = sessions.build \
             WHERE run = ?",
        )
        .bind(run.to_string())
        .fetch_optional(&self.inner.readers)
        .await?;
        row.map(|row| Ok((sha256(&row)?, unjson(row.try_get("context")?)?))).transpose()
    }

    /// The contexts of open builds: nothing may sweep them.
    pub(in crate::builds) async fn open_contexts(&self) -> Result<Vec<ContextRef>, LedgerError> {
        let rows = sqlx::query("SELECT context FROM builds WHERE log_whole = 0 AND ended_ms IS NULL")
            .fetch_all(&self.inner.readers)
            .await?;
        rows.iter().map(|row| unjson(row.try_get("context")?)).collect()
    }

    /// Containers that must be stopped and removed.
    pub(in crate::builds) async fn pending_stops(&self) -> Result<Vec<(RunName, Platform)>, LedgerError> {
        let rows = sqlx::query("SELECT run, platform FROM duties WHERE installation = ? ORDER BY run")
            .bind(self.installation())
            .fetch_all(&self.inner.readers)
            .await?;
        rows.iter().map(|row| Ok((name(row, "run")?, name(row, "platform")?))).collect()
    }

    async fn sessions(&self, build: BuildId) -> Result<HashMap<RunName, [u8; 32]>, LedgerError> {
        let rows = sqlx::query("SELECT run, sha256 FROM sessions WHERE build = ?")
            .bind(build.to_string())
            .fetch_all(&self.inner.readers)
            .await?;
        rows.iter().map(|row| Ok((name(row, "run")?, sha256(row)?))).collect()
    }

    /// The states of some builds, in the order of the query, as they stood at one moment.
    async fn states(
        &self,
        queries: &StateQueries,
        which: &str,
        at_most: u32,
    ) -> Result<Vec<BuildState>, LedgerError> {
        #[cfg(test)]
        self.inner.reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut snapshot = self.inner.readers.begin().await?;
        let mut rows = [Vec::new(), Vec::new(), Vec::new()];
        for (rows, query) in rows.iter_mut().zip([queries.builds, queries.tasks, queries.publishes]) {
            *rows = sqlx::query(query).bind(which).bind(at_most).fetch_all(&mut *snapshot).await?;
        }
        snapshot.rollback().await?;
        let [builds, tasks, publishes] = rows;
        let mut records: HashMap<BuildId, Vec<TaskRecord>> = HashMap::new();
        for row in &tasks {
            records.entry(id(row, "build")?).or_default().push(unjson(row.try_get("record")?)?);
        }
        let mut by_target: HashMap<BuildId, Vec<(usize, PublishState)>> = HashMap::new();
        for row in &publishes {
            let target = usize::try_from(row.try_get::<i64, _>("target")?).unwrap_or(usize::MAX);
            by_target.entry(id(row, "build")?).or_default().push((target, unjson(row.try_get("state")?)?));
        }
        let state = |row: &SqliteRow| {
            let build = id(row, "id")?;
            let records = records.remove(&build).unwrap_or_default();
            state_of(row, build, records, by_target.remove(&build).unwrap_or_default())
        };
        builds.iter().map(state).collect()
    }
}

fn state_of(
    row: &SqliteRow,
    build: BuildId,
    records: Vec<TaskRecord>,
    published: Vec<(usize, PublishState)>,
) -> Result<BuildState, LedgerError> {
    let plan: ResolvedPlan = unjson(row.try_get("blueprint")?)?;
    let mut state = BuildState::new(build, time(row.try_get("created_ms")?), plan);
    if records.len() != state.tasks.len() {
        return Err(LedgerError::Row(format!("build {build} has lost tasks")));
    }
    state.tasks = records;
    for (target, published) in published {
        if let Some(publish) = state.publishes.get_mut(target) {
            *publish = Some(published);
        }
    }
    let optional = |column: &str| row.try_get::<Option<String>, _>(column);
    state.first_cause = optional("first_cause")?.as_deref().map(unjson).transpose()?;
    state.outcome = optional("outcome")?.as_deref().map(unjson).transpose()?;
    state.ended = row.try_get::<Option<i64>, _>("ended_ms")?.map(time);
    Ok(state)
}

#[cfg(test)]
impl Ledger {
    /// How often states of builds were read.
    pub(in crate::builds) fn reads(&self) -> usize {
        self.inner.reads.load(std::sync::atomic::Ordering::Relaxed)
    }
}

fn id(row: &SqliteRow, column: &str) -> Result<BuildId, LedgerError> {
    name(row, column)
}

fn name<T: std::str::FromStr<Err: std::fmt::Display>>(
    row: &SqliteRow,
    column: &str,
) -> Result<T, LedgerError> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|err: T::Err| LedgerError::Row(err.to_string()))
}

fn sha256(row: &SqliteRow) -> Result<[u8; 32], LedgerError> {
    let bytes: &[u8] = row.try_get("sha256")?;
    bytes.try_into().map_err(|_| LedgerError::Row("a session's digest".to_owned()))
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}
