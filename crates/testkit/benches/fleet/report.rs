//! The server's requests to AWS, from the proxy's record.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bakery_testkit::aws::{AwsProxy, Outcome};

/// One call.
struct CallRecord {
    action: String,
    at: Instant,
    took: Duration,
    outcome: Outcome,
    /// The number of tasks in the request.
    tasks: usize,
}

/// All calls, and the parts of the run.
pub(crate) struct Report {
    calls: Vec<CallRecord>,
    begun: Instant,
    /// Name and end of each part; it starts at the end of the part before it.
    parts: Vec<(&'static str, Instant)>,
}

impl Report {
    pub(crate) fn begin() -> Self {
        Self { calls: Vec::new(), begun: Instant::now(), parts: Vec::new() }
    }

    /// Ends a part of the run now.
    pub(crate) fn part(&mut self, name: &'static str) {
        self.parts.push((name, Instant::now()));
    }

    pub(crate) fn read(&mut self, proxy: &AwsProxy) {
        self.calls = proxy.each(|call| CallRecord {
            action: call.action.clone(),
            at: call.at,
            took: call.took,
            outcome: call.outcome,
            tasks: call.request["tasks"].as_array().map_or(0, Vec::len),
        });
    }

    /// The number of calls of an action in a part, by their number of tasks.
    pub(crate) fn sizes(&self, action: &str, part: &str) -> BTreeMap<usize, usize> {
        let (from, to) = self.span(part);
        let mut sizes = BTreeMap::new();
        for call in self.calls.iter().filter(|call| call.action == action && (from..to).contains(&call.at)) {
            *sizes.entry(call.tasks).or_default() += 1;
        }
        sizes
    }

    /// The number of calls of an action in a part, the part's duration, and the calls per second.
    pub(crate) fn rate(&self, action: &str, part: &str) -> (usize, Duration, f64) {
        let (from, to) = self.span(part);
        let count = self.times(action).filter(|at| (from..to).contains(at)).count();
        (count, to - from, per_second(count, to - from))
    }

    /// A table for people: each action by part, by task and by minute.
    pub(crate) fn table(&self, tasks: usize) -> String {
        let actions: BTreeSet<&str> = self.calls.iter().map(|call| call.action.as_str()).collect();
        let mut text = format!("  {:<28}", "");
        for (name, (from, to)) in self.spans() {
            let _ = write!(text, "{:>16}", format!("{name} {:.0?}", to - from));
        }
        let _ = writeln!(text, "{:>8}{:>9}{:>10}{:>18}", "all", "a task", "a minute", "most in a second");
        let whole = self.spans().last().map_or(Duration::ZERO, |(_, (_, to))| to - self.begun);
        for action in actions {
            let _ = write!(text, "  {action:<28}");
            for (name, _) in self.spans() {
                let _ = write!(text, "{:>16}", self.rate(action, name).0);
            }
            let all = self.times(action).count();
            let (each, minute) = (number(all) / number(tasks), per_second(all, whole) * 60.0);
            let _ = writeln!(text, "{all:>8}{each:>9.3}{minute:>10.1}{:>18}", self.most(action));
        }
        text
    }

    /// The longest duration of an answer by its outcome.
    pub(crate) fn longest(&self, outcome: Outcome) -> Duration {
        self.calls
            .iter()
            .filter(|call| call.outcome == outcome)
            .map(|call| call.took)
            .max()
            .unwrap_or_default()
    }

    /// The most calls of an action within one second.
    fn most(&self, action: &str) -> usize {
        let times: Vec<_> = self.times(action).collect();
        let within = |first: &Instant| {
            let second = *first..*first + Duration::from_secs(1);
            times.iter().filter(|at| second.contains(*at)).count()
        };
        times.iter().map(within).max().unwrap_or_default()
    }

    fn times(&self, action: &str) -> impl Iterator<Item = Instant> {
        self.calls.iter().filter(move |call| call.action == action).map(|call| call.at)
    }

    fn span(&self, part: &str) -> (Instant, Instant) {
        self.spans().find(|(name, _)| *name == part).map_or((self.begun, self.begun), |it| it.1)
    }

    fn spans(&self) -> impl Iterator<Item = (&'static str, (Instant, Instant))> {
        let from = std::iter::once(self.begun).chain(self.parts.iter().map(|(_, to)| *to));
        self.parts.iter().zip(from).map(|((name, to), from)| (*name, (from, *to)))
    }
}

fn per_second(count: usize, span: Duration) -> f64 {
    number(count) / span.as_secs_f64()
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
