//! Task definitions: looked up first, made where there is none or another, and tidied up at start.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{SortOrder, TaskDefinition, TaskDefinitionFamilyStatus, TaskDefinitionStatus};
use bakery_core::names::Arch;

use super::cloud::Refused;
use super::definition::Template;
use super::size::Size;

/// The definitions of this server.
#[derive(Debug)]
pub(super) struct Definitions {
    ecs: Client,
    template: Template,
    /// Whether one is known to be as it should; held while it is looked up or made.
    ready: Mutex<HashMap<(Arch, Size), Ready>>,
}

type Ready = Arc<tokio::sync::Mutex<bool>>;

impl Definitions {
    pub(super) fn new(ecs: Client, template: Template) -> Self {
        Self { ecs, template, ready: Mutex::default() }
    }

    /// The family whose newest definition is the one for this architecture and size.
    pub(super) async fn family(&self, arch: Arch, size: Size) -> Result<String, Refused> {
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

    /// Somebody has taken the definition away: it is looked up anew.
    pub(super) async fn forget(&self, arch: Arch, size: Size) {
        *self.ready(arch, size).lock().await = false;
    }

    fn ready(&self, arch: Arch, size: Size) -> Ready {
        let mut all = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry((arch, size)).or_default())
    }

    async fn newest(&self, family: &str) -> Result<Option<TaskDefinition>, Refused> {
        match self.ecs.describe_task_definition().task_definition(family).send().await {
            Ok(answer) => {
                let active = |it: &TaskDefinition| it.status() == Some(&TaskDefinitionStatus::Active);
                Ok(answer.task_definition.filter(active))
            }
            Err(error) => {
                let refused = Refused::of(format!("looking for the task definition {family}"), &error);
                // How AWS says that there is none.
                if refused.lacks_definition() { Ok(None) } else { Err(refused) }
            }
        }
    }

    async fn register(&self, arch: Arch, size: Size) -> Result<(), Refused> {
        let family = self.template.family(arch, size);
        let registered = self.template.input(arch, size).send_with(&self.ecs).await;
        let answer = registered
            .map_err(|error| Refused::of(format!("registering the task definition {family}"), &error))?;
        let revision = answer.task_definition.map(|it| it.revision()).unwrap_or_default();
        tracing::info!(family, revision, "a task definition was registered");
        Ok(())
    }

    /// Whether there is a definition as it should be.
    pub(super) async fn is_registered(&self, arch: Arch, size: Size) -> Result<bool, Refused> {
        let found = self.newest(&self.template.family(arch, size)).await?;
        Ok(found.is_some_and(|found| self.template.matches(&found, arch, size)))
    }

    /// Deregisters what is [outdated](Self::outdated), as much of it as AWS lets us. Says how many went.
    pub(super) async fn clean_up(&self, used: &HashSet<String>) -> Result<usize, Refused> {
        let (mut gone, mut kept) = (0, Ok(()));
        for arn in self.outdated(used).await? {
            match self.ecs.deregister_task_definition().task_definition(&arn).send().await {
                Ok(_) => gone += 1,
                Err(error) => kept = Err(Refused::of(format!("deregistering {arn}"), &error)),
            }
        }
        kept.map(|()| gone)
    }

    /// What this server has registered before and no longer uses: all but the newest of each family, and that one where
    /// the settings have changed since. `used` are the definitions of tasks that live.
    pub(super) async fn outdated(&self, used: &HashSet<String>) -> Result<Vec<String>, Refused> {
        let mut outdated = Vec::new();
        for family in self.families().await? {
            // A prefix is also that of others: `bakery-agent` is one of `bakery-agent-of-a-colleague`.
            let Some((arch, size)) = self.template.made(&family) else { continue };
            // In this order, a definition that is registered meanwhile is not among them.
            let definitions = self.definitions(&family).await?;
            let kept = usize::from(self.is_registered(arch, size).await?);
            outdated.extend(definitions.into_iter().skip(kept).filter(|arn| !used.contains(arn)));
        }
        Ok(outdated)
    }

    async fn families(&self) -> Result<Vec<String>, Refused> {
        let mut pages = self
            .ecs
            .list_task_definition_families()
            .family_prefix(&self.template.family)
            .status(TaskDefinitionFamilyStatus::Active)
            .into_paginator()
            .send();
        let mut families = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Refused::of("listing task definition families", &error))?;
            families.extend(page.families.unwrap_or_default());
        }
        Ok(families)
    }

    /// Newest first.
    async fn definitions(&self, family: &str) -> Result<Vec<String>, Refused> {
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
            let page =
                page.map_err(|error| Refused::of(format!("listing task definitions of {family}"), &error))?;
            arns.extend(page.task_definition_arns.unwrap_or_default());
        }
        Ok(arns)
    }
}
