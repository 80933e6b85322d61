//! `perdura`: every tool in one program, called by its name or through a link that has it.
//!
//! Not here: anything but finding the tool; each is a module of the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    perdura_tools::run(&program, arguments.collect())
}
