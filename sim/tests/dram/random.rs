//! Random accesses: the commands are those of the naive model, and no pair of them is too close.

use crate::naive::{Decoder, Distances, Entry, Naive};
use fastcar_arch::units::Hertz;
use fastcar_sim::dram::{ChannelFields, CommandKind, Dir, Dram, Tick};
use fastcar_sim::memory::MemorySpec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use std::cell::RefCell;

/// A channel, a kernel clock and what is asked of it.
#[derive(Clone, Debug)]
struct Case {
    fields: ChannelFields,
    clock_hz: u64,
    phase: u16,
    accesses: Vec<Access>,
}

#[derive(Clone, Debug)]
struct Access {
    /// Ticks after the arrival before.
    gap: u64,
    address: u64,
    bytes: u32,
    dir: Dir,
}

fn channel() -> impl Strategy<Value = ChannelFields> {
    let named = |name| MemorySpec::named(name).expect("a memory of the project").fields().channel.clone();
    let hashed = |bits| ChannelFields { xor_row_bits: bits, ..named("hbm2") };
    // Refreshes so close that an access of a whole row window makes one wait until the next is due.
    let mut busy = named("ddr4-2400");
    busy.timing.t_refi_ps = 2 * (busy.timing.t_rfc_ps + busy.timing.t_rp_ps);
    let plain = ChannelFields { map: "14R-2B-2G-6C".to_owned(), ..named("hbm2") };
    prop_oneof![
        Just(named("hbm2")),
        Just(named("hbm2-8h")),
        Just(named("ddr4-2400")),
        Just(named("ideal")),
        Just(hashed(3)),
        Just(hashed(2)),
        Just(plain),
        Just(busy),
    ]
}

/// Addresses that meet in few rows and banks, anywhere in the channel.
fn access(decoder: &Decoder) -> impl Strategy<Value = Access> + use<> {
    let (window, capacity) = (decoder.window(), decoder.capacity());
    let windows = prop_oneof![
        4 => 0..4_u64,
        3 => (0..3_u64).prop_map(move |n| n * (capacity / window / 4)),
        2 => (0..64_u64).prop_map(|n| n * 8),
        1 => 0..capacity / window,
    ];
    let gap = prop_oneof![
        5 => Just(0_u64),
        3 => 0..400_000_u64,
        2 => 0..4_000_000_u64,
        1 => 0..400_000_000_u64,
    ];
    let bytes = prop_oneof![3 => 1..65_u32, 3 => Just(1024_u32), 3 => 1..2048_u32, 1 => Just(16384_u32)];
    let dir = prop_oneof![3 => Just(Dir::Read), 2 => Just(Dir::Write)];
    (gap, windows, 0..window, bytes, dir).prop_map(move |(gap, number, offset, bytes, dir)| {
        let bytes = u64::from(bytes).min(window - offset) as u32;
        Access { gap, address: number * window + offset, bytes, dir }
    })
}

fn case() -> impl Strategy<Value = Case> {
    let clock = prop_oneof![Just(100_000_000_u64), Just(225_000_000), Just(250_000_000), Just(1_000_000_000)];
    (channel(), clock, any::<u16>()).prop_flat_map(|(fields, clock_hz, phase)| {
        let accesses = prop::collection::vec(access(&Decoder::new(&fields)), 1..40);
        accesses.prop_map(move |accesses| Case { fields: fields.clone(), clock_hz, phase, accesses })
    })
}

/// What the runs have met.
#[derive(Default)]
struct Coverage {
    hits: u64,
    misses: u64,
    conflicts: u64,
    turnarounds: u64,
    refreshes: u64,
    /// Refreshes that waited for an access.
    postponed: u64,
    /// Activates that had to wait for the window of four.
    crowded: u64,
    /// Activates given while data of an earlier access was still to come.
    ahead: u64,
}

/// Runs a case on the model; returns its commands, and for each access the ends of its first and last column access.
fn run(case: &Case, coverage: &mut Coverage) -> (Vec<Entry>, Vec<(u64, u64)>) {
    let mut dram = Dram::new(&case.fields, Hertz(case.clock_hz), case.phase).expect("a valid channel");
    let (mut entries, mut ends, mut at) = (Vec::new(), Vec::new(), 0);
    for access in &case.accesses {
        at += access.gap;
        let served = dram.serve_logged(Tick(at), access.address, access.bytes, access.dir, &mut |c| {
            entries.push(Entry { at: c.at.0, bank: c.bank, group: c.group, kind: c.kind });
        });
        ends.push((served.first.0, served.last.0));
    }
    let counters = dram.counters();
    coverage.hits += counters.hits;
    coverage.misses += counters.misses;
    coverage.conflicts += counters.conflicts;
    coverage.turnarounds += counters.turnarounds;
    coverage.refreshes += counters.refreshes;
    let count = |wanted: fn(CommandKind) -> bool| entries.iter().filter(|e| wanted(e.kind)).count() as u64;
    assert_eq!(counters.activates, count(|kind| matches!(kind, CommandKind::Activate { .. })));
    assert_eq!(counters.activates, counters.misses + counters.conflicts);
    assert_eq!(counters.conflicts, count(|kind| kind == CommandKind::Precharge));
    assert_eq!(counters.refreshes, count(|kind| kind == CommandKind::Refresh));
    assert_eq!(counters.read_atoms, count(|kind| kind == CommandKind::Read));
    assert_eq!(counters.write_atoms, count(|kind| kind == CommandKind::Write));
    let burst = Distances::new(&case.fields, case.clock_hz).burst();
    assert_eq!(counters.busy, Tick((counters.read_atoms + counters.write_atoms) * burst));
    (entries, ends)
}

/// No pair of commands is closer than the table of distances allows, and the four-activate window holds.
fn check_pairs(case: &Case, entries: &[Entry], coverage: &mut Coverage) -> Result<(), TestCaseError> {
    let distances = Distances::new(&case.fields, case.clock_hz);
    let mut sorted = entries.to_vec();
    sorted.sort_by_key(|entry| entry.at);
    for (i, first) in sorted.iter().enumerate() {
        for second in &sorted[i + 1..] {
            let apart = second.at - first.at;
            if let Some(least) = distances.between(first, second) {
                prop_assert!(apart >= least, "{first:?} and {second:?}: {apart} ticks, at least {least}");
            }
        }
    }
    let activates = sorted.iter().filter(|e| matches!(e.kind, CommandKind::Activate { .. }));
    let times: Vec<u64> = activates.map(|e| e.at).collect();
    for five in times.windows(5) {
        prop_assert!(five[4] - five[0] >= distances.four_activates(), "five activates in a window: {five:?}");
        coverage.crowded += u64::from(five[4] - five[0] == distances.four_activates());
    }
    Ok(())
}

/// The data bus carries one column access at a time; rows are open when they are used, and closed when refreshed.
fn check_state(case: &Case, entries: &[Entry], coverage: &mut Coverage) -> Result<(), TestCaseError> {
    let distances = Distances::new(&case.fields, case.clock_hz);
    let decoder = Decoder::new(&case.fields);
    let atoms = case.accesses.iter().flat_map(|access| decoder.atoms(access.address, access.bytes));
    let mut rows = atoms.map(|atom| atom.row);
    let mut open = std::collections::BTreeMap::new();
    let (mut bus_free, mut due) = (0, None);
    // The order of the commands of one bank is the order in which they were told.
    for entry in entries {
        match entry.kind {
            CommandKind::Activate { row } => {
                prop_assert_eq!(open.insert(entry.bank, row), None, "an open bank is activated");
                coverage.ahead += u64::from(entry.at < bus_free);
            }
            CommandKind::Precharge => {
                prop_assert!(open.remove(&entry.bank).is_some(), "a closed bank is closed")
            }
            CommandKind::PrechargeAll => open.clear(),
            CommandKind::Refresh => {
                prop_assert!(open.is_empty(), "a refresh with rows open");
                let interval = distances.refresh_interval();
                let first = interval - (u128::from(interval) * u128::from(case.phase) / 65536) as u64;
                let expected = due.unwrap_or(first);
                prop_assert!(entry.at >= expected, "a refresh before it is due");
                let longest = decoder.window() / decoder.atom_bytes() * distances.atom(decoder.ways);
                prop_assert!(
                    entry.at < expected + interval + longest,
                    "a refresh that waits for two accesses"
                );
                coverage.postponed += u64::from(entry.at > expected);
                due = Some(expected + interval);
            }
            CommandKind::Read | CommandKind::Write => {
                let dir = if entry.kind == CommandKind::Read { Dir::Read } else { Dir::Write };
                let start = entry.at + distances.latency(dir);
                prop_assert!(start >= bus_free, "the bus is booked twice");
                bus_free = start + distances.burst();
                prop_assert_eq!(open.get(&entry.bank).copied(), rows.next(), "the wrong row is open");
            }
        }
    }
    prop_assert_eq!(rows.next(), None, "a column access is missing");
    Ok(())
}

#[test]
fn commands_are_those_of_the_naive_model() {
    let coverage = RefCell::new(Coverage::default());
    let config = ProptestConfig { cases: 400, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let result = TestRunner::new_with_rng(config, rng).run(&case(), |case| {
        let mut coverage = coverage.borrow_mut();
        let (entries, ends) = run(&case, &mut coverage);
        check_pairs(&case, &entries, &mut coverage)?;
        check_state(&case, &entries, &mut coverage)?;
        let mut naive = Naive::new(&case.fields, case.clock_hz, case.phase);
        let mut at = 0;
        for (access, end) in case.accesses.iter().zip(ends) {
            at += access.gap;
            prop_assert_eq!(end, naive.serve(at, access.address, access.bytes, access.dir));
        }
        prop_assert_eq!(entries, naive.entries);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => panic!("{why}\n{case:#?}"),
        Err(error) => panic!("{error}"),
    }
    let c = coverage.into_inner();
    for (what, count) in [
        ("hits", c.hits),
        ("misses", c.misses),
        ("conflicts", c.conflicts),
        ("turnarounds", c.turnarounds),
        ("refreshes", c.refreshes),
        ("postponed refreshes", c.postponed),
        ("full windows of four activates", c.crowded),
        ("activates ahead of data", c.ahead),
    ] {
        assert!(count > 50, "only {count} {what} in all cases");
    }
}
