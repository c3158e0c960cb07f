use super::*;

fn stopped(code: Option<TaskStopCode>, text: &str, exit: Option<i32>, container: Option<&str>) -> Exit {
    let container =
        Container::builder().name(CONTAINER).set_exit_code(exit).set_reason(container.map(str::to_owned));
    let task = Task::builder()
        .last_status("STOPPED")
        .set_stop_code(code)
        .stopped_reason(text)
        .containers(container.build())
        .build();
    match super::task(&task) {
        ObservedTaskStatus::Over(exit) => exit,
        ObservedTaskStatus::Open(status) | ObservedTaskStatus::Ending(status) => panic!("{status}"),
    }
}

#[test]
fn a_stop_code_and_its_message_give_the_reason() {
    use TaskStopCode::{
        EssentialContainerExited, SpotInterruption, TaskFailedToStart, TerminationNotice, UserInitiated,
    };
    for (code, text, exit, container, reason) in [
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
            Some(Reason::NoSuchArch),
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
        let exit = stopped(Some(code.clone()), text, exit, container);
        assert_eq!(exit.reason, reason, "{text}: {exit:?}");
        let own = text == "Essential container in task exited";
        assert!(own != exit.message.text.contains(text), "{}", exit.message);
    }
    let quiet = stopped(Some(EssentialContainerExited), "Essential container in task exited", Some(3), None);
    assert_eq!((quiet.code, quiet.message), (Some(3), "the container exited with code 3".into()));
}

#[test]
fn a_live_task_shows_its_status() {
    let task = Task::builder().last_status("PROVISIONING").build();
    assert_eq!(super::task(&task), ObservedTaskStatus::Open("provisioning".to_owned()));
}

#[test]
fn a_task_ends_with_its_container_and_is_ending_before_that() {
    let container = |status: &str, exit| {
        Container::builder().name(CONTAINER).last_status(status).set_exit_code(exit).build()
    };
    let ending = Task::builder().last_status("RUNNING").desired_status("STOPPED");
    let stopping = ending.clone().containers(container("RUNNING", None)).build();
    assert_eq!(super::task(&stopping), ObservedTaskStatus::Ending("running".to_owned()));
    let ending = Task::builder().last_status("DEPROVISIONING").desired_status("STOPPED");
    let ending = ending.stop_code(TaskStopCode::EssentialContainerExited);
    let over = super::task(&ending.clone().containers(container("STOPPED", Some(0))).build());
    assert!(matches!(&over, ObservedTaskStatus::Over(Exit { code: Some(0), .. })), "{over:?}");
    let unknown = super::task(&ending.containers(container("STOPPED", None)).build());
    assert_eq!(unknown, ObservedTaskStatus::Ending("deprovisioning".to_owned()), "its code is still to come");
}

#[test]
fn what_run_task_could_not_start_is_explained() {
    let not_started =
        |reason: &str| not_started("starting", &[Failure::builder().arn("arn:x").reason(reason).build()]);
    for (text, reason, retryable, hint) in [
        ("RESOURCE:MEMORY", Reason::NoCapacity, true, "name subnets"),
        ("Capacity is unavailable at this time.", Reason::NoCapacity, true, "name subnets"),
        (
            "You’ve reached the limit on the number of vCPUs you can run concurrently",
            Reason::NoCapacity,
            true,
            "MAX_RUNS",
        ),
        ("The requested CPU configuration is above your limit", Reason::LaunchRefused, false, "quota"),
    ] {
        let error = not_started(text);
        assert_eq!((error.reason, error.retryable), (reason, retryable), "{text}");
        assert_eq!(error.message.text, format!("starting: {text}"));
        let given = error.message.hint.unwrap();
        assert!(given.contains(hint), "{given}");
    }
    assert!(super::not_started("starting", &[]).message.text.contains("gave no reason"));
}
