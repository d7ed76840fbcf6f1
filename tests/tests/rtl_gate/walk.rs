//! The walk over past keys beside the layout of caches.

use super::machine;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{Addr, Command, GateTas};
use fastcar_arch::layout::KvLayout;
use fastcar_arch::step::SlotEntry;
use fastcar_hw::cmd::{COMMAND_BITS, Fields};
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError, emit};
use fastcar_hw::walk::past::Place;
use fastcar_hw::walk::{Direction, Job, Known, PastWalker, Sizes, shape};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Random, Rtl, accept, gather, skipped};
use std::collections::VecDeque;
use std::sync::Arc;

/// Commands in, runs and slots out.
struct Walk {
    config: AccelConfig,
}

impl Block for Walk {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("walk_past_{}", self.config.name()));
        let s = Sizes::new(&self.config);
        let fields = Fields::new(m.input("command_i", COMMAND_BITS));
        let (slots, allow) = (m.input("slots_i", s.slots), m.input("allow_i", s.slots));
        let known = Known { slots, ring: m.lit(s.slots, 0), allow };
        let job: Job<'_> = shape(&s, &m, &fields, Direction::Read)?.job(&s, &known);
        m.output("some_o", job.some());
        let walk = m.instance("u_walk", &PastWalker::new(&self.config))?;
        walk.set("job_valid_i", m.input("valid_i", 1));
        walk.set("job_data_i", job.word(&m));
        m.output("ready_o", walk.get("job_ready_o"));
        for (name, width) in [("go_i", 1), ("entry_i", 192), ("blocks_i", 11)] {
            walk.set(name, m.input(name, width));
        }
        for name in
            ["slot_valid_o", "slot_o", "run_valid_o", "run_address_o", "run_length_o", "run_channels_o"]
        {
            m.output(name, walk.get(name));
        }
        m.output("place_valid_o", walk.get("place_valid_o"));
        let place = Place::of(&self.config, walk.get("place_o"));
        let parts = [
            ("slot", place.slot),
            ("none", place.none),
            ("last", place.last),
            ("channel", place.channel),
            ("channels", place.last_channels),
            ("offset", place.offset),
            ("beats", place.scale_beats),
            ("odd", place.odd),
        ];
        parts.iter().for_each(|(name, wire)| m.output(&format!("place_{name}_o"), *wire));
        m.finish()
    }
}

/// A cycle of the walk: a run on some channels, and the slot that begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Step {
    /// First beat, beats, channels.
    run: Option<[u64; 3]>,
    place: Option<Named>,
}

/// What is said of a slot: its number, whether it is the last; of one with keys the first channel, the channels of the last heads, offset and beats of its
/// scale bytes, and whether the token is odd.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Named {
    slot: u64,
    last: bool,
    keys: Option<[u64; 5]>,
}

/// A command with the step that it is for.
#[derive(Default)]
struct Task {
    command: GateTas,
    entries: Vec<SlotEntry>,
    slots: u64,
    allow: u64,
    positions: u32,
}

impl Task {
    fn any(random: &mut Random, config: &AccelConfig) -> Self {
        let beat = config.beat().get();
        let beats = config.channel_capacity().get() / beat;
        let scales = loop {
            let most = if random.chance(20) { 32 } else { 4 };
            let scales = 1 + random.below(most);
            if scales == 1 || (scales * 32).is_multiple_of(beat) {
                break scales;
            }
        };
        let channels = u64::from(config.channels());
        let most = [channels, 2 * channels + 2, 3][random.below(3) as usize];
        let kv_heads = (1 + random.below(most)) as u16;
        let positions = [32, 33, 100, 1000, 32768][random.below(5) as usize];
        let period = [1, 5, 32, 64, 500, 32767, 32768, u32::MAX][random.below(8) as usize];
        let any = |random: &mut Random| random.below(beats) * beat;
        let (addr, slot_stride) = (Addr(any(random)), [0, any(random)][random.below(2) as usize]);
        let command = GateTas {
            kv_heads,
            head_dim: 32 * scales as u16,
            period,
            addr,
            slot_stride,
            ..GateTas::default()
        };
        let entries = (0..config.slots())
            .map(|_| SlotEntry { pos: random.below(positions.into()) as u32, ring: 7, ..SlotEntry::idle() })
            .collect();
        let all = (1_u64 << config.slots()) - 1;
        let mut mask =
            || [all, random.word() & all, random.word() & all & 0x11, 0][random.below(8).min(3) as usize];
        Self { command, entries, slots: mask(), allow: mask() | mask(), positions }
    }

    /// What comes of it, cycle by cycle.
    fn steps(&self, config: &AccelConfig) -> Vec<Step> {
        let (allowed, c) = (self.slots & self.allow, &self.command);
        let slots: Vec<_> = (0..64).filter(|s| allowed >> s & 1 == 1).collect();
        let Some(&last) = slots.last() else { return self.of_slot(config, 0, None, true) };
        let past = |slot: u64| self.entries[slot as usize].pos.checked_sub(c.period);
        slots.iter().flat_map(|&slot| self.of_slot(config, slot, past(slot), slot == last)).collect()
    }

    fn of_slot(&self, config: &AccelConfig, slot: u64, past: Option<u32>, last: bool) -> Vec<Step> {
        let c = &self.command;
        let layout = KvLayout::new(config, c.kv_heads.into(), c.head_dim.into(), self.positions);
        let (beat, channels) = (config.beat().get(), config.channels() as usize);
        let beats = config.channel_capacity().get() / beat;
        let scales = u64::from(c.head_dim) / 32;
        let mut steps = Vec::new();
        for elements in [false, true] {
            for unit in 0..u64::from(c.kv_heads).div_ceil(channels as u64) {
                // The heads of a place: one on each of some channels, at the same offset.
                let heads = (unit * channels as u64..u64::from(c.kv_heads)).take(channels);
                let mut found: Option<[u64; 3]> = None;
                let mut first = channels as u64;
                let mut offset = 0;
                for head in heads {
                    let Some(token) = past else { continue };
                    let places = layout.token(head, token.into());
                    let (at, bytes) =
                        if elements { (places.key, scales * 32) } else { (places.key_scales, scales) };
                    let address = (c.addr.0 + slot * c.slot_stride + at) / beat % beats;
                    let length = (at + bytes).div_ceil(beat) - at / beat;
                    let channels = found.map_or(0, |run| run[2]) | 1 << places.channel;
                    assert!(found.is_none_or(|run| run[..2] == [address, length]), "alike on all channels");
                    found = Some([address, length, channels]);
                    first = first.min(places.channel as u64);
                    offset = places.key_scales % beat;
                }
                let begins = steps.is_empty();
                let keys = found.map(|run| [first, 0, offset, run[1], u64::from(past.unwrap_or(0) % 2)]);
                let place = begins.then_some(Named { slot, last, keys });
                steps.push(Step { run: found, place });
            }
        }
        let last = steps.last().and_then(|step: &Step| step.run).map_or(0, |run| run[2]);
        if let Some(keys) = steps.first_mut().and_then(|step| step.place.as_mut()?.keys.as_mut()) {
            keys[1] = last;
        }
        steps
    }
}

struct Bench {
    name: String,
    config: AccelConfig,
    task: Task,
    /// Steps of the job under way, and from when on the first may go.
    left: VecDeque<Step>,
    from: u64,
    due: VecDeque<(u64, Step)>,
}

impl Bench {
    fn port(&self, name: &str) -> String {
        format!("{}_{name}", self.name)
    }

    fn cycle(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) {
        let now = dut.cycle();
        let (valid, go) = (random.chance(80), random.chance(75));
        let task = &self.task;
        let command = Command::from(task.command).encode();
        dut.set(&self.port("valid_i"), valid);
        dut.set(&self.port("go_i"), go);
        dut.set(&self.port("command_i"), Bits::from_bytes(COMMAND_BITS, &command));
        dut.set(&self.port("slots_i"), task.slots);
        dut.set(&self.port("allow_i"), task.allow);
        let (asks, slot) = (dut.is_set(&self.port("slot_valid_o")), dut.get(&self.port("slot_o")));
        // Where it does not ask, the table answers somebody else.
        let last = self.task.entries.len() as u64 - 1;
        let entry = self.task.entries[if asks { slot.min(last) } else { random.below(last + 1) } as usize];
        let bytes: Vec<u8> =
            [entry.pos, entry.ring, 0, 0, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect();
        dut.set(&self.port("entry_i"), Bits::from_bytes(192, &bytes));
        dut.set(&self.port("blocks_i"), u64::from(self.task.positions.div_ceil(32)));

        self.output(dut, now);
        if go
            && self.from <= now
            && let Some(step) = self.left.pop_front()
        {
            self.due.push_back((now + u64::from(PastWalker::LATENCY) - 1, step));
        }
        let ready = self.left.is_empty();
        assert_eq!(dut.is_set(&self.port("ready_o")), ready, "cycle {now}");
        assert!(dut.is_set(&self.port("some_o")));
        if valid && ready {
            let steps = self.task.steps(&self.config);
            let (heads, channels) = (u32::from(self.task.command.kv_heads), self.config.channels());
            let some = steps.iter().any(|step| step.run.is_some());
            cover.hit("keys", some);
            cover.hit("no keys", !some);
            cover.hit("nobody", self.task.slots & self.task.allow == 0);
            cover.hit("several places", some && heads > channels);
            cover.hit("shared heads", some && heads < channels);
            let straddles = |step: &Step| step.place.and_then(|p| p.keys).is_some_and(|keys| keys[3] > 1);
            cover.hit("scale bytes in two beats", steps.iter().any(straddles));
            (self.left, self.from) = (steps.into(), now + 1);
            // The next may come right behind; the step table stays.
            if random.chance(70) {
                let Task { command, slots, allow, .. } = Task::any(random, &self.config);
                self.task = Task { command, slots, allow, ..std::mem::take(&mut self.task) };
            }
        } else if self.left.is_empty() && self.due.is_empty() {
            // The entries are asked for behind the job: a task stays until nothing of it is on its way.
            self.task = Task::any(random, &self.config);
        }
    }

    fn output(&mut self, dut: &mut Rtl, now: u64) {
        let step = self.due.pop_front_if(|due| due.0 == now).map(|due| due.1).unwrap_or_default();
        let mut get = |name: &str| dut.get(&format!("{}_{name}", self.name));
        assert_eq!(get("run_valid_o"), u64::from(step.run.is_some()), "cycle {now}: {step:?}");
        if let Some(run) = step.run {
            let found = ["run_address_o", "run_length_o", "run_channels_o"].map(&mut get);
            assert_eq!(found, run, "cycle {now}: {:?}", self.task.command);
        }
        assert_eq!(get("place_valid_o"), u64::from(step.place.is_some()), "cycle {now}");
        let Some(place) = step.place else { return };
        assert_eq!(get("place_slot_o"), place.slot);
        assert_eq!(get("place_last_o") == 1, place.last);
        assert_eq!(get("place_none_o") == 1, place.keys.is_none());
        if let Some(keys) = place.keys {
            let found =
                ["channel", "channels", "offset", "beats", "odd"].map(|name| get(&format!("place_{name}_o")));
            assert_eq!(found, keys, "cycle {now}: {:?}", self.task.command);
        }
    }
}

fn configs() -> Vec<(String, AccelConfig)> {
    let presets = ["tiny", "edge", "u55c"].map(|name| (name.to_owned(), AccelConfig::preset(name).unwrap()));
    presets.into_iter().chain([("half".to_owned(), machine(2, 32))]).collect()
}

/// Runs and slots are those of the layout, each in its cycle.
#[test]
fn past_keys_are_walked() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let modules: Result<Vec<_>, RtlError> =
        configs().into_iter().map(|(name, config)| Ok((name, Walk { config }.module()?))).collect();
    let modules = modules?;
    let parts: Vec<_> = modules.iter().map(|(name, module)| (name.as_str(), module.clone())).collect();
    let module = gather("past_walkers", &parts)?;
    accept(&emit(&module)?)?;
    let mut dut = Rtl::beside_native(&module)?;
    for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
        dut.set(&name, Bits::zero(width));
    }
    dut.reset();
    let mut random = Random::new(1);
    let bins = ["keys", "no keys", "nobody", "several places", "shared heads", "scale bytes in two beats"];
    let mut cover = Cover::new(&bins);
    let mut benches: Vec<_> = configs()
        .into_iter()
        .map(|(name, config)| {
            let task = Task::any(&mut random, &config);
            Bench { name, config, task, left: VecDeque::new(), from: 0, due: VecDeque::new() }
        })
        .collect();
    for _ in 0..12_000 {
        for bench in &mut benches {
            bench.cycle(&mut dut, &mut random, &mut cover);
        }
        dut.tick();
    }
    cover.assert(20);
    Ok(())
}
