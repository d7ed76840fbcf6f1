//! The MX formats, block dot products and the accumulation window, against models in binary64 and wide integers.

use fastcar_arch::num::fp::CANONICAL_NAN;
use fastcar_arch::num::window::{self, Base, Pair, term};
use fastcar_arch::num::{
    BLOCK, E8M0, Fp4Block, Int8Block, dot_fp4, dot_int8, e2m1_to_half_units, quantise_fp4, quantise_fp4_row,
    quantise_fp4_with_scale, quantise_int8, quantise_int8_row, quantise_int8_with_scale, softmax, sumsq,
};
use proptest::array::uniform32;
use proptest::prelude::*;

/// The E2M1 values in code order, as the standard lists them.
const E2M1: [f64; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// 2^k in binary64.
fn pow2(k: i32) -> f64 {
    f64::from_bits(((k + 1023) as u64) << 52)
}

fn flushed(x: f32) -> f64 {
    if x.is_subnormal() { 0.0 } else { f64::from(x) }
}

fn field(x: f32) -> u8 {
    (x.to_bits() >> 23) as u8
}

/// One MXINT8 element by binary64, where scaling by a power of two is exact.
fn int8_model(x: f32, scale: u8) -> i8 {
    let y = (flushed(x) * pow2(133 - i32::from(scale))).round_ties_even();
    y.clamp(-127.0, 127.0) as i8
}

/// One E2M1 code by search: the nearest value, of two equally near the even code, no negative zero.
fn fp4_model(x: f32, scale: u8) -> u8 {
    // Beyond 8 all saturate, and binary64 would lose the differences.
    let y = (flushed(x) * pow2(127 - i32::from(scale))).clamp(-8.0, 8.0);
    let mut best = 0;
    for (code, value) in E2M1.iter().enumerate().skip(1) {
        let (old, new) = ((y.abs() - E2M1[best]).abs(), (y.abs() - value).abs());
        if new < old || (new == old && code % 2 == 0) {
            best = code;
        }
    }
    best as u8 | if y < 0.0 && best != 0 { 8 } else { 0 }
}

fn code(block: &Fp4Block, i: usize) -> u8 {
    let byte = block.codes[i / 2];
    if i.is_multiple_of(2) { byte & 15 } else { byte >> 4 }
}

/// Finite inputs whose exponents lie close together, so that elements do not all vanish, anywhere in the range;
/// some on the grid of half an element's step, where ties are.
fn block_of_floats() -> impl Strategy<Value = [f32; BLOCK]> {
    let element = prop_oneof![
        4 => (any::<bool>(), 0u32..12, 0u32..1 << 23),
        4 => (any::<bool>(), 0u32..12, (0u32..256).prop_map(|m| m << 15)),
        1 => (any::<bool>(), 0u32..40, (0u32..256).prop_map(|m| m << 15)),
        1 => (any::<bool>(), 200u32..255, 0u32..4),
    ];
    (prop_oneof![0u32..16, 0u32..255, 240u32..255], uniform32(element)).prop_map(|(top, elements)| {
        elements.map(|(negative, below, mantissa)| {
            f32::from_bits(u32::from(negative) << 31 | top.saturating_sub(below) << 23 | mantissa)
        })
    })
}

fn any_scale() -> impl Strategy<Value = E8M0> {
    (0u8..255).prop_map(E8M0)
}

#[test]
fn e8m0_every_value() {
    for b in 0..=254u8 {
        assert_eq!(E8M0(b).to_f64(), pow2(i32::from(b) - 127));
        assert_eq!(f64::from(E8M0(b).to_f32()), pow2(i32::from(b) - 127));
        assert!(!E8M0(b).is_nan());
    }
    assert!(E8M0::NAN.is_nan() && E8M0::NAN.to_f64().is_nan());
    assert_eq!(E8M0::NAN.to_f32().to_bits(), CANONICAL_NAN.to_bits());
    assert_eq!(E8M0::ONE.to_f32(), 1.0);
    assert_eq!(E8M0::max_of([E8M0(3), E8M0(9), E8M0(4)]), E8M0(9));
    assert_eq!(E8M0::max_of([E8M0(3), E8M0::NAN, E8M0(4)]), E8M0::NAN);
    assert_eq!(E8M0::max_of([]), E8M0(0));
}

#[test]
fn e2m1_every_code() {
    for c in 0..16u8 {
        let sign = if c < 8 { 1.0 } else { -1.0 };
        assert_eq!(f64::from(e2m1_to_half_units(c)), 2.0 * sign * E2M1[usize::from(c & 7)]);
        assert_eq!(e2m1_to_half_units(c | 0xA0), e2m1_to_half_units(c), "only the low nibble counts");
    }
}

#[test]
fn every_element_and_scale_survives_the_round_trip() {
    for scale in (0..=254).map(E8M0) {
        for first in (-127i8..=127).step_by(BLOCK) {
            let elems = std::array::from_fn(|i| first.saturating_add(i as i8));
            let block = Int8Block { scale, elems };
            let back = quantise_int8_with_scale(&block.dequantise(), scale);
            for (i, &e) in elems.iter().enumerate() {
                // Below 2^-126 binary32 holds nothing.
                let lost = f64::from(e).abs() * pow2(i32::from(scale.0) - 133) < pow2(-126);
                assert_eq!(back.elems[i], if lost { 0 } else { e }, "{scale:?}");
            }
        }
        // Under the two largest scales, 4 and 6 are infinite in binary32.
        if scale.0 > 252 {
            continue;
        }
        let block = Fp4Block { scale, codes: std::array::from_fn(|i| (i as u8) << 4 | (15 - i as u8)) };
        let back = quantise_fp4_with_scale(&block.dequantise(), scale);
        for i in 0..BLOCK {
            let c = code(&block, i);
            assert_eq!(block.code(i), c);
            let lost = E2M1[usize::from(c & 7)] * scale.to_f64() < pow2(-126);
            assert_eq!(back.code(i), if lost { 0 } else { c }, "{scale:?}");
        }
    }
}

#[test]
fn dequantise_every_element_and_scale() {
    let binary32 = |v: f64| if v.abs() < pow2(-126) { 0f32.copysign(v as f32) } else { v as f32 };
    for scale in (0..=254).map(E8M0) {
        for e in i8::MIN..=i8::MAX {
            let block = Int8Block { scale, elems: [e; BLOCK] };
            let exact = f64::from(e) / 64.0 * scale.to_f64();
            assert_eq!(block.dequantise_f64(), [exact; BLOCK]);
            assert_eq!(block.dequantise()[7].to_bits(), binary32(exact).to_bits(), "{e} {scale:?}");
        }
        let block = Fp4Block { scale, codes: std::array::from_fn(|i| (i as u8) << 4 | (15 - i as u8)) };
        for i in 0..BLOCK {
            let exact = f64::from(e2m1_to_half_units(code(&block, i))) / 2.0 * scale.to_f64();
            assert_eq!(block.dequantise_f64()[i], exact);
            assert_eq!(block.dequantise()[i].to_bits(), binary32(exact).to_bits());
        }
    }
    for v in Int8Block::NAN.dequantise().into_iter().chain(Fp4Block::NAN.dequantise()) {
        assert_eq!(v.to_bits(), CANONICAL_NAN.to_bits());
    }
    assert!(Int8Block::NAN.dequantise_f64()[3].is_nan() && Fp4Block::NAN.dequantise_f64()[3].is_nan());
}

/// Every number whose low 16 bits are zero, and its two neighbours, under every offset of the scale that matters.
#[test]
fn quantise_every_upper_half() {
    for upper in 0..=0xFFFFu32 {
        for bits in [(upper << 16).wrapping_sub(1), upper << 16, upper << 16 | 1] {
            let x = f32::from_bits(bits);
            if !x.is_finite() {
                continue;
            }
            for above in [-2, 0, 1, 6, 7, 8, 30] {
                let scale = (i32::from(field(x)) + above).clamp(0, 254) as u8;
                let mut block = [0.0; BLOCK];
                block[5] = x;
                let int8 = quantise_int8_with_scale(&block, E8M0(scale));
                assert_eq!(int8.elems[5], int8_model(x, scale), "{x:e} {scale}");
                let fp4 = quantise_fp4_with_scale(&block, E8M0(scale));
                assert_eq!(fp4.code(5), fp4_model(x, scale), "{x:e} {scale}");
            }
        }
    }
}

#[test]
fn quantise_corner_blocks() {
    let block = |v: f32| {
        let mut b = [0.0; BLOCK];
        b[31] = v;
        b
    };
    let zero = [-0.0; BLOCK];
    assert_eq!(quantise_int8(&zero), Int8Block { scale: E8M0(0), elems: [0; BLOCK] });
    assert_eq!(quantise_fp4(&zero), Fp4Block { scale: E8M0(0), codes: [0; 16] });
    let subnormal = block(-f32::from_bits(0x7F_FFFF));
    assert_eq!(quantise_int8(&subnormal), quantise_int8(&zero));
    assert_eq!(quantise_fp4(&subnormal), quantise_fp4(&zero));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(0xFFFF_FFFF)] {
        assert_eq!(quantise_int8(&block(bad)), Int8Block::NAN);
        assert_eq!(quantise_fp4(&block(bad)), Fp4Block::NAN);
        assert_eq!(quantise_int8_with_scale(&block(bad), E8M0::ONE), Int8Block::NAN);
        assert_eq!(quantise_fp4_with_scale(&block(bad), E8M0::ONE), Fp4Block::NAN);
    }
    assert_eq!(quantise_int8_with_scale(&zero, E8M0::NAN), Int8Block::NAN);
    assert_eq!(quantise_fp4_with_scale(&zero, E8M0::NAN), Fp4Block::NAN);
    // Saturation: 1.9999 rounds to 128 / 64, and does not reach it.
    let top = quantise_int8(&block(-f32::MAX));
    assert_eq!((top.scale, top.elems[31]), (E8M0(254), -127));
    let top = quantise_fp4(&block(f32::MAX));
    assert_eq!((top.scale, top.code(31)), (E8M0(252), 7));
    // The scale byte of MXFP4 stops at 0.
    for (exp_field, scale, code) in [(1, 0, 4), (2, 0, 6), (3, 1, 6)] {
        let b = quantise_fp4(&block(f32::from_bits(exp_field << 23)));
        assert_eq!((b.scale, b.code(31)), (E8M0(scale), code));
    }
    // A subnormal beside the smallest normal number counts as zero, although the scale could hold it.
    let mut pair = block(f32::MIN_POSITIVE);
    pair[0] = f32::from_bits(0x40_0000);
    assert_eq!(quantise_int8(&pair).elems[0], 0);
    assert_eq!(quantise_fp4(&pair).code(0), 0);
}

#[test]
fn rows_are_padded_with_zeros() {
    let x: Vec<f32> = (0..40).map(|i| i as f32 - 3.0).collect();
    let first: [f32; BLOCK] = x[..BLOCK].try_into().unwrap();
    let last: [f32; BLOCK] = std::array::from_fn(|i| x.get(BLOCK + i).copied().unwrap_or(0.0));
    assert_eq!(quantise_int8_row(&x), [quantise_int8(&first), quantise_int8(&last)]);
    assert_eq!(quantise_fp4_row(&x), [quantise_fp4(&first), quantise_fp4(&last)]);
    assert_eq!(quantise_int8_row(&x[..BLOCK]).len(), 1);
    assert_eq!(quantise_int8_row(&[]), []);
}

#[test]
fn dot_every_pair_of_elements() {
    for code in 0..16u8 {
        for a in i8::MIN..=i8::MAX {
            let expected = i32::from(e2m1_to_half_units(code)) * i32::from(a);
            assert_eq!(dot_fp4(&[code | code << 4; 16], &[a; BLOCK]), 32 * expected);
        }
    }
    for w in i8::MIN..=i8::MAX {
        for a in i8::MIN..=i8::MAX {
            assert_eq!(dot_int8(&[w; BLOCK], &[a; BLOCK]), 32 * i32::from(w) * i32::from(a));
        }
    }
    assert_eq!(dot_int8(&[-128; BLOCK], &[-128; BLOCK]), window::MAX_BLOCK_SUM);
}

/// `floor(p * 2^16 / 2^s + 1/2)` in 128 bits.
fn term_model(p: i32, s: u32) -> i64 {
    if s > 80 {
        return 0;
    }
    let (numerator, step) = (i128::from(p) << 17, 1i128 << s);
    (numerator + step).div_euclid(2 * step) as i64
}

#[test]
fn terms_at_the_limits() {
    let max = window::MAX_BLOCK_SUM;
    for p in [0, 1, -1, 2, -2, 3, -3, 5, -5, 0x5555, -0x5555, max - 1, 1 - max, max, -max] {
        for s in 0..600 {
            assert_eq!(term(p, s), term_model(p, s), "term({p}, {s})");
        }
        for s in 0..=16 {
            assert_eq!(term(p, s) << s, i64::from(p) << 16, "exact up to 16");
        }
        assert_eq!(term(p, 37), 0);
        assert_eq!(term(p, u32::MAX), 0);
    }
    assert_eq!((term(max, 36), term(-max, 36)), (1, 0), "halves go up");
    assert_eq!((term(1, 17), term(-1, 17), term(3, 17), term(-3, 17)), (1, 0, 2, -1));
    let full = term(max, 0) * window::MAX_BLOCKS as i64;
    assert!(full < 1 << (window::ACC_BITS - 1) && -full >= -(1 << (window::ACC_BITS - 1)));
}

#[test]
fn base_and_nan() {
    let base = Base::new(E8M0(130), E8M0(120));
    assert_eq!((base.sum(), base.is_nan()), (250, false));
    assert_eq!(base.shift(E8M0(130), E8M0(120)), 0);
    assert_eq!(base.shift(E8M0(100), E8M0(119)), 31);
    for nan in [Base::new(E8M0::NAN, E8M0(1)), Base::new(E8M0(1), E8M0::NAN), Base::new(E8M0::NAN, E8M0::NAN)]
    {
        assert!(nan.is_nan());
        assert_eq!(window::to_f32(1 << 20, nan, Pair::Fp4Int8).to_bits(), CANONICAL_NAN.to_bits());
    }
    // The smallest and the largest base.
    assert_eq!(window::to_f32(-1, Base::new(E8M0(0), E8M0(0)), Pair::Int8Int8).to_bits(), 0x8000_0000);
    assert_eq!(
        window::to_f32(-(1 << 28), Base::new(E8M0(254), E8M0(254)), Pair::Int8Int8),
        f32::NEG_INFINITY
    );
}

/// The worked example of docs/numerics.md.
#[test]
fn worked_example() {
    let base = Base::new(E8M0(121), E8M0(130));
    let blocks = [(100_000, 121, 130), (-77_777, 119, 127), (12_345, 110, 121), (-3, 112, 122), (9, 60, 130)];
    let terms = blocks.map(|(p, w, a)| term(p, base.shift(E8M0(w), E8M0(a))));
    let acc = terms.iter().sum();
    let result = window::to_f32(acc, base, Pair::Int8Int8);
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/numerics.md")).unwrap();
    for ((p, w, a), t) in blocks.into_iter().zip(terms) {
        let row = format!("| {p} | {w} | {a} | {} | {t} |", base.shift(E8M0(w), E8M0(a)));
        assert!(page.contains(&row), "docs/numerics.md lacks the row: {row}");
    }
    let line = format!("`acc = {acc}`, and the result is `{result:?}` (`0x{:08X}`)", result.to_bits());
    assert!(page.contains(&line), "docs/numerics.md lacks: {line}");
}

/// The limits that docs/numerics.md states in bold.
#[test]
fn limits_of_the_page() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/numerics.md")).unwrap();
    for text in [
        format!("a block of **{BLOCK}** elements"),
        format!("**{} bits** with **{}** fraction bits", window::ACC_BITS, window::FRAC_BITS),
        format!("At most **{}** blocks", window::MAX_BLOCKS),
        format!("For n <= **{}** binary32 numbers", sumsq::MAX_TERMS),
        format!("for up to **{}** tokens", softmax::MAX_TOKENS),
    ] {
        assert!(page.contains(&text), "docs/numerics.md lacks: {text}");
    }
}

fn int8_row(n: usize) -> impl Strategy<Value = Vec<Int8Block>> {
    let block = (100u8..150, uniform32(any::<i8>()));
    prop::collection::vec(block.prop_map(|(s, elems)| Int8Block { scale: E8M0(s), elems }), n)
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn quantise_int8_is_its_model(x in block_of_floats()) {
        let block = quantise_int8(&x);
        let scale = x.map(field).into_iter().max().unwrap();
        prop_assert_eq!(block.scale, E8M0(scale));
        prop_assert_eq!(block.elems, x.map(|v| int8_model(v, scale)));
        prop_assert_eq!(quantise_int8_with_scale(&x, block.scale), block);
        // Once on the grid, numbers stay there (the largest one may hold the block's top exponent no longer).
        let again = quantise_int8_with_scale(&block.dequantise(), block.scale);
        if scale > 6 {
            prop_assert_eq!(again, block);
        }
    }

    #[test]
    fn quantise_fp4_is_its_model(x in block_of_floats()) {
        let block = quantise_fp4(&x);
        let scale = x.map(field).into_iter().max().unwrap().saturating_sub(2);
        prop_assert_eq!(block.scale, E8M0(scale));
        for (i, &v) in x.iter().enumerate() {
            prop_assert_eq!(code(&block, i), fp4_model(v, scale));
        }
        prop_assert_eq!(quantise_fp4_with_scale(&x, block.scale), block);
        if scale > 1 {
            prop_assert_eq!(quantise_fp4_with_scale(&block.dequantise(), block.scale), block);
        }
    }

    #[test]
    fn quantise_with_any_scale(x in block_of_floats(), scale in any_scale()) {
        let int8 = quantise_int8_with_scale(&x, scale);
        prop_assert_eq!(int8.scale, scale);
        prop_assert_eq!(int8.elems, x.map(|v| int8_model(v, scale.0)));
        let fp4 = quantise_fp4_with_scale(&x, scale);
        prop_assert_eq!(fp4.scale, scale);
        for (i, &v) in x.iter().enumerate() {
            prop_assert_eq!(code(&fp4, i), fp4_model(v, scale.0));
        }
    }

    #[test]
    fn quantisation_error_is_half_a_step(x in block_of_floats()) {
        let int8 = quantise_int8(&x);
        let step = int8.scale.to_f64() / 64.0;
        for (v, q) in x.iter().zip(int8.dequantise_f64()) {
            // A whole step where 127.5 and more saturates.
            let bound = if flushed(*v).abs() > 127.0 * step { 1.0 } else { 0.5 };
            prop_assert!((flushed(*v) - q).abs() <= bound * step);
        }
    }

    #[test]
    fn dot_is_its_model(w in uniform32(any::<i8>()), a in uniform32(any::<i8>()), codes in any::<[u8; 16]>()) {
        let exact: i32 = (0..BLOCK).map(|i| i32::from(w[i]) * i32::from(a[i])).sum();
        prop_assert_eq!(dot_int8(&w, &a), exact);
        let half = |i: usize| i32::from(e2m1_to_half_units(codes[i / 2] >> (4 * (i % 2)) & 15));
        let exact: i32 = (0..BLOCK).map(|i| half(i) * i32::from(a[i])).sum();
        prop_assert_eq!(dot_fp4(&codes, &a), exact);
    }

    #[test]
    fn term_is_its_model(p in -window::MAX_BLOCK_SUM..=window::MAX_BLOCK_SUM, s in 0u32..50) {
        prop_assert_eq!(term(p, s), term_model(p, s));
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn window_ignores_order_and_grouping(
        w in int8_row(24), a in int8_row(24), shuffle in Just((0..24usize).collect::<Vec<_>>()).prop_shuffle(), cut in 0usize..24
    ) {
        let base = Base::new(E8M0::max_of(w.iter().map(|b| b.scale)), E8M0::max_of(a.iter().map(|b| b.scale)));
        let acc = window::row_int8(&w, &a, base);
        let (sw, sa): (Vec<_>, Vec<_>) = shuffle.iter().map(|&i| (w[i], a[i])).unzip();
        prop_assert_eq!(window::row_int8(&sw, &sa, base), acc);
        let parts = window::row_int8(&sw[..cut], &sa[..cut], base) + window::row_int8(&sw[cut..], &sa[cut..], base);
        prop_assert_eq!(parts, acc);
        let model: i64 = w.iter().zip(&a).map(|(w, a)| {
            let shift = u32::from(base.sum()) - u32::from(w.scale.0) - u32::from(a.scale.0);
            term_model(dot_int8(&w.elems, &a.elems), shift)
        }).sum();
        prop_assert_eq!(model, acc);
    }

    #[test]
    fn window_is_close_to_the_exact_sum(w in int8_row(24), a in int8_row(24)) {
        let base = Base::new(E8M0::max_of(w.iter().map(|b| b.scale)), E8M0::max_of(a.iter().map(|b| b.scale)));
        let result = f64::from(window::to_f32(window::row_int8(&w, &a, base), base, Pair::Int8Int8));
        let exact: f64 = w.iter().zip(&a).flat_map(|(w, a)| {
            w.dequantise_f64().into_iter().zip(a.dequantise_f64()).map(|(x, y)| x * y)
        }).sum();
        // Half a unit of the window per block, then one rounding to 24 bits.
        let unit = pow2(i32::from(base.sum()) - 254 - 12 - 16);
        prop_assert!((result - exact).abs() <= 12.0 * unit + exact.abs() * pow2(-24) + pow2(-126));
    }

    #[test]
    fn window_of_fp4_rows(codes in prop::collection::vec((100u8..150, any::<[u8; 16]>()), 24), a in int8_row(24)) {
        let w: Vec<_> = codes.into_iter().map(|(s, codes)| Fp4Block { scale: E8M0(s), codes }).collect();
        let base = Base::new(E8M0::max_of(w.iter().map(|b| b.scale)), E8M0::max_of(a.iter().map(|b| b.scale)));
        let result = f64::from(window::to_f32(window::row_fp4(&w, &a, base), base, Pair::Fp4Int8));
        let exact: f64 = w.iter().zip(&a).flat_map(|(w, a)| {
            w.dequantise_f64().into_iter().zip(a.dequantise_f64()).map(|(x, y)| x * y)
        }).sum();
        let unit = pow2(i32::from(base.sum()) - 254 - 7 - 16);
        prop_assert!((result - exact).abs() <= 12.0 * unit + exact.abs() * pow2(-24) + pow2(-126));
    }
}
