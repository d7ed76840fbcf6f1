//! The command processor's blocks against models written from docs/cycles.md and docs/isa.md, cycle by cycle.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::AccelConfig;
use fastcar_arch::field::FieldInfo;
use fastcar_arch::isa::{COMMAND_BYTES, Command, CommandInfo, ENUMS, IsaError, Pred};
use fastcar_arch::layout::LIST_BANKS;
use fastcar_arch::program::{Limits, MAX_GATES};
use fastcar_arch::regs::error_code;
use fastcar_arch::step::{ACTIVE, GateEntry, NO_RING, OUTPUT, PAIRED, SlotEntry, StepTable};
use fastcar_arch::timing::{
    COMMAND_DECODE, DISPATCH, PREFETCH_COMMANDS, QUEUE_COMMANDS, STEP_DECODE, WINDOW, WRITERS,
};
use fastcar_hw::cmd::{Check, Dispatch, Prefetch, Ranges, TableReader, Writers};
use fastcar_hw::drs::Decisions;
use fastcar_hw::rtl::{Bits, Block, Module, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl, accept, gather, hold, skipped};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

type Raw = [u8; COMMAND_BYTES];
type Built = Result<Arc<Module>, Box<dyn std::error::Error>>;

/// The small blocks in one module, so that one library serves their tests.
fn parts() -> Built {
    let parts = [
        ("check", Check::new(BEAT)?.module()?),
        ("ranges", Ranges::new(6, 8, 5)?.module()?),
        ("decisions", Decisions::new(8, 2)?.module()?),
        ("writers", Writers::new(8, 3, 2)?.module()?),
    ];
    Ok(gather("cmd_parts", &parts)?)
}

/// The large ones, likewise.
fn blocks() -> Built {
    let table = |preset, readers| -> Built {
        Ok(TableReader::new(&AccelConfig::preset(preset)?, readers)?.module()?)
    };
    let parts = [
        ("b16", Prefetch::new(16)?.module()?),
        ("b32", Prefetch::new(32)?.module()?),
        ("b64", Prefetch::new(64)?.module()?),
        ("dispatch", Dispatch::new(BEAT)?.module()?),
        ("tiny", table("tiny", 1)?),
        ("u50", table("u50", 2)?),
        ("u55c", table("u55c", 1)?),
    ];
    Ok(gather("cmd_blocks", &parts)?)
}

fn values(kind: &str) -> Option<u64> {
    let listed = || ENUMS.iter().find(|known| known.name == kind).map(|known| known.rows.len() as u64);
    if kind == "bool" { Some(2) } else { listed() }
}

/// Bytes of a beat of the blocks that look at commands.
const BEAT: u32 = 16;

/// A command with any values that its fields can have.
fn any_command(random: &mut Random, info: &CommandInfo) -> Raw {
    let mut raw = [0; COMMAND_BYTES];
    (raw[0], raw[1]) = (info.opcode, random.below(Pred::ALL.len() as u64) as u8);
    for field in info.fields {
        let value = match values(field.kind) {
            Some(count) => random.below(count),
            None if field.is_length() => 1 + random.below(255),
            None if field.is_place() => random.word() & !u64::from(BEAT - 1),
            None => random.word(),
        };
        raw[field.offset..][..field.bytes].copy_from_slice(&value.to_le_bytes()[..field.bytes]);
    }
    raw
}

/// Makes a length 0, or an address or stride less than a beat too large, if there is one.
fn misfit(random: &mut Random, info: &CommandInfo, raw: &mut Raw) {
    let fields: Vec<_> = info.fields.iter().filter(|field| field.is_length() || field.is_place()).collect();
    if fields.is_empty() {
        return;
    }
    let field = fields[random.below(fields.len() as u64) as usize];
    if field.is_length() {
        raw[field.offset..][..field.bytes].fill(0);
    } else {
        raw[field.offset] |= 1 << random.below(BEAT.ilog2().into());
    }
}

fn word(raw: &Raw) -> Bits {
    Bits::from_bytes(8 * COMMAND_BYTES as u32, raw)
}

/// Whether the opcode, or an operand, is wrong.
fn verdict(raw: &Raw) -> (bool, bool) {
    match Command::decode(raw) {
        Ok(command) => (false, command.misfit(BEAT.into()).is_some()),
        Err(IsaError::Opcode { .. }) => (true, false),
        Err(_) => (false, true),
    }
}

#[test]
fn blocks_are_accepted() -> TestResult {
    if skipped() {
        return Ok(());
    }
    accept(&emit(&parts()?)?)?;
    accept(&emit(&blocks()?)?)?;
    Ok(())
}

#[test]
fn commands_are_checked() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::beside_native(&parts()?)?;
    let mut random = Random::new(1);
    let mut gaps = Gaps::new(80);
    let mut cover = Cover::new(&["good", "opcode", "operand", "gap"]);
    let mut owed: VecDeque<Option<(bool, bool)>> = (0..Check::LATENCY).map(|_| None).collect();
    dut.reset();
    for round in 0..12_000usize {
        let info = &Command::TABLE[round % Command::TABLE.len()];
        let mut raw = any_command(&mut random, info);
        if random.chance(70) {
            let byte = if random.chance(10) { 0 } else { random.below(COMMAND_BYTES as u64) as usize };
            raw[byte] ^= 1 << random.below(8);
        }
        if random.chance(20) {
            misfit(&mut random, info, &mut raw);
        }
        let valid = gaps.next(&mut random);
        dut.set("check_valid_i", valid);
        dut.set("check_command_i", word(&raw));
        owed.push_back(valid.then(|| verdict(&raw)));
        let due = owed.pop_front().flatten();
        assert_eq!(dut.is_set("check_valid_o"), due.is_some(), "round {round}");
        if let Some((opcode, operand)) = due {
            assert_eq!(dut.is_set("check_opcode_o"), opcode, "round {round}");
            assert_eq!(!opcode && dut.is_set("check_operand_o"), operand, "round {round}");
            cover.hit("good", !opcode && !operand);
            cover.hit("opcode", opcode);
            cover.hit("operand", operand);
        }
        cover.hit("gap", !valid);
        dut.tick();
    }
    cover.assert(100);
    Ok(())
}

/// The latest range that shares a block with another.
fn latest<T: Copy>(kept: &[(Range<u32>, T)], asked: &Range<u32>) -> Option<T> {
    let meets =
        |r: &Range<u32>| r.start < asked.end && asked.start < r.end && !r.is_empty() && !asked.is_empty();
    kept.iter().rev().find(|(range, _)| meets(range)).map(|kept| kept.1)
}

#[test]
fn the_latest_overlap_is_found() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::beside_native(&parts()?)?;
    let mut random = Random::new(2);
    let mut cover =
        Cover::new(&["found", "none", "forgotten", "cleared", "empty", "to the end", "asked while added"]);
    let mut kept: Vec<(Range<u32>, u64)> = Vec::new();
    let mut owed: VecDeque<Option<u64>> = (0..Ranges::LATENCY).map(|_| None).collect();
    let range = |random: &mut Random| {
        let start = random.below(64) as u32;
        start..(start + random.below(12) as u32).min(64)
    };
    dut.reset();
    for round in 0..6000 {
        let (asked, added) = (range(&mut random), range(&mut random));
        let (push, clear) = (random.chance(60), random.chance(2));
        owed.push_back(latest(&kept, &asked));
        for (name, range) in [("", &asked), ("push_", &added)] {
            dut.set(&format!("ranges_{name}start_i"), u64::from(range.start));
            dut.set(&format!("ranges_{name}end_i"), u64::from(range.end));
        }
        dut.set("ranges_push_i", push);
        dut.set("ranges_push_number_i", round & 255);
        dut.set("ranges_clear_i", clear);
        if round >= u64::from(Ranges::LATENCY) {
            let due = owed.pop_front().flatten();
            assert_eq!(dut.is_set("ranges_found_o"), due.is_some(), "round {round}");
            assert!(due.is_none_or(|number| number == dut.get("ranges_number_o")), "round {round}");
            cover.hit("found", due.is_some());
            cover.hit("none", due.is_none());
        } else {
            owed.pop_front();
        }
        cover.hit("asked while added", push);
        cover.hit("empty", asked.is_empty() || added.is_empty());
        cover.hit("to the end", asked.end == 64);
        dut.tick();
        if push {
            kept.push((added, round & 255));
            cover.hit("forgotten", kept.len() > 5);
            kept = kept.split_off(kept.len().saturating_sub(5));
        }
        if clear {
            kept.clear();
            cover.hit("cleared", true);
        }
    }
    cover.assert(20);
    Ok(())
}

/// A prefetch of the library, its program, and the memory behind it.
struct Fetch {
    prefix: String,
    beat: usize,
    program: Vec<u8>,
    commands: u64,
    requested: u64,
    /// Beats on their way: the cycle in which each may come, and its bytes.
    coming: VecDeque<(u64, Vec<u8>)>,
    stored: u64,
    /// When each burst's commands may be dispatched.
    bursts: Vec<u64>,
    given: u64,
    read: u64,
    free: u64,
}

impl Fetch {
    fn new(beat: usize) -> Self {
        Self {
            prefix: format!("b{beat}"),
            beat,
            program: Vec::new(),
            commands: 0,
            requested: 0,
            coming: VecDeque::new(),
            stored: 0,
            bursts: Vec::new(),
            given: 0,
            read: 0,
            free: 0,
        }
    }

    fn port(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    fn start(&mut self, dut: &mut Rtl, random: &mut Random) {
        self.commands = [1, 15, 16, 17, 33, 1 + random.below(150)][random.below(6) as usize];
        self.program = (0..self.commands * COMMAND_BYTES as u64).map(|_| random.word() as u8).collect();
        (self.requested, self.stored, self.given, self.read) = (0, 0, 0, 0);
        self.bursts.clear();
        dut.set(&self.port("start_i"), true);
        dut.set(&self.port("commands_i"), self.commands);
    }

    fn done(&self) -> bool {
        self.given == self.commands
    }

    /// One cycle: what comes and goes, and what is expected of the outputs.
    fn step(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) {
        let now = dut.cycle();
        let enable = random.chance(95);
        let ready = random.chance(70);
        dut.set(&self.port("enable_i"), enable);
        dut.set(&self.port("request_ready_i"), ready);
        let beat = self.coming.pop_front_if(|c| c.0 <= now && random.chance(80));
        dut.set(&self.port("beat_valid_i"), beat.is_some());
        if let Some((_, bytes)) = &beat {
            dut.set(&self.port("beat_data_i"), Bits::from_bytes(8 * self.beat as u32, bytes));
        }
        let takes = random.chance(60);
        dut.set(&self.port("command_ready_i"), takes);
        // A command that was read may be dispatched when its burst may.
        let may = self.bursts.iter().filter(|at| **at <= now).count() as u64;
        assert_eq!(dut.get(&self.port("bursts_o")), may, "cycle {now}");
        let give = self.given < self.read.min(16 * may) && random.chance(50);
        dut.set(&self.port("given_i"), give);

        let room = self.requested - self.given + 16 <= PREFETCH_COMMANDS;
        let wants = enable && self.requested < self.commands && room;
        cover.hit("no room", self.requested < self.commands && !room);
        assert_eq!(dut.is_set(&self.port("request_valid_o")), wants, "cycle {now}");
        if wants && ready {
            self.request(dut, random, cover);
        }
        if dut.is_set(&self.port("command_valid_o")) {
            assert!(self.read < self.stored, "a command before it has come");
            if takes {
                self.command(dut);
            }
        }
        if beat.is_some() {
            self.store(now);
        }
        self.given += u64::from(give);
    }

    fn request(&mut self, dut: &mut Rtl, random: &mut Random, cover: &mut Cover) {
        let count = (self.commands - self.requested).min(16);
        cover.hit("short burst", count < 16);
        assert_eq!(dut.get(&self.port("request_data_o")), self.requested << 5 | count);
        let bytes =
            &self.program[self.requested as usize * COMMAND_BYTES..][..count as usize * COMMAND_BYTES];
        let at = dut.cycle() + 3 + random.below(40);
        self.coming.extend(bytes.chunks(self.beat).map(|beat| (at, beat.to_vec())));
        self.requested += count;
    }

    fn command(&mut self, dut: &mut Rtl) {
        let expected = &self.program[self.read as usize * COMMAND_BYTES..][..COMMAND_BYTES];
        assert_eq!(dut.bits(&self.port("command_data_o")).to_bytes(), expected);
        assert_eq!(dut.get(&self.port("index_o")), self.read);
        self.read += 1;
        assert_eq!(dut.is_set(&self.port("last_o")), self.read == self.commands);
    }

    fn store(&mut self, now: u64) {
        self.free += 1;
        if self.free == (COMMAND_BYTES / self.beat) as u64 {
            self.free = 0;
            self.stored += 1;
            if self.stored == self.commands || self.stored.is_multiple_of(16) {
                self.bursts.push(now + COMMAND_DECODE);
            }
        }
    }
}

#[test]
fn programs_are_fetched() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build_random(&blocks()?, 3)?;
    let mut random = Random::new(3);
    let mut cover = Cover::new(&["no room", "short burst", "program"]);
    let mut all = [16, 32, 64].map(Fetch::new);
    dut.reset();
    let mut programs = 0;
    while programs < 60 {
        for fetch in &mut all {
            dut.set(&fetch.port("start_i"), false);
            if fetch.done() && random.chance(20) {
                fetch.start(&mut dut, &mut random);
                // The program is there from the next cycle on.
                for name in ["beat_valid_i", "command_ready_i", "given_i"] {
                    dut.set(&fetch.port(name), false);
                }
                programs += 1;
                cover.hit("program", true);
                continue;
            }
            fetch.step(&mut dut, &mut random, &mut cover);
        }
        assert!(dut.cycle() < 200_000, "the fetch hangs");
        dut.tick();
    }
    cover.assert(20);
    Ok(())
}

/// The units that a command goes to, in the order of the classes' bits.
fn classes(command: &Command) -> [bool; 9] {
    use Command::{
        Add, Attn, Delta, End, GateDelta, GateHost, GateTas, KvAppend, Load, Matvec, Norm, Quant, Rope,
        Store, StoreAct,
    };
    let gate = matches!(command, GateTas(_) | GateDelta(_) | GateHost(_));
    let vector = !matches!(command, End(_) | GateTas(_) | GateHost(_));
    let (product, ahead) = match command {
        Matvec(c) => (true, c.ahead),
        Attn(c) => (true, c.ahead),
        _ => (false, false),
    };
    let masked = matches!(command, Matvec(c) if c.delta);
    let records = match command {
        Load(_) | Norm(_) | Rope(_) | Delta(_) | GateTas(_) | GateDelta(_) => true,
        Matvec(c) => c.has_bias || c.delta,
        Store(_) | StoreAct(_) | Quant(_) | Add(_) | KvAppend(_) | Attn(_) | GateHost(_) | End(_) => false,
    };
    let writes = masked || matches!(command, Store(_) | StoreAct(_) | Delta(_) | KvAppend(_));
    let masks = matches!(command, Delta(_));
    [vector, product, ahead, gate, records, writes, masked, masks, matches!(command, End(_))]
}

fn blocks_from(first: u16, blocks: u64) -> Range<u32> {
    u32::from(first)..u32::from(first) + blocks as u32
}

/// Whether a command reads block lists.
fn is_listed(raw: &Raw) -> bool {
    matches!(Command::decode(raw), Ok(Command::Attn(c)) if c.list_entries > 0)
}

fn fills(command: &Command) -> Option<Range<u32>> {
    match command {
        Command::Quant(c) => Some(blocks_from(c.dst.0, c.blocks.into())),
        Command::Delta(c) => Some(blocks_from(c.dst.0, c.blocks.into())),
        _ => None,
    }
}

fn reads(command: &Command) -> Option<Range<u32>> {
    let heads = |first, heads: u16, dim: u16| blocks_from(first, u64::from(heads) * u64::from(dim) / 32);
    match command {
        Command::Matvec(c) => Some(blocks_from(c.src.0, c.blocks.into())),
        Command::Attn(c) => Some(heads(c.src.0, c.heads, c.head_dim)),
        Command::GateTas(c) => Some(heads(c.src.0, c.heads, c.head_dim)),
        _ => None,
    }
}

/// What goes to the queues with a command.
#[derive(Clone, Debug, PartialEq)]
struct Issue {
    raw: Raw,
    index: u64,
    classes: u64,
    numbers: [Option<u64>; 4],
    waits: [Option<u64>; 5],
    entry: Option<u64>,
}

const UNITS: [&str; 4] = ["vector", "product", "gate", "writer"];
const WAITS: [&str; 5] = ["operand", "product", "gate", "decision", "masks"];

impl Issue {
    fn check(&self, dut: &mut Rtl) {
        let port = |name: &str| format!("dispatch_issue_{name}_o");
        assert_eq!(dut.bits(&port("command")).to_bytes(), self.raw);
        assert_eq!(dut.get(&port("index")), self.index);
        assert_eq!(dut.get(&port("classes")), self.classes, "{:?}", Command::decode(&self.raw));
        for (unit, expected) in UNITS.iter().zip(self.numbers) {
            let found = dut.get(&port(&format!("number_{unit}")));
            assert!(expected.is_none_or(|n| n == found), "{unit}: {found}, {self:?}");
        }
        for (wait, expected) in WAITS.iter().zip(self.waits) {
            let valid = dut.is_set(&port(&format!("{wait}_valid")));
            let found = valid.then(|| dut.get(&port(wait)));
            assert_eq!(found, expected, "{wait}: {self:?}");
        }
    }
}

/// What the dispatcher notes of commands.
#[derive(Default)]
struct Notes {
    numbers: [u64; 4],
    fills: Vec<(Range<u32>, u64)>,
    products: Vec<(Range<u32>, u64)>,
    gates: Vec<(Range<u32>, u64)>,
    last_gate: Option<u64>,
    last_delta: Option<(u64, u64)>,
}

impl Notes {
    fn issue(&mut self, raw: &Raw, index: u64) -> Issue {
        let command = Command::decode(raw).unwrap();
        let kinds = classes(&command);
        let of_unit = [kinds[0], kinds[1], kinds[3], kinds[5]];
        let numbers: [Option<u64>; 4] = std::array::from_fn(|u| of_unit[u].then_some(self.numbers[u] % 256));
        let find = |kept: &Vec<(Range<u32>, u64)>, range: Option<Range<u32>>| latest(kept, &range?);
        let (filled, read) = (fills(&command), reads(&command));
        let decides = matches!(command.pred(), Pred::Compute | Pred::Replay);
        let waits = [
            find(&self.fills, read.clone()),
            find(&self.products, filled.clone()),
            find(&self.gates, filled.clone()),
            self.last_gate.filter(|_| decides),
            self.last_delta.map(|d| d.0).filter(|_| kinds[6]),
        ];
        let note = |kept: &mut Vec<(Range<u32>, u64)>, range: Option<Range<u32>>, number: u64| {
            kept.extend(range.map(|range| (range, number)));
            *kept = kept.split_off(kept.len().saturating_sub(QUEUE_COMMANDS));
        };
        note(&mut self.fills, filled, self.numbers[0] % 256);
        if kinds[3] {
            note(&mut self.gates, read, self.numbers[2] % 256);
            self.last_gate = numbers[2];
        } else {
            note(&mut self.products, read, self.numbers[1] % 256);
        }
        let own = match &command {
            Command::Delta(c) => Some(c.gate.into()),
            Command::GateDelta(c) => Some(c.gate.into()),
            Command::GateTas(c) => Some(c.gate.into()),
            Command::GateHost(c) => Some(c.gate.into()),
            _ => None,
        };
        let entry = own.or(self.last_delta.map(|d| d.1).filter(|_| kinds[6]));
        if kinds[7] {
            self.last_delta = numbers[0].zip(entry);
        }
        for (count, used) in self.numbers.iter_mut().zip(of_unit) {
            *count += u64::from(used);
        }
        let classes = kinds.iter().enumerate().map(|(bit, &set)| u64::from(set) << bit).sum();
        Issue { raw: *raw, index, classes, numbers, waits, entry }
    }
}

/// A random program: many commands of the kinds that meet in the activation buffer, in a small part of it.
fn program(random: &mut Random, length: u64) -> Vec<Raw> {
    let mut raws: Vec<Raw> = (1..length)
        .map(|_| {
            let which = 1 + random.below(Command::TABLE.len() as u64 - 1) as usize;
            let mut raw = any_command(random, &Command::TABLE[which]);
            // Small first blocks, numbers of blocks, heads and head sizes: `dst`, `src`, `blocks`, `heads`, `head_dim`.
            for offset in [2, 4, 6, 8] {
                let field = Command::TABLE[which].fields.iter().find(|f| f.offset == offset && f.bytes == 2);
                // Heads times their size stay within the buffer, as a program's do.
                let heads = field.is_some_and(|f| matches!(f.name, "heads" | "head_dim"));
                if field.is_some() && (heads || random.chance(95)) {
                    let least = u64::from(field.is_some_and(FieldInfo::is_length));
                    let small = least + random.below(24 - least);
                    let small = if offset == 8 && raw[0] != 0x21 { 32 } else { small as u16 };
                    raw[offset..offset + 2].copy_from_slice(&small.to_le_bytes());
                }
            }
            raw
        })
        .collect();
    raws.push(Command::TABLE.iter().find(|i| i.mnemonic == "end").map(|i| any_command(random, i)).unwrap());
    raws
}

/// The dispatcher with everything around it.
struct Machine {
    program: Vec<Raw>,
    /// The command that is wrong, and how.
    wrong: Option<(usize, u64)>,
    offered: usize,
    /// Since when the command in the decoder is there, and whether one waits behind it decoded.
    held: Option<u64>,
    next: bool,
    index: usize,
    rest_until: u64,
    /// Fronts of the six queues.
    queues: [VecDeque<u64>; 7],
    counts: [u64; 3],
    /// Of each product that is not through, whether it reads block lists.
    listed: VecDeque<bool>,
    notes: Notes,
    issued: VecDeque<(u64, Issue)>,
    stopped: bool,
    error: Option<(u64, u64)>,
}

const BINS: [&str; 11] = [
    "lists",
    "queue full",
    "window",
    "room made",
    "writers",
    "error",
    "operand",
    "product",
    "gate",
    "decision",
    "masks",
];
const QUEUES: [&str; 7] = ["vector", "product", "gate", "record", "main", "ahead", "write"];

impl Machine {
    fn new(program: Vec<Raw>, wrong: Option<(usize, u64)>) -> Self {
        Self {
            program,
            wrong,
            offered: 0,
            held: None,
            next: false,
            index: 0,
            rest_until: 0,
            queues: Default::default(),
            counts: [0; 3],
            listed: VecDeque::new(),
            notes: Notes::default(),
            issued: VecDeque::new(),
            stopped: false,
            error: None,
        }
    }

    /// Lets queues give up their fronts, and shows them. What is popped leaves in this cycle.
    fn pop(&mut self, dut: &mut Rtl, random: &mut Random, percent: u64) -> [bool; 7] {
        // One of the queues hardly moves.
        let slow = self.program.len() % 8;
        let pops: [bool; 7] = std::array::from_fn(|q| {
            let moves = if q == slow { random.below(300) == 0 } else { random.chance(percent) };
            !self.queues[q].is_empty() && moves
        });
        for (q, name) in QUEUES.iter().enumerate() {
            let front = self.queues[q].front();
            dut.set(&format!("dispatch_{name}_front_valid_i"), front.is_some());
            dut.set(&format!("dispatch_{name}_front_i"), front.map_or(0, |index| index % 256));
            if q < 3 {
                dut.set(&format!("dispatch_{name}_pop_i"), pops[q]);
            }
        }
        pops
    }

    /// Whether the next command is taken, as far as queues are concerned.
    fn has_room(&self, pops: &[bool; 7], kinds: &[bool; 9], cover: &mut Cover) -> bool {
        let uses = [kinds[0], kinds[1], kinds[3]];
        let full = (0..3).any(|q| uses[q] && self.counts[q] as usize == QUEUE_COMMANDS && !pops[q]);
        let behind = |front: u64| self.index as u64 - front >= WINDOW as u64;
        let stays = |(q, queue): (usize, &VecDeque<u64>)| {
            queue.front().is_some_and(|&front| behind(front) && !(q < 3 && pops[q]))
        };
        let far = self.queues.iter().enumerate().any(stays);
        cover.hit("queue full", full);
        cover.hit("window", far);
        cover.hit(
            "room made",
            (0..3).any(|q| uses[q] && self.counts[q] as usize == QUEUE_COMMANDS && pops[q]),
        );
        let pops_list = pops[1] && self.listed[0];
        let listed = self.listed.iter().filter(|listed| **listed).count();
        let crowded = is_listed(&self.program[self.index]) && listed == LIST_BANKS as usize && !pops_list;
        cover.hit("lists", crowded && !full && !far);
        !full && !far && !crowded
    }

    fn step(&mut self, dut: &mut Rtl, random: &mut Random, percent: u64, cover: &mut Cover) {
        let now = dut.cycle();
        let pops = self.pop(dut, random, percent);
        let (go, writers) = (random.chance(97), random.chance(90));
        dut.set("dispatch_go_i", go);
        dut.set("dispatch_writer_room_i", writers);
        let bursts = random.chance(90);
        dut.set("dispatch_bursts_i", self.index as u64 / 16 + u64::from(bursts));
        let offer = self.offered < self.program.len() && random.chance(85);
        dut.set("dispatch_command_valid_i", offer);
        if offer {
            dut.set("dispatch_command_data_i", word(&self.program[self.offered]));
            dut.set("dispatch_index_i", self.offered as u64);
            dut.set("dispatch_last_i", self.offered + 1 == self.program.len());
        }

        let wrong = self.wrong.filter(|w| w.0 == self.index).map(|w| w.1);
        let there = self.next && bursts && !self.stopped;
        let mut take = there && go && wrong.is_none() && now >= self.rest_until;
        if take {
            let kinds = classes(&Command::decode(&self.program[self.index]).unwrap());
            cover.hit("writers", kinds[5] && !writers);
            take = self.has_room(&pops, &kinds, cover) && (writers || !kinds[5]);
        }
        assert_eq!(dut.is_set("dispatch_taken_o"), take, "cycle {now}, command {}", self.index);
        self.outputs(dut, now, cover);

        // The edge.
        if let Some(code) = wrong.filter(|_| there) {
            (self.stopped, self.error) = (true, Some((now + 1, code)));
            cover.hit("error", true);
        }
        let moves = self.held.is_some_and(|since| now >= since + 3) && (!self.next || take);
        let ready = self.held.is_none() || moves;
        assert_eq!(dut.is_set("dispatch_command_ready_o"), ready, "cycle {now}");
        self.next = moves || self.next && !take;
        if moves {
            self.held = None;
        }
        if offer && ready {
            self.held = Some(now + 1);
            self.offered += 1;
        }
        for (q, popped) in pops.iter().enumerate() {
            if *popped {
                self.queues[q].pop_front();
                if q < 3 {
                    self.counts[q] -= 1;
                }
                if q == 1 {
                    self.listed.pop_front();
                }
            }
        }
        if take {
            self.take(dut, now);
        }
    }

    fn take(&mut self, dut: &mut Rtl, now: u64) {
        let index = self.index as u64;
        let issue = self.notes.issue(&self.program[self.index], index);
        let entry = dut.get("dispatch_gate_entry_o");
        assert!(issue.entry.is_none_or(|gate| gate == entry), "{entry}: {issue:?}");
        let bit = |b: u64| issue.classes >> b & 1 == 1;
        for (q, class) in [0, 1, 3].into_iter().enumerate() {
            self.counts[q] += u64::from(bit(class));
        }
        if bit(1) {
            self.listed.push_back(is_listed(&self.program[self.index]));
        }
        self.stopped = bit(8);
        self.issued.push_back((now + DISPATCH - 1, issue));
        self.rest_until = now + DISPATCH;
        self.index += 1;
    }

    /// What goes to the queues, and errors.
    fn outputs(&mut self, dut: &mut Rtl, now: u64, cover: &mut Cover) {
        let due = self.issued.pop_front_if(|i| i.0 == now);
        assert_eq!(dut.is_set("dispatch_issue_valid_o"), due.is_some(), "cycle {now}");
        if let Some((_, issue)) = due {
            issue.check(dut);
            WAITS.iter().zip(issue.waits).for_each(|(wait, there)| cover.hit(wait, there.is_some()));
            let bit = |b: u64| issue.classes >> b & 1 == 1;
            let into = [bit(0), bit(1), bit(3), bit(4), bit(1), bit(2), bit(5)];
            for (queue, _) in self.queues.iter_mut().zip(into).filter(|q| q.1) {
                queue.push_back(issue.index);
            }
        }
        let error = self.error.filter(|e| e.0 == now);
        assert_eq!(dut.is_set("dispatch_error_valid_o"), error.is_some(), "cycle {now}");
        if let Some((_, code)) = error {
            assert_eq!(dut.get("dispatch_error_code_o"), code);
            assert_eq!(dut.get("dispatch_error_index_o"), self.index as u64);
        }
        assert_eq!(dut.is_set("dispatch_ended_o"), self.index == self.program.len(), "cycle {now}");
    }

    fn finished(&self, now: u64) -> bool {
        self.stopped && self.issued.is_empty() && self.error.is_none_or(|e| e.0 < now)
    }
}

/// Makes one command of a program wrong, and says with which code.
fn spoil(random: &mut Random, program: &mut [Raw]) -> Option<(usize, u64)> {
    let at = random.below(program.len() as u64) as usize;
    let code = |name| error_code(name).map(u64::from);
    let name = match random.below(6) {
        0 => {
            program[at][0] = 0x7F;
            "opcode"
        }
        1 if random.chance(50) => {
            program[at][1] = 4;
            "operand"
        }
        1 => {
            let info = Command::TABLE.iter().find(|info| info.opcode == program[at][0])?;
            misfit(random, info, &mut program[at]);
            Command::decode(&program[at]).ok()?.misfit(BEAT.into())?;
            "operand"
        }
        2 if at + 1 < program.len() => {
            program[at] = [0; COMMAND_BYTES];
            "no_end"
        }
        3 => {
            let last = program.len() - 1;
            program[last] = any_command(random, &Command::TABLE[1]);
            return Some((last, code("no_end")?));
        }
        _ => return None,
    };
    Some((at, code(name)?))
}

#[test]
fn commands_are_dispatched() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build_random(&blocks()?, 4)?;
    let mut random = Random::new(4);
    let bins = [&BINS[..], &["again"]].concat();
    let mut cover = Cover::new(&bins);
    dut.reset();
    for run in 0..40 {
        let length = 1 + random.below(300);
        let mut raws = program(&mut random, length);
        let wrong = spoil(&mut random, &mut raws);
        let mut machine = Machine::new(raws, wrong);
        for name in ["command_valid_i", "go_i"] {
            dut.set(&format!("dispatch_{name}"), false);
        }
        dut.set("dispatch_start_i", true);
        dut.tick();
        dut.set("dispatch_start_i", false);
        let percent = [3, 12, 40, 100][run % 4];
        while !machine.finished(dut.cycle()) {
            assert!(dut.cycle() < 2_000_000, "the dispatcher hangs");
            machine.step(&mut dut, &mut random, percent, &mut cover);
            dut.tick();
        }
        cover.hit("again", run > 0);
    }
    cover.assert(5);
    Ok(())
}

fn any_table(random: &mut Random, slots: u32) -> (StepTable, Limits) {
    let slots = 1 + random.below(slots.into()) as usize;
    let gates = [0, 1, 2, 7, 8, 9, random.below(100), MAX_GATES.into()][random.below(8) as usize] as usize;
    let mut table = StepTable::new(slots, gates);
    for slot in &mut table.slots {
        let mut word = || random.word() as u32;
        *slot = SlotEntry {
            flags: word() & 7,
            pos: word(),
            ring: word(),
            token: [word(), word(), word(), word()],
            ..*slot
        };
        if random.chance(30) {
            slot.ring = NO_RING;
        }
    }
    for gate in &mut table.gates {
        *gate = GateEntry { allow: random.word() as u32, force: random.word() as u32 };
    }
    let positions = random.word() as u32;
    (table, Limits { slots: slots as u32, positions, ring: 0, tokens: 0, gates: gates as u32 })
}

/// Gives a table's beats as they are asked for; returns the cycle of the last, none when the head is refused.
fn give_table(dut: &mut Rtl, random: &mut Random, prefix: &str, beat: usize, bytes: &[u8]) -> Option<u64> {
    let port = |name: &str| format!("{prefix}_{name}");
    dut.set(&port("start_i"), true);
    dut.tick();
    dut.set(&port("start_i"), false);
    let beats: Vec<&[u8]> = bytes.chunks(beat).collect();
    let (mut asked, mut given, mut last) = (0, 0, None);
    for cycle in 0..20_000 {
        let ready = random.chance(60);
        dut.set(&port("request_ready_i"), ready);
        if dut.is_set(&port("request_valid_o")) {
            let run = dut.get(&port("request_data_o"));
            let head = (64 / beat) as u64;
            let expected = if asked == 0 { head } else { head << 16 | (beats.len() as u64 - head) };
            assert_eq!(run, expected, "run of beats");
            asked += if ready { run as usize & 0xFFFF } else { 0 };
        }
        let beat_comes = given < asked && random.chance(70);
        dut.set(&port("beat_valid_i"), beat_comes);
        if beat_comes {
            let mut padded = beats[given].to_vec();
            padded.resize(beat, 0xA5);
            dut.set(&port("beat_data_i"), Bits::from_bytes(8 * beat as u32, &padded));
            given += 1;
            last = (given == beats.len()).then_some(dut.cycle());
        }
        let ready_at = last.map(|last| last + STEP_DECODE);
        assert_eq!(dut.is_set(&port("ready_o")), ready_at == Some(dut.cycle()), "ready");
        if ready_at == Some(dut.cycle()) || dut.is_set(&port("wrong_o")) {
            dut.set(&port("beat_valid_i"), false);
            return last;
        }
        assert!(cycle < 19_000, "the table is not read");
        dut.tick();
    }
    None
}

/// What the units see of a table.
fn table_is_kept(
    dut: &mut Rtl,
    random: &mut Random,
    prefix: &str,
    readers: u64,
    table: &StepTable,
    limits: Limits,
) {
    let port = |name: &str| format!("{prefix}_{name}");
    assert_eq!(dut.get(&port("positions_o")), u64::from(limits.positions));
    assert_eq!(dut.get(&port("gates_o")), u64::from(limits.gates));
    let paired = table.mask(PAIRED);
    for (name, mask) in [("active", table.mask(ACTIVE)), ("output", table.mask(OUTPUT)), ("paired", paired)] {
        assert_eq!(dut.get(&port(&format!("{name}_o"))), u64::from(mask), "{name}");
    }
    let ring = table.slots.iter().enumerate().map(|(n, s)| u64::from(s.ring().is_some()) << n).sum::<u64>();
    assert_eq!(dut.get(&port("ring_o")), ring);
    for (n, slot) in table.slots.iter().enumerate() {
        let reader = random.below(readers);
        dut.set(&port(&format!("slot_{reader}_i")), n as u64);
        let words: Vec<u8> =
            [slot.pos, slot.ring].iter().chain(&slot.token).flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(dut.bits(&port(&format!("entry_{reader}_o"))).to_bytes(), words, "slot {n}");
    }
    for _ in 0..table.gates.len().min(20) {
        let n = random.below(table.gates.len() as u64);
        dut.set(&port("gate_i"), n);
        dut.tick();
        dut.set(&port("gate_i"), 0xFFFF_u64);
        dut.tick();
        let gate = table.gates[n as usize];
        assert_eq!(dut.get(&port("gate_o")), u64::from(gate.force) << 32 | u64::from(gate.allow), "gate {n}");
    }
}

#[test]
fn step_tables_are_read() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build_random(&blocks()?, 6)?;
    let mut random = Random::new(6);
    let mut cover =
        Cover::new(&["no gates", "all gates", "all slots", "no slots", "too many slots", "too many gates"]);
    dut.reset();
    for round in 0..90 {
        let (name, readers) = [("tiny", 1), ("u50", 2), ("u55c", 1)][round % 3];
        let config = AccelConfig::preset(name)?;
        let (table, limits) = any_table(&mut random, config.slots());
        let mut bytes = table.to_bytes(limits);
        let wrong = random.below(10);
        let head = match wrong {
            0 => [0, limits.gates],
            1 => [config.slots() + 1, limits.gates],
            2 => [limits.slots, MAX_GATES + 1],
            _ => [limits.slots, limits.gates],
        };
        bytes[..8].copy_from_slice(head.map(u32::to_le_bytes).as_flattened());
        let beat = config.beat().get() as usize;
        let last = give_table(&mut dut, &mut random, name, beat, &bytes);
        cover.hit("no slots", wrong == 0);
        cover.hit("too many slots", wrong == 1);
        cover.hit("too many gates", wrong == 2);
        assert_eq!(last.is_none(), wrong < 3, "round {round}");
        if wrong >= 3 {
            table_is_kept(&mut dut, &mut random, name, readers, &table, limits);
            cover.hit("no gates", limits.gates == 0);
            cover.hit("all gates", limits.gates == MAX_GATES);
            cover.hit("all slots", limits.slots == config.slots());
        }
    }
    cover.assert(1);
    Ok(())
}

/// The slots of a predicate, once the decision that it needs is known.
fn selected(pred: u64, active: u64, output: u64, replay: Option<u64>) -> Option<u64> {
    match pred {
        0 => Some(active),
        1 => replay.map(|replay| active & !replay),
        2 => replay.map(|replay| active & replay),
        _ => Some(output),
    }
}

/// Gates in order of their numbers: those that have decided, and how.
#[derive(Default)]
struct GateModel {
    decided: Vec<Option<u64>>,
}

impl GateModel {
    /// Dispatches and settles some, and says so on the ports of a block. What happens is seen in the next cycle.
    fn step(
        &mut self,
        dut: &mut Rtl,
        random: &mut Random,
        prefixes: &[&str],
    ) -> (bool, Option<(usize, u64)>) {
        let begins = random.chance(20);
        let last = self.decided.len().saturating_sub(WINDOW);
        let oldest = (last..self.decided.len()).find(|&gate| self.decided[gate].is_none());
        // Those of the last 64 that have not decided do so in any order.
        let settles = oldest.filter(|_| random.chance(14)).map(|first| {
            let open: Vec<_> = (first..self.decided.len()).filter(|&g| self.decided[g].is_none()).collect();
            (open[random.below(open.len() as u64) as usize], random.below(256))
        });
        for prefix in prefixes {
            dut.set(&format!("{prefix}_settle_valid_i"), settles.is_some());
            dut.set(&format!("{prefix}_settle_i"), settles.map_or(0, |s| s.0 as u64 % 256));
            dut.set(&format!("{prefix}_replay_i"), settles.map_or(0, |s| s.1));
        }
        let begins = begins && oldest.is_none_or(|first| self.decided.len() - first < WINDOW - 1);
        (begins, settles)
    }

    fn edge(&mut self, begins: bool, settles: Option<(usize, u64)>) {
        if let Some((gate, replay)) = settles {
            self.decided[gate] = Some(replay);
        }
        if begins {
            self.decided.push(None);
        }
    }

    /// A gate that a command may wait for: one of the last, or none.
    fn any(&self, random: &mut Random) -> Option<usize> {
        let back = 1 + random.below(10) as usize;
        self.decided.len().checked_sub(back)
    }

    fn replay(&self, gate: Option<usize>) -> Option<u64> {
        gate.map_or(Some(0), |gate| self.decided[gate])
    }
}

#[test]
fn predicates_select_slots() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::beside_native(&parts()?)?;
    let mut random = Random::new(7);
    let mut cover = Cover::new(&["all", "compute", "replay", "output", "unknown", "no gate"]);
    let mut gates = GateModel::default();
    let (mut active, mut output) = (0, 0);
    dut.reset();
    for _ in 0..6000 {
        if random.chance(5) {
            (active, output) = (random.below(256), random.below(256));
        }
        dut.set("decisions_active_i", active);
        dut.set("decisions_output_i", output);
        let (begins, settles) = gates.step(&mut dut, &mut random, &["decisions"]);
        dut.set("decisions_gate_valid_i", begins);
        dut.set("decisions_gate_i", gates.decided.len() as u64 % 256);
        for reader in 0..2 {
            let (pred, gate) = (random.below(4), gates.any(&mut random));
            dut.set(&format!("decisions_pred_{reader}_i"), pred);
            dut.set(&format!("decisions_decision_valid_{reader}_i"), gate.is_some());
            dut.set(&format!("decisions_decision_{reader}_i"), gate.map_or(0, |gate| gate as u64 % 256));
            let expected = selected(pred, active, output, gates.replay(gate));
            assert_eq!(dut.is_set(&format!("decisions_known_{reader}_o")), expected.is_some());
            let found = dut.get(&format!("decisions_slots_{reader}_o"));
            assert!(expected.is_none_or(|slots| slots == found), "{pred}, gate {gate:?}");
            cover.hit("unknown", expected.is_none());
            cover.hit("no gate", gate.is_none() && pred == 2);
            cover.hit(["all", "compute", "replay", "output"][pred as usize], expected.is_some());
        }
        dut.tick();
        gates.edge(begins, settles);
    }
    cover.assert(5);
    Ok(())
}

/// A command that writes.
struct Writer {
    family: u64,
    ringed: bool,
    pred: u64,
    gate: Option<usize>,
}

#[test]
fn the_youngest_writer_is_found() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::build_random(&parts()?, 8)?;
    let mut random = Random::new(8);
    let bins =
        ["guard", "no guard", "wait", "full", "decides at once", "behind the oldest", "oldest unknown"];
    let mut cover = Cover::new(&bins);
    let mut gates = GateModel::default();
    let (mut writers, mut oldest): (Vec<Writer>, usize) = (Vec::new(), 0);
    let (active, output, ring) = (0xF7, 0x35, 0x6B);
    dut.set("writers_ring_i", ring);
    dut.set("writers_active_i", active);
    dut.set("writers_output_i", output);
    dut.reset();
    // What readers are owed: whether they wait, and whom for.
    type Answer = (bool, Option<usize>);
    let mut owed: VecDeque<[Answer; 2]> = VecDeque::new();
    for cycle in 0..60_000_u64 {
        let (begins, settles) = gates.step(&mut dut, &mut random, &["writers"]);
        let writing = |slots: u64, ringed: bool| if ringed { slots & ring } else { slots };
        let slots = |w: &Writer| {
            selected(w.pred, active, output, gates.replay(w.gate)).map(|slots| writing(slots, w.ringed))
        };
        let room = writers.len() - oldest < WRITERS;
        assert_eq!(dut.is_set("writers_room_o"), room, "cycle {cycle}");
        cover.hit("full", !room);
        let there = oldest < writers.len();
        assert_eq!(dut.is_set("writers_oldest_valid_o"), there);
        if there {
            let known = slots(&writers[oldest]);
            assert_eq!(dut.is_set("writers_oldest_known_o"), known.is_some(), "cycle {cycle}");
            assert!(known.is_none_or(|slots| slots == dut.get("writers_oldest_slots_o")));
            cover.hit("oldest unknown", known.is_none());
        }
        let done = there && slots(&writers[oldest]).is_some() && random.chance(10);
        dut.set("writers_done_i", done);

        owed.push_back([0, 1].map(|reader| {
            let back = random.below(20) as usize;
            let before = writers.len().saturating_sub(back);
            let (family, wanted) = (random.below(8), random.below(256) & random.below(256));
            dut.set(&format!("writers_before_{reader}_i"), before as u64 % 256);
            dut.set(&format!("writers_family_{reader}_i"), family);
            dut.set(&format!("writers_slots_{reader}_i"), wanted);
            cover.hit("behind the oldest", before < oldest);
            let older = || (oldest..before.max(oldest)).filter(|&n| writers[n].family == family);
            let waits = older().any(|n| slots(&writers[n]).is_none());
            let guard = older().rev().find(|&n| slots(&writers[n]).is_some_and(|s| s & wanted != 0));
            (waits, guard)
        }));
        if owed.len() > Writers::LATENCY as usize {
            for (reader, (waits, guard)) in owed.pop_front().into_iter().flatten().enumerate() {
                assert_eq!(dut.is_set(&format!("writers_wait_{reader}_o")), waits, "cycle {cycle}");
                assert_eq!(dut.is_set(&format!("writers_guard_valid_{reader}_o")), guard.is_some());
                let found = dut.get(&format!("writers_guard_{reader}_o"));
                assert!(
                    guard.is_none_or(|n| n as u64 % 256 == found),
                    "cycle {cycle}: {guard:?}, found {found}"
                );
                cover.hit("wait", waits);
                cover.hit("guard", guard.is_some());
                cover.hit("no guard", guard.is_none());
            }
        }

        let push = room && random.chance(15);
        let writer = Writer {
            family: random.below(8),
            ringed: random.chance(50),
            pred: random.below(4),
            gate: gates.any(&mut random),
        };
        let known = selected(writer.pred, active, output, gates.replay(writer.gate));
        let decides = writer.gate.is_some() && (writer.pred == 1 || writer.pred == 2);
        dut.set("writers_push_valid_i", push);
        dut.set("writers_push_i", writers.len() as u64 % 256);
        dut.set("writers_push_family_i", writer.family);
        dut.set("writers_push_ringed_i", writer.ringed);
        dut.set("writers_push_pred_i", writer.pred);
        dut.set("writers_push_decides_i", decides);
        dut.set("writers_push_decision_i", writer.gate.map_or(0, |g| g as u64 % 256));
        dut.set("writers_push_known_i", known.is_some());
        dut.set("writers_push_slots_i", known.unwrap_or(0x5A));
        let at_once = known.is_none() && settles.is_some_and(|s| Some(s.0) == writer.gate);
        cover.hit("decides at once", push && at_once);
        dut.tick();
        gates.edge(begins, settles);
        oldest += usize::from(done);
        if push {
            writers.push(writer);
        }
    }
    cover.assert(5);
    Ok(())
}

#[test]
fn native_simulation_agrees() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut dut = Rtl::beside_native(&blocks()?)?;
    let mut random = Random::new(5);
    let mut cover = Cover::new(&BINS);
    dut.reset();
    let mut machine = Machine::new(program(&mut random, 40), None);
    dut.set("dispatch_start_i", true);
    dut.tick();
    dut.set("dispatch_start_i", false);
    while !machine.finished(dut.cycle()) {
        machine.step(&mut dut, &mut random, 20, &mut cover);
        dut.tick();
    }
    Ok(())
}

#[test]
fn synthesis_is_as_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let table = TableReader::new(&AccelConfig::preset("u55c")?, 4)?.module()?;
    let (drs, writers) = (Decisions::new(32, 6)?.module()?, Writers::new(32, 23, 3)?.module()?);
    let modules = [
        Check::new(64)?.module()?,
        Prefetch::new(16)?.module()?,
        Prefetch::new(64)?.module()?,
        Dispatch::new(64)?.module()?,
        table,
        drs,
        writers,
    ];
    hold("cmd", &modules)?;
    Ok(())
}
