//! Queues, buffers, converters, forks and joins.

use crate::{FIFOS, RATIOS, WAYS, dut};
use fastcar_hw::rtl::{Bits, RamStyle};
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl};
use std::collections::VecDeque;

/// A producer that keeps to the rules: what it offers stays until it is taken.
struct Producer<T> {
    gaps: Gaps,
    offered: Option<T>,
}

impl<T: Clone> Producer<T> {
    fn new() -> Self {
        Self { gaps: Gaps::new(0), offered: None }
    }

    fn offer(&mut self, random: &mut Random, make: impl FnOnce(&mut Random) -> T) -> Option<T> {
        if self.gaps.next(random) && self.offered.is_none() {
            self.offered = Some(make(random));
        }
        self.offered.clone()
    }

    fn taken(&mut self) {
        self.offered = None;
    }

    /// Goes on with other gaps; what is offered stays.
    fn turn_to(&mut self, percent: u64) {
        self.gaps = Gaps::new(percent);
    }
}

/// How willing both sides are, in percent: balanced, producer ahead, consumer ahead, both at full speed.
const TRAFFIC: [(u64, u64); 4] = [(50, 50), (95, 30), (30, 95), (100, 100)];
const CYCLES: u64 = 1500;

fn offer(dut: &mut Rtl, bus: &str, word: Option<&Bits>, width: u32, random: &mut Random) {
    dut.set(&format!("{bus}_valid_i"), word.is_some());
    // Data that is not valid is anything.
    dut.set(&format!("{bus}_data_i"), word.cloned().unwrap_or_else(|| random.bits(width)));
}

/// What a queue should do: words wait in a memory, and with `deep` one of them in an output register.
struct Queue {
    depth: usize,
    deep: bool,
    memory: VecDeque<Bits>,
    output: Option<Bits>,
}

impl Queue {
    fn len(&self) -> usize {
        self.memory.len() + usize::from(self.output.is_some())
    }

    fn front(&self) -> Option<&Bits> {
        if self.deep { self.output.as_ref() } else { self.memory.front() }
    }

    fn tick(&mut self, push: Option<Bits>, pop: bool) {
        if !self.deep {
            if pop {
                self.memory.pop_front();
            }
        } else if self.output.is_none() || pop {
            self.output = self.memory.pop_front();
        }
        self.memory.extend(push);
        assert!(self.len() <= self.depth, "the model overflows");
    }
}

#[test]
fn fifos_are_queues() {
    for (name, width, depth, style, almost, _) in FIFOS {
        let Some(mut dut) = dut() else { return };
        let mut random = Random::new(u64::from(width * depth));
        let mut cover = Cover::new(&["empty", "full", "both", "almost", "refused", "restarted"]);
        let mut queue = Queue {
            depth: depth as usize,
            deep: style != RamStyle::Distributed,
            memory: VecDeque::new(),
            output: None,
        };
        let mut producer = Producer::new();
        for (come, go) in TRAFFIC {
            producer.turn_to(come);
            let mut consumer = Gaps::new(go);
            for cycle in 0..CYCLES {
                let word = producer.offer(&mut random, |random| random.bits(width));
                let ready = consumer.next(&mut random);
                offer(&mut dut, &format!("{name}_in"), word.as_ref(), width, &mut random);
                dut.set(&format!("{name}_out_ready_i"), ready);
                let restart = cycle % 250 == 249;
                dut.set("rst_i", restart);

                let count = queue.len();
                assert_eq!(
                    dut.is_set(&format!("{name}_in_ready_o")),
                    count < queue.depth,
                    "{name} ready, {cycle}"
                );
                assert_eq!(
                    dut.is_set(&format!("{name}_out_valid_o")),
                    queue.front().is_some(),
                    "{name} valid, {cycle}"
                );
                if let Some(front) = queue.front() {
                    assert_eq!(&dut.bits(&format!("{name}_out_data_o")), front, "{name} data, {cycle}");
                }
                assert_eq!(dut.get(&format!("{name}_count_o")), count as u64, "{name} count, {cycle}");
                assert_eq!(
                    dut.is_set(&format!("{name}_almost_full_o")),
                    count >= almost as usize,
                    "{name}, {cycle}"
                );

                let push = word.clone().filter(|_| count < queue.depth);
                let pop = ready && queue.front().is_some();
                cover.hit("empty", count == 0);
                cover.hit("full", count == queue.depth);
                // A queue of one word has no cycle with both.
                cover.hit("both", push.is_some() && pop || depth == 1);
                cover.hit("almost", count == almost as usize);
                cover.hit("refused", word.is_some() && push.is_none());
                cover.hit("restarted", restart && count > 0);
                if push.is_some() || restart {
                    producer.taken();
                }
                queue.tick(push, pop);
                if restart {
                    queue.memory.clear();
                    queue.output = None;
                }
                dut.tick();
            }
        }
        cover.assert(5);
    }
}

#[test]
fn skid_buffers_are_queues() {
    for (name, width) in [("skid_small", 3), ("skid_wide", 100)] {
        let Some(mut dut) = dut() else { return };
        let mut random = Random::new(u64::from(width));
        let mut cover = Cover::new(&["empty", "one", "two", "through"]);
        let mut queue: VecDeque<Bits> = VecDeque::new();
        let mut producer = Producer::new();
        for (come, go) in TRAFFIC {
            producer.turn_to(come);
            let mut consumer = Gaps::new(go);
            for cycle in 0..CYCLES {
                let word = producer.offer(&mut random, |random| random.bits(width));
                let ready = consumer.next(&mut random);
                offer(&mut dut, &format!("{name}_in"), word.as_ref(), width, &mut random);
                dut.set(&format!("{name}_out_ready_i"), ready);
                // Neither output depends on this cycle's inputs: that is what the buffer is for.
                assert_eq!(
                    dut.is_set(&format!("{name}_in_ready_o")),
                    queue.len() < 2,
                    "{name} ready, {cycle}"
                );
                assert_eq!(
                    dut.is_set(&format!("{name}_out_valid_o")),
                    !queue.is_empty(),
                    "{name} valid, {cycle}"
                );
                if let Some(front) = queue.front() {
                    assert_eq!(&dut.bits(&format!("{name}_out_data_o")), front, "{name} data, {cycle}");
                }
                let push = word.filter(|_| queue.len() < 2);
                let pop = ready && !queue.is_empty();
                cover.hit("empty", queue.is_empty());
                cover.hit("one", queue.len() == 1);
                cover.hit("two", queue.len() == 2);
                cover.hit("through", push.is_some() && pop);
                if pop {
                    queue.pop_front();
                }
                if push.is_some() {
                    producer.taken();
                }
                queue.extend(push);
                dut.tick();
            }
        }
        cover.assert(100);
    }
}

/// A word of a packet on either side of a converter.
#[derive(Clone)]
struct Beat {
    words: Vec<Bits>,
    last: bool,
}

fn beat(random: &mut Random, width: u32, ratio: u32) -> Beat {
    let last = random.chance(30);
    let words = if last { 1 + random.below(u64::from(ratio)) } else { u64::from(ratio) };
    Beat { words: (0..words).map(|_| random.bits(width)).collect(), last }
}

#[test]
fn wider_words_are_their_narrow_ones() {
    for (width, ratio) in RATIOS {
        let Some(mut dut) = dut() else { return };
        let name = format!("wider_{width}");
        let mut random = Random::new(u64::from(width));
        let mut cover = Cover::new(&["full word", "short word", "refused", "no gap"]);
        let mut collected: Vec<Bits> = Vec::new();
        let mut output: Option<Beat> = None;
        let mut producer = Producer::new();
        for (come, go) in TRAFFIC {
            producer.turn_to(come);
            let mut consumer = Gaps::new(go);
            for cycle in 0..CYCLES {
                let word = producer.offer(&mut random, |random| (random.bits(width), random.chance(20)));
                let ready = consumer.next(&mut random);
                offer(&mut dut, &format!("{name}_in"), word.as_ref().map(|word| &word.0), width, &mut random);
                dut.set(&format!("{name}_in_last_i"), word.as_ref().is_some_and(|word| word.1));
                dut.set(&format!("{name}_out_ready_i"), ready);
                let takes = output.is_none() || ready;
                assert_eq!(dut.is_set(&format!("{name}_in_ready_o")), takes, "{name} ready, {cycle}");
                assert_eq!(
                    dut.is_set(&format!("{name}_out_valid_o")),
                    output.is_some(),
                    "{name} valid, {cycle}"
                );
                if let Some(beat) = &output {
                    check_wide(&mut dut, &name, beat, width);
                    cover.hit("full word", beat.words.len() == ratio as usize);
                    cover.hit("short word", beat.words.len() < ratio as usize);
                }
                cover.hit("refused", word.is_some() && !takes);
                cover.hit("no gap", word.is_some() && output.is_some() && ready);
                if takes {
                    output = None;
                }
                if let Some((data, last)) = word.filter(|_| takes) {
                    producer.taken();
                    collected.push(data);
                    if last || collected.len() == ratio as usize {
                        output = Some(Beat { words: std::mem::take(&mut collected), last });
                    }
                }
                dut.tick();
            }
        }
        cover.assert(50);
    }
}

fn check_wide(dut: &mut Rtl, name: &str, beat: &Beat, width: u32) {
    let data = dut.bits(&format!("{name}_out_data_o"));
    for (lane, word) in (0..).zip(&beat.words) {
        assert_eq!(&data.slice(lane * width, width), word, "{name} lane {lane}, {}", dut.cycle());
    }
    assert_eq!(
        dut.get(&format!("{name}_out_keep_o")),
        (1 << beat.words.len()) - 1,
        "{name}, {}",
        dut.cycle()
    );
    assert_eq!(dut.is_set(&format!("{name}_out_last_o")), beat.last, "{name}, {}", dut.cycle());
}

#[test]
fn narrower_words_are_those_of_the_wide_ones() {
    for (width, ratio) in RATIOS {
        let Some(mut dut) = dut() else { return };
        let name = format!("narrower_{width}");
        let mut random = Random::new(u64::from(width));
        let mut cover = Cover::new(&["first", "final", "last", "stalled"]);
        let mut done = 0;
        let mut producer = Producer::new();
        for (come, go) in TRAFFIC {
            producer.turn_to(come);
            let mut consumer = Gaps::new(go);
            for cycle in 0..CYCLES {
                let wide = producer.offer(&mut random, |random| beat(random, width, ratio));
                let ready = consumer.next(&mut random);
                let mut bits = random.bits(width * ratio);
                if let Some(beat) = &wide {
                    // What is not kept is anything.
                    let kept = beat.words.len() as u32 * width;
                    let mut parts = vec![Bits::concat(&beat.words.iter().rev().cloned().collect::<Vec<_>>())];
                    if kept < width * ratio {
                        parts.insert(0, random.bits(width * ratio - kept));
                    }
                    bits = Bits::concat(&parts);
                }
                dut.set(&format!("{name}_in_valid_i"), wide.is_some());
                dut.set(&format!("{name}_in_data_i"), bits);
                dut.set(
                    &format!("{name}_in_keep_i"),
                    wide.as_ref().map_or(1, |beat| (1u64 << beat.words.len()) - 1),
                );
                dut.set(&format!("{name}_in_last_i"), wide.as_ref().is_some_and(|beat| beat.last));
                dut.set(&format!("{name}_out_ready_i"), ready);
                assert_eq!(
                    dut.is_set(&format!("{name}_out_valid_o")),
                    wide.is_some(),
                    "{name} valid, {cycle}"
                );
                if let Some(beat) = &wide {
                    let last_word = done + 1 == beat.words.len();
                    assert_eq!(
                        dut.is_set(&format!("{name}_in_ready_o")),
                        ready && last_word,
                        "{name} ready, {cycle}"
                    );
                    assert_eq!(
                        dut.bits(&format!("{name}_out_data_o")),
                        beat.words[done],
                        "{name} data, {cycle}"
                    );
                    assert_eq!(
                        dut.is_set(&format!("{name}_out_last_o")),
                        beat.last && last_word,
                        "{name} last, {cycle}"
                    );
                    cover.hit("first", done == 0);
                    cover.hit("final", last_word);
                    cover.hit("last", beat.last && last_word);
                    cover.hit("stalled", !ready);
                    if ready {
                        done = if last_word { 0 } else { done + 1 };
                        if last_word {
                            producer.taken();
                        }
                    }
                }
                dut.tick();
            }
        }
        cover.assert(50);
    }
}

#[test]
fn forks_give_every_word_to_each() {
    let Some(mut dut) = dut() else { return };
    let mut random = Random::new(5);
    let mut cover = Cover::new(&["at once", "one by one"]);
    let mut done = [false; WAYS as usize];
    let mut producer = Producer::new();
    for (come, go) in TRAFFIC {
        producer.turn_to(come);
        let mut consumers: Vec<Gaps> = done.iter().map(|_| Gaps::new(go)).collect();
        for cycle in 0..CYCLES {
            let word = producer.offer(&mut random, |random| random.bits(8));
            offer(&mut dut, "fork_in", word.as_ref(), 8, &mut random);
            let ready: Vec<bool> = consumers.iter_mut().map(|gaps| gaps.next(&mut random)).collect();
            for (way, ready) in ready.iter().enumerate() {
                dut.set(&format!("fork_out{way}_ready_i"), *ready);
            }
            for (way, done) in done.iter().enumerate() {
                let valid = word.is_some() && !done;
                assert_eq!(dut.is_set(&format!("fork_out{way}_valid_o")), valid, "way {way}, {cycle}");
                if let Some(word) = word.as_ref().filter(|_| valid) {
                    assert_eq!(&dut.bits(&format!("fork_out{way}_data_o")), word, "way {way}, {cycle}");
                }
            }
            let has: Vec<bool> = done.iter().zip(&ready).map(|(done, ready)| *done || *ready).collect();
            let all = has.iter().all(|has| *has);
            assert_eq!(dut.is_set("fork_in_ready_o"), all, "{cycle}");
            if word.is_some() {
                cover.hit("at once", all && done == [false; WAYS as usize]);
                cover.hit("one by one", all && done != [false; WAYS as usize]);
                if all {
                    producer.taken();
                }
                done.iter_mut().zip(has).for_each(|(done, has)| *done = has && !all);
            }
            dut.tick();
        }
    }
    cover.assert(50);
}

#[test]
fn joins_wait_for_all() {
    let Some(mut dut) = dut() else { return };
    let mut random = Random::new(6);
    let mut cover = Cover::new(&["some", "all", "stalled"]);
    let mut producers: Vec<Producer<Bits>> = (0..WAYS).map(|_| Producer::new()).collect();
    for (come, go) in TRAFFIC {
        producers.iter_mut().for_each(|producer| producer.turn_to(come));
        let mut consumer = Gaps::new(go);
        for cycle in 0..CYCLES {
            let words: Vec<Option<Bits>> = producers
                .iter_mut()
                .map(|producer| producer.offer(&mut random, |random| random.bits(8)))
                .collect();
            for (way, word) in words.iter().enumerate() {
                offer(&mut dut, &format!("join_in{way}"), word.as_ref(), 8, &mut random);
            }
            let ready = consumer.next(&mut random);
            dut.set("join_out_ready_i", ready);
            let all: Option<Vec<Bits>> = words.iter().rev().cloned().collect();
            assert_eq!(dut.is_set("join_out_valid_o"), all.is_some(), "{cycle}");
            if let Some(words) = &all {
                assert_eq!(dut.bits("join_out_data_o"), Bits::concat(words), "{cycle}");
            }
            let passes = all.is_some() && ready;
            for way in 0..WAYS {
                assert_eq!(dut.is_set(&format!("join_in{way}_ready_o")), passes, "way {way}, {cycle}");
            }
            if passes {
                producers.iter_mut().for_each(Producer::taken);
            }
            cover.hit("some", all.is_none() && words.iter().any(Option::is_some));
            cover.hit("all", all.is_some());
            cover.hit("stalled", all.is_some() && !ready);
            dut.tick();
        }
    }
    cover.assert(50);
}
