//! Walkers: runs of beats against the layouts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "rtl_walk/heads.rs"]
mod heads;
#[path = "rtl_walk/lists.rs"]
mod lists;
#[path = "rtl_walk/runs.rs"]
mod runs;
#[path = "rtl_walk/weights.rs"]
mod weights;

use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{
    Addr, Command, Delta, GateDelta, IndexBy, KvAppend, Load, Matvec, Norm, NormKind, Rope, Store, StoreAct,
};
use fastcar_arch::layout::RecordLayout;
use fastcar_arch::step::{NO_RING, SlotEntry};
use fastcar_arch::timing::STREAM_STEP;
use fastcar_hw::cmd::Writers;
use fastcar_hw::cmd::{COMMAND_BITS, Fields};
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError, emit};
use fastcar_hw::walk::queue::Waiting;
use fastcar_hw::walk::{Direction, Job, Known, RecordQueue, RecordWalker, shape};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Random, Rtl, accept, gather, hold, skipped};
use std::collections::VecDeque;
use std::sync::Arc;
use weights::{MACHINES, Products, Walker};

const PRESETS: [&str; 3] = ["tiny", "edge", "u55c"];

/// Commands in, runs out: the jobs and the walker.
struct Walk {
    config: AccelConfig,
    writes: bool,
}

impl Block for Walk {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("walk_{}_{}", self.config.name(), u32::from(self.writes)));
        let walker = RecordWalker::new(&self.config, 9)?;
        let s = walker.sizes();
        let fields = Fields::new(m.input("command_i", COMMAND_BITS));
        let slots = |name: &str| m.input(name, s.slots);
        let known = Known { slots: slots("slots_i"), ring: slots("ring_i"), allow: slots("allow_i") };
        let direction = if self.writes { Direction::Write } else { Direction::Read };
        let job = shape(&s, &m, &fields, direction)?.job(&s, &known);
        let some = job.some();
        m.output("some_o", some);
        let walk = m.instance("u_walk", &walker)?;
        walk.set("job_valid_i", m.input("valid_i", 1) & some);
        walk.set("job_data_i", m.input("tag_i", 9).cat(job.word(&m)));
        m.output("ready_o", walk.get("job_ready_o"));
        for port in walk.module().ports().iter().filter(|p| p.name.starts_with("run_") || p.name == "slot_o")
        {
            m.output(&port.name, walk.get(&port.name));
        }
        walk.set("go_i", m.input("go_i", 1));
        walk.set("entry_i", m.input("entry_i", 192));
        m.finish()
    }
}

/// Commands in, jobs out: their shapes and the queue.
struct Queue {
    config: AccelConfig,
}

impl Block for Queue {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("queue_{}", self.config.name()));
        let queue = RecordQueue::new(&self.config);
        let s = RecordWalker::new(&self.config, 9)?.sizes();
        let fields = Fields::new(m.input("command_i", COMMAND_BITS));
        let waiting = Waiting {
            index: m.input("index_i", 8),
            pred: fields.pred(),
            decides: m.input("decides_i", 1),
            decision: m.input("number_i", 8),
            before: m.input("older_i", 8),
            allow: m.input("allow_i", s.slots),
            shape: shape(&s, &m, &fields, Direction::Read)?,
        };
        let inner = m.instance("u_queue", &queue)?;
        inner.set("push_i", waiting.word(&m));
        for port in inner.module().ports() {
            match port.name.as_str() {
                "push_i" => {}
                name if port.input => inner.set(name, m.input(name, port.width)),
                name => m.output(name, inner.get(name)),
            }
        }
        m.finish()
    }
}

fn blocks() -> Result<Arc<Module>, Box<dyn std::error::Error>> {
    let mut parts = Vec::new();
    for preset in PRESETS {
        for (kind, writes) in [("reads", false), ("writes", true)] {
            let config = AccelConfig::preset(preset)?;
            parts.push((format!("{preset}_{kind}"), Walk { config, writes }.module()?));
        }
    }
    parts.push(("queue".to_owned(), Queue { config: AccelConfig::preset("edge")? }.module()?));
    parts.extend(weights::blocks()?);
    let parts: Vec<_> = parts.iter().map(|(name, module)| (name.as_str(), module.clone())).collect();
    Ok(gather("walkers", &parts)?)
}

/// What a step says of each slot.
struct Step {
    entries: Vec<SlotEntry>,
    slots: u64,
    allow: u64,
}

impl Step {
    fn any(random: &mut Random, slots: u32) -> Self {
        let entries = (0..slots)
            .map(|_| {
                let mut small = |limit| random.below(limit) as u32;
                let token = [small(1 << 24), small(100), small(1 << 24), 0xFF_FFFF];
                let ring = if small(4) == 0 { NO_RING } else { small(1 << 15) };
                SlotEntry { pos: small(1 << 15), ring, token, ..SlotEntry::idle() }
            })
            .collect();
        let all = (1_u64 << slots) - 1;
        let mut mask = || {
            [all, random.word() & all, 1 << random.below(slots.into()), 0][random.below(8).min(3) as usize]
        };
        Self { entries, slots: mask(), allow: mask() }
    }

    fn ring(&self) -> u64 {
        self.entries.iter().enumerate().map(|(n, e)| u64::from(e.ring().is_some()) << n).sum()
    }
}

/// A run as the walker gives it: first beat, beats, slot or none where all share it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    address: u64,
    length: u64,
    slot: Option<u64>,
    /// Of a cache: the slot's position, heads, blocks of a head.
    cache: Option<[u64; 3]>,
}

/// The place of slots' records: address, strides, index, bytes.
type Place = (Addr, u64, u64, IndexBy, u64);

/// The runs of a command, from docs/isa.md.
fn runs(config: &AccelConfig, step: &Step, command: &Command, writes: bool) -> Vec<Run> {
    let layout = RecordLayout::new(config);
    let beat = config.beat().get();
    let run = |addr: u64, bytes: u64, slot| Run {
        address: addr / beat % (config.channel_capacity().get() / beat),
        length: layout.local_bytes(bytes).get() / beat,
        slot,
        cache: None,
    };
    let each = |slots: u64, (addr, slot_stride, index_stride, by, bytes): Place| {
        let record = move |slot: u64| {
            let e = &step.entries[slot as usize];
            let index = match by {
                IndexBy::None => 0,
                IndexBy::Position => e.pos,
                IndexBy::Ring => e.ring()?,
                IndexBy::Token0 => e.token[0],
                IndexBy::Token1 => e.token[1],
                IndexBy::Token2 => e.token[2],
                IndexBy::Token3 => e.token[3],
            };
            let at = addr
                .0
                .wrapping_add(slot * slot_stride)
                .wrapping_add(u64::from(index).wrapping_mul(index_stride));
            Some(run(at, bytes, Some(slot)))
        };
        (0..64).filter(move |s| slots >> s & 1 == 1).filter_map(record).collect::<Vec<_>>()
    };
    let mut out = Vec::new();
    let shared = |addr: Addr, words: u32| run(addr.0, u64::from(words) * 4, None);
    let some = step.slots != 0;
    let referenced = step.slots & step.allow;
    let (own, place): (u64, Place) = match command {
        Command::Load(c) if !writes => {
            (step.slots, (c.addr, c.slot_stride, c.index_stride, c.index, u64::from(c.words) * 4))
        }
        Command::Store(c) if writes => {
            (step.slots, (c.addr, c.slot_stride, c.index_stride, c.index, u64::from(c.words) * 4))
        }
        Command::StoreAct(c) if writes => {
            (step.slots, (c.addr, c.slot_stride, c.index_stride, c.index, u64::from(c.blocks) * 33))
        }
        Command::Norm(c) if !writes && some => {
            out.push(shared(c.gamma, c.words));
            out.extend((c.kind == NormKind::Layer).then(|| shared(c.beta, c.words)));
            return out;
        }
        Command::Rope(c) if !writes => {
            (step.slots, (c.table, 0, c.index_stride, IndexBy::Position, u64::from(c.head_dim) * 4))
        }
        Command::Delta(c) => {
            let slots = if writes { step.slots } else { referenced };
            (slots, (c.addr, c.slot_stride, c.index_stride, IndexBy::Ring, u64::from(c.blocks) * 128))
        }
        Command::GateDelta(c) if !writes => {
            (referenced, (c.addr, c.slot_stride, c.index_stride, IndexBy::Ring, u64::from(c.blocks) * 33))
        }
        Command::KvAppend(c) if writes => {
            let shape = [c.kv_heads.into(), u64::from(c.head_dim) / 32];
            out.extend(each(step.slots, (c.addr, c.slot_stride, 0, IndexBy::None, 0)));
            for run in &mut out {
                let position = run.slot.map_or(0, |slot| step.entries[slot as usize].pos.into());
                run.cache = Some([position, shape[0], shape[1]]);
            }
            return out;
        }
        Command::Matvec(c) => {
            out.extend((!writes && some && c.has_bias).then(|| shared(c.bias, c.rows)));
            let slots = if writes { step.slots } else { referenced };
            let slots = if c.delta { slots } else { 0 };
            (slots, (c.ring, c.slot_stride, c.index_stride, IndexBy::Ring, u64::from(c.rows) * 4))
        }
        _ => return out,
    };
    out.extend(each(own, place));
    out
}

fn any_command(random: &mut Random, config: &AccelConfig) -> Command {
    let beat = config.beat().get();
    let beats = config.channel_capacity().get() / beat;
    let addr = Addr(random.below(beats) * beat);
    let stride = |random: &mut Random| [0, beat, random.below(beats) * beat][random.below(3) as usize];
    let (slot_stride, index_stride) = (stride(random), stride(random));
    let words = 1 + random.below(1 << 14) as u32;
    let blocks = 1 + random.below(2048) as u16;
    let index = IndexBy::ALL[random.below(IndexBy::ALL.len() as u64) as usize];
    let other = Addr(random.below(beats) * beat);
    let (has_bias, delta) = (random.chance(50), random.chance(60));
    let (kv_heads, head_dim) = (1 + random.below(64) as u16, 32 * (1 + random.below(32) as u16));
    match random.below(10) {
        0 => Load { addr, slot_stride, index_stride, words, index, ..Load::default() }.into(),
        1 => Store { addr, slot_stride, index_stride, words, index, ..Store::default() }.into(),
        2 => StoreAct { addr, slot_stride, index_stride, blocks, index, ..StoreAct::default() }.into(),
        3 => {
            let kind = if delta { NormKind::Layer } else { NormKind::Rms };
            Norm { gamma: addr, beta: other, words, kind, ..Norm::default() }.into()
        }
        4 => Rope { table: addr, index_stride, head_dim: blocks, heads: 3, ..Rope::default() }.into(),
        5 => Delta { addr, slot_stride, index_stride, blocks, ..Delta::default() }.into(),
        6 => GateDelta { addr, slot_stride, index_stride, blocks, ..GateDelta::default() }.into(),
        7 => Matvec {
            ring: addr,
            bias: other,
            slot_stride,
            index_stride,
            rows: words,
            has_bias,
            delta,
            ..Matvec::default()
        }
        .into(),
        8 => KvAppend { addr, slot_stride, kv_heads, head_dim, ..KvAppend::default() }.into(),
        _ => Command::GateHost(fastcar_arch::isa::GateHost::default()),
    }
}

/// One walker with what it is given and what it owes.
struct Bench {
    prefix: String,
    config: AccelConfig,
    writes: bool,
    latency: u64,
    step: Step,
    command: Command,
    /// Runs of the jobs that were taken, with the first cycle in which each may be given, the tag, and in its bit 9 whether it is the last.
    left: VecDeque<(u64, Run, u64)>,
    /// Runs on their way.
    due: VecDeque<(u64, Run, u64)>,
}

impl Bench {
    fn new(preset: &str, writes: bool, random: &mut Random) -> Self {
        let config = AccelConfig::preset(preset).unwrap();
        let kind = if writes { "writes" } else { "reads" };
        let latency = RecordWalker::new(&config, 9).unwrap().latency().into();
        let (step, command) = (Step::any(random, config.slots()), any_command(random, &config));
        let prefix = format!("{preset}_{kind}");
        Self { prefix, config, writes, latency, step, command, left: VecDeque::new(), due: VecDeque::new() }
    }

    fn port(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    fn cycle(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) {
        let now = dut.cycle();
        let (valid, go) = (random.chance(80), random.chance(75));
        dut.set(&self.port("valid_i"), valid);
        let tag = random.below(512);
        dut.set(&self.port("go_i"), go);
        dut.set(&self.port("tag_i"), tag);
        dut.set(&self.port("command_i"), Bits::from_bytes(COMMAND_BITS, &self.command.encode()));
        dut.set(&self.port("slots_i"), self.step.slots);
        dut.set(&self.port("ring_i"), self.step.ring());
        dut.set(&self.port("allow_i"), self.step.allow);
        let slot = dut.get(&self.port("slot_o")) as usize;
        let entry = &self.step.entries[slot.min(self.step.entries.len() - 1)];
        let words = [entry.pos, entry.ring].into_iter().chain(entry.token);
        let words: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        dut.set(&self.port("entry_i"), Bits::from_bytes(192, &words));

        self.output(dut, now);
        // A run leaves the job when it may.
        if go && self.left.front().is_some_and(|left| left.0 <= now) {
            let (_, run, tag) = self.left.pop_front().unwrap();
            self.due.push_back((now + self.latency - 1, run, tag));
        }
        let runs = runs(&self.config, &self.step, &self.command, self.writes);
        assert_eq!(dut.is_set(&self.port("some_o")), !runs.is_empty(), "{:?}", self.command);
        let ready = self.left.is_empty();
        assert_eq!(dut.is_set(&self.port("ready_o")), ready, "cycle {now}");
        if valid && (ready || runs.is_empty()) {
            cover.hit("none", runs.is_empty());
            cover.hit("several", runs.len() > 3);
            cover.hit(
                "shared and own",
                runs.len() > 1 && runs[0].slot.is_none() && runs.last().unwrap().slot.is_some(),
            );
            cover.hit("two shared", runs.len() == 2 && runs[1].slot.is_none());
            if !runs.is_empty() {
                cover.hit(self.command.info().mnemonic, true);
            }
            let last = runs.len();
            self.left.extend(
                runs.into_iter()
                    .enumerate()
                    .map(|(n, run)| (now + 1, run, u64::from(n + 1 == last) << 9 | tag)),
            );
            self.command = any_command(random, &self.config);
            // Entries change only when nothing of the walker needs them.
            if self.left.is_empty() && self.due.is_empty() {
                self.step = Step::any(random, self.config.slots());
            } else {
                let Step { slots, allow, .. } = Step::any(random, self.config.slots());
                (self.step.slots, self.step.allow) = (slots, allow);
            }
        }
    }

    fn output(&mut self, dut: &mut Rtl, now: u64) {
        let due = self.due.pop_front_if(|due| due.0 == now);
        assert_eq!(dut.is_set(&self.port("run_valid_o")), due.is_some(), "{} in cycle {now}", self.prefix);
        let Some((_, run, tag)) = due else { return };
        let shared = dut.is_set(&self.port("run_shared_o"));
        let heads = dut.get(&self.port("run_heads_o"));
        let cache = [dut.get(&self.port("run_index_o")), heads, dut.get(&self.port("run_scales_o"))];
        let found = Run {
            cache: (heads != 0).then_some(cache),
            address: dut.get(&self.port("run_address_o")),
            length: dut.get(&self.port("run_length_o")),
            slot: (!shared).then(|| dut.get(&self.port("run_slot_o"))),
        };
        assert_eq!(found, run, "{} in cycle {now}", self.prefix);
        let last = u64::from(dut.is_set(&self.port("run_last_o")));
        assert_eq!(last << 9 | dut.get(&self.port("run_tag_o")), tag);
    }
}

fn walk(dut: &mut Rtl, cycles: u64, seed: u64) -> Cover {
    let mut random = Random::new(seed);
    let bins = [
        "none",
        "several",
        "shared and own",
        "two shared",
        "load",
        "store",
        "store_act",
        "norm",
        "rope",
        "delta",
    ];
    let mut cover = Cover::new(&[&bins[..], &["gate_delta", "matvec", "kv_append"]].concat());
    let mut benches: Vec<_> = PRESETS
        .iter()
        .flat_map(|preset| [false, true].map(|writes| (*preset, writes)))
        .map(|(preset, writes)| Bench::new(preset, writes, &mut random))
        .collect();
    dut.reset();
    for _ in 0..cycles {
        for bench in &mut benches {
            bench.cycle(dut, &mut random, &mut cover);
        }
        dut.tick();
    }
    cover
}

#[test]
fn records_are_walked() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let module = blocks()?;
    accept(&emit(&module)?)?;
    walk(&mut Rtl::build_random(&module, 1)?, 12_000, 1).assert(20);
    Ok(())
}

/// A command in the queue: what comes with it, and what is said of it while it is the first.
struct Pushed {
    command: Command,
    index: u64,
    decision: Option<u64>,
    before: u64,
    slots: u64,
    allow: u64,
    guard: Option<u64>,
    /// Cycles from when it is the first until its slots are known, and from then on until its guard is.
    known_after: u64,
    guard_after: u64,
}

impl Pushed {
    fn any(random: &mut Random, config: &AccelConfig, index: u64) -> Self {
        let Step { slots, allow, .. } = Step::any(random, config.slots());
        let after = |random: &mut Random| if random.chance(60) { 0 } else { random.below(12) };
        Self {
            command: any_command(random, config),
            index,
            decision: random.chance(50).then(|| random.below(256)),
            before: random.below(256),
            slots,
            allow,
            guard: random.chance(50).then(|| random.below(256)),
            known_after: after(random),
            guard_after: after(random),
        }
    }

    fn push(&self, dut: &mut Rtl) {
        dut.set("queue_command_i", Bits::from_bytes(COMMAND_BITS, &self.command.encode()));
        dut.set("queue_index_i", self.index % 256);
        dut.set("queue_decides_i", self.decision.is_some());
        dut.set("queue_number_i", self.decision.unwrap_or(0));
        dut.set("queue_older_i", self.before);
        dut.set("queue_allow_i", self.allow);
    }

    /// Whether older writes may touch its records.
    fn guarded(&self) -> bool {
        match self.command {
            Command::Load(_) | Command::Delta(_) | Command::GateDelta(_) => true,
            Command::Matvec(c) => c.delta,
            _ => false,
        }
    }
}

/// The slots of a job, and whether there are shared records: with that the runs are those of the walker's test.
fn job_of(config: &AccelConfig, pushed: &Pushed, ring: u64) -> Option<(u64, u64)> {
    let entries = (0..config.slots())
        .map(|n| SlotEntry { ring: if ring >> n & 1 == 1 { 0 } else { NO_RING }, ..SlotEntry::idle() })
        .collect();
    let step = Step { entries, slots: pushed.slots, allow: pushed.allow };
    let runs = runs(config, &step, &pushed.command, false);
    let slots = runs.iter().filter_map(|run| run.slot).map(|slot| 1 << slot).sum();
    let shared = runs.iter().filter(|run| run.slot.is_none()).count() as u64;
    (!runs.is_empty()).then_some((slots, shared))
}

#[test]
fn commands_become_jobs() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset("edge")?;
    let mut dut = Rtl::build_random(&blocks()?, 3)?;
    let mut random = Random::new(3);
    let mut cover = Cover::new(&[
        "at once",
        "waits for slots",
        "waits for a guard",
        "no guard",
        "job",
        "none",
        "held up",
    ]);
    let mut queue: VecDeque<Pushed> = VecDeque::new();
    let latency = u64::from(Writers::LATENCY);
    let (mut index, mut since, ring) = (0, 0, 0b1011_0110);
    dut.set("queue_ring_i", ring);
    dut.reset();
    for _ in 0..20_000 {
        let now = dut.cycle();
        let push = queue.len() < 64 && random.chance(12);
        let new = Pushed::any(&mut random, &config, index);
        dut.set("queue_push_valid_i", push);
        new.push(&mut dut);
        let ready = random.chance(80);
        dut.set("queue_job_ready_i", ready);

        let mut leaves = false;
        assert_eq!(dut.is_set("queue_front_valid_o"), !queue.is_empty(), "cycle {now}");
        if let Some(first) = queue.front() {
            let (known, settled) = (since + first.known_after, since + first.known_after + first.guard_after);
            assert_eq!(dut.get("queue_front_o"), first.index % 256);
            assert_eq!(dut.get("queue_pred_o"), first.command.pred() as u64);
            assert_eq!(dut.is_set("queue_decision_valid_o"), first.decision.is_some());
            assert!(first.decision.is_none_or(|gate| gate == dut.get("queue_decision_o")));
            assert_eq!(dut.get("queue_before_o"), first.before);
            dut.set("queue_known_i", known <= now);
            dut.set("queue_slots_i", if known <= now { first.slots } else { random.below(256) });
            // Answers are to the questions of some cycles ago; before they are true they are anything.
            let answered = settled + latency <= now;
            dut.set("queue_wait_i", if known + latency <= now { !answered } else { random.chance(50) });
            dut.set("queue_guard_valid_i", if answered { first.guard.is_some() } else { random.chance(50) });
            dut.set("queue_guard_i", if answered { first.guard.unwrap_or(0) } else { random.below(256) });

            let may = latency + if first.guarded() { settled } else { known } <= now;
            let job = job_of(&config, first, ring);
            assert_eq!(
                dut.is_set("queue_job_valid_o"),
                may && job.is_some(),
                "cycle {now}: {:?}",
                first.command
            );
            if let Some((slots, shared)) = job.filter(|_| may) {
                assert_eq!(dut.get("queue_asked_o"), first.slots);
                let found = dut.bits("queue_job_data_o").to_bytes();
                assert_eq!(u64::from(found[0]), slots, "slots of {:?}", first.command);
                let flags = u64::from(found[1]);
                assert_eq!((flags >> 4 & 1) + (flags >> 5 & 1), shared);
                let width = Job::width(&RecordWalker::new(&config, 9)?.sizes());
                let bit = |at: u32| u64::from(found[at as usize / 8] >> (at % 8) & 1);
                let number: u64 = (0..8).map(|b| bit(width + b) << b).sum();
                let guard = (bit(width + 8) == 1).then_some(number);
                assert_eq!(guard, first.guard.filter(|_| first.guarded()), "cycle {now}");
                cover.hit("no guard", guard.is_none() && first.guarded());
            }
            leaves = may && (ready || job.is_none());
            cover.hit("at once", leaves && now == since + latency);
            cover.hit("waits for slots", first.known_after > 0);
            cover.hit("waits for a guard", first.guarded() && first.guard_after > 0);
            cover.hit("job", leaves && job.is_some());
            cover.hit("none", leaves && job.is_none());
            cover.hit("held up", may && !leaves);
        }
        assert_eq!(dut.is_set("queue_leaves_o"), leaves, "cycle {now}");
        dut.tick();
        if leaves {
            queue.pop_front();
            since = dut.cycle();
        }
        if push {
            if queue.is_empty() {
                since = dut.cycle();
            }
            queue.push_back(new);
            index += 1;
        }
    }
    cover.assert(50);
    Ok(())
}

fn walk_weights(dut: &mut Rtl, cycles: u64, seed: u64) -> Cover {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&Walker::BINS);
    let mut walkers = MACHINES.map(|name| Walker::new(name, &mut random));
    dut.reset();
    for _ in 0..cycles {
        walkers.iter_mut().for_each(|walker| walker.cycle(dut, &mut random, &mut cover));
        dut.tick();
    }
    cover
}

fn queue_products(dut: &mut Rtl, cycles: u64, seed: u64) -> (Cover, [Products; MACHINES.len()]) {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&Products::BINS);
    let mut queues = MACHINES.map(Products::new);
    dut.reset();
    for _ in 0..cycles {
        queues.iter_mut().for_each(|queue| queue.cycle(dut, &mut random, &mut cover));
        dut.tick();
    }
    (cover, queues)
}

#[test]
fn weights_are_walked() -> TestResult {
    if skipped() {
        return Ok(());
    }
    walk_weights(&mut Rtl::build_random(&blocks()?, 4)?, 10_000, 4).assert(500);
    Ok(())
}

#[test]
fn products_become_jobs() -> TestResult {
    if skipped() {
        return Ok(());
    }
    // What a queue of records keeps, and a stream therefore does.
    assert_eq!(u64::from(Writers::LATENCY) + 1, STREAM_STEP);
    let (cover, queues) = queue_products(&mut Rtl::build_random(&blocks()?, 5)?, 30_000, 5);
    cover.assert(100);
    // Every combination of slots, chunk and policy where there are few.
    for queue in queues.iter().filter(|queue| queue.kinds().is_some()) {
        assert!(queue.left() >= queue.kinds().unwrap(), "{} products left", queue.left());
    }
    assert!(queues.iter().filter(|queue| queue.kinds().is_some()).count() >= 3);
    Ok(())
}

/// ```sh
/// cargo test --release -p fastcar-tests --test rtl_walk -- --ignored
/// ```
#[test]
#[ignore = "some minutes"]
fn weights_in_the_long_run() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build_random(&blocks()?, 6)?;
    // At six machines: ten million cycles of walkers, and as many of queues.
    walk_weights(&mut dut, 1_700_000, 6).assert(100_000);
    queue_products(&mut dut, 1_700_000, 7).0.assert(1_000);
    Ok(())
}

#[test]
fn native_simulation_agrees() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::beside_native(&blocks()?)?;
    walk(&mut dut, 300, 2);
    walk_weights(&mut dut, 300, 2);
    queue_products(&mut dut, 300, 2);
    Ok(())
}

#[test]
fn cells_of_weights_are_as_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let modules: Result<Vec<_>, _> = PRESETS.iter().map(|name| weights::modules(name)).collect();
    hold("walk_weights", &modules?.concat())?;
    Ok(())
}

#[test]
fn synthesis_is_as_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut modules = Vec::new();
    for preset in PRESETS {
        modules.push(RecordWalker::new(&AccelConfig::preset(preset)?, 9)?.module()?);
    }
    modules.push(RecordQueue::new(&AccelConfig::preset("u55c")?).module()?);
    hold("walk", &modules)?;
    Ok(())
}

/// The job of [`Walk`] fits what the walker takes.
#[test]
fn jobs_have_one_width() -> TestResult {
    let sizes = RecordWalker::new(&AccelConfig::preset("u55c")?, 9)?.sizes();
    assert_eq!(Job::width(&sizes), 32 + 7 + 5 * 23 + 3 + 14 + 12 + 6 + 16);
    Ok(())
}
