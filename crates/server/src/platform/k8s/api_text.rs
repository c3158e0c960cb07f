//! Texts of the API server and its client, made fit for one line; and the hint that two files share.

/// What to do where a namespace may have no more.
pub(super) const QUOTA_HINT: &str =
    "raise the namespace's ResourceQuota, or lower MAX_RUNS or the task's cpu and memory";

/// A text without line breaks and runs of blanks.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An error with its causes, each once: some libraries put the cause into the text, others below it.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = one_line(&error.to_string());
    for cause in std::iter::successors(error.source(), |error| error.source()) {
        let cause = one_line(&cause.to_string());
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// A reason of the API server and its message, on one line.
pub(super) fn sentence(reason: &str, message: &str) -> String {
    let message = one_line(message);
    match (reason, message.is_empty()) {
        ("", _) => message,
        (_, true) => reason.to_owned(),
        (_, false) => format!("{reason}: {message}"),
    }
}

/// A message with a small first letter: Kubernetes begins its sentences with a capital, ours stand within a line.
pub(super) fn lowercase_first(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
