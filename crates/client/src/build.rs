//! One build from a plain call to its end.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;

use bakery_core::names::BuildId;
use bakery_core::wire::build::BuildOutcome;
use bakery_core::wire::log::Cursor;
use bakery_link::ServerApi;

use crate::cli::Source;
use crate::exit::{self, Exit, Failure};
use crate::follow::{Follower, Patience};
use crate::load::Loaded;
use crate::out::Out;
use crate::render::Renderer;
use crate::settings::Settings;
use crate::signals::{Signal, Signals};
use crate::submit::{self, Sent, persist};
use crate::{labels, load, talk};

/// Builds, and stays until the build has ended.
pub async fn build(source: &Source, environment: &BTreeMap<String, String>) -> Result<Exit, Failure> {
    let (settings, loaded) = whole(source, environment)?;
    for notice in &loaded.notices {
        talk::say(&format!("notice: {}", notice.rendered()));
    }
    for exposed in &loaded.exposed {
        talk::say(&format!("warning: {}", exposed.rendered()));
    }
    let mut signals = Signals::listen().map_err(|error| no_signals(&error))?;
    // Up to the submission nothing of ours stands anywhere else: leaving at once is clean.
    let sent = tokio::select! {
        biased;
        _ = signals.next() => return Err(Failure::quiet(Exit::Interrupted)),
        sent = submit::context(&settings, &loaded) => sent?,
    };
    let context = match sent {
        Sent::There(context) => context,
        Sent::ToBucket(context) => {
            context
                .put(async {
                    let _ = signals.next().await;
                })
                .await?
        }
    };
    // From here on the build may stand in the server's ledger, known to us or not: the answer is waited for.
    let mut submitting = std::pin::pin!(submit::submit(&settings.server, loaded.spec, context));
    let mut asked = false;
    let submitted = loop {
        tokio::select! {
            biased;
            signal = signals.next() => match signal {
                Signal::Interrupt if !asked => {
                    asked = true;
                    talk::say("interrupted: waiting for the server's answer to cancel the build");
                }
                _ => return Err(Failure::quiet(Exit::Interrupted)),
            },
            submitted = &mut submitting => break submitted?,
        }
    };
    talk::say(&format!("build {} submitted", submitted.id));
    for notice in &submitted.notices {
        talk::say(&format!("notice: {notice}"));
    }
    Viewer { settings: &settings, id: submitted.id, owned: true, asked }.stay(submitted.cursor, signals).await
}

/// What settings and files say, where nothing keeps the build from being packed and sent; else all that does.
fn whole(source: &Source, environment: &BTreeMap<String, String>) -> Result<(Settings, Loaded), Failure> {
    match (Settings::read(environment), load::load(source, environment)) {
        (Ok(settings), Ok(loaded)) => {
            let unsafe_way = settings.server.may_carry(&loaded.spec).err().map(Failure::from);
            let unfit = unsafe_way.into_iter().chain(missing(&loaded)).reduce(Failure::and);
            unfit.map_or(Ok((settings, loaded)), Err)
        }
        (Err(settings), Ok(loaded)) => Err(missing(&loaded).into_iter().fold(settings, Failure::and)),
        (Err(settings), Err(files)) => Err(settings.and(files)),
        (Ok(_), Err(files)) => Err(files),
    }
}

fn missing(loaded: &Loaded) -> Option<Failure> {
    let hint = "paths are relative to --repo, Dockerfiles to their context";
    (!loaded.missing.is_empty()).then(|| Failure::input(loaded.missing.join("\n"), hint))
}

/// Shows a build that runs already, from its log's beginning.
pub async fn logs(id: BuildId, environment: &BTreeMap<String, String>) -> Result<Exit, Failure> {
    let settings = Settings::read(environment)?;
    let signals = Signals::listen().map_err(|error| no_signals(&error))?;
    Viewer { settings: &settings, id, owned: false, asked: false }.stay(Cursor::default(), signals).await
}

fn no_signals(error: &io::Error) -> Failure {
    Failure::ours(format!("signals cannot be listened to: {error}"))
}

/// Who looks at a build.
struct Viewer<'a> {
    settings: &'a Settings,
    id: BuildId,
    /// This call has submitted the build: interrupting it means the build.
    owned: bool,
    /// Its cancellation is wanted.
    asked: bool,
}

impl Viewer<'_> {
    async fn stay(mut self, from: Cursor, mut signals: Signals) -> Result<Exit, Failure> {
        let (settings, id, owned) = (self.settings, self.id, self.owned);
        let out = Out::new(io::stdout());
        let followed = {
            let watched = async {
                let view = persist(owned, || settings.server.view(id)).await;
                let view =
                    view.map_err(|error| if owned { Failure::lost_sight(id, &error) } else { error.into() })?;
                let labels = labels::of_view(&view);
                let mut renderer =
                    Renderer::new(settings.format, settings.no_colour, id, labels, view.created);
                let server = &settings.server;
                let follower = Follower { server, id, known: true, patience: Patience::default() };
                follower.follow(from, &mut renderer, &out).await
            };
            self.watch(watched, &mut signals).await
        };
        let outcome = match followed {
            // Standard output failed: why is known only at its end.
            Err(failure) if failure.text.is_empty() && failure.exit == Exit::Unknown => {
                out.finish().await?;
                return Err(failure);
            }
            // The second interrupt: a reader that stands still must not hold us.
            Err(failure) if failure.exit == Exit::Interrupted => return Err(failure),
            Err(failure) => {
                out.finish().await?;
                return Err(failure);
            }
            Ok(outcome) => outcome,
        };
        // The last lines may still wait for a slow reader, who can be interrupted as well.
        tokio::select! {
            biased;
            _ = signals.next() => return Err(Failure::quiet(Exit::Interrupted)),
            written = out.finish() => written?,
        }
        let exit = Exit::of(&outcome, self.asked);
        let sentence = exit::sentence(id, &outcome);
        if exit == Exit::Good {
            talk::say(&sentence);
            return Ok(exit);
        }
        Err(Failure { exit, text: sentence, hint: exit::hint(&outcome, exit) })
    }

    /// Lets `followed` run; signals cancel the build, or leave it.
    async fn watch(
        &mut self,
        followed: impl Future<Output = Result<BuildOutcome, Failure>>,
        signals: &mut Signals,
    ) -> Result<BuildOutcome, Failure> {
        let mut followed = std::pin::pin!(followed);
        let mut cancelled = std::pin::pin!(cancel_for_sure(&self.settings.server, self.id));
        let mut waiting = true;
        loop {
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    Signal::Hangup => return Err(Failure::quiet(Exit::Unknown)),
                    Signal::Interrupt if self.owned && !self.asked => {
                        self.asked = true;
                        talk::say(&format!("cancelling build {}; interrupt again to leave at once", self.id));
                    }
                    Signal::Interrupt => {
                        if !self.owned {
                            talk::say(&format!("build {} goes on; `bakery-client cancel {}` ends it", self.id, self.id));
                        } else if waiting {
                            talk::say("left before the server had heard of the cancellation: the build may go on");
                        }
                        return Err(Failure::quiet(Exit::Interrupted));
                    }
                },
                () = &mut cancelled, if self.asked && waiting => waiting = false,
                outcome = &mut followed => return outcome,
            }
        }
    }
}

/// Asks for the cancellation until the server has heard it, or says that there is nothing to cancel.
async fn cancel_for_sure(server: &ServerApi, id: BuildId) {
    if let Err(error) = persist(true, || server.cancel(id)).await
        && !matches!(error.status(), Some(404 | 409))
    {
        talk::say(&format!("the cancellation failed: {error}"));
    }
}
