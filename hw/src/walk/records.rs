//! `record_walker`: where a command's records lie.
//!
//! # Purpose
//!
//! Goes through the slots of one command after the other and gives the run of beats of each one's record, the same on every channel:
//! `addr + slot * slot_stride + index * index_stride`.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | nothing to do |
//! | `job_valid_i`, `job_data_i`, `job_ready_o` | | 1, tag + [`Job::width`], 1 | *stream* of commands' records, with a tag in the high bits |
//! | `go_i` | in | 1 | a run may be given [`RecordWalker::latency`] cycles from now |
//! | `slot_o`, `entry_i` | | log2(slots), [`ENTRY_BITS`] | the slot whose entry of the step table is wanted, in the same cycle |
//! | `run_valid_o` | out | 1 | a run of beats |
//! | `run_address_o`, `run_length_o` | out | address, length | its first beat, number of beats |
//! | `run_shared_o`, `run_slot_o` | out | 1, log2(slots) | whether all slots share it, or whose it is |
//! | `run_tag_o`, `run_last_o` | out | tag, 1 | the tag of its command, and whether it is the last of it |
//! | `run_index_o`, `run_heads_o`, `run_scales_o` | out | 24, heads, 6 | what indexes it, and [`Shape::heads`], [`Shape::scales`]: of a cache the run's first beat is where it begins |
//!
//! Jobs without any record must not come.
//!
//! # Timing
//!
//! A run a cycle while `go_i` is set, also from job to job; the first of a job [`RecordWalker::latency`] cycles after the job was taken. Shared records come first, then those of the slots in ascending order.
//!
//! # Numeric contract
//!
//! Addresses count beats, modulo 2^address.
//!
//! # Cost
//!
//! Two products: of an index of 24 bits and of a slot's number with a stride.
//!
//! # Verification
//!
//! `tests/tests/rtl_walk.rs::records_are_walked`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{rtl::Block, walk::RecordWalker};
//!
//! let walker = RecordWalker::new(&AccelConfig::preset("u55c")?, 9)?;
//! assert_eq!(walker.module()?.name(), "record_walker_s32_a23_b6_r11_h12_t9");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::job::{Job, Shape, Sizes};
use crate::cmd::table::ENTRY_BITS;
use crate::prim::{lowest, number, within};
use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::IndexBy;
use std::sync::Arc;

/// Bits of an index: tokens are the largest, fewer than 2^24.
const INDEX_BITS: u32 = 24;
/// Registers of the products.
const PRODUCT: u32 = 3;

/// The walk over a command's records. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordWalker {
    sizes: Sizes,
    tag: u32,
}

impl RecordWalker {
    /// For a configuration, with tags of `tag` bits.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig, tag: u32) -> Result<Self, RtlError> {
        let tag = within("record walker", "tag", tag, 1..=64, "1 to 64 bits")?;
        Ok(Self { sizes: Sizes::new(config), tag })
    }

    /// Cycles from a job that is taken to its first run: the job, its next slot, the slot's entry, the products, the sum.
    #[must_use]
    pub fn latency(&self) -> u32 {
        4 + PRODUCT
    }

    /// What jobs are made of.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }
}

/// A step of the walk: what is left of the job, and the record that is next.
struct Step<'m> {
    valid: Wire<'m>,
    slot: Wire<'m>,
    /// Which of the shared records; none set: the slot's.
    shared: [Wire<'m>; 2],
    last: Wire<'m>,
    shape: Shape<'m>,
    tag: Wire<'m>,
}

/// Takes jobs, and gives their records one by one.
fn steps<'m>(s: &Sizes, tag: u32, m: &'m Builder) -> Step<'m> {
    let width = Job::width(s);
    let input = m.stream_in("job", tag + width);
    let go = m.input("go_i", 1);
    let job = m.reg("job", width);
    let kept = m.reg("tag", tag);
    kept.set_when(input.passes(), input.data.slice(width, tag));
    let busy = m.reg("busy", 1).reset(0);
    let left = Job::of(s, job.q());
    let [first, second] = left.shape.shared;
    let shared = [first, second & !first];
    let bit = lowest(left.slots) & (!(first | second)).repeat(s.slots);
    // The record in turn is taken out; the job is through when nothing else is left.
    let shape = Shape { shared: [m.lit(1, 0), second & first], ..left.shape };
    let rest = Job { slots: left.slots & !bit, shape };
    let last = !(rest.slots.any() | rest.shape.shared[1]);
    let done = busy.q() & go & last;
    input.ready.set(!busy.q() | done);
    job.update(&[(input.passes(), input.data.trunc(width)), (busy.q() & go, rest.word(m))]);
    busy.update(&[(input.passes(), m.lit(1, 1)), (done, m.lit(1, 0))]);
    Step { valid: busy.q() & go, slot: number(bit), shared, last, shape: left.shape, tag: kept.q() }
}

/// The index of a slot's record.
fn index<'m>(m: &'m Builder, by: Wire<'m>, entry: Wire<'m>) -> Wire<'m> {
    let words = entry.chunks(32);
    let cases = [
        (IndexBy::Position, 0),
        (IndexBy::Ring, 1),
        (IndexBy::Token0, 2),
        (IndexBy::Token1, 3),
        (IndexBy::Token2, 4),
        (IndexBy::Token3, 5),
    ];
    let cases = cases.map(|(is, word)| (by.eq(is as u64), words[word].trunc(INDEX_BITS)));
    m.one_hot(&cases)
}

impl Block for RecordWalker {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let s = &self.sizes;
        let Sizes { slots, address, beat, row, heads } = *s;
        let m =
            Builder::new(format!("record_walker_s{slots}_a{address}_b{beat}_r{row}_h{heads}_t{}", self.tag));
        let step = steps(s, self.tag, &m);
        let delay = |name: &str, cycles: u32, wire: Wire<'_>| {
            (0..cycles).fold(m.own(wire), |wire, n| m.register(&format!("{name}_{n}"), wire))
        };
        let mut valid = step.valid;
        for stage in 0..self.latency() - 1 {
            valid = m.register_valid(&format!("valid_{stage}"), valid);
        }
        let at_slot = delay("slot", 1, step.slot);
        m.output("slot_o", at_slot);
        let by = delay("by", 1, step.shape.index);
        let index = m.register("index", index(&m, by, m.input("entry_i", ENTRY_BITS)));
        // The products, in step with each other.
        let index_stride = delay("index_stride", 2, step.shape.index_stride);
        let by_index = delay("by_index", PRODUCT, index.mul_unsigned(index_stride).trunc(address));
        let slot_stride = delay("slot_stride", 2, step.shape.slot_stride);
        let by_slot = m.register("slot_again", at_slot).mul_unsigned(slot_stride).trunc(address);
        let by_slot = delay("by_slot", PRODUCT, by_slot);

        let own = !(step.shared[0] | step.shared[1]);
        let cases =
            [(step.shared[0], step.shape.shared_addr[0]), (step.shared[1], step.shape.shared_addr[1])];
        let base = delay("base", 2 + PRODUCT, m.select(step.shape.addr, &cases));
        let own = delay("own", 2 + PRODUCT, own);
        let strides = (by_index + by_slot) & own.repeat(address);
        m.output("run_address_o", m.register("run_address", base + strides));
        m.output("run_valid_o", valid);
        let all = 3 + PRODUCT;
        m.output("run_length_o", delay("length", all, step.shape.length));
        m.output("run_slot_o", delay("run_slot", all, step.slot));
        m.output("run_shared_o", delay("run_shared", all, step.shared[0] | step.shared[1]));
        m.output("run_tag_o", delay("run_tag", all, step.tag));
        m.output("run_last_o", delay("run_last", all, step.last));
        m.output("run_index_o", delay("run_index", PRODUCT + 1, index));
        m.output("run_heads_o", delay("run_heads", all, step.shape.heads));
        m.output("run_scales_o", delay("run_scales", all, step.shape.scales));
        m.finish()
    }
}
