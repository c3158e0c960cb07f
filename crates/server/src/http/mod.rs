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
mod gate;
mod problem;
mod serve;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::middleware;
use axum::routing::get;
use bakery_core::names::BadName;
use bakery_core::secret::Secret;
use bakery_core::wire::build::Info;
use bakery_core::wire::route;
use http::Uri;
use http::request::Parts;
use tokio_util::sync::CancellationToken;

use self::auth::Lock;
use self::problem::{Kind, Refusal};
pub use self::serve::serve;
use crate::spawn::Tasks;

/// What lies behind the doors.
pub struct Rooms {
    /// What `GET /info` says.
    pub info: Info,
    /// The operator's token; `None` = everybody who reaches the public door may use it.
    pub token: Option<Secret>,
}

/// What every handler has.
type Front = Arc<Inside>;

struct Inside {
    rooms: Rooms,
    lock: Lock,
    /// Cancelled when open streams are to end.
    drain: CancellationToken,
}

/// Both doors.
#[derive(Clone)]
pub struct Doors(Front);

impl Doors {
    /// Doors to these rooms. Open streams end when `tasks` are stopped.
    pub fn new(rooms: Rooms, tasks: &Tasks) -> Self {
        let lock = Lock::new(rooms.token.as_ref());
        Self(Arc::new(Inside { rooms, lock, drain: tasks.stopping().clone() }))
    }

    /// Everything: clients, agents, probes.
    pub fn public(&self) -> Router {
        let routes = Router::new()
            .route(route::LIVEZ, get(async || "alive\n"))
            .route(route::READYZ, get(ready));
        self.hang(routes)
    }

    /// Agents only.
    pub fn agents(&self) -> Router {
        self.hang(Router::new())
    }

    fn hang(&self, routes: Router<Front>) -> Router {
        routes
            .fallback(nothing_here)
            .method_not_allowed_fallback(not_so)
            .layer(middleware::from_fn(gate::pass))
            .with_state(Arc::clone(&self.0))
    }
}

/// A path's `{id}` or `{run}`, parsed.
struct Named<T>(T);

impl<T, S> FromRequestParts<S> for Named<T>
where
    T: std::str::FromStr<Err = BadName>,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let lost = |detail: String| Refusal::new(Kind::NoSuchRoute, detail);
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| lost(rejection.body_text()))?;
        text.parse().map(Self).map_err(|error: BadName| lost(error.to_string()))
    }
}

async fn ready(State(front): State<Front>) -> Result<&'static str, Refusal> {
    if front.drain.is_cancelled() { Err(Refusal::draining()) } else { Ok("ready\n") }
}

async fn nothing_here(uri: Uri) -> Refusal {
    Refusal::new(Kind::NoSuchRoute, format!("nothing is served at {}", uri.path()))
        .hint("routes begin with /v1; is the URL the server's own, without a path?")
}

async fn not_so(method: http::Method, uri: Uri) -> Refusal {
    Refusal::new(Kind::MethodNotAllowed, format!("{} does not know {method}", uri.path()))
        .hint("the header Allow names the methods that it knows")
}
