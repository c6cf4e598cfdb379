//! What a request needs of a model beside words.

use super::Surface;
use crate::request::Request;
use oarmaster_dialect::json::Fields;
use oarmaster_dialect::request::{Format, MediaKind};
use oarmaster_dialect::{Content, Request as Neutral};
use oarmaster_prices::{Capabilities, Capability};
use serde_json::value::RawValue;

impl Request {
    /// What it needs of a model. A request that is only words is not read as a whole for it.
    #[must_use]
    pub fn needs(&self) -> Capabilities {
        let tools = self.offers_tools().then_some(Capability::Tools);
        if !self.surface.may_need_more(self.read()) {
            return tools.into_iter().collect();
        }
        let read = self.neutral();
        let more = read.iter().flat_map(needs_of);
        tools.into_iter().chain(more).collect()
    }
}

impl Surface {
    /// Whether words stand in a request that stand where there are media or a schema. Within a text they would be escaped, so that most
    /// requests without have none of them.
    fn may_need_more(self, fields: &Fields) -> bool {
        let (said, media, forms): (_, &[&str], &[&str]) = match self {
            Self::Chat => (
                "messages",
                &["\"image_url\"", "\"file\"", "\"input_audio\""],
                &["response_format"],
            ),
            Self::Responses => ("input", &["\"input_image\"", "\"input_file\""], &["text"]),
            Self::Messages | Self::CountTokens => (
                "messages",
                &["\"image\"", "\"document\""],
                &["output_config", "output_format"],
            ),
            Self::Embeddings => return false,
        };
        let raw = |name| fields.get(name).map_or("", RawValue::get);
        let said = raw(said);
        let mut forms = forms.iter().map(|form| raw(form));
        media.iter().any(|word| said.contains(word))
            || forms.any(|form| form.contains("\"json_schema\""))
    }
}

fn needs_of(request: &Neutral) -> Vec<Capability> {
    let mut needs = Vec::new();
    if matches!(request.format, Format::Schema { .. }) {
        needs.push(Capability::JsonSchema);
    }
    for part in request.turns.iter().flat_map(|turn| &turn.parts) {
        media(&part.content, &mut needs);
    }
    needs
}

fn media(content: &Content, needs: &mut Vec<Capability>) {
    match content {
        Content::Media(media) => needs.push(match media.kind {
            MediaKind::Image => Capability::Images,
            MediaKind::Document => Capability::Documents,
            MediaKind::Audio => Capability::Audio,
        }),
        Content::ToolResult(result) => {
            for content in &result.content {
                media(content, needs);
            }
        }
        Content::Text(_) | Content::ToolCall(_) | Content::Reasoning(_) | Content::Refusal(_) => {}
    }
}
