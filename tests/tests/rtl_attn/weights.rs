//! Weights of values beside a model.
//!
//! | mutation | caught by |
//! |---|---|
//! | weights a cycle late | `weights_of_small_beats` |
//! | room for a weight more than the queue has | `weights_of_small_beats` |
//! | the sum of weights with the scale's part | `weights_of_small_beats` |
//! | scale bytes go on with each beat of 16 bytes | `weights_of_small_beats` |

use super::scores::pack;
use super::{Cover, Gaps, Random, Rtl, TestResult, shape, skipped};
use fastcar_arch::num::softmax::{distance, prob};
use fastcar_hw::attn::{MAX_BIAS, Scores, Shape, WORD, Weights, weights::TOTAL};
use fastcar_hw::func::Exp2;
use fastcar_hw::rtl::{Bits, Block};
use std::collections::VecDeque;

/// A head whose scores are known.
struct Head {
    narrow: bool,
    passes: u32,
    beats: u32,
    words: u64,
    /// By pass over the values, pair, token: score, attended.
    scores: Vec<Vec<Vec<(i32, bool)>>>,
    /// The integer maximum of all channels by pass and pair.
    maxima: Vec<Vec<i32>>,
    /// By part of a beat, or block of two beats, then lane.
    scales: Vec<Vec<u8>>,
    scale: u8,
}

/// A score at a distance below a maximum that leaves something mostly.
fn score(random: &mut Random, max: i32) -> i32 {
    let top = i64::from(max) << 16;
    let below = match random.below(5) {
        0 => random.below(1 << 16) as i64,
        1 => (random.below(30) << 16) as i64,
        2 => random.word() as u32 as i64,
        _ => random.below(26 << 16) as i64,
    };
    (top - below).clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

impl Head {
    fn any(random: &mut Random, s: &Shape, cover: &mut Cover) -> Self {
        let narrow = s.lanes == 2 && random.chance(40);
        let passes = (1 + if random.chance(50) { random.below(2) } else { random.below(6) }) as u32;
        let passes = passes.min(s.passes);
        let beats = if narrow { 1 } else { s.block_beats * (1 + random.below(4) as u32) };
        let key_passes = passes.div_ceil(s.halves());
        let most = u64::from(s.depth() / key_passes) * u64::from(if narrow { 1 } else { s.lanes });
        // The memory of scale bytes has an end as well.
        let most = most.min(u64::from(s.tokens * 4 / s.lanes * s.block_beats / beats));
        let words = match random.below(12) {
            0 => 0,
            1 => 1,
            2 if most <= 600 => most,
            _ => random.below(most.min(40)) + 1,
        };
        let tokens = words * if narrow { 2 } else { 1 };
        cover.hit("no token", words == 0);
        cover.hit("several passes", passes > 1);
        cover.hit("several beats", beats > 1);
        cover.hit("two tokens a word", narrow || s.lanes == 1);
        let mut maxima = Vec::new();
        let mut scores = Vec::new();
        for _ in 0..passes {
            let of_pass: Vec<i32> = (0..s.pairs())
                .map(|_| match random.below(8) {
                    0 => -32_768,
                    1 => 32_768,
                    _ => random.below(60) as i32 - 30,
                })
                .collect();
            let of_pairs = of_pass
                .iter()
                .map(|&max| (0..tokens).map(|_| (score(random, max), random.chance(85))).collect::<Vec<_>>());
            scores.push(of_pairs.collect());
            maxima.push(of_pass);
        }
        let scale = random.below(256) as u8;
        let near = random.below(40) as u8;
        let byte = |random: &mut Random| {
            let below = if random.chance(90) { random.below(1 + u64::from(near)) } else { random.below(256) };
            scale.saturating_sub(below as u8)
        };
        let parts = words * u64::from(beats / s.block_beats);
        let scales = (0..parts).map(|_| (0..s.lanes).map(|_| byte(random)).collect()).collect();
        Self { narrow, passes, beats, words, scores, maxima, scales, scale }
    }

    /// Weights of all beats and passes, by pair and lane.
    fn weights(&self, s: &Shape) -> VecDeque<Vec<u32>> {
        let mut all = VecDeque::new();
        for word in 0..self.words as usize {
            for beat in 0..self.beats as usize {
                let part = &self.scales[(word * self.beats as usize + beat) / s.block_beats as usize];
                for pass in 0..self.passes as usize {
                    let of = |pair: u32, lane: usize| {
                        let token = if self.narrow { word * 2 + lane } else { word };
                        let (score, attended) = self.scores[pass][pair as usize][token];
                        let distance = distance(self.maxima[pass][pair as usize], score);
                        if attended { prob(distance, u32::from(self.scale - part[lane])) } else { 0 }
                    };
                    let lanes = |pair| (0..s.lanes as usize).map(move |lane| of(pair, lane));
                    all.push_back((0..s.pairs()).flat_map(lanes).collect());
                }
            }
        }
        all
    }

    fn total(&self, pass: usize, pair: usize) -> u64 {
        let of_token = |(score, attended): &(i32, bool)| match attended {
            true => u64::from(prob(distance(self.maxima[pass][pair], *score), 0)),
            false => 0,
        };
        self.scores[pass][pair].iter().map(of_token).sum()
    }

    /// A word of the score memory.
    fn scores_at(&self, s: &Shape, address: u64) -> Bits {
        let key_passes = u64::from(self.passes.div_ceil(s.halves()));
        let (row, pass) = (address / key_passes, (address % key_passes) as u32);
        let entry = |pair: u32, lane: u32, half: u32| {
            let token = (row * u64::from(s.lanes) + u64::from(lane)) as usize;
            let of_pass = self.scores.get((pass * s.halves() + half) as usize);
            let found = of_pass.and_then(|pass| pass[pair as usize].get(token));
            let (score, attended) = *found.unwrap_or(&(0x5555_5555, true));
            Bits::from_u64(33, u64::from(attended) << 32 | u64::from(score as u32))
        };
        let all = (0..s.pairs()).flat_map(|p| (0..s.lanes).map(move |l| (p, l)));
        pack(all.flat_map(|(p, l)| (0..s.halves()).map(move |h| (p, l, h))).map(|(p, l, h)| entry(p, l, h)))
    }
}

const BINS: [&str; 8] = [
    "no token",
    "several passes",
    "several beats",
    "two tokens a word",
    "queue full",
    "always taken",
    "rests",
    "next head begun",
];

struct Bench {
    shape: Shape,
    dut: Rtl,
    random: Random,
    cover: Cover,
    /// What is read: as late as the memories.
    reads: VecDeque<(u64, u64)>,
}

impl Bench {
    fn new(shape: Shape, native: bool, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let module = Weights::new(shape)?.module()?;
        let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
        for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
            dut.set(&name, Bits::zero(width));
        }
        dut.reset();
        let reads = vec![(0, 0); Scores::READ as usize].into();
        Ok(Self { shape, dut, random: Random::new(seed), cover: Cover::new(&BINS), reads })
    }

    /// A cycle of the memories; inputs that last a cycle are taken back.
    fn tick(&mut self, head: &Head) {
        self.reads.push_back((self.dut.get("score_address_o"), self.dut.get("scale_address_o")));
        let (score, scale) = self.reads.pop_front().unwrap();
        self.dut.set("score_i", head.scores_at(&self.shape, score));
        let lanes = head.scales.get(scale as usize).cloned();
        let lanes = lanes.unwrap_or(vec![0; self.shape.lanes as usize]);
        self.dut.set("scale_i", pack(lanes.iter().map(|&byte| Bits::from_u64(8, byte.into()))));
        self.dut.tick();
        for name in ["in_valid_i", "in_first_i", "ask_i"] {
            self.dut.set(name, false);
        }
    }

    fn begin(&mut self, head: &Head) {
        self.dut.set("last_pass_i", u64::from(head.passes - 1));
        self.dut.set("last_beat_i", u64::from(head.beats - 1));
        self.dut.set("count_i", head.words);
        if self.shape.lanes == 2 {
            self.dut.set("narrow_i", head.narrow);
        }
    }

    /// What channels agreed upon, in the cycles from the first of it on.
    fn largest(&mut self, head: &Head, cycle: u32) {
        let pairs = self.shape.pairs();
        self.dut.set("in_valid_i", cycle <= head.passes);
        self.dut.set("in_first_i", cycle == 0);
        let words: Vec<u64> = match cycle {
            0 => vec![u64::from(head.scale); pairs as usize],
            _ => match head.maxima.get(cycle as usize - 1) {
                Some(maxima) => maxima.iter().map(|&m| (i64::from(m) + MAX_BIAS as i64) as u64).collect(),
                None => vec![0; pairs as usize],
            },
        };
        self.dut.set("in_i", pack(words.iter().map(|&word| Bits::from_u64(WORD, word))));
    }

    /// Takes all weights. They are there from their latency on, one in every cycle in which one is taken; so the beats
    /// never wait.
    fn take(&mut self, head: &Head) {
        let mut left = head.weights(&self.shape);
        let mut gaps = Gaps::new([100, 70, 10][self.random.below(3) as usize]);
        let (mut always, mut cycle, mut taken) = (true, 0u32, 0u32);
        while !left.is_empty() || cycle <= head.passes {
            self.largest(head, cycle);
            let at = self.dut.cycle();
            let there = cycle >= Weights::LATENCY && !left.is_empty();
            assert_eq!(self.dut.is_set("weight_valid_o"), there, "cycle {at}, {cycle} of the head");
            let ready = gaps.next(&mut self.random);
            self.dut.set("weight_ready_i", ready);
            if there {
                let expected = &left[0];
                let found: Vec<_> = self.dut.bits("weight_data_o").chunks_of(Exp2::WIDTH);
                assert_eq!(&found, expected, "cycle {at}");
                self.cover.hit("queue full", cycle > taken + Weights::LATENCY + 2 * Weights::QUEUE);
                if ready {
                    left.pop_front();
                    taken += 1;
                } else {
                    always = false;
                }
            }
            self.tick(head);
            cycle += 1;
        }
        self.cover.hit("always taken", always && taken > 100);
        self.dut.set("weight_ready_i", true);
        for _ in 0..self.random.below(3) {
            assert!(!self.dut.is_set("weight_valid_o"), "a weight too many");
            self.cover.hit("rests", true);
            self.tick(head);
        }
        self.dut.set("weight_ready_i", false);
    }

    fn totals(&mut self, head: &Head) {
        // The next head's keys may have begun.
        if self.random.chance(50) {
            self.dut.set("count_i", self.random.below(3));
            let other = self.random.below(1 << self.shape.pass_width());
            self.dut.set("last_pass_i", other);
            self.cover.hit("next head begun", true);
        }
        self.dut.set("ask_i", true);
        for cycle in 0..head.passes + 3 {
            let pass = cycle.checked_sub(2).filter(|&pass| pass < head.passes);
            assert_eq!(self.dut.is_set("total_valid_o"), pass.is_some());
            if let Some(pass) = pass {
                let found = self.dut.bits("total_o");
                for pair in 0..self.shape.pairs() {
                    let found = found.slice(pair * TOTAL, TOTAL).to_u64().unwrap();
                    assert_eq!(found, head.total(pass as usize, pair as usize), "pass {pass}, pair {pair}");
                }
            }
            self.tick(head);
        }
    }

    fn head(&mut self) {
        let head = Head::any(&mut self.random, &self.shape, &mut self.cover);
        self.begin(&head);
        self.take(&head);
        // The last weights are in the sums when they can be taken.
        self.totals(&head);
    }
}

trait Chunks {
    fn chunks_of(&self, width: u32) -> Vec<u32>;
}

impl Chunks for Bits {
    fn chunks_of(&self, width: u32) -> Vec<u32> {
        (0..self.width() / width).map(|n| self.slice(n * width, width).to_u64().unwrap() as u32).collect()
    }
}

fn weights_of(shape: Shape, native: bool, heads: u64, seed: u64) -> TestResult {
    let mut bench = Bench::new(shape, native, seed)?;
    (0..heads).for_each(|_| bench.head());
    if !native {
        bench.cover.assert(1);
    }
    Ok(())
}

/// A shape with little memory, so that it is read to its end.
fn small(preset: &str) -> Result<Shape, Box<dyn std::error::Error>> {
    Ok(Shape { tokens: 96, passes: 6, ..shape(preset)? })
}

#[test]
fn weights_of_small_beats() -> TestResult {
    if skipped() {
        return Ok(());
    }
    weights_of(small("tiny")?, true, 10, 1)?;
    weights_of(small("tiny")?, false, 600, 2)?;
    weights_of(Shape { columns: 1, block_beats: 1, ..small("tiny")? }, false, 300, 3)?;
    weights_of(shape("edge")?, false, 200, 4)
}

#[test]
fn weights_of_large_beats() -> TestResult {
    if skipped() {
        return Ok(());
    }
    weights_of(small("u55c")?, false, 600, 5)
}

/// `cargo test --release -p fastcar-tests --test rtl_attn -- --ignored`
#[test]
#[ignore = "ten million weights"]
fn weights_in_the_long_run() -> TestResult {
    if skipped() {
        return Ok(());
    }
    weights_of(small("u55c")?, false, 50_000, 6)
}
