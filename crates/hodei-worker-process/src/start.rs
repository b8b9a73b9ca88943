//! Starting: exactly once per run, decided by the supervisor's claim.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use hodei_worker_core::{Error, ErrorKind, Result, Retry, WorkerRef, provider::StartOptions};

use crate::{
    bury::RunState,
    error,
    host::{Host, Launcher, blocking},
    layout::RunKey,
    lock,
    options::{ProcessOptions, signal_number},
    secrets::{self, Secrets},
    supervise::MARKER,
    user::{self, Identity},
    wire::{End, GroupPlan, Launch, LogPlan, Reply, Stored, millis},
};

/// `SIGTERM`, unless the worker's options name another.
const DEFAULT_SIGNAL: i32 = 15;

impl Host {
    pub(crate) async fn start(self: &Arc<Self>, worker: &WorkerRef, options: &StartOptions) -> Result<()> {
        loop {
            let stored = self.stored(worker)?.ok_or_else(|| Error::worker_not_found(worker))?;
            let key = match self.next_run(&stored, options).await? {
                Next::Begun(key) => key,
                Next::Begin(key) => match self.attempt(&stored, &key).await? {
                    Reply::Started => return Ok(()),
                    Reply::Failed(failure) => return Err(failure.to_error()),
                    Reply::Full(failure) => {
                        return Err(failure.to_error().with_retry(Retry::Safe { after: None }));
                    }
                    Reply::Gone => return Err(Error::worker_not_found(worker)),
                    Reply::Broken { what, errno } => {
                        return Err(error::broken("the worker's supervisor could not begin", &what, errno));
                    }
                    Reply::Taken => key,
                },
            };
            if self.settle(&key).await? {
                return Ok(());
            }
        }
    }

    /// Starts a run, unless another attempt has taken it.
    async fn attempt(self: &Arc<Self>, stored: &Stored, key: &RunKey) -> Result<Reply> {
        let secrets = self.resolve(&stored.config).await?;
        let permit = Arc::clone(&self.starting).acquire_owned().await;
        let (host, stored, run) = (Arc::clone(self), stored.clone(), key.clone());
        blocking(move || {
            let _permit = permit;
            // Secrets are not written before their turn has come: whoever waits may be dropped.
            let launch = host.launch(&stored, &run, &secrets)?;
            let files = launch.secrets.clone();
            let reply = match &host.launcher {
                Launcher::Attached(_) => host.start_attached(&run, launch),
                Launcher::Supervised(program) => {
                    host.fork_server.start(program, host.layout.root(), &run, &launch)
                }
            };
            discard_unless_started(&reply, files.as_deref());
            reply
        })
        .await
    }

    /// The run that this start begins or has begun already.
    async fn next_run(self: &Arc<Self>, stored: &Stored, options: &StartOptions) -> Result<Next> {
        let creation = stored.creation();
        let last = self.last_run(&creation)?;
        let after = match &options.after {
            None => 0,
            Some(id) => match creation.run_of(id) {
                Some(run) => run,
                // Another creation's: whatever ran since is a later one.
                None if last > 0 => return Ok(Next::Begun(creation.run(last))),
                None => return Err(unknown_run(id.as_str())),
            },
        };
        if after > last {
            return Err(unknown_run(&options.after.as_ref().map(ToString::to_string).unwrap_or_default()));
        }
        if after < last {
            return Ok(Next::Begun(creation.run(last)));
        }
        if last == 0 {
            return Ok(Next::Begin(creation.run(1)));
        }
        match self.settled_state(&creation.run(last)).await? {
            RunState::Over(..) => Ok(Next::Begin(creation.run(last + 1))),
            // What is there now is looked at once more.
            RunState::Gone => Ok(Next::Begun(creation.run(last))),
            _ => Err(Error::new(ErrorKind::Conflict, "the run that this start is to follow still goes on")
                .with_context("run", creation.run(last).id())
                .with_help("stop the worker first")),
        }
    }

    /// Waits until a run has been started, by whomever, and reports it as if we had. `false` when whoever was about to
    /// is gone, and it is to be tried again.
    async fn settle(self: &Arc<Self>, key: &RunKey) -> Result<bool> {
        let worker = &key.creation.worker;
        let changes = self.notices.of_worker(&Self::topic(worker));
        let (claim, lock) = (self.layout.claim(key), self.layout.lock(key));
        loop {
            let stored = self.stored(worker)?.ok_or_else(|| Error::worker_not_found(worker))?;
            if stored.nonce != key.creation.nonce {
                return Err(Error::worker_not_found(worker));
            }
            let held =
                lock::is_held(&lock).map_err(|error| error::file("looking at a run's lock", &lock, error))?;
            if claim.exists() {
                match self.settled_state(key).await? {
                    RunState::Over(exit, _) => {
                        return match exit.end {
                            End::Failed(failure) => Err(failure.to_error()),
                            _ => Ok(true),
                        };
                    }
                    RunState::Running(_) | RunState::Lost(_) => return Ok(true),
                    // The claim was given back, or the worker deleted.
                    RunState::Gone => continue,
                    RunState::Starting => {}
                }
            } else if !held {
                return Ok(false);
            }
            changes.changed().await?;
        }
    }

    /// What the supervisor is told.
    fn launch(&self, stored: &Stored, key: &RunKey, secrets: &Secrets) -> Result<Launch> {
        let config = &stored.config;
        let options = config.options::<ProcessOptions>()?.unwrap_or_default();
        let identity = user::identity(&options)?;
        let folder = self.layout.creation(&key.creation).join(secrets::folder_name(key.run));
        let folder = secrets.write(folder, &identity)?;
        let mut environment = self.whole_environment(stored, &identity, secrets, folder.as_deref());
        let mark = key.marker(self.installation.as_str());
        environment.push((MARKER.into(), mark.clone()));
        Ok(Launch {
            command: config.command_line().map(str::to_owned).collect(),
            environment,
            boot: self.boot.clone(),
            mark,
            working_dir: config.working_dir.as_ref().map_or_else(|| PathBuf::from("/"), PathBuf::from),
            uid: identity.uid,
            gid: identity.gid,
            stop_signal: options.stop_signal.as_deref().and_then(signal_number).unwrap_or(DEFAULT_SIGNAL),
            stop_grace_ms: millis(config.stop_grace.unwrap_or(self.settings.stop_grace).get()),
            attached: matches!(self.launcher, Launcher::Attached(_)),
            secrets: folder,
            logs: LogPlan {
                folder: self.log_folder(&key.creation),
                max_size: self.settings.logs.max_size.bytes(),
                max_files: self.settings.logs.max_files,
            },
            groups: match (self.limits.plan(key, &config.resources), &self.launcher) {
                // To move a process that runs already takes the kernel longer than to start one, and contains less
                // than the mark does; so only for limits.
                (plan, Launcher::Attached(_)) if !plan.is_limiting() => GroupPlan::default(),
                (plan, _) => plan,
            },
            address_space: self.limits.address_space(&config.resources),
        })
    }

    /// The variables of a worker: what it inherits, its account's, what is configured, and its secrets.
    pub(crate) fn whole_environment(
        &self,
        stored: &Stored,
        identity: &Identity,
        secrets: &Secrets,
        files: Option<&Path>,
    ) -> Vec<(String, String)> {
        let mut all = self.environment(stored, identity);
        let visible = |text: &hodei_worker_core::credential::SecretMaterial| {
            text.expose_str().unwrap_or_default().to_owned()
        };
        all.extend(secrets.variables.iter().map(|(name, text)| (name.clone(), visible(text))));
        all.extend(files.map(|folder| (secrets::FOLDER.to_owned(), folder.display().to_string())));
        all
    }

    /// The variables of a worker, without its secrets: what it inherits, its account's, and what is configured.
    fn environment(&self, stored: &Stored, identity: &Identity) -> Vec<(String, String)> {
        let mut all = std::collections::BTreeMap::new();
        for name in &self.settings.inherit {
            if let Ok(value) = std::env::var(name) {
                all.insert(name.clone(), value);
            }
        }
        all.entry("PATH".into()).or_insert_with(|| "/usr/local/bin:/usr/bin:/bin".into());
        if let Some((user, home)) = &identity.account {
            all.insert("USER".into(), user.clone());
            all.insert("HOME".into(), home.clone());
        }
        all.extend(stored.config.environment.clone());
        all.into_iter().collect()
    }
}

/// What a start is to do.
enum Next {
    Begin(RunKey),
    Begun(RunKey),
}

/// Removes the secret files of an attempt that began nothing. After a silence the worker may yet begin, and needs them;
/// then they are removed with the run.
fn discard_unless_started(reply: &Result<Reply>, secrets: Option<&Path>) {
    let may_begin = match reply {
        Ok(reply) => *reply == Reply::Started,
        Err(error) => error.kind() == ErrorKind::Unexpected,
    };
    if let Some(secrets) = secrets.filter(|_| !may_begin) {
        let _ = crate::files::remove_tree(secrets);
    }
}

fn unknown_run(id: &str) -> Error {
    Error::new(ErrorKind::Conflict, "the worker has no run that this start could follow")
        .with_context("after", id)
        .with_help("take `after` from the worker's status")
}
