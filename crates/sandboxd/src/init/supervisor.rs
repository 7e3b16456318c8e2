//! What PID 1 does about its daemon, without clock or system calls.
//!
//! ```text
//!            died, not too often                 deadline
//! running ───────────────────────► waiting ───────────────► running
//!    │  │                             │
//!    │  └─ ended in order, for good,  └─ stop requested ─► finished
//!    │     or too often ─► finished
//!    └─ stop requested ─► stopping ── ended ─► finished
//!                            └── deadline: kill
//! ```

use std::fmt;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cli::{EXIT_GAVE_UP, EXIT_UNCONFINABLE, EXIT_USAGE};

/// A daemon that ran for less died fast.
const FAST: Duration = Duration::from_secs(5);
/// So many fast deaths in a row are a fault that starting again does not mend.
pub const MAX_FAST_DEATHS: u32 = 5;
/// First and longest wait before the daemon is started again; doubling.
const RESTART_DELAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long the daemon has to end in order: it interrupts the runtime and flushes its journal,
/// which have deadlines of their own that are shorter.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The daemon's process is gone.
    DaemonEnded {
        /// How.
        ended: Ended,
        /// For how long it ran.
        ran_for: Duration,
    },
    /// PID 1 was told to stop.
    StopRequested(Signal),
    /// The time of the last effect that asked for it is over.
    DeadlineReached,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl Ended {
    /// The exit code that stands for it: 128 plus the signal's number when one ended it.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => u8::try_from(code).unwrap_or(u8::MAX),
            Self::Killed(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "code {code}"),
            Self::Killed(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start the daemon.
    Start,
    /// Say [`Event::DeadlineReached`] after this time.
    WakeIn(Duration),
    /// Hand the signal to the daemon, and say [`Event::DeadlineReached`] after this time.
    ForwardAndWakeIn(Signal, Duration),
    /// End the daemon.
    KillDaemon,
    /// End everything else and exit.
    Finish {
        /// With this code.
        code: u8,
        /// Because the daemon can't be kept alive.
        gave_up: bool,
    },
}

/// The machine. Begins with the daemon running.
#[derive(Debug, Default)]
pub struct Supervisor {
    phase: Phase,
    fast_deaths: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Running,
    Waiting,
    Stopping,
    Finished,
}

impl Supervisor {
    /// What to do about `event`; nothing is a fine answer.
    pub fn on(&mut self, event: Event) -> Option<Effect> {
        match (self.phase, event) {
            (Phase::Running, Event::DaemonEnded { ended, ran_for }) => Some(self.died(ended, ran_for)),
            (Phase::Running, Event::StopRequested(signal)) => {
                self.phase = Phase::Stopping;
                Some(Effect::ForwardAndWakeIn(signal, STOP_GRACE))
            }
            (Phase::Waiting, Event::DeadlineReached) => {
                self.phase = Phase::Running;
                Some(Effect::Start)
            }
            (Phase::Waiting, Event::StopRequested(_)) => Some(self.finish(0, false)),
            (Phase::Stopping, Event::DaemonEnded { ended, .. }) => Some(self.finish(ended.code(), false)),
            (Phase::Stopping, Event::DeadlineReached) => Some(Effect::KillDaemon),
            // A second request changes nothing; a deadline may outlive what it was for.
            (Phase::Running, Event::DeadlineReached)
            | (Phase::Waiting, Event::DaemonEnded { .. })
            | (Phase::Stopping, Event::StopRequested(_))
            | (Phase::Finished, _) => None,
        }
    }

    fn died(&mut self, ended: Ended, ran_for: Duration) -> Effect {
        let for_good = [0, EXIT_USAGE, EXIT_UNCONFINABLE];
        if let Ended::Exited(code) = ended
            && for_good.iter().any(|known| i32::from(*known) == code)
        {
            return self.finish(ended.code(), false);
        }
        self.fast_deaths = if ran_for < FAST { self.fast_deaths + 1 } else { 0 };
        if self.fast_deaths >= MAX_FAST_DEATHS {
            return self.finish(EXIT_GAVE_UP, true);
        }
        self.phase = Phase::Waiting;
        let (first, longest) = RESTART_DELAY;
        Effect::WakeIn(longest.min(first * 2_u32.pow(self.fast_deaths.saturating_sub(1))))
    }

    fn finish(&mut self, code: u8, gave_up: bool) -> Effect {
        self.phase = Phase::Finished;
        Effect::Finish { code, gave_up }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: Ended = Ended::Killed(11);

    fn ended(ended: Ended, ran_for: Duration) -> Event {
        Event::DaemonEnded { ended, ran_for }
    }

    fn finish(code: u8) -> Effect {
        Effect::Finish { code, gave_up: false }
    }

    #[test]
    fn an_orderly_end_is_the_end() {
        assert_eq!(
            Supervisor::default().on(ended(Ended::Exited(0), Duration::ZERO)),
            Some(finish(0))
        );
    }

    #[test]
    fn what_starting_again_can_not_mend_is_the_end() {
        for code in [EXIT_USAGE, EXIT_UNCONFINABLE] {
            assert_eq!(
                Supervisor::default().on(ended(Ended::Exited(code.into()), Duration::ZERO)),
                Some(finish(code))
            );
        }
    }

    #[test]
    fn fast_deaths_are_waited_out_longer_each_time_and_then_given_up_on() {
        let mut supervisor = Supervisor::default();
        for delay in [100, 200, 400, 800] {
            assert_eq!(
                supervisor.on(ended(CRASH, Duration::ZERO)),
                Some(Effect::WakeIn(Duration::from_millis(delay)))
            );
            assert_eq!(supervisor.on(Event::DeadlineReached), Some(Effect::Start));
        }
        assert_eq!(
            supervisor.on(ended(CRASH, Duration::ZERO)),
            Some(Effect::Finish {
                code: EXIT_GAVE_UP,
                gave_up: true
            })
        );
    }

    #[test]
    fn a_death_after_long_work_starts_the_count_again() {
        let mut supervisor = Supervisor::default();
        for _ in 0..20 {
            for ran_for in [Duration::ZERO, Duration::ZERO, Duration::from_mins(1)] {
                assert!(matches!(supervisor.on(ended(CRASH, ran_for)), Some(Effect::WakeIn(_))));
                assert_eq!(supervisor.on(Event::DeadlineReached), Some(Effect::Start));
            }
        }
    }

    #[test]
    fn a_stop_is_forwarded_once_and_enforced() {
        let mut supervisor = Supervisor::default();
        let stop = Event::StopRequested(Signal::SIGTERM);
        assert_eq!(
            supervisor.on(stop),
            Some(Effect::ForwardAndWakeIn(Signal::SIGTERM, STOP_GRACE))
        );
        assert_eq!(supervisor.on(stop), None);
        assert_eq!(supervisor.on(Event::DeadlineReached), Some(Effect::KillDaemon));
        assert_eq!(supervisor.on(ended(Ended::Killed(9), FAST)), Some(finish(137)));
        assert_eq!(supervisor.on(stop), None);
    }

    #[test]
    fn a_stop_between_two_lives_ends_at_once() {
        let mut supervisor = Supervisor::default();
        supervisor.on(ended(CRASH, Duration::ZERO));
        assert_eq!(supervisor.on(Event::StopRequested(Signal::SIGINT)), Some(finish(0)));
    }
}
