use std::time::Duration;

use super::{Change, Goal, Next, Pending, WorkerState, health, outcome};
use crate::{
    lifecycle::{
        Escalation, RunEnd, Strategy,
        recovery::{self, Case, Plan},
    },
    status::FailureClass,
};

/// It has no more jobs: what waited for that goes on, with the time that is left.
pub(super) fn idle(next: &mut Next<'_>) {
    let Some(Pending::Drain { until }) = next.worker.pending else { return };
    let left = until.duration_since(next.context.now);
    let grace = Duration::try_from(left).unwrap_or_default();
    next.stay(Change::StopIntended { grace: Some(grace) });
    next.call();
}

pub(super) fn due(next: &mut Next<'_>) {
    let recovery = next.context.recovery;
    if next.worker.due(recovery).is_none_or(|due| due > next.context.now) {
        return;
    }
    // What was told may be old, and it may be back long since: it is looked at first.
    if next.is_lost() {
        return next.observe();
    }
    match next.worker.pending {
        // The jobs have had their time.
        Some(Pending::Drain { .. }) => {
            next.stay(Change::StopIntended { grace: Some(Duration::ZERO) });
            next.call();
        }
        Some(_) => next.call(),
        None if next.state() == WorkerState::Recovering => next.bring_back(),
        None => next.stay(Change::Recovered),
    }
}

impl Next<'_> {
    /// A run has ended, or could not begin.
    pub(super) fn ended(&mut self, end: RunEnd) {
        match (self.state(), &self.worker.pending) {
            // It is being removed, or was left alone.
            (_, Some(Pending::Delete { .. })) | (WorkerState::Stopped | WorkerState::Failed, _) => {
                self.stay(Change::Ended(Box::new(end)));
            }
            (WorkerState::Stopping, _) => self.ended_as_asked(end),
            (WorkerState::Recovering, Some(Pending::Stop { .. })) => self.ended_to_be_restarted(end),
            _ => self.ended_by_itself(end),
        }
    }

    fn ended_as_asked(&mut self, end: RunEnd) {
        let end = RunEnd { failure: None, ..end };
        let gone = end.gone;
        self.go(Change::Ended(Box::new(end)), WorkerState::Stopped);
        match self.worker.goal {
            Goal::Removed if gone => self.remove_the_rest(),
            Goal::Removed => self.delete(false),
            Goal::Running => self.start(),
            Goal::Stopped => {}
        }
    }

    fn ended_to_be_restarted(&mut self, end: RunEnd) {
        self.stay(Change::Ended(Box::new(end)));
        let planned = self.worker.recovery.as_ref().and_then(|recovery| recovery.planned);
        if planned.is_none_or(|(_, due)| due <= self.context.now) {
            self.bring_back();
        }
    }

    fn ended_by_itself(&mut self, end: RunEnd) {
        self.settle();
        let plan = self.plan(end.failure, end.gone);
        let (failure, reason) = (end.failure, end.reason.clone());
        self.pass_through_running(&end);
        match plan {
            Plan::Leave if failure.is_none() => self.go(Change::Ended(Box::new(end)), WorkerState::Stopped),
            Plan::Leave => self.go(Change::Ended(Box::new(end)), WorkerState::Failed),
            Plan::Escalate(why) => {
                self.go(Change::Ended(Box::new(end)), WorkerState::Failed);
                self.stay(Change::Escalated { why, failure, reason });
            }
            Plan::Try { strategy, pause, attempt } => {
                self.go(Change::Ended(Box::new(end)), WorkerState::Recovering);
                self.plan_recovery(strategy, pause, attempt, failure);
                if pause.is_zero() {
                    self.bring_back();
                }
            }
        }
    }

    /// A run that was over before it was seen has run.
    fn pass_through_running(&mut self, end: &RunEnd) {
        let unseen = end.run.is_some() && self.worker.run != end.run;
        if unseen && matches!(self.state(), WorkerState::Creating | WorkerState::Starting) {
            self.go(Change::Passed, WorkerState::Running);
            if let Some(last) = self.decision.events.last_mut() {
                last.inferred = true;
            }
        }
    }

    /// It failed without a run, or by what a call said.
    pub(super) fn failed(&mut self, class: FailureClass, reason: &str, gone: bool) {
        let run = self.worker.run.clone().filter(|_| self.worker.alive);
        let created = self.worker.created;
        let gone = gone || !created;
        let reason = Some(reason.to_owned());
        if self.wants(Goal::Removed) {
            self.delete(false);
            return;
        }
        self.ended(RunEnd { run, exit: None, failure: Some(class), reason, at: None, gone });
    }

    /// It is not well: it is stopped, and started again.
    pub(super) fn restart_unhealthy(&mut self, reason: String) {
        self.settle();
        let failure = Some(FailureClass::Unhealthy);
        match self.plan(failure, false) {
            // Nobody may restart it: it gets less work.
            Plan::Leave => {
                self.stay(Change::Unhealthy { reason: reason.clone() });
                health::degrade(self, health::UNWELL, reason);
            }
            Plan::Escalate(why) => {
                self.go(Change::Unhealthy { reason: reason.clone() }, WorkerState::Failed);
                self.stay(Change::Escalated { why, failure, reason: Some(reason) });
            }
            Plan::Try { strategy, pause, attempt } => {
                self.go(Change::Unhealthy { reason }, WorkerState::Recovering);
                self.plan_recovery(strategy, pause, attempt, failure);
                self.stay(Change::StopIntended { grace: None });
                self.call();
            }
        }
    }

    /// Whether its node has not answered for as long as is waited.
    pub(super) fn is_lost(&self) -> bool {
        let lost = self.worker.lost_at(self.context.recovery);
        lost.is_some_and(|lost| lost <= self.context.now)
    }

    /// Its node does not answer, as was just looked, and has not for as long as is waited. It may run all the same: nothing
    /// else is made of it before its provider is sure that there is nothing of it any more, which may need a person.
    pub(super) fn lost(&mut self) {
        let failure = Some(FailureClass::NodeLost);
        let reason = "its node does not answer".to_owned();
        let called = Change::Escalated { why: Escalation::NodeLost, failure, reason: Some(reason.clone()) };
        if self.worker.pending.is_none()
            && let Plan::Try { strategy, attempt, .. } = self.plan(failure, false)
        {
            self.go(Change::Unhealthy { reason }, WorkerState::Recovering);
            self.plan_recovery(strategy, Duration::ZERO, attempt, failure);
            self.stay(Change::DeleteIntended { replace: true, keep_volumes: true });
            self.call();
        }
        self.stay(called);
    }

    fn plan_recovery(
        &mut self,
        strategy: Strategy,
        pause: Duration,
        attempt: u32,
        failure: Option<FailureClass>,
    ) {
        let due = self.after(pause);
        self.stay(Change::RecoveryPlanned { strategy, attempt, due, failure });
    }

    /// Takes note, if it ran for long, that it had recovered.
    fn settle(&mut self) {
        let settings = self.settings();
        let Some(recovery) = &self.worker.recovery else { return };
        let ran = self.worker.started.map(|started| self.context.now.duration_since(started));
        let long =
            ran.is_some_and(|ran| Duration::try_from(ran).is_ok_and(|ran| ran >= settings.reset_after.get()));
        if recovery.attempts > 0 && self.worker.alive && long {
            self.stay(Change::Recovered);
        }
    }

    fn plan(&self, failure: Option<FailureClass>, gone: bool) -> Plan {
        let settings = self.settings();
        let known = self.worker.recovery.clone().unwrap_or_default();
        if !self.wants(Goal::Running) {
            return Plan::Leave;
        }
        recovery::plan(&Case {
            settings: &settings,
            restart: self.worker.traits.restart,
            failure,
            attempts: known.attempts,
            history: &known.history,
            can_restart: !gone && self.context.restarts_in_place && self.context.keeps_stopped,
            can_fail_over: !self.context.alternatives.is_empty(),
            memory_limit: self.worker.traits.memory_limit,
            chance: self.context.chance,
        })
    }

    /// Does what was planned.
    fn bring_back(&mut self) {
        let planned = self.worker.recovery.as_ref().and_then(|recovery| recovery.planned);
        let strategy = planned.map_or(Strategy::Restart, |(strategy, _)| strategy);
        match strategy {
            Strategy::Restart => self.start(),
            _ if self.worker.created => self.replace(),
            _ => outcome::create_anew(self),
        }
    }
}
