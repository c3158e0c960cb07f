//! An S3 bucket for contexts.

mod error;
mod object;
mod settings;
mod upload;

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient,
};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Connector, tls};

use bakery_core::secret::Secret;

pub use error::{S3Error, S3Operation};
pub use object::S3Object;
pub use settings::{S3Settings, StaticKeys, is_endpoint_of_aws};
pub use upload::PutOutcome;

/// One bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
}

impl S3Store {
    /// The bucket of these settings. Sends no request yet.
    pub async fn new(settings: &S3Settings) -> Self {
        let base = if let Some(keys) = &settings.keys {
            let session = keys.session.as_ref().map(|token| token.expose().to_owned());
            let (access, secret) = (keys.access.expose(), keys.secret.expose());
            Builder::new().credentials_provider(Credentials::new(access, secret, session, None, "bakery"))
        } else {
            let chain = aws_config::defaults(BehaviorVersion::v2026_01_12())
                .region(Region::new(settings.region.clone()));
            Builder::from(&chain.load().await)
        };
        let mut config = base
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(settings.region.clone()))
            .http_client(http_client())
            .retry_config(RetryConfig::standard().with_max_attempts(5))
            .timeout_config(TimeoutConfig::builder().connect_timeout(Duration::from_secs(10)).build());
        if let Some(endpoint) = &settings.endpoint {
            let host = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, host)| host);
            let aws = settings::is_aws(host.split(':').next().unwrap_or_default());
            config = config.endpoint_url(endpoint).force_path_style(!aws);
            if !aws {
                // Many stores support neither trailing checksums nor the chunked encoding that carries them.
                config = config
                    .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                    .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
            }
        }
        Self { client: Client::from_conf(config.build()), bucket: settings.bucket.clone() }
    }

    /// The bucket of a task's order, with the credentials that the platform provides to the task.
    pub async fn with_task_role(endpoint: Option<String>, region: String, bucket: String) -> Self {
        Self::new(&S3Settings { bucket, region, endpoint, keys: None }).await
    }

    /// Sends a file unless the key already exists. Needs only `s3:PutObject`: it sends no HEAD request.
    pub async fn put_if_absent(&self, key: &str, file: &Path) -> Result<PutOutcome, S3Error> {
        upload::Upload::new(self, key, file).await?.run(true, std::future::pending()).await
    }

    /// As [`Self::put_if_absent`]. When `stop` completes, what was sent so far is removed before the call returns.
    pub async fn put_if_absent_until(
        &self,
        key: &str,
        file: &Path,
        stop: impl Future<Output = ()>,
    ) -> Result<PutOutcome, S3Error> {
        upload::Upload::new(self, key, file).await?.run(true, stop).await
    }

    /// Sends a file even if the key exists, which resets the object's age for the bucket's lifecycle rule.
    pub async fn put(&self, key: &str, file: &Path, stop: impl Future<Output = ()>) -> Result<(), S3Error> {
        upload::Upload::new(self, key, file).await?.run(false, stop).await.map(|_| ())
    }

    /// Opens an object for reading.
    pub async fn get(&self, key: &str) -> Result<S3Object, S3Error> {
        S3Object::open(self.clone(), key).await
    }

    /// A presigned URL with which anyone can read this one object for the duration `valid`. The signer needs
    /// `s3:GetObject`; no request is sent.
    pub async fn presign_get(&self, key: &str, valid: Duration) -> Result<Secret, S3Error> {
        let unsigned =
            |text: String| S3Error::Unreachable { operation: self.operation(error::GET, key), text };
        let until = PresigningConfig::expires_in(valid).map_err(|error| unsigned(error.to_string()))?;
        let request = self.client.get_object().bucket(&self.bucket).key(key).presigned(until).await;
        let request = request.map_err(|error| error::from_sdk(self.operation(error::GET, key), &error))?;
        Ok(Secret::new(request.uri()))
    }

    fn operation(&self, verb: &'static str, key: &str) -> S3Operation {
        S3Operation { verb, bucket: self.bucket.clone(), key: key.to_owned() }
    }
}

/// The SDK's HTTP client with the machine's proxy variables, which the SDK ignores by default. Only for the bucket:
/// credentials from a link-local address must not be fetched through a proxy.
fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_with_connector_fn(|settings, _| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc)).build()
    })
}

impl StaticKeys {
    /// A pair of keys without a session.
    pub fn new(access: impl Into<Secret>, secret: impl Into<Secret>) -> Self {
        Self { access: access.into(), secret: secret.into(), session: None }
    }
}
