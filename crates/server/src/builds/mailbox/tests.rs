//! A mailbox that nobody reads, and one whose actor is gone.

use std::collections::HashSet;
use std::time::Duration;

use bakery_core::lifecycle::Cause;
use bakery_core::names::{Platform, TaskId};
use bakery_core::reason::Reason;

use super::*;

fn build() -> BuildId {
    BuildId::new(1, 2)
}

fn run(index: u16) -> RunName {
    RunName { task: TaskId { build: build(), index }, attempt: 1 }
}

fn progress(index: u16, text: &str) -> BuildEvent {
    BuildEvent::Run(run(index), TaskEvent::Progress(Some(Reason::ImagePull), text.into()))
}

fn gone(index: u16, text: &str) -> BuildEvent {
    BuildEvent::Run(run(index), TaskEvent::Gone(Cause::new(Reason::AgentLost, text)))
}

fn cancel() -> (ActorMessage, oneshot::Receiver<()>) {
    let (reply, answer) = oneshot::channel();
    (ActorMessage::Cancel { text: "enough".into(), reply }, answer)
}

fn waiting(inbox: &Inbox) -> usize {
    inbox.0.lock().messages.len()
}

#[tokio::test]
async fn a_flood_of_events_is_bounded_and_loses_none_that_counts() {
    let (mailbox, mut inbox) = mailbox(build());
    let live = Arc::new(HashSet::from([run(0)]));
    for round in 0..10_000_u32 {
        for index in 0..3 {
            assert!(mailbox.post(progress(index, &format!("pull {round}"))));
        }
        for platform in Platform::ALL {
            mailbox.post(BuildEvent::Synced { platform, live: Arc::clone(&live) });
            mailbox.post(BuildEvent::Availability { platform, outage: Some(round.to_string().into()) });
        }
    }
    mailbox.post(BuildEvent::Run(run(0), TaskEvent::StopConfirmed));
    for round in 0..10_000_u32 {
        mailbox.post(gone(1, &format!("exit {round}")));
        mailbox.post(progress(1, "after its end"));
    }
    mailbox.post(BuildEvent::Vacated);
    assert!(waiting(&inbox) < CAPACITY + 20, "{}", waiting(&inbox));

    let mut read = Vec::new();
    while waiting(&inbox) > 0 {
        let ActorMessage::Event(event) = inbox.next().await else { panic!("no request was sent") };
        read.push(format!("{event:?}"));
    }
    let count = |text: &str| read.iter().filter(|event| event.contains(text)).count();
    for index in 0..3 {
        let newest = format!("{:?}", progress(index, "pull 9999"));
        assert_eq!(count(&newest), 1, "the newest status of run {index}");
    }
    assert_eq!((count("exit 0"), count("Gone"), count("after its end")), (1, 1, 0), "the first end of a run");
    assert_eq!((count("StopConfirmed"), count("Vacated")), (1, 1));
    assert_eq!(count("outage: Some(Message { text: \"9999\""), Platform::ALL.len());
}

#[tokio::test]
async fn messages_below_the_capacity_are_read_in_order_of_arrival() {
    let (mailbox, mut inbox) = mailbox(build());
    for text in ["one", "two", "three"] {
        mailbox.post(progress(0, text));
    }
    for text in ["one", "two", "three"] {
        let ActorMessage::Event(event) = inbox.next().await else { panic!("no request was sent") };
        assert_eq!(format!("{event:?}"), format!("{:?}", progress(0, text)));
    }
}

#[tokio::test]
async fn a_request_waits_for_capacity_and_leaves_nothing_when_its_sender_goes() {
    let (mailbox, mut inbox) = with_capacity(build(), 1);
    assert!(mailbox.request(cancel().0).await);
    let impatient = mailbox.request(cancel().0);
    assert!(tokio::time::timeout(Duration::from_millis(5), impatient).await.is_err());
    assert_eq!(waiting(&inbox), 1);
    // An event does not wait.
    assert!(mailbox.post(BuildEvent::Vacated));
    let patient = mailbox.request(cancel().0);
    let read = async {
        inbox.next().await;
        inbox.next().await;
        inbox
    };
    let (sent, inbox) = tokio::join!(patient, read);
    assert!(sent);
    assert_eq!(waiting(&inbox), 1);
}

#[tokio::test]
async fn waiting_senders_get_an_error_when_the_actor_is_gone() {
    let (mailbox, inbox) = with_capacity(build(), 1);
    let (request, answer) = cancel();
    assert!(mailbox.request(request).await);
    let waits = mailbox.request(cancel().0);
    let (sent, ()) = tokio::join!(waits, async { drop(inbox) });
    assert!(!sent);
    assert!(answer.await.is_err());
    assert!(!mailbox.is_open() && !mailbox.post(BuildEvent::Vacated));
}
