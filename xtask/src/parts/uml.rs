//! A kernel of our own that runs as an ordinary process: user-mode Linux, for what this machine's kernel is not set up
//! to show (control groups of the unified hierarchy with their controllers). Tests boot it themselves.

use crate::failure::{Context, Failure, Result};
use crate::parts::{Needs, Part};
use crate::site::Site;
use crate::tools::apt::{self, which};
use crate::{run, stop};

const KERNEL: &str = "linux.uml";

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
    fn start(&self, _: &Site) -> Result<()> {
        stop::check()
    }
    fn ready(&self, _: &Site) -> Result<String> {
        let version = run::output(std::process::Command::new(kernel()?).arg("--version")).context(KERNEL)?;
        Ok(format!("Linux {}, user mode", version.trim()))
    }
    fn environment(&self, _: &Site) -> Result<Vec<(String, String)>> {
        Ok(vec![("HODEI_TEST_UML".to_owned(), kernel()?.display().to_string())])
    }
    fn stop(&self, _: &Site) -> Result<()> {
        Ok(())
    }
}

fn kernel() -> Result<std::path::PathBuf> {
    which(KERNEL).ok_or_else(|| Failure(format!("{KERNEL} is not there")))
}
