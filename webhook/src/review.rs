//! What is read of an AdmissionReview: what the answer needs, and nothing else is kept.

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Longest id of a request; the API server's are UUIDs. It comes back in the answer.
const MAX_UID: usize = 256;

/// A review, with everything borrowed from its text.
#[derive(Debug, Deserialize)]
struct Review<'a> {
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

/// The question in a review.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Its id, for the answer.
    pub uid: String,
    /// What the object is.
    pub kind: Kind,
    /// `CREATE` and others.
    pub operation: String,
    /// Where the object is, if its kind has a namespace.
    pub namespace: Option<String>,
    /// Who asks.
    pub user_info: UserInfo,
    #[serde(borrow, default, deserialize_with = "object")]
    object: Option<Object<'a>>,
    #[serde(borrow, default, deserialize_with = "object")]
    old_object: Option<Object<'a>>,
}

/// What an object is.
#[derive(Debug, Deserialize)]
pub struct Kind {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
}

/// A user.
#[derive(Debug, Deserialize)]
pub struct UserInfo {
    /// The name.
    pub username: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
}

/// What is a list is no object, though its items could be read as the fields: nothing could be added to it.
fn object<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Object<'de>>, D::Error> {
    let text = Option::<&RawValue>::deserialize(from)?.map(RawValue::get);
    let text = text.filter(|text| text.starts_with('{'));
    let read = text.map(serde_json::from_str).transpose();
    read.map_err(D::Error::custom)
}

#[derive(Deserialize)]
struct Metadata {
    labels: Option<BTreeMap<String, IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    requested_by: Option<IgnoredAny>,
}

/// Why a text is not answered.
#[derive(Debug, thiserror::Error)]
pub enum NotAReview {
    /// It is not JSON, or not that of a review.
    #[error("failed to read the review")]
    Json(#[from] serde_json::Error),
    /// A review that is an answer.
    #[error("a review without request")]
    NoRequest,
    /// An id that is none of the API server's.
    #[error("the request's uid is longer than {MAX_UID} bytes")]
    LongUid,
}

impl<'a> Request<'a> {
    /// Reads the request of a review.
    ///
    /// # Errors
    /// [`NotAReview`].
    pub fn read(text: &'a [u8]) -> Result<Self, NotAReview> {
        let review: Review<'a> = serde_json::from_slice(text)?;
        let request = review.request.ok_or(NotAReview::NoRequest)?;
        if request.uid.len() > MAX_UID {
            return Err(NotAReview::LongUid);
        }
        Ok(request)
    }

    /// The names of the object's labels, `None` in them where it has no `labels`; absent where its metadata cannot be read.
    #[must_use]
    pub fn labels(&self) -> Option<Option<Vec<String>>> {
        let metadata = self.object.as_ref()?.metadata?.get();
        let metadata = Some(metadata).filter(|text| text.starts_with('{'))?;
        let metadata: Metadata = serde_json::from_str(metadata).ok()?;
        Some(metadata.labels.map(|labels| labels.into_keys().collect()))
    }

    /// The text of the object's `spec`, where it is not what it was before. The API server writes both in one way.
    #[must_use]
    pub fn new_spec(&self) -> Option<&'a str> {
        let spec = |object: &Object<'a>| object.spec.map(RawValue::get);
        let now = self.object.as_ref().and_then(spec)?;
        let before = self.old_object.as_ref().and_then(spec);
        (before != Some(now)).then_some(now)
    }

    /// Whether the object has a `spec`, an object, in which nobody is named as the requester. A null means absent.
    #[must_use]
    pub fn names_nobody(&self) -> bool {
        let spec = self.object.as_ref().and_then(|object| object.spec);
        let spec = spec.map(RawValue::get).filter(|text| text.starts_with('{'));
        spec.and_then(|text| serde_json::from_str(text).ok())
            .is_some_and(|spec: Spec| spec.requested_by.is_none())
    }
}
