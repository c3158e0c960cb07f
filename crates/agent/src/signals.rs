//! SIGTERM and SIGINT. From the platform they end the run; from a process of the container they are ignored: a `RUN`
//! step could otherwise end its own build as evicted, and have it tried again.

use std::io;
use std::thread;

use bakery_core::message::Message;
use rustix::process::{Pid, getpid, getppid};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Sent};
use tokio::sync::watch;

use crate::termination::{Termination, TerminationCause};

/// Triggers `termination` when the platform stops the container. The receiver has the message about the first signal
/// that was ignored.
pub fn watch(termination: Termination) -> io::Result<watch::Receiver<Option<Message>>> {
    let (ignored, receiver) = watch::channel(None);
    let mut signals = SignalsInfo::<WithOrigin>::new([SIGTERM, SIGINT])?;
    // A thread, because the origin of a signal is not part of tokio's API. It ends with the process.
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for origin in signals.forever() {
            let process = origin.process.map(|process| process.pid);
            let trusted = [Some(getpid()), getppid()].map(|pid| pid.map_or(0, Pid::as_raw_pid));
            if is_of_platform(origin.cause, process, trusted) {
                termination.trigger(TerminationCause::Sigterm);
                continue;
            }
            ignored.send_if_modified(|message| {
                let first = message.is_none();
                if first {
                    let name = if origin.signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
                    let text = format!(
                        "{name} from a process of this container ignored: only the platform stops it"
                    );
                    *message = Some(Message::from(text));
                }
                first
            });
        }
    })?;
    Ok(receiver)
}

/// Whether the platform has sent the signal. It is outside of the container's PID namespace, for which the kernel gives
/// the process id 0. An init process that started the agent passes on what it receives, so it is `trusted`, as is the
/// agent itself. Only the kernel sets the process id of these causes: with `sigqueue` a sender chooses it.
fn is_of_platform(cause: Cause, sender: Option<i32>, trusted: [i32; 2]) -> bool {
    match cause {
        Cause::Kernel => true,
        Cause::Sent(Sent::User | Sent::TKill) => {
            sender.is_some_and(|sender| sender == 0 || trusted.contains(&sender))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_28_only_the_platform_ends_a_run_by_a_signal() {
        let killed = Cause::Sent(Sent::User);
        assert!(is_of_platform(killed, Some(0), [1, 0]));
        assert!(is_of_platform(killed, Some(7), [9, 7]));
        assert!(is_of_platform(killed, Some(9), [9, 7]));
        assert!(is_of_platform(Cause::Kernel, None, [1, 0]));
        assert!(!is_of_platform(killed, Some(8), [1, 0]));
        assert!(!is_of_platform(killed, Some(8), [9, 7]));
        for forged in [Cause::Sent(Sent::Queue), Cause::Sent(Sent::MesgQ), Cause::Unknown] {
            assert!(!is_of_platform(forged, Some(0), [1, 0]), "{forged:?}");
        }
    }
}
