//! Products: their jobs and the runs of their weights, by the layout and the rules of docs/cycles.md.

use fastcar_arch::config::{AccelConfig, ROW_GRANULE};
use fastcar_arch::isa::{Addr, Command, Matvec, Pred, WeightFormat};
use fastcar_arch::layout::WeightLayout;
use fastcar_arch::num::window::MAX_BLOCKS;
use fastcar_hw::cmd::{COMMAND_BITS, Fields, Writers};
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError};
use fastcar_hw::walk::weights_queue::WaitingProduct;
use fastcar_hw::walk::{Matrix, WeightQueue, WeightSizes, WeightWalker};
use fastcar_tests::rtl::{Cover, Random, Rtl};
use std::collections::VecDeque;
use std::sync::Arc;

/// The machines that products are walked for: presets, and others at the ends of what may be.
pub const MACHINES: [&str; 6] = ["tiny", "edge", "u55c", "odd", "single", "narrow"];

pub fn machine(name: &str) -> AccelConfig {
    let shaped = |channels, beat, slots, columns, acc_rows| {
        let mut fields = AccelConfig::preset("tiny").unwrap().fields().clone();
        (fields.channels, fields.beat_bytes, fields.channel_bytes) = (channels, beat, 3 << 20);
        fields.vector_lanes = fields.vector_lanes.max(channels);
        (fields.slots, fields.columns, fields.acc_rows) = (slots, columns, acc_rows);
        AccelConfig::new(fields).unwrap()
    };
    match name {
        // Nothing is a power of two that need not be.
        "odd" => shaped(2, 32, 7, 6, 64),
        // Every slot has its column, and a chunk is a granule.
        "single" => shaped(4, 64, 4, 4, 16),
        // One column for all.
        "narrow" => shaped(8, 32, 32, 1, 1024),
        preset => AccelConfig::preset(preset).unwrap(),
    }
}

/// Commands in, jobs out: what they say of their weights, and the queue.
struct Queue(AccelConfig);

impl Block for Queue {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let queue = WeightQueue::new(&self.0);
        let m = Builder::new(format!("of_{}", queue.module()?.name()));
        let fields = Fields::new(m.input("command_i", COMMAND_BITS));
        let waiting = WaitingProduct {
            index: m.input("index_i", 8),
            pred: fields.pred(),
            decides: m.input("decides_i", 1),
            decision: m.input("number_i", 8),
            reads: m.input("reads_i", 1),
            matrix: Matrix::new(&WeightSizes::new(&self.0), &m, &fields)?,
            masked: m.lit(1, 0),
            first: m.lit(16, 0),
            filled: m.lit(1, 0),
            filler: m.lit(8, 0),
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

/// Commands and numbers of rounds in, runs out.
struct Walk(AccelConfig);

impl Block for Walk {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let (walker, sizes) = (WeightWalker::new(&self.0)?, WeightSizes::new(&self.0));
        let m = Builder::new(format!("of_{}", walker.module()?.name()));
        let matrix = Matrix::new(&sizes, &m, &Fields::new(m.input("command_i", COMMAND_BITS)))?;
        let inner = m.instance("u_walk", &walker)?;
        inner.set("job_data_i", m.input("last_round_i", sizes.rounds).cat(matrix.word(&m)));
        inner.set("job_valid_i", m.input("valid_i", 1));
        inner.set("go_i", m.input("go_i", 1));
        for port in inner.module().ports().iter().filter(|port| !port.input) {
            m.output(&port.name, inner.get(&port.name));
        }
        m.finish()
    }
}

/// Queue and walker of each machine, with the prefixes of their ports.
pub fn blocks() -> Result<Vec<(String, Arc<Module>)>, RtlError> {
    let mut all = Vec::new();
    for name in MACHINES {
        all.push((format!("{name}_products"), Queue(machine(name)).module()?));
        all.push((format!("{name}_weights"), Walk(machine(name)).module()?));
    }
    Ok(all)
}

/// The modules themselves, as they are built for a machine.
pub fn modules(name: &str) -> Result<[Arc<Module>; 2], RtlError> {
    Ok([WeightQueue::new(&machine(name)).module()?, WeightWalker::new(&machine(name))?.module()?])
}

/// Most passes of a product.
fn most_passes(config: &AccelConfig) -> u32 {
    config.slots().div_ceil(config.columns())
}

fn granules_of(config: &AccelConfig) -> u64 {
    u64::from(config.acc_rows() / ROW_GRANULE)
}

/// Combinations of slots, granules and policy, where they are few.
fn kinds(config: &AccelConfig) -> Option<u64> {
    Some((granules_of(config) * 2) << config.slots()).filter(|&kinds| kinds <= 1 << 12)
}

pub fn any_matvec(random: &mut Random, config: &AccelConfig) -> Matvec {
    let beat = config.beat().get();
    let most = config.acc_rows() * config.channels();
    let granule = config.channels() * ROW_GRANULE;
    // Where as many chunks as there may be passes, and one granule more, fill the accumulators.
    let whole = granule * (config.acc_rows() / ROW_GRANULE / (1 + random.below(32) as u32)).max(1);
    let rows = match random.below(6) {
        0 => 1,
        1 => most - random.below(2) as u32,
        2 => (whole + random.below(2) as u32).min(most),
        3 => granule * (1 + random.below(granules_of(config)) as u32),
        _ => 1 + random.below(most.into()) as u32,
    };
    let blocks = match random.below(4) {
        0 => 1,
        1 => MAX_BLOCKS as u16,
        _ => 1 + random.below(MAX_BLOCKS as u64) as u16,
    };
    let beats = config.channel_capacity().get() / beat;
    Matvec {
        addr: Addr(random.below(beats) * beat),
        rows,
        blocks,
        format: WeightFormat::ALL[random.below(2) as usize],
        pred: Pred::ALL[random.below(Pred::ALL.len() as u64) as usize],
        // What has no part in where the weights lie.
        bias: Addr(random.word()),
        ring: Addr(random.word()),
        scale_max: random.below(255) as u8,
        ahead: random.chance(50),
        ..Matvec::default()
    }
}

/// The number of the last round, by the plan's rules.
pub fn last_round(config: &AccelConfig, c: &Matvec, slots: u64, compact: bool) -> Option<u64> {
    let mut taken = vec![0_u64; config.columns() as usize];
    for (rank, slot) in (0..64_u64).filter(|slot| slots >> slot & 1 == 1).enumerate() {
        let by = if compact { rank as u64 } else { slot };
        taken[(by % u64::from(config.columns())) as usize] += 1;
    }
    let passes = taken.into_iter().max().filter(|&passes| passes > 0)?;
    let chunk = WeightLayout::chunk_rows_of(config, c.rows);
    let per_round = u64::from((config.acc_rows() / chunk).max(1));
    Some((passes - 1) / per_round)
}

/// A run as the walker gives it: first beat, beats, the product's last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    pub address: u64,
    pub length: u64,
    pub last: bool,
}

/// The runs of a product.
pub fn runs(config: &AccelConfig, c: &Matvec, last_round: u64) -> impl Iterator<Item = Run> + use<> {
    let beat = config.beat().get();
    let beats = (config.channel_capacity().get() / beat).next_power_of_two();
    let layout = WeightLayout::new(config, c.rows, c.blocks.into(), c.format);
    let (address, length) = (c.addr.0 / beat % beats, layout.local_bytes().get() / beat % beats);
    (0..=last_round).map(move |round| Run { address, length, last: round == last_round })
}

fn set_command(dut: &mut Rtl, port: &str, c: Matvec) {
    dut.set(port, Bits::from_bytes(COMMAND_BITS, &Command::from(c).encode()));
}

/// A walker with what it is given and what it owes.
pub struct Walker {
    prefix: String,
    config: AccelConfig,
    latency: u64,
    command: Matvec,
    last_round: u64,
    /// Rounds of the job that was taken, with the first cycle in which they may go.
    left: VecDeque<(u64, Run)>,
    /// Runs on their way.
    due: VecDeque<(u64, Run)>,
}

impl Walker {
    pub const BINS: [&str; 8] = [
        "one round",
        "several rounds",
        "most rounds",
        "one row",
        "largest chunk",
        "most blocks",
        "part of a group",
        "job behind job",
    ];

    pub fn new(name: &str, random: &mut Random) -> Self {
        let config = machine(name);
        let latency = WeightWalker::new(&config).unwrap().latency().into();
        let command = any_matvec(random, &config);
        let prefix = format!("{name}_weights");
        Self { prefix, config, latency, command, last_round: 0, left: VecDeque::new(), due: VecDeque::new() }
    }

    fn port(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    pub fn cycle(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) {
        let now = dut.cycle();
        let (valid, go) = (random.chance(80), random.chance(75));
        dut.set(&self.port("valid_i"), valid);
        dut.set(&self.port("go_i"), go);
        dut.set(&self.port("last_round_i"), self.last_round);
        set_command(dut, &self.port("command_i"), self.command);
        self.output(dut, now);

        let waited = !self.left.is_empty();
        if go && self.left.front().is_some_and(|left| left.0 <= now) {
            let (_, run) = self.left.pop_front().unwrap();
            self.due.push_back((now + self.latency - 1, run));
        }
        let ready = self.left.is_empty();
        assert_eq!(dut.is_set(&self.port("job_ready_o")), ready, "{} in cycle {now}", self.prefix);
        if valid && ready {
            let runs = runs(&self.config, &self.command, self.last_round);
            self.left.extend(runs.map(|run| (now + 1, run)));
            cover.hit("job behind job", waited);
            self.covered(cover);
            self.command = any_matvec(random, &self.config);
            self.last_round = random.below(most_passes(&self.config).into());
        }
    }

    fn covered(&self, cover: &mut Cover) {
        let (config, c) = (&self.config, &self.command);
        let chunk = WeightLayout::chunk_rows_of(config, c.rows);
        cover.hit("one round", self.last_round == 0);
        cover.hit("several rounds", self.last_round > 0);
        cover.hit("most rounds", self.last_round + 1 == u64::from(most_passes(config)));
        cover.hit("one row", c.rows == 1);
        cover.hit("largest chunk", chunk == config.acc_rows());
        cover.hit("most blocks", usize::from(c.blocks) == MAX_BLOCKS);
        cover.hit("part of a group", !u64::from(chunk).is_multiple_of(config.beat().get()));
    }

    fn output(&mut self, dut: &mut Rtl, now: u64) {
        let due = self.due.pop_front_if(|due| due.0 == now);
        assert_eq!(dut.is_set(&self.port("run_valid_o")), due.is_some(), "{} in cycle {now}", self.prefix);
        let Some((_, run)) = due else { return };
        let found = Run {
            address: dut.get(&self.port("run_address_o")),
            length: dut.get(&self.port("run_length_o")),
            last: run.last,
        };
        assert_eq!(found, run, "{} in cycle {now}", self.prefix);
    }
}

/// A product in the queue: what comes with it, and what is said of it while it is the first.
struct Pushed {
    command: Matvec,
    index: u64,
    decision: Option<u64>,
    reads: bool,
    slots: u64,
    compact: bool,
    /// Cycles from when it is the first until its slots are known.
    known_after: u64,
}

impl Pushed {
    fn any(random: &mut Random, config: &AccelConfig, index: u64) -> Self {
        let all = (1_u64 << config.slots()) - 1;
        let slots = match random.below(8) {
            0 => 0,
            1 => all,
            2 => 1 << random.below(config.slots().into()),
            // As many in one column as there can be.
            3 => (0..config.slots()).step_by(config.columns() as usize).map(|slot| 1 << slot).sum(),
            _ => random.word() & all,
        };
        let command = any_matvec(random, config);
        let mut pushed = Self {
            command,
            index,
            decision: random.chance(50).then(|| random.below(256)),
            reads: random.chance(85),
            slots,
            compact: random.chance(50),
            known_after: if random.chance(60) { 0 } else { random.below(12) },
        };
        // What decides on the rounds is gone through from one end to the other where that is little.
        if let Some(kinds) = kinds(config) {
            let (granules, nth) = (granules_of(config), index % kinds);
            pushed.reads |= index < kinds;
            pushed.slots = nth % (all + 1);
            let rest = nth / (all + 1);
            pushed.compact = rest >= granules;
            let last = (rest % granules) as u32 * ROW_GRANULE * config.channels();
            pushed.command.rows = last + 1 + random.below((ROW_GRANULE * config.channels()).into()) as u32;
        }
        pushed
    }

    fn job(&self, config: &AccelConfig) -> Option<u64> {
        last_round(config, &self.command, self.slots, self.compact).filter(|_| self.reads)
    }
}

/// A queue with what waits in it.
pub struct Products {
    prefix: String,
    config: AccelConfig,
    waiting: VecDeque<Pushed>,
    index: u64,
    /// The cycle in which the first one has become the first.
    since: u64,
}

impl Products {
    pub const BINS: [&str; 12] = [
        "at once",
        "waits for slots",
        "job",
        "no slot",
        "another's",
        "held up",
        "full",
        "one round",
        "several rounds",
        "a round for each pass",
        "all slots",
        "policies differ",
    ];

    pub fn new(name: &str) -> Self {
        let prefix = format!("{name}_products");
        Self { prefix, config: machine(name), waiting: VecDeque::new(), index: 0, since: 0 }
    }

    fn port(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    /// Products that have left.
    pub fn left(&self) -> u64 {
        self.index - self.waiting.len() as u64
    }

    /// Products that differ in what decides on their rounds, where those are few.
    pub fn kinds(&self) -> Option<u64> {
        kinds(&self.config)
    }

    /// A cycle up to its edge; whether the first one leaves with it, and what is pushed.
    pub fn cycle(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) {
        // Now and then more comes than goes.
        let often = if dut.cycle() & 1024 == 0 { 40 } else { 15 };
        let push = self.waiting.len() < 64 && random.chance(often);
        let new = Pushed::any(random, &self.config, self.index);
        let values = [
            ("push_valid_i", u64::from(push)),
            ("index_i", new.index % 256),
            ("decides_i", u64::from(new.decision.is_some())),
            ("number_i", new.decision.unwrap_or(0)),
            ("reads_i", u64::from(new.reads)),
        ];
        values.iter().for_each(|(name, value)| dut.set(&self.port(name), *value));
        set_command(dut, &self.port("command_i"), new.command);
        let ready = random.chance(80);
        dut.set(&self.port("job_ready_i"), ready);
        assert_eq!(dut.is_set(&self.port("front_valid_o")), !self.waiting.is_empty());
        let leaves = self.first(dut, random, cover, ready);
        assert_eq!(dut.is_set(&self.port("leaves_o")), leaves, "{} in cycle {}", self.prefix, dut.cycle());

        cover.hit("full", self.waiting.len() == 64);
        if leaves {
            self.waiting.pop_front();
        }
        if leaves || self.waiting.is_empty() {
            self.since = dut.cycle() + 1;
        }
        if push {
            self.waiting.push_back(new);
            self.index += 1;
        }
    }

    /// What is said of the first one, and what it says; whether it leaves.
    fn first(&self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover, ready: bool) -> bool {
        let (now, all) = (dut.cycle(), (1_u64 << self.config.slots()) - 1);
        let Some(first) = self.waiting.front() else {
            dut.set(&self.port("known_i"), random.chance(50));
            assert!(!dut.is_set(&self.port("job_valid_o")));
            return false;
        };
        assert_eq!(dut.get(&self.port("front_o")), first.index % 256);
        assert_eq!(dut.get(&self.port("pred_o")), first.command.pred as u64);
        assert_eq!(dut.is_set(&self.port("decision_valid_o")), first.decision.is_some());
        assert!(first.decision.is_none_or(|gate| gate == dut.get(&self.port("decision_o"))));
        let known = self.since + first.known_after;
        dut.set(&self.port("known_i"), known <= now);
        dut.set(&self.port("slots_i"), if known <= now { first.slots } else { random.word() & all });
        dut.set(&self.port("compact_i"), first.compact);

        let may = known + u64::from(Writers::LATENCY) <= now;
        let job = first.job(&self.config);
        let asked = format!("{} in cycle {now}: slots {:x}, {:?}", self.prefix, first.slots, first.command);
        assert_eq!(dut.is_set(&self.port("job_valid_o")), may && job.is_some(), "{asked}");
        if let Some(last_round) = job.filter(|_| may) {
            self.check_job(dut, &first.command, last_round, &asked);
        }
        let leaves = may && (ready || job.is_none());
        cover.hit("held up", may && !leaves);
        if leaves {
            self.covered(cover, first, now);
        }
        leaves
    }

    /// A job holds address, blocks, granules, format and rounds, from its low end on.
    fn check_job(&self, dut: &mut Rtl, c: &Matvec, last_round: u64, asked: &str) {
        let sizes = WeightSizes::new(&self.config);
        let found = dut.bits(&self.port("job_data_o"));
        let mut low = 0;
        let mut take = |width: u32| {
            low += width;
            (0..width).map(|n| u64::from(found.bit(low - width + n)) << n).sum::<u64>()
        };
        let beats = 1_u64 << sizes.common.address;
        let chunk = WeightLayout::chunk_rows_of(&self.config, c.rows);
        let job = [sizes.common.address, 16, sizes.granules, 1, sizes.rounds].map(&mut take);
        let granules = u64::from(chunk / ROW_GRANULE);
        let address = c.addr.0 / self.config.beat().get() % beats;
        let fp4 = u64::from(c.format == WeightFormat::Fp4);
        assert_eq!(job, [address, c.blocks.into(), granules - 1, fp4, last_round], "{asked}");
        assert_eq!(found.width(), low);
    }

    fn covered(&self, cover: &mut Cover, first: &Pushed, now: u64) {
        let (config, c) = (&self.config, &first.command);
        let job = first.job(config);
        let rounds = |compact| last_round(config, c, first.slots, compact);
        cover.hit("at once", now == self.since + u64::from(Writers::LATENCY));
        cover.hit("waits for slots", first.known_after > 0);
        cover.hit("job", job.is_some());
        cover.hit("no slot", first.slots == 0);
        cover.hit("another's", first.slots != 0 && !first.reads);
        cover.hit("one round", job == Some(0));
        cover.hit("several rounds", job.is_some_and(|last| last > 0));
        let most = u64::from(most_passes(config));
        cover.hit("a round for each pass", most > 1 && job == Some(most - 1));
        cover.hit("all slots", first.slots.count_ones() == config.slots());
        cover.hit("policies differ", job.is_some() && rounds(true) != rounds(false));
    }
}
