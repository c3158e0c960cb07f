//! Accepts builds: nothing that a client has checked is trusted, and 202 means that the build is in the ledger.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bakery_core::limits;
use bakery_core::message::Message;
use bakery_core::names::{BuildId, Platform};
use bakery_core::plan::{BuildPlan, PlannedTask, Publish, broken, plan};
use bakery_core::report::Mistake;
use bakery_core::rules;
use bakery_core::wire::build::{SubmitBuild, Submitted};
use bakery_core::wire::log::Cursor;

use super::context_store::ContextStore;
use super::error::SubmitError;
use super::ledger::{EarlierSubmission, LedgerError, NewBuild, OpenBuild};
use super::settings::{BuildsSettings, Publisher};
use super::state::{BuildState, ResolvedPlan, TaskResources};
use super::store::BuildStore;
use super::supervisor::Supervisor;
use super::{Launchers, keys};
use crate::clock::Clock;
use crate::disk::DataDisk;

/// A build that a client submits.
pub struct Submission {
    /// The client's request.
    pub request: SubmitBuild,
    /// The plan of the request's spec if this server has made it already; `None`: it is made and checked on submission.
    pub plan: Option<BuildPlan>,
    /// What this server has found in the client's file, to be returned to the client.
    pub notices: Vec<Message>,
}

impl From<SubmitBuild> for Submission {
    fn from(request: SubmitBuild) -> Self {
        Self { request, plan: None, notices: Vec::new() }
    }
}

/// Accepts builds.
pub(super) struct Intake {
    pub(super) store: BuildStore,
    pub(super) contexts: Arc<dyn ContextStore>,
    pub(super) publisher: Arc<dyn Publisher>,
    pub(super) launchers: Launchers,
    pub(super) settings: Arc<BuildsSettings>,
    pub(super) disk: DataDisk,
    pub(super) clock: Clock,
    pub(super) accepting: Arc<AtomicBool>,
    pub(super) supervisor: Arc<Supervisor>,
}

impl Intake {
    pub(super) async fn submit(&self, owner: &str, submission: Submission) -> Result<Submitted, SubmitError> {
        let Submission { request, plan: made, mut notices } = submission;
        if !self.accepting.load(Ordering::Acquire) {
            return Err(SubmitError::Draining);
        }
        let key = &request.idempotency_key;
        if !(16..=128).contains(&key.len())
            || !key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        {
            return Err(SubmitError::BadKey);
        }
        let ledger = &self.store.ledger;
        let bytes =
            serde_json::to_vec(&request).map_err(|err| internal(LedgerError::Row(err.to_string())))?;
        let request_mac = ledger.key().fingerprint(&bytes);
        if let Some(earlier) = ledger.submitted(owner, key).await? {
            // The first answer may not have arrived: the same notices are in this one.
            let plan = made.or_else(|| plan(&request.spec).ok());
            let sized = plan.and_then(|plan| self.resources(&plan).ok());
            notices.extend(sized.into_iter().flat_map(|(_, oversize)| oversize));
            return self.known(earlier, &request_mac, notices).await;
        }
        if bytes.len() > limits::SPEC_BYTES {
            let text = format!("the request is longer than {} bytes", limits::SPEC_BYTES);
            return Err(SubmitError::BadSpec(vec![text.into()]));
        }
        let mistakes = |problems: Vec<_>| {
            SubmitError::BadSpec(problems.into_iter().map(|it| Mistake::from(it).message()).collect())
        };
        let plan = made.map_or_else(|| plan(&request.spec).map_err(mistakes), Ok)?;
        let refused = broken(&request.spec, |task| {
            let flags = rules::refused_flags(&self.settings.refused_flags, task);
            [flags, self.settings.bounds.exceeded_by(task)].concat()
        });
        if !refused.is_empty() {
            return Err(mistakes(refused));
        }
        self.may_publish(&plan)?;
        let (resources, oversize) = self.resources(&plan)?;
        notices.extend(oversize);
        if !self.disk.has_room(0).await {
            return Err(SubmitError::DiskFull);
        }
        self.contexts.check(owner, &request.context).await.map_err(SubmitError::Context)?;
        self.contexts.needed(&request.context).await;

        let created = self.clock.now();
        let id = keys::new_build(created.as_millisecond()).map_err(|err| internal(err.into()))?;
        let state = BuildState::new(id, created, ResolvedPlan::of(&plan, &resources));
        // The log first: a build in the ledger always has one, and a log without a build is swept.
        self.store.logs.create(id).await?;
        let new = NewBuild { owner, idempotency_key: key, request_mac: &request_mac };
        let open = OpenBuild::new(state, request.spec, request.context);
        if !self.supervisor.accept(new, open).await? {
            self.store.logs.remove(id).await?;
            let earlier = ledger.submitted(owner, key).await?;
            let earlier =
                earlier.ok_or_else(|| internal(LedgerError::Row("an idempotency key".to_owned())))?;
            return self.known(earlier, &request_mac, notices).await;
        }
        self.submitted(id, notices).await
    }

    async fn known(
        &self,
        earlier: EarlierSubmission,
        request_mac: &[u8],
        notices: Vec<Message>,
    ) -> Result<Submitted, SubmitError> {
        if earlier.request_mac == request_mac {
            // It is in the ledger, but whoever accepted it may have failed right after.
            self.supervisor.ensure_actor(earlier.id).await?;
            self.submitted(earlier.id, notices).await
        } else {
            Err(SubmitError::KeyReused)
        }
    }

    async fn submitted(&self, id: BuildId, notices: Vec<Message>) -> Result<Submitted, SubmitError> {
        let epoch = self.store.logs.epoch(id).await?;
        Ok(Submitted::new(id, Cursor { epoch, seq: 0 }, notices))
    }

    /// Refuses destinations that the operator does not allow, before anything is baked.
    fn may_publish(&self, plan: &BuildPlan) -> Result<(), SubmitError> {
        let publishes = plan.targets.iter().filter_map(|target| target.publish.as_ref());
        let refused: Vec<Message> = publishes
            .flat_map(Publish::names)
            .filter_map(|name| self.publisher.may_publish(name).err())
            .map(|error| Message { text: error.text, hint: error.hint })
            .collect();
        if refused.is_empty() { Ok(()) } else { Err(SubmitError::BadSpec(refused)) }
    }

    /// What each task gets, in the order of the tasks, and notices. The platforms are asked before anything is promised.
    fn resources(&self, plan: &BuildPlan) -> Result<(Vec<TaskResources>, Vec<Message>), SubmitError> {
        let mut tasks: Vec<(String, &PlannedTask)> = plan
            .tasks()
            .map(|(target, task)| (format!("{} ({})", plan.targets[target].name, task.spec.arch), task))
            .collect();
        tasks.sort_by_key(|(_, task)| task.index);
        let mut asked = HashMap::new();
        let (mut notices, mut oversized) = (Vec::new(), Vec::new());
        let resources = tasks
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
                    let message = launcher.why_not(arch).unwrap_or_else(|| reason.text().into());
                    return Err(SubmitError::NoSuchArch { task: label, platform, arch, message });
                }
                let settings = &self.settings;
                // A longer one is refused, but a repeated request comes here without that check.
                let timeout =
                    task.spec.timeout_seconds.map(|it| Duration::from_secs(it).min(settings.bounds.timeout));
                let timeout = timeout.unwrap_or(settings.task_timeout);
                let keep = settings.provision_timeout + timeout + settings.result_timeout;
                let resources = TaskResources {
                    platform,
                    cpu_millis: task.spec.cpu_millis.unwrap_or(settings.default_cpu_millis),
                    memory_mib: task.spec.memory_mib.unwrap_or(settings.default_memory_mib),
                    disk_mib: task.spec.disk_mib,
                    timeout_seconds: task.spec.timeout_seconds,
                    // Rounded up.
                    keep_seconds: keep.as_secs() + u64::from(keep.subsec_nanos() > 0),
                };
                match launcher.fit(resources.cpu_millis, resources.memory_mib, resources.disk_mib) {
                    Ok(texts) => {
                        notices.extend(texts.iter().map(|text| Message::new(format!("{label}: {text}"))));
                    }
                    Err(Message { text, hint }) => {
                        oversized.push(Message { text: format!("{label}: {text}"), hint });
                    }
                }
                Ok(resources)
            })
            .collect::<Result<Vec<_>, _>>()?;
        if oversized.is_empty() { Ok((resources, notices)) } else { Err(SubmitError::BadSpec(oversized)) }
    }

    /// The platform of a task that names none: ecs before k8s before docker.
    fn default_platform(&self) -> Result<Platform, SubmitError> {
        let mut platforms = Platform::ALL.into_iter();
        platforms.find(|platform| self.launchers.contains_key(platform)).ok_or(SubmitError::NoPlatform)
    }
}

fn internal(error: LedgerError) -> SubmitError {
    error.into()
}
