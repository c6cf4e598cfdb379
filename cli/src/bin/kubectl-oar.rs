//! `kubectl oar`: the same program under the name that kubectl looks for.

fn main() -> std::process::ExitCode {
    oarmaster_cli::main()
}
