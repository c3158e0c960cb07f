//! The proxy as a test holds it.

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

/// A running proxy; ends with its owner. See [`crate::aws`].
#[derive(Debug)]
pub struct AwsProxy {
    shared: Arc<ProxyShared>,
    addrs: Vec<SocketAddr>,
    open: watch::Sender<bool>,
    _listeners: JoinSet<()>,
}

impl AwsProxy {
    /// A proxy before the emulator and, at `s3` (`host:port`), an S3 server. It listens on a port of each of `ips`.
    pub async fn start(emulator: &Emulator, s3: Option<&str>, ips: &[&str]) -> Result<Self> {
        let proxy = Self::between(&emulator.endpoint, &emulator.account, s3, ips).await?;
        proxy.session(&emulator.task, &emulator.task_token);
        Ok(proxy)
    }

    /// The same before any emulator.
    pub async fn between(emulator: &str, account: &str, s3: Option<&str>, ips: &[&str]) -> Result<Self> {
        // An idle connection is given up before the emulator gives it up.
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

    /// Lets a principal in, or gives it another policy. Its name stands in the record and in denials.
    pub fn grant(&self, name: &str, key: &str, policy: Policy) {
        self.state().principals.insert(key.to_owned(), (name.to_owned(), policy));
    }

    /// Makes a pair of keys a session's: before S3 they are nothing without this token.
    pub fn session(&self, keys: &Keys, token: &str) {
        self.state().sessions.insert(keys.id.clone(), (keys.secret.clone(), token.to_owned()));
    }

    /// Refuses an action to everybody, as if no policy granted it.
    pub fn deny(&self, action: &str) {
        self.state().denied.insert(action.to_owned());
    }

    /// Takes [`AwsProxy::deny`] back.
    pub fn allow(&self, action: &str) {
        self.state().denied.remove(action);
    }

    /// Answers the next `times` calls of an action with a fault. Faults of one action come in the order of asking.
    pub fn inject(&self, action: &str, fault: Fault, times: usize) {
        self.state().faults.add(action, fault, times);
    }

    /// Forgets the faults that nobody has met.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// From now on every task that is started is `MISSING` the first `describes` times that it is asked for.
    pub fn lag(&self, describes: usize) {
        self.state().lag = describes;
    }

    /// Ends a task, its containers included, and says from then on that it ended so.
    pub async fn end(&self, task: &str, ending: Ending) -> Result<()> {
        let cluster = task.split('/').nth(1).context("a task is named by its ARN")?.to_owned();
        // First what is said: nobody is to see the emulator's own reason in between.
        self.state().endings.insert(task.to_owned(), ending);
        let stop = json!({ "cluster": cluster, "task": task, "reason": "the test's" });
        self.emulator("ecs:StopTask", &stop).await.map(drop)
    }

    /// From now on the tasks of a family are the stub's: it answers `RunTask`, `DescribeTasks` and `StopTask` about them
    /// itself, and no container starts. What it is asked to start comes out here. All else goes where it went before:
    /// permissions, tokens and definitions hold for them too, and `ListTasks` does not know them.
    pub fn stub(&self, family: &str) -> mpsc::UnboundedReceiver<Launch> {
        self.shared.stub.take(family)
    }

    /// Deregisters a definition behind everybody's back.
    pub async fn deregister(&self, definition: &str) -> Result<()> {
        let gone =
            self.emulator("ecs:DeregisterTaskDefinition", &json!({ "taskDefinition": definition })).await?;
        self.shared.learn("ecs:DeregisterTaskDefinition", &gone);
        Ok(())
    }

    /// Calls the emulator directly, unseen: no record, no permission, no fault.
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

    /// What one sees of each call, in the same order: of many thousands no copy is made.
    pub fn each<T>(&self, see: impl FnMut(&Recorded) -> T) -> Vec<T> {
        self.state().calls.iter().map(see).collect()
    }

    /// The calls of one action.
    pub fn calls_of(&self, action: &str) -> Vec<Recorded> {
        self.state().calls.iter().filter(|call| call.action == action).cloned().collect()
    }

    /// The calls that hold a text anywhere in what was sent: for secrets that should be nowhere.
    pub fn calls_with(&self, text: &str) -> Vec<Recorded> {
        self.state().calls.iter().filter(|call| call.holds(text)).cloned().collect()
    }

    /// How many calls each principal has made, by its name and the action.
    pub fn counts(&self) -> BTreeMap<(String, String), usize> {
        let mut counts = BTreeMap::new();
        for call in &self.state().calls {
            *counts.entry((call.principal.clone(), call.action.clone())).or_default() += 1;
        }
        counts
    }

    /// Forgets the calls so far.
    pub fn forget(&self) {
        self.state().calls.clear();
    }

    /// The tasks that were started, as `RunTask` answered.
    pub fn tasks(&self) -> Vec<Value> {
        self.state().tasks.clone()
    }

    fn state(&self) -> MutexGuard<'_, ProxyState> {
        self.shared.state()
    }
}
