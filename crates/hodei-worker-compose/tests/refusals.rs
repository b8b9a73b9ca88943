//! What is wrong in a file is refused by name, with its file, its line and what to do; and so is what is too large.

use std::{fs, path::Path};

use hodei_worker_compose::{Project, ProjectOptions, limits::MAX_CHAIN};
use hodei_worker_core::{Error, ErrorKind};

fn fault(text: &str) -> Error {
    match Project::parse(text, &ProjectOptions::new().project_name("p")) {
        Ok(_) => panic!("this was not refused: {}", text.chars().take(200).collect::<String>()),
        Err(error) => error,
    }
}

fn at(error: &Error) -> (&str, &str, &str) {
    let value = |name: &str| error.context_value(name).unwrap_or_default();
    (value("line"), value("field"), error.help().unwrap_or_default())
}

fn written(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(folder.join(name), text)
            .unwrap_or_else(|error| panic!("{name} cannot be written: {error}"));
    }
}

fn load(folder: &Path) -> Result<Project, Error> {
    Project::load(&ProjectOptions::new().working_directory(folder).file("compose.yaml").project_name("p"))
}

/// The text of an error as a person reads it.
#[test]
fn an_error_says_what_where_and_what_to_do() {
    let error =
        fault("services:\n  web:\n    image: nginx\n    volumes: [data:/data]\nvolumes:\n  date: {}\n");
    assert_eq!(error.kind(), ErrorKind::Config);
    let file = std::env::current_dir().unwrap().join("compose.yaml");
    let expected = format!(
        "there is no volume `data` (field: services.web.volumes[0], file: {}, line: 4); did you mean `date`?",
        file.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_is_named_must_be_there() {
    for (text, line, field) in [
        ("services:\n  a:\n    image: x\n    networks:\n      - front\n", "5", "services.a.networks.front"),
        ("services:\n  a:\n    image: x\n    secrets:\n      - key\n", "5", "services.a.secrets[0]"),
        ("services:\n  a:\n    image: x\n    configs:\n      - key\n", "5", "services.a.configs[0]"),
        ("services:\n  a:\n    image: x\n    depends_on:\n      - b\n", "5", "services.a.depends_on.b"),
        ("services:\n  a:\n    image: x\n    network_mode: service:b\n", "4", "services.a.depends_on.b"),
        ("services:\n  a:\n    extends: b\n", "3", "services.a.extends"),
        ("services:\n  a:\n    command: x\n", "2", "services.a"),
    ] {
        let error = fault(text);
        let (at_line, at_field, help) = at(&error);
        assert_eq!((at_line, at_field), (line, field), "{error}");
        assert!(!help.is_empty(), "{error}");
    }
}

#[test]
fn variables_that_are_missing_or_malformed() {
    for (text, line) in [
        ("services:\n  a:\n    image: ${IMAGE:?say which}\n", "3"),
        ("services:\n  a:\n    image: x\n    command: echo ${\n", "4"),
        ("services:\n  a:\n    image: x\n    scale: ${SCALE-many}\n", "4"),
    ] {
        let error = fault(text);
        assert_eq!(at(&error).0, line, "{error}");
        assert!(error.help().is_some(), "{error}");
    }
    assert!(fault("services:\n  a:\n    image: ${IMAGE:?say which}\n").message().contains("say which"));
}

#[test]
fn a_variable_that_is_not_set_is_a_warning() {
    let project =
        Project::parse("services:\n  a:\n    image: x$TAG\n", &ProjectOptions::new().project_name("p"))
            .unwrap();
    assert_eq!(project.warnings.len(), 1);
    assert_eq!(project.warnings[0].place.as_ref().map(|place| place.line), Some(3));
    assert!(project.warnings[0].to_string().contains("`TAG`"));
}

#[test]
fn cycles_end() {
    let needs = fault(
        "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [c]}\n  c: {image: x, links: [a]}\n",
    );
    assert!(needs.message().contains("need each other"), "{needs}");
    let extends = fault("services:\n  a: {extends: b}\n  b: {extends: a}\n");
    assert!(extends.message().contains("extend each other"), "{extends}");

    let folder = tempfile::tempdir().unwrap();
    written(
        folder.path(),
        &[("compose.yaml", "include: [b.yaml]\n"), ("b.yaml", "include:\n  - compose.yaml\n")],
    );
    let include = load(folder.path()).unwrap_err();
    assert!(include.message().contains("include each other"), "{include}");
    assert_eq!(at(&include).0, "2");
    assert!(include.context_value("file").unwrap().ends_with("b.yaml"));

    let own = "services:\n  a:\n    extends: {service: a, file: compose.yaml}\n";
    written(folder.path(), &[("compose.yaml", own)]);
    let own = load(folder.path()).unwrap_err();
    assert!(own.message().contains("extend each other"), "{own}");
}

#[test]
fn chains_have_an_end() {
    let chain: String = (0..MAX_CHAIN + 2)
        .map(|n| format!("  s{n:03}: {{image: x, extends: s{:03}}}\n", n + 1))
        .chain([format!("  s{:03}: {{image: x}}\n", MAX_CHAIN + 2)])
        .collect();
    let error = fault(&format!("services:\n{chain}"));
    assert!(error.message().contains("extend one another"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    for n in 0..=MAX_CHAIN + 2 {
        let name = if n == 0 { "compose.yaml".to_owned() } else { format!("f{n}.yaml") };
        fs::write(folder.path().join(name), format!("include: [f{}.yaml]\n", n + 1)).unwrap();
    }
    let error = load(folder.path()).unwrap_err();
    assert!(error.message().contains("include one another"), "{error}");
}

/// Each file includes the next one twice: without a bound, reading would take 2^40 files.
#[test]
fn files_that_multiply_end() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..40 {
        let name = if n == 0 { "compose.yaml".to_owned() } else { format!("f{n}.yaml") };
        let next = format!("f{}.yaml", n + 1);
        fs::write(folder.path().join(name), format!("include: [{next}, {next}]\n")).unwrap();
    }
    fs::write(folder.path().join("f40.yaml"), "services: {a: {image: x}}\n").unwrap();
    let error = load(folder.path()).unwrap_err();
    assert!(error.message().contains("too large"), "{error}");
}

/// A large service that a thousand others extend.
#[test]
fn services_that_multiply_end() {
    let labels: String = (0..5_000).map(|n| format!("      l{n}: x\n")).collect();
    let copies: String = (0..1_000).map(|n| format!("  c{n}: {{extends: base}}\n")).collect();
    let error = fault(&format!("services:\n  base:\n    image: x\n    labels:\n{labels}{copies}"));
    assert!(error.message().contains("too large"), "{error}");
}

#[test]
fn ranges_that_multiply_end() {
    let ports: String = (0..100).map(|n| format!("      - '127.0.0.{n}:0-65535:0-65535'\n")).collect();
    let error = fault(&format!("services:\n  a:\n    image: x\n    ports:\n{ports}"));
    assert!(error.message().contains("too large"), "{error}");
    assert!(at(&error).1.starts_with("services.a.ports["), "{error}");
}

#[test]
fn variables_that_multiply_end() {
    let options = ProjectOptions::new().project_name("p").variable("BIG", "x".repeat(1 << 20));
    let uses: String = (0..100).map(|n| format!("      V{n}: $BIG\n")).collect();
    let text = format!("services:\n  a:\n    image: x\n    environment:\n{uses}");
    let error = Project::parse(&text, &options).unwrap_err();
    assert!(error.message().contains("too large"), "{error}");
    let uses: String = (0..100).map(|n| format!("  s{n}: {{image: x, environment: [BIG]}}\n")).collect();
    let error = Project::parse(&format!("services:\n{uses}"), &options).unwrap_err();
    assert!(error.message().contains("too large"), "{error}");
}

/// Each document is laid over all before it: without a bound, the work would be their number times the file's size.
#[test]
fn documents_that_multiply_end() {
    let services: String = (0..2_000).map(|n| format!("  s{n}: {{image: x}}\n")).collect();
    let error = fault(&format!("services:\n{services}{}", "---\nx-a: 1\n".repeat(20_000)));
    assert!(error.message().contains("too many documents"), "{error}");
}

#[test]
fn long_texts_are_cut_in_errors() {
    let long = "k".repeat(100_000);
    for text in [
        format!("services:\n  a:\n    image: \"${{{long}\"\n"),
        format!("services:\n  a:\n    image: ${{{long}:?}}\n"),
        format!("services:\n  a:\n    ? {long}\n    : 1\n"),
        format!("services:\n  a:\n    image: x\n    networks: [\"{long}\"]\n"),
        format!("services:\n  a:\n    image: x\n    mem_limit: {long}\n"),
    ] {
        let error = fault(&text);
        assert!(error.to_string().len() < 2_000, "{}", error.to_string().len());
    }
}

#[test]
fn files_have_a_size() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), &[("compose.yaml", &format!("# {}\n", "x".repeat(5 << 20)))]);
    let error = load(folder.path()).unwrap_err();
    assert!(error.message().contains("larger than 4 MiB"), "{error}");
    written(
        folder.path(),
        &[
            ("compose.yaml", "services:\n  a:\n    image: x\n    env_file: big\n"),
            ("big", &"A=1\n".repeat(2 << 20)),
        ],
    );
    let error = load(folder.path()).unwrap_err();
    assert_eq!(at(&error).0, "4", "{error}");
    assert!(error.message().contains("larger than 4 MiB"), "{error}");
}

#[test]
fn faults_of_other_files_name_those_files() {
    let folder = tempfile::tempdir().unwrap();
    written(
        folder.path(),
        &[
            ("compose.yaml", "include: [other.yaml]\nservices:\n  a:\n    image: x\n    env_file: a.env\n"),
            ("other.yaml", "services:\n  b:\n    image: x\n    user: [1]\n"),
            ("a.env", "A=1\nB!=2\n"),
        ],
    );
    let error = load(folder.path()).unwrap_err();
    assert!(error.context_value("file").unwrap().ends_with("other.yaml"), "{error}");
    assert_eq!(at(&error).0, "4");
    written(folder.path(), &[("other.yaml", "services: {b: {image: x}}\n")]);
    let error = load(folder.path()).unwrap_err();
    assert!(error.context_value("file").unwrap().ends_with("a.env"), "{error}");
    assert_eq!(at(&error).0, "2");
}
