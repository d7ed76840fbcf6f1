//! Runs of the active blocks of masked products, among whole ones, cycle by cycle by the rules of docs/cycles.md.

use crate::weights::{any_matvec, machine};
use fastcar_arch::config::{AccelConfig, ROW_GRANULE};
use fastcar_arch::isa::Matvec;
use fastcar_arch::layout::WeightLayout;
use fastcar_arch::timing::{MASK_BLOCKS, MASK_ROUND, STREAM_STEP};
use fastcar_hw::array::Mapping;
use fastcar_hw::cmd::{COMMAND_BITS, Fields};
use fastcar_hw::rtl::{Bits, Block, Builder, Module, RtlError};
use fastcar_hw::walk::{MaskedJob, Matrix, RunFinder, WeightSizes, WeightWalker};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Random, Rtl, gather, skipped};
use std::collections::VecDeque;
use std::sync::Arc;

/// Blocks of a group of masks.
const GROUP: usize = MASK_BLOCKS as usize;

/// Jobs in, runs out.
struct Walk(AccelConfig);

impl Block for Walk {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let config = &self.0;
        let (block, mapping, sizes) =
            (RunFinder::new(config), Mapping::new(config), WeightSizes::new(config));
        let m = Builder::new(format!("masked_walk_{}_{}", config.slots(), config.columns()));
        let slots = config.slots();
        let job = MaskedJob {
            matrix: Matrix::new(&sizes, &m, &Fields::new(m.input("command_i", COMMAND_BITS)))?,
            last_round: m.input("last_round_i", sizes.rounds),
            masked: m.input("masked_i", 1),
            first_group: m.input("first_group_i", block.group_bits()),
            filled: m.input("of_delta_i", 1),
            filler: m.input("delta_i", 8),
            slots: m.input("slots_i", slots),
            round: m.input("round_i", slots),
            places: m.input("places_i", slots * mapping.place_bits()),
        };
        let finder = m.instance("u_finder", &block)?;
        finder.set("job_data_i", job.word(&m));
        for port in finder.module().ports() {
            match port.name.as_str() {
                "job_data_i" => {}
                name if name.starts_with("piece") => {}
                name if port.input => finder.set(name, m.input(name, port.width)),
                name => m.output(name, finder.get(name)),
            }
        }
        let walker = m.instance("u_walker", &WeightWalker::new(config)?.masked())?;
        walker.stream_in("job", finder.stream_out("piece"));
        walker.set("go_i", m.input("go_i", 1));
        for name in ["run_valid_o", "run_address_o", "run_length_o"] {
            m.output(name, walker.get(name));
        }
        m.finish()
    }
}

/// A round: its slots, and where each is: slot, column, pass.
type Round = (u32, Vec<[u32; 3]>);

fn rounds(config: &AccelConfig, compact: bool, slots: u32, rows: u32) -> Vec<Round> {
    let columns = config.columns();
    let chunk = WeightLayout::chunk_rows_of(config, rows).next_multiple_of(ROW_GRANULE);
    let per_round = (config.acc_rows() / chunk).max(1);
    let (mut left, mut all) = (slots, Vec::new());
    while left != 0 {
        let (mut counts, mut places) = (vec![0; columns as usize], Vec::new());
        for (rank, slot) in (0..config.slots()).filter(|slot| left >> slot & 1 == 1).enumerate() {
            let column = if compact { rank as u32 % columns } else { slot % columns };
            let count = &mut counts[column as usize];
            if *count < per_round {
                places.push([slot, column, *count]);
                *count += 1;
            }
        }
        let taken = places.iter().fold(0, |taken, place| taken | 1 << place[0]);
        left &= !taken;
        all.push((taken, places));
    }
    all
}

/// A product that is walked.
struct Product {
    command: Matvec,
    slots: u32,
    rounds: Vec<Round>,
    /// Its masks by block of the operand, and the group in which they begin.
    masks: Option<Vec<u32>>,
    first_group: u32,
    /// Its `delta` may be under way.
    of_delta: bool,
    /// How long after it is taken each group's masks may be used.
    known: Vec<u64>,
}

impl Product {
    fn any(random: &mut Random, config: &AccelConfig, compact: bool) -> Self {
        let all = ((1_u64 << config.slots()) - 1) as u32;
        let mut slots = 0;
        while slots == 0 {
            slots = if random.chance(30) { all } else { random.word() as u32 & all };
        }
        let mut command = any_matvec(random, config);
        let masked = random.chance(70);
        let groups = config.ab_blocks() / MASK_BLOCKS;
        let mut first_group = 0;
        let masks = masked.then(|| {
            let most = u64::from(config.ab_blocks().min(100));
            command.blocks = [1, 16, 17, 1 + random.below(most) as u16][random.below(4) as usize];
            let used = u32::from(command.blocks).div_ceil(MASK_BLOCKS);
            first_group = random.below(u64::from(groups - used) + 1) as u32;
            let share = [0, 3, 40, 97, 100][random.below(5) as usize];
            let mut mask = || (0..config.slots()).map(|s| u32::from(random.chance(share)) << s).sum();
            (0..command.blocks).map(|_| mask()).collect::<Vec<u32>>()
        });
        let rounds = rounds(config, compact, slots, command.rows);
        let (mut at, late) = (0, random.chance(50));
        let known = masks.iter().flat_map(|masks| masks.chunks(GROUP));
        let known = known.map(|_| {
            at += if late { random.below(12) } else { 0 };
            at
        });
        let known = known.collect();
        Self { command, slots, rounds, masks, first_group, of_delta: random.chance(80), known }
    }

    /// The runs of a group in a round: first block of the operand, blocks.
    fn runs(&self, (_, places): &Round, group: usize) -> Vec<(u64, u64)> {
        let masks = self.masks.iter().flatten().enumerate().skip(group * GROUP).take(GROUP);
        let mut runs: Vec<(u64, u64, usize)> = Vec::new();
        for (block, mask) in masks {
            let on = |column: u32| places.iter().filter(|p| p[1] == column && mask >> p[0] & 1 == 1).count();
            let passes = places.iter().map(|place| on(place[1])).max().unwrap_or(0);
            match runs.last_mut() {
                _ if passes == 0 => {}
                Some(run) if run.0 + run.1 == block as u64 && run.2 == passes => run.1 += 1,
                _ => runs.push((block as u64, 1, passes)),
            }
        }
        runs.into_iter().map(|(first, count, _)| (first, count)).collect()
    }
}

/// A step of the walk: from when on it may be made, and the run that it gives.
type Step = (u64, Option<(u64, u64)>);

/// A walker beside a model of it.
struct Walked {
    name: String,
    config: AccelConfig,
    compact: bool,
    latency: u64,
    /// Products that have come and are not taken, the number of each one's `delta`, and when they came.
    waiting: VecDeque<(u64, u64, Product)>,
    /// The number of the next, and when it comes at the earliest.
    next: (u64, u64),
    /// Masked ones that are taken, the one in the finder's hand first.
    hand: VecDeque<(u64, u64, Product)>,
    steps: VecDeque<Step>,
    due: VecDeque<(u64, (u64, u64))>,
    quiet: u64,
}

impl Walked {
    fn new(name: &str, compact: bool) -> Result<Self, RtlError> {
        let config = machine(name);
        let latency = WeightWalker::new(&config)?.latency().into();
        let (steps, due) = (VecDeque::new(), VecDeque::new());
        let (name, hand, waiting) = (name.to_owned(), VecDeque::new(), VecDeque::new());
        Ok(Self { name, config, compact, latency, waiting, next: (0, 0), hand, steps, due, quiet: 0 })
    }

    fn port(&self, name: &str) -> String {
        format!("{}_{name}", self.name)
    }

    /// The steps of a product that comes in this cycle.
    fn steps_of(&self, product: &Product, now: u64) -> Vec<Step> {
        let (config, c) = (&self.config, &product.command);
        let beat = config.beat().get();
        let beats = (config.channel_capacity().get() / beat).next_power_of_two();
        let layout = WeightLayout::new(config, c.rows, c.blocks.into(), c.format);
        let (block, address) = (layout.block_run().get() / beat, c.addr.0 / beat);
        let run = |(first, count): (u64, u64)| ((address + first * block) % beats, count * block % beats);
        let whole = |_: &Round| (now + 1, Some(run((0, c.blocks.into()))));
        let Some(masks) = &product.masks else { return product.rounds.iter().map(whole).collect() };
        let mut steps = Vec::new();
        let latency = u64::from(RunFinder::LATENCY);
        for (n, round) in product.rounds.iter().enumerate() {
            steps.extend((0..if n > 0 { MASK_ROUND } else { 0 }).map(|_| (0, None)));
            for group in 0..masks.len().div_ceil(GROUP) {
                let known = if product.of_delta { product.known[group] } else { 0 };
                let at = now + 1 + known + latency;
                let runs = product.runs(round, group);
                if runs.is_empty() {
                    steps.push((at, None));
                }
                steps.extend(runs.into_iter().map(|found| (at, Some(run(found)))));
            }
        }
        steps
    }

    fn cycle(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) {
        let now = dut.cycle();
        self.come(random, cover, now);
        let go = random.chance(if now & 512 == 0 { 95 } else { 60 });
        dut.set(&self.port("go_i"), go);
        self.drive(dut);
        self.masks(dut, random, now);
        let due = self.due.pop_front_if(|due| due.0 == now);
        let found = dut.is_set(&self.port("run_valid_o"));
        let found = found.then(|| ["run_address_o", "run_length_o"].map(|name| dut.get(&self.port(name))));
        assert_eq!(found, due.map(|(_, (at, length))| [at, length]), "{} in cycle {now}", self.name);
        if go && let Some((at, run)) = self.steps.pop_front_if(|step| step.0 <= now) {
            cover.hit("in the first cycle", at == now && run.is_some());
            cover.hit("a cycle for nothing", run.is_none());
            self.due.extend(run.map(|run| (now + self.latency - 1, run)));
            self.quiet = 0;
        }
        self.quiet += 1;
        assert!(self.quiet < 3000, "{}: nothing moves", self.name);
        if dut.is_set(&self.port("job_ready_o")) {
            self.hand.extend(self.waiting.pop_front().filter(|(_, _, product)| product.masks.is_some()));
        }
    }

    /// Another product, when it is time.
    fn come(&mut self, random: &mut Random, cover: &mut Cover, now: u64) {
        let (number, at) = self.next;
        if now < at || self.waiting.len() == 20 || self.steps.len() > 200 {
            return;
        }
        let product = Product::any(random, &self.config, self.compact);
        let steps = self.steps_of(&product, now);
        let masked = product.masks.is_some();
        let late = product.known.last().filter(|_| product.of_delta).map_or(0, |known| known + 1);
        cover.hit("masked", masked);
        cover.hit("whole", !masked);
        cover.hit("whole behind another", !masked && !self.steps.is_empty());
        cover.hit("several rounds", masked && product.rounds.len() > 1);
        cover.hit("masks come late", late > 5);
        self.steps.extend(steps);
        self.waiting.push_back((number % 256, now, product));
        let gap = [0, 0, random.below(4), random.below(40)][random.below(4) as usize];
        // The command leaves its queue when all its masks are known.
        let step = if late > 0 { STREAM_STEP.max(late + 2 * STREAM_STEP) } else { STREAM_STEP };
        self.next = (number + 1, now + step + gap);
    }

    fn drive(&self, dut: &mut Rtl) {
        dut.set(&self.port("job_valid_i"), !self.waiting.is_empty());
        dut.set(&self.port("compact_i"), self.compact);
        let Some((number, _, next)) = self.waiting.front() else { return };
        let slots = self.config.slots();
        let mapping = Mapping::new(&self.config);
        let (round, places) = &next.rounds[0];
        let place = |slot: u32| {
            let place = places.iter().find(|place| place[0] == slot);
            let word = place.map_or(0, |place| place[1] | place[2] << mapping.column_bits());
            Bits::from_u64(mapping.place_bits(), word.into())
        };
        let places = Bits::concat(&(0..slots).rev().map(place).collect::<Vec<_>>());
        let command = fastcar_arch::isa::Command::from(next.command);
        dut.set(&self.port("command_i"), Bits::from_bytes(COMMAND_BITS, &command.encode()));
        dut.set(&self.port("places_i"), places);
        for (name, value) in [
            ("last_round_i", next.rounds.len() as u64 - 1),
            ("masked_i", next.masks.is_some().into()),
            ("first_group_i", next.first_group.into()),
            ("of_delta_i", next.of_delta.into()),
            ("delta_i", *number),
            ("slots_i", next.slots.into()),
            ("round_i", (*round).into()),
        ] {
            dut.set(&self.port(name), value);
        }
    }

    /// What is said of the masks of the product in hand, and the group that is looked at.
    fn masks(&mut self, dut: &mut Rtl, random: &mut Random, now: u64) {
        let number = dut.get(&self.port("filler_o"));
        if self.hand.iter().any(|hand| hand.0 == number) {
            while self.hand[0].0 != number {
                self.hand.pop_front();
            }
        }
        let asks = dut.is_set(&self.port("filled_o"));
        let hand = self.hand.front().filter(|hand| asks && hand.0 == number);
        let known = hand.map(|(_, came, product)| {
            let known = product.known.iter().filter(|known| came + 1 + **known <= now).count();
            (known, known == product.known.len())
        });
        let (groups, all) = known.unwrap_or((0, random.chance(50)));
        // That the last ones are known is only told with all.
        dut.set(&self.port("groups_i"), groups as u64 - u64::from(all && groups > 0));
        dut.set(&self.port("all_i"), all);
        let group = dut.get(&self.port("look_o")) as usize;
        let word = |lane: usize| {
            let of_operand = self.hand.front().and_then(|(_, _, product)| {
                let first = product.first_group as usize;
                product.masks.as_ref()?.get((group.checked_sub(first)? * GROUP) + lane).copied()
            });
            // Behind the operand lies anything.
            let mask = of_operand.unwrap_or(now as u32) & ((1_u64 << self.config.slots()) - 1) as u32;
            Bits::from_u64(self.config.slots(), mask.into())
        };
        let masks = Bits::concat(&(0..GROUP).rev().map(word).collect::<Vec<_>>());
        dut.set(&self.port("look_i"), masks);
    }
}

#[test]
fn runs_are_found() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let names = ["tiny", "edge", "odd", "narrow"];
    let parts: Vec<_> = names
        .iter()
        .map(|name| Ok((*name, Walk(machine(name)).module()?)))
        .collect::<Result<_, RtlError>>()?;
    let mut dut = Rtl::build(&gather("masked_walkers", &parts)?)?;
    let mut random = Random::new(17);
    let mut cover = Cover::new(&[
        "masked",
        "whole",
        "whole behind another",
        "several rounds",
        "masks come late",
        "in the first cycle",
        "a cycle for nothing",
    ]);
    for compact in [true, false] {
        dut.reset();
        let walked = names.iter().map(|name| Walked::new(name, compact));
        let mut walked = walked.collect::<Result<Vec<_>, _>>()?;
        for _ in 0..10_000 {
            walked.iter_mut().for_each(|walked| walked.cycle(&mut dut, &mut random, &mut cover));
            dut.tick();
        }
    }
    cover.assert(100);
    Ok(())
}
