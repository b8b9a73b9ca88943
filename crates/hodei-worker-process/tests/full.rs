//! On file systems without room. Only root can make some.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod common;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use common::{Bed, end, is_alive, kill, not_root, pids, script, start, status, text, trials, until};
use hodei_worker_core::{
    WorkerPhase, WorkerProvider as _, provider::StopOptions, quantity::ByteSize, status::FailureClass,
};
use libtest_mimic::{Arguments, Completion};

fn main() -> ExitCode {
    hodei_worker_process::init();
    let trials = trials![
        p1_on_a_full_disk_the_newest_output_is_kept,
        l6_without_room_an_end_that_nobody_saw_stays_what_it_was,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A file system of 256 KiB.
struct Small(PathBuf);

impl Small {
    fn at(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256k,mode=0755", "tmpfs"]).arg(&folder);
        assert!(mount.status().unwrap().success());
        Self(folder)
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("fill")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // What still holds a file there lets go of it by itself.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

async fn p1_on_a_full_disk_the_newest_output_is_kept() -> Completion {
    if let Some(ignored) = not_root() {
        return ignored;
    }
    let mut bed = Bed::new();
    let disk = Small::at(bed.folder.join("disk"));
    bed.settings.log_dir = Some(disk.0.join("logs"));
    bed.settings.logs.max_size = ByteSize::kib(16);
    bed.settings.logs.max_files = 1000;
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", "seq 1 50000; echo last")).await;
    end(&provider, &worker).await;
    let text = text(&provider, &worker).await;
    assert!(text.ends_with("\n49999\n50000\nlast\n"), "{}", &text[text.len().saturating_sub(100)..]);
    drop(provider);
    bed.clean().await;
    Completion::Completed
}

async fn l6_without_room_an_end_that_nobody_saw_stays_what_it_was() -> Completion {
    if let Some(ignored) = not_root() {
        return ignored;
    }
    let mut bed = Bed::new();
    let memory = Small::at(bed.folder.join("state"));
    bed.settings.log_dir = Some(Path::new(&bed.folder).join("logs"));
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", "exec sleep 1000")).await;
    let (process, supervisor) = pids(&bed, &worker);
    memory.fill();
    kill(supervisor);
    until(|| !is_alive(supervisor)).await;
    kill(process);
    until(|| !is_alive(process)).await;
    let seen = status(&provider, &worker).await;
    assert_eq!((seen.phase, seen.failure), (WorkerPhase::Exited, Some(FailureClass::Vanished)));
    assert_eq!(status(&provider, &worker).await.times.finished, seen.times.finished, "it ended twice");
    provider.stop_worker(&worker, &StopOptions::default()).await.unwrap();
    drop(provider);
    fs::remove_file(memory.0.join("fill")).unwrap();
    bed.clean().await;
    Completion::Completed
}
