//! `weir`, the gateway. Wiring only: parse, load, build, run, drain.

mod admin;
mod allocator;
mod args;
mod budget;
mod descriptors;
mod error;
mod exit;
mod exports;
mod generations;
mod logging;
mod operator_ports;
mod reload;
mod run;
mod sink;
mod start;
mod start_lines;
mod validate;

use args::{Args, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    match weir_program::parse::<Args>().command {
        Command::Run(options) => run::run(options),
        Command::Validate(options) => validate::validate(&options),
        Command::Completions(completions) => exit::printed(completions.print::<Args>()),
        Command::Version => exit::printed(weir_program::say(concat!("weir ", env!("CARGO_PKG_VERSION")))),
    }
}
