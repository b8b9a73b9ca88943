use std::{fmt, time::Duration};

use hodei_worker_core::{Timestamp, model::Generation, status::PhaseTimes};
use serde::{Deserialize, Serialize};

/// A part of the time until a worker runs; see [the module](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StartPhase {
    /// Until a place was found for it.
    Schedule,
    /// Until its image was there.
    Pull,
    /// Until the provider had created it.
    Create,
    /// Until its command ran.
    Start,
    /// Until it was found well.
    Ready,
}

impl StartPhase {
    /// All of them, in their usual order.
    pub const ALL: [Self; 5] = [Self::Schedule, Self::Pull, Self::Create, Self::Start, Self::Ready];

    /// Its name in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Pull => "pull",
            Self::Create => "create",
            Self::Start => "start",
            Self::Ready => "ready",
        }
    }
}

impl fmt::Display for StartPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How long the phases of one start took; those that there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Phases([Option<Duration>; StartPhase::ALL.len()]);

impl Phases {
    pub(super) fn iter(&self) -> impl Iterator<Item = (StartPhase, Duration)> {
        StartPhase::ALL.into_iter().zip(self.0).filter_map(|(phase, took)| Some((phase, took?)))
    }
    pub(super) fn total(&self) -> Duration {
        self.0.iter().flatten().sum()
    }
}

/// A start under way: when which phase ended.
#[derive(Debug, Clone)]
pub(super) struct StartUp {
    pub(super) generation: Generation,
    begun: Timestamp,
    /// When it was asked to run, after it had been created.
    asked: Option<Timestamp>,
    ends: [Option<Timestamp>; StartPhase::ALL.len()],
}

impl StartUp {
    pub(super) fn begin(generation: Generation, at: Timestamp) -> Self {
        Self { generation, begun: at, asked: None, ends: [None; StartPhase::ALL.len()] }
    }

    pub(super) fn asked(&mut self, at: Timestamp) {
        self.asked = Some(at);
    }

    pub(super) fn has(&self, phase: StartPhase) -> bool {
        self.ends[phase as usize].is_some()
    }

    /// The phase ended then. What was before this start belongs to an earlier one.
    pub(super) fn reached(&mut self, phase: StartPhase, at: Timestamp) {
        if at >= self.begun {
            self.ends[phase as usize] = Some(at);
        }
    }

    /// What the provider says, where nothing better is known.
    pub(super) fn note(&mut self, times: &PhaseTimes) {
        let told = [
            (StartPhase::Schedule, times.scheduled),
            (StartPhase::Pull, times.pulled),
            (StartPhase::Start, times.started),
        ];
        for (phase, at) in told {
            if let Some(at) = at.filter(|_| !self.has(phase)) {
                self.reached(phase, at);
            }
        }
    }

    /// Its command runs, by the provider's clock since `at`; by ours that was after it was asked and before now.
    pub(super) fn started(&mut self, at: Option<Timestamp>, now: Timestamp) {
        let at = at.or(self.ends[StartPhase::Start as usize]).unwrap_or(now);
        let floor = self.asked.unwrap_or(self.begun).min(now);
        self.ends[StartPhase::Start as usize] = Some(at.clamp(floor, now));
    }

    /// How long each phase took, from the end of the one before it in time.
    pub(super) fn phases(&self) -> Phases {
        // The time before the request to run, in which nothing was wanted, comes after its creation.
        let idle = (self.asked, 2, None);
        let ends = StartPhase::ALL.map(|phase| (self.ends[phase as usize], phase as usize, Some(phase)));
        let known = ends.into_iter().chain([idle]);
        let mut points: Vec<_> = known.filter_map(|(at, rank, phase)| Some((at?, rank, phase))).collect();
        points.sort_by_key(|(at, rank, phase)| (*at, *rank, phase.is_none()));
        let mut phases = Phases::default();
        let mut before = self.begun;
        for (at, _, phase) in points {
            let took = Duration::try_from(at.duration_since(before)).unwrap_or_default();
            if let Some(phase) = phase {
                phases.0[phase as usize] = Some(took);
            }
            before = at;
        }
        phases
    }
}
