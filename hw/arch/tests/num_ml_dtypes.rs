//! E2M1 and E8M0 against conversions recorded from the ml_dtypes package (`tests/vectors/ml_dtypes`).
//!
//! Where the contract departs from ml_dtypes on purpose, the test says how, and holds it to that: a NaN or an
//! infinity makes the whole block NaN, a zero in E2M1 has no sign, and a block scale is rounded down, not to nearest.

use fastcar_arch::num::fp::CANONICAL_NAN;
use fastcar_arch::num::{
    BLOCK, E8M0, Fp4Block, e2m1_to_half_units, quantise_fp4_with_scale, quantise_int8,
    quantise_int8_with_scale,
};
use serde_json::Value;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/ml_dtypes");

fn read(name: &str) -> Vec<u8> {
    let path = format!("{DIR}/{name}");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn index() -> Value {
    serde_json::from_slice(&read("vectors.json")).expect("vectors.json")
}

/// The inputs and the recorded codes of a conversion from binary32.
fn conversion(name: &str) -> Vec<(f32, u8)> {
    let input = read(&format!("{name}.input.bin"));
    let output = read(&format!("{name}.output.bin"));
    let (words, rest) = input.as_chunks::<4>();
    let stated = index()["files"][format!("{name}.input.bin")]["shape"][0].as_u64().expect("a size");
    assert!(
        rest.is_empty() && words.len() == output.len() && words.len() as u64 == stated,
        "{name}: sizes differ"
    );
    words.iter().map(|&w| f32::from_le_bytes(w)).zip(output).collect()
}

/// A list of binary32 patterns from the index.
fn patterns(name: &str) -> Vec<u32> {
    let list = index()[name].as_array().expect("a list").clone();
    list.iter()
        .map(|v| {
            u32::from_str_radix(v.as_str().expect("a pattern").trim_start_matches("0x"), 16)
                .expect("hexadecimal")
        })
        .collect()
}

/// A block with one element that is not zero.
fn block(x: f32) -> [f32; BLOCK] {
    std::array::from_fn(|i| if i == 9 { x } else { 0.0 })
}

#[test]
fn every_e2m1_value() {
    let recorded = patterns("e2m1_value_bits");
    assert_eq!(recorded.len(), 16);
    for (code, bits) in (0u8..).zip(recorded) {
        let value = Fp4Block { scale: E8M0::ONE, codes: [code; BLOCK / 2] }.dequantise()[0];
        assert_eq!(f32::from(e2m1_to_half_units(code)) / 2.0, f32::from_bits(bits));
        // The negative zero of code 8 is read as +0.
        assert_eq!(value.to_bits(), if code == 8 { 0 } else { bits }, "code {code}");
    }
}

#[test]
fn every_e8m0_value() {
    let recorded = patterns("e8m0_value_bits");
    assert_eq!(recorded.len(), 256);
    for (byte, bits) in (0u8..=255).zip(recorded) {
        assert_eq!(E8M0(byte).to_f32().to_bits(), bits, "byte {byte}");
        if byte != 255 {
            assert_eq!(E8M0(byte).to_f64(), f64::from(f32::from_bits(bits)));
        }
    }
}

#[test]
fn conversions_to_e2m1() {
    let (mut ordinary, mut zeros, mut special) = (0, 0, 0);
    for (x, recorded) in conversion("e2m1_from_f32") {
        let converted = quantise_fp4_with_scale(&block(x), E8M0::ONE);
        if !x.is_finite() {
            assert_eq!(converted, Fp4Block::NAN, "{x:e}");
            special += 1;
        } else if recorded & 7 == 0 {
            assert_eq!(converted.code(9), 0, "{x:e}");
            zeros += 1;
        } else {
            assert_eq!(converted.code(9), recorded, "{x:e}");
            ordinary += 1;
        }
    }
    assert!(ordinary > 1000 && zeros > 40 && special >= 7, "{ordinary} {zeros} {special}");
}

/// The same under every scale for which the scaled input is exact.
#[test]
fn conversions_to_e2m1_under_other_scales() {
    let mut checked = 0;
    for (x, recorded) in conversion("e2m1_from_f32") {
        for scale in [1u8, 2, 40, 100, 126, 128, 200, 251, 252] {
            let scaled = f64::from(x) * E8M0(scale).to_f64();
            let held = scaled as f32;
            if held.is_normal() && f64::from(held) == scaled {
                let code = quantise_fp4_with_scale(&block(held), E8M0(scale)).code(9);
                assert_eq!(code, if recorded & 7 == 0 { 0 } else { recorded }, "{held:e} under {scale}");
                checked += 1;
            }
        }
    }
    assert!(checked > 8000, "{checked}");
}

/// ml_dtypes rounds to the nearest power of two, from one and a half upwards to the next; a block scale is the power of
/// two not above the largest element.
#[test]
fn block_scales_and_conversions_to_e8m0() {
    let mut checked = 0;
    for (x, recorded) in conversion("e8m0_from_f32") {
        let int8 = quantise_int8(&block(x));
        if !x.is_finite() {
            assert_eq!((int8.scale.0, recorded), (255, 255), "{x:e}");
        } else if x.is_normal() && x > 0.0 {
            let rounds_up = x.to_bits() & 0x40_0000 != 0;
            assert_eq!(u32::from(recorded), u32::from(int8.scale.0) + u32::from(rounds_up), "{x:e}");
            let power_of_two = x.to_bits() & 0x7F_FFFF == 0;
            assert_eq!(power_of_two, int8.elems[9] == 64 && f64::from(x) == int8.scale.to_f64(), "{x:e}");
            // A packer may also take the scale that ml_dtypes gives.
            let given = quantise_int8_with_scale(&block(x), E8M0(recorded));
            assert_eq!(given.scale.0, recorded);
            assert!(recorded == 255 || (48..=96).contains(&given.elems[9]), "{x:e}: {}", given.elems[9]);
            checked += 1;
        }
    }
    assert!(checked > 3000, "{checked}");
    assert_eq!(quantise_int8(&block(f32::NAN)).dequantise()[0].to_bits(), CANONICAL_NAN.to_bits());
}
