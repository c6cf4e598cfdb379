//! Reads models.dev's table: providers, their models, prices in USD per million tokens.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use oarmaster_prices::{Capability, Mode, Prices, Schedule, Tier, Vendor};

use super::entry::{Entries, Entry, Key, Notes};
use super::json::Object;

/// Its names of our vendors. Where two of them have the same id the earlier one is meant.
const PLACES: [(&str, Vendor); 10] = [
    ("anthropic", Vendor::Anthropic),
    ("azure", Vendor::AzureOpenAi),
    ("azure-cognitive-services", Vendor::AzureOpenAi),
    ("amazon-bedrock", Vendor::Bedrock),
    ("cohere", Vendor::Cohere),
    ("google", Vendor::Gemini),
    ("groq", Vendor::Groq),
    ("mistral", Vendor::Mistral),
    ("openai", Vendor::OpenAi),
    ("openrouter", Vendor::OpenRouter),
];

/// USD per million tokens to pico-USD per token.
const SHIFT: i32 = 6;

/// Reads the table.
pub fn read(text: &str) -> Result<Entries> {
    let providers = Object::parse(text)?;
    let mut entries = Entries::default();
    for (place, vendor) in PLACES {
        for (id, value) in providers.object(place)?.object("models")?.fields() {
            let what = || format!("{id} of {place}");
            let model = Object::parse(value).with_context(what)?;
            let key: Key = (vendor, id.to_owned());
            if let Some(entry) = entry(id, &model, &mut entries.notes).with_context(what)? {
                entries.found.entry(key).or_insert(entry);
            }
        }
    }
    Ok(entries)
}

fn entry(id: &str, model: &Object, notes: &mut Notes) -> Result<Option<Entry>> {
    let modalities = model.object("modalities")?;
    let inputs = modalities.strings("input").unwrap_or_default();
    let reads = |kind: &str| inputs.iter().any(|input| input == kind);
    if modalities.strings("output").unwrap_or_default() != ["text"] || !reads("text") {
        notes.leave_out("not text to text");
        return Ok(None);
    }
    let cost = model.object("cost")?;
    let Some(base) = prices(&cost, None, notes)? else {
        notes.leave_out("no price per token");
        return Ok(None);
    };
    let mut tiers = Vec::new();
    for (name, value) in cost.fields() {
        let thousands = name
            .strip_prefix("context_over_")
            .and_then(|rest| rest.strip_suffix('k'))
            .and_then(|rest| rest.parse::<u32>().ok())
            .and_then(|thousands| thousands.checked_mul(1000));
        if let Some(above_tokens) = thousands {
            let tier = Object::parse(value).context("a tier is no object")?;
            let prices = prices(&tier, Some(base), notes)?.unwrap_or(base);
            tiers.push(Tier {
                above_tokens,
                prices,
            });
        }
    }
    tiers.sort_by_key(|tier| tier.above_tokens);
    let limit = model.object("limit")?;
    let embeds = id.contains("embed")
        || model
            .string("family")
            .is_some_and(|family| family.contains("embed"));
    let mode = if embeds { Mode::Embedding } else { Mode::Chat };
    Ok(Some(Entry {
        mode,
        context: limit.tokens("input").or_else(|| limit.tokens("context")),
        max_output: limit.tokens("output").filter(|_| mode != Mode::Embedding),
        capabilities: capabilities(model, &reads),
        standard: Schedule {
            prices: base,
            tiers: tiers.into(),
        },
        batch: None,
        contradicted: false,
    }))
}

fn prices(cost: &Object, below: Option<Prices>, notes: &mut Notes) -> Result<Option<Prices>> {
    let mut price = |name: &str| notes.price(name, cost.get(name), SHIFT);
    let input = price("input")?.or(below.map(|below| below.input));
    let output = price("output")?.or(below.map(|below| below.output));
    let (Some(input), Some(output)) = (input, output) else {
        return Ok(None);
    };
    let below = |part: fn(Prices) -> Option<u64>| below.and_then(part);
    Ok(Some(Prices {
        input,
        output,
        input_audio: price("input_audio")?.or(below(|p| p.input_audio)),
        cache_read: price("cache_read")?.or(below(|p| p.cache_read)),
        cache_write_5m: price("cache_write")?.or(below(|p| p.cache_write_5m)),
        cache_write_1h: None,
        cache_write_12h: None,
    }))
}

fn capabilities(model: &Object, reads: &dyn Fn(&str) -> bool) -> BTreeMap<Capability, bool> {
    let stated = [
        (Capability::Tools, model.flag("tool_call")),
        (Capability::Images, Some(reads("image"))),
        (Capability::Documents, Some(reads("pdf"))),
        (Capability::Audio, Some(reads("audio"))),
        (Capability::JsonSchema, model.flag("structured_output")),
        (Capability::Reasoning, model.flag("reasoning")),
    ];
    stated
        .into_iter()
        .filter_map(|(capability, has)| Some((capability, has?)))
        .collect()
}
