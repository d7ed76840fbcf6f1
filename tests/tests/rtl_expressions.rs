//! Every operation and random expressions, as Rust computes them and as Verilator does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_hw::rtl::{Bits, Builder, Module, RamStyle, Wire, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Random, Rtl, accept, gather, skipped};
use std::sync::Arc;

/// Widths around the limits of what tools keep numbers in.
const WIDTHS: [u32; 22] =
    [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 95, 127, 128, 129, 130];

/// A module with every operation on two operands of a width, a narrower one, and a shift count.
fn operations(width: u32) -> Arc<Module> {
    let m = Builder::new(format!("operations_w{width}"));
    let (a, b) = (m.input("a_i", width), m.input("b_i", width));
    let narrow = m.input("narrow_i", width.div_ceil(3));
    let count = m.input("count_i", 8);
    let low = width / 3;
    let results = [
        ("add", a + b),
        ("sub", a - b),
        ("and", a & b),
        ("or", a | b),
        ("xor", a ^ b),
        ("not", !a),
        ("neg", a.negated()),
        ("mul", a.mul_unsigned(b)),
        ("mul_signed", a.mul_signed(b)),
        ("mul_narrow", a.mul_signed(narrow)),
        ("eq", a.eq(b)),
        ("ne", a.ne(b)),
        ("lt", a.lt(b)),
        ("le", a.le(b)),
        ("gt", a.gt(b)),
        ("ge", a.ge(b)),
        ("lt_signed", a.lt_signed(b)),
        ("le_signed", a.le_signed(b)),
        ("shl", a.shl_by(count)),
        ("shr", a.shr_by(count)),
        ("sar", a.sar_by(count)),
        ("shl_const", a << low),
        ("shr_const", a >> low),
        ("sar_const", a.sar(low)),
        ("slice", a.slice(low, width - low)),
        ("concat", m.concat(&[a, narrow, b])),
        ("zext", narrow.zext(width + 1)),
        ("sext", narrow.sext(width + 1)),
        ("mux", count.bit(0).mux(a, b)),
        ("any", a.any()),
        ("all", a.all()),
        ("parity", a.parity()),
    ];
    for (name, value) in results {
        m.output(&format!("{name}_o"), value);
    }
    m.finish().unwrap()
}

#[test]
fn every_operation_is_verilogs() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let parts: Vec<_> = WIDTHS.iter().map(|&width| (format!("w{width}"), operations(width))).collect();
    let parts: Vec<_> = parts.iter().map(|(name, module)| (name.as_str(), Arc::clone(module))).collect();
    let all = gather("operations", &parts)?;
    accept(&emit(&all)?)?;
    let mut dut = Rtl::beside_native(&all)?;
    let inputs: Vec<_> = dut.inputs().map(|(name, width)| (name.to_string(), width)).collect();
    let mut random = Random::new(1);
    // Both sides compare every output of every width in each cycle: 22 widths, 32 operations.
    for _ in 0..2000 {
        for (name, width) in &inputs {
            dut.set(name, random.bits(*width));
        }
        dut.tick();
    }
    Ok(())
}

/// A random expression of a width.
fn expression<'m>(random: &mut Random, leaves: &[Wire<'m>], width: u32, depth: u32) -> Wire<'m> {
    if depth == 0 {
        return leaf(random, leaves, width);
    }
    let operand = |random: &mut Random, width: u32| expression(random, leaves, width, depth - 1);
    let any_width = |random: &mut Random| 1 + random.below(70) as u32;
    match random.below(22) {
        0 => operand(random, width) + operand(random, width),
        1 => operand(random, width) - operand(random, width),
        2 => operand(random, width) & operand(random, width),
        3 => operand(random, width) | operand(random, width),
        4 => operand(random, width) ^ operand(random, width),
        5 => !operand(random, width),
        6 if width > 1 => {
            let left = 1 + random.below(u64::from(width) - 1) as u32;
            operand(random, left).mul_unsigned(operand(random, width - left))
        }
        7 if width > 1 => {
            let left = 1 + random.below(u64::from(width) - 1) as u32;
            operand(random, left).mul_signed(operand(random, width - left))
        }
        8..=12 => {
            let inner = any_width(random);
            let (a, b) = (operand(random, inner), operand(random, inner));
            let bit = match random.below(8) {
                0 => a.eq(b),
                1 => a.ne(b),
                2 => a.lt(b),
                3 => a.le(b),
                4 => a.lt_signed(b),
                5 => a.le_signed(b),
                6 => a.any(),
                _ => a.parity(),
            };
            bit.mux(operand(random, width), operand(random, width))
        }
        13 => operand(random, width).shl_by(operand(random, 5)),
        14 => operand(random, width).shr_by(operand(random, 6)),
        15 => operand(random, width).sar_by(operand(random, 5)),
        16 => {
            let more = any_width(random);
            let low = random.below(u64::from(more)) as u32;
            operand(random, width + more).slice(low, width)
        }
        17 if width > 1 => {
            let high = 1 + random.below(u64::from(width) - 1) as u32;
            operand(random, high).cat(operand(random, width - high))
        }
        18 if width > 1 => {
            let inner = 1 + random.below(u64::from(width) - 1) as u32;
            operand(random, inner).zext(width)
        }
        19 if width > 1 => {
            let inner = 1 + random.below(u64::from(width) - 1) as u32;
            operand(random, inner).sext(width)
        }
        20 => {
            let count = 2 + random.below(4);
            let values: Vec<_> = (0..count).map(|_| operand(random, width)).collect();
            operand(random, 3).choose(&values)
        }
        _ => operand(random, width).named("named"),
    }
}

/// An input or a constant, brought to the width.
fn leaf<'m>(random: &mut Random, leaves: &[Wire<'m>], width: u32) -> Wire<'m> {
    let leaf = leaves[random.below(leaves.len() as u64) as usize];
    if random.chance(15) {
        return leaf.builder().constant(random.bits(width));
    }
    match leaf.width() {
        own if own >= width => leaf.slice(random.below(u64::from(own - width) + 1) as u32, width),
        _ if random.chance(50) => leaf.sext(width),
        _ => leaf.zext(width),
    }
}

#[test]
fn random_expressions_are_verilogs() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut random = Random::new(2);
    let m = Builder::new("expressions");
    let leaves: Vec<_> = (0..)
        .zip([1, 3, 8, 17, 32, 40, 64, 65, 130])
        .map(|(n, width)| m.input(&format!("in{n}_i"), width))
        .collect();
    for index in 0..200 {
        let (width, depth) = (1 + random.below(90) as u32, 1 + random.below(4) as u32);
        m.output(&format!("out{index}_o"), expression(&mut random, &leaves, width, depth));
    }
    let module = m.finish()?;
    accept(&emit(&module)?)?;
    let mut dut = Rtl::beside_native(&module)?;
    let inputs: Vec<_> = dut.inputs().map(|(name, width)| (name.to_string(), width)).collect();
    for _ in 0..2000 {
        for (name, width) in &inputs {
            dut.set(name, random.bits(*width));
        }
        dut.tick();
    }
    Ok(())
}

/// What is made of several operations, tables, and a bus as wide as the widest of the machine.
#[test]
fn choices_tables_and_wide_buses() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let m = Builder::new("choices");
    let (index, wide) = (m.input("index_i", 3), m.input("wide_i", 2048));
    let lanes = wide.chunks(256);
    let words: Vec<Bits> = (0..6).map(|n| Bits::from_u64(70, 1000 + n).shl(3 * n)).collect();
    let conditions: Vec<_> = (0..5).map(|n| index.eq(n)).collect();
    let cases: Vec<_> = conditions.iter().copied().zip(lanes.iter().copied()).collect();
    m.output("chosen_o", index.choose(&lanes[..5]));
    m.output("selected_o", m.select(lanes[7], &cases));
    m.output("one_hot_o", m.one_hot(&cases));
    m.output("table_o", m.table("words", 70, RamStyle::Distributed, words.clone()).read(index));
    m.output("rotated_o", wide.slice(0, 8).cat(wide.slice(8, 2040)));
    let kept = m.reg("kept", 2048).attribute("shreg_extract", "no");
    kept.update(&[(index.eq(0), wide), (index.lt(2), !wide)]);
    m.output("kept_o", kept.q());
    let module = m.finish()?;
    accept(&emit(&module)?)?;
    let mut dut = Rtl::beside_native(&module)?;
    let mut random = Random::new(3);
    let mut kept = Bits::zero(2048);
    for _ in 0..500 {
        let (index, wide) = (random.below(6), random.bits(2048));
        dut.set("index_i", index);
        dut.set("wide_i", &wide);
        let lane = |n: u64| wide.slice(256 * n as u32, 256);
        assert_eq!(dut.bits("chosen_o"), lane(index.min(4)));
        assert_eq!(dut.bits("selected_o"), if index < 5 { lane(index) } else { lane(7) });
        assert_eq!(dut.bits("one_hot_o"), if index < 5 { lane(index) } else { Bits::zero(256) });
        assert_eq!(dut.bits("table_o"), words[index as usize]);
        assert_eq!(dut.bits("rotated_o"), Bits::concat(&[wide.slice(0, 8), wide.slice(8, 2040)]));
        assert_eq!(dut.bits("kept_o"), kept);
        match index {
            0 => kept = wide,
            1 => kept = wide.not(),
            _ => {}
        }
        dut.tick();
    }
    Ok(())
}

/// A literal case for each operation, worked out by hand: the two sides above could agree on the same mistake.
#[test]
fn values_by_hand() {
    let bits = |value| Bits::from_i64(8, value);
    assert_eq!(bits(-128).mul_signed(&bits(-128)).to_i64(), Some(16384));
    assert_eq!(bits(-128).mul(&bits(-128)).to_u64(), Some(16384));
    assert_eq!(bits(-1).mul(&bits(2)).to_u64(), Some(510));
    assert_eq!(bits(-5).sar(1), bits(-3));
    assert_eq!(bits(-5).shr(1).to_u64(), Some(125));
    assert_eq!(bits(100).add(&bits(100)), bits(-56));
    assert_eq!(bits(3).sub(&bits(5)), bits(-2));
    assert_eq!(bits(-2).sext(12).to_u64(), Some(0xffe));
    assert_eq!(bits(-2).zext(12).to_u64(), Some(0xfe));
    assert_eq!(Bits::concat(&[bits(1), bits(2)]).to_u64(), Some(0x102));
    assert_eq!(bits(0x35).slice(4, 3).to_u64(), Some(3));
    assert_eq!(bits(-128).compare_signed(&bits(127)), std::cmp::Ordering::Less);
    assert_eq!(bits(-128).compare(&bits(127)), std::cmp::Ordering::Greater);
    assert_eq!(bits(1).shl(8).to_u64(), Some(0));
    assert!(bits(7).parity() && !bits(3).parity() && bits(-1).all() && !bits(0).any());
    let wide = Bits::from_u64(130, u64::MAX).mul(&Bits::from_u64(64, u64::MAX));
    assert_eq!(wide.slice(0, 128), Bits::from_u128(128, u128::from(u64::MAX) * u128::from(u64::MAX)));
    assert_eq!(format!("{}", Bits::ones(66)), "66'h3ffffffffffffffff");
}
