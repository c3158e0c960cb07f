//! The agents' calls.

use bakery_core::names::RunName;
use bakery_core::secret::Secret;
use bakery_core::wire::run::{
    OrderRequest, ReportAck, STAGE_HEADER, SegmentAck, Stage, TaskOrder, TaskReport,
};
use bakery_core::wire::{FRAMES_TYPE, route};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;

use crate::LinkError;
use crate::door::Door;

/// The agents' door, for one run. Cheap to clone. It is trusted with the tokens whatever its scheme: who launched the
/// agent has named it.
#[derive(Debug, Clone)]
pub struct Runs {
    door: Door,
    run: RunName,
    launch_token: Secret,
    session: Secret,
}

/// A context's blob on its way.
pub struct ContextBody {
    /// Bytes in all, where the server said so.
    pub len: Option<u64>,
    /// The pieces. An error ends the stream.
    pub bytes: BoxStream<'static, Result<Bytes, LinkError>>,
}

impl Runs {
    /// Takes what the agent was launched with, and the session secret (32 random bytes in hex) that the agent has made
    /// up: the launch token opens only [`Runs::bind`], all other calls carry the session.
    pub fn new(url: &str, run: RunName, launch_token: Secret, session: Secret) -> Result<Self, LinkError> {
        Ok(Self { door: Door::new(url)?, run, launch_token, session })
    }

    /// The URL, as it may be shown.
    pub fn url(&self) -> &str {
        self.door.base()
    }

    /// Trades the launch token for the order and binds the run to the session. Can be repeated where the answer got
    /// lost: the order is the same.
    pub async fn bind(&self, agent_version: &str) -> Result<TaskOrder, LinkError> {
        let order = OrderRequest { session: self.session.clone(), agent_version: agent_version.to_owned() };
        let request =
            self.door.request(Method::POST, &route::run_order(self.run), Some(&self.launch_token))?;
        self.door.json(request.json(&order)).await
    }

    /// Opens the context's blob in the server's own store.
    pub async fn context(&self) -> Result<ContextBody, LinkError> {
        let request = self.request(Method::GET, &route::run_context(self.run))?;
        let response = self.door.open(request).await?;
        let len = response.content_length();
        let door = self.door.clone();
        let bytes = stream::unfold(Some((door, response)), |state| async {
            let (door, mut response) = state?;
            match door.chunk(&mut response).await {
                Ok(None) => None,
                Ok(Some(chunk)) => Some((Ok(chunk), Some((door, response)))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(ContextBody { len, bytes: bytes.boxed() })
    }

    /// Sends one segment of log: whole frames under [`bakery_core::wire::log::BlockHeader`]s, relayed as they arrive;
    /// an empty body is a heartbeat. The body must yield something at least every [`crate::SILENCE`]; the segment is
    /// over when it ends.
    pub async fn send_logs<S, E>(&self, stage: Stage, body: S) -> Result<SegmentAck, LinkError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let request = self
            .request(Method::POST, &route::run_logs(self.run))?
            .header(CONTENT_TYPE, FRAMES_TYPE)
            .header(STAGE_HEADER, stage.as_str());
        let response = self.door.stream(request, body).await?;
        self.door.read(response).await
    }

    /// Says what became of the run. Can be repeated until it is answered.
    pub async fn report(&self, report: &TaskReport) -> Result<ReportAck, LinkError> {
        let request = self.request(Method::POST, &route::run_report(self.run))?;
        self.door.json(request.json(report)).await
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, LinkError> {
        self.door.request(method, path, Some(&self.session))
    }
}
