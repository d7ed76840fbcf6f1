//! Turns of weights and attention, beside a queue.

use super::{Cover, Random, Rtl, TestResult, skipped};
use fastcar_hw::array::Results;
use fastcar_hw::attn::Turn;
use fastcar_hw::rtl::Block;
use std::collections::VecDeque;

/// Arms products and phases, lets go of those in turn, and compares whose turn it is in every cycle.
fn turns_of(cycles: u64, native: bool, seed: u64) -> TestResult {
    let module = Turn.module()?;
    let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&["phase behind phase", "phase behind many", "all phases", "at once"]);
    for name in ["product_i", "phase_i", "product_over_i", "phase_over_i"] {
        dut.set(name, false);
    }
    dut.reset();
    // Whether each that is armed is a phase.
    let mut queue: VecDeque<bool> = VecDeque::new();
    let mut mood = (50, 50);
    for cycle in 0..cycles {
        if random.chance(2) {
            mood = (random.below(101), random.below(101));
        }
        let turn = queue.front() == Some(&true);
        assert_eq!(dut.is_set("phase_turn_o"), turn, "cycle {cycle}: {queue:?}");
        assert_eq!(dut.is_set("product_turn_o"), !turn, "cycle {cycle}");
        let phases = queue.iter().filter(|phase| **phase).count();
        cover.hit("phase behind phase", turn && queue.get(1) == Some(&true));
        cover.hit("phase behind many", queue.len() > 40 && queue.back() == Some(&true));
        cover.hit("all phases", phases == Turn::PHASES as usize);

        let over = random.chance(mood.0).then(|| queue.pop_front()).flatten();
        dut.set("product_over_i", over == Some(false));
        dut.set("phase_over_i", over == Some(true));
        let (phase, arms) = (random.chance(10), random.chance(mood.1));
        // One that is over in this cycle still has its place.
        let room =
            if phase { phases < Turn::PHASES as usize } else { queue.len() < Results::PRODUCTS as usize };
        let armed = (arms && room).then_some(phase);
        cover.hit("at once", armed.is_some() && over.is_some());
        dut.set("product_i", armed == Some(false));
        dut.set("phase_i", armed == Some(true));
        queue.extend(armed);
        dut.tick();
    }
    cover.assert(1);
    Ok(())
}

#[test]
fn turns_keep_the_order() -> TestResult {
    if skipped() {
        return Ok(());
    }
    turns_of(5_000, true, 1)?;
    turns_of(200_000, false, 2)
}
