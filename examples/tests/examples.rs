//! The examples are run, not only built: each ends well and says what its documentation promises.

#![allow(clippy::unwrap_used)] // A test, its helpers too.

use std::{path::PathBuf, process::Command};

/// The example's binary, which `cargo test` has built beside this test.
fn example(name: &str) -> Command {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let path = path.join("examples").join(name);
    assert!(path.exists(), "{} is not built: run `cargo test` without selecting targets", path.display());
    Command::new(path)
}

fn output(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn l6_quickstart_sees_the_kill_and_leaves_nothing() {
    let text = output(example("quickstart"));
    for wanted in ["alpha | step 1", "seen: beta#1 is exited, signal 9", "exit code 0", "0 workers left"] {
        assert!(text.contains(wanted), "`{wanted}` is missing in\n{text}");
    }
}

#[test]
fn p1_the_code_of_the_readme_runs() {
    let text = output(example("readme"));
    assert_eq!(text, "hello#1 | hello from a worker\nhello#1 ended: exit code 3\n");
    let (readme, code) = (include_str!("../../README.md"), include_str!("../examples/readme.rs"));
    let body = code.split_once("\n\n").unwrap().1;
    assert!(readme.contains(body), "the README shows other code than examples/readme.rs");
}

#[test]
#[cfg(feature = "testkit")]
fn p10_a_provider_on_a_page_passes_the_suite() {
    let mut command = example("custom_provider");
    command.env_remove("HODEI_TEST_RESULTS");
    let text = output(command);
    assert!(text.contains("test result: ok") && text.contains("0 failed"), "{text}");
}

#[test]
#[cfg(feature = "docker")]
fn d2_the_docker_example_runs_on_a_real_engine() {
    let mut command = example("docker");
    let host = std::env::var("HODEI_TEST_DOCKER_HOST")
        .expect("run this by `cargo xtask test`, which starts an engine");
    let image =
        std::env::var("HODEI_TEST_IMAGE").expect("run this by `cargo xtask test`, which makes an image");
    let text = output({
        command.env("DOCKER_HOST", host).arg(image);
        command
    });
    for wanted in ["log: hello from a container", "hostname: ", "ended: Some(Code(0))"] {
        assert!(text.contains(wanted), "`{wanted}` is missing in\n{text}");
    }
}
