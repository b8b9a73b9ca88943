//! The user and group that a worker runs as.

use hodei_worker_core::{Result, settings::Problems};
use nix::unistd::{Gid, Group, Uid, User};

use crate::options::ProcessOptions;

/// Whom a worker runs as.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    /// Name and home, where the user is known to the system.
    pub(crate) account: Option<(String, String)>,
}

/// Adds what is wrong with the user and group that are asked for.
pub(crate) fn check(options: &ProcessOptions, problems: &mut Problems) {
    let _ = resolve(options, problems);
}

/// Finds the user and group.
///
/// # Errors
/// When there are none of these names, or this host may not become them.
pub(crate) fn identity(options: &ProcessOptions) -> Result<Identity> {
    let mut problems = Problems::new();
    let identity = resolve(options, &mut problems);
    problems.into_result().map(|()| identity)
}

fn resolve(options: &ProcessOptions, problems: &mut Problems) -> Identity {
    let mut identity = Identity::default();
    if let Some(name) = &options.user {
        let found = match name.parse() {
            Ok(number) => Some((number, User::from_uid(Uid::from_raw(number)).ok().flatten())),
            Err(_) => User::from_name(name).ok().flatten().map(|user| (user.uid.as_raw(), Some(user))),
        };
        match found {
            None => problems.add("options.process.user", format!("there is no user `{name}` here")),
            Some((uid, user)) => {
                identity.uid = Some(uid);
                identity.gid = user.as_ref().map(|user| user.gid.as_raw());
                // The group of the same number may be anybody's.
                problems.require(
                    user.is_some() || options.group.is_some(),
                    "options.process.group",
                    format!("nothing is known of the user {uid} here; name the group too"),
                );
                identity.account = user.map(|user| (user.name, user.dir.to_string_lossy().into_owned()));
            }
        }
    }
    if let Some(name) = &options.group {
        let found = match name.parse() {
            Ok(number) => Some(Gid::from_raw(number)),
            Err(_) => Group::from_name(name).ok().flatten().map(|group| group.gid),
        };
        match found {
            None => problems.add("options.process.group", format!("there is no group `{name}` here")),
            Some(gid) => identity.gid = Some(gid.as_raw()),
        }
    }
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if !Uid::effective().is_root() {
        if identity.uid.is_some_and(|uid| uid != own.0) {
            problems.add("options.process.user", "only root can run a worker as another user");
        }
        if identity.gid.is_some_and(|gid| gid != own.1) {
            problems.add("options.process.group", "only root can run a worker as another group");
        }
        // Nothing to change then; even setting one's own groups needs root.
        (identity.uid, identity.gid) = (None, None);
    }
    identity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_a_number_of_no_user_needs_its_group() {
        let mut options = ProcessOptions { user: Some("4000000001".into()), ..ProcessOptions::default() };
        let paths = |options: &ProcessOptions| {
            let mut problems = Problems::new();
            check(options, &mut problems);
            let paths: Vec<_> = problems.iter().map(|problem| problem.path.clone()).collect();
            paths.iter().any(|path| path == "options.process.group")
        };
        assert!(paths(&options));
        options.group = Some(rustix::process::getegid().as_raw().to_string());
        assert!(!paths(&options));
    }
}
