//! What channels agree upon, beside a model.

use super::scores::pack;
use super::{Cover, Gaps, Random, Rtl, TestResult, skipped};
use fastcar_hw::attn::{Exchange, NAN, Totals, WORD, weights::TOTAL};
use fastcar_hw::rtl::{Bits, Block, index_width};
use fastcar_tests::rtl::gather;
use std::collections::VecDeque;

/// What every channel has of every pair.
type Words = Vec<Vec<u64>>;

/// A number: none, NaN, or any, the same often.
fn word(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => NAN,
        1..=3 => 0,
        4 => random.below(1 << WORD),
        _ => 0x8000 + random.below(4),
    }
}

struct Bench {
    dut: Rtl,
    channels: usize,
    pairs: usize,
    latency: u32,
    random: Random,
    cover: Cover,
    /// The head of each channel.
    heads: Vec<u64>,
}

impl Bench {
    fn new(channels: u32, pairs: u32, native: bool, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let (exchange, totals) = (Exchange::new(channels, pairs)?, Totals::new(channels, pairs)?);
        assert_eq!(exchange.latency(), totals.latency());
        let parts = [("max", exchange.module()?), ("sum", totals.module()?)];
        let module = gather(&format!("agreed_n{channels}_p{pairs}"), &parts)?;
        let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
        for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
            dut.set(&name, Bits::zero(width));
        }
        if channels > 1 {
            dut.reset();
        }
        Ok(Self {
            dut,
            channels: channels as usize,
            pairs: pairs as usize,
            latency: exchange.latency(),
            random: Random::new(seed),
            cover: Cover::new(&["alone", "all of one", "odd", "gap", "none", "NaN"]),
            heads: vec![0; channels as usize],
        })
    }

    /// Deals channels to heads: as many to each, the last ones to nobody, as the layout does; or anyhow.
    fn deal(&mut self) {
        let most = self.channels as u64;
        let each = 1 + self.random.below(most);
        let mut head = 0;
        for channel in 0..self.channels {
            let regular = (channel as u64).is_multiple_of(each);
            let next = if each.is_multiple_of(5) { self.random.chance(30) } else { regular };
            head += u64::from(channel > 0 && next);
            self.heads[channel] = head;
        }
        self.cover.hit("alone", head + 1 == most);
        self.cover.hit("all of one", head == 0);
        self.cover.hit("odd", each % 2 == 1 && each > 1 && each < most || most < 4);
        if self.channels > 1 {
            let width = index_width(most);
            let heads = pack(self.heads.iter().map(|&head| Bits::from_u64(width, head)));
            self.dut.set("max_head_i", heads.clone());
            self.dut.set("sum_head_i", heads);
        }
    }

    fn give(&mut self, prefix: &str, width: u32, words: &Words) {
        let all = words.iter().flatten().map(|&word| Bits::from_u64(width, word));
        self.dut.set(&format!("{prefix}_in_i"), pack(all));
    }

    fn found(&mut self, prefix: &str, width: u32) -> Words {
        let bits = self.dut.bits(&format!("{prefix}_out_o"));
        let word = |n: usize| bits.slice(n as u32 * width, width).to_u64().unwrap();
        (0..self.channels).map(|c| (0..self.pairs).map(|p| word(c * self.pairs + p)).collect()).collect()
    }

    /// Words for so many cycles, and what has to come of them.
    fn run(&mut self, cycles: u64) {
        self.deal();
        let mut owed: VecDeque<Option<(bool, Words, Words)>> = (0..self.latency).map(|_| None).collect();
        let mut gaps = Gaps::new(70);
        for name in ["max_in_valid_i", "sum_in_valid_i"] {
            self.dut.set(name, false);
        }
        (0..2).for_each(|_| self.dut.tick());
        for cycle in 0..cycles + u64::from(self.latency) {
            let gives = cycle < cycles && gaps.next(&mut self.random);
            self.cover.hit("gap", !gives);
            let first = self.random.chance(30);
            let all = |bench: &mut Self, of: fn(&mut Random) -> u64| -> Words {
                let each = |bench: &mut Self| (0..bench.pairs).map(|_| of(&mut bench.random)).collect();
                (0..bench.channels).map(|_| each(bench)).collect()
            };
            let words = all(self, word);
            // 32 of them fit, as a head's do.
            let sums = all(self, |random| random.bits(TOTAL - 5).to_u64().unwrap());
            self.give("max", WORD, &words);
            self.give("sum", TOTAL, &sums);
            self.dut.set("max_in_valid_i", gives);
            self.dut.set("sum_in_valid_i", gives);
            self.dut.set("max_in_first_i", first);
            owed.push_back(gives.then_some((first, words, sums)));
            self.check(owed.pop_front().flatten());
            self.dut.tick();
        }
    }

    fn check(&mut self, due: Option<(bool, Words, Words)>) {
        let at = self.dut.cycle();
        assert_eq!(self.dut.is_set("max_out_valid_o"), due.is_some(), "cycle {at}");
        assert_eq!(self.dut.is_set("sum_out_valid_o"), due.is_some(), "cycle {at}");
        let Some((first, words, sums)) = due else { return };
        assert_eq!(self.dut.is_set("max_out_first_o"), first, "cycle {at}");
        let (largest, totals) = (self.found("max", WORD), self.found("sum", TOTAL));
        for (channel, pair) in (0..self.channels).flat_map(|c| (0..self.pairs).map(move |p| (c, p))) {
            let own: Vec<_> = (0..self.channels).filter(|&c| self.heads[c] == self.heads[channel]).collect();
            let expected = own.iter().map(|&c| words[c][pair]).max().unwrap();
            self.cover.hit("none", expected == 0);
            self.cover.hit("NaN", expected == NAN);
            assert_eq!(largest[channel][pair], expected, "channel {channel}, cycle {at}");
            if own[0] == channel {
                let expected: u64 = own.iter().map(|&c| sums[c][pair]).sum();
                assert_eq!(totals[channel][pair], expected, "channel {channel}, cycle {at}");
            }
        }
    }
}

#[test]
fn channels_agree() -> TestResult {
    if skipped() {
        return Ok(());
    }
    Bench::new(4, 1, true, 1)?.run(200);
    for (channels, pairs, rounds) in [(1, 1, 4), (2, 1, 20), (4, 1, 200), (32, 2, 200)] {
        let mut bench = Bench::new(channels, pairs, false, 2)?;
        (0..rounds).for_each(|_| bench.run(50));
        if channels > 2 {
            bench.cover.assert(1);
        }
    }
    Ok(())
}
