//! A port that is to begin nothing more.

use crate::{idle, segment_word};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::PORT_ISSUE;
use fastcar_hw::port::Port;
use fastcar_hw::rtl::Block;
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Random, Rtl, skipped};
use std::collections::VecDeque;

/// Cycles from an address to its first beat, and from a write's last beat to its answer.
const LATENCY: u64 = 12;

/// What is on the bus.
#[derive(Default)]
struct Bus {
    /// Beats to come: when, and whether they end a burst.
    beats: VecDeque<(u64, bool)>,
    /// Beats owed of the bursts that are written, and answers to come.
    owed: VecDeque<u64>,
    answers: VecDeque<u64>,
}

impl Bus {
    fn is_quiet(&self) -> bool {
        self.beats.is_empty() && self.owed.is_empty() && self.answers.is_empty()
    }

    /// A cycle; whether a burst begins.
    fn step(&mut self, dut: &mut Rtl) -> bool {
        let now = dut.cycle();
        let beat = self.beats.pop_front_if(|beat| beat.0 <= now);
        dut.set("axi_rvalid_i", beat.is_some());
        dut.set("axi_rlast_i", beat.is_some_and(|beat| beat.1));
        dut.set("axi_bvalid_i", self.answers.pop_front_if(|at| *at <= now).is_some());
        let (reads, writes) = (dut.is_set("axi_arvalid_o"), dut.is_set("axi_awvalid_o"));
        if reads {
            let beats = dut.get("axi_arlen_o") + 1;
            self.beats.extend((1..=beats).map(|n| (now + LATENCY, n == beats)));
        }
        if writes {
            self.owed.push_back(dut.get("axi_awlen_o") + 1);
        }
        if dut.is_set("axi_wvalid_o") {
            let first = self.owed.front_mut().unwrap();
            *first -= 1;
            if *first == 0 {
                self.owed.pop_front();
                self.answers.push_back(now + LATENCY);
            }
        }
        reads || writes
    }
}

#[test]
fn a_halted_port_ends_what_it_began() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset("tiny")?;
    let mut dut = Rtl::build(&Port::new(&config)?.module()?)?;
    let mut random = Random::new(5);
    let mut cover = Cover::new(&["quiet before", "reads under way", "data owed", "answers to come"]);
    for _ in 0..200 {
        idle(&mut dut);
        let mut bus = Bus::default();
        // A read of many bursts, and a job of a few.
        dut.set(
            "main_segment_data_i",
            segment_word(&config, (random.below(4096), 900, 0), super::guard_bits("main")),
        );
        dut.set("write_segment_data_i", segment_word(&config, (8192, 70, 1), 1));
        dut.set("main_beat_ready_i", true);
        dut.set("commit_beats_i", 70_u64);
        let halt = random.below(150);
        for cycle in 0..halt {
            dut.set("main_segment_valid_i", cycle == 0);
            dut.set("write_segment_valid_i", cycle == 1);
            dut.set("commit_valid_i", cycle == 20);
            dut.set("drain_i", cycle >= 20);
            dut.set("write_data_valid_i", (1..=70).contains(&cycle));
            bus.step(&mut dut);
            dut.tick();
        }
        // The data of what is committed comes to its end.
        dut.set("halt_i", true);
        let halted = dut.cycle();
        cover.hit("quiet before", bus.is_quiet());
        cover.hit("reads under way", !bus.beats.is_empty());
        cover.hit("data owed", !bus.owed.is_empty());
        cover.hit("answers to come", !bus.answers.is_empty());
        for cycle in halt..halt + 400 {
            for name in ["main_segment_valid_i", "write_segment_valid_i", "commit_valid_i"] {
                dut.set(name, false);
            }
            dut.set("write_data_valid_i", (1..=70).contains(&cycle));
            let begins = bus.step(&mut dut);
            assert!(!begins || dut.cycle() <= halted + PORT_ISSUE, "a burst begins in cycle {}", dut.cycle());
            assert!(
                !dut.is_set("quiet_o") || dut.cycle() <= halted + 1 || bus.is_quiet(),
                "cycle {}",
                dut.cycle()
            );
            dut.tick();
        }
        assert!(bus.is_quiet() && dut.is_set("quiet_o"), "halted in cycle {halt}");
    }
    cover.assert(3);
    Ok(())
}
