//! The project's own tasks: `cargo xtask`.

mod backends;
mod cli;
mod failure;
mod lock;
mod parts;
mod process;
mod run;
mod site;
mod stop;
mod sweep;
mod table;
mod tools;

use std::process::ExitCode;

use cli::Task;
use failure::{Failure, Result};
use site::Site;

fn main() -> ExitCode {
    match cli::parse(std::env::args().skip(1)).and_then(perform) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    let site = Site::find()?;
    stop::listen()?;
    match task {
        Task::Help => {
            println!("{}", cli::USAGE);
            Ok(())
        }
        Task::Backends(what) => backends::run(&site, what),
        Task::Part { name, verb } => {
            parts::find(&name).ok_or_else(|| Failure(format!("no part `{name}`")))?.control(&site, &verb)
        }
        _ => Err(Failure::new("not yet")),
    }
}
