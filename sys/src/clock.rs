//! Points in time on `CLOCK_MONOTONIC`.
//!
//! A [`Deadline`] is a signed 64-bit count of nanoseconds, which is how the kernel itself keeps
//! time (`ktime_t`). All arithmetic saturates at [`Deadline::NEVER`], so none can overflow.

use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::Duration;

const NANOS_PER_SEC: i64 = 1_000_000_000;

/// The largest timeout that the crate accepts: the whole seconds that fit the kernel's signed
/// 64-bit nanosecond clock, 9,223,372,036 s or 292 years.
pub const TIMEOUT_MAX: Duration = Duration::from_secs((i64::MAX / NANOS_PER_SEC) as u64);

/// A point on `CLOCK_MONOTONIC`, or [never](Deadline::NEVER).
///
/// The clock stands still while the machine is suspended and no change of the wall clock moves it
/// (clock_gettime(2)). Later points compare greater; `NEVER` is the greatest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline {
    /// Nanoseconds since the clock's start; never negative.
    nanos: i64,
}

impl Deadline {
    /// A point that does not come.
    pub const NEVER: Deadline = Deadline { nanos: i64::MAX };

    /// `clock_gettime(CLOCK_MONOTONIC)`: this moment.
    ///
    /// Through the vDSO where the clock source allows it, so normally no system call (about 20 ns).
    #[must_use]
    pub fn now() -> Deadline {
        Deadline::read(ClockId::Monotonic)
    }

    /// `clock_gettime(CLOCK_MONOTONIC_COARSE)`: this moment as of the kernel's last tick, 1 to 10 ms
    /// ago. For what happens often and need not be exact (about 3 ns; see [`now`](Deadline::now)).
    #[must_use]
    pub fn now_coarse() -> Deadline {
        Deadline::read(ClockId::MonotonicCoarse)
    }

    fn read(clock: ClockId) -> Deadline {
        let now = clock_gettime(clock);
        Deadline {
            nanos: now
                .tv_sec
                .saturating_mul(NANOS_PER_SEC)
                .saturating_add(now.tv_nsec),
        }
    }

    /// The point `timeout` from now; [`NEVER`](Deadline::NEVER) if the clock does not reach it.
    #[must_use]
    pub fn after(timeout: Duration) -> Deadline {
        Deadline::now().plus(timeout)
    }

    /// This point moved by `by` into the future; `NEVER` if the clock does not reach it.
    #[must_use]
    pub fn plus(self, by: Duration) -> Deadline {
        let by = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        Deadline {
            nanos: self.nanos.saturating_add(by),
        }
    }

    /// Whether this point lies behind us. Reads the clock, except for `NEVER`.
    #[must_use]
    pub fn has_passed(self) -> bool {
        !self.is_never() && Deadline::now() >= self
    }

    /// Whether this is [`NEVER`](Deadline::NEVER).
    #[must_use]
    pub const fn is_never(self) -> bool {
        self.nanos == i64::MAX
    }

    /// The time from now to this point, zero if it has passed; `None` for `NEVER`.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        if self.is_never() {
            return None;
        }
        let left = self.nanos.saturating_sub(Deadline::now().nanos);
        Some(Duration::from_nanos(u64::try_from(left).unwrap_or(0)))
    }

    /// Nanoseconds since the clock's start; never negative. For measuring how long something took.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.nanos
    }

    /// As the kernel takes it. `NEVER` is the kernel's own end of time, which it accepts.
    pub(crate) fn timespec(self) -> Timespec {
        Timespec {
            tv_sec: self.nanos / NANOS_PER_SEC,
            tv_nsec: self.nanos % NANOS_PER_SEC,
        }
    }
}

impl std::fmt::Debug for Deadline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_never() {
            return f.write_str("Deadline(never)");
        }
        let nanos = self.nanos;
        write!(
            f,
            "Deadline({}.{:09} s)",
            nanos / NANOS_PER_SEC,
            nanos % NANOS_PER_SEC
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_4_the_maximum_is_what_the_kernel_clock_holds() {
        assert_eq!(TIMEOUT_MAX.as_secs(), 9_223_372_036);
    }

    #[test]
    fn time_5_a_point_that_does_not_fit_is_never() {
        assert!(Deadline::after(TIMEOUT_MAX).is_never());
        assert!(Deadline::after(Duration::MAX).is_never());
        assert!(Deadline::NEVER.plus(Duration::MAX).is_never());
        assert!(!Deadline::NEVER.has_passed());
        assert_eq!(Deadline::NEVER.remaining(), None);
    }

    #[test]
    fn time_1_points_are_ordered_and_only_move_forward() {
        let first = Deadline::now();
        let second = Deadline::after(Duration::from_nanos(1));
        assert!(first < second && second < Deadline::NEVER);
        assert!(first.has_passed());
        assert_eq!(first.remaining(), Some(Duration::ZERO));
    }

    #[test]
    fn the_coarse_time_is_a_little_behind() {
        // Ticks of 10 ms at most, and room for who is interrupted between the two.
        let coarse = Deadline::now_coarse();
        let now = Deadline::now();
        assert!(coarse <= now && now < coarse.plus(Duration::from_secs(30)));
    }

    #[test]
    fn a_point_is_shown_in_seconds() {
        let point = Deadline {
            nanos: 3 * NANOS_PER_SEC + 70,
        };
        assert_eq!(format!("{point:?}"), "Deadline(3.000000070 s)");
        assert_eq!(format!("{:?}", Deadline::NEVER), "Deadline(never)");
    }

    #[test]
    fn the_kernel_accepts_each_point_as_a_timespec() {
        for point in [Deadline { nanos: 0 }, Deadline::now(), Deadline::NEVER] {
            let spec = point.timespec();
            assert!(spec.tv_sec >= 0 && (0..NANOS_PER_SEC).contains(&spec.tv_nsec));
        }
    }
}
