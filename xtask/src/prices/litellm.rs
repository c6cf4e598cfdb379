//! Reads LiteLLM's table: a flat object, a model per field, prices in USD per token.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use oarmaster_prices::{Capability, Mode, Prices, Schedule, Tier, Vendor};

use super::entry::{Entries, Entry, Key, Notes};
use super::json::Object;

/// Its names of our vendors, and what it puts before an id. Where two of them have the same id the earlier one is meant: Azure OpenAI before what
/// else Azure sells, Bedrock's own API before its imitation of others.
const PLACES: [(&str, Vendor, &str); 13] = [
    ("anthropic", Vendor::Anthropic, "anthropic/"),
    ("azure", Vendor::AzureOpenAi, "azure/"),
    ("azure_ai", Vendor::AzureOpenAi, "azure_ai/"),
    ("bedrock_converse", Vendor::Bedrock, "bedrock/"),
    ("bedrock", Vendor::Bedrock, "bedrock/"),
    ("bedrock_mantle", Vendor::Bedrock, "bedrock_mantle/"),
    ("cohere_chat", Vendor::Cohere, "cohere/"),
    ("cohere", Vendor::Cohere, "cohere/"),
    ("gemini", Vendor::Gemini, "gemini/"),
    ("groq", Vendor::Groq, "groq/"),
    ("mistral", Vendor::Mistral, "mistral/"),
    ("openai", Vendor::OpenAi, "openai/"),
    ("openrouter", Vendor::OpenRouter, "openrouter/"),
];

/// USD per token to pico-USD per token.
const SHIFT: i32 = 12;

const CAPABILITIES: [(&str, Capability); 8] = [
    ("supports_function_calling", Capability::Tools),
    (
        "supports_parallel_function_calling",
        Capability::ParallelTools,
    ),
    ("supports_vision", Capability::Images),
    ("supports_pdf_input", Capability::Documents),
    ("supports_audio_input", Capability::Audio),
    ("supports_response_schema", Capability::JsonSchema),
    ("supports_native_structured_output", Capability::JsonSchema),
    ("supports_reasoning", Capability::Reasoning),
];

/// Reads the table.
pub fn read(text: &str) -> Result<Entries> {
    let mut found = Vec::new();
    for (name, value) in Object::parse(text)?.fields() {
        // An explanation of the fields in the form of a model.
        if name == "sample_spec" {
            continue;
        }
        let model = Object::parse(value).with_context(|| format!("{name} is no model"))?;
        if let Some((rank, key)) = place(name, &model) {
            found.push((rank, key, model));
        }
    }
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let mut entries = Entries::default();
    let mut ranks = std::collections::BTreeMap::new();
    for (rank, key, model) in found {
        let what = format!("{} of {}", key.1, key.0.name());
        let Some(entry) = entry(&key, &model, &mut entries).context(what)? else {
            continue;
        };
        match entries.found.get_mut(&key) {
            // Names with and without a prefix are of one place: neither is better.
            Some(first) if ranks.get(&key) == Some(&rank) => {
                first.contradicted |= first.standard != entry.standard;
            }
            Some(_) => {}
            None => {
                ranks.insert(key.clone(), rank);
                entries.found.insert(key, entry);
            }
        }
    }
    Ok(entries)
}

/// The vendor and its own id of a model, and the place's rank.
fn place(name: &str, model: &Object) -> Option<(usize, Key)> {
    let provider = model.string("litellm_provider")?;
    let (rank, (_, vendor, prefix)) = PLACES
        .iter()
        .enumerate()
        .find(|(_, (place, ..))| *place == provider)?;
    let id = name.strip_prefix(prefix).unwrap_or(name);
    Some((rank, (*vendor, id.to_owned())))
}

fn entry(key: &Key, model: &Object, entries: &mut Entries) -> Result<Option<Entry>> {
    let Entries { other, notes, .. } = entries;
    let mode = match model.string("mode").as_deref() {
        Some("chat") => Mode::Chat,
        Some("responses") => Mode::Responses,
        Some("embedding") => Mode::Embedding,
        _ => {
            other.insert(key.clone());
            notes.leave_out("neither chat nor embedding");
            return Ok(None);
        }
    };
    if let Some(why) = not_ours(key, model) {
        other.insert(key.clone());
        notes.leave_out(why);
        return Ok(None);
    }
    let Some(standard) = schedule(model, mode, "", notes)? else {
        notes.leave_out("no price per token");
        return Ok(None);
    };
    let capabilities = CAPABILITIES.iter().fold(
        std::collections::BTreeMap::new(),
        |mut known, (field, capability)| {
            if let Some(has) = model.flag(field) {
                *known.entry(*capability).or_default() |= has;
            }
            known
        },
    );
    Ok(Some(Entry {
        mode,
        context: model.tokens("max_input_tokens"),
        max_output: model
            .tokens("max_output_tokens")
            .filter(|_| mode != Mode::Embedding),
        capabilities,
        standard,
        batch: schedule(model, mode, "_batches", notes)?,
        contradicted: false,
    }))
}

/// Why a model of a vendor of ours has no row, though it is a chat or an embedding.
fn not_ours(key: &Key, model: &Object) -> Option<&'static str> {
    let (vendor, id) = key;
    let elsewhere = ["claude_platform/", "invoke/"];
    if *vendor == Vendor::Bedrock
        && (elsewhere.iter().any(|start| id.starts_with(start)) || id.contains("-commitment/"))
    {
        return Some("another service or contract of Bedrock");
    }
    let outputs = model.strings("supported_output_modalities");
    let text = |outputs: &Vec<String>| {
        outputs.iter().any(|kind| kind == "text")
            && outputs
                .iter()
                .all(|kind| ["text", "code", "image"].contains(&kind.as_str()))
    };
    let stated = |field: &str| model.get(field).is_some();
    let priced = ["output_cost_per_audio_token", "output_cost_per_video_token"];
    if !outputs.as_ref().is_none_or(text) || priced.into_iter().any(stated) {
        return Some("answers with sound or pictures that cost other than text");
    }
    None
}

/// The prices under field names that end in `suffix`; none without a price for input, and for output where there is some.
fn schedule(
    model: &Object,
    mode: Mode,
    suffix: &str,
    notes: &mut Notes,
) -> Result<Option<Schedule>> {
    let mut price = |name: &str, tier: &str| {
        let field = format!("{name}{tier}{suffix}");
        notes.price(&field, model.get(&field), SHIFT)
    };
    let Some(input) = price("input_cost_per_token", "")? else {
        return Ok(None);
    };
    let output = match (price("output_cost_per_token", "")?, mode) {
        (Some(output), _) => output,
        (None, Mode::Embedding) => 0,
        (None, Mode::Chat | Mode::Responses) => return Ok(None),
    };
    let base = Prices {
        input,
        output,
        input_audio: price("input_cost_per_audio_token", "")?,
        cache_read: price("cache_read_input_token_cost", "")?,
        cache_write_5m: price("cache_creation_input_token_cost", "")?,
        cache_write_1h: price("cache_creation_input_token_cost_above_1hr", "")?,
        cache_write_12h: price("cache_creation_input_token_cost_above_12hr", "")?,
    };
    let mut tiers = Vec::new();
    for thousands in bounds(model, suffix) {
        let tier = format!("_above_{thousands}k_tokens");
        // What a tier does not state stays as it was, as in LiteLLM's own reckoning.
        let prices = Prices {
            input: price("input_cost_per_token", &tier)?.unwrap_or(base.input),
            output: price("output_cost_per_token", &tier)?.unwrap_or(base.output),
            input_audio: price("input_cost_per_audio_token", &tier)?.or(base.input_audio),
            cache_read: price("cache_read_input_token_cost", &tier)?.or(base.cache_read),
            cache_write_5m: price("cache_creation_input_token_cost", &tier)?
                .or(base.cache_write_5m),
            cache_write_1h: price("cache_creation_input_token_cost_above_1hr", &tier)?
                .or(base.cache_write_1h),
            cache_write_12h: price("cache_creation_input_token_cost_above_12hr", &tier)?
                .or(base.cache_write_12h),
        };
        tiers.push(Tier {
            above_tokens: thousands * 1000,
            prices,
        });
    }
    Ok(Some(Schedule {
        prices: base,
        tiers: tiers.into(),
    }))
}

/// The bounds of tiers in thousands of tokens, from names like `output_cost_per_token_above_200k_tokens`.
fn bounds(model: &Object, suffix: &str) -> BTreeSet<u32> {
    let bound = |name: &str| {
        let (_, rest) = name.split_once("_cost_per_token_above_")?;
        let (thousands, end) = rest.split_once("k_tokens")?;
        let thousands: u32 = thousands.parse().ok()?;
        (end == suffix && (1..=1_000_000).contains(&thousands)).then_some(thousands)
    };
    model.fields().filter_map(|(name, _)| bound(name)).collect()
}
