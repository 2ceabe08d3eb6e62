//! The `regrant` binary: hands the command line to `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    regrant::cli::main()
}
