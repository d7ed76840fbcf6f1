//! The port past a memory that makes it wait wherever AXI allows it.

use super::{BASE, NUMBERS, QUEUES, contents, dut, guard_bits, idle, segment_word};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::WRITERS;
use fastcar_hw::rtl::Bits;
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Random, Rtl, skipped};
use std::collections::VecDeque;

/// What has to come and go past a memory that makes the port wait wherever AXI allows it.
struct Stalls {
    random: Random,
    beat: u64,
    /// Segments to offer by queue: first beat, beats, writer to wait for.
    offers: [VecDeque<(u64, u64, Option<u64>)>; 4],
    /// Guarded segments of which something has not gone out.
    guarded: Vec<(u64, u64, u64)>,
    expected: [VecDeque<u64>; 4],
    /// Jobs to offer, and to commit: beats, whether a writer closes, its number.
    segments: VecDeque<(u64, u64)>,
    commits: VecDeque<(u64, bool, u64)>,
    data: VecDeque<Bits>,
    sent: VecDeque<Bits>,
    /// Beats that are acknowledged when each writer is.
    needed: Vec<u64>,
    reads: VecDeque<(u64, u64)>,
    writes: VecDeque<u64>,
    filled: u64,
    committed: u64,
    acknowledged: u64,
}

impl Stalls {
    const WRITES: u64 = 60;

    /// 150 reads of every queue, and the jobs of 60 writers.
    fn new(config: &AccelConfig, seed: u64) -> Self {
        let beat = config.beat().get();
        let mut random = Random::new(seed);
        let mut all = Self {
            random: Random::new(seed + 1),
            beat,
            offers: Default::default(),
            guarded: Vec::new(),
            expected: Default::default(),
            segments: VecDeque::new(),
            commits: VecDeque::new(),
            data: VecDeque::new(),
            sent: VecDeque::new(),
            needed: Vec::new(),
            reads: VecDeque::new(),
            writes: VecDeque::new(),
            filled: 0,
            committed: 0,
            acknowledged: 0,
        };
        for n in 0..150 {
            for queue in 0..4 {
                let first = queue as u64 * (1 << 20) + n * (1 << 10) + random.below(64);
                let beats = 1 + random.below(150);
                let guard = (matches!(queue, 1 | 2) && random.chance(50)).then_some(n * Self::WRITES / 150);
                all.offers[queue].push_back((first, beats, guard));
                all.expected[queue].extend(first..first + beats);
                all.guarded.extend(guard.map(|guard| (first, beats, guard)));
            }
        }
        let mut total = 0;
        for writer in 0..Self::WRITES {
            for _ in 0..random.below(3) {
                let beats = 1 + random.below(60);
                all.segments.push_back((5 * (1 << 20) + random.below(1 << 18), beats));
                all.commits.push_back((beats, false, writer));
                all.sent.extend((0..beats).map(|_| random.bits(9 * beat as u32)));
                total += beats;
            }
            all.commits.push_back((0, true, writer));
            all.needed.push(total);
        }
        all.data = all.sent.clone();
        all
    }

    /// Writers of which all is acknowledged.
    fn through(&self) -> u64 {
        self.needed.iter().take_while(|needed| **needed <= self.acknowledged).count() as u64
    }

    fn offer(&mut self, dut: &mut Rtl, config: &AccelConfig) {
        for (queue, name) in QUEUES.iter().enumerate() {
            // As in the machine, nobody waits for a writer that is far from open.
            let through = self.through();
            let near = |o: &&(u64, u64, Option<u64>)| o.2.is_none_or(|w| w < through + WRITERS as u64);
            let offer = self.offers[queue].front().filter(near).copied();
            let (first, beats, guard) = offer.unwrap_or((0, 1, None));
            let note = guard.map_or(0, |writer| (writer % NUMBERS) | NUMBERS);
            dut.set(&format!("{name}_segment_valid_i"), offer.is_some());
            let word = segment_word(config, (first, beats, note), guard_bits(name));
            dut.set(&format!("{name}_segment_data_i"), word);
            if offer.is_some() && dut.is_set(&format!("{name}_segment_ready_o")) {
                self.offers[queue].pop_front();
            }
        }
        let segment = self.segments.front().copied();
        let (first, beats) = segment.unwrap_or((0, 1));
        dut.set("write_segment_valid_i", segment.is_some());
        dut.set("write_segment_data_i", segment_word(config, (first, beats, 1), 1));
        if segment.is_some() && dut.is_set("write_segment_ready_o") {
            self.segments.pop_front();
        }
        let data = self.data.front().cloned();
        dut.set("write_data_valid_i", data.is_some());
        dut.set("write_data_data_i", data.clone().unwrap_or_else(|| Bits::zero(9 * self.beat as u32)));
        if data.is_some() && dut.is_set("write_data_ready_o") {
            self.data.pop_front();
        }
        // A job may be committed before its data is there, and as long as the buffer could hold all that is.
        let oldest = self.guarded.iter().map(|guard| guard.2).min().unwrap_or(u64::MAX);
        let last = (self.through() + WRITERS as u64).min(oldest.saturating_add(WRITERS as u64));
        let room = u64::from(config.write_beats()) - (self.committed - self.acknowledged);
        let may = |c: &(u64, bool, u64)| c.2 < last && c.0 <= room;
        let commit = self.commits.front().copied().filter(may).filter(|_| self.random.chance(20));
        let (beats, closes, writer) = commit.unwrap_or((0, false, 0));
        dut.set("commit_valid_i", commit.is_some());
        dut.set("commit_beats_i", beats);
        dut.set("commit_closes_i", closes);
        dut.set("commit_writer_i", writer % NUMBERS);
        if commit.is_some() {
            self.commits.pop_front();
            self.committed += beats;
        }
    }

    /// What comes out: in order, of main and read-ahead one beat at most.
    fn take(&mut self, dut: &mut Rtl, percent: u64) {
        if dut.is_set("control_beat_valid_o") {
            let address = self.expected[0].pop_front().unwrap();
            assert_eq!(dut.bits("control_beat_data_o"), contents(self.beat, address));
        }
        let only = 2 + self.random.below(2) as usize;
        for (queue, name) in QUEUES.iter().enumerate().skip(1) {
            let ready = (queue == 1 || queue == only) && self.random.chance(percent);
            dut.set(&format!("{name}_beat_ready_i"), ready);
            let takes = ready && dut.is_set(&format!("{name}_beat_valid_o"));
            let word = dut.bits(&format!("{name}_beat_data_o"));
            let width = 8 * self.beat as u32;
            dut.set(&format!("{name}_free_i"), takes);
            dut.set(&format!("{name}_free_last_i"), takes && word.bit(width));
            if takes {
                let address = self.expected[queue].pop_front().unwrap();
                assert_eq!(word.slice(0, width), contents(self.beat, address), "{name} {address}");
            }
        }
    }

    fn read_bus(&mut self, dut: &mut Rtl, percent: u64, cover: &mut Cover) {
        let beat = self.reads.front().copied().filter(|_| self.random.chance(percent));
        dut.set("axi_rvalid_i", beat.is_some());
        let (first, left) = beat.unwrap_or((0, 0));
        dut.set("axi_rdata_i", contents(self.beat, first));
        dut.set("axi_rlast_i", left == 1);
        match (beat, self.reads.front_mut()) {
            (Some(_), _) if left == 1 => drop(self.reads.pop_front()),
            (Some(_), Some(read)) => *read = (first + 1, left - 1),
            _ => {}
        }
        let ready = self.random.chance(percent);
        dut.set("axi_arready_i", ready);
        let valid = dut.is_set("axi_arvalid_o");
        cover.hit("read address waits", valid && !ready);
        if valid && ready {
            let (first, beats) = ((dut.get("axi_araddr_o") - BASE) / self.beat, dut.get("axi_arlen_o") + 1);
            self.reads.push_back((first, beats));
            let through = self.through();
            let of = |guard: &(u64, u64, u64)| guard.0 <= first && first < guard.0 + guard.1;
            if let Some(n) = self.guarded.iter().position(of) {
                let (start, length, writer) = self.guarded[n];
                assert!(writer < through, "{first} is read before writer {writer} is acknowledged");
                cover.hit("guarded read", true);
                if first + beats == start + length {
                    self.guarded.remove(n);
                }
            }
        }
    }

    fn write_bus(&mut self, dut: &mut Rtl, percent: u64, cover: &mut Cover) {
        let answers = !self.writes.is_empty() && self.filled > 0 && self.random.chance(percent);
        dut.set("axi_bvalid_i", answers);
        if answers {
            self.acknowledged += self.writes.pop_front().unwrap();
            self.filled -= 1;
        }
        let (address, data) = (self.random.chance(percent), self.random.chance(percent));
        dut.set("axi_awready_i", address);
        dut.set("axi_wready_i", data);
        let (has_address, has_data) = (dut.is_set("axi_awvalid_o"), dut.is_set("axi_wvalid_o"));
        cover.hit("write address waits", has_address && !address);
        cover.hit("data waits", has_data && !data);
        if has_address && address {
            self.writes.push_back(dut.get("axi_awlen_o") + 1);
        }
        if has_data && data {
            let written = Bits::concat(&[dut.bits("axi_wstrb_o"), dut.bits("axi_wdata_o")]);
            assert_eq!(Some(written), self.sent.pop_front());
            self.filled += u64::from(dut.is_set("axi_wlast_o"));
        }
    }

    fn is_done(&self) -> bool {
        let come = self.expected.iter().all(VecDeque::is_empty);
        come && self.commits.is_empty() && self.through() == Self::WRITES
    }
}

/// Everything comes and goes once and in order, guarded reads go behind what they wait for, and nothing hangs.
#[test]
fn an_irregular_memory_loses_nothing() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset("tiny")?;
    let mut dut = dut(&config)?;
    let mut cover = Cover::new(&["read address waits", "write address waits", "data waits", "guarded read"]);
    for (seed, memory, taken) in [(30, 90, 90), (32, 50, 50), (34, 15, 90), (36, 90, 10)] {
        idle(&mut dut);
        let mut bench = Stalls::new(&config, seed);
        let mut cycles = 0;
        while !bench.is_done() {
            bench.offer(&mut dut, &config);
            bench.take(&mut dut, taken);
            bench.read_bus(&mut dut, memory, &mut cover);
            bench.write_bus(&mut dut, memory, &mut cover);
            dut.tick();
            cycles += 1;
            assert!(cycles < 1_000_000, "it hangs");
        }
        dut.set("axi_bvalid_i", false);
        dut.set("commit_valid_i", false);
        (0..5).for_each(|_| dut.tick());
        assert_eq!(dut.get("writer_o"), (Stalls::WRITES - 1) % NUMBERS);
        assert!(!dut.is_set("reading_o") && !dut.is_set("writing_o"));
    }
    cover.assert(20);
    Ok(())
}
