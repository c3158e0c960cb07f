//! The plan of a build: its targets, their tasks, what each target publishes, and their order.

mod checks;

use std::collections::BTreeMap;

use crate::image::ImageRef;
use crate::message::Message;
use crate::names::ServiceName;
use crate::report::{Location, Mistake};
use crate::rules::{self, Broken};
use crate::spec::{BuildSpec, Order, ServiceSpec, TaskSpec};

/// A directed acyclic graph of targets. `--async` only removes edges, so a submitted build does not depend on its
/// client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildPlan {
    /// The targets, in an order that respects their edges.
    pub targets: Vec<Target>,
}

/// Tasks that publish one thing together: a service, or a group of config entries with one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name for people: the service's, else the destination, else `no-push`.
    pub name: String,
    /// The service that it comes from.
    pub service: Option<ServiceName>,
    /// Its tasks; they run in parallel.
    pub tasks: Vec<PlannedTask>,
    /// What is in the registry once all tasks are baked; `None` if nothing is pushed.
    pub publish: Option<Publish>,
    /// Indexes in [`BuildPlan::targets`] of the targets that must have succeeded before this one starts.
    pub after: Vec<usize>,
}

/// One task of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTask {
    /// Its index in the build, from 0.
    pub index: u16,
    /// What to build.
    pub spec: TaskSpec,
    /// Where its own image is pushed; `None` with `no_push`.
    pub push_to: Option<ImageRef>,
    /// Where it is pushed besides.
    pub also_push_to: Vec<ImageRef>,
}

impl PlannedTask {
    /// Every name under which its own image is pushed.
    pub fn pushed_names(&self) -> impl Iterator<Item = &ImageRef> {
        self.push_to.iter().chain(&self.also_push_to)
    }
}

/// What a target publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The name that the user asked for.
    pub destination: ImageRef,
    /// More names for the same, none of them twice.
    pub tags: Vec<ImageRef>,
    /// True for several images, which their tasks push as `tag_<arch>`, and an index under each name, which the server
    /// pushes. Else it is one image, which its task pushes under each name.
    pub is_index: bool,
}

impl Publish {
    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = &ImageRef> {
        std::iter::once(&self.destination).chain(&self.tags)
    }
}

impl BuildPlan {
    /// Every task with the index of its target.
    pub fn tasks(&self) -> impl Iterator<Item = (usize, &PlannedTask)> {
        self.targets
            .iter()
            .enumerate()
            .flat_map(|(index, target)| target.tasks.iter().map(move |task| (index, task)))
    }
}

/// One reason why a spec cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanProblem {
    /// The service, if it has a name.
    pub service: Option<ServiceName>,
    /// The task's index within its service, from 0.
    pub task: Option<usize>,
    /// The config key that it concerns, if there is one: `kaniko.destination`.
    pub key: Option<&'static str>,
    /// What is wrong, and what to do.
    pub message: Message,
}

impl From<PlanProblem> for Mistake {
    fn from(problem: PlanProblem) -> Self {
        let PlanProblem { service, task, key, message } = problem;
        Self::new(Location::in_build(service.as_ref(), task, key), message)
    }
}

/// The plan of a spec, wherever it came from.
///
/// The error holds every rule that a task breaks ([`rules::task`]). If none is broken, it holds the problems of the
/// whole build: its size, and targets that push under the same name.
pub fn plan(spec: &BuildSpec) -> Result<BuildPlan, Vec<PlanProblem>> {
    let problems = broken(spec, rules::task);
    if problems.is_empty() { of_checked(spec) } else { Err(problems) }
}

/// The rules that the tasks of a spec break, each with its place in the build.
pub fn broken(spec: &BuildSpec, rules: impl Fn(&TaskSpec) -> Vec<Broken>) -> Vec<PlanProblem> {
    let mut problems = Vec::new();
    for service in &spec.services {
        for (within, task) in service.tasks.iter().enumerate() {
            problems.extend(rules(task).into_iter().map(|broken| PlanProblem {
                service: service.name.clone(),
                task: Some(within),
                key: Some(broken.key),
                message: broken.message,
            }));
        }
    }
    problems
}

/// [`plan`] of a spec whose tasks are known to comply with the rules.
pub(crate) fn of_checked(spec: &BuildSpec) -> Result<BuildPlan, Vec<PlanProblem>> {
    let mut problems = Vec::new();
    checks::size(spec, &mut problems);
    let mut plan = BuildPlan { targets: Vec::new() };
    let mut index = 0;
    let mut before = Vec::new();
    for service in &spec.services {
        let first = plan.targets.len();
        for target in targets(service, &mut index) {
            let after = if spec.order == Order::Sequential { before.clone() } else { Vec::new() };
            plan.targets.push(Target { after, ..target });
        }
        before = (first..plan.targets.len()).collect();
    }
    checks::names(&plan, &mut problems);
    if problems.is_empty() { Ok(plan) } else { Err(problems) }
}

/// Groups a service's tasks by destination, in the order of first appearance.
fn targets(service: &ServiceSpec, index: &mut u16) -> Vec<Target> {
    let mut groups: Vec<(Option<ImageRef>, Vec<PlannedTask>)> = Vec::new();
    for task in &service.tasks {
        let pushed = task.kaniko.destination.as_ref().filter(|_| !task.kaniko.no_push);
        let destination = pushed.map(ImageRef::tagged);
        let planned =
            PlannedTask { index: *index, spec: task.clone(), push_to: None, also_push_to: Vec::new() };
        *index = index.saturating_add(1);
        match groups.iter_mut().find(|(known, _)| *known == destination) {
            Some((_, tasks)) => tasks.push(planned),
            None => groups.push((destination, vec![planned])),
        }
    }
    groups.into_iter().map(|(destination, tasks)| target(service, destination, tasks)).collect()
}

fn target(service: &ServiceSpec, destination: Option<ImageRef>, mut tasks: Vec<PlannedTask>) -> Target {
    let name = match (&service.name, &destination) {
        (Some(name), _) => name.to_string(),
        (None, Some(image)) => image.to_string(),
        (None, None) => "no-push".to_owned(),
    };
    let publish = destination.map(|destination| {
        // An index needs all of its images beside it, so each task pushes under all names.
        let mut tags: Vec<ImageRef> = Vec::new();
        for tag in tasks.iter().take(1).flat_map(|task| &task.spec.kaniko.tags).map(ImageRef::tagged) {
            if tag != destination && !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        let is_index = tasks.len() > 1;
        let mut seen = BTreeMap::new();
        for task in &mut tasks {
            let nth = seen.entry(task.spec.arch).or_insert(0_usize);
            *nth += 1;
            let own = |name: &ImageRef| {
                if is_index { name.for_arch(task.spec.arch, *nth) } else { name.clone() }
            };
            task.push_to = Some(own(&destination));
            task.also_push_to = tags.iter().map(own).collect();
        }
        Publish { destination, tags, is_index }
    });
    Target { name, service: service.name.clone(), tasks, publish, after: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Arch;
    use crate::spec::KanikoSpec;

    fn task(arch: Arch, destination: Option<&str>) -> TaskSpec {
        let kaniko = KanikoSpec {
            destination: destination.map(|text| text.parse().unwrap()),
            no_push: destination.is_none(),
            ..KanikoSpec::default()
        };
        TaskSpec::new(arch, kaniko)
    }

    fn service(name: &str, tasks: Vec<TaskSpec>) -> ServiceSpec {
        ServiceSpec { name: Some(name.parse().unwrap()), tasks }
    }

    #[test]
    fn one_destination_and_several_entries_make_an_index() {
        let tasks = vec![
            task(Arch::Amd64, Some("r.test/a:1")),
            task(Arch::Arm64, Some("r.test/a:1")),
            task(Arch::Amd64, Some("r.test/a:1")),
            task(Arch::Amd64, Some("r.test/b")),
            task(Arch::Amd64, None),
        ];
        let spec = BuildSpec { order: Order::Sequential, services: vec![ServiceSpec { name: None, tasks }] };
        let plan = plan(&spec).unwrap();
        let pushed: Vec<_> = plan
            .tasks()
            .map(|(target, task)| {
                (target, task.push_to.as_ref().map(ToString::to_string).unwrap_or_default())
            })
            .collect();
        let expected = [
            (0, "r.test/a:1_amd64"),
            (0, "r.test/a:1_arm64"),
            (0, "r.test/a:1_amd64-2"),
            (1, "r.test/b:latest"),
            (2, ""),
        ];
        assert_eq!(pushed, expected.map(|(target, text)| (target, text.to_owned())));
        let is_index = |target: usize| plan.targets[target].publish.as_ref().unwrap().is_index;
        assert!(is_index(0) && !is_index(1));
        assert!(plan.targets[2].publish.is_none());
    }

    #[test]
    fn every_task_pushes_under_all_names_of_its_target() {
        let tagged = |arch, tags: &[&str]| {
            let mut task = task(arch, Some("r.test/a:1"));
            task.kaniko.tags = tags.iter().map(|text| text.parse().unwrap()).collect();
            task
        };
        let planned = |tasks| {
            let spec = BuildSpec { order: Order::Sequential, services: vec![service("a", tasks)] };
            plan(&spec).unwrap().targets.remove(0)
        };
        let texts = |names: &[ImageRef]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let target = planned(vec![
            tagged(Arch::Amd64, &["r.test/b", "o.test/a:2", "r.test/a:1", "r.test/b"]),
            tagged(Arch::Arm64, &["r.test/b", "o.test/a:2", "r.test/a:1", "r.test/b"]),
        ]);
        let publish = target.publish.unwrap();
        assert_eq!(texts(&publish.tags), ["r.test/b:latest", "o.test/a:2"]);
        assert_eq!(texts(&target.tasks[1].also_push_to), ["r.test/b:latest_arm64", "o.test/a:2_arm64"]);
        let target = planned(vec![tagged(Arch::Amd64, &["r.test/b"])]);
        assert_eq!(texts(&target.tasks[0].also_push_to), ["r.test/b:latest"]);
        let refused = |tasks| {
            let spec = BuildSpec { order: Order::Sequential, services: vec![service("a", tasks)] };
            let problems = plan(&spec).unwrap_err().into_iter();
            problems.map(|problem| problem.message.text).collect::<Vec<_>>()
        };
        let differ = vec![tagged(Arch::Amd64, &["r.test/b"]), tagged(Arch::Arm64, &[])];
        assert_eq!(refused(differ), ["other tags than another entry of r.test/a:1 has"]);
        let member = |arch| tagged(arch, &["r.test/a:1_arm64"]);
        assert_eq!(
            refused(vec![member(Arch::Amd64), member(Arch::Arm64)]),
            ["r.test/a:1_arm64 is the name of the image for arm64"]
        );
        let one = service("a", vec![tagged(Arch::Amd64, &["r.test/b"])]);
        let other = service("b", vec![task(Arch::Amd64, Some("r.test/b"))]);
        let spec = BuildSpec { order: Order::Parallel, services: vec![one, other] };
        assert_eq!(plan(&spec).unwrap_err()[0].message.text, "r.test/b:latest is also pushed by a");
    }

    #[test]
    fn services_are_sequential_unless_parallel_is_requested() {
        let services = vec![
            service("a", vec![task(Arch::Amd64, Some("r.test/a"))]),
            service("b", vec![task(Arch::Amd64, Some("r.test/b"))]),
        ];
        let edges = |order| {
            let plan = plan(&BuildSpec { order, services: services.clone() }).unwrap();
            plan.targets.into_iter().map(|target| target.after).collect::<Vec<_>>()
        };
        assert_eq!(edges(Order::Sequential), [Vec::new(), vec![0]]);
        assert_eq!(edges(Order::Parallel), [Vec::<usize>::new(), Vec::new()]);
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let mut lost = task(Arch::Amd64, None);
        lost.kaniko.no_push = false;
        let digest = format!("r.test/a@sha256:{}", "0".repeat(64));
        let services = vec![
            service(
                "a",
                vec![task(Arch::Amd64, Some("r.test/a:latest")), lost, task(Arch::Amd64, Some(&digest))],
            ),
            service("b", vec![task(Arch::Arm64, Some("r.test/c:1")), task(Arch::Amd64, Some("r.test/c:1"))]),
            service("d", vec![task(Arch::Arm64, Some("r.test/c:1_arm64"))]),
        ];
        let mut spec = BuildSpec { order: Order::Parallel, services };
        let texts = |problems: Vec<PlanProblem>| -> Vec<String> {
            problems.into_iter().map(|problem| Mistake::from(problem).to_string()).collect()
        };
        assert_eq!(
            texts(plan(&spec).unwrap_err()),
            [
                "service a: entry 2: kaniko.destination: no destination",
                "service a: entry 3: kaniko.destination: a destination cannot have a digest",
            ]
        );
        spec.services[0].tasks.truncate(1);
        let clash = ["service d: entry 1: kaniko.destination: r.test/c:1_arm64 is also pushed by b"];
        assert_eq!(texts(plan(&spec).unwrap_err()), clash);
    }
}
