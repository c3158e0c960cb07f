//! One event stream for all containers of this installation, with a full resync after every connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bakery_core::names::RunName;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, EventMessage};
use bollard::query_parameters::{EventsOptionsBuilder, InspectContainerOptions, LogsOptionsBuilder};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::time::Instant;

use super::super::exit::{TAIL_LINES, tail_of};
use super::super::observation_stream::{ObservationQueue, ObservationSource, observations};
use super::super::{Availability, Exit, Observation, labels};
use super::DockerCore;
use super::engine::bare_text;
use super::order::exit_of;

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long the last lines of a container may take to read.
const TAIL_TIMEOUT: Duration = Duration::from_secs(5);

type Events = BoxStream<'static, Result<EventMessage, Error>>;

struct DockerWatch {
    core: Arc<DockerCore>,
    events: Option<Events>,
    queue: ObservationQueue,
    /// When the stream was opened.
    connected: Instant,
    wait: Duration,
}

pub(super) fn watch(core: Arc<DockerCore>) -> BoxStream<'static, Observation> {
    let queue = ObservationQueue::new(&core.runs);
    observations(DockerWatch { core, events: None, queue, connected: Instant::now(), wait: FIRST_WAIT })
}

impl ObservationSource for DockerWatch {
    fn queue(&mut self) -> &mut ObservationQueue {
        &mut self.queue
    }

    async fn advance(&mut self) {
        let Some(events) = &mut self.events else { return self.connect().await };
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => self.apply(&event).await,
                ended => {
                    let error = ended.and_then(Result::err).map(|error| self.core.engine.text_of(&error));
                    tracing::warn!(error, "the engine's event stream ended; reconnecting");
                    self.events = None;
                    if self.connected.elapsed() > LONGEST_WAIT {
                        self.wait = FIRST_WAIT;
                    }
                    self.pause().await;
                }
            },
            () = self.queue.receive() => {}
        }
    }

    /// Removes the container. The next resync reports the end again where it cannot be removed now.
    async fn remove(&mut self, run: RunName) {
        if let Err(error) = self.core.engine.remove(&run.to_string()).await {
            tracing::warn!(%run, error = bare_text(&error), "an ended container could not be removed; retrying after the next reconnect");
        }
    }
}

impl DockerWatch {
    /// Subscribes, then lists: what happens in between arrives as an event.
    async fn connect(&mut self) {
        match self.resync().await {
            Ok(events) => {
                self.events = Some(events);
                self.connected = Instant::now();
                self.core.availability.set(Availability::Available);
            }
            Err(error) => {
                let outage = self.core.engine.text_of(&error);
                tracing::warn!(error = outage, "the Docker engine cannot be watched; retrying");
                self.core.availability.set(Availability::Unavailable(outage.into()));
                self.queue.ready.clear();
                self.pause().await;
            }
        }
    }

    /// Waits before the next attempt: longer each time, until a stream has lasted.
    async fn pause(&mut self) {
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }

    async fn resync(&mut self) -> Result<Events, Error> {
        let core = Arc::clone(&self.core);
        // The stream sends its request when it is first polled, which is after the listing; so it is asked to begin
        // a moment before, by the engine's own clock. Events that were reported already do no harm.
        let info = core.engine.docker.info().await?;
        let now: Option<jiff::Timestamp> = info.system_time.and_then(|time| time.parse().ok());
        let label = labels::selector(&core.template.installation);
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("label".to_owned(), vec![label]),
            ("event".to_owned(), ["start", "die", "destroy"].map(str::to_owned).to_vec()),
        ]);
        let mut options = EventsOptionsBuilder::new().filters(&filters);
        if let Some(now) = now {
            options = options.since(&(now.as_second() - 1).to_string());
        }
        let events = core.engine.docker.events(Some(options.build())).boxed();
        let listed = core.list().await?;
        let mut live: Vec<RunName> = listed.iter().map(|(run, _)| *run).collect();
        // A launch under way may not have been listed yet.
        live.extend(
            core.runs.launching().into_iter().filter(|run| listed.iter().all(|(known, _)| known != run)),
        );
        self.queue.ready.push_back(Observation::Synced { live });
        for (run, _) in listed.iter().filter(|(_, ended)| *ended) {
            self.gone(*run, None, true).await;
        }
        Ok(events)
    }

    async fn apply(&mut self, event: &EventMessage) {
        let attributes = event.actor.as_ref().and_then(|actor| actor.attributes.as_ref());
        let Some(run) = self.core.template.run_of(attributes) else { return };
        let code = || attributes?.get("exitCode")?.parse().ok();
        match event.action.as_deref() {
            Some("start") => {
                let message = "the container has started".into();
                self.queue.ready.push_back(Observation::Progress { run, reason: None, message });
            }
            Some("die") => self.gone(run, code(), false).await,
            // Removed by anybody: without an end before it, this is the end.
            Some("destroy") => self.gone(run, None, false).await,
            _ => {}
        }
    }

    /// Reports an end, once; `again` reports it a second time, for a container that is still there.
    async fn gone(&mut self, run: RunName, code: Option<i32>, again: bool) {
        if self.core.runs.has_ended(run) && !again {
            return;
        }
        let (found, tail) = last_output(&self.core, run, code, self.core.runs.exit_of(run).is_some()).await;
        let exit: Exit = exit_of(found.and_then(|found| found.state).as_ref(), code, &tail);
        self.core.runs.remember(run, Some(exit.clone()));
        self.queue.ready.push_back(Observation::Gone { run, exit });
    }
}

/// What the engine keeps of an ended container, and its last output if it failed without having been stopped.
async fn last_output(
    platform: &DockerCore,
    run: RunName,
    code: Option<i32>,
    stopped: bool,
) -> (Option<ContainerInspectResponse>, Vec<String>) {
    let name = run.to_string();
    let found = platform.engine.docker.inspect_container(&name, None::<InspectContainerOptions>).await.ok();
    let kept = found.as_ref().and_then(|found| found.state.as_ref()?.exit_code);
    if found.is_none() || stopped || code.map(i64::from).or(kept) == Some(0) {
        return (found, Vec::new());
    }
    let tail = TAIL_LINES.to_string();
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&tail).build();
    let mut logs = platform.engine.docker.logs(&name, Some(options)).boxed();
    let mut output = Vec::new();
    let read = async {
        while let Some(Ok(piece)) = logs.next().await {
            output.extend_from_slice(&piece.into_bytes());
        }
    };
    if tokio::time::timeout(TAIL_TIMEOUT, read).await.is_err() {
        tracing::debug!(%run, "reading the container's last output timed out");
    }
    (found, tail_of(&output))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::Uri;
    use bakery_core::image::ImageRef;
    use futures_util::stream;
    use tokio::net::TcpListener;

    use super::super::super::Capabilities;
    use super::super::engine::Engine;
    use super::super::image::AgentImages;
    use super::super::order::ContainerTemplate;
    use super::*;

    /// An engine without containers, whose events are still to come.
    async fn engine(uri: Uri) -> Body {
        match uri.path() {
            path if path.ends_with("/events") => {
                Body::from_stream(stream::pending::<std::io::Result<String>>())
            }
            path if path.ends_with("/containers/json") => Body::from("[]"),
            _ => Body::from("{}"),
        }
    }

    #[tokio::test]
    async fn an_engine_that_does_not_answer_is_unavailable_until_it_is_back() {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let host = Engine::unasked(&format!("tcp://{address}"));
        let image: ImageRef = "reg.test/agent:1".parse().unwrap();
        let images =
            AgentImages::find(&host, &image, &[], None, async |_| Ok(std::collections::BTreeMap::new()))
                .await;
        let template = ContainerTemplate {
            installation: "here".to_owned(),
            network: "ours".to_owned(),
            cpu_millis: 1000,
            capabilities: Capabilities::default(),
        };
        let core = Arc::new(DockerCore::new(host, template, images));
        let (mut availability, mut seen) = (core.availability.subscribe(), watch(core));
        let why = tokio::select! {
            observation = seen.next() => panic!("{observation:?}"),
            found = availability.wait_for(|found| !found.is_available()) => found.unwrap().outage().unwrap(),
        };
        assert!(why.text.contains(&format!("tcp://{address} does not answer (Connection refused")), "{why}");

        let listener = TcpListener::bind(address).await.unwrap();
        let serving = axum::serve(listener, Router::new().fallback(engine)).into_future();
        let observation = tokio::select! {
            _ = serving => panic!("the engine has ended"),
            observation = seen.next() => observation,
        };
        assert_eq!(observation, Some(Observation::Synced { live: Vec::new() }));
        assert_eq!(*availability.borrow(), Availability::Available);
    }
}
