//! All that this process logs, by `log` and by `tracing`. Both loggers are the process's, so that a test that uses them
//! stands alone.

use std::sync::Mutex;

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

struct Logger;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        add(format!("{} {}", record.target(), record.args()));
    }
    fn flush(&self) {}
}

/// What we log ourselves goes by `tracing`.
struct Traces;

/// All that one event or span holds.
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl Subscriber for Traces {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut words = Words(format!("span {}", span.metadata().name()));
        span.record(&mut words);
        add(words.0);
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut words = Words("span".to_owned());
        values.record(&mut words);
        add(words.0);
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut words = Words(event.metadata().target().to_owned());
        event.record(&mut words);
        add(words.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Logs everything from now on.
pub(crate) fn start() {
    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    tracing::subscriber::set_global_default(Traces).unwrap();
    tracing::debug!(probe = "is captured");
}

/// Adds what was told in another way.
pub(crate) fn add(line: String) {
    LINES.lock().unwrap().push(line);
}

/// Everything was logged, and nothing of it holds this.
pub(crate) fn assert_silent_about(secrets: &[&str]) {
    let lines = LINES.lock().unwrap();
    assert!(
        lines.iter().any(|line| line.starts_with("bollard")),
        "nothing was logged, so that nothing is proven"
    );
    assert!(lines.iter().any(|line| line.contains("is captured")), "nothing is captured of `tracing`");
    let told: Vec<_> =
        lines.iter().filter(|line| secrets.iter().any(|secret| line.contains(secret))).collect();
    assert!(told.is_empty(), "{told:#?}");
}
