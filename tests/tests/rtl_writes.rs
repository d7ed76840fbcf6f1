//! What the vector unit writes: its beats on every channel, and where keys and values go, against the layouts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::{AccelConfig, ConfigFields, KV_BLOCK_TOKENS};
use fastcar_arch::layout::{KvLayout, RecordLayout};
use fastcar_hw::rtl::{Bits, Block, emit};
use fastcar_hw::vec::{Writes, Written};
use fastcar_hw::walk::Appends;
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Random, Rtl, accept, gather, hold, skipped};
use std::collections::{BTreeMap, VecDeque};

const PRESETS: [&str; 3] = ["tiny", "edge", "u55c"];
/// Words in a line, bytes of a block's elements.
const LINE: u64 = 32;

/// A configuration by name: a preset, or one between them whose blocks are a beat each.
fn config(name: &str) -> AccelConfig {
    if name != "eight" {
        return AccelConfig::preset(name).unwrap();
    }
    let tiny = AccelConfig::preset("tiny").unwrap();
    let fields = ConfigFields {
        name: name.into(),
        channels: 8,
        beat_bytes: 32,
        vector_lanes: 16,
        ..tiny.fields().clone()
    };
    AccelConfig::new(fields).unwrap()
}

/// What the block is given in a cycle.
#[derive(Clone, Default)]
struct Inputs {
    start: Option<Start>,
    words: Option<Vec<u32>>,
    block: Option<(u8, Vec<u8>)>,
    done: bool,
}

/// What a part is said to be.
#[derive(Clone, Copy)]
struct Start {
    kind: Written,
    count: u64,
    scales: u64,
    token: u64,
    channel: u64,
    step: u64,
}

/// A beat that a channel owes: cycle, bytes, which of them count.
#[derive(Clone, Debug)]
struct Beat {
    cycle: u64,
    bytes: Vec<u8>,
    counts: Vec<bool>,
}

impl Beat {
    fn whole(cycle: u64, bytes: Vec<u8>) -> Self {
        Self { cycle, counts: vec![true; bytes.len()], bytes }
    }
}

/// Scale bytes that are under way.
#[derive(Clone, Copy, Default)]
struct Owed {
    /// The cycle in which the last of them leaves.
    until: u64,
    channel: u64,
    record: bool,
}

/// The rules of the module's page: when which step is taken, and when scale bytes leave.
#[derive(Default)]
struct Order {
    /// From when on the next step may be taken, and the next scale bytes.
    step: u64,
    scales: u64,
    owed: Owed,
    /// Something had to wait since this was cleared.
    waited: bool,
}

impl Order {
    /// A step of a record, or of a head on a channel, whose last word or block comes in a cycle.
    fn take(&mut self, comes: u64, head: Option<u64>) -> u64 {
        let free = comes.max(self.step);
        let apart = head.is_some_and(|channel| !self.owed.record && channel != self.owed.channel);
        let at = if apart { free } else { free.max(self.owed.until + 1) };
        self.waited |= at > comes;
        self.step = at + 1;
        at
    }

    /// Beats of scale bytes of what the step in a cycle ends.
    fn tail(&mut self, ends: u64, beats: u64, head: Option<u64>) -> Vec<u64> {
        let first = self.scales.max(ends + 1);
        if beats > 0 {
            self.scales = first + beats;
            self.owed = Owed { until: self.scales - 1, channel: head.unwrap_or(0), record: head.is_none() };
        }
        (first..first + beats).collect()
    }
}

/// A command: what all its parts have in common.
struct Command {
    kind: Written,
    count: u64,
    scales: u64,
    position: Option<u64>,
    /// From a part's begin to its first words or blocks.
    delay: u64,
    gaps: u64,
    parts: u64,
}

struct Bench {
    config: AccelConfig,
    random: Random,
    cover: Cover,
    inputs: BTreeMap<u64, Inputs>,
    due: Vec<VecDeque<Beat>>,
    order: Order,
    command: Option<Command>,
    next: u64,
    /// Cycles in which a part could not begin.
    held_up: u64,
}

const BINS: [&str; 12] = [
    "words",
    "blocks",
    "cache",
    "rest of a group",
    "rest of a row",
    "one word",
    "one block",
    "one head",
    "more heads than channels",
    "gaps",
    "waits",
    "nothing waits",
];

impl Bench {
    fn new(preset: &str, seed: u64) -> Self {
        let config = config(preset);
        let due = vec![VecDeque::new(); config.channels() as usize];
        let mut bins = BINS.to_vec();
        if config.channels() > 1 {
            bins.push("heads share channels");
        }
        if config.beat().get() == 64 {
            bins.extend(["odd blocks", "token from half a beat", "scale bytes of two beats"]);
        }
        let (random, cover) = (Random::new(seed), Cover::new(&bins));
        let (inputs, order) = (BTreeMap::new(), Order::default());
        Self { config, random, cover, inputs, due, order, command: None, next: 20, held_up: 0 }
    }

    fn lanes(&self) -> u64 {
        self.config.vector_lanes().into()
    }

    fn channels(&self) -> u64 {
        self.config.channels().into()
    }

    fn beat(&self) -> u64 {
        self.config.beat().get()
    }

    fn any_command(&mut self) -> Command {
        let kind = [Written::Words, Written::Blocks, Written::Cache][self.random.below(3) as usize];
        let (count, scales) = self.any_count(kind);
        let random = &mut self.random;
        let parts = if count * scales > 100 { 2 } else { 1 + random.below(self.config.slots().into()) };
        let position = random.chance(50).then(|| random.below(32_768));
        let gaps = [0, 0, 10, 60][random.below(4) as usize];
        Command { kind, count, scales, position, delay: 3 + random.below(12), gaps, parts }
    }

    /// Words, blocks, or heads and blocks of a head.
    fn any_count(&mut self, kind: Written) -> (u64, u64) {
        let (lanes, channels, row) = (self.lanes(), self.channels(), self.channels() * self.beat());
        let blocks = u64::from(self.config.ab_blocks());
        let random = &mut self.random;
        let mut one_of = |of: &dyn Fn(&mut Random) -> Vec<u64>| {
            let of = of(random);
            of[random.below(of.len() as u64) as usize]
        };
        match kind {
            Written::Words => {
                let any = |r: &mut Random| {
                    let some = 1 + r.below(lanes * 12);
                    vec![1, some, some, lanes * (1 + r.below(9)), row / 2]
                };
                (one_of(&any), 1)
            }
            Written::Blocks => {
                let any = |r: &mut Random| {
                    let few = 1 + r.below(20);
                    let most = if r.chance(10) { blocks } else { few };
                    vec![1, few, few, 1 + r.below(140.min(blocks)), most]
                };
                (one_of(&any), 1)
            }
            Written::Cache => {
                let heads = one_of(&|r| {
                    vec![1, 1 + r.below(channels), channels + 1 + r.below(channels + 3), 2, channels]
                });
                let (few, some) = (if heads < 4 { 32 } else { 3 }, if heads < 40 { 4 } else { 1 });
                (heads, one_of(&|r| vec![1, 2, some, 1 + r.below(8), few]))
            }
        }
    }

    /// Cycles in which so many words' groups or blocks come, from `first` on.
    fn arrivals(&mut self, first: u64, count: u64, pace: u64, gaps: u64) -> Vec<u64> {
        let mut at = first;
        (0..count)
            .map(|_| {
                let gap = if self.random.chance(gaps) { 1 + self.random.below(4) } else { 0 };
                self.cover.hit("gaps", gap > 0);
                at += gap + pace;
                at - pace
            })
            .collect()
    }

    fn input(&mut self, cycle: u64) -> &mut Inputs {
        self.inputs.entry(cycle).or_default()
    }

    /// Begins a part where one is due: says it, lets its words and blocks come, and notes the beats.
    fn begin(&mut self, now: u64) {
        if self.command.as_ref().is_none_or(|command| command.parts == 0) {
            let command = self.any_command();
            self.command = Some(command);
        }
        let command = self.command.as_mut().unwrap();
        command.parts -= 1;
        let (kind, count, scales, gaps) = (command.kind, command.count, command.scales, command.gaps);
        let (first, another) = (now + command.delay, command.parts > 0);
        let position = command.position.unwrap_or_else(|| self.random.below(32_768));
        let delay = command.delay;
        self.order.waited = false;
        let (last, beats) = match kind {
            Written::Words => self.words(now, first, count, gaps),
            Written::Blocks => self.blocks(now, first, count, gaps),
            Written::Cache => self.cache(now, first, (count, scales, position), gaps),
        };
        let done = last + 1;
        self.input(done).done = true;
        self.cover.hit("waits", self.order.waited);
        self.cover.hit("nothing waits", !self.order.waited);
        let late = if kind == Written::Blocks { 2 } else { 0 };
        for (channel, beats) in beats.into_iter().enumerate() {
            for (n, beat) in beats.iter().enumerate() {
                let limit = done + late + n as u64;
                assert!(
                    self.order.waited || beat.cycle <= limit,
                    "beat {n} of {count}: {} > {limit}",
                    beat.cycle
                );
            }
            self.due[channel].extend(beats);
        }
        self.next = if another { done.max(first + 2) - delay } else { done + self.random.below(20) };
        self.next = self.next.max(now + 1);
    }

    fn start(&mut self, now: u64, kind: Written, count: u64) {
        let mut any = |limit| self.random.below(limit);
        let (scales, token, channel, step) = (any(64), any(32), any(2), any(2));
        self.input(now).start = Some(Start { kind, count, scales, token, channel, step });
    }

    /// The beats of a record, channel by channel; `cycle` tells when beat n of it is there.
    fn record(&self, record: &[u8], cycle: impl Fn(u64) -> u64) -> Vec<Vec<Beat>> {
        let layout = RecordLayout::new(&self.config);
        let (beat, channels) = (self.beat(), self.channels());
        let rows = layout.local_bytes(record.len() as u64).get() / beat;
        let row = |channel: u64| {
            (0..rows)
                .map(|row| Beat::whole(cycle(row * channels + channel), vec![0; beat as usize]))
                .collect()
        };
        let mut out: Vec<Vec<Beat>> = (0..channels).map(row).collect();
        for (place, range) in layout.pieces(record.len() as u64) {
            let bytes = &mut out[place.channel][(place.offset / beat) as usize].bytes;
            bytes[..range.len()].copy_from_slice(&record[range]);
        }
        out
    }

    fn words(&mut self, now: u64, first: u64, count: u64, gaps: u64) -> (u64, Vec<Vec<Beat>>) {
        let lanes = self.lanes();
        self.start(now, Written::Words, count);
        let groups = count.div_ceil(lanes);
        let arrivals = self.arrivals(first, groups, 1, gaps);
        let mut record = Vec::new();
        for &at in &arrivals {
            let words: Vec<u32> = (0..lanes).map(|_| self.random.word() as u32).collect();
            record.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            self.input(at).words = Some(words);
        }
        record.truncate(count as usize * 4);
        self.cover.hit("words", true);
        self.cover.hit("one word", count == 1);
        self.cover.hit("rest of a group", !count.is_multiple_of(lanes));
        self.cover.hit("rest of a row", !(record.len() as u64).is_multiple_of(self.channels() * self.beat()));
        let taken: Vec<u64> = arrivals.iter().map(|&at| self.order.take(at, None)).collect();
        let group = lanes * 4 / self.beat();
        let end = taken.len() as u64 - 1;
        let beats = self.record(&record, |beat| taken[(beat / group).min(end) as usize] + 1);
        (*arrivals.last().unwrap(), beats)
    }

    /// Blocks come; gives their arrivals, their scale bytes and elements.
    fn some_blocks(&mut self, first: u64, count: u64, gaps: u64) -> (Vec<u64>, Vec<u8>, Vec<u8>) {
        let arrivals = self.arrivals(first, count, LINE / self.lanes(), gaps);
        let (mut scales, mut elems) = (Vec::new(), Vec::new());
        for &at in &arrivals {
            let scale = self.random.word() as u8;
            let block: Vec<u8> = (0..LINE).map(|_| self.random.word() as u8).collect();
            scales.push(scale);
            elems.extend(&block);
            self.input(at).block = Some((scale, block));
        }
        (arrivals, scales, elems)
    }

    /// When the blocks of an entry are all there.
    fn entry(&self, arrivals: &[u64], block: usize) -> u64 {
        let last = *arrivals.last().unwrap();
        match self.beat() {
            64 => arrivals.get(block | 1).copied().unwrap_or(last + 1),
            _ => arrivals[block],
        }
    }

    fn blocks(&mut self, now: u64, first: u64, count: u64, gaps: u64) -> (u64, Vec<Vec<Beat>>) {
        self.start(now, Written::Blocks, count);
        let (arrivals, scales, elems) = self.some_blocks(first, count, gaps);
        self.cover.hit("blocks", true);
        self.cover.hit("one block", count == 1);
        if self.beat() == 64 {
            self.cover.hit("odd blocks", count % 2 == 1);
        }
        let record = [elems, scales].concat();
        // Beats of elements that are taken at once, and how many there are.
        let beat = self.beat();
        let at_once = (LINE.max(beat) / beat).min(self.lanes() * 4 / beat);
        let beats = (count * LINE).div_ceil(beat);
        let mut taken = Vec::new();
        for n in (0..beats).step_by(at_once as usize) {
            let turn = n * beat % LINE / (beat * at_once);
            let comes = self.entry(&arrivals, (n * beat / LINE) as usize) + turn;
            taken.push(self.order.take(comes, None));
        }
        let left = (record.len() as u64).div_ceil(beat) - beats;
        let tail = self.order.tail(*taken.last().unwrap(), left, None);
        let end = tail.last().or(taken.last()).copied().unwrap();
        let cycle = |n: u64| {
            let at =
                if n < beats { Some(&taken[(n / at_once) as usize]) } else { tail.get((n - beats) as usize) };
            at.copied().unwrap_or(end) + 1
        };
        let out = self.record(&record, cycle);
        (*arrivals.last().unwrap(), out)
    }

    /// Beats of bytes that go to a place: how many bytes of the first beat lie before.
    fn placed(&self, offset: u64, bytes: &[u8]) -> Vec<Beat> {
        let beat = self.beat();
        let before = (offset % beat) as usize;
        let size = (before + bytes.len()).next_multiple_of(beat as usize);
        let (mut all, mut counts) = (vec![0; size], vec![false; size]);
        all[before..before + bytes.len()].copy_from_slice(bytes);
        counts[before..before + bytes.len()].fill(true);
        let pairs = all.chunks(beat as usize).zip(counts.chunks(beat as usize));
        pairs.map(|(bytes, counts)| Beat { cycle: 0, bytes: bytes.into(), counts: counts.into() }).collect()
    }

    fn cover_heads(&mut self, heads: u64) {
        let channels = self.channels();
        self.cover.hit("cache", true);
        self.cover.hit("one head", heads == 1);
        self.cover.hit("more heads than channels", heads > channels);
        if channels > 1 {
            self.cover.hit("heads share channels", heads > 1 && heads * 2 <= channels);
        }
    }

    fn cache(
        &mut self,
        now: u64,
        first: u64,
        (heads, scales, position): (u64, u64, u64),
        gaps: u64,
    ) -> (u64, Vec<Vec<Beat>>) {
        let (channels, beat) = (self.channels(), self.beat());
        let layout = KvLayout::new(&self.config, heads as u32, (scales * LINE) as u32, 32_768);
        let place = |head: u64| layout.token(head, position);
        let channel = place(0).channel as u64;
        let step = if heads > 1 { (place(1).channel as u64 + channels - channel) % channels } else { 0 };
        let token = position % u64::from(KV_BLOCK_TOKENS);
        self.input(now).start =
            Some(Start { kind: Written::Cache, count: heads, scales, token, channel, step });
        let (arrivals, scale_bytes, elems) = self.some_blocks(first, 2 * heads * scales, gaps);
        self.cover_heads(heads);
        // Of two blocks that come as one, the second has its turn a cycle later.
        let turn = |block: u64| if beat == 64 { block % 2 } else { 0 };
        let comes: Vec<u64> =
            (0..2 * heads * scales).map(|n| self.entry(&arrivals, n as usize) + turn(n)).collect();
        let mut out = vec![Vec::new(); channels as usize];
        let size = scales as usize;
        let halves = scale_bytes.chunks(size).zip(elems.chunks(size * LINE as usize)).zip(comes.chunks(size));
        for (n, ((scales, elems), comes)) in (0..).zip(halves) {
            let p = place(n % heads);
            let at = if n < heads { (p.key, p.key_scales) } else { (p.value, p.value_scales) };
            out[p.channel].extend(self.head(p.channel as u64, at, comes, (scales, elems)));
        }
        (*arrivals.last().unwrap(), out)
    }

    /// The beats of a head's keys or values, which go to an offset, with their scale bytes.
    fn head(
        &mut self,
        channel: u64,
        (at, scales_at): (u64, u64),
        comes: &[u64],
        (scales, elems): (&[u8], &[u8]),
    ) -> Vec<Beat> {
        let beat = self.beat();
        if beat == 64 {
            self.cover.hit("token from half a beat", at % beat != 0);
            self.cover.hit("scale bytes of two beats", scales_at % beat + scales.len() as u64 > beat);
        }
        let (mut beats, mut tail) = (self.placed(at, elems), self.placed(scales_at, scales));
        let mut taken = 0;
        for (block, comes) in (0..).zip(comes) {
            for part in 0..LINE.div_ceil(beat) {
                taken = self.order.take(comes + part, Some(channel));
                beats[((at % beat + block * LINE + part * beat) / beat) as usize].cycle = taken + 1;
            }
        }
        let leave = self.order.tail(taken, tail.len() as u64, Some(channel));
        for (beat, at) in tail.iter_mut().zip(leave) {
            beat.cycle = at + 1;
        }
        beats.into_iter().chain(tail).collect()
    }

    fn set_start(&mut self, dut: &mut Rtl, start: Option<Start>) {
        let any = Start {
            kind: Written::Words,
            count: 1 + self.random.below(9),
            scales: self.random.below(64),
            token: self.random.below(32),
            channel: self.random.below(2),
            step: self.random.below(2),
        };
        let port = |name: &str| format!("{name}_i");
        dut.set(&port("start"), start.is_some());
        let start = start.unwrap_or(any);
        dut.set(&port("kind"), start.kind.code());
        dut.set(&port("count"), start.count);
        dut.set(&port("scales"), start.scales % 64);
        dut.set(&port("token"), start.token);
        dut.set(&port("channel"), start.channel);
        dut.set(&port("step"), start.step);
    }

    fn cycle(&mut self, dut: &mut Rtl, now: u64, more: bool) {
        if more && now >= self.next {
            let room = dut.is_set("room_o");
            self.held_up += u64::from(!room);
            if room {
                self.begin(now);
            }
        }
        let inputs = self.inputs.remove(&now).unwrap_or_default();
        self.drive(dut, inputs);
        for channel in 0..self.due.len() {
            self.output(dut, now, channel);
        }
    }

    fn drive(&mut self, dut: &mut Rtl, inputs: Inputs) {
        self.set_start(dut, inputs.start);
        let port = |name: &str| format!("{name}_i");
        let width = 32 * self.config.vector_lanes();
        let words = inputs.words.as_ref().map(|words| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            Bits::from_bytes(width, &bytes)
        });
        dut.set(&port("word_valid"), words.is_some());
        dut.set(&port("word_data"), words.unwrap_or_else(|| Bits::ones(width)));
        dut.set(&port("block_valid"), inputs.block.is_some());
        let (scale, elems) = inputs.block.unwrap_or((0xA5, vec![0x5A; 32]));
        dut.set(&port("block_scale"), u64::from(scale));
        dut.set(&port("block_elems"), Bits::from_bytes(256, &elems));
        dut.set(&port("done"), inputs.done);
    }

    fn output(&mut self, dut: &mut Rtl, now: u64, channel: usize) {
        let due = self.due[channel].pop_front_if(|beat| beat.cycle == now);
        let port = |name: &str| format!("beat_{name}{channel}_o");
        assert_eq!(dut.is_set(&port("valid")), due.is_some(), "channel {channel} in cycle {now}");
        let Some(beat) = due else { return };
        let bytes = dut.bits(&port("bytes"));
        let counts: Vec<bool> = (0..self.beat() as u32).map(|n| bytes.slice(n, 1).any()).collect();
        assert_eq!(counts, beat.counts, "bytes of channel {channel} in cycle {now}");
        let found = dut.bits(&port("data")).to_bytes();
        for (n, (found, expected)) in found.iter().zip(&beat.bytes).enumerate() {
            assert!(!counts[n] || found == expected, "byte {n} of channel {channel} in cycle {now}");
        }
    }
}

/// Parts of all kinds for so many cycles, until all beats are there.
fn run(dut: &mut Rtl, preset: &str, cycles: u64, seed: u64) -> Cover {
    let mut bench = Bench::new(preset, seed);
    run_bench(dut, &mut bench, cycles);
    bench.cover
}

fn run_bench(dut: &mut Rtl, bench: &mut Bench, cycles: u64) {
    bench.drive(dut, Inputs::default());
    dut.reset();
    let mut now = dut.cycle();
    while now < cycles || !bench.inputs.is_empty() || bench.due.iter().any(|due| !due.is_empty()) {
        bench.cycle(dut, now, now < cycles);
        dut.tick();
        now = dut.cycle();
        assert!(now < 4 * cycles + 10_000, "beats do not come: {:?}", bench.due);
    }
}

fn parts(preset: &str, cycles: u64) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let module = Writes::of(&config(preset))?.module()?;
    accept(&emit(&module)?)?;
    run(&mut Rtl::build_random(&module, 5)?, preset, cycles, 1).assert(20);
    Ok(())
}

#[test]
fn parts_become_beats_of_one_channel() -> TestResult {
    parts("tiny", 60_000)
}

#[test]
fn parts_become_beats_of_four_channels() -> TestResult {
    parts("edge", 60_000)
}

#[test]
fn parts_become_beats_of_eight_channels() -> TestResult {
    parts("eight", 60_000)
}

#[test]
fn parts_become_beats_of_thirty_two_channels() -> TestResult {
    parts("u55c", 100_000)
}

/// A channel that gets more beats than there are cycles: parts are held up, and nothing is lost.
#[test]
fn parts_wait_for_room() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for (name, delay) in [("edge", 14), ("u55c", 3)] {
        let mut dut = Rtl::build_random(&Writes::of(&config(name))?.module()?, 9)?;
        let mut bench = Bench::new(name, 4);
        let (kind, position) = (Written::Cache, Some(77));
        bench.command =
            Some(Command { kind, count: 1, scales: 1, position, delay, gaps: 0, parts: u64::MAX });
        run_bench(&mut dut, &mut bench, 5000);
        assert!(bench.held_up > 500, "{name}: held up for {} cycles", bench.held_up);
    }
    Ok(())
}

/// `cargo test -p fastcar-tests --test rtl_writes -- --ignored parts_for_long`
#[test]
#[ignore = "minutes"]
fn parts_for_long() -> TestResult {
    let module = Writes::of(&config("edge"))?.module()?;
    run(&mut Rtl::build_random(&module, 7)?, "edge", 10_000_000, 3).assert(1000);
    Ok(())
}

#[test]
fn lanes_that_do_not_fit_are_refused() {
    let refusal = |channels, beat_bytes, vector_lanes| {
        let tiny = config("tiny").fields().clone();
        let fields = ConfigFields { channels, beat_bytes, vector_lanes, ..tiny };
        Writes::of(&AccelConfig::new(fields).unwrap()).unwrap_err().to_string()
    };
    let whole = "it must be a number whose words fill at least a beat and at most one of each channel";
    assert_eq!(refusal(4, 64, 8), format!("writes: vector lanes is 8; {whole}"));
    assert_eq!(refusal(1, 16, 8), format!("writes: vector lanes is 8; {whole}"));
    let fast = "it must be at most the bytes of a beat: a channel takes no more than a beat a cycle";
    assert_eq!(refusal(8, 16, 32), format!("writes: vector lanes is 32; {fast}"));
}

/// A run of the walk.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Run {
    address: u64,
    length: u64,
    channels: u64,
    last: u64,
}

/// A part of `kv_append`.
#[derive(Clone, Debug)]
struct Append {
    /// Beats, if it is a record.
    record: Option<u64>,
    base: u64,
    position: u64,
    heads: u64,
    scales: u64,
    blocks: u64,
}

impl Append {
    fn any(random: &mut Random, config: &AccelConfig) -> Self {
        let beats = config.channel_capacity().get() / config.beat().get();
        let channels = u64::from(config.channels());
        let scales = [1, 2, 4, 1 + random.below(32)][random.below(4) as usize];
        let most = u64::from(config.vb_lines()) / scales;
        let heads =
            [1 + random.below(channels), 1 + random.below(3 * channels), 1 + random.below(most), channels];
        let blocks = [1024, 1 + random.below(1024)][random.below(2) as usize];
        let record = random
            .chance(30)
            .then(|| 1 + random.below(1 << (25 - (channels * config.beat().get()).ilog2())) / 2);
        Self {
            record,
            base: random.below(beats),
            position: [random.below(32 * blocks), 32 * blocks - 1][random.below(2) as usize],
            heads: heads[random.below(4) as usize].clamp(1, most),
            scales,
            blocks,
        }
    }

    fn layout(&self, config: &AccelConfig) -> KvLayout {
        KvLayout::new(config, self.heads as u32, (self.scales * LINE) as u32, self.blocks as u32 * 32)
    }

    /// By channel, its heads with the position's block.
    fn heads(&self, config: &AccelConfig) -> Vec<Vec<u64>> {
        let layout = self.layout(config);
        let mut out = vec![Vec::new(); config.channels() as usize];
        for head in 0..self.heads {
            out[layout.token(head, self.position).channel].push(head);
        }
        out
    }

    /// The runs, and the beats of each channel.
    fn runs(&self, config: &AccelConfig) -> (Vec<Run>, Vec<u64>) {
        let (layout, heads, beat) = (self.layout(config), self.heads(config), config.beat().get());
        if let Some(length) = self.record {
            let all = (1 << heads.len()) - 1;
            let run = Run { address: self.base, length, channels: all, last: all };
            return (vec![run], vec![length; heads.len()]);
        }
        let beats = config.channel_capacity().get() / beat;
        let mut sums = vec![0; heads.len()];
        let mut out = Vec::new();
        let most = heads.iter().map(Vec::len).max().unwrap();
        for values in [false, true] {
            for unit in 0..most {
                for scales in [false, true] {
                    let mut run: Option<Run> = None;
                    for (channel, heads) in heads.iter().enumerate() {
                        let Some(&head) = heads.get(unit) else { continue };
                        let p = layout.token(head, self.position);
                        let (at, size) = match (values, scales) {
                            (false, false) => (p.key, self.scales * LINE),
                            (false, true) => (p.key_scales, self.scales),
                            (true, false) => (p.value, self.scales * LINE),
                            (true, true) => (p.value_scales, self.scales),
                        };
                        let (first, end) = (at / beat, (at + size).div_ceil(beat));
                        let (address, length) = ((self.base + first) % beats, end - first);
                        let run = run.get_or_insert(Run { address, length, channels: 0, last: 0 });
                        assert_eq!((run.address, run.length), (address, length), "the same on every channel");
                        run.channels |= 1 << channel;
                        run.last |= u64::from(values && scales && unit + 1 == heads.len()) << channel;
                        sums[channel] += length;
                    }
                    out.extend(run);
                }
            }
        }
        (out, sums)
    }
}

/// A walker with what it is given and what it owes.
struct Walk {
    prefix: String,
    config: AccelConfig,
    /// The parts in the pipe, the one in turn last, with the runs that it still has.
    stages: VecDeque<Option<Append>>,
    turn: Option<(Append, VecDeque<Run>)>,
    due: Option<(Run, u64, bool, Append)>,
    next: Append,
}

impl Walk {
    fn new(preset: &str, random: &mut Random) -> Self {
        let config = AccelConfig::preset(preset).unwrap();
        let latency = Appends::new(&config).latency() as usize;
        let next = Append::any(random, &config);
        let stages = vec![None; latency - 2].into();
        Self { prefix: format!("{preset}_"), config, stages, turn: None, due: None, next }
    }

    fn cycle(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) {
        let prefix = self.prefix.clone();
        let port = |name: &str| format!("{prefix}{name}");
        let (valid, go) = (random.chance(70), random.chance(80));
        dut.set(&port("job_valid_i"), valid);
        dut.set(&port("go_i"), go);
        for (name, value) in [
            ("base_i", self.next.base),
            ("position_i", self.next.position),
            ("heads_i", if self.next.record.is_some() { 0 } else { self.next.heads }),
            ("length_i", self.next.record.unwrap_or(0x55)),
            ("scales_i", self.next.scales),
            ("blocks_i", self.next.blocks),
        ] {
            dut.set(&port(name), value);
        }
        self.output(dut, cover);
        let mut ends = self.turn.is_none();
        if let Some((append, runs)) = self.turn.as_mut().filter(|_| go) {
            let given = append.runs(&self.config).0.len() - runs.len();
            let run = runs.pop_front().unwrap();
            ends = runs.is_empty();
            self.due = Some((run, given as u64, ends, append.clone()));
        }
        assert_eq!(dut.is_set(&port("job_ready_o")), ends, "{}", self.prefix);
        if !ends {
            return;
        }
        self.turn = self.stages.pop_back().flatten().map(|append| {
            let runs = append.runs(&self.config).0.into();
            (append, runs)
        });
        self.stages.push_front(valid.then(|| self.next.clone()));
        if valid {
            let (heads, channels) = (self.next.heads, u64::from(self.config.channels()));
            cover.hit("a record", self.next.record.is_some());
            cover.hit("fewer heads than channels", heads < channels);
            cover.hit("as many heads", heads == channels);
            cover.hit("more heads", heads > channels);
            self.next = Append::any(random, &self.config);
        }
    }

    fn output(&mut self, dut: &mut Rtl, cover: &mut Cover) {
        let port = |name: &str| format!("{}{name}_o", self.prefix);
        let due = self.due.take();
        assert_eq!(dut.is_set(&port("run_valid")), due.is_some(), "{} in cycle {}", self.prefix, dut.cycle());
        let placed = due.as_ref().is_some_and(|due| due.3.record.is_some() || due.1 == 3);
        assert_eq!(dut.is_set(&port("part_placed")), placed, "{}", self.prefix);
        let Some((run, given, last, append)) = due else { return };
        let found = Run {
            address: dut.get(&port("run_address")),
            length: dut.get(&port("run_length")),
            channels: dut.get(&port("run_channels")),
            last: dut.get(&port("run_last")) & dut.get(&port("run_channels")),
        };
        assert_eq!(found, run, "{append:?} on {}", self.prefix);
        assert_eq!((dut.is_set(&port("part_first")), dut.is_set(&port("part_last"))), (given == 0, last));
        self.part(dut, cover, &append);
    }

    /// What is said of a part with its runs.
    fn part(&self, dut: &mut Rtl, cover: &mut Cover, append: &Append) {
        let port = |name: &str| format!("{}{name}_o", self.prefix);
        let (beats, fewer) = (dut.get(&port("part_beats")), dut.get(&port("part_fewer")));
        let most = dut.get(&port("part_channels"));
        let sums = append.runs(&self.config).1;
        let found: Vec<_> = (0..sums.len()).map(|c| if most >> c & 1 == 1 { beats } else { fewer }).collect();
        assert_eq!(found, sums, "{append:?}");
        assert_eq!(dut.is_set(&port("part_cache")), append.record.is_none());
        if append.record.is_some() {
            return;
        }
        assert_eq!(dut.get(&port("part_token")), append.position % u64::from(KV_BLOCK_TOKENS));
        let channels = u64::from(self.config.channels());
        let layout = append.layout(&self.config);
        let of = |head: u64| layout.token(head, append.position).channel as u64;
        assert_eq!(dut.get(&port("part_channel")), of(0), "{append:?}");
        if append.heads > 1 {
            let step = (of(1) + channels - of(0)) % channels;
            assert_eq!(dut.get(&port("part_step")) % channels, step, "{append:?}");
        }
        cover.hit("some have fewer", fewer != 0);
        cover.hit("some have none", most.count_ones() < self.config.channels() && fewer == 0);
    }
}

fn walkers() -> Result<std::sync::Arc<fastcar_hw::rtl::Module>, Box<dyn std::error::Error>> {
    let mut parts = Vec::new();
    for preset in PRESETS {
        parts.push((preset, Appends::new(&AccelConfig::preset(preset)?).module()?));
    }
    Ok(gather("append_walkers", &parts)?)
}

fn walk(dut: &mut Rtl, cycles: u64, seed: u64) -> Cover {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&[
        "a record",
        "fewer heads than channels",
        "as many heads",
        "more heads",
        "some have fewer",
        "some have none",
    ]);
    let mut walks: Vec<_> = PRESETS.iter().map(|preset| Walk::new(preset, &mut random)).collect();
    for walk in &walks {
        dut.set(&format!("{}job_valid_i", walk.prefix), false);
    }
    dut.reset();
    for _ in 0..cycles {
        for walk in &mut walks {
            walk.cycle(dut, &mut random, &mut cover);
        }
        dut.tick();
    }
    cover
}

#[test]
fn appends_are_walked() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let module = walkers()?;
    accept(&emit(&module)?)?;
    walk(&mut Rtl::build_random(&module, 1)?, 30_000, 1).assert(50);
    Ok(())
}

/// The crate's own simulation gives the same in every output of every cycle.
#[test]
fn native_simulation_agrees() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for preset in ["tiny", "edge"] {
        let module = Writes::of(&AccelConfig::preset(preset)?)?.module()?;
        run(&mut Rtl::beside_native(&module)?, preset, 1500, 2);
    }
    walk(&mut Rtl::beside_native(&walkers()?)?, 300, 2);
    Ok(())
}

#[test]
fn cells_and_depth_are_held() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let (mut writes, mut walkers) = (Vec::new(), Vec::new());
    for preset in PRESETS {
        let config = AccelConfig::preset(preset)?;
        writes.push(Writes::of(&config)?.module()?);
        walkers.push(Appends::new(&config).module()?);
    }
    hold("vec_writes", &writes)?;
    Ok(hold("vec_writes_walk", &walkers)?)
}
