//! The examples are run, not only built: each ends well and says what its documentation promises.

#![allow(clippy::unwrap_used)] // A test, its helpers too.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

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
    let text = output(quickstart("whole"));
    for wanted in [
        "alpha | step 1",
        "beta: recovering (failed)",
        "beta: running (started)",
        "the host began anew: 3 workers in its log, 3 of them run",
        "exit code 0",
        "0 workers left",
    ] {
        assert!(text.contains(wanted), "`{wanted}` is missing in\n{text}");
    }
}

/// The quickstart in an installation of this test's.
fn quickstart(name: &str) -> Command {
    let mut command = example("quickstart");
    command.arg(format!("quickstart-{name}-{}", std::process::id()));
    command
}

/// The quickstart, once all its workers run, with the rest of its output.
fn working(name: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = quickstart(name).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("gamma | step 1") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended early");
    }
    (child, lines)
}

fn rest(mut lines: BufReader<std::process::ChildStdout>) -> String {
    let mut text = String::new();
    lines.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn l6_an_interrupted_quickstart_leaves_nothing() {
    let (mut child, lines) = working("interrupted");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let text = rest(lines);
    assert!(child.wait().unwrap().success(), "{text}");
    assert!(text.contains("--- interrupted") && text.contains("0 workers left"), "{text}");
}

#[test]
fn l6_a_killed_quickstart_is_cleaned_up_after_by_the_next() {
    let (mut child, _) = working("killed");
    child.kill().unwrap();
    child.wait().unwrap();
    let text = output(quickstart("killed"));
    for wanted in ["3 workers of the last time were still there", "beta runs again", "0 workers left"] {
        assert!(text.contains(wanted), "`{wanted}` is missing in\n{text}");
    }
}

#[test]
fn p1_the_code_of_the_readme_runs() {
    let text = output(example("readme"));
    let wanted = "hello ended: exit code 3\na person is called: the limit of its restart policy is reached\n";
    assert_eq!(text, wanted);
    let (readme, code) = (include_str!("../../README.md"), include_str!("../examples/readme.rs"));
    let body = code.split_once("\n\n").unwrap().1;
    assert!(readme.contains(body), "the README shows other code than examples/readme.rs");
}

#[test]
#[cfg(feature = "metrics")]
fn l7_the_metrics_are_scraped_over_http() {
    use std::{io::Write as _, net::TcpStream};
    let mut child = example("metrics").arg("0").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("http://").and_then(|line| line.strip_suffix("/metrics")).unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let table = rest(lines);
    assert!(child.wait().unwrap().success(), "{table}");
    for wanted in [
        "HTTP/1.1 200 OK",
        "text/plain; version=0.0.4",
        r#"hodei_worker_workers{provider="local",state="running"} 2"#,
        r#"hodei_worker_workers{provider="local",state="stopped"} 1"#,
        r#"hodei_worker_transitions_total{provider="local",from="none",to="creating"} 3"#,
        r#"operation="create",outcome="ok"} 3"#,
        r#"hodei_worker_memory_bytes{provider="local",worker="busy",worker_type="example"}"#,
        r#"hodei_worker_samples_total{provider="local",outcome="ok"} 2"#,
    ] {
        assert!(text.contains(wanted), "`{wanted}` is missing in\n{text}");
    }
    assert!(!text.contains(r#"worker="brief""#), "what has ended uses nothing:\n{text}");
    assert!(table.contains("example") && table.contains("costliest"), "{table}");
}

#[test]
#[cfg(feature = "lifecycle")]
fn l9_the_lives_of_workers_are_shown_without_a_terminal() {
    let text = output(example("lifecycle"));
    for wanted in [
        "brief       running > stopped",
        "recovering > starting   start_intended",
        "the limit of its restart policy is reached",
        "stopping > -          terminated",
    ] {
        assert!(text.contains(wanted), "`{wanted}` is missing in\n{text}");
    }
}

#[test]
#[cfg(feature = "postgres")]
fn l6_a_host_takes_over_what_a_dead_one_had() {
    let mut command = example("two_hosts");
    let url = std::env::var("HODEI_TEST_POSTGRES")
        .expect("run this by `cargo xtask test`, which starts a PostgreSQL");
    let text = output({
        command.arg(url);
        command
    });
    for wanted in ["one | alpha: running", "two | alpha: running (taken_over)", "two | 0 workers left"] {
        assert!(text.contains(wanted), "`{wanted}` is missing in\n{text}");
    }
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

#[test]
#[cfg(feature = "compose")]
fn d10_the_compose_example_runs_on_a_real_engine() {
    let host = std::env::var("HODEI_TEST_DOCKER_HOST")
        .expect("run this by `cargo xtask test`, which starts an engine");
    let image =
        std::env::var("HODEI_TEST_IMAGE").expect("run this by `cargo xtask test`, which makes an image");
    let folder = std::env::temp_dir().join(format!("compose-example-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("compose.yaml");
    let text = "services:\n  one: {image: '${IMAGE}', command: echo first}\n  \
                two: {image: '${IMAGE}', command: echo second, depends_on: {one: {condition: service_completed_successfully}}}\n";
    std::fs::write(&file, text).unwrap();
    let mut command = example("compose");
    command.env("DOCKER_HOST", host).env("IMAGE", image).arg(&file);
    let text = output(command);
    std::fs::remove_dir_all(folder).unwrap();
    for wanted in ["one-1 | first", "two-1 | second", "down"] {
        assert!(text.contains(wanted), "`{wanted}` is missing in\n{text}");
    }
}

#[test]
#[cfg(feature = "docker")]
fn d11_an_external_command_judges_images() {
    let host = std::env::var("HODEI_TEST_DOCKER_HOST")
        .expect("run this by `cargo xtask test`, which starts an engine");
    let image =
        std::env::var("HODEI_TEST_IMAGE").expect("run this by `cargo xtask test`, which makes an image");
    for (script, wanted) in [("exit 0", "accepted: "), ("echo it is old; exit 1", "refuses it: it is old")] {
        let mut command = example("image_scanner");
        command.env("DOCKER_HOST", &host).args([image.as_str(), "sh", "-c", script]);
        let text = output(command);
        assert!(text.contains(wanted), "`{wanted}` is missing in\n{text}");
    }
}

#[cfg(feature = "kubernetes")]
fn of_clusters(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name}: run this by `cargo xtask test`, which starts clusters"))
}

#[test]
#[cfg(feature = "kubernetes")]
fn k1_the_kubernetes_example_runs_on_a_real_cluster() {
    let mut command = example("kubernetes");
    command.env("KUBECONFIG", of_clusters("HODEI_TEST_KUBECONFIG"));
    command.arg(of_clusters("HODEI_TEST_KUBERNETES_IMAGE"));
    let text = output(command);
    for wanted in ["running: as it should be", "log: hello from a pod", "user: 65534", "ended: Some(Code(3))"]
    {
        assert!(text.contains(wanted), "`{wanted}` is missing in\n{text}");
    }
    let mut command = example("kubernetes");
    command.arg("--role");
    let role = output(command);
    assert!(role.contains("\"pods/exec\"") && !role.contains("\"secrets\""), "{role}");
}

#[test]
#[cfg(feature = "kubernetes")]
fn k11_the_example_of_two_clusters_places_and_lists_on_both() {
    let mut command = example("two_clusters");
    command.args([
        of_clusters("HODEI_TEST_KUBECONFIG"),
        of_clusters("HODEI_TEST_KUBECONFIG_SECOND"),
        of_clusters("HODEI_TEST_KUBERNETES_IMAGE"),
    ]);
    let text = output(command);
    for wanted in ["goes to one: turn 1 of 2", "goes to two: turn 2 of 2", "one: 2 run", "two: 2 run"] {
        assert!(text.contains(wanted), "`{wanted}` is missing in\n{text}");
    }
}
