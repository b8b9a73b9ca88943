//! `docker-compose`: whose reading of a compose file ours is compared with, and whose speed.

use std::path::PathBuf;
use std::process::Command;

use crate::failure::Result;
use crate::parts::{Needs, Part};
use crate::run;
use crate::site::Site;
use crate::tools::go::Module;

const MODULE: Module = Module {
    folder: "compose",
    programs: &[("github.com/docker/compose/v5/cmd", "docker-compose")],
    linked: "-X github.com/docker/compose/v5/internal.Version=5.4.0",
    tags: "",
    c: false,
};

#[derive(Debug)]
pub(crate) struct Compose;

impl Part for Compose {
    fn name(&self) -> &'static str {
        "compose"
    }
    fn packages(&self) -> &'static [&'static str] {
        &["hodei-worker-compose", "hodei-worker-benches"]
    }
    fn needs(&self) -> &'static [Needs] {
        const { &[Needs { package: "hodei-worker-compose", binary: Some("oracle"), test: None }] }
    }
    fn stand_ins(&self) -> &'static [(&'static str, &'static str)] {
        &[("HODEI_TEST_COMPOSE", "none")]
    }
    fn install(&self, site: &Site) -> Result<()> {
        MODULE.build(site).map(drop)
    }
    fn start(&self, _: &Site) -> Result<()> {
        Ok(())
    }
    fn ready(&self, site: &Site) -> Result<String> {
        let version = run::output(Command::new(program(site)?).args(["version", "--short"]))?;
        Ok(format!("docker compose {}", version.trim()))
    }
    fn environment(&self, site: &Site) -> Result<Vec<(String, String)>> {
        Ok(vec![("HODEI_TEST_COMPOSE".to_owned(), program(site)?.display().to_string())])
    }
    fn stop(&self, _: &Site) -> Result<()> {
        Ok(())
    }
}

fn program(site: &Site) -> Result<PathBuf> {
    Ok(MODULE.built(site)?.join("docker-compose"))
}
