//! Scores of past keys beside the reference, and the unit's cycles beside its rules.

use super::machine;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{AbBlock, Command, GateTas};
use fastcar_arch::num::dot::dot_int8;
use fastcar_arch::num::mx::E8M0;
use fastcar_arch::num::{fp, window};
use fastcar_arch::timing::{KEYS_START, SETTLE, TAS_LATENCY, past_key_cycles};
use fastcar_hw::cmd::{COMMAND_BITS, Fields};
use fastcar_hw::gate::{Tas, WaitingKeys};
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError, emit};
use fastcar_hw::walk::past::Place;
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl, accept, gather, skipped};
use std::collections::VecDeque;
use std::sync::Arc;

/// The unit, pushed by commands and named slots.
struct Unit {
    config: AccelConfig,
}

impl Block for Unit {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("unit_{}", self.config.name()));
        let tas = Tas::new(&self.config);
        let unit = m.instance("u_tas", &tas)?;
        let fields = Fields::new(m.input("command_i", COMMAND_BITS));
        let waiting = WaitingKeys::new(&tas, &fields, [m.input("filled_i", 1), m.input("filler_i", 8)])?;
        unit.set("push_i", waiting.word(&m));
        let word = m.input("named_i", Place::width(&self.config));
        unit.set("place_i", word);
        for port in unit.module().ports() {
            match port.name.as_str() {
                "push_i" | "place_i" => {}
                name if port.input => unit.set(name, m.input(name, port.width)),
                name => m.output(name, unit.get(name)),
            }
        }
        m.finish()
    }
}

/// A block of keys or queries.
#[derive(Clone, Copy)]
struct Mx {
    scale: u8,
    elems: [i8; 32],
}

impl Mx {
    fn any(random: &mut Random, spread: u64) -> Self {
        let extreme = random.chance(10);
        let elems = std::array::from_fn(|_| {
            if extreme { [-128, 127][random.below(2) as usize] } else { random.below(256) as u8 as i8 }
        });
        Self { scale: (120 + random.below(spread)) as u8, elems }
    }

    fn bytes(&self) -> Vec<u8> {
        self.elems.iter().map(|&elem| elem as u8).collect()
    }
}

/// A row of the record stream: beats by channel, and cycles that the unit takes over it.
struct Row {
    need: u64,
    data: Vec<u8>,
    pace: u64,
}

/// A slot of a command.
struct Slot {
    slot: u64,
    /// Rows of other records before it.
    others: u64,
    queries: Vec<Mx>,
    /// Its rows, the first channel, the channels of the last heads, the offset of scale bytes, the beats that they lie in, whether the token is odd; its score.
    keys: Option<(Vec<Row>, [u64; 5], u32)>,
}

struct Task {
    command: GateTas,
    slots: Vec<Slot>,
    filled: bool,
    filler: u64,
}

impl Task {
    fn any(random: &mut Random, config: &AccelConfig, cover: &mut Cover) -> Self {
        let beat = config.fields().beat_bytes;
        let scales = loop {
            let most = if random.chance(10) { 32 } else { 4 };
            let scales = 1 + random.below(most) as u32;
            if scales == 1 || (scales * 32).is_multiple_of(beat) {
                break scales;
            }
        };
        let kv_heads = 1 + random.below(u64::from((24 / scales).clamp(1, 2 * config.channels() + 2))) as u32;
        let group = 1 + random.below(u64::from((32 / (scales * kv_heads)).clamp(1, 4))) as u32;
        let src = AbBlock(random.below(u64::from(config.ab_blocks() - kv_heads * group * scales) + 1) as u16);
        let scale = [1.0, 0.25, -3.5e-2, f32::NAN][random.below(40).min(3) as usize].into();
        let (heads, head_dim) = ((kv_heads * group) as u16, (32 * scales) as u16);
        let shape = GateTas { src, heads, head_dim, kv_heads: kv_heads as u16, scale, ..GateTas::default() };
        let count = [1, 1, 2, 1 + random.below(8)][random.below(4) as usize];
        let mut slots: Vec<u64> = (0..8).collect();
        while slots.len() > count as usize {
            slots.remove(random.below(slots.len() as u64) as usize);
        }
        let slots = slots.into_iter().map(|slot| Slot::any(random, config, &shape, slot, cover)).collect();
        cover.hit("a group", group > 1);
        cover.hit("several places", kv_heads > config.channels());
        cover.hit("blocks of a head", scales > 1);
        Self { command: shape, slots, filled: random.chance(50), filler: random.below(256) }
    }
}

impl Slot {
    fn any(random: &mut Random, config: &AccelConfig, c: &GateTas, slot: u64, cover: &mut Cover) -> Self {
        let others = if random.chance(30) { random.below(4) } else { 0 };
        let spread = [1, 8, 60][random.below(3) as usize];
        let blocks = usize::from(c.heads) * usize::from(c.head_dim) / 32;
        let mut queries: Vec<Mx> = (0..blocks).map(|_| Mx::any(random, spread)).collect();
        if random.chance(25) {
            return Self { slot, others, queries, keys: None };
        }
        let count = usize::from(c.kv_heads) * usize::from(c.head_dim) / 32;
        let mut keys: Vec<Mx> = (0..count).map(|_| Mx::any(random, spread)).collect();
        if random.chance(8) {
            let of = if random.chance(50) { &mut queries } else { &mut keys };
            let at = random.below(of.len() as u64) as usize;
            of[at].scale = 255;
            cover.hit("NaN", true);
        }
        let score = score(c, &queries, &keys);
        let (token, interleave) = (random.below(32), (config.channels() / u32::from(c.kv_heads)).max(1));
        let residue = random.below(interleave.into());
        let (rows, offset, beats) = rows(random, config, c, &keys, (token, residue));
        cover.hit("scale bytes in two beats", beats > 1);
        cover.hit("channels apart", interleave > 1);
        let last = rows.last().map_or(0, |row| row.need);
        let place = [residue, last, offset, beats, token % 2];
        Self { slot, others, queries, keys: Some((rows, place, score.to_bits())) }
    }
}

/// As docs/numerics.md has it.
fn score(c: &GateTas, queries: &[Mx], keys: &[Mx]) -> f32 {
    let (scales, group) = (usize::from(c.head_dim) / 32, usize::from(c.heads / c.kv_heads));
    let largest = |blocks: &[Mx]| E8M0(blocks.iter().map(|block| block.scale).max().unwrap());
    let base = window::Base::new(largest(keys), largest(queries));
    let terms = queries.iter().enumerate().map(|(n, query)| {
        let key = &keys[n / scales / group * scales + n % scales];
        window::term(dot_int8(&key.elems, &query.elems), base.shift(E8M0(key.scale), E8M0(query.scale)))
    });
    fp::mul(window::to_f32(terms.sum(), base, window::Pair::Int8Int8), c.scale.get())
}

/// The rows of a token's keys, the offset of a head's scale bytes and the beats that they lie in.
fn rows(
    random: &mut Random,
    config: &AccelConfig,
    c: &GateTas,
    keys: &[Mx],
    (token, residue): (u64, u64),
) -> (Vec<Row>, u64, u64) {
    let (channels, beat) = (config.channels() as usize, config.beat().get() as usize);
    let (scales, kv_heads) = (usize::from(c.head_dim) / 32, usize::from(c.kv_heads));
    let (step, group) = ((channels / kv_heads).max(1), u32::from(c.heads / c.kv_heads));
    let offset = token as usize * scales % beat;
    let mut rows = Vec::new();
    for elements in [false, true] {
        for first in (0..kv_heads).step_by(channels) {
            let heads = channels.min(kv_heads - first);
            // Each head's bytes, from where they lie in their first beat.
            let runs: Vec<Vec<u8>> = (first..first + heads)
                .map(|head| {
                    let blocks = &keys[head * scales..(head + 1) * scales];
                    let (at, bytes): (usize, Vec<u8>) = match elements {
                        false => (offset, blocks.iter().map(|block| block.scale).collect()),
                        true => {
                            (token as usize * scales * 32 % beat, blocks.iter().flat_map(Mx::bytes).collect())
                        }
                    };
                    let mut run: Vec<u8> = (0..at).map(|_| random.below(256) as u8).collect();
                    run.extend(bytes);
                    while !run.len().is_multiple_of(beat) {
                        run.push(random.below(256) as u8);
                    }
                    run
                })
                .collect();
            let pace = past_key_cycles(config, c.head_dim.into(), heads as u32, group);
            let pace = u64::from(if elements { pace } else { heads as u32 });
            for n in 0..runs[0].len() / beat {
                let mut data: Vec<u8> = (0..channels * beat).map(|_| random.below(256) as u8).collect();
                let mut need = 0;
                for (head, run) in runs.iter().enumerate() {
                    let channel = residue as usize + head * step;
                    data[channel * beat..][..beat].copy_from_slice(&run[n * beat..][..beat]);
                    need |= 1 << channel;
                }
                rows.push(Row { need, data, pace });
            }
        }
    }
    (rows, offset as u64, (offset + scales).div_ceil(beat) as u64)
}

/// What the unit is doing.
enum State {
    Waits,
    /// From a cycle on: rows of the slot, cycles of the first of them, and the command's slots behind.
    Takes {
        from: u64,
        row: usize,
        cycle: u64,
    },
}

/// A unit with what is around it.
struct Bench {
    name: String,
    config: AccelConfig,
    /// Commands not settled; how many are pushed; the slot that is named next; of those that are, when each may be looked at, and the rows before.
    tasks: VecDeque<Task>,
    pushed: usize,
    named: (usize, usize),
    known: VecDeque<(u64, u64)>,
    /// The slot of the first command that is next, and the unit.
    next: usize,
    state: State,
    through: bool,
    scores: VecDeque<(u64, u64, u32)>,
    over: u64,
    /// Rows of other records that have been named before slots; in the stream before the next keys; taken.
    walked: u64,
    waiting: u64,
    taken: u64,
    row_there: bool,
    /// When the first gate has its slots, and when it settles.
    wanted: Option<u64>,
    settles: Option<u64>,
    /// What was asked for in this cycle and the ones before.
    asked: [(u64, u64, u64); 2],
    gaps: [Gaps; 3],
}

impl Bench {
    fn new(name: String, config: AccelConfig) -> Self {
        Self {
            name,
            config,
            tasks: VecDeque::new(),
            pushed: 0,
            named: (0, 0),
            known: VecDeque::new(),
            next: 0,
            state: State::Waits,
            through: false,
            scores: VecDeque::new(),
            over: 0,
            walked: 0,
            waiting: 0,
            taken: 0,
            row_there: false,
            wanted: None,
            settles: None,
            asked: [(0, 0, 0); 2],
            gaps: [Gaps::new(70), Gaps::new(60), Gaps::new(80)],
        }
    }

    fn port(&self, name: &str) -> String {
        format!("{}_{name}", self.name)
    }

    /// Commands and slots, as dispatcher and walker bring them.
    fn feed(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover, now: u64) {
        while self.tasks.len() < 4 {
            self.tasks.push_back(Task::any(random, &self.config, cover));
            if self.tasks.len() == 1 {
                self.waiting = self.tasks[0].slots[0].others;
            }
        }
        let push = self.pushed < self.tasks.len() && random.chance(10);
        dut.set(&self.port("push_valid_i"), push);
        let task = &self.tasks[self.pushed.min(3)];
        let command = Command::from(task.command).encode();
        dut.set(&self.port("command_i"), Bits::from_bytes(COMMAND_BITS, &command));
        dut.set(&self.port("filled_i"), task.filled);
        dut.set(&self.port("filler_i"), task.filler);
        self.pushed += usize::from(push);

        let (task, slot) = self.named;
        // In the queue behind the command.
        let named = task + usize::from(push) < self.pushed && self.gaps[0].next(random);
        dut.set(&self.port("place_valid_i"), named);
        let s = &self.tasks[task.min(3)].slots[slot];
        let of_keys = s.keys.as_ref().map_or([0; 5], |keys| keys.1);
        let widths = [
            (s.slot, 3),
            (u64::from(s.keys.is_none()), 1),
            (u64::from(slot + 1 == self.tasks[task.min(3)].slots.len()), 1),
            (of_keys[0], self.config.channels().ilog2().max(1)),
            (of_keys[1], self.config.channels()),
            (of_keys[2], self.config.fields().beat_bytes.ilog2()),
            (of_keys[3], 2),
            (of_keys[4], 1),
        ];
        let (word, _) =
            widths.iter().fold((0, 0), |(word, low), &(value, bits)| (word | value << low, low + bits));
        dut.set(&self.port("named_i"), word);
        if named {
            self.walked += s.others;
            self.known.push_back((now + u64::from(Tas::PLACED), self.walked));
            let last = slot + 1 == self.tasks[task].slots.len();
            self.named = if last { (task + 1, 0) } else { (task, slot + 1) };
        }
        dut.set(&self.port("rows_i"), self.walked);
    }

    /// The next row: of other records before the next slot's keys, or of these.
    fn row(&mut self, dut: &mut Rtl, random: &mut Random) -> bool {
        let others = self.waiting > 0;
        self.row_there |= self.gaps[1].next(random);
        let slot = self.tasks[0].slots.get(self.next);
        let row = slot.and_then(|slot| slot.keys.as_ref()).map(|keys| match self.state {
            State::Takes { row, .. } => &keys.0[row],
            State::Waits => &keys.0[0],
        });
        let valid = self.row_there && (others || row.is_some());
        dut.set(&self.port("row_valid_i"), valid);
        let bits = 8 * self.config.beat().get() as u32 * self.config.channels();
        let data = match row.filter(|_| !others) {
            Some(row) => Bits::from_bytes(bits, &row.data),
            None => Bits::zero(bits),
        };
        dut.set(&self.port("row_data_i"), data);
        // The vector unit takes rows when it wants to.
        if others && valid && random.chance(40) {
            self.waiting -= 1;
            self.row_there = false;
            self.taken += 1;
        }
        valid && !others
    }

    /// The activation buffer answers two cycles later.
    fn read(&mut self, dut: &mut Rtl, random: &mut Random) {
        let (slot, block, first) = self.asked[1];
        let slots = &self.tasks[0].slots;
        let src = u64::from(self.tasks[0].command.src.0);
        let found = slots
            .iter()
            .find(|s| s.slot == slot)
            .filter(|s| block >= src && block - src < s.queries.len() as u64);
        let query = found.map_or_else(|| Mx::any(random, 100), |s| s.queries[(block - src) as usize]);
        let largest = slots.iter().find(|s| s.slot == slot && first == src);
        let largest = largest.map_or(0xA5, |s| s.queries.iter().map(|query| query.scale).max().unwrap());
        dut.set(&self.port("read_scale_i"), u64::from(query.scale));
        dut.set(&self.port("read_elems_i"), Bits::from_bytes(256, &query.bytes()));
        dut.set(&self.port("read_largest_i"), u64::from(largest));
    }

    fn cycle(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) {
        let now = dut.cycle();
        self.feed(dut, random, cover, now);
        // What is taken is told in the cycle behind.
        dut.set(&self.port("taken_i"), self.taken);
        let told = self.taken;
        // The rows of other records before the slot that is next come in front of its keys.
        let key_row = self.row(dut, random);
        if self.wanted.is_none() && self.settles.is_none() && self.pushed > 0 && random.chance(20) {
            self.wanted = Some(now);
        }
        let wanted = self.wanted.is_some_and(|at| at < now);
        dut.set(&self.port("scores_i"), wanted);
        let settles = self.settles == Some(now);
        dut.set(&self.port("settles_i"), settles);
        let missing = if self.gaps[2].next(random) { random.word() & random.word() & 0xFF } else { 0xFF };
        dut.set(&self.port("missing_i"), missing);
        self.read(dut, random);
        self.outputs(dut, now, key_row, wanted);
        if self.pushed > 0 {
            let task = &self.tasks[0];
            // It stands in its queue a cycle after it was pushed.
            if wanted {
                assert_eq!(dut.is_set(&self.port("operand_valid_o")), task.filled);
                assert_eq!(dut.get(&self.port("operand_o")), task.filler);
            }
        }
        let asked = ["slot", "block", "first"].map(|name| dut.get(&self.port(&format!("read_{name}_o"))));
        self.asked = [(asked[0], asked[1], asked[2]), self.asked[0]];
        self.advance(now, (wanted, key_row, missing, told), cover);
        if settles {
            self.settled();
        }
    }

    fn settled(&mut self) {
        self.tasks.pop_front();
        self.pushed -= 1;
        self.named.0 -= 1;
        (self.next, self.through, self.settles) = (0, false, None);
        self.waiting = self.tasks[0].slots[0].others;
    }

    fn outputs(&mut self, dut: &mut Rtl, now: u64, key_row: bool, wanted: bool) {
        let active = matches!(self.state, State::Takes { from, .. } if from <= now);
        let prefix = self.name.clone();
        let get = |dut: &mut Rtl, name: &str| dut.get(&format!("{prefix}_{name}"));
        assert_eq!(get(dut, "active_o"), u64::from(active), "{} cycle {now}", self.name);
        assert_eq!(get(dut, "busy_o"), u64::from(active && key_row), "cycle {now}");
        assert_eq!(get(dut, "over_o"), self.over % 256, "cycle {now}");
        if let State::Takes { row, cycle, .. } = self.state
            && active
        {
            let row = &self.tasks[0].slots[self.next].keys.as_ref().unwrap().0[row];
            assert_eq!(
                get(dut, "need_o"),
                row.need,
                "{} cycle {now}: {:?}",
                self.name,
                self.tasks[0].command
            );
            assert_eq!(
                get(dut, "row_ready_o"),
                u64::from(cycle + 1 == row.pace),
                "{} cycle {now}",
                self.name
            );
        }
        let due = self.scores.pop_front_if(|score| score.0 == now);
        assert_eq!(get(dut, "score_valid_o"), u64::from(due.is_some()), "cycle {now}");
        if let Some((_, slot, score)) = due {
            assert_eq!(get(dut, "score_slot_o"), slot);
            let found = get(dut, "score_o") as u32;
            assert_eq!(f32::from_bits(found).to_bits(), score, "{} {:?}", self.name, self.tasks[0].command);
        }
        let scored = self.through && self.scores.is_empty();
        assert_eq!(get(dut, "scored_o"), u64::from(scored), "cycle {now}");
        if scored && wanted {
            (self.wanted, self.settles) = (None, Some(now + SETTLE - 1));
        }
    }

    /// What the cycle does to the unit.
    fn advance(
        &mut self,
        now: u64,
        (wanted, key_row, missing, told): (bool, bool, u64, u64),
        cover: &mut Cover,
    ) {
        let slots = self.tasks[0].slots.len();
        match self.state {
            State::Takes { from, row, cycle } if from <= now && key_row => {
                let rows = &self.tasks[0].slots[self.next].keys.as_ref().unwrap().0;
                let row_ends = cycle + 1 == rows[row].pace;
                self.row_there &= !row_ends;
                let last = row_ends && row + 1 == rows.len();
                self.state = match (row_ends, last) {
                    (true, true) => State::Waits,
                    (true, false) => State::Takes { from, row: row + 1, cycle: 0 },
                    _ => State::Takes { from, row, cycle: cycle + 1 },
                };
                if last {
                    let slot = &self.tasks[0].slots[self.next];
                    let score = slot.keys.as_ref().unwrap().2;
                    self.scores.push_back((now + 1 + TAS_LATENCY, slot.slot, score));
                    cover.hit("scores that follow", self.scores.len() > 1);
                    self.leave();
                }
            }
            State::Waits
                if wanted && self.next < slots && self.known.front().is_some_and(|at| at.0 <= now) =>
            {
                let slot = &self.tasks[0].slots[self.next];
                let before = self.known[0].1;
                if slot.keys.is_none() {
                    cover.hit("none", true);
                    self.known.pop_front();
                    self.leave();
                } else if told == before && missing >> slot.slot & 1 == 0 {
                    cover.hit("begins", true);
                    self.known.pop_front();
                    self.state = State::Takes { from: now + KEYS_START, row: 0, cycle: 0 };
                } else {
                    cover.hit("waits for queries", told == before);
                    cover.hit("waits for its turn", told != before);
                }
            }
            _ => {}
        }
    }

    fn leave(&mut self) {
        self.next += 1;
        match self.tasks[0].slots.get(self.next) {
            Some(slot) => self.waiting += slot.others,
            None => {
                self.through = true;
                self.over += 1;
            }
        }
    }
}

/// Every score is the reference's, in its cycle; rows are taken in theirs.
#[test]
fn keys_are_scored() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let configs = [(1, 16), (4, 16), (2, 32), (4, 64)].map(|(channels, beat)| machine(channels, beat));
    let modules: Result<Vec<_>, RtlError> = configs
        .iter()
        .map(|config| Ok((config.name().to_owned(), Unit { config: config.clone() }.module()?)))
        .collect();
    let modules = modules?;
    let parts: Vec<_> = modules.iter().map(|(name, module)| (name.as_str(), module.clone())).collect();
    let module = gather("gate_units", &parts)?;
    accept(&emit(&module)?)?;
    let mut dut = Rtl::beside_native(&module)?;
    for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
        dut.set(&name, Bits::zero(width));
    }
    dut.reset();
    let mut random = Random::new(2);
    let mut cover = Cover::new(&[
        "a group",
        "several places",
        "blocks of a head",
        "NaN",
        "scale bytes in two beats",
        "channels apart",
        "none",
        "begins",
        "waits for queries",
        "waits for its turn",
        "scores that follow",
    ]);
    let mut benches: Vec<_> = configs.into_iter().map(|c| Bench::new(c.name().to_owned(), c)).collect();
    for _ in 0..10_000 {
        for bench in &mut benches {
            bench.cycle(&mut dut, &mut random, &mut cover);
        }
        dut.tick();
    }
    cover.assert(20);
    Ok(())
}
