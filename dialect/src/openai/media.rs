//! Media as OpenAI writes them: addresses, and data in an address.

use crate::request::MediaSource;

/// A medium's source from an address, which may hold the data itself; `None` where it is neither.
pub(crate) fn source(url: String) -> Option<MediaSource> {
    let Some(rest) = url.strip_prefix("data:") else {
        return is_address(&url).then_some(MediaSource::Url(url));
    };
    let (head, data) = rest.split_once(',')?;
    let head = head.strip_suffix(";base64")?;
    let mime = head.split(';').next().unwrap_or_default().trim();
    Some(MediaSource::Data {
        mime: if mime.is_empty() { "text/plain" } else { mime }.to_owned(),
        base64: data.to_owned(),
    })
}

/// A file's source: an address with or without the data, or the data alone, whose type its name tells.
pub(crate) fn file_source(data: String, name: Option<&str>) -> Option<MediaSource> {
    if data.starts_with("data:") || is_address(&data) {
        return source(data);
    }
    Some(MediaSource::Data {
        mime: mime_of(name.unwrap_or_default()).to_owned(),
        base64: data,
    })
}

/// Whether a text is an address, as far as a vendor may fetch it.
pub(crate) fn is_address(text: &str) -> bool {
    ["https://", "http://", "gs://", "s3://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

fn mime_of(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("txt") => "text/plain",
        Some("md") => "text/markdown",
        Some("csv") => "text/csv",
        Some("html" | "htm") => "text/html",
        Some("json") => "application/json",
        Some("docx") => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        _ => "application/pdf",
    }
}

/// The data of a medium in an address.
pub(crate) fn data_url(mime: &str, base64: &str) -> String {
    format!("data:{mime};base64,{base64}")
}

/// A medium's address.
pub(crate) fn url(source: &MediaSource) -> String {
    match source {
        MediaSource::Data { mime, base64 } => data_url(mime, base64),
        MediaSource::Url(url) => url.clone(),
    }
}

/// The MIME type of a format of sound.
pub(crate) fn audio_mime(format: &str) -> String {
    match format {
        "mp3" => "audio/mpeg".to_owned(),
        other => format!("audio/{other}"),
    }
}

/// The format of sound of a MIME type; OpenAI takes these two.
pub(crate) fn audio_format(mime: &str) -> Option<&'static str> {
    match mime {
        "audio/mpeg" | "audio/mp3" => Some("mp3"),
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => Some("wav"),
        _ => None,
    }
}
