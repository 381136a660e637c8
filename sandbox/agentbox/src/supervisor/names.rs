//! Which names the box has asked for, as the broker tells them one after the other: people see them in the place of addresses. Nothing is judged by them.

use std::net::IpAddr;

use agentbox_broker::names;
use agentbox_core::safe;

/// Names that are remembered; later ones are seen as addresses.
const MOST: usize = 4096;

/// Longest name that there can be.
const LONGEST: usize = 253;

/// The names.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// The next one.
    pub(super) fn add(&mut self, name: &str) {
        if self.0.len() < MOST {
            self.0.push(safe::line(name, LONGEST));
        }
    }

    /// The name that an address stands for.
    pub(super) fn of(&self, address: IpAddr) -> Option<String> {
        self.0.get(names::number(address)?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_order_in_which_they_came() {
        let mut all = Names::default();
        all.add("a.example");
        all.add("b\u{1b}.example");
        assert_eq!(all.of("240.64.0.2".parse().unwrap()).as_deref(), Some("b\\u{1b}.example"));
        assert_eq!(all.of("240.64.0.3".parse().unwrap()), None);
        assert_eq!(all.of("192.0.2.1".parse().unwrap()), None);
        (0..2 * MOST).for_each(|_| all.add("x"));
        assert_eq!(all.0.len(), MOST);
    }
}
