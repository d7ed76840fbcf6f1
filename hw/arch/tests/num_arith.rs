//! binary32 arithmetic, order-free sums and softmax, against models in big integers and binary64.

use fastcar_arch::num::fp::{self, CANONICAL_NAN};
use fastcar_arch::num::{E8M0, func, scaled_int_to_f32, softmax, sumsq};
use num_bigint::{BigInt, BigUint, Sign};
use proptest::prelude::*;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// 2^k in binary64.
fn pow2(k: i32) -> f64 {
    f64::from_bits(((k + 1023) as u64) << 52)
}

// ---- A model of binary32 that shares nothing with the implementation: exact integers, then one rounding. ----

/// What rounding did, for the coverage bins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rounding {
    Exact,
    Tie,
    Other,
    Tiny,
    Overflow,
}

/// `v * 2^exp` in binary32. A zero has the sign given.
fn round(v: &BigInt, exp: i32, zero_sign: u32) -> (u32, Rounding) {
    let (sign, magnitude) = (u32::from(v.sign() == Sign::Minus) << 31, v.magnitude());
    let len = magnitude.bits() as i32;
    if len == 0 {
        return (zero_sign << 31, Rounding::Exact);
    }
    if len - 1 + exp < -126 {
        return (sign, Rounding::Tiny);
    }
    let drop = (len - 24).max(0) as u32;
    let kept = magnitude >> drop;
    let twice_rest = (magnitude - (&kept << drop)) << 1u32;
    let unit = BigUint::from(1u32) << drop;
    let odd = kept.bit(0);
    let up = twice_rest > unit || (twice_rest == unit && odd);
    let kept = kept + u32::from(up);
    let how = match () {
        () if twice_rest == BigUint::ZERO => Rounding::Exact,
        () if twice_rest == unit => Rounding::Tie,
        () => Rounding::Other,
    };
    // 24 bits again: `kept` may be shorter, or 2^24 after rounding up.
    let exponent = kept.bits() as i32 - 1 + exp + drop as i32;
    if exponent > 127 {
        return (sign | 0x7F80_0000, Rounding::Overflow);
    }
    let aligned = (kept << 24u32) >> (exponent - exp - drop as i32 + 1) as u32;
    let significand = aligned.iter_u32_digits().next().expect("24 bits") - (1 << 23);
    (sign | ((exponent + 127) as u32) << 23 | significand, how)
}

/// A finite number as an integer and an exponent; subnormals are zero.
fn split(bits: u32) -> (BigInt, i32) {
    let field = bits >> 23 & 0xFF;
    if field == 0 {
        return (BigInt::ZERO, 0);
    }
    let magnitude = BigInt::from(bits & 0x7F_FFFF | 1 << 23);
    (if bits >> 31 == 1 { -magnitude } else { magnitude }, field as i32 - 150)
}

fn is_nan(bits: u32) -> bool {
    bits & 0x7FFF_FFFF > 0x7F80_0000
}

fn is_inf(bits: u32) -> bool {
    bits & 0x7FFF_FFFF == 0x7F80_0000
}

const NAN: (u32, Rounding) = (0x7FC0_0000, Rounding::Exact);

fn add_model(a: u32, b: u32) -> (u32, Rounding) {
    if is_nan(a) || is_nan(b) || (is_inf(a) && is_inf(b) && a != b) {
        return NAN;
    }
    if is_inf(a) || is_inf(b) {
        return (if is_inf(a) { a } else { b }, Rounding::Exact);
    }
    let ((va, ea), (vb, eb)) = (split(a), split(b));
    let exp = ea.min(eb);
    let sum = (&va << (ea - exp) as u32) + (&vb << (eb - exp) as u32);
    // Two negative zeros add to a negative zero; every other exact zero is positive.
    let both_zero = va == BigInt::ZERO && vb == BigInt::ZERO;
    round(&sum, exp, u32::from(both_zero && a >> 31 == 1 && b >> 31 == 1))
}

fn mul_model(a: u32, b: u32) -> (u32, Rounding) {
    let sign = (a ^ b) >> 31;
    let ((va, ea), (vb, eb)) = (split(a), split(b));
    let zero = |bits: u32| bits >> 23 & 0xFF == 0;
    if is_nan(a) || is_nan(b) || (is_inf(a) && zero(b)) || (zero(a) && is_inf(b)) {
        return NAN;
    }
    if is_inf(a) || is_inf(b) {
        return (sign << 31 | 0x7F80_0000, Rounding::Exact);
    }
    round(&(va * vb), ea + eb, sign)
}

fn gt_model(a: u32, b: u32) -> bool {
    if is_nan(a) || is_nan(b) {
        return false;
    }
    let key = |bits: u32| {
        let magnitude = if bits >> 23 & 0xFF == 0 { 0 } else { i64::from(bits & 0x7FFF_FFFF) };
        if bits >> 31 == 1 { -magnitude } else { magnitude }
    };
    key(a) > key(b)
}

/// All three operations on a pair; what rounding did in the sum and in the product.
fn check_pair(a: u32, b: u32) -> [Rounding; 2] {
    let (x, y) = (f32::from_bits(a), f32::from_bits(b));
    let (sum, difference, product) = (add_model(a, b), add_model(a, b ^ 1 << 31), mul_model(a, b));
    assert_eq!(fp::add(x, y).to_bits(), sum.0, "{a:#x} + {b:#x}");
    if !is_nan(b) {
        assert_eq!(fp::sub(x, y).to_bits(), difference.0, "{a:#x} - {b:#x}");
    }
    assert_eq!(fp::mul(x, y).to_bits(), product.0, "{a:#x} * {b:#x}");
    assert_eq!(fp::gt(x, y), gt_model(a, b), "{a:#x} > {b:#x}");
    [sum.1, product.1]
}

/// Numbers at the edges of exponent and significand.
fn corners() -> Vec<u32> {
    let mut all = Vec::new();
    for exp in [
        0u32, 1, 2, 3, 23, 24, 25, 62, 63, 64, 65, 102, 103, 126, 127, 128, 150, 151, 189, 190, 191, 253,
        254, 255,
    ] {
        for mantissa in [0u32, 1, 2, 3, 0x3F_FFFF, 0x40_0000, 0x40_0001, 0x7F_FFFD, 0x7F_FFFE, 0x7F_FFFF] {
            all.extend([0u32, 1].map(|sign| sign << 31 | exp << 23 | mantissa));
        }
    }
    all
}

#[test]
fn operations_on_all_pairs_of_corners() {
    let corners = corners();
    let mut seen = Vec::new();
    for &a in &corners {
        for &b in &corners {
            for (op, how) in check_pair(a, b).into_iter().enumerate() {
                if !seen.contains(&(op, how)) {
                    seen.push((op, how));
                }
            }
        }
    }
    use Rounding::{Exact, Other, Overflow, Tie, Tiny};
    for how in [Exact, Tie, Other, Tiny, Overflow] {
        for op in 0..2 {
            assert!(seen.contains(&(op, how)), "operation {op} never came to {how:?}");
        }
    }
}

#[test]
fn tiny_is_decided_before_rounding() {
    // 2^-126 - 2^-150 would round up to 2^-126, were it kept with 24 bits and an unbounded exponent below.
    let (a, b) = (f32::from_bits(0x3F7F_FFFF), f32::MIN_POSITIVE);
    assert_eq!(a * b, f32::MIN_POSITIVE, "the machine rounds to the smallest normal number");
    assert_eq!(fp::mul(a, b).to_bits(), 0);
    assert_eq!(fp::mul(-a, b).to_bits(), 0x8000_0000);
    assert_eq!(fp::mul(1.0, b), b);
}

#[test]
fn special_values() {
    let (inf, min) = (f32::INFINITY, f32::MIN_POSITIVE);
    assert_eq!(fp::add(inf, -inf).to_bits(), CANONICAL_NAN.to_bits());
    assert_eq!(fp::mul(inf, f32::from_bits(1)).to_bits(), CANONICAL_NAN.to_bits(), "a subnormal is a zero");
    assert_eq!(fp::add(f32::from_bits(0xFFFF_FFFF), 1.0).to_bits(), CANONICAL_NAN.to_bits());
    assert_eq!(fp::add(-0.0, -0.0).to_bits(), 0x8000_0000);
    assert_eq!(fp::sub(0.0, 0.0).to_bits(), 0);
    assert_eq!(fp::sub(min * 1.5, min).to_bits(), 0, "subnormal sum");
    assert_eq!(fp::sub(min, min * 1.5).to_bits(), 0x8000_0000);
    assert_eq!(fp::flush(f32::from_bits(0x807F_FFFF)).to_bits(), 0x8000_0000);
    assert_eq!(fp::flush(min), min);
    assert!(
        !fp::gt(f32::from_bits(5), 0.0) && !fp::gt(0.0, -0.0) && !fp::gt(f32::NAN, 1.0) && fp::gt(1.0, -inf)
    );
    assert_eq!(fp::max_exp_field(&[1.0, -4.0, 0.5]), 129);
    assert_eq!(fp::max_exp_field(&[f32::from_bits(0x7F_FFFF), -0.0]), 0);
    assert_eq!(fp::max_exp_field(&[1.0, f32::NEG_INFINITY]), 255);
    assert_eq!(fp::max_exp_field(&[]), 0);
}

#[test]
fn slices_are_the_scalar_operations() {
    let a: Vec<f32> = corners().into_iter().map(f32::from_bits).collect();
    let b: Vec<f32> = a.iter().rev().copied().collect();
    let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let mut out = vec![0.0; a.len()];
    let each = |f: fn(f32, f32) -> f32| a.iter().zip(&b).map(|(&x, &y)| f(x, y)).collect::<Vec<_>>();
    fp::add_slice(&mut out, &a, &b);
    assert_eq!(bits(&out), bits(&each(fp::add)));
    fp::mul_slice(&mut out, &a, &b);
    assert_eq!(bits(&out), bits(&each(fp::mul)));
    fp::scale_slice(&mut out, &a, 1.7);
    assert_eq!(bits(&out), bits(&each(|x, _| fp::mul(x, 1.7))));
}

#[test]
fn integers_at_the_limits() {
    let near = |k: u32| [(1i64 << k) - 1, 1 << k, (1 << k) + 1];
    let values =
        (0..63).flat_map(near).chain([i64::MAX, i64::MIN, i64::MIN + 1]).flat_map(|v| [v, v.wrapping_neg()]);
    for v in values {
        for exp2 in (-400..300).chain([i32::MIN, i32::MAX]) {
            // Far outside, the model would shift by the exponent, so it gets one as good.
            let expected = round(&BigInt::from(v), exp2.clamp(-1000, 1000), 0).0;
            assert_eq!(scaled_int_to_f32(v, exp2).to_bits(), expected, "{v} * 2^{exp2}");
        }
    }
    assert_eq!(scaled_int_to_f32(0, 5).to_bits(), 0);
}

/// Pairs that meet: sums with overlapping significands, products near the ends of the range.
fn pair() -> impl Strategy<Value = (u32, u32)> {
    let mantissa =
        || prop_oneof![0u32..1 << 23, 0u32..8, 0x7F_FFF8u32..1 << 23, (0u32..256).prop_map(|m| m << 15)];
    let near = |field: i32, offset: i32| (field + offset).clamp(0, 255) as u32;
    let assemble = |s: bool, e: u32, m: u32| u32::from(s) << 31 | e << 23 | m;
    prop_oneof![
        any::<(u32, u32)>(),
        (any::<(bool, bool)>(), 0i32..256, -27i32..28, mantissa(), mantissa())
            .prop_map(move |(s, e, o, m, n)| { (assemble(s.0, e as u32, m), assemble(s.1, near(e, o), n)) }),
        (any::<(bool, bool)>(), 1i32..127, -3i32..4, mantissa(), mantissa()).prop_map(
            move |(s, e, o, m, n)| { (assemble(s.0, e as u32, m), assemble(s.1, near(127 - e, o), n)) }
        ),
        (any::<(bool, bool)>(), 128i32..254, -3i32..4, mantissa(), mantissa()).prop_map(
            move |(s, e, o, m, n)| { (assemble(s.0, e as u32, m), assemble(s.1, near(381 - e, o), n)) }
        ),
    ]
}

/// Finite numbers with exponents in a band, some at the ends of the range.
fn vector(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f32>> {
    let element = (any::<bool>(), 0u32..30, 0u32..1 << 23);
    (prop_oneof![0u32..40, 0u32..255, 240u32..255], prop::collection::vec(element, len)).prop_map(
        |(top, v)| {
            let assemble =
                |(s, below, m): (bool, u32, u32)| u32::from(s) << 31 | top.saturating_sub(below) << 23 | m;
            v.into_iter().map(|e| f32::from_bits(assemble(e))).collect()
        },
    )
}

/// An aligned input by binary64.
fn align_model(x: f32, emax: u8) -> i64 {
    let x = if x.is_subnormal() { 0.0 } else { f64::from(x) };
    (x * pow2(143 - i32::from(emax))).round_ties_even() as i64
}

proptest! {
    #![proptest_config(cases(100_000))]

    #[test]
    fn operations_are_their_models((a, b) in pair()) {
        check_pair(a, b);
    }

    #[test]
    fn integers_are_their_model(v in any::<i64>(), cut in 0u32..64, exp2 in -220i32..130) {
        let v = v >> cut;
        prop_assert_eq!(scaled_int_to_f32(v, exp2).to_bits(), round(&BigInt::from(v), exp2, 0).0);
    }

    #[test]
    fn scores_are_their_model(bits in any::<u32>(), field in 105u32..145) {
        for bits in [bits, bits & 0x807F_FFFF | field << 23] {
            let s = f32::from_bits(bits);
            let model = (!s.is_nan()).then(|| (f64::from(s) * 65536.0).round_ties_even() as i32);
            prop_assert_eq!(softmax::score_fixed(s), model);
        }
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn sums_are_their_model(x in vector(0..300)) {
        let emax = x.iter().map(|v| (v.to_bits() >> 23) as u8).max().unwrap_or(0);
        prop_assert_eq!(emax, fp::max_exp_field(&x));
        let aligned: Vec<i64> = x.iter().map(|&v| align_model(v, emax)).collect();
        for (&v, &a) in x.iter().zip(&aligned) {
            prop_assert_eq!(i64::from(sumsq::align(v, emax)), a);
            prop_assert!(a.abs() <= 1 << 17);
        }
        let unit = i32::from(emax) - 143;
        let squares: BigInt = aligned.iter().map(|&a| BigInt::from(a) * a).sum();
        let sum: BigInt = aligned.iter().map(|&a| BigInt::from(a)).sum();
        prop_assert_eq!(sumsq::sum_squares(&x).to_bits(), round(&squares, 2 * unit, 0).0);
        prop_assert_eq!(sumsq::sum(&x).to_bits(), round(&sum, unit, 0).0);
    }

    #[test]
    fn sums_ignore_order_and_grouping(x in vector(1..300), turn in 0usize..300, cut in 0usize..300) {
        let mut y = x.clone();
        y.rotate_left(turn % x.len());
        y.reverse();
        prop_assert_eq!(sumsq::sum_squares(&y).to_bits(), sumsq::sum_squares(&x).to_bits());
        prop_assert_eq!(sumsq::sum(&y).to_bits(), sumsq::sum(&x).to_bits());
        let emax = fp::max_exp_field(&x);
        let (front, back) = y.split_at(cut % x.len());
        let squares = sumsq::partial_squares(front, emax) + sumsq::partial_squares(back, emax);
        prop_assert_eq!(sumsq::squares_to_f32(squares, emax).to_bits(), sumsq::sum_squares(&x).to_bits());
        let sum = sumsq::partial_sum(front, emax) + sumsq::partial_sum(back, emax);
        prop_assert_eq!(sumsq::sum_to_f32(sum, emax).to_bits(), sumsq::sum(&x).to_bits());
    }

    #[test]
    fn softmax_is_close_to_the_exact_one(
        scores in prop::collection::vec(-40.0f32..40.0, 1..200), seed in any::<u32>(), scales in prop::collection::vec(120u8..135, 7)
    ) {
        let element = |t: usize| (seed.wrapping_mul(t as u32 + 1).wrapping_mul(2_654_435_761) >> 24) as i8;
        let scale = |t: usize| scales[t / 32];
        let ev = (0..scores.len()).map(scale).max().unwrap();
        let fixed: Vec<i32> = scores.iter().map(|&s| softmax::score_fixed(s).unwrap()).collect();
        let max = softmax::max_int(*fixed.iter().max().unwrap());
        let weight = |t: usize, extra: u8| softmax::prob(softmax::distance(max, fixed[t]), u32::from(extra));
        let denom: u64 = (0..scores.len()).map(|t| u64::from(weight(t, 0))).sum();
        let acc: i64 = (0..scores.len()).map(|t| i64::from(weight(t, ev - scale(t))) * i64::from(element(t))).sum();
        let result = f64::from(softmax::output(acc, E8M0(ev), denom));
        let p: Vec<f64> = scores.iter().map(|&s| libm::exp2(f64::from(s) - f64::from(max))).collect();
        let exact: f64 = (0..scores.len()).map(|t| p[t] * f64::from(element(t)) * pow2(i32::from(scale(t)) - 133)).sum();
        let exact = exact / p.iter().sum::<f64>();
        // Per token: half a unit of the score's grid, about a unit of the weight. Elements are at most 2 * 2^(ev - 127).
        let bound = 2.0 * pow2(i32::from(ev) - 127) * (scores.len() as f64 * 3.0 * pow2(-23) + pow2(-15));
        prop_assert!((result - exact).abs() <= bound, "{} {}", result, exact);
    }
}

#[test]
fn sums_of_special_values() {
    for bad in [f32::NAN, f32::INFINITY] {
        assert_eq!(sumsq::sum_squares(&[1.0, bad]).to_bits(), CANONICAL_NAN.to_bits());
        assert_eq!(sumsq::sum(&[bad, 1.0]).to_bits(), CANONICAL_NAN.to_bits());
    }
    for zeros in [&[][..], &[-0.0, f32::from_bits(0x807F_FFFF)]] {
        assert_eq!((sumsq::sum_squares(zeros).to_bits(), sumsq::sum(zeros).to_bits()), (0, 0));
    }
    assert_eq!(sumsq::sum_squares(&[f32::MAX]), f32::INFINITY);
    assert_eq!(sumsq::sum_squares(&[f32::MIN_POSITIVE; 3]).to_bits(), 0);
    assert_eq!(sumsq::sum_squares(&[3.0, -4.0]), 25.0);
    assert_eq!(sumsq::sum(&[3.0, -4.0, 0.5]), -0.5);
    // The limits of the widths: 2^17 for an input, 2^48 for a sum of squares.
    let largest = vec![f32::from_bits(0x3FFF_FFFF); sumsq::MAX_TERMS];
    assert_eq!(sumsq::align(largest[0], 127), 1 << 17);
    assert_eq!(sumsq::partial_squares(&largest, 127), 1 << 48);
    assert_eq!(sumsq::partial_sum(&largest, 127), 1 << 31);
}

#[test]
fn score_limits() {
    assert_eq!(softmax::score_fixed(f32::NAN), None);
    assert_eq!(softmax::score_fixed(f32::INFINITY), Some(i32::MAX));
    assert_eq!(softmax::score_fixed(f32::NEG_INFINITY), Some(i32::MIN));
    assert_eq!(softmax::score_fixed(32768.0), Some(i32::MAX));
    assert_eq!(softmax::score_fixed(-32768.0), Some(i32::MIN));
    assert_eq!(softmax::score_fixed(0.5 / 65536.0), Some(0));
    assert_eq!(softmax::score_fixed(-1.5 / 65536.0), Some(-2));
    let ceil = |s: i32| (f64::from(s) / 65536.0).ceil() as i32;
    for s in [0, 1, -1, 65535, 65536, 65537, -65535, -65536, -65537, i32::MAX, i32::MIN] {
        assert_eq!(softmax::max_int(s), ceil(s));
        assert!(softmax::distance(softmax::max_int(s), s) < 65536);
    }
    assert_eq!(softmax::distance(softmax::max_int(i32::MAX), i32::MIN), 1 << 32);
    assert_eq!(softmax::distance(0, 1), 0);
}

#[test]
fn weights_for_every_fraction_and_shift() {
    for f in 0..=u16::MAX {
        let value = f64::from(func::exp2_neg(f));
        for shift in 0..30u32 {
            let model = (value * pow2(-(shift as i32))).round_ties_even() as u32;
            let split = shift / 3;
            let distance = u64::from(split) << 16 | u64::from(f);
            assert_eq!(softmax::prob(distance, shift - split), model, "{f} {shift}");
        }
    }
    assert_eq!(softmax::prob(0, 0), 1 << 24);
    assert_eq!((softmax::prob(0, 24), softmax::prob(0, 25), softmax::prob(1 << 32, u32::MAX)), (1, 0, 0));
}

#[test]
fn softmax_of_special_values() {
    assert_eq!(softmax::output(5, E8M0::NAN, 1 << 24).to_bits(), CANONICAL_NAN.to_bits());
    assert_eq!(softmax::output(0, E8M0(127), 0).to_bits(), CANONICAL_NAN.to_bits(), "no token at all");
    assert_eq!(softmax::output(-64 << 24, E8M0(127), 1 << 24), -1.0);
    assert_eq!(softmax::output(64 << 24, E8M0(130), 1 << 26), 2.0);
    assert_eq!(softmax::output_scaled(64 << 24, E8M0(127), softmax::inverse(1 << 25)), 0.5);
}
