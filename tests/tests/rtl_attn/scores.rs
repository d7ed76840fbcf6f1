//! Scores of a cluster beside a model.
//!
//! | mutation | caught by |
//! |---|---|
//! | largest kept a cycle late | `scores_take_their_latency` |
//! | a token that is not attended to counts | `scores_of_*` |
//! | the first of two tokens of a word is lost | `scores_of_two_tokens_a_beat` |

use super::numbers::{Sum, scale};
use super::{Cover, Gaps, Random, Rtl, TestResult, shape, skipped};
use fastcar_arch::num::fp;
use fastcar_arch::num::mx::E8M0;
use fastcar_arch::num::softmax::{max_int, score_fixed};
use fastcar_arch::num::window::{Base, Pair, to_f32};
use fastcar_hw::attn::{MAX_BIAS, NAN, Scores, Shape, WORD};
use fastcar_hw::rtl::{Bits, Block};
use std::collections::VecDeque;

/// Low part first.
pub fn pack(parts: impl IntoIterator<Item = Bits>) -> Bits {
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.reverse();
    Bits::concat(&parts)
}

/// A word in one pass over the keys.
struct Step {
    /// By column and lane.
    sums: Vec<Vec<i64>>,
    /// By lane.
    keys: Vec<E8M0>,
    /// By column.
    queries: Vec<E8M0>,
    attended: Vec<bool>,
}

/// A score, none for NaN, and whether its token is attended to.
type Token = (Option<i32>, bool);

/// A head: its words in all passes over the keys, word by word.
struct Head {
    factor: f32,
    narrow: bool,
    /// Passes over the values.
    passes: u32,
    key_passes: u32,
    words: u64,
    steps: VecDeque<Step>,
    /// By pass over the keys, column, token.
    scores: Vec<Vec<Vec<Token>>>,
}

impl Head {
    fn any(random: &mut Random, s: &Shape, cover: &mut Cover) -> Self {
        let narrow = s.lanes == 2 && random.chance(40);
        let passes = 1 + if random.chance(50) { random.below(2) } else { random.below(6) };
        let passes = (passes as u32).min(s.passes);
        let key_passes = passes.div_ceil(s.halves());
        let most = u64::from(s.depth() / key_passes) * u64::from(if narrow { 1 } else { s.lanes });
        let words = match random.below(12) {
            0 => 0,
            1 => 1,
            2 if most <= 600 => most,
            _ => random.below(most.min(40)) + 1,
        };
        cover.hit("no token", words == 0);
        // Large memories are not filled: their addresses are as wide as they are long.
        cover.hit("memory full", words == most || most > 600);
        cover.hit("several passes", key_passes > 1);
        cover.hit("two tokens a word", narrow || s.lanes == 1);
        let mut head = Self {
            factor: if random.chance(85) { std::f32::consts::LOG2_E / 8.0 } else { scale(random) },
            narrow,
            passes,
            key_passes,
            words,
            steps: VecDeque::new(),
            scores: vec![vec![Vec::new(); s.columns as usize]; key_passes as usize],
        };
        // In most heads nothing is NaN.
        let finite = random.chance(80);
        (0..words).for_each(|_| head.word_of(random, s, finite, cover));
        head
    }

    /// One more word, in all passes.
    fn word_of(&mut self, random: &mut Random, s: &Shape, finite: bool, cover: &mut Cover) {
        let (lanes, factor) = (s.lanes as usize, self.factor);
        let attended: Vec<bool> = (0..lanes).map(|_| random.chance(85)).collect();
        cover.hit("token left out", attended.contains(&false));
        let sum = |random: &mut Random| loop {
            let sum = Sum::any(random, factor);
            if !finite || (!sum.key.is_nan() && !sum.query.is_nan()) {
                return sum;
            }
        };
        let keys: Vec<E8M0> = (0..lanes).map(|_| sum(random).key).collect();
        for pass in 0..self.key_passes as usize {
            let (mut sums, mut queries) = (Vec::new(), Vec::new());
            for column in 0..s.columns as usize {
                let first = sum(random);
                let mut own = vec![first.acc / lanes as i64];
                own.extend((1..lanes).map(|_| sum(random).acc / 2));
                let score = |acc: i64, key: E8M0| {
                    let base = Base::new(key, first.query);
                    score_fixed(fp::mul(to_f32(acc, base, Pair::Int8Int8), factor))
                };
                let of_head = &mut self.scores[pass][column];
                if self.narrow {
                    of_head.extend((0..lanes).map(|lane| (score(own[lane], keys[lane]), attended[lane])));
                } else {
                    of_head.push((score(own.iter().sum(), keys[0]), attended[0]));
                }
                sums.push(own);
                queries.push(first.query);
            }
            let (keys, attended) = (keys.clone(), attended.clone());
            self.steps.push_back(Step { sums, keys, queries, attended });
        }
    }

    /// The word of a pair's head in a pass over the values.
    fn word(&self, s: &Shape, pass: u32, pair: u32) -> u64 {
        let column = pair + pass % s.halves() * s.pairs();
        let scores = &self.scores[(pass / s.halves()) as usize][column as usize];
        let attended: Vec<_> =
            scores.iter().filter(|(_, attended)| *attended).map(|(score, _)| *score).collect();
        if attended.contains(&None) {
            return NAN;
        }
        let largest = attended.into_iter().flatten().max();
        largest.map_or(0, |largest| (i64::from(max_int(largest)) + MAX_BIAS as i64) as u64)
    }
}

struct Bench {
    shape: Shape,
    dut: Rtl,
    random: Random,
    cover: Cover,
    /// What has to come out in the next cycles: first, words by pair.
    owed: VecDeque<Option<(bool, Vec<u64>)>>,
}

const BINS: [&str; 10] = [
    "no token",
    "memory full",
    "several passes",
    "two tokens a word",
    "token left out",
    "NaN",
    "nothing attended to",
    "start before the first word",
    "start with the first word",
    "gap",
];

impl Bench {
    fn new(shape: Shape, native: bool, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let module = Scores::new(shape)?.module()?;
        let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
        for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
            dut.set(&name, Bits::zero(width));
        }
        dut.reset();
        Ok(Self { shape, dut, random: Random::new(seed), cover: Cover::new(&BINS), owed: VecDeque::new() })
    }

    fn tick(&mut self) {
        let due = self.owed.pop_front().flatten();
        let at = self.dut.cycle();
        assert_eq!(self.dut.is_set("out_valid_o"), due.is_some(), "cycle {at}");
        if let Some((first, words)) = due {
            assert_eq!(self.dut.is_set("out_first_o"), first, "cycle {at}");
            let found = self.dut.bits("out_o");
            for (pair, word) in words.iter().enumerate().take(if first { 1 } else { usize::MAX }) {
                let found = found.slice(pair as u32 * WORD, WORD).to_u64().unwrap();
                assert_eq!(found, *word, "pair {pair}, cycle {at}");
            }
        }
        self.dut.tick();
        for name in ["start_i", "valid_i", "send_i"] {
            self.dut.set(name, false);
        }
    }

    fn give(&mut self, step: &Step) {
        let dut = &mut self.dut;
        dut.set("valid_i", true);
        let sums = step.sums.iter().flatten().map(|sum| Bits::from_i64(48, *sum));
        dut.set("sum_i", pack(sums));
        dut.set("key_scale_i", pack(step.keys.iter().map(|key| Bits::from_u64(8, key.0.into()))));
        dut.set("query_scale_i", pack(step.queries.iter().map(|query| Bits::from_u64(8, query.0.into()))));
        dut.set("attended_i", pack(step.attended.iter().map(|&bit| Bits::from_u64(1, bit.into()))));
    }

    fn begin(&mut self, head: &Head) {
        self.dut.set("start_i", true);
        self.dut.set("factor_i", u64::from(head.factor.to_bits()));
        self.dut.set("last_pass_i", u64::from(head.passes - 1));
        if self.shape.lanes == 2 {
            self.dut.set("narrow_i", head.narrow);
        }
    }

    /// Gives a head's words; the last one's sums are sampled on the edge before this returns.
    fn words(&mut self, head: &mut Head) {
        self.begin(head);
        let before = head.words == 0 || self.random.chance(50);
        self.cover.hit("start before the first word", before);
        self.cover.hit("start with the first word", !before);
        if before {
            self.tick();
        }
        let mut gaps = Gaps::new([100, 70, 20][self.random.below(3) as usize]);
        while let Some(step) = head.steps.pop_front() {
            while !gaps.next(&mut self.random) {
                self.cover.hit("gap", true);
                self.tick();
            }
            self.give(&step);
            self.tick();
        }
    }

    /// Has the largest given out.
    fn send(&mut self, head: &Head) {
        let scale = self.random.below(256);
        self.dut.set("send_i", true);
        self.dut.set("value_scale_i", scale);
        let s = self.shape;
        let words = |pass: u32| (0..s.pairs()).map(|pair| head.word(&s, pass, pair)).collect::<Vec<_>>();
        self.owed = VecDeque::from([None, Some((true, vec![scale]))]);
        self.owed.extend((0..head.passes).map(|pass| Some((false, words(pass)))));
        for pass in 0..head.passes {
            let words = words(pass);
            self.cover.hit("NaN", words.contains(&NAN));
            self.cover.hit("nothing attended to", head.words > 0 && words.contains(&0));
        }
        while !self.owed.is_empty() {
            self.tick();
        }
    }

    /// Asks for all scores of a head.
    fn read(&mut self, head: &Head) {
        let s = self.shape;
        let per_word = if head.narrow || s.lanes == 1 { 1 } else { s.lanes as usize };
        let rows = (head.words as usize).div_ceil(per_word);
        for row in 0..rows {
            for pass in 0..head.key_passes as usize {
                let address = row * head.key_passes as usize + pass;
                self.dut.set("read_address_i", address as u64);
                for _ in 0..Scores::READ {
                    self.tick();
                }
                let found = self.dut.bits("read_o");
                for (column, lane) in (0..s.columns).flat_map(|c| (0..s.lanes).map(move |l| (c, l))) {
                    let token = row * s.lanes as usize + lane as usize;
                    let Some((score, attended)) = head.scores[pass][column as usize].get(token) else {
                        continue;
                    };
                    let (pair, half) = (column % s.pairs(), column / s.pairs());
                    let at = (pair * s.lanes + lane) * s.halves() + half;
                    let entry = found.slice(33 * at, 33).to_u64().unwrap();
                    assert_eq!(entry >> 32 == 1, *attended, "token {token}, column {column}");
                    if let Some(score) = score {
                        assert_eq!(entry as u32, *score as u32, "token {token}, column {column}");
                    }
                }
            }
        }
    }

    fn head(&mut self) {
        let mut head = Head::any(&mut self.random, &self.shape, &mut self.cover);
        self.words(&mut head);
        // Pass 0 leaves two cycles after it is asked for.
        for _ in 0..Scores::LATENCY - 3 + self.random.below(3) as u32 * self.random.below(8) as u32 {
            self.tick();
        }
        self.send(&head);
        assert_eq!(self.dut.get("count_o"), head.words);
        self.read(&head);
    }
}

fn scores_of(shape: Shape, native: bool, heads: u64, seed: u64) -> TestResult {
    let mut bench = Bench::new(shape, native, seed)?;
    (0..heads).for_each(|_| bench.head());
    if !native {
        bench.cover.assert(1);
    }
    Ok(())
}

/// A shape with little memory, so that it is filled.
fn small(preset: &str) -> Result<Shape, Box<dyn std::error::Error>> {
    Ok(Shape { tokens: 96, passes: 6, ..shape(preset)? })
}

#[test]
fn scores_of_one_token_a_beat() -> TestResult {
    if skipped() {
        return Ok(());
    }
    scores_of(small("tiny")?, true, 20, 1)?;
    scores_of(small("tiny")?, false, 2000, 2)?;
    scores_of(Shape { columns: 1, ..small("tiny")? }, false, 500, 3)?;
    scores_of(shape("edge")?, false, 200, 4)
}

#[test]
fn scores_of_two_tokens_a_beat() -> TestResult {
    if skipped() {
        return Ok(());
    }
    scores_of(small("u55c")?, false, 2000, 5)
}

/// With the last word the largest: asked for a cycle too early, it is not among what leaves.
#[test]
fn scores_take_their_latency() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for preset in ["tiny", "u55c"] {
        let mut bench = Bench::new(small(preset)?, false, 6)?;
        let s = bench.shape;
        let head = Head {
            factor: 1.0,
            narrow: false,
            passes: 1,
            key_passes: 1,
            words: 2,
            steps: VecDeque::new(),
            scores: Vec::new(),
        };
        // Sums of 1 and 2: base 254 + 12 + 16 makes the accumulator's unit 1.
        let step = |sum: i64| Step {
            sums: vec![
                (0..s.lanes as i64).map(|lane| if lane == 0 { sum } else { 0 }).collect();
                s.columns as usize
            ],
            keys: vec![E8M0(141); s.lanes as usize],
            queries: vec![E8M0(141); s.columns as usize],
            attended: vec![true; s.lanes as usize],
        };
        for (early, expected) in [(1, 1), (0, 2)] {
            bench.begin(&head);
            bench.tick();
            bench.give(&step(1));
            bench.tick();
            bench.give(&step(2));
            bench.tick();
            for _ in 0..Scores::LATENCY - 3 - early {
                bench.tick();
            }
            bench.dut.set("send_i", true);
            bench.owed = VecDeque::from([
                None,
                Some((true, vec![0])),
                Some((false, vec![MAX_BIAS + expected; s.pairs() as usize])),
            ]);
            while !bench.owed.is_empty() {
                bench.dut.set("value_scale_i", 0);
                bench.tick();
            }
            for _ in 0..20 {
                bench.tick();
            }
        }
    }
    Ok(())
}

/// `cargo test --release -p fastcar-tests --test rtl_attn -- --ignored`
#[test]
#[ignore = "ten million words"]
fn scores_in_the_long_run() -> TestResult {
    if skipped() {
        return Ok(());
    }
    scores_of(small("u55c")?, false, 400_000, 7)
}
