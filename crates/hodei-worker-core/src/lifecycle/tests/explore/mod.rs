//! Every input in every situation that a worker can get into, by breadth-first search. What only counts or dates is made
//! the same, so that there is a finite number of situations: names of runs and generations, times, and history.

pub(super) mod inputs;
mod rules;
mod ways;

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt::Write as _,
    sync::OnceLock,
};

use super::*;
use crate::{
    lifecycle::{Decision, Pending, WorkerState, decide},
    quantity::ByteSize,
};

/// One kind of worker on one kind of provider.
#[derive(Debug, Clone)]
pub(super) struct World {
    restart: RestartPolicy,
    checked: bool,
    in_place: bool,
    keeps: bool,
    settings: RecoverySettings,
    alternatives: Vec<ProviderName>,
}

impl World {
    fn context(&self, now: Timestamp) -> Context<'_> {
        let mut context = Context::new(now, &self.settings);
        context.restarts_in_place = self.in_place;
        context.keeps_stopped = self.keeps;
        context.alternatives = &self.alternatives;
        context
    }
}

fn worlds() -> Vec<World> {
    let (never, always) = (RestartPolicy::Never, RestartPolicy::Always);
    let once = RestartPolicy::OnFailure { max_retries: Some(1) };
    [
        // Policy, checked, restarts in place, keeps what has ended, may be moved and resized.
        (never, false, true, true, false),
        (never, true, true, false, false),
        (once, true, true, true, false),
        (once, false, false, true, true),
        (always, false, true, true, false),
        (always, true, false, false, false),
    ]
    .map(|(restart, checked, in_place, keeps, other)| {
        let settings = RecoverySettings {
            max_attempts: 2,
            jitter_percent: 0,
            fail_over: other,
            memory_max: other.then(|| ByteSize::new(200)),
            ..RecoverySettings::default()
        };
        let alternatives = if other { vec![provider("two")] } else { Vec::new() };
        World { restart, checked, in_place, keeps, settings, alternatives }
    })
    .into()
}

/// The present generation of every worker of the search; the one before is told of too.
const GENERATION: Generation = match Generation::new(2) {
    Some(generation) => generation,
    None => Generation::FIRST,
};
/// The time of every decision but those that wait for something.
const NOW: u64 = 0;
const LATER: u64 = 100_000;

/// The same situation under the names of the search.
fn plain(mut worker: Worker) -> Worker {
    let (run, earlier) = (worker.run.clone(), worker.earlier_run.clone());
    let name = |known: &mut Option<RunId>| {
        if let Some(known) = known {
            let text = if Some(&*known) == run.as_ref() {
                "b"
            } else if Some(&*known) == earlier.as_ref() {
                "a"
            } else {
                "x"
            };
            *known = RunId::new(text);
        }
    };
    let time = |time: &mut Timestamp| *time = if *time <= at(NOW) { at(NOW) } else { at(LATER) };
    name(&mut worker.run);
    name(&mut worker.earlier_run);
    if let Some(Pending::Start { after }) = &mut worker.pending {
        name(after);
    }
    if let Some(Pending::Drain { until }) = &mut worker.pending {
        time(until);
    }
    if let Some(Pending::Stop { grace: Some(grace) }) = &mut worker.pending {
        *grace = (*grace).min(Duration::from_secs(1));
    }
    if let Some(end) = &mut worker.end {
        name(&mut end.run);
        // Only whether it is there is decided by.
        (end.reason, end.at, end.exit, end.failure) = (None, None, None, None);
    }
    if let Some(at) = &mut worker.retry_at {
        time(at);
    }
    if let Some(recovery) = &mut worker.recovery {
        recovery.history = Default::default();
        recovery.failure = None;
        if let Some((_, due)) = &mut recovery.planned {
            time(due);
        }
    }
    // Decided by is whether there has been a refusal, and whether there is one too many; the number of failures alone only
    // makes pauses longer.
    let refused = if worker.refused == 0 { 0 } else { worker.refused.clamp(4, 5) };
    (worker.calls_failed, worker.refused) = (0, refused);
    worker.generation = GENERATION;
    (worker.version, worker.position, worker.intent, worker.owner_epoch) = (9, 9, 9, 0);
    worker.unreachable_since = worker.unreachable_since.map(|_| at(NOW));
    (worker.since, worker.started) = (at(NOW), worker.started.map(|_| at(NOW)));
    worker
}

/// A decision in short.
pub(super) fn told(decision: &Decision) -> String {
    let mut text = String::new();
    for event in &decision.events {
        let state = event.new_state.map_or("none", WorkerState::as_str);
        let passed = if event.inferred { ", inferred" } else { "" };
        let change = format!("{:?}", event.change);
        let name: String = change.chars().take_while(|letter| letter.is_alphanumeric()).collect();
        let _ = write!(text, "[{name} -> {state}{passed}] ");
    }
    if let Some(call) = &decision.call {
        let _ = write!(text, "{call:?}");
    }
    text + if decision.abandons { " instead" } else { "" }
}

/// One situation with the way that led there.
struct Found {
    worker: Worker,
    from: Option<(usize, String)>,
}

fn way(found: &[Found], mut place: usize) -> String {
    let mut steps = Vec::new();
    while let Some((from, name)) = &found[place].from {
        steps.push(name.clone());
        place = *from;
    }
    steps.reverse();
    steps.join(" / ")
}

fn key(worker: &Worker) -> String {
    serde_json::to_string(worker).unwrap()
}

/// Every situation of that world; panics with the ways to the first things that are wrong.
fn explore(world: &World) -> Vec<Worker> {
    let mut traits = traits(world.restart, world.checked);
    traits.memory_limit = Some(ByteSize::new(100));
    let mut found: Vec<Found> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut open = VecDeque::new();
    for goal in [Goal::Running, Goal::Stopped] {
        let (provider, traits) = (provider("one"), traits.clone());
        let input = Input::Command(Command::Create { provider, generation: GENERATION, goal, traits });
        let (worker, _) = transition(&id(), None, &input, &world.context(at(NOW))).unwrap();
        let worker = plain(worker.unwrap());
        known.insert(key(&worker), found.len());
        open.push_back(found.len());
        found.push(Found { worker, from: None });
    }
    let mut faults: Vec<(String, String)> = Vec::new();
    while let Some(place) = open.pop_front() {
        let before = found[place].worker.clone();
        for (name, input, now) in inputs::all(&before) {
            let context = world.context(at(now));
            let Ok(decision) = decide(&id(), Some(&before), &input, &context) else {
                assert!(matches!(input, Input::Command(_)), "{name}: only a command may be refused");
                continue;
            };
            if decision.is_empty() && before.retry_at.is_none() {
                continue;
            }
            let mut after = Some(before.clone());
            for event in &decision.events {
                after = Worker::apply(after, event);
            }
            let verdict = rules::check(&before, &input, at(now), &decision, after.as_ref());
            if let Err(fault) = verdict {
                let kind = format!("{:?} + {name}: {fault}", before.state);
                if faults.iter().all(|(known, _)| *known != kind) {
                    faults.push((kind, format!("{} / {name}: {}", way(&found, place), told(&decision))));
                }
                continue;
            }
            let Some(after) = after.filter(|worker| worker.state.is_some() && !decision.events.is_empty())
            else {
                continue;
            };
            let after = plain(after);
            if let Entry::Vacant(free) = known.entry(key(&after)) {
                free.insert(found.len());
                open.push_back(found.len());
                found.push(Found { worker: after, from: Some((place, name)) });
            }
        }
        assert!(
            found.len() < 200_000,
            "there is no end to it: {:?}",
            found.last().map(|found| &found.worker)
        );
    }
    let mut text = String::new();
    for (kind, way) in faults.iter().take(12) {
        let _ = writeln!(text, "- {kind}\n  {way}");
    }
    assert!(faults.is_empty(), "{} faults in {} situations of {world:?}\n{text}", faults.len(), found.len());
    found.into_iter().map(|found| found.worker).collect()
}

/// Every world with its situations, found once for all tests.
fn for_each_world(prove: impl Fn(&World, &[Worker])) {
    static FOUND: OnceLock<Vec<(World, Vec<Worker>)>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let worlds = worlds();
        std::thread::scope(|scope| {
            let all: Vec<_> = worlds.iter().map(|world| scope.spawn(|| explore(world))).collect();
            let all = all
                .into_iter()
                .map(|one| one.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)));
            worlds.iter().cloned().zip(all.collect::<Vec<_>>()).collect()
        })
    });
    for (world, workers) in found {
        prove(world, workers);
    }
}

#[test]
fn l1_every_input_in_every_situation_keeps_the_rules() {
    for_each_world(|_, workers| assert!(workers.len() > 300, "{} situations", workers.len()));
}
