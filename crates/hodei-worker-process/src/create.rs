//! Creation: a folder that appears whole, by rename, under the worker's fixed name.

use std::{fs, path::Path};

use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerConfig, WorkerHandle, WorkerRef,
    capability::needed_by,
    model::{IntentMark, Ownership, SecretTarget},
    provider::CreateOptions,
    settings::Problems,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::{
    error, files,
    folders::passable,
    host::Host,
    layout::Creation,
    options::ProcessOptions,
    proc, user,
    wire::{ProcessId, Stored},
};

/// A creation that is not whole yet, with its maker: when that is gone, nobody will complete it.
fn half_name(creation: &Creation) -> String {
    format!("{creation}.{}", maker())
}

/// This process, as [`is_abandoned`] reads it at the end of a name.
pub(crate) fn maker() -> String {
    let start = proc::own().map_or(0, |own| own.start);
    format!("{}-{start}", std::process::id())
}

/// Whether the maker of a half creation is gone.
pub(crate) fn is_abandoned(name: &str) -> bool {
    let maker = name.rsplit_once('.').and_then(|(_, maker)| maker.split_once('-'));
    let maker =
        maker.and_then(|(pid, start)| Some(ProcessId { pid: pid.parse().ok()?, start: start.parse().ok()? }));
    maker.is_some_and(|maker| !proc::is_alive(maker))
}

impl Host {
    pub(crate) fn create(&self, config: &WorkerConfig, options: &CreateOptions) -> Result<WorkerHandle> {
        let worker = WorkerRef { id: config.worker_id.clone(), generation: options.generation };
        let fingerprint = config.fingerprint();
        // What exists already is judged by what it was made of, not by what the machine is like today.
        if let Some(stored) = self.stored(&worker)? {
            return self.same(stored, &fingerprint);
        }
        self.check(config)?;
        let stored = self.describe(config, &worker, options.intent.clone(), fingerprint.clone());
        let creation = stored.creation();
        let new = self.layout.dir("new").join(half_name(&creation));
        let published = self.publish(&stored, &creation, &new);
        if !matches!(published, Ok(true)) {
            let _ = fs::remove_dir_all(&new);
        }
        if published? {
            return Ok(WorkerHandle::new(self.info.name.clone(), worker, creation.to_string()));
        }
        match self.stored(&worker)? {
            Some(stored) => self.same(stored, &fingerprint),
            None => Err(Error::new(ErrorKind::Conflict, "the worker is being deleted at this moment")
                .with_retry(hodei_worker_core::Retry::Safe { after: None })),
        }
    }

    fn same(&self, stored: Stored, fingerprint: &str) -> Result<WorkerHandle> {
        if stored.ownership.fingerprint.as_deref() != Some(fingerprint) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "this generation of the worker exists with another configuration",
            )
            .with_help("delete it, or create the next generation"));
        }
        let creation = stored.creation();
        Ok(WorkerHandle::new(self.info.name.clone(), creation.worker.clone(), creation.to_string()))
    }

    fn describe(
        &self,
        config: &WorkerConfig,
        worker: &WorkerRef,
        intent: Option<IntentMark>,
        fingerprint: String,
    ) -> Stored {
        let mut ownership = Ownership::new(self.installation.clone(), worker.clone());
        ownership.intent = intent;
        ownership.fingerprint = Some(fingerprint);
        let nonce = Creation::new(worker.clone()).nonce;
        Stored { nonce, created: self.clock.now(), ownership, config: config.clone() }
    }

    /// Whether it was published; if not, another is there.
    fn publish(&self, stored: &Stored, creation: &Creation, new: &Path) -> Result<bool> {
        let failed = |error| error::file("writing a worker's configuration", new, error);
        passable(new).and_then(|()| passable(&new.join(&creation.nonce))).map_err(failed)?;
        // Nobody looks into the folder before it is published.
        files::write_new(&new.join("config.json"), stored).map_err(failed)?;
        let target = self.layout.worker(&creation.worker);
        match renameat_with(CWD, new, CWD, &target, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY) => Ok(false),
            Err(errno) => Err(error::file("publishing a worker", &target, errno.into())),
        }
    }

    /// Refuses what cannot be run here, all of it at once.
    fn check(&self, config: &WorkerConfig) -> Result<()> {
        self.capabilities.require(needed_by(config))?;
        let mut problems = Problems::new();
        if let Some(folder) = &config.working_dir {
            problems.require(
                Path::new(folder).is_dir(),
                "working_dir",
                format!("`{folder}` is not a folder of this machine"),
            );
        }
        for (n, secret) in config.secrets.iter().enumerate() {
            if let SecretTarget::File { path } = &secret.target {
                problems.require(
                    !path.starts_with('/'),
                    format!("secrets[{n}].target"),
                    format!(
                        "`{path}` would lie among the machine's own files; write a relative path, it lies below \
                         `$HODEI_SECRETS_DIR`"
                    ),
                );
            }
        }
        match config.options::<ProcessOptions>() {
            Ok(Some(options)) => user::check(&options, &mut problems),
            Ok(None) => {}
            Err(wrong) => problems.nest("", wrong.problems().cloned().unwrap_or_default()),
        }
        problems.into_result()
    }
}
