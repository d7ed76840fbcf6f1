//! `mapping`: the Mapping Registers of one round of a product.
//!
//! # Purpose
//!
//! Chooses the slots of a command that a product takes at once, and says how many of them each column of the MAC array serves.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `compact_i` | in | 1 | the k-th slot has column k mod columns; else slot s has column s mod columns |
//! | `slots_i` | in | slots | slots of the command that are left |
//! | `granules_i` | in | [`Mapping::granule_bits`] | sixteens of rows in a chunk of the matrix |
//! | `round_o` | out | slots | those of the round |
//! | `counts_o` | out | columns x [`Mapping::count_bits`] | slots of the round on each column, column 0 low |
//! | `places_o` | out | slots x [`Mapping::place_bits`] | a slot's column, low, and pass; of slots of the round |
//!
//! The k-th slot of a column, in ascending order, has pass k. A round takes as many passes as the accumulators have room for.
//!
//! # Timing
//!
//! [`Mapping::LATENCY`] cycles after inputs that stay.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! A number of set bits before each slot, twice.
//!
//! # Verification
//!
//! `tests/tests/rtl_sequencer.rs::slots_are_mapped`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{array::Mapping, rtl::Block};
//!
//! let mapping = Mapping::new(&AccelConfig::preset("u55c")?);
//! assert_eq!(mapping.module()?.name(), "mapping_s32_c4_g128");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::prim::ones;
use crate::rtl::{Block, Builder, Module, RtlError, Wire, index_width};
use fastcar_arch::config::{AccelConfig, ROW_GRANULE};
use std::sync::Arc;

/// Slots that are counted together.
const GROUP: usize = 8;

/// The choice of a round. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    slots: u32,
    pub(super) columns: u32,
    /// Sixteens of rows that the accumulators of a column hold.
    pub(super) granules: u32,
}

impl Mapping {
    /// Cycles: places of the slots, the round, its columns.
    pub const LATENCY: u32 = 3;

    /// That of a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self { slots: config.slots(), columns: config.columns(), granules: config.acc_rows() / ROW_GRANULE }
    }

    /// The most passes of a round.
    #[must_use]
    pub fn passes(&self) -> u32 {
        self.slots.div_ceil(self.columns)
    }

    /// Width of a number of slots on a column, which is one of passes.
    #[must_use]
    pub fn count_bits(&self) -> u32 {
        index_width(u64::from(self.passes()) + 1)
    }

    /// Width of the number of sixteens of rows in a chunk.
    #[must_use]
    pub fn granule_bits(&self) -> u32 {
        index_width(u64::from(self.granules) + 1)
    }

    /// Width of a number of slots.
    pub(super) fn slot_bits(&self) -> u32 {
        index_width(u64::from(self.slots) + 1)
    }

    /// Width of a column's number.
    #[must_use]
    pub fn column_bits(&self) -> u32 {
        index_width(self.columns.into())
    }

    /// Width of a slot's place: its column and its pass.
    #[must_use]
    pub fn place_bits(&self) -> u32 {
        self.column_bits() + index_width(self.passes().into())
    }

    /// The slots of each column, by places of all of them.
    pub(crate) fn by_column<'m>(&self, m: &'m Builder, places: Wire<'m>) -> Vec<Wire<'m>> {
        let places = places.chunks(self.place_bits());
        let of = |column: u32| {
            let here = |place: &Wire<'m>| place.trunc(self.column_bits()).eq(u64::from(column));
            m.pack(&places.iter().map(here).collect::<Vec<_>>())
        };
        (0..self.columns).map(of).collect()
    }

    /// Slots that a round takes of a column, or of all slots.
    fn most<'m>(&self, m: &'m Builder, granules: Wire<'m>, compact: Wire<'m>) -> Wire<'m> {
        let lit = |passes: u32| {
            let all = (passes * self.columns).min(self.slots);
            compact.mux(m.lit(self.slot_bits(), all.into()), m.lit(self.slot_bits(), passes.into()))
        };
        let fits = |passes: u32| granules.le(u64::from(self.granules / passes));
        let cases: Vec<_> = (2..=self.passes()).rev().map(|passes| (fits(passes), lit(passes))).collect();
        m.select(lit(1), &cases)
    }

    /// How many slots come before each, on its column or of all, a cycle later.
    fn before<'m>(&self, m: &'m Builder, bits: &[Wire<'m>], compact: Wire<'m>) -> Vec<Wire<'m>> {
        let (width, columns) = (self.slot_bits(), self.columns as usize);
        // Those in its group of slots, and behind the register those in the groups before.
        let group = |(n, bits): (usize, &[Wire<'m>])| {
            m.register(&format!("group_{n}"), ones(m, bits, width) & compact.repeat(width))
        };
        let groups: Vec<_> = bits.chunks(GROUP).enumerate().map(group).collect();
        let before = |slot: usize| {
            let own: Vec<_> = (slot % columns..slot).step_by(columns).map(|n| bits[n]).collect();
            let near = &bits[slot / GROUP * GROUP..slot];
            let before = compact.mux(ones(m, near, width), ones(m, &own, width));
            let before = m.register(&format!("before_{slot}"), before);
            m.tree(&[&[before], &groups[..slot / GROUP]].concat(), |a, b| a + b)
        };
        (0..bits.len()).map(before).collect()
    }

    /// The place of a slot that has so many before it, on its column or of all.
    fn place<'m>(&self, m: &'m Builder, slot: u32, before: Wire<'m>, compact: Wire<'m>) -> Wire<'m> {
        let (columns, width) = (self.columns, self.place_bits());
        let place = |column: u32, pass: u32| m.lit(width, u64::from(column | pass << self.column_bits()));
        let dealt: Vec<_> = (0..self.slots).map(|n| place(n % columns, n / columns)).collect();
        let own: Vec<_> = (0..self.passes()).map(|pass| place(slot % columns, pass)).collect();
        compact.mux(before.choose(&dealt), before.choose(&own))
    }

    /// Slots on each column.
    fn counts<'m>(&self, m: &'m Builder, round: Wire<'m>, compact: Wire<'m>) -> Wire<'m> {
        let (width, columns) = (self.count_bits(), self.columns as usize);
        let bits = round.bits();
        let all = ones(m, &bits, self.slot_bits());
        let counts: Vec<_> = (0..columns)
            .map(|column| {
                let own: Vec<_> = bits.iter().skip(column).step_by(columns).copied().collect();
                let dealt: Vec<_> = (0..=self.slots)
                    .map(|n| m.lit(width, u64::from(n.saturating_sub(column as u32).div_ceil(self.columns))))
                    .collect();
                compact.mux(all.choose(&dealt), ones(m, &own, width))
            })
            .collect();
        m.pack(&counts)
    }
}

impl Block for Mapping {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self { slots, columns, granules } = *self;
        let m = Builder::new(format!("mapping_s{slots}_c{columns}_g{granules}"));
        let (compact, asked) = (m.input("compact_i", 1), m.input("slots_i", slots));
        let most = self.most(&m, m.input("granules_i", self.granule_bits()), compact);
        let most = m.register("most", most);
        let before = self.before(&m, &asked.bits(), compact);
        let places: Vec<_> =
            before.iter().zip(0..).map(|(before, slot)| self.place(&m, slot, *before, compact)).collect();
        let places = m.register("places", m.pack(&places));
        let round: Vec<_> =
            asked.bits().iter().zip(before).map(|(slot, before)| *slot & before.lt(most)).collect();
        let round = m.register("round", m.pack(&round));
        let counts = m.register("counts", self.counts(&m, round, compact));
        m.output("round_o", m.register("round_again", round));
        m.output("counts_o", counts);
        m.output("places_o", m.register("places_again", places));
        m.finish()
    }
}
