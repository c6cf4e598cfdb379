//! Numbers of tokens, as both dialects count them: caches are part of the input, reasoning of the output.

use crate::answer::Usage;
use crate::openai::said::{Nonsense, tokens};
use serde_json::Value;

/// Where the numbers stand, as JSON pointers. Of several places the first that says something counts.
pub(crate) struct Places {
    pub(crate) input: &'static str,
    pub(crate) output: &'static str,
    pub(crate) cache_read: &'static [&'static str],
    pub(crate) cache_write: &'static [&'static str],
    pub(crate) reasoning: &'static str,
}

/// Reads usage; `None` where input or output is not said, or a number cannot be believed.
pub(crate) fn read(said: &Value, places: &Places) -> Option<Usage> {
    let usage = counted(said, places).ok()??;
    usage.is_credible().then_some(usage)
}

fn counted(said: &Value, places: &Places) -> Result<Option<Usage>, Nonsense> {
    let any = |pointers: &[&str]| -> Result<Option<u64>, Nonsense> {
        for pointer in pointers {
            if let Some(number) = tokens(said, pointer)? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    };
    let (Some(input), Some(output)) = (tokens(said, places.input)?, tokens(said, places.output)?)
    else {
        return Ok(None);
    };
    let read = any(places.cache_read)?;
    let written = any(places.cache_write)?;
    let total = tokens(said, "/total_tokens")?.unwrap_or(0);
    // Some providers count reasoning in the total only.
    let rest = total.saturating_sub(input).saturating_sub(output);
    let output = output.saturating_add(rest);
    let reasoning = tokens(said, places.reasoning)?;
    let cache_read = read.unwrap_or(0).min(input);
    let cache_write = written.unwrap_or(0).min(input - cache_read);
    Ok(Some(Usage {
        input: input - cache_read - cache_write,
        cache_read,
        cache_write,
        output,
        reasoning: reasoning.unwrap_or(rest).min(output),
        ..Usage::default()
    }))
}
