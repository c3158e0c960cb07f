//! Task definitions: looked up first, registered where there is none or a different one, and cleaned up at start.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{SortOrder, TaskDefinition, TaskDefinitionFamilyStatus, TaskDefinitionStatus};
use bakery_core::names::Arch;

use super::client::AwsCallError;
use super::definition::DefinitionTemplate;
use super::size::Size;

/// The definitions of this server.
#[derive(Debug)]
pub(super) struct Definitions {
    ecs: Client,
    template: DefinitionTemplate,
    /// Whether each is known to be as it should; locked while it is looked up or registered.
    ready: Mutex<HashMap<(Arch, Size), Ready>>,
}

type Ready = Arc<tokio::sync::Mutex<bool>>;

impl Definitions {
    pub(super) fn new(ecs: Client, template: DefinitionTemplate) -> Self {
        Self { ecs, template, ready: Mutex::default() }
    }

    /// The family whose newest definition fits this architecture and size, which is registered first if need be.
    pub(super) async fn family(&self, arch: Arch, size: Size) -> Result<String, AwsCallError> {
        let ready = self.ready(arch, size);
        let mut ready = ready.lock().await;
        if !*ready {
            if !self.is_registered(arch, size).await? {
                self.register(arch, size).await?;
            }
            *ready = true;
        }
        Ok(self.template.family(arch, size))
    }

    /// Makes the next [`Definitions::family`] look the definition up again: somebody deregistered it.
    pub(super) async fn forget(&self, arch: Arch, size: Size) {
        *self.ready(arch, size).lock().await = false;
    }

    fn ready(&self, arch: Arch, size: Size) -> Ready {
        let mut all = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry((arch, size)).or_default())
    }

    async fn newest(&self, family: &str) -> Result<Option<TaskDefinition>, AwsCallError> {
        match self.ecs.describe_task_definition().task_definition(family).send().await {
            Ok(answer) => {
                let active = |it: &TaskDefinition| it.status() == Some(&TaskDefinitionStatus::Active);
                Ok(answer.task_definition.filter(active))
            }
            Err(error) => {
                let failed = AwsCallError::of(format!("looking for the task definition {family}"), &error);
                // AWS returns this error if no such definition exists.
                if failed.lacks_definition() { Ok(None) } else { Err(failed) }
            }
        }
    }

    async fn register(&self, arch: Arch, size: Size) -> Result<(), AwsCallError> {
        let family = self.template.family(arch, size);
        let registered = self.template.input(arch, size).send_with(&self.ecs).await;
        let answer = registered
            .map_err(|error| AwsCallError::of(format!("registering the task definition {family}"), &error))?;
        let revision = answer.task_definition.map(|it| it.revision()).unwrap_or_default();
        tracing::info!(family, revision, "a task definition was registered");
        Ok(())
    }

    /// Whether the newest definition is as it should be.
    pub(super) async fn is_registered(&self, arch: Arch, size: Size) -> Result<bool, AwsCallError> {
        let found = self.newest(&self.template.family(arch, size)).await?;
        Ok(found.is_some_and(|found| self.template.matches(&found, arch, size)))
    }

    /// Deregisters the [outdated](Self::outdated) definitions, as far as AWS permits. Returns how many were deregistered.
    pub(super) async fn clean_up(&self, used: &HashSet<String>) -> Result<usize, AwsCallError> {
        let (mut gone, mut kept) = (0, Ok(()));
        for arn in self.outdated(used).await? {
            match self.ecs.deregister_task_definition().task_definition(&arn).send().await {
                Ok(_) => gone += 1,
                Err(error) => kept = Err(AwsCallError::of(format!("deregistering {arn}"), &error)),
            }
        }
        kept.map(|()| gone)
    }

    /// The definitions that this server registered before and no longer uses: all but the newest of each family, and that
    /// one too where the settings have changed since. `used` are the definitions of running tasks.
    pub(super) async fn outdated(&self, used: &HashSet<String>) -> Result<Vec<String>, AwsCallError> {
        let mut outdated = Vec::new();
        for family in self.families().await? {
            // Other families may have the same prefix: `bakery-agent-of-a-colleague` begins with `bakery-agent`.
            let Some((arch, size)) = self.template.parse_family(&family) else { continue };
            // In this order, a definition that is registered meanwhile is not among the outdated.
            let definitions = self.definitions(&family).await?;
            let kept = usize::from(self.is_registered(arch, size).await?);
            outdated.extend(definitions.into_iter().skip(kept).filter(|arn| !used.contains(arn)));
        }
        Ok(outdated)
    }

    async fn families(&self) -> Result<Vec<String>, AwsCallError> {
        let mut pages = self
            .ecs
            .list_task_definition_families()
            .family_prefix(&self.template.family)
            .status(TaskDefinitionFamilyStatus::Active)
            .into_paginator()
            .send();
        let mut families = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsCallError::of("listing task definition families", &error))?;
            families.extend(page.families.unwrap_or_default());
        }
        Ok(families)
    }

    /// Newest first.
    async fn definitions(&self, family: &str) -> Result<Vec<String>, AwsCallError> {
        let mut pages = self
            .ecs
            .list_task_definitions()
            .family_prefix(family)
            .status(TaskDefinitionStatus::Active)
            .sort(SortOrder::Desc)
            .into_paginator()
            .send();
        let mut arns = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page
                .map_err(|error| AwsCallError::of(format!("listing task definitions of {family}"), &error))?;
            arns.extend(page.task_definition_arns.unwrap_or_default());
        }
        // Another family may begin with the name of this one: that of a task with a disk of its own does.
        let name = |arn: &str| Some(arn.rsplit('/').next()?.rsplit_once(':')?.0.to_owned());
        arns.retain(|arn| name(arn).as_deref() == Some(family));
        Ok(arns)
    }
}
