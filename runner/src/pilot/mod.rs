//! pilot
/// a
#[derive(Debug, clap::Args)]
pub struct Args {}
/// m
pub fn main(_args: &Args) -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
