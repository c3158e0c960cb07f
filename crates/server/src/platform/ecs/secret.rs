//! The secret with which ECS pulls a private agent image.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata as _;
use bakery_core::secret::Secret;

use super::cloud::Refused;

/// Where it comes from.
#[derive(Debug, Clone)]
pub enum PullSecret {
    /// `AGENT_IMAGE_SECRET_ARN`.
    Arn(String),
    /// `AGENT_IMAGE_SECRET_NAME`, `_USERNAME`, `_PASSWORD`: made where there is none of this name.
    Login {
        /// Its name.
        name: String,
        /// Who pulls.
        username: String,
        /// With which password.
        password: Secret,
    },
}

impl PullSecret {
    /// Its ARN. One that exists is used as it is: its body is not looked at, and not changed.
    pub(super) async fn arn(&self, client: &Client) -> Result<String, Refused> {
        let (name, username, password) = match self {
            Self::Arn(arn) => return Ok(arn.clone()),
            Self::Login { name, username, password } => (name, username, password),
        };
        let body = serde_json::json!({ "username": username, "password": password.expose() }).to_string();
        let made = client.create_secret().name(name).secret_string(body).send().await;
        let (arn, what) = match made {
            Ok(answer) => (answer.arn, "created"),
            Err(error) if error.code() == Some("ResourceExistsException") => {
                (self.found(client).await?, "found")
            }
            Err(error) => return Err(Refused::of(format!("creating the secret {name}"), &error)),
        };
        let arn = arn.unwrap_or_else(|| name.clone());
        tracing::info!(arn, "the secret for pulling the agent image was {what}");
        Ok(arn)
    }

    /// The ARN of one that exists; changes nothing.
    pub(super) async fn found(&self, client: &Client) -> Result<Option<String>, Refused> {
        let name = match self {
            Self::Arn(arn) => arn,
            Self::Login { name, .. } => name,
        };
        match client.describe_secret().secret_id(name).send().await {
            Ok(answer) => Ok(answer.arn),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(Refused::of(format!("looking at the secret {name}"), &error)),
        }
    }
}
