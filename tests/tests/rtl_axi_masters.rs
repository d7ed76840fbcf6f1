//! The masters of a memory channel against a memory that is as irregular as AXI4 allows.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::AccelConfig;
use fastcar_hw::axi::bursts::WAITING;
use fastcar_hw::axi::{BurstPort, ReadMaster, WriteMaster};
use fastcar_hw::rtl::{Bits, Block, RtlError, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl, accept, gather, skipped};
use std::collections::VecDeque;

const TAG: u32 = 4;
const BEAT: u64 = 16;
const BURST: u64 = 1024 / BEAT;
const BURSTS: u64 = 8;
const BASE: u64 = 0x12_3456_7000;

fn port() -> Result<BurstPort, RtlError> {
    BurstPort::reads(&AccelConfig::preset("tiny").unwrap(), TAG)
}

/// A burst: local address in beats, number of beats, tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Burst {
    address: u64,
    beats: u64,
    tag: u64,
}

impl Burst {
    /// Any burst within 1 KB; often whole, single or up to the border.
    fn random(random: &mut Random, address_bits: u32) -> Self {
        let block = random.bits(address_bits).to_u64().unwrap() / BURST * BURST;
        let (first, beats) = match random.below(5) {
            0 => (0, BURST),
            1 => (random.below(BURST), 1),
            2 => {
                let first = random.below(BURST);
                (first, BURST - first)
            }
            _ => {
                let first = random.below(BURST);
                (first, 1 + random.below((BURST - first).min(6)))
            }
        };
        Self { address: block + first, beats, tag: random.below(1 << TAG) }
    }

    fn data(self, address_bits: u32) -> u64 {
        (self.tag << 6 | (self.beats - 1)) << address_bits | self.address
    }
}

/// The request side: what is offered stays; what was taken, with its cycle.
struct Requests {
    prefix: &'static str,
    gaps: Gaps,
    offered: Option<Burst>,
}

impl Requests {
    fn drive(&mut self, dut: &mut Rtl, bits: u32, random: &mut Random) -> Option<Burst> {
        if self.offered.is_none() && self.gaps.next(random) {
            self.offered = Some(Burst::random(random, bits));
        }
        dut.set(&format!("{}_req_valid_i", self.prefix), self.offered.is_some());
        let shown = self.offered.unwrap_or_else(|| Burst::random(random, bits));
        dut.set(&format!("{}_req_data_i", self.prefix), shown.data(bits));
        if dut.is_set(&format!("{}_req_ready_o", self.prefix)) { self.offered.take() } else { None }
    }
}

/// What the address channel has to show: a request some cycles after it was taken, until the slave takes it.
struct Addresses {
    channel: &'static str,
    waiting: VecDeque<(u64, Burst)>,
}

impl Addresses {
    fn check(&mut self, dut: &mut Rtl, ready: bool, latency: u64) -> Option<Burst> {
        let due = self.waiting.front().filter(|(at, _)| at + latency <= dut.cycle()).map(|(_, burst)| *burst);
        let name = |port: &str| format!("{}{port}_o", self.channel);
        assert_eq!(dut.is_set(&name("valid")), due.is_some(), "{} in cycle {}", self.channel, dut.cycle());
        let burst = due?;
        let shown = ["addr", "len", "size", "burst", "cache", "prot"].map(|port| dut.get(&name(port)));
        let expected = [BASE + burst.address * BEAT, burst.beats - 1, BEAT.ilog2().into(), 1, 3, 0];
        assert_eq!(shown, expected, "{} in cycle {}", self.channel, dut.cycle());
        if !ready {
            return None;
        }
        self.waiting.pop_front();
        Some(burst)
    }
}

fn module() -> Result<std::sync::Arc<fastcar_hw::rtl::Module>, Box<dyn std::error::Error>> {
    let port = port()?;
    let parts = [("r", ReadMaster::new(port).module()?), ("w", WriteMaster::new(port).module()?)];
    Ok(gather("axi_masters", &parts)?)
}

/// A beat's contents in the model: told by the device address and a count of writes.
fn beat_of(random: &mut Random) -> Bits {
    random.bits(8 * BEAT as u32)
}

/// A beat to write, and which of its bytes.
fn written(random: &mut Random) -> Bits {
    random.bits(9 * BEAT as u32)
}

/// Percentages: of requests, of the slave taking addresses, of beats, and so on.
struct Pace {
    requests: u64,
    addresses: u64,
    beats: u64,
    /// Acknowledgements; reads have none.
    answers: u64,
    errors: u64,
}

/// The model of reads: bursts by what has happened to them.
struct Reads {
    requests: Requests,
    addresses: Addresses,
    /// Addresses taken by the slave; beats given of the first.
    taken: VecDeque<Burst>,
    given: u64,
    asked: u64,
    ended: u64,
    expected: Option<(fastcar_hw::rtl::Bits, u64, bool)>,
    error: Option<(u64, u64)>,
    beats: u64,
}

impl Reads {
    fn new(percent: u64) -> Self {
        Self {
            requests: Requests { prefix: "r", gaps: Gaps::new(percent), offered: None },
            addresses: Addresses { channel: "r_axi_ar", waiting: VecDeque::new() },
            taken: VecDeque::new(),
            given: 0,
            asked: 0,
            ended: 0,
            expected: None,
            error: None,
            beats: 0,
        }
    }

    /// The outputs of this cycle, which follow from what came in the one before.
    fn check_beat(&mut self, dut: &mut Rtl) {
        let cycle = dut.cycle();
        assert_eq!(dut.is_set("r_beat_valid_o"), self.expected.is_some(), "cycle {cycle}");
        if let Some((data, tag, last)) = self.expected.take() {
            assert_eq!(dut.bits("r_beat_data_o"), data, "cycle {cycle}");
            assert_eq!((dut.get("r_beat_tag_o"), dut.is_set("r_beat_last_o")), (tag, last), "cycle {cycle}");
        }
        assert_eq!(dut.get("r_under_way_o"), self.asked - self.ended, "cycle {cycle}");
        assert_eq!(dut.is_set("r_error_valid_o"), self.error.is_some(), "cycle {cycle}");
        if let Some(error) = self.error {
            assert_eq!((dut.get("r_error_address_o"), dut.get("r_error_response_o")), error, "cycle {cycle}");
        }
        assert!(dut.is_set("r_axi_rready_o"));
    }

    /// The slave's side of this cycle.
    fn respond(&mut self, dut: &mut Rtl, random: &mut Random, willing: bool, errors: u64, clear: bool) {
        let data = beat_of(random);
        dut.set("r_axi_rdata_i", &data);
        let burst = self.taken.front().copied().filter(|_| willing);
        dut.set("r_axi_rvalid_i", burst.is_some());
        let at_end = burst.is_some_and(|burst| self.given + 1 == burst.beats);
        let response = if random.chance(errors) { random.below(4) } else { random.below(2) };
        // An end where none is, or none where it is.
        let wrong_end = random.chance(errors);
        dut.set("r_axi_rresp_i", response);
        dut.set("r_axi_rlast_i", at_end != wrong_end);
        dut.set("r_clear_i", clear);
        if clear {
            self.error = None;
        }
        let Some(burst) = burst else { return };
        self.expected = Some((data, burst.tag, at_end));
        self.beats += 1;
        self.given += 1;
        if response >= 2 || wrong_end {
            let response = if response >= 2 { response } else { 2 };
            self.error = self.error.or(Some((burst.address, response)));
        }
        if at_end {
            self.taken.pop_front();
            (self.given, self.ended) = (0, self.ended + 1);
        }
    }
}

fn reads(dut: &mut Rtl, random: &mut Random, cover: &mut Cover, cycles: u64, pace: &Pace) -> Reads {
    let bits = port().unwrap().address_bits();
    let mut model = Reads::new(pace.requests);
    let (mut address_gaps, mut beat_gaps) = (Gaps::new(pace.addresses), Gaps::new(pace.beats));
    for _ in 0..cycles {
        model.check_beat(dut);
        let ready = address_gaps.next(random);
        dut.set("r_axi_arready_i", ready);
        let room = model.asked - model.ended < BURSTS;
        let refused_late = model.addresses.waiting.len();
        let sent = model.addresses.check(dut, ready, ReadMaster::ADDRESS_LATENCY);
        let clear = random.chance(pace.errors);
        let had = model.error;
        let willing = beat_gaps.next(random);
        model.respond(dut, random, willing, pace.errors, clear);
        cover.hit("error", had.is_none() && model.error.is_some());
        cover.hit("second error", had.is_some() && model.error == had);
        let cycle = dut.cycle();
        let offered = model.requests.offered.is_some();
        let taken = model.requests.drive(dut, bits, random);
        // Taken as soon as there is room: fewer than all under way, fewer addresses waiting than are held.
        if offered || taken.is_some() {
            assert_eq!(taken.is_some(), room && refused_late < WAITING as usize, "cycle {cycle}");
        }
        cover.hit("all under way", !room);
        cover.hit("address stalled", refused_late == WAITING as usize);
        if let Some(burst) = taken {
            cover.hit("whole burst", burst.beats == BURST);
            cover.hit("single beat", burst.beats == 1);
            model.asked += 1;
            model.addresses.waiting.push_back((cycle, burst));
        }
        dut.tick();
        model.taken.extend(sent);
    }
    model
}

#[test]
fn reads_give_every_beat_with_its_tag() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let module = module()?;
    accept(&emit(&module)?)?;
    let mut dut = Rtl::beside_native(&module)?;
    let mut random = Random::new(11);
    let bins = ["error", "second error", "all under way", "address stalled", "whole burst", "single beat"];
    let mut cover = Cover::new(&bins);
    for (requests, addresses, beats) in [(90, 90, 90), (50, 50, 50), (90, 20, 90), (20, 90, 90)] {
        idle(&mut dut);
        let pace = Pace { requests, addresses, beats, answers: 0, errors: 3 };
        let model = reads(&mut dut, &mut random, &mut cover, 4000, &pace);
        assert!(model.beats > 400, "{} beats", model.beats);
    }
    cover.assert(50);
    Ok(())
}

/// All inputs as nobody asks for anything, and a reset.
fn idle(dut: &mut Rtl) {
    let inputs: Vec<_> = dut.inputs().map(|(name, width)| (name.to_string(), width)).collect();
    for (name, width) in inputs {
        dut.set(&name, fastcar_hw::rtl::Bits::zero(width));
    }
    dut.set("r_base_i", BASE);
    dut.set("w_base_i", BASE);
    dut.reset();
}

/// The model of writes.
struct Writes {
    requests: Requests,
    addresses: Addresses,
    /// Requests whose data has not all been taken, and beats taken of the first.
    open: VecDeque<Burst>,
    entered: u64,
    /// Beats taken and not yet on the bus, with the cycle and whether each is the last of its burst.
    beats: VecDeque<(u64, fastcar_hw::rtl::Bits, bool)>,
    /// Addresses that the slave has, bursts whose data it has, bursts acknowledged.
    sent: u64,
    filled: u64,
    bursts: VecDeque<Burst>,
    asked: u64,
    ended: u64,
    acknowledged: Option<u64>,
    error: Option<(u64, u64)>,
    moved: u64,
    offered: Option<fastcar_hw::rtl::Bits>,
}

impl Writes {
    fn new(percent: u64) -> Self {
        Self {
            requests: Requests { prefix: "w", gaps: Gaps::new(percent), offered: None },
            addresses: Addresses { channel: "w_axi_aw", waiting: VecDeque::new() },
            open: VecDeque::new(),
            entered: 0,
            beats: VecDeque::new(),
            sent: 0,
            filled: 0,
            bursts: VecDeque::new(),
            asked: 0,
            ended: 0,
            acknowledged: None,
            error: None,
            moved: 0,
            offered: None,
        }
    }

    fn check(&mut self, dut: &mut Rtl) {
        let cycle = dut.cycle();
        assert_eq!(dut.is_set("w_ack_valid_o"), self.acknowledged.is_some(), "cycle {cycle}");
        if let Some(tag) = self.acknowledged.take() {
            assert_eq!(dut.get("w_ack_tag_o"), tag, "cycle {cycle}");
        }
        assert_eq!(dut.get("w_under_way_o"), self.asked - self.ended, "cycle {cycle}");
        assert_eq!(dut.is_set("w_error_valid_o"), self.error.is_some(), "cycle {cycle}");
        if let Some(error) = self.error {
            assert_eq!((dut.get("w_error_address_o"), dut.get("w_error_response_o")), error, "cycle {cycle}");
        }
        assert!(dut.is_set("w_axi_bready_o"));
    }

    /// The data channel; gives whether a burst's last beat has passed.
    fn check_data(&mut self, dut: &mut Rtl, ready: bool) -> bool {
        let cycle = dut.cycle();
        let due = self.beats.front().filter(|(at, ..)| at + WriteMaster::BEAT_LATENCY <= cycle).cloned();
        assert_eq!(dut.is_set("w_axi_wvalid_o"), due.is_some(), "cycle {cycle}");
        let Some((_, data, last)) = due else { return false };
        let found = Bits::concat(&[dut.bits("w_axi_wstrb_o"), dut.bits("w_axi_wdata_o")]);
        assert_eq!(found, data, "cycle {cycle}");
        assert_eq!(dut.is_set("w_axi_wlast_o"), last, "cycle {cycle}");
        if ready {
            self.beats.pop_front();
            self.moved += 1;
        }
        ready && last
    }

    /// The source of data in this cycle; `waiting` beats were not on the bus yet, `open` bursts wanted data.
    fn offer(&mut self, dut: &mut Rtl, random: &mut Random, willing: bool, waiting: usize) {
        if self.offered.is_none() && willing {
            self.offered = Some(written(random));
        }
        dut.set("w_data_valid_i", self.offered.is_some());
        let shown = self.offered.clone().unwrap_or_else(|| written(random));
        dut.set("w_data_data_i", &shown);
        let wanted = !self.open.is_empty() && waiting < 2;
        assert_eq!(dut.is_set("w_data_ready_o"), wanted, "cycle {}", dut.cycle());
        if !wanted || self.offered.take().is_none() {
            return;
        }
        self.entered += 1;
        let last = self.entered == self.open[0].beats;
        if last {
            self.open.pop_front();
            self.entered = 0;
        }
        self.beats.push_back((dut.cycle(), shown, last));
    }

    /// An acknowledgement of a burst whose address and data are there.
    fn acknowledge(&mut self, dut: &mut Rtl, random: &mut Random, willing: bool, errors: u64, clear: bool) {
        let valid = willing && self.ended < self.sent.min(self.filled);
        let response = if random.chance(errors) { random.below(4) } else { random.below(2) };
        dut.set("w_axi_bvalid_i", valid);
        dut.set("w_axi_bresp_i", response);
        dut.set("w_clear_i", clear);
        if clear {
            self.error = None;
        }
        if valid {
            let burst = self.bursts.pop_front().unwrap();
            self.ended += 1;
            self.acknowledged = Some(burst.tag);
            if response >= 2 {
                self.error = self.error.or(Some((burst.address, response)));
            }
        }
    }
}

fn writes(dut: &mut Rtl, random: &mut Random, cover: &mut Cover, cycles: u64, pace: &Pace) -> Writes {
    let bits = port().unwrap().address_bits();
    let mut model = Writes::new(pace.requests);
    let mut gaps = [pace.addresses, pace.beats, pace.beats, pace.answers].map(Gaps::new);
    for _ in 0..cycles {
        model.check(dut);
        let willing = gaps.each_mut().map(|gaps| gaps.next(random));
        dut.set("w_axi_awready_i", willing[0]);
        dut.set("w_axi_wready_i", willing[1]);
        let (room, waiting) = (model.asked - model.ended < BURSTS, model.beats.len());
        let (addresses, open) = (model.addresses.waiting.len(), model.open.len());
        let sent = model.addresses.check(dut, willing[0], WriteMaster::ADDRESS_LATENCY);
        let filled = model.check_data(dut, willing[1]);
        let (clear, had) = (random.chance(pace.errors), model.error);
        model.acknowledge(dut, random, willing[3], pace.errors, clear);
        cover.hit("error", had.is_none() && model.error.is_some());
        model.offer(dut, random, willing[2], waiting);
        let taken = model.requests.drive(dut, bits, random);
        if model.requests.offered.is_some() || taken.is_some() {
            let free = room && addresses < WAITING as usize && open < WriteMaster::AHEAD as usize;
            assert_eq!(taken.is_some(), free, "cycle {}", dut.cycle());
        }
        cover.hit("all under way", !room);
        cover.hit("data behind", open == WriteMaster::AHEAD as usize);
        cover.hit("address stalled", addresses == WAITING as usize);
        cover.hit("data before its address", model.filled > model.sent);
        if let Some(burst) = taken {
            model.asked += 1;
            model.addresses.waiting.push_back((dut.cycle(), burst));
            model.open.push_back(burst);
            model.bursts.push_back(burst);
        }
        dut.tick();
        model.sent += u64::from(sent.is_some());
        model.filled += u64::from(filled);
    }
    model
}

#[test]
fn writes_arrive_once_and_are_acknowledged_in_order() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::beside_native(&module()?)?;
    let mut random = Random::new(12);
    let bins = ["error", "all under way", "data behind", "address stalled", "data before its address"];
    let mut cover = Cover::new(&bins);
    let paces = [
        (90, 90, 90, 90),
        (50, 50, 50, 50),
        (90, 20, 90, 90),
        (90, 90, 30, 90),
        (20, 90, 90, 90),
        (90, 90, 100, 4),
    ];
    for (requests, addresses, beats, answers) in paces {
        idle(&mut dut);
        let pace = Pace { requests, addresses, beats, answers, errors: 20 };
        let model = writes(&mut dut, &mut random, &mut cover, 4000, &pace);
        assert!(model.moved > 400, "{} beats", model.moved);
    }
    cover.assert(50);
    Ok(())
}

/// A memory that never makes anybody wait: a beat passes in every cycle from the first one on, across bursts of any length.
#[test]
fn a_beat_a_cycle_is_sustained() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build(&module()?)?;
    let mut random = Random::new(13);
    let mut cover = Cover::new(&[
        "error",
        "second error",
        "all under way",
        "address stalled",
        "whole burst",
        "single beat",
        "data behind",
        "data before its address",
    ]);
    let pace = Pace { requests: 100, addresses: 100, beats: 100, answers: 100, errors: 0 };
    let cycles = 5000;
    idle(&mut dut);
    // Request, two registers, beat: the first beat passes in the fourth cycle.
    let model = reads(&mut dut, &mut random, &mut cover, cycles, &pace);
    assert_eq!(model.beats, cycles - 3);
    idle(&mut dut);
    // Request, its data, the bus.
    let model = writes(&mut dut, &mut random, &mut cover, cycles, &pace);
    assert_eq!(model.moved, cycles - 2);
    Ok(())
}

#[test]
fn parameters_are_checked() {
    let texts = [
        BurstPort::new(24, 20, 8, 1),
        BurstPort::new(256, 20, 8, 1),
        BurstPort::new(64, 6, 8, 1),
        BurstPort::new(64, 59, 8, 1),
        BurstPort::new(64, 20, 0, 1),
        BurstPort::new(64, 20, 8, 0),
    ]
    .map(|port| port.unwrap_err().to_string());
    assert_eq!(
        texts,
        [
            "axi master: beat_bytes is 24; it must be a power of two from 4 to 128",
            "axi master: beat_bytes is 256; it must be a power of two from 4 to 128",
            "axi master: address is 6; it must be more bits than a page has beats, and 64 bits at most in bytes",
            "axi master: address is 59; it must be more bits than a page has beats, and 64 bits at most in bytes",
            "axi master: bursts is 0; it must be 1 to 65536",
            "axi master: tag is 0; it must be 1 to 524288 bits",
        ]
    );
}
