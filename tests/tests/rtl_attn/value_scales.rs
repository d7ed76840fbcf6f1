//! Scale bytes of values beside a model.

use super::scores::pack;
use super::{Gaps, Random, Rtl, TestResult, shape, skipped};
use fastcar_hw::attn::{Scores, Shape, ValueScales};
use fastcar_hw::rtl::{Bits, Block};

struct Part {
    bytes: Vec<u8>,
    attended: Vec<bool>,
}

/// Heads in a row: the largest is right a latency after the last part, and was without it a cycle before.
fn value_scales_of(shape: Shape, native: bool, heads: u64, seed: u64) -> TestResult {
    let module = ValueScales::new(shape)?.module()?;
    let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
    let mut random = Random::new(seed);
    for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
        dut.set(&name, Bits::zero(width));
    }
    dut.reset();
    assert_eq!(dut.get("largest_o"), 0);
    let (mut moved, mut kept, mut together, mut full) = (0, 0, 0, 0);
    for _ in 0..heads {
        let most = u64::from(shape.tokens * 4 / shape.lanes);
        let count = if random.chance(10) && most < 1000 { most } else { random.below(most.min(30)) };
        full += u64::from(count == most);
        let dim = 1 + random.below(255);
        let parts: Vec<Part> = (0..count)
            .map(|_| Part {
                bytes: (0..shape.lanes).map(|_| random.below(dim + 1) as u8).collect(),
                attended: (0..shape.lanes).map(|_| random.chance(70)).collect(),
            })
            .collect();
        let mut gaps = Gaps::new(60);
        let mut largest = 0;
        dut.set("start_i", true);
        if random.chance(50) || parts.is_empty() {
            dut.tick();
            dut.set("start_i", false);
        } else {
            together += 1;
        }
        for (n, part) in parts.iter().enumerate() {
            while n > 0 && !gaps.next(&mut random) {
                dut.tick();
            }
            dut.set("valid_i", true);
            dut.set("scale_i", pack(part.bytes.iter().map(|&b| Bits::from_u64(8, b.into()))));
            dut.set("attended_i", pack(part.attended.iter().map(|&b| Bits::from_u64(1, b.into()))));
            dut.tick();
            dut.set("valid_i", false);
            dut.set("start_i", false);
            let of_part = part.bytes.iter().zip(&part.attended).filter(|p| *p.1).map(|p| *p.0).max();
            let next = largest.max(of_part.unwrap_or(0));
            if n + 1 == parts.len() {
                for _ in 0..4 {
                    dut.tick();
                }
            } else if random.chance(30) {
                // Alone, so that the cycle in which it counts is seen.
                for _ in 0..ValueScales::LATENCY - 1 {
                    if n > 0 {
                        assert_eq!(dut.get("largest_o"), u64::from(largest), "too early");
                        moved += u64::from(next != largest);
                        kept += u64::from(next == largest);
                    }
                    dut.tick();
                }
                assert_eq!(dut.get("largest_o"), u64::from(next), "too late");
            } else {
                for _ in 0..ValueScales::LATENCY {
                    dut.tick();
                }
            }
            largest = next;
        }
        for _ in 0..4 {
            dut.tick();
        }
        assert_eq!(dut.get("largest_o"), u64::from(largest));
        for (address, part) in parts.iter().enumerate() {
            dut.set("read_address_i", address as u64);
            for _ in 0..Scores::READ {
                dut.tick();
            }
            let found = pack(part.bytes.iter().map(|&b| Bits::from_u64(8, b.into())));
            assert_eq!(dut.bits("read_o"), found, "part {address}");
        }
    }
    assert!(native || (moved > 0 && kept > 0 && together > 0 && (full > 0 || shape.tokens > 1000)));
    Ok(())
}

#[test]
fn value_scales_wait_and_have_a_largest() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let small = |preset| Ok::<_, Box<dyn std::error::Error>>(Shape { tokens: 32, ..shape(preset)? });
    value_scales_of(small("tiny")?, true, 30, 1)?;
    value_scales_of(small("tiny")?, false, 3000, 2)?;
    value_scales_of(small("u55c")?, false, 3000, 3)?;
    value_scales_of(shape("u55c")?, false, 100, 4)
}
