//! The measurements of the contract's targets (T…) and of our own figures (F…), as ratios against the raw API or a peer
//! in the same run: a table, and a plot in `target/bench/`. `cargo xtask bench [ID…]` runs those ids, or all. What
//! cannot be measured becomes a row that says why, and the others go on. With `--once-more` only what needs
//! the part that `HODEI_BENCH_ON` names is measured: on another engine or cluster than before.

mod cluster;
mod cold;
mod compose;
mod docker;
mod durable;
mod idle;
mod layers;
mod managed;
mod peers;
mod process;
mod proxy;
mod recovery;
mod requests;
mod targets;

use std::{path::Path, process::ExitCode};

use hodei_worker_benches::{
    Outcome,
    place::{Place, cluster, docker_host},
    plot,
    table::{self, Row},
};

const IDS: [&str; 16] =
    ["F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "K2", "K10", "T2", "T3", "T4", "T5", "P7"];

fn main() -> ExitCode {
    hodei_worker::process::init();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let once_more = words.iter().any(|word| word == "--once-more");
    let wanted: Vec<String> = words.into_iter().filter(|word| !word.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(measure(&wanted, once_more))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures what is wanted. Says whether all of it that could be measured here was.
async fn measure(wanted: &[String], once_more: bool) -> Outcome<bool> {
    let known = |word: &String| IDS.iter().any(|id| word.eq_ignore_ascii_case(id));
    if let Some(unknown) = wanted.iter().find(|word| !known(word)) {
        return Err(format!("no measurement `{unknown}`; there are {}", IDS.join(" ")).into());
    }
    let mut rows = Vec::new();
    let mut complete = true;
    // Another engine and another cluster come one at a time.
    let on = std::env::var("HODEI_BENCH_ON").unwrap_or_default();
    let is_once_more = |id: &str, place: Option<Place>| match once_more {
        true if on.starts_with("kubernetes") => needs_cluster(id, place),
        true => needs_engine(id, place),
        false => true,
    };
    let is_wanted = |id: &str| wanted.iter().any(|word| word.eq_ignore_ascii_case(id));
    let chosen = |id: &&str| wanted.is_empty() || is_wanted(id) || (*id == "F7" && is_wanted("T5"));
    for id in IDS.into_iter().filter(chosen) {
        for place in places(id).into_iter().filter(|place| is_once_more(id, *place)) {
            eprintln!(
                "measuring {id}{}",
                place.map(|place| format!(" on {}", place.name())).unwrap_or_default()
            );
            match measurement(id, place).await {
                Ok(measured) => rows.extend(measured),
                Err(error) => {
                    // Without an engine there is nothing to be measured on it.
                    let absent = needs_engine(id, place) && docker_host().is_err()
                        || needs_cluster(id, place) && cluster().is_err();
                    complete &= absent;
                    let what = place.map_or("all of it", Place::name);
                    rows.push(Row::not_measured(id, what, &error.to_string(), !absent));
                }
            }
        }
    }
    table::print(&rows);
    // A part of the measurements does not take the place of all of them.
    let part = once_more.then(|| format!("-{on}"));
    let name = wanted.iter().map(|id| format!("-{}", id.to_lowercase())).collect::<String>();
    let name = part.unwrap_or_default() + &name;
    let file = format!("target/bench/bench{name}.svg");
    plot::write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&file), &rows)?;
    println!("\nplot: {file}");
    Ok(complete)
}

/// Where something is measured, if that is not a matter of the measurement itself.
fn places(id: &str) -> Vec<Option<Place>> {
    // A recovery is one measurement for F7 and T5.
    if id == "T5" {
        return Vec::new();
    }
    let mut places = vec![Some(Place::Process), Some(Place::Docker)];
    match id {
        _ if id.starts_with('T') || id == "F7" => {
            places.push(Some(Place::Kubernetes));
            places
        }
        _ => vec![None],
    }
}

fn needs_engine(id: &str, place: Option<Place>) -> bool {
    matches!(id, "F5" | "F8" | "F9" | "P7") || place == Some(Place::Docker)
}

fn needs_cluster(id: &str, place: Option<Place>) -> bool {
    matches!(id, "K2" | "K10") || place == Some(Place::Kubernetes)
}

async fn measurement(id: &str, place: Option<Place>) -> Outcome<Vec<Row>> {
    match (id, place) {
        ("F1", _) => layers::overhead().await,
        ("F2", _) => durable::transitions().await,
        ("F3", _) => durable::writers().await,
        ("F4", _) => tokio::task::spawn_blocking(idle::hundred_thousand).await?,
        ("F5", _) => docker::added_time().await,
        ("F6", _) => tokio::task::spawn_blocking(process::two_hundred).await?,
        ("F8", _) => compose::fifty().await,
        ("F9", _) => compose::first_line().await,
        ("K2", _) => cluster::starts().await,
        ("K10", _) => cluster::ten_thousand().await,
        ("P7", _) => requests::requests().await,
        ("F7", Some(place)) => recovery::recoveries(place).await,
        ("T2", Some(place)) => {
            Ok([targets::operations(place).await?, managed::operations(place).await?].concat())
        }
        ("T3", Some(place)) => Ok([targets::starts(place).await?, managed::starts(place).await?].concat()),
        (_, Some(place)) => Ok([targets::stops(place).await?, managed::stops(place).await?].concat()),
        (id, None) => Err(format!("{id} is measured nowhere").into()),
    }
}
