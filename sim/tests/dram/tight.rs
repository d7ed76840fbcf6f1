//! Every timing parameter is tight: in a scenario that it decides, one unit less makes the data come earlier by exactly
//! that, and one unit more later by exactly that.

use crate::naive::{clock_ticks, ps_ticks};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::units::Hertz;
use fastcar_sim::dram::{ChannelFields, Dir, Dram, Tick};
use fastcar_sim::memory::{MemoryFields, MemorySpec, MemorySystem};

const CLOCK_HZ: u64 = 250_000_000;

/// Addresses of HBM2's map `14R-1G-2B-5C-1G`: the next column access is in the next bank group, a window is 2 KB.
const NEXT_GROUP: u64 = 32;
const NEXT_COLUMN: u64 = 64;
const NEXT_BANK: u64 = 2048;
const OTHER_GROUPS: u64 = 4 * NEXT_BANK;
const NEXT_ROW: u64 = 8 * NEXT_BANK;

fn hbm2() -> ChannelFields {
    MemorySpec::named("hbm2").expect("a memory of the project").fields().channel.clone()
}

/// A channel and the data of its accesses, all of one column access.
struct Bench {
    dram: Dram,
}

impl Bench {
    fn new(fields: &ChannelFields) -> Self {
        Self { dram: Dram::new(fields, Hertz(CLOCK_HZ), 0).expect("a valid channel") }
    }

    /// Serves one column access that arrives at a time in nanoseconds; the end of its data.
    fn at(&mut self, ns: u64, address: u64, dir: Dir) -> u64 {
        let ticks = ns * CLOCK_HZ / 1_000_000 * Tick::PER_CYCLE / 1000;
        self.dram.serve(Tick(ticks), address, 1, dir).last.0
    }

    fn read(&mut self, ns: u64, address: u64) -> u64 {
        self.at(ns, address, Dir::Read)
    }

    fn write(&mut self, ns: u64, address: u64) -> u64 {
        self.at(ns, address, Dir::Write)
    }
}

/// A parameter: its name, where it stands, the unit of its value, and a scenario's end of data.
struct Case {
    name: &'static str,
    field: fn(&mut ChannelFields) -> Parameter<'_>,
    /// Changes that give the parameter the word where another one says the same.
    clear: fn(&mut ChannelFields),
    scenario: fn(&mut Bench) -> u64,
}

enum Parameter<'a> {
    Clocks(&'a mut u32),
    Picoseconds(&'a mut u64),
}

const CASES: &[Case] = &[
    Case {
        name: "CL",
        field: |f| Parameter::Clocks(&mut f.timing.n_cl),
        clear: |_| (),
        scenario: |b| b.read(0, 0),
    },
    Case {
        name: "CWL",
        field: |f| Parameter::Clocks(&mut f.timing.n_cwl),
        clear: |_| (),
        scenario: |b| b.write(0, 0),
    },
    Case {
        name: "tCCD_S",
        field: |f| Parameter::Clocks(&mut f.timing.n_ccd_s),
        // Bursts of 4 take as long as tCCD_S.
        clear: |f| f.burst_length = 2,
        scenario: |b| {
            b.read(0, 0);
            b.read(0, 16);
            b.read(1000, 0);
            b.read(1000, 16)
        },
    },
    Case {
        name: "tCCD_L, reads",
        field: |f| Parameter::Clocks(&mut f.timing.n_ccd_l),
        clear: |_| (),
        scenario: |b| {
            b.read(0, 0);
            b.read(1000, 0);
            b.read(1000, NEXT_COLUMN)
        },
    },
    Case {
        name: "tCCD_L, writes",
        field: |f| Parameter::Clocks(&mut f.timing.n_ccd_l),
        clear: |_| (),
        scenario: |b| {
            b.read(0, 0);
            b.write(1000, 0);
            b.write(1000, NEXT_COLUMN)
        },
    },
    Case {
        name: "turnaround",
        field: |f| Parameter::Clocks(&mut f.timing.n_turnaround),
        clear: |_| (),
        scenario: |b| {
            b.read(0, 0);
            b.read(1000, 0);
            b.write(1000, 0)
        },
    },
    Case {
        name: "tRCD",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_rcd_ps),
        clear: |_| (),
        scenario: |b| b.read(0, 0),
    },
    Case {
        name: "tRP",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_rp_ps),
        clear: |_| (),
        scenario: |b| {
            b.read(0, 0);
            b.read(1000, NEXT_ROW)
        },
    },
    Case {
        name: "tRAS",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_ras_ps),
        // tRC = tRAS + tRP would say the same.
        clear: |f| f.timing.t_rc_ps = 0,
        scenario: |b| {
            b.read(0, 0);
            b.read(0, NEXT_ROW)
        },
    },
    Case {
        name: "tRC",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_rc_ps),
        clear: |f| f.timing.t_ras_ps = 0,
        scenario: |b| {
            b.read(0, 0);
            b.read(0, NEXT_ROW)
        },
    },
    Case {
        name: "tRRD_S",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_rrd_s_ps),
        clear: |_| (),
        scenario: |b| {
            b.read(0, 0);
            b.read(0, NEXT_GROUP)
        },
    },
    Case {
        name: "tRRD_L",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_rrd_l_ps),
        clear: |_| (),
        scenario: |b| {
            b.read(0, 0);
            b.read(0, NEXT_BANK)
        },
    },
    Case {
        name: "tFAW",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_faw_ps),
        clear: |_| (),
        scenario: |b| {
            for address in [0, NEXT_GROUP, OTHER_GROUPS, OTHER_GROUPS + NEXT_GROUP] {
                b.read(0, address);
            }
            b.read(0, NEXT_BANK)
        },
    },
    Case {
        name: "tRTP",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_rtp_ps),
        clear: |_| (),
        scenario: |b| {
            b.read(0, 0);
            b.read(1000, 0);
            b.read(1000, NEXT_ROW)
        },
    },
    Case {
        name: "tWR",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_wr_ps),
        clear: |_| (),
        scenario: |b| {
            b.read(0, 0);
            b.write(1000, 0);
            b.read(1000, NEXT_ROW)
        },
    },
    Case {
        name: "tWTR_S",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_wtr_s_ps),
        clear: |_| (),
        scenario: |b| {
            b.read(0, 0);
            b.read(0, NEXT_GROUP);
            b.write(1000, 0);
            b.read(1000, NEXT_GROUP)
        },
    },
    Case {
        name: "tWTR_L",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_wtr_l_ps),
        clear: |_| (),
        scenario: |b| {
            b.read(0, 0);
            b.write(1000, 0);
            b.read(1000, 0)
        },
    },
    Case {
        name: "tREFI",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_refi_ps),
        clear: |_| (),
        scenario: |b| b.read(3950, 0),
    },
    Case {
        name: "tREFI, the second",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_refi_ps),
        clear: |_| (),
        scenario: |b| b.read(7850, 0),
    },
    Case {
        name: "tRFC",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_rfc_ps),
        clear: |_| (),
        scenario: |b| b.read(3950, 0),
    },
    Case {
        name: "tRP, before a refresh",
        field: |f| Parameter::Picoseconds(&mut f.timing.t_rp_ps),
        clear: |_| (),
        scenario: |b| {
            b.read(0, 0);
            b.read(3950, 0)
        },
    },
];

/// Ticks of a parameter in a channel, after `delta` is added to it.
fn ticks(case: &Case, fields: &mut ChannelFields, delta: i64) -> u64 {
    match (case.field)(fields) {
        Parameter::Clocks(clocks) => {
            *clocks = clocks.checked_add_signed(delta as i32).expect("a number of clocks");
            let clocks = *clocks;
            clock_ticks(clocks, fields, CLOCK_HZ)
        }
        Parameter::Picoseconds(ps) => {
            *ps = ps.checked_add_signed(delta).expect("a time");
            ps_ticks(*ps, CLOCK_HZ)
        }
    }
}

#[test]
fn every_timing_parameter_is_tight_in_both_directions() {
    for case in CASES {
        let end = |delta: i64| {
            let mut fields = hbm2();
            (case.clear)(&mut fields);
            let value = ticks(case, &mut fields, delta);
            (value as i64, (case.scenario)(&mut Bench::new(&fields)) as i64)
        };
        let (value, sheet) = end(0);
        for delta in [-1, 1] {
            let (changed, moved) = end(delta);
            assert_ne!(changed, value, "{}: {delta} is lost in rounding", case.name);
            // Two intervals are twice the one that was converted.
            let times = if case.name == "tREFI, the second" { 2 } else { 1 };
            let off = (moved - sheet) - times * (changed - value);
            assert_eq!(off, 0, "{}: {delta:+} unit moved the data by {} ticks", case.name, moved - sheet);
        }
    }
}

#[test]
fn a_refresh_goes_before_an_access_that_arrives_when_it_is_due() {
    let mut dram = Dram::new(&hbm2(), Hertz(CLOCK_HZ), 0).expect("a valid channel");
    let due = ps_ticks(hbm2().timing.t_refi_ps, CLOCK_HZ);
    let mut early = dram.clone();
    let wait =
        dram.serve(Tick(due), 0, 32, Dir::Read).last.0 - early.serve(Tick(due - 1), 0, 32, Dir::Read).last.0;
    assert_eq!(wait, ps_ticks(hbm2().timing.t_rfc_ps, CLOCK_HZ) + 1);
    assert_eq!((dram.counters().refreshes, early.counters().refreshes), (1, 0));
}

#[test]
fn the_burst_length_is_tight() {
    // One clock more on the bus, and twice the bytes.
    let end = |burst_length| {
        let fields = ChannelFields { burst_length, ..hbm2() };
        Bench::new(&fields).read(0, 0)
    };
    let burst = |length: u32| clock_ticks(length / 2, &hbm2(), CLOCK_HZ);
    assert_eq!(end(4) - end(2), burst(4) - burst(2));
    assert_eq!(end(8) - end(4), burst(8) - burst(4));
}

#[test]
fn the_data_bus_is_the_limit_of_a_steady_stream() {
    let mut dram = Dram::new(&hbm2(), Hertz(CLOCK_HZ), 0).expect("a valid channel");
    let first = dram.serve(Tick(0), 0, 2048, Dir::Read);
    let second = dram.serve(Tick(0), NEXT_BANK, 2048, Dir::Read);
    let burst = clock_ticks(2, &hbm2(), CLOCK_HZ);
    assert_eq!(first.atom, Tick(burst));
    assert_eq!(second.first - first.last, Tick(burst), "rows of the next window are opened ahead");
    assert_eq!(second.last - first.first, Tick(127 * burst));
}

#[test]
fn without_interleave_the_bank_group_is_the_limit() {
    let fields = ChannelFields { map: "14R-2G-2B-6C".to_owned(), ..hbm2() };
    let mut dram = Dram::new(&fields, Hertz(CLOCK_HZ), 0).expect("a valid channel");
    assert_eq!(dram.serve(Tick(0), 0, 1024, Dir::Read).atom, Tick(clock_ticks(4, &fields, CLOCK_HZ)));
}

#[test]
fn latencies_of_request_and_response_are_tight() {
    let config = AccelConfig::preset("u280").expect("a preset");
    let cycle_ps = 1_000_000_000_000 / config.clock().get();
    let fields = MemorySpec::named("hbm2").expect("a memory of the project").fields().clone();
    let ends = |request: i64, response: i64| {
        let fields = MemoryFields {
            request_ps: fields.request_ps.checked_add_signed(request).expect("a time"),
            response_ps: fields.response_ps.checked_add_signed(response).expect("a time"),
            ..fields.clone()
        };
        let spec = MemorySpec::new(fields).expect("a valid memory");
        let mut memory = MemorySystem::new(&spec, &config, 0).expect("a memory that fits");
        let burst = memory.split(0, 64).next().expect("a burst");
        let read = memory.read(0, 0, burst).expect("an answer").start() as i64;
        (read, memory.write(0, 100, burst).expect("an answer").response as i64)
    };
    let (read, write) = ends(0, 0);
    let cycle = cycle_ps as i64;
    for (request, response) in [(cycle, 0), (0, cycle)] {
        assert_eq!(ends(request, response), (read + 1, write + 1));
        assert_eq!(ends(-request, -response), (read - 1, write - 1));
    }
}
