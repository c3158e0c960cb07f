//! The containers of one build: their run slots, launches and stops.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bakery_core::lifecycle::{Cause, TaskEvent, TaskState};
use bakery_core::message::Message;
use bakery_core::names::{BuildId, Platform, RunName};
use bakery_core::reason::Reason;
use bakery_core::secret::Secret;
use bakery_core::units::format_duration;
use bakery_core::wire::run::launch_env;
use tokio::task::AbortHandle;

use super::side_work::SideWork;
use crate::builds::Launchers;
use crate::builds::events::BuildEvent;
use crate::builds::keys::DataKey;
use crate::builds::pending_stops::PendingStops;
use crate::builds::run_slots::RunSlots;
use crate::builds::settings::BuildsSettings;
use crate::builds::state::{BuildState, TaskPlan};
use crate::platform::{LaunchError, LaunchOrder, Launcher};

/// What an actor does with platforms.
pub(super) struct Containers {
    pub(super) launchers: Launchers,
    pub(super) slots: RunSlots,
    pub(super) stops: PendingStops,
    pub(super) settings: Arc<BuildsSettings>,
    /// Makes launch tokens.
    pub(super) key: Arc<DataKey>,
    pub(super) side_work: SideWork,
    /// Launches under way.
    pub(super) launching: HashMap<RunName, AbortHandle>,
}

impl Containers {
    /// Gives the containers of an open build their run slots, and joins no queue yet.
    pub(super) fn adopt(&self, state: &BuildState) {
        for (index, record) in state.tasks.iter().enumerate() {
            let run = state.run(index);
            match record.task.state {
                TaskState::Launching { .. } | TaskState::Retreating { .. } | TaskState::Running { .. } => {
                    self.slots.hold(state.platform(run), run);
                }
                // What an actor that has panicked was queued for, or was granted; the queue is joined anew.
                TaskState::Planned { .. } => self.slots.free(run),
                TaskState::Closing { .. } | TaskState::Settled { .. } => {}
            }
        }
    }

    /// What the platforms return that are unavailable; `None` for those that are available.
    pub(super) fn outages(&self) -> BTreeMap<Platform, Option<Message>> {
        let outage = |launcher: &Arc<dyn Launcher>| launcher.availability().borrow().outage();
        self.launchers.iter().map(|(platform, launcher)| (*platform, outage(launcher))).collect()
    }

    pub(super) fn enqueue(&self, run: RunName, platform: Platform) {
        self.slots.enqueue(platform, run, self.side_work.mailbox.clone());
    }

    pub(super) fn leave_queue(&self, run: RunName) {
        self.slots.free(run);
    }

    /// Asks the platform for the container.
    pub(super) fn launch(&mut self, run: RunName, plan: &TaskPlan) {
        let on_panic = "the server failed while it asked the platform for the container";
        // The container may have been started.
        let on_panic =
            TaskEvent::LaunchFailed { retryable: true, cause: Cause::new(Reason::Internal, on_panic) };
        let on_panic = BuildEvent::Run(run, on_panic);
        let platform = plan.platform;
        let settings = self.settings.platforms.get(&platform);
        let Some((launcher, settings)) = self.launchers.get(&platform).cloned().zip(settings) else {
            let text = format!("platform {platform} is no longer configured on this server");
            let cause = Cause::new(Reason::NoSuchPlatform, text);
            let refused = BuildEvent::Run(run, TaskEvent::LaunchFailed { retryable: false, cause });
            self.side_work.mailbox.post(refused);
            return;
        };
        let mut env = vec![
            (launch_env::URL.to_owned(), Secret::new(settings.agent_url.clone())),
            (launch_env::RUN.to_owned(), Secret::new(run.to_string())),
            (launch_env::TOKEN.to_owned(), self.key.launch_token(run)),
        ];
        env.extend(settings.env.iter().cloned());
        let order = LaunchOrder {
            run,
            arch: plan.arch,
            cpu_millis: plan.cpu_millis,
            memory_mib: plan.memory_mib,
            disk_mib: plan.disk_mib,
            env,
            deadline: Duration::from_secs(plan.keep_seconds),
        };
        let launch = self.side_work.start("launch", on_panic, async move {
            match launcher.launch(&order).await {
                Ok(()) => BuildEvent::LaunchAccepted(run),
                Err(LaunchError { retryable, reason, message }) => {
                    let cause = Cause::new(reason, message);
                    BuildEvent::Run(run, TaskEvent::LaunchFailed { retryable, cause })
                }
            }
        });
        self.launching.insert(run, launch);
    }

    /// Stops the container; if it `lingers` it has some time to end by itself.
    pub(super) fn stop(&mut self, run: RunName, platform: Platform, lingers: bool) {
        if let Some(launch) = self.launching.remove(&run) {
            launch.abort();
        }
        let pause = if lingers { self.settings.timing.linger } else { Duration::ZERO };
        self.stops.add(run, platform, pause);
    }

    /// Asks the platform whether it still holds the container.
    pub(super) fn ask(&self, run: RunName, platform: Platform, no_contact: bool) {
        let Some(launcher) = self.launchers.get(&platform).cloned() else { return };
        let held = no_contact.then(|| {
            let time = format_duration(self.settings.timing.no_contact);
            Message::new(format!("no contact with the agent for {time}; its container still exists"))
        });
        let on_panic = Message::new("the server failed while it asked the platform about the container");
        let slots = self.slots.clone();
        self.side_work.start("ask", BuildEvent::StillHeld(run, Some(on_panic)), async move {
            match launcher.holds(&run).await {
                Ok(true) => BuildEvent::StillHeld(run, held),
                Ok(false) => {
                    slots.free(run);
                    let cause = Cause::new(Reason::AgentLost, "the platform no longer has the container");
                    BuildEvent::Run(run, TaskEvent::Gone(cause))
                }
                Err(error) => {
                    let text = format!("cannot ask the platform about the container: {error}");
                    BuildEvent::StillHeld(run, Some(Message { text, ..error.message }))
                }
            }
        });
    }

    /// Posts `Vacated` once no container of the ended build runs any more. A success does not wait: its containers have
    /// nothing left to do but to end. What takes longer stays a pending stop.
    pub(super) fn await_vacated(&self, build: BuildId, success: bool) {
        let at_most = if success { Duration::ZERO } else { self.settings.timing.vacate };
        let slots = self.slots.clone();
        self.side_work.start("vacate", BuildEvent::Vacated, async move {
            let _ = tokio::time::timeout(at_most, slots.vacated(build)).await;
            BuildEvent::Vacated
        });
    }

    /// Notifies the platform that a run's agent is connected.
    pub(super) fn agent_connected(&self, run: RunName, platform: Platform) {
        if let Some(launcher) = self.launchers.get(&platform) {
            launcher.agent_connected(&run);
        }
    }
}
