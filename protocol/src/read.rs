//! The read API of the gateway: for people and their tools, with the bearer token of their kubeconfig (own listener). Guarded by
//! SubjectAccessReview: `get` on `tasks/transcript`, `tasks/artifacts`, `tasks/usage` of the Task.
//!
//! | call | answer |
//! |---|---|
//! | `GET /read/v1/namespaces/{ns}/tasks/{name}/transcript?uid=&from=&follow=` | lines of JSON, one [`crate::journal::Record`] each; with `follow=true` it stays open until the newest attempt has ended (a `Result` or `Fenced` record that no later attempt follows within the request) |
//! | `GET /read/v1/namespaces/{ns}/tasks/{name}/usage?uid=` | [`crate::admin::TaskUsage`] |
//! | `GET /read/v1/namespaces/{ns}/tasks/{name}/artifacts?uid=` | list of [`crate::journal::Artifact`] |
//! | `GET /read/v1/namespaces/{ns}/tasks/{name}/artifacts/{artifact}?uid=` | the bytes |
//!
//! Without `uid` the newest Task of that name is meant.

/// The virtual resources that RBAC guards, as subresources of `tasks`.
pub const SUBRESOURCES: [&str; 3] = ["transcript", "artifacts", "usage"];
