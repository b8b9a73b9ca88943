//! The project's own tasks: `cargo xtask`.

mod backends;
mod bench;
mod chaos;
mod ci;
mod cli;
mod failure;
mod lock;
mod output;
mod packages;
mod parts;
mod process;
mod report;
mod results;
mod run;
mod site;
mod spec;
mod stop;
mod sweep;
mod table;
mod target;
mod test;
mod tools;

use std::process::ExitCode;

use cli::Task;
use failure::{Failure, Result};
use site::Site;

fn main() -> ExitCode {
    match cli::parse(std::env::args().skip(1)).and_then(perform) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.0.is_empty() {
                eprintln!("xtask: {error}");
            }
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
        Task::Test(options) => test::run(&site, &options),
        Task::Ci { rules } => ci::run(&site, &rules),
        Task::Coverage => {
            print!("{}", results::coverage(&results::load(&site)?));
            Ok(())
        }
        Task::Bench { arguments } => bench::run(&site, &arguments),
        Task::Chaos { rounds, only } => chaos::run(&site, rounds, &only),
    }
}
