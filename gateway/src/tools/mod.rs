//! Tools of agents that the gateway carries out.

pub mod web;
