//! Health checks.

use std::time::Duration;

use hodei_worker_core::{
    model::{HealthCheckConfig, Probe, WorkerSpec},
    quantity::HumanDuration,
};
use serde_json::Value as Json;

use super::docker;
use crate::{Service, model::HealthCheck, run::refuse::Refusals};

/// What the specification says where a file says nothing.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;

/// Whether there is a check.
pub(super) fn translate(service: &Service, spec: &mut WorkerSpec, refusals: &mut Refusals<'_>) -> bool {
    let Some(check) = &service.healthcheck else { return false };
    if check.disable || check.test.first().is_some_and(|word| word == "NONE") {
        docker::set(spec, &["health", "disabled"], Json::from(true));
        return false;
    }
    let path = format!("services.{}.healthcheck", service.name);
    let probe = match check.test.split_first() {
        None => {
            refusals.add(
                format!("{path}.test"),
                "times for the image's own check cannot be set without naming the check",
            );
            return false;
        }
        Some((word, words)) if word == "CMD" => Probe::Command(words.to_vec()),
        Some((word, words)) if word == "CMD-SHELL" => Probe::Command(
            ["/bin/sh", "-c"].map(str::to_owned).into_iter().chain([words.join(" ")]).collect(),
        ),
        Some((word, _)) => {
            refusals.add(
                format!("{path}.test"),
                format!("begins with `{word}`, none of CMD, CMD-SHELL and NONE"),
            );
            return false;
        }
    };
    let check = times(check, probe, spec);
    spec.health_checks.push(check);
    true
}

fn times(check: &HealthCheck, probe: Probe, spec: &mut WorkerSpec) -> HealthCheckConfig {
    let interval = check.interval.filter(|time| !time.is_zero()).unwrap_or(INTERVAL);
    let timeout = check.timeout.filter(|time| !time.is_zero()).unwrap_or(TIMEOUT);
    let retries = check.retries.and_then(|times| u32::try_from(times).ok()).filter(|times| *times > 0);
    if timeout > interval {
        docker::set(spec, &["health", "timeout"], text(timeout));
    }
    if let Some(time) = check.start_interval {
        docker::set(spec, &["health", "start_interval"], text(time));
    }
    HealthCheckConfig::new(probe)
        .every(HumanDuration::from(interval))
        .within(HumanDuration::from(timeout.min(interval)))
        .starting_for(HumanDuration::from(check.start_period.unwrap_or_default()))
        .thresholds(1, retries.unwrap_or(RETRIES))
}

fn text(time: Duration) -> Json {
    Json::from(HumanDuration::from(time).to_string())
}
