//! How long to wait before a process that died is started again.

use std::time::Duration;

/// Exponential backoff that forgives a process that ran well.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    forgive_after: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits `first`, then twice as long each time up to `most`; begins anew after a run of `forgive_after`.
    pub fn new(first: Duration, most: Duration, forgive_after: Duration) -> Self {
        Self { first, most, forgive_after, next: first }
    }

    /// How long to wait now that a process ended that ran for `ran`.
    pub fn after(&mut self, ran: Duration) -> Duration {
        if ran >= self.forgive_after {
            self.next = self.first;
        }
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.most);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_limit_and_forgives() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(500), ms(10_000));
        let waits: Vec<_> = (0..5).map(|_| backoff.after(ms(1))).collect();
        assert_eq!(waits, [ms(100), ms(200), ms(400), ms(500), ms(500)]);
        assert_eq!(backoff.after(ms(10_000)), ms(100));
        assert_eq!(backoff.after(ms(1)), ms(200));
    }
}
