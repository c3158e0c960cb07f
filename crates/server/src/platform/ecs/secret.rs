//! The secret with which ECS pulls a private agent image.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata as _;
use bakery_core::message::Message;
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
            Err(error) => {
                let refused = Refused::of(format!("creating the secret {name}"), &error);
                // The second is AWS's word for one that is scheduled for deletion, among others.
                let there = match refused.code.as_str() {
                    "ResourceExistsException" | "InvalidRequestException" => self.found(client).await?,
                    _ => None,
                };
                (Some(there.ok_or(refused)?), "found")
            }
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
            // AWS gives its body to nobody any more, and shows it for days.
            Ok(answer) if answer.deleted_date.is_some() => {
                let (said, hint) = ("it is scheduled for deletion", "restore it, or name another one");
                Err(Refused::seen(format!("using the secret {name}"), said, hint))
            }
            Ok(answer) => Ok(answer.arn),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(Refused::of(format!("looking at the secret {name}"), &error)),
        }
    }
}

/// Why the server does not start with it.
pub(super) fn unusable(refused: &Refused) -> Message {
    if refused.is_denied() {
        let hint =
            "name a secret that exists in AGENT_IMAGE_SECRET_ARN, or give the server's role this permission";
        return Message::new(refused.to_string()).with_hint(hint);
    }
    refused.error().message
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::wire_tests::Aws;
    use super::*;

    /// What is said of a secret that is scheduled for deletion.
    fn deleted_message() -> Message {
        Message::new("using the secret pull: it is scheduled for deletion")
            .with_hint("restore it, or name another one")
    }

    fn secret() -> PullSecret {
        PullSecret::Login { name: "pull".into(), username: "ci".into(), password: Secret::new("word") }
    }

    async fn found(answer: Value) -> Result<Option<String>, Message> {
        let aws = Aws::answering(move |_, _| std::future::ready(answer.clone())).await;
        secret().found(&Client::new(&aws.config)).await.map_err(|refused| unusable(&refused))
    }

    /// What a start gets where the secret is not made because of this, and is described so.
    async fn start(made: &'static str, described: Value) -> Result<String, Message> {
        let aws = Aws::answering(move |action, _| {
            std::future::ready(match &*action {
                "CreateSecret" => json!({ "__type": made, "message": "no" }),
                _ => described.clone(),
            })
        })
        .await;
        secret().arn(&Client::new(&aws.config)).await.map_err(|refused| unusable(&refused))
    }

    #[tokio::test]
    async fn a_secret_is_there_or_not_there_or_of_no_use() {
        assert_eq!(found(json!({ "ARN": "arn:1" })).await, Ok(Some("arn:1".to_owned())));
        assert_eq!(found(json!({ "__type": "ResourceNotFoundException" })).await, Ok(None));
        let deleted = json!({ "ARN": "arn:1", "DeletedDate": 1_795_640_000 });
        assert_eq!(found(deleted).await.unwrap_err(), deleted_message());
        let denied = json!({ "__type": "AccessDeniedException", "message": "not authorized to perform: x" });
        let said = found(denied).await.unwrap_err();
        assert!(
            said.text.contains("looking at the secret pull")
                && said.hint.as_deref().is_some_and(|hint| hint.contains("AGENT_IMAGE_SECRET_ARN")),
            "{said:?}"
        );
        let invalid = json!({ "__type": "InvalidRequestException", "message": "no" });
        let said = found(invalid).await.unwrap_err();
        assert_eq!(said, "looking at the secret pull: InvalidRequestException: no".into());
    }

    #[tokio::test]
    async fn a_start_takes_a_secret_that_exists_and_says_of_what_use_it_is_not() {
        let there = json!({ "ARN": "arn:1" });
        assert_eq!(start("ResourceExistsException", there).await, Ok("arn:1".to_owned()));
        let deleted = json!({ "ARN": "arn:1", "DeletedDate": 1_795_640_000 });
        assert_eq!(start("InvalidRequestException", deleted).await.unwrap_err(), deleted_message());
        let nothing = json!({ "__type": "ResourceNotFoundException" });
        let said = start("InvalidRequestException", nothing).await.unwrap_err();
        assert_eq!(said, "creating the secret pull: InvalidRequestException: no".into());
    }
}
