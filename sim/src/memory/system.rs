//! Ports and the DRAM behind them.

use super::burst::{Arrival, Burst, Bursts, Written};
use super::fault::{Fault, Faults};
use super::spec::{MemorySpec, Ports};
use crate::dram::{Cycle, Dir, Dram, DramCounters, DramError, Served, Tick, from_ps};
use fastcar_arch::config::AccelConfig;

/// What has crossed a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PortCounters {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bursts read.
    pub read_bursts: u64,
    /// Bursts written.
    pub write_bursts: u64,
}

/// Why a memory system, or a fault in it, does not exist.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The DRAM channel is refused.
    #[error(transparent)]
    Dram(#[from] DramError),
    /// The configuration's channels are larger than the memory.
    #[error(
        "configuration '{config}' has {channels} channels of {found} bytes; memory '{memory}' has {limit} bytes for each: \
         take a smaller channel_bytes or a larger memory"
    )]
    Capacity {
        /// Configuration.
        config: String,
        /// Its channels.
        channels: u32,
        /// Bytes of a channel.
        found: u64,
        /// Memory.
        memory: String,
        /// Bytes that it has for a channel.
        limit: u64,
    },
    /// A fault at a port that is not there.
    #[error("a fault at port {found}: the ports are 0 to {last}")]
    Port {
        /// What was given.
        found: u32,
        /// The last port.
        last: u32,
    },
    /// A fault at addresses that are not there.
    #[error("a fault at addresses {start} to {end}: must be a range within the {limit} bytes of a channel")]
    Range {
        /// First address.
        start: u64,
        /// End.
        end: u64,
        /// Bytes of a channel.
        limit: u64,
    },
}

/// What a port remembers: from which cycle on each of its AXI channels is free.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Port {
    read_address: Cycle,
    read_data: Cycle,
    write_address: Cycle,
    write_data: Cycle,
    response: Cycle,
    counters: PortCounters,
}

/// A DRAM channel and the order in which it is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Controller {
    dram: Dram,
    /// Issue of the last burst.
    issued: Cycle,
    /// Arrival of the last burst.
    arrived: Tick,
}

impl Controller {
    fn serve(&mut self, issue: Cycle, at: Tick, address: u64, bytes: u32, dir: Dir) -> Served {
        debug_assert!(
            issue >= self.issued,
            "bursts are issued in order: cycle {issue} after {}",
            self.issued
        );
        self.issued = issue;
        // The queue is in order: behind a write whose data is still coming in, others wait.
        self.arrived = self.arrived.max(at);
        self.dram.serve(self.arrived, address, bytes, dir)
    }
}

/// The memory of a machine: see the [module](super).
#[derive(Clone, Debug)]
pub struct MemorySystem {
    ports: Vec<Port>,
    faults: Vec<Faults>,
    controllers: Vec<Controller>,
    shared: bool,
    /// Bytes of a port's region, and of those the ones that the configuration uses.
    region: u64,
    used: u64,
    beat: u64,
    block: u64,
    gearbox: Gearbox,
    request: Tick,
    response: Tick,
    peak: u64,
}

/// How column accesses become beats: a wide beat waits for its last one, narrow beats follow evenly from one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Gearbox {
    beat_shift: u32,
    atom_shift: u32,
    /// From the end of the first column access to the first beat.
    first: Tick,
    /// Distance of the beats.
    step: Tick,
}

impl Gearbox {
    fn new(beat_bytes: u64, dram: &Dram) -> Self {
        let (beat_shift, atom_shift) = (beat_bytes.ilog2(), dram.atom_bytes().ilog2());
        let atom = dram.atom_time();
        let atoms = 1 << beat_shift.saturating_sub(atom_shift);
        let beats = 1 << atom_shift.saturating_sub(beat_shift);
        let step = Tick(atom.times(atoms).0.div_ceil(beats));
        Self { beat_shift, atom_shift, first: atom.times(atoms - 1), step }
    }

    fn beats(self, bytes: u32) -> u32 {
        bytes >> self.beat_shift
    }

    /// From the end of the first column access to the first beat of a burst at an address of the DRAM.
    fn first(self, address: u64) -> Tick {
        let inside = address & ((1 << self.atom_shift) - 1);
        self.first + self.step.times(inside >> self.beat_shift)
    }
}

impl MemorySystem {
    /// The memory of a configuration: a port per channel, its clock the configuration's. With `seed` 0 all DRAM
    /// channels refresh at the same times, so that equal ports behave alike; another seed spreads them.
    ///
    /// # Errors
    /// [`MemoryError::Capacity`] when the channels do not fit, [`MemoryError::Dram`] when the clock is too slow.
    pub fn new(spec: &MemorySpec, config: &AccelConfig, seed: u64) -> Result<Self, MemoryError> {
        let (fields, clock) = (spec.fields(), config.clock());
        let shared = fields.ports == Ports::Shared;
        let count = if shared { 1 } else { config.channels() };
        let controllers: Result<Vec<_>, DramError> = (0..count)
            .map(|index| {
                let dram = Dram::new(&fields.channel, clock, refresh_phase(seed, index))?;
                Ok(Controller { dram, issued: 0, arrived: Tick(0) })
            })
            .collect();
        let controllers = controllers?;
        let (capacity, used) = (controllers[0].dram.capacity(), config.channel_capacity().get());
        let region = if shared { capacity / u64::from(config.channels()) } else { capacity };
        if used > region {
            let (config, channels) = (config.name().to_owned(), config.channels());
            let (found, memory, limit) = (used, spec.name().to_owned(), region);
            return Err(MemoryError::Capacity { config, channels, found, memory, limit });
        }
        Ok(Self {
            ports: vec![Port::default(); config.channels() as usize],
            faults: vec![Faults::default(); config.channels() as usize],
            gearbox: Gearbox::new(config.beat().get(), &controllers[0].dram),
            controllers,
            shared,
            region,
            used,
            beat: config.beat().get(),
            block: fields.burst_bytes,
            request: from_ps(fields.request_ps, clock),
            response: from_ps(fields.response_ps, clock),
            peak: fields.channel.rate_bytes_hz() * u64::from(count),
        })
    }

    /// Cuts a transfer into bursts. Address and length are whole beats, at least one, inside the channel
    /// (debug-asserted).
    #[must_use]
    pub fn split(&self, address: u64, bytes: u64) -> Bursts {
        debug_assert!(
            (address | bytes).is_multiple_of(self.beat),
            "{bytes} bytes at {address} are not whole beats"
        );
        debug_assert!(address + bytes <= self.used, "{bytes} bytes at {address} leave the channel");
        Bursts { address, end: address + bytes, block: self.block }
    }

    /// Reads a burst whose address is taken in cycle `issue`, and says when its beats arrive; `None` when the port is
    /// stuck and they never do. The beats of a port arrive in the order of its reads, and are taken at once: whoever
    /// reads has room for them.
    pub fn read(&mut self, port: u32, issue: Cycle, burst: Burst) -> Option<Arrival> {
        let index = port as usize;
        self.check_burst(burst);
        if self.faults[index].stuck(issue) {
            return None;
        }
        let state = &mut self.ports[index];
        debug_assert!(issue >= state.read_address, "one read address a cycle: {issue} at port {port}");
        state.read_address = issue + 1;
        state.counters.read_bytes += u64::from(burst.bytes);
        state.counters.read_bursts += 1;
        let at = Tick::from_cycle(issue + 1) + self.request;
        let (controller, address) = (self.controller(port), self.address(port, burst));
        let served = self.controllers[controller].serve(issue, at, address, burst.bytes, Dir::Read);
        let ready = served.first + self.gearbox.first(address) + self.response;
        let state = &mut self.ports[index];
        let start = state.read_data.max(ready.ceil_cycle());
        let (beats, step) = (self.gearbox.beats(burst.bytes), self.gearbox.step);
        let fault = self.faults[index].kind(Dir::Read, burst);
        let arrival = Arrival { start, ready, step, beats, fault };
        state.read_data = arrival.last() + 1;
        Some(arrival)
    }

    /// Writes a burst whose address and first data beat are offered in cycle `issue`, and says when its last beat is
    /// taken and its response comes; `None` when the port is stuck. Data beats go one a cycle, after those of the
    /// port's write before, and responses come one a cycle. The DRAM sees the write with its last beat; bursts after it wait for it.
    pub fn write(&mut self, port: u32, issue: Cycle, burst: Burst) -> Option<Written> {
        let index = port as usize;
        self.check_burst(burst);
        if self.faults[index].stuck(issue) {
            return None;
        }
        let state = &mut self.ports[index];
        debug_assert!(issue >= state.write_address, "one write address a cycle: {issue} at port {port}");
        state.write_address = issue + 1;
        state.write_data = state.write_data.max(issue) + u64::from(self.gearbox.beats(burst.bytes));
        state.counters.written_bytes += u64::from(burst.bytes);
        state.counters.write_bursts += 1;
        let taken = state.write_data;
        let at = Tick::from_cycle(taken) + self.request;
        let (controller, address) = (self.controller(port), self.address(port, burst));
        let served = self.controllers[controller].serve(issue, at, address, burst.bytes, Dir::Write);
        let state = &mut self.ports[index];
        let response = (served.last + self.response).ceil_cycle().max(state.response);
        state.response = response + 1;
        Some(Written { last_beat: taken - 1, response, fault: self.faults[index].kind(Dir::Write, burst) })
    }

    /// Puts a fault into the memory.
    ///
    /// # Errors
    /// [`MemoryError::Port`] or [`MemoryError::Range`] for a place that is not there.
    pub fn inject(&mut self, fault: Fault) -> Result<(), MemoryError> {
        let (found, last) = (fault.port(), self.ports.len() as u32 - 1);
        if found > last {
            return Err(MemoryError::Port { found, last });
        }
        if let Some(range) = fault.range().filter(|r| r.is_empty() || r.end > self.used) {
            return Err(MemoryError::Range { start: range.start, end: range.end, limit: self.used });
        }
        self.faults[found as usize].0.push(fault);
        Ok(())
    }

    /// What has crossed a port.
    #[must_use]
    pub fn counters(&self, port: u32) -> PortCounters {
        self.ports[port as usize].counters
    }

    /// What has happened in the DRAM channel behind a port.
    #[must_use]
    pub fn dram_counters(&self, port: u32) -> DramCounters {
        self.controllers[self.controller(port)].dram.counters()
    }

    /// Whether all ports share one DRAM channel.
    #[must_use]
    pub fn shared(&self) -> bool {
        self.shared
    }

    /// Whether two ports with DRAM channels of their own are in the same state, counters included, and have the same
    /// faults but for their place: then the same calls give the same answers.
    #[must_use]
    pub fn same_state(&self, a: u32, b: u32) -> bool {
        let (a, b) = (a as usize, b as usize);
        a == b
            || !self.shared
                && self.ports[a] == self.ports[b]
                && self.controllers[a] == self.controllers[b]
                && self.faults[a].0.is_empty()
                && self.faults[b].0.is_empty()
    }

    /// Brings a port with a DRAM channel of its own into the state of another, counters included: what would have
    /// become of it had it been used as that one was. Faults stay where they are.
    ///
    /// # Panics
    /// When the ports share a DRAM channel, in which they cannot have been used alike.
    pub fn mirror(&mut self, from: u32, to: u32) {
        assert!(!self.shared, "ports {from} and {to} share a DRAM channel");
        self.ports[to as usize] = self.ports[from as usize];
        self.controllers[to as usize] = self.controllers[from as usize].clone();
    }

    /// Peak rate of the DRAM channels together.
    #[must_use]
    pub fn peak_bytes_per_second(&self) -> u64 {
        self.peak
    }

    fn controller(&self, port: u32) -> usize {
        if self.shared { 0 } else { port as usize }
    }

    /// Address of a burst in the DRAM channel.
    fn address(&self, port: u32, burst: Burst) -> u64 {
        if self.shared { u64::from(port) * self.region + burst.addr } else { burst.addr }
    }

    fn check_burst(&self, burst: Burst) {
        let (address, bytes) = (burst.addr, u64::from(burst.bytes));
        debug_assert!(
            bytes > 0 && (address | bytes).is_multiple_of(self.beat),
            "a burst of whole beats: {burst:?}"
        );
        debug_assert!(
            address % self.block + bytes <= self.block,
            "a burst within {} bytes: {burst:?}",
            self.block
        );
        debug_assert!(address + bytes <= self.used, "a burst inside the channel: {burst:?}");
    }
}

/// How much earlier than its interval a channel's first refresh is due, in 1/65536: pseudo-random by seed and channel
/// (SplitMix64, Steele et al., OOPSLA 2014), 0 for seed 0.
fn refresh_phase(seed: u64, channel: u32) -> u16 {
    if seed == 0 {
        return 0;
    }
    let mut z = seed.wrapping_add((u64::from(channel) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 48) as u16
}
