use bakery_core::names::{BuildId, TaskId};
use serde_json::{Value, json};

use super::super::pods::PodOptions;
use super::*;

/// A board with what stands around it.
struct Room {
    house: House,
    runs: Runs,
    board: Board,
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

fn happening(run: RunName, kind: &str, reason: &str, message: &str) -> Event<Happening> {
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

impl Room {
    fn new() -> Self {
        let (installation, image) = ("here".to_owned(), "agent:1".to_owned());
        let house = House { installation, image, pods: PodOptions::default() };
        Self { house, runs: Runs::default(), board: Board::default(), out: VecDeque::new() }
    }

    /// A board to which these were listed.
    fn listing(jobs: Vec<Job>, pods: Vec<Pod>) -> Self {
        let mut room = Self::new();
        room.list(jobs, pods);
        room
    }

    fn list(&mut self, jobs: Vec<Job>, pods: Vec<Pod>) {
        self.board.begin();
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

    fn job(&mut self, event: Event<Job>) {
        self.board.job(event, &mut Around { house: &self.house, runs: &self.runs, out: &mut self.out });
    }

    fn pod(&mut self, event: Event<Pod>) {
        self.board.pod(event, &mut Around { house: &self.house, runs: &self.runs, out: &mut self.out });
    }

    fn event(&mut self, event: &Event<Happening>) {
        self.board.event(event, &mut Around { house: &self.house, runs: &self.runs, out: &mut self.out });
    }

    fn answer(&mut self, run: RunName, pod: Option<&Pod>) {
        let mut around = Around { house: &self.house, runs: &self.runs, out: &mut self.out };
        self.board.answer(run, pod, &mut around);
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

    /// Texts and endings since the last look.
    fn told(&mut self) -> Vec<String> {
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
fn a_watch_begins_with_what_is_there_and_tells_ends_after_it() {
    let jobs = vec![job(run(1), json!({})), job(run(2), json!({})), job(run(3), json!({}))];
    let pods = vec![pod(run(1), json!({ "status": { "phase": "Running" } })), pod(run(2), failed(4))];
    let mut room = Room::listing(jobs, pods);
    assert_eq!(room.live(), [run(1), run(2), run(3)]);
    assert_eq!(room.told(), ["gone Some(4) None the container ended with 4"]);
    assert!(room.runs.has_ended(run(2)));
}

#[test]
fn an_end_is_told_once_and_again_only_where_its_job_is_still_there_at_the_next_resync() {
    let mut room = Room::listing(vec![job(run(1), json!({}))], vec![pod(run(1), failed(4))]);
    room.told();
    room.pod(Event::Apply(pod(run(1), failed(4))));
    room.job(Event::Apply(job(run(1), over("Failed", "BackoffLimitExceeded"))));
    assert!(room.told().is_empty());
    room.list(vec![job(run(1), json!({}))], vec![pod(run(1), failed(4))]);
    assert_eq!(room.told().len(), 2);
    room.job(Event::Delete(job(run(1), json!({}))));
    room.pod(Event::Delete(pod(run(1), failed(4))));
    assert!(room.told().is_empty() && room.board.lives.is_empty(), "nothing is kept of it");
}

#[test]
fn a_job_that_is_over_without_a_pod_is_a_doubt_first() {
    let mut room = Room::listing(vec![job(run(1), json!({})), job(run(2), json!({}))], Vec::new());
    room.told();
    room.job(Event::Apply(job(run(1), over("Failed", "DeadlineExceeded"))));
    room.job(Event::Apply(job(run(2), over("Complete", "CompletionsReached"))));
    assert_eq!((room.told(), room.board.doubts()), (Vec::new(), vec![run(1), run(2)]));
    room.answer(run(1), None);
    let said = room.told();
    assert!(
        said[0].starts_with("gone None Some(TaskTimeout) ") && said[0].contains("DeadlineExceeded"),
        "{said:?}"
    );
    // The pod was on its way, and its word counts.
    room.answer(run(2), Some(&pod(run(2), failed(1))));
    assert_eq!(room.told(), ["gone Some(1) None the container ended with 1"]);
}

#[test]
fn what_has_vanished_while_nobody_watched_is_told_after_the_resync() {
    let running = || json!({ "status": { "phase": "Running" } });
    let jobs = vec![job(run(1), json!({})), job(run(2), json!({}))];
    let mut room = Room::listing(jobs, vec![pod(run(1), running()), pod(run(2), running())]);
    room.told();
    room.list(vec![job(run(2), json!({}))], vec![pod(run(2), running())]);
    assert_eq!(room.live(), [run(2)]);
    assert_eq!(room.told(), ["gone None None the pod was deleted"]);
}

#[test]
fn trouble_is_said_once_and_again_when_it_is_new() {
    let waiting = |reason: &str, message: &str| {
        json!({ "spec": { "containers": [], "nodeName": "a" }, "status": { "phase": "Pending", "containerStatuses": [
            { "name": "agent", "image": "", "imageID": "", "ready": false, "restartCount": 0,
              "state": { "waiting": { "reason": reason, "message": message } } }] } })
    };
    let mut room = Room::listing(vec![job(run(1), json!({}))], Vec::new());
    room.told();
    for _ in 0..3 {
        room.pod(Event::Apply(pod(run(1), waiting("ErrImagePull", "no such image"))));
        room.pod(Event::Apply(pod(run(1), waiting("ImagePullBackOff", "Back-off"))));
        room.event(&happening(run(1), "Pod", "Pulling", "Pulling image \"agent:1\""));
    }
    // What has gone on in between may come to the same trouble again; what is only repeated is not news.
    let said = room.told();
    let begins = [
        "None the pod is on node a",
        "Some(ImagePull) ErrImagePull: no such image\nhint: ",
        "Some(ImagePull) ImagePullBackOff: Back-off",
        "None pulling image \"agent:1\"",
        "Some(ImagePull) ErrImagePull: ",
        "Some(ImagePull) ImagePullBackOff: ",
    ];
    assert_eq!(said.len(), begins.len(), "{said:?}");
    assert!(said.iter().zip(begins).all(|(said, begin)| said.starts_with(begin)), "{said:?}");
}

#[test]
fn what_is_only_listed_was_said_before_unless_it_is_trouble() {
    let mut room = Room::new();
    let Event::Apply(pulling) = happening(run(1), "Pod", "Pulling", "Pulling image") else { panic!() };
    room.event(&Event::InitApply(pulling));
    let Event::Apply(quota) = happening(run(1), "Job", "FailedCreate", "exceeded quota: q") else { panic!() };
    room.event(&Event::InitApply(quota));
    // The pod of the second run has got over it.
    let Event::Apply(late) = happening(run(2), "Job", "FailedCreate", "exceeded quota: q") else { panic!() };
    room.event(&Event::InitApply(late));
    let placed = pod(run(2), json!({ "spec": { "containers": [], "nodeName": "a" } }));
    room.listed(vec![job(run(1), json!({})), job(run(2), json!({}))], vec![placed]);
    room.live();
    let said = room.told();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("Some(NoCapacity) the pod cannot be made: exceeded quota: q\nhint: "),
        "{said:?}"
    );
}

#[test]
fn others_runs_and_things_are_passed_over() {
    let mut room = Room::listing(Vec::new(), Vec::new());
    room.told();
    let mut foreign = pod(run(1), failed(1));
    foreign
        .metadata
        .labels
        .as_mut()
        .unwrap()
        .insert("bakery.installation".to_owned(), "elsewhere".to_owned());
    room.pod(Event::Apply(foreign));
    room.event(&happening(run(1), "Deployment", "FailedCreate", "no"));
    let name = json!({ "metadata": {}, "involvedObject": { "kind": "Pod", "name": "bakery-0" }, "reason": "Pulling" });
    room.event(&Event::Apply(serde_json::from_value(name).unwrap()));
    assert!(room.told().is_empty() && room.board.lives.is_empty());
}

#[test]
fn who_deletes_a_pod_is_said_unless_it_is_this_server() {
    let deleted = json!({ "metadata": { "deletionTimestamp": "2026-11-25T09:00:00Z" }, "status": { "phase": "Running" } });
    let mut room = Room::listing(vec![job(run(1), json!({})), job(run(2), json!({}))], Vec::new());
    room.told();
    room.runs.remember(run(2), None);
    room.pod(Event::Apply(pod(run(1), deleted.clone())));
    room.pod(Event::Apply(pod(run(2), deleted)));
    assert_eq!(room.told(), ["None the pod is being deleted, and not by this server"]);
    let reason = Reason::Evicted;
    let evicted = json!({ "metadata": { "deletionTimestamp": "2026-11-25T09:00:00Z" }, "status": { "phase": "Failed",
        "conditions": [{ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                         "message": "Eviction API: evicting" }] } });
    room.pod(Event::Delete(pod(run(1), evicted)));
    let said = room.told();
    assert!(said[0].starts_with(&format!("gone None Some({reason:?}) ")), "{said:?}");
}

#[test]
fn a_pod_lives_on_without_its_job() {
    let running = || json!({ "status": { "phase": "Running" } });
    let mut room = Room::listing(vec![job(run(1), json!({}))], vec![pod(run(1), running())]);
    room.told();
    room.job(Event::Delete(job(run(1), json!({}))));
    assert!(room.told().is_empty(), "the pod has its time to end");
    room.list(Vec::new(), vec![pod(run(1), running())]);
    assert_eq!(room.live(), [run(1)]);
    room.pod(Event::Delete(pod(run(1), failed(143))));
    assert_eq!(room.told(), ["gone Some(143) None the container ended with 143"]);
    // What comes late of it is not kept for ever.
    room.pod(Event::Delete(pod(run(1), failed(143))));
    assert_eq!(room.board.lives.len(), 0);
}
