//! Numbers from rounds, and what is said of them: median and quartiles, never a best case.

use serde::Serialize;

/// One number a round.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Series(pub(crate) Vec<f64>);

/// The middle, and the quarters on both sides of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quartiles {
    pub(crate) lower: f64,
    pub(crate) median: f64,
    pub(crate) upper: f64,
}

impl Series {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// None of nothing.
    pub(crate) fn quartiles(&self) -> Option<Quartiles> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |fraction: f64| {
            let last = sorted.len().checked_sub(1)?;
            let place = fraction * last as f64;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the length")]
            let below = place.floor() as usize;
            let low = *sorted.get(below)?;
            let high = sorted.get(below + 1).copied().unwrap_or(low);
            Some(low + (high - low) * (place - place.floor()))
        };
        Some(Quartiles { lower: at(0.25)?, median: at(0.5)?, upper: at(0.75)? })
    }

    /// Round by round, so that what disturbed a round disturbs both sides of its ratio.
    pub(crate) fn over(&self, base: &Series) -> Series {
        Series(self.0.iter().zip(&base.0).filter(|(_, base)| **base > 0.0).map(|(own, base)| own / base).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_the_numbers() {
        let found = Series(vec![4.0, 1.0, 2.0, 3.0]).quartiles().unwrap();
        assert_eq!((found.lower, found.median, found.upper), (1.75, 2.5, 3.25));
        assert_eq!(Series(vec![7.0]).quartiles().unwrap().upper, 7.0);
        assert_eq!(Series::default().quartiles(), None);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        assert_eq!(Series(vec![2.0, 9.0]).over(&Series(vec![1.0, 3.0])), Series(vec![2.0, 3.0]));
    }
}
