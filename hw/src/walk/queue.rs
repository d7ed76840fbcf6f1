//! `record_queue`: commands that wait to have their records read.
//!
//! # Purpose
//!
//! Holds commands until it is known which slots they run for and which older writes their records may meet, and makes jobs of them for
//! the [`RecordWalker`](super::RecordWalker), in order.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | empty |
//! | `push_valid_i`, `push_i` | in | 1, [`RecordQueue::width`] | a command, see [`Waiting`] |
//! | `front_valid_o`, `front_o` | out | 1, 8 | whether there is one, and the low bits of the number of the first |
//! | `leaves_o` | out | 1 | it leaves |
//! | `pred_o`, `decision_valid_o`, `decision_o` | out | 2, 1, 8 | of the first: asks [`Decisions`](crate::drs::Decisions), which answer |
//! | `known_i`, `slots_i` | in | 1, slots | in the same cycle |
//! | `ring_i` | in | slots | slots with a ring position |
//! | `before_o`, `family_o`, `asked_o` | out | 8, address, slots | asks [`Writers`], which answer three cycles later: |
//! | `wait_i`, `guard_valid_i`, `guard_i` | in | 1, 1, 8 | |
//! | `job_valid_o`, `job_data_o`, `job_ready_i` | | 1, 9 + [`Job::width`](super::Job::width), 1 | *stream* of jobs: guard, its number below, in the high bits |
//!
//! # Timing
//!
//! The first command leaves [`Writers::LATENCY`] cycles after the cycle in which its slots and its guard are known, in the cycle in which its job goes (one without a record
//! makes none). The next can leave `STREAM_STEP` cycles later.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! Distributed memory for [`WINDOW`] commands.
//!
//! # Verification
//!
//! `tests/tests/rtl_walk.rs::commands_become_jobs`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{rtl::Block, walk::RecordQueue};
//!
//! let queue = RecordQueue::new(&AccelConfig::preset("tiny")?);
//! assert_eq!(queue.module()?.name(), "record_queue_s4_a24_b4_r4_h7");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::job::{Known, Shape, Sizes};
use crate::cmd::fields::cut;
use crate::cmd::{NUMBER_BITS, Writers};
use crate::prim::Fifo;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::WINDOW;
use std::sync::Arc;

/// The queue of commands that read records. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordQueue {
    sizes: Sizes,
}

impl RecordQueue {
    /// For a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self { sizes: Sizes::new(config) }
    }

    /// Width of what is pushed.
    #[must_use]
    pub fn width(&self) -> u32 {
        Waiting::width(&self.sizes)
    }
}

/// A command that waits.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'m> {
    /// The low bits of its number in the program.
    pub index: Wire<'m>,
    /// Its predicate, and the gate that it waits for, if there is one.
    pub pred: Wire<'m>,
    /// Whether there is a gate before it.
    pub decides: Wire<'m>,
    /// The number of that gate.
    pub decision: Wire<'m>,
    /// Commands before it that write.
    pub before: Wire<'m>,
    /// Slots whose reference may be used.
    pub allow: Wire<'m>,
    /// Its records.
    pub shape: Shape<'m>,
}

impl<'m> Waiting<'m> {
    fn width(s: &Sizes) -> u32 {
        3 * NUMBER_BITS + 3 + s.slots + Shape::width(s)
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { index, pred, decides, decision, before, allow, shape } = *self;
        m.pack(&[index, pred, decides, decision, before, allow, shape.word(m)])
    }

    fn of(s: &Sizes, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self {
            index: take(NUMBER_BITS),
            pred: take(2),
            decides: take(1),
            decision: take(NUMBER_BITS),
            before: take(NUMBER_BITS),
            allow: take(s.slots),
            shape: Shape::of(s, take(Shape::width(s))),
        }
    }
}

/// Commands in, the first of them out. Nobody pushes more than there is room for.
fn waiting<'m>(q: &RecordQueue, m: &'m Builder) -> Result<Stream<'m>, RtlError> {
    let input = Stream {
        valid: m.input("push_valid_i", 1),
        data: m.input("push_i", q.width()),
        ready: m.later("room", 1),
    };
    Fifo::new(q.width(), WINDOW as u32, RamStyle::Distributed)?.after(m, "u_waiting", input)
}

impl Block for RecordQueue {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let s = &self.sizes;
        let Sizes { slots, address, beat, row, heads } = *s;
        let m = Builder::new(format!("record_queue_s{slots}_a{address}_b{beat}_r{row}_h{heads}"));
        let front = waiting(self, &m)?;
        let first = Waiting::of(s, front.data);
        let leaves = m.later("leaves", 1);
        front.ready.set(leaves.wire());

        let (known, runs) = (m.input("known_i", 1), m.input("slots_i", slots));
        // The question is put in every cycle; what counts is that the answer is to one of this command's.
        let mut asked = front.valid & known;
        for stage in 0..Writers::LATENCY {
            asked = m.register_valid(&format!("asked_{stage}"), asked & !leaves.wire());
        }
        let ring = m.input("ring_i", slots);
        let job = first.shape.job(s, &Known { slots: runs, ring, allow: first.allow });
        let settled = asked & !(m.input("wait_i", 1) & first.shape.guarded);
        let guard = (m.input("guard_valid_i", 1) & first.shape.guarded).cat(m.input("guard_i", NUMBER_BITS));
        let jobs = m.stream("job_ready", settled & job.some(), guard.cat(job.word(&m)));
        m.stream_out("job", jobs);
        leaves.set(settled & (jobs.ready.wire() | !job.some()));

        m.output("front_valid_o", front.valid);
        m.output("leaves_o", leaves.wire());
        m.output("front_o", first.index);
        m.output("pred_o", first.pred);
        m.output("decision_valid_o", first.decides);
        m.output("decision_o", first.decision);
        m.output("before_o", first.before);
        m.output("family_o", first.shape.addr);
        m.output("asked_o", runs);
        m.finish()
    }
}
