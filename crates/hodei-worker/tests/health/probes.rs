use hodei_worker::{
    ErrorKind, WorkerConfig,
    health::{self, HealthSettings},
    jobs::{Jobs, Reports},
    model::{HealthCheckConfig, Probe},
    quantity::HumanDuration,
};

use crate::bed::{Bed, free_port, often};

async fn bed() -> Bed {
    Bed::new(&HealthSettings::default()).await
}

pub(crate) async fn l2_a_tcp_check_finds_out_whether_a_process_listens() {
    let bed = bed().await;
    let port = free_port();
    let check = often(HealthCheckConfig::new(Probe::Tcp { port }));
    let sleeper =
        bed.server("tcp", port).command(["sleep", "1000"]).args([""; 0]).health_check(check.clone());
    let worker = bed.run_and_watch(sleeper).await;
    bed.unhealthy(&format!("nobody listens at 127.0.0.1:{port}")).await;
    bed.monitor.forget(&worker);
    bed.clean().await;
    bed.run_and_watch(bed.server("tcp", port).health_check(check)).await;
    bed.healthy().await;
    bed.clean().await;
    // Nobody tells the monitor: its tries do.
    bed.unhealthy("nobody listens").await;
}

pub(crate) async fn l2_a_command_is_run_beside_a_process() {
    let bed = bed().await;
    let file = bed.file().display().to_string();
    let check = often(HealthCheckConfig::new(Probe::command(["test", "-e", file.as_str()])));
    let worker = WorkerConfig::builder("a").command(["sleep", "1000"]).health_check(check);
    bed.run_and_watch(worker).await;
    bed.unhealthy("command check `test`: it exited with 1").await;
    std::fs::write(bed.file(), "").unwrap();
    bed.healthy().await;
    bed.clean().await;
}

pub(crate) async fn l2_a_heartbeat_on_standard_output_counts() {
    let bed = bed().await;
    let pipe = bed.folder.join("pipe").display().to_string();
    let beat = HealthCheckConfig::new(Probe::Heartbeat { within: HumanDuration::secs(2) });
    let config = crate::reports::speaker(&pipe).health_check(beat);
    let (config, status) = bed.run(config).await;
    bed.watch(&config, &status).await;
    let (jobs, _changes) = Jobs::new();
    let reports = Reports::new(jobs, bed.monitor.clone());
    let provider = std::sync::Arc::clone(&bed.provider);
    reports.follow(provider, &status.worker, status.run.as_ref().unwrap(), status.times.started);
    bed.exec(&status.worker, &crate::reports::say(&pipe, "::hodei heartbeat")).await;
    bed.healthy().await;
    bed.unhealthy("nothing was heard of it for 2s").await;
    bed.exec(&status.worker, &crate::reports::say(&pipe, "::hodei heartbeat")).await;
    bed.healthy().await;
    bed.clean().await;
}

pub(crate) async fn p3_a_process_has_no_check_of_its_own() {
    let bed = bed().await;
    let check = HealthCheckConfig::new(Probe::Native);
    let config = WorkerConfig::builder("a").command(["true"]).health_check(check).build().unwrap();
    let error = health::plan(&config, &bed.provider.get_capabilities().await.unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("there is no platform behind a process"), "{error}");
}

#[cfg(feature = "http-probes")]
mod http {
    use hodei_worker::model::{HttpProbe, StatusRange};

    use super::*;

    pub(crate) async fn l2_an_http_check_reads_the_status() {
        let bed = bed().await;
        let port = free_port();
        let check = often(HealthCheckConfig::new(Probe::http(port, "/well")));
        bed.run_and_watch(bed.server("http", port).health_check(check)).await;
        bed.unhealthy("it answered 503").await;
        std::fs::write(bed.file(), "").unwrap();
        bed.healthy().await;
        std::fs::remove_file(bed.file()).unwrap();
        bed.unhealthy(&format!("HTTP check of /well at port {port}: it answered 503")).await;
        bed.clean().await;
    }

    pub(crate) async fn l2_an_http_check_asks_for_host_and_headers() {
        let bed = bed().await;
        let port = free_port();
        let probe = HttpProbe::new(port).path("/asked?x=1").host("worker.example").header("X-Check", "yes");
        let check = often(HealthCheckConfig::new(Probe::Http(probe)));
        bed.run_and_watch(bed.server("http", port).health_check(check)).await;
        bed.healthy().await;
        bed.clean().await;
    }

    pub(crate) async fn l2_an_http_check_expects_what_it_is_told() {
        let bed = bed().await;
        let port = free_port();
        let probe = HttpProbe::new(port).path("/moved");
        let only = probe.clone().expect(StatusRange::only(200).unwrap());
        let check = |probe| often(HealthCheckConfig::new(Probe::Http(probe)));
        let (config, status) = bed.run(bed.server("http", port).health_check(check(only))).await;
        bed.watch(&config, &status).await;
        bed.unhealthy("it answered 302").await;
        bed.monitor.forget(&status.worker);
        let config = config.with_health_checks(vec![check(probe)]).unwrap();
        bed.watch(&config, &status).await;
        bed.healthy().await;
        bed.clean().await;
    }

    pub(crate) async fn l2_a_server_that_does_not_answer_has_failed() {
        let bed = bed().await;
        let port = free_port();
        let check = often(HealthCheckConfig::new(Probe::http(port, "/silent")));
        bed.run_and_watch(bed.server("http", port).health_check(check)).await;
        bed.unhealthy("it does not answer the request").await;
        bed.clean().await;
    }
}
#[cfg(feature = "http-probes")]
pub(crate) use http::*;

#[cfg(feature = "https-probes")]
mod https {
    use hodei_worker::model::HttpProbe;

    use super::*;

    const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/health/localhost.pem");

    async fn served(bed: &Bed, probe: impl Fn(HttpProbe) -> HttpProbe) {
        std::fs::write(bed.file(), "").unwrap();
        let port = free_port();
        let probe = probe(HttpProbe::new(port).path("/well").https());
        let check = often(HealthCheckConfig::new(Probe::Http(probe)));
        bed.run_and_watch(bed.server("https", port).health_check(check)).await;
    }

    pub(crate) async fn l2_https_takes_every_certificate_unless_there_are_roots() {
        let bed = bed().await;
        served(&bed, |probe| probe.host("any.example")).await;
        bed.healthy().await;
        bed.clean().await;
    }

    pub(crate) async fn l2_https_with_roots_takes_no_other_certificate() {
        let mut settings = HealthSettings::default();
        settings.tls_roots = Some(CERTIFICATE.into());
        let bed = Bed::new(&settings).await;
        // It is for the address that it is reached at.
        served(&bed, |probe| probe).await;
        bed.healthy().await;
        bed.clean().await;
        let bed = Bed::new(&settings).await;
        served(&bed, |probe| probe.host("any.example")).await;
        bed.unhealthy("no TLS with it").await;
        bed.clean().await;
    }
}
#[cfg(feature = "https-probes")]
pub(crate) use https::*;
