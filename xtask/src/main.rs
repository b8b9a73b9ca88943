//! The project's own tasks: `cargo xtask`.

mod absent;
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
mod scratch;
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
    let words: Vec<String> = std::env::args().skip(1).collect();
    // Cargo starts us so in the place of a test; nothing around it is ours.
    let done = match words.split_first() {
        Some((first, rest)) if first == "runner" => absent::run(rest),
        _ => cli::parse(words).and_then(perform).map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
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
