use super::*;

fn stopped(code: Option<TaskStopCode>, said: &str, exit: Option<i32>, container: Option<&str>) -> Exit {
    let container =
        Container::builder().name(CONTAINER).set_exit_code(exit).set_reason(container.map(str::to_owned));
    let task = Task::builder()
        .last_status("STOPPED")
        .set_stop_code(code)
        .stopped_reason(said)
        .containers(container.build())
        .build();
    match super::task(&task) {
        Standing::Over(exit) => exit,
        Standing::Open(status) => panic!("{status}"),
    }
}

#[test]
fn a_stop_becomes_a_reason() {
    use TaskStopCode::{
        EssentialContainerExited, SpotInterruption, TaskFailedToStart, TerminationNotice, UserInitiated,
    };
    for (code, said, exit, container, reason) in [
        (EssentialContainerExited, "Essential container in task exited", Some(0), None, None),
        (
            EssentialContainerExited,
            "Essential container in task exited",
            Some(137),
            Some("OutOfMemoryError: Container killed due to memory usage"),
            Some(Reason::OutOfMemory),
        ),
        (SpotInterruption, "Your Spot Task was interrupted.", Some(143), None, Some(Reason::SpotReclaimed)),
        (
            TaskFailedToStart,
            "CannotPullContainerError: pull image manifest has been retried 5 time(s)",
            None,
            None,
            Some(Reason::ImagePull),
        ),
        (
            TaskFailedToStart,
            "CannotPullContainerError: image Manifest does not contain descriptor matching platform 'linux/arm64'",
            None,
            None,
            Some(Reason::ImagePull),
        ),
        (
            TaskFailedToStart,
            "ResourceInitializationError: unable to pull secrets or registry auth",
            None,
            None,
            Some(Reason::LaunchRefused),
        ),
        (
            TaskFailedToStart,
            "Timeout waiting for network interface provisioning to complete.",
            None,
            None,
            Some(Reason::NoCapacity),
        ),
        (
            TaskFailedToStart,
            "Capacity is unavailable at this time. Please try again later or in a different availability zone",
            None,
            None,
            Some(Reason::NoCapacity),
        ),
        (TerminationNotice, "Task is being retired", Some(143), None, Some(Reason::Evicted)),
        (UserInitiated, "Task stopped by user", Some(143), None, None),
    ] {
        let exit = stopped(Some(code.clone()), said, exit, container);
        assert_eq!(exit.reason, reason, "{said}: {exit:?}");
        let own = said == "Essential container in task exited";
        assert!(own != exit.text.contains(said), "{}", exit.text);
    }
    let quiet = stopped(Some(EssentialContainerExited), "Essential container in task exited", Some(3), None);
    assert_eq!((quiet.code, quiet.text.as_str()), (Some(3), "the container ended with 3"));
}

#[test]
fn a_task_that_lives_shows_its_status() {
    let task = Task::builder().last_status("PROVISIONING").build();
    assert_eq!(super::task(&task), Standing::Open("provisioning".to_owned()));
}

#[test]
fn what_run_task_could_not_start_is_said() {
    let failure = |reason: &str| Failure::builder().arn("arn:x").reason(reason).build();
    let full = refused("starting", &[failure("RESOURCE:MEMORY")]);
    assert_eq!((full.reason, full.retryable), (Reason::NoCapacity, true));
    assert!(full.text.starts_with("starting: RESOURCE:MEMORY\nhint: name subnets"), "{}", full.text);
    assert!(refused("starting", &[]).text.contains("gave no reason"));
}
