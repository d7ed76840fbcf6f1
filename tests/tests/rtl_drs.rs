//! Decisions of the gates.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::num::fp;
use fastcar_arch::timing::SETTLE;
use fastcar_hw::drs::Settle;
use fastcar_hw::rtl::{Block, Module, RtlError, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Random, Rtl, accept, gather, hold, skipped};
use std::sync::Arc;

const SLOTS: [u32; 4] = [1, 4, 7, 32];

fn blocks() -> Result<Arc<Module>, RtlError> {
    let names: Vec<_> = SLOTS.iter().map(|slots| format!("s{slots}")).collect();
    let parts: Result<Vec<_>, RtlError> = SLOTS.iter().map(|&slots| Settle::new(slots)?.module()).collect();
    let parts: Vec<_> = names.iter().map(String::as_str).zip(parts?).collect();
    gather("settles", &parts)
}

/// A gate as docs/isa.md has it.
struct Gate {
    slots: u32,
    active: u64,
    paired: u64,
    allow: u64,
    force: u64,
    below: bool,
    coupling: u64,
    threshold: f32,
    scores: Vec<Option<f32>>,
}

/// A score or threshold: often one of few, so that they meet.
fn number(random: &mut Random) -> f32 {
    match random.below(6) {
        0 => [0.0, -0.0, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN][random.below(6) as usize],
        // Sums and halves on the border of what is flushed.
        1 => f32::from_bits(
            (random.below(4) as u32) << 23 | random.below(4) as u32 | (random.below(2) as u32) << 31,
        ),
        2 => f32::from_bits(random.word() as u32),
        _ => (random.below(64) as f32 - 32.0) / 8.0,
    }
}

impl Gate {
    fn any(random: &mut Random, slots: u32) -> Self {
        let all = (1_u64 << slots) - 1;
        let mut mask = |full: u64| if random.below(100) < full { all } else { random.word() & all };
        let (active, paired, allow, force) = (mask(50), mask(60), mask(60), mask(5));
        let force = force & mask(0) & mask(0);
        let scored = active & allow;
        let scores = (0..slots).map(|s| (scored >> s & 1 == 1 && random.chance(90)).then(|| number(random)));
        let scores = scores.collect();
        let (below, coupling) = (random.chance(50), random.below(3));
        Self { slots, active, paired, allow, force, below, coupling, threshold: number(random), scores }
    }

    fn alone(&self, slot: u32, score: f32) -> bool {
        let bit = |mask: u64| mask >> slot & 1 == 1;
        let side = if self.below { fp::gt(self.threshold, score) } else { fp::gt(score, self.threshold) };
        bit(self.allow) && (bit(self.force) || side)
    }

    fn score(&self, slot: u32) -> f32 {
        self.scores.get(slot as usize).copied().flatten().unwrap_or(f32::NAN)
    }

    fn coupled(&self, slot: u32) -> bool {
        let paired = |s: u32| s < self.slots && self.paired >> s & 1 == 1;
        self.coupling != 0 && paired(slot) && paired(slot ^ 1)
    }

    fn decides(&self, slot: u32) -> bool {
        let both = |f: &dyn Fn(u32) -> f32| self.alone(slot, f(slot)) && self.alone(slot ^ 1, f(slot ^ 1));
        match self.coupling {
            _ if !self.coupled(slot) => self.alone(slot, self.score(slot)),
            1 => both(&|s| self.score(s)),
            _ => both(&|s| fp::mul(fp::add(self.score(s & !1), self.score(s | 1)), 0.5)),
        }
    }

    fn replay(&self) -> u64 {
        (0..self.slots).filter(|&s| self.active >> s & 1 == 1 && self.decides(s)).map(|s| 1 << s).sum()
    }

    fn begin(&self, dut: &mut Rtl) {
        let port = |name: &str| format!("s{}_{name}_i", self.slots);
        for (name, mask) in
            [("active", self.active), ("paired", self.paired), ("allow", self.allow), ("force", self.force)]
        {
            dut.set(&port(name), mask);
        }
        dut.set(&port("below"), self.below);
        dut.set(&port("coupling"), self.coupling);
        dut.set(&port("threshold"), u64::from(self.threshold.to_bits()));
        // Registers and inputs begin with anything.
        dut.set(&port("settle"), false);
        dut.set(&port("score_valid"), false);
        dut.set(&port("start"), true);
        dut.tick();
        dut.set(&port("start"), false);
    }

    /// Gives the scores in any order with gaps, then waits for the decision.
    fn run(&self, dut: &mut Rtl, random: &mut Random) {
        let port = |name: &str| format!("s{}_{name}", self.slots);
        self.begin(dut);
        let mut left: Vec<_> = (0..self.slots).filter(|&s| self.scores[s as usize].is_some()).collect();
        let with_last = random.chance(70) && !left.is_empty();
        while !left.is_empty() {
            let slot = left.swap_remove(random.below(left.len() as u64) as usize);
            dut.set(&port("score_valid_i"), true);
            dut.set(&port("score_slot_i"), u64::from(slot));
            dut.set(&port("score_i"), u64::from(self.score(slot).to_bits()));
            if left.is_empty() && with_last {
                break;
            }
            dut.tick();
            dut.set(&port("score_valid_i"), false);
            (0..random.below(3)).for_each(|_| dut.tick());
        }
        dut.set(&port("settle_i"), true);
        let at = dut.cycle() + SETTLE;
        loop {
            assert_eq!(dut.is_set(&port("valid_o")), dut.cycle() == at, "cycle {}, due {at}", dut.cycle());
            if dut.cycle() == at {
                break;
            }
            dut.tick();
            dut.set(&port("settle_i"), false);
            dut.set(&port("score_valid_i"), false);
        }
        assert_eq!(
            dut.get(&port("replay_o")),
            self.replay(),
            "{} slots, coupling {}",
            self.slots,
            self.coupling
        );
    }
}

fn settle(dut: &mut Rtl, rounds: u64, seed: u64) -> Cover {
    let mut random = Random::new(seed);
    let bins = [
        "independent",
        "both",
        "mean",
        "split by the mean",
        "forced",
        "none",
        "some",
        "not a number",
        "flushed",
    ];
    let mut cover = Cover::new(&bins);
    dut.reset();
    for round in 0..rounds {
        let gate = Gate::any(&mut random, SLOTS[round as usize % SLOTS.len()]);
        gate.run(dut, &mut random);
        let replay = gate.replay();
        let alone = |s: u32| gate.alone(s, gate.score(s));
        let coupled = || (0..gate.slots).filter(|&s| gate.coupled(s) && gate.active >> s & 1 == 1);
        cover.hit(["independent", "both", "mean"][gate.coupling as usize], replay != 0);
        cover.hit("split by the mean", coupled().any(|s| gate.coupling == 2 && alone(s) != gate.decides(s)));
        cover.hit("forced", replay & gate.force != 0);
        cover.hit("none", replay == 0);
        cover.hit("some", replay != 0 && replay != gate.active);
        cover.hit("not a number", gate.scores.iter().flatten().any(|x| x.is_nan()));
        let mean = |s: u32| fp::add(gate.score(s & !1), gate.score(s | 1));
        cover.hit(
            "flushed",
            coupled().any(|s| gate.coupling == 2 && mean(s) != 0.0 && fp::mul(mean(s), 0.5) == 0.0),
        );
    }
    cover
}

#[test]
fn gates_settle() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let module = blocks()?;
    accept(&emit(&module)?)?;
    settle(&mut Rtl::build_random(&module, 1)?, 6000, 1).assert(5);
    Ok(())
}

#[test]
fn native_simulation_agrees() -> TestResult {
    if skipped() {
        return Ok(());
    }
    settle(&mut Rtl::beside_native(&blocks()?)?, 60, 2);
    Ok(())
}

#[test]
fn synthesis_is_as_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    hold("drs", &[Settle::new(4)?.module()?, Settle::new(32)?.module()?])?;
    Ok(())
}
