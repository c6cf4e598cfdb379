//! The admission server of Oarmaster: tells the API server who creates a Task, so that it is written down in `spec.requestedBy`, and which Tasks are roots.
//!
//! It has a ServiceAccount without rights, no token, no Kubernetes client and no state. What it says is a pure function of the request
//! ([`requester`], from what [`review`] reads); around it are a listener ([`serve`]), bounds on what it is sent ([`body`]) and the certificate
//! of its mounted Secret ([`tls`]). It forbids nothing: that is
//! the policy `oarmaster-requester`, which refuses a Task without its requester, so that nothing is gained by having this server out of the
//! way.

pub mod args;
pub mod body;
pub mod requester;
pub mod review;
pub mod serve;
pub mod tls;
