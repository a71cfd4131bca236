//! How much one peer may ask for: so many at once, then so many a second.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket of tokens that fills with time.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    most: u64,
    per_second: u64,
    /// In thousandths.
    tokens_milli: u64,
    filled: Instant,
}

impl Rate {
    /// `most` at once, `per_second` in the long run.
    pub fn new(most: u64, per_second: u64) -> Self {
        Self {
            most,
            per_second,
            tokens_milli: most.saturating_mul(1000),
            filled: Instant::now(),
        }
    }

    /// Takes `amount` if there is so much; otherwise how long it takes until there is. What is more
    /// than `most` is taken when the bucket is full.
    pub fn take(&mut self, amount: u64) -> Result<(), Duration> {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.filled).as_millis() as u64;
        let full = self.most.saturating_mul(1000);
        let filled = passed.saturating_mul(self.per_second);
        self.tokens_milli = self.tokens_milli.saturating_add(filled).min(full);
        self.filled = now;
        let wanted = amount.min(self.most).saturating_mul(1000);
        match self.tokens_milli.checked_sub(wanted) {
            Some(left) => {
                self.tokens_milli = left;
                Ok(())
            }
            None => {
                let missing = wanted - self.tokens_milli;
                Err(Duration::from_millis(missing / self.per_second.max(1) + 1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_at_once_then_so_many_a_second() {
        let mut rate = Rate::new(3, 2);
        for _ in 0..3 {
            assert_eq!(rate.take(1), Ok(()));
        }
        let wait = rate.take(1).unwrap_err();
        assert!(wait > Duration::from_millis(400) && wait < Duration::from_millis(600));
        tokio::time::advance(wait).await;
        assert_eq!(rate.take(1), Ok(()));
        assert!(rate.take(1).is_err());
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(
            rate.take(99),
            Ok(()),
            "more than there can be is all there is"
        );
        assert!(rate.take(1).is_err());
    }
}
