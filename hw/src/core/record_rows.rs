//! `record_rows`: the beats of records from all ports to the middle.
//!
//! # Purpose
//!
//! The vector unit takes a record row by row, one beat from every channel; of past keys the gate unit takes rows of those channels that have some. The beats cross to the middle as soon as
//! they are there and wait for each other.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing is on its way |
//! | `beat<c>_{valid,data}_i`, `beat<c>_ready_o` | | 1, beat + 1, 1 | *stream* of the port of channel c; last of its burst in the top bit |
//! | `free<c>_o`, `free_last<c>_o` | out | 1, 1 | a beat is used up, for the port; it is the last of its burst |
//! | `need_i` | in | channels | channels of which the row that is next is made |
//! | `row_valid_o`, `row_data_o`, `row_ready_i` | | 1, beat x channels, 1 | a row, channel 0 low: taken when both are set |
//!
//! # Timing
//!
//! [`HOP`] cycles each way: a beat of the port's is part of a row [`HOP`] cycles later, and the port has its `free` as long after the row was taken. One row a cycle.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! Registers of [`HOP`] beats and a memory of 16 for each channel.
//!
//! # Verification
//!
//! `tests/tests/rtl_core`: cycles of whole runs.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{core::RecordRows, rtl::Block};
//!
//! assert_eq!(RecordRows::new(64, 32)?.module()?.name(), "record_rows_b64_c32");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::segments::{hop, hop_word};
use crate::prim::{CreditCounter, Fifo, within};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire};
use fastcar_arch::timing::HOP;
use std::sync::Arc;

/// Beats that wait in the middle: as many as come until word of room has gone to the port and a beat has come back.
const DEPTH: u32 = 16;
const _: () = assert!(DEPTH as u64 > 2 * HOP + 2);

/// The way of records to the vector unit. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRows {
    beat: u32,
    channels: u32,
}

impl RecordRows {
    /// For beats of so many bytes on so many channels.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(beat: u32, channels: u32) -> Result<Self, RtlError> {
        let channels = within("record rows", "channels", channels, 1..=64, "1 to 64")?;
        Ok(Self { beat, channels })
    }

    /// A channel's next beat, which is given up with the row.
    fn channel<'m>(&self, m: &'m Builder, c: u32, taken: Wire<'m>) -> Result<Stream<'m>, RtlError> {
        let name = |what: &str| format!("{what}_{c}");
        let beat = m.stream_in(&format!("beat{c}"), 8 * self.beat + 1);
        let credit = m.instance(&name("u_credit"), &CreditCounter::new(DEPTH)?)?;
        beat.ready.set(credit.get("available_o"));
        credit.set("take_i", beat.passes());
        credit.set("give_i", hop(m, &name("given"), HOP, taken));

        let comes = hop(m, &name("comes"), HOP, beat.passes());
        let data = hop_word(m, &name("data"), HOP, beat.data);
        // What comes is there at once if nothing waits before it.
        let waits = m.later(&name("waits"), 1);
        let stays = comes & !(taken & !waits.wire());
        let input = Stream { valid: stays, data, ready: m.later(&name("room"), 1) };
        let queue =
            Fifo::new(data.width(), DEPTH, RamStyle::Distributed)?.after(m, &name("u_queue"), input)?;
        waits.set(queue.valid);
        queue.ready.set(taken);
        let front = queue.valid.mux(queue.data, data);
        m.output(&format!("free{c}_o"), hop(m, &name("free"), HOP, taken));
        m.output(&format!("free_last{c}_o"), hop_word(m, &name("free_last"), HOP, front.msb()));
        Ok(Stream { valid: queue.valid | comes, data: front, ..queue })
    }
}

impl Block for RecordRows {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("record_rows_b{}_c{}", self.beat, self.channels));
        let ready = m.input("row_ready_i", 1);
        let taken = m.later("taken", 1);
        let need = m.input("need_i", self.channels);
        let beats: Result<Vec<_>, _> =
            (0..self.channels).map(|c| self.channel(&m, c, taken.wire() & need.bit(c))).collect();
        let beats = beats?;
        let there = m.pack(&beats.iter().map(|beat| beat.valid).collect::<Vec<_>>());
        let valid = (there | !need).all();
        taken.set((valid & ready).named("row_taken"));
        m.output("row_valid_o", valid);
        let data: Vec<_> = beats.iter().map(|beat| beat.data.trunc(8 * self.beat)).collect();
        m.output("row_data_o", m.pack(&data));
        m.finish()
    }
}
