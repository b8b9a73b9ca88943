use std::{path::PathBuf, pin::Pin, task::Poll};

use futures::{FutureExt as _, StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWrite};

use super::*;
use crate::{
    error::{Error, ErrorKind, Result},
    quantity::ByteSize,
};

use LogStream::{Stderr as E, Stdout as O};

fn chunk(stream: LogStream, bytes: impl Into<Bytes>) -> LogItem {
    LogItem::Chunk(LogChunk::new(Timestamp::UNIX_EPOCH, stream, bytes))
}

fn gap() -> LogItem {
    LogItem::Gap { reason: "it\nwas rotated".to_owned() }
}

/// With a position behind each chunk: how many came before.
fn log(items: impl IntoIterator<Item = LogItem>) -> Vec<LogItem> {
    let placed = items.into_iter().enumerate().map(|(n, item)| match item {
        LogItem::Chunk(chunk) => LogItem::Chunk(chunk.at(LogPosition::new((n + 1).to_string()))),
        gap => gap,
    });
    placed.collect()
}

fn streamed(items: Vec<LogItem>) -> impl futures::Stream<Item = Result<LogItem>> + Unpin {
    stream::iter(items.into_iter().map(Ok))
}

async fn lines(items: Vec<LogItem>, longest: u64) -> Vec<String> {
    let lines = LogLines::new(streamed(items)).at_most(ByteSize::new(longest));
    let shown = lines.map(|entry| match entry.unwrap() {
        LogEntry::Line(line) => {
            let mark = if line.stream == E { "!" } else { "" };
            let begin = if line.begins { "" } else { "…" };
            let end = match line.end {
                LineEnd::LineFeed => "",
                LineEnd::Cut => "…",
                LineEnd::Open => "?",
            };
            let at = line.position.as_ref().map_or(String::new(), |at| format!("@{at}"));
            format!("{mark}{begin}{}{end}{at}", line.text())
        }
        LogEntry::Gap { .. } => "GAP".to_owned(),
    });
    shown.collect().await
}

#[tokio::test]
async fn d8_lines_are_put_together_of_each_stream_by_itself() {
    let items = log([
        chunk(O, "whole\n"),
        chunk(O, "be"),
        chunk(E, "error\n"),
        chunk(O, "gin"),
        chunk(E, "an"),
        chunk(O, "\n"),
        chunk(E, "other\n"),
        chunk(O, "two\nthree\nfo"),
        gap(),
        chunk(O, "\n"),
        chunk(E, "open"),
        chunk(O, "open too"),
    ]);
    let expected = [
        "whole@1",
        // The other stream is in the middle of a line: who goes on after this would lose that.
        "!error",
        "begin",
        "!another@7",
        "two",
        "three",
        "fo?@8",
        "GAP",
        "@10",
        // Both are open when the log ends.
        "open too?",
        "!open?@12",
    ];
    assert_eq!(lines(items, 1000).await, expected);
}

#[tokio::test]
async fn d8_a_line_that_is_too_long_is_cut_in_the_same_places_however_it_comes() {
    let text = "0123456789abcdeé".repeat(4) + "end\nnext\n";
    let whole = lines(vec![chunk(O, text.clone())], 16).await;
    assert_eq!(whole[0], "0123456789abcde…", "not within a character");
    assert!(whole[1].starts_with("…é") && whole.len() == 6 && whole[5] == "next", "{whole:?}");
    let told: String = whole.iter().map(|piece| piece.replace('…', "")).collect();
    assert_eq!(told, text.replace('\n', ""));
    for size in 1..text.len() {
        let pieces = text.as_bytes().chunks(size).map(|piece| chunk(O, piece.to_vec())).collect();
        assert_eq!(lines(pieces, 16).await, whole, "in pieces of {size}");
    }
}

#[tokio::test]
async fn d8_an_error_passes_through_and_costs_nothing() {
    let broken = Error::new(ErrorKind::Unavailable, "so it is");
    let items = vec![Ok(chunk(O, "be")), Err(broken), Ok(chunk(O, "gin\n"))];
    let mut lines = LogLines::new(stream::iter(items));
    assert_eq!(lines.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(lines.next().await.unwrap().unwrap().line().unwrap().text(), "begin");
}

#[test]
fn d8_json_lines_are_parsed_and_others_are_text() {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let second = time("2026-01-02T03:04:05Z");
    for (line, level, message, at) in [
        (
            r#"{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"a"}"#,
            Some(LogLevel::Info),
            Some("a"),
            second,
        ),
        (r#" {"level":30,"time":1767323045000,"msg":"a"}"#, Some(LogLevel::Info), Some("a"), second),
        (
            "{\"ts\":1767323045,\"severity\":\"ERROR\",\"message\":\"\u{e9}\"}\r",
            Some(LogLevel::Error),
            Some("é"),
            second,
        ),
        (
            r#"{"ts":1767323045.25,"lvl":"warning","message":"\u00e9"}"#,
            Some(LogLevel::Warn),
            Some("é"),
            time("2026-01-02T03:04:05.25Z"),
        ),
        (r#"{"@timestamp":1767323045000000000,"log.level":"dbg"}"#, Some(LogLevel::Debug), None, second),
        (
            r#"{"timestamp":1767323045000000,"severity":2,"fields":{"message":"in"}}"#,
            Some(LogLevel::Fatal),
            Some("in"),
            second,
        ),
        (r#"{"time":"at noon","level":"loud","msg":1}"#, None, None, None),
        (
            r#"{"level":"info","level":"error","msg":"the last counts"}"#,
            Some(LogLevel::Error),
            Some("the last counts"),
            None,
        ),
    ] {
        let record = LogRecord::of(line.as_bytes());
        assert!(matches!(record, LogRecord::Json(_)), "{line}");
        assert_eq!((record.level(), record.message(), record.time()), (level, message, at), "{line}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    for line in
        ["plain", "", "[1]", "\"text\"", r#"{"msg":"cut"#, r#"{"a":1} {"b":2}"#, "{\"a\":\"\u{1}\"}", &deep]
    {
        let record = LogRecord::of(line.as_bytes());
        assert!(matches!(record, LogRecord::Text(_)), "{line}");
        assert_eq!(record.message(), Some(line));
    }
    assert_eq!(LogRecord::of(b"{\xff").message(), Some("{\u{fffd}"));
}

#[test]
fn d8_what_needs_no_unescaping_is_borrowed() {
    let line = br#"{"msg":"plain","path":"a\\b","list":[1,{"x":null}],"ok":true}"#;
    let LogRecord::Json(fields) = LogRecord::of(line) else { panic!() };
    let shown: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(shown, ["msg=plain", r"path=a\b", r#"list=[1,{"x":null}]"#, "ok=true"]);
    let inside = |text: &str| line.as_ptr_range().contains(&text.as_ptr());
    assert!(inside(fields.get("msg").unwrap().as_str().unwrap()));
    assert!(!inside(fields.get("path").unwrap().as_str().unwrap()));
}

#[tokio::test]
async fn d8_a_line_that_comes_in_chunks_is_parsed_whole() {
    let mut lines =
        LogLines::new(streamed(vec![chunk(O, r#"{"lvl":"w"#), chunk(E, "x\n"), chunk(O, "arn\"}\n")]));
    assert_eq!(lines.next().await.unwrap().unwrap().line().unwrap().record(), LogRecord::Text("x".into()));
    assert_eq!(lines.next().await.unwrap().unwrap().line().unwrap().record().level(), Some(LogLevel::Warn));
}

#[tokio::test]
async fn d8_a_log_is_copied_with_its_gaps_in_words() {
    let items = vec![chunk(O, "one\n"), chunk(E, "two\n"), chunk(O, "op"), gap(), chunk(E, "end")];
    let mut out = Vec::new();
    let copied = copy_logs(streamed(items.clone()), &mut out, LineStyle::default()).await.unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "one\ntwo\nop\n[gap: it was rotated]\nend\n");
    assert_eq!((copied.lines, copied.gaps, copied.bytes), (4, 1, 37));
    let mut out = Vec::new();
    let style = LineStyle::default().with_time().with_stream();
    copy_logs(streamed(items), &mut out, style).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("1970-01-01T00:00:00Z stdout one\n1970-01-01T00:00:00Z stderr two\n"), "{text}");
}

/// A writer that says when it is flushed.
struct Flushes(Vec<u8>, tokio::sync::mpsc::UnboundedSender<usize>);

impl AsyncWrite for Flushes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.0.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<std::io::Result<()>> {
        self.1.send(self.0.len()).unwrap();
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn d8_what_is_ready_is_flushed_together_and_at_once() {
    let (send, receive) = tokio::sync::mpsc::unbounded_channel();
    let receive = stream::unfold(receive, |mut receive| async move {
        let item: Option<LogItem> = receive.recv().await;
        item.map(|item| (Ok(item), receive))
    });
    let (flushed, mut flushes) = tokio::sync::mpsc::unbounded_channel();
    (0..10).for_each(|_| send.send(chunk(O, "line\n")).unwrap());
    let copying = tokio::spawn(async move {
        copy_logs(receive.boxed(), &mut Flushes(Vec::new(), flushed), LineStyle::default()).await
    });
    assert_eq!(flushes.recv().await, Some(50));
    send.send(chunk(O, "line\n")).unwrap();
    assert_eq!(flushes.recv().await, Some(55), "it does not wait for more");
    drop(send);
    assert_eq!(copying.await.unwrap().unwrap().lines, 11);
}

#[tokio::test]
async fn d8_a_slow_writer_slows_its_own_reader() {
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&taken);
    let endless = stream::repeat_with(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(chunk(O, vec![b'x'; 1023].into_iter().chain([b'\n']).collect::<Vec<u8>>()))
    });
    let (mut ours, mut theirs) = tokio::io::duplex(1024);
    let copying = tokio::spawn(async move { copy_logs(endless, &mut theirs, LineStyle::default()).await });
    let mut line = [0; 1024];
    for _ in 0..100 {
        ours.read_exact(&mut line).await.unwrap();
        assert!(line.ends_with(b"x\n"));
    }
    let taken = taken.load(std::sync::atomic::Ordering::Relaxed);
    assert!(taken <= 100 + 2 * 65, "{taken} lines were read for a writer that took 100");
    drop(ours);
    assert_eq!(copying.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
}

/// A folder that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("hodei-logs-{:016x}", fastrand::u64(..)));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }
    fn file(&self) -> PathBuf {
        self.0.join("log")
    }
    /// All files, the oldest first.
    fn text(&self) -> String {
        let parts = (0..100).rev().map(|number| match number {
            0 => self.file(),
            number => self.0.join(format!("log.{number}")),
        });
        parts.filter_map(|path| std::fs::read_to_string(path).ok()).collect()
    }
    async fn open(&self, options: LogFileOptions) -> LogFile {
        LogFile::open(self.file(), options).await.unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// What comes after a file's position, up to so many items.
fn rest(file: &LogFile, log: &[LogItem], until: usize) -> Vec<LogItem> {
    let from = file.position().map_or(0, |at| at.as_str().parse().unwrap());
    log[from.min(until)..until].to_vec()
}

/// Ends with an error, as the log of a provider that has gone does.
fn broken(items: Vec<LogItem>) -> impl futures::Stream<Item = Result<LogItem>> + Unpin {
    let gone = stream::iter([Err(Error::new(ErrorKind::Unavailable, "gone"))]);
    streamed(items).chain(gone)
}

fn numbered(count: usize) -> Vec<LogItem> {
    log((0..count).flat_map(|n| match n % 5 {
        0 => vec![
            chunk(O, format!("begin {n} ")),
            chunk(E, format!("error {n}\n")),
            chunk(O, format!("end {n}\n")),
        ],
        _ => vec![chunk(O, format!("line {n}\n"))],
    }))
}

async fn whole(log: &[LogItem]) -> String {
    let mut out = Vec::new();
    copy_logs(streamed(log.to_vec()), &mut out, LineStyle::default()).await.unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn d8_a_file_rotates_by_size_and_keeps_so_many_files() {
    let folder = Folder::new();
    let options = LogFileOptions::default().max_size(ByteSize::new(100)).max_files(3);
    let log = numbered(200);
    let copied = folder.open(options).await.copy(streamed(log.clone())).await.unwrap();
    let all = whole(&log).await;
    assert_eq!(copied.bytes, all.len() as u64);
    assert!(folder.text().len() <= 3 * 120 && all.ends_with(&folder.text()), "{}", folder.text());
    for name in ["log", "log.1", "log.2"] {
        let text = std::fs::read_to_string(folder.0.join(name)).unwrap();
        assert!(text.ends_with('\n') && all.contains(&format!("\n{text}")), "{name} begins within a line");
    }
    assert!(!folder.0.join("log.3").exists());
}

#[tokio::test]
async fn d8_a_file_goes_on_wherever_its_host_stopped() {
    let log = numbered(30);
    let all = whole(&log).await;
    for size in [60, 1 << 20] {
        let options = LogFileOptions::default().max_size(ByteSize::new(size)).max_files(100);
        for stop in 0..log.len() {
            let folder = Folder::new();
            for until in [stop, (stop + 3).min(log.len()), log.len()] {
                let mut file = folder.open(options).await;
                let items = rest(&file, &log, until);
                if until == log.len() {
                    file.copy(streamed(items)).await.unwrap();
                } else {
                    file.copy(broken(items)).await.unwrap_err();
                }
            }
            assert_eq!(folder.text(), all, "stopped after {stop}");
        }
    }
}

/// The host died after a part of this was written, and before it was noted.
#[tokio::test]
async fn d8_what_was_written_and_not_noted_is_not_written_again() {
    let log = numbered(30);
    let all = whole(&log).await;
    let folder = Folder::new();
    let options = LogFileOptions::default();
    folder.open(options).await.copy(broken(log[..20].to_vec())).await.unwrap_err();
    let (text, noted) = (folder.text(), std::fs::read(folder.0.join("log.position")).unwrap());
    for written in text.len()..all.len() {
        std::fs::write(folder.file(), &all[..written]).unwrap();
        std::fs::write(folder.0.join("log.position"), &noted).unwrap();
        let mut file = folder.open(options).await;
        let seen = folder.text();
        assert!(seen.ends_with('\n') && all.starts_with(&seen), "half a line is left of {written}");
        let items = rest(&file, &log, log.len());
        file.copy(streamed(items)).await.unwrap();
        assert_eq!(folder.text(), all, "{written} bytes were written");
    }
}

/// The host died at some moment of a rotation.
#[tokio::test]
async fn d8_a_rotation_that_was_not_finished_loses_and_repeats_nothing() {
    let log = numbered(40);
    let all = whole(&log).await;
    for noted_anew in [false, true] {
        for written in 0..40 {
            let folder = Folder::new();
            let options = LogFileOptions::default().max_size(ByteSize::new(200)).max_files(100);
            folder.open(options).await.copy(broken(log[..18].to_vec())).await.unwrap_err();
            let before = folder.text();
            for number in (0..10).rev() {
                let name = |number: usize| match number {
                    0 => folder.file(),
                    number => folder.0.join(format!("log.{number}")),
                };
                let _ = std::fs::rename(name(number), name(number + 1));
            }
            if noted_anew {
                let place = folder.0.join("log.position");
                let mut noted: serde_json::Value =
                    serde_json::from_slice(&std::fs::read(&place).unwrap()).unwrap();
                noted["size"] = 0.into();
                std::fs::write(&place, noted.to_string()).unwrap();
                std::fs::write(folder.file(), &all[before.len()..before.len() + written]).unwrap();
            }
            let mut file = folder.open(options).await;
            let items = rest(&file, &log, log.len());
            file.copy(streamed(items)).await.unwrap();
            assert_eq!(folder.text(), all, "{written}");
        }
    }
}

#[tokio::test]
async fn d8_a_copy_that_was_dropped_can_be_begun_again() {
    let log = numbered(10);
    let folder = Folder::new();
    let mut file = folder.open(LogFileOptions::default()).await;
    let items = streamed(log[..7].to_vec()).chain(stream::pending());
    let copying = file.copy(items.boxed());
    tokio::select! {
        biased;
        _ = copying => unreachable!("it does not end"),
        () = crate::testkit::eventually(std::time::Duration::from_secs(20), || async {
            let text = folder.text();
            if text.contains("line 3\n") { Ok(()) } else { Err(text) }
        }).map(Result::unwrap) => {}
    }
    let items = rest(&file, &log, log.len());
    file.copy(streamed(items)).await.unwrap();
    assert_eq!(folder.text(), whole(&log).await);
}

#[tokio::test]
async fn d8_without_positions_half_a_line_is_marked() {
    let folder = Folder::new();
    std::fs::write(folder.file(), "one\nhal").unwrap();
    let mut file = folder.open(LogFileOptions::default()).await;
    file.copy(streamed(vec![chunk(O, "two\n")])).await.unwrap();
    assert_eq!((folder.text().as_str(), file.position()), ("one\nhal [cut]\ntwo\n", None));
    assert!(!folder.0.join("log.position").exists());
}

#[tokio::test]
async fn d8_a_file_that_cannot_be_is_told_with_its_path() {
    let folder = Folder::new();
    let missing = folder.0.join("no/such/log");
    let error = LogFile::open(&missing, LogFileOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.context_value("path")), (ErrorKind::Config, missing.to_str()));
    std::fs::write(folder.0.join("log.position"), "nonsense").unwrap();
    let error = LogFile::open(folder.file(), LogFileOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
