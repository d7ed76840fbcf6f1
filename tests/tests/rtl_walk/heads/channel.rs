//! A channel's walk, cycle by cycle.

use super::task::{Run, Span, Step, Task, Wanted, beats};
use crate::weights::machine;
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS};
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError};
use fastcar_hw::walk::Heads;
use fastcar_hw::walk::heads::{CacheSizes, Items, Span as SpanWord, Visit};
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl};
use std::collections::VecDeque;
use std::sync::Arc;

/// The fields of a visit by the names of the wrapper's ports.
pub const FIELDS: [&str; 16] = [
    "weights",
    "base",
    "extent",
    "stride",
    "scales",
    "rows",
    "residue",
    "share",
    "last_unit",
    "spread",
    "token",
    "own",
    "older",
    "listed",
    "bank",
    "guard",
];

/// Fields in, runs and spans' fields out.
pub struct Walk(pub AccelConfig, pub Items);

impl Block for Walk {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let heads = Heads::new(&self.0, self.1);
        let m = Builder::new(format!("of_{}", heads.module()?.name()));
        let s = CacheSizes::new(&self.0);
        // The widths are those of the word.
        let like = Visit::of(&s, m.constant(Bits::zero(Visit::width(&s))));
        let field = |name: &str, width| m.input(&format!("{name}_i"), width);
        let visit = Visit {
            weights: field("weights", like.weights.width()),
            base: field("base", like.base.width()),
            extent: field("extent", like.extent.width()),
            stride: field("stride", like.stride.width()),
            scales: field("scales", like.scales.width()),
            rows: field("rows", like.rows.width()),
            residue: field("residue", like.residue.width()),
            share: field("share", like.share.width()),
            last_unit: field("last_unit", like.last_unit.width()),
            spread: field("spread", like.spread.width()),
            token: field("token", like.token.width()),
            own: field("own", like.own.width()),
            older: field("older", like.older.width()),
            listed: field("listed", 1),
            bank: field("bank", 1),
            guard: field("guard", like.guard.width()),
        };
        let inner = m.instance("u_heads", &heads)?;
        let of_weights = Visit::of_weights(&s, &m, visit.base, visit.extent);
        inner.set("visit_data_i", visit.weights.mux(of_weights, visit.word(&m)));
        let span = SpanWord::of(inner.get("span_data_o"));
        for (name, wire) in [("values", span.values), ("none", span.none), ("last_block", span.last_block)] {
            m.output(&format!("{name}_o"), wire);
        }
        for (name, wire) in [("first", span.first), ("last", span.last), ("mask", span.mask)] {
            m.output(&format!("{name}_o"), wire);
        }
        for port in inner.module().ports() {
            match port.name.as_str() {
                "visit_data_i" | "span_data_o" => {}
                name if port.input => inner.set(name, m.input(name, port.width)),
                name => m.output(name, inner.get(name)),
            }
        }
        m.finish()
    }
}

/// What a run is to be read with.
pub fn segment(config: &AccelConfig, run: &Run, guard: u64, items: Items) -> u64 {
    let address = beats(config).ilog2();
    let guard = if items == Items::All && run.guarded { guard } else { 0 };
    // At 25 bits of address at most, and 6 of the guard.
    run.address | run.length << address | guard << (2 * address)
}

/// What is offered to a channel: its fields, the walk, the guard.
struct Offer {
    fields: Vec<(&'static str, u64)>,
    steps: Vec<Step>,
    guard: u64,
}

/// Numbers of channels that may share a head.
fn shares(config: &AccelConfig) -> Vec<u32> {
    let channels = config.channels();
    (1..=channels).rev().filter(|share| (1..=channels).any(|heads| channels / heads == *share)).collect()
}

/// The fields of a visit to a slot's cache.
pub fn fields(
    config: &AccelConfig,
    task: &Task,
    slot: u64,
    position: u32,
    guard: u64,
    older: bool,
) -> Vec<(&'static str, u64)> {
    let (share, beat) = (task.share(config), config.beat().get());
    let own = position / KV_BLOCK_TOKENS;
    let token = u64::from(position % KV_BLOCK_TOKENS);
    let block = task.layout(config).block_bytes().get() / beat;
    let all = beats(config);
    let extent = u64::from(own / share) * block % all;
    // With one place there is no next one, and any stride is right; it is that of channels with a head of their own.
    let blocks = u64::from(task.positions.div_ceil(KV_BLOCK_TOKENS));
    vec![
        ("weights", 0),
        ("base", task.base(slot) / beat % all),
        ("extent", extent),
        ("stride", blocks * block % all),
        ("scales", u64::from(task.dim / 32)),
        ("rows", u64::from(own / share)),
        ("residue", u64::from(own % share)),
        ("share", shares(config).iter().position(|&other| other == share).unwrap() as u64),
        ("last_unit", u64::from(task.units(config) - 1)),
        ("spread", u64::from(task.heads * share - (task.units(config) - 1) * config.channels())),
        ("token", token),
        ("own", ((token + 1) * u64::from(task.dim)).div_ceil(beat)),
        ("older", older.into()),
        ("listed", 0),
        ("bank", 0),
        ("guard", guard),
    ]
}

/// A channel with what it is given and what it owes.
pub struct Channel {
    prefix: String,
    config: AccelConfig,
    items: Items,
    heads: Heads,
    /// Of the fields.
    widths: [u32; FIELDS.len()],
    channel: u32,
    offer: Offer,
    offers: u64,
    steps: VecDeque<Step>,
    guard: u64,
    run: Option<u64>,
    span: Option<Span>,
    /// With the cycle from which each is there.
    spans: VecDeque<(u64, Span)>,
    gaps: [Gaps; 3],
}

impl Channel {
    pub const BINS: [&str; 18] = [
        "weights",
        "no older block",
        "own block elsewhere",
        "nothing here",
        "no place in the last turn",
        "several places",
        "one token",
        "whole own block",
        "many blocks",
        "one channel a head",
        "read ahead",
        "all items",
        "port holds up",
        "spans hold up",
        "slot behind slot",
        "last channel",
        "part of a beat",
        "three blocks a head",
    ];

    pub fn new(name: &str, items: Items, random: &mut Random) -> Self {
        let config = machine(name);
        let heads = Heads::new(&config, items);
        let kind = if items == Items::All { "main" } else { "ahead" };
        let module = Walk(config.clone(), items).module().unwrap();
        let width = |name: &str| {
            let port = format!("{name}_i");
            module.ports().iter().find(|found| found.name == port).unwrap().width
        };
        let mut new = Self {
            prefix: format!("{name}_{kind}"),
            offer: Offer { fields: Vec::new(), steps: Vec::new(), guard: 0 },
            config,
            items,
            heads,
            widths: FIELDS.map(width),
            channel: 0,
            offers: 0,
            steps: VecDeque::new(),
            guard: 0,
            run: None,
            span: None,
            spans: VecDeque::new(),
            gaps: [80, 60, 60].map(Gaps::new),
        };
        new.next_offer(random);
        new
    }

    fn port(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    fn next_offer(&mut self, random: &mut Random) {
        self.offers += 1;
        if random.chance(12) {
            let all = beats(&self.config);
            let (address, length) = (random.below(all), 1 + random.below(all - 1));
            let run = Run { address, length, guarded: false };
            let mut fields: Vec<_> = FIELDS
                .iter()
                .zip(self.widths)
                .map(|(&name, width)| (name, random.word() >> (64 - width)))
                .collect();
            (fields[0].1, fields[1].1, fields[2].1) = (1, address, length);
            self.offer = Offer { fields, steps: vec![Step { run: Some(run), span: None }], guard: 0 };
            return;
        }
        let task = Task::any(random, &self.config);
        let (slot, position) = (random.below(32), task.position(random));
        let (older, guard) = (random.chance(50), random.below(64));
        let wanted = match self.items {
            Items::All => Wanted { older, own: true },
            Items::Older => Wanted { older: true, own: false },
        };
        let fields = fields(&self.config, &task, slot, position, guard, older);
        let steps = task.steps(&self.config, slot, position, self.channel, wanted);
        self.offer = Offer { fields, steps, guard };
    }

    pub fn cycle(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) {
        let now = dut.cycle();
        // Now and then all is let go, to look at another channel; and the port, or the taker of spans, sleeps.
        let drains = now % 4096 > 3800;
        let [offer, port, taker] = &mut self.gaps;
        let valid = offer.next(random) && !drains;
        let segment_ready = port.next(random) && (now % 3000 > 400 || drains);
        let span_ready = taker.next(random) && (now % 2500 > 900 || drains);
        for (name, value) in &self.offer.fields {
            dut.set(&self.port(&format!("{name}_i")), *value);
        }
        dut.set(&self.port("channel_i"), u64::from(self.channel));
        dut.set(&self.port("visit_valid_i"), valid);
        dut.set(&self.port("segment_ready_i"), segment_ready);
        dut.set(&self.port("span_ready_i"), span_ready);
        self.outputs(dut, now);

        let room = self.spans.len() < self.heads.spans() as usize;
        let (run_free, span_free) = (self.run.is_none() || segment_ready, self.span.is_none() || room);
        cover.hit("port holds up", !self.steps.is_empty() && !run_free);
        cover.hit("spans hold up", !self.steps.is_empty() && !span_free);
        let step = if run_free && span_free { self.steps.pop_front() } else { None };
        let ready = self.steps.is_empty();
        assert_eq!(dut.is_set(&self.port("visit_ready_o")), ready, "{} in cycle {now}", self.prefix);
        self.edge(now, step, [segment_ready, span_ready, room]);
        if valid && ready {
            self.covered(cover, step.is_some());
            self.steps.extend(self.offer.steps.iter());
            self.guard = self.offer.guard;
            self.next_offer(random);
        } else if drains && ready && self.run.is_none() && self.span.is_none() && self.spans.is_empty() {
            self.channel = random.below(self.config.channels().into()) as u32;
            self.next_offer(random);
        }
    }

    fn outputs(&self, dut: &mut Rtl, now: u64) {
        let place = format!("{} on channel {} in cycle {now}", self.prefix, self.channel);
        assert_eq!(dut.is_set(&self.port("segment_valid_o")), self.run.is_some(), "{place}");
        if let Some(run) = self.run {
            assert_eq!(dut.get(&self.port("segment_data_o")), run, "{place}");
        }
        let span = self.spans.front().filter(|span| span.0 <= now).map(|span| span.1);
        assert_eq!(dut.is_set(&self.port("span_valid_o")), span.is_some(), "{place}");
        let Some(span) = span else { return };
        let mut get = |name: &str| dut.get(&self.port(&format!("{name}_o")));
        let flags = [get("values"), get("none"), get("last_block")];
        assert_eq!(flags, [span.values, span.none, span.last_block].map(u64::from), "{place}");
        if let Some(tokens) = span.tokens {
            assert_eq!(["first", "last", "mask"].map(get), tokens, "{place}");
        }
    }

    fn edge(&mut self, now: u64, step: Option<Step>, [segment_ready, span_ready, room]: [bool; 3]) {
        if span_ready && self.spans.front().is_some_and(|span| span.0 <= now) {
            self.spans.pop_front();
        }
        if let Some(span) = self.span.take_if(|_| room) {
            self.spans.push_back((now + u64::from(Heads::SPAN_LATENCY), span));
        }
        if segment_ready {
            self.run = None;
        }
        if let Some(Step { run, span }) = step {
            self.run = run.map(|run| segment(&self.config, &run, self.guard, self.items));
            self.span = span;
        }
    }

    fn covered(&self, cover: &mut Cover, follows: bool) {
        let field = |name: &str| self.offer.fields.iter().find(|field| field.0 == name).unwrap().1;
        let steps = &self.offer.steps;
        let weights = field("weights") == 1;
        cover.hit("weights", weights);
        cover.hit("slot behind slot", follows);
        cover.hit("last channel", self.channel > 0 && self.channel + 1 == self.config.channels());
        if weights {
            return;
        }
        let (main, older) = (self.items == Items::All, field("older") == 1);
        let none = |n: usize| steps[n].run.is_none();
        cover.hit("no older block", (!main || older) && none(0));
        cover.hit("own block elsewhere", main && !older && none(0));
        cover.hit("nothing here", steps.iter().all(|step| step.run.is_none()));
        let several = field("last_unit") > 0;
        cover.hit("no place in the last turn", several && u64::from(self.channel) >= field("spread"));
        cover.hit("several places", several);
        cover.hit("one token", main && field("token") == 0);
        cover.hit("whole own block", main && field("token") == 31);
        cover.hit("many blocks", field("rows") > 100);
        let elements = 32 * field("scales") * (field("token") + 1);
        cover.hit("part of a beat", main && !elements.is_multiple_of(self.config.beat().get()));
        cover.hit("three blocks a head", field("scales") == 3);
        let alone = shares(&self.config).len() as u64 == field("share") + 1;
        cover.hit("one channel a head", alone && self.config.channels() > 1);
        cover.hit("read ahead", main && !older);
        cover.hit("all items", main && older);
    }
}
