//! What the API server takes and refuses: schema, CEL rules, admission policies, roles and charts. Needs no node.
#![allow(
    clippy::indexing_slicing,
    reason = "a test that indexes what is not there fails, as it should"
)]

mod cases;
mod checked;
mod support;
mod webhook;

mod agent;
mod approval;
mod approval_of_step;
mod attacks;
mod budget;
mod chart;
mod class;
mod defaults;
mod documents;
mod drift;
mod guards;
mod limits;
mod mutate;
mod oar;
mod operations;
mod pods;
mod pool;
mod provider;
mod requester;
mod roles;
mod rules;
mod secrets;
mod task;
mod text;
mod update;
mod versions;
mod workflow;
