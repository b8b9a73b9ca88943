//! A kernel of our own that runs as an ordinary process: user-mode Linux, for what this machine's kernel is not set up
//! to show (control groups of the unified hierarchy with their controllers). Tests boot it themselves.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::failure::{Context, Failure, Result};
use crate::parts::{Needs, Part};
use crate::site::Site;
use crate::tools::apt::{self, which};
use crate::tools::script;
use crate::{run, stop};

const KERNEL: &str = "linux.uml";
/// What it cannot do without on processors that are newer than it.
const LIBRARY: &str = "libxstate.so";
const SOURCE: &str = include_str!("../../uml/xstate.rs");

#[derive(Debug)]
pub(crate) struct Uml;

impl Part for Uml {
    fn name(&self) -> &'static str {
        "uml"
    }
    fn packages(&self) -> &'static [&'static str] {
        &["hodei-worker-process"]
    }
    fn needs(&self) -> &'static [Needs] {
        &[Needs { package: "hodei-worker-process", binary: Some("cgroup_v2"), test: None }]
    }
    fn install(&self, _: &Site) -> Result<()> {
        apt::install(&[(KERNEL, "user-mode-linux")])
    }
    fn start(&self, site: &Site) -> Result<()> {
        stop::check()?;
        library(site)?;
        let text = format!(
            "#!/bin/sh\nLD_PRELOAD='{}' exec '{}' \"$@\"\n",
            site.bin().join(LIBRARY).display(),
            kernel()?.display()
        );
        script::write(&program(site), &text)
    }
    fn ready(&self, site: &Site) -> Result<String> {
        let version = run::output(Command::new(kernel()?).arg("--version")).context(KERNEL)?;
        boots(site)?;
        Ok(format!("Linux {}, user mode", version.trim()))
    }
    fn environment(&self, site: &Site) -> Result<Vec<(String, String)>> {
        Ok(vec![("HODEI_TEST_UML".to_owned(), program(site).display().to_string())])
    }
    fn stop(&self, _: &Site) -> Result<()> {
        Ok(())
    }
}

fn kernel() -> Result<PathBuf> {
    which(KERNEL).ok_or_else(|| Failure(format!("{KERNEL} is not there")))
}

/// The kernel with its library.
fn program(site: &Site) -> PathBuf {
    site.bin().join("uml")
}

/// Compiles the library, unless it is there.
fn library(site: &Site) -> Result<()> {
    let (source, library) = (site.bin().join("xstate.rs"), site.bin().join(LIBRARY));
    if library.exists() && fs::read_to_string(&source).is_ok_and(|known| known == SOURCE) {
        return Ok(());
    }
    fs::write(&source, SOURCE).context(format_args!("writing {}", source.display()))?;
    let options = ["--edition", "2024", "--crate-type", "cdylib", "-O", "-C", "panic=abort", "-o"];
    run::output(Command::new("rustc").args(options).arg(&library).arg(&source)).map(drop)
}

/// Whether it comes up: a kernel of its age and the processor need not get along.
fn boots(site: &Site) -> Result<()> {
    const SAYS: &str = "up and running";
    let init = site.state.join("uml-init");
    script::write(&init, &format!("#!/bin/sh\necho {SAYS}\n"))?;
    let mut kernel = Command::new(program(site));
    kernel
        .args(["mem=256M", "rootfstype=hostfs", "ro", "con=null", "con0=null,fd:1"])
        .arg(format!("init={}", init.display()))
        .env("HOME", &site.state)
        .stdin(Stdio::null());
    // The end of its first process is a panic: it never ends well.
    let output = kernel.output().context(format_args!("running {KERNEL}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if said.lines().any(|line| line.trim() == SAYS) {
        return Ok(());
    }
    Err(Failure(format!("{KERNEL} does not come up here; it said last:\n{}", run::tail(&said, 40))))
}
