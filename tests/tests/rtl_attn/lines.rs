//! Words of all channels as groups of one channel's, beside a model.

use super::scores::pack;
use super::{Cover, Gaps, Random, Rtl, TestResult, skipped};
use fastcar_hw::attn::Lines;
use fastcar_hw::rtl::{Bits, Block};
use std::collections::VecDeque;

const WORD: u32 = 48;
const LINE: usize = 32;

/// A round: each channel's line.
type Round = Vec<Vec<Bits>>;

struct Bench {
    dut: Rtl,
    random: Random,
    channels: usize,
    lanes: usize,
    /// The round that comes; rounds that are whole, with their numbers; when the next is.
    coming: Round,
    whole: VecDeque<(u64, Round)>,
    next: u64,
    due: VecDeque<(u64, Round)>,
    /// Groups that were asked for, with their cycles.
    asked: VecDeque<(u64, Bits)>,
}

impl Bench {
    fn new(channels: u32, lanes: u32, native: bool, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let module = Lines::new(channels, lanes)?.module()?;
        let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
        for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
            dut.set(&name, Bits::zero(width));
        }
        dut.reset();
        Ok(Self {
            dut,
            random: Random::new(seed),
            channels: channels as usize,
            lanes: lanes as usize,
            coming: vec![Vec::new(); channels as usize],
            whole: VecDeque::new(),
            next: 0,
            due: VecDeque::new(),
            asked: VecDeque::new(),
        })
    }

    /// A word of each channel, if there is room.
    fn give(&mut self, gives: bool, cover: &mut Cover) {
        let kept = self.whole.len() + self.due.len() + 1;
        let room = kept < Lines::ROUNDS as usize;
        cover.hit("full", !room);
        let gives = gives && room;
        self.dut.set("word_valid_i", gives);
        let words: Vec<_> = (0..self.channels).map(|_| self.random.bits(WORD)).collect();
        self.dut.set("words_i", pack(words.iter().cloned()));
        if !gives {
            return;
        }
        self.coming.iter_mut().zip(words).for_each(|(line, word)| line.push(word));
        if self.coming[0].len() == LINE {
            let round = std::mem::replace(&mut self.coming, vec![Vec::new(); self.channels]);
            self.due.push_back((self.dut.cycle() + 1, round));
        }
    }

    /// Any group of any round that is whole.
    fn ask(&mut self, cover: &mut Cover) {
        if self.whole.is_empty() || !self.random.chance(70) {
            return;
        }
        let which = self.random.below(self.whole.len() as u64) as usize;
        let channel = self.random.below(self.channels as u64) as usize;
        let group = self.random.below((LINE / self.lanes) as u64) as usize;
        let (number, round) = &self.whole[which];
        let words = &round[channel][group * self.lanes..][..self.lanes];
        let due = self.dut.cycle() + u64::from(Lines::READ);
        self.asked.push_back((due, pack(words.iter().cloned())));
        self.dut.set("ask_round_i", number % u64::from(Lines::ROUNDS));
        self.dut.set("ask_channel_i", channel as u64);
        self.dut.set("ask_group_i", group as u64);
        cover.hit("last channel", channel + 1 == self.channels);
        cover.hit("last group", group + 1 == LINE / self.lanes);
    }

    fn cycle(&mut self, gives: bool, cover: &mut Cover) {
        let now = self.dut.cycle();
        let whole = self.due.pop_front_if(|due| due.0 == now);
        assert_eq!(self.dut.is_set("whole_o"), whole.is_some(), "cycle {now}");
        if let Some((_, group)) = self.asked.pop_front_if(|asked| asked.0 == now) {
            assert_eq!(self.dut.bits("group_o"), group, "cycle {now}");
        }
        self.give(gives, cover);
        self.ask(cover);
        self.dut.tick();
        // It may be asked for from the next cycle on.
        if let Some((_, round)) = whole {
            self.whole.push_back((self.next, round));
            self.next += 1;
        }
        // A place is free when nobody asks for it any more.
        if self.random.chance(2) && self.whole.pop_front().is_some() {
            cover.hit("freed", true);
        }
    }

    fn run(&mut self, cycles: u64, cover: &mut Cover) {
        let mut gaps = Gaps::new(80);
        for _ in 0..cycles {
            let gives = gaps.next(&mut self.random);
            self.cycle(gives, cover);
        }
    }

    /// A run begins with round 0.
    fn start(&mut self) {
        self.dut.set("word_valid_i", false);
        self.dut.set("start_i", true);
        (0..3).for_each(|_| self.dut.tick());
        self.dut.set("start_i", false);
        self.coming.iter_mut().for_each(Vec::clear);
        (self.whole, self.due, self.asked, self.next) = Default::default();
    }
}

#[test]
fn lines_become_groups() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut cover = Cover::new(&["full", "last channel", "last group", "freed"]);
    Bench::new(4, 8, true, 1)?.run(300, &mut cover);
    for (channels, lanes) in [(1, 4), (4, 16), (32, 32)] {
        let mut bench = Bench::new(channels, lanes, false, 2)?;
        for _ in 0..3 {
            bench.run(3000, &mut cover);
            bench.start();
        }
    }
    cover.assert(50);
    Ok(())
}
