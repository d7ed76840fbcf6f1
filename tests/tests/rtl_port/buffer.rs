//! The buffers of the streams alone.

use fastcar_hw::port::BeatBuffer;
use fastcar_hw::rtl::{Block, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl, accept, skipped};
use std::collections::VecDeque;

/// Beats that come to an empty stream are there at once, others in order, of either stream in any order, one a cycle.
#[test]
fn beats_wait_and_can_be_taken_at_once() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for depths in [&[20, 30][..], &[12][..], &[2, 2][..]] {
        let module = BeatBuffer::new(16, depths)?.module()?;
        accept(&emit(&module)?)?;
        let mut dut = Rtl::beside_native(&module)?;
        dut.reset();
        let mut random = Random::new(20);
        let mut cover = Cover::new(&["through", "full", "taken behind the front"]);
        let mut streams = vec![VecDeque::new(); depths.len()];
        let mut comes = Gaps::new(50);
        let mut taken = Gaps::new(50);
        for cycle in 0..20_000 {
            // Long times of more and of less.
            if cycle % 500 == 0 {
                let percent = 5 + 85 * random.below(2);
                (comes, taken) = (Gaps::new(percent), Gaps::new(95 - percent.min(90)));
            }
            let to = random.below(depths.len() as u64) as usize;
            let arrives = comes.next(&mut random) && (streams[to].len() as u32) < depths[to];
            let empty = streams[to].is_empty();
            let data = random.below(1 << 16);
            dut.set("in_valid_i", arrives);
            dut.set("in_data_i", data);
            if depths.len() > 1 {
                dut.set("in_stream_i", to as u64);
            }
            if arrives {
                streams[to].push_back(data);
            }
            let from = random.below(depths.len() as u64) as usize;
            let willing = taken.next(&mut random);
            for (n, stream) in streams.iter_mut().enumerate() {
                let takes = willing && n == from;
                dut.set(&format!("out{n}_ready_i"), takes);
                assert_eq!(dut.is_set(&format!("out{n}_valid_o")), !stream.is_empty(), "cycle {cycle}");
                if let Some(&front) = stream.front() {
                    assert_eq!(dut.get(&format!("out{n}_data_o")), front, "cycle {cycle}");
                }
                cover.hit("full", stream.len() as u32 == depths[n]);
                cover.hit("through", takes && arrives && empty && n == to);
                let behind = stream.len() as u32 > BeatBuffer::FRONT.min(depths[n] - 1);
                cover.hit("taken behind the front", takes && behind);
                if takes {
                    stream.pop_front();
                }
            }
            dut.tick();
        }
        cover.assert(50);
    }
    Ok(())
}
