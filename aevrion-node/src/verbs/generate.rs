//! `completions` and `man`: documentation generated from the command line, for shells and for `man`.

use std::io;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output::written;

pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "aevrion", &mut script);
    written(io::Write::write_all(&mut io::stdout(), &script))
}

/// The manual: the page of the command, followed by one of each verb.
pub(super) fn man() -> Result<(), Failure> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let mut render = || -> io::Result<()> {
        clap_mangen::Man::new(command.clone()).render(&mut page)?;
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            clap_mangen::Man::new(verb.clone()).render(&mut page)?;
        }
        Ok(())
    };
    written(render())?;
    written(io::Write::write_all(&mut io::stdout(), &page))
}
