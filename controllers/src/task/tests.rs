mod attempts;
mod events;
mod job;
mod life;
mod pods;
mod properties;
mod refusals;
mod sim;
