//! How long to wait before something is tried again.

use std::time::Duration;

/// The wait before attempt `failures` + 1: half a second, doubled each time, at most five minutes.
pub(super) fn after(failures: u32) -> Duration {
    let first = Duration::from_millis(500);
    first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(Duration::from_mins(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_limit() {
        let seconds: Vec<_> = [1, 2, 3, 10, 11, 12, u32::MAX].map(|it| after(it).as_secs_f32()).into();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 256.0, 300.0, 300.0, 300.0]);
    }
}
