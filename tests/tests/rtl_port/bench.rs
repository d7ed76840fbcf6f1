//! The module beside the model, both under the same random demand.

use super::{BASE, NUMBERS, QUEUES, contents, guard_bits, segment_word};
use fastcar_arch::config::{AccelConfig, BURST_BYTES};
use fastcar_arch::timing::{HOP, PORT_ISSUE, PORT_RETURN, WRITERS};
use fastcar_hw::port::{Port, WRITER_BITS};
use fastcar_hw::rtl::Bits;
use fastcar_sim::memory::{Arrival, Burst, Fault, MemorySpec, MemorySystem, Written};
use fastcar_sim::port::{self as model, Decision, Hold, Item, Segment, Writer};
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl};
use std::collections::VecDeque;

/// What a test has to come by.
pub const BINS: [&str; 14] = [
    "control",
    "record",
    "main",
    "ahead",
    "cut at a border",
    "single beat",
    "write while draining",
    "write that a read waits for",
    "write in a gap",
    "no room",
    "guard",
    "all places taken",
    "taken as it came",
    "room is wanted",
];

/// What is wrong on purpose, between the test and the module: each has to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    None,
    /// The buffer's room is another.
    Room,
    /// Another number of bursts may be under way.
    Bursts,
    /// Main and read-ahead queue take each other's place.
    Priority,
    /// Reads wait for no writes.
    Guard,
    /// Nobody says that room is waited for.
    Drain,
    /// A writer closes one too late.
    Writer,
}

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Of a thousand cycles those in which a queue with little to do gets more, by queue.
    pub reads: [u64; 4],
    /// Of a thousand cycles those in which a writer comes, if few wait.
    pub writes: u64,
    /// Percent of cycles in which the consumers are willing.
    pub taken: u64,
    /// Cycles for which a beat is used, at most.
    pub pace: u64,
    /// Percent of cycles with somebody waiting for room.
    pub drain: u64,
}

/// A segment on its way to the module.
#[derive(Clone, Copy)]
struct Offer {
    from: u64,
    parts: (u64, u64, u64),
}

/// A job of a writer: what it writes, and whether the writer closes with it.
struct Job {
    segments: Vec<Segment>,
    beats: u64,
    closes: bool,
    /// Segments that the module has taken, beats that it has.
    segments_in: usize,
    beats_in: u64,
}

/// Something that happens to the model in a cycle.
enum Event {
    Write(u64, Vec<Segment>),
    Close(usize),
}

pub struct Bench {
    random: Random,
    config: AccelConfig,
    beat: u64,
    mutant: Mutant,
    model: model::Port<u64>,
    model_memory: MemorySystem,
    memory: MemorySystem,
    labels: u64,
    // Reads.
    offers: [VecDeque<Offer>; 4],
    walked: [u64; 4],
    queued: [u64; 4],
    guards: Vec<(u64, u64)>,
    addresses: VecDeque<(u64, Burst)>,
    beats: VecDeque<(u64, u64, bool, u64)>,
    control: VecDeque<(u64, u64)>,
    expected: [VecDeque<u64>; 4],
    busy: [u64; 4],
    frees: [VecDeque<(u64, bool)>; 4],
    // Writes.
    writer: u64,
    jobs: VecDeque<Job>,
    data: VecDeque<Bits>,
    outstanding: u64,
    outstanding_jobs: VecDeque<u64>,
    events: VecDeque<(u64, Event)>,
    write_addresses: VecDeque<(u64, Burst)>,
    data_ends: VecDeque<(u64, u64)>,
    responses: VecDeque<(u64, u64)>,
    jobs_due: VecDeque<u64>,
    drain: Gaps,
    wanted: bool,
    pub errors: [Option<u64>; 2],
    faults_due: [VecDeque<(u64, u64)>; 2],
    pub moved: (u64, u64),
}

macro_rules! same {
    ($cycle:expr, $what:expr, $found:expr, $expected:expr) => {
        let (found, expected) = ($found, $expected);
        if found != expected {
            return Err(format!("cycle {}: {}: {:?}, the model has {:?}", $cycle, $what, found, expected));
        }
    };
}

impl Bench {
    pub fn new(seed: u64, config: &AccelConfig, spec: &MemorySpec, mutant: Mutant, faults: &[Fault]) -> Self {
        let mut fields = config.fields().clone();
        match mutant {
            Mutant::Room => fields.main_beats += 1,
            Mutant::Bursts => fields.read_bursts += 1,
            _ => {}
        }
        let modelled = AccelConfig::new(fields).unwrap();
        let mut memory = MemorySystem::new(spec, config, seed).unwrap();
        faults.iter().for_each(|fault| memory.inject(fault.clone()).unwrap());
        Self {
            random: Random::new(seed),
            beat: config.beat().get(),
            config: config.clone(),
            mutant,
            model: model::Port::new(&modelled, 0, 1),
            model_memory: memory.clone(),
            memory,
            labels: 0,
            offers: Default::default(),
            walked: [0; 4],
            queued: [0; 4],
            guards: Vec::new(),
            addresses: VecDeque::new(),
            beats: VecDeque::new(),
            control: VecDeque::new(),
            expected: Default::default(),
            busy: [0; 4],
            frees: Default::default(),
            writer: 0,
            jobs: VecDeque::new(),
            data: VecDeque::new(),
            outstanding: 0,
            outstanding_jobs: VecDeque::new(),
            events: VecDeque::new(),
            write_addresses: VecDeque::new(),
            data_ends: VecDeque::new(),
            responses: VecDeque::new(),
            jobs_due: VecDeque::new(),
            drain: Gaps::new(0),
            wanted: false,
            errors: [None; 2],
            faults_due: Default::default(),
            moved: (0, 0),
        }
    }

    /// Which of the module's queues stands for one of the model's.
    fn name(&self, queue: usize) -> &'static str {
        let swapped = self.mutant == Mutant::Priority && queue >= 2;
        QUEUES[if swapped { 5 - queue } else { queue }]
    }

    /// Whether a queue's reads may be guarded.
    fn guarded(&self, queue: usize) -> bool {
        queue == 1 || queue == 2 && self.mutant != Mutant::Priority
    }

    /// A run of beats: often single, whole or across a border.
    fn segment(&mut self, most: u64, guarded: bool) -> Segment {
        let burst = BURST_BYTES / self.beat;
        let block = self.random.below(1 << 9) * burst;
        let (first, beats) = match self.random.below(5) {
            0 => (0, burst),
            1 => (self.random.below(burst), 1),
            2 => (burst - 1, 2),
            3 => (0, 1 + self.random.below(8 * burst)),
            _ => (self.random.below(burst), 1 + self.random.below(3 * burst)),
        };
        let beats = beats.min(most);
        Segment { addr: (block + first) * self.beat, bytes: beats * self.beat, pace: 1, spare: 0, guarded }
    }

    /// A segment's first beat, beats, and what stands above.
    fn parts(&self, segment: &Segment, note: u64) -> (u64, u64, u64) {
        (segment.addr / self.beat, segment.bytes / self.beat, note)
    }

    /// More for a queue to read.
    fn ask(&mut self, queue: usize, now: u64) {
        let count = 1 + self.random.below(4);
        let acknowledged = self.model.acknowledged(0, now).map_or(0, |w| w as u64 + 1);
        // A writer that is open, one that opens soon, or one that is through.
        let guard = acknowledged + self.random.below(4);
        let guard = (self.guarded(queue) && self.random.chance(15)).then(|| guard.max(1) - 1);
        let mut segments = Vec::new();
        for _ in 0..count {
            let guarded = guard.is_some() && self.random.chance(70);
            segments.push(self.segment(u64::MAX, guarded));
        }
        self.labels += 1;
        let label = self.labels * 4 + queue as u64;
        let from = now.max(self.walked[queue]);
        for (segment, from) in segments.iter().zip(from..) {
            let mut note = (guard.unwrap_or(0) % NUMBERS) | (u64::from(segment.guarded) << WRITER_BITS);
            if self.mutant == Mutant::Guard {
                note = 0;
            }
            self.offers[queue].push_back(Offer { from, parts: self.parts(segment, note) });
        }
        self.walked[queue] = from + count;
        self.queued[queue] += 1;
        if let Some(guard) = guard {
            self.guards.push((label, guard));
        }
        let after = guard.map(|guard| Writer { wave: 0, command: guard as usize });
        let item = Item { label, segments: segments.into(), ready: from + Port::SEGMENT_LATENCY, after };
        self.model.read(queue, item);
    }

    /// A new writer with all its jobs, if one may open.
    fn open_writer(&mut self, now: u64) {
        let acknowledged = self.model.acknowledged(0, now).map_or(0, |w| w as u64 + 1);
        let oldest = self.guards.iter().map(|guard| guard.1).min().unwrap_or(u64::MAX);
        let span = WRITERS as u64;
        if self.writer + 1 - acknowledged >= span || self.writer >= oldest.saturating_add(span - 1) {
            return;
        }
        let jobs = self.random.below(4);
        for job in 0..jobs {
            let count = 1 + self.random.below(4);
            // Mostly short, else those that wait for a writer would wait for its data.
            let most = if self.random.chance(10) { u64::from(self.config.write_beats()) / 8 } else { 8 };
            let segments: Vec<Segment> = (0..count).map(|_| self.segment(most, false)).collect();
            let beats = segments.iter().map(|s| s.bytes / self.beat).sum();
            let closes = job + 1 == jobs && self.random.chance(70);
            self.jobs.push_back(Job { segments, beats, closes, segments_in: 0, beats_in: 0 });
        }
        if !self.jobs.back().is_some_and(|job| job.closes && jobs > 0) {
            let nothing = Job { segments: Vec::new(), beats: 0, closes: true, segments_in: 0, beats_in: 0 };
            self.jobs.push_back(nothing);
        }
        self.writer += 1;
    }

    fn drive_reads(&mut self, dut: &mut Rtl, now: u64, pace: &Pace) {
        for queue in 0..4 {
            if self.queued[queue] < 6 && self.random.below(1000) < pace.reads[queue] {
                self.ask(queue, now);
            }
            let offer = self.offers[queue].front().filter(|offer| offer.from <= now).copied();
            let name = self.name(queue);
            let parts = offer.map_or((0, 1, 0), |offer| offer.parts);
            dut.set(&format!("{name}_segment_valid_i"), offer.is_some());
            let word = segment_word(&self.config, parts, guard_bits(name));
            dut.set(&format!("{name}_segment_data_i"), word);
            if offer.is_some() && dut.is_set(&format!("{name}_segment_ready_o")) {
                self.offers[queue].pop_front();
            }
        }
    }

    /// Segments and beats of the jobs, one each a cycle, and the commit of a job that is in.
    fn drive_writes(&mut self, dut: &mut Rtl, now: u64, pace: &Pace) {
        if self.jobs.len() < 3 && self.random.below(1000) < pace.writes {
            self.open_writer(now);
        }
        let room = u64::from(self.config.write_beats()) - self.outstanding;
        let next = self.jobs.iter().position(|job| job.beats_in < job.beats);
        let before: u64 = self.jobs.iter().map(|job| job.beats_in).sum();
        let fits = next.is_some_and(|n| self.jobs[n].beats_in > 0 || before + self.jobs[n].beats <= room);
        let beat = next.filter(|_| fits);
        let data = self.random.bits(9 * self.beat as u32);
        dut.set("write_data_valid_i", beat.is_some());
        dut.set("write_data_data_i", &data);
        if let Some(n) = beat.filter(|_| dut.is_set("write_data_ready_o")) {
            self.jobs[n].beats_in += 1;
            self.data.push_back(data);
        }
        let next = self.jobs.iter().position(|job| job.segments_in < job.segments.len());
        let parts = next.map_or((0, 1, 0), |n| {
            let (at, segments) = (self.jobs[n].segments_in, &self.jobs[n].segments);
            self.parts(&segments[at], u64::from(at + 1 == segments.len()))
        });
        dut.set("write_segment_valid_i", next.is_some());
        dut.set("write_segment_data_i", segment_word(&self.config, parts, 1));
        if let Some(n) = next.filter(|_| dut.is_set("write_segment_ready_o")) {
            self.jobs[n].segments_in += 1;
        }
        self.commit(dut, now);
    }

    fn commit(&mut self, dut: &mut Rtl, now: u64) {
        let whole = |job: &Job| job.segments_in == job.segments.len() && job.beats_in == job.beats;
        let goes = self.jobs.front().is_some_and(whole) && self.random.chance(60);
        dut.set("commit_valid_i", goes);
        let job = if goes { self.jobs.pop_front() } else { None };
        let (beats, closes) = job.as_ref().map_or((0, false), |job| (job.beats, job.closes));
        dut.set("commit_beats_i", beats);
        dut.set("commit_closes_i", closes);
        let still = self.jobs.iter().filter(|job| job.closes).count() as u64;
        // Of the writers that were opened so many are still to close.
        let writer = self.writer.wrapping_sub(still + 1);
        let wrong = u64::from(self.mutant == Mutant::Writer);
        dut.set("commit_writer_i", writer.wrapping_sub(wrong) % NUMBERS);
        let Some(job) = job else { return };
        let at = now + Port::COMMIT_LATENCY;
        if job.beats > 0 {
            self.outstanding += job.beats;
            self.outstanding_jobs.push_back(job.beats);
            self.labels += 1;
            self.events.push_back((at, Event::Write(self.labels, job.segments)));
        }
        if job.closes {
            self.events.push_back((at, Event::Close(writer as usize)));
        }
    }

    /// What reaches the model in this cycle.
    fn advance_model(&mut self, now: u64) {
        while self.events.front().is_some_and(|event| event.0 == now) {
            match self.events.pop_front().unwrap().1 {
                Event::Write(label, segments) => self.model.write(label, 0, &segments.into(), now),
                Event::Close(command) => self.model.close(Writer { wave: 0, command }, now),
            }
        }
    }

    /// The model's decision, and what follows from it on AXI and behind.
    fn decide(&mut self, now: u64, cover: &mut Cover) -> (bool, bool) {
        let before = self.model.occupied();
        let decision = self.model.decide(now, &mut self.model_memory);
        let after = self.model.occupied();
        let at = now + PORT_ISSUE;
        match decision {
            Some(Decision::Read { queue, label, burst, last, arrival }) => {
                let arrival: Arrival = arrival.unwrap();
                self.addresses.push_back((at, burst));
                for i in 0..arrival.beats() {
                    let address = burst.addr / self.beat + u64::from(i);
                    match queue {
                        0 => self.control.push_back((arrival.beat(i) + 1, address)),
                        _ => self.expected[queue].push_back(address),
                    }
                }
                if last {
                    self.queued[queue] -= 1;
                    self.guards.retain(|guard| guard.0 != label);
                }
                cover.hit(["control", "record", "main", "ahead"][queue], true);
                cover.hit("cut at a border", !last && u64::from(burst.bytes) < BURST_BYTES);
                cover.hit("single beat", u64::from(burst.bytes) == self.beat);
            }
            Some(Decision::Write { last, written, burst, .. }) => {
                let written: Written = written.unwrap();
                self.write_addresses.push_back((at, burst));
                if last {
                    self.jobs_due.push_back(written.response + PORT_RETURN);
                }
                let waits = (0..4).any(|q| self.model.held(q, now) == Some(Hold::Writes));
                cover.hit("write while draining", self.model.draining(now));
                cover.hit("write that a read waits for", waits);
                cover.hit("write in a gap", !waits && !self.model.draining(now));
            }
            None => {}
        }
        for queue in 0..4 {
            match self.model.held(queue, now) {
                Some(Hold::Room) => cover.hit("no room", true),
                Some(Hold::Writes) => cover.hit("guard", true),
                Some(Hold::Places) => cover.hit("all places taken", true),
                None => {}
            }
        }
        (after.0 > before.0, after.1 > before.1)
    }

    /// Takes beats of the streams: of main and read-ahead one at most.
    fn consume(&mut self, dut: &mut Rtl, now: u64, pace: &Pace, cover: &mut Cover) -> Result<(), String> {
        let first = 2 + self.random.below(2) as usize;
        let mut array = true;
        for queue in [1, first, 5 - first] {
            let name = self.name(queue);
            let there = self.model.front(queue, now).copied();
            let willing = now >= self.busy[queue] && self.random.chance(pace.taken) && (queue == 1 || array);
            dut.set(&format!("{name}_beat_ready_i"), willing);
            if let Some(beat) = there.filter(|_| willing) {
                array &= queue == 1;
                let used = now + 1 + self.random.below(pace.pace);
                let free = used + if queue == 1 { HOP } else { 0 };
                self.busy[queue] = used;
                self.model.pop(queue, free);
                self.frees[queue].push_back((free - 1, beat.frees > 0));
                cover.hit("taken as it came", beat.arrives + 1 == now);
            }
            let free = self.frees[queue].front().copied().filter(|free| free.0 == now);
            dut.set(&format!("{name}_free_i"), free.is_some());
            dut.set(&format!("{name}_free_last_i"), free.is_some_and(|free| free.1));
            if free.is_some() {
                self.frees[queue].pop_front();
            }
            same!(now, format!("{name} beat"), dut.is_set(&format!("{name}_beat_valid_o")), there.is_some());
            if let Some(beat) = there {
                let address = self.expected[queue].front().copied().unwrap();
                let word = dut.bits(&format!("{name}_beat_data_o"));
                let width = 8 * self.beat as u32;
                same!(now, format!("{name} data"), word.slice(0, width), contents(self.beat, address));
                same!(now, format!("{name} last"), word.bit(width), beat.frees > 0);
                if willing {
                    self.expected[queue].pop_front();
                }
            }
        }
        Ok(())
    }

    /// The memory's side of the read channels.
    fn read_bus(&mut self, dut: &mut Rtl, now: u64) -> Result<(), String> {
        let due = self.beats.front().copied().filter(|beat| beat.0 == now);
        dut.set("axi_rvalid_i", due.is_some());
        let (_, address, last, response) = due.unwrap_or((0, self.random.below(99), false, 0));
        dut.set("axi_rdata_i", contents(self.beat, address));
        dut.set("axi_rlast_i", last);
        dut.set("axi_rresp_i", response);
        if due.is_some() {
            self.beats.pop_front();
        }
        let expected = self.addresses.front().copied().filter(|address| address.0 == now).map(|a| a.1);
        let found = dut.is_set("axi_arvalid_o").then(|| {
            let beats = dut.get("axi_arlen_o") + 1;
            Burst { addr: dut.get("axi_araddr_o") - BASE, bytes: (beats * self.beat) as u32 }
        });
        same!(now, "read address", found, expected);
        if let Some(burst) = found {
            self.addresses.pop_front();
            let arrival = self.memory.read(0, now, burst).unwrap();
            let response = if arrival.fault().is_some() { 2 } else { 0 };
            for i in 0..arrival.beats() {
                let last = i + 1 == arrival.beats();
                self.beats.push_back((
                    arrival.beat(i),
                    burst.addr / self.beat + u64::from(i),
                    last,
                    response,
                ));
            }
            if response == 2 {
                self.faults_due[0].push_back((arrival.start() + 1, burst.addr / self.beat));
            }
        }
        Ok(())
    }

    /// The memory's side of the write channels.
    fn write_bus(&mut self, dut: &mut Rtl, now: u64) -> Result<(), String> {
        let due = self.responses.front().copied().filter(|response| response.0 == now);
        dut.set("axi_bvalid_i", due.is_some());
        dut.set("axi_bresp_i", due.map_or(0, |due| due.1));
        if due.is_some() {
            self.responses.pop_front();
        }
        let expected = self.write_addresses.front().copied().filter(|address| address.0 == now).map(|a| a.1);
        let found = dut.is_set("axi_awvalid_o").then(|| {
            let beats = dut.get("axi_awlen_o") + 1;
            Burst { addr: dut.get("axi_awaddr_o") - BASE, bytes: (beats * self.beat) as u32 }
        });
        same!(now, "write address", found, expected);
        if let Some(burst) = found {
            self.write_addresses.pop_front();
            let written = self.memory.write(0, now, burst).unwrap();
            let response = if written.fault.is_some() { 2 } else { 0 };
            self.responses.push_back((written.response, response));
            self.data_ends.push_back((written.last_beat, u64::from(burst.bytes) / self.beat));
            if response == 2 {
                self.faults_due[1].push_back((written.response + 1, burst.addr / self.beat));
            }
        }
        // Data comes without a gap, the last beat when the memory counts on it.
        let due = self.data_ends.front().filter(|end| now + end.1 > end.0).copied();
        same!(now, "write data", dut.is_set("axi_wvalid_o"), due.is_some());
        if let Some((end, _)) = due {
            same!(now, "last write data", dut.is_set("axi_wlast_o"), end == now);
            same!(
                now,
                "write data",
                Some(Bits::concat(&[dut.bits("axi_wstrb_o"), dut.bits("axi_wdata_o")])),
                self.data.pop_front()
            );
            if end == now {
                self.data_ends.pop_front();
            }
        }
        Ok(())
    }

    /// What the module says of itself.
    fn check(&mut self, dut: &mut Rtl, now: u64, (reading, writing): (bool, bool)) -> Result<(), String> {
        same!(now, "reading", dut.is_set("reading_o"), reading);
        same!(now, "writing", dut.is_set("writing_o"), writing);
        let writer = self.model.acknowledged(0, now).map_or(NUMBERS - 1, |writer| writer as u64 % NUMBERS);
        same!(now, "writer", dut.get("writer_o"), writer);
        let job = self.jobs_due.front() == Some(&now);
        same!(now, "job", dut.is_set("acknowledged_o"), job);
        if job {
            self.jobs_due.pop_front();
            self.outstanding -= self.outstanding_jobs.pop_front().unwrap();
        }
        let control = self.control.front().copied().filter(|beat| beat.0 == now);
        same!(now, "control beat", dut.is_set("control_beat_valid_o"), control.is_some());
        if let Some((_, address)) = control {
            same!(now, "control data", dut.bits("control_beat_data_o"), contents(self.beat, address));
            self.control.pop_front();
        }
        for (n, side) in ["read", "write"].into_iter().enumerate() {
            while self.faults_due[n].front().is_some_and(|fault| fault.0 <= now) {
                let (_, address) = self.faults_due[n].pop_front().unwrap();
                self.errors[n].get_or_insert(address);
            }
            same!(now, side, dut.is_set(&format!("{side}_error_valid_o")), self.errors[n].is_some());
            if let Some(address) = self.errors[n] {
                same!(now, side, dut.get(&format!("{side}_error_address_o")), address);
                same!(now, side, dut.get(&format!("{side}_error_response_o")), 2);
            }
        }
        self.moved.0 += u64::from(dut.is_set("read_beat_o"));
        self.moved.1 += u64::from(dut.is_set("written_beat_o"));
        Ok(())
    }

    fn cycle(&mut self, dut: &mut Rtl, now: u64, pace: &Pace, cover: &mut Cover) -> Result<(), String> {
        // What was said in the cycle before is seen in this one.
        self.model.want_room(self.wanted, now);
        self.wanted = self.drain.next(&mut self.random);
        dut.set("drain_i", self.wanted && self.mutant != Mutant::Drain);
        cover.hit("room is wanted", self.wanted);
        self.advance_model(now);
        self.drive_reads(dut, now, pace);
        self.drive_writes(dut, now, pace);
        let occupied = self.decide(now, cover);
        self.read_bus(dut, now)?;
        self.write_bus(dut, now)?;
        self.consume(dut, now, pace, cover)?;
        self.check(dut, now, occupied)
    }

    pub fn run(&mut self, dut: &mut Rtl, cycles: u64, pace: &Pace, cover: &mut Cover) -> Result<(), String> {
        self.drain = Gaps::new(pace.drain);
        let start = dut.cycle();
        for _ in 0..cycles {
            let now = dut.cycle() - start;
            self.cycle(dut, now, pace, cover)?;
            dut.tick();
        }
        Ok(())
    }
}
