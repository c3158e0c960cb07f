//! The interface of the proxy for tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::emulator::Emulator;
use super::fault::{Ending, Fault};
use super::listener::{ClosableListener, CutHandle};
use super::policy::Policy;
use super::record::Recorded;
use super::serve::serve;
use super::state::{ProxyShared, ProxyState};
use super::stub::Launch;
use super::token::Tokens;
use crate::process::until;
use crate::s3::Keys;

/// A running proxy; ends when dropped. See [`crate::aws`].
#[derive(Debug)]
pub struct AwsProxy {
    shared: Arc<ProxyShared>,
    addrs: Vec<SocketAddr>,
    open: watch::Sender<bool>,
    _listeners: JoinSet<()>,
}

impl AwsProxy {
    /// A proxy in front of the emulator and of the S3 server at `s3` (`host:port`). It listens on a port of each of `ips`.
    pub async fn start(emulator: &Emulator, s3: Option<&str>, ips: &[&str]) -> Result<Self> {
        let proxy = Self::between(&emulator.endpoint, &emulator.account, s3, ips).await?;
        proxy.session(&emulator.task, &emulator.task_token);
        Ok(proxy)
    }

    /// The same for any emulator.
    pub async fn between(emulator: &str, account: &str, s3: Option<&str>, ips: &[&str]) -> Result<Self> {
        // Idle connections are closed before the emulator closes them.
        let client = reqwest::Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(30));
        let client = client.redirect(reqwest::redirect::Policy::none()).build()?;
        let shared = Arc::new(ProxyShared {
            client,
            emulator: emulator.trim_end_matches('/').to_owned(),
            account: account.to_owned(),
            s3: s3.map(|host| format!("http://{host}")),
            tokens: Tokens::default(),
            stub: Arc::default(),
            state: Mutex::default(),
        });
        let open = watch::Sender::new(true);
        let mut listeners = JoinSet::new();
        let mut addrs = Vec::new();
        for ip in ips {
            let listener = ClosableListener::new(ip, open.subscribe())
                .await
                .with_context(|| format!("no port on {ip}"))?;
            addrs.push(listener.addr());
            let router = Router::new().fallback(serve).with_state(Arc::clone(&shared));
            let service = router.into_make_service_with_connect_info::<CutHandle>();
            listeners.spawn(async move {
                let _ = axum::serve(listener, service).await;
            });
        }
        Ok(Self { shared, addrs, open, _listeners: listeners })
    }

    /// `ip:port` on the first of its addresses.
    pub fn host(&self) -> String {
        self.addrs[0].to_string()
    }

    /// `ip:port` on the address `ip`.
    ///
    /// # Panics
    /// When it does not listen there.
    pub fn host_on(&self, ip: &str) -> String {
        let addr = self.addrs.iter().find(|addr| addr.ip().to_string() == ip);
        addr.unwrap_or_else(|| panic!("the proxy does not listen on {ip}")).to_string()
    }

    /// `http://ip:port` on the first of its addresses.
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// Adds a principal, or changes its policy. Records and denials contain its name.
    pub fn grant(&self, name: &str, key: &str, policy: Policy) {
        self.state().principals.insert(key.to_owned(), (name.to_owned(), policy));
    }

    /// Turns a pair of keys into a session: S3 rejects them without this token.
    pub fn session(&self, keys: &Keys, token: &str) {
        self.state().sessions.insert(keys.id.clone(), (keys.secret.clone(), token.to_owned()));
    }

    /// Refuses an action to every principal, as if no policy granted it.
    pub fn deny(&self, action: &str) {
        self.state().denied.insert(action.to_owned());
    }

    /// Reverts [`AwsProxy::deny`].
    pub fn allow(&self, action: &str) {
        self.state().denied.remove(action);
    }

    /// Answers the next `times` calls of an action with a fault. Faults of one action are used in the order of injection.
    pub fn inject(&self, action: &str, fault: Fault, times: usize) {
        self.state().faults.add(action, fault, times);
    }

    /// Removes the faults that were not used.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// From now on every new task is `MISSING` in its first `describes` descriptions.
    pub fn lag(&self, describes: usize) {
        self.state().lag = describes;
    }

    /// Stops a task and its containers; from then on its description has this ending.
    pub async fn end(&self, task: &str, ending: Ending) -> Result<()> {
        let cluster = task.split('/').nth(1).context("a task is named by its ARN")?.to_owned();
        // The ending first: no caller may see the emulator's own reason in between.
        self.state().endings.insert(task.to_owned(), ending);
        let stop = json!({ "cluster": cluster, "task": task, "reason": "the test's" });
        self.emulator("ecs:StopTask", &stop).await.map(drop)
    }

    /// From now on the stub has the tasks of a family: it answers `RunTask`, `DescribeTasks` and `StopTask` for them
    /// itself, and no container starts. The receiver gets each launch. Everything else works as before:
    /// permissions, tokens and definitions apply to them too, and `ListTasks` does not list them.
    pub fn stub(&self, family: &str) -> mpsc::UnboundedReceiver<Launch> {
        self.shared.stub.take(family)
    }

    /// Deregisters a definition without a recorded call.
    pub async fn deregister(&self, definition: &str) -> Result<()> {
        let gone =
            self.emulator("ecs:DeregisterTaskDefinition", &json!({ "taskDefinition": definition })).await?;
        self.shared.learn("ecs:DeregisterTaskDefinition", &gone);
        Ok(())
    }

    /// Calls the emulator directly: without record, permissions or faults.
    pub async fn emulator(&self, action: &str, body: &Value) -> Result<Value> {
        self.shared.ask(action, body).await
    }

    /// Closes every listener: connections are cut, new ones refused, until [`AwsProxy::open`].
    pub async fn close(&self) -> Result<()> {
        self.open.send_replace(false);
        for addr in &self.addrs {
            let refused = async || TcpStream::connect(addr).await.is_err();
            until("a closed listener", Duration::from_secs(5), refused).await?;
        }
        Ok(())
    }

    /// Opens the listeners again, at the same addresses.
    pub async fn open(&self) -> Result<()> {
        self.open.send_replace(true);
        for addr in &self.addrs {
            let accepted = async || TcpStream::connect(addr).await.is_ok();
            until("an open listener", Duration::from_secs(5), accepted).await?;
        }
        Ok(())
    }

    /// Every call so far, in the order in which they were answered.
    pub fn calls(&self) -> Vec<Recorded> {
        self.state().calls.clone()
    }

    /// Maps each call, in the same order, without copying them.
    pub fn each<T>(&self, see: impl FnMut(&Recorded) -> T) -> Vec<T> {
        self.state().calls.iter().map(see).collect()
    }

    /// The calls of one action.
    pub fn calls_of(&self, action: &str) -> Vec<Recorded> {
        self.state().calls.iter().filter(|call| call.action == action).cloned().collect()
    }

    /// The calls whose request contains a text anywhere, such as a secret.
    pub fn calls_with(&self, text: &str) -> Vec<Recorded> {
        self.state().calls.iter().filter(|call| call.holds(text)).cloned().collect()
    }

    /// The number of calls by principal and action.
    pub fn counts(&self) -> BTreeMap<(String, String), usize> {
        let mut counts = BTreeMap::new();
        for call in &self.state().calls {
            *counts.entry((call.principal.clone(), call.action.clone())).or_default() += 1;
        }
        counts
    }

    /// Removes the recorded calls.
    pub fn forget(&self) {
        self.state().calls.clear();
    }

    /// The tasks that were started, as in the answers of `RunTask`.
    pub fn tasks(&self) -> Vec<Value> {
        self.state().tasks.clone()
    }

    fn state(&self) -> MutexGuard<'_, ProxyState> {
        self.shared.state()
    }
}
