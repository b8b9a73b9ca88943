use std::fmt;

use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// It exited with this code, or was killed by the signal that is 128 less: the provider cannot tell, as
    /// container engines report both alike.
    CodeOrSignal(i32),
}

impl ExitStatus {
    /// The end that a provider reports as one number in the convention of shells.
    pub const fn from_shell(code: i32) -> Self {
        // Signals are 1 to 64 on Linux.
        if code > 128 && code <= 192 { Self::CodeOrSignal(code) } else { Self::Code(code) }
    }
    /// Whether it ended well. Nothing but the code 0 does.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Code(0))
    }
    /// The end as one number, as a shell shows it: signals as 128 and their number.
    pub const fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) | Self::CodeOrSignal(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
    /// The signal that killed it, or may have.
    pub const fn possible_signal(self) -> Option<i32> {
        match self {
            Self::Code(_) => None,
            Self::Signal(signal) => Some(signal),
            Self::CodeOrSignal(code) => Some(code - 128),
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::CodeOrSignal(code) => write!(f, "exit code {code} or signal {}", code - 128),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_only_code_0_is_a_success() {
        assert!(ExitStatus::from_shell(0).is_success());
        for exit in
            [ExitStatus::Code(1), ExitStatus::Signal(15), ExitStatus::from_shell(137), ExitStatus::Signal(0)]
        {
            assert!(!exit.is_success(), "{exit}");
        }
    }

    #[test]
    fn p1_what_cannot_be_told_apart_is_said() {
        assert_eq!(ExitStatus::from_shell(137), ExitStatus::CodeOrSignal(137));
        assert_eq!(ExitStatus::from_shell(255), ExitStatus::Code(255));
        assert_eq!(ExitStatus::from_shell(137).possible_signal(), Some(9));
    }
}
