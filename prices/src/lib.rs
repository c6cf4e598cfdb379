//! What models cost and can do, by vendor and model id.
//!
//! The table is `table.json` beside this crate: `cargo xtask prices` writes it from two public tables, nobody types a price into it. It is part of
//! the program, so a price is known without a network and the same in every process of a release. A ModelProvider's own prices stand above it;
//! that is the gateway's business, as is multiplying prices by tokens. A model that is not in the table has no price: never zero, never a
//! neighbour's.
//!
//! Prices are whole pico-USD (1e-12 USD) per token: 1 USD per million tokens is 1,000,000 of them.

mod alias;
mod capability;
mod price;
mod row;
mod table;
mod vendor;

pub use capability::{Capabilities, Capability};
pub use price::{MAX_PRICE, Prices, Schedule, Tier};
pub use row::{Mode, Row, Source};
pub use table::{BadTable, Table};
pub use vendor::Vendor;

#[cfg(test)]
mod tests;
