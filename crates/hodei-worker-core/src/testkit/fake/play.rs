use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::mpsc,
};

use crate::{
    credential::SecretMaterial,
    model::{Mount, MountSource},
    provider::LogStream,
    quantity::ByteSize,
    status::{ExitStatus, FailureClass},
    testkit::{Program, program::FLOOD_LINE},
};

/// What a program of the fake sees of its surroundings.
#[derive(Clone, Default)]
pub(super) struct World {
    pub(super) environment: BTreeMap<String, String>,
    pub(super) arguments: Vec<String>,
    pub(super) working_dir: String,
    pub(super) files: BTreeMap<String, SecretMaterial>,
    pub(super) mounts: Vec<Mount>,
    pub(super) memory_limit: Option<ByteSize>,
    pub(super) pids_limit: Option<u64>,
    pub(super) volumes: Volumes,
}

/// What is in volumes, by volume and path.
pub(super) type Volumes = Arc<Mutex<BTreeMap<(String, String), Vec<u8>>>>;

impl World {
    /// The volume that a path lies in, with the path inside of it.
    fn volume(&self, path: &str) -> Option<(String, String)> {
        self.mounts.iter().find_map(|mount| match &mount.source {
            MountSource::Volume { name } => {
                Some((name.clone(), path.strip_prefix(&mount.target)?.to_owned()))
            }
            _ => None,
        })
    }

    fn write(&self, path: &str, bytes: &[u8]) -> bool {
        let Some(place) = self.volume(path) else { return false };
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner).insert(place, bytes.to_vec());
        true
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        if let Some(secret) = self.files.get(path) {
            return Some(secret.expose().to_vec());
        }
        if let Some(place) = self.volume(path) {
            return self.volumes.lock().unwrap_or_else(PoisonError::into_inner).get(&place).cloned();
        }
        self.mounts.iter().find_map(|mount| match &mount.source {
            MountSource::Bind { path: host } if path.starts_with(&mount.target) => {
                std::fs::read(format!("{host}{}", &path[mount.target.len()..])).ok()
            }
            _ => None,
        })
    }
}

/// What a program is connected to.
pub(super) struct Io<'a> {
    pub(super) write: &'a (dyn Fn(LogStream, Bytes) + Send + Sync),
    pub(super) term: mpsc::UnboundedReceiver<()>,
    pub(super) stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
}

/// The program in a command of the fake's.
pub(super) fn program(command: &[String]) -> Option<Program> {
    match command {
        [fake, program, ..] if fake == "fake" => serde_json::from_str(program).ok(),
        _ => None,
    }
}

pub(super) type Ending = (Option<ExitStatus>, Option<FailureClass>);

pub(super) fn exited(code: i32) -> Ending {
    (Some(ExitStatus::Code(code)), (code != 0).then_some(FailureClass::Application))
}

/// Plays a program to its end. It is killed by being dropped.
pub(super) async fn play(program: &Program, world: &World, mut io: Io<'_>) -> Ending {
    let say = |text: String| (io.write)(LogStream::Stdout, Bytes::from(text));
    match program {
        Program::Exit(code) => {
            say("run\n".to_owned());
            tokio::task::yield_now().await;
            return exited(*code);
        }
        Program::Print { stdout, stderr } => {
            (io.write)(LogStream::Stdout, Bytes::copy_from_slice(stdout));
            (io.write)(LogStream::Stderr, Bytes::copy_from_slice(stderr));
        }
        Program::ObeyTerm(code) => {
            say("ready\n".to_owned());
            io.term.recv().await;
            return exited(*code);
        }
        Program::IgnoreTerm => {
            say("ready\n".to_owned());
            while io.term.recv().await.is_some() {
                say("term\n".to_owned());
            }
            return std::future::pending().await;
        }
        Program::Flood(bytes) => {
            let line = Bytes::from_static(FLOOD_LINE.as_bytes());
            for _ in 0..bytes / line.len() {
                (io.write)(LogStream::Stdout, line.clone());
            }
            (io.write)(LogStream::Stdout, line.slice(..bytes % line.len()));
        }
        Program::Lines(count) => {
            for n in 0..*count {
                say(format!("line {n}\n"));
                tokio::task::yield_now().await;
            }
            io.term.recv().await;
        }
        Program::Environment(name) => say(world.environment.get(name).cloned().unwrap_or_default()),
        Program::Arguments => world.arguments.iter().for_each(|word| say(format!("<{word}>\n"))),
        Program::WorkingDirectory => say(format!("{}\n", world.working_dir)),
        Program::File(path) => match world.read(path) {
            Some(bytes) => (io.write)(LogStream::Stdout, bytes.into()),
            None => return exited(1),
        },
        Program::Write(path) => {
            if !world.write(path, b"written") {
                return exited(3);
            }
        }
        Program::Fork(count) => {
            if world.pids_limit.is_some_and(|limit| limit <= *count as u64) {
                return exited(2);
            }
            say("all\n".to_owned());
            io.term.recv().await;
        }
        Program::Echo => {
            let mut buffer = vec![0; 4096];
            while let Some(stdin) = &mut io.stdin
                && let Ok(read @ 1..) = stdin.read(&mut buffer).await
            {
                (io.write)(LogStream::Stdout, Bytes::copy_from_slice(&buffer[..read]));
            }
        }
        Program::Burn => {
            say("ready\n".to_owned());
            return std::future::pending().await;
        }
        Program::Eat => {
            if world.memory_limit.is_some() {
                return (Some(ExitStatus::Signal(9)), Some(FailureClass::OutOfMemory));
            }
            return std::future::pending().await;
        }
        Program::Missing => return (None, Some(FailureClass::CommandNotFound)),
    }
    exited(0)
}
