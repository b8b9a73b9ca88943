//! Ends for want of memory that are not marked as such yet: containerd tells an engine of the kernel's kill and of the end
//! in any order, so that the mark comes a moment after the end at times.

use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum as State};
use jiff::{SignedDuration, Timestamp};

use crate::status::time;

/// A mark in a hundred is late on the newest engine. One that is later than this is told by the watch: who reads a status
/// is not held up for longer.
const BETWEEN: Duration = Duration::from_millis(100);
const LOOKS: usize = 10;
/// By the engine's clock, which is told in whole seconds.
const JUST_NOW: SignedDuration = SignedDuration::from_secs(2);

/// Looks that are left at a container of which more may be told.
#[derive(Debug)]
pub(crate) struct Unmarked {
    left: usize,
}

impl Default for Unmarked {
    fn default() -> Self {
        Self { left: LOOKS }
    }
}

impl Unmarked {
    /// Whether to look once more, after a moment.
    pub(crate) async fn look_again(
        &mut self,
        inspected: &ContainerInspectResponse,
        now: Option<Timestamp>,
    ) -> bool {
        if self.left == 0 || !may_be_marked_yet(inspected, now) {
            return false;
        }
        self.left -= 1;
        tokio::time::sleep(BETWEEN).await;
        true
    }
}

/// A kill just now in a container with a limit, and no word of why.
fn may_be_marked_yet(inspected: &ContainerInspectResponse, now: Option<Timestamp>) -> bool {
    let limited = inspected.host_config.as_ref().and_then(|host| host.memory).is_some_and(|limit| limit > 0);
    let Some(state) = inspected.state.as_ref().filter(|_| limited) else { return false };
    let killed = state.status == Some(State::EXITED) && state.exit_code == Some(137);
    if !killed || state.oom_killed == Some(true) {
        return false;
    }
    let (Some(now), Some(finished)) = (now, time(state.finished_at.as_deref())) else { return false };
    now.duration_since(finished).abs() < JUST_NOW
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // These are tests.
mod tests {
    use super::*;

    fn ended(code: i64, marked: bool, memory: i64) -> ContainerInspectResponse {
        let state = serde_json::json!({
            "Status": "exited", "ExitCode": code, "OOMKilled": marked, "FinishedAt": "2026-11-30T03:45:32.847Z",
        });
        serde_json::from_value(serde_json::json!({"State": state, "HostConfig": {"Memory": memory}})).unwrap()
    }

    #[test]
    fn d5_a_kill_just_now_under_a_limit_may_be_marked_yet() {
        let at = |second: i64| Timestamp::new(1_796_010_332 + second, 0).ok();
        assert!(may_be_marked_yet(&ended(137, false, 1), at(0)));
        assert!(may_be_marked_yet(&ended(137, false, 1), at(1)));
        assert!(!may_be_marked_yet(&ended(137, false, 1), at(3)), "long ago");
        assert!(!may_be_marked_yet(&ended(137, true, 1), at(0)), "it is marked");
        assert!(!may_be_marked_yet(&ended(137, false, 0), at(0)), "it has no limit");
        assert!(!may_be_marked_yet(&ended(1, false, 1), at(0)), "nobody killed it");
        assert!(!may_be_marked_yet(&ended(137, false, 1), None), "when is not known");
    }
}
