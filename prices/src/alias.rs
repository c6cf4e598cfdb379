//! The vendors' own other names for a model.
//!
//! A rule is here only if the vendor documents the form, and answers only if the table does not show that the price depends on the part that is left
//! out.

use crate::{Row, Table, Vendor};

/// What stands before a model id in the ids of Bedrock's geographic and global inference profiles. `us-gov.` is left out: it costs a fifth more.
const PROFILES: [&str; 9] = [
    "apac.", "au.", "ca.", "eu.", "global.", "in.", "jp.", "sa.", "us.",
];

/// The row that a vendor's other name means.
pub fn find<'a>(table: &'a Table, vendor: Vendor, model: &str) -> Option<&'a Row> {
    match vendor {
        Vendor::Anthropic => undated(table, vendor, model, "-########"),
        Vendor::AzureOpenAi => undated(table, vendor, model, "-####-##-##"),
        Vendor::Bedrock => bedrock(table, model),
        Vendor::Gemini => table.exact(vendor, model.strip_prefix("models/")?),
        Vendor::OpenAi => openai(table, model),
        Vendor::Cohere | Vendor::Groq | Vendor::Mistral | Vendor::OpenRouter => None,
    }
}

fn openai<'a>(table: &'a Table, model: &str) -> Option<&'a Row> {
    let base = match model.strip_prefix("ft:") {
        // Of a fine-tuned model the id says what it was made from, whose it is, and a name.
        Some(rest) => {
            let (base, _) = rest.split_once(':')?;
            model.get(..base.len() + 3)?
        }
        None => model,
    };
    table
        .exact(Vendor::OpenAi, base)
        .or_else(|| undated(table, Vendor::OpenAi, base, "-####-##-##"))
}

/// The model without its date, if no date in the table makes a difference. `shape` has `#` for a digit.
fn undated<'a>(table: &'a Table, vendor: Vendor, model: &str, shape: &str) -> Option<&'a Row> {
    let base = without(model, shape)?;
    let row = table.exact(vendor, base)?;
    table
        .beginning(vendor, base)
        .filter(|other| without(other.model, shape) == Some(base))
        .all(|other| other.standard == row.standard)
        .then_some(row)
}

fn without<'a>(model: &'a str, shape: &str) -> Option<&'a str> {
    let (base, end) = model.split_at_checked(model.len().checked_sub(shape.len())?)?;
    let fits = |(byte, wanted): (u8, u8)| match wanted {
        b'#' => byte.is_ascii_digit(),
        _ => byte == wanted,
    };
    (!base.is_empty() && end.bytes().zip(shape.bytes()).all(fits)).then_some(base)
}

fn bedrock<'a>(table: &'a Table, model: &str) -> Option<&'a Row> {
    match model.strip_prefix("arn:") {
        Some(rest) => arn(table, rest),
        None => profile(table, model),
    }
}

/// `<partition>:bedrock:<region>:<account>:<kind>/<id>`
fn arn<'a>(table: &'a Table, rest: &str) -> Option<&'a Row> {
    let mut parts = rest.splitn(5, ':');
    let partition = parts.next()?;
    let service = parts.next()?;
    let region = parts.next()?;
    let _account = parts.next()?;
    let (kind, id) = parts.next()?.split_once('/')?;
    if service != "bedrock" {
        return None;
    }
    match kind {
        "foundation-model" => of_region(table, partition, region, id),
        "inference-profile" => table
            .exact(Vendor::Bedrock, id)
            .or_else(|| profile(table, id)),
        _ => None,
    }
}

/// The region's own price; else the model's.
fn of_region<'a>(table: &'a Table, partition: &str, region: &str, id: &str) -> Option<&'a Row> {
    table
        .exact(Vendor::Bedrock, &format!("{region}/{id}"))
        .or_else(|| anywhere(table, id).filter(|_| partition == "aws"))
}

/// The model of an inference profile that has no row.
fn profile<'a>(table: &'a Table, id: &str) -> Option<&'a Row> {
    let base = without_profile(id)?;
    anywhere(table, base).filter(|_| without_profile(base).is_none())
}

/// A model that costs the same wherever it is called: every profile and every region that has a row for it agrees.
fn anywhere<'a>(table: &'a Table, id: &str) -> Option<&'a Row> {
    let row = table.exact(Vendor::Bedrock, id)?;
    table
        .beginning(Vendor::Bedrock, "")
        .filter(|other| {
            other
                .model
                .strip_suffix(id)
                .is_some_and(|place| is_profile(place) || is_region(place))
        })
        .all(|other| other.standard == row.standard)
        .then_some(row)
}

fn is_profile(place: &str) -> bool {
    PROFILES.contains(&place)
}

/// `eu-west-1/`. GovCloud is a world of its own.
fn is_region(place: &str) -> bool {
    place.ends_with('/') && !place.starts_with("us-gov-")
}

fn without_profile(id: &str) -> Option<&str> {
    PROFILES.iter().find_map(|prefix| id.strip_prefix(prefix))
}
