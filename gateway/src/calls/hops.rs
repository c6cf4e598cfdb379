//! A call that is not streamed: hop after hop, until one answers.

use super::account::{Account, Unaffordable};
use super::attempt::{Paced, Told, Try};
use super::route::Routed;
use super::tries::Tries;
use crate::error::ApiFailure;
use crate::metrics::Hop;
use crate::provider::failure::{Class, Failure};
use crate::provider::whole::{Reply, Whole};
use crate::state::Gateway;
use bytes::Bytes;
use oarmaster_dialect::Usage;
use oarmaster_protocol::journal::MAX_RECORD_BYTES;
use oarmaster_store::{Billing, Settled};

/// Room for the rest of a record beside its message.
const RECORD_MARGIN: usize = 16 << 10;

/// A whole answer for the caller.
pub struct Answered {
    /// In the caller's words.
    pub body: Bytes,
    /// Who gave it, and why it was asked.
    pub told: Told,
    /// How a Task's call was booked.
    pub settled: Option<Settled>,
    /// Whether the model said all that it would.
    pub finished: bool,
}

/// What came of a call so far.
#[derive(Default)]
struct Progress {
    /// Who gave the replies.
    by: Option<Hop>,
    /// The replies to the first bodies.
    replies: Vec<Reply>,
    /// Whether the last one is all that the model would say.
    finished: bool,
    settled: Option<Settled>,
    /// The sequence number of the Task's next record.
    next: Option<u64>,
}

/// Why a try gave no answer.
enum Missed {
    /// The provider failed. With the failure goes what the try used in spite of it, where that is known.
    Failed(Failure, Option<Usage>),
    /// The ledger refused a request, after those that had used so much.
    Refused(Unaffordable, Option<Usage>),
}

/// Runs a call that is not streamed to its end.
///
/// # Errors
/// What the caller is told.
pub async fn complete(
    gateway: &Gateway,
    routed: &Routed,
    account: &Account,
) -> Result<Answered, ApiFailure> {
    let mut progress = Progress::default();
    let end = complete_by(gateway, routed, account, &mut progress).await;
    end.map_err(|error| ApiFailure {
        next: error.next.or(progress.next),
        ..error
    })
}

async fn complete_by(
    gateway: &Gateway,
    routed: &Routed,
    account: &Account,
    progress: &mut Progress,
) -> Result<Answered, ApiFailure> {
    let mut tries = Tries::new(gateway, routed)?;
    loop {
        let tried = tries.advance().await?;
        // Another model's replies are no part of this one's.
        if progress.by.as_ref() != Some(&tried.told.by) {
            progress.by = Some(tried.told.by.clone());
            progress.replies.clear();
        }
        let before = progress.replies.len();
        let (failure, used) = match ask(gateway, routed, account, &tried, progress).await? {
            Ok((body, usage)) => {
                return Ok(Answered {
                    body,
                    told: tried.ended(gateway, Ok(()), Paced::Whole, usage.as_ref()),
                    settled: progress.settled.take(),
                    finished: progress.finished,
                });
            }
            Err(Missed::Refused(refused, used)) => {
                if progress.replies.len() == before {
                    drop(tried); // the lane is free again, and nothing was sent
                } else {
                    tried.ended(gateway, Ok(()), Paced::Not, used.as_ref());
                }
                tries.refused(refused)?;
                continue;
            }
            Err(Missed::Failed(failure, used)) => (failure, used),
        };
        let told = tried.ended(gateway, Err(&failure), Paced::Whole, used.as_ref());
        tries.failed(&told.by, &failure)?;
    }
}

/// Asks for the replies that are missing, one body after the other, and makes one answer of all, with the usage of those asked for.
async fn ask(
    gateway: &Gateway,
    routed: &Routed,
    account: &Account,
    tried: &Try<'_>,
    progress: &mut Progress,
) -> Result<Result<(Bytes, Option<Usage>), Missed>, ApiFailure> {
    let mut usages = Vec::new();
    for body in tried.sent.bodies.iter().skip(progress.replies.len()) {
        match hop(gateway, routed, account, tried, body, progress).await? {
            Ok(usage) => usages.push(usage),
            // What the bodies before it used was used, whatever this one came to.
            Err(Missed::Failed(failure, usage)) => {
                let free = failure.billing == Billing::Unbilled;
                usages.push(usage.or(free.then(Usage::default)));
                return Ok(Err(Missed::Failed(failure, sum(usages))));
            }
            Err(Missed::Refused(refused, _)) => {
                return Ok(Err(Missed::Refused(refused, sum(usages))));
            }
        }
    }
    let replies = std::mem::take(&mut progress.replies);
    let usage = sum(usages);
    Ok(match Reply::join(replies, &tried.asked(routed)) {
        Ok(body) => Ok((body, usage)),
        Err(not) => Err(Missed::Failed(Failure::unknown(not.message, true), usage)),
    })
}

/// All tokens of some answers, if each says how many it has.
fn sum(usages: Vec<Option<Usage>>) -> Option<Usage> {
    let add = |one: Option<Usage>, other: Option<Usage>| {
        let (one, other) = one.zip(other)?;
        Some(Usage {
            input: one.all_input().saturating_add(other.all_input()),
            output: one.output.saturating_add(other.output),
            ..Usage::default()
        })
    };
    usages.into_iter().reduce(add).flatten()
}

/// One request: a body goes out, and what comes back is booked.
async fn hop(
    gateway: &Gateway,
    routed: &Routed,
    account: &Account,
    tried: &Try<'_>,
    body: &Bytes,
    progress: &mut Progress,
) -> Result<Result<Option<Usage>, Missed>, ApiFailure> {
    let open = match tried.open(gateway, routed, account).await {
        Ok(open) => open,
        Err(refused) => return Ok(Err(Missed::Refused(refused, None))),
    };
    let backend = &tried.provider.backend;
    let end = backend.complete(&tried.asked(routed), body.clone()).await;
    if let Ok(whole) = &end {
        tried.learn(gateway, whole.used_up); // whatever becomes of the answer
    }
    let (failure, usage) = match end {
        Ok(whole) if matches!(account, Account::Task(_)) && too_long(&whole) => (
            Failure {
                class: Class::CallerFault,
                ..Failure::unknown(
                    "the answer is larger than a record of the journal; lower max_tokens",
                    true,
                )
            },
            whole.answer.usage,
        ),
        Ok(whole) => {
            progress.settled = open.answered(&whole.answer).await?;
            progress.finished = whole.finished;
            progress.replies.push(whole.reply);
            return Ok(Ok(whole.answer.usage));
        }
        Err(failure) => (failure, None),
    };
    let settled = open.failed(&failure, usage.as_ref()).await?;
    progress.next = settled.map(|settled| settled.next).or(progress.next);
    Ok(Err(Missed::Failed(failure, usage)))
}

fn too_long(whole: &Whole) -> bool {
    whole.answer.message.to_string().len() > MAX_RECORD_BYTES - RECORD_MARGIN
}
