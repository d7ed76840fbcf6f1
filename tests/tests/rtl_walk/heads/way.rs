//! The whole way from a command that is taken to the ports, in the cycles of docs/cycles.md (Streams).

use super::channel::segment;
use super::middle::{any_slots, entry, slots_of};
use super::task::{Run, Step, Task, Wanted};
use crate::weights::{any_matvec, last_round, machine, runs};
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS};
use fastcar_arch::isa::{Command, Matvec};
use fastcar_arch::timing::{ADDRESS, HOP, PORT_ISSUE, STREAM_STEP, WINDOW};
use fastcar_hw::cmd::{COMMAND_BITS, Fields};
use fastcar_hw::core::Segments;
use fastcar_hw::port::Port;
use fastcar_hw::rtl::{Bits, Block, Builder, Instance, Module, RtlError, Wire};
use fastcar_hw::walk::heads::{CacheSizes, Caches, Items, Visit};
use fastcar_hw::walk::{
    CacheWalker, HeadQueue, Heads, Listed, Lists, Matrix, Turns, WaitingHeads, WaitingProduct, WeightQueue,
    WeightSizes, WeightWalker,
};
use fastcar_tests::rtl::{Cover, Random, Rtl};
use std::collections::VecDeque;
use std::sync::Arc;

/// A stream: the queues of products and of attention, their jobs, walkers, the way to the channels, and each one's walk.
pub struct Stream(pub AccelConfig, pub Items);

impl Stream {
    /// The queues, each with its turn, and the jobs in order.
    fn queues<'m>(&self, m: &'m Builder) -> Result<Instance<'m>, RtlError> {
        let config = &self.0;
        let fields = Fields::new(m.input("command_i", COMMAND_BITS));
        let (none, pred, no) = (m.lit(8, 0), fields.pred(), m.lit(1, 0));
        let attention = m.input("attention_i", 1);
        // What is read ahead of older blocks does not come by main; of weights nothing.
        let here = |ahead: Wire<'m>| if self.1 == Items::All { !ahead } else { ahead };
        let matrix = Matrix::new(&WeightSizes::new(config), m, &fields)?;
        let reads = here(fields.field("matvec", "ahead")?.bit(0));
        let (masked, first, filled, filler) = (no, m.lit(16, 0), no, none);
        let product = WaitingProduct {
            index: none,
            pred,
            decides: no,
            decision: none,
            reads,
            matrix,
            masked,
            first,
            filled,
            filler,
        };
        let older = here(fields.field("attn", "ahead")?.bit(0));
        let lists = Listed::new(&Lists::new(config), &fields, no)?;
        let caches = Caches::new(&CacheSizes::new(config), &fields, older, &lists)?;
        let before = none;
        let heads = WaitingHeads { index: none, pred, decides: no, decision: none, before, caches, lists };

        let weights = m.instance("u_weights", &WeightQueue::new(config))?;
        weights.set("push_i", product.word(m));
        weights.set("compact_i", m.input("compact_i", 1));
        let queue = m.instance("u_heads", &HeadQueue::new(config))?;
        queue.set("push_i", heads.word(m));
        queue.set("lists_i", m.lit(2, 0));
        queue.set("wait_i", no);
        queue.set("guard_valid_i", m.lit(1, 1));
        queue.set("guard_i", m.input("guard_i", 8));

        let job_bits = [WeightWalker::new(config)?.job_bits(), CacheWalker::new(config).job_bits()];
        let turns = m.instance("u_turns", &Turns::new(job_bits[0], job_bits[1])?)?;
        let (push, known, slots) =
            (m.input("push_valid_i", 1), m.input("known_i", 1), m.input("slots_i", config.slots()));
        turns.set("push_valid_i", push);
        turns.set("push_i", attention);
        let mut leaves = no;
        for (name, queue, mine) in [("weights", &weights, !attention), ("heads", &queue, attention)] {
            queue.set("push_valid_i", push & mine);
            queue.set("known_i", known & turns.get(&format!("turn_{name}_o")));
            queue.set("slots_i", slots);
            turns.stream_in(name, queue.stream_out("job"));
            leaves = leaves | queue.get("leaves_o");
        }
        turns.set("leaves_i", leaves);
        m.output("leaves_o", leaves);
        Ok(turns)
    }
}

impl Block for Stream {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let Self(config, items) = self;
        let (s, heads) = (CacheSizes::new(config), Heads::new(config, *items));
        let m = Builder::new(format!("way_of_{}", heads.module()?.name()));
        let turns = self.queues(&m)?;
        let weights = WeightWalker::new(config)?;
        let latency = weights.latency();
        let weights = m.instance("u_weight_walker", &weights)?;
        turns.set("weights_idle_i", weights.get("job_ready_o"));
        weights.stream_in("job", turns.stream_out("weights_job"));
        let caches = m.instance("u_cache_walker", &CacheWalker::new(config))?;
        caches.stream_in("job", turns.stream_out("heads_job"));
        caches.set("blocks_i", m.input("blocks_i", 11));
        caches.set("entry_i", m.input("entry_i", 192));
        m.output("slot_o", caches.get("slot_o"));

        let (told, visit) = (caches.get("visit_valid_o"), caches.get("visit_o"));
        let [address, length] = ["run_address_o", "run_length_o"].map(|name| weights.get(name));
        let run = weights.get("run_valid_o");
        let word = run.mux(Visit::of_weights(&s, &m, address, length), visit);
        let segments = Segments::new(Visit::width(&s), config.channels(), latency)?;
        let segments = m.instance("u_segments", &segments)?;
        segments.set("run_valid_i", told | run);
        segments.set("run_i", word);
        for walker in [&weights, &caches] {
            walker.set("go_i", segments.get("go_o"));
        }
        for c in 0..config.channels() {
            let channel = m.instance(&format!("u_channel_{c}"), &heads)?;
            channel.set("channel_i", m.lit(s.lane(), c.into()));
            channel.stream_in("visit", segments.stream_out(&format!("segment{c}")));
            m.stream_out(&format!("segment{c}"), channel.stream_out("segment"));
            channel.set("entry_valid_i", m.lit(1, 0));
            channel.set("entry_data_i", m.constant(Bits::zero(Lists::new(config).entry_bits())));
            channel.set("span_ready_i", m.lit(1, 1));
        }
        m.finish()
    }
}

/// A command of the stream.
#[derive(Clone, Debug)]
enum Asked {
    Attention(Task),
    Product(Matvec),
}

/// A command that waits: it, its slots, its guard.
type Waiting = (Asked, u64, u64);

/// Cycles from when a stream takes a command until its first run is at the ports: as much before its first address on AXI as they need.
const FIRST: u64 = ADDRESS - PORT_ISSUE - Port::SEGMENT_LATENCY;
/// Visits to slots that a channel's queue has room for while others have none.
const ROOM: usize = 48;

/// A stream with what is asked of it and when the ports have to have it.
pub struct Way {
    prefix: String,
    config: AccelConfig,
    items: Items,
    like: Task,
    positions: Vec<u32>,
    /// The commands in the queue, with their slots and guards, and when the first is taken.
    waiting: VecDeque<Waiting>,
    compact: bool,
    taken: u64,
    /// For each channel: the runs to come, with their cycles; the first cycle in which its walker is free; when each visit is over.
    due: Vec<VecDeque<(u64, u64)>>,
    walked: Vec<u64>,
    visits: Vec<VecDeque<u64>>,
}

impl Way {
    pub const BINS: [&str; 9] = [
        "at once",
        "behind the walk",
        "nothing here",
        "read ahead",
        "many slots",
        "as soon as may be",
        "product",
        "product by the other stream",
        "several rounds",
    ];

    pub fn new(name: &str, items: Items, random: &mut Random) -> Self {
        let config = machine(name);
        let kind = if items == Items::All { "main" } else { "ahead" };
        let channels = config.channels() as usize;
        let mut new = Self {
            prefix: format!("{name}_{kind}"),
            items,
            like: Task::any(random, &config),
            positions: Vec::new(),
            waiting: VecDeque::new(),
            compact: false,
            taken: 0,
            due: vec![VecDeque::new(); channels],
            walked: vec![0; channels],
            visits: vec![VecDeque::new(); channels],
            config,
        };
        new.next_step(random);
        new
    }

    fn port(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    fn next_step(&mut self, random: &mut Random) {
        self.compact = random.chance(50);
        self.like = Task::any(random, &self.config);
        self.positions = (0..self.config.slots()).map(|_| self.like.position(random)).collect();
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty()
            && self.due.iter().all(VecDeque::is_empty)
            && self.visits.iter().all(VecDeque::is_empty)
    }

    pub fn cycle(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) {
        let now = dut.cycle();
        self.visits.iter_mut().for_each(|visits| visits.retain(|over| *over > now));
        if self.is_idle() && random.chance(30) {
            self.next_step(random);
        }
        let slots = any_slots(random, self.config.slots());
        let pending: u32 = self.waiting.iter().map(|waiting| waiting.1.count_ones()).sum();
        let pending = (pending + slots.count_ones()) as usize;
        let room = self.visits.iter().all(|visits| visits.len() + pending <= ROOM);
        let push = room && self.waiting.len() < WINDOW && random.chance(if now & 512 == 0 { 70 } else { 5 });
        let asked = self.any(random);
        let command = match &asked {
            Asked::Attention(task) => task.command(),
            Asked::Product(c) => Command::from(*c),
        };
        dut.set(&self.port("push_valid_i"), push);
        dut.set(&self.port("attention_i"), matches!(asked, Asked::Attention(_)));
        dut.set(&self.port("command_i"), Bits::from_bytes(COMMAND_BITS, &command.encode()));
        dut.set(&self.port("compact_i"), self.compact);
        dut.set(&self.port("blocks_i"), u64::from(self.like.positions.div_ceil(KV_BLOCK_TOKENS)));
        let slot = dut.get(&self.port("slot_o")) as usize;
        dut.set(&self.port("entry_i"), entry(self.positions.get(slot).copied().unwrap_or_default()));
        self.first(dut, now, cover);
        self.ports(dut, now);
        if push {
            if self.waiting.is_empty() {
                self.taken = now + 1;
            }
            self.waiting.push_back((asked, slots, random.below(256)));
        }
    }

    /// A command; by the read-ahead stream only those come that are read ahead.
    fn any(&self, random: &mut Random) -> Asked {
        let ahead = self.items == Items::Older;
        if random.chance(40) {
            let c = any_matvec(random, &self.config);
            return Asked::Product(Matvec { ahead: c.ahead || ahead, ..c });
        }
        let task = Task::any(random, &self.config);
        Asked::Attention(Task { positions: self.like.positions, ahead: task.ahead || ahead, ..task })
    }

    /// The command in front, from when it is taken until it leaves.
    fn first(&mut self, dut: &mut Rtl, now: u64, cover: &mut Cover) {
        let (slots, guard) = self.waiting.front().map_or((0, 0), |front| (front.1, front.2));
        dut.set(&self.port("known_i"), !self.waiting.is_empty());
        dut.set(&self.port("slots_i"), slots);
        dut.set(&self.port("guard_i"), guard);
        // The next is taken a step later.
        let leaves = !self.waiting.is_empty() && now + 1 == self.taken + STREAM_STEP;
        assert_eq!(dut.is_set(&self.port("leaves_o")), leaves, "{} in cycle {now}", self.prefix);
        if !leaves {
            return;
        }
        let taken = self.taken;
        let Some((asked, slots, guard)) = self.waiting.pop_front() else { return };
        self.taken = now + 1;
        cover.hit("as soon as may be", !self.waiting.is_empty());
        cover.hit("many slots", slots.count_ones() > 3);
        match asked {
            Asked::Attention(task) => {
                cover.hit("read ahead", task.ahead);
                for slot in slots_of(slots) {
                    (0..self.due.len()).for_each(|c| self.expect(c, (&task, slot, guard), taken, cover));
                }
            }
            Asked::Product(product) => self.expect_weights(&product, slots, taken, cover),
        }
    }

    /// What all ports have to have of a product's weights.
    fn expect_weights(&mut self, c: &Matvec, slots: u64, taken: u64, cover: &mut Cover) {
        cover.hit("product", true);
        let reads = c.ahead == (self.items == Items::Older);
        cover.hit("product by the other stream", !reads);
        let rounds = last_round(&self.config, c, slots, self.compact).filter(|_| reads);
        cover.hit("several rounds", rounds.is_some_and(|last| last > 0));
        let Some(last) = rounds else { return };
        for weights in runs(&self.config, c, last) {
            let run = Run { address: weights.address, length: weights.length, guarded: false };
            let step = Step { run: Some(run), span: None };
            (0..self.due.len()).for_each(|c| self.walk(c, &[step], 0, taken));
        }
    }

    /// What a channel's port has to have for a slot, and when.
    fn expect(&mut self, c: usize, (task, slot, guard): (&Task, u64, u64), taken: u64, cover: &mut Cover) {
        let main = self.items == Items::All;
        let wanted = Wanted { older: !main || !task.ahead, own: main };
        let steps = task.steps(&self.config, slot, self.positions[slot as usize], c as u32, wanted);
        cover.hit("at once", self.walked[c] < taken + FIRST);
        cover.hit("behind the walk", self.walked[c] > taken + FIRST);
        cover.hit("nothing here", steps.iter().all(|step| step.run.is_none()));
        self.walk(c, &steps, guard, taken);
    }

    /// A run a cycle, and a cycle without one where there is none, in time for the first address of a command that was taken.
    fn walk(&mut self, c: usize, steps: &[Step], guard: u64, taken: u64) {
        let first = self.walked[c].max(taken + FIRST);
        let runs = steps.iter().zip(first..).filter_map(|(step, at)| Some((at, step.run?)));
        // The lowest bits of a writer's number tell it.
        let word = |(at, run): (u64, Run)| (at, segment(&self.config, &run, 32 + guard % 32, self.items));
        self.due[c].extend(runs.map(word));
        self.walked[c] = first + steps.len() as u64;
        self.visits[c].push_back(self.walked[c] + 2 * HOP);
    }

    fn ports(&mut self, dut: &mut Rtl, now: u64) {
        for c in 0..self.due.len() {
            let port = |name: &str| format!("{}_segment{c}_{name}", self.prefix);
            dut.set(&port("ready_i"), true);
            let due = self.due[c].pop_front_if(|due| due.0 == now);
            let place = format!("{} on channel {c} in cycle {now}", self.prefix);
            assert_eq!(dut.is_set(&port("valid_o")), due.is_some(), "{place}");
            if let Some((_, segment)) = due {
                assert_eq!(dut.get(&port("data_o")), segment, "{place}");
            }
        }
    }
}
