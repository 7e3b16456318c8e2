//! Where a session's sandbox is, and what is done about it.
//!
//! ```text
//!           ┌────────────── start ───────────────┐
//! created ─► starting ─► running ─► stopping ─► stopped      any ─► deleted
//!               │  ▲       │  ▲        ▲
//!       link lost  │ link  │  │ link   │ stop
//!               │  │ back  ▼  │ back   │
//!               └─►└─ disconnected ────┘      any ─► failed (keeps disk and reason; can start again)
//! ```
//!
//! The machine is level-triggered: its state says what is wanted, [`Sandbox`] what is known, and
//! whenever no [`Operation`] is in flight the difference between the two yields the next one. So a
//! request that arrives in the middle of an operation changes only what is wanted, and a restarted
//! server finds its next step from the state alone.
//!
//! | state | deadline | what happens at it |
//! |---|---|---|
//! | starting | [`START_WITHIN`] until the daemon calls, then [`SETUP_STALL`] since the last progress | failed, `start_timed_out` |
//! | running, daemon not heard of since the server started | [`LINK_GRACE`] | disconnected |
//! | disconnected | [`UNRESPONSIVE_AFTER`] | failed, `sandbox_unresponsive` |
//! | stopping | [`STOP_WITHIN`] | failed, `stop_timed_out`; the stop goes on |
//! | failed, processes left | [`RETRY_AFTER`] | they are ended once more |
//! | any, in the trash | [`Deletion::until`] | deleted |
//! | any, warm | [`Machine::warm_until`] | deleted |
//! | deleted, disk left | [`RETRY_AFTER`] | it is deleted once more |
//! | created, stopped, failed | none: a person's turn | |
//!
//! A session that a person deletes goes to the *trash* first. That is no state of its own: it is
//! stopped, keeps its disk, and can't be started until it is restored. The trash has a deadline,
//! [`Deletion::until`], which is stored and so outlives the server; then, or when a person wants it
//! at once, the session comes to `deleted` and everything of it goes.
//!
//! A *warm* session is prepared before anyone asked for it and waits to be adopted. Until then it
//! has a deadline like the trash, and instead of failing it goes too: nobody would see why.
//!
//! There is no clock here: `now` is an argument and deadlines are values.

use jiff::{SignedDuration, Timestamp};
use mistle_protocol::session::{Deletion, SessionState, Trouble};

/// From the wish to start until the daemon calls. Twenty at once on two cores take some 10 s; the
/// rest is for machines that are busy with other things.
pub const START_WITHIN: SignedDuration = SignedDuration::from_secs(120);
/// Getting ready without any sign of progress. git is silent while a server packs a large
/// repository.
pub const SETUP_STALL: SignedDuration = SignedDuration::from_mins(10);
/// Getting ready in all, however lively.
pub const SETUP_WITHIN: SignedDuration = SignedDuration::from_mins(120);
/// How long a running session stays "running" after the server started, until its daemon has
/// called. Daemons redial every half second.
pub const LINK_GRACE: SignedDuration = SignedDuration::from_secs(6);
/// After which a sandbox that does not answer is ended. Long, because what the agent works on may
/// still go on in it, and a machine that was suspended comes back.
pub const UNRESPONSIVE_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// From the wish to stop until the processes have ended: longer than the grace that they get.
pub const STOP_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// Until an ending or a deletion that failed is tried again.
pub const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// What a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Put it into the trash: stop it, keep its disk that long.
    Trash {
        /// How long.
        keep: SignedDuration,
    },
    /// Take it out of the trash. It is stopped.
    Restore,
    /// Delete it with its disk.
    Delete,
}

/// What became of a request that was not denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It begins.
    Begun(Vec<Effect>),
    /// It is so already, or under way.
    Joined,
}

/// Why a request was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It can be started when it has stopped.
    #[error("the session is stopping; start it when it has stopped")]
    Stopping,
    /// It is in the trash.
    #[error("the session is in the trash; restore it first")]
    Trashed,
    /// It is gone.
    #[error("the session is deleted")]
    Deleted,
}

/// Work on the sandbox that takes a while. One is in flight at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Create the disk unless it is there and start the processes.
    Start,
    /// End the processes; the disk stays.
    Stop,
    /// End the processes and delete the disk.
    Destroy,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The operation succeeded.
    Done(Operation),
    /// The operation failed.
    OperationFailed(Operation, Trouble),
    /// The sandbox's processes ended without being asked to.
    Exited(Trouble),
    /// The daemon called.
    LinkUp,
    /// The daemon is not heard any more.
    LinkLost,
    /// Getting ready makes progress.
    Progress,
    /// The runtime accepts messages.
    Ready,
    /// It can't go on: getting ready failed, or a limit was met.
    Broken(Trouble),
    /// Time passed; the deadline may be over.
    Tick,
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// State or trouble changed: store it and tell.
    Record,
    /// Begin an operation.
    Begin(Operation),
    /// Report when the processes end.
    Watch,
    /// Disk and processes are gone: drop the record.
    Purge,
}

/// What is known of the sandbox's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// Nothing.
    Unknown,
    /// None.
    Down,
    /// They run.
    Up,
    /// None, and the disk is deleted.
    Gone,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    state: SessionState,
    since: Timestamp,
    trouble: Option<Trouble>,
    trash: Option<Deletion>,
    /// How long it waits to be adopted; none when it is someone's.
    warm: Option<Timestamp>,
    /// Whether the runtime was ready since the last start.
    ready: bool,
    linked: bool,
    sandbox: Sandbox,
    /// Whether a start has to end first what an earlier run may have left.
    sweep: bool,
    operation: Option<Operation>,
    deadline: Option<Timestamp>,
}

impl Machine {
    /// One that was just created.
    pub fn new(now: Timestamp) -> Self {
        Self {
            state: SessionState::Created,
            since: now,
            trouble: None,
            trash: None,
            warm: None,
            ready: false,
            linked: false,
            sandbox: Sandbox::Down,
            sweep: false,
            operation: None,
            deadline: None,
        }
    }

    /// One that was just created before anyone asked for it, and waits for that until then.
    pub fn new_warm(now: Timestamp, until: Timestamp) -> Self {
        Self {
            warm: Some(until),
            ..Self::new(now)
        }
    }

    /// One as the store left it, and the effects that take it up. `running` says whether the
    /// driver knows of processes. Deadlines begin anew: time in which no server ran is nobody's
    /// fault.
    pub fn restore(stored: Stored, running: bool, now: Timestamp) -> (Self, Vec<Effect>) {
        let Stored {
            state,
            since,
            trouble,
            trash,
            warm,
            ready,
        } = stored;
        let sandbox = match (state, running) {
            (SessionState::Running | SessionState::Disconnected, _) | (_, true) => Sandbox::Up,
            (SessionState::Created | SessionState::Stopped, false) => Sandbox::Down,
            (_, false) => Sandbox::Unknown,
        };
        let mut machine = Self {
            state,
            since,
            trouble,
            trash,
            warm,
            ready,
            sandbox,
            ..Self::new(now)
        };
        let mut effects = Vec::new();
        if state == SessionState::Starting {
            // Starting one that runs is fine and says that it runs.
            machine.sandbox = Sandbox::Unknown;
        }
        if machine.is_up() {
            effects.push(Effect::Watch);
        }
        machine.deadline = machine.fresh_deadline(now);
        machine.reconcile(now, &mut effects);
        (machine, effects)
    }

    /// Where it is.
    pub fn state(&self) -> SessionState {
        self.state
    }

    /// Since when.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// What is wrong with the sandbox, if anything.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Since when it is in the trash, and until when.
    pub fn trash(&self) -> Option<Deletion> {
        self.trash
    }

    /// How long it waits to be adopted; none when it is someone's.
    pub fn warm_until(&self) -> Option<Timestamp> {
        self.warm
    }

    /// Makes a warm session someone's, if it is on its way or there.
    pub fn adopt(&mut self) -> bool {
        let alive = matches!(self.state, SessionState::Starting | SessionState::Running);
        alive && self.warm.take().is_some()
    }

    /// Whether the runtime was ready since the last start.
    pub fn ready(&self) -> bool {
        self.ready
    }

    /// The operation in flight.
    pub fn operation(&self) -> Option<Operation> {
        self.operation
    }

    /// When to send [`Event::Tick`].
    pub fn deadline(&self) -> Option<Timestamp> {
        let trash = self.trash.map(|trash| trash.until);
        let warm = self.warm.filter(|_| self.state != SessionState::Deleted);
        self.deadline.into_iter().chain(trash).chain(warm).min()
    }

    /// Whether a call of the daemon is welcome.
    pub fn expects_link(&self) -> bool {
        match self.state {
            SessionState::Starting => self.operation != Some(Operation::Stop) && !self.sweep,
            SessionState::Running | SessionState::Disconnected => true,
            _ => false,
        }
    }

    /// Admits, joins or denies what a person wants.
    pub fn request(&mut self, now: Timestamp, request: Request) -> Result<Admitted, Denied> {
        use SessionState as S;
        let trashed = self.trash.is_some();
        let next = match (request, self.state) {
            (Request::Delete | Request::Trash { .. }, S::Deleted) => return Ok(Admitted::Joined),
            (_, S::Deleted) => return Err(Denied::Deleted),
            (Request::Start, _) if trashed => return Err(Denied::Trashed),
            (Request::Trash { .. }, _) if trashed => return Ok(Admitted::Joined),
            (Request::Restore, _) if !trashed => return Ok(Admitted::Joined),
            (Request::Start, S::Starting | S::Running | S::Disconnected)
            | (Request::Stop, S::Stopping | S::Stopped | S::Failed) => return Ok(Admitted::Joined),
            (Request::Start, S::Stopping) => return Err(Denied::Stopping),
            (Request::Start, S::Created | S::Stopped | S::Failed) => S::Starting,
            (Request::Stop | Request::Trash { .. }, S::Created) => S::Stopped,
            (Request::Stop | Request::Trash { .. }, S::Starting | S::Running | S::Disconnected) => S::Stopping,
            (Request::Trash { .. } | Request::Restore, at_rest) => at_rest,
            (Request::Delete, _) => S::Deleted,
        };
        if next == S::Starting {
            self.ready = false;
            self.sweep = self.sandbox != Sandbox::Down;
        }
        self.trash = match request {
            Request::Trash { keep } => Some(Deletion {
                at: now,
                until: after(now, keep),
            }),
            Request::Restore | Request::Delete => None,
            Request::Start | Request::Stop => self.trash,
        };
        let mut effects = Vec::new();
        if next == self.state {
            effects.push(Effect::Record);
        } else {
            self.enter(now, next, None, &mut effects);
        }
        self.reconcile(now, &mut effects);
        Ok(Admitted::Begun(effects))
    }

    /// Takes an event in.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Done(operation) if self.operation == Some(operation) => self.done(now, operation, &mut effects),
            Event::OperationFailed(operation, trouble) if self.operation == Some(operation) => {
                self.operation_failed(now, operation, trouble, &mut effects);
            }
            // A late answer of an operation that nobody waits for.
            Event::Done(_) | Event::OperationFailed(..) => {}
            Event::Exited(trouble) => self.exited(now, trouble, &mut effects),
            Event::LinkUp => self.link_up(now, &mut effects),
            Event::LinkLost => self.link_lost(now, &mut effects),
            Event::Progress => self.progress(now),
            Event::Ready => self.now_ready(now, &mut effects),
            Event::Broken(trouble) => {
                if self.is_up_or_starting() {
                    self.enter(now, SessionState::Failed, Some(trouble), &mut effects);
                }
            }
            Event::Tick => self.tick(now, &mut effects),
        }
        self.reconcile(now, &mut effects);
        effects
    }

    fn done(&mut self, now: Timestamp, operation: Operation, effects: &mut Vec<Effect>) {
        self.operation = None;
        match operation {
            Operation::Start => {
                self.sandbox = Sandbox::Up;
                if self.is_up_or_starting() {
                    effects.push(Effect::Watch);
                }
            }
            Operation::Stop => {
                self.sandbox = Sandbox::Down;
                self.sweep = false;
                self.deadline = self.deadline.filter(|_| self.state != SessionState::Failed);
            }
            Operation::Destroy => {
                self.sandbox = Sandbox::Gone;
                self.deadline = None;
                effects.push(Effect::Purge);
            }
        }
        if self.state == SessionState::Stopping && self.sandbox == Sandbox::Down {
            self.enter(now, SessionState::Stopped, None, effects);
        }
    }

    fn operation_failed(&mut self, now: Timestamp, operation: Operation, trouble: Trouble, effects: &mut Vec<Effect>) {
        self.operation = None;
        match (operation, self.state) {
            (Operation::Start, SessionState::Starting | SessionState::Running | SessionState::Disconnected) => {
                self.sandbox = Sandbox::Unknown;
                self.enter(now, SessionState::Failed, Some(trouble), effects);
            }
            (Operation::Start, _) => self.sandbox = Sandbox::Unknown,
            (Operation::Stop, SessionState::Starting | SessionState::Stopping) => {
                self.enter(now, SessionState::Failed, Some(trouble), effects);
                self.deadline = Some(after(now, RETRY_AFTER));
            }
            (Operation::Stop, SessionState::Deleted) => {}
            (Operation::Stop | Operation::Destroy, _) => self.deadline = Some(after(now, RETRY_AFTER)),
        }
    }

    fn exited(&mut self, now: Timestamp, trouble: Trouble, effects: &mut Vec<Effect>) {
        if self.operation.is_some() || self.sandbox != Sandbox::Up {
            return;
        }
        self.sandbox = Sandbox::Down;
        if self.is_up_or_starting() {
            self.enter(now, SessionState::Failed, Some(trouble), effects);
        }
    }

    fn link_up(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.expects_link() {
            return;
        }
        match self.state {
            SessionState::Starting => {
                self.linked = true;
                self.deadline = Some(after(now, SETUP_STALL));
            }
            SessionState::Running => {
                self.linked = true;
                self.deadline = None;
            }
            SessionState::Disconnected => {
                let back = if self.ready {
                    SessionState::Running
                } else {
                    SessionState::Starting
                };
                self.enter(now, back, None, effects);
                self.linked = true;
                self.deadline = (back == SessionState::Starting).then(|| after(now, SETUP_STALL));
            }
            _ => {}
        }
    }

    fn link_lost(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let was_linked = std::mem::take(&mut self.linked);
        if was_linked && matches!(self.state, SessionState::Starting | SessionState::Running) {
            self.disconnect(now, effects);
        }
    }

    fn progress(&mut self, now: Timestamp) {
        if self.state == SessionState::Starting && self.linked {
            self.deadline = Some(after(now, SETUP_STALL).min(after(self.since, SETUP_WITHIN)));
        }
    }

    fn now_ready(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !matches!(self.state, SessionState::Starting | SessionState::Disconnected) || !self.expects_link() {
            return;
        }
        self.ready = true;
        if self.state == SessionState::Starting && self.linked {
            self.enter(now, SessionState::Running, None, effects);
        }
    }

    fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.trash.take_if(|trash| trash.until <= now).is_some() {
            return self.enter(now, SessionState::Deleted, None, effects);
        }
        if self.state != SessionState::Deleted && self.warm.is_some_and(|until| until <= now) {
            return self.enter(now, SessionState::Deleted, None, effects);
        }
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.deadline = None;
        match self.state {
            SessionState::Starting if self.linked => {
                self.enter(now, SessionState::Failed, Some(setup_stalled(now)), effects);
            }
            SessionState::Starting => self.enter(now, SessionState::Failed, Some(start_timed_out(now)), effects),
            SessionState::Running => self.disconnect(now, effects),
            SessionState::Disconnected => self.enter(now, SessionState::Failed, Some(unresponsive(now)), effects),
            SessionState::Stopping => self.enter(now, SessionState::Failed, Some(stop_timed_out(now)), effects),
            SessionState::Created | SessionState::Stopped | SessionState::Failed | SessionState::Deleted => {}
        }
    }

    fn disconnect(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.enter(now, SessionState::Disconnected, Some(link_lost(now)), effects);
    }

    fn enter(&mut self, now: Timestamp, state: SessionState, trouble: Option<Trouble>, effects: &mut Vec<Effect>) {
        let (state, trouble) = match state {
            SessionState::Failed if self.warm.is_some() => (SessionState::Deleted, None),
            state => (state, trouble),
        };
        if state == SessionState::Deleted {
            self.trash = None;
        }
        self.linked &= state == SessionState::Running;
        self.state = state;
        self.since = now;
        self.trouble = trouble;
        self.deadline = self.fresh_deadline(now);
        effects.push(Effect::Record);
    }

    fn fresh_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let within = match self.state {
            SessionState::Starting => START_WITHIN,
            SessionState::Running if !self.linked => LINK_GRACE,
            SessionState::Disconnected => UNRESPONSIVE_AFTER,
            SessionState::Stopping => STOP_WITHIN,
            _ => return None,
        };
        Some(after(now, within))
    }

    fn is_up(&self) -> bool {
        matches!(self.state, SessionState::Running | SessionState::Disconnected)
    }

    fn is_up_or_starting(&self) -> bool {
        self.is_up() || self.state == SessionState::Starting
    }

    /// Begins what leads from what is known to what is wanted.
    fn reconcile(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.operation.is_some() {
            return;
        }
        if self.state == SessionState::Stopping && self.sandbox == Sandbox::Down {
            self.enter(now, SessionState::Stopped, None, effects);
        }
        let down = self.sandbox == Sandbox::Down;
        let waits = self.deadline.is_some_and(|deadline| now < deadline);
        let wanted = match self.state {
            SessionState::Starting if self.sweep && !down => Operation::Stop,
            SessionState::Starting if self.sandbox != Sandbox::Up => Operation::Start,
            SessionState::Stopping if !down => Operation::Stop,
            SessionState::Created | SessionState::Stopped | SessionState::Failed if !down && !waits => Operation::Stop,
            SessionState::Deleted if self.sandbox != Sandbox::Gone && !waits => Operation::Destroy,
            _ => return,
        };
        self.sweep &= wanted == Operation::Stop;
        self.operation = Some(wanted);
        effects.push(Effect::Begin(wanted));
    }
}

/// What a store keeps of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where it was.
    pub state: SessionState,
    /// Since when.
    pub since: Timestamp,
    /// What was wrong with the sandbox.
    pub trouble: Option<Trouble>,
    /// Whether it was in the trash.
    pub trash: Option<Deletion>,
    /// How long it waits to be adopted.
    pub warm: Option<Timestamp>,
    /// Whether the runtime was ready since the last start.
    pub ready: bool,
}

fn after(now: Timestamp, duration: SignedDuration) -> Timestamp {
    now.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

fn trouble(now: Timestamp, code: &str, message: String, hint: &str) -> Trouble {
    Trouble {
        code: code.to_owned(),
        message,
        hint: Some(hint.to_owned()),
        since: now,
    }
}

fn start_timed_out(now: Timestamp) -> Trouble {
    let message = format!("The sandbox did not call within {} seconds.", START_WITHIN.as_secs());
    trouble(
        now,
        "start_timed_out",
        message,
        "Start the session again. The server's log and `mistle doctor` say more.",
    )
}

fn setup_stalled(now: Timestamp) -> Trouble {
    let message = format!(
        "The sandbox did not get ready: no progress for {} minutes.",
        SETUP_STALL.as_mins()
    );
    trouble(
        now,
        "start_timed_out",
        message,
        "Start the session again: it goes on with what it has fetched.",
    )
}

fn link_lost(now: Timestamp) -> Trouble {
    let message = "The sandbox does not answer.".to_owned();
    trouble(
        now,
        "link_lost",
        message,
        "Mistle connects again by itself; what you send meanwhile is kept.",
    )
}

fn unresponsive(now: Timestamp) -> Trouble {
    let message = format!(
        "The sandbox did not answer for {} minutes and was ended.",
        UNRESPONSIVE_AFTER.as_mins()
    );
    trouble(
        now,
        "sandbox_unresponsive",
        message,
        "Its disk is kept: start the session again.",
    )
}

fn stop_timed_out(now: Timestamp) -> Trouble {
    let message = format!("The sandbox did not end within {} seconds.", STOP_WITHIN.as_secs());
    trouble(
        now,
        "stop_timed_out",
        message,
        "Mistle keeps trying. Its disk is kept: start the session again.",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPOCH: Timestamp = Timestamp::UNIX_EPOCH;

    fn any_trouble(now: Timestamp) -> Trouble {
        trouble(now, "test", "test".to_owned(), "test")
    }

    #[derive(Clone, Debug)]
    enum Step {
        Request(Request),
        Handle(Event),
        Adopt,
        Wait(i64),
        /// The server dies and another takes up what was stored.
        Restart {
            running: bool,
        },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let operation = prop_oneof![Just(Operation::Start), Just(Operation::Stop), Just(Operation::Destroy)];
        let event = prop_oneof![
            4 => operation.clone().prop_map(Event::Done),
            1 => operation.prop_map(|operation| Event::OperationFailed(operation, any_trouble(EPOCH))),
            1 => Just(Event::Exited(any_trouble(EPOCH))),
            3 => Just(Event::LinkUp),
            2 => Just(Event::LinkLost),
            1 => Just(Event::Progress),
            3 => Just(Event::Ready),
            1 => Just(Event::Broken(any_trouble(EPOCH))),
            2 => Just(Event::Tick),
        ];
        let request = prop_oneof![
            5 => Just(Request::Start),
            3 => Just(Request::Stop),
            2 => (0..2000_i64).prop_map(|secs| Request::Trash { keep: SignedDuration::from_secs(secs) }),
            2 => Just(Request::Restore),
            1 => Just(Request::Delete),
        ];
        let step = prop_oneof![
            3 => request.prop_map(Step::Request),
            10 => event.prop_map(Step::Handle),
            2 => (0..1000_i64).prop_map(Step::Wait),
            1 => Just(Step::Adopt),
            1 => any::<bool>().prop_map(|running| Step::Restart { running }),
        ];
        prop::collection::vec(step, 0..60)
    }

    fn drawn(from: SessionState, to: SessionState) -> bool {
        use SessionState as S;
        match (from, to) {
            (S::Deleted, _) => false,
            (from, S::Failed) => !matches!(from, S::Created | S::Stopped | S::Failed),
            (_, S::Deleted)
            | (S::Created | S::Stopped | S::Failed | S::Disconnected, S::Starting)
            | (S::Starting | S::Disconnected, S::Running)
            | (S::Starting | S::Running, S::Disconnected)
            | (S::Starting | S::Running | S::Disconnected, S::Stopping)
            | (S::Stopping | S::Created, S::Stopped) => true,
            _ => false,
        }
    }

    fn check(machine: &Machine, before: &Machine, effects: &[Effect]) {
        let (state, was) = (machine.state, before.state);
        let records = effects.iter().filter(|effect| **effect == Effect::Record).count();
        if state != was {
            assert!(records > 0, "{was:?} became {state:?} unrecorded");
            // Stopping what is down passes through stopping at once.
            assert!(
                drawn(was, state) || (state == SessionState::Stopped && records > 1),
                "{was:?} became {state:?}"
            );
        }
        let begun: Vec<_> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Begin(o) => Some(*o),
                _ => None,
            })
            .collect();
        assert!(begun.len() <= 1);
        if let Some(begun) = begun.first() {
            assert_eq!(machine.operation, Some(*begun));
            match begun {
                Operation::Start => assert_eq!(state, SessionState::Starting),
                Operation::Stop => assert!(!matches!(state, SessionState::Running | SessionState::Disconnected)),
                Operation::Destroy => assert_eq!(state, SessionState::Deleted),
            }
        }
        if let Some(trash) = machine.trash {
            assert!(matches!(
                state,
                SessionState::Stopping | SessionState::Stopped | SessionState::Failed
            ));
            assert!(machine.deadline().is_some_and(|deadline| deadline <= trash.until));
        }
        if let Some(warm) = machine.warm {
            assert_ne!(state, SessionState::Failed);
            assert!(state == SessionState::Deleted || machine.deadline().is_some_and(|deadline| deadline <= warm));
        }
        let waits_for_someone = machine.deadline.is_some();
        match state {
            SessionState::Starting | SessionState::Disconnected | SessionState::Stopping => assert!(waits_for_someone),
            SessionState::Running => assert!(machine.ready && (machine.linked || waits_for_someone)),
            SessionState::Failed => {
                assert!(machine.trouble.is_some());
                assert!(machine.sandbox == Sandbox::Down || machine.operation.is_some() || waits_for_someone);
            }
            SessionState::Deleted => {
                assert!(machine.sandbox == Sandbox::Gone || machine.operation.is_some() || waits_for_someone);
            }
            SessionState::Created | SessionState::Stopped => {}
        }
    }

    fn stored(machine: &Machine) -> Stored {
        Stored {
            state: machine.state,
            since: machine.since,
            trouble: machine.trouble.clone(),
            trash: machine.trash,
            warm: machine.warm,
            ready: machine.ready,
        }
    }

    /// One that someone asked for, or one that waits for that.
    fn created() -> impl Strategy<Value = Machine> {
        prop_oneof![
            3 => Just(Machine::new(EPOCH)),
            1 => (0..2000_i64).prop_map(|secs| Machine::new_warm(EPOCH, after(EPOCH, SignedDuration::from_secs(secs)))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_order_of_events_reaches_an_illegal_state(mut machine in created(), steps in steps()) {
            let mut now = EPOCH;
            for step in steps {
                let before = machine.clone();
                let effects = match step {
                    Step::Wait(seconds) => {
                        now += SignedDuration::from_secs(seconds);
                        continue;
                    }
                    Step::Request(request) => match machine.request(now, request) {
                        Ok(Admitted::Begun(effects)) => effects,
                        Ok(Admitted::Joined) | Err(_) => {
                            prop_assert_eq!(&machine, &before);
                            continue;
                        }
                    },
                    Step::Adopt => {
                        machine.adopt();
                        continue;
                    }
                    Step::Handle(event) => {
                        let effects = machine.handle(now, event);
                        if before.operation.is_some() && machine.operation == before.operation {
                            prop_assert!(!effects.iter().any(|effect| matches!(effect, Effect::Begin(_))));
                        }
                        effects
                    }
                    Step::Restart { running } => {
                        if machine.sandbox == Sandbox::Gone {
                            continue;
                        }
                        let (restored, effects) = Machine::restore(stored(&machine), running, now);
                        machine = restored;
                        effects
                    }
                };
                check(&machine, &before, &effects);
            }
        }

        /// When every operation ends and time passes, nothing stays on its way for ever.
        #[test]
        fn every_state_comes_to_rest(mut machine in created(), steps in steps()) {
            let mut now = EPOCH;
            for step in steps {
                match step {
                    Step::Wait(seconds) => now += SignedDuration::from_secs(seconds),
                    Step::Request(request) => drop(machine.request(now, request)),
                    Step::Adopt => {
                        machine.adopt();
                    }
                    Step::Handle(event) => drop(machine.handle(now, event)),
                    Step::Restart { running } => machine = Machine::restore(stored(&machine), running, now).0,
                }
            }
            for _ in 0..10 {
                if let Some(operation) = machine.operation {
                    machine.handle(now, Event::Done(operation));
                }
                now = machine.deadline().unwrap_or(now).max(now);
                machine.handle(now, Event::Tick);
            }
            prop_assert_eq!(machine.operation, None);
            prop_assert_eq!(machine.deadline(), None);
            match machine.state {
                SessionState::Running => prop_assert!(machine.linked),
                SessionState::Created | SessionState::Stopped | SessionState::Failed => prop_assert_ne!(machine.sandbox, Sandbox::Up),
                SessionState::Deleted => prop_assert!(machine.sandbox == Sandbox::Gone),
                other => prop_assert!(false, "{other:?} for ever"),
            }
        }
    }

    fn started() -> Machine {
        let mut machine = Machine::new(EPOCH);
        machine.request(EPOCH, Request::Start).unwrap();
        machine
    }

    fn running() -> Machine {
        let mut machine = started();
        for event in [Event::Done(Operation::Start), Event::LinkUp, Event::Ready] {
            machine.handle(EPOCH, event);
        }
        assert_eq!(machine.state(), SessionState::Running);
        machine
    }

    #[test]
    fn a_session_starts_runs_and_stops() {
        let mut machine = Machine::new(EPOCH);
        let begun = machine.request(EPOCH, Request::Start);
        assert_eq!(
            begun,
            Ok(Admitted::Begun(vec![Effect::Record, Effect::Begin(Operation::Start)]))
        );
        assert_eq!(machine.handle(EPOCH, Event::Done(Operation::Start)), [Effect::Watch]);
        assert_eq!(machine.handle(EPOCH, Event::LinkUp), []);
        assert_eq!(machine.handle(EPOCH, Event::Ready), [Effect::Record]);
        let begun = machine.request(EPOCH, Request::Stop);
        assert_eq!(
            begun,
            Ok(Admitted::Begun(vec![Effect::Record, Effect::Begin(Operation::Stop)]))
        );
        assert_eq!(machine.handle(EPOCH, Event::Done(Operation::Stop)), [Effect::Record]);
        assert_eq!(machine.state(), SessionState::Stopped);
    }

    #[test]
    fn two_starts_are_one() {
        let mut machine = started();
        assert_eq!(machine.request(EPOCH, Request::Start), Ok(Admitted::Joined));
    }

    #[test]
    fn a_stop_in_the_middle_of_a_start_waits_for_it() {
        let mut machine = started();
        assert_eq!(
            machine.request(EPOCH, Request::Stop),
            Ok(Admitted::Begun(vec![Effect::Record]))
        );
        assert_eq!(machine.request(EPOCH, Request::Start), Err(Denied::Stopping));
        assert_eq!(
            machine.handle(EPOCH, Event::Done(Operation::Start)),
            [Effect::Begin(Operation::Stop)]
        );
        assert_eq!(machine.handle(EPOCH, Event::Done(Operation::Stop)), [Effect::Record]);
        assert_eq!(machine.state(), SessionState::Stopped);
    }

    #[test]
    fn a_start_after_a_failure_ends_first_what_is_left() {
        let mut machine = running();
        assert_eq!(
            machine.handle(EPOCH, Event::Broken(any_trouble(EPOCH))),
            [Effect::Record, Effect::Begin(Operation::Stop)]
        );
        assert_eq!(
            machine.request(EPOCH, Request::Start),
            Ok(Admitted::Begun(vec![Effect::Record]))
        );
        assert_eq!(
            machine.handle(EPOCH, Event::Done(Operation::Stop)),
            [Effect::Begin(Operation::Start)]
        );
    }

    #[test]
    fn a_lost_link_comes_back_to_where_it_was() {
        let mut machine = running();
        machine.handle(EPOCH, Event::LinkLost);
        assert_eq!(machine.state(), SessionState::Disconnected);
        assert_eq!(
            machine.trouble().map(|trouble| trouble.code.as_str()),
            Some("link_lost")
        );
        machine.handle(EPOCH, Event::LinkUp);
        assert_eq!((machine.state(), machine.trouble()), (SessionState::Running, None));

        let mut machine = started();
        machine.handle(EPOCH, Event::Done(Operation::Start));
        machine.handle(EPOCH, Event::LinkUp);
        machine.handle(EPOCH, Event::LinkLost);
        assert_eq!(machine.state(), SessionState::Disconnected);
        machine.handle(EPOCH, Event::LinkUp);
        assert_eq!(machine.state(), SessionState::Starting);
    }

    #[test]
    fn what_is_in_the_trash_is_stopped_and_comes_back_whole() {
        let keep = SignedDuration::from_hours(1);
        let until = after(EPOCH, keep);
        let mut machine = running();
        let begun = machine.request(EPOCH, Request::Trash { keep });
        assert_eq!(
            begun,
            Ok(Admitted::Begun(vec![Effect::Record, Effect::Begin(Operation::Stop)]))
        );
        assert_eq!(machine.request(EPOCH, Request::Start), Err(Denied::Trashed));
        // A request that is repeated because its answer was lost destroys nothing.
        let again = machine.request(
            EPOCH,
            Request::Trash {
                keep: SignedDuration::ZERO,
            },
        );
        assert_eq!(
            (again, machine.trash()),
            (Ok(Admitted::Joined), Some(Deletion { at: EPOCH, until }))
        );
        assert_eq!(machine.handle(EPOCH, Event::Done(Operation::Stop)), [Effect::Record]);
        assert_eq!(
            machine.request(EPOCH, Request::Restore),
            Ok(Admitted::Begun(vec![Effect::Record]))
        );
        assert_eq!((machine.state(), machine.deadline()), (SessionState::Stopped, None));
        assert!(machine.request(EPOCH, Request::Start).is_ok());
    }

    #[test]
    fn the_trash_is_emptied_in_time_by_whichever_server_runs_then() {
        let until = after(EPOCH, SignedDuration::from_hours(1));
        let mut machine = Machine::new(EPOCH);
        let keep = SignedDuration::from_hours(1);
        machine.request(EPOCH, Request::Trash { keep }).unwrap();
        let late = after(until, SignedDuration::from_hours(1));
        let (mut machine, effects) = Machine::restore(stored(&machine), false, late);
        assert_eq!((effects, machine.deadline()), (vec![], Some(until)));
        assert_eq!(
            machine.handle(late, Event::Tick),
            [Effect::Record, Effect::Begin(Operation::Destroy)]
        );
        assert_eq!(machine.request(late, Request::Restore), Err(Denied::Deleted));
    }

    fn warm(until: Timestamp) -> Machine {
        let mut machine = Machine::new_warm(EPOCH, until);
        machine.request(EPOCH, Request::Start).unwrap();
        machine.handle(EPOCH, Event::Done(Operation::Start));
        machine
    }

    #[test]
    fn a_warm_session_is_adopted_or_goes_in_time_whichever_server_runs_then() {
        let until = after(EPOCH, SignedDuration::from_mins(10));
        let mut adopted = warm(until);
        assert!(adopted.adopt());
        assert!(!adopted.adopt(), "it is someone's");
        adopted.handle(EPOCH, Event::LinkUp);
        adopted.handle(EPOCH, Event::Ready);
        assert!(adopted.handle(until, Event::Tick).is_empty());
        assert_eq!(adopted.state(), SessionState::Running);

        let (mut left, _) = Machine::restore(stored(&warm(until)), true, EPOCH);
        assert!(left.deadline() <= Some(until));
        left.handle(EPOCH, Event::Done(Operation::Start));
        assert_eq!(
            left.handle(until, Event::Tick),
            [Effect::Record, Effect::Begin(Operation::Destroy)]
        );
        assert!(!left.adopt(), "it is gone");
    }

    #[test]
    fn a_warm_session_that_fails_goes_at_once() {
        let mut machine = warm(after(EPOCH, SignedDuration::from_mins(10)));
        assert_eq!(
            machine.handle(EPOCH, Event::Broken(any_trouble(EPOCH))),
            [Effect::Record, Effect::Begin(Operation::Destroy)]
        );
        assert_eq!((machine.state(), machine.trouble()), (SessionState::Deleted, None));
    }

    #[test]
    fn a_restarted_server_takes_up_every_state() {
        for (state, running, effects) in [
            (SessionState::Starting, false, vec![Effect::Begin(Operation::Start)]),
            (SessionState::Starting, true, vec![Effect::Begin(Operation::Start)]),
            (SessionState::Running, true, vec![Effect::Watch]),
            (SessionState::Disconnected, true, vec![Effect::Watch]),
            (SessionState::Stopping, true, vec![Effect::Begin(Operation::Stop)]),
            (SessionState::Stopping, false, vec![Effect::Begin(Operation::Stop)]),
            (SessionState::Stopped, false, vec![]),
            (SessionState::Stopped, true, vec![Effect::Begin(Operation::Stop)]),
            (SessionState::Failed, true, vec![Effect::Begin(Operation::Stop)]),
            (SessionState::Deleted, false, vec![Effect::Begin(Operation::Destroy)]),
        ] {
            let trouble = (state == SessionState::Failed).then(|| any_trouble(EPOCH));
            let ready = matches!(state, SessionState::Running | SessionState::Disconnected);
            let stored = Stored {
                state,
                since: EPOCH,
                trouble,
                trash: None,
                warm: None,
                ready,
            };
            assert_eq!(
                Machine::restore(stored, running, EPOCH).1,
                effects,
                "{state:?} {running}"
            );
        }
    }
}
