use std::cell::Cell;

use super::*;

const QUICK: Patience = Patience {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(2),
    whole: Duration::from_mins(1),
};

fn away() -> Trouble {
    Trouble::Passing("connection refused".to_owned())
}

#[tokio::test]
async fn an_outage_is_waited_for_however_many_tries_it_takes() {
    let tries = Cell::new(0);
    let done = patiently(QUICK, || async {
        tries.set(tries.get() + 1);
        if tries.get() < 40 { Err(away()) } else { Ok("context") }
    });
    assert_eq!(done.await, Ok("context"));
}

#[tokio::test]
async fn an_outage_without_end_says_nothing_against_the_context() {
    let patience = Patience { whole: Duration::from_millis(20), ..QUICK };
    let failure = patiently(patience, || async { Err::<(), _>(away()) }).await.unwrap_err();
    assert_eq!(failure.reason, Reason::PlatformUnreachable);
    assert_eq!(failure.text, "the context cannot be downloaded: connection refused");
}

#[tokio::test]
async fn a_wrong_context_is_not_asked_for_again() {
    let tries = Cell::new(0);
    let outcome = patiently(QUICK, || async {
        tries.set(tries.get() + 1);
        Err::<(), _>(Trouble::Final(broken("of another content")))
    });
    assert_eq!(outcome.await.unwrap_err().reason, Reason::ContextBroken);
    assert_eq!(tries.get(), 1);
}
