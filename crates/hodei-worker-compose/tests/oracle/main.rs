//! The reader against docker compose: the program that `HODEI_TEST_COMPOSE` names, on every folder of `tests/corpus`.
//!
//! A case is a folder with compose files and perhaps a `case.json` of the form
//! `{"files": [], "env": {}, "env_files": [], "profiles": [], "project_name": "", "project_directory": ""}`; without
//! it, the file is `compose.yaml`, and there are no variables. Both read the same, in that folder, and have to come to
//! the same model, or to refuse it both. What may differ stands in the table of `differences`.

mod differences;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use differences::{DIFFERENCES, Difference};
use hodei_worker_compose::{Project, ProjectOptions};
use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;
use serde_json::Value;

/// What a case asks for besides its files.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Case {
    files: Vec<PathBuf>,
    env: BTreeMap<String, String>,
    env_files: Vec<PathBuf>,
    profiles: Vec<String>,
    project_name: Option<String>,
    project_directory: Option<PathBuf>,
}

/// How often each outcome was seen.
#[derive(Default)]
struct Counts {
    equal: AtomicUsize,
    refused: AtomicUsize,
    listed: AtomicUsize,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&corpus)
        .unwrap_or_else(|error| panic!("the corpus in {} cannot be read: {error}", corpus.display()))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    let oracle = match arguments.list {
        true => PathBuf::new(),
        false => PathBuf::from(std::env::var_os("HODEI_TEST_COMPOSE").unwrap_or_else(|| {
            panic!("HODEI_TEST_COMPOSE is not set: these tests need the program docker-compose, and it names its path")
        })),
    };
    let counts = Arc::new(Counts::default());
    let mut trials: Vec<Trial> = folders
        .into_iter()
        .map(|folder| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (oracle, counts) = (oracle.clone(), Arc::clone(&counts));
            Trial::test(format!("d10_{name}"), move || compare(&name, &folder, &oracle, &counts))
        })
        .collect();
    let known: Vec<String> = trials.iter().map(|trial| trial.name().to_owned()).collect();
    trials.push(Trial::test("d10_every_difference_names_a_case", move || {
        match DIFFERENCES.iter().find(|(case, ..)| !known.contains(&format!("d10_{case}"))) {
            Some((case, ..)) => {
                Err(format!("the table of differences names `{case}`, which is no case").into())
            }
            None => Ok(()),
        }
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    println!(
        "compared with docker compose: {} equal, {} refused by both, {} listed as different",
        counts.equal.load(Ordering::Relaxed),
        counts.refused.load(Ordering::Relaxed),
        counts.listed.load(Ordering::Relaxed),
    );
    conclusion.exit_code()
}

fn compare(name: &str, folder: &Path, oracle: &Path, counts: &Counts) -> Result<(), Failed> {
    let case: Case = match std::fs::read_to_string(folder.join("case.json")) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Case::default(),
    };
    let theirs = ask(&case, folder, oracle)?;
    let ours = read(&case, folder);
    let difference = DIFFERENCES.iter().find(|(case, ..)| *case == name).map(|(_, difference, _)| difference);
    let found = match (&theirs, &ours) {
        (Ok(theirs), Ok(ours)) if theirs == ours => None,
        (Err(_), Err(error)) => {
            placed(name, error)?;
            None
        }
        (Ok(_), Ok(_)) => Some(Difference::Model),
        (Ok(_), Err(error)) => {
            placed(name, error)?;
            Some(Difference::OnlyWeRefuse)
        }
        (Err(_), Ok(_)) => Some(Difference::OnlyTheyRefuse),
    };
    match (found, difference) {
        (None, None) => {
            if ours.is_ok() { &counts.equal } else { &counts.refused }.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        (Some(found), Some(listed)) if found == *listed => {
            counts.listed.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        (None, Some(_)) => Err("the listed difference is gone: take it out of the table".into()),
        (Some(_), _) => Err(match (theirs, ours) {
            (Ok(theirs), Ok(ours)) => {
                let mut lines = Vec::new();
                differing("", &theirs, &ours, &mut lines);
                format!("the models differ:\n{}", lines.join("\n"))
            }
            (Ok(_), Err(error)) => format!("only the reader refuses it: {error:#}"),
            (Err(error), _) => format!("only docker compose refuses it: {error}"),
        }
        .into()),
    }
}

/// What docker compose prints, or why it refuses.
fn ask(case: &Case, folder: &Path, oracle: &Path) -> Result<Result<Value, String>, Failed> {
    let mut command = Command::new(oracle);
    command.current_dir(folder).env_clear().envs(environment(case, folder));
    for file in files(case) {
        command.arg("--file").arg(file);
    }
    for file in &case.env_files {
        command.arg("--env-file").arg(file);
    }
    for profile in &case.profiles {
        command.arg("--profile").arg(profile);
    }
    if let Some(name) = &case.project_name {
        command.arg("--project-name").arg(name);
    }
    if let Some(directory) = &case.project_directory {
        command.arg("--project-directory").arg(directory);
    }
    let output = command.args(["config", "--format", "json"]).output()?;
    match output.status.success() {
        true => Ok(Ok(serde_json::from_slice(&output.stdout)?)),
        false => Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

fn read(case: &Case, folder: &Path) -> Result<Value, hodei_worker_core::Error> {
    let mut options = ProjectOptions::new().working_directory(folder).environment(environment(case, folder));
    for file in files(case) {
        options = options.file(file);
    }
    for file in &case.env_files {
        options = options.env_file(file);
    }
    for profile in &case.profiles {
        options = options.profile(profile);
    }
    if let Some(name) = &case.project_name {
        options = options.project_name(name);
    }
    if let Some(directory) = &case.project_directory {
        options = options.project_directory(directory);
    }
    Project::load(&options).map(|project| project.to_value())
}

fn files(case: &Case) -> Vec<PathBuf> {
    if case.files.is_empty() { vec![PathBuf::from("compose.yaml")] } else { case.files.clone() }
}

fn environment(case: &Case, folder: &Path) -> BTreeMap<String, String> {
    let mut environment = case.env.clone();
    environment.insert("HOME".to_owned(), "/nonexistent".to_owned());
    environment.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    environment.insert("PWD".to_owned(), folder.to_string_lossy().into_owned());
    environment
}

/// What is refused names its file and its line, unless it is about a file as a whole or about no file.
fn placed(name: &str, error: &hodei_worker_core::Error) -> Result<(), Failed> {
    if error.kind() != hodei_worker_core::ErrorKind::Config {
        return Err(format!("what is refused is no configuration error: {error:#}").into());
    }
    const WITHOUT_LINE: &[&str] = &[
        "refused-comments-only",
        "refused-empty-file",
        "refused-missing-env-file-option",
        "refused-missing-file",
        "refused-name-environment",
        "refused-project-name-option",
        "refused-reset-services",
    ];
    let line = error.context_value("file").is_some() && error.context_value("line").is_some();
    match line || WITHOUT_LINE.contains(&name) {
        true => Ok(()),
        false => Err(format!("what is refused names no file and line: {error:#}").into()),
    }
}

/// Where two values differ.
fn differing(path: &str, theirs: &Value, ours: &Value, lines: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(one), Value::Object(other)) => {
            for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
                let nothing = Value::String("(nothing)".to_owned());
                let (one, other) = (one.get(key).unwrap_or(&nothing), other.get(key).unwrap_or(&nothing));
                differing(&format!("{path}.{key}"), one, other, lines);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                differing(&format!("{path}[{index}]"), one, other, lines);
            }
        }
        (one, other) if one != other => {
            lines.push(format!("  {path}: docker compose {one}, the reader {other}"))
        }
        _ => {}
    }
}
