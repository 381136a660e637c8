//! What a part of the bench hands in: rows of numbers, one series a way of running, and what is aimed at.

use super::series::{Quartiles, Series};

/// A part's result.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    /// How it was measured, in sentences.
    pub(crate) how: String,
    /// The ways of running; ratios are to the first.
    pub(crate) ways: Vec<&'static str>,
    pub(crate) rows: Vec<Row>,
    /// The very command lines.
    pub(crate) commands: Vec<String>,
}

/// One thing that was measured.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    /// One a way; empty where that way was not measured.
    pub(crate) series: Vec<Series>,
    pub(crate) aim: Option<Aim>,
}

/// What the numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanoseconds,
    Bytes,
    BytesPerSecond,
    /// Transactions.
    PerSecond,
}

/// What is aimed at. The last way is ours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aim {
    /// Ours, in the row's unit.
    AtMost(f64),
    /// Ours over the first way.
    TimesAtMost(f64),
    /// Ours over the first way, where more is better.
    TimesAtLeast(f64),
    /// Ours over the first way, by difference and not by ratio.
    AddedAtMost(f64),
    /// Not more than the second way.
    NotMoreThanPeer,
    /// At least so much of the second way.
    OfPeerAtLeast(f64),
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Unit::Nanoseconds if value < 1e3 => format!("{value:.0} ns"),
            Unit::Nanoseconds if value < 1e6 => format!("{:.1} µs", value / 1e3),
            Unit::Nanoseconds => format!("{:.2} ms", value / 1e6),
            Unit::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Unit::BytesPerSecond => format!("{:.0} MB/s", value / 1e6),
            Unit::PerSecond => format!("{value:.0}/s"),
        }
    }
}

impl Row {
    fn ours(&self) -> Option<&Series> {
        self.series.last()
    }

    /// Ours over the first way, round by round; none where there is but one way.
    pub(crate) fn ratio(&self) -> Option<Quartiles> {
        if self.series.len() < 2 {
            return None;
        }
        self.ours()?.over(self.series.first()?).quartiles()
    }

    /// What is aimed at, in words, and whether it is met; none where it cannot be told.
    pub(crate) fn verdict(&self) -> Option<(String, Option<bool>)> {
        let aim = self.aim?;
        let median = |series: Option<&Series>| series.and_then(Series::quartiles).map(|quartiles| quartiles.median);
        let (ours, first, peer) = (median(self.ours()), median(self.series.first()), median(self.series.get(1)));
        let of_peer = self.series.get(1).and_then(|peer| self.ours()?.over(peer).quartiles()).map(|quartiles| quartiles.median);
        Some(match aim {
            Aim::AtMost(most) => (format!("≤ {}", self.unit.show(most)), ours.map(|ours| ours <= most)),
            Aim::TimesAtMost(most) => (format!("≤ {most}×"), self.ratio().map(|ratio| ratio.median <= most)),
            Aim::TimesAtLeast(least) => (format!("≥ {least}×"), self.ratio().map(|ratio| ratio.median >= least)),
            Aim::AddedAtMost(most) => (format!("≤ {} more", self.unit.show(most)), ours.zip(first).map(|(ours, first)| ours - first <= most)),
            Aim::NotMoreThanPeer => ("≤ the second column".to_owned(), ours.zip(peer).map(|(ours, peer)| ours <= peer)),
            Aim::OfPeerAtLeast(least) => (format!("≥ {least}× the second column"), of_peer.map(|times| times >= least)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(series: &[&[f64]], aim: Aim) -> Row {
        Row { what: "x".into(), unit: Unit::Nanoseconds, series: series.iter().map(|numbers| Series(numbers.to_vec())).collect(), aim: Some(aim) }
    }

    #[test]
    fn an_aim_that_is_missed_is_said_to_be_missed() {
        let met = |row: Row| row.verdict().unwrap().1;
        assert_eq!(met(row(&[&[10.0], &[20.0], &[30.0]], Aim::AtMost(30.0))), Some(true));
        assert_eq!(met(row(&[&[10.0], &[20.0], &[30.0]], Aim::TimesAtMost(2.9))), Some(false));
        assert_eq!(met(row(&[&[10.0], &[20.0], &[8.0]], Aim::TimesAtLeast(0.8))), Some(true));
        assert_eq!(met(row(&[&[10.0], &[20.0], &[7.0]], Aim::TimesAtLeast(0.8))), Some(false));
        assert_eq!(met(row(&[&[10.0], &[20.0], &[30.0]], Aim::AddedAtMost(20.0))), Some(true));
        assert_eq!(met(row(&[&[10.0], &[20.0], &[30.0]], Aim::NotMoreThanPeer)), Some(false));
        assert_eq!(met(row(&[&[10.0], &[20.0], &[30.0]], Aim::OfPeerAtLeast(1.5))), Some(true));
        assert_eq!(met(row(&[&[10.0], &[], &[30.0]], Aim::NotMoreThanPeer)), None);
    }

    #[test]
    fn numbers_keep_their_units() {
        assert_eq!(Unit::Nanoseconds.show(5_230_000.0), "5.23 ms");
        assert_eq!(Unit::Nanoseconds.show(61_000.0), "61.0 µs");
        assert_eq!(Unit::Bytes.show(8_388_608.0), "8.0 MiB");
        assert_eq!(Unit::BytesPerSecond.show(1e9), "1000 MB/s");
    }
}
