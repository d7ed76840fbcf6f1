//! The int8 dot product: values, latency, gaps.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::num::dot::dot_int8;
use fastcar_arch::num::mx::BLOCK;
use fastcar_hw::pe::DotLane;
use fastcar_hw::rtl::{Bits, Block, emit};
use fastcar_rtl::{Fault, FaultKind};
use fastcar_tests::TestResult;
use fastcar_tests::mutants::{Mutant, Outcome, mutants, try_mutant};
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl, accept, skipped};
use std::collections::VecDeque;

/// A block: often with extreme elements, which is where sums and signs go wrong.
fn block(random: &mut Random) -> [i8; BLOCK] {
    match random.below(4) {
        0 => [-128; BLOCK],
        1 => [127; BLOCK],
        2 => std::array::from_fn(|_| if random.chance(50) { -128 } else { 127 }),
        _ => std::array::from_fn(|_| random.word() as i8),
    }
}

fn bits(block: &[i8; BLOCK]) -> Bits {
    Bits::from_bytes(8 * BLOCK as u32, &block.map(|element| element as u8))
}

#[test]
fn is_exact_and_takes_its_latency() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let lane = DotLane::new(BLOCK as u32)?;
    let module = lane.module()?;
    accept(&emit(&module)?)?;
    let mut dut = Rtl::beside_native(&module)?;
    dut.reset();
    let mut random = Random::new(1);
    let mut cover = Cover::new(&["largest", "smallest", "gap", "no gap"]);
    let mut gaps = Gaps::new(60);
    // What the result after each edge is; nothing where operands were not valid.
    let mut pipe: VecDeque<Option<i32>> = (0..lane.latency()).map(|_| None).collect();
    for cycle in 0..5000 {
        let valid = gaps.next(&mut random);
        let (act, weight) = (block(&mut random), block(&mut random));
        dut.set("valid_i", valid);
        dut.set("act_i", bits(&act));
        dut.set("weight_i", bits(&weight));
        pipe.push_back(valid.then(|| dot_int8(&weight, &act)));
        // A result that came one cycle early or late would stand beside the wrong `valid`.
        let expected = pipe.pop_front().flatten();
        assert_eq!(dut.is_set("valid_o"), expected.is_some(), "cycle {cycle}");
        if let Some(expected) = expected {
            assert_eq!(dut.get_signed("dot_o"), i64::from(expected), "cycle {cycle}");
            cover.hit("largest", expected == 1 << 19);
            cover.hit("smallest", expected == -128 * 127 * BLOCK as i32);
        }
        cover.hit("gap", !valid);
        cover.hit("no gap", valid);
        dut.tick();
    }
    cover.assert(20);
    Ok(())
}

/// One fault of each kind, as `make mutants` tries them for every block: so that trying them does not rot. What is not there is
/// not taken for caught.
#[test]
fn mutants_are_caught() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let logs = tempfile::tempdir()?;
    let outcome = |mutant: &Mutant| {
        let log = logs.path().join(mutant.fault.to_string());
        try_mutant(&program, mutant, &log).map_err(|error| format!("{}: {error}", mutant.fault))
    };
    let own: Vec<Mutant> = mutants()?.into_iter().filter(|mutant| mutant.block == "pe/dot_lane").collect();
    assert!(FaultKind::ALL.into_iter().all(|kind| own.iter().any(|mutant| mutant.fault.kind() == kind)));
    for mutant in &own {
        assert_eq!(outcome(mutant)?, Outcome::Caught, "{}", mutant.fault);
    }
    // A module of another name, a signal that is none, an input, which the module gives no value.
    for place in ["lane.dot_o", "dot_lane.sum_o", "dot_lane.act_i"] {
        let mutant = Mutant { fault: Fault::new(FaultKind::Late, place)?, ..own[0].clone() };
        assert_eq!(outcome(&mutant)?, Outcome::NotThere, "{place}");
    }
    Ok(())
}
