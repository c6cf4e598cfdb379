//! Which member of a pool is asked, with which key, and what follows a failure. All of it is pure: it is told the time, what the members are
//! like, and how hops ended. [`lanes`] alone keeps something from one call to the next.
//!
//! A *lane* is a key of a provider, asked for a model. A call goes along a [`course`] of lanes, which the pool's strategy put in [`order`], those of
//! members that are not [`fit`] last; a lane's [`breaker`] says whether it may be asked now.

pub mod breaker;
pub mod course;
pub mod fit;
pub mod gate;
pub mod lanes;
pub mod latency;
pub mod limits;
pub mod order;
pub mod quota;
#[cfg(test)]
mod tests;
