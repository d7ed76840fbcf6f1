//! `stream_turns`: products and attention of one stream, in the order of the program.
//!
//! # Purpose
//!
//! The main and the read-ahead stream each bring weights and keys and values, whose commands wait in queues of their own ([`WeightQueue`](super::WeightQueue), [`HeadQueue`](super::HeadQueue)) and whose addresses are
//! found by walkers of their own. Tells which queue's first command is the stream's first, holds the jobs of both, and gives them to their walkers in order.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | empty |
//! | `push_valid_i`, `push_i` | in | 1, 1 | a command of the stream, into its queue too: whether it is attention |
//! | `leaves_i` | in | 1 | the first one leaves its queue |
//! | `turn_weights_o`, `turn_heads_o` | out | 1 | the first one is a product; it is attention |
//! | `weights_{valid,data}_i`, `weights_ready_o` | | 1, weights, 1 | *stream* of products' jobs |
//! | `heads_{valid,data}_i`, `heads_ready_o` | | 1, heads, 1 | *stream* of attention's jobs; both queues never have one at once |
//! | `weights_job_{valid,data}_o`, `weights_job_ready_i` | | 1, weights, 1 | *stream* to the walker of weights |
//! | `heads_job_{valid,data}_o`, `heads_job_ready_i` | | 1, heads, 1 | *stream* to the walker of caches |
//! | `weights_idle_i` | in | 1 | nothing of weights is left to be walked, or the last of it is in this cycle |
//!
//! A queue has its turn when its slots count as known only with `turn_<queue>_o`. What the walkers give never meets if they take as long.
//!
//! # Timing
//!
//! A job that comes to an empty queue can be taken in the next cycle. The walker of weights is given a job when both are ready, that of caches when it is and nothing of weights is left, so that the last of one job and the first of the next are a cycle apart also from one
//! walker to the other.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! Distributed memory for [`WINDOW`] commands and as many jobs. Figures: `tests/baselines/rtl/walk_heads.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_walk/heads.rs`: `heads_come_in_time`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{rtl::Block, walk::Turns};
//!
//! assert_eq!(Turns::new(50, 90)?.module()?.name(), "stream_turns_w50_h90");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use crate::prim::{Fifo, within};
use crate::rtl::{Block, Builder, Module, RamStyle, RtlError, Stream, Wire};
use fastcar_arch::timing::WINDOW;
use std::sync::Arc;

/// Widest job.
const MOST: u32 = 1024;

/// The order of a stream's commands. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    weights: u32,
    heads: u32,
}

impl Turns {
    /// For jobs of these widths.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(weights: u32, heads: u32) -> Result<Self, RtlError> {
        let job = |name, width| within("stream turns", name, width, 1..=MOST, "1 to 1024 bits");
        Ok(Self {
            weights: job("bits of a product's job", weights)?,
            heads: job("bits of attention's job", heads)?,
        })
    }

    /// Jobs of both kinds, in the order in which they come; in the top bit whether it is attention's.
    fn jobs<'m>(&self, m: &'m Builder) -> Result<Stream<'m>, RtlError> {
        let width = self.weights.max(self.heads);
        let [weights, heads] = [m.stream_in("weights", self.weights), m.stream_in("heads", self.heads)];
        let word = heads.valid.mux(heads.data.zext(width), weights.data.zext(width));
        let job = m.stream("job_room", weights.valid | heads.valid, heads.valid.cat(word));
        for kind in [weights, heads] {
            kind.ready.set(job.ready.wire());
        }
        Fifo::new(width + 1, WINDOW as u32, RamStyle::Distributed)?.after(m, "u_jobs", job)
    }

    /// Whether the first command is attention, if there is one. Nobody pushes more than there is room for.
    fn first<'m>(m: &'m Builder) -> Result<[Wire<'m>; 2], RtlError> {
        let input = Stream {
            valid: m.input("push_valid_i", 1),
            data: m.input("push_i", 1),
            ready: m.later("room", 1),
        };
        let first = Fifo::new(1, WINDOW as u32, RamStyle::Distributed)?.after(m, "u_order", input)?;
        first.ready.set(m.input("leaves_i", 1));
        Ok([first.valid, first.data])
    }
}

impl Block for Turns {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("stream_turns_w{}_h{}", self.weights, self.heads));
        let [some, attention] = Self::first(&m)?;
        m.output("turn_weights_o", some & !attention);
        m.output("turn_heads_o", some & attention);

        let jobs = self.jobs(&m)?;
        let attention = jobs.data.msb();
        let walkers = [("weights_job", !attention, self.weights), ("heads_job", attention, self.heads)];
        let ready = walkers.map(|(name, ..)| m.input(&format!("{name}_ready_i"), 1));
        // Who takes weights may take more of them before those are walked; attention waits for all.
        let idle = m.input("weights_idle_i", 1);
        jobs.ready.set(attention.mux(idle, ready[0]) & ready[1]);
        for ((name, turn, width), other) in walkers.into_iter().zip([ready[1], idle]) {
            m.output(&format!("{name}_valid_o"), jobs.valid & turn & other);
            m.output(&format!("{name}_data_o"), jobs.data.trunc(width));
        }
        m.finish()
    }
}
