//! `backends`: the parts of the tests, kept running for a developer.

use crate::cli::Backends;
use crate::failure::{Failure, Result};
use crate::lock::Lock;
use crate::site::Site;
use crate::{parts, sweep};

pub(crate) fn run(site: &Site, what: Backends) -> Result<()> {
    match what {
        Backends::Up(names) => up(site, &names),
        Backends::Down => {
            let _lock = Lock::take(site, "backends down")?;
            parts::down(site)
        }
        Backends::Status => {
            status(site);
            Ok(())
        }
    }
}

fn up(site: &Site, names: &[String]) -> Result<()> {
    let named = |name: &String| parts::find(name).ok_or_else(|| Failure(format!("no part `{name}`")));
    let chosen = names.iter().map(named).collect::<Result<Vec<_>>>()?;
    let _lock = Lock::take(site, "backends up")?;
    sweep::leftovers(site)?;
    site.prepare()?;
    let mut running = parts::up(site, if chosen.is_empty() { parts::all() } else { &chosen });
    running.keep()?;
    let mut absent = Vec::new();
    for presence in &running.presences {
        match &presence.version {
            Ok(version) => println!("# {} {version}", presence.name),
            Err(error) => {
                println!("# {} is not there: {error}", presence.name);
                absent.push(presence.name);
            }
        }
    }
    for (name, value) in running.environment() {
        println!("export {name}={}", quote(value));
    }
    if absent.is_empty() { Ok(()) } else { Err(Failure(format!("not there: {}", absent.join(", ")))) }
}

fn status(site: &Site) {
    let alive = parts::alive(site);
    if alive.is_empty() {
        println!("# nothing runs");
        return;
    }
    for record in &alive {
        println!("# {} runs (pid {})", record.name, record.identity.pid);
    }
    // Another version's variables are the same, and tell of the other place.
    let first = parts::all().iter().filter(|part| part.stands_in_for().is_none());
    for (name, value) in first.filter_map(|part| part.environment(site).ok()).flatten() {
        println!("export {name}={}", quote(&value));
    }
}

fn quote(value: &str) -> String {
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:@".contains(&byte)) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        assert_eq!(quote("unix:///run/x.sock"), "unix:///run/x.sock");
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
    }
}
