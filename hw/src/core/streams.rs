//! The long streams: weights, keys and values, from commands to the ports.

use super::{AHEAD, Center, MAIN, Segments};
use crate::rtl::{Instance, RtlError, Stream, Wire};
use crate::walk::heads::{CacheSizes, Caches, Items, Visit};
use crate::walk::{
    CacheWalker, HeadQueue, Heads, Listed, Lists, MaskedJob, Matrix, RunFinder, Turns, WaitingHeads,
    WaitingProduct, WeightQueue, WeightSizes, WeightWalker,
};

/// Readers of the step table, and of the writers, behind those of the records.
const FIRST_ENTRY: usize = 2;
const FIRST_WRITER: usize = 1;

/// A long stream.
#[derive(Clone, Copy)]
struct Long {
    name: &'static str,
    /// Its number among both.
    number: usize,
    /// Who asks for decisions.
    reader: u32,
    items: Items,
}

const STREAMS: [Long; 2] = [
    Long { name: "main", number: 0, reader: MAIN, items: Items::All },
    Long { name: "ahead", number: 1, reader: AHEAD, items: Items::Older },
];

impl Long {
    fn port(self, what: &str) -> String {
        format!("{}_{what}", self.name)
    }

    fn unit(self, what: &str) -> String {
        format!("u_{}_{what}", self.name)
    }
}

/// Each channel's walks of both streams, which say what the beats of keys and values are.
pub(super) struct Streams<'m> {
    pub(super) main: Vec<Instance<'m>>,
    pub(super) ahead: Vec<Instance<'m>>,
    /// The queues of attention, of main and read-ahead.
    pub(super) queues: [Instance<'m>; 2],
}

impl<'m> Center<'m> {
    /// The addresses of what the array reads, on their way to the ports.
    pub(super) fn streams(&self, compact: Wire<'m>) -> Result<Streams<'m>, RtlError> {
        let [main, ahead] = STREAMS.map(|stream| self.stream(stream, compact));
        let ((main, main_queue), (ahead, ahead_queue)) = (main?, ahead?);
        let streams = Streams { main, ahead, queues: [main_queue, ahead_queue] };
        self.read_lists(&streams);
        Ok(streams)
    }

    fn stream(&self, stream: Long, compact: Wire<'m>) -> Result<(Vec<Instance<'m>>, Instance<'m>), RtlError> {
        let (turns, queue) = self.turns(stream, compact)?;
        let segments = self.walkers(stream, &turns, compact)?;
        let walk = Heads::new(self.config, stream.items);
        let channels = self.ports.iter().enumerate().map(|(c, port)| {
            let heads = self.m.instance(&stream.unit(&format!("heads_{c}")), &walk)?;
            heads.set("channel_i", self.m.lit(CacheSizes::new(self.config).lane(), c as u64));
            heads.stream_in("visit", segments.stream_out(&format!("segment{c}")));
            port.stream_in(&stream.port("segment"), heads.stream_out("segment"));
            Ok(heads)
        });
        Ok((channels.collect::<Result<_, RtlError>>()?, queue))
    }

    /// The commands of a stream, in order, until they are jobs; those of attention.
    fn turns(&self, stream: Long, compact: Wire<'m>) -> Result<(Instance<'m>, Instance<'m>), RtlError> {
        let Self { m, config, issue, dispatch, .. } = self;
        let products = match stream.items {
            Items::All => MaskedJob::width(&RunFinder::new(config)),
            Items::Older => WeightWalker::new(config)?.job_bits(),
        };
        let widths = [products, CacheWalker::new(config).job_bits()];
        let turns = m.instance(&stream.unit("turns"), &Turns::new(widths[0], widths[1])?)?;
        // What is read ahead has its turn in the main stream too.
        let classes = &issue.classes;
        let comes = match stream.items {
            Items::All => classes.product,
            Items::Older => classes.product & classes.ahead,
        };
        let attention = issue.fields.is("attn")?;
        turns.set("push_valid_i", issue.valid & comes);
        turns.set("push_i", attention);
        let weights = self.weight_queue(stream, compact)?;
        let heads = self.head_queue(stream)?;
        let turn = turns.get("turn_heads_o");
        let first = |name: &str| turn.mux(heads.get(name), weights.get(name));
        let [known, slots] =
            self.slots_of(stream.reader, first("pred_o"), first("decision_valid_o"), first("decision_o"));
        let mut leaves = m.lit(1, 0);
        for (name, queue, mine) in [("weights", &weights, !attention), ("heads", &heads, attention)] {
            queue.set("push_valid_i", issue.valid & comes & mine);
            queue.set("known_i", known & turns.get(&format!("turn_{name}_o")));
            queue.set("slots_i", slots);
            turns.stream_in(name, queue.stream_out("job"));
            leaves = leaves | queue.get("leaves_o");
        }
        turns.set("leaves_i", leaves);
        dispatch.set(&stream.port("front_valid_i"), turn | turns.get("turn_weights_o"));
        dispatch.set(&stream.port("front_i"), first("front_o"));
        Ok((turns, heads))
    }

    /// What a stream brings of a product, or of older blocks, which come by one of both.
    fn here(&self, stream: Long) -> Wire<'m> {
        let ahead = self.issue.classes.ahead;
        if stream.items == Items::All { !ahead } else { ahead }
    }

    fn weight_queue(&self, stream: Long, compact: Wire<'m>) -> Result<Instance<'m>, RtlError> {
        let Self { m, config, issue, .. } = self;
        // Masked products come by main only.
        let queue = match stream.items {
            Items::All => WeightQueue::masked(config),
            Items::Older => WeightQueue::new(config),
        };
        let queue = m.instance(&stream.unit("queue"), &queue)?;
        let waiting = WaitingProduct {
            index: issue.index,
            pred: issue.fields.pred(),
            decides: issue.decides,
            decision: issue.decision,
            reads: self.here(stream),
            matrix: Matrix::new(&WeightSizes::new(config), m, &issue.fields)?,
            masked: issue.classes.masked,
            first: issue.fields.field("matvec", "src")?,
            filled: issue.operand[0],
            filler: issue.operand[1],
        };
        queue.set("push_i", waiting.word(m));
        queue.set("compact_i", compact);
        if stream.items == Items::All {
            self.asks(&queue, "queue");
        }
        Ok(queue)
    }

    /// Tells a unit whether all masks of the `delta` that it names may be used.
    fn asks(&self, unit: &Instance<'m>, asker: &str) {
        self.masks.set(&format!("{asker}_number_i"), unit.get("filler_o"));
        unit.set("all_i", self.masks.get(&format!("{asker}_all_o")));
    }

    /// The pieces of products that may be masked, as their masks come, and whether there is none that waits before it is one.
    fn pieces(&self, jobs: Stream<'m>, compact: Wire<'m>) -> Result<(Stream<'m>, Wire<'m>), RtlError> {
        let Self { m, config, masks, .. } = self;
        let finder = m.instance("u_run_finder", &RunFinder::new(config))?;
        finder.set("compact_i", compact);
        finder.stream_in("job", jobs);
        self.asks(&finder, "walker");
        finder.set("groups_i", masks.get("walker_groups_o"));
        masks.set("walker_i", finder.get("look_o"));
        finder.set("look_i", masks.get("walker_o"));
        Ok((finder.stream_out("piece"), finder.get("idle_o")))
    }

    fn head_queue(&self, stream: Long) -> Result<Instance<'m>, RtlError> {
        let Self { m, config, issue, writers, .. } = self;
        let queue = m.instance(&stream.unit("head_queue"), &HeadQueue::new(config))?;
        let lists = Listed::new(&Lists::new(config), &issue.fields, self.lists.bank)?;
        let waiting = WaitingHeads {
            index: issue.index,
            pred: issue.fields.pred(),
            decides: issue.decides,
            decision: issue.decision,
            before: issue.writer,
            caches: Caches::new(&CacheSizes::new(config), &issue.fields, self.here(stream), &lists)?,
            lists,
        };
        queue.set("push_i", waiting.word(m));
        queue.set("lists_i", self.lists.there);
        let reader = FIRST_WRITER + stream.number;
        for name in ["before", "family"] {
            writers.set(&format!("{name}_{reader}_i"), queue.get(&format!("{name}_o")));
        }
        writers.set(&format!("slots_{reader}_i"), queue.get("asked_o"));
        for name in ["wait", "guard_valid", "guard"] {
            queue.set(&format!("{name}_i"), writers.get(&format!("{name}_{reader}_o")));
        }
        Ok(queue)
    }

    /// The walkers in the middle, and what they tell on its way to the channels.
    fn walkers(
        &self,
        stream: Long,
        turns: &Instance<'m>,
        compact: Wire<'m>,
    ) -> Result<Instance<'m>, RtlError> {
        let Self { m, config, table, .. } = self;
        let sizes = CacheSizes::new(config);
        let jobs = turns.stream_out("weights_job");
        let (block, jobs, found) = match stream.items {
            Items::All => {
                let (pieces, found) = self.pieces(jobs, compact)?;
                (WeightWalker::new(config)?.masked(), pieces, Some(found))
            }
            Items::Older => (WeightWalker::new(config)?, jobs, None),
        };
        let latency = block.latency();
        debug_assert_eq!(latency, CacheWalker::LATENCY, "what both give never meets");
        let weights = m.instance(&stream.unit("walker"), &block)?;
        let caches = m.instance(&stream.unit("cache_walker"), &CacheWalker::new(config))?;
        // Attention has its turn when the last run of the weights before it is given.
        // Pieces are kept until they are walked; a product that is read ahead is taken by the walker at once.
        let walks = weights.get("job_ready_o");
        turns.set("weights_idle_i", found.map_or(walks, |found| found & (!jobs.valid | walks)));
        weights.stream_in("job", jobs);
        caches.stream_in("job", turns.stream_out("heads_job"));
        caches.set("blocks_i", self.cache_blocks());
        let entry = FIRST_ENTRY + stream.number;
        table.set(&format!("slot_{entry}_i"), caches.get("slot_o"));
        caches.set("entry_i", table.get(&format!("entry_{entry}_o")));

        let (run, told) = (weights.get("run_valid_o"), caches.get("visit_valid_o"));
        let [address, length] = ["run_address_o", "run_length_o"].map(|name| weights.get(name));
        let word = run.mux(Visit::of_weights(&sizes, m, address, length), caches.get("visit_o"));
        let segments = Segments::new(word.width(), config.channels(), latency)?;
        let segments = m.instance(&stream.unit("segments"), &segments)?;
        segments.set("run_valid_i", run | told);
        segments.set("run_i", word);
        for walker in [&weights, &caches] {
            walker.set("go_i", segments.get("go_o"));
        }
        Ok(segments)
    }
}
