//! How targets are put to the test; the runner's tests use it, too.
//!
//! Each run of `cargo test` does the same few thousand cases, `make test` goes on with them for five minutes. `cargo xtask fuzz [TARGET] --for 5m`
//! goes on with others for as long as it is told; a case that fails is made as small as it can be and printed.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use std::time::{Duration, Instant};

/// Seconds for each target, in place of some cases.
const SECONDS: &str = "OARMASTER_FUZZ";
/// A number that the cases follow from, the same ones for the same number.
const SEED: &str = "OARMASTER_FUZZ_SEED";

/// How a case ends.
pub type Case = Result<(), TestCaseError>;

/// Puts a target to the test.
pub fn fuzz<S: Strategy>(cases: u32, inputs: &S, test: impl Fn(S::Value) -> Case) {
    let config = |cases, rng_seed| Config {
        cases,
        rng_seed,
        failure_persistence: None, // what was found becomes a test of its own
        max_shrink_iters: 4096,
        ..Config::default()
    };
    let run = |config: Config| {
        let done = TestRunner::new(config).run(inputs, &test);
        done.unwrap_or_else(|error| panic!("{error}"));
    };
    let Ok(seconds) = std::env::var(SECONDS) else {
        return run(config(cases, RngSeed::Fixed(5)));
    };
    let until = Instant::now() + Duration::from_secs(seconds.parse().unwrap());
    let first: Option<u64> = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
    let mut done = 0_u64;
    while Instant::now() < until {
        let seed = first.map(|first| RngSeed::Fixed(first.wrapping_add(done)));
        run(config(256, seed.unwrap_or(RngSeed::Random)));
        done += 256;
    }
    println!("{done} cases");
}
