//! The behaviour suite under control groups of the unified hierarchy, with their controllers: a kernel of our own is
//! booted as a process (user-mode Linux), and this program is run again inside of it.

mod subject;

use std::{
    fs,
    io::{BufRead as _, BufReader, Error, Result},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use hodei_worker_core::testkit::run;
use hodei_worker_process::Survival;
use libtest_mimic::Arguments;
use subject::{Processes, in_a_folder};

const NAMES: [(&str, Survival); 2] =
    [("process-cgroup-v2", Survival::Required), ("process-cgroup-v2-attached", Survival::Attached)];
const INSIDE: &str = "HODEI_TEST_INSIDE";
const END: &str = "the suite ended with ";

fn main() -> ExitCode {
    hodei_worker_process::init();
    if std::env::var_os(INSIDE).is_some() {
        return in_a_folder(|base| {
            run(NAMES.map(|(name, survival)| Processes { name, survival, base: base.join(name) }))
        });
    }
    let arguments = Arguments::from_args();
    if arguments.list {
        let base = std::env::temp_dir();
        return run(NAMES.map(|(name, survival)| Processes { name, survival, base: base.clone() }));
    }
    match boot(arguments.filter.unwrap_or_default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cgroup_v2: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Boots the kernel with a script that mounts what the suite needs, runs it, and says how it ended.
fn boot(filter: String) -> Result<()> {
    let kernel = std::env::var_os("HODEI_TEST_UML").ok_or_else(|| {
        Error::other("HODEI_TEST_UML names no kernel; run this by `cargo xtask test --only process`")
    })?;
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("uml-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let results =
        std::env::var("HODEI_TEST_RESULTS").map(|path| format!("export HODEI_TEST_RESULTS='{path}'\n"));
    let script = folder.join("init");
    // The root is this machine's own, so everything that the suite writes goes into memory.
    let text = format!(
        "#!/bin/sh\n\
         export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/run {INSIDE}=1\n\
         {}mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmpfs /run\n\
         mount -t cgroup2 cgroup2 /sys/fs/cgroup; ip link set lo up\n\
         '{}' --color never '{filter}'; echo \"{END}$?\"\n\
         halt -f\n",
        results.unwrap_or_default(),
        std::env::current_exe()?.display(),
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let mut machine = Command::new(kernel)
        .args(["mem=1024M", "rootfstype=hostfs", "rw", "con=null", "con0=null,fd:1"])
        .arg(format!("init={}", script.display()))
        .env("HOME", &folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut ended = None;
    let output = machine.stdout.take().ok_or_else(|| Error::other("no output"))?;
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
        let suite = ["test ", "running ", "----", "failures:"].iter().any(|start| line.starts_with(start));
        if let Some(code) = line.strip_prefix(END) {
            ended = Some(code.to_owned());
        } else if suite {
            println!("{line}");
        }
    }
    machine.wait()?;
    fs::remove_dir_all(&folder)?;
    match ended.as_deref() {
        Some("0") => Ok(()),
        Some(code) => Err(Error::other(format!("the suite failed inside of the machine ({code})"))),
        None => Err(Error::other("the machine halted before the suite had ended")),
    }
}
