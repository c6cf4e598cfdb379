//! The callers, the provider with its bill, the disk, the clock: everything around the ledger, and every step that can be next.

use crate::ledger::{HOPS, Id, Ledger, OWN, RESERVE, REST, Row, Rules, SCOPES, WINDOWS};
use std::fmt;

/// Limits of the scopes: as they begin, and what they may be changed to.
const LIMITS: [u8; SCOPES] = [4, 2];
const CHANGED: [u8; 2] = [2, 6];

/// How much of everything there is.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    /// Calls by caller.
    pub calls: [u8; 3],
    pub crashes: u8,
    /// Turns of the window.
    pub ticks: u8,
    /// Changes of a limit.
    pub limits: u8,
    /// Newer sessions.
    pub claims: u8,
    /// What a provider may bill for a hop.
    pub bills: &'static [u8],
}

/// A step, for a person.
#[derive(Clone, Copy, Debug)]
pub struct Step(&'static str, Option<Id>, u8);

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(what, id, number) = self;
        match id {
            Some(Id { caller, call, hop }) => {
                write!(
                    f,
                    "hop {hop} of call {call} of caller {caller}: {what} {number}"
                )
            }
            None => write!(f, "{what} {number}"),
        }
    }
}

type Next = Result<World, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Process {
    Down,
    /// Its rows are not on the disk yet: it does not listen.
    Starting,
    Up,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    /// Reserved, and not left yet.
    Reserved(Id),
    /// The provider has it, and bills this.
    Out(Id, u8),
    /// Booked, and not told yet.
    Booked(Id, bool),
}

/// What really happened in a scope's window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Truth {
    billed: u8,
    /// Of it, beyond reservations.
    overrun: u8,
    /// Of that, what nobody saw.
    unseen: u8,
    /// The highest limit that a hop was let through under.
    limit: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    disk: Ledger,
    /// Written and not on the disk.
    tail: Vec<Row>,
    process: Process,
    now: u8,
    limits: [u8; SCOPES],
    phases: [Phase; 3],
    /// The number of the call that each caller is at.
    call: [u8; 3],
    truth: [[Truth; WINDOWS]; SCOPES],
    own: Truth,
    all: Truth,
    left: u32,
    /// Ends of a process, clean ones among them.
    crashes: u8,
    /// Ends of a process that served, without the clean ones.
    unclean: u8,
    changes: u8,
}

impl World {
    pub fn new() -> Self {
        Self {
            disk: Ledger::default(),
            tail: Vec::new(),
            process: Process::Down,
            now: 0,
            limits: LIMITS,
            phases: [Phase::Idle; 3],
            call: [0; 3],
            truth: Default::default(),
            own: Truth::default(),
            all: Truth::default(),
            left: 0,
            crashes: 0,
            unclean: 0,
            changes: 0,
        }
    }

    /// What the process has in memory: the fold of all that it wrote.
    fn memory(&self, rules: Rules) -> Result<Ledger, String> {
        let mut ledger = self.disk.clone();
        for row in &self.tail {
            ledger.apply(*row, rules)?;
        }
        Ok(ledger)
    }

    /// Every step that is possible here, with where it leads to.
    pub fn steps(&self, instance: &Instance, rules: Rules) -> Vec<(Step, Next)> {
        let mut steps = Vec::new();
        let mut add = |step: Step, next: Next| steps.push((step, next));
        if self.process == Process::Down {
            add(Step("start", None, 0), self.start(rules));
            return steps;
        }
        if !self.tail.is_empty() {
            add(Step("sync", None, 0), self.sync(rules));
        }
        if self.crashes < instance.crashes {
            for kept in 0..=self.tail.len() {
                let step = Step("crash, rows kept:", None, kept as u8);
                add(step, self.crash(kept, rules));
            }
        }
        if self.process == Process::Starting {
            return steps;
        }
        if self.now < instance.ticks {
            let now = self.now + 1;
            add(
                Step("the window becomes", None, now),
                Ok(Self {
                    now,
                    ..self.clone()
                }),
            );
        }
        if self.changes < instance.limits {
            for limit in CHANGED {
                let mut next = self.clone();
                next.changes += 1;
                next.limits[0] = limit;
                add(Step("the limit becomes", None, limit), Ok(next));
            }
        }
        let idle = self.phases.iter().all(|phase| *phase == Phase::Idle);
        if idle && self.tail.is_empty() && self.crashes < instance.crashes {
            let mut next = self.clone();
            next.crashes += 1;
            next.process = Process::Down;
            let stopped = next.disk.apply(Row::Stop, rules);
            add(Step("clean stop", None, 0), stopped.map(|()| next));
        }
        match self.memory(rules) {
            Ok(memory) => self.caller_steps(instance, rules, &memory, &mut add),
            Err(what) => add(Step("fold", None, 0), Err(what)),
        }
        steps
    }

    fn caller_steps(
        &self,
        instance: &Instance,
        rules: Rules,
        memory: &Ledger,
        add: &mut impl FnMut(Step, Next),
    ) {
        if memory.session < instance.claims && instance.calls[0] > 0 {
            let mut next = self.clone();
            next.tail.push(Row::Claim);
            add(Step("claim of session", None, memory.session + 1), Ok(next));
        }
        for caller in 0..3_u8 {
            let at = usize::from(caller);
            match self.phases[at] {
                Phase::Idle if self.call[at] < instance.calls[at] => {
                    for session in 0..=memory.session {
                        if session == memory.session || caller == 0 {
                            self.ask(caller, session, rules, memory, add);
                        }
                    }
                }
                Phase::Idle => {}
                Phase::Reserved(id) if self.may_leave(id, rules, memory) => {
                    for bill in instance.bills {
                        let left = self.leave(id, *bill, memory);
                        add(Step("leaves, is billed", Some(id), *bill), left);
                    }
                }
                Phase::Reserved(_) => {}
                Phase::Out(id, bill) => {
                    let end = |cost, estimated, answered| Row::End {
                        id,
                        cost,
                        estimated: estimated && rules.mark_estimated,
                        answered,
                        doubt: false,
                        window: self.now,
                    };
                    let mut known = self.clone();
                    known.tail.push(end(bill, false, bill > 0));
                    known.phases[at] = Phase::Booked(id, bill > 0);
                    add(Step("ends with usage", Some(id), bill), Ok(known));
                    let mut unknown = self.clone();
                    unknown.tail.push(end(RESERVE, true, false));
                    unknown.phases[at] = Phase::Booked(id, false);
                    unknown.unseen(id, bill, memory);
                    add(Step("breaks off, booked", Some(id), RESERVE), Ok(unknown));
                }
                Phase::Booked(id, answered) => {
                    let durable = self.disk.ended & id.bit() != 0;
                    if durable || !id.is_task() {
                        let mut next = self.clone();
                        next.phases[at] = Phase::Idle;
                        if answered || id.hop + 1 == HOPS {
                            next.call[at] += 1;
                        }
                        add(Step("told", Some(id), u8::from(answered)), Ok(next));
                    }
                }
            }
        }
    }

    /// A caller asks for its next hop.
    fn ask(
        &self,
        caller: u8,
        session: u8,
        rules: Rules,
        memory: &Ledger,
        add: &mut impl FnMut(Step, Next),
    ) {
        let at = usize::from(caller);
        let call = self.call[at];
        let hop = memory.hops(caller, call);
        let bit = Id {
            caller,
            call,
            hop: 0,
        }
        .call_bit();
        let doubt = memory.doubt & bit != 0;
        if memory.answered & bit != 0 || (doubt && rules.new_number) || hop == HOPS {
            let mut next = self.clone();
            next.call[at] += 1;
            add(Step("next call of caller", None, caller), Ok(next));
            return;
        }
        // Without the rule a call in doubt is sent as what it was.
        let hop = if doubt { hop - 1 } else { hop };
        let id = Id { caller, call, hop };
        let current = session == memory.session || !rules.check_session;
        if doubt {
            let mut next = self.clone();
            next.phases[at] = Phase::Reserved(id);
            add(Step("sent again by session", Some(id), session), Ok(next));
        } else if current && memory.covers(id, self.now, self.limits, rules) {
            let mut next = self.clone();
            next.tail.push(Row::Open {
                id,
                window: self.now,
                session,
            });
            next.phases[at] = Phase::Reserved(id);
            next.truths(id, self.now, |truth, limit| {
                truth.limit = truth.limit.max(limit)
            });
            let old = session != memory.session;
            let fenced = format!("I4: {id:?} is reserved for session {session}");
            let step = Step("reserved by session", Some(id), session);
            add(step, if old { Err(fenced) } else { Ok(next) });
        }
    }

    /// Whether a reserved hop need not wait for the disk any more.
    fn may_leave(&self, id: Id, rules: Rules, memory: &Ledger) -> bool {
        let durable = self.disk.opened & id.bit() != 0;
        if durable || (id.is_task() && !rules.wait_for_open) {
            return true;
        }
        if id.is_task() {
            return false;
        }
        let Some((_, window)) = memory.open.iter().find(|(open, _)| *open == id) else {
            return false;
        };
        let window = usize::from(*window);
        let used = id
            .scopes()
            .iter()
            .all(|scope| self.disk.counters[*scope][window].used);
        let out: u8 = self.tail.iter().map(exposed).sum();
        (used || !rules.first_use_waits) && (out <= REST || !rules.bound_rest)
    }

    fn leave(&self, id: Id, bill: u8, memory: &Ledger) -> Result<Self, String> {
        if self.left & id.bit() != 0 {
            return Err(format!("I4: {id:?} leaves twice"));
        }
        let mut next = self.clone();
        next.left |= id.bit();
        next.phases[usize::from(id.caller)] = Phase::Out(id, bill);
        let window = window_of(id, memory);
        next.truths(id, window, |truth, _| {
            truth.billed += bill;
            truth.overrun += bill.saturating_sub(RESERVE);
        });
        Ok(next)
    }

    /// Nobody saw the end of a hop.
    fn unseen(&mut self, id: Id, bill: u8, memory: &Ledger) {
        let window = window_of(id, memory);
        self.truths(id, window, |truth, _| {
            truth.unseen += bill.saturating_sub(RESERVE)
        });
    }

    fn truths(&mut self, id: Id, window: u8, change: impl Fn(&mut Truth, u8)) {
        for scope in id.scopes() {
            change(
                &mut self.truth[*scope][usize::from(window)],
                self.limits[*scope],
            );
        }
        change(&mut self.all, 0);
        if id.is_task() {
            change(&mut self.own, 0);
        }
    }

    fn start(&self, rules: Rules) -> Result<Self, String> {
        let mut next = self.clone();
        next.tail = self.disk.start(self.now, rules);
        next.process = Process::Starting;
        Ok(next)
    }

    fn sync(&self, rules: Rules) -> Result<Self, String> {
        let disk = self.memory(rules)?;
        Ok(Self {
            disk,
            tail: Vec::new(),
            process: Process::Up,
            ..self.clone()
        })
    }

    /// The process dies; of what was not on the disk the first rows are.
    fn crash(&self, kept: usize, rules: Rules) -> Result<Self, String> {
        let memory = self.memory(rules)?;
        let mut next = self.clone();
        next.crashes += 1;
        next.unclean += u8::from(self.process == Process::Up);
        next.process = Process::Down;
        next.tail = Vec::new();
        for row in &self.tail[..kept] {
            next.disk.apply(*row, rules)?;
        }
        // What went beyond a reservation is lost with the row that says so, or was never known.
        for row in &self.tail[kept..] {
            if let Row::End {
                id,
                cost,
                estimated: false,
                ..
            } = row
            {
                let window = self.reserved_in(*id, rules)?;
                next.truths(*id, window, |truth, _| {
                    truth.unseen += cost.saturating_sub(RESERVE)
                });
            }
        }
        for (at, phase) in self.phases.iter().enumerate() {
            if let Phase::Out(id, bill) = phase {
                next.unseen(*id, *bill, &memory);
            }
            // A pilot asks the same call again; a caller of an SDK asks another one.
            let (caller, call) = (at as u8, self.call[at]);
            let left = |hop| self.left & Id { caller, call, hop }.bit() != 0;
            if at > 0 && (*phase != Phase::Idle || (0..HOPS).any(left)) {
                next.call[at] += 1;
            }
            next.phases[at] = Phase::Idle;
        }
        Ok(next)
    }

    /// The window that a hop was reserved in, which may have ended since.
    fn reserved_in(&self, id: Id, rules: Rules) -> Result<u8, String> {
        let mut ledger = self.disk.clone();
        for row in &self.tail {
            if matches!(row, Row::End { id: ended, .. } if *ended == id) {
                break;
            }
            ledger.apply(*row, rules)?;
        }
        Ok(window_of(id, &ledger))
    }

    /// The invariants, wherever somebody can see them.
    pub fn check(&self, rules: Rules) -> Result<(), String> {
        if self.process != Process::Up {
            return Ok(());
        }
        let memory = self.memory(rules)?;
        let quiet = self.tail.is_empty() && self.phases.iter().all(|phase| *phase == Phase::Idle);
        if quiet && !memory.open.is_empty() {
            return Err(format!("I5: {:?} never end", memory.open));
        }
        // What is out goes on to be seen.
        let mut seen = self.clone();
        for phase in &self.phases {
            if let Phase::Out(id, bill) = phase {
                seen.unseen(*id, *bill, &memory);
            }
        }
        let own = Truth {
            limit: OWN,
            ..seen.own
        };
        let scopes = memory
            .counters
            .iter()
            .flatten()
            .zip(seen.truth.iter().flatten());
        let scopes = scopes.chain([(&memory.own, &own)]);
        for (counter, truth) in scopes.clone().chain([(&memory.all, &seen.all)]) {
            if counter.spent + counter.reserved + truth.unseen < truth.billed {
                return Err(format!("I1: {counter:?} {truth:?}"));
            }
            let too_much = counter.spent > truth.billed + counter.estimated;
            if too_much || counter.rest > REST * self.unclean {
                return Err(format!("I3: {counter:?} {truth:?}"));
            }
        }
        for (counter, truth) in scopes {
            let more = counter.overrun + counter.rest;
            if counter.spent + counter.reserved > truth.limit + more
                || truth.billed > truth.limit + truth.overrun
            {
                return Err(format!("I2: {counter:?} {truth:?}"));
            }
        }
        Ok(())
    }
}

fn window_of(id: Id, ledger: &Ledger) -> u8 {
    let open = ledger.open.iter().find(|(open, _)| *open == id);
    open.map_or(0, |(_, window)| *window)
}

/// What is lost with a row that is not on the disk: of callers of SDKs, since a Task's hop has not left.
const fn exposed(row: &Row) -> u8 {
    match row {
        Row::Open { id, .. } if !id.is_task() => RESERVE,
        _ => 0,
    }
}
