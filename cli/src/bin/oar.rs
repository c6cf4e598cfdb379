//! `oar`: runs Tasks and shows what they do.

fn main() -> std::process::ExitCode {
    oarmaster_cli::main()
}
