//! A sandbox that is lost: its container was stopped, most likely by the kernel at its memory limit, and started again or not.

use super::{After, Held, MAX_RESTARTS, Machine, Next, Phase};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::exec::Request;

impl Machine {
    pub(super) fn restarted(&mut self, phase: Phase) -> Next {
        self.restarts += 1;
        self.layers.cut_off();
        if self.restarts > MAX_RESTARTS {
            return self.gone(&phase);
        }
        match phase {
            Phase::Probing(after) => self.probe(after),
            Phase::Fetching(index, _) | Phase::Placing(index) => self.probe(After::Place(index)),
            Phase::Restoring => self.probe(After::Restore),
            Phase::TakingOver(taken) => self.probe(After::TakeOver(taken)),
            Phase::Calling(call) | Phase::Editing(call, _) => self.probe(After::Call(call)),
            Phase::Checking(output) => self.probe(After::Check(output)),
            Phase::Running => self.fail(
                FailureClass::OutOfMemory,
                "the sandbox's container was stopped while the program ran, most likely at its memory limit",
            ),
            Phase::Keeping(outcome) => self.keep_next(outcome),
            Phase::Starting
            | Phase::Holding(_)
            | Phase::Asking { .. }
            | Phase::Attaching
            | Phase::Learning
            | Phase::Serving(_)
            | Phase::Handing(_)
            | Phase::Awaiting(_)
            | Phase::Leaving(_)
            | Phase::Ended => {
                self.finish_now(FailureClass::Internal, "an event came that nothing waited for")
            }
        }
    }

    /// The sandbox is another one, and nothing was under way: what was about to begin begins there, once its isolation is proven too.
    pub(super) fn replaced(&mut self, phase: Phase, request: Request) -> Next {
        match phase {
            Phase::Calling(_) | Phase::Editing(..) | Phase::Running | Phase::Checking(_)
                if self.restarts < MAX_RESTARTS =>
            {
                self.restarts += 1;
                self.probe(After::Again(Box::new(Held { phase, request })))
            }
            phase => self.restarted(phase),
        }
    }

    pub(super) fn gone(&mut self, phase: &Phase) -> Next {
        self.exec_gone = true;
        let class = match phase {
            Phase::Fetching(..)
            | Phase::Calling(_)
            | Phase::Editing(..)
            | Phase::Running
            | Phase::Checking(_) => FailureClass::OutOfMemory,
            Phase::Probing(
                After::Call(_) | After::Check(_) | After::Again(_) | After::TakeOver(_),
            ) => FailureClass::OutOfMemory,
            Phase::Starting
            | Phase::Probing(After::Place(_) | After::Restore)
            | Phase::Placing(_)
            | Phase::Restoring => FailureClass::StartFailed,
            Phase::Holding(_)
            | Phase::Asking { .. }
            | Phase::Attaching
            | Phase::Learning
            | Phase::Serving(_)
            | Phase::Handing(_)
            | Phase::TakingOver(_)
            | Phase::Awaiting(_)
            | Phase::Keeping(_)
            | Phase::Leaving(_)
            | Phase::Ended => FailureClass::Internal,
        };
        let what = match class {
            FailureClass::OutOfMemory => {
                "the sandbox's container was stopped again and again, most likely at its memory limit"
            }
            FailureClass::StartFailed => {
                "the sandbox's container did not start, or stopped before anything ran in it"
            }
            _ => "the sandbox's container was lost",
        };
        match phase {
            Phase::Keeping(outcome) if outcome.failure.is_some() => {
                let outcome = outcome.clone();
                self.keep_next(outcome)
            }
            _ => self.fail(class, what),
        }
    }
}
