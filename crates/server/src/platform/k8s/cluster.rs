//! Finding the cluster and calling it. Every call is bounded in time, and every failure becomes a [`LaunchError`].

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bakery_core::message::{Hint, Message};
use bakery_core::reason::Reason;
use bakery_core::vars::Vars;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Error, Resource};
use tokio::sync::Semaphore;

use super::super::LaunchError;
use super::api_text::{QUOTA_HINT, chain, one_line};

/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(20);
/// The first pause before a creation that met another is retried.
const CONFLICT: Duration = Duration::from_millis(100);
/// Calls at once: the API server would only throttle a larger burst.
const CALLS: usize = 32;

/// Why there is no platform `k8s`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct K8sError {
    /// What was tried and what happened.
    pub text: String,
    /// What to do about it.
    pub hint: String,
}

impl Hint for K8sError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.hint))
    }
}

/// A namespace of a cluster. Clones are handles to the same connections.
#[derive(Clone)]
pub struct Cluster {
    pub(super) client: Client,
    calls: Arc<Semaphore>,
    /// The namespace of the agents' Jobs.
    pub namespace: String,
    /// The URL of the API server.
    pub url: String,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("namespace", &self.namespace)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// The cluster that `KUBECONFIG` names, else the one that this process runs in as a pod, else that of `~/.kube/config`.
    /// Makes no call yet.
    pub async fn find(vars: &dyn Vars, namespace: &str) -> Result<Self, K8sError> {
        let config = config(vars).await?;
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = Client::try_from(config).map_err(|error| K8sError {
            text: format!("cannot connect to the Kubernetes API at {url}: {}", chain(&error)),
            hint: "check the certificates and the login that the kubeconfig names".to_owned(),
        })?;
        Ok(Self { client, calls: Arc::new(Semaphore::new(CALLS)), namespace: namespace.to_owned(), url })
    }

    pub(super) fn jobs(&self) -> Api<Job> {
        self.api()
    }

    pub(super) fn pods(&self) -> Api<Pod> {
        self.api()
    }

    pub(super) fn events(&self) -> Api<Event> {
        self.api()
    }

    pub(super) fn secrets(&self) -> Api<Secret> {
        self.api()
    }

    pub(super) fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// One call, bounded in time.
    pub(super) async fn call<T>(
        &self,
        doing: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, K8sCallError> {
        let bounded = async {
            // The semaphore is never closed.
            let _one = self.calls.acquire().await;
            call.await
        };
        match tokio::time::timeout(ANSWER, bounded).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let status = if let Error::Api(status) = &error { status.reason.as_str() } else { "" };
                Err(K8sCallError {
                    code: code(&error),
                    status: status.to_owned(),
                    error: self.launch_error(doing, &error),
                })
            }
            Err(_) => {
                let (url, limit) = (&self.url, ANSWER.as_secs());
                let message =
                    format!("{doing}: the Kubernetes API at {url} did not answer within {limit}s").into();
                let error = LaunchError { retryable: true, reason: Reason::PlatformUnreachable, message };
                Err(K8sCallError { code: 0, status: String::new(), error })
            }
        }
    }

    /// Creates an object. A conflict over the namespace's quota, which is counted anew at the same moment, is retried.
    pub(super) async fn create<K>(&self, doing: &str, api: &Api<K>, wanted: &K) -> Result<K, K8sCallError>
    where
        K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    {
        let params = PostParams::default();
        let mut pause = CONFLICT;
        loop {
            match self.call(doing, api.create(&params, wanted)).await {
                Err(failed) if failed.status == "Conflict" && pause < CONFLICT * 8 => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                answer => return answer,
            }
        }
    }

    /// The text of an error of the API server, or on the way to it.
    pub(super) fn text_of(&self, error: &Error) -> String {
        match error {
            Error::Api(status) => one_line(&status.message),
            other => format!("the Kubernetes API at {} does not answer ({})", self.url, chain(other)),
        }
    }

    /// The launch error that an error of a call stands for. `doing`: what was tried.
    fn launch_error(&self, doing: &str, error: &Error) -> LaunchError {
        let text = self.text_of(error);
        let (reason, retryable, hint) = match code(error) {
            403 if text.contains("exceeded quota") => (Reason::NoCapacity, true, Some(QUOTA_HINT)),
            403 if text.contains("being terminated") => (
                Reason::LaunchRefused,
                false,
                Some("the namespace is being deleted; name another in K8S_NAMESPACE"),
            ),
            403 => {
                let hint = "give the server's account this right (examples/server/k8s/role.yaml); `bakery-server check` \
                            lists what is missing";
                (Reason::LaunchRefused, false, Some(hint))
            }
            404 if text.contains("namespaces ") => {
                (Reason::LaunchRefused, false, Some("create the namespace, or name another in K8S_NAMESPACE"))
            }
            400 | 422 => {
                (Reason::LaunchRefused, false, Some("check the settings file that K8S_CONFIG_PATH names"))
            }
            // Tokens are renewed, and whoever checks them may be away for a moment.
            401 => (
                Reason::PlatformUnreachable,
                true,
                Some("the API server rejects the server's credentials; renew them"),
            ),
            429 => (
                Reason::PlatformUnreachable,
                true,
                Some("the API server throttles; lower MAX_RUNS if it keeps doing so"),
            ),
            _ => (Reason::PlatformUnreachable, true, None),
        };
        let hint = hint.map(str::to_owned);
        LaunchError { retryable, reason, message: Message { text: format!("{doing}: {text}"), hint } }
    }
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct K8sCallError {
    /// The HTTP status; 0 where there was none.
    pub(super) code: u16,
    /// The API server's own code for it: `AlreadyExists`, `Conflict`; empty where it did not answer.
    pub(super) status: String,
    pub(super) error: LaunchError,
}

impl From<K8sCallError> for LaunchError {
    fn from(failed: K8sCallError) -> Self {
        failed.error
    }
}

fn code(error: &Error) -> u16 {
    if let Error::Api(status) = error { status.code } else { 0 }
}

async fn config(vars: &dyn Vars) -> Result<Config, K8sError> {
    if let Some(named) = vars.setting("KUBECONFIG") {
        let bad = |error: &KubeconfigError| K8sError {
            text: format!("KUBECONFIG={named} cannot be used: {}", chain(error)),
            hint: "name a kubeconfig file with a current context".to_owned(),
        };
        let files = named.split(':').filter(|part| !part.is_empty());
        let merged =
            files.map(Kubeconfig::read_from).try_fold(Kubeconfig::default(), |all, next| all.merge(next?));
        let merged = merged.map_err(|error| bad(&error))?;
        return of_file(merged).await.map_err(|error| bad(&error));
    }
    if vars.setting("KUBERNETES_SERVICE_HOST").is_some() {
        return Config::incluster().map_err(|error| K8sError {
            text: format!("the service account of the server's pod cannot be used: {}", chain(&error)),
            hint: "mount its token into the pod: automountServiceAccountToken: true".to_owned(),
        });
    }
    let home = vars.setting("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
    let Some(file) = home.filter(|file| file.is_file()) else {
        return Err(K8sError {
            text: "no Kubernetes cluster configured: KUBECONFIG is not set, the server is not \
                   running in a pod, and ~/.kube/config does not exist"
                .to_owned(),
            hint: "name a kubeconfig file in KUBECONFIG, or run the server in the cluster".to_owned(),
        });
    };
    let bad = |error: KubeconfigError| K8sError {
        text: format!("{} cannot be used: {}", file.display(), chain(&error)),
        hint: "name another kubeconfig file in KUBECONFIG".to_owned(),
    };
    of_file(Kubeconfig::read_from(&file).map_err(bad)?).await.map_err(bad)
}

async fn of_file(file: Kubeconfig) -> Result<Config, KubeconfigError> {
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await
}

#[cfg(test)]
mod tests;
