//! Amazon Bedrock's own: credentials of several parts, signatures, the gateway's identity at AWS, and what its exceptions mean.
//!
//! Signatures are made by AWS's own crate. The gateway's identity is fetched here: the crate that does it (`aws-config`) links a client of STS, a
//! second HTTP stack and the whole chain of other sources, such as the node's role, which is not the gateway's to use.

pub mod exception;
mod fetch;
pub mod key;
pub mod sign;
#[cfg(test)]
mod tests;
pub mod workload;
