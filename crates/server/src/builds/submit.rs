//! Accepting a build: everything is checked again, nothing is trusted, and 202 means that it stands in the ledger.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bakery_core::limits;
use bakery_core::message::{Message, rendered};
use bakery_core::names::{BuildId, Platform};
use bakery_core::plan::{BuildPlan, PlannedTask, plan};
use bakery_core::report::Mistake;
use bakery_core::wire::build::{SubmitBuild, Submitted};
use bakery_core::wire::log::Cursor;

use super::ledger::{Found, LedgerError, NewBuild};
use super::state::{BuildState, Fill, ResolvedPlan};
use super::{Builds, InternalError, Shared, SubmitError, keys, seconds};

impl Builds {
    /// Accepts a build of `owner`. The same request under the same key again is answered with the same build.
    pub async fn submit(&self, owner: &str, request: SubmitBuild) -> Result<Submitted, SubmitError> {
        let shared = &self.shared;
        if !shared.accepting.load(Ordering::Acquire) {
            return Err(SubmitError::Draining);
        }
        let key = &request.idempotency_key;
        if !(16..=128).contains(&key.len())
            || !key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        {
            return Err(SubmitError::BadKey);
        }
        let bytes =
            serde_json::to_vec(&request).map_err(|err| internal(LedgerError::Row(err.to_string())))?;
        let request_mac = shared.ledger.key().fingerprint(&bytes);
        if let Some(found) = shared.ledger.submitted(owner, key).await? {
            return shared.known(found, &request_mac).await;
        }
        if bytes.len() > limits::SPEC_BYTES {
            let text = format!("the request is longer than {} bytes", limits::SPEC_BYTES);
            return Err(SubmitError::BadSpec(vec![text]));
        }
        let plan = check_spec(&request)?;
        shared.may_publish(&plan)?;
        let (fills, notices) = shared.fill(&plan)?;
        shared.contexts.check(owner, &request.context).await.map_err(SubmitError::Context)?;
        shared.contexts.needed(&request.context).await;

        let created = shared.clock.now();
        let id = keys::new_build(created.as_millisecond()).map_err(|err| internal(err.into()))?;
        let state = BuildState::new(id, created, ResolvedPlan::of(&plan, &fills));
        // The log first: a build in the ledger always has one, and a log without a build is swept.
        shared.logs.create(id).await?;
        let new = NewBuild {
            owner,
            idempotency_key: key,
            request_mac: &request_mac,
            spec: &request.spec,
            context: &request.context,
            state: &state,
        };
        if !shared.ledger.insert(new).await? {
            shared.logs.remove(id).await?;
            let found = shared.ledger.submitted(owner, key).await?;
            let found = found.ok_or_else(|| internal(LedgerError::Row("an idempotency key".to_owned())))?;
            return shared.known(found, &request_mac).await;
        }
        Arc::clone(shared).adopt(id).await.map_err(SubmitError::Internal)?;
        Ok(Submitted { notices, ..shared.submitted(id).await? })
    }
}

impl Shared {
    async fn known(self: &Arc<Self>, found: Found, request_mac: &[u8]) -> Result<Submitted, SubmitError> {
        if found.request_mac == request_mac {
            // It stands in the ledger, but whoever accepted it may have failed right after.
            self.ensure_actor(found.id).await.map_err(SubmitError::Internal)?;
            self.submitted(found.id).await
        } else {
            Err(SubmitError::KeyReused)
        }
    }

    async fn submitted(&self, id: BuildId) -> Result<Submitted, SubmitError> {
        let epoch = self.logs.epoch(id).await?;
        Ok(Submitted { id, cursor: Cursor { epoch, seq: 0 }, notices: Vec::new() })
    }

    /// Destinations that the operator does not allow are refused before anything is baked.
    fn may_publish(&self, plan: &BuildPlan) -> Result<(), SubmitError> {
        let destinations =
            plan.targets.iter().filter_map(|target| Some(target.publish.as_ref()?.destination()));
        let refused: Vec<String> = destinations
            .filter_map(|destination| self.registry.may_publish(destination).err())
            .map(|error| {
                error.hint.map_or(error.text.clone(), |hint| format!("{}\nhint: {hint}", error.text))
            })
            .collect();
        if refused.is_empty() { Ok(()) } else { Err(SubmitError::BadSpec(refused)) }
    }

    /// Fills in what only the server knows, and asks the platforms before anything is promised.
    fn fill(&self, plan: &BuildPlan) -> Result<(Vec<Fill>, Vec<String>), SubmitError> {
        let mut tasks: Vec<(String, &PlannedTask)> = plan
            .tasks()
            .map(|(target, task)| (format!("{} ({})", plan.targets[target].name, task.spec.arch), task))
            .collect();
        tasks.sort_by_key(|(_, task)| task.index);
        let mut asked = HashMap::new();
        let (mut notices, mut oversized) = (Vec::new(), Vec::new());
        let fills = tasks
            .into_iter()
            .map(|(label, task)| {
                let platform = task.spec.platform.map_or_else(|| self.default_platform(), Ok)?;
                let Some(launcher) = self.launchers.get(&platform) else {
                    let known = self.launchers.keys().copied().collect();
                    return Err(SubmitError::NoSuchPlatform { task: label, platform, known });
                };
                let arch = task.spec.arch;
                let answer = asked.entry((platform, arch)).or_insert_with(|| launcher.can_run(arch));
                if let Err(reason) = *answer {
                    let Message { text: why, hint } =
                        launcher.why_not(arch).unwrap_or_else(|| reason.text().into());
                    return Err(SubmitError::NoSuchArch { task: label, platform, arch, why, hint });
                }
                let settings = &self.settings;
                let keep = settings.provision_timeout + settings.task_timeout + settings.result_timeout;
                let fill = Fill {
                    platform,
                    cpu_millis: task.spec.cpu_millis.unwrap_or(settings.default_cpu_millis),
                    memory_mib: task.spec.memory_mib.unwrap_or(settings.default_memory_mib),
                    keep_seconds: seconds(keep),
                };
                match launcher.fit(fill.cpu_millis, fill.memory_mib) {
                    Ok(said) => notices.extend(said.map(|said| format!("{label}: {said}"))),
                    Err(Message { text, hint }) => {
                        oversized.push(rendered(&format!("{label}: {text}"), hint.as_deref()));
                    }
                }
                Ok(fill)
            })
            .collect::<Result<Vec<_>, _>>()?;
        if oversized.is_empty() { Ok((fills, notices)) } else { Err(SubmitError::BadSpec(oversized)) }
    }

    /// Where a task runs that names no platform: ecs before k8s before docker.
    fn default_platform(&self) -> Result<Platform, SubmitError> {
        let mut platforms = Platform::ALL.into_iter();
        platforms.find(|platform| self.launchers.contains_key(platform)).ok_or(SubmitError::NoPlatform)
    }
}

/// Every rule of the spec, all broken ones at once.
fn check_spec(request: &SubmitBuild) -> Result<BuildPlan, SubmitError> {
    plan(&request.spec).map_err(|problems| {
        let rendered = |problem| Mistake::from(problem).message().rendered();
        SubmitError::BadSpec(problems.into_iter().map(rendered).collect())
    })
}

fn internal(error: LedgerError) -> SubmitError {
    SubmitError::Internal(InternalError::Ledger(error))
}
