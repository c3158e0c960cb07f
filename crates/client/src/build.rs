//! One build, from the command to its end.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;

use bakery_core::names::BuildId;
use bakery_core::report::Finding;
use bakery_core::wire::build::BuildOutcome;
use bakery_core::wire::log::Cursor;
use bakery_link::ServerApi;

use crate::cli::BuildOptions;
use crate::exit::{self, Exit, Failure};
use crate::follow::{Follower, RetryPolicy};
use crate::load::LoadedBuild;
use crate::render::Renderer;
use crate::settings::Settings;
use crate::signals::{Signal, Signals};
use crate::stdout::LogOutput;
use crate::submit::{self, PackedContext, retry};
use crate::{labels, load, preflight, server_keys, stderr};

/// Submits a build and shows its log until it ends.
pub async fn build(
    options: &BuildOptions,
    settings: Result<Settings, Failure>,
    environment: &BTreeMap<String, String>,
) -> Result<Exit, Failure> {
    let (settings, loaded) = read_input(options, settings, environment)?;
    loaded.notices.iter().map(Finding::message).for_each(|notice| stderr::notice(&notice));
    loaded.secret_files.iter().map(Finding::message).for_each(|warning| stderr::warning(&warning));
    preflight::say(&loaded.dockerfiles);
    let mut signals = Signals::listen().map_err(|error| no_signals(&error))?;
    // Nothing has been submitted yet: exiting immediately leaves nothing behind.
    let packed = tokio::select! {
        biased;
        _ = signals.next() => return Err(Failure::silent(Exit::Interrupted)),
        packed = async {
            server_keys::check(&settings.server, &loaded.spec).await?;
            submit::context(&settings, &loaded).await
        } => packed?,
    };
    let context = match packed {
        PackedContext::OnServer(context) => context,
        PackedContext::ForBucket(upload) => {
            upload
                .run(async {
                    let _ = signals.next().await;
                })
                .await?
        }
    };
    // From here on the server may have the build, even if its answer has not arrived: wait for the answer.
    let mut submitting = std::pin::pin!(submit::submit(&settings.server, loaded.spec, context));
    let mut cancel_requested = false;
    let submitted = loop {
        tokio::select! {
            biased;
            signal = signals.next() => match signal {
                Signal::Interrupt if !cancel_requested => {
                    cancel_requested = true;
                    stderr::print("interrupted: waiting for the server's answer to cancel the build");
                }
                _ => return Err(Failure::silent(Exit::Interrupted)),
            },
            submitted = &mut submitting => break submitted?,
        }
    };
    stderr::print(&format!("build {} submitted", submitted.id));
    let viewer = Viewer { settings: &settings, id: submitted.id, owned: true, cancel_requested };
    let cursor = submitted.cursor;
    submitted.into_notices().iter().for_each(stderr::notice);
    viewer.run(cursor, signals).await
}

/// Reads the files, after the settings. Everything that prevents the build from being packed and sent is reported at once.
fn read_input(
    options: &BuildOptions,
    settings: Result<Settings, Failure>,
    environment: &BTreeMap<String, String>,
) -> Result<(Settings, LoadedBuild), Failure> {
    match (settings, load::load(options, environment)) {
        (Ok(settings), Ok(loaded)) => {
            let unencrypted = settings.server.may_carry(&loaded.spec).err().map(Failure::from);
            let failure = unencrypted.into_iter().chain(unbuildable(&loaded)).reduce(Failure::and);
            failure.map_or(Ok((settings, loaded)), Err)
        }
        (Err(settings), Ok(loaded)) => Err(unbuildable(&loaded).fold(settings, Failure::and)),
        (Err(settings), Err(files)) => Err(settings.and(files)),
        (Ok(_), Err(files)) => Err(files),
    }
}

/// What the source lacks, and errors in its Dockerfiles.
fn unbuildable(loaded: &LoadedBuild) -> impl Iterator<Item = Failure> {
    loaded.missing_failure().into_iter().chain(preflight::failure(&loaded.dockerfiles))
}

/// Shows the log of an existing build from its beginning.
pub async fn logs(id: BuildId, settings: Settings) -> Result<Exit, Failure> {
    let signals = Signals::listen().map_err(|error| no_signals(&error))?;
    let viewer = Viewer { settings: &settings, id, owned: false, cancel_requested: false };
    viewer.run(Cursor::default(), signals).await
}

fn no_signals(error: &io::Error) -> Failure {
    Failure::local(format!("the signal handlers cannot be installed: {error}"))
}

/// Shows one build until it ends or the user leaves.
struct Viewer<'a> {
    settings: &'a Settings,
    id: BuildId,
    /// This command submitted the build, so an interrupt cancels it.
    owned: bool,
    /// The user wants the build cancelled.
    cancel_requested: bool,
}

impl Viewer<'_> {
    async fn run(mut self, from: Cursor, mut signals: Signals) -> Result<Exit, Failure> {
        let (settings, id, owned) = (self.settings, self.id, self.owned);
        let out = LogOutput::new(io::stdout());
        let followed = {
            let following = async {
                let view = retry(owned, || settings.server.view(id)).await;
                let view = view
                    .map_err(|error| if owned { Failure::lost_contact(id, &error) } else { error.into() })?;
                let labels = labels::of_view(&view);
                let mut renderer =
                    Renderer::new(settings.format, settings.no_colour, id, labels, view.created);
                let server = &settings.server;
                let follower = Follower { server, id, known: true, retry: RetryPolicy::default() };
                follower.follow(from, &mut renderer, &out).await
            };
            self.handle_signals(following, &mut signals).await
        };
        let outcome = match followed {
            // Writing to standard output failed: `finish` returns the error.
            Err(failure) if failure.messages.is_empty() && failure.exit == Exit::Unknown => {
                out.finish().await?;
                return Err(failure);
            }
            // A second interrupt: do not wait for a reader that has stopped reading.
            Err(failure) if failure.exit == Exit::Interrupted => return Err(failure),
            Err(failure) => {
                out.finish().await?;
                return Err(failure);
            }
            Ok(outcome) => outcome,
        };
        // The last lines may still be buffered for a slow reader; the user can interrupt that too.
        tokio::select! {
            biased;
            _ = signals.next() => return Err(Failure::silent(Exit::Interrupted)),
            written = out.finish() => written?,
        }
        let exit = Exit::of(&outcome, self.cancel_requested);
        let summary = exit::summary(id, &outcome, exit);
        if exit == Exit::Success {
            stderr::print(&summary.text);
            return Ok(exit);
        }
        Err(Failure::new(exit, summary))
    }

    /// Runs `following` and handles signals: they cancel the build, or end the command.
    async fn handle_signals(
        &mut self,
        following: impl Future<Output = Result<BuildOutcome, Failure>>,
        signals: &mut Signals,
    ) -> Result<BuildOutcome, Failure> {
        let id = self.id;
        let mut following = std::pin::pin!(following);
        let mut cancelling = std::pin::pin!(cancel(&self.settings.server, id));
        let mut unconfirmed = true;
        loop {
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    Signal::Hangup => return Err(Failure::silent(Exit::Unknown)),
                    Signal::Interrupt if self.owned && !self.cancel_requested => {
                        self.cancel_requested = true;
                        stderr::print(&format!("cancelling build {id}; interrupt again to exit at once"));
                    }
                    Signal::Interrupt => {
                        if !self.owned {
                            stderr::print(&format!("build {id} continues; `bakery-client cancel {id}` cancels it"));
                        } else if unconfirmed {
                            stderr::print("the server has not confirmed the cancellation: the build may continue");
                        }
                        return Err(Failure::silent(Exit::Interrupted));
                    }
                },
                () = &mut cancelling, if self.cancel_requested && unconfirmed => unconfirmed = false,
                outcome = &mut following => return outcome,
            }
        }
    }
}

/// Requests the cancellation until the server confirms it or reports that there is nothing to cancel.
async fn cancel(server: &ServerApi, id: BuildId) {
    if let Err(error) = retry(true, || server.cancel(id)).await
        && !matches!(error.status(), Some(404 | 409))
    {
        stderr::print(&format!("build {id} could not be cancelled: {error}"));
    }
}
