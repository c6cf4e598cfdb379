//! Behaviour on a real node, one module per behaviour.
#![allow(
    clippy::indexing_slicing,
    reason = "a test that indexes what is not there fails, as it should"
)]

mod support;

mod agents_program;
mod allowed;
mod cancel;
mod certs;
mod class;
mod cli;
mod cycle;
mod deletion;
mod disrupted;
mod doors;
mod egress;
mod exec;
mod failing;
mod follow_up;
mod gateway_killed;
mod handover;
mod hostile;
mod identity;
mod isolation;
mod languages;
mod leader;
mod limits;
mod litellm;
mod malformed;
mod namespace_gone;
mod operator_killed;
mod order;
mod pause;
mod policy;
mod providers;
mod quickstart;
mod requester;
mod retry;
mod rotation;
mod run;
mod samples;
mod sdks;
mod shared_pilots;
mod text;
mod timeout;
mod upgrade;
mod user_code;
mod webhook_down;
mod workflow;
mod workflow_budget;
mod workflow_killed;
mod workflow_samples;
