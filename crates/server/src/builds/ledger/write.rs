//! Writing: every change of a build is one transaction.

use bakery_core::names::{BuildId, Platform, RunName};
use bakery_core::wire::build::PublishState;
use bakery_core::wire::log::Frame;
use sqlx::{Connection as _, Sqlite, SqliteConnection, Transaction};

use super::{Ledger, LedgerError, OpenBuild, json};
use crate::builds::state::{BuildState, TaskRecord};

/// What a new build is submitted with.
pub(in crate::builds) struct NewBuild<'a> {
    pub(in crate::builds) owner: &'a str,
    pub(in crate::builds) idempotency_key: &'a str,
    pub(in crate::builds) request_mac: &'a [u8],
}

/// What one step of a build changes.
#[derive(Default)]
pub(in crate::builds) struct Transition {
    pub(in crate::builds) tasks: Vec<(usize, TaskRecord)>,
    pub(in crate::builds) publishes: Vec<(usize, PublishState)>,
    pub(in crate::builds) frames: Vec<Frame>,
    pub(in crate::builds) stops: Vec<(RunName, Platform)>,
    pub(in crate::builds) session: Option<(RunName, [u8; 32])>,
    /// First cause, outcome or end have changed.
    pub(in crate::builds) head: bool,
}

impl Transition {
    /// The difference between two states of one build.
    pub(in crate::builds) fn between(before: &BuildState, after: &BuildState) -> Self {
        let tasks = after.tasks.iter().enumerate().filter(|(index, task)| before.tasks[*index] != **task);
        let publishes = after.publishes.iter().enumerate().filter_map(|(target, publish)| {
            if before.publishes[target] == *publish { None } else { Some((target, publish.clone()?)) }
        });
        Self {
            tasks: tasks.map(|(index, task)| (index, task.clone())).collect(),
            publishes: publishes.collect(),
            head: (&before.first_cause, &before.outcome) != (&after.first_cause, &after.outcome),
            ..Self::default()
        }
    }

    pub(in crate::builds) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
            && self.publishes.is_empty()
            && self.frames.is_empty()
            && self.stops.is_empty()
            && self.session.is_none()
            && !self.head
    }
}

impl Ledger {
    /// Stores a new build; `false` if its owner has used the key before.
    pub(in crate::builds) async fn insert(
        &self,
        new: &NewBuild<'_>,
        open: &OpenBuild,
    ) -> Result<bool, LedgerError> {
        let id = open.state.id.to_string();
        let clear = serde_json::to_vec(&open.spec).map_err(|err| LedgerError::Row(err.to_string()))?;
        let sealed = self.key().seal(&id, &clear)?;
        let mut writer = self.inner.writer.lock().await;
        let mut tx = writer.begin().await?;
        let done = sqlx::query(
            "INSERT INTO builds (id, installation, owner, idempotency_key, request_mac, created_ms, blueprint, \
             context, sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (owner, idempotency_key) DO NOTHING",
        )
        .bind(&id)
        .bind(self.installation())
        .bind(new.owner)
        .bind(new.idempotency_key)
        .bind(new.request_mac)
        .bind(open.state.created.as_millisecond())
        .bind(json(&*open.state.plan)?)
        .bind(json(&open.context)?)
        .bind(sealed)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        for (index, record) in open.state.tasks.iter().enumerate() {
            sqlx::query(
                "INSERT INTO tasks (build, place, owner, installation, record) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(&id)
            .bind(number(index))
            .bind(new.owner)
            .bind(self.installation())
            .bind(json(record)?)
            .execute(&mut *tx)
            .await?;
        }
        for (target, state) in open.state.publishes.iter().enumerate() {
            let (Some(state), Some(destination)) = (state, &open.state.plan.targets[target].destination)
            else {
                continue;
            };
            sqlx::query("INSERT INTO publishes (build, target, destination, state) VALUES (?, ?, ?, ?)")
                .bind(&id)
                .bind(number(target))
                .bind(destination.to_string())
                .bind(json(state)?)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Commits one step. If the build has ended its secrets are erased in the same transaction.
    pub(in crate::builds) async fn commit(
        &self,
        state: &BuildState,
        change: &Transition,
    ) -> Result<(), LedgerError> {
        let id = state.id.to_string();
        let now = self.now_ms();
        let mut writer = self.inner.writer.lock().await;
        let mut tx = writer.begin().await?;
        for (index, record) in &change.tasks {
            sqlx::query("UPDATE tasks SET record = ? WHERE build = ? AND place = ?")
                .bind(json(record)?)
                .bind(&id)
                .bind(number(*index))
                .execute(&mut *tx)
                .await?;
        }
        for (target, publish) in &change.publishes {
            sqlx::query("UPDATE publishes SET state = ? WHERE build = ? AND target = ?")
                .bind(json(publish)?)
                .bind(&id)
                .bind(number(*target))
                .execute(&mut *tx)
                .await?;
        }
        for frame in &change.frames {
            sqlx::query(
                "INSERT INTO frames (build, place, frame) \
                 SELECT ?1, COALESCE(MAX(place) + 1, 0), ?2 FROM frames WHERE build = ?1",
            )
            .bind(&id)
            .bind(json(frame)?)
            .execute(&mut *tx)
            .await?;
        }
        for (run, platform) in &change.stops {
            sqlx::query(
                "INSERT INTO duties (run, installation, platform, created_ms) VALUES (?, ?, ?, ?) \
                 ON CONFLICT (run) DO NOTHING",
            )
            .bind(run.to_string())
            .bind(self.installation())
            .bind(platform.as_str())
            .bind(now)
            .execute(&mut *tx)
            .await?;
        }
        if let Some((run, sha256)) = &change.session {
            sqlx::query("INSERT INTO sessions (run, build, sha256, bound_ms) VALUES (?, ?, ?, ?)")
                .bind(run.to_string())
                .bind(&id)
                .bind(sha256.as_slice())
                .bind(now)
                .execute(&mut *tx)
                .await?;
        }
        if change.head {
            write_head(&mut tx, state, &id).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Strikes out a pending stop: the container is stopped and removed.
    pub(in crate::builds) async fn stop_confirmed(&self, run: RunName) -> Result<(), LedgerError> {
        self.execute(sqlx::query("DELETE FROM duties WHERE run = ?").bind(run.to_string())).await
    }

    /// Everything that the build's log must hold is in it.
    pub(in crate::builds) async fn log_is_whole(&self, build: BuildId) -> Result<(), LedgerError> {
        self.execute(sqlx::query("UPDATE builds SET log_whole = 1 WHERE id = ?").bind(build.to_string()))
            .await
    }

    /// Forgets an ended build.
    pub(in crate::builds) async fn remove(&self, build: BuildId) -> Result<(), LedgerError> {
        self.execute(
            sqlx::query("DELETE FROM builds WHERE id = ? AND ended_ms IS NOT NULL").bind(build.to_string()),
        )
        .await
    }

    async fn execute(
        &self,
        query: sqlx::query::Query<'_, Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<(), LedgerError> {
        let mut writer = self.inner.writer.lock().await;
        let writer: &mut SqliteConnection = &mut writer;
        query.execute(writer).await?;
        Ok(())
    }
}

async fn write_head(
    tx: &mut Transaction<'_, Sqlite>,
    state: &BuildState,
    id: &str,
) -> Result<(), LedgerError> {
    sqlx::query(
        "UPDATE builds SET first_cause = ?2, outcome = ?3, ended_ms = ?4, \
         sealed = CASE WHEN ?4 IS NULL THEN sealed END WHERE id = ?1",
    )
    .bind(id)
    .bind(state.first_cause.as_ref().map(json).transpose()?)
    .bind(state.outcome.as_ref().map(json).transpose()?)
    .bind(state.ended.map(jiff::Timestamp::as_millisecond))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn number(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
