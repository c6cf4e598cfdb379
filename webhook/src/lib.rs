//! The admission server of Oarmaster: tells the API server who creates a Task, so that it is written down in `spec.requestedBy`, and which Tasks are
//! roots; and whether an object could be used, before it is stored.
//!
//! It has a ServiceAccount without rights, no token, no Kubernetes client and no state. What it says is a pure function of the request
//! ([`requester`] and [`objects`], from what [`review`] reads); around it are a listener ([`serve`]), bounds on what it is sent ([`body`]) and on
//! what it does at a time ([`check`]), and the certificate of its mounted Secret ([`tls`]).
//!
//! No rule depends on it. The policy `oarmaster-requester` refuses a Task without its requester, and the operator checks each object again, so that
//! nothing is gained by having this server out of the way.

pub mod args;
pub mod body;
pub mod check;
pub mod objects;
pub mod requester;
pub mod review;
pub mod serve;
pub mod tls;
