//! Arithmetic of one cluster of the MAC array: products and block sums, window terms, accumulators, and all of them
//! together.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "rtl_array/weights.rs"]
mod weights;

use fastcar_arch::config::{AccelConfig, ROW_GRANULE};
use fastcar_arch::isa::WeightFormat;
use fastcar_arch::layout::{KvLayout, WeightLayout};
use fastcar_arch::num::dot::{dot_fp4, dot_int8};
use fastcar_arch::num::mx::{BLOCK, E8M0, Int8Block};
use fastcar_arch::num::window::term;
use fastcar_arch::timing::MAC_LATENCY;
use fastcar_hw::pe::{Accumulators, BlockDot, Cluster, DotShape, WindowTerm};
use fastcar_hw::rtl::{Bits, Block, Module, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Figures, Gaps, Random, Rtl, accept, gather, hold, skipped};
use std::collections::VecDeque;
use std::sync::Arc;
use weights::{Chunk, act, act_bits, base_of, block, bytes, lanes, pack, scale};

/// A softmax weight: none, all, or any.
fn weight(random: &mut Random) -> u32 {
    match random.below(4) {
        0 => 1 << 24,
        1 => random.below(3) as u32,
        _ => random.below((1 << 24) + 1) as u32,
    }
}

/// For one pair of columns.
fn shape(bytes: u32, passes: u32, code_multipliers: u32, value_words: u32) -> DotShape {
    DotShape { bytes, pairs: 1, passes, code_multipliers, value_words }
}

/// Words of the sums of values here.
const VALUE_WORDS: u32 = 5;

/// The sums of values, as the documentation of `BlockDot` has them.
struct ValueModel {
    words: Vec<Option<Vec<i64>>>,
    /// The word that a beat of values changed: the last cycles, the latest first.
    recent: VecDeque<Option<usize>>,
    /// What questions will be answered: nothing where it is anything.
    answers: VecDeque<Option<Option<Vec<i64>>>>,
}

impl ValueModel {
    fn new(dot: &BlockDot) -> Self {
        Self {
            words: vec![None; VALUE_WORDS as usize],
            recent: vec![None; dot.value_latency() as usize].into(),
            answers: vec![None; dot.drain_latency() as usize].into(),
        }
    }

    /// A cycle: the products of a beat, if it is one of values, and the question.
    fn cycle(&mut self, s: &DotStimulus, products: Option<Vec<i64>>) {
        // The beat of one cycle less than the latency ago is in some sums.
        let newest = self.recent.iter().take(self.recent.len() - 1);
        let unsettled = |word| newest.clone().any(|changed| *changed == Some(word));
        self.answers.push_back(s.asked.map(|word| self.words[word].clone().filter(|_| !unsettled(word))));
        let mut changed = None;
        if let Some(products) = products.filter(|_| s.enable) {
            changed = Some(s.word);
            let word = &mut self.words[s.word];
            let old = word.take().filter(|_| !s.first).unwrap_or_else(|| vec![0; products.len()]);
            *word = Some(old.iter().zip(products).map(|(old, p)| (old + p) << 16 >> 16).collect());
        }
        self.recent.push_front(changed);
        self.recent.pop_back();
    }
}

/// The block sums of a beat, as the documentation of `BlockDot` has it.
struct DotModel {
    prefix: &'static str,
    dot: BlockDot,
    size: usize,
    held: Vec<Option<[i32; 2]>>,
    sums: VecDeque<Option<Vec<i64>>>,
    values: ValueModel,
}

/// What all units are given in a cycle; smaller ones take the first part.
struct DotStimulus {
    valid: bool,
    fp4: bool,
    upper: bool,
    axpy: bool,
    pass: usize,
    beat: Vec<u8>,
    /// By column and group.
    acts: [[[i8; BLOCK]; 2]; 2],
    weights: [u32; 2],
    word: usize,
    enable: bool,
    first: bool,
    asked: Option<usize>,
}

impl DotStimulus {
    fn random(random: &mut Random, valid: bool, values: bool) -> Self {
        let axpy = random.chance(if values { 70 } else { 10 });
        let words = if random.chance(50) { 2 } else { VALUE_WORDS.into() };
        let mut word = || random.below(words) as usize;
        let (word, asked) = (word(), word());
        Self {
            valid,
            fp4: !axpy && random.chance(50),
            upper: random.chance(50),
            axpy,
            pass: random.below(4) as usize,
            beat: bytes(random, 64),
            acts: std::array::from_fn(|_| std::array::from_fn(|_| block(random))),
            weights: std::array::from_fn(|_| weight(random)),
            word,
            enable: random.chance(80),
            first: random.chance(20),
            asked: random.chance(70).then_some(asked),
        }
    }

    /// Every lane with the same byte and the same activation.
    fn uniform(fp4: bool, upper: bool, byte: u8, act: i8, random: &mut Random) -> Self {
        let acts = [[[act; BLOCK]; 2], [[random.word() as i8; BLOCK]; 2]];
        let mut all = Self { fp4, upper, axpy: false, pass: 0, acts, ..Self::random(random, true, false) };
        all.beat = vec![byte; 64];
        all
    }
}

impl DotModel {
    fn new(prefix: &'static str, size: u32, multipliers: u32) -> Self {
        let dot = BlockDot::new(shape(size, 4, multipliers, VALUE_WORDS)).unwrap();
        let sums = (0..dot.latency()).map(|_| None).collect();
        Self { prefix, dot, size: size as usize, held: vec![None; 4], sums, values: ValueModel::new(&dot) }
    }

    fn block_sum(&self, s: &DotStimulus, column: usize, row: usize) -> i64 {
        let groups = self.dot.groups() as usize;
        if s.fp4 {
            let codes = s.beat[row * 16..][..16].try_into().unwrap();
            return dot_fp4(codes, &s.acts[column][row / 2 % groups]).into();
        }
        let group = row % groups;
        let elements: [i8; BLOCK] = std::array::from_fn(|i| s.beat[group * BLOCK + i] as i8);
        dot_int8(&elements, &s.acts[column][group]).into()
    }

    /// The sum of the second half with the held first one; or none, and the first half is held.
    fn half(&mut self, s: &DotStimulus, upper: bool) -> Option<Vec<i64>> {
        let sums = [0, 1].map(|column: usize| {
            let acts = &s.acts[column][0][16 * usize::from(upper)..][..16];
            s.beat[..16].iter().zip(acts).map(|(&w, &a)| i32::from(w as i8) * i32::from(a)).sum::<i32>()
        });
        if !upper {
            self.held[s.pass] = Some(sums);
            return None;
        }
        let held = self.held[s.pass].unwrap();
        Some(vec![i64::from(held[0] + sums[0]), i64::from(held[1] + sums[1])])
    }

    fn drive(&mut self, dut: &mut Rtl, s: &DotStimulus) {
        let (prefix, groups) = (self.prefix, self.dot.groups() as usize);
        // A second half comes after a first one, and a word begins before it goes on.
        let upper = s.upper && self.held[s.pass].is_some();
        let first = s.first || self.values.words[s.word].is_none();
        let mut set = |name: &str, value: Bits| dut.set(&format!("{prefix}_{name}_i"), value);
        let bit = |bit: bool| Bits::from_u64(1, bit.into());
        set("valid", bit(s.valid));
        set("fp4", bit(s.fp4));
        set("axpy", bit(s.axpy));
        set("enable", bit(s.enable));
        set("first", bit(first));
        set("beat", Bits::from_bytes(8 * self.size as u32, &s.beat[..self.size]));
        let acts = s.acts.iter().flat_map(|column| &column[..groups]);
        set("act", pack(acts.map(|act| Bits::from_bytes(256, &act.map(|a| a as u8)))));
        set("weight", pack(s.weights[..groups].iter().map(|&w| Bits::from_u64(25, w.into()))));
        let word = |word: usize| Bits::from_u64(self.dot.value_address_width(), word as u64);
        set("address", word(s.word));
        set("value_valid", bit(s.asked.is_some()));
        set("value_address", word(s.asked.unwrap_or(0)));
        if self.dot.halves() {
            set("upper", bit(upper));
            set("pass", Bits::from_u64(2, s.pass as u64));
        }
        let sums = if !s.valid || s.axpy {
            None
        } else if self.dot.halves() && !s.fp4 {
            self.half(s, upper)
        } else {
            let rows = self.dot.rows() as usize;
            Some((0..2 * rows).map(|lane| self.block_sum(s, lane / rows, lane % rows)).collect())
        };
        self.sums.push_back(sums);
    }

    /// Checks this cycle's outputs; returns the sums.
    fn check(&mut self, dut: &mut Rtl, s: &DotStimulus, at: &str) -> Option<Vec<i64>> {
        let prefix = self.prefix;
        let expected = self.sums.pop_front().flatten();
        assert_eq!(dut.is_set(&format!("{prefix}_valid_o")), expected.is_some(), "{prefix}, {at}");
        if let Some(expected) = &expected {
            assert_eq!(&lanes(&dut.bits(&format!("{prefix}_sum_o")), 21), expected, "{prefix}, {at}");
        }
        let answer = self.values.answers.pop_front().flatten();
        assert_eq!(dut.is_set(&format!("{prefix}_value_valid_o")), answer.is_some(), "{prefix}, {at}");
        if let Some(answer) = answer.flatten() {
            assert_eq!(lanes(&dut.bits(&format!("{prefix}_value_sum_o")), 48), answer, "{prefix}, {at}");
        }
        let product = |(i, &b): (usize, &u8)| i64::from(s.weights[i / BLOCK]) * i64::from(b as i8);
        let products = s.beat[..self.size].iter().enumerate().map(product).collect();
        self.values.cycle(s, (s.valid && s.axpy).then_some(products));
        expected
    }
}

/// Beats of all sizes, with DSP blocks for all, some and none of the other codes.
fn dots() -> Vec<DotModel> {
    vec![
        DotModel::new("a16", 16, 16),
        DotModel::new("n16", 16, 0),
        DotModel::new("s32", 32, 7),
        DotModel::new("s64", 64, 14),
        DotModel::new("n64", 64, 0),
    ]
}

struct DotBench {
    dut: Rtl,
    models: Vec<DotModel>,
    cover: Cover,
}

impl DotBench {
    fn new(native: bool) -> Result<Self, Box<dyn std::error::Error>> {
        let models = dots();
        let parts: Vec<_> = models.iter().map(|model| (model.prefix, model.dot.module().unwrap())).collect();
        let module = gather("block_dots", &parts)?;
        let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
        dut.reset();
        let cover = Cover::new(&[
            "largest",
            "smallest",
            "largest codes",
            "gap",
            "axpy",
            "weight of one",
            "held",
            "word again at once",
            "word again after one",
            "word asked for",
            "word asked for as early as it is settled",
            "word asked for among beats",
        ]);
        Ok(Self { dut, models, cover })
    }

    fn cycle(&mut self, s: &DotStimulus, at: &str) {
        for model in &mut self.models {
            model.drive(&mut self.dut, s);
            let (answers, recent) = (&model.values.answers, &model.values.recent);
            let changed = |cycles: usize| s.valid && s.axpy && s.enable && recent[cycles] == Some(s.word);
            self.cover.hit("word again at once", changed(0));
            self.cover.hit("word again after one", changed(1) && !changed(0));
            let known = answers.back().is_some_and(|a| a.as_ref().is_some_and(Option::is_some));
            let among = recent.iter().all(Option::is_some);
            self.cover.hit("word asked for among beats", known && among);
            let settled = recent[recent.len() - 1];
            self.cover.hit("word asked for", known);
            let early = settled.is_some() && s.asked == settled;
            let again = recent.iter().take(recent.len() - 1).any(|changed| *changed == settled);
            self.cover.hit("word asked for as early as it is settled", early && !again);
            let sums = model.check(&mut self.dut, s, at).unwrap_or_default();
            self.cover.hit("largest", sums.contains(&(1 << 19)));
            self.cover.hit("smallest", sums.contains(&(-128 * 127 * BLOCK as i64)));
            self.cover.hit("largest codes", sums.contains(&(12 * 128 * BLOCK as i64)));
            self.cover.hit("held", s.valid && s.upper && !s.fp4 && model.held[s.pass].is_some());
        }
        self.cover.hit("gap", !s.valid);
        self.cover.hit("axpy", s.valid && s.axpy);
        self.cover.hit("weight of one", s.valid && s.axpy && s.weights.contains(&(1 << 24)));
        self.dut.tick();
    }

    fn random(&mut self, cycles: u64, seed: u64) {
        let (mut random, mut gaps) = (Random::new(seed), Gaps::new(80));
        for cycle in 0..cycles {
            let valid = gaps.next(&mut random);
            // Values by themselves for a while, then hardly any.
            let stimulus = DotStimulus::random(&mut random, valid, cycle / 64 % 2 == 0);
            self.cycle(&stimulus, &format!("cycle {cycle}"));
        }
        self.cover.assert(5);
    }
}

#[test]
fn block_dots_are_exact_and_take_their_latency() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for model in dots() {
        accept(&emit(&model.dot.module()?)?)?;
    }
    DotBench::new(true)?.random(2000, 1);
    DotBench::new(false)?.random(20_000, 2);
    Ok(())
}

/// Every byte with every activation, in every lane: INT8 in both halves, both E2M1 codes.
#[test]
fn block_dots_multiply_every_pair() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut bench = DotBench::new(false)?;
    let mut random = Random::new(3);
    for pair in 0..1 << 16u32 {
        let (byte, act) = (pair as u8, (pair >> 8) as i8);
        for (fp4, upper) in [(false, false), (false, true), (true, false)] {
            let stimulus = DotStimulus::uniform(fp4, upper, byte, act, &mut random);
            bench.cycle(&stimulus, &format!("byte {byte}, activation {act}"));
        }
    }
    Ok(())
}

/// `cargo test --release -p fastcar-tests --test rtl_mac -- --ignored`: five units of up to eight block sums a vector.
#[test]
#[ignore = "two million vectors for each of five units take minutes"]
fn block_dots_in_the_long_run() -> TestResult {
    if skipped() {
        return Ok(());
    }
    DotBench::new(false)?.random(2_000_000, 4);
    Ok(())
}

/// A distance from the base where a sum is shifted, rounded, gone, or anything.
fn base(random: &mut Random, scales: u32) -> u16 {
    let near = match random.below(4) {
        0 => scales + random.below(48) as u32,
        1 => scales.saturating_sub(random.below(3) as u32),
        2 => scales + 30 + random.below(40) as u32,
        _ => random.below(511) as u32,
    };
    near.min(510) as u16
}

fn block_total(random: &mut Random) -> i32 {
    match random.below(6) {
        0 => 1 << 19,
        1 => -(1 << 19),
        2 => (1 << random.below(20)) - random.below(2) as i32,
        3 => -(1 << random.below(20)) + random.below(3) as i32 - 1,
        4 => random.below(5) as i32 - 2,
        _ => random.below(1 << 20) as i32 - (1 << 19),
    }
    .clamp(-(1 << 19), 1 << 19)
}

fn terms_are_their_reference(native: bool, rounds: u32, seed: u64) -> TestResult {
    let block = WindowTerm::new(21)?;
    let module = block.module()?;
    let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
    dut.reset();
    let (mut random, mut gaps) = (Random::new(seed), Gaps::new(85));
    let mut cover = Cover::new(&["exact", "tie up", "tie down", "gone", "above the base", "largest", "gap"]);
    let mut pipe: VecDeque<Option<i64>> = (0..=block.latency()).map(|_| None).collect();
    // The sum comes one cycle after its scales.
    let mut late = (false, 0);
    for vector in 0..u64::from(rounds) << 16 {
        // Every pair of scale bytes, once a round.
        let (we, ae) = (vector as u8, (vector >> 8) as u8);
        let scales = u32::from(we) + u32::from(ae);
        let (sum, base) = (block_total(&mut random), base(&mut random, scales));
        let shift = base_of(base).shift(E8M0(we), E8M0(ae));
        let tie = (17..60).contains(&shift) && i64::from(sum).trailing_zeros() + 17 == shift;
        let gap = !gaps.next(&mut random);
        for valid in [false, true] {
            if !valid && !gap {
                continue;
            }
            dut.set("valid_i", late.0);
            dut.set("sum_i", i64::from(late.1));
            late = (valid, sum);
            dut.set("weight_scale_i", u64::from(we));
            dut.set("left_i", i64::from(base) - i64::from(ae));
            pipe.push_back(valid.then(|| term(sum, shift)));
            let expected = pipe.pop_front().flatten();
            assert_eq!(dut.is_set("valid_o"), expected.is_some(), "vector {vector}");
            if let Some(expected) = expected {
                let carry = i64::from(dut.is_set("carry_o"));
                assert_eq!(dut.get_signed("term_o") + carry, expected, "vector {vector}");
            }
            dut.tick();
        }
        cover.hit("exact", shift <= 16 && sum != 0);
        cover.hit("tie up", tie && sum > 0);
        cover.hit("tie down", tie && sum < 0);
        cover.hit("gone", shift >= 37);
        cover.hit("above the base", scales > u32::from(base));
        cover.hit("largest", sum.abs() == 1 << 19 && shift == 0);
        cover.hit("gap", gap);
    }
    cover.assert(100);
    Ok(())
}

#[test]
fn window_terms_are_exact_and_take_their_latency() -> TestResult {
    if skipped() {
        return Ok(());
    }
    accept(&emit(&WindowTerm::new(21)?.module()?)?)?;
    terms_are_their_reference(true, 1, 5)?;
    terms_are_their_reference(false, 10, 6)
}

/// `cargo test --release -p fastcar-tests --test rtl_mac -- --ignored`: every pair of scale bytes 200 times.
#[test]
#[ignore = "13 million vectors"]
fn window_terms_in_the_long_run() -> TestResult {
    if skipped() {
        return Ok(());
    }
    terms_are_their_reference(false, 200, 7)
}

/// Lanes of a column, words, columns of the accumulators in test.
const LANES: usize = 3;
const WORDS: usize = 100;
const COLUMNS: usize = 2;

/// The sums of a word's lanes that are known.
type Word = [Option<i64>; LANES];

/// The sums of one column.
struct SumsModel {
    newest: Vec<Word>,
    /// What a reading sees: sums as old as the latency.
    seen: Vec<Word>,
    late: VecDeque<Option<(usize, Word)>>,
    recent: VecDeque<Option<usize>>,
}

impl SumsModel {
    fn new(block: &Accumulators) -> Self {
        Self {
            newest: vec![[None; LANES]; WORDS],
            seen: vec![[None; LANES]; WORDS],
            late: vec![None; block.latency() as usize].into(),
            recent: vec![None; 3].into(),
        }
    }

    /// What has come in time is seen: the word that was added to.
    fn settle(&mut self) -> Option<Word> {
        let (address, word) = self.late.pop_front().flatten()?;
        self.seen[address] = word;
        Some(word)
    }

    /// Adds terms, some lanes' ones: by lane whether it takes part, begins, and has a carry.
    fn add(&mut self, address: usize, lanes: [u64; 3], terms: &[i64]) {
        let [enable, first, carries] = lanes.map(|bits| move |lane: usize| bits >> lane & 1 == 1);
        let word = &mut self.newest[address];
        for lane in (0..LANES).filter(|&lane| enable(lane)) {
            let old = if first(lane) { 0 } else { word[lane].unwrap() };
            word[lane] = Some((old + terms[lane] + i64::from(carries(lane))) << 16 >> 16);
        }
        self.late.push_back(Some((address, *word)));
    }
}

/// A harness around the accumulators: drives random terms and questions, checks all words.
struct SumsBench {
    dut: Rtl,
    random: Random,
    gaps: Gaps,
    cover: Cover,
    models: Vec<SumsModel>,
    answers: VecDeque<Option<Vec<Word>>>,
}

impl SumsBench {
    fn new(native: bool, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let block = Accumulators::new(COLUMNS as u32, LANES as u32, 37, WORDS as u32)?;
        let module = block.module()?;
        accept(&emit(&module)?)?;
        let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
        dut.reset();
        let cover = Cover::new(&[
            "again at once",
            "again after one",
            "again after two",
            "read back at once",
            "asked for among terms",
            "columns apart",
            "stays",
        ]);
        Ok(Self {
            dut,
            random: Random::new(seed),
            gaps: Gaps::new(70),
            cover,
            models: (0..COLUMNS).map(|_| SumsModel::new(&block)).collect(),
            answers: (0..block.drain_latency()).map(|_| None).collect(),
        })
    }

    /// Words of all columns, in their cycle.
    fn check(&mut self, [valid, sums]: [&str; 2], expected: Option<Vec<Word>>, cycle: u64) {
        assert_eq!(self.dut.is_set(valid), expected.is_some(), "{valid}, cycle {cycle}");
        let Some(expected) = expected else { return };
        let found = lanes(&self.dut.bits(sums), 48);
        for (found, expected) in found.iter().zip(expected.iter().flatten()) {
            assert!(expected.is_none_or(|e| e == *found), "{sums}, cycle {cycle}: {found} for {expected:?}");
        }
    }

    fn note(&mut self, column: usize, address: Option<usize>, asked: Option<usize>) {
        let recent = &mut self.models[column].recent;
        let before = |n: usize| recent[3 - n].filter(|_| address.is_some()) == address && address.is_some();
        self.cover.hit("again at once", before(1));
        self.cover.hit("again after one", before(2) && !before(1));
        self.cover.hit("again after two", before(3) && !before(2));
        self.cover.hit("read back at once", asked.is_some() && recent[0] == asked);
        recent.pop_front();
        recent.push_back(address);
    }

    fn cycle(&mut self, cycle: u64) {
        let added: Vec<_> = self.models.iter_mut().map(SumsModel::settle).collect();
        self.check(["added_valid_o", "added_o"], added.into_iter().collect(), cycle);
        let answer = self.answers.pop_front().flatten();
        self.check(["valid_o", "sum_o"], answer, cycle);
        let valid = self.gaps.next(&mut self.random);
        let random = &mut self.random;
        let spread = if random.chance(60) { 2 } else { WORDS as u64 };
        let asked = random.chance(80).then_some(random.below(spread) as usize);
        let addresses: [usize; COLUMNS] = std::array::from_fn(|_| random.below(spread) as usize);
        let mut bits = || std::array::from_fn(|_| random.below(1 << LANES));
        let (enables, mut firsts, carries): ([u64; COLUMNS], [u64; COLUMNS], [u64; COLUMNS]) =
            (bits(), bits(), bits());
        let terms: Vec<i64> = (0..COLUMNS * LANES).map(|_| random.bits(37).to_i64().unwrap()).collect();
        for (column, first) in firsts.iter_mut().enumerate() {
            for (lane, sum) in self.models[column].newest[addresses[column]].iter().enumerate() {
                *first |= u64::from(sum.is_none()) << lane;
            }
        }
        let of_columns = |bits: [u64; COLUMNS]| bits[0] | bits[1] << LANES;
        let dut = &mut self.dut;
        dut.set("valid_i", valid);
        dut.set("address_i", pack(addresses.map(|a| Bits::from_u64(7, a as u64))));
        dut.set("enable_i", of_columns(enables));
        dut.set("first_i", of_columns(firsts));
        dut.set("carry_i", of_columns(carries));
        dut.set("term_i", pack(terms.iter().map(|&t| Bits::from_i64(37, t))));
        dut.set("drain_valid_i", asked.is_some());
        dut.set("drain_address_i", asked.unwrap_or(0) as u64);
        self.answers
            .push_back(asked.map(|asked| self.models.iter().map(|model| model.seen[asked]).collect()));
        self.cover.hit("asked for among terms", valid && asked.is_some());
        self.cover.hit("columns apart", valid && addresses[0] != addresses[1]);
        self.cover.hit("stays", valid && enables[0] != 7);
        for column in 0..COLUMNS {
            let address = addresses[column];
            let bits = [enables[column], firsts[column], carries[column]];
            match valid {
                true => self.models[column].add(address, bits, &terms[column * LANES..][..LANES]),
                false => self.models[column].late.push_back(None),
            }
            self.note(column, valid.then_some(address), asked);
        }
        self.dut.tick();
    }
}

/// Random words of terms and questions, against sums kept here.
fn accumulators_add_up(native: bool, cycles: u64, seed: u64) -> TestResult {
    let mut bench = SumsBench::new(native, seed)?;
    (0..cycles).for_each(|cycle| bench.cycle(cycle));
    bench.cover.assert(50);
    Ok(())
}

#[test]
fn accumulators_add_up_and_take_their_latency() -> TestResult {
    if skipped() {
        return Ok(());
    }
    accumulators_add_up(true, 5000, 8)?;
    accumulators_add_up(false, 200_000, 9)
}

/// `cargo test --release -p fastcar-tests --test rtl_mac -- --ignored`
#[test]
#[ignore = "10 million words of terms"]
fn accumulators_in_the_long_run() -> TestResult {
    if skipped() {
        return Ok(());
    }
    accumulators_add_up(false, 15_000_000, 10)
}

/// What a cluster is given in a cycle with a beat; operands by column.
#[derive(Clone, Default)]
struct Beat {
    bytes: Vec<u8>,
    /// It is scale bytes.
    scale: bool,
    /// Scale bytes that come with it.
    scales: Vec<u8>,
    advance: bool,
    fp4: bool,
    upper: bool,
    axpy: bool,
    pass: u64,
    address: u64,
    enable: u64,
    first: u64,
    /// Column by column, its groups in order.
    acts: Vec<Int8Block>,
    /// Column by column; of its groups, where these differ.
    bases: Vec<u16>,
    weights: Vec<u32>,
}

/// A cluster in Verilator, and what its words have to be.
struct Bench {
    dut: Rtl,
    cluster: Cluster,
    columns: usize,
    random: Random,
    gaps: Gaps,
    cover: Cover,
}

impl Bench {
    fn new(preset: &str, native: bool, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let config = AccelConfig::preset(preset)?;
        let cluster = Cluster::new(&config)?;
        let module = cluster.module()?;
        let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
        for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
            dut.set(&name, Bits::zero(width));
        }
        dut.reset();
        let cover =
            Cover::new(&["gap", "column left out", "block left out", "several passes", "rest of rows"]);
        let columns = config.columns() as usize;
        Ok(Self { dut, cluster, columns, random: Random::new(seed), gaps: Gaps::new(85), cover })
    }

    /// Cycles without a beat, everything beside `valid_i` being anything.
    fn gap(&mut self) {
        let junk = ["advance_i", "fp4_i", "upper_i", "axpy_i"];
        self.dut.set("valid_i", false);
        for name in junk {
            self.dut.set(name, self.random.chance(50));
        }
        self.dut.tick();
        self.cover.hit("gap", true);
    }

    fn give(&mut self, beat: &Beat) {
        while !self.gaps.next(&mut self.random) {
            self.gap();
        }
        self.give_at_once(beat);
    }

    fn give_at_once(&mut self, b: &Beat) {
        let dut = &mut self.dut;
        for (name, value) in [
            ("valid_i", !b.scale),
            ("advance_i", b.advance),
            ("fp4_i", b.fp4),
            ("upper_i", b.upper),
            ("axpy_i", b.axpy),
        ] {
            dut.set(name, value);
        }
        for (name, value) in [("pass_i", b.pass), ("enable_i", b.enable), ("first_i", b.first)] {
            dut.set(name, value);
        }
        let word = Bits::from_u64(self.cluster.word_width(), b.address);
        dut.set("address_i", pack(vec![word; self.columns]));
        let bytes = |bytes: &[u8]| Bits::from_bytes(8 * bytes.len() as u32, bytes);
        dut.set("beat_i", bytes(&b.bytes));
        dut.set("scale_i", b.scale || !b.scales.is_empty());
        dut.set("scales_i", bytes(if b.scales.is_empty() { &b.bytes } else { &b.scales }));
        if !b.acts.is_empty() {
            dut.set("act_i", pack(b.acts.iter().map(act_bits)));
            let groups = b.acts.len() / b.bases.len();
            let bases = b.bases.iter().flat_map(|&base| vec![Bits::from_u64(9, base.into()); groups]);
            dut.set("base_i", pack(bases));
        }
        if !b.weights.is_empty() {
            dut.set("weight_i", pack(b.weights.iter().map(|&w| Bits::from_u64(25, w.into()))));
        }
        dut.tick();
        dut.set("valid_i", false);
        dut.set("scale_i", false);
    }

    /// Cycles until everything given is in the sums: the last beat was taken on the edge before.
    fn wait(&mut self, latency: u32) {
        for _ in 1..latency {
            self.gap();
        }
    }

    /// A word, asked for in this cycle.
    fn word(&mut self, port: &str, address: u64) -> Vec<i64> {
        self.dut.set(&format!("{port}_valid_i"), true);
        self.dut.set(&format!("{port}_address_i"), address);
        self.gap();
        self.dut.set(&format!("{port}_valid_i"), false);
        for _ in 1..self.cluster.drain_latency() {
            assert!(!self.dut.is_set(&format!("{port}_valid_o")));
            self.gap();
        }
        assert!(self.dut.is_set(&format!("{port}_valid_o")));
        lanes(&self.dut.bits(&format!("{port}_sum_o")), 48)
    }
}

/// Operands of all passes and columns, and which blocks they take.
struct Operands {
    /// By pass, column, block.
    acts: Vec<Vec<Vec<Int8Block>>>,
    taken: Vec<Vec<Vec<bool>>>,
    bases: Vec<Vec<u16>>,
}

impl Operands {
    fn new(bench: &mut Bench, passes: usize, chunk: &Chunk) -> Self {
        let blocks = chunk.blocks as usize;
        let columns = bench.columns;
        let row = |bench: &mut Bench| (0..blocks).map(|_| act(&mut bench.random)).collect();
        let acts: Vec<Vec<Vec<_>>> =
            (0..passes).map(|_| (0..columns).map(|_| row(bench)).collect()).collect();
        // Columns leave blocks out one by one, and passes for all columns.
        let mut taken = vec![vec![vec![true; blocks]; columns]; passes];
        for (pass, block) in (0..passes).flat_map(|p| (0..blocks).map(move |b| (p, b))) {
            let most = if bench.random.chance(20) { 0 } else { 75 };
            for column in &mut taken[pass] {
                column[block] = bench.random.chance(most);
            }
        }
        // Each row gets a sum.
        taken.iter_mut().flatten().for_each(|blocks| blocks[0] |= blocks.iter().all(|t| !t));
        let base = |blocks: &Vec<Int8Block>| chunk.base(blocks);
        let bases = acts.iter().map(|columns| columns.iter().map(base).collect()).collect();
        Self { acts, taken, bases }
    }
}

/// Streams a chunk as memory holds it, for all passes; then asks for every row.
fn weights_meet_activations(
    bench: &mut Bench,
    config: &AccelConfig,
    format: WeightFormat,
    (rows, blocks, passes): (u32, u32, usize),
) -> TestResult {
    let chunk = Chunk::new(&mut bench.random, config, format, rows, blocks);
    let operands = Operands::new(bench, passes, &chunk);
    let (beat, word_rows) = (config.beat().get() as usize, u64::from(bench.cluster.rows()));
    let fp4 = format == WeightFormat::Fp4;
    let words = u64::from(rows).div_ceil(word_rows);
    let mut begun = vec![vec![false; bench.columns]; passes];
    for block in 0..blocks as usize {
        let takes = |pass: usize| -> u64 {
            (0..bench.columns).map(|c| u64::from(operands.taken[pass][c][block]) << c).sum()
        };
        let masks: Vec<u64> = (0..passes).map(takes).collect();
        for &mask in &masks {
            bench.cover.hit("column left out", mask + 1 != 1 << bench.columns && mask != 0);
            bench.cover.hit("block left out", mask == 0);
        }
        bench.cover.hit("several passes", masks.iter().filter(|&&m| m != 0).count() > 1);
        for group in chunk.layout.groups() {
            // No rest is left where a beat has as many bytes as a granule has rows.
            bench.cover.hit("rest of rows", group.rows < beat as u64 || beat as u32 == ROW_GRANULE);
            let start = block * chunk.layout.block_run().get() as usize;
            let scales = chunk.memory[start + group.scales as usize..][..beat].to_vec();
            bench.give(&Beat { bytes: scales, scale: true, fp4, ..Beat::default() });
            let elements = group.rows as usize * WeightLayout::elem_bytes_of(format) as usize;
            for (n, bytes) in
                chunk.memory[start + group.elements as usize..][..elements].chunks(beat).enumerate()
            {
                let upper = !fp4 && n % 2 == 1;
                let row = group.first_row + (n * beat) as u64 / WeightLayout::elem_bytes_of(format);
                let last = masks.iter().rposition(|&mask| mask != 0);
                for pass in (0..passes).filter(|&pass| masks[pass] != 0) {
                    let first: u64 = (0..bench.columns).map(|c| u64::from(!begun[pass][c]) << c).sum();
                    let of_groups =
                        |c: usize| vec![operands.acts[pass][c][block]; bench.cluster.groups() as usize];
                    bench.give(&Beat {
                        bytes: bytes.to_vec(),
                        advance: Some(pass) == last && (fp4 || beat >= BLOCK || upper),
                        fp4,
                        upper,
                        pass: pass as u64,
                        address: pass as u64 * words + row / word_rows,
                        enable: masks[pass],
                        first,
                        acts: (0..bench.columns).flat_map(of_groups).collect(),
                        bases: operands.bases[pass].clone(),
                        ..Beat::default()
                    });
                }
            }
        }
        for (begun, mask) in begun.iter_mut().zip(&masks) {
            begun.iter_mut().enumerate().for_each(|(c, begun)| *begun |= mask >> c & 1 == 1);
        }
    }
    bench.wait(bench.cluster.latency());
    for (pass, row) in (0..passes).flat_map(|p| (0..u64::from(rows)).map(move |r| (p, r))) {
        let word = bench.word("drain", pass as u64 * words + row / word_rows);
        for column in 0..bench.columns {
            let base = base_of(operands.bases[pass][column]);
            let expected: i64 = (0..blocks as usize)
                .filter(|&b| operands.taken[pass][column][b])
                .map(|b| {
                    let act = &operands.acts[pass][column][b];
                    let shift = base.shift(chunk.scale(row, b as u64), act.scale);
                    term(chunk.dot(row, b as u64, act), shift)
                })
                .sum();
            let found = word[column * word_rows as usize + (row % word_rows) as usize];
            assert_eq!(found, expected, "pass {pass}, column {column}, row {row}, {format:?}");
        }
    }
    Ok(())
}

const CLUSTERS: [&str; 3] = ["tiny", "edge", "u55c"];

fn weights_at(preset: &str, native: bool, rounds: u64) -> TestResult {
    let config = AccelConfig::preset(preset)?;
    let mut bench = Bench::new(preset, native, 11)?;
    let most = config.slots().div_ceil(config.columns()) as usize;
    for round in 0..rounds {
        for format in [WeightFormat::Int8, WeightFormat::Fp4] {
            // A whole group of rows and a rest; one pass in most rounds, where the same words come again soonest.
            let rows = 16 * (1 + bench.random.below(5) as u32);
            let passes = if round % 2 == 0 { most.min(2) } else { 1 };
            weights_meet_activations(&mut bench, &config, format, (rows, 5, passes))?;
        }
    }
    bench.cover.assert(1);
    Ok(())
}

#[test]
fn cluster_of_16_byte_beats_multiplies_weights() -> TestResult {
    if skipped() {
        return Ok(());
    }
    weights_at("tiny", true, 2)?;
    weights_at("tiny", false, 20)?;
    weights_at("edge", false, 20)
}

#[test]
fn cluster_of_64_byte_beats_multiplies_weights() -> TestResult {
    if skipped() {
        return Ok(());
    }
    weights_at("u55c", false, 10)
}

/// Two beats for the same word: asked for one cycle before the latency is over the word is that of the first, then
/// that of both.
#[test]
fn clusters_take_their_latency() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for preset in CLUSTERS {
        let mut bench = Bench::new(preset, false, 12)?;
        let (cluster, size) = (bench.cluster, AccelConfig::preset(preset)?.beat().get() as usize);
        assert_eq!(u64::from(cluster.latency()), MAC_LATENCY);
        let columns = bench.columns;
        let act = Int8Block { scale: E8M0(127), elems: [1; BLOCK] };
        // Codes of 1.0: each row's sum is 64 half units.
        let one = Beat {
            bytes: vec![0x22; size],
            fp4: true,
            enable: (1 << columns) - 1,
            acts: vec![act; columns * cluster.groups() as usize],
            bases: vec![254; columns],
            ..Beat::default()
        };
        bench.give_at_once(&Beat { bytes: vec![127; size], scale: true, ..Beat::default() });
        bench.give_at_once(&Beat { first: (1 << columns) - 1, ..one.clone() });
        bench.wait(20);
        bench.give_at_once(&one);
        bench.wait(cluster.latency() - 1);
        assert!(!bench.dut.is_set("sum_valid_o"), "{preset}: too early");
        assert!(bench.word("drain", 0).iter().all(|&sum| sum == 64 << 16), "{preset}: too early");
        bench.give_at_once(&one);
        bench.wait(cluster.latency());
        assert!(bench.dut.is_set("sum_valid_o"), "{preset}: too late");
        let sums = lanes(&bench.dut.bits("sum_o"), 48);
        assert!(sums.iter().all(|&sum| sum == (3 * 64) << 16), "{preset}: {sums:?}");
        assert!(bench.word("drain", 0).iter().all(|&sum| sum == (3 * 64) << 16), "{preset}: too late");

        // Values: weights of one, elements 0x22.
        let pairs = columns.div_ceil(2);
        let value = Beat {
            axpy: true,
            fp4: false,
            weights: vec![1; pairs * cluster.groups() as usize],
            ..one.clone()
        };
        bench.give_at_once(&Beat { first: (1 << columns) - 1, ..value.clone() });
        bench.wait(20);
        bench.give_at_once(&value);
        bench.wait(cluster.value_latency() - 1);
        assert!(bench.word("value", 0).contains(&0x22), "{preset}: too early");
        bench.give_at_once(&value);
        bench.wait(cluster.value_latency());
        assert!(bench.word("value", 0).iter().all(|&sum| sum == 3 * 0x22), "{preset}: too late");
    }
    Ok(())
}

/// A block of 32 tokens of one head as it lies in memory.
struct Head {
    memory: Vec<u8>,
    layout: KvLayout,
}

impl Head {
    fn new(bench: &mut Bench, config: &AccelConfig, dim: usize) -> Self {
        let layout = KvLayout::new(config, config.channels(), dim as u32, 32);
        let mut memory = vec![0; layout.block_bytes().get() as usize];
        memory.iter_mut().for_each(|byte| *byte = bench.random.word() as u8);
        let mut head = Self { memory, layout };
        for token in 0..32 {
            let at = head.layout.token(0, token).key_scales as usize;
            for byte in &mut head.memory[at..at + dim / BLOCK] {
                *byte = scale(&mut bench.random).0;
            }
        }
        head
    }

    fn elements(&self, at: u64, block: usize) -> [i8; BLOCK] {
        std::array::from_fn(|i| self.memory[at as usize + block * BLOCK + i] as i8)
    }
}

/// The scores of 32 keys for as many query heads as there are columns.
fn keys_meet_queries(bench: &mut Bench, config: &AccelConfig, dim: usize) -> TestResult {
    let head = Head::new(bench, config, dim);
    let (beat, blocks) = (config.beat().get() as usize, dim / BLOCK);
    let queries: Vec<Vec<Int8Block>> =
        (0..bench.columns).map(|_| (0..blocks).map(|_| act(&mut bench.random)).collect()).collect();
    let key = |token: u64| head.layout.token(0, token);
    let scale = |token: u64, block: usize| E8M0(head.memory[key(token).key_scales as usize + block]);
    // Every key has a base of its own.
    let base = |query: &[Int8Block], token: u64| {
        let largest = (0..blocks).map(|b| scale(token, b).0).max().unwrap();
        u16::from(largest) + u16::from(query.iter().map(|b| b.scale.0).max().unwrap())
    };
    let scales = key(0).key_scales as usize;
    // A range of tokens that starts with a beat, inside a beat of scale bytes or not.
    let start = (bench.random.below(32) as usize).next_multiple_of((beat / dim).max(1)) % 32;
    bench.cover.hit("keys from inside a beat of scales", !(start * dim).is_multiple_of(BLOCK * beat));
    let groups = bench.cluster.groups() as usize;
    let beats = head.memory[key(0).key as usize..][..32 * dim].chunks(beat).enumerate();
    for (n, bytes) in beats.skip(start * dim / beat) {
        let at = n * beat;
        // Scale bytes of as many blocks as a beat has bytes come before these blocks, or with the first of them.
        let mut with = Vec::new();
        let scales_at = at / BLOCK / beat * beat;
        if at.is_multiple_of(BLOCK * beat) || at == start * dim {
            let bytes = head.memory[scales + scales_at..][..beat].to_vec();
            // Those of blocks that are left out.
            let skipped = (at / BLOCK - scales_at) / (beat / BLOCK).max(1);
            if skipped == 0 && bench.random.chance(50) {
                with = bytes;
                bench.cover.hit("scales with elements", true);
            } else {
                bench.give(&Beat { bytes, scale: true, ..Beat::default() });
                for _ in 0..skipped {
                    bench.give(&Beat { bytes: vec![0; beat], advance: true, ..Beat::default() });
                }
            }
        }
        let block = |group: usize| (at / BLOCK + group) % blocks;
        let of_groups = |q: &Vec<Int8Block>| -> Vec<_> {
            (0..groups).map(|g| base(q, ((at + g * BLOCK) / dim) as u64)).collect()
        };
        bench.give(&Beat {
            bytes: bytes.to_vec(),
            scales: with,
            advance: beat >= BLOCK || n % 2 == 1,
            upper: beat < BLOCK && n % 2 == 1,
            address: (at / dim) as u64,
            enable: (1 << bench.columns) - 1,
            first: if at % dim < BLOCK.max(beat) { (1 << bench.columns) - 1 } else { 0 },
            acts: queries.iter().flat_map(|q| (0..groups).map(|g| q[block(g)]).collect::<Vec<_>>()).collect(),
            bases: queries.iter().flat_map(of_groups).collect(),
            ..Beat::default()
        });
    }
    bench.wait(bench.cluster.latency());
    let rows = bench.cluster.rows() as usize;
    // Rows that a beat of INT8 gives: one per block.
    let given = (beat / BLOCK).max(1);
    for token in start as u64..32 {
        let tokens_in_word = (beat / dim).max(1);
        let word = bench.word("drain", token / tokens_in_word as u64 * tokens_in_word as u64);
        for (column, query) in queries.iter().enumerate() {
            let base = base_of(base(query, token));
            let expected: i64 = (0..blocks)
                .map(|b| {
                    let sum = dot_int8(&head.elements(key(token).key, b), &query[b].elems);
                    term(sum, base.shift(scale(token, b), query[b].scale))
                })
                .sum();
            let per_token = given / tokens_in_word;
            let first = column * rows + token as usize % tokens_in_word * per_token;
            let found: i64 = word[first..first + per_token].iter().sum();
            assert_eq!(found, expected, "token {token}, column {column}, head of {dim}");
        }
    }
    Ok(())
}

/// The weighted values of 32 tokens for as many query heads as there are pairs of columns, in as many passes as words allow.
fn values_meet_weights(bench: &mut Bench, config: &AccelConfig, dim: usize) -> TestResult {
    let head = Head::new(bench, config, dim);
    let (beat, pairs) = (config.beat().get() as usize, bench.columns.div_ceil(2));
    let (groups, blocks) = (bench.cluster.groups() as usize, dim / BLOCK);
    let parts = dim.div_ceil(beat);
    let most = (1 << bench.cluster.value_address_width()) / parts;
    let passes = most.min(1 + bench.random.below(8) as usize);
    bench.cover.hit("several passes", passes > 1);
    // By pass and pair, token and block: the distance of the block's scale is in the weight.
    let mut heads = || (0..32 * blocks).map(|_| weight(&mut bench.random)).collect::<Vec<u32>>();
    let weights: Vec<Vec<_>> = (0..passes).map(|_| (0..pairs).map(|_| heads()).collect()).collect();
    let value = |token: u64| head.layout.token(0, token).value;
    for (n, bytes) in head.memory[value(0) as usize..][..32 * dim].chunks(beat).enumerate() {
        for (pass, of_pairs) in weights.iter().enumerate() {
            let of_beat = |w: &Vec<u32>| (0..groups).map(|g| w[n * beat / BLOCK + g]).collect::<Vec<_>>();
            bench.give(&Beat {
                bytes: bytes.to_vec(),
                axpy: true,
                address: (pass * parts + n % parts) as u64,
                enable: (1 << bench.columns) - 1,
                first: if n < parts { (1 << bench.columns) - 1 } else { 0 },
                weights: of_pairs.iter().flat_map(of_beat).collect(),
                ..Beat::default()
            });
        }
    }
    bench.wait(bench.cluster.value_latency());
    for (pass, of_pairs) in weights.iter().enumerate() {
        let words: Vec<Vec<i64>> =
            (0..parts).map(|part| bench.word("value", (pass * parts + part) as u64)).collect();
        for (pair, channel) in (0..pairs).flat_map(|p| (0..dim).map(move |c| (p, c))) {
            let expected: i64 = (0..32u64)
                .map(|t| {
                    let element = head.elements(value(t), channel / BLOCK)[channel % BLOCK];
                    i64::from(of_pairs[pair][t as usize * blocks + channel / BLOCK]) * i64::from(element)
                })
                .sum();
            // Several tokens in a beat have sums of their own.
            let lanes = (channel % beat..beat).step_by(dim.min(beat));
            let found: i64 = lanes.map(|lane| words[channel / beat][pair * beat + lane]).sum();
            assert_eq!(found, expected, "pass {pass}, pair {pair}, channel {channel}, head of {dim}");
        }
    }
    Ok(())
}

#[test]
fn clusters_attend() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for preset in CLUSTERS {
        let config = AccelConfig::preset(preset)?;
        let mut bench = Bench::new(preset, false, 13)?;
        bench.cover = Cover::new(&[
            "gap",
            "several passes",
            "keys from inside a beat of scales",
            "scales with elements",
        ]);
        for dim in [32, 64, 128, 64, 32] {
            keys_meet_queries(&mut bench, &config, dim)?;
            values_meet_weights(&mut bench, &config, dim)?;
        }
        bench.cover.assert(1);
    }
    Ok(())
}

#[test]
fn clusters_are_accepted() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for preset in CLUSTERS {
        accept(&emit(&Cluster::new(&AccelConfig::preset(preset)?)?.module()?)?)?;
    }
    Ok(())
}

#[test]
fn what_cannot_be_built_is_refused() {
    let texts = [
        BlockDot::new(shape(24, 1, 0, 2)).unwrap_err(),
        BlockDot::new(shape(16, 2049, 0, 2)).unwrap_err(),
        BlockDot::new(shape(16, 1, 17, 2)).unwrap_err(),
        BlockDot::new(shape(64, 1, 0, 1)).unwrap_err(),
        WindowTerm::new(33).unwrap_err(),
        Accumulators::new(0, 1, 37, 64).unwrap_err(),
        Accumulators::new(1, 0, 37, 64).unwrap_err(),
        Accumulators::new(1, 1, 49, 64).unwrap_err(),
        Accumulators::new(1, 1, 37, 1).unwrap_err(),
    ]
    .map(|error| error.to_string());
    let expected = [
        "block dot: bytes is 24; it must be 16, 32 or 64",
        "block dot: passes is 2049; it must be 1 to 2048",
        "block dot: code_multipliers is 17; it must be at most the bytes of a group, 16 or 32",
        "block dot: value_words is 1; it must be 2 to 1024",
        "window term: width is 33; it must be 2 to 32 bits",
        "accumulators: columns is 0; it must be 1 to 32",
        "accumulators: lanes is 0; it must be 1 to 4096",
        "accumulators: width is 49; it must be 1 to 48 bits",
        "accumulators: depth is 1; it must be 2 to 65536 words",
    ];
    assert_eq!(texts, expected);
}

/// The most levels of look-up tables between registers.
const MOST_LEVELS: u32 = 8;

fn held(name: &str, modules: &[Arc<Module>]) -> TestResult {
    hold(name, modules)?;
    for module in modules {
        let figures = Figures::of(module)?;
        assert!(figures.levels <= MOST_LEVELS, "{}: {figures:?}", module.name());
    }
    Ok(())
}

fn cluster(preset: &str) -> Result<Arc<Module>, Box<dyn std::error::Error>> {
    Ok(Cluster::new(&AccelConfig::preset(preset)?)?.module()?)
}

/// Parts as tiny, edge and u55c have them.
#[test]
fn synthesis_of_the_parts_is_as_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let dot = |bytes, passes, codes, words| BlockDot::new(shape(bytes, passes, codes, words))?.module();
    let dots = [dot(16, 2, 16, 64)?, dot(16, 4, 16, 256)?, dot(64, 8, 14, 32)?];
    held("pe_block_dot", &dots)?;
    held("pe_window_term", &[WindowTerm::new(21)?.module()?])?;
    let sums = |columns, lanes, words| Accumulators::new(columns, lanes, 37, words)?.module();
    held("pe_accumulators", &[sums(2, 1, 1024)?, sums(2, 1, 4096)?, sums(4, 4, 512)?])
}

#[test]
fn synthesis_of_a_small_cluster_is_as_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    held("pe_cluster", &[cluster("tiny")?])
}

/// `cargo test --release -p fastcar-tests --test rtl_mac -- --ignored`
#[test]
#[ignore = "synthesis of 128 DSP blocks takes minutes"]
fn synthesis_of_the_large_cluster_is_as_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    held("pe_cluster_large", &[cluster("u55c")?])
}
