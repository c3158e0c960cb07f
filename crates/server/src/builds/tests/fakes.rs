//! A registry and a context store of plain data.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::*;

pub(super) type Publication = (ImageRef, Vec<Member>, Vec<Credential>);

/// A registry of plain data: it records what it publishes.
#[derive(Clone, Default)]
pub(super) struct FakeRegistry {
    inner: Arc<FakeRegistryInner>,
}

enum RegistryScript {
    Fail(RegistryError),
    Wait,
    Panic,
}

#[derive(Default)]
struct FakeRegistryInner {
    published: Mutex<Vec<Publication>>,
    scripts: Mutex<VecDeque<RegistryScript>>,
    checks: Mutex<VecDeque<PushedCheck>>,
    calls: watch::Sender<usize>,
}

impl FakeRegistry {
    pub(super) fn published(&self) -> Vec<Publication> {
        self.inner.published.lock().unwrap().clone()
    }

    /// The next call fails so; without an error it ends when it is withdrawn.
    pub(super) fn script(&self, error: Option<RegistryError>) {
        self.push(error.map_or(RegistryScript::Wait, RegistryScript::Fail));
    }

    /// The next look at a pushed image has this result.
    pub(super) fn script_check(&self, check: PushedCheck) {
        self.inner.checks.lock().unwrap().push_back(check);
    }

    /// The next call panics.
    pub(super) fn script_panic(&self) {
        self.push(RegistryScript::Panic);
    }

    fn push(&self, script: RegistryScript) {
        self.inner.scripts.lock().unwrap().push_back(script);
    }

    pub(super) async fn wait_calls(&self, count: usize) {
        self.inner.calls.subscribe().wait_for(|seen| *seen >= count).await.unwrap();
    }
}

#[async_trait]
impl Publisher for FakeRegistry {
    fn may_publish(&self, destination: &ImageRef) -> Result<(), RegistryError> {
        if destination.registry != "forbidden.test" {
            return Ok(());
        }
        let (text, hint) = (format!("{destination}: not here"), Some("elsewhere".to_owned()));
        Err(RegistryError { reason: Reason::PushRefused, text, hint })
    }

    async fn publish_index(
        &self,
        destination: &ImageRef,
        members: &[Member],
        creds: &[Credential],
        cancel: &CancellationToken,
    ) -> Result<Digest, RegistryError> {
        self.inner.calls.send_modify(|count| *count += 1);
        let script = self.inner.scripts.lock().unwrap().pop_front();
        match script {
            Some(RegistryScript::Fail(error)) => return Err(error),
            Some(RegistryScript::Panic) => panic!("the registry has come down"),
            Some(RegistryScript::Wait) => {
                cancel.cancelled().await;
                let (reason, text) = (Reason::Cancelled, "nothing was pushed".into());
                return Err(RegistryError { reason, text, hint: None });
            }
            None => {}
        }
        let what = (destination.clone(), members.to_vec(), creds.to_vec());
        self.inner.published.lock().unwrap().push(what);
        Ok(index_digest())
    }

    async fn check_pushed(
        &self,
        _: &ImageRef,
        _: &Digest,
        _: &[Credential],
        _: &CancellationToken,
    ) -> PushedCheck {
        self.inner.checks.lock().unwrap().pop_front().unwrap_or(PushedCheck::Confirmed)
    }
}

/// A context store that panics on the first calls of `source`, as many as its counter says.
pub(super) struct FakeContextStore(pub(super) Arc<AtomicU32>);

#[async_trait]
impl ContextStore for FakeContextStore {
    async fn check(&self, _: &str, context: &ContextRef) -> Result<(), ContextProblem> {
        if context.id == Digest::of(b"unknown") {
            return Err(ContextProblem { text: "it is not here".into(), hint: "send it".into() });
        }
        Ok(())
    }
    async fn source(&self, _: &ContextRef) -> Result<ContextSource, ContextProblem> {
        let panics = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(panics.is_err(), "the context store panics");
        Ok(ContextSource::Server)
    }
    async fn needed(&self, _: &ContextRef) {}
    async fn read(&self, _: &ContextRef) {}
    async fn broken(&self, _: &ContextRef) {}
    async fn sweep(&self, _: Duration) {}
}
