//! When to kill: instants spread over a call, and then aimed at what none of them has hit.

use std::time::Duration;

/// What a kill came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// Before the call had an effect.
    Before,
    /// Between its effect and its answer.
    Inside,
    /// After it had answered.
    After,
}

impl Hit {
    // In the order in which they are aimed at: the two ends tell where the middle is.
    const ALL: [Self; 3] = [Self::Before, Self::After, Self::Inside];

    /// What it was, in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before it had an effect",
            Self::Inside => "between its effect and its answer",
            Self::After => "after it had answered",
        }
    }
}

/// Kills beyond the rounds that were asked for, until each kind was hit.
const MORE: usize = 150;

/// The instants of one operation's kills.
#[derive(Debug)]
pub struct Aim {
    usual: f64,
    rounds: usize,
    hits: Vec<(f64, Hit)>,
    /// Where the call is guessed to have its effect, and by how much the next hit moves the guess. In seconds.
    middle: f64,
    step: f64,
}

impl Aim {
    /// For a call that takes so long when nobody disturbs it.
    pub fn new(usual: Duration, rounds: usize) -> Self {
        let usual = usual.as_secs_f64();
        Self { usual, rounds, hits: Vec::new(), middle: usual * 0.8, step: usual * 0.1 }
    }

    /// The next instant, counted from the call's begin; `None` when it is enough.
    pub fn next(&self) -> Option<Duration> {
        let done = self.hits.len();
        let instant = if done < self.rounds {
            // Over the call and a little beyond.
            1.2 * self.usual * done as f64 / (self.rounds.max(2) - 1) as f64
        } else if done >= self.rounds + MORE {
            return None;
        } else {
            match self.missing().first()? {
                Hit::Before => 0.0,
                Hit::After => self.latest() * 1.5,
                Hit::Inside => self.middle,
            }
        };
        Some(Duration::from_secs_f64(instant))
    }

    /// Takes in what a kill at that instant came to.
    pub fn hit(&mut self, after: Duration, hit: Hit) {
        let first = self.count(hit) == 0;
        self.hits.push((after.as_secs_f64(), hit));
        if self.hits.len() == self.rounds || first {
            self.middle = self.boundary();
        } else if self.hits.len() > self.rounds {
            match hit {
                Hit::Before => self.middle += self.step,
                Hit::Inside => {}
                Hit::After => self.middle = (self.middle - self.step).max(0.0),
            }
            self.step = (self.step * 0.95).max(self.usual * 0.01);
        }
    }

    /// How many were of that kind.
    pub fn count(&self, kind: Hit) -> usize {
        self.hits.iter().filter(|(_, hit)| *hit == kind).count()
    }

    /// How many there were.
    pub fn total(&self) -> usize {
        self.hits.len()
    }

    /// What was never hit.
    pub fn missing(&self) -> Vec<Hit> {
        Hit::ALL.into_iter().filter(|kind| self.count(*kind) == 0).collect()
    }

    fn latest(&self) -> f64 {
        self.hits.iter().map(|(instant, _)| *instant).fold(self.usual, f64::max)
    }

    /// Between the last kill before the effect and the first after the answer.
    fn boundary(&self) -> f64 {
        let of = |kind| self.hits.iter().filter(move |(_, hit)| *hit == kind).map(|(instant, _)| *instant);
        let last = of(Hit::Before).fold(0.0, f64::max);
        let first = of(Hit::After).fold(f64::INFINITY, f64::min).min(self.latest());
        f64::midpoint(last, first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Aims at a call that has its effect and its answer at these instants, in microseconds.
    fn aimed(effect: u64, answer: u64, usual: u64, rounds: usize) -> Aim {
        let mut aim = Aim::new(Duration::from_micros(usual), rounds);
        while let Some(after) = aim.next() {
            let at = after.as_micros() as u64;
            let hit = if at < effect {
                Hit::Before
            } else if at < answer {
                Hit::Inside
            } else {
                Hit::After
            };
            aim.hit(after, hit);
        }
        aim
    }

    #[test]
    fn a_call_that_is_hit_everywhere_is_killed_as_often_as_asked() {
        let aim = aimed(300, 900, 1000, 20);
        assert_eq!(aim.total(), 20);
        assert!(aim.missing().is_empty());
    }

    #[test]
    fn what_was_not_hit_is_aimed_at() {
        // A narrow gap between the effect and the answer; a call slower than it was; one faster.
        for (effect, answer, usual) in [(410, 420, 430), (2000, 3000, 400), (20, 25, 400)] {
            let aim = aimed(effect, answer, usual, 5);
            assert!(aim.missing().is_empty(), "{effect}–{answer}: {aim:?}");
        }
    }

    #[test]
    fn what_cannot_be_hit_is_given_up_and_told() {
        let aim = aimed(0, 100, 100, 5);
        assert_eq!(aim.missing(), [Hit::Before]);
        assert_eq!(aim.total(), 5 + MORE);
    }
}
