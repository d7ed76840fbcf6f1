//! The slots' caches, as all channels are told of them.

use super::channel::{FIELDS, fields};
use super::task::Task;
use crate::weights::machine;
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS};
use fastcar_arch::step::SlotEntry;
use fastcar_hw::cmd::{COMMAND_BITS, Fields};
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError, Wire};
use fastcar_hw::walk::heads::{CacheSizes, Caches, Visit};
use fastcar_hw::walk::{CacheWalker, Listed};
use fastcar_tests::rtl::{Cover, Random, Rtl};
use std::collections::VecDeque;
use std::sync::Arc;

/// Commands in, the fields of their slots' caches out.
pub struct Middle(pub AccelConfig);

/// The fields of a visit, in the order of [`FIELDS`].
fn of_visit<'m>(v: &Visit<'m>) -> [Wire<'m>; FIELDS.len()] {
    let places = [v.weights, v.base, v.extent, v.stride, v.scales, v.rows, v.residue];
    let rest = [v.share, v.last_unit, v.spread, v.token, v.own, v.older, v.listed, v.bank, v.guard];
    std::array::from_fn(|n| if n < 7 { places[n] } else { rest[n - 7] })
}

impl Block for Middle {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let walker = CacheWalker::new(&self.0);
        let m = Builder::new(format!("of_{}", walker.module()?.name()));
        let s = CacheSizes::new(&self.0);
        let command = Fields::new(m.input("command_i", COMMAND_BITS));
        let lists = Listed { some: m.input("listed_i", 1), bank: m.input("bank_i", 1), room: m.lit(1, 0) };
        let caches = Caches::new(&s, &command, m.input("older_i", 1), &lists)?;
        let job = m.pack(&[m.input("slots_i", self.0.slots()), caches.word(&m), m.input("guard_i", 6)]);
        let inner = m.instance("u_walk", &walker)?;
        inner.set("job_data_i", job);
        for port in inner.module().ports() {
            match port.name.as_str() {
                "job_data_i" | "visit_o" => {}
                name if port.input => inner.set(name, m.input(name, port.width)),
                name => m.output(name, inner.get(name)),
            }
        }
        let visit = Visit::of(&s, inner.get("visit_o"));
        for (name, wire) in FIELDS.iter().zip(of_visit(&visit)) {
            m.output(&format!("{name}_o"), wire);
        }
        m.finish()
    }
}

/// Slots, often all or one, but one at least.
pub fn any_slots(random: &mut Random, slots: u32) -> u64 {
    let all = (1_u64 << slots) - 1;
    match random.below(4) {
        0 => all,
        1 => 1 << random.below(slots.into()),
        _ => (random.word() & all) | 1 << random.below(slots.into()),
    }
}

/// The slots of a mask in ascending order.
pub fn slots_of(mask: u64) -> impl Iterator<Item = u64> {
    (0..64).filter(move |slot| mask >> slot & 1 == 1)
}

/// The entry of a slot at a position.
pub fn entry(position: u32) -> Bits {
    let SlotEntry { ring, token, .. } = SlotEntry::idle();
    let words: Vec<u8> = [position, ring].into_iter().chain(token).flat_map(u32::to_le_bytes).collect();
    Bits::from_bytes(192, &words)
}

/// A command for some slots.
struct Job {
    task: Task,
    slots: u64,
    guard: u64,
    older: bool,
    /// Whether it has lists, and their bank.
    lists: [bool; 2],
}

/// A slot's cache that is told.
type Told = Vec<(&'static str, u64)>;

/// A walker with what it is given and what it owes.
pub struct Slots {
    prefix: String,
    config: AccelConfig,
    /// Of the step: positions that there is room for, and the slots'.
    like: Task,
    positions: Vec<u32>,
    job: Job,
    left: VecDeque<Told>,
    due: VecDeque<(u64, Told)>,
}

impl Slots {
    pub const BINS: [&str; 8] = [
        "all slots",
        "one slot",
        "job behind job",
        "held up",
        "later block",
        "shared head",
        "several places",
        "most positions",
    ];

    pub fn new(name: &str, random: &mut Random) -> Self {
        let config = machine(name);
        let like = Task::any(random, &config);
        let job = Job { task: like, slots: 1, guard: 0, older: false, lists: [false; 2] };
        let prefix = format!("{name}_middle");
        let (left, due) = (VecDeque::new(), VecDeque::new());
        let mut new = Self { prefix, config, like, positions: Vec::new(), job, left, due };
        new.next_step(random);
        new
    }

    fn port(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    fn next_step(&mut self, random: &mut Random) {
        self.like = Task::any(random, &self.config);
        self.positions = (0..self.config.slots()).map(|_| self.like.position(random)).collect();
        self.next_job(random);
    }

    fn next_job(&mut self, random: &mut Random) {
        let task = Task { positions: self.like.positions, ..Task::any(random, &self.config) };
        let slots = any_slots(random, self.config.slots());
        let lists = [50, 50].map(|percent| random.chance(percent));
        self.job = Job { task, slots, guard: random.below(64), older: random.chance(50), lists };
    }

    pub fn cycle(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) {
        let now = dut.cycle();
        let drains = now % 512 > 440;
        let (valid, go) = (random.chance(80) && !drains, random.chance(75));
        dut.set(&self.port("job_valid_i"), valid);
        dut.set(&self.port("go_i"), go);
        dut.set(&self.port("command_i"), Bits::from_bytes(COMMAND_BITS, &self.job.task.command().encode()));
        dut.set(&self.port("slots_i"), self.job.slots);
        dut.set(&self.port("guard_i"), self.job.guard);
        dut.set(&self.port("older_i"), self.job.older);
        for (name, value) in ["listed_i", "bank_i"].iter().zip(self.job.lists) {
            dut.set(&self.port(name), value);
        }
        dut.set(&self.port("blocks_i"), u64::from(self.like.positions.div_ceil(KV_BLOCK_TOKENS)));
        let slot = dut.get(&self.port("slot_o")) as usize;
        let position = self.positions.get(slot).copied().unwrap_or_default();
        dut.set(&self.port("entry_i"), entry(position));

        let due = self.due.pop_front_if(|due| due.0 == now);
        assert_eq!(dut.is_set(&self.port("visit_valid_o")), due.is_some(), "{} in cycle {now}", self.prefix);
        for (name, value) in due.map(|due| due.1).unwrap_or_default() {
            assert_eq!(
                dut.get(&self.port(&format!("{name}_o"))),
                value,
                "{name} of {} in cycle {now}",
                self.prefix
            );
        }
        let waited = !self.left.is_empty();
        cover.hit("held up", waited && !go);
        if let Some(told) = if go { self.left.pop_front() } else { None } {
            self.due.push_back((now + u64::from(CacheWalker::LATENCY) - 1, told));
        }
        let ready = self.left.is_empty();
        assert_eq!(dut.is_set(&self.port("job_ready_o")), ready, "{} in cycle {now}", self.prefix);
        if valid && ready {
            cover.hit("job behind job", waited);
            self.take(cover);
            self.next_job(random);
        } else if drains && ready && self.due.is_empty() {
            self.next_step(random);
        }
    }

    fn take(&mut self, cover: &mut Cover) {
        let Job { task, slots, guard, older, lists } = &self.job;
        let told = |slot: u64| {
            let mut told = fields(&self.config, task, slot, self.positions[slot as usize], *guard, *older);
            for (name, value) in &mut told {
                match *name {
                    "listed" => *value = lists[0].into(),
                    "bank" => *value = lists[1].into(),
                    _ => {}
                }
            }
            told
        };
        self.left.extend(slots_of(*slots).map(told));
        cover.hit("all slots", slots.count_ones() == self.config.slots());
        cover.hit("one slot", slots.count_ones() == 1);
        cover.hit("later block", slots_of(*slots).any(|slot| self.positions[slot as usize] > 1024));
        cover.hit("shared head", task.share(&self.config) > 1);
        cover.hit("several places", task.units(&self.config) > 1);
        cover.hit("most positions", task.positions == 1 << 15);
    }
}
