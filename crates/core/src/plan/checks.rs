//! What concerns a whole build: its size, and the names under which its targets are published.

use std::collections::BTreeMap;

use super::{BuildPlan, PlanProblem, PlannedTask, Publish, Target};
use crate::image::ImageRef;
use crate::limits;
use crate::message::Message;
use crate::spec::BuildSpec;

/// Checks how many tasks there are.
pub(super) fn size(spec: &BuildSpec, problems: &mut Vec<PlanProblem>) {
    let count: usize = spec.services.iter().map(|service| service.tasks.len()).sum();
    let message = if count == 0 {
        Message::new("there is nothing to build").with_hint("name at least one service or bake entry")
    } else if count > limits::TASKS {
        let text = format!("the build has {count} tasks; the limit is {}", limits::TASKS);
        Message::new(text).with_hint("split the build")
    } else {
        return;
    };
    problems.push(PlanProblem { service: None, task: None, key: None, message });
}

/// Checks the names under which the targets are published.
pub(super) fn names(plan: &BuildPlan, problems: &mut Vec<PlanProblem>) {
    count(plan, problems);
    plan.targets.iter().for_each(|target| tags(plan, target, problems));
    clashes(plan, problems);
}

/// The outcome lists every name.
fn count(plan: &BuildPlan, problems: &mut Vec<PlanProblem>) {
    let count =
        plan.targets.iter().filter_map(|target| target.publish.as_ref()).flat_map(Publish::names).count();
    if count > limits::TASKS {
        let text = format!("the build pushes {count} names; the limit is {}", limits::TASKS);
        let message = Message::new(text).with_hint("remove tags, or split the build");
        problems.push(PlanProblem { service: None, task: None, key: None, message });
    }
}

/// Every name of an index has all of its images, so its entries cannot have other ones each; and none of the names may be
/// that of one of the images.
fn tags(plan: &BuildPlan, target: &Target, problems: &mut Vec<PlanProblem>) {
    let (Some(publish), [first, others @ ..]) = (&target.publish, target.tasks.as_slice()) else { return };
    let mut report = |task: &PlannedTask, message: Message| {
        let task = Some(within(task, first_index(plan, target)));
        let service = target.service.clone();
        problems.push(PlanProblem { service, task, key: Some("kaniko.tags"), message });
    };
    for task in others.iter().filter(|task| task.spec.kaniko.tags != first.spec.kaniko.tags) {
        let text = format!("other tags than another entry of {} has", publish.destination);
        report(task, Message::new(text).with_hint("give all entries of one image the same `tags`"));
    }
    for task in target.tasks.iter().filter(|_| publish.is_index) {
        if let Some(image) = task.pushed_names().find(|image| publish.names().any(|name| name == *image)) {
            let message = Message::new(format!("{image} is the name of the image for {}", task.spec.arch));
            report(task, message.with_hint("choose another tag"));
            return;
        }
    }
}

/// Two targets that push the same tag would race, and one of the images would be lost.
fn clashes(plan: &BuildPlan, problems: &mut Vec<PlanProblem>) {
    let mut pushers: BTreeMap<&ImageRef, &Target> = BTreeMap::new();
    for target in &plan.targets {
        let first_index = first_index(plan, target);
        let within = |task: &PlannedTask| within(task, first_index);
        let whole = target.tasks.first().map(within);
        let names = target.publish.iter().flat_map(Publish::names).map(|name| (name, whole));
        let images = target
            .tasks
            .iter()
            .flat_map(|task| task.pushed_names().map(move |image| (image, Some(within(task)))));
        for (image, task) in names.chain(images) {
            match pushers.get(image) {
                Some(other) if !std::ptr::eq(*other, target) => {
                    problems.push(PlanProblem {
                        service: target.service.clone(),
                        task,
                        key: Some("kaniko.destination"),
                        message: Message::new(format!("{image} is also pushed by {}", other.name))
                            .with_hint("give each a destination of its own"),
                    });
                    // The other images of the target would only repeat it.
                    break;
                }
                _ => pushers.insert(image, target),
            };
        }
    }
}

/// The index of the first task of a target's service: [`PlannedTask::index`] counts through the build.
fn first_index(plan: &BuildPlan, target: &Target) -> u16 {
    let first = plan.tasks().find(|(index, _)| plan.targets[*index].service == target.service);
    first.map_or(0, |(_, task)| task.index)
}

/// The place of a task within its service, as messages count.
fn within(task: &PlannedTask, first_index: u16) -> usize {
    usize::from(task.index.saturating_sub(first_index))
}
