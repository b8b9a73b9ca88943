use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hodei_worker_core::{
    Error, ErrorKind, Result, Retry, WorkerId,
    lifecycle::{Goal, Worker},
    model::GroupRef,
};

use super::{
    DegradationSettings, GroupCapacity,
    group::{Group, Member, Refusal},
    weight,
};

/// How often one is drawn at random before all are looked through.
const DRAWS: usize = 16;

/// Knows how well workers are and what they have to do, and says who gets work and what is refused. Clones are handles of
/// the same.
///
/// Whoever manages workers tells it of each change, and whoever hands out jobs of their begin and end. Workers without a
/// type are a group of their own.
#[derive(Clone)]
pub struct Degradation(Arc<Mutex<Inner>>);

struct Inner {
    settings: DegradationSettings,
    names: HashMap<Option<GroupRef>, usize>,
    groups: Vec<Group>,
    seats: HashMap<WorkerId, Seat>,
    /// Of those that have jobs: by priority.
    jobs: HashMap<WorkerId, BTreeMap<i32, u64>>,
    random: fastrand::Rng,
}

#[derive(Debug, Clone, Copy)]
struct Seat {
    group: u32,
    place: u32,
}

impl Default for Degradation {
    fn default() -> Self {
        Self::new(DegradationSettings::default())
    }
}

impl Degradation {
    /// With these settings.
    pub fn new(settings: DegradationSettings) -> Self {
        Self::with_random(settings, fastrand::Rng::new())
    }

    pub(super) fn with_random(settings: DegradationSettings, random: fastrand::Rng) -> Self {
        let (names, groups) = (HashMap::new(), Vec::new());
        let (seats, jobs) = (HashMap::new(), HashMap::new());
        Self(Arc::new(Mutex::new(Inner { settings, names, groups, seats, jobs, random })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker as it is now.
    pub fn observe(&self, worker: &Worker) {
        self.inner().observe(worker);
    }

    /// Another host answers for the worker: it gets no work from here. The jobs that it has go on, and count again should it
    /// come back.
    pub fn forget(&self, worker: &WorkerId) {
        self.inner().leave(worker);
    }

    /// A job began on the worker.
    pub fn job_began(&self, worker: &WorkerId, priority: i32) {
        self.inner().job_began(worker, priority);
    }

    /// A job of that priority ended on the worker.
    pub fn job_ended(&self, worker: &WorkerId, priority: i32) {
        self.inner().job_ended(worker, priority);
    }

    /// Whether a job of that priority may begin on the worker. Of a worker that was never told of everything may.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] with [`Retry::Safe`] and the reason: the worker does not run, has what it can do, or its
    /// group has more to do than it can, and what is less important goes first.
    pub fn admit(&self, worker: &WorkerId, priority: i32) -> Result<()> {
        self.inner().admit(worker, priority)
    }

    /// Admits a job, and counts it at once.
    pub(super) fn reserve(&self, worker: &WorkerId, priority: i32) -> Result<()> {
        let mut inner = self.inner();
        inner.admit(worker, priority)?;
        inner.job_began(worker, priority);
        Ok(())
    }

    /// The worker of a group that gets the next job of that priority: of two that are drawn by weight the one that has
    /// less to do for its weight. It is not taken to have begun: tell [`job_began`](Self::job_began).
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] as for [`admit`](Self::admit), and when no worker of the group runs.
    pub fn choose(&self, group: Option<&GroupRef>, priority: i32) -> Result<WorkerId> {
        self.inner().choose(group, priority)
    }

    /// What a group can do at present.
    pub fn capacity(&self, group: Option<&GroupRef>) -> GroupCapacity {
        let inner = self.inner();
        let known = inner.names.get(&group.cloned()).and_then(|index| inner.groups.get(*index));
        known.map(|group| group.capacity(&inner.settings)).unwrap_or_default()
    }
}

impl Inner {
    fn observe(&mut self, worker: &Worker) {
        let Some(state) = worker.state else { return self.remove(&worker.id) };
        let member = Member {
            weight: weight(worker, &self.settings),
            runs: state.takes_work(),
            wanted: worker.goal == Goal::Running && !is_over(worker),
        };
        let group = self.group(worker.traits.worker_type.as_ref());
        match self.seats.get(&worker.id).copied() {
            Some(seat) if seat.group as usize == group => {
                let group = &mut self.groups[group];
                let (_, known) = &mut group.members[seat.place as usize];
                let before = std::mem::replace(known, member);
                group.count_out(before);
                group.count_in(member);
            }
            known => {
                if known.is_some() {
                    self.leave(&worker.id);
                }
                self.add(&worker.id, group, member);
            }
        }
    }

    fn group(&mut self, name: Option<&GroupRef>) -> usize {
        let next = self.groups.len();
        let group = *self.names.entry(name.cloned()).or_insert(next);
        if group == next {
            self.groups.push(Group::default());
        }
        group
    }

    #[allow(clippy::cast_possible_truncation)] // Four thousand million workers.
    fn add(&mut self, worker: &WorkerId, index: usize, member: Member) {
        let group = &mut self.groups[index];
        let place = group.members.len() as u32;
        group.members.push((worker.clone(), member));
        group.count_in(member);
        self.seats.insert(worker.clone(), Seat { group: index as u32, place });
        for (priority, count) in self.jobs.get(worker).into_iter().flatten() {
            (0..*count).for_each(|_| self.groups[index].job_began(*priority));
        }
    }

    fn remove(&mut self, worker: &WorkerId) {
        self.leave(worker);
        self.jobs.remove(worker);
    }

    /// Takes its seat, and its jobs from its group.
    fn leave(&mut self, worker: &WorkerId) {
        let Some(seat) = self.seats.remove(worker) else { return };
        let group = &mut self.groups[seat.group as usize];
        let (_, member) = group.members.swap_remove(seat.place as usize);
        group.count_out(member);
        if let Some((moved, _)) = group.members.get(seat.place as usize)
            && let Some(moved) = self.seats.get_mut(moved)
        {
            moved.place = seat.place;
        }
        for (priority, count) in self.jobs.get(worker).into_iter().flatten() {
            (0..*count).for_each(|_| group.job_ended(*priority));
        }
    }

    fn job_began(&mut self, worker: &WorkerId, priority: i32) {
        let Some(seat) = self.seats.get(worker) else { return };
        self.groups[seat.group as usize].job_began(priority);
        *self.jobs.entry(worker.clone()).or_default().entry(priority).or_default() += 1;
    }

    fn job_ended(&mut self, worker: &WorkerId, priority: i32) {
        let Some(jobs) = self.jobs.get_mut(worker) else { return };
        let Some(count) = jobs.get_mut(&priority) else { return };
        *count -= 1;
        if *count == 0 {
            jobs.remove(&priority);
        }
        if jobs.is_empty() {
            self.jobs.remove(worker);
        }
        if let Some(seat) = self.seats.get(worker) {
            self.groups[seat.group as usize].job_ended(priority);
        }
    }

    fn jobs_of(&self, worker: &WorkerId) -> u64 {
        self.jobs.get(worker).map_or(0, |jobs| jobs.values().sum())
    }

    fn admit(&mut self, worker: &WorkerId, priority: i32) -> Result<()> {
        let Some(seat) = self.seats.get(worker).copied() else { return Ok(()) };
        let member = self.groups[seat.group as usize].members[seat.place as usize].1;
        let is_critical = priority >= self.settings.critical;
        let about = |error: Error| error.with_context("worker", worker).with_context("priority", priority);
        if !member.runs || (member.weight == 0 && !is_critical) {
            let message =
                if member.runs { "the worker gets no work at present" } else { "the worker does not run" };
            return Err(about(self.overloaded(message)));
        }
        if !is_critical && self.has_enough(worker, member) {
            return Err(about(self.overloaded("the worker has as much to do as it can at present")));
        }
        self.admit_to(seat.group as usize, priority).map_err(about)
    }

    /// Whether it has as many jobs as a worker of its weight gets; one is always right.
    fn has_enough(&self, worker: &WorkerId, member: Member) -> bool {
        let Some(jobs) = self.settings.jobs_per_worker else { return false };
        let most = (u64::from(jobs) * u64::from(member.weight) / 100).max(1);
        self.jobs_of(worker) >= most
    }

    fn admit_to(&mut self, group: usize, priority: i32) -> Result<()> {
        let Err(refusal) = self.groups[group].admit(priority, &self.settings) else { return Ok(()) };
        let capacity = self.groups[group].capacity(&self.settings);
        let error = match refusal {
            Refusal::Full => {
                self.overloaded("its group has more to do than it can, and what is less important goes first")
            }
            Refusal::Weak => {
                self.overloaded("too much of its group is not well, and what can wait goes first")
            }
        };
        let error = error.with_context("capacity", format!("{} %", capacity.percent()));
        Err(error.with_context("jobs", capacity.busy))
    }

    fn overloaded(&self, message: &'static str) -> Error {
        let after = Some(self.settings.retry_after.get());
        Error::new(ErrorKind::Overloaded, message).with_retry(Retry::Safe { after })
    }

    fn choose(&mut self, name: Option<&GroupRef>, priority: i32) -> Result<WorkerId> {
        let about = |error: Error| match name {
            Some(name) => error.with_context("worker_type", name),
            None => error,
        };
        let none = self.overloaded("no worker of the group can take it at present");
        let Some(group) = self.names.get(&name.cloned()).copied() else { return Err(about(none)) };
        self.admit_to(group, priority).map_err(about)?;
        let is_critical = priority >= self.settings.critical;
        let mut random = self.random.fork();
        let first = self.draw(group, &mut random, is_critical, None);
        let other = self.draw(group, &mut random, is_critical, first);
        let drawn = first.into_iter().chain(other);
        // Jobs for their weight, in such a way that it needs no division.
        let best = drawn.min_by(|one, other| {
            let cost = |place: &usize, scale: u64| {
                let (worker, _) = &self.groups[group].members[*place];
                (self.jobs_of(worker) + 1) * scale
            };
            let weight = |place: &usize| u64::from(self.groups[group].members[*place].1.weight);
            let by_load = cost(one, weight(other)).cmp(&cost(other, weight(one)));
            by_load.then(Reverse(weight(one)).cmp(&Reverse(weight(other))))
        });
        let Some(best) = best else { return Err(about(none)) };
        Ok(self.groups[group].members[best].0.clone())
    }

    /// One that can take work, each as often as its weight says; not that one.
    fn draw(
        &self,
        group: usize,
        random: &mut fastrand::Rng,
        is_critical: bool,
        except: Option<usize>,
    ) -> Option<usize> {
        let members = &self.groups[group].members;
        if members.len() <= usize::from(except.is_some()) {
            return None;
        }
        let is_free = |place: usize| {
            let (worker, member) = &members[place];
            except != Some(place) && (is_critical || !self.has_enough(worker, *member))
        };
        for _ in 0..DRAWS {
            let place = random.usize(..members.len());
            if random.u8(..100) < members[place].1.weight && is_free(place) {
                return Some(place);
            }
        }
        // Hardly any can: the best of those that can, beginning anywhere.
        let begin = random.usize(..members.len());
        let places = (begin..members.len()).chain(0..begin);
        let able = places.filter(|place| {
            let (_, member) = &members[*place];
            (member.weight > 0 || (is_critical && member.runs)) && is_free(*place)
        });
        able.max_by_key(|place| members[*place].1.weight)
    }
}

/// It ran to its end, as it should.
fn is_over(worker: &Worker) -> bool {
    !worker.alive && worker.end.as_ref().is_some_and(|end| end.is_success()) && worker.pending.is_none()
}

impl fmt::Debug for Degradation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        let (workers, groups) = (inner.seats.len(), inner.groups.len());
        f.debug_struct("Degradation")
            .field("workers", &workers)
            .field("groups", &groups)
            .finish_non_exhaustive()
    }
}
