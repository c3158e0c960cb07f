//! The front door: routes, tokens, problems. Knows HTTP and nothing of how builds are done.
//!
//! Two doors are made of one set of handlers: [`Doors::public`] for clients (and for the agents of remote platforms),
//! [`Doors::agents`] with nothing but `/v1/runs/*`, for the gateway of the Docker platform's bridge.
//!
//! # When the caller hangs up
//! Its handler is dropped at the next await. What a room was asked to do, it does to the end; only the answer is lost,
//! and every request of Bakery may be repeated.

mod auth;
mod body;
mod builds;
mod contexts;
mod crowd;
mod gate;
mod problem;
mod refusals;
mod runs;
mod segment;
mod serve;
#[cfg(test)]
mod tests;
mod yaml;

use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use bakery_core::names::{BadName, BuildId, RunName};
use bakery_core::secret::Secret;
use bakery_core::wire::route;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Uri};
use tokio_util::sync::CancellationToken;

use self::auth::{Lock, Owner};
use self::body::Pieces;
pub use self::crowd::{Bounds, warning as crowd_warning};
use self::problem::{Kind, Refusal};
pub use self::serve::serve;
use crate::builds::{Builds, NotReady};
use crate::contexts::Contexts;
use crate::logs::Logs;
use crate::metrics;
use crate::spawn::Tasks;

/// What lies behind the doors.
pub struct Rooms {
    /// The living room.
    pub builds: Builds,
    /// Logs, to read and to append to.
    pub logs: Logs,
    /// Folders in transit.
    pub contexts: Contexts,
    /// The operator's token; `None` = everybody who reaches the public door may use it.
    pub token: Option<Secret>,
}

/// What every handler has.
type Front = Arc<Inside>;

struct Inside {
    rooms: Rooms,
    lock: Lock,
    tasks: Tasks,
    /// Cancelled when open streams are to end.
    drain: CancellationToken,
}

impl Inside {
    fn pieces(&self, body: Body) -> Pieces {
        Pieces::new(body, self.drain.clone())
    }
}

/// Both doors.
#[derive(Clone)]
pub struct Doors(Front);

impl Doors {
    /// Doors to these rooms. Open streams end when `tasks` are stopped.
    pub fn new(rooms: Rooms, tasks: &Tasks) -> Self {
        let lock = Lock::new(rooms.token.as_ref());
        Self(Arc::new(Inside { rooms, lock, tasks: tasks.clone(), drain: tasks.stopping().clone() }))
    }

    /// Everything: clients, agents, probes.
    pub fn public(&self) -> Router {
        let routes = Router::new()
            .route(route::LIVEZ, get(async || "alive\n"))
            .route(route::READYZ, get(ready))
            .route(route::METRICS, get(metrics))
            .route(route::CONTEXTS, post(contexts::offer))
            .route(route::CONTEXT, put(contexts::put))
            .route(route::BUILDS, post(builds::submit).get(builds::list))
            .route(route::BUILD, get(builds::view).delete(builds::cancel))
            .route(route::BUILD_LOGS, get(builds::logs))
            .route(route::INFO, get(builds::info));
        self.hang(routes)
    }

    /// Agents only.
    pub fn agents(&self) -> Router {
        self.hang(Router::new())
    }

    fn hang(&self, routes: Router<Front>) -> Router {
        routes
            .route(route::RUN_ORDER, post(runs::order))
            .route(route::RUN_CONTEXT, get(runs::context))
            .route(route::RUN_LOGS, post(runs::logs))
            .route(route::RUN_REPORT, post(runs::report))
            .fallback(nothing_here)
            .method_not_allowed_fallback(not_so)
            .layer(middleware::from_fn(gate::pass))
            .with_state(Arc::clone(&self.0))
    }
}

/// A path's `{id}` or `{run}`, parsed.
struct Named<T>(T);

/// What a path can name.
trait Addressed: FromStr<Err = BadName> {
    /// There is none of this name.
    const NONE: Kind;
}

impl Addressed for BuildId {
    const NONE: Kind = Kind::NoSuchBuild;
}

impl Addressed for RunName {
    const NONE: Kind = Kind::NoSuchRun;
}

impl<T: Addressed, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|rejection| Refusal::new(T::NONE, rejection.body_text()))?;
        text.parse().map(Self).map_err(|error: BadName| Refusal::new(T::NONE, error.to_string()))
    }
}

/// Alive, and able to take work.
async fn ready(State(front): State<Front>) -> Result<&'static str, Refusal> {
    if front.drain.is_cancelled() {
        return Err(Refusal::draining());
    }
    front.rooms.builds.ready().await.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
        match error {
            NotReady::Stopping => Refusal::draining(),
            // What the ledger or the platform has to say is for the log: probes are answered without a token.
            NotReady::Ledger(_) => Refusal::new(Kind::Unavailable, "builds cannot be taken now")
                .hint("the server's log says why"),
            NotReady::Unavailable(_) => Refusal::new(Kind::Unavailable, error.to_string())
                .hint("builds wait until it answers again; the server's log says why"),
        }
    })?;
    Ok("ready\n")
}

/// What the server tells of itself in numbers: how much is built, and of what it fails, is not for everybody.
async fn metrics(_: Owner, State(front): State<Front>) -> impl IntoResponse {
    let text = metrics::text(&front.rooms.builds, &front.rooms.logs).await;
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}

async fn nothing_here(uri: Uri) -> Refusal {
    Refusal::new(Kind::NoSuchRoute, format!("nothing is served at {}", uri.path()))
        .hint("routes begin with /v1; is the URL the server's own, without a path?")
}

async fn not_so(method: Method, uri: Uri) -> Refusal {
    Refusal::new(Kind::MethodNotAllowed, format!("{} does not know {method}", uri.path()))
        .hint("the header Allow names the methods that it knows")
}
