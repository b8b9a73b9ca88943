use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// Orders what is known of one worker, without a clock.
///
/// Of two reads that overlapped it cannot be told which is the later, and of versions from different sources neither:
/// then neither is greater, and who has to know asks the provider again. A platform's own version is of one source for
/// ever; what a [`WatchHub`](crate::watch::WatchHub) counts holds for the provider that it belongs to, until that is
/// built anew.
///
/// # Examples
/// ```
/// use hodei_worker_core::status::Version;
/// assert!(Version::of_platform(7) < Version::of_platform(8));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Who counts; 0 is the platform.
    source: u64,
    begun: u64,
    ended: u64,
}

impl Version {
    /// The platform's own count of the object's changes: Kubernetes' `resourceVersion`, a task's `version`.
    pub const fn of_platform(count: u64) -> Self {
        Self { source: 0, begun: count, ended: count }
    }

    /// Of a read that began and ended at these counts.
    pub(crate) const fn of_read(source: u64, begun: u64, ended: u64) -> Self {
        Self { source, begun, ended }
    }

    /// Whether the platform counts.
    pub const fn is_platforms(self) -> bool {
        self.source == 0
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        if self == other {
            Some(Ordering::Equal)
        } else if self.source != other.source {
            None
        } else if self.ended < other.begun {
            Some(Ordering::Less)
        } else if self.begun > other.ended {
            Some(Ordering::Greater)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_reads_that_overlapped_have_no_order() {
        let read = |begun, ended| Version::of_read(9, begun, ended);
        assert!(read(1, 2) < read(3, 4));
        assert!(read(5, 6) > read(3, 4));
        assert_eq!(read(1, 4).partial_cmp(&read(2, 3)), None);
        assert_eq!(read(1, 3).partial_cmp(&read(2, 4)), None);
        assert_eq!(Version::of_read(8, 1, 2).partial_cmp(&read(3, 4)), None);
        assert_eq!(Version::of_platform(3).partial_cmp(&read(3, 3)), None);
        assert_eq!(read(1, 2).partial_cmp(&read(1, 2)), Some(Ordering::Equal));
    }
}
