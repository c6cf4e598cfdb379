//! What every server of Oarmaster is, whatever it answers: a listener with bounds on everything that a client may be slow with
//! ([`listen`]), a pace for each of many ([`pace`]), a certificate that is swapped live ([`certificate`]), its logs and the signal to stop ([`process`]).
//!
//! No Kubernetes here: where a certificate comes from is the caller's.

pub mod certificate;
pub mod listen;
pub mod pace;
mod patient;
pub mod process;
