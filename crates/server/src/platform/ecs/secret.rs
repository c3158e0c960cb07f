//! The secret with which ECS pulls a private agent image.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata as _;
use bakery_core::message::Message;
use bakery_core::secret::Secret;

use super::client::AwsCallError;

/// The secret that the operator names.
#[derive(Debug, Clone)]
pub enum PullSecret {
    /// `AGENT_IMAGE_SECRET_ARN`.
    Arn(String),
    /// `AGENT_IMAGE_SECRET_NAME`, `_USERNAME`, `_PASSWORD`: created where there is none of this name.
    Login {
        /// Its name.
        name: String,
        /// The user name for the registry.
        username: String,
        /// The password for the registry.
        password: Secret,
    },
}

impl PullSecret {
    /// Its ARN. A secret that exists is used as it is: its value is neither read nor changed.
    pub(super) async fn arn(&self, client: &Client) -> Result<String, AwsCallError> {
        let (name, username, password) = match self {
            Self::Arn(arn) => return Ok(arn.clone()),
            Self::Login { name, username, password } => (name, username, password),
        };
        let body = serde_json::json!({ "username": username, "password": password.expose() }).to_string();
        let made = client.create_secret().name(name).secret_string(body).send().await;
        let (arn, what) = match made {
            Ok(answer) => (answer.arn, "created"),
            Err(error) => {
                let failed = AwsCallError::of(format!("creating the secret {name}"), &error);
                // The second is the code for a secret that is scheduled for deletion, among others.
                let there = match failed.code.as_str() {
                    "ResourceExistsException" | "InvalidRequestException" => self.found(client).await?,
                    _ => None,
                };
                (Some(there.ok_or(failed)?), "found")
            }
        };
        let arn = arn.unwrap_or_else(|| name.clone());
        tracing::info!(arn, "the secret for pulling the agent image was {what}");
        Ok(arn)
    }

    /// The ARN of the secret, `None` where it does not exist. Changes nothing.
    pub(super) async fn found(&self, client: &Client) -> Result<Option<String>, AwsCallError> {
        let name = match self {
            Self::Arn(arn) => arn,
            Self::Login { name, .. } => name,
        };
        match client.describe_secret().secret_id(name).send().await {
            // AWS shows it for days and gives its value to nobody.
            Ok(answer) if answer.deleted_date.is_some() => {
                let (text, hint) = ("it is scheduled for deletion", "restore it, or name another one");
                Err(AwsCallError::unusable(format!("using the secret {name}"), text, hint))
            }
            Ok(answer) => Ok(answer.arn),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(AwsCallError::of(format!("looking at the secret {name}"), &error)),
        }
    }
}

/// Why the server does not start with this secret.
pub(super) fn why_unusable(failed: &AwsCallError) -> Message {
    if failed.is_denied() {
        let hint =
            "name a secret that exists in AGENT_IMAGE_SECRET_ARN, or give the server's role this permission";
        return Message::new(failed.to_string()).with_hint(hint);
    }
    failed.error().message
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::wire_tests::Aws;
    use super::*;

    /// The message about a secret that is scheduled for deletion.
    fn deleted_message() -> Message {
        Message::new("using the secret pull: it is scheduled for deletion")
            .with_hint("restore it, or name another one")
    }

    fn secret() -> PullSecret {
        PullSecret::Login { name: "pull".into(), username: "ci".into(), password: Secret::new("word") }
    }

    async fn found(answer: Value) -> Result<Option<String>, Message> {
        let aws = Aws::answering(move |_, _| std::future::ready(answer.clone())).await;
        secret().found(&Client::new(&aws.config)).await.map_err(|failed| why_unusable(&failed))
    }

    /// The result of a start where `CreateSecret` fails with this code, and `DescribeSecret` answers so.
    async fn start(made: &'static str, described: Value) -> Result<String, Message> {
        let aws = Aws::answering(move |action, _| {
            std::future::ready(match &*action {
                "CreateSecret" => json!({ "__type": made, "message": "no" }),
                _ => described.clone(),
            })
        })
        .await;
        secret().arn(&Client::new(&aws.config)).await.map_err(|failed| why_unusable(&failed))
    }

    #[tokio::test]
    async fn a_secret_exists_or_not_or_is_unusable() {
        assert_eq!(found(json!({ "ARN": "arn:1" })).await, Ok(Some("arn:1".to_owned())));
        assert_eq!(found(json!({ "__type": "ResourceNotFoundException" })).await, Ok(None));
        let deleted = json!({ "ARN": "arn:1", "DeletedDate": 1_795_640_000 });
        assert_eq!(found(deleted).await.unwrap_err(), deleted_message());
        let denied = json!({ "__type": "AccessDeniedException", "message": "not authorized to perform: x" });
        let message = found(denied).await.unwrap_err();
        assert!(
            message.text.contains("looking at the secret pull")
                && message.hint.as_deref().is_some_and(|hint| hint.contains("AGENT_IMAGE_SECRET_ARN")),
            "{message:?}"
        );
        let invalid = json!({ "__type": "InvalidRequestException", "message": "no" });
        let message = found(invalid).await.unwrap_err();
        assert_eq!(message, "looking at the secret pull: InvalidRequestException: no".into());
    }

    #[tokio::test]
    async fn a_start_uses_a_secret_that_exists_and_explains_why_one_is_unusable() {
        let there = json!({ "ARN": "arn:1" });
        assert_eq!(start("ResourceExistsException", there).await, Ok("arn:1".to_owned()));
        let deleted = json!({ "ARN": "arn:1", "DeletedDate": 1_795_640_000 });
        assert_eq!(start("InvalidRequestException", deleted).await.unwrap_err(), deleted_message());
        let nothing = json!({ "__type": "ResourceNotFoundException" });
        let message = start("InvalidRequestException", nothing).await.unwrap_err();
        assert_eq!(message, "creating the secret pull: InvalidRequestException: no".into());
    }
}
