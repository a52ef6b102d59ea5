//! The program with every role; the command line is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    postworks_server::cli::run()
}
