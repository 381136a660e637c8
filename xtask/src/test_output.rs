//! Reads what `cargo test` prints: what ran, what was skipped, and what of it a person needs to see.

use std::collections::BTreeMap;

/// How a test says that it could not try what it is for.
const MARK: &str = "SKIPPED:";

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
    /// Reasons, and how often each.
    pub(crate) skipped: BTreeMap<String, usize>,
    /// In the part that lists the output of tests that passed.
    quiet: bool,
}

impl Seen {
    /// Takes a line; `true` when a person should see it.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        if let Some((_, reason)) = line.split_once(MARK) {
            *self.skipped.entry(reason.trim().to_owned()).or_default() += 1;
        }
        if let Some(result) = line.strip_prefix("test result:") {
            self.quiet = false;
            self.count(result);
        }
        // The harness' own headings, which stand alone on their line.
        match line {
            "successes:" => self.quiet = true,
            "failures:" => self.quiet = false,
            _ => {}
        }
        !self.quiet
    }

    fn count(&mut self, result: &str) {
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next().and_then(|word| word.parse::<usize>().ok()), words.next()) else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// How many tests skipped something.
    pub(crate) fn skipped_in_all(&self) -> usize {
        self.skipped.values().sum()
    }

    /// The last lines.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!("ran {}: {} passed, {} failed, {} ignored with a reason\n", self.passed + self.failed, self.passed, self.failed, self.ignored);
        let reasons: Vec<String> =
            self.skipped.iter().map(|(reason, times)| if *times == 1 { reason.clone() } else { format!("{reason} ({times} times)") }).collect();
        text.push_str(&format!("skipped {}: {}", self.skipped_in_all(), if reasons.is_empty() { "nothing".to_owned() } else { reasons.join("; ") }));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_hides_what_passing_tests_print() {
        let mut seen = Seen::default();
        let text = "running 3 tests\ntest a ... ok\n\nsuccesses:\n\n---- a stdout ----\nSKIPPED: no IPv6\nnoise\n\nsuccesses:\n    a\n\nfailures:\n\n---- b stdout ----\nwhy\n\ntest result: FAILED. 2 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        let shown: Vec<&str> = text.lines().filter(|line| seen.line(line)).collect();
        assert!(!shown.contains(&"noise") && shown.contains(&"why") && shown.iter().any(|line| line.starts_with("test result")), "{shown:?}");
        assert_eq!((seen.passed, seen.failed, seen.ignored, seen.skipped_in_all()), (2, 1, 4, 1));
        assert!(seen.summary().ends_with("skipped 1: no IPv6"), "{}", seen.summary());
    }

    #[test]
    fn the_same_reason_is_told_once() {
        let mut seen = Seen::default();
        for _ in 0..2 {
            seen.line("test x ... SKIPPED: python3 is not installed");
        }
        assert!(seen.summary().ends_with("skipped 2: python3 is not installed (2 times)"));
    }
}
