//! The way of a product's rows from the clusters to the vector unit, cycle by cycle beside a model: [`Results`] in the middle, a [`Drain`] at
//! each channel, [`HOP`] registers each way. The clusters' words are made up by the test.
//!
//! What was changed by hand to see these tests fail, and what failed:
//!
//! | change | seen in |
//! |---|---|
//! | a product is due a cycle later, the next one is taken up a cycle later | `request` |
//! | an entry less may be under way | `request` |
//! | it is ready a cycle early | `ready_o` |
//! | one cluster is not waited for | `through_o` |
//! | entries are collected without `sums_ready_i` | `sums_valid_o` |
//! | an entry that is used as it comes is queued too | sums |
//! | rows count as words | `request_word_o` |
//! | the highest slot comes first | `request` |
//! | the next product begins with the slots of the one before | `slots_o` |
//! | the window of the product behind | `base_o` |
//! | the groups of an entry backwards, the column a cycle late | sums |
//! | numbers go on in the next run | `request_column_o` |
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::{DRAIN_LATENCY, HOP, MAC_LATENCY, RESULT_LATENCY};
use fastcar_hw::array::results::{ASK, DEPTH, ROUND_TRIP};
use fastcar_hw::array::{Drain, Place, Results};
use fastcar_hw::pe::Cluster;
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError, Wire, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Figures, Gaps, Random, Rtl, accept, hold, skipped};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bits of a row.
const ROW: u32 = 48;

/// All of the way, but for the clusters.
struct Way {
    config: AccelConfig,
}

/// Registers of the network.
fn hop<'m>(m: &'m Builder, name: &str, wire: Wire<'m>) -> Wire<'m> {
    (0..HOP).fold(wire, |wire, stage| m.register_valid(&format!("{name}_{stage}"), wire))
}

impl Block for Way {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("way_{}", self.config.fields().name));
        let results = m.instance("u_results", &Results::new(&self.config)?)?;
        let ports = results.module().ports().to_vec();
        for port in &ports {
            match port.input {
                true if port.name.contains("row_") || port.name == "rows_i" => {}
                true => results.set(&port.name, m.input(&port.name, port.width)),
                false => m.output(&port.name, results.get(&port.name)),
            }
        }
        let asked = ["valid", "column", "word", "row"]
            .map(|name| (name, hop(&m, name, results.get(&format!("request_{name}_o")))));
        let (mut rows, mut valids) = (Vec::new(), Vec::new());
        let drain = Drain::new(&self.config)?;
        for c in 0..self.config.channels() {
            let drain = m.instance(&format!("u_drain_{c}"), &drain)?;
            asked.iter().for_each(|(name, wire)| drain.set(&format!("request_{name}_i"), *wire));
            for port in drain.module().ports().iter().filter(|port| port.name.starts_with("drain")) {
                let name = port.name.replace("drain", &format!("drain{c}"));
                match port.input {
                    true => drain.set(&port.name, m.input(&name, port.width)),
                    false => m.output(&name, drain.get(&port.name)),
                }
            }
            rows.push(drain.get("row_o"));
            valids.push(drain.get("row_valid_o"));
        }
        m.output("drained_o", m.pack(&valids));
        results.set("row_valid_i", hop(&m, "come", valids[0]));
        results.set("rows_i", hop(&m, "rows", m.pack(&rows)));
        m.finish()
    }
}

/// What a cluster has in a row of a word of a column: any 48 bits, a quarter of them extreme ones.
fn sum(channel: u32, column: u64, word: u64, row: u64) -> u64 {
    let mut x = u64::from(channel) << 40 ^ column << 32 ^ word << 8 ^ row;
    for _ in 0..2 {
        x = (x ^ x >> 31).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    let mask = (1 << ROW) - 1;
    match x >> 59 {
        0..2 => 0,
        2..4 => mask,
        4..6 => 1 << (ROW - 1),
        6..8 => mask >> 1,
        _ => x & mask,
    }
}

/// Sizes that the rules name.
struct Sizes {
    channels: u32,
    columns: u64,
    slots: u32,
    /// Rows of a word, width of a cluster's addresses, cycles in which it gives a word.
    word_rows: u64,
    address: u32,
    answer: u64,
    /// Entries of a group, groups of an entry.
    entries: u64,
    groups: u64,
}

impl Sizes {
    fn new(config: &AccelConfig, cluster: &Cluster) -> Self {
        let (channels, lanes) = (config.channels(), config.vector_lanes());
        Self {
            channels,
            columns: config.columns().into(),
            slots: config.slots(),
            word_rows: cluster.rows().into(),
            address: cluster.address_width(),
            answer: cluster.drain_latency().into(),
            entries: u64::from(lanes / channels).max(1),
            groups: u64::from(channels / lanes).max(1),
        }
    }
}

/// A product that is under way.
struct Product {
    number: u64,
    /// Ascending.
    slots: Vec<(u64, Place<u64>)>,
    rows: u64,
    armed: u64,
    /// Places that were told, and when the last one was.
    placed: usize,
    placed_at: u64,
    through: Option<u64>,
    /// Parts that have begun, entries that were decided for and used up.
    begun: usize,
    decided: u64,
    used: u64,
}

impl Product {
    fn entries(&self) -> u64 {
        self.rows * self.slots.len() as u64
    }

    fn is_over(&self) -> bool {
        self.begun == self.slots.len() && self.used == self.entries()
    }

    /// Column, word and row in it of an entry.
    fn place_of(&self, entry: u64, sizes: &Sizes) -> [u64; 3] {
        let (place, row) = (&self.slots[(entry / self.rows) as usize].1, entry % self.rows);
        [place.column, place.word + row / sizes.word_rows, row % sizes.word_rows]
    }
}

/// How the vector unit takes sums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Takes {
    /// Only in parts, then in every cycle.
    Steadily,
    /// Only in parts, with gaps.
    Now,
    /// Whenever there may be any, also before a part begins.
    Eagerly,
}

/// How willing everybody is, in percent: it changes now and then.
struct Mood {
    products: Gaps,
    places: Gaps,
    clusters: Vec<Gaps>,
    begins: Gaps,
    sums: Gaps,
    left: u64,
}

impl Mood {
    fn new(random: &mut Random, channels: u32) -> Self {
        let mut gaps = |of: &[u64]| Gaps::new(of[random.below(of.len() as u64) as usize]);
        let (products, places) = (gaps(&[100, 30, 5, 2]), gaps(&[100, 100, 60]));
        let clusters = (0..channels).map(|_| gaps(&[100, 100, 30])).collect();
        let (begins, sums) = (gaps(&[100, 100, 50, 0]), gaps(&[100, 70, 30, 2]));
        let mut mood = Self { products, places, clusters, begins, sums, left: 20 + random.below(400) };
        if random.chance(30) {
            // The others are products ahead of one.
            mood.clusters[random.below(channels.into()) as usize] = Gaps::new(0);
        }
        mood
    }
}

const BINS: [&str; 21] = [
    "one slot",
    "all slots",
    "several words",
    "most rows",
    "place with its product",
    "clusters drift apart",
    "products through in a row",
    "through while another drains",
    "another product's request right behind",
    "ready while rows of the product before are asked for",
    "begins as soon as it is ready",
    "the next product is ready at once",
    "queue full",
    "resumes with a full queue",
    "entry used as it comes",
    "entry waits",
    "wanted and not there",
    "NaN",
    "no sums",
    "numbers begin again",
    "64 under way",
];

/// Entries on their way: the cycle in which it leaves as a request, the place.
type Asked = (u64, [u64; 3]);

struct Bench {
    sizes: Sizes,
    results: Results,
    drain: Drain,
    dut: Rtl,
    random: Random,
    mood: Mood,
    cover: Cover,
    takes: Takes,
    cycle: u64,
    /// Of this run: products armed, products through in each cluster and in all.
    armed: u64,
    done: Vec<u64>,
    through: u64,
    products: VecDeque<Product>,
    /// Places to be told: number of the product in the run, slot.
    untold: VecDeque<(u64, usize)>,
    /// Requests to leave, to be at the clusters, to be answered by these, to come back.
    leaving: VecDeque<Asked>,
    asking: VecDeque<Asked>,
    answering: VecDeque<Asked>,
    coming: VecDeque<Asked>,
    /// Of what is decided for and has not come: whether its slot has no sums.
    nones: VecDeque<bool>,
    /// Entries that wait, those kept of a group, groups taken of the first.
    entries: VecDeque<Vec<u64>>,
    kept: Vec<u64>,
    taken: u64,
    outstanding: u32,
    was_full: bool,
    /// Groups left in the part that is under way, and when these are taken if the vector unit does not wait.
    part: u64,
    expected: VecDeque<u64>,
    last_through: u64,
    last_decided: u64,
    last_ended: u64,
}

fn inputs_zero(dut: &mut Rtl) {
    for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
        dut.set(&name, Bits::zero(width));
    }
}

impl Bench {
    fn new(config: &AccelConfig, native: bool, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let module = Way { config: config.clone() }.module()?;
        let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
        inputs_zero(&mut dut);
        dut.reset();
        let mut random = Random::new(seed);
        Ok(Self {
            sizes: Sizes::new(config, &Cluster::new(config)?),
            results: Results::new(config)?,
            drain: Drain::new(config)?,
            dut,
            mood: Mood::new(&mut random, config.channels()),
            random,
            cover: Cover::new(&BINS),
            takes: Takes::Now,
            // Times before the first cycle are in use.
            cycle: 1000,
            armed: 0,
            done: vec![0; config.channels() as usize],
            through: 0,
            products: VecDeque::new(),
            untold: VecDeque::new(),
            leaving: VecDeque::new(),
            asking: VecDeque::new(),
            answering: VecDeque::new(),
            coming: VecDeque::new(),
            nones: VecDeque::new(),
            entries: VecDeque::new(),
            kept: Vec::new(),
            taken: 0,
            outstanding: 0,
            was_full: false,
            part: 0,
            expected: VecDeque::new(),
            last_through: 0,
            last_decided: 0,
            last_ended: 0,
        })
    }

    /// The number in the run of the oldest product that is under way.
    fn oldest(&self) -> u64 {
        self.armed - self.products.len() as u64
    }

    fn slots(&mut self) -> Vec<u64> {
        let slots = u64::from(self.sizes.slots);
        match self.random.below(10) {
            0..3 => vec![self.random.below(slots)],
            3 => (0..slots).collect(),
            _ => {
                let mask = self.random.word() | 1 << self.random.below(slots);
                (0..slots).filter(|slot| mask >> slot & 1 == 1).collect()
            }
        }
    }

    fn new_product(&mut self) -> Product {
        let (mut slots, most) = (self.slots(), u64::from(self.results.most_rows()));
        let mut rows = self.sizes.entries * (1 + self.random.below(6));
        if self.random.chance(1) {
            (slots, rows) = (vec![self.random.below(self.sizes.slots.into())], most);
        }
        let widths = self.results.place();
        let mut any = |width: u32| self.random.bits(width).to_u64().unwrap();
        let mut place = |slot| {
            let column = any(widths.column).min(self.sizes.columns - 1);
            let [word, base, nan] = [widths.word, widths.base, widths.nan].map(&mut any);
            (slot, Place { column, word, base, nan, none: u64::from(any(3) == 0) })
        };
        let slots: Vec<_> = slots.into_iter().map(&mut place).collect();
        self.cover.hit("one slot", slots.len() == 1);
        self.cover.hit("all slots", slots.len() == self.sizes.slots as usize);
        self.cover.hit("several words", rows > self.sizes.word_rows);
        self.cover.hit("most rows", rows == most);
        self.cover.hit("no sums", slots.iter().any(|slot| slot.1.none == 1));
        self.cover.hit("NaN", slots.iter().any(|slot| slot.1.nan == 1));
        let number = self.armed % u64::from(Results::PRODUCTS);
        let (armed, placed_at) = (self.cycle, 0);
        Product {
            number,
            slots,
            rows,
            armed,
            placed: 0,
            placed_at,
            through: None,
            begun: 0,
            decided: 0,
            used: 0,
        }
    }

    /// Arms a product, now and then.
    fn arm(&mut self, more: bool) {
        let room = self.products.len() < Results::PRODUCTS as usize;
        self.cover.hit("64 under way", !room);
        let arms = more && room && self.mood.products.next(&mut self.random);
        self.dut.set("product_valid_i", arms);
        if !arms {
            return;
        }
        let product = self.new_product();
        let mask = product.slots.iter().fold(0, |mask, slot| mask | 1 << slot.0);
        self.dut.set("product_slots_i", Bits::from_u64(self.sizes.slots, mask));
        self.dut.set("product_rows_i", product.rows);
        self.untold.extend((0..product.slots.len()).map(|slot| (self.armed, slot)));
        self.cover.hit("numbers begin again", self.armed >= u64::from(Results::PRODUCTS));
        self.armed += 1;
        self.products.push_back(product);
    }

    /// Tells a place, now and then.
    fn tell(&mut self) {
        let tells = !self.untold.is_empty() && self.mood.places.next(&mut self.random);
        self.dut.set("place_valid_i", tells);
        if !tells {
            return;
        }
        let (product, nth) = self.untold.pop_front().unwrap();
        let oldest = self.oldest();
        let product = &mut self.products[(product - oldest) as usize];
        let (slot, place) = &product.slots[nth];
        let widths = self.results.place();
        let word = place.column
            | place.word << widths.column
            | place.base << (widths.column + widths.word)
            | place.nan << (widths.column + widths.word + widths.base)
            | place.none << (widths.column + widths.word + widths.base + widths.nan);
        self.dut.set("place_product_i", product.number);
        self.dut.set("place_slot_i", *slot);
        self.dut.set("place_i", word);
        product.placed += 1;
        product.placed_at = self.cycle;
        self.cover.hit("place with its product", product.armed == self.cycle);
    }

    /// Clusters are through with products; the last of them only when the places have been told.
    fn done(&mut self) {
        let mut bits = 0;
        for c in 0..self.done.len() {
            let next = self.done[c];
            let last = (0..self.done.len()).all(|other| other == c || self.done[other] > next);
            let ahead = next - self.done.iter().min().unwrap();
            let Some(product) = (next < self.armed).then(|| &self.products[(next - self.oldest()) as usize])
            else {
                continue;
            };
            let told = product.placed == product.slots.len() && product.placed_at + 4 <= self.cycle;
            let may = product.armed < self.cycle && (told || !last) && ahead < 17;
            if may && self.mood.clusters[c].next(&mut self.random) {
                bits |= 1 << c;
                self.done[c] += 1;
                self.cover.hit("clusters drift apart", ahead > 4);
            }
        }
        self.dut.set("done_i", Bits::from_u64(self.sizes.channels, bits));
    }

    /// The product that all clusters are through with in this cycle.
    fn check_through(&mut self) {
        let through = self.done.iter().all(|&done| done > self.through);
        assert_eq!(self.dut.is_set("through_o"), through, "through_o, cycle {}", self.cycle);
        if through {
            let at = (self.through - self.oldest()) as usize;
            self.products[at].through = Some(self.cycle);
            self.through += 1;
            self.cover.hit("products through in a row", self.last_through + 1 == self.cycle);
            self.cover.hit("through while another drains", at > 0 && self.products[0].used > 0);
            self.last_through = self.cycle;
        }
    }

    /// Decides for the next request.
    fn decide(&mut self) {
        let now = self.cycle;
        let full = self.outstanding == DEPTH;
        let Some(product) = self.products.iter_mut().find(|p| p.decided < p.entries()) else { return };
        let first = product.decided == 0;
        let due = product.through.is_some_and(|at| at + MAC_LATENCY - 2 * HOP <= now + ASK);
        self.cover.hit("queue full", due && full);
        if due && !full {
            self.leaving.push_back((now + ASK, product.place_of(product.decided, &self.sizes)));
            self.nones.push_back(product.slots[(product.decided / product.rows) as usize].1.none == 1);
            product.decided += 1;
            self.outstanding += 1;
            let behind = self.last_decided + 1 == now;
            self.cover.hit("another product's request right behind", first && behind);
            self.last_decided = now;
        }
    }

    fn check_request(&mut self) {
        let request = self.leaving.pop_front_if(|asked| asked.0 == self.cycle);
        let dut = &mut self.dut;
        assert_eq!(dut.is_set("request_valid_o"), request.is_some(), "request, cycle {}", self.cycle);
        if let Some((at, place)) = request {
            let word = place[1] % (1 << self.drain.word_width());
            for (name, value) in [("column", place[0]), ("word", word), ("row", place[2])] {
                assert_eq!(dut.get(&format!("request_{name}_o")), value, "{name}, cycle {at}");
            }
            self.asking.push_back((at + HOP, place));
        }
    }

    /// The clusters' side: each has a word for its `Drain` in the right cycle, and anything in the others.
    fn clusters(&mut self) {
        let now = self.cycle;
        let asked = self.asking.pop_front_if(|asked| asked.0 == now);
        let answer = self.answering.pop_front_if(|asked| asked.0 == now);
        let Sizes { columns, word_rows, .. } = self.sizes;
        for c in 0..self.sizes.channels {
            let drain = |what: &str| format!("drain{c}_{what}");
            let valid = self.dut.is_set(&drain("valid_o"));
            assert_eq!(valid, asked.is_some(), "cluster {c} is asked, cycle {now}");
            if let Some((_, place)) = asked {
                let address = place[1] % (1 << self.sizes.address);
                assert_eq!(self.dut.get(&drain("address_o")), address, "cluster {c}, cycle {now}");
            }
            self.dut.set(&drain("valid_i"), answer.is_some());
            // A word that nobody asked for in other cycles.
            let word = answer.map_or(now | 1 << 40, |(_, place)| place[1] % (1 << self.sizes.address));
            let row = |lane| Bits::from_u64(ROW, sum(c, lane / word_rows, word, lane % word_rows));
            let rows: Vec<_> = (0..columns * word_rows).rev().map(row).collect();
            self.dut.set(&drain("sum_i"), Bits::concat(&rows));
        }
        if let Some((at, place)) = asked {
            self.answering.push_back((at + self.sizes.answer, place));
            self.coming.push_back((at + DRAIN_LATENCY + HOP, place));
        }
        let drained = self.coming.iter().any(|asked| asked.0 == now + HOP);
        let all = (u64::from(drained) << self.sizes.channels).wrapping_sub(u64::from(drained));
        assert_eq!(self.dut.get("drained_o"), all, "rows of the clusters, cycle {now}");
    }

    /// Whether parts of the product in turn may begin.
    fn in_turn(&self) -> Option<usize> {
        let turn = self.products.iter().position(|p| p.begun < p.slots.len())?;
        let through = self.products[turn].through?;
        (through + RESULT_LATENCY - HOP <= self.cycle).then_some(turn)
    }

    /// The parts: what is said of the next one, and whether it begins.
    fn begin(&mut self) {
        let (now, turn) = (self.cycle, self.in_turn());
        assert_eq!(self.dut.is_set("ready_o"), turn.is_some(), "ready_o, cycle {now}");
        let willing = self.mood.begins.next(&mut self.random);
        let begins = turn.is_some() && self.part == 0 && willing;
        self.dut.set("begin_i", begins);
        let Some(turn) = turn else { return };
        let earlier = turn > 0 && self.products[turn - 1].decided < self.products[turn - 1].entries();
        self.cover.hit("ready while rows of the product before are asked for", earlier);
        let product = &mut self.products[turn];
        let left = &product.slots[product.begun..];
        let mask = left.iter().fold(0, |mask, slot| mask | 1 << slot.0);
        assert_eq!(self.dut.get("slots_o"), mask, "slots_o, cycle {now}");
        assert_eq!(self.dut.is_set("last_o"), left.len() == 1, "last_o, cycle {now}");
        // Any slot of the product may be asked about, and the lowest has to be before its part begins.
        let nth = if begins { product.begun } else { self.random.below(product.slots.len() as u64) as usize };
        let (slot, place) = &product.slots[nth];
        self.dut.set("slot_i", *slot);
        assert_eq!(self.dut.get("base_o"), place.base, "base_o of slot {slot}, cycle {now}");
        assert_eq!(self.dut.is_set("nan_o"), place.nan == 1, "nan_o of slot {slot}, cycle {now}");
        if begins {
            let soon = product.begun == 0 && product.through == Some(now + HOP - RESULT_LATENCY);
            self.cover.hit("begins as soon as it is ready", soon);
            self.cover.hit("the next product is ready at once", self.last_ended + 1 == now);
            product.begun += 1;
            if product.begun == product.slots.len() {
                self.last_ended = now;
            }
            let groups = product.rows * self.sizes.groups / self.sizes.entries;
            self.part = if self.takes == Takes::Eagerly { 0 } else { groups };
            self.expected = (0..groups).map(|g| now + (g + 1) * self.sizes.entries - 1).collect();
        }
    }

    /// The vector unit's side of the sums.
    fn sums(&mut self) {
        let now = self.cycle;
        if let Some((_, place)) = self.coming.pop_front_if(|asked| asked.0 == now) {
            let none = self.nones.pop_front() == Some(true);
            let row = |c| match none {
                true => 0,
                false => sum(c, place[0], place[1] % (1 << self.sizes.address), place[2]),
            };
            self.entries.push_back((0..self.sizes.channels).map(row).collect());
            self.cover.hit("entry waits", self.entries.len() > 1);
        }
        let comes = self.entries.len();
        let wants = match self.takes {
            Takes::Steadily => self.part > 0,
            Takes::Now => self.part > 0 && self.mood.sums.next(&mut self.random),
            Takes::Eagerly => self.mood.sums.next(&mut self.random),
        };
        self.dut.set("sums_ready_i", wants);
        let there = comes > 0;
        let complete = self.kept.len() as u64 == (self.sizes.entries - 1) * u64::from(self.sizes.channels);
        assert_eq!(self.dut.is_set("sums_valid_o"), there && complete, "sums_valid_o, cycle {now}");
        if there && complete {
            self.check_group();
        }
        let timed = self.takes == Takes::Steadily && wants && complete;
        assert!(!timed || self.expected.pop_front() == Some(now), "a group is taken in cycle {now}");
        self.cover.hit("wanted and not there", wants && !there);
        // In a part the vector unit never waits for sums.
        assert!(there || !wants || self.takes == Takes::Eagerly, "no sums in cycle {now}");
        if !(wants && there) {
            return;
        }
        self.taken += 1;
        if self.taken == self.sizes.groups {
            self.taken = 0;
            self.use_entry(complete);
        }
        self.part = self.part.saturating_sub(u64::from(complete));
    }

    /// The group that the first entry makes, with those that are kept.
    fn check_group(&mut self) {
        let lanes = (self.sizes.entries * u64::from(self.sizes.channels) / self.sizes.groups) as usize;
        let rows: Vec<_> = self.kept.iter().chain(&self.entries[0]).collect();
        let rows = rows.into_iter().skip(self.taken as usize * lanes).take(lanes).rev();
        let rows: Vec<_> = rows.map(|row| Bits::from_u64(ROW, *row)).collect();
        assert_eq!(self.dut.bits("sums_data_o"), Bits::concat(&rows), "sums, cycle {}", self.cycle);
    }

    fn use_entry(&mut self, complete: bool) {
        let entry = self.entries.pop_front().unwrap();
        if complete {
            self.kept.clear();
        } else {
            self.kept.extend(entry);
        }
        let product = self.products.iter_mut().find(|p| p.used < p.entries()).unwrap();
        product.used += 1;
        self.cover.hit("entry used as it comes", self.entries.is_empty());
        self.cover
            .hit("resumes with a full queue", self.was_full && self.entries.len() + 1 == DEPTH as usize);
        self.outstanding -= 1;
    }

    fn cycle(&mut self, more: bool) {
        self.mood.left -= 1;
        if self.mood.left == 0 {
            self.mood = Mood::new(&mut self.random, self.sizes.channels);
        }
        self.arm(more);
        self.tell();
        self.done();
        self.check_through();
        self.check_request();
        self.decide();
        self.clusters();
        self.begin();
        self.was_full = self.outstanding == DEPTH;
        self.sums();
        while self.products.front().is_some_and(Product::is_over) {
            self.products.pop_front();
        }
        self.dut.tick();
        self.cycle += 1;
    }

    /// A run: products for so many cycles, and until all are over.
    fn run(&mut self, takes: Takes, cycles: u64) {
        self.takes = takes;
        self.dut.set("start_i", true);
        self.dut.tick();
        self.dut.set("start_i", false);
        (self.armed, self.through, self.cycle) = (0, 0, self.cycle + 1);
        self.done.fill(0);
        (0..cycles).for_each(|_| self.cycle(true));
        let mut left = 1_000_000;
        while !self.products.is_empty() {
            self.cycle(false);
            left -= 1;
            assert!(left > 0, "stuck: {} are under way", self.products.len());
        }
        assert!(self.entries.is_empty() && self.kept.is_empty() && self.untold.is_empty());
        (0..30).for_each(|_| self.cycle(false));
    }
}

/// The presets, and a machine of no more lanes than channels.
fn config(name: &str) -> Result<AccelConfig, Box<dyn std::error::Error>> {
    if name != "wide" {
        return Ok(AccelConfig::preset(name)?);
    }
    let mut fields = AccelConfig::preset("tiny")?.fields().clone();
    (fields.name, fields.channels, fields.vector_lanes) = ("wide".into(), 8, 8);
    (fields.slots, fields.columns, fields.beat_bytes) = (5, 4, 32);
    Ok(AccelConfig::new(fields)?)
}

fn served(name: &str, cycles: u64, seed: u64) -> TestResult {
    let mut bench = Bench::new(&config(name)?, false, seed)?;
    for takes in [Takes::Now, Takes::Steadily, Takes::Eagerly, Takes::Now] {
        bench.run(takes, cycles / 4);
    }
    // A single cluster is never ahead.
    bench.cover.hit("clusters drift apart", bench.sizes.channels == 1);
    bench.cover.assert(1);
    Ok(())
}

#[test]
fn rows_of_one_channel_come_in_their_cycles() -> TestResult {
    if skipped() {
        return Ok(());
    }
    Bench::new(&config("tiny")?, true, 1)?.run(Takes::Now, 3000);
    served("tiny", 60_000, 2)
}

#[test]
fn rows_of_four_channels_come_in_their_cycles() -> TestResult {
    if skipped() {
        return Ok(());
    }
    served("edge", 80_000, 3)
}

#[test]
fn rows_of_thirty_two_channels_come_in_their_cycles() -> TestResult {
    if skipped() {
        return Ok(());
    }
    served("u55c", 40_000, 4)
}

#[test]
fn rows_of_more_channels_than_lanes_come_in_their_cycles() -> TestResult {
    if skipped() {
        return Ok(());
    }
    Bench::new(&config("wide")?, true, 5)?.run(Takes::Now, 3000);
    served("wide", 60_000, 6)
}

/// `cargo test --release -p fastcar-tests --test rtl_results -- --ignored`
#[test]
#[ignore = "ten million cycles"]
fn rows_in_the_long_run() -> TestResult {
    if skipped() {
        return Ok(());
    }
    served("edge", 10_000_000, 7)
}

#[test]
fn latencies_are_those_of_the_timing_table() -> TestResult {
    for name in ["tiny", "edge", "u55c", "wide"] {
        let config = config(name)?;
        assert_eq!(u64::from(Drain::new(&config)?.latency()), DRAIN_LATENCY);
        assert_eq!(u64::from(Results::new(&config)?.latency()), RESULT_LATENCY - HOP);
    }
    assert_eq!(ROUND_TRIP, 2 * HOP + DRAIN_LATENCY);
    Ok(())
}

const BUILT: [&str; 4] = ["tiny", "edge", "u55c", "wide"];

fn built<B: Block>(
    names: &[&str],
    new: impl Fn(&AccelConfig) -> Result<B, RtlError>,
) -> Result<Vec<Arc<Module>>, Box<dyn std::error::Error>> {
    names.iter().map(|name| Ok(new(&config(name)?)?.module()?)).collect()
}

#[test]
fn tools_accept_the_way_of_rows() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for module in built(&BUILT, Drain::new)?.into_iter().chain(built(&BUILT, Results::new)?) {
        accept(&emit(&module)?)?;
    }
    Ok(())
}

/// The most levels of look-up tables between registers.
const MOST_LEVELS: u32 = 8;

#[test]
fn cells_and_depth_are_held() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut modules = built(&BUILT[1..3], Drain::new)?;
    modules.extend(built(&BUILT[1..3], Results::new)?);
    hold("results", &modules)?;
    for module in modules {
        let figures = Figures::of(&module)?;
        assert!(figures.levels <= MOST_LEVELS, "{}: {figures:?}", module.name());
    }
    Ok(())
}
