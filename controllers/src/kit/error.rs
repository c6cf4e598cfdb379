//! Errors of a pass. Not being ready is a plan, never an error; an error is a call that failed.

use std::time::Duration;

/// What went wrong in a pass.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused a call, or could not be asked.
    #[error("failed to {act}")]
    Kubernetes {
        /// What was tried, like `create job team/fix-abc-1`.
        act: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// A call was not answered in time.
    #[error("failed to {act}: no answer within {after:?}")]
    Slow {
        /// What was tried.
        act: String,
        /// How long was waited.
        after: Duration,
    },
    /// The gateway could not be asked.
    #[error("failed to {act} at the gateway")]
    Gateway {
        /// What was tried.
        act: String,
        /// Why it failed.
        source: reqwest::Error,
    },
    /// The gateway refused a call.
    #[error("the gateway refused to {act} ({status} {code}): {message}")]
    GatewayRefused {
        /// What was tried.
        act: String,
        /// HTTP status.
        status: u16,
        /// The gateway's code.
        code: String,
        /// The gateway's words.
        message: String,
    },
    /// The token for the gateway could not be read.
    #[error("failed to read the gateway token {path}")]
    Token {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another process leads, or may.
    #[error("failed to {act} at the gateway: this process does not lead any more")]
    NotLeading {
        /// What was tried.
        act: String,
    },
    /// What was answered is not what was agreed.
    #[error("failed to {act}: {message}")]
    Protocol {
        /// What was tried.
        act: String,
        /// What is wrong.
        message: String,
    },
}

impl Error {
    /// The error as a metric label: a closed set.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Kubernetes { source, .. } => match source.as_ref() {
                kube::Error::Api(status) if status.is_conflict() => "conflict",
                kube::Error::Api(status) if status.is_forbidden() => "forbidden",
                kube::Error::Api(status) if status.code < 500 => "refused",
                _ => "apiserver",
            },
            Self::Slow { .. } => "timeout",
            Self::Gateway { .. } => "gateway",
            Self::GatewayRefused { .. } => "gateway_refused",
            Self::Token { .. } => "token",
            Self::NotLeading { .. } => "not_leading",
            Self::Protocol { .. } => "protocol",
        }
    }

    /// The API server's answer, if that is what failed.
    #[must_use]
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Kubernetes { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether a newer version of the object exists: the watch brings it, and the pass is made again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_conflict)
    }

    /// Whether the object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }

    /// Whether what was written about, or its namespace, is gone or on its way: nothing is made there any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.is_not_found() || self.is_terminating()
    }

    /// Whether the namespace is being deleted: nothing is made there any more, and what is there goes.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.status().is_some_and(|status| {
            let mut causes = status.details.iter().flat_map(|details| &details.causes);
            causes.any(|cause| cause.reason == "NamespaceTerminating")
        })
    }

    /// The gateway's code, if it refused.
    #[must_use]
    pub fn gateway_code(&self) -> Option<&str> {
        match self {
            Self::GatewayRefused { code, .. } => Some(code),
            _ => None,
        }
    }
}

/// The error with its causes, as one line.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = own_words(error);
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = own_words(next);
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = next.source();
    }
    line
}

/// What an error says. kube's form of an API server's answer repeats all of it in debug notation: its message is enough.
fn own_words(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status.message.clone(),
        _ => match error.downcast_ref::<kube::core::Status>() {
            Some(status) => status.message.clone(),
            None => error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(status: serde_json::Value) -> Error {
        Error::Kubernetes {
            act: "create job".to_owned(),
            source: Box::new(kube::Error::Api(serde_json::from_value(status).unwrap())),
        }
    }

    /// As the API server of Kubernetes 1.34 says it.
    #[test]
    fn a_namespace_that_is_being_deleted_is_told_from_a_policy_that_refuses() {
        let terminating = refused(json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
            "message": "jobs.batch \"a\" is forbidden: unable to create new content in namespace team because it is being terminated",
            "details": {"name": "a", "kind": "jobs", "causes": [
                {"reason": "NamespaceTerminating", "message": "namespace team is being terminated", "field": "metadata.namespace"},
            ]},
        }));
        assert!(terminating.is_terminating() && terminating.is_gone());
        let policy = refused(json!({
            "kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403, "message": "exceeded quota",
        }));
        assert!(!policy.is_terminating() && !policy.is_gone());
        let gone = refused(json!({
            "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "jobs.batch \"a\" not found",
        }));
        assert!(gone.is_gone() && !gone.is_terminating());
    }
}
