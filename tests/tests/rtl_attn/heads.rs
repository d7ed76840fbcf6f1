//! Whole heads: keys and values in, sums out, on one and on several channels that share the head; against the
//! functional model.

#[path = "heads/beats.rs"]
pub mod beats;
#[path = "heads/machine.rs"]
pub mod machine;
#[path = "heads/task.rs"]
pub mod task;

use super::{Cover, Gaps, Random, Rtl, TestResult, skipped};
use beats::{Inputs, Sizes};
use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_arch::num::fp::CANONICAL_NAN;
use fastcar_arch::num::mx::E8M0;
use fastcar_arch::num::softmax;
use fastcar_arch::timing::{MAC_LATENCY, MAC_START, SCORE_LATENCY, value_passes};
use fastcar_hw::attn::{Attention, MAX_BIAS, NAN, Shape, WORD, weights::TOTAL};
use fastcar_hw::pe::Cluster;
use fastcar_hw::rtl::{Bits, Block};
use machine::Machine;
use std::collections::VecDeque;
use task::Task;

pub type Made<T> = Result<T, Box<dyn std::error::Error>>;

/// A configuration like a preset with other channels and beats.
pub fn config(preset: &str, channels: u32, beat_bytes: u32) -> Made<AccelConfig> {
    let fields = AccelConfig::preset(preset)?.fields().clone();
    let sizes = ConfigFields { slots: 8, score_tokens: 1024, acc_rows: 512, ..fields };
    Ok(AccelConfig::new(ConfigFields { channels, beat_bytes, ..sizes })?)
}

struct Bench {
    sizes: Sizes,
    dut: Rtl,
    random: Random,
    cover: Cover,
    now: u64,
    /// What the middle learnt: scale, and the words by pass over the values.
    agreed: Vec<Vec<u64>>,
}

const BINS: [&str; 10] = [
    "list",
    "every token",
    "no token",
    "token left out",
    "channel without a token",
    "several passes",
    "values at once",
    "NaN",
    "gap",
    "narrow",
];

impl Bench {
    fn new(config: AccelConfig, seed: u64) -> Made<Self> {
        let module = Machine { config: config.clone() }.module()?;
        let mut dut = Rtl::build(&module)?;
        for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
            dut.set(&name, Bits::zero(width));
        }
        dut.reset();
        let sizes = Sizes { cluster: Cluster::new(&config)?, shape: Shape::of(&config)?, config };
        let (random, cover) = (Random::new(seed), Cover::new(&BINS));
        Ok(Self { sizes, dut, random, cover, now: 0, agreed: Vec::new() })
    }

    fn channels(&self) -> usize {
        self.sizes.config.channels() as usize
    }

    fn tick(&mut self) {
        for channel in 0..self.channels() {
            assert!(
                !self.dut.is_set(&format!("c{channel}_missing_o")),
                "a beat without a weight, cycle {}",
                self.now
            );
        }
        if self.dut.is_set("agreed_valid_o") {
            let words = self.dut.bits("agreed_o");
            let word = |pair: u32| words.slice(pair * WORD, WORD).to_u64().unwrap();
            assert_eq!(self.dut.is_set("agreed_first_o"), self.agreed.is_empty());
            self.agreed.push((0..self.sizes.shape.pairs()).map(word).collect());
        }
        self.dut.tick();
        self.now += 1;
        for channel in 0..self.channels() {
            for name in ["valid_i", "scale_i", "start_i", "part_valid_i", "key_valid_i", "value_valid_i"] {
                self.dut.set(&format!("c{channel}_{name}"), false);
            }
        }
        for name in ["send_i", "ask_i"] {
            self.dut.set(name, false);
        }
    }

    /// Gives all channels their beats, each at its own pace; the last of all is sampled on the edge before this
    /// returns.
    fn stream(&mut self, mut beats: Vec<VecDeque<Inputs>>, percent: u64) {
        let mut gaps: Vec<_> = (0..self.channels()).map(|_| Gaps::new(percent)).collect();
        while beats.iter().any(|beats| !beats.is_empty()) {
            for (channel, beats) in beats.iter_mut().enumerate() {
                let gives = gaps[channel].next(&mut self.random);
                self.cover.hit("gap", !gives);
                let Some(inputs) = beats.pop_front_if(|_| gives) else { continue };
                for (name, value) in inputs {
                    self.dut.set(&format!("c{channel}_{name}"), value);
                }
            }
            self.tick();
        }
    }

    fn wait(&mut self, cycles: u64) {
        (0..cycles).for_each(|_| self.tick());
    }

    /// Tells all channels what head begins.
    fn begin(&mut self, task: &Task, passes: u32) {
        for channel in 0..self.channels() {
            let port = |name: &str| format!("c{channel}_{name}");
            self.dut.set(&port("start_i"), true);
            self.dut.set(&port("last_pass_i"), u64::from(passes - 1));
            let word_beats = task.dim.div_ceil(self.sizes.beat()) as u64;
            self.dut.set(&port("last_beat_i"), word_beats - 1);
            if self.sizes.shape.lanes > 1 {
                self.dut.set(&port("narrow_i"), self.sizes.narrow(task));
            }
            self.dut.set(&port("factor_i"), u64::from(task.factor.to_bits()));
        }
    }

    /// From the last key, which was sampled on the edge before, to the first cycle in which a value may come: the
    /// weights are there one cycle earlier. `empty`: channels without a token.
    fn agree(&mut self, empty: &[bool]) {
        let sums = self.now - 1 + MAC_LATENCY;
        self.agreed.clear();
        self.wait(sums + u64::from(Attention::SEND) - self.now);
        self.dut.set("send_i", true);
        // The first beat, taken MAC_START after the product may be armed, is at the cluster a cycle later.
        let values = sums + SCORE_LATENCY + MAC_START + 1;
        self.wait(values - 2 - self.now);
        for there in [false, true] {
            for (channel, empty) in empty.iter().enumerate() {
                assert_eq!(self.dut.is_set(&format!("c{channel}_left_o")), there && !empty, "{there}");
            }
            self.tick();
        }
    }

    /// A head from its keys to its sums.
    fn head(&mut self) -> TestResult {
        let task = Task::any(&mut self.random, &self.sizes.config, &mut self.cover)?;
        let passes = value_passes(&self.sizes.config, task.group as u32);
        let keys: Vec<_> = (0..self.channels()).map(|channel| self.sizes.keys(&task, channel)).collect();
        let empty: Vec<bool> = keys.iter().map(VecDeque::is_empty).collect();
        let percent = [100, 100, 60][self.random.below(3) as usize];
        let at_once = self.random.chance(50);
        self.cover.hit("several passes", passes > 1);
        self.cover.hit("narrow", self.sizes.narrow(&task) || self.sizes.shape.lanes == 1);
        self.cover.hit("channel without a token", empty.contains(&true));
        self.cover.hit("values at once", at_once && percent == 100);

        self.begin(&task, passes);
        if !empty.contains(&false) {
            self.tick();
        }
        self.stream(keys, percent);
        self.agree(&empty);
        if !at_once {
            let more = self.random.below(100);
            self.wait(more);
        }
        let values = (0..self.channels()).map(|channel| self.sizes.values(&task, channel)).collect();
        self.stream(values, percent);
        self.wait(u64::from(self.sizes.cluster.value_latency()));
        for channel in 0..self.channels() {
            assert!(!self.dut.is_set(&format!("c{channel}_left_o")), "a weight too many");
        }
        let totals = self.totals(passes);
        assert_eq!(self.agreed.len(), passes as usize + 1);
        for (head, total) in totals.into_iter().enumerate().take(task.group) {
            self.check(&task, head, total, &empty);
        }
        Ok(())
    }

    /// The sums of weights, pass by pass and pair by pair.
    fn totals(&mut self, passes: u32) -> Vec<u64> {
        self.dut.set("ask_i", true);
        let mut all = Vec::new();
        for _ in 0..passes + 20 {
            if self.dut.is_set("total_valid_o") {
                let found = self.dut.bits("total_o");
                let total = |pair: u32| found.slice(pair * TOTAL, TOTAL).to_u64().unwrap();
                all.extend((0..self.sizes.shape.pairs()).map(total));
            }
            self.tick();
        }
        all
    }

    /// A channel's word of sums of values.
    fn word(&mut self, channel: usize, address: u64) -> Vec<i64> {
        let port = |name: &str| format!("c{channel}_{name}");
        self.dut.set(&port("value_valid_i"), true);
        self.dut.set(&port("value_address_i"), address);
        self.wait(2);
        assert!(self.dut.is_set(&port("value_valid_o")));
        let found = self.dut.bits(&port("value_sum_o"));
        (0..found.width() / 48).map(|n| found.slice(48 * n, 48).to_i64().unwrap()).collect()
    }

    /// A query head's sums of values over all channels.
    fn sums(&mut self, task: &Task, head: usize, empty: &[bool]) -> Vec<i64> {
        let (beat, pairs, dim) = (self.sizes.beat(), self.sizes.shape.pairs() as usize, task.dim);
        let parts = dim.div_ceil(beat);
        let mut sums = vec![0; dim];
        for channel in (0..self.channels()).filter(|&channel| !empty[channel]) {
            for part in 0..parts {
                let word = self.word(channel, (head / pairs * parts + part) as u64);
                // Several tokens in a beat have sums of their own.
                for (lane, sum) in word[head % pairs * beat..][..beat].iter().enumerate() {
                    sums[(part * beat + lane) % dim] += sum;
                }
            }
        }
        sums
    }

    /// A query head's words, as the vector unit makes them of what the clusters give, are the functional model's.
    fn check(&mut self, task: &Task, head: usize, total: u64, empty: &[bool]) {
        let (pairs, dim) = (self.sizes.shape.pairs() as usize, task.dim);
        let scale = E8M0(self.agreed[0][0] as u8);
        let largest = self.agreed[1 + head / pairs][head % pairs];
        assert!(largest == NAN || largest <= MAX_BIAS + (1 << 15));
        let nan = largest == NAN || scale.is_nan();
        self.cover.hit("NaN", nan);
        let sums = self.sums(task, head, empty);
        for (word, (sum, expected)) in sums.into_iter().zip(&task.expected[head * dim..]).enumerate() {
            let found = match largest {
                0 => 0.0,
                _ if nan => CANONICAL_NAN,
                _ => softmax::output(sum, scale, total),
            };
            let (blocks, group) = (&task.blocks, task.group);
            let place = format!("head {head} of {group}, word {word} of {dim}, blocks {blocks:?}");
            assert_eq!(found.to_bits(), expected.to_bits(), "{found} for {expected}: {place}");
        }
    }
}

fn heads_of(config: AccelConfig, heads: u64, seed: u64) -> TestResult {
    let mut bench = Bench::new(config, seed)?;
    for _ in 0..heads {
        bench.head()?;
    }
    bench.cover.assert(1);
    Ok(())
}

#[test]
fn heads_on_one_channel() -> TestResult {
    if skipped() {
        return Ok(());
    }
    heads_of(config("tiny", 1, 16)?, 60, 1)
}

#[test]
fn heads_on_two_channels() -> TestResult {
    if skipped() {
        return Ok(());
    }
    heads_of(config("edge", 2, 16)?, 60, 2)
}

#[test]
fn heads_on_four_channels_of_32_byte_beats() -> TestResult {
    if skipped() {
        return Ok(());
    }
    heads_of(config("edge", 4, 32)?, 60, 3)
}

#[test]
fn heads_on_two_channels_of_64_byte_beats() -> TestResult {
    if skipped() {
        return Ok(());
    }
    heads_of(config("u55c", 2, 64)?, 60, 4)
}
