//! Keycloak, with the preview feature by which a client's old secret goes on being accepted for a while. Its database is
//! its embedded one, in a file of the state folder: it has its realms again after a kill.
//!
//! The distribution is fetched once, put together for this database and this feature, and kept so with a database in which
//! the tables and the administrator are. A start in development mode would have all that to do each time.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use crate::failure::{Context, Failure, Result};
use crate::parts::{Needs, Part};
use crate::site::Site;
use crate::tools::http::{Endpoint, Request};
use crate::tools::kept::Kept;
use crate::tools::maven::Archive;
use crate::tools::server::{self, Server, VERBS};
use crate::tools::{apt, control};
use crate::{run, stop};

/// Where it is, and an administrator of it. One that the user has already is used in the place of ours.
const URL: &str = "HODEI_TEST_KEYCLOAK_URL";
const ADMIN: &str = "HODEI_TEST_KEYCLOAK_ADMIN";
const PASSWORD: &str = "HODEI_TEST_KEYCLOAK_PASSWORD";
/// The program by which a test stops, starts and pauses it.
const CONTROL: &str = "HODEI_TEST_KEYCLOAK_CONTROL";
const OURS: (&str, &str) = ("hodei", "planted-keycloak-hunter2");
const NAME: &str = "keycloak";

const DISTRIBUTION: Archive = Archive {
    group: "org.keycloak",
    artifact: "keycloak-quarkus-dist",
    version: "26.7.3",
    kind: "zip",
    sha256: "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f",
};
/// How it is put together.
const BUILT: [&str; 3] = ["build", "--db=dev-file", "--features=client-secret-rotation"];
/// How it is started. The other kind of cache listens for more nodes on the machine's network.
const STARTED: [&str; 5] =
    ["start", "--optimized", "--cache=local", "--http-enabled=true", "--hostname-strict=false"];
/// How its database is made. A word that the server is told by its environment is in no list of processes.
const FILLED: [&str; 6] =
    ["bootstrap-admin", "user", "--optimized", "--no-prompt", "--username:env=NAME", "--password:env=WORD"];
const DATABASE: &str = "keycloak.mv.db";
/// What its folder is linked from: all but its data.
const LINKED: [&str; 4] = ["conf", "lib", "providers", "themes"];
/// As its own script runs it, but for what takes time at a start: compiled quickly rather than well.
const JVM: [&str; 14] = [
    "-Xms64m",
    "-Xmx512m",
    "-XX:MaxMetaspaceSize=256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.net.preferIPv4Stack=true",
    "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
    "-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
    "-Dpicocli.disable.closures=true",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.security=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
];
/// On a machine with a lot else to do.
const LIMIT: Duration = Duration::from_secs(180);

#[derive(Debug)]
pub(crate) struct Keycloak;

impl Part for Keycloak {
    fn name(&self) -> &'static str {
        NAME
    }

    fn packages(&self) -> &'static [&'static str] {
        &["hodei-credentials"]
    }

    fn needs(&self) -> &'static [Needs] {
        &[Needs { package: "hodei-credentials", binary: Some("keycloak"), test: None }]
    }

    fn has_tests(&self) -> bool {
        false
    }

    fn install(&self, site: &Site) -> Result<()> {
        static ONE: Mutex<()> = Mutex::new(());
        if given(site).is_some() {
            return Ok(());
        }
        apt::install(&[("java", "openjdk-17-jre-headless")])?;
        kept(site).make(&ONE, put_together).map(drop)
    }

    fn start(&self, site: &Site) -> Result<()> {
        let server = Server::new(site, NAME);
        if given(site).is_some() || server.running().is_some() {
            return Ok(());
        }
        make_home(&kept(site).made()?, &server.folder())?;
        server.start(&words(&server)?)?;
        control::write(site, NAME, NAME, VERBS)
    }

    fn ready(&self, site: &Site) -> Result<String> {
        if let Some(url) = given(site) {
            return answers(&url).map(|()| "(given)".to_owned());
        }
        let server = Server::new(site, NAME);
        let endpoint = server.endpoint()?;
        server.wait_for("a token for its administrator", LIMIT, || Ok(token(&endpoint, OURS)))?;
        Ok(format!("Keycloak {}", DISTRIBUTION.version))
    }

    fn environment(&self, site: &Site) -> Result<Vec<(String, String)>> {
        if let Some(url) = given(site) {
            let mut environment = server::handed_on(&[ADMIN, PASSWORD]);
            environment.push((URL.to_owned(), url));
            return Ok(environment);
        }
        let url = Server::new(site, NAME).url().ok_or_else(|| Failure::new("keycloak runs not"))?;
        let control = control::path(site, NAME).display().to_string();
        let pairs = [(URL, url), (ADMIN, OURS.0.into()), (PASSWORD, OURS.1.into()), (CONTROL, control)];
        Ok(pairs.map(|(name, value)| (name.to_owned(), value)).into())
    }

    fn stop(&self, site: &Site) -> Result<()> {
        Server::new(site, NAME).stop()
    }

    fn control(&self, site: &Site, verb: &str) -> Result<()> {
        if given(site).is_some() {
            return Err(Failure::new("keycloak is not ours"));
        }
        match verb {
            "start" => self.start(site).and_then(|()| self.ready(site)).map(drop),
            _ => Server::new(site, NAME).tell(verb),
        }
    }
}

fn given(site: &Site) -> Option<String> {
    server::given(URL, Server::new(site, NAME).url().as_deref())
}

fn kept(site: &Site) -> Kept {
    let Archive { version, sha256, .. } = DISTRIBUTION;
    Kept::new(site, &format!("{NAME}-{version}"), &format!("{sha256} {BUILT:?} {FILLED:?} {OURS:?}"))
}

/// The distribution in a folder, ready to start.
fn put_together(folder: &Path) -> Result<()> {
    apt::install(&[("unzip", "unzip")])?;
    let archive = DISTRIBUTION.fetch(folder)?;
    run::output(Command::new("unzip").arg("-q").arg(&archive).arg("-d").arg(folder))?;
    fs::remove_file(&archive)?;
    let unpacked = folder.join(format!("{NAME}-{}", DISTRIBUTION.version));
    for entry in fs::read_dir(&unpacked)?.flatten() {
        fs::rename(entry.path(), folder.join(entry.file_name()))?;
    }
    fs::remove_dir(&unpacked)?;
    stop::check()?;
    println!("putting {NAME} together");
    let script = |words: &[&str]| {
        let mut script = Command::new("sh");
        script.arg(folder.join("bin/kc.sh")).args(words).env("JAVA_OPTS_APPEND", "-XX:TieredStopAtLevel=1");
        script
    };
    run::output(&mut script(&BUILT))?;
    stop::check()?;
    let mut fill = script(&FILLED);
    fill.arg(database(folder)).env("NAME", OURS.0).env("WORD", OURS.1);
    run::output(&mut fill)?;
    let _ = fs::remove_dir_all(folder.join("data"));
    Ok(())
}

/// Without the port at which it would let other processes in.
fn database(folder: &Path) -> String {
    let file = folder.join(DATABASE.trim_end_matches(".mv.db"));
    format!("--db-url=jdbc:h2:file:{};NON_KEYWORDS=VALUE;TRACE_LEVEL_FILE=0", file.display())
}

/// A home of its own for the server, with whatever it writes.
fn make_home(distribution: &Path, home: &Path) -> Result<()> {
    fs::create_dir_all(home.join("data")).context(format_args!("creating {}", home.display()))?;
    for name in LINKED {
        let link = home.join(name);
        if !link.exists() {
            symlink(distribution.join(name), &link).context(format_args!("linking {}", link.display()))?;
        }
    }
    let copy = home.join("data").join(DATABASE);
    if !copy.exists() {
        fs::copy(distribution.join(DATABASE), &copy).context(format_args!("copying {DATABASE}"))?;
    }
    Ok(())
}

fn words(server: &Server<'_>) -> Result<Vec<String>> {
    let home = server.folder();
    let of_home = |path: &str| home.join(path).display().to_string();
    let java = apt::which("java").ok_or_else(|| Failure::new("no java"))?;
    let mut words = vec![java.display().to_string()];
    words.extend(JVM.map(str::to_owned));
    words.push(format!("-Djava.io.tmpdir={}", of_home("data")));
    words.push(format!("-Dkc.home.dir={}", home.display()));
    words.push(format!("-Djboss.server.config.dir={}", of_home("conf")));
    words.extend(["-cp".to_owned(), of_home("lib/quarkus-run.jar")]);
    words.push("io.quarkus.bootstrap.runner.QuarkusEntryPoint".to_owned());
    words.extend(STARTED.map(str::to_owned));
    words.push("--http-host=127.0.0.1".to_owned());
    words.push(format!("--http-port={}", server.take_port("port")?));
    words.push(database(&home.join("data")));
    Ok(words)
}

/// What an administrator needs for any other call.
fn token(endpoint: &Endpoint, (user, password): (&str, &str)) -> Option<String> {
    let form = format!("grant_type=password&client_id=admin-cli&username={user}&password={password}");
    let request = Request::new("POST", "/realms/master/protocol/openid-connect/token")
        .headers("Content-Type: application/x-www-form-urlencoded\r\n")
        .text(&form);
    let answer = endpoint.send_within(&request, Duration::from_secs(10)).ok()?;
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    body["access_token"].as_str().map(str::to_owned)
}

fn answers(url: &str) -> Result<()> {
    if url.starts_with("https://") {
        return Ok(());
    }
    let endpoint = Endpoint::parse(url)?;
    stop::wait_for(&format!("the answer of {url}"), Duration::from_secs(20), || {
        Ok(endpoint.get_within("/realms/master", Duration::from_secs(5)).ok().map(drop))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_the_distribution_but_for_its_data() {
        let folder = std::env::temp_dir().join(format!("hodei-xtask-keycloak-{}", std::process::id()));
        let (distribution, home) = (folder.join("cache"), folder.join("state"));
        LINKED.iter().for_each(|name| fs::create_dir_all(distribution.join(name)).unwrap());
        fs::write(distribution.join("conf/keycloak.conf"), "").unwrap();
        fs::write(distribution.join(DATABASE), "empty").unwrap();
        make_home(&distribution, &home).unwrap();
        let database = home.join("data").join(DATABASE);
        assert_eq!(fs::read_to_string(&database).unwrap(), "empty");
        // What it has written it finds again.
        fs::write(&database, "full").unwrap();
        make_home(&distribution, &home).unwrap();
        assert_eq!(fs::read_to_string(&database).unwrap(), "full");
        assert!(home.join("conf/keycloak.conf").exists());
        assert!(!fs::symlink_metadata(home.join("data")).unwrap().is_symlink());
        fs::remove_dir_all(folder).unwrap();
    }
}
