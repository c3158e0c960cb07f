//! The HTTP API: routes, tokens, problem documents.
//!
//! Two routers share one set of handlers: [`Routers::public`] for clients (and for the agents of remote platforms), and
//! [`Routers::agents`] with `/v1/runs/*` only, for the listener on the gateway of the Docker platform's bridge.
//!
//! # When the caller disconnects
//! Its handler is dropped at the next await. What a service was asked to do is completed; only the response is lost, and
//! every request of Bakery can be repeated.

mod auth;
mod body;
mod builds;
mod connection_limits;
mod connections;
mod contexts;
mod error_map;
mod host_check;
mod middleware;
mod problem;
mod request_id;
mod runs;
mod segment;
mod serve;
#[cfg(test)]
mod tests;
mod unauthorized_requests;
mod wrong_tokens;
mod yaml;

use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use bakery_core::names::{BadName, BuildId, RunName};
use bakery_core::report::shown;
use bakery_core::secret::Secret;
use bakery_core::wire::route;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Uri};
use tokio_util::sync::CancellationToken;

use self::auth::{Owner, TokenCheck};
use self::body::BodyReader;
pub use self::connection_limits::{ConnectionLimits, open_files_warning};
use self::host_check::HostRules;
pub use self::host_check::OwnNames;
use self::problem::{ProblemKind, ProblemResponse};
pub use self::serve::serve;
pub use self::unauthorized_requests::UnauthorizedRequests;
use self::wrong_tokens::WrongTokens;
use crate::builds::{Builds, NotReady};
use crate::contexts::Contexts;
use crate::logs::Logs;
use crate::metrics;
use crate::spawn::Tasks;

/// The services behind the API.
pub struct Services {
    /// Builds and their runs.
    pub builds: Builds,
    /// Logs, to read and to append to.
    pub logs: Logs,
    /// The context store.
    pub contexts: Contexts,
    /// The operator's token; `None` = the public listener accepts every request.
    pub token: Option<Secret>,
    /// Where the public listener is reached.
    pub names: OwnNames,
}

/// The state that every handler gets.
type AppState = Arc<App>;

struct App {
    services: Services,
    token_check: TokenCheck,
    wrong_tokens: WrongTokens,
    host_rules: HostRules,
    tasks: Tasks,
    /// Cancelled when the server stops: open streams end then.
    drain: CancellationToken,
}

impl App {
    fn body_reader(&self, body: Body) -> BodyReader {
        BodyReader::new(body, self.drain.clone())
    }
}

/// The routers of both listeners.
#[derive(Clone)]
pub struct Routers(AppState);

impl Routers {
    /// Routers for these services. Open streams end when `tasks` are stopped.
    pub fn new(services: Services, tasks: &Tasks) -> Self {
        Self(Arc::new(App {
            token_check: TokenCheck::new(services.token.as_ref()),
            wrong_tokens: WrongTokens::new(),
            host_rules: HostRules::new(&services.names, services.token.is_some()),
            services,
            tasks: tasks.clone(),
            drain: tasks.stopping().clone(),
        }))
    }

    /// Every route: of clients, agents and probes.
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
        let rules = axum::middleware::from_fn_with_state(Arc::clone(&self.0), host_check::check);
        self.finish(with_agents(routes).layer(rules))
    }

    /// The routes of agents only.
    pub fn agents(&self) -> Router {
        self.finish(with_agents(Router::new()))
    }

    fn finish(&self, routes: Router<AppState>) -> Router {
        routes.layer(axum::middleware::from_fn(middleware::per_request)).with_state(Arc::clone(&self.0))
    }
}

/// The routes of agents, and the answers to what is no route.
fn with_agents(routes: Router<AppState>) -> Router<AppState> {
    routes
        .route(route::RUN_ORDER, post(runs::order))
        .route(route::RUN_CONTEXT, get(runs::context))
        .route(route::RUN_LOGS, post(runs::logs))
        .route(route::RUN_REPORT, post(runs::report))
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
}

/// A path's `{id}` or `{run}`, parsed.
struct PathId<T>(T);

/// What a path parameter can identify.
trait PathParameter: FromStr<Err = BadName> {
    /// The problem where it does not exist.
    const NOT_FOUND: ProblemKind;
}

impl PathParameter for BuildId {
    const NOT_FOUND: ProblemKind = ProblemKind::NoSuchBuild;
}

impl PathParameter for RunName {
    const NOT_FOUND: ProblemKind = ProblemKind::NoSuchRun;
}

impl<T: PathParameter, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ProblemResponse> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) =
            path.map_err(|rejection| ProblemResponse::new(T::NOT_FOUND, rejection.body_text()))?;
        text.parse().map(Self).map_err(|BadName { text, expected }| {
            ProblemResponse::new(T::NOT_FOUND, format!("`{}` is not {expected}", shown(&text)))
        })
    }
}

/// Whether the server accepts builds and its platforms are available.
async fn ready(State(app): State<AppState>) -> Result<&'static str, ProblemResponse> {
    if app.drain.is_cancelled() {
        return Err(ProblemResponse::draining());
    }
    app.services.builds.ready().await.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
        match error {
            NotReady::Stopping => ProblemResponse::draining(),
            // The cause is for the log only: probes need no token.
            NotReady::Ledger(_) => {
                ProblemResponse::new(ProblemKind::Unavailable, "builds cannot be accepted now")
                    .hint("the server's log has the cause")
            }
            NotReady::DiskFull => ProblemResponse::new(ProblemKind::Unavailable, error.to_string())
                .hint("free space in the data folder, or enlarge its disk; open builds continue"),
            NotReady::Unavailable(_) => ProblemResponse::new(ProblemKind::Unavailable, error.to_string())
                .hint("builds wait until it is available again; the server's log has the cause"),
        }
    })?;
    Ok("ready\n")
}

/// The server's metrics. They need the token: how much is built, and what fails, is not public.
async fn metrics(_: Owner, State(app): State<AppState>) -> impl IntoResponse {
    let counts = |registry: &mut _| app.wrong_tokens.counts().measure(registry);
    let text = metrics::text(&app.services.builds, &app.services.logs, counts).await;
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}

async fn no_such_route(uri: Uri) -> ProblemResponse {
    ProblemResponse::new(ProblemKind::NoSuchRoute, format!("{}: no such route", shown(uri.path())))
        .hint("routes begin with /v1; give the server's URL without a path")
}

async fn method_not_allowed(method: Method, uri: Uri) -> ProblemResponse {
    let (path, method) = (shown(uri.path()), shown(method.as_str()));
    ProblemResponse::new(ProblemKind::MethodNotAllowed, format!("{path}: {method} is not allowed"))
        .hint("the header Allow lists the allowed methods")
}
