//! The binary `postern`.

use std::process::ExitCode;

fn main() -> ExitCode {
    postern::cli::main()
}
