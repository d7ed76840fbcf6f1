//! Attention that waits for its slots and for older writes.

use super::task::{Task, beats};
use crate::weights::machine;
use fastcar_arch::config::AccelConfig;
use fastcar_hw::cmd::{COMMAND_BITS, Fields, Writers};
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError};
use fastcar_hw::walk::heads::{CacheSizes, Caches};
use fastcar_hw::walk::{HeadQueue, Listed, Lists, WaitingHeads};
use fastcar_tests::rtl::{Cover, Random, Rtl};
use std::collections::VecDeque;
use std::sync::Arc;

/// Commands in, the parts of jobs out.
pub struct Queue(pub AccelConfig);

impl Block for Queue {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let queue = HeadQueue::new(&self.0);
        let m = Builder::new(format!("of_{}", queue.module()?.name()));
        let s = CacheSizes::new(&self.0);
        let fields = Fields::new(m.input("command_i", COMMAND_BITS));
        let lists = Listed::new(&Lists::new(&self.0), &fields, m.input("bank_i", 1))?;
        let waiting = WaitingHeads {
            index: m.input("index_i", 8),
            pred: fields.pred(),
            decides: m.input("decides_i", 1),
            decision: m.input("number_i", 8),
            before: m.input("writers_i", 8),
            caches: Caches::new(&s, &fields, m.input("older_i", 1), &lists)?,
            lists,
        };
        let inner = m.instance("u_queue", &queue)?;
        inner.set("push_i", waiting.word(&m));
        for port in inner.module().ports() {
            match port.name.as_str() {
                "push_i" => {}
                "job_data_o" => {
                    let (job, slots) = (inner.get("job_data_o"), self.0.slots());
                    let caches = Caches::of(&s, job.slice(slots, Caches::width(&s)));
                    m.output("job_slots_o", job.trunc(slots));
                    m.output("job_guard_o", job.slice(slots + Caches::width(&s), 6));
                    m.output("job_addr_o", caches.addr);
                    m.output("job_stride_o", caches.slot_stride);
                    m.output("job_heads_o", caches.heads);
                    m.output("job_scales_o", caches.scales);
                    m.output("job_older_o", caches.older);
                }
                name if port.input => inner.set(name, m.input(name, port.width)),
                name => m.output(name, inner.get(name)),
            }
        }
        m.finish()
    }
}

/// A command in the queue: what comes with it, and what is said of it while it is the first.
struct Pushed {
    task: Task,
    index: u64,
    decision: Option<u64>,
    before: u64,
    older: bool,
    slots: u64,
    guard: Option<u64>,
    /// Cycles from when it is the first until its slots are known, and from then on until its guard is.
    known_after: u64,
    guard_after: u64,
}

impl Pushed {
    fn any(random: &mut Random, config: &AccelConfig, index: u64) -> Self {
        let all = (1_u64 << config.slots()) - 1;
        let after = |random: &mut Random| if random.chance(60) { 0 } else { random.below(12) };
        Self {
            task: Task::any(random, config),
            index,
            decision: random.chance(50).then(|| random.below(256)),
            before: random.below(256),
            older: random.chance(50),
            slots: [0, all, random.word() & all][random.below(3) as usize],
            guard: random.chance(50).then(|| random.below(256)),
            known_after: after(random),
            guard_after: after(random),
        }
    }
}

/// A queue with what waits in it.
pub struct Waits {
    prefix: String,
    config: AccelConfig,
    waiting: VecDeque<Pushed>,
    index: u64,
    since: u64,
}

impl Waits {
    pub const BINS: [&str; 8] =
        ["at once", "waits for slots", "waits for a guard", "no guard", "job", "no slot", "held up", "full"];

    pub fn new(name: &str) -> Self {
        let prefix = format!("{name}_queue");
        Self { prefix, config: machine(name), waiting: VecDeque::new(), index: 0, since: 0 }
    }

    fn port(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    pub fn cycle(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) {
        let often = if dut.cycle() & 1024 == 0 { 40 } else { 12 };
        let push = self.waiting.len() < 64 && random.chance(often);
        let new = Pushed::any(random, &self.config, self.index);
        let values = [
            ("push_valid_i", u64::from(push)),
            ("index_i", new.index % 256),
            ("decides_i", u64::from(new.decision.is_some())),
            ("number_i", new.decision.unwrap_or(0)),
            ("writers_i", new.before),
            ("older_i", u64::from(new.older)),
        ];
        values.iter().for_each(|(name, value)| dut.set(&self.port(name), *value));
        dut.set(&self.port("command_i"), Bits::from_bytes(COMMAND_BITS, &new.task.command().encode()));
        let ready = random.chance(80);
        dut.set(&self.port("job_ready_i"), ready);
        assert_eq!(dut.is_set(&self.port("front_valid_o")), !self.waiting.is_empty());
        let leaves = self.first(dut, random, cover, ready);
        assert_eq!(dut.is_set(&self.port("leaves_o")), leaves, "{} in cycle {}", self.prefix, dut.cycle());

        cover.hit("full", self.waiting.len() == 64);
        if leaves {
            self.waiting.pop_front();
        }
        if leaves || self.waiting.is_empty() {
            self.since = dut.cycle() + 1;
        }
        if push {
            self.waiting.push_back(new);
            self.index += 1;
        }
    }

    /// What is said of the first one, and what it says; whether it leaves.
    fn first(&self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover, ready: bool) -> bool {
        let (now, latency) = (dut.cycle(), u64::from(Writers::LATENCY));
        let all = (1_u64 << self.config.slots()) - 1;
        let Some(first) = self.waiting.front() else {
            dut.set(&self.port("known_i"), random.chance(50));
            assert!(!dut.is_set(&self.port("job_valid_o")));
            return false;
        };
        assert_eq!(dut.get(&self.port("front_o")), first.index % 256);
        assert_eq!(dut.get(&self.port("pred_o")), first.task.pred as u64);
        assert_eq!(dut.is_set(&self.port("decision_valid_o")), first.decision.is_some());
        assert!(first.decision.is_none_or(|gate| gate == dut.get(&self.port("decision_o"))));
        assert_eq!(dut.get(&self.port("before_o")), first.before);
        let family = first.task.addr / self.config.beat().get() % beats(&self.config);
        assert_eq!(dut.get(&self.port("family_o")), family);
        let known = self.since + first.known_after;
        let slots = if known <= now { first.slots } else { random.word() & all };
        dut.set(&self.port("known_i"), known <= now);
        dut.set(&self.port("slots_i"), slots);
        assert_eq!(dut.get(&self.port("asked_o")), slots);
        // Answers are to the questions of some cycles ago; before they are true they are anything.
        let answered = known + first.guard_after + latency <= now;
        dut.set(&self.port("wait_i"), if known + latency <= now { !answered } else { random.chance(50) });
        dut.set(
            &self.port("guard_valid_i"),
            if answered { first.guard.is_some() } else { random.chance(50) },
        );
        dut.set(&self.port("guard_i"), if answered { first.guard.unwrap_or(0) } else { random.below(256) });

        let some = first.slots != 0;
        assert_eq!(dut.is_set(&self.port("job_valid_o")), answered && some, "{} in cycle {now}", self.prefix);
        if answered && some {
            self.check_job(dut, first);
        }
        let leaves = answered && (ready || !some);
        cover.hit("at once", leaves && now == self.since + latency);
        cover.hit("waits for slots", leaves && first.known_after > 0);
        cover.hit("waits for a guard", leaves && first.guard_after > 0);
        cover.hit("no guard", leaves && first.guard.is_none());
        cover.hit("job", leaves && some);
        cover.hit("no slot", leaves && !some);
        cover.hit("held up", answered && !leaves);
        leaves
    }

    fn check_job(&self, dut: &mut Rtl, first: &Pushed) {
        let Pushed { task, older, slots, .. } = first;
        let (beat, all) = (self.config.beat().get(), beats(&self.config));
        let mut get = |name: &str| dut.get(&self.port(&format!("job_{name}_o")));
        assert_eq!([get("slots"), get("older")], [*slots, u64::from(*older)]);
        assert_eq!(
            [get("addr"), get("stride")],
            [task.addr, task.slot_stride].map(|bytes| bytes / beat % all)
        );
        assert_eq!([get("heads"), get("scales")], [task.heads, task.dim / 32].map(u64::from));
        let guard = get("guard");
        assert_eq!(guard >> 5 == 1, first.guard.is_some());
        assert!(first.guard.is_none_or(|number| number % 32 == guard % 32));
    }
}
