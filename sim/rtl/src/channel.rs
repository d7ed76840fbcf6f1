//! A channel's side of AXI: the simulator's memory says when, and the bytes lie here.

use crate::dut::{Input, Output, Rtl};
use crate::error::RunError;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::regs;
use fastcar_sim::memory::{Burst, MemorySystem};
use std::collections::VecDeque;

/// Device address of a channel's local byte 0: another one for each, all on pages.
pub(crate) fn base(channel: usize) -> u64 {
    (channel as u64 + 1) << 40 | 0x5000
}

/// OKAY and SLVERR.
const RESPONSES: [u64; 2] = [0, 2];

/// Ports of the core, or of the kernel.
struct Signals {
    rvalid: Input,
    rdata: Input,
    rlast: Input,
    rresp: Input,
    bvalid: Input,
    bresp: Input,
    arvalid: Output,
    araddr: Output,
    arlen: Output,
    awvalid: Output,
    awaddr: Output,
    awlen: Output,
    wvalid: Output,
    wdata: Output,
    wstrb: Output,
}

impl Signals {
    fn new(dut: &mut Rtl, channel: usize, kernel: bool) -> Self {
        let name = |signal: &str| match signal.rsplit_once('_') {
            Some((signal, _)) if kernel => {
                format!("{}_{}", regs::port(channel as u32), signal.to_uppercase())
            }
            _ => format!("m{channel}_axi_{signal}"),
        };
        // This side is always ready: what it has no time for, the memory's answer waits for.
        ["arready_i", "awready_i", "wready_i"].iter().for_each(|signal| dut.set(&name(signal), true));
        let input = |signal: &str| dut.input(&name(signal));
        let output = |signal: &str| dut.output(&name(signal));
        Self {
            rvalid: input("rvalid_i"),
            rdata: input("rdata_i"),
            rlast: input("rlast_i"),
            rresp: input("rresp_i"),
            bvalid: input("bvalid_i"),
            bresp: input("bresp_i"),
            arvalid: output("arvalid_o"),
            araddr: output("araddr_o"),
            arlen: output("arlen_o"),
            awvalid: output("awvalid_o"),
            awaddr: output("awaddr_o"),
            awlen: output("awlen_o"),
            wvalid: output("wvalid_o"),
            wdata: output("wdata_o"),
            wstrb: output("wstrb_o"),
        }
    }
}

/// A beat on its way.
struct Beat {
    cycle: u64,
    at: u64,
    last: bool,
    response: u64,
}

/// A channel.
pub(crate) struct Channel {
    number: usize,
    beat: u64,
    capacity: u64,
    signals: Signals,
    pub bytes: Vec<u8>,
    beats: VecDeque<Beat>,
    /// Bursts whose data comes: place of the next beat, beats left.
    writes: VecDeque<(u64, u64)>,
    /// Cycle and response.
    responses: VecDeque<(u64, u64)>,
    /// The last cycle in which something crossed the bus.
    pub moved: u64,
}

impl Channel {
    pub(crate) fn new(dut: &mut Rtl, config: &AccelConfig, number: usize, kernel: bool) -> Self {
        Self {
            number,
            beat: config.beat().get(),
            capacity: config.channel_capacity().get(),
            signals: Signals::new(dut, number, kernel),
            bytes: Vec::new(),
            beats: VecDeque::new(),
            writes: VecDeque::new(),
            responses: VecDeque::new(),
            moved: 0,
        }
    }

    /// All channels of a device.
    pub(crate) fn all(dut: &mut Rtl, config: &AccelConfig, kernel: bool) -> Vec<Self> {
        (0..config.channels() as usize).map(|number| Self::new(dut, config, number, kernel)).collect()
    }

    /// Puts bytes into memory, which becomes as long as they need.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        let end = at as usize + bytes.len();
        self.bytes.resize(self.bytes.len().max(end), 0);
        self.bytes[at as usize..end].copy_from_slice(bytes);
    }

    /// A run begins.
    pub(crate) fn begin(&mut self) {
        self.moved = 0;
    }

    /// Gives the data and the response that are due in this cycle.
    pub(crate) fn drive(&mut self, dut: &mut Rtl, now: u64) {
        let Signals { rvalid, rdata, rlast, rresp, bvalid, bresp, .. } = self.signals;
        let due = self.beats.pop_front_if(|beat| beat.cycle == now);
        dut.put_word(rvalid, due.is_some().into());
        if let Some(Beat { at, last, response, .. }) = due {
            let end = (at + self.beat) as usize;
            self.bytes.resize(self.bytes.len().max(end), 0);
            dut.put(rdata, &self.bytes[at as usize..end]);
            dut.put_word(rlast, last.into());
            dut.put_word(rresp, response);
            self.moved = now;
        }
        let due = self.responses.pop_front_if(|response| response.0 == now);
        dut.put_word(bvalid, due.is_some().into());
        dut.put_word(bresp, due.map_or(0, |due| due.1));
    }

    /// Takes the addresses and the data of this cycle.
    ///
    /// # Errors
    /// They are none that a master may send.
    pub(crate) fn take(
        &mut self,
        dut: &mut Rtl,
        now: u64,
        memory: &mut MemorySystem,
    ) -> Result<(), RunError> {
        if dut.word(self.signals.arvalid) != 0 {
            self.take_read(dut, now, memory)?;
        }
        if dut.word(self.signals.awvalid) != 0 {
            self.take_write(dut, now, memory)?;
        }
        if dut.word(self.signals.wvalid) != 0 {
            self.take_data(dut, now)?;
        }
        Ok(())
    }

    fn take_read(&mut self, dut: &mut Rtl, now: u64, memory: &mut MemorySystem) -> Result<(), RunError> {
        let burst = self.burst(now, dut.word(self.signals.araddr), dut.word(self.signals.arlen))?;
        let Some(arrival) = memory.read(self.number as u32, now, burst) else { return Ok(()) };
        let response = RESPONSES[usize::from(arrival.fault().is_some())];
        let beats = (0..arrival.beats()).map(|i| Beat {
            cycle: arrival.beat(i),
            at: burst.addr + u64::from(i) * self.beat,
            last: i + 1 == arrival.beats(),
            response,
        });
        self.beats.extend(beats);
        Ok(())
    }

    fn take_write(&mut self, dut: &mut Rtl, now: u64, memory: &mut MemorySystem) -> Result<(), RunError> {
        let burst = self.burst(now, dut.word(self.signals.awaddr), dut.word(self.signals.awlen))?;
        if let Some(written) = memory.write(self.number as u32, now, burst) {
            let response = RESPONSES[usize::from(written.fault.is_some())];
            self.responses.push_back((written.response, response));
            self.writes.push_back((burst.addr, u64::from(burst.bytes) / self.beat));
        }
        Ok(())
    }

    fn take_data(&mut self, dut: &mut Rtl, now: u64) -> Result<(), RunError> {
        let Some((at, left)) = self.writes.pop_front() else {
            return Err(self.wrong(now, "data without an address".to_owned()));
        };
        let end = at + self.beat;
        self.bytes.resize(self.bytes.len().max(end as usize), 0);
        let mask: Vec<u8> = dut.bytes(self.signals.wstrb).to_vec();
        let data = dut.bytes(self.signals.wdata);
        for (byte, to) in self.bytes[at as usize..end as usize].iter_mut().enumerate() {
            if mask[byte / 8] >> (byte % 8) & 1 == 1 {
                *to = data[byte];
            }
        }
        if left > 1 {
            self.writes.push_front((end, left - 1));
        }
        self.moved = now;
        Ok(())
    }

    /// The burst of an address and a length, which have to be within the channel.
    fn burst(&self, now: u64, addr: u64, len: u64) -> Result<Burst, RunError> {
        let bytes = (len + 1) * self.beat;
        let local = addr.checked_sub(base(self.number)).filter(|local| local + bytes <= self.capacity);
        let wrong = || self.wrong(now, format!("a burst of {bytes} bytes at {addr:#x} leaves the channel"));
        Ok(Burst { addr: local.ok_or_else(wrong)?, bytes: bytes as u32 })
    }

    /// Nothing is on the bus any more.
    pub(crate) fn drop_all(&mut self, dut: &mut Rtl) {
        self.beats.clear();
        self.writes.clear();
        self.responses.clear();
        [self.signals.rvalid, self.signals.bvalid].iter().for_each(|valid| dut.put_word(*valid, 0));
    }

    /// A run leaves nothing on the bus: no burst without all its data, no answer that is still to come.
    ///
    /// # Errors
    /// It has.
    pub(crate) fn check_quiet(&self, now: u64) -> Result<(), RunError> {
        let owed: u64 = self.writes.iter().map(|write| write.1).sum();
        match (self.beats.len(), owed, self.responses.len()) {
            (0, 0, 0) => Ok(()),
            (beats, owed, responses) => Err(self.wrong(
                now,
                format!(
                    "the run has ended with {beats} beats and {responses} responses to come, {owed} beats owed"
                ),
            )),
        }
    }

    fn wrong(&self, cycle: u64, what: String) -> RunError {
        RunError::Bus { channel: self.number, cycle, what }
    }
}
