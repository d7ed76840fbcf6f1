//! `head_queue`: attention that waits to have its keys and values read.
//!
//! # Purpose
//!
//! Holds the `attn` commands of one stream, main or read-ahead, until it is known which slots they run for and which older write their own blocks may meet, and makes jobs of them for the
//! [`CacheWalker`](super::CacheWalker), in order.
//! Before the job of a command with block lists it gives that for its lists, so that the channels have read these when they are needed.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | empty |
//! | `push_valid_i`, `push_i` | in | 1, [`HeadQueue::width`] | a command, see [`WaitingHeads`] |
//! | `front_valid_o`, `front_o` | out | 1, 8 | whether there is one, and the low bits of the number of the first |
//! | `leaves_o` | out | 1 | it leaves |
//! | `pred_o`, `decision_valid_o`, `decision_o` | out | 2, 1, 8 | of the first: asks [`Decisions`](crate::drs::Decisions), which answer |
//! | `known_i`, `slots_i` | in | 1, slots | in the same cycle. `known_i` not before the products in front of the command have left the stream |
//! | `before_o`, `family_o`, `asked_o` | out | 8, address, slots | asks [`Writers`], which answer three cycles later: |
//! | `wait_i`, `guard_valid_i`, `guard_i` | in | 1, 1, 8 | |
//! | `lists_i` | in | 2 | the lists of a bank have come from all channels |
//! | `list_valid_o`, `list_o` | out | 1, [`Lists::job_bits`] | a [`ListJob`]: a *pipe* |
//! | `job_valid_o`, `job_data_o`, `job_ready_i` | | 1, [`CacheWalker::job_bits`](super::CacheWalker::job_bits), 1 | *stream* of jobs |
//!
//! # Timing
//!
//! As [`RecordQueue`](super::RecordQueue): the first command leaves [`Writers::LATENCY`] cycles after the cycle in which its slots and its guard are known and its lists are there, if it runs for any, in the cycle in which its job goes (one for no slot makes none). The
//! next can leave `STREAM_STEP` cycles later. The job of lists goes in the first cycle in which its slots are known and its lists are there.
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
//! `tests/tests/rtl_walk/heads.rs`: `attention_becomes_jobs`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{rtl::Block, walk::HeadQueue};
//!
//! let queue = HeadQueue::new(&AccelConfig::preset("tiny")?);
//! assert_eq!(queue.module()?.name(), "head_queue_s4_a24_h7");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::heads::{CacheSizes, Caches};
use super::{ListJob, Listed, Lists, Sizes};
use crate::cmd::fields::cut;
use crate::cmd::{NUMBER_BITS, Writers};
use crate::port::WRITER_BITS;
use crate::prim::Fifo;
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::WINDOW;
use std::sync::Arc;

/// The queue of commands that read keys and values. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadQueue {
    sizes: CacheSizes,
    lists: Lists,
}

impl HeadQueue {
    /// For a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        Self { sizes: CacheSizes::new(config), lists: Lists::new(config) }
    }

    /// Width of what is pushed.
    #[must_use]
    pub fn width(&self) -> u32 {
        WaitingHeads::width(self)
    }
}

/// An `attn` that waits.
#[derive(Clone, Copy, Debug)]
pub struct WaitingHeads<'m> {
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
    /// Its caches.
    pub caches: Caches<'m>,
    /// Its lists.
    pub lists: Listed<'m>,
}

impl<'m> WaitingHeads<'m> {
    fn width(q: &HeadQueue) -> u32 {
        3 * NUMBER_BITS + 3 + Caches::width(&q.sizes) + Listed::width(&q.lists)
    }

    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { index, pred, decides, decision, before, caches, lists } = *self;
        m.pack(&[index, pred, decides, decision, before, caches.word(m), lists.word(m)])
    }

    fn of(q: &HeadQueue, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self {
            index: take(NUMBER_BITS),
            pred: take(2),
            decides: take(1),
            decision: take(NUMBER_BITS),
            before: take(NUMBER_BITS),
            caches: Caches::of(&q.sizes, take(Caches::width(&q.sizes))),
            lists: Listed::of(&q.lists, take(Listed::width(&q.lists))),
        }
    }
}

/// Commands in, the first of them out. Nobody pushes more than there is room for.
fn waiting<'m>(q: &HeadQueue, m: &'m Builder) -> Result<Stream<'m>, RtlError> {
    let input = Stream {
        valid: m.input("push_valid_i", 1),
        data: m.input("push_i", q.width()),
        ready: m.later("room", 1),
    };
    Fifo::new(q.width(), WINDOW as u32, RamStyle::Distributed)?.after(m, "u_waiting", input)
}

impl Block for HeadQueue {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Sizes { slots, address, heads, .. } = self.sizes.common;
        let m = Builder::new(format!("head_queue_s{slots}_a{address}_h{heads}"));
        let front = waiting(self, &m)?;
        let first = WaitingHeads::of(self, front.data);
        let leaves = m.later("leaves", 1);
        front.ready.set(leaves.wire());

        let runs = m.input("slots_i", slots);
        // The question is put in every cycle; what counts is that the answer is to one of this command's.
        let came = m.input("lists_i", 2);
        let came = first.lists.bank.mux(came.bit(1), came.bit(0)) | !first.lists.some | !runs.any();
        let mut asked = (front.valid & m.input("known_i", 1) & came).named("known");
        self.tell_lists(&m, (asked & first.lists.some & runs.any(), leaves.wire()), (runs, &first));
        for stage in 0..Writers::LATENCY {
            asked = m.register_valid(&format!("asked_{stage}"), asked & !leaves.wire());
        }
        let settled = asked & !m.input("wait_i", 1);
        let some = runs.any();
        let guard = m.input("guard_valid_i", 1).cat(m.input("guard_i", NUMBER_BITS).trunc(WRITER_BITS));
        let job = m.pack(&[runs, first.caches.word(&m), guard]);
        let jobs = m.stream("job_ready", settled & some, job);
        m.stream_out("job", jobs);
        leaves.set(settled & (jobs.ready.wire() | !some));

        m.output("front_valid_o", front.valid);
        m.output("leaves_o", leaves.wire());
        m.output("front_o", first.index);
        m.output("pred_o", first.pred);
        m.output("decision_valid_o", first.decides);
        m.output("decision_o", first.decision);
        m.output("before_o", first.before);
        m.output("family_o", first.caches.addr);
        m.output("asked_o", runs);
        m.finish()
    }
}

impl HeadQueue {
    /// The job of the first command's lists, once.
    fn tell_lists<'m>(
        &self,
        m: &'m Builder,
        (ready, leaves): (Wire<'m>, Wire<'m>),
        (slots, first): (Wire<'m>, &WaitingHeads<'m>),
    ) {
        let told = m.reg("lists_told", 1).reset(0);
        told.update(&[(leaves, m.lit(1, 0)), (ready, m.lit(1, 1))]);
        let last = self.sizes.last_unit(first.caches.heads);
        let bits = ListJob::place_bits();
        let job = ListJob {
            slots,
            bank: first.lists.bank,
            last_place: last.zext(bits.max(last.width())).trunc(bits),
            room: first.lists.room,
            scales: first.caches.scales,
        };
        m.output("list_valid_o", ready & !told.q());
        m.output("list_o", job.word(m));
    }
}
