//! What is in the log, the fold over it, and the decisions.

/// Scopes: 0 is that of all callers, 1 that of caller 2 alone.
pub const SCOPES: usize = 2;
/// Windows.
pub const WINDOWS: usize = 2;
/// What a hop reserves.
pub const RESERVE: u8 = 2;
/// What callers of SDKs may have out that is not on the disk.
pub const REST: u8 = 2;
/// The Task's own budget.
pub const OWN: u8 = 4;
/// Hops of a call.
pub const HOPS: u8 = 2;
/// Calls of a caller.
const CALLS: u8 = 4;

/// The rules of the protocol, each of which can be left out.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A Task's hop leaves when its row is on the disk.
    pub wait_for_open: bool,
    /// A hop is settled in the window that it was reserved in.
    pub one_window: bool,
    /// A start books what it finds open.
    pub book_open_at_start: bool,
    /// A call in doubt is asked again under a new number only.
    pub new_number: bool,
    /// A session that is not the newest reserves nothing.
    pub check_session: bool,
    /// Every scope is checked.
    pub check_all_scopes: bool,
    /// What is reserved counts like what is settled.
    pub count_reserved: bool,
    /// After an unclean end the rest is booked.
    pub book_rest: bool,
    /// What is out and not on the disk stays within the rest.
    pub bound_rest: bool,
    /// The first hop in a counter waits for the disk, so that the rest is booked there.
    pub first_use_waits: bool,
    /// The rest is in the row that says that a process has started: neither without the other.
    pub rest_once: bool,
    /// What is booked without the provider's word is marked as estimated.
    pub mark_estimated: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            wait_for_open: true,
            one_window: true,
            book_open_at_start: true,
            new_number: true,
            check_session: true,
            check_all_scopes: true,
            count_reserved: true,
            book_rest: true,
            bound_rest: true,
            first_use_waits: true,
            rest_once: true,
            mark_estimated: true,
        }
    }
}

/// A hop of a call of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    pub caller: u8,
    pub call: u8,
    pub hop: u8,
}

impl Id {
    pub const fn bit(self) -> u32 {
        1 << ((self.caller * CALLS + self.call) * HOPS + self.hop)
    }

    pub const fn call_bit(self) -> u16 {
        1 << (self.caller * CALLS + self.call)
    }

    /// The scopes of its caller.
    pub const fn scopes(self) -> &'static [usize] {
        match self.caller {
            2 => &[0, 1],
            _ => &[0],
        }
    }

    pub const fn is_task(self) -> bool {
        self.caller == 0
    }
}

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Row {
    /// A process has started. `rest` is what it booked in each counter that is marked.
    Start {
        rest: u8,
    },
    /// The rest alone: only where the rule is left out that it is in the start's row.
    Rest,
    /// A process has ended cleanly.
    Stop,
    /// A newer session of the Task.
    Claim,
    Open {
        id: Id,
        window: u8,
        session: u8,
    },
    End {
        id: Id,
        cost: u8,
        estimated: bool,
        answered: bool,
        doubt: bool,
        window: u8,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counter {
    pub spent: u8,
    pub reserved: u8,
    /// Of what was spent: beyond reservations.
    pub overrun: u8,
    /// Of what was spent: the rest after crashes.
    pub rest: u8,
    /// Of what was spent: without the provider's word, the rest among it.
    pub estimated: u8,
    /// A caller of an SDK has used it since the process started.
    pub used: bool,
}

/// The fold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    pub session: u8,
    /// A process has started and has not ended cleanly.
    pub running: bool,
    pub counters: [[Counter; WINDOWS]; SCOPES],
    pub own: Counter,
    pub all: Counter,
    /// Open hops with their windows, by id.
    pub open: Vec<(Id, u8)>,
    pub opened: u32,
    pub ended: u32,
    pub answered: u16,
    pub doubt: u16,
}

impl Ledger {
    /// Adds a row.
    pub fn apply(&mut self, row: Row, rules: Rules) -> Result<(), String> {
        match row {
            Row::Start { rest } => {
                self.rest(rest);
                self.running = true;
                self.each(|counter| counter.used = false);
            }
            Row::Rest => self.rest(REST),
            Row::Stop => self.running = false,
            Row::Claim => self.session += 1,
            Row::Open { id, window, .. } => {
                if self.opened & id.bit() != 0 {
                    return Err(format!("I5: {id:?} is opened twice"));
                }
                self.opened |= id.bit();
                let at = self.open.partition_point(|(other, _)| *other < id);
                self.open.insert(at, (id, window));
                self.all_of(id, window, |counter| {
                    counter.reserved += RESERVE;
                    counter.used |= !id.is_task();
                });
            }
            Row::End {
                id,
                cost,
                estimated,
                answered,
                doubt,
                window,
            } => {
                let Some(at) = self.open.iter().position(|(open, _)| *open == id) else {
                    return Err(format!("I5: {id:?} ends and is not open"));
                };
                let (_, reserved) = self.open.remove(at);
                self.ended |= id.bit();
                if answered {
                    self.answered |= id.call_bit();
                }
                if doubt {
                    self.doubt |= id.call_bit();
                }
                self.all_of(id, reserved, |counter| counter.reserved -= RESERVE);
                let settled = if rules.one_window { reserved } else { window };
                self.all_of(id, settled, |counter| {
                    counter.spent += cost;
                    counter.overrun += cost.saturating_sub(RESERVE);
                    counter.estimated += if estimated { cost } else { 0 };
                });
            }
        }
        Ok(())
    }

    fn rest(&mut self, rest: u8) {
        self.each(|counter| {
            if counter.used {
                counter.spent += rest;
                counter.rest += rest;
                counter.estimated += rest;
            }
        });
    }

    fn each(&mut self, mut change: impl FnMut(&mut Counter)) {
        self.counters.iter_mut().flatten().for_each(&mut change);
        change(&mut self.all);
    }

    fn all_of(&mut self, id: Id, window: u8, change: impl Fn(&mut Counter)) {
        for scope in id.scopes() {
            change(&mut self.counters[*scope][usize::from(window)]);
        }
        change(&mut self.all);
        if id.is_task() {
            change(&mut self.own);
        }
    }

    /// Whether a hop may be reserved.
    pub fn covers(&self, id: Id, window: u8, limits: [u8; SCOPES], rules: Rules) -> bool {
        let fits = |counter: &Counter, limit: u8| {
            let reserved = if rules.count_reserved {
                counter.reserved
            } else {
                0
            };
            counter.spent + reserved + RESERVE <= limit
        };
        let checked = if rules.check_all_scopes {
            id.scopes().len()
        } else {
            1
        };
        let scopes = id.scopes().iter().take(checked);
        let mut scopes =
            scopes.map(|scope| fits(&self.counters[*scope][usize::from(window)], limits[*scope]));
        scopes.all(|fits| fits) && (!id.is_task() || fits(&self.own, OWN))
    }

    /// The number of a call's next hop.
    pub fn hops(&self, caller: u8, call: u8) -> u8 {
        let used = |hop: &u8| {
            self.opened
                & Id {
                    caller,
                    call,
                    hop: *hop,
                }
                .bit()
                != 0
        };
        (0..HOPS).take_while(used).count() as u8
    }

    /// The rows of a start.
    pub fn start(&self, window: u8, rules: Rules) -> Vec<Row> {
        let mut rows = Vec::new();
        if rules.book_open_at_start {
            rows.extend(self.open.iter().map(|(id, _)| Row::End {
                id: *id,
                cost: RESERVE,
                estimated: rules.mark_estimated,
                answered: false,
                doubt: true,
                window,
            }));
        }
        let rest = if self.running && rules.book_rest {
            REST
        } else {
            0
        };
        if rules.rest_once || rest == 0 {
            rows.push(Row::Start { rest });
        } else {
            rows.extend([Row::Rest, Row::Start { rest: 0 }]);
        }
        rows
    }
}
