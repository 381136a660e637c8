//! Which synthetic address stands for which name: one to one, for the life of the box.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Mutex, OnceLock},
};

use agentbox_core::HostName;

/// Names that one box may learn; a tree of names made up by the agent ends here with SERVFAIL.
const MOST: u32 = 65_536;

/// 240.0.0.0/4 is reserved and never routed, so a synthetic address that escapes into a log or a cache leads nowhere. The first
/// 65,536 addresses from 240.64.0.1 on are used. (198.18.0.0/15 is taken by many VPN clients for the same trick.)
const V4_BASE: u32 = u32::from_be_bytes([240, 64, 0, 1]);

/// A unique local prefix of our own (RFC 4193), chosen at random once. From one on: the address that ends in zeros is every router's.
const V6_BASE: u128 = 0xfdab_0c5e_71d2_0000_0000_0000_0000_0001;

/// Who is told of each new name, in the order of their addresses.
type Told = Box<dyn Fn(&HostName) + Send + Sync>;

/// The table.
#[derive(Default)]
pub struct Names {
    table: Mutex<Table>,
    told: OnceLock<Told>,
}

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<HostName, u32>,
    by_number: Vec<HostName>,
}

/// There is no room for another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this box has asked for more than {MOST} different names")]
pub struct Full;

/// Which of the names an address stands for, counted from the first.
#[must_use]
pub fn number(address: IpAddr) -> Option<usize> {
    let number = match address {
        IpAddr::V4(v4) => u32::from(v4).checked_sub(V4_BASE)?,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => u32::from(v4).checked_sub(V4_BASE)?,
            None => u32::try_from(u128::from(v6).checked_sub(V6_BASE)?).ok()?,
        },
    };
    usize::try_from(number).ok()
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("table", &self.table).finish_non_exhaustive()
    }
}

impl Names {
    /// Tells of every name that comes from now on.
    pub fn tell(&self, told: impl Fn(&HostName) + Send + Sync + 'static) {
        let _ = self.told.set(Box::new(told));
    }

    /// The addresses that stand for `name`.
    ///
    /// # Errors
    /// The table is full.
    pub fn addresses(&self, name: &HostName) -> Result<(Ipv4Addr, Ipv6Addr), Full> {
        let mut table = self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let number = match table.by_name.get(name) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(table.by_number.len()).ok().filter(|number| *number < MOST).ok_or(Full)?;
                table.by_number.push(name.clone());
                table.by_name.insert(name.clone(), number);
                // Under the lock, so that they are told in order.
                if let Some(told) = self.told.get() {
                    told(name);
                }
                number
            }
        };
        Ok((Ipv4Addr::from(V4_BASE + number), Ipv6Addr::from(V6_BASE + u128::from(number))))
    }

    /// The name that `address` stands for, if we handed it out.
    #[must_use]
    pub fn name(&self, address: IpAddr) -> Option<HostName> {
        let number = number(address)?;
        let table = self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        table.by_number.get(number).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_address_are_one_to_one() {
        let names = Names::default();
        let a = HostName::parse("a.example").unwrap();
        let b = HostName::parse("b.example").unwrap();
        let (a4, a6) = names.addresses(&a).unwrap();
        let (b4, b6) = names.addresses(&b).unwrap();
        assert_ne!(a4, b4);
        assert_ne!(a6, b6);
        assert_eq!(names.addresses(&a).unwrap(), (a4, a6));
        assert_eq!(names.name(a4.into()), Some(a.clone()));
        assert_eq!(names.name(b6.into()), Some(b));
        assert_eq!(names.name(a4.to_ipv6_mapped().into()), Some(a));
        for other in ["240.64.0.0", "240.64.0.9", "1.1.1.1", "::1", "fdab:c5e:71d2::", "fdab:c5e:71d2::9", "255.255.255.255"] {
            assert_eq!(names.name(other.parse().unwrap()), None, "{other}");
        }
    }

    #[test]
    fn the_table_ends() {
        let names = Names::default();
        for number in 0..MOST {
            names.addresses(&HostName::parse(&format!("h{number}.example")).unwrap()).unwrap();
        }
        assert_eq!(names.addresses(&HostName::parse("one.more").unwrap()), Err(Full));
        assert!(names.addresses(&HostName::parse("h7.example").unwrap()).is_ok());
    }
}
