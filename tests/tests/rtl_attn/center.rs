//! When keys and values are armed, and queries sent, beside a model of the rules of `docs/cycles.md` (MAC array).

use super::sums::config;
use super::{Cover, Random, Rtl, TestResult, skipped};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::{
    HEADS_KEPT, HEADS_MAP, HEADS_UNDER_WAY, HOP, MAC_LATENCY, MAC_MAP, SCORE_LATENCY, head_value_words,
    key_passes, value_passes, value_words,
};
use fastcar_hw::attn::center::Note;
use fastcar_hw::attn::{Attention, Center, Queries, Spans};
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError};
use std::collections::VecDeque;
use std::sync::Arc;

/// Cycles from word that all channels are through with keys until values may be armed.
const SCORES: u64 = MAC_LATENCY + SCORE_LATENCY - HOP;
const SEND: u64 = MAC_LATENCY + Attention::SEND as u64 - 2 * HOP;
const PHASE: [&str; 8] =
    ["values", "last_pass", "last_block", "last_query", "word", "ahead", "bank", "factor"];
const QUERY: [&str; 7] = ["channels", "row", "pass", "column", "bank", "narrow", "largest"];

/// Both blocks, with notes and phases in fields.
struct Driven(AccelConfig);

impl Block for Driven {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("driven_center_{}", self.0.name()));
        let block = Center::new(&self.0)?;
        let note = Note {
            src: m.input("src_i", block.block_width()),
            heads: m.input("heads_i", 16),
            kv_heads: m.input("kv_heads_i", 16),
            blocks: m.input("blocks_i", 6),
            factor: m.input("factor_i", 32),
            ahead: m.input("ahead_i", 1),
        };
        let center = m.instance("u_center", &block)?;
        let queries = m.instance("u_queries", &Queries::new(&self.0)?)?;
        center.set("note_i", note.word(&m));
        let start = m.input("start_i", 1);
        for unit in [&center, &queries] {
            unit.set("start_i", start);
        }
        let (valid, slots) = (m.input("heads_valid_i", 1), m.input("heads_slots_i", self.0.slots()));
        center.set("heads_valid_i", valid);
        center.set("heads_slots_i", slots);
        queries.set("slots_i", slots);
        queries.set("command_valid_i", center.get("queries_valid_o"));
        for name in ["first", "last_block", "last_query", "last_unit", "last_head", "share"] {
            queries.set(&format!("{name}_i"), center.get(&format!("queries_{name}_o")));
        }
        queries.set("leaves_i", center.get("heads_last_o"));
        queries.set("used_i", center.get("used_o"));
        center.set("sent_i", queries.get("sent_o"));
        for name in ["turn", "missing", "read_scale"] {
            let width = queries.module().ports().iter().find(|port| port.name == format!("{name}_i"));
            let width = width.map_or(1, |port| port.width);
            queries.set(&format!("{name}_i"), m.input(&format!("{name}_i"), width));
        }
        for name in ["read_valid", "read_slot", "read_block", "query_valid"] {
            m.output(&format!("{name}_o"), queries.get(&format!("{name}_o")));
        }
        for name in QUERY.map(|name| format!("query_{name}_o")) {
            m.output(&name, queries.get(&name));
        }
        for name in ["heads_room", "heads_word", "keys_done", "values_done", "frees"] {
            let width = center.module().ports().iter().find(|port| port.name == format!("{name}_i"));
            let width = width.map_or(1, |port| port.width);
            center.set(&format!("{name}_i"), m.input(&format!("{name}_i"), width));
        }
        let outer = ["heads_need", "heads_arms", "heads_last", "heads_through", "phase_valid", "send", "ask"];
        for name in outer.iter().chain(&["round_valid", "through"]) {
            m.output(&format!("{name}_o"), center.get(&format!("{name}_o")));
        }
        let p = Spans::new(&self.0)?.phase_of(center.get("phase_o"));
        let fields = [p.values, p.last_pass, p.blocks, p.last_query, p.word, p.ahead, p.bank, p.factor];
        PHASE.iter().zip(fields).for_each(|(name, wire)| m.output(&format!("phase_{name}_o"), wire));
        m.output("round_first_line_o", {
            let (sums, word) = (fastcar_hw::attn::Sums::new(&self.0)?, center.get("round_o"));
            fastcar_hw::attn::sums::Round::of(&sums, word).first_line
        });
        m.finish()
    }
}

/// Attention in front.
#[derive(Clone, Debug)]
struct Command {
    src: u64,
    kv_heads: u64,
    group: u64,
    blocks: u64,
    ahead: bool,
    factor: u64,
    /// Since when it is told, and its slots.
    since: u64,
    slots: u64,
}

/// A round of heads.
#[derive(Clone, Copy, Debug)]
struct Round {
    slot: u64,
    unit: u64,
    heads: u64,
    last: bool,
}

/// A block of a query that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Asked {
    slot: u64,
    block: u64,
    channels: u64,
    row: u64,
    pass: u64,
    column: u64,
    bank: u64,
    narrow: bool,
    /// It is its query head's first.
    opens: bool,
}

struct Model {
    config: AccelConfig,
    command: Option<Command>,
    rounds: Vec<Round>,
    /// Of the command: rounds whose queries were begun, blocks of the one under way that are left; when each was sent; the phase that is armed next.
    queried: usize,
    asks: VecDeque<Asked>,
    sent: Vec<u64>,
    phase: usize,
    /// Rounds whose keys are used up, less those of commands before; rounds whose queries are kept.
    kept: usize,
    /// Words of rounds under way; the next word of values; the last round's words.
    under_way: VecDeque<u64>,
    value_word: u64,
    /// Rounds whose queries were begun, and whose keys are armed, in all.
    asked_rounds: u64,
    armed_rounds: u64,
    /// By kind: phases that are armed, that each channel is through with, that all are; when keys were; rounds that end their command.
    armed: [u64; 2],
    channels: [Vec<u64>; 2],
    through: [u64; 2],
    scored: VecDeque<u64>,
    ends: VecDeque<bool>,
}

/// What is said in a cycle.
#[derive(PartialEq, Eq, Debug, Default)]
struct Said {
    phase: Option<Vec<u64>>,
    need: Option<u64>,
    last: bool,
    through: bool,
    heads_through: bool,
    round: Option<u64>,
}

impl Model {
    fn new(config: &AccelConfig) -> Self {
        Self {
            config: config.clone(),
            command: None,
            rounds: Vec::new(),
            queried: 0,
            asks: VecDeque::new(),
            sent: Vec::new(),
            phase: 0,
            kept: 0,
            under_way: VecDeque::new(),
            value_word: 0,
            asked_rounds: 0,
            armed_rounds: 0,
            armed: [0; 2],
            channels: [0; 2].map(|_| vec![0; config.channels() as usize]),
            through: [0; 2],
            scored: VecDeque::new(),
            ends: VecDeque::new(),
        }
    }

    fn begin(&mut self, command: Command) {
        let channels = u64::from(self.config.channels());
        let units = command.kv_heads.div_ceil(channels);
        self.rounds.clear();
        for slot in (0..32).filter(|slot| command.slots >> slot & 1 == 1) {
            for unit in 0..units {
                let heads = (command.kv_heads - unit * channels).min(channels);
                self.rounds.push(Round { slot, unit, heads, last: false });
            }
        }
        self.rounds.last_mut().unwrap().last = true;
        (self.queried, self.phase) = (0, 0);
        self.sent.clear();
        self.command = Some(command);
    }

    /// Blocks of a round's queries.
    fn blocks(&self, command: &Command, round: Round) -> VecDeque<Asked> {
        let channels = u64::from(self.config.channels());
        let share = (channels / command.kv_heads).max(1);
        let per_head = command.group * command.blocks;
        let of = |n: u64| {
            let (head, rest) = (n / per_head, n % per_head);
            let mask = (0..channels).filter(|c| c / share == head).map(|c| 1 << c).sum();
            let first = command.src + round.unit * channels * per_head;
            let (query, own) = (rest / command.blocks, rest % command.blocks);
            let columns = u64::from(self.config.columns());
            Asked {
                slot: round.slot,
                block: first + n,
                channels: mask,
                row: query / columns * command.blocks + own,
                pass: query / columns,
                column: query % columns,
                bank: self.asked_rounds % 2,
                narrow: self.config.fields().beat_bytes == 64 && command.blocks == 1,
                opens: own == 0,
            }
        };
        (0..round.heads * per_head).map(of).collect()
    }

    /// The block that is asked for in this cycle.
    fn ask(&mut self, now: u64, turn: bool, missing: u64, used: bool) -> Option<Asked> {
        if used {
            self.kept -= 1;
        }
        if self.asks.is_empty() {
            let command = self.command.clone()?;
            let round = *self.rounds.get(self.queried)?;
            let known = now >= command.since + HEADS_MAP - MAC_MAP;
            let turn = self.queried > 0 || turn;
            if !known || !turn || missing >> round.slot & 1 == 1 || self.kept >= HEADS_KEPT {
                return None;
            }
            self.asks = self.blocks(&command, round);
            self.asked_rounds += 1;
            self.queried += 1;
            self.kept += 1;
        }
        let asked = self.asks.pop_front();
        if self.asks.is_empty() {
            self.sent.push(now + 1);
        }
        asked
    }

    /// What channels are through with: whether all are with one more phase of a kind.
    fn hear(&mut self, kind: usize, done: u64) -> bool {
        for (c, count) in self.channels[kind].iter_mut().enumerate() {
            *count += done >> c & 1;
        }
        let all = self.channels[kind].iter().all(|&count| count > self.through[kind]);
        self.through[kind] += u64::from(all);
        all
    }

    fn arm(&mut self, now: u64, room: bool, word: u64) -> Said {
        let mut said = Said::default();
        let Some(command) = self.command.clone() else { return said };
        let config = &self.config;
        let (group, dim) = (command.group as u32, command.blocks as u32 * 32);
        let (round, phase) = (self.phase / 4, self.phase % 4);
        let need = u64::from(head_value_words(config, group, dim));
        let may = match phase {
            0 => {
                let few = self.under_way.len() < HEADS_UNDER_WAY;
                let words = self.under_way.iter().sum::<u64>() + need <= u64::from(value_words(config));
                self.sent.get(round).is_some_and(|&at| at <= now) && few && words && room
            }
            2 => self.scored.front().is_some_and(|&at| at + SCORES <= now),
            _ => true,
        };
        if !may {
            return said;
        }
        if phase == 0 {
            said.need = Some(u64::from(key_passes(config, group)));
            self.under_way.push_back(need);
        }
        let own = if phase == 0 { word } else { self.value_word };
        if phase == 2 {
            self.scored.pop_front();
            self.value_word = (self.value_word + need) % u64::from(value_words(config));
            let of_unit = u64::from(config.channels()) * command.group * command.blocks;
            said.round = Some(self.rounds[round].unit * of_unit);
        }
        let last = phase == 3 && self.rounds[round].last;
        let fields = vec![
            phase as u64 / 2,
            u64::from(value_passes(config, group)) - 1,
            command.blocks - 1,
            command.group - 1,
            own,
            command.ahead.into(),
            self.armed_rounds % 2,
            command.factor,
        ];
        // That of the own block goes without saying.
        said.phase = (phase % 2 == 0).then_some(fields);
        self.armed[phase / 2] += phase as u64 % 2;
        self.armed_rounds += u64::from(phase == 2);
        said.last = last;
        if phase == 3 {
            self.ends.push_back(last);
        }
        self.phase += 1;
        if last {
            self.command = None;
        }
        said
    }
}

fn said(dut: &mut Rtl) -> Said {
    let phase = dut.is_set("phase_valid_o");
    let phase = phase.then(|| PHASE.iter().map(|name| dut.get(&format!("phase_{name}_o"))).collect());
    let arms = dut.is_set("heads_arms_o");
    let round = dut.is_set("round_valid_o");
    Said {
        phase,
        need: arms.then(|| dut.get("heads_need_o")),
        last: dut.is_set("heads_last_o"),
        through: dut.is_set("through_o"),
        heads_through: dut.is_set("heads_through_o"),
        round: round.then(|| dut.get("round_first_line_o")),
    }
}

fn any(random: &mut Random, config: &AccelConfig, now: u64) -> Command {
    let channels = u64::from(config.channels());
    let wide = config.fields().beat_bytes == 64;
    let most = if random.chance(50) { channels } else { 2 * channels + 1 };
    let command = Command {
        src: random.below(64),
        kv_heads: 1 + random.below(most),
        group: [1, 2, 3, 1 + random.below(12)][random.below(4) as usize],
        blocks: if wide { [1, 2, 4] } else { [1, 2, 3] }[random.below(3) as usize],
        ahead: random.chance(50),
        factor: random.below(1 << 32),
        since: now,
        slots: 0,
    };
    let most = (1 << config.slots()) - 1;
    let slots = (random.word() & random.word() & most).max(1);
    Command { slots, ..command }
}

const BINS: [&str; 6] = [
    "several places",
    "several slots",
    "waits for queries",
    "waits for room",
    "waits for scores",
    "all kept",
];

/// Commands at random, channels that are through some time after phases are armed.
fn drive(config: &AccelConfig, cycles: u64, native: bool, cover: &mut Cover) -> TestResult {
    let module = Driven(config.clone()).module()?;
    let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
    for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
        dut.set(&name, Bits::zero(width));
    }
    dut.reset();
    let mut random = Random::new(5);
    let mut model = Model::new(config);
    let (mut sends, mut answers) = (VecDeque::new(), VecDeque::<(u64, Asked)>::new());
    let (mut asks, mut results, mut free, mut largest) = (VecDeque::new(), 0, 0, 0);
    for _ in 0..cycles {
        let now = dut.cycle();
        let often = if now / 500 % 2 == 0 { 40 } else { 5 };
        if model.command.is_none() && now >= free && random.chance(20) {
            model.begin(any(&mut random, config, now));
        }
        let front = model.command.clone();
        dut.set("heads_valid_i", front.is_some());
        if let Some(c) = &front {
            cover.hit("several places", c.kv_heads > u64::from(config.channels()));
            cover.hit("several slots", c.slots.count_ones() > 1);
            let fields = [
                ("src", c.src),
                ("heads", c.kv_heads * c.group),
                ("kv_heads", c.kv_heads),
                ("blocks", c.blocks),
                ("factor", c.factor),
                ("ahead", c.ahead.into()),
                ("heads_slots", c.slots),
            ];
            fields.iter().for_each(|(name, value)| dut.set(&format!("{name}_i"), *value));
        }
        // Each channel is through with its phases in order, one a cycle at most.
        let mut through = [false; 2];
        for (kind, name) in ["keys_done_i", "values_done_i"].into_iter().enumerate() {
            let behind = |count: &u64| *count < model.armed[kind] && random.chance(often);
            let done: Vec<bool> = model.channels[kind].iter().map(behind).collect();
            let done = done.iter().enumerate().map(|(c, &done)| u64::from(done) << c).sum();
            dut.set(name, done);
            through[kind] = model.hear(kind, done);
        }
        let [room, turn] = [often, 90].map(|often| random.chance(often.max(50)));
        let missing = if random.chance(60) { 0 } else { random.word() & ((1 << config.slots()) - 1) };
        let word = random.below(u64::from(config.acc_rows() / (config.fields().beat_bytes / 16)));
        let frees = results > 0 && random.chance(often);
        results -= u64::from(frees);
        if frees {
            model.under_way.pop_front();
        }
        let given = [
            ("heads_room", room.into()),
            ("turn", turn.into()),
            ("missing", missing),
            ("heads_word", word),
            ("frees", frees.into()),
        ];
        given.iter().for_each(|(name, value)| dut.set(&format!("{name}_i"), *value));

        let asked = model.ask(now, turn, missing, through[0]);
        if through[0] {
            model.scored.push_back(now);
            sends.push_back(now + SEND);
        }
        cover.hit("all kept", model.kept == HEADS_KEPT && asked.is_none());
        let waits = model.command.is_some() && model.phase.is_multiple_of(4);
        cover.hit("waits for queries", waits && model.sent.len() <= model.phase / 4);
        cover.hit("waits for room", waits && !room && model.sent.len() > model.phase / 4);
        cover.hit("waits for scores", model.phase % 4 == 2);
        let mut expected = model.arm(now, room, word);
        if expected.last {
            free = now + 1 + MAC_MAP;
        }
        if through[1] {
            (expected.through, expected.heads_through) = (true, model.ends.pop_front() == Some(true));
            asks.push_back(now + 1);
            results += 1;
        }
        let place = format!("{} in cycle {now}, {front:?}", config.name());
        assert_eq!(said(&mut dut), expected, "{place}");
        assert_eq!(dut.is_set("send_o"), sends.pop_front_if(|at| *at == now).is_some(), "{place}");
        assert_eq!(dut.is_set("ask_o"), asks.pop_front_if(|at| *at == now).is_some(), "{place}");

        // A block that was asked for two cycles ago.
        let scale = random.below(256);
        dut.set("read_scale_i", scale);
        let due = answers.pop_front_if(|due| due.0 == now);
        assert_eq!(dut.is_set("query_valid_o"), due.is_some(), "{place}");
        if let Some((_, block)) = due {
            largest = if block.opens { scale } else { scale.max(largest) };
            let found = QUERY.map(|name| dut.get(&format!("query_{name}_o")));
            let Asked { channels, row, pass, column, bank, narrow, .. } = block;
            assert_eq!(found, [channels, row, pass, column, bank, narrow.into(), largest], "{place}");
        }
        assert_eq!(dut.is_set("read_valid_o"), asked.is_some(), "{place}");
        if let Some(asked) = asked {
            let found = ["slot", "block"].map(|name| dut.get(&format!("read_{name}_o")));
            assert_eq!(found, [asked.slot, asked.block], "{place}");
            answers.push_back((now + u64::from(Queries::READ), asked));
        }
        dut.tick();
    }
    Ok(())
}

#[test]
fn keys_and_values_are_armed() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut cover = Cover::new(&BINS);
    drive(&config(2, 2, 16, 4)?, 1500, true, &mut Cover::new(&BINS))?;
    for (channels, columns, beat, lanes) in [(1, 2, 16, 4), (4, 4, 64, 16)] {
        drive(&config(channels, columns, beat, lanes)?, 15_000, false, &mut cover)?;
    }
    cover.assert(20);
    Ok(())
}
