use futures::StreamExt as _;

use super::{
    CaseContext, CaseFailure, CaseResult, PATIENCE, Program, cases, check, check_eq, eventually, fails_with,
};
use crate::{
    error::ErrorKind,
    model::WorkerRef,
    provider::{
        DeleteOptions, LogChunk, LogFile, LogFileOptions, LogItem, LogOptions, LogPosition, LogStream,
        StartOptions, StopOptions,
    },
    testkit::program::FLOOD_LINE,
};

cases! {
    d8_logs_of_one_that_has_exited [Logs, KeepsEnded];
    d8_logs_are_bytes [Logs, RawBytes, KeepsEnded];
    d8_logs_without_a_final_line_feed [Logs, KeepsEnded];
    d8_logs_with_empty_lines [Logs, KeepsEnded];
    d8_logs_of_ten_megabytes [Logs, KeepsEnded];
    d8_logs_of_one_very_long_line [Logs, KeepsEnded];
    d8_logs_tell_output_from_errors [Logs, SplitStreams, KeepsEnded];
    d8_logs_since_a_time [Logs];
    d8_logs_of_the_last_lines [Logs];
    d8_logs_go_on_after_a_position [Logs, LogPositions, KeepsEnded];
    d8_logs_go_on_after_a_position_over_runs [Logs, LogPositions, RestartInPlace, KeepsStopped];
    d8_logs_after_a_position_of_another_are_refused [Logs, LogPositions];
    d8_a_file_goes_on_with_another_host [Logs, LogPositions, RestartInPlace, KeepsStopped];
    d8_logs_are_followed_live_until_it_is_deleted [Logs];
    d8_logs_are_followed_over_restarts [Logs, RestartInPlace, KeepsEnded];
    d8_logs_of_one_that_never_ran_are_empty [Logs, DeferredStart];
    d8_logs_of_what_is_missing_are_not_found [Logs];
    d8_logs_go_on_over_runs [Logs, RestartInPlace, KeepsEnded];
    d8_two_readers_read_the_same [Logs, KeepsEnded];
}

async fn chunks(cx: &CaseContext, worker: &WorkerRef, options: &LogOptions) -> CaseResult<Vec<LogChunk>> {
    let mut logs = cx.provider().worker_logs(worker, options).await?;
    let mut all = Vec::new();
    while let Some(item) = logs.next().await {
        match item? {
            LogItem::Chunk(chunk) => all.push(chunk),
            LogItem::Gap { reason } => return Err(CaseFailure::new(format!("a gap: {reason}"))),
        }
    }
    Ok(all)
}

fn join<'a>(chunks: impl IntoIterator<Item = &'a LogChunk>) -> Vec<u8> {
    chunks.into_iter().flat_map(|chunk| chunk.bytes.iter().copied()).collect()
}

async fn printed(cx: &CaseContext, stdout: &[u8], stderr: &[u8]) -> CaseResult<WorkerRef> {
    let program = Program::Print { stdout: stdout.to_vec(), stderr: stderr.to_vec() };
    let worker = cx.run("a", &program).await?;
    cx.ended(&worker).await?;
    Ok(worker)
}

async fn d8_logs_of_one_that_has_exited(cx: CaseContext) -> CaseResult {
    let worker = printed(&cx, b"one\ntwo\n", b"").await?;
    let all = chunks(&cx, &worker, &LogOptions::all()).await?;
    check_eq!(all.iter().map(|chunk| chunk.text().into_owned()).collect::<Vec<_>>(), ["one", "two"]);
    let status = cx.ended(&worker).await?;
    check!(all.iter().all(|chunk| Some(chunk.time) >= status.times.created), "a time before the creation");
    Ok(())
}

async fn d8_logs_are_bytes(cx: CaseContext) -> CaseResult {
    let mut bytes: Vec<u8> = (1..=255).collect();
    bytes.extend(b"\xff\xfe\n\xc3\x28\r\n\x1b[31mred\n");
    let worker = printed(&cx, &bytes, b"").await?;
    check_eq!(cx.logs(&worker).await?, bytes);
    Ok(())
}

async fn d8_logs_without_a_final_line_feed(cx: CaseContext) -> CaseResult {
    let worker = printed(&cx, b"one\ntwo", b"").await?;
    check_eq!(cx.logs(&worker).await?, b"one\ntwo");
    Ok(())
}

async fn d8_logs_with_empty_lines(cx: CaseContext) -> CaseResult {
    let worker = printed(&cx, b"\n\none\n\n", b"").await?;
    check_eq!(cx.logs(&worker).await?, b"\n\none\n\n");
    Ok(())
}

async fn d8_logs_of_ten_megabytes(cx: CaseContext) -> CaseResult {
    const SIZE: usize = 10_000_000;
    let worker = cx.run("a", &Program::Flood(SIZE)).await?;
    let bytes = {
        cx.ended(&worker).await?;
        cx.logs(&worker).await?
    };
    check_eq!(bytes.len(), SIZE);
    let wrong = bytes.chunks(FLOOD_LINE.len()).position(|line| !FLOOD_LINE.as_bytes().starts_with(line));
    check_eq!(wrong, None);
    Ok(())
}

async fn d8_logs_of_one_very_long_line(cx: CaseContext) -> CaseResult {
    // Longer than an engine's line buffer of 16 KiB, and short enough for an argument.
    let line = "x".repeat(24_001) + "\n";
    let worker = printed(&cx, line.as_bytes(), b"").await?;
    check_eq!(String::from_utf8_lossy(&cx.logs(&worker).await?).into_owned(), line);
    Ok(())
}

async fn d8_logs_tell_output_from_errors(cx: CaseContext) -> CaseResult {
    let worker = printed(&cx, b"out\n", b"err\n").await?;
    let all = chunks(&cx, &worker, &LogOptions::all()).await?;
    for (stream, text) in [(LogStream::Stdout, b"out\n"), (LogStream::Stderr, b"err\n")] {
        check_eq!(join(all.iter().filter(|chunk| chunk.stream == stream)), text);
        let only = chunks(&cx, &worker, &LogOptions::all().only(stream)).await?;
        check_eq!(join(&only), text);
    }
    Ok(())
}

async fn d8_logs_since_a_time(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Lines(20)).await?;
    cx.says(&worker, "line 19").await?;
    let all = chunks(&cx, &worker, &LogOptions::all()).await?;
    check_eq!(all.len(), 20);
    let cut = all[10].time;
    let since = chunks(&cx, &worker, &LogOptions::all().since(cut)).await?;
    let wanted: Vec<LogChunk> = all.into_iter().filter(|chunk| chunk.time >= cut).collect();
    check_eq!(since, wanted);
    let later = cut.saturating_add(jiff::SignedDuration::from_hours(1)).unwrap_or(cut);
    check_eq!(chunks(&cx, &worker, &LogOptions::all().since(later)).await?, []);
    Ok(())
}

async fn d8_logs_of_the_last_lines(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Lines(20)).await?;
    cx.says(&worker, "line 19").await?;
    for (tail, first) in [(3, 17), (0, 20), (20, 0), (1000, 0)] {
        let last = chunks(&cx, &worker, &LogOptions::all().tail(tail)).await?;
        let wanted: String = (first..20).map(|n| format!("line {n}\n")).collect();
        check_eq!(String::from_utf8_lossy(&join(&last)).into_owned(), wanted);
    }
    Ok(())
}

async fn d8_logs_go_on_after_a_position(cx: CaseContext) -> CaseResult {
    let worker = printed(&cx, b"one\ntwo\n\nthree\nfour", b"error\nwrong\n").await?;
    for options in [LogOptions::all(), LogOptions::all().only(LogStream::Stdout), LogOptions::all().tail(3)] {
        let all = chunks(&cx, &worker, &options.clone().with_positions()).await?;
        check!(!all.is_empty(), "there is nothing to read");
        for (n, chunk) in all.iter().enumerate() {
            let Some(position) = chunk.position.clone() else {
                return Err(CaseFailure::new(format!("{chunk:?} has no position")));
            };
            // As it was stored, by a host that knows nothing else.
            let stored =
                serde_json::to_string(&position).map_err(|error| CaseFailure::new(error.to_string()))?;
            let position: LogPosition =
                serde_json::from_str(&stored).map_err(|error| CaseFailure::new(error.to_string()))?;
            let other = cx.another_host().await?;
            let mut logs = other.worker_logs(&worker, &options.clone().after(position)).await?;
            let mut rest = Vec::new();
            while let Some(item) = logs.next().await {
                match item? {
                    LogItem::Chunk(chunk) => rest.push(chunk),
                    LogItem::Gap { reason } => return Err(CaseFailure::new(format!("a gap: {reason}"))),
                }
            }
            check_eq!(rest, all[n + 1..].to_vec());
            check!(rest.iter().all(|chunk| chunk.position.is_some()), "what comes after has no positions");
        }
    }
    Ok(())
}

async fn d8_logs_go_on_after_a_position_over_runs(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Lines(20)).await?;
    cx.says(&worker, "line 19").await?;
    let all = chunks(&cx, &worker, &LogOptions::all().with_positions()).await?;
    let Some(position) = all[10].position.clone() else {
        return Err(CaseFailure::new("a chunk has no position"));
    };
    cx.provider().stop_worker(&worker, &StopOptions::kill()).await?;
    let run = cx.ended(&worker).await?.run.clone();
    cx.provider().start_worker(&worker, &StartOptions::after(run)).await?;
    let mut logs = cx.provider().worker_logs(&worker, &LogOptions::following().after(position)).await?;
    let mut expected = (11..20).chain(0..20).map(|n| format!("line {n}"));
    let reading = async {
        for expected in expected.by_ref() {
            match logs.next().await {
                Some(Ok(LogItem::Chunk(chunk))) => check_eq!(chunk.text(), expected),
                other => return Err(CaseFailure::new(format!("{other:?} in the place of `{expected}`"))),
            }
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| Err(CaseFailure::new("nothing comes")))
}

async fn d8_logs_after_a_position_of_another_are_refused(cx: CaseContext) -> CaseResult {
    let one = cx.run("a", &Program::Lines(1)).await?;
    let other = cx.run("b", &Program::Lines(1)).await?;
    cx.says(&one, "line 0").await?;
    cx.says(&other, "line 0").await?;
    let read = chunks(&cx, &one, &LogOptions::all().with_positions()).await?;
    let Some(position) = read[0].position.clone() else {
        return Err(CaseFailure::new("a chunk has no position"));
    };
    let after = LogOptions::all().after(position);
    fails_with(ErrorKind::Conflict, cx.provider().worker_logs(&other, &after).await.map(|_| ()))?;
    let after = LogOptions::all().after(LogPosition::new("somewhere"));
    fails_with(ErrorKind::Config, cx.provider().worker_logs(&one, &after).await.map(|_| ()))?;
    Ok(())
}

async fn d8_a_file_goes_on_with_another_host(cx: CaseContext) -> CaseResult {
    let io = |error: std::io::Error| CaseFailure::new(error.to_string());
    let folder = std::env::temp_dir().join(format!("hodei-suite-{:016x}", fastrand::u64(..)));
    std::fs::create_dir(&folder).map_err(io)?;
    let path = folder.join("log");
    let worker = cx.run("a", &Program::Lines(20)).await?;
    let mut last = None;
    for hosts in 1..=3 {
        if let Some(run) = last {
            cx.provider().start_worker(&worker, &StartOptions::after(run)).await?;
        }
        let other = cx.another_host().await?;
        let mut file = LogFile::open(&path, LogFileOptions::default()).await?;
        let logs = other.worker_logs(&worker, &file.resumed(LogOptions::following())).await?;
        let lines = 20 * hosts;
        let expected: String = (0..lines).map(|n| format!("line {}\n", n % 20)).collect();
        let written = eventually(PATIENCE, || async {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if text.len() >= expected.len() { Ok(()) } else { Err(text) }
        });
        // The host is lost in the middle of it.
        tokio::select! {
            copied = file.copy(logs) => return Err(CaseFailure::new(format!("it ended: {copied:?}"))),
            written = written => {
                check!(written.is_ok(), "only this was written: {written:?}");
            }
        }
        check_eq!(std::fs::read_to_string(&path).map_err(io)?, expected);
        cx.provider().stop_worker(&worker, &StopOptions::kill()).await?;
        last = Some(cx.ended(&worker).await?.run.clone());
    }
    std::fs::remove_dir_all(&folder).map_err(io)
}

async fn d8_logs_are_followed_live_until_it_is_deleted(cx: CaseContext) -> CaseResult {
    let worker = cx.run_ready("a", &Program::IgnoreTerm).await?;
    let mut logs = cx.provider().worker_logs(&worker, &LogOptions::following()).await?;
    let mut line = async || match tokio::time::timeout(PATIENCE, logs.next()).await {
        Ok(Some(Ok(LogItem::Chunk(chunk)))) => Ok(Some(chunk.text().into_owned())),
        Ok(Some(Ok(LogItem::Gap { reason }))) => Err(CaseFailure::new(format!("a gap: {reason}"))),
        Ok(Some(Err(error))) => Err(CaseFailure::from(error)),
        Ok(None) => Ok(None),
        Err(_) => Err(CaseFailure::new("nothing came, and the log did not end")),
    };
    check_eq!(line().await?.as_deref(), Some("ready"));
    // It writes more now, which could not be there when the log was opened.
    let grace = StopOptions::within(2 * PATIENCE);
    let stopping = cx.provider().stop_worker(&worker, &grace);
    let reading = async {
        check_eq!(line().await?.as_deref(), Some("term"));
        cx.provider().delete_worker(&worker, &DeleteOptions::default()).await?;
        while line().await?.is_some() {}
        Ok(())
    };
    let (stopped, read): (_, CaseResult) = futures::join!(stopping, reading);
    read?;
    Ok(stopped?)
}

async fn d8_logs_are_followed_over_restarts(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Exit(0)).await?;
    let mut logs = cx.provider().worker_logs(&worker, &LogOptions::following()).await?;
    let mut run = None;
    for _ in 0..3 {
        let line = async {
            match logs.next().await {
                Some(Ok(LogItem::Chunk(chunk))) => Ok(chunk.text().into_owned()),
                Some(Ok(LogItem::Gap { reason })) => Err(CaseFailure::new(format!("a gap: {reason}"))),
                Some(Err(error)) => Err(CaseFailure::from(error)),
                None => Err(CaseFailure::new("the log ended before the worker was deleted")),
            }
        };
        match tokio::time::timeout(PATIENCE, line).await {
            Ok(line) => check_eq!(line?, "run"),
            Err(_) => return Err(CaseFailure::new("nothing came after a restart")),
        }
        run.clone_from(&cx.ended_after(&worker, run.as_ref()).await?.run);
        cx.provider().start_worker(&worker, &StartOptions::after(run.clone())).await?;
    }
    Ok(())
}

async fn d8_logs_of_one_that_never_ran_are_empty(cx: CaseContext) -> CaseResult {
    let worker = cx.create("a", &Program::Exit(0)).await?;
    check_eq!(cx.text(&worker).await?, "");
    Ok(())
}

async fn d8_logs_of_what_is_missing_are_not_found(cx: CaseContext) -> CaseResult {
    let nobody = WorkerRef::first("nobody".parse()?);
    for options in [LogOptions::all(), LogOptions::following()] {
        fails_with(ErrorKind::NotFound, cx.provider().worker_logs(&nobody, &options).await.map(|_| ()))?;
    }
    Ok(())
}

async fn d8_logs_go_on_over_runs(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::print("x\n")).await?;
    let run = cx.ended(&worker).await?.run.clone();
    cx.provider().start_worker(&worker, &StartOptions::after(run.clone())).await?;
    cx.ended_after(&worker, run.as_ref()).await?;
    check_eq!(cx.text(&worker).await?, "x\nx\n");
    Ok(())
}

async fn d8_two_readers_read_the_same(cx: CaseContext) -> CaseResult {
    let worker = cx.run("a", &Program::Flood(300_000)).await?;
    cx.ended(&worker).await?;
    let (one, two) = futures::join!(cx.logs(&worker), cx.logs(&worker));
    let (one, two) = (one?, two?);
    check!(one.len() == 300_000 && one == two, "{} and {} bytes", one.len(), two.len());
    Ok(())
}
