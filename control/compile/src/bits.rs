//! A set of small numbers.

/// One bit a number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn has(&self, number: usize) -> bool {
        let word = self.0.get(number / 64);
        word.is_some_and(|word| word & 1 << (number % 64) != 0)
    }

    /// Returns whether it was different.
    pub(crate) fn set(&mut self, number: usize, there: bool) -> bool {
        if self.has(number) == there {
            return false;
        }
        let place = number / 64;
        if self.0.len() <= place {
            self.0.resize(place + 1, 0);
        }
        if let Some(word) = self.0.get_mut(place) {
            *word ^= 1 << (number % 64);
        }
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let words = self.0.iter().enumerate();
        words.flat_map(|(place, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                left &= left.checked_sub(1)?;
                Some(place * 64 + bit)
            })
        })
    }
}
