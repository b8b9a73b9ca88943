//! Health checks and reports of real local processes.
#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

#[path = "health/bed.rs"]
mod bed;
#[path = "health/probes.rs"]
mod probes;
#[path = "health/reports.rs"]
mod reports;
#[path = "health/server.rs"]
mod server;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// A trial of an async function, on a runtime of its own.
fn trial(name: &str, case: impl AsyncFnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            let ended = tokio::time::timeout(2 * bed::PATIENCE, case()).await;
            ended.map_err(|_| Failed::from("it is not over in time"))
        })
    })
}

/// Trials of these functions.
macro_rules! trials {
    ($($module:ident::$name:ident),+ $(,)?) => { vec![$(trial(stringify!($name), $module::$name)),+] };
}

fn main() -> ExitCode {
    hodei_worker::process::init();
    if server::serve() {
        return ExitCode::SUCCESS;
    }
    let mut trials = trials![
        probes::l2_a_tcp_check_finds_out_whether_a_process_listens,
        probes::l2_a_command_is_run_beside_a_process,
        probes::l2_a_heartbeat_on_standard_output_counts,
        probes::p3_a_process_has_no_check_of_its_own,
        reports::l5_a_process_says_when_it_is_busy_and_idle,
        reports::l5_a_host_that_starts_knows_who_is_busy,
        reports::l5_another_run_is_idle_until_it_says_otherwise,
    ];
    #[cfg(feature = "http-probes")]
    trials.extend(trials![
        probes::l2_an_http_check_reads_the_status,
        probes::l2_an_http_check_asks_for_host_and_headers,
        probes::l2_an_http_check_expects_what_it_is_told,
        probes::l2_a_server_that_does_not_answer_has_failed,
    ]);
    #[cfg(feature = "https-probes")]
    trials.extend(trials![
        probes::l2_https_takes_every_certificate_unless_there_are_roots,
        probes::l2_https_with_roots_takes_no_other_certificate,
    ]);
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
