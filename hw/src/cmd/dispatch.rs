//! `dispatch`: commands on their way to the units' queues.
//!
//! # Purpose
//!
//! Takes the program's commands in order, refuses what is none, and hands each to the units that it needs, with the numbers of the
//! commands in other units that it has to wait for.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i`, `start_i` | in | 1 | nothing is under way; a program begins |
//! | `go_i` | in | 1 | commands may be taken |
//! | `command_valid_i`, `command_data_i`, `command_ready_o` | | 1, 512, 1 | *stream* of commands |
//! | `index_i`, `last_i` | in | 32, 1 | with a command: its number in the program, and whether it is the last |
//! | `bursts_i` | in | 32 | bursts whose commands may be taken |
//! | `taken_o` | out | 1 | a command is taken in this cycle |
//! | `gate_entry_o` | out | 16 | with it: the gate in the step table that says which slots have a reference: its own, or that `delta`'s |
//! | `<queue>_pop_i` | in | 1 | a command leaves a queue (`vector`, `product`, `gate`) in this cycle |
//! | `<queue>_front_valid_i`, `<queue>_front_i` | in | 1, 8 | the low bits of the number of the command in front (also `record`, `main`, `ahead`, `write`) |
//! | `writer_room_i` | in | 1 | one more command that writes may be under way |
//! | `issue_valid_o` | out | 1 | a command goes to its queues; with it: |
//! | `issue_command_o`, `issue_index_o`, `issue_classes_o` | out | 512, 32, [`CLASSES`] | the command, its number, its [`Classes`] |
//! | `issue_number_<unit>_o` | out | 8 | its number among the commands of a unit (`vector`, `product`, `gate`, `writer`), if it is one |
//! | `issue_<wait>_valid_o`, `issue_<wait>_o` | out | 1, 8 | what it waits for: `operand`: the vector command that fills what it reads; `product`, `gate`: commands there that read what it fills; `decision`: the gate of its predicate; `masks`: the `delta` whose masks it streams by |
//! | `error_valid_o`, `error_code_o`, `error_index_o` | out | 1, 8, 32 | the program is wrong here: nothing more is taken |
//! | `ended_o` | out | 1 | `end` is taken |
//!
//! Numbers begin at 0 with a program and are counted modulo 256. No more than [`WINDOW`] commands lie between the fronts of the queues and the dispatcher, so that of two numbers the later one is known.
//!
//! # Timing
//!
//! A command is taken in the cycle in which it is the next, its burst may be used, `DISPATCH` cycles have passed since the one before, and every queue that it needs has room (a command that leaves in this
//! cycle makes room) and no front is [`WINDOW`] commands behind. With block lists, fewer than [`LIST_BANKS`] such commands are among the products. `issue_valid_o` comes `DISPATCH - 1` cycles later, so that it stands in a queue `DISPATCH` cycles later.
//!
//! # Numeric contract
//!
//! Classes, parts of the activation buffer and waits are those of `docs/cycles.md`.
//!
//! # Cost
//!
//! Dominated by the ranges: 96 of them with two comparisons each.
//!
//! # Verification
//!
//! `tests/tests/rtl_cmd.rs::commands_are_dispatched`: random programs with random back-pressure against a model, cycle by cycle; every error.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{cmd::Dispatch, rtl::Block};
//!
//! assert_eq!(Dispatch::new(16)?.module()?.name(), "dispatch_b16");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::check::Check;
use super::decode::{self, BLOCK_BITS, CLASSES, Classes, Part};
use super::fields::{COMMAND_BITS, Fields, cut};
use super::prefetch::{BURST_COMMANDS, INDEX_BITS};
use super::ranges::Ranges;
use crate::prim::Fifo;
use crate::rtl::{Block, Builder, Module, RamStyle, Reg, RtlError, Stream, Wire, index_width};
use fastcar_arch::layout::LIST_BANKS;
use fastcar_arch::regs::error_code;
use fastcar_arch::timing::{DISPATCH, QUEUE_COMMANDS, WINDOW};
use std::sync::Arc;

const _: () = assert!(Check::LATENCY <= decode::LATENCY);

/// Bits of a command's number among those of a unit.
pub const NUMBER_BITS: u32 = 8;
/// The queues that are looked at for room.
const QUEUES: [&str; 3] = ["vector", "product", "gate"];
/// The queues whose fronts are looked at.
const FRONTS: [&str; 7] = ["vector", "product", "gate", "record", "main", "ahead", "write"];

/// The dispatcher. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dispatch {
    check: Check,
    beat: u32,
}

impl Dispatch {
    /// For memories with beats of so many bytes.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(beat: u32) -> Result<Self, RtlError> {
        Ok(Self { check: Check::new(beat)?, beat })
    }
}

/// A command with all that follows from itself.
struct Decoded<'m> {
    command: Wire<'m>,
    index: Wire<'m>,
    last: Wire<'m>,
    classes: Classes<'m>,
    /// It reads block lists.
    listed: Wire<'m>,
    opcode: Wire<'m>,
    operand: Wire<'m>,
    filled: Part<'m>,
    read: Part<'m>,
}

impl<'m> Decoded<'m> {
    /// All of it in one word.
    fn word(&self, m: &'m Builder) -> Wire<'m> {
        let part = |p: &Part<'m>| [p.valid, p.start, p.end];
        let mut wires = vec![
            self.command,
            self.index,
            self.last,
            self.classes.word(m),
            self.listed,
            self.opcode,
            self.operand,
        ];
        wires.extend(part(&self.filled));
        wires.extend(part(&self.read));
        m.pack(&wires)
    }

    /// What stands in a word.
    fn of(word: Wire<'m>) -> Self {
        let mut take = cut(word);
        let command = take(COMMAND_BITS);
        let (index, last) = (take(INDEX_BITS), take(1));
        let classes = Classes::of(take(CLASSES));
        let (listed, opcode, operand) = (take(1), take(1), take(1));
        let mut part = || Part { valid: take(1), start: take(BLOCK_BITS), end: take(BLOCK_BITS + 1) };
        let (filled, read) = (part(), part());
        Self { command, index, last, classes, listed, opcode, operand, filled, read }
    }
}

/// The next command, decoded, as soon as it is; `taken` makes room for the one behind it.
fn next<'m>(
    m: &'m Builder,
    check: &Check,
    start: Wire<'m>,
    taken: Wire<'m>,
) -> Result<(Wire<'m>, Decoded<'m>), RtlError> {
    let input = m.stream_in("command", COMMAND_BITS);
    let held = m.reg("held", COMMAND_BITS);
    let (index, last) = (m.reg("held_index", INDEX_BITS), m.reg("held_last", 1));
    // How long the command has been held: one place a cycle, the last stays.
    let moves = m.later("moves", 1);
    let busy = m.reg("busy", 1).reset(0);
    let accept = input.passes();
    input.ready.set(!busy.q() | moves.wire());
    busy.update(&[(start, m.lit(1, 0)), (accept, m.lit(1, 1)), (moves.wire(), m.lit(1, 0))]);
    held.set_when(accept, input.data);
    index.set_when(accept, m.input("index_i", INDEX_BITS));
    last.set_when(accept, m.input("last_i", 1));
    let mut ready = busy.q();
    for place in 0..decode::LATENCY {
        ready = m.register_valid(&format!("decoded_{place}"), ready & !(accept | moves.wire() | start));
    }

    let fields = Fields::new(held.q());
    let check = m.instance("u_check", check)?;
    check.set("valid_i", busy.q());
    check.set("command_i", held.q());
    let decoded = Decoded {
        command: held.q(),
        index: index.q(),
        last: last.q(),
        classes: Classes::new(m, &fields)?,
        listed: fields.is("attn")? & fields.field("attn", "list_entries")?.any(),
        opcode: check.get("opcode_o"),
        operand: check.get("operand_o"),
        filled: decode::filled(m, &fields)?,
        read: decode::read(m, &fields)?,
    };
    let word = decoded.word(m);
    let (next, valid) = (m.reg("next", word.width()), m.reg("next_valid", 1).reset(0));
    let moving = ready & (!valid.q() | taken);
    moves.set(moving);
    next.set_when(moving, word);
    valid.update(&[(start, m.lit(1, 0)), (moving, m.lit(1, 1)), (taken, m.lit(1, 0))]);
    Ok((valid.q(), Decoded::of(next.q())))
}

/// A register that is 0 when a program begins.
fn cleared<'m>(
    m: &'m Builder,
    name: &str,
    width: u32,
    start: Wire<'m>,
    cases: &[(Wire<'m>, Wire<'m>)],
) -> Wire<'m> {
    let reg = m.reg(name, width).reset(0);
    set_cleared(m, reg, start, cases);
    reg.q()
}

fn set_cleared<'m>(m: &'m Builder, reg: Reg<'m>, start: Wire<'m>, cases: &[(Wire<'m>, Wire<'m>)]) {
    let mut all = vec![(start, m.lit(reg.q().width(), 0))];
    all.extend_from_slice(cases);
    reg.update(&all);
}

/// Whether a queue has room for one more.
fn room<'m>(m: &'m Builder, queue: &str, start: Wire<'m>, push: Wire<'m>, pop: Wire<'m>) -> Wire<'m> {
    let count = m.reg(&format!("{queue}_count"), 6).reset(0);
    set_cleared(m, count, start, &[(push & !pop, count.q() + 1), (pop & !push, count.q() - 1)]);
    pop | count.q().ne(QUEUE_COMMANDS as u64)
}

/// Whether a channel has room for the lists of one more command.
fn room_for_lists<'m>(
    m: &'m Builder,
    start: Wire<'m>,
    taken: Wire<'m>,
    c: &Decoded<'m>,
    pop: Wire<'m>,
) -> Result<Wire<'m>, RtlError> {
    let products =
        Stream { valid: taken & c.classes.product, data: c.listed, ready: m.later("products_room", 1) };
    // One is taken when the queue is full and its first leaves in the same cycle.
    let depth = QUEUE_COMMANDS as u32 + 1;
    let queue = m.instance("u_products", &Fifo::new(1, depth, RamStyle::Distributed)?.registered())?;
    queue.reset_by(start);
    queue.stream_in("in", products);
    let products = queue.stream_out("out");
    products.ready.set(pop);
    let [more, less] = [taken & c.listed, pop & products.data];
    let count = m.reg("listed_count", index_width(u64::from(LIST_BANKS) + 1)).reset(0);
    set_cleared(m, count, start, &[(more & !less, count.q() + 1), (less & !more, count.q() - 1)]);
    Ok(less | count.q().ne(u64::from(LIST_BANKS)))
}

/// Whether a front is so near that the next command may be taken. One that leaves is no further behind than may be, so
/// the one behind it is near.
fn near<'m>(m: &'m Builder, queue: &str, index: Wire<'m>) -> Wire<'m> {
    let valid = m.input(&format!("{queue}_front_valid_i"), 1);
    let front = m.input(&format!("{queue}_front_i"), NUMBER_BITS);
    !valid | (index.trunc(NUMBER_BITS) - front).lt(WINDOW as u64)
}

/// The number of a command among those of a unit; counts those that are taken.
fn number<'m>(m: &'m Builder, unit: &str, start: Wire<'m>, taken: Wire<'m>) -> Wire<'m> {
    let count = m.reg(&format!("{unit}_number"), NUMBER_BITS).reset(0);
    set_cleared(m, count, start, &[(taken, count.q() + 1)]);
    count.q()
}

/// The first error of a program, seen when the command is the next to be taken.
fn errors<'m>(m: &'m Builder, c: &Decoded<'m>) -> (Wire<'m>, Wire<'m>) {
    let code = |name: &str| m.lit(8, error_code(name).unwrap_or_default().into());
    // `end` stands where the last command is, and nowhere else.
    let wrong_end = c.classes.end ^ c.last;
    let code = m.select(code("no_end"), &[(c.opcode, code("opcode")), (c.operand, code("operand"))]);
    (c.opcode | c.operand | wrong_end, code)
}

/// The latest of the last commands that touches a part.
fn overlap<'m>(
    m: &'m Builder,
    name: &str,
    start: Wire<'m>,
    asked: &Part<'m>,
    added: (Wire<'m>, &Part<'m>, Wire<'m>),
) -> Result<(Wire<'m>, Wire<'m>), RtlError> {
    let ranges = m.instance(name, &Ranges::new(BLOCK_BITS, NUMBER_BITS, QUEUE_COMMANDS as u32)?)?;
    ranges.set("clear_i", start);
    ranges.set("start_i", asked.start);
    ranges.set("end_i", asked.end);
    // Added a cycle after the question, so that a command does not find itself.
    let (push, part, number) = added;
    ranges.set("push_i", m.register_valid(&format!("{name}_push"), push));
    ranges.set("push_start_i", m.register(&format!("{name}_start"), part.start));
    ranges.set("push_end_i", m.register(&format!("{name}_end"), part.end));
    ranges.set("push_number_i", m.register(&format!("{name}_number"), number));
    Ok((ranges.get("found_o"), ranges.get("number_o")))
}

/// A number that is kept, and whether there is one: the last command of a kind.
fn latest<'m>(
    m: &'m Builder,
    name: &str,
    start: Wire<'m>,
    set: Wire<'m>,
    number: Wire<'m>,
) -> (Wire<'m>, Wire<'m>) {
    let known = cleared(m, &format!("{name}_known"), 1, start, &[(set, m.lit(1, 1))]);
    let kept = m.reg(&format!("{name}_latest"), number.width());
    kept.set_when(set, number);
    (known, kept.q())
}

/// A word some cycles later.
fn later<'m>(m: &'m Builder, name: &str, cycles: u32, word: Wire<'m>) -> Wire<'m> {
    (0..cycles).fold(word, |word, stage| m.register(&format!("{name}_{stage}"), word))
}

impl Block for Dispatch {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("dispatch_b{}", self.beat));
        let start = m.input("start_i", 1);
        let taken = m.later("taken", 1);
        let (there, c) = next(&m, &self.check, start, taken.wire())?;
        let kinds = [c.classes.vector, c.classes.product, c.classes.gate];

        let mut free = m.input("go_i", 1) & m.input("writer_room_i", 1).mux(m.lit(1, 1), !c.classes.writes);
        for queue in FRONTS {
            let mut near = near(&m, queue, c.index);
            if let Some(at) = QUEUES.iter().position(|with_room| *with_room == queue) {
                let (used, pop) = (kinds[at], m.input(&format!("{queue}_pop_i"), 1));
                free = free & (!used | room(&m, queue, start, taken.wire() & used, pop));
                near = near | pop;
                if queue == "product" {
                    free = free & (!c.listed | room_for_lists(&m, start, taken.wire(), &c, pop)?);
                }
            }
            free = free & near;
        }
        let (wrong, code) = errors(&m, &c);
        let there = there & (c.index >> BURST_COMMANDS.ilog2()).lt(m.input("bursts_i", INDEX_BITS));
        // Cycles until the next may be taken.
        let rest = m.reg("rest", 3).reset(0);
        let rested = rest.q().is_zero();
        let stopped = m.reg("stopped", 1).reset(0);
        let error = there & wrong & !stopped.q();
        let take = (there & free & rested & !wrong & !stopped.q()).named("take");
        taken.set(take);
        set_cleared(&m, rest, start, &[(take, m.lit(3, DISPATCH - 1)), (!rested, rest.q() - 1)]);
        set_cleared(&m, stopped, start, &[(error | take & c.classes.end, m.lit(1, 1))]);

        m.output("taken_o", take);
        m.output("ended_o", cleared(&m, "ended", 1, start, &[(take & c.classes.end, m.lit(1, 1))]));
        m.output("error_valid_o", m.register_valid("error", error));
        m.output("error_code_o", m.register("error_code", code));
        m.output("error_index_o", m.register("error_index", c.index));
        issue(&m, start, take, &c)?;
        m.finish()
    }
}

/// What a command waits for, and all of it on its way to the queues.
fn issue<'m>(m: &'m Builder, start: Wire<'m>, take: Wire<'m>, c: &Decoded<'m>) -> Result<(), RtlError> {
    let k = &c.classes;
    let vector = number(m, "vector", start, take & k.vector);
    let product = number(m, "product", start, take & k.product);
    let gate = number(m, "gate", start, take & k.gate);
    let writer = number(m, "writer", start, take & k.writes);
    let decision = latest(m, "decision", start, take & k.gate, gate);
    let fields = Fields::new(c.command);
    let entry = fields.field("delta", "gate")?;
    let (masked, of_masks) = latest(m, "masks", start, take & k.masks, entry.cat(vector));
    let masks = (masked, of_masks.trunc(NUMBER_BITS));
    let own = k.masks.mux(entry, fields.field("gate_delta", "gate")?);
    let entry = k.masked.mux(of_masks.slice(NUMBER_BITS, entry.width()), own);

    // A gate that reads the buffer is no command of the array.
    let by_gate = c.read.valid & k.gate;
    let by_array = c.read.valid & !k.gate;
    let fills = overlap(m, "fills", start, &c.read, (take & c.filled.valid, &c.filled, vector))?;
    let products = overlap(m, "products", start, &c.filled, (take & by_array, &c.read, product))?;
    let gates = overlap(m, "gates", start, &c.filled, (take & by_gate, &c.read, gate))?;

    // Everything meets in the last cycle; the ranges' answers have come two cycles after the question.
    let all = DISPATCH as u32 - 1;
    let rest = all - Ranges::LATENCY;
    let mut valid = take;
    for stage in 0..all {
        valid = m.register_valid(&format!("issue_{stage}"), valid & !start);
    }
    m.output("issue_valid_o", valid);
    let give = |name: &str, cycles: u32, word: Wire<'m>| {
        m.output(&format!("issue_{name}_o"), later(m, &format!("on_way_{name}"), cycles, word));
    };
    give("command", all, c.command);
    give("index", all, c.index);
    give("classes", all, k.word(m));
    for (unit, number) in [("vector", vector), ("product", product), ("gate", gate), ("writer", writer)] {
        give(&format!("number_{unit}"), all, number);
    }
    let valid_later = |wire: Wire<'m>, name: &str| later(m, &format!("asks_{name}"), Ranges::LATENCY, wire);
    for (name, asked, (found, number)) in [
        ("operand", c.read.valid, fills),
        ("product", c.filled.valid, products),
        ("gate", c.filled.valid, gates),
    ] {
        give(&format!("{name}_valid"), rest, found & valid_later(asked, name));
        give(name, rest, number);
    }
    m.output("gate_entry_o", entry);
    let pred = fields.pred();
    give("decision_valid", all, decision.0 & (pred.eq(1) | pred.eq(2)));
    give("decision", all, decision.1);
    give("masks_valid", all, masks.0 & k.masked);
    give("masks", all, masks.1);
    Ok(())
}
