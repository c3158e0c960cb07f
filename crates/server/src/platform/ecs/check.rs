//! What `bakery-server check` tries on AWS: calls that change nothing.

use std::collections::HashSet;

use aws_sdk_ecs::Client;
use bakery_core::message::Message;
use bakery_core::names::Arch;

use super::client::{self, AwsCallError};
use super::definition_registry::Definitions;
use super::secret::PullSecret;
use super::size::Size;
use super::{EcsOptions, NO_TASK, template_of};

/// How often a call is made that AWS does not answer: a person is waiting.
const ATTEMPTS: u32 = 2;

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Everything is as it should be.
    Good(String),
    /// Builds work without it.
    Warning(Message),
    /// No build can succeed without it.
    Missing(Message),
}

/// Tries what can be tried. The size is that of tasks which request none.
pub async fn check(options: &EcsOptions, cpu_millis: u32, memory_mib: u32) -> Vec<Finding> {
    let config = client::config(&options.region, ATTEMPTS).await;
    let ecs = Client::new(&config);
    let mut found = Vec::new();
    let secrets = aws_sdk_secretsmanager::Client::new(&config);
    let secret = match pull_secret(options.pull_secret.as_ref(), &secrets).await {
        Ok(secret) => secret,
        Err(failed) if failed.code.is_empty() => return vec![missing(&failed)],
        Err(failed) => {
            found.push(missing(&failed));
            PullsWith::default()
        }
    };
    found.extend(secret.text.map(Finding::Good));
    let definitions = Definitions::new(ecs.clone(), template_of(options, secret.arn));
    match Size::of(cpu_millis, memory_mib, None) {
        Err(Message { text, hint }) => {
            let text = format!("a task that requests no size: {text}");
            found.push(Finding::Missing(Message { text, hint }));
        }
        Ok(size) => match definition(&definitions, size).await {
            Ok(text) => found.push(Finding::Good(text)),
            Err(failed) if failed.code.is_empty() => return vec![missing(&failed)],
            Err(failed) => found.push(missing(&failed)),
        },
    }
    found.push(match cluster(&ecs, &options.cluster).await {
        Ok(text) => Finding::Good(text),
        Err(failed) => missing(&failed),
    });
    let stop = ecs.stop_task().cluster(&options.cluster).task(NO_TASK).send().await;
    let stop =
        stop.map(drop).map_err(|error| AwsCallError::of("trying to stop a task that does not exist", &error));
    found.extend(denied(stop, "without it a cancelled task runs until its own deadline"));
    let list = ecs.list_tasks().cluster(&options.cluster).max_results(1).send().await;
    let list = list.map(drop).map_err(|error| AwsCallError::of("listing tasks", &error));
    found.extend(denied(list, "without it tasks that belong to no build are not found"));
    if options.clean_up {
        let tidy = definitions.outdated(&HashSet::default()).await.map(drop);
        found.extend(denied(tidy, "without it old task definitions are not deregistered"));
    }
    found
}

async fn definition(definitions: &Definitions, size: Size) -> Result<String, AwsCallError> {
    let mut there = Vec::new();
    for arch in Arch::ALL {
        let registered = definitions.is_registered(arch, size).await?;
        there.push(format!(
            "{arch} {}",
            if registered { "is registered" } else { "is registered by the first build" }
        ));
    }
    Ok(format!("task definitions for {size}: {}", there.join(", ")))
}

async fn cluster(ecs: &Client, name: &str) -> Result<String, AwsCallError> {
    let answer = ecs.describe_tasks().cluster(name).tasks(NO_TASK).send().await;
    answer.map_err(|error| AwsCallError::of(format!("looking at the cluster {name}"), &error))?;
    Ok(format!("ECS cluster {name} (RunTask has no dry run; only a real build proves that tasks start)"))
}

/// The secret with which the agent image is pulled, and the text about it.
#[derive(Default)]
struct PullsWith {
    arn: Option<String>,
    text: Option<String>,
}

async fn pull_secret(
    secret: Option<&PullSecret>,
    client: &aws_sdk_secretsmanager::Client,
) -> Result<PullsWith, AwsCallError> {
    let Some(secret) = secret else { return Ok(PullsWith::default()) };
    let (arn, text) = match secret {
        PullSecret::Arn(arn) => {
            (Some(arn.clone()), format!("the agent image is pulled with the secret {arn}"))
        }
        PullSecret::Login { name, .. } => match secret.found(client).await? {
            Some(arn) => {
                let text = format!("the secret {name} exists and is used unchanged: {arn}");
                (Some(arn), text)
            }
            None => (None, format!("the secret {name} is created at the first start")),
        },
    };
    Ok(PullsWith { arn, text: Some(text) })
}

fn missing(failed: &AwsCallError) -> Finding {
    Finding::Missing(failed.error().message)
}

/// A warning where a right is denied that builds work without. Any other failure shows that the call is allowed.
fn denied(tried: Result<(), AwsCallError>, loss: &str) -> Option<Finding> {
    let failed = tried.err().filter(AwsCallError::is_denied)?;
    Some(Finding::Warning(Message::new(failed.to_string()).with_hint(loss)))
}
