//! Whole heads through the channels' shares of the array, from beats as memory holds them to sums, one head behind the other: values against the functional model, cycles beside a model of
//! each channel.

#[path = "channels/head.rs"]
mod head;
#[path = "channels/machine.rs"]
mod machine;
#[path = "channels/model.rs"]
mod model;
#[path = "channels/product.rs"]
mod product;

use super::heads::beats::Sizes;
use super::heads::{Made, config};
use super::{Cover, Gaps, Random, Rtl, TestResult, skipped};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::{HOP, MAC_LATENCY, SCORE_LATENCY};
use fastcar_hw::attn::{Attention, Shape, Spans, WORD, weights::TOTAL};
use fastcar_hw::pe::Cluster;
use fastcar_hw::rtl::{Bits, Block};
use head::{Head, Item};
use machine::Machine;
use model::{AHEAD, MAIN, Model, Phase};
use product::Product;
use std::collections::VecDeque;

const STREAMS: [&str; 2] = ["main", "ahead"];
/// Heads that are made ahead of the one whose keys are armed.
const MADE: usize = 3;

/// A channel: what its streams bring, and when it takes it.
struct Channel {
    beats: [VecDeque<(Vec<u8>, bool)>; 2],
    shown: [bool; 2],
    spans: [VecDeque<Bits>; 2],
    gaps: [Gaps; 2],
    model: Model,
}

impl Channel {
    fn new() -> Self {
        let gaps = [Gaps::new(100), Gaps::new(100)];
        Self {
            beats: Default::default(),
            shown: [false; 2],
            spans: Default::default(),
            gaps,
            model: Model::default(),
        }
    }

    /// What the streams bring of keys, or values.
    fn bring(&mut self, item: &Item, random: &mut Random) {
        for (stream, word) in &item.spans {
            self.spans[*stream].push_back(word.clone());
        }
        for (bytes, (_, stream)) in item.bytes.iter().zip(&item.beats) {
            self.beats[*stream].push_back((bytes.clone(), random.chance(10)));
        }
    }
}

struct Bench {
    sizes: Sizes,
    spans: Spans,
    dut: Rtl,
    random: Random,
    cover: Cover,
    now: u64,
    channels: Vec<Channel>,
    /// Heads that are not read; the first of them may be done.
    heads: VecDeque<Head>,
    /// Heads that have been made.
    made: usize,
    /// The cycle from which on a phase, or a product, may be armed.
    next_arm: u64,
    /// Products that are armed, and not fed: their words for the operands come first.
    products: VecDeque<Product>,
    /// Words of sums that were asked for: head's number, word.
    asked: VecDeque<(u64, usize, usize)>,
    /// Of 100 cycles, those in which the middle waits with what it might do.
    idle: u64,
}

const BINS: [&str; 19] = [
    "list",
    "every token",
    "no token",
    "token left out",
    "channel without a token",
    "own block alone",
    "no own block",
    "several passes over keys",
    "several passes over values",
    "ahead",
    "beat right behind another",
    "phase right behind another",
    "weights and attention right behind each other",
    "before its start",
    "part without a beat",
    "keys behind values at once",
    "queries while keys go on",
    "read while keys go on",
    "narrow",
];

impl Bench {
    fn new(config: AccelConfig, seed: u64) -> Made<Self> {
        let module = Machine { config: config.clone() }.module()?;
        let mut dut = Rtl::build(&module)?;
        for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
            dut.set(&name, Bits::zero(width));
        }
        dut.reset();
        let channels = (0..config.channels()).map(|_| Channel::new()).collect();
        let spans = Spans::new(&config)?;
        let sizes = Sizes { cluster: Cluster::new(&config)?, shape: Shape::of(&config)?, config };
        Ok(Self {
            sizes,
            spans,
            dut,
            random: Random::new(seed),
            cover: Cover::new(&BINS),
            now: 0,
            channels,
            heads: VecDeque::new(),
            made: 0,
            next_arm: 0,
            products: VecDeque::new(),
            asked: VecDeque::new(),
            idle: 0,
        })
    }

    /// Makes a head, and has the streams bring it.
    fn make(&mut self) -> TestResult {
        let mut head = Head::any(&mut self.random, &self.sizes, self.made, &mut self.cover)?;
        // All channels have the same weights.
        for _ in 0..[0, 0, 1, 2][self.random.below(4) as usize] {
            let product = Product::any(&mut self.random, &self.sizes)?;
            for channel in &mut self.channels {
                let stream = if product.ahead { AHEAD } else { MAIN };
                let beat = (vec![0; self.sizes.beat()], self.random.chance(10));
                channel.beats[stream].extend((0..product.beats).map(|_| beat.clone()));
            }
            head.products.push_back(product);
        }
        for (channel, items) in self.channels.iter_mut().zip(&head.items) {
            items.iter().for_each(|item| channel.bring(item, &mut self.random));
            channel.gaps = [0, 1].map(|_| Gaps::new([100, 100, 70, 30][self.random.below(4) as usize]));
        }
        self.idle = [0, 0, 30, 90][self.random.below(4) as usize];
        self.heads.push_back(head);
        self.made += 1;
        Ok(())
    }

    fn willing(&mut self) -> bool {
        !self.random.chance(self.idle)
    }

    /// The middle: arms phases, sends queries, asks.
    fn middle(&mut self) {
        for name in ["arm_valid_i", "query_valid_i", "send_i", "ask_i"] {
            self.dut.set(name, false);
        }
        if let Some(n) = self.heads.iter().position(|head| !head.queries.is_empty()) {
            // Its bank was that of the head before the one before.
            let free = n < 2 || self.heads[n - 2].keys_over.is_some();
            if free && self.willing() {
                let query = self.heads[n].queries.pop_front();
                self.dut.set("query_valid_i", true);
                self.dut.set("query_i", query.unwrap());
                self.cover.hit("queries while keys go on", n > 0 && self.heads[n - 1].keys_over.is_none());
            }
        }
        // Sums of weights stay until those of the next head come.
        let latency = u64::from(self.sizes.cluster.value_latency());
        if self.heads.iter().any(|head| head.values_over.is_some_and(|over| self.now == over + latency)) {
            self.dut.set("ask_i", true);
        }
        for n in 0..self.heads.len() {
            if self.heads[n]
                .keys_over
                .is_some_and(|over| self.now == over + MAC_LATENCY + u64::from(Attention::SEND))
            {
                self.dut.set("send_i", true);
            }
        }
        self.set_all("product_i", Bits::bit_of(false));
        if self.now >= self.next_arm {
            self.arm();
        }
        self.feed();
    }

    /// The same for all channels.
    fn set_all(&mut self, port: &str, value: Bits) {
        (0..self.channels.len()).for_each(|c| self.dut.set(&format!("c{c}_{port}"), value.clone()));
    }

    /// Sends the operands of the products that are armed, then these.
    fn feed(&mut self) {
        for port in ["operand_valid_i", "product_valid_i"] {
            self.set_all(port, Bits::bit_of(false));
        }
        let willing = self.willing();
        let Some(product) = self.products.front_mut().filter(|_| willing) else { return };
        if let Some((header, word)) = product.words.pop_front() {
            self.set_all("operand_valid_i", Bits::bit_of(true));
            self.set_all("operand_header_i", Bits::bit_of(header));
            self.set_all("operand_data_i", word);
        } else {
            let descriptor = product.descriptor.clone();
            self.products.pop_front();
            self.set_all("product_valid_i", Bits::bit_of(true));
            self.set_all("product_data_i", descriptor);
            self.channels.iter_mut().for_each(|channel| channel.model.feed(self.now));
        }
    }

    /// Arms a product of weights.
    fn arm_product(&mut self, product: Product) {
        self.set_all("product_i", Bits::bit_of(true));
        self.next_arm = self.now + 1;
        let stream = if product.ahead { AHEAD } else { MAIN };
        for channel in &mut self.channels {
            channel.model.expect(product.pace, product.beats, stream);
        }
        self.products.push_back(product);
    }

    /// Arms the next phase if it may be, for all channels.
    fn arm(&mut self) {
        let Some(n) = self.heads.iter().position(|head| head.armed[1].is_none()) else { return };
        let values = self.heads[n].armed[0].is_some();
        if let Some(product) = self.heads[n].products.pop_front() {
            return self.arm_product(product);
        }
        let may = match values {
            // Queries come a cycle before.
            false => self.heads[n].queries.is_empty(),
            true => {
                let scores = self.heads[n]
                    .keys_over
                    .is_some_and(|over| self.now >= over + MAC_LATENCY + SCORE_LATENCY + HOP);
                // The words may still be read.
                let others: Vec<_> = self.heads.iter().take(n).map(|head| head.words.clone()).collect();
                let own = &self.heads[n].words;
                scores && others.iter().all(|other| other.end <= own.start || own.end <= other.start)
            }
        };
        if !may || !self.willing() {
            return;
        }
        self.cover.hit(
            "keys behind values at once",
            !values && n > 0 && self.heads[n - 1].armed[1] == Some(self.now - 2),
        );
        self.next_arm = self.now + 2;
        let (now, head) = (self.now, &mut self.heads[n]);
        head.armed[usize::from(values)] = Some(now);
        self.dut.set("arm_valid_i", true);
        self.dut.set("arm_i", head.phase(&self.spans, values));
        for (channel, items) in self.channels.iter_mut().zip(&head.items) {
            let item = &items[usize::from(values)];
            channel.model.arm(now, &Phase { values, pace: item.pace, beats: &item.beats });
        }
    }

    /// A channel's streams, and what it has to do with them in this cycle.
    fn channel(&mut self, c: usize) {
        let channel = &mut self.channels[c];
        let dut = &mut self.dut;
        for (stream, name) in STREAMS.into_iter().enumerate() {
            let port = |what: &str| format!("c{c}_{name}_{what}");
            dut.set(&port("span_valid_i"), !channel.spans[stream].is_empty());
            if let Some(word) = channel.spans[stream].front() {
                dut.set(&port("span_data_i"), word.clone());
            }
            let willing = channel.gaps[stream].next(&mut self.random);
            channel.shown[stream] |= willing && !channel.beats[stream].is_empty();
            dut.set(&port("beat_valid_i"), channel.shown[stream]);
            if let Some((bytes, last)) = channel.beats[stream].front() {
                let bytes = Bits::from_bytes(8 * bytes.len() as u32, bytes);
                dut.set(&port("beat_data_i"), super::scores::pack([bytes, Bits::bit_of(*last)]));
            }
        }
        let beats = [MAIN, AHEAD].map(|s| channel.beats[s].front().map(|b| b.1).filter(|_| channel.shown[s]));
        let out = channel.model.predict(self.now, beats);
        let at = format!("channel {c}, cycle {}", self.now);
        for (stream, name) in STREAMS.into_iter().enumerate() {
            let port = |what: &str| format!("c{c}_{name}_{what}");
            assert_eq!(dut.is_set(&port("beat_ready_o")), out.ready[stream], "{name} ready, {at}");
            let free = out.free.filter(|free| free.0 == stream);
            assert_eq!(dut.is_set(&port("free_o")), free.is_some(), "{name} free, {at}");
            if let Some((_, last)) = free {
                assert_eq!(dut.is_set(&port("free_last_o")), last, "{name} last, {at}");
            }
            if dut.is_set(&port("span_ready_o")) {
                channel.spans[stream].pop_front();
            }
        }
        for (kind, name) in ["keys_done_o", "values_done_o", "done_o"].into_iter().enumerate() {
            assert_eq!(dut.is_set(&format!("c{c}_{name}")), out.done[kind], "{name}, {at}");
        }
        assert_eq!(dut.is_set(&format!("c{c}_busy_o")), out.busy, "busy, {at}");
        if let Some(stream) = out.taken {
            channel.beats[stream].pop_front();
            channel.shown[stream] = false;
        }
        self.cover.hit("beat right behind another", out.at_once);
        self.cover.hit("phase right behind another", out.phase_at_once);
        self.cover.hit("weights and attention right behind each other", out.other_at_once);
        self.cover.hit("before its start", out.early);
        self.cover.hit("part without a beat", out.passed);
        for values in [false, true].into_iter().filter(|&values| out.done[usize::from(values)]) {
            let head = self.heads.iter_mut().find(|head| !head.done[c][usize::from(values)]);
            head.unwrap().done[c][usize::from(values)] = true;
        }
    }

    /// What comes of the heads: the largest, sums of weights, sums of values.
    fn results(&mut self) {
        let now = self.now;
        for head in &mut self.heads {
            for (over, values) in [(&mut head.keys_over, 0), (&mut head.values_over, 1)] {
                if over.is_none() && head.done.iter().all(|done| done[values]) {
                    *over = Some(now);
                }
            }
        }
        let pairs = self.sizes.shape.pairs();
        if self.dut.is_set("agreed_valid_o") {
            let words = self.dut.bits("agreed_o");
            let word = |pair: u32| words.slice(pair * WORD, WORD).to_u64().unwrap();
            let head = self.heads.iter_mut().find(|head| head.agreed.len() <= head.passes()).unwrap();
            assert_eq!(self.dut.is_set("agreed_first_o"), head.agreed.is_empty());
            head.agreed.push((0..pairs).map(word).collect());
        }
        if self.dut.is_set("total_valid_o") {
            let found = self.dut.bits("total_o");
            let total = |pair: u32| found.slice(pair * TOTAL, TOTAL).to_u64().unwrap();
            let unknown = |head: &&mut Head| head.totals.len() < head.passes() * pairs as usize;
            let head = self.heads.iter_mut().find(unknown).unwrap();
            head.totals.extend((0..pairs).map(total));
        }
        self.read();
    }

    /// Asks for the sums of the first head, when its values are over, and takes those that come.
    fn read(&mut self) {
        let (now, channels) = (self.now, self.channels.len());
        if self.asked.front().is_some_and(|asked| asked.0 == now) {
            let (_, word, _) = self.asked.pop_front().unwrap();
            for c in 0..channels {
                assert!(self.dut.is_set(&format!("c{c}_value_valid_o")));
                let found = self.dut.bits(&format!("c{c}_value_sum_o"));
                let sums = (0..found.width() / 48).map(|n| found.slice(48 * n, 48).to_i64().unwrap());
                self.heads[0].sums[c][word] = sums.collect();
            }
        }
        let willing = self.willing();
        let latency = u64::from(self.sizes.cluster.value_latency());
        let head =
            self.heads.front_mut().filter(|head| head.values_over.is_some_and(|over| now >= over + latency));
        let asks = head.filter(|head| head.read < head.words.len() && willing);
        for c in 0..channels {
            self.dut.set(&format!("c{c}_value_valid_i"), asks.is_some());
        }
        if let Some(head) = asks {
            for c in 0..channels {
                self.dut.set(&format!("c{c}_value_address_i"), (head.words.start + head.read) as u64);
            }
            self.asked.push_back((now + 2, head.read, 0));
            head.read += 1;
            let next = self.heads.get(1);
            self.cover.hit(
                "read while keys go on",
                next.is_some_and(|next| next.armed[0].is_some() && next.keys_over.is_none()),
            );
        }
    }

    fn cycle(&mut self) -> TestResult {
        self.middle();
        (0..self.channels.len()).for_each(|c| self.channel(c));
        self.results();
        self.dut.tick();
        self.now += 1;
        let full = |head: &Head| {
            head.read == head.words.len()
                && head.totals.len() >= head.passes() * self.sizes.shape.pairs() as usize
        };
        if self.asked.is_empty() && self.heads.front().is_some_and(full) {
            let head = self.heads.pop_front().unwrap();
            head.check(&self.sizes, &mut self.cover);
        }
        Ok(())
    }

    fn run(&mut self, heads: usize) -> TestResult {
        let mut last = (0, 0);
        while self.made < heads || !self.heads.is_empty() {
            if self.made < heads && self.heads.len() < MADE {
                self.make()?;
            }
            self.cycle()?;
            if last.0 != self.made - self.heads.len() {
                last = (self.made - self.heads.len(), self.now);
            }
            assert!(self.now < last.1 + 50_000, "stuck: {} heads are left", self.heads.len());
        }
        assert!(self.channels.iter().all(|channel| channel.model.idle()));
        Ok(())
    }
}

fn channels_of(config: AccelConfig, heads: usize, seed: u64) -> TestResult {
    let mut bench = Bench::new(config, seed)?;
    bench.run(heads)?;
    bench.cover.assert(1);
    Ok(())
}

#[test]
fn channels_alone_keep_their_cycles_and_sums() -> TestResult {
    if skipped() {
        return Ok(());
    }
    channels_of(config("tiny", 1, 16)?, 60, 1)
}

#[test]
fn channels_of_32_byte_beats_keep_their_cycles_and_sums() -> TestResult {
    if skipped() {
        return Ok(());
    }
    channels_of(config("edge", 4, 32)?, 60, 2)
}

#[test]
fn channels_of_64_byte_beats_keep_their_cycles_and_sums() -> TestResult {
    if skipped() {
        return Ok(());
    }
    channels_of(config("u55c", 2, 64)?, 80, 3)
}
