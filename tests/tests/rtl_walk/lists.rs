//! Block lists at a channel: kept as they come, read out for the walks.

use crate::weights::{MACHINES, machine};
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS};
use fastcar_arch::layout::{LIST_BANKS, LIST_PLACES, ListLayout};
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError, emit};
use fastcar_hw::walk::heads::CacheSizes;
use fastcar_hw::walk::{Entry, ListJob, Lists, Note};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl, accept, gather, hold, skipped};
use std::collections::VecDeque;
use std::sync::Arc;

/// A keeper with the parts of its words.
struct Keeper(AccelConfig);

impl Block for Keeper {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let lists = Lists::new(&self.0);
        let m = Builder::new(format!("of_{}", lists.module()?.name()));
        let zeros = |width: u32| m.constant(Bits::zero(width));
        let inner = m.instance("u_lists", &lists)?;
        let like = Note::of(&lists, zeros(lists.note_bits()));
        let note = |name: &str, width| m.input(&format!("note_{name}_i"), width);
        let note = Note {
            beats: note("beats", like.beats.width()),
            list: note("list", 1),
            last: note("last", 1),
            bank: note("bank", 1),
            slot: note("slot", like.slot.width()),
            headers: note("headers", like.headers.width()),
        };
        inner.set("note_data_i", note.word(&m));
        for stream in ["main", "ahead"] {
            let like = ListJob::of(&lists, zeros(lists.job_bits()));
            let part = |name: &str, width| m.input(&format!("{stream}_{name}_i"), width);
            let job = ListJob {
                slots: part("slots", like.slots.width()),
                bank: part("bank", 1),
                last_place: part("last_place", like.last_place.width()),
                room: part("room", like.room.width()),
                scales: part("scales", like.scales.width()),
            };
            inner.set(&format!("{stream}_job_data_i"), job.word(&m));
        }
        for stream in ["own", "older"] {
            let entry = Entry::of(&CacheSizes::new(&self.0), inner.get(&format!("{stream}_data_o")));
            for (name, wire) in [
                ("none", entry.none),
                ("last", entry.last),
                ("row", entry.row),
                ("at", entry.at),
                ("beats", entry.beats),
                ("split", entry.split),
                ("skip", entry.skip),
                ("elements", entry.elements),
                ("first_token", entry.first_token),
                ("last_token", entry.last_token),
                ("mask", entry.mask),
            ] {
                m.output(&format!("{stream}_{name}_o"), wire);
            }
        }
        for port in inner.module().ports() {
            match port.name.as_str() {
                name if name.ends_with("data_i") && name != "beat_data_i" => {}
                "own_data_o" | "older_data_o" => {}
                name if port.input => inner.set(name, m.input(name, port.width)),
                name => m.output(name, inner.get(name)),
            }
        }
        m.finish()
    }
}

fn keepers() -> Result<Arc<Module>, Box<dyn std::error::Error>> {
    let parts: Result<Vec<_>, RtlError> =
        MACHINES.iter().map(|name| Ok((*name, Keeper(machine(name)).module()?))).collect();
    Ok(gather("list_keepers", &parts?)?)
}

/// What a walk is to be told: nothing else counts where there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Want {
    none: bool,
    last: bool,
    rest: Option<[u64; 9]>,
}

impl Want {
    /// An entry's row and mask for a head of so many blocks of 32 words.
    fn new(config: &AccelConfig, scales: u64, (row, mask): (u32, u32), values: bool, last: bool) -> Self {
        if mask == 0 {
            return Self { none: true, last, rest: None };
        }
        let beat = config.beat().get();
        let (first, final_token) = (u64::from(mask.trailing_zeros()), u64::from(31 - mask.leading_zeros()));
        let (skip, end) = (first * scales * 32 / beat, ((final_token + 1) * scales * 32).div_ceil(beat));
        let (elements, split) = (end - skip, first > 0 && !values);
        let block = 2 * u64::from(KV_BLOCK_TOKENS) * scales * 33 / beat;
        let beats = (config.channel_capacity().get() / beat).next_power_of_two();
        let at = (u64::from(row) * block + if values { skip } else { 0 }) % beats;
        let scale_beats = 2 * u64::from(KV_BLOCK_TOKENS) * scales / beat;
        let run = match (values, split) {
            (true, _) => elements,
            (false, false) => scale_beats + elements,
            (false, true) => scale_beats,
        };
        let rest = [row.into(), at, run, split.into(), skip, elements, first, final_token, mask.into()];
        Self { none: false, last, rest: Some(rest) }
    }
}

/// A command with its lists on a channel.
struct Asked {
    layout: ListLayout,
    scales: u64,
    /// By slot, ascending.
    records: Vec<(u64, Vec<u8>)>,
    wants: [Vec<Want>; 2],
}

impl Asked {
    fn any(random: &mut Random, config: &AccelConfig) -> Self {
        let channels = config.channels();
        let most = LIST_PLACES * channels;
        let heads = [1, 1 + random.below(channels.into()) as u32, 1 + random.below(most.into()) as u32];
        let heads = heads[random.below(3) as usize];
        let slots = [1, config.slots(), 1 + random.below(config.slots().into()) as u32];
        let slots = slots[random.below(3) as usize];
        let most = ListLayout::most_entries(config, slots, heads);
        let room = [1, 12, most][random.below(3) as usize].min(most);
        let layout = ListLayout::new(config, heads, 1 + random.below(room.into()) as u32);
        let channel = random.below(channels.into()) as usize;
        let (scales, often) = (1 + random.below(32), [0, 30, 90][random.below(3) as usize]);
        let slots = 1 + random.below((1 << slots) - 1);
        let mut asked = Self { layout, scales, records: Vec::new(), wants: Default::default() };
        for slot in (0..u64::from(config.slots())).filter(|slot| slots >> slot & 1 == 1) {
            let pos = random.below(40 * 32) as u32;
            let list = |random: &mut Random| {
                let blocks: Vec<_> = (0..=pos / 32).filter(|_| random.chance(often)).collect();
                blocks.into_iter().map(|block| (block, random.word() as u32 >> random.below(32))).collect()
            };
            let lists: Vec<Vec<_>> = (0..heads).map(|_| list(random)).collect();
            let record = layout.record(pos, &lists).swap_remove(channel);
            asked.want(config, &record);
            asked.records.push((slot, record));
        }
        asked
    }

    /// What is read out of a slot's record.
    fn want(&mut self, config: &AccelConfig, record: &[u8]) {
        let word = |at: u64| {
            let word: [u8; 8] = record[at as usize..][..8].try_into().unwrap();
            let word = u64::from_le_bytes(word);
            (word as u32, (word >> 32) as u32)
        };
        for place in 0..u64::from(self.layout.places()) {
            let (count, own) = word(8 * place);
            let first = self.layout.header_bytes().get() + 8 * place * u64::from(self.layout.entries());
            for values in [false, true] {
                self.wants[0].push(Want::new(config, self.scales, (0, own), values, true));
                let entry = |n: u32| {
                    let entry = word(first + 8 * u64::from(n));
                    Want::new(config, self.scales, entry, values, n + 1 == count)
                };
                self.wants[1].extend((0..count).map(entry));
                if count == 0 {
                    self.wants[1].push(Want { none: true, last: true, rest: None });
                }
            }
        }
    }

    fn slots(&self) -> u64 {
        self.records.iter().map(|record| 1 << record.0).sum()
    }
}

/// What is asked of the control queue.
struct Asks {
    list: bool,
    last: bool,
    bank: u64,
    slot: u64,
    headers: u64,
    bytes: Vec<u8>,
}

/// A stream of jobs with what comes of them.
struct Reader {
    job: &'static str,
    entries: &'static str,
    /// Commands whose lists have come, and which of them is next.
    next: u64,
    wants: VecDeque<(u64, Want)>,
    /// When the first entry has to come.
    first: Option<u64>,
    gaps: [Gaps; 2],
    latency: u64,
}

struct Bench {
    prefix: String,
    config: AccelConfig,
    asked: VecDeque<Asked>,
    /// Number of the oldest that is kept, commands that have been asked for, and that have come.
    oldest: u64,
    begun: u64,
    come: u64,
    notes: VecDeque<Asks>,
    /// With the cycle from which each may come.
    beats: VecDeque<(u64, Vec<u8>, Option<u64>, bool)>,
    readers: [Reader; 2],
    gaps: [Gaps; 2],
}

const BINS: [&str; 8] = [
    "list",
    "other",
    "both banks",
    "no entry",
    "several places",
    "in two runs",
    "first in time",
    "entries hold up",
];

impl Bench {
    fn new(name: &str) -> Self {
        let reader = |job, entries, latency| Reader {
            job,
            entries,
            next: 0,
            wants: VecDeque::new(),
            first: None,
            gaps: [60, 80].map(Gaps::new),
            latency,
        };
        let latency = u64::from(Lists::LATENCY);
        Self {
            prefix: name.to_owned(),
            config: machine(name),
            asked: VecDeque::new(),
            oldest: 0,
            begun: 0,
            come: 0,
            notes: VecDeque::new(),
            beats: VecDeque::new(),
            readers: [reader("main", "own", latency - 1), reader("ahead", "older", latency)],
            gaps: [70, 70].map(Gaps::new),
        }
    }

    fn port(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    /// Asks for the lists of one more command, and for something else.
    fn ask(&mut self, random: &mut Random) {
        let asked = Asked::any(random, &self.config);
        let bank = self.begun % 2;
        let beat = self.config.beat().get();
        let headers = asked.layout.header_bytes().get() / beat;
        let last = asked.records.len() - 1;
        for (n, (slot, bytes)) in asked.records.iter().enumerate() {
            if random.chance(20) {
                let bytes = vec![0xA5; (beat * (1 + random.below(5))) as usize];
                self.notes.push_back(Asks { list: false, last: true, bank, slot: 0, headers: 0, bytes });
            }
            let (slot, bytes) = (*slot, bytes.clone());
            self.notes.push_back(Asks { list: true, last: n == last, bank, slot, headers, bytes });
        }
        self.asked.push_back(asked);
        self.begun += 1;
    }

    fn cycle(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) {
        let now = dut.cycle();
        while self.asked.front().is_some()
            && self.readers.iter().all(|r| r.next > self.oldest && r.wants.is_empty())
        {
            self.asked.pop_front();
            self.oldest += 1;
        }
        if self.asked.len() < LIST_BANKS as usize && self.notes.is_empty() && random.chance(5) {
            self.ask(random);
        }
        self.note(dut, random, now);
        self.beat(dut, random, cover, now);
        for reader in 0..2 {
            self.read(dut, random, cover, (now, reader));
        }
        assert_eq!(dut.get(&self.port("wrong_o")), 0, "{} in cycle {now}", self.prefix);
    }

    fn note(&mut self, dut: &mut Rtl, random: &mut Random, now: u64) {
        let valid = !self.notes.is_empty() && self.gaps[0].next(random);
        dut.set(&self.port("note_valid_i"), valid);
        let Some(note) = self.notes.front().filter(|_| valid) else { return };
        let beat = self.config.beat().get() as usize;
        let beats = (note.bytes.len() / beat) as u64;
        let flag = u64::from;
        for (name, value) in [
            ("beats", beats),
            ("list", flag(note.list)),
            ("last", flag(note.last)),
            ("bank", note.bank),
            ("slot", note.slot),
            ("headers", note.headers),
        ] {
            dut.set(&self.port(&format!("note_{name}_i")), value);
        }
        if dut.is_set(&self.port("note_ready_o")) {
            let note = self.notes.pop_front().unwrap();
            for (n, bytes) in (1..).zip(note.bytes.chunks(beat)) {
                let arrives = note.list && note.last && n == beats;
                self.beats.push_back((now + 3, bytes.to_vec(), arrives.then_some(note.bank), note.list));
            }
        }
    }

    fn beat(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover, now: u64) {
        let come = self.beats.front().is_some_and(|beat| beat.0 <= now) && self.gaps[1].next(random);
        dut.set(&self.port("beat_valid_i"), come);
        let beat = if come { self.beats.pop_front() } else { None };
        if let Some((_, bytes, ..)) = &beat {
            let bits = Bits::from_bytes(8 * bytes.len() as u32, bytes);
            dut.set(&self.port("beat_data_i"), bits);
        }
        let other = beat.as_ref().is_some_and(|beat| !beat.3);
        assert_eq!(dut.is_set(&self.port("other_o")), other, "{} in cycle {now}", self.prefix);
        let arrives = beat.as_ref().and_then(|beat| beat.2);
        let expected = arrives.map_or(0, |bank| 1 << bank);
        assert_eq!(dut.get(&self.port("arrived_o")), expected, "{} in cycle {now}", self.prefix);
        self.come += u64::from(arrives.is_some());
        cover.hit("list", arrives.is_some());
        cover.hit("other", other);
        cover.hit("both banks", arrives.is_some() && self.asked.len() == 2);
    }

    fn read(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover, (now, which): (u64, usize)) {
        let reader = &mut self.readers[which];
        let name = |what: &str| format!("{}_{}_{what}", self.prefix, reader.job);
        // Lists are read the cycle after they have come at the earliest.
        let [job, takes] = &mut reader.gaps;
        let valid = reader.next < self.come && job.next(random);
        dut.set(&name("job_valid_i"), valid);
        let asked = self.asked.get((reader.next - self.oldest) as usize).filter(|_| valid);
        if let Some(asked) = asked {
            for (part, value) in [
                ("slots", asked.slots()),
                ("bank", reader.next % 2),
                ("last_place", u64::from(asked.layout.places() - 1)),
                ("room", asked.layout.entries().into()),
                ("scales", asked.scales),
            ] {
                dut.set(&name(&format!("{part}_i")), value);
            }
        }
        let taken = asked.filter(|_| dut.is_set(&name("job_ready_o")));
        let ready = takes.next(random) && now % 1000 > 200;
        let port = |what: &str| format!("{}_{}_{what}", self.prefix, reader.entries);
        dut.set(&port("ready_i"), ready);
        let valid = dut.is_set(&port("valid_o"));
        let place = format!("{} {} in cycle {now}", self.prefix, reader.entries);
        if let Some(first) = reader.first {
            assert!(valid == (now == first) || now > first, "{place}: the first entry was due in {first}");
            cover.hit("first in time", now == first);
            reader.first = reader.first.filter(|_| now < first);
        }
        if valid {
            let mut get = |part: &str| dut.get(&port(&format!("{part}_o")));
            let (none, last) = (get("none") == 1, get("last") == 1);
            let parts =
                ["row", "at", "beats", "split", "skip", "elements", "first_token", "last_token", "mask"];
            let rest = (!none).then(|| parts.map(get));
            let want = &reader.wants.front().unwrap_or_else(|| panic!("{place}: nothing is due")).1;
            assert_eq!(&Want { none, last, rest }, want, "{place}");
            cover.hit("no entry", none);
            cover.hit("in two runs", want.rest.is_some_and(|rest| rest[3] == 1));
            cover.hit("entries hold up", !ready);
            if ready {
                reader.wants.pop_front();
            }
        }
        if let Some(asked) = taken {
            cover.hit("several places", asked.layout.places() > 1);
            if reader.wants.is_empty() && !valid {
                reader.first = Some(now + reader.latency);
            }
            reader.wants.extend(asked.wants[which].iter().map(|want| (now, want.clone())));
            reader.next += 1;
        }
    }
}

fn keep(dut: &mut Rtl, cycles: u64, seed: u64) -> Cover {
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&BINS);
    let mut benches = MACHINES.map(Bench::new);
    dut.reset();
    for _ in 0..cycles {
        benches.iter_mut().for_each(|bench| bench.cycle(dut, &mut random, &mut cover));
        dut.tick();
    }
    cover
}

#[test]
fn lists_are_read_out() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let module = keepers()?;
    accept(&emit(&module)?)?;
    keep(&mut Rtl::build_random(&module, 21)?, 30_000, 21).assert(20);
    keep(&mut Rtl::beside_native(&module)?, 200, 22);
    Ok(())
}

#[test]
fn cells_of_lists_are_as_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let modules: Result<Vec<_>, RtlError> =
        crate::PRESETS.iter().map(|preset| Lists::new(&machine(preset)).module()).collect();
    hold("walk_lists", &modules?)?;
    Ok(())
}
