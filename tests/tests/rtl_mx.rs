//! MXINT8 and MXFP4: blocks bit for bit, latency, gaps, cells and depth.
//!
//! Ten million blocks: `cargo test --release -p fastcar-tests --test rtl_mx -- --ignored`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::AccelConfig;
use fastcar_arch::num::{BLOCK, E8M0, Int8Block, e2m1_to_half_units, quantise_int8};
use fastcar_arch::timing::QUANT_LATENCY;
use fastcar_hw::mx::{Dequantiser, HalfUnits, Quantiser};
use fastcar_hw::rtl::{Bits, Block, Module, RtlError, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl, accept, gather, hold, skipped};
use std::collections::VecDeque;
use std::sync::Arc;

/// Lanes of the quantisers: every number that a configuration can have.
const LANES: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// Lanes of the dequantiser in test.
const WORDS: usize = 4;

/// All blocks in one module, so that one library serves all tests.
fn blocks() -> Result<Arc<Module>, RtlError> {
    let quantiser = |lanes: usize| Quantiser::new(lanes as u32)?.module();
    let parts = [
        ("l1", quantiser(1)?),
        ("l2", quantiser(2)?),
        ("l4", quantiser(4)?),
        ("l8", quantiser(8)?),
        ("l16", quantiser(16)?),
        ("l32", quantiser(32)?),
        ("back", Dequantiser::new(WORDS as u32)?.module()?),
        ("codes", HalfUnits::new(BLOCK as u32)?.module()?),
    ];
    gather("mx_blocks", &parts)
}

type Words = [f32; BLOCK];

/// A quantiser of the library and what it owes.
struct Unit {
    prefix: String,
    lanes: usize,
    /// The block whose words are given, and how many were.
    words: Words,
    given: usize,
    owed: VecDeque<Option<Words>>,
}

impl Unit {
    fn new(lanes: usize) -> Self {
        let latency = Quantiser::new(lanes as u32).unwrap().latency();
        assert_eq!(u64::from(latency), QUANT_LATENCY);
        let owed = (0..latency).map(|_| None).collect();
        Self { prefix: format!("l{lanes}"), lanes, words: [0.0; BLOCK], given: 0, owed }
    }

    /// Gives the next words, or none, and checks what is due. A block one cycle early or late would stand beside the wrong
    /// `valid`.
    fn step(
        &mut self,
        dut: &mut Rtl,
        valid: bool,
        block: impl FnOnce() -> Words,
    ) -> Option<(Words, Int8Block)> {
        dut.set(&format!("{}_valid_i", self.prefix), valid);
        let mut whole = None;
        if valid {
            if self.given == 0 {
                self.words = block();
            }
            let group = &self.words[self.given..][..self.lanes];
            let bytes: Vec<u8> = group.iter().flat_map(|word| word.to_bits().to_le_bytes()).collect();
            dut.set(&format!("{}_words_i", self.prefix), Bits::from_bytes(32 * self.lanes as u32, &bytes));
            self.given = (self.given + self.lanes) % BLOCK;
            whole = (self.given == 0).then_some(self.words);
        }
        self.owed.push_back(whole);
        let due = self.owed.pop_front().flatten();
        let there = dut.is_set(&format!("{}_valid_o", self.prefix));
        assert_eq!(there, due.is_some(), "{} in cycle {}", self.prefix, dut.cycle());
        let words = due?;
        let expected = quantise_int8(&words);
        let found = Int8Block {
            scale: E8M0(dut.get(&format!("{}_scale_o", self.prefix)) as u8),
            elems: elements(&dut.bits(&format!("{}_elems_o", self.prefix))),
        };
        assert_eq!(found, expected, "{} lanes: {words:?}", self.lanes);
        Some((words, expected))
    }
}

fn elements(bits: &Bits) -> [i8; BLOCK] {
    let bytes = bits.to_bytes();
    std::array::from_fn(|index| bytes[index] as i8)
}

fn number(sign: u32, field: u32, mantissa: u32) -> f32 {
    f32::from_bits(sign << 31 | field << 23 | mantissa)
}

/// A block: words of like size, of any size, ties, those that saturate, subnormals, few that are not zero, and now and then one
/// that is not finite.
fn block(random: &mut Random) -> Words {
    let kind = random.below(8);
    let top = [1, 2, 8, 120, 127, 130, 253, 254, random.below(256) as u32][random.below(9) as usize];
    let mut words = std::array::from_fn(|_| {
        let word = random.word();
        let (sign, mantissa, low) = ((word >> 63) as u32, word as u32 & 0x7F_FFFF, (word >> 32) as u32);
        let field = top.saturating_sub(low & 7);
        match kind {
            0 => f32::from_bits(low),
            // One bit below the last that is kept, and nothing below: a tie, or with a bit below it nearly one.
            1 | 2 => number(
                sign,
                field,
                mantissa & !0 << (16 + (low & 7)).min(22) | low >> 3 & u32::from(kind == 2),
            ),
            // Close to the next power of two.
            3 => number(sign, top, 0x7F_FFFF - (mantissa >> (8 + (low & 15)))),
            4 => number(sign, low & 1, mantissa),
            5 if low & 7 != 0 => number(sign, 0, 0),
            _ => number(sign, top.saturating_sub(low & 15), mantissa),
        }
    });
    if random.chance(5) {
        words[random.below(32) as usize] =
            [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::from_bits(0x7F80_0001)]
                [random.below(4) as usize];
    }
    words
}

/// Random blocks to quantisers of all numbers of lanes at once.
fn run(dut: &mut Rtl, lanes: &[usize], cycles: u64, seed: u64) -> TestResult {
    let mut random = Random::new(seed);
    let mut units: Vec<Unit> = lanes.iter().map(|&lanes| Unit::new(lanes)).collect();
    let mut gaps: Vec<Gaps> = lanes.iter().map(|_| Gaps::new(75)).collect();
    let bins =
        ["gap", "gap within", "nan", "zero", "saturated", "tie to even", "largest", "least", "subnormal"];
    let mut cover = Cover::new(&bins);
    dut.reset();
    for cycle in 0..cycles {
        for (unit, gaps) in units.iter_mut().zip(&mut gaps) {
            // Long stretches without a gap are where the next block comes in while one is shifted.
            let valid = cycle % 1000 < 400 || gaps.next(&mut random);
            cover.hit("gap", !valid);
            cover.hit("gap within", !valid && unit.given > 0);
            let Some((words, block)) = unit.step(dut, valid, || self::block(&mut random)) else { continue };
            cover.hit("nan", block == Int8Block::NAN);
            cover.hit("zero", block == Int8Block::default());
            cover.hit("largest", block.scale.0 == 254);
            cover.hit("least", block.scale.0 == 1);
            cover.hit("subnormal", words.iter().any(|word| word.is_subnormal()));
            if block.scale.is_nan() {
                continue;
            }
            let unit = block.scale.to_f64() / 64.0;
            let exact = words.map(|word| f64::from(word) / unit);
            cover.hit("saturated", exact.iter().any(|value| value.abs() > 127.5));
            cover.hit("tie to even", exact.iter().any(|value| value.fract().abs() == 0.5));
        }
        dut.tick();
    }
    cover.assert(cycles / 1000);
    Ok(())
}

#[test]
fn blocks_are_exact_and_take_their_latency() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let module = blocks()?;
    accept(&emit(&module)?)?;
    run(&mut Rtl::build_random(&module, 1)?, &LANES, 60_000, 1)
}

/// The crate's own simulation gives the same in every output of every cycle.
#[test]
fn native_simulation_agrees() -> TestResult {
    if skipped() {
        return Ok(());
    }
    run(&mut Rtl::beside_native(&blocks()?)?, &LANES, 2000, 2)
}

/// Ten million blocks of the widest, half as many of the next.
#[test]
#[ignore = "some minutes"]
fn ten_million_blocks() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let parts = [("l16", Quantiser::new(16)?.module()?), ("l32", Quantiser::new(32)?.module()?)];
    run(&mut Rtl::build(&gather("mx_wide", &parts)?)?, &[16, 32], 12_000_000, 3)
}

/// Every distance from the largest word, every number of halves, up to a bit from each: what shift and rounding can meet.
#[test]
fn ties_and_saturation() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build(&blocks()?)?;
    let mut unit = Unit::new(32);
    dut.reset();
    let mut ties = 0;
    for below in 0..12u32 {
        for halves in 0..128u32 {
            // The mantissa's highest bits; a bit more and a bit less.
            let words: Vec<f32> = [0u32, 1, 0x7F_FFFF]
                .iter()
                .flat_map(|off| {
                    [0, 1].map(|sign| number(sign, 127 - below, ((halves << 16) + off) & 0x7F_FFFF))
                })
                .collect();
            let mut block = [0.0; BLOCK];
            block[..6].copy_from_slice(&words);
            block[31] = -1.0;
            ties += block.iter().filter(|x| (f64::from(**x) * 64.0).fract().abs() == 0.5).count();
            unit.step(&mut dut, true, || block);
            dut.tick();
        }
    }
    for _ in 0..QUANT_LATENCY {
        unit.step(&mut dut, false, || [0.0; BLOCK]);
        dut.tick();
    }
    assert!(unit.owed.iter().all(Option::is_none) && ties > 200, "{ties} ties");
    Ok(())
}

/// Each special word in each place of a block, beside numbers of any size, for every number of lanes.
#[test]
fn special_blocks() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build(&blocks()?)?;
    let special = [
        0x7F80_0000,
        0xFF80_0000,
        0x7FC0_0000,
        0xFF80_0001,
        0x7F7F_FFFF,
        0x0080_0000,
        0x807F_FFFF,
        0x8000_0000,
    ];
    let others = [0, 0x3F80_0000, 0x0000_0001, 0x7F7F_FFFF, 0x0080_0000];
    for lanes in LANES {
        let mut unit = Unit::new(lanes);
        let mut blocks = others.into_iter().flat_map(|other| {
            special.into_iter().flat_map(move |word| {
                (0..BLOCK).map(move |at| {
                    std::array::from_fn(|index| f32::from_bits(if index == at { word } else { other }))
                })
            })
        });
        dut.reset();
        let count = others.len() * special.len() * BLOCK * BLOCK / lanes;
        for cycle in 0..count + QUANT_LATENCY as usize {
            unit.step(&mut dut, cycle < count, || blocks.next().unwrap());
            dut.tick();
        }
        assert!(blocks.next().is_none() && unit.owed.iter().all(Option::is_none), "{lanes} lanes");
    }
    Ok(())
}

/// All 2^16 pairs of element and scale.
#[test]
fn every_element_under_every_scale() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build_random(&blocks()?, 4)?;
    let mut owed: VecDeque<Option<(u8, [i8; WORDS])>> = [None].into();
    assert_eq!(Dequantiser::new(WORDS as u32)?.latency() as usize, owed.len());
    let mut cover = Cover::new(&["nan", "infinite", "flushed", "negative flushed", "number", "zero", "gap"]);
    let (mut random, mut gaps, mut next) = (Random::new(5), Gaps::new(90), 0u32);
    dut.reset();
    let groups = 256 * 256 / WORDS as u32;
    while next < groups || owed.iter().any(Option::is_some) {
        let operand = (next < groups && gaps.next(&mut random)).then(|| {
            let (scale, first) = ((next / 64) as u8, (next % 64) as u8 * WORDS as u8);
            next += 1;
            // Another order in each lane, so that a lane meets every element.
            (
                scale,
                std::array::from_fn(|lane| (first + ((lane as u8).wrapping_add(scale) % WORDS as u8)) as i8),
            )
        });
        cover.hit("gap", operand.is_none());
        dut.set("back_valid_i", operand.is_some());
        if let Some((scale, elems)) = operand {
            dut.set("back_scale_i", u64::from(scale));
            dut.set("back_elems_i", Bits::from_bytes(32, &elems.map(|element| element as u8)));
        }
        owed.push_back(operand);
        let due = owed.pop_front().flatten();
        assert_eq!(dut.is_set("back_valid_o"), due.is_some());
        if let Some((scale, elems)) = due {
            let words = dut.bits("back_words_o");
            let mut whole = Int8Block { scale: E8M0(scale), elems: [0; BLOCK] };
            whole.elems[..WORDS].copy_from_slice(&elems);
            for (lane, (expected, element)) in whole.dequantise().into_iter().zip(elems).enumerate() {
                let found = words.slice(32 * lane as u32, 32).to_u64().unwrap();
                assert_eq!(found, u64::from(expected.to_bits()), "{element} under {scale}");
                cover.hit("nan", expected.is_nan());
                cover.hit("infinite", expected.is_infinite());
                cover.hit("flushed", expected == 0.0 && element > 0);
                cover.hit("negative flushed", expected.to_bits() == 1 << 31);
                cover.hit("number", expected.is_normal());
                cover.hit("zero", element == 0);
            }
        }
        dut.tick();
    }
    cover.assert(1);
    Ok(())
}

/// All 16 codes in every lane.
#[test]
fn every_code_in_every_lane() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build(&blocks()?)?;
    for turn in 0..16u8 {
        let codes: Vec<u8> = (0..BLOCK as u8).map(|lane| (lane + turn) % 16).collect();
        let bytes: Vec<u8> = codes.chunks(2).map(|pair| pair[0] | pair[1] << 4).collect();
        dut.set("codes_codes_i", Bits::from_bytes(4 * BLOCK as u32, &bytes));
        let units = dut.bits("codes_units_o");
        for (lane, code) in (0..).zip(codes) {
            let found = units.slice(lane * HalfUnits::WIDTH, HalfUnits::WIDTH).to_i64();
            assert_eq!(found, Some(i64::from(e2m1_to_half_units(code))), "code {code} in lane {lane}");
        }
    }
    Ok(())
}

/// Cells and depth are those of `tests/baselines/rtl/mx_*.toml`: with the lanes of presets tiny, edge and u55c, and the number
/// between, which leaves the least time.
#[test]
fn cells_and_depth_are_held() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let quantisers: Result<Vec<_>, RtlError> =
        [4, 8, 16, 32].into_iter().map(|lanes| Quantiser::new(lanes)?.module()).collect();
    hold("mx_quantiser", &quantisers?)?;
    hold("mx_decode", &[Dequantiser::new(1)?.module()?, HalfUnits::new(1)?.module()?])?;
    Ok(())
}

/// Every preset's vector unit has a quantiser; other numbers are refused.
#[test]
fn any_number_of_lanes() -> TestResult {
    for preset in AccelConfig::PRESETS {
        Quantiser::new(AccelConfig::preset(preset)?.vector_lanes())?;
    }
    let text = Quantiser::new(12).unwrap_err().to_string();
    assert_eq!(
        text,
        "quantiser: lanes is 12; it must be a power of two from 1 to 32, so that a block is whole groups of lanes"
    );
    assert!(Quantiser::new(0).is_err() && Quantiser::new(64).is_err());
    assert!(Dequantiser::new(0).is_err() && HalfUnits::new(5).is_err());
    Ok(())
}
