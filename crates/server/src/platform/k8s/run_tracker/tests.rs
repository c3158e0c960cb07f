use bakery_core::names::{BuildId, TaskId};
use serde_json::{Value, json};

use super::super::pods::PodOptions;
use super::*;

/// A tracker with its context.
struct TrackerFixture {
    template: JobTemplate,
    runs: RunRegistry,
    tracker: RunTracker,
    out: VecDeque<Observation>,
}

fn run(index: u16) -> RunName {
    RunName { task: TaskId { build: BuildId::new(1, 1), index }, attempt: 1 }
}

fn object<T: serde::de::DeserializeOwned>(mut body: Value, run: RunName, name: &str) -> T {
    body["metadata"]["name"] = name.into();
    body["metadata"]["labels"] = json!({ "bakery.installation": "here", "bakery.run": run.to_string() });
    serde_json::from_value(body).unwrap()
}

fn job(run: RunName, body: Value) -> Job {
    object(body, run, &run.to_string())
}

fn pod(run: RunName, body: Value) -> Pod {
    object(body, run, &format!("{run}-x7k2p"))
}

fn k8s_event(run: RunName, kind: &str, reason: &str, message: &str) -> Event<K8sEvent> {
    let name = if kind == "Pod" { format!("{run}-x7k2p") } else { run.to_string() };
    let body = json!({ "metadata": {}, "involvedObject": { "kind": kind, "name": name },
                       "reason": reason, "message": message });
    Event::Apply(serde_json::from_value(body).unwrap())
}

fn failed(code: i32) -> Value {
    json!({ "status": { "phase": "Failed", "containerStatuses": [
        { "name": "agent", "image": "", "imageID": "", "ready": false, "restartCount": 0,
          "state": { "terminated": { "exitCode": code, "reason": "Error" } } }] } })
}

fn over(kind: &str, reason: &str) -> Value {
    json!({ "status": { "conditions": [
        { "type": kind, "status": "True", "reason": reason, "message": "Job was active longer than specified deadline" }] } })
}

impl TrackerFixture {
    fn new() -> Self {
        let (installation, image) = ("here".to_owned(), "agent:1".to_owned());
        let template = JobTemplate { installation, image, pods: PodOptions::default() };
        Self { template, runs: RunRegistry::default(), tracker: RunTracker::default(), out: VecDeque::new() }
    }

    /// A tracker to which these were listed.
    fn listing(jobs: Vec<Job>, pods: Vec<Pod>) -> Self {
        let mut fixture = Self::new();
        fixture.list(jobs, pods);
        fixture
    }

    fn list(&mut self, jobs: Vec<Job>, pods: Vec<Pod>) {
        self.tracker.begin();
        self.listed(jobs, pods);
    }

    fn listed(&mut self, jobs: Vec<Job>, pods: Vec<Pod>) {
        self.job(Event::Init);
        for job in jobs {
            self.job(Event::InitApply(job));
        }
        self.job(Event::InitDone);
        self.pod(Event::Init);
        for pod in pods {
            self.pod(Event::InitApply(pod));
        }
        self.pod(Event::InitDone);
        assert!(self.out.is_empty(), "nothing before the resync: {:?}", self.out);
        self.event(&Event::InitDone);
    }

    /// The tracker and its context.
    fn parts(&mut self) -> (&mut RunTracker, TrackerContext<'_>) {
        let context = TrackerContext { template: &self.template, runs: &self.runs, out: &mut self.out };
        (&mut self.tracker, context)
    }

    fn job(&mut self, event: Event<Job>) {
        let (tracker, mut context) = self.parts();
        tracker.job(event, &mut context);
    }

    fn pod(&mut self, event: Event<Pod>) {
        let (tracker, mut context) = self.parts();
        tracker.pod(event, &mut context);
    }

    fn event(&mut self, event: &Event<K8sEvent>) {
        let (tracker, mut context) = self.parts();
        tracker.event(event, &mut context);
    }

    fn verified(&mut self, run: RunName, pod: Option<&Pod>) {
        let (tracker, mut context) = self.parts();
        tracker.verified(run, pod, &mut context);
    }

    fn live(&mut self) -> Vec<RunName> {
        match self.out.pop_front() {
            Some(Observation::Synced { mut live }) => {
                live.sort();
                live
            }
            other => panic!("no resync but {other:?}"),
        }
    }

    /// Texts and endings since the last call.
    fn reported(&mut self) -> Vec<String> {
        self.out
            .drain(..)
            .map(|it| match it {
                Observation::Synced { .. } => "synced".to_owned(),
                Observation::Progress { reason, message, .. } => format!("{reason:?} {}", message.rendered()),
                Observation::Gone { exit, .. } => {
                    format!("gone {:?} {:?} {}", exit.code, exit.reason, exit.message.rendered())
                }
            })
            .collect()
    }
}

#[test]
fn a_watch_begins_with_what_is_there_and_reports_ends_after_it() {
    let jobs = vec![job(run(1), json!({})), job(run(2), json!({})), job(run(3), json!({}))];
    let pods = vec![pod(run(1), json!({ "status": { "phase": "Running" } })), pod(run(2), failed(4))];
    let mut fixture = TrackerFixture::listing(jobs, pods);
    assert_eq!(fixture.live(), [run(1), run(2), run(3)]);
    assert_eq!(fixture.reported(), ["gone Some(4) None the container exited with code 4"]);
    assert!(fixture.runs.has_ended(run(2)));
}

#[test]
fn an_end_is_reported_once_and_again_only_where_its_job_is_still_there_at_the_next_resync() {
    let mut fixture = TrackerFixture::listing(vec![job(run(1), json!({}))], vec![pod(run(1), failed(4))]);
    fixture.reported();
    fixture.pod(Event::Apply(pod(run(1), failed(4))));
    fixture.job(Event::Apply(job(run(1), over("Failed", "BackoffLimitExceeded"))));
    assert!(fixture.reported().is_empty());
    fixture.list(vec![job(run(1), json!({}))], vec![pod(run(1), failed(4))]);
    assert_eq!(fixture.reported().len(), 2);
    fixture.job(Event::Delete(job(run(1), json!({}))));
    fixture.pod(Event::Delete(pod(run(1), failed(4))));
    assert!(fixture.reported().is_empty() && fixture.tracker.states.is_empty(), "nothing is kept of it");
}

#[test]
fn a_job_that_ended_without_a_pod_is_verified_first() {
    let mut fixture =
        TrackerFixture::listing(vec![job(run(1), json!({})), job(run(2), json!({}))], Vec::new());
    fixture.reported();
    fixture.job(Event::Apply(job(run(1), over("Failed", "DeadlineExceeded"))));
    fixture.job(Event::Apply(job(run(2), over("Complete", "CompletionsReached"))));
    assert_eq!((fixture.reported(), fixture.tracker.take_unverified()), (Vec::new(), vec![run(1), run(2)]));
    fixture.verified(run(1), None);
    let reported = fixture.reported();
    assert!(
        reported[0].starts_with("gone None Some(TaskTimeout) ") && reported[0].contains("DeadlineExceeded"),
        "{reported:?}"
    );
    // The pod was on its way, and its status counts.
    fixture.verified(run(2), Some(&pod(run(2), failed(1))));
    assert_eq!(fixture.reported(), ["gone Some(1) None the container exited with code 1"]);
}

#[test]
fn what_has_vanished_while_nobody_watched_is_reported_after_the_resync() {
    let running = || json!({ "status": { "phase": "Running" } });
    let jobs = vec![job(run(1), json!({})), job(run(2), json!({}))];
    let mut fixture = TrackerFixture::listing(jobs, vec![pod(run(1), running()), pod(run(2), running())]);
    fixture.reported();
    fixture.list(vec![job(run(2), json!({}))], vec![pod(run(2), running())]);
    assert_eq!(fixture.live(), [run(2)]);
    assert_eq!(fixture.reported(), ["gone None None the pod was deleted"]);
}

#[test]
fn trouble_is_reported_once_and_again_when_it_is_new() {
    let waiting = |reason: &str, message: &str| {
        json!({ "spec": { "containers": [], "nodeName": "a" }, "status": { "phase": "Pending", "containerStatuses": [
            { "name": "agent", "image": "", "imageID": "", "ready": false, "restartCount": 0,
              "state": { "waiting": { "reason": reason, "message": message } } }] } })
    };
    let mut fixture = TrackerFixture::listing(vec![job(run(1), json!({}))], Vec::new());
    fixture.reported();
    for _ in 0..3 {
        fixture.pod(Event::Apply(pod(run(1), waiting("ErrImagePull", "no such image"))));
        fixture.pod(Event::Apply(pod(run(1), waiting("ImagePullBackOff", "Back-off"))));
        fixture.event(&k8s_event(run(1), "Pod", "Pulling", "Pulling image \"agent:1\""));
    }
    // After progress the same trouble is news again; a mere repetition is not.
    let reported = fixture.reported();
    let begins = [
        "None the pod is on node a",
        "Some(ImagePull) ErrImagePull: no such image\nhint: ",
        "Some(ImagePull) ImagePullBackOff: Back-off",
        "None pulling image \"agent:1\"",
        "Some(ImagePull) ErrImagePull: ",
        "Some(ImagePull) ImagePullBackOff: ",
    ];
    assert_eq!(reported.len(), begins.len(), "{reported:?}");
    assert!(reported.iter().zip(begins).all(|(text, begin)| text.starts_with(begin)), "{reported:?}");
}

#[test]
fn what_is_only_listed_was_reported_before_unless_it_is_trouble() {
    let mut fixture = TrackerFixture::new();
    let Event::Apply(pulling) = k8s_event(run(1), "Pod", "Pulling", "Pulling image") else { panic!() };
    fixture.event(&Event::InitApply(pulling));
    let Event::Apply(quota) = k8s_event(run(1), "Job", "FailedCreate", "exceeded quota: q") else { panic!() };
    fixture.event(&Event::InitApply(quota));
    // The pod of the second run has got over it.
    let Event::Apply(late) = k8s_event(run(2), "Job", "FailedCreate", "exceeded quota: q") else { panic!() };
    fixture.event(&Event::InitApply(late));
    let placed = pod(run(2), json!({ "spec": { "containers": [], "nodeName": "a" } }));
    fixture.listed(vec![job(run(1), json!({})), job(run(2), json!({}))], vec![placed]);
    fixture.live();
    let reported = fixture.reported();
    assert_eq!(reported.len(), 1, "{reported:?}");
    assert!(
        reported[0].starts_with("Some(NoCapacity) the pod cannot be created: exceeded quota: q\nhint: "),
        "{reported:?}"
    );
}

#[test]
fn others_runs_and_objects_are_ignored() {
    let mut fixture = TrackerFixture::listing(Vec::new(), Vec::new());
    fixture.reported();
    let mut foreign = pod(run(1), failed(1));
    foreign
        .metadata
        .labels
        .as_mut()
        .unwrap()
        .insert("bakery.installation".to_owned(), "elsewhere".to_owned());
    fixture.pod(Event::Apply(foreign));
    fixture.event(&k8s_event(run(1), "Deployment", "FailedCreate", "no"));
    let name = json!({ "metadata": {}, "involvedObject": { "kind": "Pod", "name": "bakery-0" }, "reason": "Pulling" });
    fixture.event(&Event::Apply(serde_json::from_value(name).unwrap()));
    assert!(fixture.reported().is_empty() && fixture.tracker.states.is_empty());
}

#[test]
fn a_pod_deleted_by_others_is_reported_as_such() {
    let deleted = json!({ "metadata": { "deletionTimestamp": "2026-11-25T09:00:00Z" }, "status": { "phase": "Running" } });
    let mut fixture =
        TrackerFixture::listing(vec![job(run(1), json!({})), job(run(2), json!({}))], Vec::new());
    fixture.reported();
    fixture.runs.remember(run(2), None);
    fixture.pod(Event::Apply(pod(run(1), deleted.clone())));
    fixture.pod(Event::Apply(pod(run(2), deleted)));
    assert_eq!(fixture.reported(), ["None the pod is being deleted, and not by this server"]);
    let reason = Reason::Evicted;
    let evicted = json!({ "metadata": { "deletionTimestamp": "2026-11-25T09:00:00Z" }, "status": { "phase": "Failed",
        "conditions": [{ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                         "message": "Eviction API: evicting" }] } });
    fixture.pod(Event::Delete(pod(run(1), evicted)));
    let reported = fixture.reported();
    assert!(reported[0].starts_with(&format!("gone None Some({reason:?}) ")), "{reported:?}");
}

#[test]
fn a_pod_outlives_its_job() {
    let running = || json!({ "status": { "phase": "Running" } });
    let mut fixture = TrackerFixture::listing(vec![job(run(1), json!({}))], vec![pod(run(1), running())]);
    fixture.reported();
    fixture.job(Event::Delete(job(run(1), json!({}))));
    assert!(fixture.reported().is_empty(), "the pod has its time to end");
    fixture.list(Vec::new(), vec![pod(run(1), running())]);
    assert_eq!(fixture.live(), [run(1)]);
    fixture.pod(Event::Delete(pod(run(1), failed(143))));
    assert_eq!(fixture.reported(), ["gone Some(143) None the container exited with code 143"]);
    // A late update of it is not kept for ever.
    fixture.pod(Event::Delete(pod(run(1), failed(143))));
    assert_eq!(fixture.tracker.states.len(), 0);
}
