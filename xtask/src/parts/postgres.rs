//! A PostgreSQL of our own, on a loopback port, with page checksums and synchronous commits as a careful user has them.
//!
//! The server refuses to run as root, so it runs as the user that Debian's package makes. Of the cluster that the package
//! may make for itself nothing is used.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::failure::{Context, Failure, Result};
use crate::parts::{Needs, Part};
use crate::process::{self, Identity, Record};
use crate::site::Site;
use crate::tools::{apt, certificates, control, port};
use crate::{run, stop};

/// Where the server is. One that the user has already is used in the place of ours.
const URL: &str = "HODEI_TEST_POSTGRES";
/// The program by which a test stops and starts the server.
const CONTROL: &str = "HODEI_TEST_POSTGRES_CONTROL";
/// Who vouches for the server's certificate.
const AUTHORITY: &str = "HODEI_TEST_POSTGRES_CA";
/// Everybody from this machine is let in, but for those of a role that tests make: they need their password.
const WHO_MAY: &str = "\
local all all trust
host all +hodei_test_login 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
";
const SERVER: &str = "postgres";
const SCRIPT: &str = "postgres-server";
/// Debian keeps the programs of each version in a folder of its own.
const VERSIONS: &str = "/usr/lib/postgresql";

#[derive(Debug)]
pub(crate) struct Postgres;

impl Part for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["hodei-worker-store", "hodei-worker", "hodei-worker-examples", "hodei-credentials"]
    }

    fn needs(&self) -> &'static [Needs] {
        const {
            &[
                Needs { package: "hodei-worker-store", binary: Some("postgres"), test: None },
                Needs { package: "hodei-worker-store", binary: Some("postgres_faults"), test: None },
                Needs { package: "hodei-worker-store", binary: Some("postgres_order"), test: None },
                Needs { package: "hodei-worker-store", binary: Some("postgres_restart"), test: None },
                Needs { package: "hodei-credentials", binary: Some("vault_database"), test: None },
                Needs { package: "hodei-credentials", binary: Some("vault_cluster"), test: None },
                Needs {
                    package: "hodei-worker-examples",
                    binary: Some("examples"),
                    test: Some("l6_a_host_takes_over_what_a_dead_one_had"),
                },
            ]
        }
    }

    fn stand_ins(&self) -> &'static [(&'static str, &'static str)] {
        &[(URL, "postgres://nobody@127.0.0.1:1/nowhere")]
    }

    fn install(&self, site: &Site) -> Result<()> {
        if given(site).is_some() {
            return Ok(());
        }
        apt::install(&[("openssl", "openssl")])?;
        if program("postgres").is_ok() {
            return Ok(());
        }
        // Services of packages do not start while they are installed so.
        apt::install_package("postgresql")?;
        program("postgres").map(drop)
    }

    fn start(&self, site: &Site) -> Result<()> {
        if given(site).is_some() || running(site).is_some() {
            return Ok(());
        }
        let data = data(site);
        if !data.join("PG_VERSION").exists() {
            make_folder(&folder(site))?;
            // The folder is made for this run; what tests write is synchronous all the same.
            let words = ["-D", &text(&data), "-A", "trust", "-U", "postgres", "-E", "UTF8"];
            let more = ["--locale=C", "--data-checksums", "--no-sync", "--no-instructions"];
            run::output(&mut command("initdb", &[&words[..], &more].concat())?)?;
            fs::write(data.join("pg_hba.conf"), WHO_MAY)?;
            certificates::make(&certificates_of(site))?;
            for name in ["server.pem", "server-key.pem"] {
                give(&certificates_of(site).join(name), &folder(site).join(name))?;
            }
        }
        fs::write(port_file(site), port::free()?.to_string())?;
        start_server(site)?;
        control::write(site, SCRIPT, self.name(), control::VERBS)
    }

    fn ready(&self, site: &Site) -> Result<String> {
        await_answer(site, &url(site)?)
    }

    fn environment(&self, site: &Site) -> Result<Vec<(String, String)>> {
        let mut environment = vec![(URL.to_owned(), url(site)?)];
        if given(site).is_none() {
            environment.push((CONTROL.to_owned(), text(&control::path(site, SCRIPT))));
            environment.push((AUTHORITY.to_owned(), text(&certificates_of(site).join("ca.pem"))));
        }
        Ok(environment)
    }

    fn stop(&self, site: &Site) -> Result<()> {
        let memory = shared_memory(site);
        let stopped = stop_server(site);
        // A server that was killed cannot give it back itself.
        if let Some(id) = memory {
            let _ = run::output(Command::new("ipcrm").args(["-m", &id]));
        }
        stopped
    }

    fn control(&self, site: &Site, verb: &str) -> Result<()> {
        match verb {
            "start" if running(site).is_some() => Ok(()),
            "start" => {
                start_server(site)?;
                await_answer(site, &url(site)?).map(drop)
            }
            "stop" => stop_server(site),
            "kill" => kill(site),
            _ => Err(Failure(format!("postgres: `{verb}` is none of start, stop, kill"))),
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn folder(site: &Site) -> PathBuf {
    site.state.join(SERVER)
}

fn data(site: &Site) -> PathBuf {
    folder(site).join("data")
}

fn certificates_of(site: &Site) -> PathBuf {
    site.state.join("postgres-certificates")
}

fn port_file(site: &Site) -> PathBuf {
    site.state.join("postgres.port")
}

fn log(site: &Site) -> PathBuf {
    site.logs().join("postgres.log")
}

fn url_of_ours(site: &Site) -> Option<String> {
    let port = fs::read_to_string(port_file(site)).ok()?;
    Some(format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable"))
}

/// The user's server; ours, named to a test or to a shell, is not that.
fn given(site: &Site) -> Option<String> {
    let ours = url_of_ours(site);
    env::var(URL).ok().filter(|url| !url.is_empty() && Some(url) != ours.as_ref())
}

fn url(site: &Site) -> Result<String> {
    given(site).or_else(|| url_of_ours(site)).ok_or_else(|| Failure::new("no server runs"))
}

fn running(site: &Site) -> Option<Record> {
    Record::read(&site.state, SERVER).filter(|record| record.identity.alive())
}

/// A program of the newest version that is installed.
fn program(name: &str) -> Result<PathBuf> {
    newest(Path::new(VERSIONS), name).ok_or_else(|| Failure(format!("no {name} below {VERSIONS}")))
}

fn newest(versions: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(versions).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let program = entry.path().join("bin").join(name);
        program.is_file().then_some((version, program))
    });
    found.max().map(|(_, program)| program)
}

/// The words that run a server's program as who may run one.
fn words(name: &str, arguments: &[&str]) -> Result<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    if rustix::process::geteuid().is_root() {
        let user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"];
        words.extend(user.map(str::to_owned));
    }
    words.push(text(&program(name)?));
    words.extend(arguments.iter().map(ToString::to_string));
    Ok(words)
}

fn command(name: &str, arguments: &[&str]) -> Result<Command> {
    let words = words(name, arguments)?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir("/");
    Ok(command)
}

/// An empty folder that belongs to who runs the server.
fn make_folder(folder: &Path) -> Result<()> {
    run::output(install().args(["-d", "-m", "0755"]).arg(folder)).map(drop)
}

/// A copy that who runs the server can read, and nobody else.
fn give(file: &Path, copy: &Path) -> Result<()> {
    run::output(install().args(["-m", "0600"]).arg(file).arg(copy)).map(drop)
}

fn install() -> Command {
    let mut install = Command::new("install");
    if rustix::process::geteuid().is_root() {
        install.args(["-o", "postgres", "-g", "postgres"]);
    }
    install
}

fn start_server(site: &Site) -> Result<()> {
    let port = fs::read_to_string(port_file(site)).context("the server's port")?;
    // One that was killed leaves them, and a new one takes even a zombie's pid for a server that runs.
    if processes_in(&data(site)).is_empty() {
        let lock = folder(site).join(format!(".s.PGSQL.{port}.lock"));
        [data(site).join("postmaster.pid"), lock].iter().for_each(|file| drop(fs::remove_file(file)));
    }
    let (data, sockets) = (text(&data(site)), text(&folder(site)));
    let certificate = format!("ssl_cert_file={sockets}/server.pem");
    let key = format!("ssl_key_file={sockets}/server-key.pem");
    let sockets = format!("unix_socket_directories={sockets}");
    let mut arguments = vec!["-D", &data, "-p", &port];
    let settings = [
        "listen_addresses=127.0.0.1",
        &sockets,
        "ssl=on",
        &certificate,
        &key,
        "max_connections=200",
        // Files of the data folder, not of the machine's shared memory, where a killed server would leave them.
        "dynamic_shared_memory_type=mmap",
        "max_wal_size=256MB",
        "log_line_prefix=%m [%p] ",
    ];
    arguments.extend(settings.iter().flat_map(|setting| ["-c", setting]));
    process::daemon(&site.state, SERVER, &log(site), &words("postgres", &arguments)?).map(drop)
}

/// Gives the server's version.
fn await_answer(site: &Site, url: &str) -> Result<String> {
    let record = Record::read(&site.state, SERVER);
    let Ok(psql) = program("psql") else {
        return Ok("(its version was not asked for: no psql here)".to_owned());
    };
    stop::wait_for("the server's answer", Duration::from_secs(60), || {
        if given(site).is_none() && record.as_ref().is_none_or(|record| !record.identity.alive()) {
            return Err(Failure(format!("postgres ended; its log ends:\n{}", run::log_tail(&log(site)))));
        }
        let mut ask = Command::new(&psql);
        ask.args(["--no-psqlrc", "-Atc", "show server_version", url]).env("PGCONNECT_TIMEOUT", "5");
        Ok(run::output(&mut ask).ok().map(|version| version.trim().to_owned()))
    })
}

fn stop_server(site: &Site) -> Result<()> {
    let Some(record) = running(site) else { return Ok(()) };
    let asked = command("pg_ctl", &["stop", "-D", &text(&data(site)), "-m", "fast", "-w", "-t", "30"])
        .and_then(|mut stop| run::output(&mut stop));
    if let Err(error) = asked {
        println!("stopping postgres: {error}");
    }
    if record.identity.end(Duration::ZERO) { Ok(()) } else { Err(Failure::new("the server lives on")) }
}

/// The whole server at once, as a machine's end would. A new one refuses to start beside a process of the old one.
fn kill(site: &Site) -> Result<()> {
    let Some(record) = running(site) else { return Ok(()) };
    let data = data(site);
    record.identity.signal(Signal::KILL);
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let left = processes_in(&data);
        if left.is_empty() && !record.identity.alive() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(Failure::new("processes of the server live on"));
        }
        left.iter().for_each(|process| process.signal(Signal::KILL));
        stop::settle(Duration::from_millis(10));
    }
}

/// A server's processes all work in its data folder.
fn processes_in(data: &Path) -> Vec<Identity> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let inside = entries.filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data));
    inside.filter_map(|entry| Identity::of(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// The id of the segment by which a server keeps a second one from its data.
fn shared_memory(site: &Site) -> Option<String> {
    let file = fs::read_to_string(data(site).join("postmaster.pid")).ok()?;
    segment(&file)
}

/// Key and id stand in the seventh line of a server's pid file.
fn segment(file: &str) -> Option<String> {
    file.lines().nth(6)?.split_whitespace().nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_taken_by_its_number() {
        let folder = env::temp_dir().join(format!("hodei-xtask-postgres-{}", std::process::id()));
        for version in ["9", "15", "x"] {
            fs::create_dir_all(folder.join(version).join("bin")).unwrap();
            fs::write(folder.join(version).join("bin/initdb"), "").unwrap();
        }
        fs::create_dir_all(folder.join("16/bin")).unwrap();
        assert_eq!(newest(&folder, "initdb"), Some(folder.join("15/bin/initdb")));
        assert_eq!(newest(&folder, "psql"), None);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_segment_is_read_from_the_pid_file() {
        let file = "7\n/data\n1700000000\n5432\n/sockets\n127.0.0.1\n  12345678        42\nready   \n";
        assert_eq!(segment(file).as_deref(), Some("42"));
        assert_eq!(segment("7\n/data\n"), None);
    }

    #[test]
    fn a_servers_processes_are_known_by_the_folder_that_they_work_in() {
        let folder = env::temp_dir().join(format!("hodei-xtask-data-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let folder = fs::canonicalize(folder).unwrap();
        let mut child = Command::new("sleep").arg("100").current_dir(&folder).spawn().unwrap();
        let found = processes_in(&folder);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.iter().map(|one| one.pid).collect::<Vec<_>>(), [i32::try_from(child.id()).unwrap()]);
        assert!(processes_in(&folder).is_empty());
        fs::remove_dir_all(folder).unwrap();
    }
}
