//! Calls that run, and answers that a pilot may have lost: each call is made once, and whoever asks again is given its answer. In memory only:
//! what a gateway knew that stopped, the next one does not, and says so.

use crate::state::Gateway;
use crate::tools::{self, Caller, Tool, bounded};
use futures::future::{BoxFuture, FutureExt as _, Shared, lazy};
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use oarmaster_protocol::digest;
use oarmaster_protocol::tool::{ANSWER_KEPT, OUTCOME_UNKNOWN, TOOL_WAIT, ToolAnswer, ToolCall};
use serde_json::json;
use std::sync::Arc;

/// Most answers that are kept: 64 MiB, were each as long as it may be.
const MOST: u64 = 1024;

/// Which call it is: Task, attempt, number, and the digest of tool and arguments.
type Key = (String, u32, u32, String);
type Answer = Shared<BoxFuture<'static, Arc<ToolAnswer>>>;

/// The calls of all Tasks.
pub struct Running(Cache<Key, Answer>);

impl Default for Running {
    fn default() -> Self {
        let calls = Cache::builder()
            .max_capacity(MOST)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(ANSWER_KEPT);
        Self(calls.build())
    }
}

impl Running {
    /// The answer to a call: of the one that runs, or has ended, or that begins now. It runs to its end though nobody waits for it.
    pub async fn answer(
        &self,
        gateway: &Arc<Gateway>,
        caller: Caller,
        (name, tool): (&str, Tool),
        call: ToolCall,
    ) -> Arc<ToolAnswer> {
        let digest = digest(json!([name, call.arguments]).to_string().as_bytes());
        let pod = &caller.pod;
        let key = (pod.task_uid.clone(), pod.attempt, call.number, digest);
        let answer = if call.again {
            self.0.get(&key).await
        } else {
            let begin = lazy(|_| begin(gateway.clone(), caller, tool, call));
            Some(self.0.get_with(key, begin).await)
        };
        match answer {
            Some(answer) => answer.await,
            None => Arc::new(ToolAnswer::failed(OUTCOME_UNKNOWN)),
        }
    }
}

fn begin(gateway: Arc<Gateway>, caller: Caller, tool: Tool, call: ToolCall) -> Answer {
    let tracker = gateway.calls.clone();
    let running = tracker.spawn(async move {
        let answer = tools::carry_out(&gateway, &caller, &tool, &call);
        match tokio::time::timeout(TOOL_WAIT, answer).await {
            Ok(ToolAnswer { ok, text, heard }) => ToolAnswer {
                ok,
                text: bounded(text),
                heard,
            },
            Err(_) => ToolAnswer::failed(format!(
                "The call was given up after {} seconds, and may have had its effect.",
                TOOL_WAIT.as_secs()
            )),
        }
    });
    let ended = running.map(|ended| {
        // A defect, or a gateway that stops.
        Arc::new(ended.unwrap_or_else(|_| ToolAnswer::failed(OUTCOME_UNKNOWN)))
    });
    ended.boxed().shared()
}
