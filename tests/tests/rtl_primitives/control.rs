//! Delay lines, counters, memories, arbiters, credits.

use crate::{ARBITERS, COUNTERS, CREDITS, DELAYS, RAMS, dut};
use fastcar_hw::rtl::{Bits, index_width};
use fastcar_tests::rtl::{Cover, Gaps, Random};
use std::collections::VecDeque;

const CYCLES: u64 = 4000;

#[test]
fn delay_lines_delay() {
    let Some(mut dut) = dut() else { return };
    let mut random = Random::new(1);
    let mut sent: Vec<VecDeque<Bits>> = DELAYS.map(|_| VecDeque::new()).into();
    for _ in 0..CYCLES {
        for ((name, width, cycles), sent) in DELAYS.iter().zip(&mut sent) {
            let value = random.bits(*width);
            dut.set(&format!("{name}_data_i"), &value);
            sent.push_back(value);
            if sent.len() > *cycles as usize {
                assert_eq!(
                    dut.bits(&format!("{name}_data_o")),
                    sent.pop_front().unwrap(),
                    "{name}, {}",
                    dut.cycle()
                );
            }
        }
        dut.tick();
    }
}

#[test]
fn counters_count() {
    let Some(mut dut) = dut() else { return };
    let mut random = Random::new(2);
    let mut cover = Cover::new(&["wrapped", "held", "restarted"]);
    let mut counts = COUNTERS.map(|_| 0);
    for _ in 0..CYCLES {
        let restart = random.chance(1);
        dut.set("rst_i", restart);
        for ((name, limit), count) in COUNTERS.iter().zip(&mut counts) {
            let step = random.chance(70);
            dut.set(&format!("{name}_step_i"), step);
            let last = *count + 1 == *limit;
            assert_eq!(dut.get(&format!("{name}_count_o")), u64::from(*count), "{name}, {}", dut.cycle());
            assert_eq!(dut.is_set(&format!("{name}_last_o")), last, "{name}, {}", dut.cycle());
            cover.hit("wrapped", step && last && *limit == 10);
            cover.hit("held", !step && last && *limit == 10);
            cover.hit("restarted", restart && *count > 0);
            *count = match (restart, step) {
                (true, _) => 0,
                (false, true) if last => 0,
                (false, true) => *count + 1,
                (false, false) => *count,
            };
        }
        dut.tick();
    }
    cover.assert(10);
}

#[test]
fn memories_remember() {
    for (name, width, depth, _, latency) in RAMS {
        let Some(mut dut) = dut() else { return };
        let mut random = Random::new(u64::from(depth));
        let mut cover = Cover::new(&["same address", "kept", "read back"]);
        // Nothing is known of a word before it was written.
        let mut words: Vec<Option<Bits>> = vec![None; depth as usize];
        let mut first: Option<Bits> = None;
        let mut later: VecDeque<Option<Bits>> = VecDeque::new();
        for cycle in 0..CYCLES {
            let (write, read) = (random.chance(60), random.chance(80));
            let (to, data) = (random.below(u64::from(depth)), random.bits(width));
            let from = if random.chance(30) { to } else { random.below(u64::from(depth)) };
            dut.set(&format!("{name}_write_enable_i"), write);
            dut.set(&format!("{name}_write_address_i"), to);
            dut.set(&format!("{name}_write_data_i"), &data);
            dut.set(&format!("{name}_read_address_i"), from);
            if latency > 0 {
                dut.set(&format!("{name}_read_enable_i"), read);
            }
            let word = words[from as usize].clone();
            let expected = match latency {
                0 => word.clone(),
                1 => first.clone(),
                _ => later.front().cloned().flatten().filter(|_| later.len() + 1 == latency as usize),
            };
            if let Some(expected) = expected {
                assert_eq!(dut.bits(&format!("{name}_read_data_o")), expected, "{name}, {cycle}");
                cover.hit("read back", true);
            }
            cover.hit("same address", write && read && to == from && word.is_some());
            cover.hit("kept", !read && first.is_some() || latency == 0);
            // The first register is what the others take on this edge.
            later.push_back(first.clone());
            if later.len() + 1 > latency as usize {
                later.pop_front();
            }
            if read {
                first = word;
            }
            if write {
                words[to as usize] = Some(data);
            }
            dut.tick();
        }
        cover.assert(50);
    }
}

#[test]
fn arbiters_take_turns() {
    for (name, users) in ARBITERS {
        let Some(mut dut) = dut() else { return };
        let n = users as usize;
        let mut random = Random::new(u64::from(users));
        let mut cover = Cover::new(&["alone", "several", "nobody", "held"]);
        let mut wants = vec![false; n];
        let mut consumer = Gaps::new(60);
        // Who comes first in the next choice, and who has the grant already.
        let (mut turn, mut held) = (0, None);
        for cycle in 0..CYCLES {
            // Times in which everybody wants, and times in which hardly anybody does.
            let rare = if cycle / 200 % 2 == 0 { 2 } else { 20 * u64::from(users) };
            wants.iter_mut().for_each(|wants| *wants |= random.below(rare) == 0);
            let request = wants.iter().rev().fold(0u64, |bits, &wants| bits << 1 | u64::from(wants));
            let take = consumer.next(&mut random);
            dut.set(&format!("{name}_request_i"), request);
            dut.set(&format!("{name}_take_i"), take);
            let chosen = held.or_else(|| (turn..turn + n).map(|user| user % n).find(|&user| wants[user]));
            assert_eq!(dut.is_set(&format!("{name}_valid_o")), chosen.is_some(), "{name}, {cycle}");
            assert_eq!(
                dut.get(&format!("{name}_grant_o")),
                chosen.map_or(0, |user| 1 << user),
                "{name}, {cycle}"
            );
            assert_eq!(dut.get(&format!("{name}_index_o")), chosen.unwrap_or(0) as u64, "{name}, {cycle}");
            let asking = wants.iter().filter(|wants| **wants).count();
            cover.hit("alone", asking == 1);
            cover.hit("several", asking > 1 || n == 1);
            cover.hit("nobody", asking == 0);
            cover.hit("held", held.is_some());
            held = chosen.filter(|_| !take);
            if let Some(user) = chosen.filter(|_| take) {
                wants[user] = false;
                // Behind the last user nobody comes first, so it begins with user 0.
                turn = (user + 1) % n;
            }
            dut.tick();
        }
        cover.assert(20);
    }
}

#[test]
fn credits_are_kept() {
    for (name, credits) in CREDITS {
        let Some(mut dut) = dut() else { return };
        let mut random = Random::new(u64::from(credits));
        let mut cover = Cover::new(&["none", "all", "refused", "both", "too many"]);
        let mut count = credits;
        let (mut takes, mut gives) = (Gaps::new(60), Gaps::new(50));
        for cycle in 0..CYCLES {
            let (take, give) = (takes.next(&mut random), gives.next(&mut random));
            dut.set(&format!("{name}_take_i"), take);
            dut.set(&format!("{name}_give_i"), give);
            assert_eq!(dut.is_set(&format!("{name}_available_o")), count > 0, "{name}, {cycle}");
            assert_eq!(dut.get(&format!("{name}_count_o")), u64::from(count), "{name}, {cycle}");
            cover.hit("none", count == 0);
            cover.hit("all", count == credits);
            cover.hit("refused", take && count == 0);
            cover.hit("both", take && give && count > 0);
            cover.hit("too many", give && !take && count == credits);
            count -= u32::from(take && count > 0);
            count += u32::from(give && count < credits);
            dut.tick();
        }
        cover.assert(50);
    }
}

#[test]
fn widths_of_numbers() {
    let widths = [0, 1, 2, 3, 4, 5, 8, 9, 1 << 20].map(index_width);
    assert_eq!(widths, [1, 1, 1, 2, 2, 3, 3, 4, 20]);
}
