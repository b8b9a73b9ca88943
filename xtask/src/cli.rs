//! The command line.

use crate::failure::{Failure, Result};

/// How the tasks are called.
pub(crate) const USAGE: &str = "\
cargo xtask test [--only NAME,…] [--require-all] [--keep] [-- TEST-ARGUMENTS]
cargo xtask backends up [PART…]|down|status
cargo xtask ci [RULE…]
cargo xtask coverage
cargo xtask bench [ARGUMENTS]
cargo xtask chaos [--rounds N] [--only SCENARIO|process|docker|postgres|redb|sled,…]

NAME is a provider (process, docker), core, facade or a package's name. `test` brings up the real parts that
the chosen packages need, runs everything, stops them, and prints what was there and what was proven.";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Test(TestOptions),
    Backends(Backends),
    Ci {
        rules: Vec<String>,
    },
    Coverage,
    Bench {
        arguments: Vec<String>,
    },
    Chaos {
        /// How often; each has its own number otherwise.
        rounds: Option<u32>,
        only: Vec<String>,
    },
    /// For the tests: stops, starts or kills one part under them.
    Part {
        name: String,
        verb: String,
    },
    Help,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct TestOptions {
    /// Names as the user wrote them; empty is everything.
    pub(crate) only: Vec<String>,
    /// Absence of a part is a failure.
    pub(crate) require_all: bool,
    /// The parts are left running.
    pub(crate) keep: bool,
    /// Handed to the test binaries.
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backends {
    /// The parts of these names; of none, all.
    Up(Vec<String>),
    Down,
    Status,
}

/// Reads the arguments after the program's name.
pub(crate) fn parse<I: IntoIterator<Item = String>>(arguments: I) -> Result<Task> {
    let mut words = arguments.into_iter();
    match words.next().as_deref() {
        None | Some("help" | "-h" | "--help") => Ok(Task::Help),
        Some("test") => test(words),
        Some("backends") => {
            let what = match words.next().as_deref() {
                Some("up") => Backends::Up(words.by_ref().collect()),
                Some("down") => Backends::Down,
                Some("status") => Backends::Status,
                _ => return Err(Failure::new("backends: one of up, down, status")),
            };
            nothing_more("backends", words).map(|()| Task::Backends(what))
        }
        Some("ci") => Ok(Task::Ci { rules: words.collect() }),
        Some("coverage") => nothing_more("coverage", words).map(|()| Task::Coverage),
        Some("bench") => Ok(Task::Bench { arguments: words.skip_while(|word| word == "--").collect() }),
        Some("chaos") => chaos(words),
        Some("part") => match (words.next(), words.next()) {
            (Some(name), Some(verb)) => nothing_more("part", words).map(|()| Task::Part { name, verb }),
            _ => Err(Failure::new("part: NAME VERB")),
        },
        Some(other) => Err(Failure(format!("no task `{other}`\n\n{USAGE}"))),
    }
}

fn test(words: impl Iterator<Item = String>) -> Result<Task> {
    let mut options = TestOptions::default();
    let mut words = words;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--require-all" => options.require_all = true,
            "--keep" => options.keep = true,
            "--" => {
                options.arguments = words.collect();
                break;
            }
            _ => match value(&word, "--only", &mut words)? {
                Some(list) => options.only.extend(split(&list)?),
                None => return Err(Failure(format!("test: unknown argument `{word}`\n\n{USAGE}"))),
            },
        }
    }
    Ok(Task::Test(options))
}

fn chaos(words: impl Iterator<Item = String>) -> Result<Task> {
    let (mut rounds, mut only, mut words) = (None, Vec::new(), words);
    while let Some(word) = words.next() {
        if let Some(list) = value(&word, "--only", &mut words)? {
            only.extend(split(&list)?);
        } else if let Some(number) = value(&word, "--rounds", &mut words)? {
            let parsed = number.parse();
            rounds = Some(parsed.map_err(|_| Failure(format!("--rounds: `{number}` is not a number")))?);
        } else {
            return Err(Failure(format!("chaos: unknown argument `{word}`\n\n{USAGE}")));
        }
    }
    Ok(Task::Chaos { rounds, only })
}

/// The value of `--flag VALUE` or `--flag=VALUE`, when `word` is that flag.
fn value(word: &str, flag: &str, words: &mut impl Iterator<Item = String>) -> Result<Option<String>> {
    if word == flag {
        return words.next().map(Some).ok_or_else(|| Failure(format!("{flag} needs a value")));
    }
    Ok(word.strip_prefix(flag).and_then(|rest| rest.strip_prefix('=')).map(str::to_owned))
}

fn split(list: &str) -> Result<Vec<String>> {
    let names: Vec<_> = list.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) {
        return Err(Failure(format!("--only: an empty name in `{list}`")));
    }
    Ok(names)
}

fn nothing_more(task: &str, mut words: impl Iterator<Item = String>) -> Result<()> {
    match words.next() {
        Some(word) => Err(Failure(format!("{task}: unknown argument `{word}`\n\n{USAGE}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Task> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn test_takes_its_options_in_both_spellings() {
        let expected = TestOptions {
            only: vec!["docker".into(), "process".into(), "core".into()],
            require_all: true,
            keep: false,
            arguments: vec!["p6_".into(), "--nocapture".into()],
        };
        let read = read("test --only docker,process --require-all --only=core -- p6_ --nocapture").unwrap();
        assert_eq!(read, Task::Test(expected));
    }

    #[test]
    fn the_other_tasks_are_read() {
        assert_eq!(read("").unwrap(), Task::Help);
        assert_eq!(read("backends down").unwrap(), Task::Backends(Backends::Down));
        let up =
            |names: &[&str]| Task::Backends(Backends::Up(names.iter().map(ToString::to_string).collect()));
        assert_eq!(read("backends up").unwrap(), up(&[]));
        assert_eq!(read("backends up postgres uml").unwrap(), up(&["postgres", "uml"]));
        assert_eq!(read("ci size fmt").unwrap(), Task::Ci { rules: vec!["size".into(), "fmt".into()] });
        assert_eq!(
            read("chaos --rounds 7 --only docker").unwrap(),
            Task::Chaos { rounds: Some(7), only: vec!["docker".into()] }
        );
        assert_eq!(
            read("bench -- f6 --quick").unwrap(),
            Task::Bench { arguments: vec!["f6".into(), "--quick".into()] }
        );
        assert_eq!(
            read("part docker kill").unwrap(),
            Task::Part { name: "docker".into(), verb: "kill".into() }
        );
    }

    #[test]
    fn what_it_does_not_know_it_refuses() {
        for line in [
            "tset",
            "test --al",
            "test --only",
            "test --only a,,b",
            "backends",
            "backends down now",
            "chaos --rounds x",
        ] {
            assert!(read(line).is_err(), "{line} was accepted");
        }
    }
}
