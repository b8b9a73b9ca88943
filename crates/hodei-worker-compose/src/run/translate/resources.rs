//! Limits, and when a worker is restarted.

use hodei_worker_core::{
    model::{ResourceRequirements, RestartPolicy},
    quantity::{ByteSize, Cpu},
};

use crate::{Service, run::refuse::Refusals};

fn bytes(value: i64) -> Option<ByteSize> {
    u64::try_from(value).ok().filter(|bytes| *bytes > 0).map(ByteSize::new)
}

fn cpu(cores: f64) -> Option<Cpu> {
    // The reader has refused what is no number; thousandths are what the model has.
    let millis = (cores * 1000.0).round();
    (millis >= 1.0).then(|| format!("{millis}m").parse().ok()).flatten()
}

pub(super) fn translate(service: &Service, refusals: &mut Refusals<'_>) -> ResourceRequirements {
    let deploy = service.deploy.as_ref();
    let limits = deploy.and_then(|deploy| deploy.resources.limits.clone()).unwrap_or_default();
    let reserved = deploy.and_then(|deploy| deploy.resources.reservations.clone()).unwrap_or_default();
    let mut all = ResourceRequirements::default();
    all.cpu_limit = cpu(service.cpus).or_else(|| cpu(limits.cpus));
    all.memory_limit = bytes(service.mem_limit).or_else(|| bytes(limits.memory));
    if reserved.cpus > 0.0 {
        let path = format!("services.{}.deploy.resources.reservations.cpus", service.name);
        refusals.add(path, "processors cannot be set aside for one container: `cpu_shares` gives it weight");
    }
    all.memory_request = bytes(service.mem_reservation).or_else(|| bytes(reserved.memory));
    let pids = if service.pids_limit > 0 { service.pids_limit } else { limits.pids };
    all.pids_limit = u64::try_from(pids).ok().filter(|pids| *pids > 0);
    for (what, set) in [("limits", &limits), ("reservations", &reserved)] {
        let path = format!("services.{}.deploy.resources.{what}", service.name);
        refusals.unless(
            &set.devices,
            format!("{path}.devices"),
            "devices by what they can do are not supported",
        );
        refusals.unless(&set.generic_resources, format!("{path}.generic_resources"), "needs a swarm");
    }
    all
}

/// When a worker is restarted, by a manager where there is one.
pub(super) fn restart(service: &Service, refusals: &mut Refusals<'_>) -> Option<RestartPolicy> {
    let path = format!("services.{}.restart", service.name);
    let policy = service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.clone());
    if let Some(policy) = policy {
        let path = format!("services.{}.deploy.restart_policy", service.name);
        refusals.unless(
            &policy.delay,
            format!("{path}.delay"),
            "times between restarts are the manager's settings",
        );
        refusals.unless(
            &policy.window,
            format!("{path}.window"),
            "times between restarts are the manager's settings",
        );
        let retries = policy.max_attempts.and_then(|most| u32::try_from(most).ok());
        if retries.is_some() && policy.condition.as_deref() != Some("on-failure") {
            refusals.add(format!("{path}.max_attempts"), "counts where the condition is on-failure");
        }
        return Some(match policy.condition.as_deref() {
            Some("none") => RestartPolicy::Never,
            Some("on-failure") => RestartPolicy::OnFailure { max_retries: retries },
            _ => RestartPolicy::Always,
        });
    }
    let text = service.restart.as_deref()?;
    let (word, number) = text.split_once(':').map_or((text, None), |(word, number)| (word, Some(number)));
    Some(match word {
        "no" | "" => RestartPolicy::Never,
        "always" | "unless-stopped" => RestartPolicy::Always,
        "on-failure" => {
            let retries = number.map(str::parse::<u32>).transpose();
            if retries.is_err() {
                refusals.add(&path, format!("`{text}`: after the colon stands how often at most"));
            }
            RestartPolicy::OnFailure { max_retries: retries.ok().flatten() }
        }
        _ => {
            refusals.add(path, format!("`{text}` is no policy: no, always, unless-stopped or on-failure"));
            return None;
        }
    })
}
