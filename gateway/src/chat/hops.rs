//! A call that is not streamed: hop after hop, until one answers.

use super::account::Account;
use super::route::Routed;
use super::tries::{Told, Tries};
use crate::error::ApiFailure;
use crate::provider::failure::{Class, Failure};
use crate::provider::http::Whole;
use crate::state::Gateway;
use oarmaster_protocol::journal::MAX_RECORD_BYTES;
use oarmaster_store::Settled;

/// Room for the rest of a record beside its message.
const RECORD_MARGIN: usize = 16 << 10;

/// Runs a call that is not streamed to its end.
///
/// # Errors
/// What the caller is told.
pub async fn complete(
    gateway: &Gateway,
    routed: &Routed,
    account: &Account,
) -> Result<(Whole, Told, Option<Settled>), ApiFailure> {
    let mut tries = Tries::new(gateway, routed)?;
    let mut next = None;
    let told = |error: ApiFailure, next: Option<u64>| ApiFailure {
        next: error.next.or(next),
        ..error
    };
    loop {
        let tried = tries.advance().await.map_err(|error| told(error, next))?;
        let hop = match tried.open(gateway, routed, account).await {
            Ok(hop) => hop,
            Err(refused) => {
                drop(tried); // the lane is free again
                tries.refused(refused).map_err(|error| told(error, next))?;
                continue;
            }
        };
        let key = tried.key.as_ref().map(|(_, key)| &**key);
        let end = tried
            .provider
            .backend
            .complete(
                key,
                &tried.told.by.model,
                &routed.request,
                tried.body.clone(),
            )
            .await;
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
                let told = tried.ended(gateway, Ok(()), None, whole.answer.usage.as_ref());
                let settled = hop.answered(&whole.answer).await?;
                return Ok((whole, told, settled));
            }
            Err(failure) => (failure, None),
        };
        let told_of = tried.ended(gateway, Err(&failure), None, None);
        next = hop
            .failed(&failure, usage.as_ref())
            .await?
            .map(|settled| settled.next)
            .or(next);
        tries
            .failed(&told_of.by, &failure)
            .map_err(|error| told(error, next))?;
    }
}

fn too_long(whole: &Whole) -> bool {
    whole.answer.message.to_string().len() > MAX_RECORD_BYTES - RECORD_MARGIN
}
