//! What an engine can do, by what it says of itself.

use bollard::models::{SystemInfo, SystemInfoCgroupDriverEnum, SystemInfoCgroupVersionEnum, SystemVersion};
use hodei_worker_core::{
    Capability, NativeChecks, ProviderCapabilities, Result,
    model::ProbeKind,
    quantity::{ByteSize, Cpu},
};

use crate::{DockerSettings, client::Engine, secret::SecretStore};

pub(crate) async fn detect(
    engine: &Engine,
    version: &SystemVersion,
    secrets: &SecretStore,
    settings: &DockerSettings,
) -> Result<ProviderCapabilities> {
    let info: SystemInfo = engine.get("/info", "").await.map_err(|error| engine.error(error))?;
    let id = info.id.clone().filter(|id| !id.is_empty());
    secrets.set_engine(&id.unwrap_or_else(|| engine.endpoint.to_string()));
    secrets.set_remapped(has_option(&info, "userns"));
    secrets.set_machine(info.name.as_deref(), info.kernel_version.as_deref());
    let mut all = describe(&info, version, secrets.available(), settings);
    if secrets.is_remote() {
        all = all.with_fallback(
            Capability::SecretFiles,
            "the engine does not see this machine's files: secrets are written into volumes of the worker's own, on \
             the engine's disk, before each start",
        );
    }
    let networks = if secrets.engine_is_elsewhere() {
        Err("the engine is not on this machine, or says that it is on another".to_owned())
    } else if has_option(&info, "rootless") {
        Err("an engine without root's rights keeps its networks from its own machine".to_owned())
    } else {
        Ok(())
    };
    all = all.with_detected(Capability::OwnAddresses, networks);
    if has_option(&info, "userns") {
        all.version.push_str(", users remapped");
    }
    if engine.forgets_line_feeds(&settings.log_driver) {
        all = all.with_fallback(
            Capability::RawBytes,
            "this engine forgets the line feeds of lines over 16 KiB; they are put back, and one is added where the \
             last line is as long and has none",
        );
    }
    Ok(all)
}

fn has_option(info: &SystemInfo, name: &str) -> bool {
    let wanted = format!("name={name}");
    info.security_options.iter().flatten().any(|option| option.split(',').any(|part| part == wanted))
}

fn describe(
    info: &SystemInfo,
    version: &SystemVersion,
    secret_files: Result<(), String>,
    settings: &DockerSettings,
) -> ProviderCapabilities {
    let cgroup = match info.cgroup_version {
        Some(SystemInfoCgroupVersionEnum::_2) => "cgroup v2",
        _ => "cgroup v1",
    };
    let text = format!(
        "Docker Engine {}, API {}, {cgroup}",
        version.version.as_deref().unwrap_or("of unknown version"),
        version.api_version.as_deref().unwrap_or("of unknown version"),
    );
    let limit = |found: Option<bool>, what: &str| match found {
        Some(true) => Ok(()),
        _ => Err(format!("the engine says that its kernel or {cgroup} has no {what}")),
    };
    let cpu = limit(info.cpu_cfs_quota, "CPU quota");
    // Without a limit on swap, memory beyond the limit goes to swap, where there is some.
    let memory = limit(info.memory_limit, "limit on memory");
    let pids = limit(info.pids_limit, "limit on processes");
    let measured = match info.cgroup_driver {
        Some(SystemInfoCgroupDriverEnum::NONE) => {
            Err("the engine has no control groups, as without root's rights on cgroup v1".to_owned())
        }
        _ => Ok(()),
    };
    let raw = match settings.log_driver.as_str() {
        "local" => Ok(()),
        "json-file" => Err("the log driver `json-file` replaces bytes that are not UTF-8".to_owned()),
        other => Err(format!("it is not known of the log driver `{other}`")),
    };
    let readable = match settings.log_driver.as_str() {
        "none" => Err("the log driver `none` keeps nothing".to_owned()),
        _ => Ok(()),
    };
    let mut all = ProviderCapabilities::new(text)
        .without(Capability::AutoScaling, "an engine does not scale its containers")
        .with(Capability::HealthChecks)
        .with_native_checks(NativeChecks::of([ProbeKind::Command], Some(1)))
        .with(Capability::Volumes)
        .with(Capability::HostPaths)
        .with(Capability::Tmpfs)
        .with(Capability::Networking)
        .with(Capability::Security)
        .with_detected(Capability::Monitoring, measured)
        .without(Capability::MultiCluster, "one provider is one engine; use one for each")
        .with(Capability::Watch)
        .with_detected(Capability::Logs, readable.clone())
        .with_detected(Capability::RawBytes, readable.clone().and(raw))
        .with_detected(Capability::SplitStreams, readable.clone())
        .with_detected(Capability::LogPositions, readable)
        .without(Capability::PortForward, "an engine publishes ports at its own addresses instead")
        .with(Capability::Exec)
        .without(Capability::Pause, "the port has no call for it yet")
        .with(Capability::Images)
        .with(Capability::ImageIds)
        .with(Capability::DeferredStart)
        .with(Capability::KeepsEnded)
        .with(Capability::KeepsStopped)
        .with(Capability::RestartInPlace)
        .with(Capability::SurvivesHost)
        .without(Capability::ExactExit, "the engine reports an exit with 137 and a death by SIGKILL alike")
        .with_detected(Capability::CpuLimit, cpu)
        .with_detected(Capability::MemoryLimit, memory)
        .with_detected(Capability::PidsLimit, pids)
        .with_detected(Capability::SecretFiles, secret_files)
        .without(Capability::NativeGroups, "an engine has no groups of its own");
    let cores = info.ncpu.and_then(|cores| u32::try_from(cores).ok());
    all.total_cpu = cores.map(Cpu::cores);
    all.total_memory = info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).map(ByteSize::new);
    if !has_option(info, "seccomp") {
        all.degraded =
            Some("the engine filters no system calls: it was built or runs without seccomp".to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn described(info: Value, driver: &str) -> ProviderCapabilities {
        let info: SystemInfo = serde_json::from_value(info).unwrap();
        let version = serde_json::from_value(json!({"Version": "29.1", "ApiVersion": "1.52"})).unwrap();
        let settings = DockerSettings { log_driver: driver.to_owned(), ..DockerSettings::default() };
        describe(&info, &version, Err("far away".to_owned()), &settings)
    }

    #[test]
    fn p3_limits_are_detected_with_their_reasons() {
        let all = described(
            json!({
                "CgroupVersion": "2", "CpuCfsQuota": true, "MemoryLimit": true, "PidsLimit": false, "NCPU": 4,
                "SecurityOptions": ["name=seccomp,profile=default", "name=userns"],
            }),
            "local",
        );
        assert_eq!(all.version, "Docker Engine 29.1, API 1.52, cgroup v2");
        assert!(all.supports(Capability::MemoryLimit) && !all.supports(Capability::PidsLimit));
        assert_eq!(all.reason(Capability::SecretFiles), Some("far away"));
        assert_eq!((all.total_cpu, all.degraded.as_deref()), (Some(Cpu::cores(4)), None));
        assert!(all.supports(Capability::RawBytes));
        for (capability, support) in all.iter() {
            // That one depends on where the engine is.
            let declared = all.reason(capability) != Some("not declared by this provider");
            assert!(declared || capability == Capability::OwnAddresses, "{support:?}");
        }
    }

    #[test]
    fn p3_what_has_no_control_group_is_not_measured() {
        let all = described(json!({"CgroupDriver": "none"}), "local");
        assert!(all.reason(Capability::Monitoring).unwrap().contains("control groups"));
        assert!(described(json!({"CgroupDriver": "cgroupfs"}), "local").supports(Capability::Monitoring));
    }

    #[test]
    fn d8_raw_bytes_depend_on_the_log_driver() {
        assert!(described(json!({}), "json-file").reason(Capability::RawBytes).unwrap().contains("UTF-8"));
        let none = described(json!({}), "none");
        assert!(!none.supports(Capability::Logs) && !none.supports(Capability::RawBytes));
    }
}
