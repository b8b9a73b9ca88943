use hodei_worker_core::{
    WorkerState,
    lifecycle::{DegradedBy, Worker},
};

use super::DegradationSettings;

/// How much of its share of work a worker gets, in percent. Of several causes the worst counts.
pub fn weight(worker: &Worker, settings: &DegradationSettings) -> u8 {
    match worker.state {
        Some(WorkerState::Running) => of_causes(&worker.degraded, settings).unwrap_or(100),
        Some(WorkerState::Degraded) => {
            of_causes(&worker.degraded, settings).unwrap_or(settings.other_percent)
        }
        _ => 0,
    }
}

fn of_causes(causes: &[DegradedBy], settings: &DegradationSettings) -> Option<u8> {
    let of = |cause: &DegradedBy| match cause {
        DegradedBy::Latency => settings.latency_percent,
        DegradedBy::Flapping => settings.flapping_percent,
        DegradedBy::Paused | DegradedBy::Unreachable => 0,
        _ => settings.other_percent,
    };
    causes.iter().map(of).min()
}
