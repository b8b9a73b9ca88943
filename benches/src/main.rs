//! The measurements of the contract's targets (T…) and of our own figures (F…), as ratios against the raw API or a peer
//! in the same run: a table, and a plot in `target/bench/`. `cargo xtask bench [ID…]` runs those ids, or all.

mod docker;
mod layers;
mod peers;
mod process;
mod proxy;
mod targets;

use std::{path::Path, process::ExitCode};

use hodei_worker_benches::{Outcome, plot, table};

fn main() -> ExitCode {
    hodei_worker::process::init();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(measure(&wanted))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(wanted: &[String]) -> Outcome {
    let wants = |id: &str| wanted.is_empty() || wanted.iter().any(|word| word.eq_ignore_ascii_case(id));
    let mut rows = Vec::new();
    if wants("F1") {
        rows.extend(layers::overhead().await?);
    }
    if wants("F5") {
        rows.extend(docker::added_time().await?);
    }
    if wants("F6") {
        rows.extend(tokio::task::spawn_blocking(process::two_hundred).await??);
    }
    if wants("T2") {
        rows.extend(targets::operations().await?);
    }
    if wants("T3") {
        rows.extend(targets::starts().await?);
    }
    if wants("T4") {
        rows.extend(targets::stops().await?);
    }
    if wants("P7") {
        rows.extend(docker::requests().await?);
    }
    if rows.is_empty() {
        return Err("no measurement has one of these ids; there are F1 F5 F6 T2 T3 T4 P7".into());
    }
    table::print(&rows);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/bench.svg");
    plot::write(&path, &rows)?;
    println!("\nplot: target/bench/bench.svg");
    Ok(())
}
