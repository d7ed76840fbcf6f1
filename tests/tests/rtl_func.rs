//! Functions by table and softmax weights: values bit for bit, latency, gaps, cells and depth.
//!
//! Every input of every table, and every sigmoid and phi argument of both signs,
//! and ten million scores: `cargo test --release -p fastcar-tests --test rtl_func -- --ignored`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::num::{func, softmax};
use fastcar_arch::timing::{FUNC_LATENCY, SCORE_LATENCY};
use fastcar_hw::func::{Exp2, FuncUnit, Function, MaxInt, ScoreFixed, Store, Table};
use fastcar_hw::rtl::{Block, Module, RtlError, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl, accept, gather, hold, skipped};
use std::collections::VecDeque;
use std::sync::Arc;

/// The vector unit's scalars, a lane's gates, and both together.
const SCALAR: [Function; 2] = [Function::Recip, Function::Rsqrt];
const LANE: [Function; 2] = [Function::Sigmoid, Function::Phi];
const FOUR: [Function; 4] = [Function::Phi, Function::Rsqrt, Function::Recip, Function::Sigmoid];

/// All blocks in one module, so that one library serves all tests.
fn blocks() -> Result<Arc<Module>, RtlError> {
    let parts = [
        ("t_scalar", Table::new(&SCALAR, Store::BlockRam)?.module()?),
        ("t_lane", Table::new(&LANE, Store::BlockRam)?.module()?),
        ("t_exp2", Table::new(&[Function::Exp2Neg], Store::Luts)?.module()?),
        ("scalar", FuncUnit::new(&SCALAR)?.module()?),
        ("lane", FuncUnit::new(&LANE)?.module()?),
        ("four", FuncUnit::new(&FOUR)?.module()?),
        ("recip", FuncUnit::new(&[Function::Recip])?.module()?),
        ("phi", FuncUnit::new(&[Function::Phi])?.module()?),
        ("score", ScoreFixed.module()?),
        ("top", MaxInt.module()?),
        ("weight", Exp2.module()?),
    ];
    gather("func_blocks", &parts)
}

type Made<T> = Result<T, Box<dyn std::error::Error>>;

/// What a pipe owes: results in order, each in its cycle.
struct Pipe<T> {
    valid_in: String,
    valid_out: String,
    owed: VecDeque<Option<T>>,
}

impl<T> Pipe<T> {
    fn new(prefix: &str, latency: u32) -> Self {
        Self {
            valid_in: format!("{prefix}_valid_i"),
            valid_out: format!("{prefix}_valid_o"),
            owed: (0..latency).map(|_| None).collect(),
        }
    }

    /// Gives an operand, or none; what is due in this cycle. A result one cycle early or late would stand beside the wrong
    /// `valid`.
    fn step(&mut self, dut: &mut Rtl, operand: Option<T>) -> Option<T> {
        dut.set(&self.valid_in, operand.is_some());
        self.owed.push_back(operand);
        let due = self.owed.pop_front().flatten();
        assert_eq!(dut.is_set(&self.valid_out), due.is_some(), "{} in cycle {}", self.valid_out, dut.cycle());
        due
    }
}

fn reference(function: Function, x: f32) -> f32 {
    match function {
        Function::Recip => func::recip(x),
        Function::Rsqrt => func::rsqrt(x),
        Function::Sigmoid => func::sigmoid(x),
        Function::Phi => func::phi(x),
        Function::Exp2Neg => panic!("exp2 takes an integer"),
    }
}

/// Numbers whose handling differs from that of their neighbours.
const SPECIAL: [u32; 24] = [
    0,
    1,
    0x007F_FFFF,
    0x0080_0000,
    0x0080_0001,
    0x3F7F_FFFF,
    0x3F80_0000,
    0x40FF_FFFF,
    0x4100_0000,
    0x417F_FFFF,
    0x4180_0000,
    0x46FF_FFFF,
    0x4700_0000,
    0x7E7F_FFFF,
    0x7E80_0000,
    0x7E80_0001,
    0x7EFF_FFFF,
    0x7F00_0000,
    0x7F00_0001,
    0x7F7F_FFFF,
    0x7F80_0000,
    0x7F80_0001,
    0x7FC0_0000,
    0x7FFF_FFFF,
];

/// An argument: anything, of moderate size, special, or a tie in units of 2^-20.
fn argument(random: &mut Random) -> f32 {
    let bits = random.word() as u32;
    let sign = bits & 1 << 31;
    match random.below(8) {
        0 => f32::from_bits(bits),
        1 => f32::from_bits(sign | SPECIAL[random.below(SPECIAL.len() as u64) as usize]),
        2 => {
            let tie = (f64::from(bits >> (7 + random.below(24))) + 0.5) / f64::from(1 << func::ARG_FRAC_BITS);
            f32::from_bits((tie as f32).to_bits() | sign)
        }
        3 => f32::from_bits((bits & 0xFF80_0000) | ((bits & 1) * 0x7F_FFFF)),
        _ => f32::from_bits(bits & 0x807F_FFFF | (96 + random.below(40) as u32) << 23),
    }
}

/// One function unit of the library.
struct Unit {
    functions: Vec<Function>,
    function: Option<String>,
    x: String,
    y: String,
    pipe: Pipe<(Function, f32)>,
}

impl Unit {
    fn new(prefix: &str, functions: &[Function]) -> Made<Self> {
        let latency = FuncUnit::new(functions)?.latency();
        assert_eq!(u64::from(latency), FUNC_LATENCY);
        Ok(Self {
            functions: functions.to_vec(),
            function: (functions.len() > 1).then(|| format!("{prefix}_function_i")),
            x: format!("{prefix}_x_i"),
            y: format!("{prefix}_y_o"),
            pipe: Pipe::new(prefix, latency),
        })
    }

    /// Gives the operand, checks the result that is due, and returns it.
    fn step(&mut self, dut: &mut Rtl, operand: Option<(Function, f32)>) -> Option<(Function, f32, f32)> {
        if let Some((function, x)) = operand {
            let number = self.functions.iter().position(|own| *own == function).unwrap();
            if let Some(port) = &self.function {
                dut.set(port, number as u64);
            }
            dut.set(&self.x, u64::from(x.to_bits()));
        }
        let (function, x) = self.pipe.step(dut, operand)?;
        let (found, expected) = (dut.get(&self.y), reference(function, x));
        assert_eq!(found, u64::from(expected.to_bits()), "{function:?} of {x:?} ({:#x})", x.to_bits());
        Some((function, x, expected))
    }
}

fn units() -> Made<Vec<Unit>> {
    Ok(vec![
        Unit::new("scalar", &SCALAR)?,
        Unit::new("lane", &LANE)?,
        Unit::new("four", &FOUR)?,
        Unit::new("recip", &[Function::Recip])?,
        Unit::new("phi", &[Function::Phi])?,
    ])
}

fn pick(random: &mut Random, functions: &[Function]) -> Function {
    functions[random.below(functions.len() as u64) as usize]
}

/// Random arguments to all units at once.
fn run_units(dut: &mut Rtl, cycles: u64, seed: u64) -> TestResult {
    let mut random = Random::new(seed);
    let mut units = units()?;
    let mut gaps: Vec<Gaps> = units.iter().map(|_| Gaps::new(70)).collect();
    let mut cover = Cover::new(&[
        "gap",
        "nan",
        "infinite",
        "zero",
        "negative zero",
        "one",
        "half",
        "flushed",
        "exact",
        "small",
        "tie",
    ]);
    dut.reset();
    for _ in 0..cycles {
        for (unit, gaps) in units.iter_mut().zip(&mut gaps) {
            let valid = gaps.next(&mut random);
            let operand = valid.then(|| (pick(&mut random, &unit.functions), argument(&mut random)));
            cover.hit("gap", !valid);
            let Some((function, x, y)) = unit.step(dut, operand) else { continue };
            let symmetric = LANE.contains(&function);
            let scaled = f64::from(x.abs()) * f64::from(1 << func::ARG_FRAC_BITS);
            cover.hit("nan", y.is_nan());
            cover.hit("infinite", y.is_infinite());
            cover.hit("zero", y.to_bits() == 0);
            cover.hit("negative zero", y.to_bits() == 1 << 31);
            cover.hit("one", y == 1.0 && symmetric);
            cover.hit("half", y == 0.5 && symmetric);
            cover.hit("flushed", function == Function::Recip && x.is_finite() && y == 0.0);
            cover.hit("exact", function == Function::Recip && x.is_normal() && x.to_bits() << 9 == 0);
            cover.hit("small", symmetric && y > 0.0 && y < 1e-4);
            cover.hit("tie", symmetric && scaled < 16_777_216.0 && scaled.fract() == 0.5);
        }
        dut.tick();
    }
    cover.assert(cycles / 1000);
    Ok(())
}

#[test]
fn functions_are_exact_and_take_their_latency() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let module = blocks()?;
    accept(&emit(&module)?)?;
    run_units(&mut Rtl::build_random(&module, 3)?, 300_000, 1)
}

/// The crate's own simulation gives the same in every output of every cycle.
#[test]
fn native_simulation_agrees() -> TestResult {
    if skipped() {
        return Ok(());
    }
    run_units(&mut Rtl::beside_native(&blocks()?)?, 3000, 2)
}

/// Every exponent field with mantissas at both ends, ties among them, for both signs and every function.
#[test]
fn special_cases_and_every_exponent() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build(&blocks()?)?;
    let mut units = units()?;
    dut.reset();
    let mantissas = [0, 1, 2, 3, 0x3F_FFFF, 0x40_0000, 0x40_0001, 0x55_5555, 0x60_0000, 0x7F_FFFE, 0x7F_FFFF];
    let ends = (0..512u32).flat_map(|high| mantissas.map(|low| high << 23 | low));
    let arguments: Vec<f32> =
        ends.chain(SPECIAL.into_iter().flat_map(|x| [x, x | 1 << 31])).map(f32::from_bits).collect();
    for number in 0..FOUR.len() {
        for x in &arguments {
            for unit in &mut units {
                let function = unit.functions.get(number).copied();
                unit.step(&mut dut, function.map(|function| (function, *x)));
            }
            dut.tick();
        }
    }
    for _ in 0..FUNC_LATENCY {
        for unit in &mut units {
            unit.step(&mut dut, None);
        }
        dut.tick();
    }
    assert!(units.iter().all(|unit| unit.pipe.owed.iter().all(Option::is_none)));
    Ok(())
}

/// One table of the library.
struct Tabled {
    functions: &'static [Function],
    function: String,
    x: String,
    y: String,
    pipe: Pipe<(Function, u32)>,
}

impl Tabled {
    fn new(prefix: &str, functions: &'static [Function], store: Store) -> Made<Self> {
        let latency = Table::new(functions, store)?.latency();
        let port = |name| format!("{prefix}_{name}");
        let (function, x, y) = (port("function_i"), port("x_i"), port("y_o"));
        Ok(Self { functions, function, x, y, pipe: Pipe::new(prefix, latency) })
    }

    /// Gives an input to the function of a number, where there is one and it takes such an input.
    fn step(&mut self, dut: &mut Rtl, number: usize, x: u32) {
        let fits = |function: &Function| x >> input_bits(*function) == 0;
        let function = self.functions.get(number).copied().filter(fits);
        if function.is_some() {
            if self.functions.len() > 1 {
                dut.set(&self.function, number as u64);
            }
            dut.set(&self.x, u64::from(x));
        }
        let Some((function, x)) = self.pipe.step(dut, function.map(|function| (function, x))) else { return };
        let found = dut.get(&self.y);
        assert_eq!(found, u64::from(function.table().eval(x)), "{function:?} at {x:#x}");
    }
}

fn tables() -> Made<[Tabled; 3]> {
    Ok([
        Tabled::new("t_scalar", &SCALAR, Store::BlockRam)?,
        Tabled::new("t_lane", &LANE, Store::BlockRam)?,
        Tabled::new("t_exp2", &[Function::Exp2Neg], Store::Luts)?,
    ])
}

fn input_bits(function: Function) -> u32 {
    function.table().index_bits + function.table().offset_bits
}

/// Every input of exp2, and a stride of the others that is no multiple of anything in them: every segment, both ends of it.
#[test]
fn tables_are_exact() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build(&blocks()?)?;
    let mut tables = tables()?;
    dut.reset();
    let ends = (1..=1024u32).flat_map(|segment| [segment << 14, (segment << 14) - 1]);
    let inputs: Vec<u32> = (0..1 << 16).chain((0..1 << 24).step_by(211)).chain(ends).collect();
    for number in 0..2 {
        for x in &inputs {
            tables.iter_mut().for_each(|table| table.step(&mut dut, number, *x));
            dut.tick();
        }
    }
    Ok(())
}

/// Every input of every table; meanwhile every mantissa of both parities of the exponent to the roots, every mantissa to the
/// reciprocals, and every fixed-point argument of both signs to sigmoid and phi.
#[test]
#[ignore = "some minutes"]
fn every_input_of_every_table_and_function() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build(&blocks()?)?;
    let (mut tables, mut units) = (tables()?, units()?);
    let mut random = Random::new(4);
    dut.reset();
    let unit = 1.0 / f64::from(1 << func::ARG_FRAC_BITS);
    for number in 0..2 {
        for x in 0..1u32 << 24 {
            tables.iter_mut().for_each(|table| table.step(&mut dut, number, x));
            // The parity of the exponent is the input's bit 23; the rest of the exponent changes as it likes.
            let field = 2 * (1 + random.below(126) as u32) + (!x >> 23 & 1);
            let significant = f32::from_bits(field << 23 | x & 0x7F_FFFF);
            let fixed = (f64::from(x) * unit) as f32;
            let signs = [fixed, -fixed];
            let sign = (x.count_ones() & 1) as usize;
            let [scalar, lane, four, recip, phi] = &mut units[..] else { panic!("five units") };
            scalar.step(&mut dut, Some((SCALAR[1 - number], significant)));
            lane.step(&mut dut, Some((LANE[number], signs[sign])));
            four.step(&mut dut, Some((LANE[number], signs[1 - sign])));
            recip.step(&mut dut, Some((Function::Recip, -significant)));
            phi.step(&mut dut, Some((Function::Phi, argument(&mut random))));
            dut.tick();
        }
    }
    Ok(())
}

/// A score: anything, within the range of 32 bits, special, or a tie in units of 2^-16.
fn score(random: &mut Random) -> f32 {
    let bits = random.word() as u32;
    match random.below(5) {
        0 => f32::from_bits(bits),
        1 => f32::from_bits(bits & 1 << 31 | SPECIAL[random.below(SPECIAL.len() as u64) as usize]),
        2 => {
            let tie = (f64::from(bits >> (8 + random.below(22))) + 0.5) / 65536.0;
            if bits & 1 == 0 { tie as f32 } else { -tie as f32 }
        }
        _ => f32::from_bits(bits & 0x807F_FFFF | (100 + random.below(45) as u32) << 23),
    }
}

/// What the module gives, for NaN nothing.
fn check_score(dut: &mut Rtl, x: f32) -> Option<i32> {
    let expected = softmax::score_fixed(x);
    assert_eq!(dut.is_set("score_nan_o"), expected.is_none(), "{x:?}");
    if let Some(expected) = expected {
        assert_eq!(dut.get_signed("score_fixed_o"), i64::from(expected), "{x:?} ({:#x})", x.to_bits());
    }
    expected
}

#[test]
fn scores_become_fixed() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build_random(&blocks()?, 5)?;
    let mut pipe = Pipe::new("score", ScoreFixed::LATENCY);
    let (mut random, mut gaps) = (Random::new(6), Gaps::new(80));
    let mut cover = Cover::new(&["gap", "nan", "least", "largest", "zero", "tie", "within"]);
    dut.reset();
    let every = (0..512u32)
        .flat_map(|high| [0, 1, 0x3F_FFFF, 0x40_0000, 0x7F_FFFE, 0x7F_FFFF].map(|low| high << 23 | low));
    let mut first = every.map(f32::from_bits);
    for _ in 0..300_000 {
        let valid = gaps.next(&mut random);
        let operand = valid.then(|| first.next().unwrap_or_else(|| score(&mut random)));
        if let Some(x) = operand {
            dut.set("score_score_i", u64::from(x.to_bits()));
        }
        cover.hit("gap", !valid);
        if let Some(x) = pipe.step(&mut dut, operand) {
            let fixed = check_score(&mut dut, x);
            let scaled = f64::from(x) * 65536.0;
            cover.hit("nan", fixed.is_none());
            cover.hit("least", fixed == Some(i32::MIN));
            cover.hit("largest", fixed == Some(i32::MAX));
            cover.hit("zero", fixed == Some(0));
            cover.hit("tie", scaled.abs() < 1e9 && scaled.fract().abs() == 0.5);
            cover.hit("within", fixed.is_some_and(|fixed| fixed.unsigned_abs() < 1 << 30 && fixed != 0));
        }
        dut.tick();
    }
    cover.assert(300);
    assert!(first.next().is_none());
    Ok(())
}

#[test]
fn maxima_are_rounded_up() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build_random(&blocks()?, 7)?;
    let mut pipe = Pipe::new("top", MaxInt::LATENCY);
    let (mut random, mut gaps) = (Random::new(8), Gaps::new(80));
    let mut cover = Cover::new(&["gap", "integer", "one above", "one below", "largest"]);
    dut.reset();
    for _ in 0..100_000 {
        let whole = (random.bits(16).to_u64().unwrap_or_default() << 16) as u32 as i32;
        let near = [0, 1, -1, random.word() as i32][random.below(4) as usize];
        let operand = gaps.next(&mut random).then(|| whole.wrapping_add(near));
        if let Some(score) = operand {
            dut.set("top_score_i", i64::from(score));
        }
        cover.hit("gap", operand.is_none());
        if let Some(score) = pipe.step(&mut dut, operand) {
            let expected = softmax::max_int(score);
            assert_eq!(dut.get_signed("top_max_o"), i64::from(expected), "{score:#x}");
            cover.hit("integer", score & 0xFFFF == 0);
            cover.hit("one above", score & 0xFFFF == 1);
            cover.hit("one below", score & 0xFFFF == 0xFFFF);
            cover.hit("largest", expected == 1 << 15);
        }
        dut.tick();
    }
    cover.assert(300);
    Ok(())
}

/// Operands of a weight.
type Weight = (i32, i32, u32);

fn step_weight(dut: &mut Rtl, pipe: &mut Pipe<Weight>, operand: Option<Weight>) -> Option<(Weight, u32)> {
    if let Some((max, score, extra)) = operand {
        dut.set("weight_max_i", i64::from(max));
        dut.set("weight_score_i", i64::from(score));
        dut.set("weight_extra_i", u64::from(extra));
    }
    let (max, score, extra) = pipe.step(dut, operand)?;
    let expected = softmax::prob(softmax::distance(max, score), extra);
    assert_eq!(dut.get("weight_prob_o"), u64::from(expected), "max {max}, score {score:#x}, extra {extra}");
    let plain = softmax::prob(softmax::distance(max, score), 0);
    assert_eq!(dut.get("weight_plain_o"), u64::from(plain), "max {max}, score {score:#x}");
    Some(((max, score, extra), expected))
}

#[test]
fn weights_are_exact_and_take_their_latency() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build_random(&blocks()?, 9)?;
    let mut pipe = Pipe::new("weight", Exp2::LATENCY);
    let (mut random, mut gaps) = (Random::new(10), Gaps::new(80));
    let mut cover = Cover::new(&["gap", "above", "one", "nothing", "last", "far", "extra"]);
    dut.reset();
    for _ in 0..300_000 {
        let score = random.bits(32).to_u64().unwrap_or_default() as u32 as i32;
        let largest = [score, score.saturating_add((random.word() >> (42 + random.below(18))) as i32)];
        let max = match random.below(8) {
            0 => random.bits(17).to_i64().unwrap_or_default() as i32,
            n => softmax::max_int(largest[usize::from(n > 1)]),
        };
        let extra = [0, random.below(26) as u32, random.below(256) as u32][random.below(3) as usize];
        let operand = gaps.next(&mut random).then_some((max, score, extra));
        cover.hit("gap", operand.is_none());
        if let Some(((max, score, extra), prob)) = step_weight(&mut dut, &mut pipe, operand) {
            let above = i64::from(score) - (i64::from(max) << 16);
            cover.hit("above", above > 0);
            cover.hit("one", prob == 1 << 24);
            cover.hit("nothing", prob == 0);
            cover.hit("last", prob == 1);
            cover.hit("far", above < -(1 << 31));
            cover.hit("extra", extra > 0 && prob > 0);
        }
        dut.tick();
    }
    cover.assert(300);
    Ok(())
}

/// Every fraction at every shift that leaves something, and at the first two that do not: ties of both parities among them.
#[test]
fn every_fraction_at_every_shift() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build(&blocks()?)?;
    let mut pipe = Pipe::new("weight", Exp2::LATENCY);
    dut.reset();
    let (mut ties, mut checked) = ([0u32; 2], 0u32);
    let shifts = 27u32;
    for step in 0..(shifts << 16) + Exp2::LATENCY {
        // The shift is split between integer part and scale.
        let (shift, fraction) = (step >> 16, (step & 0xFFFF) as i32);
        let extra = step % (shift + 1);
        let operand = (shift < shifts).then(|| (3, ((3 - (shift - extra) as i32) << 16) - fraction, extra));
        if let Some(((max, score, extra), prob)) = step_weight(&mut dut, &mut pipe, operand) {
            let distance = softmax::distance(max, score);
            let shift = (distance >> 16) as u32 + extra;
            let value = func::exp2_neg(distance as u16);
            if (1..25).contains(&shift) && value & ((1 << shift) - 1) == 1 << (shift - 1) {
                ties[(prob == value >> shift) as usize] += 1;
            }
            checked += 1;
        }
        dut.tick();
    }
    assert_eq!(checked, shifts << 16);
    assert!(ties.iter().all(|count| *count > 100), "ties up and down: {ties:?}");
    Ok(())
}

/// Ten million scores and weights.
#[test]
#[ignore = "a minute"]
fn ten_million_scores_and_weights() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build(&blocks()?)?;
    let mut scores = Pipe::new("score", ScoreFixed::LATENCY);
    let mut weights = Pipe::new("weight", Exp2::LATENCY);
    let mut random = Random::new(11);
    dut.reset();
    for _ in 0..10_000_000 {
        let x = score(&mut random);
        dut.set("score_score_i", u64::from(x.to_bits()));
        if let Some(x) = scores.step(&mut dut, Some(x)) {
            check_score(&mut dut, x);
        }
        let word = random.word();
        let (score, below) = (word as i32, (word >> 32 & 0x3F_FFFF) as i32);
        let max = softmax::max_int(score.saturating_add(below));
        let extra = if word >> 54 & 1 == 0 { 0 } else { (word >> 55) as u32 & 31 };
        step_weight(&mut dut, &mut weights, Some((max, score, extra)));
        dut.tick();
    }
    Ok(())
}

/// Cells and depth are those of `tests/baselines/rtl/func_*.toml`: no preset asks for another unit than these.
#[test]
fn cells_and_depth_are_held() -> TestResult {
    if skipped() {
        return Ok(());
    }
    hold("func_score", &[ScoreFixed.module()?])?;
    hold("func_unit", &[FuncUnit::new(&SCALAR)?.module()?, FuncUnit::new(&LANE)?.module()?])?;
    Ok(())
}

/// What is left of a score's latency is for the largest score: a tree over 32 clusters, the way there and back.
#[test]
fn scores_leave_time_for_their_maximum() {
    assert!(u64::from(Exp2::CHAIN) <= SCORE_LATENCY - 2 - u64::from(32u32.ilog2()));
}

#[test]
fn sets_of_functions_are_checked() {
    let text = |functions: &[Function]| FuncUnit::new(functions).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        text(&[]),
        "function unit: number of functions is 0; it must be one or more, none of them twice"
    );
    assert_eq!(
        text(&[Function::Phi, Function::Phi]),
        "function unit: number of functions is 2; it must be one or more, none of them twice"
    );
    assert_eq!(
        text(&[Function::Exp2Neg]),
        "function unit: number of functions that take an integer is 1; it must be 0: exp2_neg is the table's or the softmax weight's"
    );
    assert!(Table::new(&[Function::Recip, Function::Recip], Store::Luts).is_err());
}
