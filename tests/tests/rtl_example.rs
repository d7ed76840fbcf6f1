//! The example of docs/hw.md: a block and its test.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_hw::rtl::{Block, Builder, Module, RtlError, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl, accept, skipped};
use std::sync::Arc;

/// Adds up words until `last`.
struct Accumulator {
    width: u32,
}

impl Block for Accumulator {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        // The configuration is in the name.
        let m = Builder::new(format!("accumulator_w{}", self.width));
        // Ports in_valid_i, in_data_i, in_ready_o.
        let input = m.stream_in("in", self.width);
        let last = m.input("in_last_i", 1);

        // Data has no reset, control has.
        let sum = m.reg("sum", self.width);
        let first = m.reg("first", 1).reset(1);
        let done = m.reg("done", 1).reset(0);
        let total = (first.q().mux(input.data, sum.q() + input.data)).named("total");
        sum.set_when(input.passes(), total);
        first.set_when(input.passes(), last);

        // Ports out_valid_o, out_data_o, out_ready_i.
        let output = m.stream("out_ready", done.q(), sum.q());
        m.stream_out("out", output);
        let free = !done.q() | output.ready.wire();
        input.ready.set(free);
        done.set_when(free, input.valid & last);
        // The module, or the first thing that is wrong, with its line.
        m.finish()
    }
}

#[test]
fn the_page_shows_the_example() {
    let (page, source) = (include_str!("../../docs/hw.md"), include_str!("rtl_example.rs"));
    let example = source.split("#[test]").next().unwrap().split_once("/// Adds up").unwrap().1;
    assert!(page.contains(&format!("```rust\n/// Adds up{}\n```", example.trim_end())), "docs/hw.md differs");
}

#[test]
fn sums_of_packets() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let module = Accumulator { width: 16 }.module()?;
    accept(&emit(&module)?)?;
    let mut dut = Rtl::beside_native(&module)?;
    dut.reset();
    let mut random = Random::new(1);
    let mut cover = Cover::new(&["wrapped", "stalled", "long"]);
    let (mut come, mut go) = (Gaps::new(70), Gaps::new(50));
    // The word on offer, the sum so far with its words, and the sum on the output.
    let (mut word, mut sum, mut words, mut output) = (None, 0u64, 0, None);
    for cycle in 0..5000 {
        if come.next(&mut random) && word.is_none() {
            word = Some((random.below(1 << 16), random.chance(25)));
        }
        let ready = go.next(&mut random);
        dut.set("in_valid_i", word.is_some());
        dut.set("in_data_i", word.map_or_else(|| random.below(1 << 16), |word| word.0));
        dut.set("in_last_i", word.is_some_and(|word| word.1));
        dut.set("out_ready_i", ready);
        let takes = output.is_none() || ready;
        assert_eq!(dut.is_set("in_ready_o"), takes, "cycle {cycle}");
        assert_eq!(dut.is_set("out_valid_o"), output.is_some(), "cycle {cycle}");
        if let Some(output) = output {
            assert_eq!(dut.get("out_data_o"), output, "cycle {cycle}");
        }
        cover.hit("stalled", word.is_some() && !takes);
        if takes {
            output = None;
            if let Some((data, last)) = word.take() {
                cover.hit("wrapped", sum + data > 0xffff);
                sum = (sum + data) & 0xffff;
                words += 1;
                if last {
                    cover.hit("long", words > 5);
                    output = Some(std::mem::take(&mut sum));
                    words = 0;
                }
            }
        }
        dut.tick();
    }
    cover.assert(20);
    Ok(())
}
