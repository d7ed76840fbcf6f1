//! The MAC array's sequencer: rounds of slots, and when products are armed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::{AccelConfig, ROW_GRANULE};
use fastcar_arch::timing::{MAC_MAP, MASK_SEEK, QUEUE_COMMANDS};
use fastcar_hw::array::{Command, Finder, Mapping, Sequencer};
use fastcar_hw::pe::Cluster;
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Random, Rtl, accept, gather, hold, skipped};
use std::collections::VecDeque;
use std::sync::Arc;

const PRESETS: [&str; 3] = ["tiny", "edge", "u55c"];
/// Bits of a note.
const NOTE: u32 = 12;

/// A configuration whose columns and slots are no powers of two.
fn odd() -> Result<AccelConfig, Box<dyn std::error::Error>> {
    let mut fields = AccelConfig::preset("edge")?.fields().clone();
    (fields.name, fields.slots, fields.columns) = ("odd".to_owned(), 15, 6);
    Ok(AccelConfig::new(fields)?)
}

fn configs() -> Result<Vec<AccelConfig>, Box<dyn std::error::Error>> {
    let mut all = PRESETS.map(AccelConfig::preset).into_iter().collect::<Result<Vec<_>, _>>()?;
    all.push(odd()?);
    Ok(all)
}

/// A round by the rules of `docs/cycles.md`: its slots, those on each column, and where each slot is: slot, column, pass.
fn places_of(
    config: &AccelConfig,
    compact: bool,
    slots: u32,
    granules: u32,
) -> (u32, Vec<u32>, Vec<[u32; 3]>) {
    let columns = config.columns();
    let per_round = (config.acc_rows() / (granules * ROW_GRANULE)).max(1);
    let (mut counts, mut places) = (vec![0; columns as usize], Vec::new());
    let mut taken = 0;
    for (rank, slot) in (0..config.slots()).filter(|slot| slots >> slot & 1 == 1).enumerate() {
        let column = if compact { rank as u32 % columns } else { slot % columns } as usize;
        if counts[column] < per_round {
            places.push([slot, column as u32, counts[column]]);
            counts[column] += 1;
            taken |= 1 << slot;
        }
    }
    (taken, counts, places)
}

fn round(config: &AccelConfig, compact: bool, slots: u32, granules: u32) -> (u32, Vec<u32>) {
    let (taken, counts, _) = places_of(config, compact, slots, granules);
    (taken, counts)
}

/// Whether the places of a word are those of the slots that it says.
fn are_places(config: &AccelConfig, word: &Bits, places: &[[u32; 3]]) -> bool {
    let mapping = Mapping::new(config);
    places.iter().all(|&[slot, column, pass]| {
        let place = word.slice(slot * mapping.place_bits(), mapping.place_bits()).to_u64();
        place == Some(u64::from(column | pass << mapping.column_bits()))
    })
}

fn packed(counts: &[u32], width: u32) -> u64 {
    counts.iter().rev().fold(0, |all, count| all << width | u64::from(*count))
}

/// Slots of a command: any, all, one, none.
fn some_slots(random: &mut Random, config: &AccelConfig) -> u32 {
    let all = ((1_u64 << config.slots()) - 1) as u32;
    [random.word() as u32 & all, all, 1 << random.below(config.slots().into()), 0]
        [random.below(8).min(3) as usize]
}

/// Sixteens of rows in a chunk: few, any, all.
fn some_granules(random: &mut Random, config: &AccelConfig) -> u32 {
    let most = config.acc_rows() / ROW_GRANULE;
    [1, 1 + random.below(8) as u32, 1 + random.below(most.into()) as u32, most][random.below(4) as usize]
        .min(most)
}

#[test]
fn slots_are_mapped() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let configs = configs()?;
    let parts = configs
        .iter()
        .map(|config| Ok((config.name().to_owned(), Mapping::new(config).module()?)))
        .collect::<Result<Vec<_>, RtlError>>()?;
    let parts: Vec<_> = parts.iter().map(|(name, module)| (name.as_str(), module.clone())).collect();
    let mut dut = Rtl::build(&gather("mappings", &parts)?)?;
    let mut random = Random::new(1);
    let mut cover = Cover::new(&["all in one round", "left for another", "a column is empty", "none"]);
    for config in &configs {
        let pin = |name: &str| format!("{}_{name}", config.name());
        let width = Mapping::new(config).count_bits();
        for _ in 0..3000 {
            let compact = random.chance(50);
            let (slots, granules) = (some_slots(&mut random, config), some_granules(&mut random, config));
            dut.set(&pin("compact_i"), compact);
            dut.set(&pin("slots_i"), u64::from(slots));
            dut.set(&pin("granules_i"), u64::from(granules));
            (0..Mapping::LATENCY).for_each(|_| dut.tick());
            let (taken, counts, places) = places_of(config, compact, slots, granules);
            let found = (dut.get(&pin("round_o")), dut.get(&pin("counts_o")));
            let told = format!("{}: {slots:b} by {granules}, compact {compact}", config.name());
            assert_eq!(found, (taken.into(), packed(&counts, width)), "{told}");
            assert!(are_places(config, &dut.bits(&pin("places_o")), &places), "{told}: {places:?}");
            cover.hit("all in one round", taken == slots);
            cover.hit("left for another", taken != slots);
            cover.hit("a column is empty", taken != 0 && counts.contains(&0));
            cover.hit("none", slots == 0);
        }
    }
    cover.assert(100);
    Ok(())
}

/// Commands in fields, for the sequencer's word.
struct Driven {
    config: AccelConfig,
}

impl Driven {
    fn sequencer(&self) -> Result<Sequencer, RtlError> {
        Sequencer::new(&self.config, NOTE)
    }
}

impl Block for Driven {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("driven_{}", self.config.name()));
        let command = Command {
            index: m.input("index_i", 8),
            pred: m.input("which_i", 2),
            decides: m.input("decides_i", 1),
            decision: m.input("number_i", 8),
            filled: m.input("filled_i", 1),
            filler: m.input("filler_i", 8),
            heads: m.input("heads_i", 1),
            granules: m.input("granules_i", Mapping::new(&self.config).granule_bits()),
            note: m.input("note_i", NOTE),
        };
        let inner = m.instance("u_sequencer", &self.sequencer()?)?;
        inner.set("push_i", command.word(&m));
        for port in inner.module().ports() {
            match port.name.as_str() {
                "push_i" => {}
                name if port.input => inner.set(name, m.input(name, port.width)),
                name => m.output(name, inner.get(name)),
            }
        }
        m.finish()
    }
}

/// A command, and when its slots are known.
#[derive(Clone, Debug)]
struct Given {
    index: u32,
    slots: u32,
    heads: bool,
    granules: u32,
    note: u64,
    known: u64,
}

/// The rules of `docs/cycles.md` (MAC array).
struct Model {
    config: AccelConfig,
    compact: bool,
    /// Words of the accumulators, and of a sixteen of rows.
    words: u32,
    per_granule: u32,
    waiting: VecDeque<Given>,
    /// Since when the first is in front, or its last product is armed.
    since: u64,
    left: Option<u32>,
    rounds: u32,
    /// Words of products whose sums are kept.
    kept: VecDeque<u32>,
    next: u32,
    /// Commands whose products are armed: index, products, first cycle in which it may go.
    under_way: VecDeque<(u32, u32, u64)>,
    through: u32,
    /// What the array has to get through with: whether it is attention.
    owed: VecDeque<bool>,
    /// Rounds of heads of the attention in front that are armed.
    heads: u32,
    finished: u32,
}

/// What the block says in a cycle.
#[derive(PartialEq, Eq, Debug)]
struct Said {
    product: Option<(u32, u64, u32, u64)>,
    pop: bool,
    finished: u32,
    front: Option<u32>,
    idle: bool,
    /// Attention in front: its slots, the first word for its keys, whether the array is through with what is before.
    heads: Option<(u32, u32, bool)>,
}

/// What the middle of attention does in a cycle: words that it needs, whether it takes them, whether its last values are armed.
#[derive(Clone, Copy)]
struct Heads {
    need: u32,
    takes: bool,
    last: bool,
}

impl Model {
    fn new(config: &AccelConfig, compact: bool) -> Result<Self, RtlError> {
        let rows = Cluster::new(config)?.rows();
        Ok(Self {
            config: config.clone(),
            compact,
            words: config.acc_rows() / rows,
            per_granule: ROW_GRANULE / rows,
            waiting: VecDeque::new(),
            since: 0,
            left: None,
            rounds: 0,
            kept: VecDeque::new(),
            next: 0,
            under_way: VecDeque::new(),
            through: 0,
            owed: VecDeque::new(),
            heads: 0,
            finished: 0,
        })
    }

    /// Whether attention in front may go on.
    fn has_heads(&self, now: u64) -> bool {
        let front = self.waiting.front().filter(|front| front.heads && front.slots != 0);
        front.is_some_and(|front| now >= self.since.max(front.known) + MAC_MAP)
    }

    fn has_room(&self, need: u32, frees: bool) -> bool {
        let kept = self.kept.iter().skip(usize::from(frees)).sum::<u32>();
        kept + need <= self.words
    }

    /// Arms keys, or the last values, of attention in front.
    fn take_heads(&mut self, now: u64, heads: Heads) {
        if heads.takes {
            self.kept.push_back(heads.need);
            self.next = (self.next + heads.need) % self.words;
            self.heads += 1;
        }
        if heads.last
            && let Some(front) = self.waiting.pop_front()
        {
            self.under_way.push_back((front.index, 1, now + 1));
            self.owed.push_back(true);
            (self.since, self.heads) = (now + 1, 0);
        }
    }

    fn cycle(&mut self, now: u64, missing: u32, [frees, through]: [bool; 2], heads: Heads) -> Said {
        let front = self.under_way.front().map(|c| c.0).or(self.waiting.front().map(|c| c.index));
        let finished = self.finished;
        if frees {
            self.kept.pop_front();
        }
        self.through += u32::from(through);
        let pop = self.under_way.front().is_some_and(|c| c.2 <= now && self.through >= c.1);
        let idle = self.waiting.is_empty() && self.under_way.len() <= usize::from(pop);
        if pop && let Some((_, products, _)) = self.under_way.pop_front() {
            self.through -= products;
            self.finished = (self.finished + 1) % 256;
        }
        let attention = self.has_heads(now).then(|| {
            let slots = self.waiting.front().map_or(0, |front| front.slots);
            (slots, self.next, self.under_way.is_empty())
        });
        let product = if attention.is_some() { None } else { self.arm(now, missing) };
        self.take_heads(now, heads);
        Said { product, pop, finished, front, idle, heads: attention }
    }

    fn arm(&mut self, now: u64, missing: u32) -> Option<(u32, u64, u32, u64)> {
        let front = self.waiting.front()?.clone();
        if now < self.since.max(front.known) + MAC_MAP {
            return None;
        }
        let left = self.left.unwrap_or(front.slots);
        let (slots, counts) = round(&self.config, self.compact, left, front.granules);
        let passes = counts.iter().copied().max().unwrap_or(0);
        let need = passes * front.granules * self.per_granule;
        let mut product = None;
        if slots != 0 {
            if slots & missing != 0 || self.kept.iter().sum::<u32>() + need > self.words {
                return None;
            }
            let width = Mapping::new(&self.config).count_bits();
            product = Some((slots, packed(&counts, width), self.next, front.note));
            self.kept.push_back(need);
            self.next = (self.next + need) % self.words;
            self.rounds += 1;
            self.owed.push_back(false);
        }
        (self.since, self.left) = (now + 1, Some(left & !slots));
        if left & !slots == 0 {
            self.waiting.pop_front();
            self.under_way.push_back((front.index, self.rounds, now + 1));
            (self.left, self.rounds) = (None, 0);
        }
        product
    }
}

fn said(dut: &mut Rtl, pin: impl Fn(&str) -> String) -> Said {
    let mut get = |name: &str| dut.get(&pin(name));
    let product = (get("product_valid_o") == 1).then(|| {
        let [slots, word] = ["slots", "word"].map(|name| get(&format!("product_{name}_o")) as u32);
        (slots, get("product_counts_o"), word, get("product_note_o"))
    });
    let front = (get("front_valid_o") == 1).then(|| get("front_o") as u32);
    let finished = get("finished_o") as u32;
    let heads = (get("heads_valid_o") == 1)
        .then(|| (get("heads_slots_o") as u32, get("product_word_o") as u32, get("heads_turn_o") == 1));
    Said { product, pop: get("pop_o") == 1, finished, front, idle: get("idle_o") == 1, heads }
}

/// Commands at random, each of whose products is through and freed some time after it is armed.
fn drive(
    dut: &mut Rtl,
    random: &mut Random,
    config: &AccelConfig,
    compact: bool,
    cover: &mut Cover,
) -> TestResult {
    let pin = |name: &str| format!("{}_{name}", config.name());
    let mut model = Model::new(config, compact)?;
    let mut index = 0;
    for now in 0..2500_u64 {
        dut.set(&pin("start_i"), now == 0);
        dut.set(&pin("compact_i"), compact);
        // Busy times and lazy ones.
        let often = if now / 300 % 2 == 0 { 30 } else { 4 };
        let in_queues = model.waiting.len() + model.under_way.len();
        let push = now > 0 && in_queues < QUEUE_COMMANDS && random.chance(often);
        dut.set(&pin("push_valid_i"), push);
        let given = Given {
            index: index % 256,
            slots: some_slots(random, config),
            heads: random.chance(30),
            granules: some_granules(random, config),
            note: random.below(1 << NOTE),
            known: now + 1 + if random.chance(30) { random.below(40) } else { 0 },
        };
        dut.set(&pin("index_i"), u64::from(given.index));
        dut.set(&pin("heads_i"), given.heads);
        dut.set(&pin("granules_i"), u64::from(given.granules));
        dut.set(&pin("note_i"), given.note);
        for name in ["which_i", "decides_i", "number_i", "filled_i", "filler_i"] {
            dut.set(&pin(name), random.below(2));
        }
        let known = model.waiting.front().filter(|front| front.known <= now).map(|front| front.slots);
        dut.set(&pin("known_i"), known.is_some());
        dut.set(&pin("slots_i"), u64::from(known.unwrap_or(random.word() as u32) & mask(config)));
        let missing = if random.chance(50) { 0 } else { some_slots(random, config) };
        dut.set(&pin("missing_i"), u64::from(missing));
        let passes = model.owed.pop_front_if(|_| random.chance(often));
        let frees = !model.kept.is_empty() && random.chance(often);
        dut.set(&pin("through_i"), passes == Some(false));
        dut.set(&pin("heads_through_i"), passes == Some(true));
        dut.set(&pin("frees_i"), frees);
        let heads = any_heads(&model, random, now, frees);
        dut.set(&pin("heads_need_i"), u64::from(heads.need));
        dut.set(&pin("heads_arms_i"), heads.takes);
        dut.set(&pin("heads_last_i"), heads.last);
        let attention = model.has_heads(now);
        if attention {
            let room = model.has_room(heads.need, frees);
            assert_eq!(dut.is_set(&pin("heads_room_o")), room, "{} in cycle {now}", config.name());
            cover.hit("heads wait for room", !room);
            cover.hit("several rounds of heads", heads.last && model.heads > 1);
        }

        let expected = model.cycle(now, missing, [frees, passes.is_some()], heads);
        let found = said(dut, pin);
        assert_eq!(found, expected, "{} in cycle {now}, {:?}", config.name(), model.waiting.front());
        cover.hit("a round of several", expected.product.is_some() && model.left.is_some());
        cover.hit("for nobody", model.under_way.back().is_some_and(|c| c.1 == 0));
        cover.hit("waits for room", expected.product.is_none() && model.kept.len() > 1);
        cover.hit("a full queue", in_queues == QUEUE_COMMANDS);
        cover.hit("operands are missing", missing != 0 && expected.product.is_none());
        if push {
            if model.waiting.is_empty() {
                model.since = now + 1;
            }
            model.waiting.push_back(given);
            index += 1;
        }
        dut.tick();
    }
    Ok(())
}

/// Attention in front takes words as long as there is room, and is armed some time.
fn any_heads(model: &Model, random: &mut Random, now: u64, frees: bool) -> Heads {
    let need = 1 + random.below(u64::from(model.words) / 4) as u32;
    let attention = model.has_heads(now);
    let last = attention && model.heads > 0 && random.chance(10);
    let takes = attention && !last && model.has_room(need, frees) && random.chance(20);
    Heads { need, takes, last }
}

fn mask(config: &AccelConfig) -> u32 {
    ((1_u64 << config.slots()) - 1) as u32
}

#[test]
fn products_are_armed() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let configs = configs()?;
    let parts = configs
        .iter()
        .map(|config| Ok((config.name().to_owned(), Driven { config: config.clone() }.module()?)))
        .collect::<Result<Vec<_>, RtlError>>()?;
    let parts: Vec<_> = parts.iter().map(|(name, module)| (name.as_str(), module.clone())).collect();
    let mut dut = Rtl::build(&gather("sequencers", &parts)?)?;
    let mut random = Random::new(2);
    let mut cover = Cover::new(&[
        "a round of several",
        "for nobody",
        "waits for room",
        "a full queue",
        "operands are missing",
        "heads wait for room",
        "several rounds of heads",
    ]);
    for compact in [true, false] {
        for config in &configs {
            dut.reset();
            drive(&mut dut, &mut random, config, compact, &mut cover)?;
        }
    }
    cover.assert(20);
    Ok(())
}

#[test]
fn cells_and_depth_are_held() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut modules = Vec::new();
    for preset in PRESETS {
        let config = AccelConfig::preset(preset)?;
        modules.push(Mapping::new(&config).module()?);
        modules.push(Sequencer::new(&config, NOTE)?.module()?);
        modules.push(fastcar_hw::array::Sender::new(&config)?.module()?);
    }
    modules.iter().try_for_each(|module| accept(&emit(module)?))?;
    hold("sequencer", &modules)?;
    Ok(())
}

/// A masked product for the finder: masks of its groups, slots, columns.
struct Search {
    config: AccelConfig,
    first_group: u32,
    last_block: u32,
    slots: u32,
    places: Vec<[u32; 3]>,
    /// By block of the activation buffer.
    masks: Vec<u32>,
}

impl Search {
    fn any(random: &mut Random, config: &AccelConfig) -> Self {
        let compact = random.chance(50);
        let (mut slots, granules) = (0, some_granules(random, config));
        while slots == 0 {
            slots = some_slots(random, config);
        }
        let (slots, _, places) = places_of(config, compact, slots, granules);
        let groups = config.ab_blocks() / 16;
        let blocks = [1, 16, 17, 1 + random.below(64) as u32, config.ab_blocks()][random.below(5) as usize];
        let blocks = blocks.min(config.ab_blocks()).min(2048);
        let first_group = random.below(u64::from(groups - blocks.div_ceil(16)) + 1) as u32;
        let share = [0, 2, 30, 95][random.below(4) as usize];
        let mut mask = || (0..config.slots()).map(|s| u32::from(random.chance(share)) << s).sum();
        let masks = (0..config.ab_blocks()).map(|_| mask()).collect();
        Self { config: config.clone(), first_group, last_block: blocks - 1, slots, places, masks }
    }

    /// The active blocks and their slots.
    fn active(&self) -> VecDeque<(u32, u32)> {
        let mask = |block: u32| self.masks[(16 * self.first_group + block) as usize] & self.slots;
        (0..=self.last_block).map(|block| (block, mask(block))).filter(|(_, mask)| *mask != 0).collect()
    }

    fn counts(&self, mask: u32) -> u64 {
        let width = Mapping::new(&self.config).count_bits();
        let of = |column| self.places.iter().filter(|p| p[1] == column && mask >> p[0] & 1 == 1).count();
        let counts: Vec<_> = (0..self.config.columns()).map(|column| of(column) as u32).collect();
        packed(&counts, width)
    }

    fn drive(&self, dut: &mut Rtl, pin: impl Fn(&str) -> String) {
        let slots = self.config.slots();
        dut.set(&pin("product_i"), true);
        dut.set(&pin("first_group_i"), u64::from(self.first_group));
        dut.set(&pin("last_block_i"), u64::from(self.last_block));
        dut.set(&pin("slots_i"), u64::from(self.slots));
        let own = |column| self.places.iter().filter(|p| p[1] == column).map(|p| 1_u64 << p[0]).sum();
        let columns: Vec<_> =
            (0..self.config.columns()).rev().map(|column| Bits::from_u64(slots, own(column))).collect();
        dut.set(&pin("columns_i"), Bits::concat(&columns));
    }

    /// The masks of the groups that are asked for.
    fn answer(&self, dut: &mut Rtl, pin: impl Fn(&str) -> String) {
        for (asks, answer) in [("look_o", "look_i"), ("block_group_o", "block_masks_i")] {
            let group = dut.get(&pin(asks)) as usize;
            let word = |block: usize| Bits::from_u64(self.config.slots(), self.masks[block].into());
            let masks: Vec<_> = (16 * group..16 * group + 16).rev().map(word).collect();
            dut.set(&pin(answer), Bits::concat(&masks));
        }
    }
}

#[test]
fn blocks_are_found() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let configs = configs()?;
    let parts: Vec<_> = configs
        .iter()
        .map(|config| Ok((config.name().to_owned(), Finder::new(config).module()?)))
        .collect::<Result<_, RtlError>>()?;
    let parts: Vec<_> = parts.iter().map(|(name, module)| (name.as_str(), module.clone())).collect();
    let mut dut = Rtl::build(&gather("finders", &parts)?)?;
    dut.reset();
    let mut random = Random::new(7);
    let mut cover = Cover::new(&["no block", "one block", "a slot without any", "no gap", "all blocks"]);
    for config in &configs {
        let pin = |name: &str| format!("{}_{name}", config.name());
        for _ in 0..200 {
            let search = Search::any(&mut random, config);
            let mut active = search.active();
            let some = active.iter().fold(0, |all, (_, mask)| all | mask);
            cover.hit("no block", active.is_empty());
            cover.hit("one block", active.len() == 1);
            cover.hit("a slot without any", some != search.slots);
            cover.hit("all blocks", active.len() as u32 == search.last_block + 1);
            search.drive(&mut dut, pin);
            dut.set(&pin("block_ready_i"), false);
            dut.set(&pin("done_i"), false);
            let groups = u64::from(search.last_block / 16 + 1);
            for _ in 0..groups + MASK_SEEK {
                assert!(!dut.is_set(&pin("ready_o")), "{}: too early", config.name());
                search.answer(&mut dut, pin);
                dut.tick();
            }
            assert!(dut.is_set(&pin("ready_o")));
            assert_eq!(dut.get(&pin("none_o")), u64::from(search.slots & !some));
            let (eager, mut wait) = (random.chance(50), 0_u32);
            while let Some(&(block, mask)) = active.front() {
                search.answer(&mut dut, pin);
                let takes = wait == 0 && (eager || random.chance(30));
                if wait == 0 {
                    assert!(dut.is_set(&pin("block_valid_o")), "{}: a block is late", config.name());
                    let found =
                        ["block_o", "block_slots_o", "block_counts_o"].map(|name| dut.get(&pin(name)));
                    assert_eq!(found, [block.into(), mask.into(), search.counts(mask)], "{}", config.name());
                    assert_eq!(dut.is_set(&pin("block_last_o")), active.len() == 1);
                }
                dut.set(&pin("block_ready_i"), takes);
                if takes {
                    active.pop_front();
                }
                cover.hit("no gap", takes && eager);
                wait = if takes { 1 } else { wait.saturating_sub(1) };
                dut.tick();
            }
            dut.set(&pin("block_ready_i"), false);
            dut.tick();
            assert!(!dut.is_set(&pin("block_valid_o")));
            dut.set(&pin("done_i"), true);
            dut.tick();
            dut.set(&pin("done_i"), false);
            dut.set(&pin("product_i"), false);
            (0..random.below(3)).for_each(|_| dut.tick());
        }
    }
    cover.assert(20);
    Ok(())
}
