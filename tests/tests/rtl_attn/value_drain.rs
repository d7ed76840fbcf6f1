//! Sums of values out of a cluster, one a cycle, beside a model.

use super::scores::pack;
use super::{Cover, Gaps, Random, Rtl, TestResult, skipped};
use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_arch::timing::VALUE_DRAIN_LATENCY;
use fastcar_hw::attn::ValueDrain;
use fastcar_hw::rtl::{Bits, Block};
use std::collections::VecDeque;

const SUM: u32 = 48;
/// Cycles of a cluster from a question to its word.
const WORD: u64 = 2;

/// As clusters have them: pairs of columns and bytes of a beat.
fn config(columns: u32, beat_bytes: u32) -> Result<AccelConfig, Box<dyn std::error::Error>> {
    let fields = AccelConfig::preset("u55c")?.fields().clone();
    Ok(AccelConfig::new(ConfigFields { columns, beat_bytes, ..fields })?)
}

fn drained(config: &AccelConfig, cycles: u64, native: bool) -> TestResult {
    let drain = ValueDrain::new(config)?;
    let module = drain.module()?;
    let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
    for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
        dut.set(&name, Bits::zero(width));
    }
    dut.reset();
    let (pairs, bytes) = (u64::from((config.columns() / 2).max(1)), u64::from(config.fields().beat_bytes));
    let lanes = bytes / 32;
    let mut random = Random::new(3);
    let mut cover = Cover::new(&["narrow", "one token", "last pair", "upper half", "gap"]);
    let mut gaps = Gaps::new(80);
    let (mut words, mut owed) = (VecDeque::new(), VecDeque::new());
    for _ in 0..cycles {
        let now = dut.cycle();
        let asks = gaps.next(&mut random);
        let narrow = lanes > 1 && random.chance(30);
        let (pair, byte) = (random.below(pairs), random.below(if narrow { bytes / 2 } else { bytes }));
        let address = random.below(1 << drain.address_width());
        dut.set("request_valid_i", asks);
        dut.set("request_address_i", address);
        dut.set("request_pair_i", pair);
        dut.set("request_byte_i", byte);
        if lanes > 1 {
            dut.set("request_narrow_i", narrow);
        }
        assert_eq!(dut.is_set("value_valid_o"), asks, "cycle {now}");
        if asks {
            assert_eq!(dut.get("value_address_o"), address, "cycle {now}");
            words.push_back((now + WORD, (pair, byte, narrow)));
        }
        cover.hit("gap", !asks);
        cover.hit("narrow", asks && (narrow || lanes < 2));
        cover.hit("one token", asks && !narrow);
        cover.hit("last pair", asks && pair + 1 == pairs);
        cover.hit("upper half", asks && byte >= bytes / 2);

        let word: Vec<_> = (0..pairs * bytes).map(|_| random.bits(SUM)).collect();
        let comes = words.pop_front_if(|word: &mut (u64, _)| word.0 == now);
        dut.set("value_valid_i", comes.is_some());
        dut.set("value_sum_i", pack(word.iter().cloned()));
        if let Some((_, (pair, byte, narrow))) = comes {
            let of = |byte: u64| word[(pair * bytes + byte) as usize].to_u64().unwrap();
            let sum = if narrow { of(byte) + of(byte + bytes / 2) } else { of(byte) };
            owed.push_back((now - WORD + VALUE_DRAIN_LATENCY, sum & ((1 << SUM) - 1)));
        }
        let due = owed.pop_front_if(|due: &mut (u64, _)| due.0 == now);
        assert_eq!(dut.is_set("sum_valid_o"), due.is_some(), "cycle {now}");
        if let Some((_, sum)) = due {
            assert_eq!(dut.get("sum_o"), sum, "cycle {now}");
        }
        dut.tick();
    }
    cover.assert(50);
    Ok(())
}

#[test]
fn sums_of_values_are_chosen() -> TestResult {
    if skipped() {
        return Ok(());
    }
    drained(&config(4, 64)?, 1500, true)?;
    for (columns, beat) in [(1, 16), (2, 32), (4, 64)] {
        drained(&config(columns, beat)?, 5000, false)?;
    }
    Ok(())
}
