//! Arithmetic on binary32: every block beside the functions of `fastcar_arch::num`, bit for bit and cycle for cycle.
//!
//! One module holds all of them, so that they share one library.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::num::fp::{CANONICAL_NAN, add, gt, max_exp_field, mul, scaled_int_to_f32, sub};
use fastcar_arch::num::mx::E8M0;
use fastcar_arch::num::{sumsq, window};
use fastcar_hw::fp::{Adder, Align, FromInteger, FromWindow, Greater, MaxExponent, Multiplier, SquareSum};
use fastcar_hw::rtl::{Bits, Block, Module, RtlError, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl, accept, gather, hold, skipped};
use std::collections::VecDeque;
use std::sync::Arc;

/// Widths of integers under test: the smallest, shorter than a significand, accumulators, sums, the largest.
const WIDTHS: [u32; 5] = [2, 20, 48, 50, 64];
/// Lanes under test: those of the presets tiny, edge and u55c, and one without a tree.
const LANES: [u32; 4] = [1, 4, 16, 32];
/// Words whose largest field is looked for: a line, an odd number of levels, the fewest.
const WORDS: [u32; 3] = [2, 8, 32];

/// Blocks that take a word or two.
fn scalar_blocks() -> Result<Vec<(String, Arc<Module>)>, RtlError> {
    let mut blocks = vec![
        ("add".to_string(), Adder.module()?),
        ("mul".to_string(), Multiplier.module()?),
        ("window".to_string(), FromWindow.module()?),
        ("align".to_string(), Align.module()?),
        ("gt".to_string(), Greater.module()?),
    ];
    for width in WIDTHS {
        blocks.push((format!("int_{width}"), FromInteger::new(width)?.module()?));
    }
    for words in WORDS {
        blocks.push((format!("max_{words}"), MaxExponent::new(words)?.module()?));
    }
    Ok(blocks)
}

fn sum_blocks() -> Result<Vec<(String, Arc<Module>)>, RtlError> {
    LANES.iter().map(|&lanes| Ok((format!("sum_{lanes}"), SquareSum::new(lanes)?.module()?))).collect()
}

fn together(name: &str, blocks: &[(String, Arc<Module>)]) -> Result<Arc<Module>, RtlError> {
    let parts: Vec<_> = blocks.iter().map(|(name, module)| (name.as_str(), Arc::clone(module))).collect();
    gather(name, &parts)
}

/// A word, often at an edge of the format.
fn word(random: &mut Random) -> f32 {
    let bits = random.word();
    let mantissa = match random.below(6) {
        0 => 0,
        1 => 0x7F_FFFF,
        2 => 1,
        3 => 0x40_0000,
        4 => (1 << random.below(23)) - 1,
        _ => bits as u32 & 0x7F_FFFF,
    };
    let field = match random.below(8) {
        0 => 0,
        1 => 1 + random.below(4) as u32,
        2 => 251 + random.below(4) as u32,
        3 => 255,
        4 => 120 + random.below(16) as u32,
        _ => (bits >> 32) as u32 & 0xFF,
    };
    f32::from_bits((((bits >> 63) as u32) << 31) | (field << 23) | mantissa)
}

/// A second operand, often close to the first one in magnitude.
fn partner(random: &mut Random, a: f32) -> f32 {
    let sign = (random.below(2) as u32) << 31;
    let bits = a.to_bits() & 0x7FFF_FFFF;
    match random.below(8) {
        0 => f32::from_bits(bits | sign),
        1 => f32::from_bits((bits ^ (1 << random.below(24))) | sign),
        // A distance at which rounding hangs on the last bits.
        2 | 3 => {
            let shift = random.below(30) as u32;
            let field = (bits >> 23).saturating_sub(shift);
            f32::from_bits((word(random).to_bits() & 0x7F_FFFF) | (field << 23) | sign)
        }
        // A product about the smallest or the largest number.
        4 => {
            let target = if random.chance(50) { 127 } else { 381 };
            let field = (target - (bits >> 23) as i32 + random.below(4) as i32 - 2).clamp(0, 255);
            f32::from_bits((word(random).to_bits() & 0x7F_FFFF) | (field as u32) << 23 | sign)
        }
        _ => word(random),
    }
}

/// An integer of a width: any number of bits, often next to a power of two or a tie.
fn integer(random: &mut Random, width: u32) -> i64 {
    let any = Bits::from_u64(width, random.word()).to_i64().unwrap();
    let short = any >> random.below(u64::from(width));
    match random.below(4) {
        0 => random.bits(width).to_i64().unwrap(),
        1 => {
            // A tie, or its neighbour, behind 24 bits.
            let low = random.below(u64::from(width)) as u32;
            let tie = (short & (!0 << low)) | ((1i64 << low) >> 1);
            let near = tie.wrapping_add(random.below(3) as i64 - 1);
            Bits::from_i64(width, near).to_i64().unwrap()
        }
        _ => short,
    }
}

/// What a pipe gives, cycle by cycle: nothing where nothing went in.
struct Pipe<T> {
    results: VecDeque<Option<T>>,
}

impl<T> Pipe<T> {
    fn new(latency: u32) -> Self {
        Self { results: (0..latency).map(|_| None).collect() }
    }

    /// Takes what goes in before this edge and gives what is to be seen before it.
    fn step(&mut self, given: Option<T>) -> Option<T> {
        self.results.push_back(given);
        self.results.pop_front().flatten()
    }
}

/// Runs a pipe of binary32 results: `drive` sets operands and gives the result that they have.
fn run(
    dut: &mut Rtl,
    (prefix, output, latency): (&str, &str, u32),
    cycles: u64,
    random: &mut Random,
    mut drive: impl FnMut(&mut Rtl, &mut Random) -> u64,
) {
    let mut gaps = Gaps::new(80);
    let mut pipe = Pipe::new(latency);
    let (valid_in, valid_out) = (format!("{prefix}_valid_i"), format!("{prefix}_valid_o"));
    let output = format!("{prefix}_{output}");
    let mut seen = (false, false);
    for cycle in 0..cycles {
        let valid = gaps.next(random);
        let result = drive(dut, random);
        dut.set(&valid_in, valid);
        // A result that came one cycle early or late would stand beside another one's operands.
        let expected = pipe.step(valid.then_some(result));
        assert_eq!(dut.is_set(&valid_out), expected.is_some(), "{prefix}, cycle {cycle}");
        if let Some(expected) = expected {
            let found = dut.get(&output);
            assert_eq!(found, expected, "{prefix}, cycle {cycle}: {found:#x} is not {expected:#x}");
        }
        if valid {
            seen.0 = true
        } else {
            seen.1 = true
        }
        dut.tick();
    }
    assert_eq!(seen, (true, true), "{prefix}: operands with and without gaps");
}

fn scalars() -> Result<Rtl, Box<dyn std::error::Error>> {
    Ok(Rtl::build(&together("fp_scalars", &scalar_blocks()?)?)?)
}

/// Cycles of a run that is part of the ordinary tests; the first of them beside the crate's own simulation.
const SLICE: u64 = 150_000;
/// Cycles of a long run.
const LONG: u64 = 10_000_000;

fn hits_of_numbers(cover: &mut Cover, a: f32, b: f32, result: f32) {
    cover.hit("NaN", result.is_nan());
    cover.hit("infinite", result.is_infinite());
    cover.hit("overflow", result.is_infinite() && a.is_finite() && b.is_finite());
    cover.hit("zero", result == 0.0);
    cover.hit("flushed operand", a.is_subnormal() || b.is_subnormal());
    cover.hit("smallest", result.abs() == f32::MIN_POSITIVE);
    cover.hit("normal", result.is_normal());
}

const NUMBERS: [&str; 7] = ["NaN", "infinite", "overflow", "zero", "flushed operand", "smallest", "normal"];

fn adder(dut: &mut Rtl, cycles: u64, seed: u64) {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&[&NUMBERS[..], &["cancelled", "minus zero", "tiny", "inexact"]].concat());
    run(dut, ("add", "sum_o", Adder.latency()), cycles, &mut random, |dut, random| {
        let a = word(random);
        let (b, subtract) = (partner(random, a), random.chance(50));
        dut.set("add_a_i", u64::from(a.to_bits()));
        dut.set("add_b_i", u64::from(b.to_bits()));
        dut.set("add_subtract_i", subtract);
        let result = if subtract { sub(a, b) } else { add(a, b) };
        hits_of_numbers(&mut cover, a, b, result);
        let exact = if subtract { f64::from(a) - f64::from(b) } else { f64::from(a) + f64::from(b) };
        let normal = a.is_normal() && b.is_normal();
        cover.hit("cancelled", exact == 0.0 && normal);
        cover.hit("minus zero", result.to_bits() == 0x8000_0000);
        cover.hit("tiny", exact != 0.0 && exact.abs() < f64::from(f32::MIN_POSITIVE) && normal);
        cover.hit("inexact", f64::from(result) != exact && result.is_normal());
        u64::from(result.to_bits())
    });
    cover.assert(50);
}

fn multiplier(dut: &mut Rtl, cycles: u64, seed: u64) {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&[&NUMBERS[..], &["tiny", "tiny only before rounding", "tie"]].concat());
    run(dut, ("mul", "product_o", Multiplier.latency()), cycles, &mut random, |dut, random| {
        let (a, b) = if random.chance(1) {
            // (1 - 2^-24) x 2^-126: rounding would give 2^-126.
            (f32::from_bits(0x3F7F_FFFF), f32::from_bits(0x0080_0000))
        } else {
            let a = word(random);
            (a, partner(random, a))
        };
        dut.set("mul_a_i", u64::from(a.to_bits()));
        dut.set("mul_b_i", u64::from(b.to_bits()));
        let result = mul(a, b);
        hits_of_numbers(&mut cover, a, b, result);
        let exact = f64::from(a) * f64::from(b);
        let tiny = a.is_normal() && b.is_normal() && exact.abs() < f64::from(f32::MIN_POSITIVE);
        cover.hit("tiny", tiny);
        cover.hit("tiny only before rounding", tiny && (exact as f32).is_normal());
        cover.hit("tie", result.is_normal() && exact.to_bits() << 35 == 1 << 63);
        u64::from(result.to_bits())
    });
    cover.assert(50);
}

fn from_integer(dut: &mut Rtl, width: u32, cycles: u64, seed: u64) -> TestResult {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&["NaN", "infinite", "zero", "tiny", "smallest integer", "negative"]);
    let prefix = format!("int_{width}");
    let names = ["nan_i", "value_i", "exponent_i"].map(|port| format!("{prefix}_{port}"));
    let latency = FromInteger::new(width)?.latency();
    run(dut, (&prefix, "result_o", latency), cycles, &mut random, |dut, random| {
        let value = integer(random, width);
        let lead = 63 - i64::from(value.unsigned_abs().max(1).leading_zeros());
        let exponent = match random.below(4) {
            0 => random.below(1024) as i64 - 512,
            1 => -126 - lead + random.below(5) as i64 - 2,
            2 => 127 - lead + random.below(5) as i64 - 2,
            _ => random.below(300) as i64 - 150,
        };
        let nan = random.chance(3);
        dut.set(&names[0], nan);
        dut.set(&names[1], value);
        dut.set(&names[2], exponent);
        let result = if nan { CANONICAL_NAN } else { scaled_int_to_f32(value, exponent as i32) };
        cover.hit("NaN", nan);
        cover.hit("infinite", result.is_infinite());
        cover.hit("zero", value == 0);
        cover.hit("tiny", value != 0 && result == 0.0);
        cover.hit("smallest integer", Bits::from_i64(width, value).shl(1) == Bits::zero(width) && value != 0);
        cover.hit("negative", result < 0.0);
        u64::from(result.to_bits())
    });
    cover.assert(50);
    Ok(())
}

fn from_window(dut: &mut Rtl, cycles: u64, seed: u64) {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&["NaN", "infinite", "tiny", "normal", "MXFP4", "MXINT8"]);
    run(dut, ("window", "result_o", FromWindow.latency()), cycles, &mut random, |dut, random| {
        let acc = integer(random, window::ACC_BITS);
        let scale = |random: &mut Random| E8M0(random.bits(8).to_u64().unwrap() as u8);
        let base = window::Base::new(scale(random), scale(random));
        let fp4 = random.chance(50);
        dut.set("window_acc_i", acc);
        dut.set("window_base_i", u64::from(base.sum()));
        dut.set("window_nan_i", base.is_nan());
        dut.set("window_fp4_i", fp4);
        let pair = if fp4 { window::Pair::Fp4Int8 } else { window::Pair::Int8Int8 };
        let result = window::to_f32(acc, base, pair);
        cover.hit("NaN", base.is_nan());
        cover.hit("infinite", result.is_infinite());
        cover.hit("tiny", acc != 0 && result == 0.0);
        cover.hit("normal", result.is_normal());
        cover.hit("MXFP4", fp4);
        cover.hit("MXINT8", !fp4);
        u64::from(result.to_bits())
    });
    cover.assert(50);
}

/// A number whose field is not above `emax`, often not far below it.
fn below(random: &mut Random, emax: u8) -> f32 {
    let field = u32::from(emax).saturating_sub(match random.below(4) {
        0 => 0,
        1 => random.below(256) as u32,
        _ => random.below(26) as u32,
    });
    f32::from_bits((word(random).to_bits() & 0x807F_FFFF) | (field << 23))
}

/// A largest field: often one at an end, or none.
fn largest(random: &mut Random) -> u8 {
    match random.below(6) {
        0 => 255,
        1 => random.below(3) as u8,
        2 => 254,
        _ => random.below(255) as u8,
    }
}

fn align(dut: &mut Rtl, cycles: u64, seed: u64) {
    let mut random = Random::new(seed);
    let mut cover =
        Cover::new(&["2^17", "-2^17", "nothing left", "tie down", "tie up", "no exponent", "square"]);
    run(dut, ("align", "aligned_o", Align::LATENCY), cycles, &mut random, |dut, random| {
        let emax = largest(random);
        let (x, square) = (below(random, emax), random.chance(40));
        dut.set("align_x_i", u64::from(x.to_bits()));
        dut.set("align_emax_i", u64::from(emax));
        dut.set("align_square_i", square);
        let value = if emax == 255 { 0 } else { sumsq::align(x, emax) };
        let exact = f64::from(x) * f64::from(143 - i32::from(emax)).exp2();
        let tie = emax != 255 && x.is_normal() && (exact * 2.0).rem_euclid(2.0) == 1.0;
        cover.hit("2^17", value == 1 << 17);
        cover.hit("-2^17", value == -(1 << 17));
        cover.hit("nothing left", value == 0 && x.is_normal());
        cover.hit("tie down", tie && f64::from(value.abs()) < exact.abs());
        cover.hit("tie up", tie && f64::from(value.abs()) > exact.abs());
        cover.hit("no exponent", emax == 255);
        cover.hit("square", square);
        let value = if square { -value.abs() } else { value };
        (value as u32 & 0x7_FFFF).into()
    });
    cover.assert(50);
}

fn greater(dut: &mut Rtl, cycles: u64, seed: u64) {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&["yes", "no", "equal", "NaN", "both zero", "subnormal beside normal"]);
    run(dut, ("gt", "greater_o", Greater::LATENCY), cycles, &mut random, |dut, random| {
        let a = word(random);
        let b = partner(random, a);
        dut.set("gt_a_i", u64::from(a.to_bits()));
        dut.set("gt_b_i", u64::from(b.to_bits()));
        cover.hit("yes", gt(a, b));
        cover.hit("no", gt(b, a));
        cover.hit("equal", a == b);
        cover.hit("NaN", a.is_nan() || b.is_nan());
        cover.hit("both zero", a.is_subnormal() && b.is_subnormal());
        cover.hit("subnormal beside normal", a.is_subnormal() && b.is_normal());
        gt(a, b).into()
    });
    cover.assert(50);
}

fn max_exponent(dut: &mut Rtl, words: u32, cycles: u64, seed: u64) -> TestResult {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&["0", "255", "first", "last", "other"]);
    let (prefix, port) = (format!("max_{words}"), format!("max_{words}_words_i"));
    let latency = MaxExponent::new(words)?.latency();
    run(dut, (&prefix, "field_o", latency), cycles, &mut random, |dut, random| {
        let emax = largest(random);
        let mut values: Vec<f32> = (0..words).map(|_| below(random, emax)).collect();
        if random.chance(50) {
            // One alone is the largest.
            let (alone, rest) = (random.below(words.into()) as usize, below(random, emax.saturating_sub(1)));
            values.fill(rest);
            values[alone] = f32::from_bits(u32::from(emax) << 23);
        }
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_bits().to_le_bytes()).collect();
        dut.set(&port, Bits::from_bytes(32 * words, &bytes));
        let found = max_exp_field(&values);
        let own = |value: &f32| max_exp_field(&[*value]) == found;
        cover.hit("0", found == 0);
        cover.hit("255", found == 255);
        cover.hit("first", own(&values[0]) && !values[1..].iter().any(own));
        cover.hit("last", values.last().is_some_and(own));
        cover.hit("other", !own(&values[0]));
        found.into()
    });
    cover.assert(20);
    Ok(())
}

/// A vector of whole groups, and its largest field.
fn vector(random: &mut Random, lanes: u32) -> (Vec<f32>, u8) {
    let words = 2 * lanes as usize * (1 + random.below(6) as usize);
    let emax = largest(random);
    let extreme = random.chance(20);
    let one = |random: &mut Random| match extreme {
        true => f32::from_bits((u32::from(emax) << 23) | 0x7F_FFFF),
        false => below(random, emax),
    };
    let mut x: Vec<f32> = (0..words).map(|_| one(random)).collect();
    if random.chance(20) {
        x.iter_mut().skip(words / 2).for_each(|x| *x = 0.0);
    }
    (x, emax)
}

/// What is to come out for a vector: the sum, its exponent, and whether it is NaN.
fn sum_of(x: &[f32], emax: u8, squares: bool) -> (i64, i64, bool) {
    let unit = i64::from(emax) - 127 - i64::from(sumsq::FRAC_BITS);
    if squares {
        (sumsq::partial_squares(x, emax) as i64, 2 * unit, emax == 255)
    } else {
        (sumsq::partial_sum(x, emax), unit, emax == 255)
    }
}

fn square_sums(dut: &mut Rtl, lanes: u32, cycles: u64, seed: u64) -> TestResult {
    let mut random = Random::new(seed);
    let mut cover =
        Cover::new(&["squares", "sum", "NaN", "one group", "many groups", "gap within", "no gap between"]);
    let mut gaps = Gaps::new(70);
    let latency = SquareSum::new(lanes)?.latency();
    let mut pipe = Pipe::new(latency);
    let name = |port: &str| format!("sum_{lanes}_{port}");
    let (mut groups, mut left, mut flags) = (Vec::new(), 0, (false, 0u8));
    let (mut before, mut result) = (false, (0, 0, false));
    for cycle in 0..cycles {
        if left == 0 {
            let (x, emax) = vector(&mut random, lanes);
            flags = (random.chance(50), emax);
            result = sum_of(&x, emax, flags.0);
            groups = x.chunks(2 * lanes as usize).map(<[f32]>::to_vec).collect();
            left = groups.len();
        }
        let valid = gaps.next(&mut random);
        let at = groups.len() - left;
        let bytes: Vec<u8> = groups[at].iter().flat_map(|v| v.to_bits().to_le_bytes()).collect();
        dut.set(&name("valid_i"), valid);
        // Where nothing is valid these say nothing.
        dut.set(&name("first_i"), if valid { at == 0 } else { random.chance(50) });
        dut.set(&name("last_i"), if valid { left == 1 } else { random.chance(50) });
        dut.set(&name("squares_i"), if valid { flags.0 } else { random.chance(50) });
        dut.set(&name("emax_i"), if valid { u64::from(flags.1) } else { random.below(256) });
        dut.set(&name("words_i"), Bits::from_bytes(64 * lanes, &bytes));
        let expected = pipe.step((valid && left == 1).then_some(result));
        assert_eq!(dut.is_set(&name("valid_o")), expected.is_some(), "{lanes} lanes, cycle {cycle}");
        if let Some((sum, exponent, nan)) = expected {
            assert_eq!(dut.get_signed(&name("sum_o")), sum, "{lanes} lanes, cycle {cycle}");
            assert_eq!(dut.get_signed(&name("exponent_o")), exponent, "{lanes} lanes, cycle {cycle}");
            assert_eq!(dut.is_set(&name("nan_o")), nan, "{lanes} lanes, cycle {cycle}");
        }
        cover.hit("squares", valid && flags.0);
        cover.hit("sum", valid && !flags.0);
        cover.hit("NaN", valid && flags.1 == 255);
        cover.hit("one group", valid && groups.len() == 1);
        cover.hit("many groups", valid && groups.len() > 1);
        cover.hit("gap within", !valid && at > 0);
        cover.hit("no gap between", valid && at == 0 && before);
        before = valid;
        left -= usize::from(valid);
        dut.tick();
    }
    cover.assert(100);
    Ok(())
}

#[test]
fn tools_accept_every_block() -> TestResult {
    if skipped() {
        return Ok(());
    }
    accept(&emit(&together("fp_scalars", &scalar_blocks()?)?)?)?;
    accept(&emit(&together("fp_sums", &sum_blocks()?)?)?)?;
    Ok(())
}

/// The crate's own simulation gives the same, cycle by cycle.
#[test]
fn both_simulations_agree() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let modules = [together("fp_scalars", &scalar_blocks()?)?, together("fp_sums", &sum_blocks()?)?];
    for module in modules {
        let mut dut = Rtl::beside_native(&module)?;
        dut.reset();
        let mut random = Random::new(1);
        let inputs: Vec<(String, u32)> = dut.inputs().map(|(name, width)| (name.into(), width)).collect();
        for _ in 0..300 {
            for (name, width) in inputs.iter().filter(|(name, _)| name != "rst_i") {
                dut.set(name, random.bits(*width));
            }
            dut.tick();
        }
    }
    Ok(())
}

/// A parameter that a block cannot have is refused with what it can be.
#[test]
fn parameters_are_checked() {
    let text = |error: RtlError| error.to_string();
    assert_eq!(
        text(FromInteger::new(1).unwrap_err()),
        "integer to binary32: width is 1; it must be 2 to 64 bits"
    );
    assert_eq!(
        text(FromInteger::new(65).unwrap_err()),
        "integer to binary32: width is 65; it must be 2 to 64 bits"
    );
    for lanes in [0, 3, 512] {
        let expected = format!("sum of squares: lanes is {lanes}; it must be a power of two up to 256");
        assert_eq!(text(SquareSum::new(lanes).unwrap_err()), expected);
    }
    for words in [0, 1, 12, 2048] {
        let expected =
            format!("largest exponent: words is {words}; it must be a power of two from 2 to 1024");
        assert_eq!(text(MaxExponent::new(words).unwrap_err()), expected);
    }
}

/// Cells and depth are those of `tests/baselines/rtl/fp_*.toml`.
#[test]
fn cells_and_depth_are_those_of_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    hold("fp_adder", &[Adder.module()?])?;
    hold("fp_multiplier", &[Multiplier.module()?])?;
    hold("fp_integer", &[FromInteger::new(48)?.module()?, FromInteger::new(50)?.module()?])?;
    hold("fp_window", &[FromWindow.module()?])?;
    hold("fp_align", &[Align.module()?])?;
    hold("fp_greater", &[Greater.module()?])?;
    hold("fp_max_exponent", &[MaxExponent::new(32)?.module()?])?;
    let sums = [4, 16, 32].map(|lanes| SquareSum::new(lanes)?.module());
    Ok(hold("fp_sums", &sums.into_iter().collect::<Result<Vec<_>, _>>()?)?)
}

#[test]
fn adder_is_exact_and_takes_its_latency() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = scalars()?;
    dut.reset();
    adder(&mut dut, SLICE, 2);
    Ok(())
}

#[test]
fn multiplier_is_exact_and_takes_its_latency() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = scalars()?;
    dut.reset();
    multiplier(&mut dut, SLICE, 3);
    Ok(())
}

#[test]
fn integers_are_converted_exactly() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = scalars()?;
    dut.reset();
    for width in WIDTHS {
        from_integer(&mut dut, width, SLICE / 3, 4)?;
    }
    Ok(())
}

#[test]
fn windows_are_converted_exactly() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = scalars()?;
    dut.reset();
    from_window(&mut dut, SLICE / 2, 5);
    Ok(())
}

#[test]
fn numbers_are_aligned_exactly() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = scalars()?;
    dut.reset();
    align(&mut dut, SLICE, 6);
    Ok(())
}

#[test]
fn comparisons_are_exact() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = scalars()?;
    dut.reset();
    greater(&mut dut, SLICE / 2, 7);
    for words in WORDS {
        max_exponent(&mut dut, words, SLICE / 10, 8)?;
    }
    Ok(())
}

/// As many terms as a sum may have, all of them the largest: 2^48, and 2^31 on either side.
#[test]
fn the_largest_sums_fit() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build(&together("fp_sums", &sum_blocks()?)?)?;
    dut.reset();
    let lanes = 32;
    let groups = sumsq::MAX_TERMS as u32 / (2 * lanes);
    let latency = SquareSum::new(lanes)?.latency();
    for (sign, squares, sum) in [(1.0, true, 1i64 << 48), (1.0, false, 1 << 31), (-1.0, false, -(1 << 31))] {
        let value: f32 = sign * f32::from_bits(0x43FF_FFFF);
        let bytes: Vec<u8> = (0..2 * lanes).flat_map(|_| value.to_bits().to_le_bytes()).collect();
        for cycle in 0..groups + latency - 1 {
            dut.set("sum_32_valid_i", cycle < groups);
            dut.set("sum_32_first_i", cycle == 0);
            dut.set("sum_32_last_i", cycle == groups - 1);
            dut.set("sum_32_squares_i", squares);
            dut.set("sum_32_emax_i", 0x87u64);
            dut.set("sum_32_words_i", Bits::from_bytes(64 * lanes, &bytes));
            assert!(!dut.is_set("sum_32_valid_o"), "cycle {cycle}");
            dut.tick();
        }
        assert!(dut.is_set("sum_32_valid_o"));
        assert_eq!(dut.get_signed("sum_32_sum_o"), sum);
        dut.set("sum_32_valid_i", false);
        dut.tick();
    }
    Ok(())
}

#[test]
fn sums_are_exact_and_take_their_latency() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build(&together("fp_sums", &sum_blocks()?)?)?;
    dut.reset();
    for lanes in LANES {
        square_sums(&mut dut, lanes, 8_000, 9)?;
    }
    Ok(())
}

/// `cargo test --release -p fastcar-tests --test rtl_fp -- --ignored adds_for_long`
#[test]
#[ignore = "ten million sums"]
fn adds_for_long() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build(&together("fp_adder_alone", &[("add".to_string(), Adder.module()?)])?)?;
    dut.reset();
    adder(&mut dut, LONG, 12);
    Ok(())
}

/// `cargo test --release -p fastcar-tests --test rtl_fp -- --ignored multiplies_for_long`
#[test]
#[ignore = "ten million products"]
fn multiplies_for_long() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut =
        Rtl::build(&together("fp_multiplier_alone", &[("mul".to_string(), Multiplier.module()?)])?)?;
    dut.reset();
    multiplier(&mut dut, LONG, 13);
    Ok(())
}

/// `cargo test --release -p fastcar-tests --test rtl_fp -- --ignored converts_for_long`
#[test]
#[ignore = "ten million integers"]
fn converts_for_long() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let block = ("int_64".to_string(), FromInteger::new(64)?.module()?);
    let mut dut = Rtl::build(&together("fp_from_integer_alone", &[block])?)?;
    dut.reset();
    from_integer(&mut dut, 64, LONG, 14)
}

/// `cargo test --release -p fastcar-tests --test rtl_fp -- --ignored aligns_for_long`
#[test]
#[ignore = "ten million numbers"]
fn aligns_for_long() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build(&together("fp_align_alone", &[("align".to_string(), Align.module()?)])?)?;
    dut.reset();
    align(&mut dut, LONG, 15);
    Ok(())
}

/// `cargo test --release -p fastcar-tests --test rtl_fp -- --ignored compares_for_long`
#[test]
#[ignore = "ten million comparisons"]
fn compares_for_long() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build(&together("fp_greater_alone", &[("gt".to_string(), Greater.module()?)])?)?;
    dut.reset();
    greater(&mut dut, LONG, 16);
    Ok(())
}

/// `cargo test --release -p fastcar-tests --test rtl_fp -- --ignored sums_for_long`
#[test]
#[ignore = "ten million words"]
fn sums_for_long() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let block = ("sum_4".to_string(), SquareSum::new(4)?.module()?);
    let mut dut = Rtl::build(&together("fp_sums_alone", &[block])?)?;
    dut.reset();
    // Eight words a cycle, in two cycles of three.
    square_sums(&mut dut, 4, LONG / 5, 17)
}
