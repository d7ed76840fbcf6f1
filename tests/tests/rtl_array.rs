//! The feeding of one cluster of the MAC array, cycle by cycle beside a model, with the cluster behind it.
//!
//! What was changed by hand to see these tests fail, and what failed:
//!
//! | change | seen in |
//! |---|---|
//! | a beat is taken a cycle after the one before is used up | `ready` |
//! | a beat's last pass comes first | sums |
//! | sums begin with each block | sums |
//! | the scale bytes move up behind second beats only, or in each pass | sums |
//! | the word goes on counting in the next weight block | sums |
//! | elements wait for the header alone | `ready` |
//! | a set too few is given back | `credit` |
//! | room is free a cycle later | `free` |
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "rtl_array/model.rs"]
mod model;
#[path = "rtl_array/weights.rs"]
mod weights;
#[path = "rtl_array/work.rs"]
mod work;

use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::MAC_LATENCY;
use fastcar_hw::array::{Feeder, Operands};
use fastcar_hw::pe::Cluster;
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Figures, Gaps, Random, Rtl, accept, hold, skipped};
use model::{Inputs, Model};
use std::collections::VecDeque;
use std::sync::Arc;
use weights::{lanes, pack};
use work::{Operand, Work};

/// A feeder and its cluster.
struct Fed {
    config: AccelConfig,
}

/// What goes from the one to the other.
const BETWEEN: [&str; 13] = [
    "valid", "beat", "scale", "scales", "advance", "fp4", "upper", "pass", "address", "enable", "first",
    "act", "base",
];

impl Block for Fed {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("fed_{}", self.config.fields().name));
        let feeder = m.instance("u_feeder", &Feeder::new(&self.config)?)?;
        let cluster = m.instance("u_cluster", &Cluster::new(&self.config)?)?;
        for name in BETWEEN {
            cluster.set(&format!("{name}_i"), feeder.get(&format!("{name}_o")));
        }
        let inner = |name: &str| BETWEEN.iter().any(|between| name.strip_suffix("_o") == Some(between));
        for port in feeder.module().ports() {
            match port.input {
                true => feeder.set(&port.name, m.input(&port.name, port.width)),
                false if inner(&port.name) => {}
                false => m.output(&port.name, feeder.get(&port.name)),
            }
        }
        for port in cluster.module().ports() {
            if port.name.starts_with("drain") {
                match port.input {
                    true => cluster.set(&port.name, m.input(&port.name, port.width)),
                    false => m.output(&port.name, cluster.get(&port.name)),
                }
            } else if port.input && !BETWEEN.contains(&port.name.trim_end_matches("_i")) {
                cluster.set(&port.name, m.constant(Bits::zero(port.width)));
            }
        }
        m.finish()
    }
}

/// How willing who gives beats, operands and products is, in percent: it changes now and then.
struct Mood {
    beats: [Gaps; 2],
    operands: Gaps,
    products: Gaps,
    drain: Gaps,
    turn: Gaps,
    /// Cycles for which it lasts.
    left: u64,
}

impl Mood {
    fn new(random: &mut Random) -> Self {
        let mut gaps = || Gaps::new([100, 100, 80, 30][random.below(4) as usize]);
        let [main, ahead, mut operands, products, drain, turn] = std::array::from_fn(|_| gaps());
        let mut left = 1 + random.below(400);
        if random.chance(20) {
            // Hardly any words, until all sets are used up.
            operands = Gaps::new(1);
            left += 8000;
        }
        Self { beats: [main, ahead], operands, products, drain, turn, left }
    }
}

/// A feeder with its cluster in Verilator, those who give it what it needs, and what has to come of it.
struct Bench {
    config: AccelConfig,
    feeder: Feeder,
    cluster: Cluster,
    dut: Rtl,
    random: Random,
    mood: Mood,
    cover: Cover,
    model: Model,
    /// Products that are made, not given; the next one's descriptor is shown.
    waiting: VecDeque<Work>,
    product_shown: bool,
    /// Given, not done.
    given: VecDeque<Work>,
    /// Beats of the streams to come; the first one is shown.
    beats: [VecDeque<(Vec<u8>, bool)>; 2],
    beat_shown: [bool; 2],
    operands: VecDeque<Operand>,
    credits: u32,
    /// Done, with the cycle from which on words may be asked for, and how many have been.
    done: VecDeque<(u64, Work, u64)>,
    answers: VecDeque<Option<Vec<Option<i64>>>>,
    /// Cycles that a beat occupied, and that one was missing.
    counted: [u64; 2],
}

const BINS: [&str; 20] = [
    "not its turn",
    "several passes",
    "passes change",
    "slots of different passes together",
    "a slot begins late",
    "a slot without a block",
    "nothing is streamed",
    "passed over",
    "rest of rows",
    "starved",
    "header late",
    "operands late",
    "scale bytes before operands",
    "no set is left",
    "product right behind another",
    "of the other stream",
    "queue full",
    "drained while beats come",
    "beat of one pass right behind another",
    "int8 behind fp4",
];

impl Bench {
    fn new(preset: &str, native: bool, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let config = AccelConfig::preset(preset)?;
        let module = Fed { config: config.clone() }.module()?;
        let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
        for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
            dut.set(&name, Bits::zero(width));
        }
        dut.reset();
        let (feeder, cluster) = (Feeder::new(&config)?, Cluster::new(&config)?);
        let mut random = Random::new(seed);
        Ok(Self {
            mood: Mood::new(&mut random),
            cover: Cover::new(&BINS),
            model: Model::new(Feeder::PRODUCTS as usize),
            waiting: VecDeque::new(),
            product_shown: false,
            given: VecDeque::new(),
            beats: Default::default(),
            beat_shown: [false; 2],
            operands: VecDeque::new(),
            credits: fastcar_hw::array::OPERAND_SETS,
            done: VecDeque::new(),
            answers: vec![None; cluster.drain_latency() as usize].into(),
            counted: [0; 2],
            config,
            feeder,
            cluster,
            dut,
            random,
        })
    }

    /// Makes another product if there are accumulators for it, and gives its beats and operands to those who bring them.
    fn make(&mut self) {
        let taken = self.waiting.iter().chain(&self.given).chain(self.done.iter().map(|d| &d.1));
        let taken: Vec<_> = taken.map(Work::words).collect();
        let Some(work) = Work::new(&mut self.random, &self.config, &self.cluster, &taken, &mut self.cover)
        else {
            return;
        };
        let stream = usize::from(work.ahead);
        let beats = work.beats();
        let beats = beats.iter().filter(|beat| !beat.none);
        self.beats[stream].extend(beats.map(|beat| (beat.bytes.clone(), beat.ends_burst)));
        self.operands.extend(work.operands(&self.feeder.operands()));
        self.waiting.push_back(work);
    }

    /// The operand word that comes in this cycle.
    fn next_operand(&mut self) -> Option<Operand> {
        let word = self.operands.front()?;
        self.cover.hit("no set is left", word.sets > self.credits);
        if word.sets > self.credits || !self.mood.operands.next(&mut self.random) {
            return None;
        }
        self.credits -= word.sets;
        self.operands.pop_front()
    }

    fn inputs(&mut self) -> Inputs {
        self.product_shown |= !self.waiting.is_empty() && self.mood.products.next(&mut self.random);
        for stream in 0..2 {
            let gives = self.mood.beats[stream].next(&mut self.random);
            self.beat_shown[stream] |= !self.beats[stream].is_empty() && gives;
        }
        let product = self.waiting.front().filter(|_| self.product_shown);
        let product = product.map(|work| (work.ahead, work.beats()));
        let turn = self.mood.turn.next(&mut self.random);
        Inputs { product, beats: self.beat_shown, operand: self.next_operand(), turn }
    }

    fn drive(&mut self, inputs: &Inputs) {
        let dut = &mut self.dut;
        dut.set("turn_i", inputs.turn);
        dut.set("product_valid_i", inputs.product.is_some());
        if let Some(work) = self.waiting.front() {
            dut.set("product_data_i", work.descriptor(&self.feeder));
        }
        for (stream, name) in ["main", "ahead"].into_iter().enumerate() {
            dut.set(&format!("{name}_beat_valid_i"), inputs.beats[stream]);
            if let Some((bytes, last)) = self.beats[stream].front() {
                let bytes = Bits::from_bytes(8 * bytes.len() as u32, bytes);
                dut.set(&format!("{name}_beat_data_i"), pack([bytes, Bits::from_u64(1, (*last).into())]));
            }
        }
        dut.set("operand_valid_i", inputs.operand.is_some());
        if let Some(operand) = &inputs.operand {
            dut.set("operand_header_i", operand.is_header());
            dut.set("operand_data_i", operand.bits.clone());
        }
    }

    fn check(&mut self, expected: &model::Outputs) {
        let (at, dut) = (self.model.cycle, &mut self.dut);
        let same = |dut: &mut Rtl, name: &str, value: bool| {
            assert_eq!(dut.is_set(name), value, "{name}, cycle {at}")
        };
        same(dut, "product_ready_o", expected.product_ready);
        for (stream, name) in ["main", "ahead"].into_iter().enumerate() {
            same(dut, &format!("{name}_beat_ready_o"), expected.ready[stream]);
            let free = expected.free.filter(|free| usize::from(free.0) == stream);
            same(dut, &format!("{name}_free_o"), free.is_some());
            if let Some((_, last)) = free {
                same(dut, &format!("{name}_free_last_o"), last);
            }
        }
        assert_eq!(dut.get("credit_o"), u64::from(expected.credit), "cycle {at}");
        same(dut, "done_o", expected.done);
        same(dut, "over_o", expected.over);
        same(dut, "free_o", expected.unused);
        same(dut, "busy_o", expected.busy);
        same(dut, "starved_o", expected.starved);
        self.counted[0] += u64::from(dut.is_set("busy_o"));
        self.counted[1] += u64::from(dut.is_set("starved_o"));
    }

    /// Asks for a word of what is done, and looks at the one that comes.
    fn drain(&mut self) {
        let now = self.model.cycle;
        let expected = self.answers.pop_front().flatten();
        assert_eq!(self.dut.is_set("drain_valid_o"), expected.is_some(), "cycle {now}");
        if let Some(expected) = expected {
            let found = lanes(&self.dut.bits("drain_sum_o"), 48);
            for (lane, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert!(
                    expected.is_none_or(|e| e == *found),
                    "cycle {now}, lane {lane}: {found} for {expected:?}"
                );
            }
        }
        let willing = self.mood.drain.next(&mut self.random);
        let Some((_, work, asked)) = self.done.front_mut().filter(|done| done.0 <= now && willing) else {
            self.dut.set("drain_valid_i", false);
            self.answers.push_back(None);
            return;
        };
        let words = work.words();
        self.dut.set("drain_valid_i", true);
        self.dut.set("drain_address_i", words.start + *asked);
        self.answers.push_back(Some(work.sums(*asked, u64::from(self.cluster.rows()))));
        *asked += 1;
        if words.start + *asked == words.end {
            self.done.pop_front();
        }
    }

    fn cycle(&mut self, more: bool) {
        if more && self.waiting.len() < 20 && self.beats.iter().all(|beats| beats.len() < 4000) {
            self.make();
        }
        self.mood.left -= 1;
        if self.mood.left == 0 {
            self.mood = Mood::new(&mut self.random);
        }
        let inputs = self.inputs();
        self.drive(&inputs);
        self.drain();
        let expected = self.model.predict(&inputs, &mut self.cover);
        self.check(&expected);
        if expected.product_ready && inputs.product.is_some() {
            self.given.push_back(self.waiting.pop_front().unwrap());
            self.product_shown = false;
        }
        if let Some(stream) = expected.taken {
            self.beats[stream].pop_front();
            self.beat_shown[stream] = false;
            self.cover.hit("drained while beats come", self.answers.back().is_some_and(Option::is_some));
        }
        self.credits += expected.credit;
        if expected.done {
            let work = self.given.pop_front().unwrap();
            self.done.push_back((self.model.cycle + MAC_LATENCY, work, 0));
        }
        self.dut.tick();
        self.model.cycle += 1;
    }

    /// Products for so many cycles, and until all are over.
    fn run(&mut self, cycles: u64) {
        (0..cycles).for_each(|_| self.cycle(true));
        let mut left = 200_000;
        let open =
            |b: &Self| b.waiting.len() + b.given.len() + b.done.len() + b.answers.iter().flatten().count();
        while open(self) > 0 {
            self.cycle(false);
            left -= 1;
            assert!(left > 0, "stuck: {} wait, {} are under way", self.waiting.len(), self.given.len());
        }
        assert_eq!(self.credits, fastcar_hw::array::OPERAND_SETS, "sets are lost");
        assert_eq!(self.counted, self.model.counted);
        assert!(self.beats.iter().all(VecDeque::is_empty) && self.operands.is_empty());
    }
}

fn fed(preset: &str, cycles: u64, seed: u64) -> TestResult {
    let mut bench = Bench::new(preset, false, seed)?;
    bench.run(cycles);
    // A group of 16 bytes' rows has no rest.
    let rest = bench.config.beat().get() > 16;
    bench.cover.hit("rest of rows", !rest);
    bench.cover.assert(1);
    Ok(())
}

#[test]
fn feeders_of_two_passes_keep_their_cycles_and_sums() -> TestResult {
    if skipped() {
        return Ok(());
    }
    Bench::new("tiny", true, 1)?.run(6000);
    fed("tiny", 60_000, 2)
}

#[test]
fn feeders_of_four_passes_keep_their_cycles_and_sums() -> TestResult {
    if skipped() {
        return Ok(());
    }
    fed("edge", 150_000, 3)
}

#[test]
fn feeders_of_64_byte_beats_keep_their_cycles_and_sums() -> TestResult {
    if skipped() {
        return Ok(());
    }
    fed("u55c", 40_000, 4)
}

/// `cargo test --release -p fastcar-tests --test rtl_array -- --ignored`
#[test]
#[ignore = "ten million cycles"]
fn feeders_in_the_long_run() -> TestResult {
    if skipped() {
        return Ok(());
    }
    fed("edge", 10_000_000, 5)
}

const PRESETS: [&str; 3] = ["tiny", "edge", "u55c"];

fn of_presets<B: Block>(
    new: impl Fn(&AccelConfig) -> Result<B, RtlError>,
) -> Result<Vec<Arc<Module>>, Box<dyn std::error::Error>> {
    PRESETS.iter().map(|preset| Ok(new(&AccelConfig::preset(preset)?)?.module()?)).collect()
}

#[test]
fn feeders_are_accepted() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for module in of_presets(Feeder::new)? {
        accept(&emit(&module)?)?;
    }
    Ok(())
}

/// The most levels of look-up tables between registers.
const MOST_LEVELS: u32 = 8;

#[test]
fn synthesis_is_as_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for (name, modules) in
        [("array_operands", of_presets(Operands::new)?), ("array_feeder", of_presets(Feeder::new)?)]
    {
        hold(name, &modules)?;
        for module in modules {
            let figures = Figures::of(&module)?;
            assert!(figures.levels <= MOST_LEVELS, "{}: {figures:?}", module.name());
        }
    }
    Ok(())
}
