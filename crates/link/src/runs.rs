//! The agent's calls.

use bakery_core::names::RunName;
use bakery_core::secret::Secret;
use bakery_core::wire::run::{
    OrderRequest, ReportAck, STAGE_HEADER, SegmentAck, Stage, TaskOrder, TaskReport, launch_env,
};
use bakery_core::wire::{FRAMES_TYPE, route};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;

use crate::LinkError;
use crate::dns::InitialResolver;
use crate::http::HttpClient;

/// The server's API for the agent of one run. Cheap to clone. Sends its tokens over plain HTTP too: the server that
/// launched the agent chose the URL.
#[derive(Debug, Clone)]
pub struct RunApi {
    http: HttpClient,
    run: RunName,
    launch_token: Secret,
    session: Secret,
    resolver_error: Option<String>,
}

/// A context's blob as it arrives.
pub struct ContextBody {
    /// Total bytes, if the server sent a length.
    pub len: Option<u64>,
    /// The chunks. An error ends the stream.
    pub bytes: BoxStream<'static, Result<Bytes, LinkError>>,
}

impl RunApi {
    /// Takes what the agent was launched with, and the session secret (32 random bytes in hex) that the agent made. The
    /// launch token authorises only [`RunApi::bind`]; all other calls send the session secret.
    ///
    /// The system's configuration of name resolution and its CA certificates are read here, and never again. Must be
    /// called inside a tokio runtime.
    pub fn new(url: &str, run: RunName, launch_token: Secret, session: Secret) -> Result<Self, LinkError> {
        let resolver = InitialResolver::from_system();
        let resolver_error = resolver.as_ref().err().cloned();
        let http = HttpClient::new(url, launch_env::URL, resolver.ok())?;
        Ok(Self { http, run, launch_token, session, resolver_error })
    }

    /// Why names are resolved with the configuration of the moment after all; `None` if that was read by [`RunApi::new`].
    pub fn resolver_error(&self) -> Option<&str> {
        self.resolver_error.as_deref()
    }

    /// The server's URL, without user name, password and query.
    pub fn url(&self) -> &str {
        &self.http.server().url
    }

    /// Exchanges the launch token for the order and binds the run to the session. Can be repeated if the answer was
    /// lost: the order is the same.
    pub async fn bind(&self, agent_version: &str) -> Result<TaskOrder, LinkError> {
        let order = OrderRequest { session: self.session.clone(), agent_version: agent_version.to_owned() };
        let request =
            self.http.request(Method::POST, &route::run_order(self.run), Some(&self.launch_token))?;
        self.http.call(request.json(&order)).await
    }

    /// Opens the context's blob in the server's own store.
    pub async fn context(&self) -> Result<ContextBody, LinkError> {
        let request = self.request(Method::GET, &route::run_context(self.run))?;
        let response = self.http.open_stream(request).await?;
        let len = response.content_length();
        let http = self.http.clone();
        let bytes = stream::unfold(Some((http, response)), |state| async {
            let (http, mut response) = state?;
            match http.next_chunk(&mut response).await {
                Ok(None) => None,
                Ok(Some(chunk)) => Some((Ok(chunk), Some((http, response)))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(ContextBody { len, bytes: bytes.boxed() })
    }

    /// Sends one segment of the log: whole frames, each under its [`bakery_core::wire::log::BlockHeader`], relayed as
    /// they arrive. An empty body is a heartbeat. The body must yield something at least every
    /// [`crate::IDLE_TIMEOUT`]; the segment ends with it.
    pub async fn send_logs<S, E>(&self, stage: Stage, body: S) -> Result<SegmentAck, LinkError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let request = self
            .request(Method::POST, &route::run_logs(self.run))?
            .header(CONTENT_TYPE, FRAMES_TYPE)
            .header(STAGE_HEADER, stage.as_str());
        let response = self.http.send_stream(request, body).await?;
        self.http.read_json(response).await
    }

    /// Reports the run's result. Can be repeated until it is acknowledged.
    pub async fn report(&self, report: &TaskReport) -> Result<ReportAck, LinkError> {
        let request = self.request(Method::POST, &route::run_report(self.run))?;
        self.http.call(request.json(report)).await
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, LinkError> {
        self.http.request(method, path, Some(&self.session))
    }
}
