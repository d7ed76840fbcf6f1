//! The vector unit: values of every command bit for bit, every cycle of `issued_o`, `done_o`, records and results.
//!
//! Random commands for long: `cargo test --release -p fastcar-tests --test rtl_vec -- --ignored`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::{AccelConfig, ConfigFields, LINE_WORDS};
use fastcar_arch::isa::{
    AbBlock, Add, Addr, Attn, Command, Coupling, Delta, Epilogue, F32Bits, GateDelta, IndexBy, KvAppend,
    Load, Matvec, Norm, NormKind, Pred, Quant, Rope, Store, StoreAct, VbLine, WeightFormat,
};
use fastcar_arch::num::window::{self, Base, Pair};
use fastcar_arch::num::{E8M0, Int8Block, fp, func, quantise_int8, softmax, sumsq};
use fastcar_arch::timing::{VectorTime, append_pause, cycles_per_beat_row, vector_time};
use fastcar_hw::rtl::{Bits, Block, Module, RtlError, Simulator, emit};
use fastcar_hw::vec::{
    Lane, LineExponents, Op, Records, Rotation, Scalar, Sequence, Shape, VectorBuffer, VectorUnit,
};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl, Value, accept, gather, hold, skipped};
use std::collections::VecDeque;
use std::sync::Arc;

const LINE: usize = LINE_WORDS as usize;

/// Words of the lanes, lane 0 low.
fn pack(words: &[u32]) -> Bits {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    Bits::from_bytes(32 * words.len() as u32, &bytes)
}

fn unpack(bits: &Bits) -> Vec<u32> {
    bits.to_bytes().as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect()
}

fn floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&word| f32::from_bits(word)).collect()
}

/// A preset with fewer lines, so that vectors lie on each other.
fn config(preset: &str, vb_lines: u32) -> AccelConfig {
    let preset = AccelConfig::preset(preset).unwrap();
    let fields = ConfigFields { vb_lines, ab_blocks: 64, ..preset.fields().clone() };
    AccelConfig::new(fields).unwrap()
}

/// What the unit alone takes: sums that no network brings, of which all are there; nobody whose beats are waited for.
fn unit_time(config: &AccelConfig, command: &Command) -> VectorTime {
    let mut time = vector_time(config, command).unwrap();
    let groups = |words: u64| words.div_ceil(config.vector_lanes().into());
    let whole = |words: u64| groups(words.next_multiple_of(LINE as u64));
    match command {
        Command::Matvec(c) => {
            let rows = u64::from(c.rows);
            let pairs = c.epilogue == Epilogue::SwiGlu;
            let all = if pairs { 2 * whole(rows / 2) } else { whole(rows) };
            time.tail = all - groups(rows);
            time.issue = all.max(2);
        }
        Command::Attn(c) => {
            time.issue = groups(u64::from(c.heads) * u64::from(c.head_dim)).max(2);
        }
        Command::KvAppend(c) => {
            let pause = append_pause(config, c.kv_heads.into(), c.head_dim.into());
            (time.issue, time.latency) = (time.issue - pause, time.latency + pause);
        }
        _ => {}
    }
    time
}

/// What the ports are given for a part.
#[derive(Clone, Copy, Default)]
struct Fields {
    op: u64,
    to_line: u64,
    from_line: u64,
    block: u64,
    lines: u64,
    rest: u64,
    head_lines: u64,
    accumulate: u64,
    inv_words: u64,
    eps: u64,
    delta: u64,
    bias: u64,
    epilogue: u64,
}

/// What differs from part to part.
#[derive(Clone, Copy, Default)]
struct Given {
    access: bool,
    ring: bool,
    shared: bool,
    base: u64,
    nan: bool,
    fp4: bool,
}

impl Given {
    fn access(access: bool) -> Self {
        Self { access, ..Self::default() }
    }
}

fn fields(command: &Command) -> Fields {
    let words = |op: Op, words: u32| Fields {
        op: op.code(),
        lines: u64::from(words.div_ceil(LINE_WORDS)),
        rest: u64::from(words % LINE_WORDS),
        ..Fields::default()
    };
    match command {
        Command::Load(c) => {
            Fields { to_line: c.dst.0.into(), accumulate: c.accumulate.into(), ..words(Op::Load, c.words) }
        }
        Command::Store(c) => Fields { from_line: c.src.0.into(), ..words(Op::Store, c.words) },
        Command::Add(c) => {
            Fields { to_line: c.dst.0.into(), from_line: c.src.0.into(), ..words(Op::Add, c.words) }
        }
        Command::StoreAct(c) => {
            Fields { block: c.src.0.into(), ..words(Op::StoreAct, u32::from(c.blocks) * LINE_WORDS) }
        }
        Command::Quant(c) => Fields {
            from_line: c.src.0.into(),
            block: c.dst.0.into(),
            ..words(Op::Quant, u32::from(c.blocks) * LINE_WORDS)
        },
        Command::Norm(c) => Fields {
            to_line: c.dst.0.into(),
            from_line: c.src.0.into(),
            inv_words: c.inv_words.get().to_bits().into(),
            eps: c.eps.get().to_bits().into(),
            ..words(if c.kind == NormKind::Rms { Op::Rms } else { Op::Layer }, c.words)
        },
        Command::Rope(c) => Fields {
            to_line: c.vec.0.into(),
            head_lines: u64::from(c.head_dim) / LINE as u64,
            ..words(Op::Rope, u32::from(c.heads) * u32::from(c.head_dim))
        },
        Command::KvAppend(c) => Fields {
            to_line: c.value.0.into(),
            from_line: c.key.0.into(),
            ..words(Op::KvAppend, u32::from(c.kv_heads) * u32::from(c.head_dim))
        },
        Command::Matvec(c) => {
            let pairs = c.epilogue == Epilogue::SwiGlu;
            let rows = if pairs { c.rows / 2 } else { c.rows };
            let words = words(Op::Matvec, rows);
            Fields {
                to_line: c.dst.0.into(),
                lines: words.lines << u32::from(pairs),
                accumulate: c.accumulate.into(),
                delta: c.delta.into(),
                bias: c.has_bias.into(),
                epilogue: c.epilogue as u64,
                ..words
            }
        }
        Command::GateDelta(c) => {
            Fields { block: c.src.0.into(), ..words(Op::GateDelta, u32::from(c.blocks) * LINE_WORDS) }
        }
        Command::Delta(c) => Fields {
            from_line: c.src.0.into(),
            block: c.dst.0.into(),
            inv_words: c.tau_sq.get().to_bits().into(),
            ..words(Op::Delta, u32::from(c.blocks) * LINE_WORDS)
        },
        Command::Attn(c) => {
            Fields { to_line: c.dst.0.into(), ..words(Op::Attn, u32::from(c.heads) * u32::from(c.head_dim)) }
        }
        _ => panic!("{command:?}"),
    }
}

/// Sums of the lanes, lane 0 low.
fn pack_sums(sums: &[i64]) -> Bits {
    let bytes: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()[..6].to_vec()).collect();
    Bits::from_bytes(48 * sums.len() as u32, &bytes)
}

/// A block that leaves.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    memory: bool,
    slot: usize,
    number: u64,
    block: Int8Block,
    /// With `delta`, whether it is active.
    mask: Option<bool>,
}

/// A group of words that leaves, with slot and line, which the failure tells.
type Group = ((usize, usize), Vec<u32>);

/// What leaves some cycles after a group has been taken.
#[derive(Clone, Default)]
struct Leaving {
    /// The group, counted from the part's first.
    step: usize,
    words: Vec<(u64, Group)>,
    block: Option<(u64, Sent)>,
}

/// What a cycle of a part waits for: a group of a record, and whether it is the last one; a group of sums.
#[derive(Clone, Default)]
struct Step {
    record: Option<(Vec<u32>, bool)>,
    sums: Option<Vec<i64>>,
    head: Head,
}

/// What comes beside weighted sums of values: the group's number, and what its head has.
#[derive(Clone, Copy, Default)]
struct Head {
    group: u64,
    scale: u8,
    nan: bool,
    none: bool,
    total: u64,
}

/// A part under way: cycles before anything is waited for, and those after.
struct Running {
    lead: u64,
    steps: VecDeque<Step>,
    latency: u64,
    /// The input is free in no cycle before.
    least: u64,
    /// Nothing has been taken.
    first: bool,
    /// The slot's score, which leaves with its result.
    score: Option<(usize, u32)>,
}

/// Where the unit runs: in Verilator, or where that takes too long to compile, in the crate's own simulation.
enum Device {
    Verilator(Rtl),
    Native { simulator: Simulator, inputs: Vec<(String, u32)>, cycle: u64 },
}

impl Device {
    fn native(module: &Arc<Module>) -> Result<Self, RtlError> {
        let design = emit(module)?;
        let inputs = design.ports().iter().filter(|port| port.input && port.name != "clk_i");
        let inputs = inputs.map(|port| (port.name.clone(), port.width)).collect();
        Ok(Self::Native { simulator: Simulator::new(module)?, inputs, cycle: 0 })
    }

    fn width(&self, port: &str) -> u32 {
        match self {
            Self::Verilator(rtl) => rtl.inputs().find(|(name, _)| *name == port).unwrap().1,
            Self::Native { inputs, .. } => inputs.iter().find(|(name, _)| name == port).unwrap().1,
        }
    }

    fn set(&mut self, port: &str, value: impl Value) {
        let width = self.width(port);
        match self {
            Self::Verilator(rtl) => rtl.set(port, value),
            Self::Native { simulator, .. } => simulator.set(port, value.bits(width)).unwrap(),
        }
    }

    fn bits(&mut self, port: &str) -> Bits {
        match self {
            Self::Verilator(rtl) => rtl.bits(port),
            Self::Native { simulator, .. } => simulator.get(port).unwrap(),
        }
    }

    fn get(&mut self, port: &str) -> u64 {
        self.bits(port).to_u64().unwrap()
    }

    fn is_set(&mut self, port: &str) -> bool {
        self.bits(port).any()
    }

    fn cycle(&self) -> u64 {
        match self {
            Self::Verilator(rtl) => rtl.cycle(),
            Self::Native { cycle, .. } => *cycle,
        }
    }

    fn tick(&mut self) {
        match self {
            Self::Verilator(rtl) => rtl.tick(),
            Self::Native { simulator, cycle, .. } => {
                simulator.tick();
                *cycle += 1;
            }
        }
    }

    fn reset(&mut self) {
        self.set("rst_i", true);
        self.tick();
        self.tick();
        self.set("rst_i", false);
    }
}

/// The unit in test, its memory as it should be, and what it owes.
struct Bench {
    dut: Device,
    config: AccelConfig,
    lanes: usize,
    random: Random,
    gaps: Gaps,
    sum_gaps: Gaps,
    cover: Cover,
    vb: Vec<Vec<u32>>,
    ab: Vec<Vec<Int8Block>>,
    running: Option<Running>,
    /// The next part is a command's first: all results of the one before have to be there.
    begins: bool,
    issued: Option<u64>,
    done: VecDeque<u64>,
    words: VecDeque<(u64, Group)>,
    blocks: VecDeque<(u64, Sent)>,
    /// Scores of slots, with the part's place.
    scores: VecDeque<(u64, (usize, u32))>,
    asked: VecDeque<Option<(usize, usize)>>,
    /// Steps of the part that have been taken, and what leaves after which.
    steps: usize,
    leaving: VecDeque<Leaving>,
    next_leaving: VecDeque<Leaving>,
    next_score: Option<u32>,
}

const BINS: [&str; 55] = [
    "load",
    "accumulate",
    "store",
    "store_act",
    "rms",
    "layer",
    "quant",
    "add",
    "rope",
    "kv",
    "stalled",
    "stalled first",
    "no record",
    "shared again",
    "partial",
    "same bank",
    "other bank",
    "odd and same",
    "odd groups",
    "in place",
    "back to back",
    "nan",
    "many lines",
    "short head",
    "long head",
    "odd start",
    "one group",
    "padded",
    "as soon as done",
    "matvec",
    "rows alone",
    "swiglu",
    "gelu",
    "onto",
    "bias",
    "reference",
    "fresh",
    "sums late",
    "record late",
    "attn",
    "no token",
    "nan score",
    "delta",
    "changed",
    "unchanged",
    "at the limit",
    "distance unknown",
    "limit unknown",
    "fresh delta",
    "no ring",
    "gate",
    "not scored",
    "no distance",
    "some distance",
    "unknown score",
];

impl Bench {
    fn new(dut: Device, config: &AccelConfig, seed: u64) -> Self {
        let slots = config.slots() as usize;
        let mut bench = Self {
            dut,
            config: config.clone(),
            lanes: config.vector_lanes() as usize,
            random: Random::new(seed),
            gaps: Gaps::new(80),
            sum_gaps: Gaps::new(80),
            cover: Cover::new(&BINS),
            vb: vec![vec![0; config.vb_lines() as usize * LINE]; slots],
            ab: vec![vec![Int8Block::default(); config.ab_blocks() as usize]; slots],
            running: None,
            begins: true,
            issued: None,
            done: VecDeque::new(),
            words: VecDeque::new(),
            blocks: VecDeque::new(),
            scores: VecDeque::new(),
            asked: [None, None].into(),
            steps: 0,
            leaving: VecDeque::new(),
            next_leaving: VecDeque::new(),
            next_score: None,
        };
        for block in bench.ab.iter_mut().flatten() {
            let elems = std::array::from_fn(|_| bench.random.word() as i8);
            *block = Int8Block { scale: E8M0(bench.random.word() as u8), elems };
        }
        bench.dut.set("start_i", false);
        bench.dut.set("record_valid_i", false);
        bench.dut.reset();
        bench
    }

    /// Words of like size, of any size, special ones.
    fn numbers(&mut self, count: usize) -> Vec<u32> {
        let kind = self.random.below(12);
        let top = [40, 120, 127, 130, 200, self.random.below(250) as u32][self.random.below(6) as usize];
        let mut words: Vec<u32> = (0..count)
            .map(|_| {
                let word = self.random.word();
                let (rest, low) = (word as u32 & 0x807F_FFFF, (word >> 32) as u32);
                let field = match kind {
                    0 => top,
                    1 => low % 255,
                    2 => low & 1,
                    _ => top.saturating_sub(low % 12),
                };
                if low >> 16 & 31 == 0 { rest & 0x8000_0000 } else { rest | field << 23 }
            })
            .collect();
        if self.random.chance(2) {
            let at = self.random.below(count as u64) as usize;
            words[at] = [0x7FC0_0000, 0x7F80_0001, 0xFFFF_FFFF][self.random.below(3) as usize];
            self.cover.hit("nan", true);
        }
        words
    }

    /// A cycle: record, answers of the activation buffer, and all outputs as they should be.
    fn cycle(&mut self) {
        let now = self.dut.cycle();
        let offered = self.gaps.next(&mut self.random);
        let summed = self.sum_gaps.next(&mut self.random);
        let step = self.running.as_ref().and_then(|r| r.steps.front()).cloned().unwrap_or_default();
        self.dut.set("record_valid_i", offered);
        let data = step.record.as_ref().filter(|_| offered).map(|(words, _)| pack(words));
        self.dut.set("record_data_i", data.unwrap_or_else(|| self.random.bits(32 * self.lanes as u32)));
        self.dut.set("sums_valid_i", summed);
        let data = step.sums.as_ref().filter(|_| summed).map(|sums| pack_sums(sums));
        self.dut.set("sums_data_i", data.unwrap_or_else(|| self.random.bits(48 * self.lanes as u32)));
        let Head { group, scale, nan, none, total } = step.head;
        let beside = [
            ("sums_group_i", group),
            ("sums_scale_i", scale.into()),
            ("sums_nan_i", nan.into()),
            ("sums_none_i", none.into()),
            ("sums_total_i", total),
        ];
        for (port, value) in beside {
            let width = self.dut.width(port);
            let bits = if summed { Bits::from_u64(width, value) } else { self.random.bits(width) };
            self.dut.set(port, bits);
        }
        if let Some((slot, block)) = self.asked.pop_front().flatten() {
            let block = self.ab[slot][block];
            self.dut.set("ab_scale_i", u64::from(block.scale.0));
            self.dut.set("ab_elems_i", Bits::from_bytes(256, &block.elems.map(|element| element as u8)));
        } else {
            self.dut.set("ab_scale_i", self.random.below(256));
            self.dut.set("ab_elems_i", self.random.bits(256));
        }
        assert_eq!(
            self.dut.is_set("issued_o"),
            self.issued.take_if(|at| *at == now).is_some(),
            "issued in {now}"
        );
        let done = self.done.pop_front_if(|at| *at == now).is_some();
        assert_eq!(self.dut.is_set("done_o"), done, "done in {now}");
        let words = self.words.pop_front_if(|(at, _)| *at == now).map(|(_, words)| words);
        assert_eq!(self.dut.is_set("word_valid_o"), words.is_some(), "words in {now}");
        if let Some((place, words)) = words {
            let found = unpack(&self.dut.bits("word_data_o"));
            assert_eq!(found[..words.len()], words, "slot and line {place:?} in {now}");
        }
        let sent = self.blocks.pop_front_if(|(at, _)| *at == now).map(|(_, sent)| sent);
        assert_eq!(self.dut.is_set("block_valid_o"), sent.is_some(), "block in {now}");
        if let Some(sent) = sent {
            assert_eq!(self.sent(), sent, "block in {now}");
        } else {
            assert!(!self.dut.is_set("mask_valid_o"), "mask in {now}");
        }
        let score = self.scores.pop_front_if(|(at, _)| *at == now).map(|(_, score)| score);
        assert_eq!(self.dut.is_set("score_valid_o"), score.is_some(), "score in {now}");
        if let Some(score) = score {
            let found = (self.dut.get("block_slot_o") as usize, self.dut.get("score_o") as u32);
            assert_eq!(found, score, "score in {now}");
        }
        self.advance(now, offered, summed);
        let asks = self.dut.is_set("ab_read_o");
        let ask = asks.then(|| (self.dut.get("ab_slot_o") as usize, self.dut.get("ab_block_o") as usize));
        self.asked.push_back(ask);
        self.dut.tick();
        self.dut.set("start_i", false);
    }

    fn sent(&mut self) -> Sent {
        let bytes = self.dut.bits("block_elems_o").to_bytes();
        Sent {
            memory: self.dut.is_set("block_memory_o"),
            slot: self.dut.get("block_slot_o") as usize,
            number: self.dut.get("block_number_o"),
            block: Int8Block {
                scale: E8M0(self.dut.get("block_scale_o") as u8),
                elems: std::array::from_fn(|index| bytes[index] as i8),
            },
            mask: self.dut.is_set("mask_valid_o").then(|| self.dut.is_set("mask_o")),
        }
    }

    /// The part under way goes on for a cycle, unless it waits for its record.
    fn advance(&mut self, now: u64, offered: bool, summed: bool) {
        let (ready, takes) = (self.dut.is_set("record_ready_o"), self.dut.is_set("sums_ready_o"));
        let Some(running) = &mut self.running else {
            assert!(!ready && !takes, "a record is wanted in {now}");
            return;
        };
        if running.lead > 0 {
            assert!(!ready && !takes, "a record is wanted in {now}");
            running.lead -= 1;
        } else if let Some(step) = running.steps.front() {
            let (record, sums) = (step.record.is_some(), step.sums.is_some());
            assert_eq!(ready, record && (!sums || summed), "record in {now}");
            assert_eq!(takes, sums && (!record || offered), "sums in {now}");
            self.cover.hit("stalled", record && !offered);
            self.cover.hit("stalled first", record && !offered && running.first);
            self.cover.hit("sums late", sums && !summed && (!record || offered));
            self.cover.hit("record late", sums && summed && record && !offered);
            if (!record || offered) && (!sums || summed) {
                if let Some((_, last)) = step.record {
                    assert_eq!(self.dut.is_set("record_last_o"), last, "end of the record in {now}");
                }
                running.steps.pop_front();
                running.first = false;
                let taken = self.steps;
                if let Some(leaving) = self.leaving.pop_front_if(|leaving| leaving.step == taken) {
                    self.words.extend(leaving.words.into_iter().map(|(after, group)| (now + after, group)));
                    self.blocks.extend(leaving.block.into_iter().map(|(after, sent)| (now + after, sent)));
                }
                self.steps += 1;
            }
        } else {
            assert!(!ready && !takes, "a record is wanted in {now}");
            self.cover.hit("padded", true);
        }
        if running.lead == 0 && running.steps.is_empty() && now + 1 >= running.least {
            self.issued = Some(now + 1);
            self.done.push_back(now + 1 + running.latency);
            self.scores.extend(running.score.map(|score| (now + running.latency, score)));
            self.running = None;
        }
    }

    /// Starts a part: in the first cycle that it can, or some later.
    fn start(&mut self, command: &Command, slot: usize, records: Vec<Vec<u32>>, access: bool) -> u64 {
        let time = unit_time(&self.config, command);
        let mut steps = VecDeque::new();
        for words in records {
            steps.extend(
                self.record(&words)
                    .into_iter()
                    .map(|record| Step { record: Some(record), ..Step::default() }),
            );
        }
        let lead = if steps.is_empty() { time.issue } else { time.lead };
        if !steps.is_empty() {
            steps.resize(steps.len() + time.tail as usize, Step::default());
        }
        self.start_steps(command, slot, (lead, steps), Given::access(access))
    }

    /// A record's groups.
    fn record(&mut self, words: &[u32]) -> Vec<(Vec<u32>, bool)> {
        let groups = words.len().div_ceil(self.lanes);
        let group = |(at, group): (usize, &[u32])| {
            let mut group = group.to_vec();
            group.resize_with(self.lanes, || self.random.word() as u32);
            (group, at + 1 == groups)
        };
        words.chunks(self.lanes).enumerate().map(group).collect()
    }

    fn start_steps(
        &mut self,
        command: &Command,
        slot: usize,
        (lead, steps): (u64, VecDeque<Step>),
        part: Given,
    ) -> u64 {
        let given = fields(command);
        let values = [
            ("op_i", given.op),
            ("slot_i", slot as u64),
            ("to_line_i", given.to_line),
            ("from_line_i", given.from_line),
            ("block_i", given.block),
            ("lines_i", given.lines),
            ("rest_i", given.rest),
            ("head_lines_i", given.head_lines),
            ("accumulate_i", given.accumulate),
            ("inv_words_i", given.inv_words),
            ("eps_i", given.eps),
            ("delta_i", given.delta),
            ("bias_i", given.bias),
            ("epilogue_i", given.epilogue),
            ("access_i", part.access.into()),
            ("ring_i", part.ring.into()),
            ("shared_i", part.shared.into()),
            ("base_i", part.base),
            ("nan_i", part.nan.into()),
            ("fp4_i", part.fp4.into()),
        ];
        for (port, value) in values {
            self.dut.set(port, value);
        }
        // What tells the part stands on the edge before it begins, and then no longer.
        let idle = if self.random.chance(30) { self.random.below(4) } else { 0 };
        let first = std::mem::take(&mut self.begins);
        self.cycle();
        while self.running.is_some() || (first && self.done.iter().any(|at| *at > self.dut.cycle())) {
            self.cycle();
        }
        self.cover.hit("back to back", idle == 0 && self.issued == Some(self.dut.cycle()));
        self.cover.hit("as soon as done", first && self.done.front() == Some(&self.dut.cycle()));
        for _ in 0..idle {
            self.cycle();
        }
        for (port, _) in values {
            let width = self.dut.width(port);
            let bits = self.random.bits(width);
            self.dut.set(port, bits);
        }
        self.dut.set("start_i", true);
        let VectorTime { issue, latency, .. } = unit_time(&self.config, command);
        let start = self.dut.cycle();
        // The part's first cycle may be the one in which the next part's fields stand.
        self.steps = 0;
        assert!(self.leaving.is_empty(), "rows or blocks that did not leave");
        self.leaving = std::mem::take(&mut self.next_leaving);
        let score = self.next_score.take().map(|score| (slot, score));
        self.running = Some(Running { lead, steps, latency, least: start + issue, first: true, score });
        start
    }

    /// Lets all results come.
    fn drain(&mut self) {
        while self.running.is_some() || !self.done.is_empty() {
            self.cycle();
        }
        assert!(self.words.is_empty() && self.blocks.is_empty(), "results after the end");
    }

    /// A command for some slots.
    fn run(&mut self, command: &Command, slots: &[usize]) {
        let lines = fields(command).lines;
        self.begins = true;
        self.cover.hit("many lines", lines > 32);
        self.cover.hit("odd groups", lines * LINE as u64 / self.lanes as u64 % 2 == 1);
        self.cover.hit("one group", lines as usize * LINE == self.lanes);
        match command {
            Command::Load(c) => self.load(c, slots),
            Command::Store(c) => self.store(c, slots),
            Command::StoreAct(c) => self.store_act(c, slots),
            Command::Norm(c) => self.norm(c, slots),
            Command::Quant(c) => self.quant(c, slots),
            Command::Add(c) => self.add(c, slots),
            Command::Rope(c) => self.rope(c, slots),
            Command::KvAppend(c) => self.kv(c, slots),
            Command::Matvec(c) => self.matvec(c, slots),
            Command::Attn(c) => self.attn(c, slots),
            Command::Delta(c) => self.delta(c, slots),
            Command::GateDelta(c) => self.gate_delta(c, slots),
            _ => panic!("{command:?}"),
        }
    }

    fn part(&mut self, slot: usize, first: VbLine, words: usize) -> &mut [u32] {
        &mut self.vb[slot][usize::from(first.0) * LINE..][..words]
    }

    fn load(&mut self, c: &Load, slots: &[usize]) {
        self.cover.hit(if c.accumulate { "accumulate" } else { "load" }, true);
        self.cover.hit("partial", !c.words.is_multiple_of(LINE_WORDS));
        self.cover.hit("odd start", c.dst.0 % 2 == 1);
        for &slot in slots {
            let there = !self.random.chance(15);
            self.cover.hit("no record", !there);
            let record = self.numbers(c.words as usize);
            let groups = if there { vec![record.clone()] } else { vec![] };
            self.start(&Command::Load(*c), slot, groups, there);
            if !there {
                continue;
            }
            let accumulate = c.accumulate;
            for (old, word) in self.part(slot, c.dst, c.words as usize).iter_mut().zip(record) {
                let word = f32::from_bits(word);
                let new = if accumulate { fp::add(f32::from_bits(*old), word) } else { fp::flush(word) };
                *old = new.to_bits();
            }
        }
    }

    fn store(&mut self, c: &Store, slots: &[usize]) {
        self.cover.hit("store", true);
        self.cover.hit("padded", c.words as usize <= self.lanes);
        for &slot in slots {
            let there = !self.random.chance(15);
            let start = self.start(&Command::Store(*c), slot, vec![], there);
            if !there {
                continue;
            }
            let (lanes, first) = (self.lanes, usize::from(c.src.0) * LINE);
            for group in 0..(c.words as usize).div_ceil(lanes) {
                let words = self.vb[slot][first + group * lanes..][..lanes].to_vec();
                let line = (first + group * lanes) / LINE;
                self.words.push_back((start + group as u64 + 3, ((slot, line), words)));
            }
        }
    }

    fn store_act(&mut self, c: &StoreAct, slots: &[usize]) {
        self.cover.hit("store_act", true);
        for &slot in slots {
            let there = !self.random.chance(15);
            let start = self.start(&Command::StoreAct(*c), slot, vec![], there);
            for number in 0..u64::from(c.blocks) * u64::from(there) {
                let last = start + (number + 1) * (LINE / self.lanes) as u64 - 1;
                let block = self.ab[slot][usize::from(c.src.0) + number as usize];
                self.blocks.push_back((last + 3, Sent { memory: true, slot, number, block, mask: None }));
            }
        }
    }

    /// Blocks of lines from `first` on, the first group of which is read in cycle `start`.
    fn send(
        &mut self,
        start: u64,
        slot: usize,
        first: VbLine,
        lines: usize,
        sent: impl Fn(u64) -> (bool, u64),
    ) {
        let words = floats(self.part(slot, first, lines * LINE));
        for (number, line) in (0..).zip(words.as_chunks::<LINE>().0) {
            let (memory, number_to) = sent(number);
            let last = start + (number + 1) * (LINE / self.lanes) as u64 - 1;
            let sent = Sent { memory, slot, number: number_to, block: quantise_int8(line), mask: None };
            self.blocks.push_back((last + 11, sent));
        }
    }

    fn quant(&mut self, c: &Quant, slots: &[usize]) {
        self.cover.hit("quant", true);
        for &slot in slots {
            let start = self.start(&Command::Quant(*c), slot, vec![], false);
            let first = u64::from(c.dst.0);
            self.send(start, slot, c.src, c.blocks.into(), |number| (false, first + number));
        }
    }

    fn kv(&mut self, c: &KvAppend, slots: &[usize]) {
        self.cover.hit("kv", true);
        let lines = usize::from(c.kv_heads) * usize::from(c.head_dim) / LINE;
        for &slot in slots {
            let start = self.start(&Command::KvAppend(*c), slot, vec![], true);
            self.send(start, slot, c.key, lines, |number| (true, number));
            let values = start + (lines * LINE / self.lanes) as u64;
            self.send(values, slot, c.value, lines, |number| (true, number + lines as u64));
        }
    }

    fn add(&mut self, c: &Add, slots: &[usize]) {
        self.cover.hit("add", true);
        self.cover.hit("partial", !c.words.is_multiple_of(LINE_WORDS));
        self.cover.hit("in place", c.dst == c.src);
        let same = self.lanes < LINE || (c.dst.0 ^ c.src.0) & 1 == 0;
        self.cover.hit("same bank", same);
        self.cover.hit("other bank", !same);
        self.cover.hit("odd and same", same && c.words.div_ceil(LINE_WORDS) % 2 == 1);
        for &slot in slots {
            self.start(&Command::Add(*c), slot, vec![], false);
            let source = self.part(slot, c.src, c.words as usize).to_vec();
            for (old, word) in self.part(slot, c.dst, c.words as usize).iter_mut().zip(source) {
                *old = fp::add(f32::from_bits(*old), f32::from_bits(word)).to_bits();
            }
        }
    }

    fn norm(&mut self, c: &Norm, slots: &[usize]) {
        let layer = c.kind == NormKind::Layer;
        self.cover.hit(if layer { "layer" } else { "rms" }, true);
        self.cover.hit("in place", c.dst == c.src);
        let words = c.words as usize;
        let (gamma, beta) = (self.numbers(words), self.numbers(words));
        for (part, &slot) in slots.iter().enumerate() {
            let mut records = vec![gamma.clone()];
            if layer {
                records.push(beta.clone());
            }
            let takes = part == 0;
            self.cover.hit("shared again", !takes);
            self.start(&Command::Norm(*c), slot, if takes { records } else { vec![] }, takes);
            let mut x = floats(self.part(slot, c.src, words));
            if layer {
                let mean = fp::mul(sumsq::sum(&x), c.inv_words.get());
                x.iter_mut().for_each(|v| *v = fp::sub(*v, mean));
            }
            let square = fp::mul(sumsq::sum_squares(&x), c.inv_words.get());
            let root = func::rsqrt(fp::add(square, c.eps.get()));
            let result: Vec<u32> = x
                .iter()
                .zip(gamma.iter().zip(&beta))
                .map(|(&x, (&gamma, &beta))| {
                    let y = fp::mul(fp::mul(x, root), f32::from_bits(gamma));
                    let y = if layer { fp::add(y, f32::from_bits(beta)) } else { y };
                    y.to_bits()
                })
                .collect();
            self.part(slot, c.dst, words).copy_from_slice(&result);
        }
    }

    fn rope(&mut self, c: &Rope, slots: &[usize]) {
        self.cover.hit("rope", true);
        let dim = usize::from(c.head_dim);
        self.cover.hit("short head", dim == LINE);
        self.cover.hit("long head", dim > 64);
        for &slot in slots {
            let table = self.numbers(dim);
            self.start(&Command::Rope(*c), slot, vec![table.clone()], true);
            let table = floats(&table);
            let (cos, sin) = table.split_at(dim / 2);
            for head in self.part(slot, c.vec, usize::from(c.heads) * dim).chunks_exact_mut(dim) {
                let (a, b) = head.split_at_mut(dim / 2);
                for i in 0..dim / 2 {
                    let (x, y) = (f32::from_bits(a[i]), f32::from_bits(b[i]));
                    a[i] = fp::sub(fp::mul(x, cos[i]), fp::mul(y, sin[i])).to_bits();
                    b[i] = fp::add(fp::mul(y, cos[i]), fp::mul(x, sin[i])).to_bits();
                }
            }
        }
    }

    fn matvec(&mut self, c: &Matvec, slots: &[usize]) {
        self.cover.hit("matvec", true);
        let pairs = c.epilogue == Epilogue::SwiGlu;
        self.cover
            .hit("rows alone", c.epilogue == Epilogue::None && !c.delta && !c.has_bias && !c.accumulate);
        self.cover.hit("swiglu", pairs);
        self.cover.hit("gelu", c.epilogue == Epilogue::Gelu);
        self.cover.hit("onto", c.accumulate);
        self.cover.hit("bias", c.has_bias);
        let rows = c.rows as usize;
        let bias = self.numbers(rows);
        let pair = if c.format == WeightFormat::Fp4 { Pair::Fp4Int8 } else { Pair::Int8Int8 };
        for (part, &slot) in slots.iter().enumerate() {
            let ring = c.delta && self.random.chance(80);
            let fresh = !ring || self.random.chance(30);
            self.cover.hit("fresh", c.delta && fresh);
            self.cover.hit("reference", c.delta && !fresh);
            let scale = if self.random.chance(5) { 255 } else { 100 + self.random.below(50) as u8 };
            let base = Base::new(E8M0(c.scale_max), E8M0(scale));
            let sums: Vec<i64> = (0..rows).map(|_| self.sum()).collect();
            let reference = self.numbers(rows);
            let takes = c.delta && !fresh;
            let shared = c.has_bias && part == 0;
            let steps = self.rows(c, (takes.then_some(&reference), shared.then_some(&bias)), &sums);
            let y = sums.iter().zip(&reference).map(|(&sum, &reference)| {
                let y = window::to_f32(sum, base, pair);
                if takes { fp::add(f32::from_bits(reference), y) } else { y }
            });
            let y: Vec<f32> = y.collect();
            if ring {
                let first = if takes && shared { rows.div_ceil(self.lanes) } else { 0 };
                for (at, group) in y.chunks(self.lanes).enumerate() {
                    let group = group.iter().map(|y| y.to_bits()).collect();
                    let words = vec![(12, ((slot, at), group))];
                    self.next_leaving.push_back(Leaving { step: first + at, words, block: None });
                }
            }
            let biased = y
                .iter()
                .zip(&bias)
                .map(|(&y, &b)| if c.has_bias { fp::add(y, f32::from_bits(b)) } else { y });
            let biased: Vec<f32> = biased.collect();
            let words: Vec<f32> = match c.epilogue {
                Epilogue::None => biased,
                Epilogue::Gelu => biased.into_iter().map(func::gelu).collect(),
                Epilogue::SwiGlu => biased
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|&[gate, up]| fp::mul(func::silu(gate), up))
                    .collect(),
            };
            let (nan, fp4) = (base.is_nan(), pair == Pair::Fp4Int8);
            let given = Given { access: takes, ring, shared, base: base.sum().into(), nan, fp4 };
            self.start_steps(&Command::Matvec(*c), slot, (0, steps), given);
            let accumulate = c.accumulate;
            for (old, word) in self.part(slot, c.dst, words.len()).iter_mut().zip(words) {
                let word = if accumulate { fp::add(f32::from_bits(*old), word) } else { word };
                *old = word.to_bits();
            }
        }
    }

    fn attn(&mut self, c: &Attn, slots: &[usize]) {
        self.cover.hit("attn", true);
        let (dim, words) = (usize::from(c.head_dim), usize::from(c.heads) * usize::from(c.head_dim));
        for &slot in slots {
            let mut sums: Vec<i64> = (0..words).map(|_| self.sum()).collect();
            let mut heads = Vec::new();
            for head in sums.chunks_mut(dim) {
                let (nan, none) = (self.random.chance(10), self.random.chance(10));
                let scale = if self.random.chance(5) { 255 } else { 100 + self.random.below(50) as u8 };
                let total = if none { 0 } else { 1 + self.random.below(1 << 39) };
                if none {
                    head.fill(0);
                }
                let (nan, scale) = (nan && !none, if none { 0 } else { scale });
                self.cover.hit("no token", none);
                self.cover.hit("nan score", nan);
                heads.push(Head { group: 0, scale, nan, none, total });
            }
            // Lines come in any order, the groups of a line one after the other.
            let mut lines: Vec<usize> = (0..words / LINE).collect();
            for at in (1..lines.len()).rev() {
                lines.swap(at, self.random.below(at as u64 + 1) as usize);
            }
            let groups = LINE / self.lanes;
            let order = lines.iter().flat_map(|line| line * groups..(line + 1) * groups);
            let step = |group: usize| {
                let first = group * self.lanes;
                let head = Head { group: group as u64, ..heads[first / dim] };
                Step { record: None, sums: Some(sums[first..][..self.lanes].to_vec()), head }
            };
            let steps = order.map(step).collect();
            self.start_steps(&Command::Attn(*c), slot, (0, steps), Given::default());
            for (at, old) in self.part(slot, c.dst, words).iter_mut().enumerate() {
                let head = heads[at / dim];
                let word = match head {
                    Head { none: true, .. } => 0.0,
                    Head { nan: true, .. } => fp::CANONICAL_NAN,
                    _ => softmax::output(sums[at], E8M0(head.scale), head.total),
                };
                *old = word.to_bits();
            }
        }
    }

    /// A reference: like the words, block by block all the same, near, or anything.
    fn reference(&mut self, x: &[f32]) -> Vec<f32> {
        let other = floats(&self.numbers(x.len()));
        let block = |(x, other): (&[f32; LINE], &[f32; LINE])| match self.random.below(5) {
            0 => *x,
            1 => x.map(|x| fp::mul(x, 1.0 + (self.random.below(64) as f32 - 32.0) / 256.0)),
            2 => x.map(|x| if self.random.chance(5) { -x } else { x }),
            _ => *other,
        };
        let mut words: Vec<f32> = x.as_chunks().0.iter().zip(other.as_chunks().0).flat_map(block).collect();
        if self.random.chance(10) {
            let at = self.random.below(words.len() as u64) as usize;
            words[at] = f32::NAN;
        }
        words
    }

    /// A threshold under which some blocks of a slot have changed, some have not, one may be at the limit.
    fn threshold(&mut self, slot: usize, c: &Delta, reference: &[f32]) -> F32Bits {
        let x = floats(self.part(slot, c.src, usize::from(c.blocks) * LINE));
        let diff: Vec<f32> = x.iter().zip(reference).map(|(&x, &r)| fp::sub(x, r)).collect();
        let at = self.random.below(c.blocks.into()) as usize;
        let distance = sumsq::sum_squares(&diff[at * LINE..][..LINE]);
        let near = fp::mul(distance, func::recip(sumsq::sum_squares(&x)));
        let bits = match self.random.below(8) {
            0 => 0,
            1 => self.random.word() as u32,
            2 => 1f32.to_bits(),
            _ => near.to_bits(),
        };
        F32Bits(bits)
    }

    fn delta(&mut self, c: &Delta, slots: &[usize]) {
        self.cover.hit("delta", true);
        let (lanes, blocks) = (self.lanes, usize::from(c.blocks));
        let first = slots[0];
        let x = floats(self.part(first, c.src, blocks * LINE));
        let mut reference = self.reference(&x);
        let c = Delta { tau_sq: self.threshold(first, c, &reference), ..*c };
        let VectorTime { lead, latency, .. } = unit_time(&self.config, &Command::Delta(c));
        for &slot in slots {
            let x = floats(self.part(slot, c.src, blocks * LINE));
            if slot != first {
                reference = self.reference(&x);
            }
            let ring = self.random.chance(85);
            let fresh = !ring || self.random.chance(25);
            let stored: Vec<u32> = reference.iter().map(|r| r.to_bits()).collect();
            let mut steps: VecDeque<Step> = vec![Step::default(); blocks * LINE / lanes].into();
            if fresh {
                reference.fill(0.0);
            } else {
                let record = self.record(&stored);
                steps = record.into_iter().map(|r| Step { record: Some(r), ..Step::default() }).collect();
            }
            let limit = fp::mul(c.tau_sq.get(), sumsq::sum_squares(&x));
            self.cover.hit("fresh delta", fresh && ring);
            self.cover.hit("no ring", !ring);
            self.cover.hit("limit unknown", limit.is_nan());
            let old = reference.as_chunks::<LINE>().0.iter();
            for (number, (x, old)) in x.as_chunks::<LINE>().0.iter().zip(old).enumerate() {
                let (new, block, active) = self.changed(x, old, fresh, limit);
                let of_slot = |at: usize| (slot, usize::from(c.src.0) + number + at / LINE);
                let group = |(at, words): (usize, &[f32])| {
                    let after = latency - (LINE / lanes - 1 - at) as u64;
                    (after, (of_slot(at), words.iter().map(|word| word.to_bits()).collect()))
                };
                let words = new.chunks(lanes).enumerate().filter(|_| ring).map(group).collect();
                let number_to = u64::from(c.dst.0) + number as u64;
                let sent = Sent { memory: false, slot, number: number_to, block, mask: Some(active) };
                let step = (number + 1) * LINE / lanes - 1;
                self.next_leaving.push_back(Leaving { step, words, block: Some((latency, sent)) });
            }
            let given = Given { ring, ..Given::access(!fresh) };
            self.start_steps(&Command::Delta(c), slot, (lead, steps), given);
        }
    }

    /// Blocks of like size, seldom NaN.
    fn like_blocks(&mut self, count: usize) -> Vec<Int8Block> {
        let top = 20 + self.random.below(230);
        let block = |_| {
            let scale = if self.random.chance(1) { 255 } else { top - self.random.below(12) };
            let elems = std::array::from_fn(|_| self.random.word() as i8);
            let zero = self.random.chance(10);
            Int8Block { scale: E8M0(scale as u8), elems: if zero { [0; LINE] } else { elems } }
        };
        (0..count).map(block).collect()
    }

    /// A stored record: as the blocks, near them, or anything.
    fn stored(&mut self, present: &[Int8Block]) -> Vec<Int8Block> {
        let other = self.like_blocks(present.len());
        let all_same = self.random.chance(10);
        let block = |(&block, &other): (&Int8Block, &Int8Block)| match self.random.below(4) {
            _ if all_same => block,
            0 => block,
            1 => other,
            _ => {
                let mut near = block;
                near.elems[self.random.below(LINE as u64) as usize] ^= self.random.below(8) as i8;
                near
            }
        };
        present.iter().zip(&other).map(block).collect()
    }

    fn gate_delta(&mut self, c: &GateDelta, slots: &[usize]) {
        self.cover.hit("gate", true);
        let (first, blocks) = (usize::from(c.src.0), usize::from(c.blocks));
        if self.random.chance(60) {
            // Blocks of the command before may still be read.
            self.drain();
            for &slot in slots {
                let like = match self.random.below(12) {
                    0 => vec![Int8Block::default(); blocks],
                    _ => self.like_blocks(blocks),
                };
                self.ab[slot][first..][..blocks].copy_from_slice(&like);
            }
        }
        let VectorTime { issue, tail, .. } = unit_time(&self.config, &Command::GateDelta(*c));
        for &slot in slots {
            let scored = !self.random.chance(20);
            let present = self.ab[slot][first..][..blocks].to_vec();
            let stored = self.stored(&present);
            let words = |blocks: &[Int8Block]| -> Vec<f32> {
                blocks.iter().flat_map(|block| block.dequantise()).collect()
            };
            let (a, r) = (words(&present), words(&stored));
            let change: Vec<f32> = a.iter().zip(&r).map(|(&a, &r)| fp::sub(a, r)).collect();
            let score = fp::mul(sumsq::sum_squares(&change), func::recip(sumsq::sum_squares(&a)));
            self.cover.hit("not scored", !scored);
            self.cover.hit("no distance", scored && score == 0.0);
            self.cover.hit("some distance", scored && score > 0.0 && score < 1.0);
            self.cover.hit("unknown score", scored && score.is_nan());
            let mut steps: VecDeque<Step> = VecDeque::new();
            if scored {
                let mut bytes: Vec<u8> = stored.iter().flat_map(|b| b.elems.map(|e| e as u8)).collect();
                bytes.extend(stored.iter().map(|b| b.scale.0));
                let groups = bytes.len().div_ceil(self.lanes);
                for (at, group) in bytes.chunks(self.lanes).enumerate() {
                    // A byte for each lane, the rest is of no account.
                    let mut all: Vec<u8> = (0..4 * self.lanes).map(|_| self.random.word() as u8).collect();
                    all[..group.len()].copy_from_slice(group);
                    let words = all.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
                    steps.push_back(Step { record: Some((words, at + 1 == groups)), ..Step::default() });
                }
                steps.resize(steps.len() + tail as usize, Step::default());
                self.next_score = Some(score.to_bits());
            }
            let lead = if scored { 0 } else { issue };
            self.start_steps(&Command::GateDelta(*c), slot, (lead, steps), Given::access(scored));
        }
    }

    /// A block's reference, elements and mask as they become.
    fn changed(
        &mut self,
        x: &[f32; LINE],
        old: &[f32; LINE],
        fresh: bool,
        limit: f32,
    ) -> ([f32; LINE], Int8Block, bool) {
        let diff: [f32; LINE] = std::array::from_fn(|at| fp::sub(x[at], old[at]));
        let distance = sumsq::sum_squares(&diff);
        let active = fresh || fp::gt(distance, limit) || distance.is_nan() || limit.is_nan();
        self.cover.hit("changed", active && !fresh);
        self.cover.hit("unchanged", !active && distance > 0.0);
        self.cover.hit("at the limit", !fresh && distance == limit && distance > 0.0);
        self.cover.hit("distance unknown", !fresh && distance.is_nan() && !limit.is_nan());
        if !active {
            return (*old, Int8Block { scale: E8M0(0), elems: [0; LINE] }, false);
        }
        let block = quantise_int8(&diff);
        let moved = block.dequantise();
        (std::array::from_fn(|at| fp::add(old[at], moved[at])), block, true)
    }

    /// A sum of a window: of any size, now and then the largest.
    fn sum(&mut self) -> i64 {
        let word = self.random.word() as i64;
        [word >> 18, word >> (18 + self.random.below(45)), 1 << 46, -(1 << 46), 0]
            [self.random.below(40).min(4) as usize % 5]
    }

    /// The groups of a matrix' rows, with the records that they meet.
    fn rows(
        &mut self,
        c: &Matvec,
        records: (Option<&Vec<u32>>, Option<&Vec<u32>>),
        sums: &[i64],
    ) -> VecDeque<Step> {
        let tail = unit_time(&self.config, &Command::Matvec(*c)).tail as usize;
        let (reference, bias) = records;
        let mut steps = VecDeque::new();
        let beside = match (reference, bias) {
            (Some(reference), Some(bias)) => {
                let bias = self.record(bias);
                steps.extend(bias.into_iter().map(|record| Step { record: Some(record), ..Step::default() }));
                Some(reference)
            }
            (one, other) => one.or(other),
        };
        let mut beside = beside.map(|words| self.record(words)).unwrap_or_default().into_iter();
        for group in sums.chunks(self.lanes) {
            let mut group = group.to_vec();
            group.resize_with(self.lanes, || self.random.word() as i64 >> 16);
            steps.push_back(Step { record: beside.next(), sums: Some(group), ..Step::default() });
        }
        steps.resize(steps.len() + tail, Step::default());
        steps
    }

    /// Slots of a command, in order.
    fn some_slots(&mut self) -> Vec<usize> {
        let percent = [20, 60, 100][self.random.below(3) as usize];
        let mut slots: Vec<usize> = (0..self.vb.len()).filter(|_| self.random.chance(percent)).collect();
        slots.truncate(6);
        if slots.is_empty() { vec![self.random.below(self.vb.len() as u64) as usize] } else { slots }
    }

    /// A first line for so many.
    fn line(&mut self, lines: u32) -> VbLine {
        VbLine(self.random.below(u64::from(self.config.vb_lines() - lines) + 1) as u16)
    }

    /// A destination for so many lines, and a source that is the same or apart.
    fn two(&mut self, lines: u32) -> (VbLine, VbLine) {
        let to = self.line(lines);
        if self.random.chance(20) || 2 * lines > self.config.vb_lines() {
            return (to, to);
        }
        let apart = |from: VbLine| u32::from(from.0.abs_diff(to.0)) >= lines;
        let from = (0..20).map(|_| self.line(lines)).find(|&from| apart(from));
        (to, from.unwrap_or(to))
    }

    /// Some lines, seldom many.
    fn lines(&mut self, most: u32) -> u32 {
        let most = u64::from(if self.random.chance(15) { most } else { most.min(6) });
        1 + self.random.below(most) as u32
    }

    fn rest(&mut self, lines: u32) -> u32 {
        let missing = match self.random.below(8) {
            0..4 => 0,
            4 => LINE as u64 - 1 - self.random.below(4),
            _ => self.random.below(LINE as u64),
        };
        lines * LINE_WORDS - missing as u32
    }

    fn command(&mut self) -> Command {
        let (pred, index) = (Pred::All, IndexBy::None);
        let (addr, slot_stride, index_stride) = (Addr(0), 0, 0);
        let all = self.config.vb_lines();
        let lines = self.lines(all);
        match self.random.below(22) {
            0 | 1 => {
                let (dst, words, accumulate) = (self.line(lines), self.rest(lines), self.random.chance(50));
                Command::Load(Load { pred, dst, index, accumulate, words, addr, slot_stride, index_stride })
            }
            2 => {
                let (src, words) = (self.line(lines), self.rest(lines));
                Command::Store(Store { pred, src, index, words, addr, slot_stride, index_stride })
            }
            3 => {
                let blocks = lines.min(self.config.ab_blocks()) as u16;
                let src = AbBlock(
                    self.random.below(u64::from(self.config.ab_blocks()) - u64::from(blocks) + 1) as u16,
                );
                Command::StoreAct(StoreAct { pred, src, index, blocks, addr, slot_stride, index_stride })
            }
            4 | 5 => {
                let kind = if self.random.chance(50) { NormKind::Rms } else { NormKind::Layer };
                let (dst, src) = self.two(lines);
                let words = lines * LINE_WORDS;
                let inv_words = F32Bits(((1.0 / f64::from(words)) as f32).to_bits());
                let eps = F32Bits([1e-5f32, 0.0, 1e20][self.random.below(3) as usize].to_bits());
                Command::Norm(Norm { pred, src, dst, kind, words, eps, gamma: addr, beta: addr, inv_words })
            }
            6 => {
                let blocks = lines.min(self.config.ab_blocks());
                let dst = AbBlock(self.random.below(u64::from(self.config.ab_blocks() - blocks) + 1) as u16);
                Command::Quant(Quant { pred, src: self.line(blocks), dst, blocks: blocks as u16, before: 0 })
            }
            7 => {
                let ((dst, src), words) = (self.two(lines), self.rest(lines));
                Command::Add(Add { pred, dst, src, words })
            }
            8 => {
                let head = self.lines(all.min(32));
                let heads = 1 + self.random.below(u64::from((all / head).min(4))) as u32;
                let vec = self.line(head * heads);
                let (heads, head_dim) = (heads as u16, (head * LINE_WORDS) as u16);
                Command::Rope(Rope { pred, vec, heads, head_dim, table: addr, index_stride })
            }
            10 | 11 => {
                let kv_heads = (1 + self.random.below(4) as u32).min(self.config.channels());
                let dim = 1 + self.random.below(4) as u32;
                let heads = kv_heads * (1 + self.random.below(2) as u32);
                let (dst, scale) = (self.line(heads * dim), F32Bits(0));
                let (heads, head_dim, kv_heads) = (heads as u16, (dim * LINE_WORDS) as u16, kv_heads as u16);
                let (src, list, list_stride, list_entries, ahead) = (AbBlock(0), addr, 0, 0, false);
                Command::Attn(Attn {
                    pred,
                    src,
                    dst,
                    heads,
                    head_dim,
                    kv_heads,
                    scale,
                    addr,
                    slot_stride,
                    list,
                    list_stride,
                    list_entries,
                    ahead,
                })
            }
            12..=16 => self.product(lines),
            20.. => {
                let blocks = lines.min(self.config.ab_blocks());
                let src = AbBlock(self.random.below(u64::from(self.config.ab_blocks() - blocks) + 1) as u16);
                let (blocks, coupling, threshold) = (blocks as u16, Coupling::Independent, F32Bits(0));
                Command::GateDelta(GateDelta {
                    pred,
                    src,
                    gate: 0,
                    blocks,
                    coupling,
                    addr,
                    slot_stride,
                    index_stride,
                    threshold,
                })
            }
            17..=19 => {
                let blocks = lines.min(self.config.ab_blocks());
                let dst = AbBlock(self.random.below(u64::from(self.config.ab_blocks() - blocks) + 1) as u16);
                let (src, blocks, tau_sq) = (self.line(blocks), blocks as u16, F32Bits(0));
                Command::Delta(Delta {
                    pred,
                    src,
                    dst,
                    gate: 0,
                    blocks,
                    tau_sq,
                    addr,
                    slot_stride,
                    index_stride,
                })
            }
            _ => {
                let lines = lines.min(self.config.ab_blocks() / 2);
                let (key, value) = (self.line(lines), self.line(lines));
                let (kv_heads, head_dim) = (lines as u16, LINE as u16);
                Command::KvAppend(KvAppend { pred, key, value, kv_heads, head_dim, addr, slot_stride })
            }
        }
    }

    fn product(&mut self, lines: u32) -> Command {
        let chance = |bench: &mut Self| bench.random.chance(50);
        let epilogue = [Epilogue::None, Epilogue::SwiGlu, Epilogue::Gelu][self.random.below(3) as usize];
        let words = self.rest(lines).min(self.config.acc_rows() * self.config.channels() / 2);
        let rows = if epilogue == Epilogue::SwiGlu { 2 * words } else { words };
        Command::Matvec(Matvec {
            pred: Pred::All,
            src: AbBlock(0),
            dst: self.line(lines),
            format: if chance(self) { WeightFormat::Int8 } else { WeightFormat::Fp4 },
            epilogue,
            blocks: 1,
            accumulate: chance(self),
            scale_max: 100 + self.random.below(50) as u8,
            rows,
            addr: Addr(0),
            bias: Addr(0),
            has_bias: chance(self),
            delta: chance(self),
            ahead: false,
            ring: Addr(0),
            slot_stride: 0,
            index_stride: 0,
        })
    }

    /// New words in every line of every slot.
    fn fill(&mut self) {
        let words = self.config.vb_lines() * LINE_WORDS;
        for slot in 0..self.vb.len() {
            let (pred, index, dst) = (Pred::All, IndexBy::None, VbLine(0));
            let load = Load {
                pred,
                dst,
                index,
                accumulate: false,
                words,
                addr: Addr(0),
                slot_stride: 0,
                index_stride: 0,
            };
            let record = self.numbers(words as usize);
            self.begins = true;
            self.start(&Command::Load(load), slot, vec![record.clone()], true);
            let flushed = record.iter().map(|&word| fp::flush(f32::from_bits(word)).to_bits());
            self.vb[slot] = flushed.collect();
        }
        self.drain();
    }

    fn check(&mut self) {
        let words = self.config.vb_lines() * LINE_WORDS;
        let (pred, index, src) = (Pred::All, IndexBy::None, VbLine(0));
        let store = Store { pred, src, index, words, addr: Addr(0), slot_stride: 0, index_stride: 0 };
        for slot in 0..self.vb.len() {
            self.begins = true;
            self.store(&store, &[slot]);
        }
        self.drain();
    }
}

/// Random commands, all words of all slots looked at now and then.
fn commands(dut: Device, config: &AccelConfig, count: u64, seed: u64, missing: &[&'static str]) {
    let mut bench = Bench::new(dut, config, seed);
    for number in 0..count {
        if number % 40 == 0 {
            bench.fill();
        }
        let (command, slots) = (bench.command(), bench.some_slots());
        // Seen where the test fails.
        eprintln!("{number}: {command:?} for {slots:?} in cycle {}", bench.dut.cycle());
        bench.run(&command, &slots);
        if number % 10 == 9 {
            bench.check();
        }
    }
    for bin in missing {
        bench.cover.hit(bin, true);
    }
    bench.cover.assert(1);
}

/// What cannot come up where a line is several groups, and so an even number of them.
const WHOLE_LINES: [&str; 4] = ["other bank", "odd groups", "odd and same", "one group"];

/// Commands of a preset's unit, with fewer lines.
fn preset(name: &str, vb_lines: u32, count: u64, seed: u64, missing: &[&'static str]) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = config(name, vb_lines);
    let module = VectorUnit::new(Shape::of(&config)?).module()?;
    accept(&emit(&module)?)?;
    commands(Device::Verilator(Rtl::build_random(&module, seed as u32)?), &config, count, seed, missing);
    Ok(())
}

#[test]
fn commands_of_four_lanes() -> TestResult {
    preset("tiny", 64, 2000, 1, &WHOLE_LINES)
}

#[test]
fn commands_of_sixteen_lanes() -> TestResult {
    preset("edge", 64, 1500, 2, &WHOLE_LINES)
}

#[test]
#[ignore = "compiling 32 lanes takes ten minutes"]
fn commands_of_thirty_two_lanes() -> TestResult {
    preset("u55c", 64, 1000, 3, &[])
}

/// Numbers of lanes that no preset has, in the crate's own simulation.
#[test]
fn two_and_eight_lanes() -> TestResult {
    for (vector_lanes, seed) in [(2, 9), (8, 10)] {
        let fields = config("tiny", 16).fields().clone();
        let config = AccelConfig::new(ConfigFields { vector_lanes, slots: 2, ..fields })?;
        let module = VectorUnit::new(Shape::of(&config)?).module()?;
        commands(Device::native(&module)?, &config, 40, seed, &BINS);
    }
    Ok(())
}

/// Where every group is a line, in the crate's own simulation.
#[test]
#[ignore = "takes minutes"]
fn lines_of_thirty_two_lanes() -> TestResult {
    let config = AccelConfig::new(ConfigFields { slots: 4, ..config("u55c", 64).fields().clone() })?;
    let module = VectorUnit::new(Shape::of(&config)?).module()?;
    commands(Device::native(&module)?, &config, 300, 8, &BINS);
    Ok(())
}

/// Shapes of presets tiny, edge and u55c.
fn shapes() -> Vec<Shape> {
    let shape = |preset| Shape::of(&AccelConfig::preset(preset).unwrap()).unwrap();
    ["tiny", "edge", "u55c"].map(shape).to_vec()
}

/// The blocks that do not depend on the lanes, and those that do, of three presets: cells and depth are those of
/// `tests/baselines/rtl/vec_*.toml`.
#[test]
fn cells_and_depth_are_held() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let each = |make: &dyn Fn(Shape) -> Result<Arc<Module>, RtlError>| {
        shapes().into_iter().map(make).collect::<Result<Vec<_>, _>>()
    };
    hold("vec_lane", &[Lane.module()?])?;
    hold("vec_scalar", &[Scalar.module()?])?;
    hold("vec_sequence", &each(&|shape| Sequence::new(shape).module())?)?;
    hold("vec_exponents", &each(&|shape| LineExponents::new(shape).module())?)?;
    hold("vec_rotation", &each(&|shape| Rotation::new(shape).module())?)?;
    let records =
        ["tiny", "edge", "u55c"].map(|name| Records::of(&AccelConfig::preset(name).unwrap(), 4)?.module());
    hold("vec_records", &records.into_iter().collect::<Result<Vec<_>, _>>()?)?;
    Ok(hold("vec_unit", &[VectorUnit::new(shapes()[0]).module()?])?)
}

/// Small shapes of three numbers of lanes, one with a number of lines that is no power of two.
fn small() -> [Shape; 3] {
    [(4, 4, 64), (16, 3, 64), (32, 4, 40)]
        .map(|(lanes, slots, lines)| Shape::new(lanes, slots, lines, 16, 1024).unwrap())
}

/// A vector buffer of the library, with the lines as they should be.
struct Lines {
    prefix: &'static str,
    lanes: usize,
    slots: usize,
    lines: usize,
    words: Vec<Option<Vec<u32>>>,
    /// A line that is being written, and how many of its groups are; the lines that may be looked at, from which cycle on.
    writing: Option<(usize, usize, Vec<u32>)>,
    ready: Vec<u64>,
    /// Words that come after the next edges, of either bank.
    reads: VecDeque<[Option<Vec<u32>>; 2]>,
    /// A scan: when its result is there, which.
    scan: Option<(u64, u8)>,
}

impl Lines {
    fn new(prefix: &'static str, shape: Shape, slots: usize, lines: usize) -> Self {
        let all = slots * lines;
        Self {
            prefix,
            lanes: shape.lanes() as usize,
            slots,
            lines,
            words: vec![None; all],
            writing: None,
            ready: vec![u64::MAX; all],
            reads: [[None, None], [None, None]].into(),
            scan: None,
        }
    }

    /// A group's address: slots are apart by a power of two of lines.
    fn address(&self, line: usize, group: usize) -> u64 {
        let (slot, line) = (line / self.lines, line % self.lines);
        ((slot * self.lines.next_power_of_two() + line) * (LINE / self.lanes) + group) as u64
    }

    fn set(&self, dut: &mut Rtl, port: &str, value: u64) {
        dut.set(&format!("{}_{port}", self.prefix), value);
    }

    fn read(&mut self, dut: &mut Rtl, random: &mut Random) {
        let groups = LINE / self.lanes;
        let due = self.reads.pop_front().unwrap();
        for (bank, words) in ["even", "odd"].into_iter().zip(due) {
            if let Some(words) = words {
                assert_eq!(unpack(&dut.bits(&format!("{}_{bank}_o", self.prefix))), words, "{bank} bank");
            }
        }
        let mut next = [None, None];
        for (bank, next) in next.iter_mut().enumerate() {
            // With one group a line, a line of the bank's parity.
            let mut line = random.below((self.slots * self.lines) as u64) as usize;
            let mut group = random.below(groups as u64) as usize;
            if groups == 1 {
                line = line & !1 | bank
            } else {
                group = group & !1 | bank
            }
            let address = self.address(line, group);
            assert_eq!(address % 2, bank as u64);
            self.set(dut, ["even_row_i", "odd_row_i"][bank], address >> 1);
            *next = self.words[line].as_ref().map(|words| words[group * self.lanes..][..self.lanes].to_vec());
        }
        self.reads.push_back(next);
    }

    fn write(&mut self, dut: &mut Rtl, random: &mut Random, late: u64, avoid: &[usize]) {
        let groups = LINE / self.lanes;
        if self.writing.is_none() {
            let line = random.below((self.slots * self.lines) as u64) as usize;
            if !avoid.contains(&line) {
                let top = random.below(255) as u32;
                let word = |random: &mut Random| {
                    let word = random.word();
                    word as u32 & 0x807F_FFFF | top.saturating_sub((word >> 32) as u32 & 15) << 23
                };
                self.writing = Some((line, 0, (0..LINE).map(|_| word(random)).collect()));
                self.words[line] = None;
                self.ready[line] = u64::MAX;
            }
        }
        let valid = self.writing.is_some() && random.chance(80);
        self.set(dut, "write_valid_i", u64::from(valid));
        let Some((line, group, words)) = self.writing.as_mut().filter(|_| valid) else { return };
        let (at, here) = (*line, *group);
        let data = pack(&words[here * self.lanes..][..self.lanes]);
        *group += 1;
        let whole = (*group == groups).then(|| words.clone());
        dut.set(&format!("{}_write_words_i", self.prefix), data);
        self.set(dut, "write_group_i", self.address(at, here));
        if let Some(words) = whole {
            self.words[at] = Some(words);
            self.ready[at] = dut.cycle() + late;
            self.writing = None;
        }
    }

    /// Looks at as many whole lines as there are, beginning with one that has just become ready where there is one.
    fn look(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) -> Vec<usize> {
        let now = dut.cycle();
        self.set(dut, "scan_i", 0);
        if let Some((at, field)) = self.scan {
            if at == now {
                assert_eq!(
                    dut.get(&format!("{}_largest_o", self.prefix)),
                    u64::from(field),
                    "largest in {now}"
                );
                self.scan = None;
            }
            return vec![];
        }
        let fresh = self.ready.iter().position(|&at| at == now);
        let first = fresh.unwrap_or_else(|| random.below((self.slots * self.lines) as u64) as usize);
        let end = (first / self.lines + 1) * self.lines;
        let there = (first..end).take_while(|&line| self.ready[line] <= now).count();
        if there == 0 {
            return vec![];
        }
        let count = if random.chance(50) { there } else { 1 + random.below(there as u64) as usize };
        cover.hit("as soon as ready", fresh.is_some());
        cover.hit("more than 32 lines", count > 32);
        cover.hit("fewer lines", count < 32 && count > 1);
        let words: Vec<f32> =
            (first..first + count).flat_map(|line| floats(self.words[line].as_ref().unwrap())).collect();
        let latency = 4 + count.div_ceil(32) as u64;
        self.scan = Some((now + latency, fp::max_exp_field(&words)));
        self.set(dut, "scan_i", 1);
        self.set(dut, "scan_line_i", self.address(first, 0) / (LINE / self.lanes) as u64);
        self.set(dut, "scan_lines_i", count as u64);
        (first..first + count).collect()
    }
}

#[test]
fn words_stay_where_they_were_written_and_exponents_are_their_lines() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let names = ["l4", "l16", "l32"];
    let parts = small().map(|shape| VectorBuffer::new(shape).module().unwrap());
    let parts: Vec<_> = names.into_iter().zip(parts).collect();
    let module = gather("vec_buffers", &parts)?;
    accept(&emit(&module)?)?;
    let mut dut = Rtl::build_random(&module, 4)?;
    let mut random = Random::new(4);
    let sizes = [(4, 64), (3, 64), (4, 40)];
    for ((prefix, shape), (slots, lines)) in names.into_iter().zip(small()).zip(sizes) {
        for name in names {
            dut.set(&format!("{name}_write_valid_i"), false);
            dut.set(&format!("{name}_scan_i"), false);
        }
        dut.reset();
        let mut cover = Cover::new(&["as soon as ready", "more than 32 lines", "fewer lines"]);
        let mut buffer = Lines::new(prefix, shape, slots, lines);
        let exponents = LineExponents::new(shape);
        assert_eq!((exponents.latency(32), exponents.latency(33)), (5, 6));
        let mut looked_at = vec![];
        for _ in 0..20_000 {
            if buffer.scan.is_none() {
                looked_at = buffer.look(&mut dut, &mut random, &mut cover);
            } else {
                buffer.look(&mut dut, &mut random, &mut cover);
            }
            buffer.read(&mut dut, &mut random);
            buffer.write(&mut dut, &mut random, shape.exponents_late().into(), &looked_at);
            dut.tick();
        }
        cover.assert(20);
    }
    Ok(())
}

#[test]
fn words_meet_their_partners() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let names = ["l4", "l16", "l32"];
    let blocks = small().map(Rotation::new);
    let parts: Vec<_> = names.into_iter().zip(blocks.map(|block| block.module().unwrap())).collect();
    let module = gather("vec_rotations", &parts)?;
    accept(&emit(&module)?)?;
    let mut dut = Rtl::build_random(&module, 5)?;
    let mut random = Random::new(5);
    for (prefix, (block, shape)) in names.into_iter().zip(blocks.into_iter().zip(small())) {
        let lanes = shape.lanes() as usize;
        for dim in [32, 64, 96, 128, 160, 1024] {
            let (groups, half) = (dim / lanes, dim / 2);
            let words = |random: &mut Random| (0..dim).map(|_| random.word() as u32).collect::<Vec<_>>();
            let (table, head) = (words(&mut random), words(&mut random));
            let parity = random.below(4);
            let port = |name: &str| format!("{prefix}_{name}");
            let row = |parity: u64, group: usize| parity << (block.row_bits() - 1) | group as u64;
            // The newest words are read in the cycle in which they are written.
            let lag = half.div_ceil(lanes);
            for cycle in 0..groups + lag + 2 {
                for (store, all, parity) in [("table", &table, parity & 1), ("head", &head, parity >> 1)] {
                    dut.set(&port(&format!("{store}_write_i")), cycle < groups);
                    dut.set(&port(&format!("{store}_row_i")), row(parity, cycle.min(groups - 1)));
                    let at = cycle.min(groups - 1) * lanes;
                    dut.set(&port(&format!("{store}_words_i")), pack(&all[at..][..lanes]));
                    dut.set(&port(&format!("{store}_parity_i")), parity);
                }
                dut.set(&port("half_i"), (half / block.chunk() as usize) as u64);
                // The table is whole before any word leaves: where it is not yet, words are looked at alone.
                let group = cycle.saturating_sub(lag).min(groups - 1);
                dut.set(&port("group_i"), group as u64);
                if cycle >= lag + 2 {
                    let first = (cycle - lag - 2) * lanes;
                    let here = first..first + lanes;
                    let own = unpack(&dut.bits(&port("own_o")));
                    assert_eq!(own, &head[here.clone()], "{prefix}, head of {dim}, word {first}");
                    let partner: Vec<u32> = here.clone().map(|at| head[(at + half) % dim]).collect();
                    assert_eq!(
                        unpack(&dut.bits(&port("partner_o"))),
                        partner,
                        "{prefix}, {dim}, word {first}"
                    );
                    let firsts: u64 = (0..block.chunks() as usize)
                        .map(|chunk| u64::from(first + chunk * (block.chunk() as usize) < half) << chunk)
                        .sum();
                    assert_eq!(dut.get(&port("first_o")), firsts, "{prefix}, {dim}, word {first}");
                }
                dut.tick();
            }
            for cycle in 0..groups + 2 {
                dut.set(&port("group_i"), cycle.min(groups - 1) as u64);
                if cycle >= 2 {
                    let here = (cycle - 2) * lanes..(cycle - 1) * lanes;
                    let cos: Vec<u32> = here.clone().map(|at| table[at % half]).collect();
                    let sin: Vec<u32> = here.map(|at| table[at % half + half]).collect();
                    assert_eq!(unpack(&dut.bits(&port("cos_o"))), cos, "{prefix}, head of {dim}");
                    assert_eq!(unpack(&dut.bits(&port("sin_o"))), sin, "{prefix}, head of {dim}");
                }
                dut.tick();
            }
        }
    }
    Ok(())
}

#[test]
fn records_come_in_groups() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for (preset, bytes) in [("tiny", 4), ("edge", 4), ("u50", 4), ("u55c", 4), ("u280", 4), ("edge", 1)] {
        let config = AccelConfig::preset(preset)?;
        let records = Records::of(&config, bytes)?;
        assert_eq!(u64::from(records.groups()), cycles_per_beat_row(&config, bytes.into()), "{preset}");
    }
    let config = AccelConfig::preset("u55c")?;
    let (group, row) = (32 * config.vector_lanes(), 8 * config.channels() * config.beat().get() as u32);
    let records = Records::of(&config, 4)?;
    let module = records.module()?;
    accept(&emit(&module)?)?;
    let mut dut = Rtl::build_random(&module, 6)?;
    let (mut random, mut cover) =
        (Random::new(6), Cover::new(&["whole row", "rest dropped", "waits", "no row"]));
    let (mut come, mut go) = (Gaps::new(80), Gaps::new(80));
    let (mut data, mut place) = (None, 0);
    dut.reset();
    for _ in 0..3000 {
        if data.is_none() && come.next(&mut random) {
            data = Some(random.bits(row));
        }
        let (ready, last) = (go.next(&mut random), random.chance(10));
        dut.set("row_valid_i", data.is_some());
        dut.set("row_data_i", data.clone().unwrap_or_else(|| Bits::ones(row)));
        dut.set("group_ready_i", ready);
        dut.set("last_i", last);
        assert_eq!(dut.is_set("group_valid_o"), data.is_some());
        cover.hit("no row", data.is_none());
        if let Some(bits) = &data {
            assert_eq!(dut.bits("group_data_o"), bits.slice(place * group, group), "group {place}");
        }
        cover.hit("waits", data.is_some() && !ready);
        let end = last || place + 1 == records.groups();
        let pops = data.is_some() && ready && end;
        assert_eq!(dut.is_set("row_ready_o"), pops);
        if data.is_some() && ready {
            cover.hit("rest dropped", last && place + 1 < records.groups());
            cover.hit("whole row", !last && end);
            place = if end { 0 } else { place + 1 };
        }
        if pops {
            data = None;
        }
        dut.tick();
    }
    cover.assert(20);
    Ok(())
}

/// The crate's own simulation gives the same in every output of every cycle.
#[test]
fn native_simulation_agrees() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = config("tiny", 64);
    let module = VectorUnit::new(Shape::of(&config)?).module()?;
    let mut bench = Bench::new(Device::Verilator(Rtl::beside_native(&module)?), &config, 7);
    for _ in 0..12 {
        let (command, slots) = (bench.command(), bench.some_slots());
        bench.run(&command, &slots[..1]);
    }
    bench.drain();
    Ok(())
}

/// Ten million words of every unit and more.
#[test]
#[ignore = "some minutes"]
fn commands_for_long() -> TestResult {
    preset("tiny", 64, 40_000, 11, &WHOLE_LINES)?;
    preset("edge", 64, 20_000, 12, &WHOLE_LINES)?;
    preset("u55c", 64, 10_000, 13, &[])
}

/// Sizes that no unit has are refused.
#[test]
fn sizes_are_checked() {
    let text =
        |lanes, slots, lines, blocks| Shape::new(lanes, slots, lines, blocks, 1024).unwrap_err().to_string();
    assert_eq!(
        text(1, 4, 64, 64),
        "vector unit: lanes is 1; it must be a power of two from 2 to 32, so that a line is whole groups"
    );
    assert_eq!(text(12, 4, 64, 64), text(1, 4, 64, 64).replace("is 1", "is 12"));
    assert_eq!(
        text(4, 33, 64, 64),
        "vector unit: slots is 33; it must be 1 to 32: the Index Register has 32 bits"
    );
    assert_eq!(
        text(4, 4, 8, 64),
        "vector unit: lines is 8; it must be 16 to 65536: a command names a line in 16 bits"
    );
    assert_eq!(
        text(4, 4, 64, 1),
        "vector unit: blocks is 1; it must be 4 to 65536: a command names a block in 16 bits"
    );
    let one = AccelConfig::preset("tiny").unwrap();
    let wide = AccelConfig::new(ConfigFields { vector_lanes: 32, ..one.fields().clone() }).unwrap();
    assert_eq!(
        Records::of(&wide, 4).unwrap_err().to_string(),
        "records: bytes of a group is 128; it must be a divisor of the bytes of a beat from every channel"
    );
}
