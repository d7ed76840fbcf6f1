//! What travels beside the words: a group's marks, to be had at any number of cycles after it was issued.

use crate::rtl::{Builder, Wire};

/// A pipe of marks that can be read anywhere.
pub(super) struct Taps<'m> {
    valid: Vec<Wire<'m>>,
    marks: Vec<Wire<'m>>,
}

impl<'m> Taps<'m> {
    /// Marks and whether there are any, held for up to so many cycles. Where an exit's condition is set, none go on beyond its cycle.
    pub(super) fn new(
        m: &'m Builder,
        name: &str,
        (valid, marks): (Wire<'m>, Wire<'m>),
        cycles: u32,
        exits: &[(u32, Wire<'m>)],
    ) -> Self {
        let mut taps = Self { valid: vec![valid], marks: vec![marks] };
        for cycle in 1..=cycles {
            let (mut valid, marks) = (taps.valid(cycle - 1), taps.marks(cycle - 1));
            for (_, leaves) in exits.iter().filter(|exit| exit.0 == cycle - 1) {
                valid = valid & !*leaves;
            }
            taps.valid.push(m.register_valid(&format!("{name}_valid_{cycle}"), valid));
            taps.marks.push(m.register(&format!("{name}_{cycle}"), marks));
        }
        taps
    }

    /// Whether there are marks, so many cycles later.
    pub(super) fn valid(&self, cycle: u32) -> Wire<'m> {
        self.valid[cycle as usize]
    }

    /// The marks, so many cycles later.
    pub(super) fn marks(&self, cycle: u32) -> Wire<'m> {
        self.marks[cycle as usize]
    }
}
