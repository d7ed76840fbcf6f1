//! Decisions of the gates.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::isa::{Command, Coupling, GateDelta, GateHost, GateTas};
use fastcar_arch::num::fp;
use fastcar_arch::timing::{MASK_LATENCY, SETTLE};
use fastcar_hw::cmd::{COMMAND_BITS, Fields};
use fastcar_hw::drs::gates::{Rule, WaitingGate};
use fastcar_hw::drs::{Gates, Settle};
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Random, Rtl, accept, gather, hold, skipped};
use std::collections::VecDeque;
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
        let at = dut.cycle() + Settle::LATENCY;
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

/// A queue whose commands come as they stand in programs.
struct Queue;

impl Block for Queue {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new("gate_queue");
        let fields = Fields::new(m.input("command_i", COMMAND_BITS));
        let waiting = WaitingGate {
            index: m.input("index_i", 8),
            pred: fields.pred(),
            decides: m.input("decides_i", 1),
            decision: m.input("number_i", 8),
            vector: m.input("vector_i", 8),
            allow: m.input("allow_i", QUEUE_SLOTS),
            force: m.input("force_i", QUEUE_SLOTS),
            rule: Rule::new(&m, &fields)?,
        };
        let inner = m.instance("u_gates", &Gates::new(QUEUE_SLOTS)?)?;
        inner.set("push_i", waiting.word(&m));
        for port in inner.module().ports() {
            match port.name.as_str() {
                "push_i" => {}
                name if port.input => inner.set(name, m.input(name, port.width)),
                name => m.output(name, inner.get(name)),
            }
        }
        m.finish()
    }
}

const QUEUE_SLOTS: u32 = 7;

/// Where scores come from.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Source {
    Host,
    Delta,
    Tas,
}

/// A gate in the queue.
struct Queued {
    source: Source,
    gate: Gate,
    index: u64,
    entry: u16,
    /// Its number among the commands of the vector unit, if it is one.
    vector: u64,
    /// Cycles from when it is the first until its slots are known, and from then on until its scores are there.
    known_after: u64,
    scored_after: u64,
}

impl Queued {
    fn any(random: &mut Random, index: u64, vector: u64) -> Self {
        let source = [Source::Host, Source::Delta, Source::Tas][random.below(3) as usize];
        let mut gate = Gate::any(random, QUEUE_SLOTS);
        if source == Source::Host {
            gate.scores.fill(None);
            gate.coupling = 0;
        }
        gate.below = source == Source::Delta;
        if random.chance(15) {
            gate.active = 0;
        }
        let after = |random: &mut Random| if random.chance(50) { 0 } else { random.below(20) };
        let (known_after, scored_after) = (after(random), 8 + after(random));
        Self { source, gate, index, entry: random.below(1000) as u16, vector, known_after, scored_after }
    }

    fn command(&self) -> Command {
        let coupling =
            [Coupling::Independent, Coupling::BothAgree, Coupling::Mean][self.gate.coupling as usize];
        let (gate, threshold) = (self.entry, self.gate.threshold.into());
        match self.source {
            Source::Host => GateHost { gate, ..GateHost::default() }.into(),
            Source::Delta => GateDelta { gate, coupling, threshold, ..GateDelta::default() }.into(),
            Source::Tas => GateTas { gate, coupling, threshold, ..GateTas::default() }.into(),
        }
    }

    fn push(&self, dut: &mut Rtl) {
        dut.set("command_i", Bits::from_bytes(COMMAND_BITS, &self.command().encode()));
        dut.set("index_i", self.index % 256);
        dut.set("vector_i", self.vector % 256);
        dut.set("allow_i", self.gate.allow);
        dut.set("force_i", self.gate.force);
    }
}

/// The first gate of the queue as the cycles go by.
struct First {
    /// Since when it is the first.
    since: u64,
    /// When it began to settle.
    begun: Option<u64>,
    /// Slots whose scores have not been given.
    left: Vec<u32>,
    /// When the vector unit was through with it.
    compared: Option<u64>,
}

fn gates_in_order(dut: &mut Rtl, cycles: u64, seed: u64) -> Cover {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&[
        "host",
        "delta",
        "tas",
        "nobody",
        "delta for nobody",
        "keeps an older decision",
        "full",
    ]);
    let mut queue: VecDeque<Queued> = VecDeque::new();
    let (mut index, mut vector, mut finished, mut compared, mut before) = (0, 0, 0_u64, 0_u64, 0);
    let mut first = First { since: 0, begun: None, left: Vec::new(), compared: None };
    for name in ["start_i", "push_valid_i", "score_valid_i", "scored_i", "decides_i"] {
        dut.set(name, false);
    }
    dut.set("compared_i", 0_u64);
    dut.reset();
    for _ in 0..cycles {
        let now = dut.cycle();
        let push = queue.len() < 32 && random.chance(12);
        let new = Queued::any(&mut random, index, vector);
        new.push(dut);
        dut.set("push_valid_i", push);
        dut.set("score_valid_i", false);
        dut.set("scored_i", random.chance(50));
        assert_eq!(dut.is_set("front_valid_o"), !queue.is_empty(), "cycle {now}");
        assert_eq!(dut.get("finished_o"), finished % 256);
        let mut settles = false;
        if let Some(gate) = queue.front() {
            let known = first.since + gate.known_after <= now;
            let slots = gate.gate.active;
            dut.set("known_i", known);
            dut.set("slots_i", if known { slots } else { random.below(1 << QUEUE_SLOTS) });
            dut.set("paired_i", gate.gate.paired);
            assert_eq!(dut.get("front_o"), gate.index % 256);
            // Scores, the last of them when they are due at the latest.
            let due = first.since + gate.known_after + gate.scored_after;
            let scores = known && gate.source != Source::Host && now > first.since && first.begun.is_none();
            if scores && !first.left.is_empty() && (now + first.left.len() as u64 > due || random.chance(40))
            {
                let slot = first.left.swap_remove(random.below(first.left.len() as u64) as usize);
                dut.set("score_valid_i", true);
                dut.set("score_slot_i", u64::from(slot));
                dut.set("score_i", u64::from(gate.gate.score(slot).to_bits()));
            }
            let all = known && now >= due && first.left.is_empty();
            let scored = match gate.source {
                Source::Host => known,
                Source::Tas => {
                    dut.set("scored_i", all && first.begun.is_none());
                    all
                }
                Source::Delta => {
                    if all && first.compared.is_none() {
                        first.compared = Some(now);
                        compared = gate.vector + 1;
                    }
                    let late = if slots == 0 { 0 } else { MASK_LATENCY };
                    known && first.compared.is_some_and(|at| at + late <= now)
                }
            };
            dut.set("compared_i", compared % 256);
            let waits = known && first.begun.is_none();
            assert_eq!(dut.is_set("scores_o"), waits && gate.source == Source::Tas, "cycle {now}");
            if scored && first.begun.is_none() {
                first.begun = Some(now);
            }
            assert_eq!(dut.is_set("busy_o"), first.begun.is_some(), "cycle {now}: {:?}", gate.source);
            settles = first.begun.is_some_and(|at| at + SETTLE - 1 == now);
            assert_eq!(dut.is_set("settles_o"), settles, "cycle {now}: {:?}", gate.source);
            if settles {
                let decided = gate.gate.replay();
                before = before & !slots | decided;
                assert_eq!(dut.get("number_o"), finished % 256);
                assert_eq!(dut.get("entry_o"), u64::from(gate.entry));
                assert_eq!((dut.get("active_o"), dut.get("decided_o")), (slots, decided));
                assert_eq!(dut.get("replay_o"), before, "{:?}", gate.source);
                cover.hit(["host", "delta", "tas"][gate.source as usize], decided != 0);
                cover.hit("nobody", slots == 0);
                cover.hit("delta for nobody", slots == 0 && gate.source == Source::Delta);
                cover.hit("keeps an older decision", before & !slots != 0);
            }
        }
        cover.hit("full", queue.len() == 32);
        dut.tick();
        if settles {
            queue.pop_front();
            finished += 1;
        }
        if push {
            index += 1;
            vector += u64::from(new.source == Source::Delta);
            queue.push_back(new);
        }
        if settles || push && queue.len() == 1 {
            let gate = queue.front().map(|gate| &gate.gate);
            let left = (0..QUEUE_SLOTS).filter(|&s| gate.is_some_and(|g| g.scores[s as usize].is_some()));
            first = First { since: dut.cycle(), begun: None, left: left.collect(), compared: None };
        }
    }
    cover
}

#[test]
fn gates_decide_in_order() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let module = Queue.module()?;
    accept(&emit(&module)?)?;
    gates_in_order(&mut Rtl::build_random(&module, 3)?, 60_000, 3).assert(5);
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
    let settle = [Settle::new(4)?.module()?, Settle::new(32)?.module()?];
    hold("drs", &[&settle[..], &[Gates::new(4)?.module()?, Gates::new(32)?.module()?]].concat())?;
    Ok(())
}
