//! `vector_records`: rows of beats to groups of lanes.
//!
//! # Purpose
//!
//! A record lies over the channels beat by beat. A *row* is one beat from every channel; the vector unit takes it group by group.
//!
//! # Interface
//!
//! Two streams.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | begins a row |
//! | `row_valid_i`, `row_ready_o` | in, out | 1 | a beat from every channel; taken with its last group |
//! | `row_data_i` | in | 8 x beat x channels | the beats, channel 0 low |
//! | `group_valid_o`, `group_ready_i` | out, in | 1 | a group |
//! | `group_data_o` | out | group | its bytes |
//! | `last_i` | in | 1 | the group that is taken is its record's last: what is left of the row is not part of it |
//!
//! # Timing
//!
//! No cycle from a row to its first group; a group in each cycle, so that a row takes
//! [`fastcar_arch::timing::cycles_per_beat_row`] cycles, or fewer where its record ends within it.
//!
//! # Numeric contract
//!
//! None: bytes stay in the order of [`RecordLayout`](fastcar_arch::layout::RecordLayout).
//!
//! # Cost
//!
//! A choice for each bit of a group. Figures: `tests/baselines/rtl/vec_records.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_vec.rs`: `records_come_in_groups`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::vec::Records;
//!
//! let records = Records::of(&AccelConfig::preset("u55c")?, 4)?;
//! assert_eq!(records.groups(), 16);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::BYTE;
use crate::rtl::{Block, Builder, Module, RtlError, index_width};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::cycles_per_beat_row;
use std::sync::Arc;

/// The network from beats to groups. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    row: u32,
    group: u32,
    groups: u32,
}

impl Records {
    /// The network of a configuration for elements of some bytes: 4 for words, 1 for elements of blocks.
    ///
    /// # Errors
    /// [`RtlError::Parameter`] where a row is not whole groups.
    pub fn of(config: &AccelConfig, unit_bytes: u32) -> Result<Self, RtlError> {
        let row = config.channels() * config.beat().get() as u32;
        let group = config.vector_lanes() * unit_bytes;
        let groups = cycles_per_beat_row(config, unit_bytes.into()) as u32;
        if group == 0 || groups * group != row {
            let (block, parameter) = ("records", "bytes of a group");
            let allowed = "a divisor of the bytes of a beat from every channel";
            return Err(RtlError::Parameter { block, parameter, asked: group.into(), allowed });
        }
        Ok(Self { row, group, groups })
    }

    /// Groups in a row.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.groups
    }
}

impl Block for Records {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("vec_records_r{}_g{}", self.row, self.group));
        let valid = m.input("row_valid_i", 1);
        let row = m.input("row_data_i", BYTE * self.row);
        let taken = valid & m.input("group_ready_i", 1);
        let last = m.input("last_i", 1);
        let groups = row.chunks(BYTE * self.group);
        let (data, done) = if self.groups == 1 {
            (row, m.lit(1, 1))
        } else {
            let place = m.reg("place", index_width(self.groups.into())).reset(0);
            let end = place.q().eq(u64::from(self.groups - 1)) | last;
            place.set_when(taken, end.mux(m.lit(place.q().width(), 0), place.q() + 1));
            (place.q().choose(&groups), end)
        };
        m.output("row_ready_o", taken & done);
        m.output("group_valid_o", valid);
        m.output("group_data_o", data);
        m.finish()
    }
}
