use std::{fs, io::Read, path::PathBuf};

use hodei_worker_core::provider::{LogItem, LogOptions, LogStream};

use super::{
    LogWriter, Pump,
    format::{self, Kind},
    read::LogReader,
};
use crate::wire::LogPlan;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("hodei-logs-{:x}", fastrand::u64(..))))
    }
    fn plan(&self, max_size: u64, max_files: u32) -> LogPlan {
        LogPlan { folder: self.0.clone(), max_size, max_files }
    }
    fn read(&self, options: LogOptions) -> Vec<LogItem> {
        let mut reader = LogReader::open(self.0.clone(), options).unwrap();
        all(&mut reader)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn all(reader: &mut LogReader) -> Vec<LogItem> {
    let mut items = Vec::new();
    loop {
        let batch = reader.next().unwrap();
        if batch.is_empty() {
            return items;
        }
        items.extend(batch);
    }
}

fn bytes(items: &[LogItem]) -> Vec<u8> {
    items.iter().filter_map(LogItem::chunk).flat_map(|chunk| chunk.bytes.to_vec()).collect()
}

fn gaps(items: &[LogItem]) -> usize {
    items.iter().filter(|item| item.chunk().is_none()).count()
}

fn write(log: &mut LogWriter, kind: Kind, source: impl Read) {
    let mut pump = Pump::new(source, kind);
    while pump.pump(log) {}
}

#[test]
fn p1_output_comes_back_byte_for_byte_by_lines_and_streams() {
    let folder = Folder::new();
    let mut log = LogWriter::new(folder.plan(1 << 20, 3));
    let odd = b"one\n\xff\xfe\0two\n\nno end";
    write(&mut log, Kind::Stdout, &odd[..]);
    write(&mut log, Kind::Stderr, &b"wrong\n"[..]);
    let items = folder.read(LogOptions::all().only(LogStream::Stdout));
    assert_eq!(bytes(&items), odd);
    assert_eq!(items.len(), 4, "a chunk per line");
    assert_eq!(bytes(&folder.read(LogOptions::all().only(LogStream::Stderr))), b"wrong\n");
}

#[test]
fn p1_long_lines_come_in_parts_and_bulk_by_lines() {
    let folder = Folder::new();
    let mut log = LogWriter::new(folder.plan(1 << 30, 3));
    let mut source = vec![b'x'; 100_000];
    source.push(b'\n');
    for n in 0..20_000 {
        source.extend_from_slice(format!("line {n}\n").as_bytes());
    }
    write(&mut log, Kind::Stdout, &source[..]);
    let items = folder.read(LogOptions::all());
    assert_eq!(bytes(&items), source);
    let broken = items.iter().filter_map(LogItem::chunk).filter(|chunk| !chunk.bytes.ends_with(b"\n"));
    assert!(broken.count() <= 100_000 / 8192 + 1, "only the long line is in parts");
}

#[test]
fn p1_the_last_lines_are_counted_over_files_and_streams() {
    let folder = Folder::new();
    let mut log = LogWriter::new(folder.plan(4096, 100));
    for n in 0..1000 {
        let kind = if n % 2 == 0 { Kind::Stdout } else { Kind::Stderr };
        write(&mut log, kind, format!("line {n}\n").as_bytes());
    }
    assert!(format::numbers(&folder.0).unwrap().len() > 3);
    let text = |options| String::from_utf8(bytes(&folder.read(options))).unwrap();
    assert_eq!(text(LogOptions::all().tail(3)), "line 997\nline 998\nline 999\n");
    assert_eq!(text(LogOptions::all().tail(2).only(LogStream::Stdout)), "line 996\nline 998\n");
    assert_eq!(text(LogOptions::all().tail(0)), "");
    assert_eq!(text(LogOptions::all().tail(5000)).lines().count(), 1000);
}

#[test]
fn p1_since_a_time() {
    let folder = Folder::new();
    let mut log = LogWriter::new(folder.plan(1 << 20, 3));
    write(&mut log, Kind::Stdout, &b"before\n"[..]);
    let between = hodei_worker_core::Clock::now(&hodei_worker_core::SystemClock);
    write(&mut log, Kind::Stdout, &b"after\n"[..]);
    assert_eq!(bytes(&folder.read(LogOptions::all().since(between))), b"after\n");
}

#[test]
fn p1_a_reader_that_was_outrun_is_told() {
    let folder = Folder::new();
    let mut log = LogWriter::new(folder.plan(4096, 2));
    write(&mut log, Kind::Stdout, &b"first\n"[..]);
    let mut reader = LogReader::open(folder.0.clone(), LogOptions::all()).unwrap();
    assert_eq!(bytes(&all(&mut reader)), b"first\n");
    for n in 0..2000 {
        write(&mut log, Kind::Stdout, format!("line {n}\n").as_bytes());
    }
    assert_eq!(format::numbers(&folder.0).unwrap().len(), 2);
    let rest = all(&mut reader);
    assert_eq!(gaps(&rest), 1);
    assert!(bytes(&rest).ends_with(b"line 1999\n"));
}

#[test]
fn p1_a_later_run_goes_on_and_damage_costs_only_its_file() {
    let folder = Folder::new();
    write(&mut LogWriter::new(folder.plan(4096, 9)), Kind::Stdout, &b"one\n"[..]);
    write(&mut LogWriter::new(folder.plan(4096, 9)), Kind::Stdout, &b"two\n"[..]);
    assert_eq!(bytes(&folder.read(LogOptions::all())), b"one\ntwo\n");
    let first = format::path(&folder.0, 1);
    let mut content = fs::read(&first).unwrap();
    let whole = content.len();
    content.truncate(whole - 2);
    fs::write(&first, &content).unwrap();
    fs::copy(&first, format::path(&folder.0, 3)).unwrap();
    let items = folder.read(LogOptions::all());
    assert_eq!((bytes(&items), gaps(&items)), (b"one\none\n".to_vec(), 2), "cut off, and a number missing");
    content[8 + 12] ^= 1;
    fs::write(&first, &content).unwrap();
    let items = folder.read(LogOptions::all());
    assert_eq!((bytes(&items), gaps(&items)), (b"one\n".to_vec(), 2), "damaged, and a number missing");
}

/// Whoever wrote was killed in the middle of it.
#[test]
fn p1_half_a_record_costs_nothing_of_a_later_run() {
    for what in ["cut", "damaged"] {
        let folder = Folder::new();
        write(&mut LogWriter::new(folder.plan(4096, 9)), Kind::Stdout, &b"one\ntwo\n"[..]);
        let first = format::path(&folder.0, 1);
        let mut content = fs::read(&first).unwrap();
        for kept in format::HEADER + 4..content.len() - format::MAGIC.len() {
            let _ = fs::remove_file(format::path(&folder.0, 2));
            if what == "cut" {
                fs::write(&first, &content[..format::MAGIC.len() + kept]).unwrap();
            } else {
                content[format::MAGIC.len() + format::HEADER + 4 + 12] ^= 1;
                fs::write(&first, &content).unwrap();
                content[format::MAGIC.len() + format::HEADER + 4 + 12] ^= 1;
            }
            write(&mut LogWriter::new(folder.plan(4096, 9)), Kind::Stdout, &b"three\n"[..]);
            write(&mut LogWriter::new(folder.plan(4096, 9)), Kind::Stdout, &b"four\n"[..]);
            let items = folder.read(LogOptions::all());
            let text = String::from_utf8(bytes(&items)).unwrap();
            assert_eq!(text, "one\nthree\nfour\n", "{what} after {kept}");
            let whole = what == "cut" && kept == format::HEADER + 4;
            assert_eq!(gaps(&items), usize::from(!whole), "{what} after {kept}");
        }
    }
}

#[test]
fn p1_the_last_gap_is_told_too() {
    let folder = Folder::new();
    fs::write(&folder.0, "in its place").unwrap();
    let mut log = LogWriter::new(folder.plan(4096, 9));
    write(&mut log, Kind::Stdout, &b"lost\n"[..]);
    fs::remove_file(&folder.0).unwrap();
    log.end();
    let items = folder.read(LogOptions::all());
    assert_eq!((bytes(&items), gaps(&items)), (Vec::new(), 1));
}

#[test]
fn p1_a_reader_that_is_behind_when_all_is_removed_is_told() {
    let folder = Folder::new();
    let mut log = LogWriter::new(folder.plan(4096, 9));
    for n in 0..500 {
        write(&mut log, Kind::Stdout, format!("line {n}\n").as_bytes());
    }
    let mut reader = LogReader::open(folder.0.clone(), LogOptions::all()).unwrap();
    assert_eq!(gaps(&reader.next().unwrap()), 0);
    fs::remove_dir_all(&folder.0).unwrap();
    assert_eq!(gaps(&all(&mut reader)), 1);
}

#[test]
fn l6_folders_of_others_are_not_taken_for_lost_logs() {
    let folder = Folder::new();
    let (logs, state) = (folder.0.join("logs"), folder.0.join("state"));
    fs::create_dir_all(&state).unwrap();
    let ours = super::home(&logs, &state).unwrap();
    let theirs = logs.join("access");
    fs::create_dir_all(&theirs).unwrap();
    fs::write(theirs.join("log"), "theirs").unwrap();
    let lost = logs.join("0123456789ab");
    fs::create_dir_all(&lost).unwrap();
    fs::write(lost.join("state"), serde_json::to_vec(&folder.0.join("gone")).unwrap()).unwrap();
    super::sweep_lost(&ours, std::time::Duration::ZERO, hodei_worker_core::Timestamp::MAX);
    assert!(ours.exists() && theirs.join("log").exists());
    assert!(!lost.exists());
}
