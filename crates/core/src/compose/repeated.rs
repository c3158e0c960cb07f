//! Services with the same build: it is done once, and published under the names of all of them.

use crate::config::Located;
use crate::image::ImageRef;
use crate::message::Message;
use crate::names::ServiceName;
use crate::report::{Findings, Location};
use crate::spec::{KanikoSpec, ServiceSpec, TaskSpec};

/// The builds of a project, each once.
#[derive(Default)]
pub(super) struct DistinctBuilds {
    /// Each with where its tasks come from.
    pub(super) services: Vec<(ServiceSpec, Vec<Located>)>,
    /// The tasks of each service without the names of their images.
    unnamed: Vec<Vec<TaskSpec>>,
}

impl DistinctBuilds {
    /// Adds a service. If an earlier one has the same build, that gets the names of the image instead.
    pub(super) fn add(
        &mut self,
        spec: ServiceSpec,
        located: Vec<Located>,
        at: &Location,
        findings: &mut Findings,
    ) {
        let unnamed: Vec<_> = spec.tasks.iter().map(without_names).collect();
        let same = self.unnamed.iter().position(|earlier| !unnamed.is_empty() && *earlier == unnamed);
        let Some(same) = same else {
            self.services.push((spec, located));
            self.unnamed.push(unnamed);
            return;
        };
        let (earlier, _) = &mut self.services[same];
        let mut names = Vec::new();
        for (task, other) in earlier.tasks.iter_mut().zip(spec.tasks) {
            for image in join(&mut task.kaniko, other.kaniko) {
                if !names.contains(&image) {
                    names.push(image);
                }
            }
        }
        let name = earlier.name.as_ref().map(ServiceName::as_str).unwrap_or_default();
        let mut text = format!("the same build as `{name}`: it is built once");
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            text = format!("{text}, and also pushed as {}", names.join(", "));
        }
        findings.notice(at.clone(), Message::new(text));
    }
}

/// What makes a build, whatever the names of its image are.
fn without_names(task: &TaskSpec) -> TaskSpec {
    let kaniko = KanikoSpec { destination: None, tags: Vec::new(), ..task.kaniko.clone() };
    TaskSpec { kaniko, ..task.clone() }
}

/// Gives the names of the other's image to a build; returns those that it did not have.
fn join(kaniko: &mut KanikoSpec, other: KanikoSpec) -> Vec<ImageRef> {
    let mut added = Vec::new();
    for image in other.destination.into_iter().chain(other.tags) {
        let mut known = kaniko.destination.iter().chain(&kaniko.tags);
        if !kaniko.no_push && !known.any(|known| known.tagged() == image.tagged()) {
            kaniko.tags.push(image.clone());
            added.push(image);
        }
    }
    added
}
