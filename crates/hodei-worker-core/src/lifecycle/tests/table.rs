use crate::{ErrorKind, lifecycle::WorkerState};

/// SPEC L1 written out: a row for the state before, a column for the state after, both in the order of the text.
#[rustfmt::skip]
const TABLE: [(&str, &str); 8] = [
    //               C  S  R  D  V  P  T  F
    ("creating",   " .  x  .  .  .  x  .  x "),
    ("starting",   " .  .  x  x  x  x  x  x "),
    ("running",    " .  .  .  x  x  x  x  x "),
    ("degraded",   " .  .  x  .  x  x  x  x "),
    ("recovering", " .  x  x  x  .  x  x  x "),
    ("stopping",   " .  .  .  .  .  .  x  x "),
    ("stopped",    " .  x  .  .  .  x  .  x "),
    ("failed",     " .  x  .  .  x  x  .  . "),
];

fn allowed(from: usize, to: usize) -> bool {
    TABLE[from].1.split_whitespace().nth(to) == Some("x")
}

#[test]
fn l1_the_table_is_the_contracts() {
    for (n, from) in WorkerState::ALL.into_iter().enumerate() {
        assert_eq!(from.as_str(), TABLE[n].0);
        for (m, to) in WorkerState::ALL.into_iter().enumerate() {
            assert_eq!(from.may_become(to), allowed(n, m), "{from} -> {to}");
        }
    }
}

#[test]
fn l1_what_the_table_refuses_is_refused_with_both_states_named() {
    for from in WorkerState::ALL {
        for to in WorkerState::ALL {
            match from.become_state(to) {
                Ok(state) => assert!(from.may_become(to) && state == to),
                Err(error) => {
                    assert!(!from.may_become(to));
                    assert_eq!(error.kind(), ErrorKind::Conflict);
                    let text = error.to_string();
                    assert!(text.contains(from.as_str()) && text.contains(to.as_str()), "{text}");
                }
            }
        }
    }
}

/// Lengths of the shortest ways, found by another algorithm (Floyd and Warshall's).
#[allow(clippy::needless_range_loop)] // Indices are what it is about.
fn distances() -> [[usize; 8]; 8] {
    const FAR: usize = 99;
    let mut far = [[FAR; 8]; 8];
    for from in 0..8 {
        for to in 0..8 {
            if from == to {
                far[from][to] = 0;
            } else if allowed(from, to) {
                far[from][to] = 1;
            }
        }
    }
    for over in 0..8 {
        for from in 0..8 {
            for to in 0..8 {
                far[from][to] = far[from][to].min(far[from][over] + far[over][to]);
            }
        }
    }
    far
}

#[test]
fn l1_the_way_to_another_state_is_the_shortest() {
    let distances = distances();
    for (n, from) in WorkerState::ALL.into_iter().enumerate() {
        for (m, to) in WorkerState::ALL.into_iter().enumerate() {
            let path = from.path_to(to);
            if n != m && to == WorkerState::Creating {
                assert_eq!(path, None, "nothing leads back to a creation");
                continue;
            }
            let path = path.unwrap();
            assert_eq!(path.len(), distances[n][m], "{from} -> {to}: {path:?}");
            let mut state = from;
            for next in &path {
                state = state.become_state(*next).unwrap();
            }
            assert_eq!(state, to);
        }
    }
}
