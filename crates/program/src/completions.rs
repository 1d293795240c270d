//! Completion scripts, made from the same description of the command line that parses it.

use clap::CommandFactory;
use clap_complete::{Generator, Shell};
use std::io;

/// The subcommand `completions` of every program.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Completions {
    /// The shell that is to complete the command.
    #[arg(value_enum)]
    pub shell: Shell,
}

impl Completions {
    /// Prints the script for the program `C`.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print<C: CommandFactory>(self) -> io::Result<()> {
        let mut command = C::command();
        let name = command.get_name().to_owned();
        command.set_bin_name(name);
        command.build();
        let mut script = Vec::new();
        self.shell.try_generate(&command, &mut script)?;
        crate::say(String::from_utf8_lossy(&script).trim_end())
    }
}
