//! Running other programs.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::failure::{Context, Failure, Result};
use crate::stop;

/// What the variables begin with by which cargo describes a package to its program.
const OF_OUR_PACKAGE: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_NAME", "CARGO_CRATE_NAME"];

/// The cargo that runs us, at the workspace's root, without colours (its output is read).
pub(crate) fn cargo(site: &crate::site::Site) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(&site.root)
        .env("CARGO_TERM_COLOR", "never")
        .env("CARGO_TARGET_DIR", &site.cargo_target)
        .stdin(Stdio::null());
    // Set by the `cargo run` that started us, and of no meaning to what we start: build scripts that look at them would
    // have everything above them compiled anew after each `cargo test` by hand.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| OF_OUR_PACKAGE.iter().any(|start| name.starts_with(start))) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs to the end and gives its standard output; a failure carries the end of what it said.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().context(format_args!("running {name}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Failure(format!("{name} failed ({}):\n{}", output.status, tail(&String::from_utf8_lossy(&said), 40))))
}

/// A program that has said nothing for so long hangs, and would hold the machine's lock for ever.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// How long the pipe of a program that has ended is listened to while nothing comes.
const AFTER: Duration = Duration::from_secs(3);

/// Runs with both outputs in one pipe, hands over each line as it comes, and ends the whole
/// process group when a stop is requested or nothing was heard for a quarter of an hour.
pub(crate) fn stream(command: &mut Command, mut on_line: impl FnMut(&str)) -> Result<ExitStatus> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (reader, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let mut child = command.spawn().context(format_args!("running {name}"))?;
    // The command keeps the writing ends: without closing them the pipe never ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let group = Pid::from_child(&child);
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            if sender.send(text).is_err() {
                break;
            }
            line.clear();
        }
    });
    let mut ended: Option<(ExitStatus, Instant)> = None;
    let mut asked: Option<Instant> = None;
    let mut heard = Instant::now();
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                heard = Instant::now();
                on_line(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            // Something that outlives its test may hold the pipe open for ever; what it has said before is heard out.
            Err(RecvTimeoutError::Timeout) if ended.is_some_and(|(_, at)| at.elapsed() > AFTER) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if ended.is_none() {
            ended = child.try_wait()?.map(|status| (status, Instant::now()));
        }
        let silent = heard.elapsed() > SILENCE;
        if (stop::requested() || silent) && ended.is_none() {
            if silent && asked.is_none() {
                on_line(&format!("{name} is ended: not a word for {} minutes", SILENCE.as_secs() / 60));
            }
            let since = *asked.get_or_insert_with(Instant::now);
            let signal = if since.elapsed() > Duration::from_secs(5) { Signal::KILL } else { Signal::TERM };
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }
    match ended {
        Some((status, _)) => Ok(status),
        None => Ok(child.wait()?),
    }
}

/// The last `count` lines.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The last lines of a log, for an error.
pub(crate) fn log_tail(path: &Path) -> String {
    std::fs::read(path).map_or_else(|_| String::new(), |log| tail(&String::from_utf8_lossy(&log), 10))
}
