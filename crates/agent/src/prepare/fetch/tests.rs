use std::cell::Cell;

use super::*;

const QUICK: RetryPolicy = RetryPolicy {
    min_pause: Duration::from_millis(1),
    max_pause: Duration::from_millis(2),
    limit: Duration::from_mins(1),
};

fn unreachable() -> FetchError {
    FetchError::Transient("connection refused".to_owned())
}

#[tokio::test]
async fn an_outage_is_retried_however_many_attempts_it_takes() {
    let attempts = Cell::new(0);
    let done = with_retries(QUICK, || async {
        attempts.set(attempts.get() + 1);
        if attempts.get() < 40 { Err(unreachable()) } else { Ok("context") }
    });
    assert_eq!(done.await, Ok("context"));
}

#[tokio::test]
async fn an_outage_beyond_the_limit_is_not_a_broken_context() {
    let policy = RetryPolicy { limit: Duration::from_millis(20), ..QUICK };
    let failure = with_retries(policy, || async { Err::<(), _>(unreachable()) }).await.unwrap_err();
    assert_eq!(failure.reason, Reason::PlatformUnreachable);
    assert_eq!(failure.message.text, "the context cannot be downloaded: connection refused");
}

#[tokio::test]
async fn a_wrong_context_is_not_retried() {
    let attempts = Cell::new(0);
    let outcome = with_retries(QUICK, || async {
        attempts.set(attempts.get() + 1);
        Err::<(), _>(FetchError::Permanent(context_broken("another content")))
    });
    assert_eq!(outcome.await.unwrap_err().reason, Reason::ContextBroken);
    assert_eq!(attempts.get(), 1);
}
