//! AXI ports: beats against a beat-by-beat computation, writes, order, faults.

use crate::measure::ports;
use crate::naive::ps_ticks;
use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_sim::dram::{Cycle, Dir, Dram, Served, Tick};
use fastcar_sim::memory::{Arrival, Burst, Fault, FaultKind, MemoryError, MemorySpec, MemorySystem};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn spec(name: &str) -> MemorySpec {
    MemorySpec::named(name).expect("a memory of the project")
}

fn config(channels: u32, beat: u32, clock_hz: u64) -> AccelConfig {
    ports(channels, beat, 256 * MIB, clock_hz).expect("a valid configuration")
}

fn system(name: &str, config: &AccelConfig) -> MemorySystem {
    MemorySystem::new(&spec(name), config, 0).expect("a memory that fits")
}

fn read(memory: &mut MemorySystem, port: u32, issue: Cycle, addr: u64, bytes: u32) -> Arrival {
    memory.read(port, issue, Burst { addr, bytes }).expect("an answer")
}

/// Beats of a read one by one: collect column accesses into beats, then send one a cycle.
fn beats_of(
    served: Served,
    burst: Burst,
    beat: u64,
    atom: u64,
    response: u64,
    mut free: Cycle,
) -> Vec<Cycle> {
    let end_of = |byte: u64| served.first.0 + (byte / atom - burst.addr / atom) * served.atom.0;
    let narrow_step = served.atom.0.div_ceil((atom / beat).max(1));
    let mut gear = None;
    let mut cycles = Vec::new();
    for number in 0..u64::from(burst.bytes) / beat {
        let complete = end_of(burst.addr + (number + 1) * beat - 1);
        let ready = if beat >= atom {
            complete
        } else {
            // The gearbox sends narrow beats at an even pace; beats before a burst's first are sent to no one.
            let before = gear.unwrap_or(complete + burst.addr % atom / beat * narrow_step - narrow_step);
            complete.max(before + narrow_step)
        };
        gear = Some(ready);
        free = free.max(Tick(ready + response).ceil_cycle());
        cycles.push(free);
        free += 1;
    }
    cycles
}

fn traffic(beat: u32) -> impl Strategy<Value = Vec<(Cycle, Burst, Dir)>> {
    let beat = u64::from(beat);
    let gap = prop_oneof![3 => 1..3_u64, 2 => 1..40_u64, 1 => 1..3000_u64];
    let dir = prop_oneof![4 => Just(Dir::Read), 1 => Just(Dir::Write)];
    let place = prop_oneof![3 => 0..8_u64, 1 => 0..200_000_u64];
    let one = (gap, place, 0..1024 / beat, 1..=1024 / beat, dir).prop_map(
        move |(gap, block, first, count, dir)| {
            let count = count.min(1024 / beat - first);
            (gap, Burst { addr: block * 1024 + first * beat, bytes: (count * beat) as u32 }, dir)
        },
    );
    prop::collection::vec(one, 1..60)
}

fn port() -> impl Strategy<Value = (&'static str, u32, u64)> {
    let name = prop::sample::select(vec!["hbm2", "hbm2-8h", "ddr4-2400", "ideal"]);
    let clock = prop::sample::select(vec![100_000_000, 225_000_000, 250_000_000, 300_000_000, 450_000_000]);
    (name, prop::sample::select(vec![16, 32, 64]), clock)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn beats_are_those_of_a_beat_by_beat_computation(
        ((name, beat, clock), traffic) in port().prop_flat_map(|p| (Just(p), traffic(p.1)))
    ) {
        let config = config(1, beat, clock);
        let mut memory = system(name, &config);
        let fields = spec(name).fields().clone();
        let mut dram = Dram::new(&fields.channel, config.clock(), 0).expect("a valid channel");
        let request = ps_ticks(fields.request_ps, clock);
        let response = ps_ticks(fields.response_ps, clock);
        let (atom, beat) = (dram.atom_bytes(), u64::from(beat));
        let (mut issue, mut arrived, mut read_free, mut write_free, mut answered) = (0, 0, 0, 0, 0);
        for (gap, burst, dir) in traffic {
            issue += gap;
            let beats = u64::from(burst.bytes) / beat;
            let seen = match dir {
                Dir::Read => issue + 1,
                Dir::Write => issue.max(write_free) + beats,
            };
            arrived = arrived.max(seen * Tick::PER_CYCLE + request);
            let served = dram.serve(Tick(arrived), burst.addr, burst.bytes, dir);
            match dir {
                Dir::Read => {
                    let arrival = memory.read(0, issue, burst).expect("an answer");
                    let cycles: Vec<Cycle> = (0..arrival.beats()).map(|i| arrival.beat(i)).collect();
                    prop_assert_eq!(arrival.start(), cycles[0]);
                    prop_assert_eq!(Some(&arrival.last()), cycles.last());
                    prop_assert_eq!(&cycles, &beats_of(served, burst, beat, atom, response, read_free));
                    read_free = arrival.last() + 1;
                }
                Dir::Write => {
                    write_free = seen;
                    let written = memory.write(0, issue, burst).expect("an answer");
                    prop_assert_eq!(written.last_beat, seen - 1);
                    // One response a cycle.
                    let due = (served.last + Tick(response)).ceil_cycle().max(answered);
                    prop_assert_eq!(written.response, due);
                    answered = due + 1;
                    prop_assert!(written.response > written.last_beat);
                }
            }
        }
        prop_assert_eq!(memory.dram_counters(0), dram.counters());
    }

    #[test]
    fn bursts_cover_a_transfer_and_cross_no_border(first in 0..4096_u64, count in 0..4096_u64) {
        let memory = system("hbm2", &config(1, 16, 250_000_000));
        let (mut address, bytes) = (first * 16, count * 16);
        let bursts = memory.split(address, bytes);
        prop_assert_eq!(bursts.len(), bursts.clone().count());
        for burst in bursts {
            prop_assert_eq!(burst.addr, address);
            prop_assert!(burst.bytes > 0);
            address += u64::from(burst.bytes);
            prop_assert_eq!(burst.addr / 1024, (address - 1) / 1024);
            prop_assert!(address % 1024 == 0 || address == first * 16 + bytes, "a burst ends early");
        }
        prop_assert_eq!(address, first * 16 + bytes);
    }
}

#[test]
fn the_data_rate_is_exact_to_1e_4_and_slower_clocks_are_refused() {
    for (name, preset) in
        [("hbm2", "u280"), ("hbm2", "u50"), ("hbm2-8h", "u55c"), ("ddr4-2400", "edge"), ("ddr4-2400", "tiny")]
    {
        let config = AccelConfig::preset(preset).expect("a preset");
        let memory = MemorySystem::new(&spec(name), &config, 0).expect("a memory that fits");
        let channel = &spec(name).fields().channel.clone();
        let dram = Dram::new(channel, config.clock(), 0).expect("a valid channel");
        let cycles = dram.atom_time().0 as f64 / Tick::PER_CYCLE as f64;
        let rate = dram.atom_bytes() as f64 * config.clock().get() as f64 / cycles;
        let drams = if memory.shared() { 1 } else { config.channels() };
        let peak = memory.peak_bytes_per_second() as f64 / f64::from(drams);
        assert!(rate <= peak && rate > peak * (1.0 - 1e-4), "{name} at {preset}: {rate} of {peak}");
    }
    assert_eq!(system("hbm2", &config(32, 64, 250_000_000)).peak_bytes_per_second(), 460_000_000_000);
    assert_eq!(system("ddr4-2400", &config(4, 16, 300_000_000)).peak_bytes_per_second(), 19_200_000_000);
    let slow = MemorySystem::new(&spec("hbm2"), &config(1, 64, 1_000_000), 0).expect_err("too slow");
    assert_eq!(
        slow.to_string(),
        "a kernel clock of 1000000 Hz is too slow beside a DRAM clock of 898437500 Hz: time is counted in 1/65536 \
         cycles, and rounding a burst to it would change the data rate by more than 1e-4; take a faster kernel clock"
    );
}

#[test]
fn the_ideal_memory_has_one_latency_and_sends_a_beat_a_cycle() {
    for (beat, clock) in [(16, 100_000_000), (16, 300_000_000), (64, 225_000_000), (64, 300_000_000)] {
        let mut memory = system("ideal", &config(1, beat, clock));
        let latency = read(&mut memory, 0, 0, 0, beat).start();
        // Scattered, far apart.
        for n in 1..200 {
            let arrival = read(&mut memory, 0, n * 1000, n * 7919 * 1024 % (256 * MIB), 1024);
            assert_eq!(arrival.start() - n * 1000, latency);
            assert_eq!(arrival.last() - arrival.start(), u64::from(1024 / beat) - 1);
        }
        // As fast as the port goes.
        let first = read(&mut memory, 0, 1_000_000, 0, 1024);
        let mut last = first.last();
        for n in 1..200 {
            let arrival = read(&mut memory, 0, 1_000_000 + n, n * 4096, 1024);
            assert_eq!(arrival.start(), last + 1, "beat {beat} at {clock}");
            last = arrival.last();
        }
        assert_eq!(memory.dram_counters(0).refreshes, 0);
    }
}

#[test]
fn a_write_takes_a_beat_a_cycle_and_later_bursts_wait_for_it() {
    let config = config(1, 64, 250_000_000);
    let mut memory = system("hbm2", &config);
    let burst = |addr, bytes| Burst { addr, bytes };
    let first = memory.write(0, 100, burst(0, 1024)).expect("an answer");
    assert_eq!(first.last_beat, 115);
    let second = memory.write(0, 101, burst(1024, 128)).expect("an answer");
    assert_eq!(second.last_beat, 117, "data of a port's writes go one after the other");
    assert!(second.response > first.response);
    let behind = read(&mut memory, 0, 102, 4096, 64);
    let mut idle = system("hbm2", &config);
    let alone = read(&mut idle, 0, 102, 4096, 64);
    assert!(behind.start() > alone.start() + 15, "a read behind a write waits: {behind:?} and {alone:?}");
    assert_eq!(memory.counters(0).written_bytes, 1152);
    assert_eq!(memory.counters(0).write_bursts, 2);
    assert_eq!(memory.counters(0).read_bytes, 64);
    assert_eq!(memory.counters(0).read_bursts, 1);
    assert_eq!(memory.dram_counters(0).turnarounds, 1);
    assert_eq!(memory.dram_counters(0).write_atoms, 36);
    assert_eq!(memory.dram_counters(0).read_atoms, 2);
}

#[test]
fn ports_of_one_dram_share_its_rate_but_not_its_banks() {
    let mut memory = system("ddr4-2400", &config(4, 16, 300_000_000));
    assert!(memory.shared());
    // Each port in two rows of its region in turns: conflicts are its own, two banks each time.
    for n in 0..40 {
        read(&mut memory, n % 4, u64::from(n), u64::from(n / 4) * 1024, 1024);
    }
    let counters = memory.dram_counters(3);
    assert_eq!((counters.misses, counters.conflicts), (8, 0), "eight banks, each opened once");
    assert_eq!(memory.counters(1).read_bytes, 10 * 1024);
    // At the same time, four ports are four times slower than one.
    let wide = |ports: u32| {
        let mut memory = system("ddr4-2400", &config(4, 64, 300_000_000));
        let arrivals = (0..ports).map(|port| read(&mut memory, port, 0, 0, 1024).last());
        arrivals.max().expect("a port")
    };
    assert!(wide(4) - wide(1) >= 3 * 16, "1 KB is 16 cycles on the bus: {} and {}", wide(4), wide(1));
}

#[test]
fn channels_that_do_not_fit_are_refused() {
    let fields = config(32, 64, 250_000_000).fields().clone();
    let large =
        AccelConfig::new(ConfigFields { channel_bytes: 512 * MIB, ..fields }).expect("a configuration");
    let error = MemorySystem::new(&spec("hbm2"), &large, 0).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "configuration 'tiny' has 32 channels of 536870912 bytes; memory 'hbm2' has 268435456 bytes for each: take a \
         smaller channel_bytes or a larger memory"
    );
    assert!(MemorySystem::new(&spec("hbm2-8h"), &large, 0).is_ok());
    let shared = MemorySystem::new(&spec("ddr4-2400"), &large, 0).expect_err("too large");
    assert!(shared.to_string().contains("has 67108864 bytes for each"), "{shared}");
}

#[test]
fn seed_0_makes_equal_ports_and_other_seeds_spread_the_refreshes() {
    let config = config(32, 64, 250_000_000);
    let run = |seed| {
        let mut memory = MemorySystem::new(&spec("hbm2"), &config, seed).expect("a memory that fits");
        let ends = |memory: &mut MemorySystem, port| -> Vec<Cycle> {
            (0..200).map(|n| read(memory, port, n * 20, n * 1024, 1024).last()).collect()
        };
        (0..32).map(|port| ends(&mut memory, port)).collect::<Vec<_>>()
    };
    let equal = run(0);
    assert!(equal.iter().all(|port| *port == equal[0]));
    let spread = run(1);
    let distinct: std::collections::BTreeSet<_> = spread.iter().collect();
    assert!(distinct.len() > 20, "only {} of 32 ports refresh at times of their own", distinct.len());
    assert_eq!(spread, run(1));
    assert_ne!(spread, run(2));
}

#[test]
fn a_port_can_stand_for_others() {
    let config = config(4, 64, 250_000_000);
    let mut memory = system("hbm2", &config);
    let mut each = memory.clone();
    assert!(memory.same_state(0, 3));
    for n in 0..300 {
        read(&mut memory, 0, n * 20, n * 1024, 1024);
        memory.write(0, n * 20 + 1, Burst { addr: n * 2048, bytes: 64 }).expect("an answer");
        for port in 0..4 {
            read(&mut each, port, n * 20, n * 1024, 1024);
            each.write(port, n * 20 + 1, Burst { addr: n * 2048, bytes: 64 }).expect("an answer");
        }
    }
    assert!(!memory.same_state(0, 3));
    memory.mirror(0, 3);
    assert!(memory.same_state(0, 3) && each.same_state(0, 3));
    assert_eq!(memory.counters(3), each.counters(3));
    assert_eq!(memory.dram_counters(3), each.dram_counters(3));
    for n in 300..400 {
        assert_eq!(read(&mut memory, 3, n * 20, n * 1024, 1024), read(&mut each, 3, n * 20, n * 1024, 1024));
    }
    assert!(!each.same_state(0, 3));
    assert!(!system("ddr4-2400", &config).same_state(0, 1), "ports of one DRAM are never in the same state");
}

#[test]
#[should_panic(expected = "share a DRAM channel")]
fn a_port_cannot_stand_for_one_that_shares_its_dram() {
    system("ddr4-2400", &config(4, 16, 300_000_000)).mirror(0, 1);
}

#[test]
fn faults_fail_what_they_touch_and_nothing_else() {
    let mut memory = system("hbm2", &config(2, 64, 250_000_000));
    let mut sound = memory.clone();
    let range = 4096 + 64..4096 + 128;
    memory.inject(Fault::Ecc { port: 0, range: range.clone() }).expect("a place");
    memory.inject(Fault::SlaveError { port: 0, dir: Dir::Write, range: range.clone() }).expect("a place");
    memory.inject(Fault::SlaveError { port: 1, dir: Dir::Read, range }).expect("a place");
    let kinds = |memory: &mut MemorySystem, port, issue: Cycle| {
        let blocks = [(0, 4096, 64), (20, 4096, 128), (40, 4096 + 64, 64), (60, 4096 + 128, 64)];
        blocks.map(|(later, addr, bytes)| {
            let arrival = read(memory, port, issue + later, addr, bytes);
            let written = memory.write(port, issue + later, Burst { addr, bytes }).expect("an answer");
            (arrival.fault(), written.fault)
        })
    };
    let none = (None, None);
    let both = (Some(FaultKind::Ecc), Some(FaultKind::SlaveError));
    assert_eq!(kinds(&mut memory, 0, 0), [none, both, both, none]);
    let read_only = (Some(FaultKind::SlaveError), None);
    assert_eq!(kinds(&mut memory, 1, 0), [none, read_only, read_only, none]);
    assert_eq!(kinds(&mut sound, 0, 0), [none; 4]);
    assert!(!memory.same_state(0, 1));
    // A failing burst takes as long as a sound one.
    assert_eq!(read(&mut memory, 0, 1000, 4096, 128).last(), read(&mut sound, 0, 1000, 4096, 128).last());
    assert_eq!(FaultKind::Ecc.to_string(), "uncorrectable ECC error (SLVERR)");
    assert_eq!(FaultKind::SlaveError.to_string(), "AXI error response (SLVERR)");
}

#[test]
fn a_stuck_port_never_answers_again_and_the_others_do() {
    let mut memory = system("hbm2", &config(2, 64, 250_000_000));
    memory.inject(Fault::Stuck { port: 1, from: 50 }).expect("a place");
    let burst = Burst { addr: 0, bytes: 64 };
    assert!(memory.read(1, 49, burst).is_some());
    assert_eq!(memory.read(1, 50, burst), None);
    assert_eq!(memory.write(1, 51, burst), None);
    assert_eq!(memory.read(1, 1_000_000, burst), None);
    assert_eq!(memory.counters(1).read_bursts, 1);
    assert!(memory.read(0, 60, burst).is_some() && memory.write(0, 60, burst).is_some());
}

#[test]
fn faults_at_places_that_are_not_there_are_refused() {
    let mut memory = system("hbm2", &config(2, 64, 250_000_000));
    let refuse = |fault, memory: &mut MemorySystem| -> MemoryError {
        memory.inject(fault).expect_err("no such place")
    };
    let port = refuse(Fault::Stuck { port: 2, from: 0 }, &mut memory);
    assert_eq!(port.to_string(), "a fault at port 2: the ports are 0 to 1");
    for range in [0..256 * MIB + 1, 64..64] {
        let error = refuse(Fault::Ecc { port: 0, range: range.clone() }, &mut memory);
        let expected = format!(
            "a fault at addresses {} to {}: must be a range within the 268435456 bytes of a channel",
            range.start, range.end
        );
        assert_eq!(error.to_string(), expected);
    }
}

/// Misuse that hardware could not commit, refused where assertions are on.
#[cfg(debug_assertions)]
mod misuse {
    use super::*;

    fn misuse<T>(use_it: impl FnOnce(&mut MemorySystem) -> T) {
        use_it(&mut system("ddr4-2400", &config(2, 64, 250_000_000)));
    }

    #[test]
    #[should_panic(expected = "bursts are issued in order: cycle 9 after 10")]
    fn an_earlier_issue_at_a_shared_dram() {
        misuse(|memory| {
            read(memory, 0, 10, 0, 64);
            read(memory, 1, 9, 0, 64);
        });
    }

    #[test]
    #[should_panic(expected = "one read address a cycle")]
    fn two_reads_in_a_cycle() {
        misuse(|memory| {
            read(memory, 0, 10, 0, 64);
            read(memory, 0, 10, 64, 64);
        });
    }

    #[test]
    #[should_panic(expected = "one write address a cycle")]
    fn two_writes_in_a_cycle() {
        misuse(|memory| {
            let burst = Burst { addr: 0, bytes: 64 };
            memory.write(0, 10, burst).expect("an answer");
            memory.write(0, 10, burst).expect("an answer");
        });
    }

    #[test]
    #[should_panic(expected = "a burst within 1024 bytes")]
    fn a_burst_across_a_border() {
        misuse(|memory| read(memory, 0, 0, 960, 128));
    }

    #[test]
    #[should_panic(expected = "a burst of whole beats")]
    fn half_a_beat() {
        misuse(|memory| read(memory, 0, 0, 0, 96));
    }

    #[test]
    #[should_panic(expected = "a burst inside the channel")]
    fn a_burst_outside_the_channel() {
        misuse(|memory| read(memory, 0, 0, 256 * MIB, 64));
    }
}
