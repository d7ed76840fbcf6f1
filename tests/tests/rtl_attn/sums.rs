//! What channels agree upon, and weighted sums of values on their way to the vector unit, beside a model.

use super::scores::pack;
use super::{Cover, Random, Rtl, TestResult, skipped};
use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_arch::timing::{HEADS_UNDER_WAY, HOP, attn_latency, value_words};
use fastcar_hw::attn::sums::Round;
use fastcar_hw::attn::weights::TOTAL;
use fastcar_hw::attn::{Agreement, NAN, Shape, Sums, WORD};
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError};
use fastcar_hw::walk::heads::CacheSizes;
use std::collections::VecDeque;
use std::sync::Arc;

const LINE: u64 = 32;
const SUM: u32 = 48;
/// Cycles from the order to send sums of weights to their first word in the middle.
const TOTALS: u64 = 2 * HOP + 2;

pub fn config(
    channels: u32,
    columns: u32,
    beat: u32,
    lanes: u32,
) -> Result<AccelConfig, Box<dyn std::error::Error>> {
    let fields = AccelConfig::preset("edge")?.fields().clone();
    let sizes = ConfigFields { channels, columns, beat_bytes: beat, vector_lanes: lanes, ..fields };
    Ok(AccelConfig::new(ConfigFields { name: format!("c{channels}_b{beat}"), acc_rows: 1024, ..sizes })?)
}

/// Both blocks, and a round in fields.
struct Driven(AccelConfig);

impl Block for Driven {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("driven_sums_{}", self.0.name()));
        let (sums, sizes) = (Sums::new(&self.0)?, CacheSizes::new(&self.0));
        let words = value_words(&self.0).ilog2();
        let round = Round {
            last_query: m.input("last_query_i", sums.query_bits()),
            last_line: m.input("last_line_i", 5),
            last_head: m.input("last_head_i", sizes.lane()),
            share: m.input("round_share_i", sizes.share()),
            first_line: m.input("first_line_i", sums.line_bits()),
            head_lines: m.input("head_lines_i", sums.line_bits()),
            address: m.input("address_i", words),
        };
        let sums = m.instance("u_sums", &sums)?;
        let agreement = m.instance("u_agreement", &Agreement::new(&self.0)?)?;
        sums.set("round_i", round.word(&m));
        let start = m.input("start_i", 1);
        for unit in [&sums, &agreement] {
            unit.set("start_i", start);
        }
        for name in ["tokens_round", "ask_round", "ask_pass", "ask_pair", "ask_channel"] {
            agreement.set(&format!("{name}_i"), sums.get(&format!("{name}_o")));
        }
        for name in ["tokens", "scale", "nan", "none", "total"] {
            sums.set(&format!("{name}_i"), agreement.get(&format!("{name}_o")));
        }
        let inner = ["round_i", "start_i", "tokens", "ask_", "scale_", "nan_", "none_", "total_"];
        for (unit, of) in [(&sums, sums.module()), (&agreement, agreement.module())] {
            for port in of.ports() {
                match (inner.iter().any(|inner| port.name.starts_with(inner)), port.input) {
                    (true, _) => {}
                    (false, true) => unit.set(&port.name, m.input(&port.name, port.width)),
                    (false, false) => m.output(&port.name, unit.get(&port.name)),
                }
            }
        }
        m.finish()
    }
}

/// A round of heads.
#[derive(Clone, Debug)]
struct Task {
    heads: u64,
    share: u64,
    group: u64,
    lines: u64,
    first_line: u64,
    address: u64,
    /// By channel: the scale; by channel, pass and pair: the largest score, the sum of weights.
    scales: Vec<u64>,
    words: Vec<Vec<Vec<u64>>>,
    totals: Vec<Vec<Vec<u64>>>,
    /// When the clusters are through with it.
    through: Option<u64>,
    /// Nothing else was in its way then.
    alone: bool,
}

struct Bench {
    config: AccelConfig,
    dut: Rtl,
    random: Random,
    pairs: u64,
    /// Rounds that are armed, the oldest first, of which so many begun; the part under way, and when it began.
    tasks: VecDeque<Task>,
    begun: Option<u64>,
    /// Since when the part behind the last may begin.
    rested: u64,
    taken: u64,
    /// What is sent: largest words and sums of weights, with their cycles; answers to requests.
    words: VecDeque<(u64, Vec<u64>)>,
    totals: VecDeque<(u64, Vec<u64>)>,
    answers: VecDeque<(u64, Vec<u64>)>,
    /// The scale of the round whose words are sent has gone.
    opened: bool,
    address: u64,
    share: u64,
}

/// Any number that depends on where it is.
fn sum(channel: u64, place: [u64; 3]) -> u64 {
    let seed = place.iter().fold(channel, |seed, part| seed * 4099 + part);
    (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 9) & ((1 << SUM) - 1)
}

impl Bench {
    const BINS: [&str; 8] = [
        "as soon as may be",
        "late",
        "back to back",
        "several under way",
        "shared",
        "no token",
        "NaN",
        "several passes",
    ];

    fn new(config: AccelConfig, native: bool, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let module = Driven(config.clone()).module()?;
        let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
        for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
            dut.set(&name, Bits::zero(width));
        }
        dut.reset();
        let pairs = u64::from(Shape::of(&config)?.pairs());
        Ok(Self {
            config,
            dut,
            random: Random::new(seed),
            pairs,
            tasks: VecDeque::new(),
            begun: None,
            rested: 0,
            taken: 0,
            words: VecDeque::new(),
            totals: VecDeque::new(),
            answers: VecDeque::new(),
            opened: false,
            address: 0,
            share: 1,
        })
    }

    fn channels(&self) -> u64 {
        self.config.channels().into()
    }

    fn bytes(&self) -> u64 {
        self.config.beat().get()
    }

    fn value_words(&self) -> u64 {
        value_words(&self.config).into()
    }

    fn passes(&self, task: &Task) -> u64 {
        task.group.div_ceil(self.pairs)
    }

    /// Words of the sums of values that a round takes.
    fn need(&self, group: u64, lines: u64) -> u64 {
        group.div_ceil(self.pairs) * (lines * LINE).div_ceil(self.bytes())
    }

    fn any(&mut self) -> Task {
        let channels = self.channels();
        let random = &mut self.random;
        let fewer = random.chance(50);
        let kv_heads = 1 + random.below(channels);
        let (mut heads, mut share) = if fewer { (kv_heads, channels / kv_heads) } else { (kv_heads, 1) };
        // Only another command has another share: it begins when the array is through with this one.
        if self.tasks.iter().any(|task| task.through.is_none()) {
            heads = if self.share > 1 { channels / self.share } else { heads };
            share = self.share;
        }
        self.share = share;
        let group = [1, 1, 2, 1 + random.below(6)][random.below(4) as usize];
        let mut lines = [1, 1, 2, 4, 3][random.below(5) as usize];
        if !(lines * LINE).is_multiple_of(self.bytes()) {
            lines = 1;
        }
        let random = &mut self.random;
        let first_line = random.below(128);
        let mut task = Task {
            heads,
            share,
            group,
            lines,
            first_line,
            address: self.address,
            scales: (0..channels).map(|_| random.below(256)).collect(),
            words: Vec::new(),
            totals: Vec::new(),
            through: None,
            alone: false,
        };
        let passes = self.passes(&task);
        for _ in 0..channels {
            let empty = self.random.chance(25);
            let word = |random: &mut Random| match random.below(8) {
                _ if empty => 0,
                0 => NAN,
                _ => 1 + random.below(1 << 16),
            };
            let all = |random: &mut Random| -> Vec<Vec<u64>> {
                (0..passes).map(|_| (0..self.pairs).map(|_| word(random)).collect()).collect()
            };
            task.words.push(all(&mut self.random));
            let random = &mut self.random;
            let total = |random: &mut Random| random.bits(TOTAL - 5).to_u64().unwrap();
            let totals = (0..passes).map(|_| (0..self.pairs).map(|_| total(random)).collect()).collect();
            task.totals.push(totals);
        }
        task
    }

    /// Gives a round's words, and arms its values some time later.
    fn arm(&mut self, cover: &mut Cover) {
        let now = self.dut.cycle();
        let settled = self.words.is_empty() && self.totals.is_empty();
        let used: u64 = self.tasks.iter().map(|task| self.need(task.group, task.lines)).sum();
        self.dut.set("round_valid_i", false);
        // Busy times and lazy ones.
        let often = if (now / 1000).is_multiple_of(2) { 10 } else { 1 };
        if !settled || self.tasks.len() >= HEADS_UNDER_WAY || !self.random.chance(often) {
            return;
        }
        let task = self.any();
        let need = self.need(task.group, task.lines);
        if used + need > self.value_words() {
            return;
        }
        cover.hit("several under way", self.tasks.len() > 1);
        cover.hit("shared", task.share > 1);
        cover.hit("several passes", self.passes(&task) > 1);
        self.address = (self.address + need) % self.value_words();
        // The share is known two cycles before.
        let shares = CacheSizes::new(&self.config).shares();
        let share = shares.iter().position(|&share| u64::from(share) == task.share).unwrap() as u64;
        self.dut.set("share_i", share);
        let (channels, pairs) = (self.channels(), self.pairs);
        let flat = |of: &dyn Fn(u64, u64) -> u64| -> Vec<u64> {
            (0..channels).flat_map(|c| (0..pairs).map(move |p| (c, p))).map(|(c, p)| of(c, p)).collect()
        };
        self.words.push_back((now + 3, flat(&|c, _| task.scales[c as usize])));
        for pass in 0..self.passes(&task) {
            let words = flat(&|c, p| task.words[c as usize][pass as usize][p as usize]);
            self.words.push_back((now + 4 + pass, words));
        }
        for (name, value) in [
            ("last_query", task.group - 1),
            ("last_line", task.lines - 1),
            ("last_head", task.heads - 1),
            ("round_share", share),
            ("first_line", task.first_line),
            ("head_lines", task.group * task.lines),
            ("address", task.address),
        ] {
            self.dut.set(&format!("{name}_i"), value);
        }
        self.dut.set("round_valid_i", true);
        self.tasks.push_back(task);
    }

    /// The clusters are through with the oldest round that they are not through with.
    fn end(&mut self) {
        let now = self.dut.cycle();
        let settled = self.words.is_empty() && self.totals.is_empty();
        let next = self.tasks.iter().position(|task| task.through.is_none());
        let ends = settled && next.is_some() && self.random.chance(6);
        self.dut.set("through_i", ends);
        let Some(at) = next.filter(|_| ends) else { return };
        self.tasks[at].through = Some(now);
        self.tasks[at].alone = at == 0 && self.begun.is_none();
        let task = self.tasks[at].clone();
        for pass in 0..self.passes(&task) {
            let of = |c: u64, p: u64| task.totals[c as usize][pass as usize][p as usize];
            let all = (0..self.channels()).flat_map(|c| (0..self.pairs).map(move |p| (c, p)));
            self.totals.push_back((now + 1 + TOTALS + pass, all.map(|(c, p)| of(c, p)).collect()));
        }
    }

    /// What was sent and asked for comes.
    fn give(&mut self) {
        let now = self.dut.cycle();
        let due =
            |queue: &mut VecDeque<(u64, Vec<u64>)>| queue.pop_front_if(|due| due.0 == now).map(|due| due.1);
        let words = due(&mut self.words);
        self.dut.set("words_valid_i", words.is_some());
        // The scale comes before all scores.
        self.dut.set("words_first_i", words.is_some() && !self.opened);
        if let Some(words) = words {
            self.opened = !self.words.is_empty();
            self.dut.set("words_i", pack(words.into_iter().map(|word| Bits::from_u64(WORD, word))));
        }
        let totals = due(&mut self.totals);
        self.dut.set("totals_valid_i", totals.is_some());
        if let Some(totals) = totals {
            self.dut.set("totals_i", pack(totals.into_iter().map(|total| Bits::from_u64(TOTAL, total))));
        }
        let sums = due(&mut self.answers);
        self.dut.set("sum_valid_i", sums.is_some());
        if let Some(sums) = sums {
            self.dut.set("sums_i", pack(sums.into_iter().map(|sum| Bits::from_u64(SUM, sum))));
        }
        if self.dut.is_set("request_valid_o") {
            let place = ["address", "pair", "byte"].map(|name| self.dut.get(&format!("request_{name}_o")));
            let sums = (0..self.channels()).map(|c| sum(c, place)).collect();
            self.answers.push_back((now + u64::from(Sums::ROUND_TRIP), sums));
        }
    }
}

/// What the vector unit has to get with a group.
#[derive(PartialEq, Eq, Debug)]
struct Given {
    data: Vec<u64>,
    number: u64,
    scale: u64,
    nan: bool,
    none: bool,
    total: u64,
}

impl Bench {
    /// The group of a part: so many heads, and groups in a line.
    fn expected(&self, task: &Task, line: u64, head: u64, group: u64) -> Given {
        let lanes = u64::from(self.config.vector_lanes());
        let (query, own) = (line / task.lines, line % task.lines);
        let (pass, pair) = (query / self.pairs, query % self.pairs);
        let channels: Vec<u64> =
            (head * task.share..((head + 1) * task.share).min(self.channels())).collect();
        let parts = (task.lines * LINE).div_ceil(self.bytes());
        let word = |lane: u64| {
            let place = own * LINE + group * lanes + lane;
            let address = (task.address + pass * parts + place / self.bytes()) % self.value_words();
            let of = |&c: &u64| {
                let some = task.words[c as usize][0][0] != 0;
                if some { sum(c, [address, pair, place % self.bytes()]) } else { 0 }
            };
            channels.iter().map(of).sum::<u64>() & ((1 << SUM) - 1)
        };
        let at = |all: &[Vec<Vec<u64>>], c: u64| all[c as usize][pass as usize][pair as usize];
        let largest = channels.iter().map(|&c| at(&task.words, c)).max().unwrap();
        let total: u64 = channels.iter().map(|&c| at(&task.totals, c)).sum();
        let lines = task.first_line + line + head * task.group * task.lines;
        Given {
            data: (0..lanes).map(word).collect(),
            number: lines * (LINE / lanes) + group,
            scale: channels.iter().map(|&c| task.scales[c as usize]).max().unwrap(),
            nan: largest == NAN,
            none: largest == 0,
            total,
        }
    }

    fn found(&mut self) -> Given {
        let (lanes, data) = (self.config.vector_lanes(), self.dut.bits("group_data_o"));
        Given {
            data: (0..lanes).map(|lane| data.slice(lane * SUM, SUM).to_u64().unwrap()).collect(),
            number: self.dut.get("group_number_o"),
            scale: self.dut.get("group_scale_o"),
            nan: self.dut.is_set("group_nan_o"),
            none: self.dut.is_set("group_none_o"),
            total: self.dut.get("group_total_o"),
        }
    }

    /// The vector unit: begins parts, and takes their groups when they may be taken.
    fn take(&mut self, lazy: bool, cover: &mut Cover) {
        let now = self.dut.cycle();
        let Some(task) = self.tasks.front().cloned() else {
            assert!(!self.dut.is_set("ready_o"), "cycle {now}");
            return;
        };
        let groups = LINE / u64::from(self.config.vector_lanes());
        let earliest = task.through.map(|at| (at + attn_latency(&self.config) - HOP).max(self.rested));
        let ready = self.dut.is_set("ready_o");
        if self.begun.is_none() {
            assert!(!ready || earliest.is_some_and(|at| at <= now), "too early in cycle {now}");
            // Nothing else was in its way.
            let alone = task.alone && earliest == Some(now);
            cover.hit("as soon as may be", alone);
            assert!(ready || !alone, "too late in cycle {now}");
            let begins = ready && (!lazy || self.random.chance(1));
            cover.hit("late", begins && earliest.is_some_and(|at| at + 100 < now));
            self.dut.set("begin_i", begins);
            if ready {
                assert_eq!(self.dut.get("lines_o"), task.heads * task.group * task.lines, "cycle {now}");
            }
            if begins {
                (self.begun, self.taken) = (Some(now), 0);
                self.rested = now + LINE * task.group * task.lines;
            }
        } else {
            assert!(!ready, "cycle {now}");
            self.dut.set("begin_i", false);
        }
        let Some(begun) = self.begun else {
            self.dut.set("group_ready_i", false);
            return;
        };
        self.dut.set("group_ready_i", true);
        let of_line = task.heads * groups;
        let (line, rest) = (self.taken / of_line, self.taken % of_line);
        let due = now >= begun + LINE * line && line < task.group * task.lines;
        assert_eq!(self.dut.is_set("group_valid_o"), due, "group {} of {task:?} in cycle {now}", self.taken);
        if !due {
            return;
        }
        let expected = self.expected(&task, line, rest / groups, rest % groups);
        cover.hit("no token", expected.none);
        cover.hit("NaN", expected.nan);
        assert_eq!(self.found(), expected, "group {} of {task:?} in cycle {now}", self.taken);
        self.taken += 1;
        if self.taken == of_line * task.group * task.lines {
            self.tasks.pop_front();
            self.begun = None;
            cover.hit("back to back", self.tasks.front().is_some_and(|task| task.through.is_some()));
        }
    }

    fn run(&mut self, cycles: u64, cover: &mut Cover) {
        for cycle in 0..cycles {
            // Times in which the vector unit has much else to do.
            let lazy = cycle / 2000 % 2 == 1;
            self.arm(cover);
            self.end();
            self.give();
            self.take(lazy, cover);
            self.dut.tick();
        }
    }
}

#[test]
fn sums_of_values_come_in_groups() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut cover = Cover::new(&Bench::BINS);
    Bench::new(config(2, 2, 16, 4)?, true, 1)?.run(1500, &mut Cover::new(&Bench::BINS));
    for (channels, columns, beat, lanes) in [(1, 2, 16, 4), (4, 4, 64, 16), (4, 1, 32, 32)] {
        Bench::new(config(channels, columns, beat, lanes)?, false, 2)?.run(24_000, &mut cover);
    }
    cover.assert(20);
    Ok(())
}
