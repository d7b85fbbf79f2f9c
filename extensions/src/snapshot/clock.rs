//! The tick of the clock that file times are taken from.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Waits until the clock of file times has moved on, at most a few milliseconds.
///
/// Before Linux 6.13 file times are as coarse as the timer tick. A change in the same tick as the
/// scan before it would leave the same change time; after this no change can.
pub fn wait_for_tick() {
    let start = now();
    while now() == start {
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn now() -> (i64, i64) {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::RealtimeCoarse);
    (tv_sec, tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_has_moved_afterwards() {
        let before = now();
        wait_for_tick();
        assert_ne!(now(), before);
    }
}
