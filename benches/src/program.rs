//! What the programs here have in common: words, a runtime, and an end.

use std::process::ExitCode;

use tokio::runtime::Runtime;

use crate::Outcome;

/// Does what the program's words say, and tells on standard error why that failed.
pub fn run(name: &str, act: impl FnOnce(&Runtime, &[&str]) -> Outcome) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| act(&runtime, &words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
