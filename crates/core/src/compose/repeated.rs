//! Services with the same build: it is done once, and published under the names of all of them.

use crate::config::Located;
use crate::message::Message;
use crate::names::ServiceName;
use crate::report::Findings;
use crate::report::Location;
use crate::spec::{ServiceSpec, TaskSpec};

/// Gives the names of a service's image to an earlier service with the same build. Returns the service if there is none.
pub(super) fn joined(
    spec: ServiceSpec,
    location: &Location,
    built: &mut [(ServiceSpec, Vec<Located>)],
    findings: &mut Findings,
) -> Option<ServiceSpec> {
    let same = built.iter_mut().map(|(earlier, _)| earlier).find(|earlier| is_same(earlier, &spec));
    let Some(earlier) = same.filter(|_| !spec.tasks.is_empty()) else { return Some(spec) };
    let name = earlier.name.as_ref().map(ServiceName::as_str).unwrap_or_default();
    let mut names = Vec::new();
    for (task, other) in earlier.tasks.iter_mut().zip(spec.tasks) {
        let all = other.kaniko.destination.into_iter().chain(other.kaniko.tags);
        for image in all {
            let mut names_of_task = task.kaniko.destination.iter().chain(&task.kaniko.tags);
            let known = names_of_task
                .any(|known| known.name() == image.name() && known.tag_or_latest() == image.tag_or_latest());
            if !known && !task.kaniko.no_push {
                if !names.contains(&image) {
                    names.push(image.clone());
                }
                task.kaniko.tags.push(image);
            }
        }
    }
    let text = match names.as_slice() {
        [] => format!("the same build as `{name}`: it is built once"),
        names => {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            format!("the same build as `{name}`: it is built once, and also pushed as {}", names.join(", "))
        }
    };
    findings.notice(location.clone(), Message::new(text));
    None
}

/// Whether both are the same build, whatever its names are.
fn is_same(one: &ServiceSpec, other: &ServiceSpec) -> bool {
    let unnamed = |task: &TaskSpec| {
        let mut task = task.clone();
        task.kaniko.destination = None;
        task.kaniko.tags.clear();
        task
    };
    let mut both = one.tasks.iter().zip(&other.tasks);
    one.tasks.len() == other.tasks.len() && both.all(|(one, other)| unnamed(one) == unnamed(other))
}
