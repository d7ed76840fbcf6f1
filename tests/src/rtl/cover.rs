//! What a random test has to reach.

use std::collections::BTreeMap;

/// Situations that have to come up, and how often they did.
#[derive(Debug)]
pub struct Cover {
    bins: BTreeMap<&'static str, u64>,
}

impl Cover {
    /// Situations by name.
    #[must_use]
    pub fn new(bins: &[&'static str]) -> Self {
        Self { bins: bins.iter().map(|&bin| (bin, 0)).collect() }
    }

    /// Counts a situation if it is there. A name that was not announced fails the test.
    pub fn hit(&mut self, bin: &'static str, there: bool) {
        let count = self.bins.get_mut(bin).unwrap_or_else(|| panic!("no bin {bin}"));
        *count += u64::from(there);
    }

    /// Fails the test if a situation has not come up `least` times.
    pub fn assert(&self, least: u64) {
        let missed: Vec<_> = self.bins.iter().filter(|(_, count)| **count < least).collect();
        assert!(missed.is_empty(), "not reached {least} times: {missed:?}");
    }
}
