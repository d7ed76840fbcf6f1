//! `docs/isa.md`, `docs/registers.md` and `docs/boards.md`, written from the tables that the code itself uses.
//!
//! The committed pages are compared with these functions by `hw/arch/tests/docs.rs`.

use crate::asm::disassemble;
use crate::board::Board;
use crate::config::{AccelConfig, MAX_SLOTS};
use crate::field::{Field, FieldInfo};
use crate::isa::{
    AbBlock, Add, Addr, COMMAND_BYTES, Command, CommandInfo, ENUMS, End, F32Bits, ISA_VERSION, Pred, Quant,
    VbLine,
};
use crate::layout::LIST_PLACES;
use crate::regs::{ERROR_CODES, MAP_BYTES, REGISTER_VERSION, Register, RegisterMap, Reset};
use crate::step::{ACTIVE, GateEntry, GateReport, NO_RING, OUTPUT, PAIRED, SLOT_BYTES, SlotEntry};
use std::fmt::Write;
use std::mem::offset_of;

/// How to write the pages again, as they say in their heads.
pub const BLESS: &str = "FASTCAR_BLESS=1 cargo test -p fastcar-arch --test docs";

/// `docs/isa.md`: commands, enumerations, step table and report.
#[must_use]
pub fn isa_markdown() -> String {
    let mut out = head("Command set", ISA_VERSION, "`fastcar_arch::isa`, `fastcar_arch::step`");
    out.push_str(RULES.trim_start());
    encoding(&mut out);
    summary(&mut out);
    for command in Command::TABLE {
        command_section(&mut out, command);
    }
    enumerations(&mut out);
    step_table(&mut out);
    report(&mut out);
    block_lists(&mut out);
    assembly(&mut out);
    out
}

/// `docs/registers.md`: the AXI4-Lite register map.
#[must_use]
pub fn registers_markdown() -> String {
    AccelConfig::preset("u55c")
        .map_or_else(|e| e.to_string(), |config| registers_of(&RegisterMap::new(&config)))
}

/// `docs/boards.md`: what the board descriptions say, and which presets fit.
#[must_use]
pub fn boards_markdown() -> String {
    let boards: Vec<Board> = Board::NAMES.iter().filter_map(|name| Board::named(name).ok()).collect();
    let mut out =
        format!("<!-- Generated from constraints/boards. To write it again: {BLESS} -->\n\n# Boards\n\n");
    out.push_str(BOARD_RULES.trim_start());
    board_tables(&mut out, &boards);
    let _ = writeln!(out, "## Figures that are not certain\n");
    for board in &boards {
        let uncertain = board.figures().filter(|(_, _, source)| source.starts_with("Uncertain"));
        for (figure, value, source) in uncertain {
            let value = value.map_or_else(String::new, |v| format!(" = {v}"));
            let _ = writeln!(out, "- {} `{figure}{value}`: {source}", board.name());
        }
    }
    out
}

const BOARD_RULES: &str = r"
A board is data: `constraints/boards/<board>/board.toml`, read by `fastcar_arch::board`. Every figure there names its
source. None of these boards has been run by this project yet: no image was synthesised or measured on a card.

Whether a preset *fits* is judged by channels, bus width, capacity and clock only. Whether the logic fits, and at which
clock it closes timing, is for the vendor's tools to say. On the MPSoC boards the operating system lives in the same
memory, and its share is not subtracted here.

";

fn board_tables(out: &mut String, boards: &[Board]) {
    let row = |b: &Board| {
        let f = b.fields();
        let presets = AccelConfig::PRESETS.iter().filter_map(|name| AccelConfig::preset(name).ok());
        let fitting: Vec<String> = presets.filter(|p| b.fits(p).is_ok()).map(|p| code(p.name())).collect();
        vec![code(b.name()), f.title.clone(), code(&f.part), code(&f.platform.name), fitting.join(", ")]
    };
    table(out, &["board", "name", "part", "platform", "presets that fit"], boards.iter().map(row));
    let row = |b: &Board| {
        let r = b.fields().resources;
        let counts = [r.lut, r.ff, r.bram36, r.uram, r.dsp, b.fields().slrs].map(|n| n.to_string());
        std::iter::once(code(b.name())).chain(counts).collect()
    };
    table(out, &["board", "LUT", "FF", "BRAM36", "URAM", "DSP48E2", "SLR"], boards.iter().map(row));
    let row = |b: &Board| {
        let (m, clock, power) = (b.fields().memory, b.fields().clock, b.fields().power);
        let memory = format!("{} x {} MiB {}", m.channels, m.channel_bytes >> 20, m.kind);
        let rate = format!("{:.1} GB/s", b.peak_rate_bytes_hz() as f64 / 1e9);
        let clock = format!("{} to {} MHz", clock.default_hz / 1_000_000, clock.max_hz / 1_000_000);
        let link =
            b.fields().pcie.map_or_else(|| "-".to_owned(), |p| format!("Gen{} x{}", p.generation, p.lanes));
        vec![code(b.name()), memory, rate, clock, format!("{} W", power.limit_w), link]
    };
    table(
        out,
        &["board", "memory", "peak rate", "kernel clock, default to most", "power", "PCIe"],
        boards.iter().map(row),
    );
}

const RULES: &str = r"
## Rules of execution

- A program is a list of commands with one `end`, the last of them. The host compiles it once; from step to step only
  the [step table](#step-table) changes.
- Lengths (`words`, `rows`, `blocks`, `heads`, `kv_heads`, `head_dim`, `period`) are not 0; addresses and strides are multiples of a
  memory beat, also where a command does not use them.
- The result is that of running the commands one after the other, each for every slot that its `pred` selects. The
  hardware may overlap them where nobody can tell.
- Each slot has its own **vector buffer** VB (binary32, in lines of 32 words) and its own **activation buffer** AB
  (MXINT8, in blocks of 32 elements). Both are undefined at the start of a run.
- The **Index Register** has one bit per slot, 1 for compute and 0 for replay. It is all ones at the start of a run;
  each gate command writes the bits of the slots it ran for.
- The **block masks** have one bit per slot and input block. `delta` writes them, `matvec` with `delta=1` reads them.
- A cluster fetches weights, keys and values through two queues, each in program order. Commands with `ahead=1` use the
  **read-ahead queue**, all others the **main queue**, whose head may have to wait for a gate's decision or a block mask.
  Only the time depends on it.
- Memory operands are channel-local byte addresses, multiples of the configuration's beat: the same offset on every
  channel, with the data spread over the channels by the layouts of `fastcar_arch::layout`.
- Before a run the host proves that no command can leave the storage that exists, and that each finds in it what it needs
  (`fastcar_arch::program`). The hardware refuses undefined opcodes and field values and stops with an error
  ([registers](registers.md)).
- Which bits come out is the business of [numerics](numerics.md); none depends on the configuration.
";

fn head(title: &str, version: u32, origin: &str) -> String {
    format!(
        "<!-- Generated from {origin}. To write it again: {BLESS} -->\n\n# {title}\n\nVersion {version}.\n\n"
    )
}

/// Text of doc comments: one line, no indentation, safe in a table cell.
fn tidy(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The start of a text, up to its first full stop or colon outside a code span.
fn brief(doc: &str) -> String {
    let text = tidy(doc);
    let ends = text.match_indices(". ").chain(text.match_indices(": ")).map(|(at, _)| at);
    let outside = ends.filter(|&at| text[..at].matches('`').count().is_multiple_of(2));
    match outside.min() {
        Some(end) => text[..end].to_owned(),
        None => text.trim_end_matches('.').to_owned(),
    }
}

fn table(out: &mut String, columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let rule = vec!["---"; columns.len()].join(" | ");
    let _ = writeln!(out, "| {} |\n| {rule} |", columns.join(" | "));
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out.push('\n');
}

fn code(text: impl std::fmt::Display) -> String {
    format!("`{text}`")
}

/// `2` or `2..3`.
fn byte_range(offset: usize, bytes: usize) -> String {
    if bytes == 1 { offset.to_string() } else { format!("{offset}..{}", offset + bytes - 1) }
}

fn encoding(out: &mut String) {
    let _ = writeln!(out, "\n## Encoding\n");
    let _ = writeln!(
        out,
        "A command has {COMMAND_BYTES} bytes, little endian. Byte 0 is the opcode, byte 1 is `pred`."
    );
    let _ = writeln!(out, "Bytes that no field uses are 0; any other value is refused.\n");
    let kinds = [
        ("u8", u8::BYTES, "integer", "decimal, or hexadecimal with `0x`"),
        ("u16", u16::BYTES, "integer", "as `u8`"),
        ("u32", u32::BYTES, "integer", "as `u8`"),
        ("u64", u64::BYTES, "integer", "as `u8`"),
        (bool::KIND, bool::BYTES, "0 or 1", "`0` or `1`"),
        (VbLine::KIND, VbLine::BYTES, "line of the vector buffer", "decimal"),
        (AbBlock::KIND, AbBlock::BYTES, "block of the activation buffer", "decimal"),
        (Addr::KIND, Addr::BYTES, "channel-local byte address", "hexadecimal"),
        (F32Bits::KIND, F32Bits::BYTES, "binary32 constant, as its bits", "hexadecimal"),
    ];
    let rows = kinds.map(|(kind, bytes, meaning, text)| {
        vec![code(kind), bytes.to_string(), meaning.to_owned(), text.to_owned()]
    });
    table(out, &["type", "bytes", "meaning", "in assembly text"], rows);
    let _ = writeln!(out, "The remaining types are [enumerations](#enumerations) of one byte.\n");
}

fn summary(out: &mut String) {
    let _ = writeln!(out, "## Commands\n");
    let row = |c: &CommandInfo| {
        vec![code(format_args!("0x{:02x}", c.opcode)), format!("[`{0}`](#{0})", c.mnemonic), brief(c.doc)]
    };
    table(out, &["opcode", "command", "in short"], Command::TABLE.iter().map(row));
}

fn command_section(out: &mut String, command: &CommandInfo) {
    let _ = writeln!(
        out,
        "### `{}`\n\nOpcode `0x{:02x}`. {}\n",
        command.mnemonic,
        command.opcode,
        tidy(command.doc)
    );
    if command.fields.is_empty() {
        return;
    }
    let row = |f: &FieldInfo| vec![byte_range(f.offset, f.bytes), code(f.name), code(f.kind), tidy(f.doc)];
    table(out, &["bytes", "field", "type", "meaning"], command.fields.iter().map(row));
}

fn enumerations(out: &mut String) {
    let _ = writeln!(out, "## Enumerations\n");
    for info in ENUMS {
        let _ = writeln!(out, "### {}\n\n{}\n", info.name, tidy(info.doc));
        let row = |r: &(u8, &str, &str)| vec![r.0.to_string(), code(r.1), tidy(r.2)];
        table(out, &["value", "text", "meaning"], info.rows.iter().map(row));
    }
}

/// Rows of a memory structure: offset, bytes, name, meaning.
fn structure(out: &mut String, rows: &[(usize, usize, &str, &str)]) {
    let row = |r: &(usize, usize, &str, &str)| vec![byte_range(r.0, r.1), code(r.2), r.3.to_owned()];
    table(out, &["bytes", "field", "meaning"], rows.iter().map(row));
}

fn step_table(out: &mut String) {
    let _ = writeln!(out, "## Step table\n");
    let _ = writeln!(
        out,
        "The host writes it before each run: a head of {SLOT_BYTES} bytes, one entry of {SLOT_BYTES} bytes"
    );
    let _ = writeln!(
        out,
        "per slot, one entry of {} bytes per gate. All little endian.\n",
        size_of::<GateEntry>()
    );
    let _ = writeln!(out, "Head:\n");
    structure(
        out,
        &[
            (0, 4, "slots", "slot entries"),
            (4, 4, "gates", "gate entries"),
            (8, 4, "positions", "positions that a slot's KV caches have room for"),
            (12, 4, "ring", "positions of a frame that rings have room for"),
            (16, 4, "tokens", "entries of the token tables"),
            (20, SLOT_BYTES - 20, "-", "0"),
        ],
    );
    let flags = format!(
        "sum of {ACTIVE} (takes part in the step), {OUTPUT} (output wanted), {PAIRED} (gate decisions may be coupled with slot `i ^ 1`)"
    );
    let ring = format!("position in the frame, or `0x{NO_RING:08x}` for none");
    let _ = writeln!(out, "Slot entry:\n");
    let reserved = offset_of!(SlotEntry, reserved);
    structure(
        out,
        &[
            (offset_of!(SlotEntry, flags), 4, "flags", &flags),
            (offset_of!(SlotEntry, pos), 4, "pos", "position of the token in the sequence, from 0"),
            (offset_of!(SlotEntry, ring), 4, "ring", &ring),
            (offset_of!(SlotEntry, token), 16, "token", "four token identifiers, 32 bits each"),
            (reserved, SLOT_BYTES - reserved, "-", "0"),
        ],
    );
    let _ = writeln!(out, "Gate entry, bit i for slot i:\n");
    structure(
        out,
        &[
            (offset_of!(GateEntry, allow), 4, "allow", "slots that may replay, or use their reference"),
            (offset_of!(GateEntry, force), 4, "force", "allowed slots that replay whatever their score"),
        ],
    );
}

fn report(out: &mut String) {
    let words = 4 * MAX_SLOTS as usize;
    let _ = writeln!(out, "## Report\n");
    let _ = writeln!(
        out,
        "A run leaves one entry of {} bytes per gate of the step table.\n",
        size_of::<GateReport>()
    );
    structure(
        out,
        &[
            (offset_of!(GateReport, active), 4, "active", "slots that took part"),
            (offset_of!(GateReport, replay), 4, "replay", "slots that replay, or that used their reference"),
            (offset_of!(GateReport, blocks), 4, "blocks", "`delta`: blocks of the input"),
            (
                offset_of!(GateReport, union_blocks),
                4,
                "union_blocks",
                "`delta`: blocks active in at least one slot",
            ),
            (
                offset_of!(GateReport, score),
                words,
                "score",
                "gates: binary32 score of each slot; NaN where there is none",
            ),
            (
                offset_of!(GateReport, active_blocks),
                words,
                "active_blocks",
                "`delta`: active blocks of each slot",
            ),
        ],
    );
}

fn block_lists(out: &mut String) {
    let _ = writeln!(out, "## Block lists\n");
    let _ = writeln!(
        out,
        "`attn` with `list_entries` above 0 attends to the tokens of a list; it has to be read ahead. Each channel has the lists"
    );
    let _ = writeln!(
        out,
        "of its own heads, where channels share a head those of its own blocks. Of each slot, and aligned to beats, come first"
    );
    let _ = writeln!(
        out,
        "the headers of all the channel's heads, at most {LIST_PLACES}, then, from a new beat on, for each head room for"
    );
    let _ = writeln!(out, "`list_entries` entries. A header is:\n");
    structure(
        out,
        &[
            (
                0,
                4,
                "entries",
                "entries in use, at most `list_entries`; none where the channel has no head at this place",
            ),
            (
                4,
                4,
                "own",
                "tokens of the slot's own block: bit i for token i, none beyond the slot's position; not looked at where the block is on another channel",
            ),
        ],
    );
    let _ = writeln!(out, "and an entry, of a block before the slot's own one:\n");
    structure(
        out,
        &[
            (0, 4, "row", "number of the block among the head's blocks on this channel; they ascend"),
            (4, 4, "mask", "bit i for token i of the block; not 0"),
        ],
    );
}

fn assembly(out: &mut String) {
    let pred = Pred::All;
    let program = [
        Command::from(Add { pred, dst: VbLine(0), src: VbLine(4), words: 128 }),
        Command::from(Quant { pred: Pred::Compute, src: VbLine(0), dst: AbBlock(0), blocks: 4, before: 0 }),
        Command::from(End { pred }),
    ];
    let _ = writeln!(out, "## Assembly text\n");
    let _ = writeln!(
        out,
        "One command a line: the mnemonic, then every operand once as `name=value`, in any order."
    );
    let _ = writeln!(out, "`#` starts a comment.\n\n```text\n{}```", disassemble(&program));
}

fn registers_of(map: &RegisterMap) -> String {
    let mut out = head("Registers", REGISTER_VERSION, "`fastcar_arch::regs`");
    out.push_str(REGISTER_RULES.trim_start());
    let _ = writeln!(out, "The map occupies {MAP_BYTES} bytes.\n");
    let shown = || map.registers().iter().filter(|r| r.channel.unwrap_or(0) == 0);
    let row = |r: &Register| {
        vec![offset(map, r), code(name(r)), r.bits.to_string(), r.access.to_string(), reset(r), doc(r)]
    };
    table(&mut out, &["offset", "register", "bits", "access", "reset", "meaning"], shown().map(row));
    let _ = writeln!(out, "## Bit fields\n\nBits that are not listed read as 0.\n");
    for register in shown().filter(|r| !r.fields.is_empty()) {
        bit_fields(&mut out, register);
    }
    let _ = writeln!(out, "## Kernel arguments\n\nAs `clSetKernelArg` counts them.\n");
    arguments(&mut out, map);
    let _ = writeln!(out, "## Error codes\n");
    let row = |e: &(u32, &str, &str)| vec![e.0.to_string(), code(e.1), e.2.to_owned()];
    table(&mut out, &["code", "name", "meaning"], ERROR_CODES.iter().map(row));
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

const REGISTER_RULES: &str = r"
The AXI4-Lite slave `s_axi_control` of the kernel. Registers of 64 bits have their low word at the offset given and
their high word 4 bytes on. Access: RO read only, RW read and write, RW1S write 1 to set, RC a read clears, RW1T write
1 to toggle. `c` is a memory channel, from 0 to one less than the configuration's channels.

Arguments are sampled when a run starts. Counters start at 0 with each run and hold from `ap_done` to the next
`ap_start`, so that their two words agree when the kernel is idle.

";

/// The register's name, with `c` for its channel.
fn name(register: &Register) -> String {
    match register.channel {
        Some(_) => format!("{}c", register.name.trim_end_matches(|c: char| c.is_ascii_digit())),
        None => register.name.clone(),
    }
}

fn offset(map: &RegisterMap, register: &Register) -> String {
    let stem = register.name.trim_end_matches(|c: char| c.is_ascii_digit());
    let next = register.channel.and_then(|c| map.get(&format!("{stem}{}", c + 1)));
    match next {
        Some(next) => format!("`0x{:03x}` + {} c", register.offset, next.offset - register.offset),
        None => format!("`0x{:03x}`", register.offset),
    }
}

fn reset(register: &Register) -> String {
    match register.reset {
        Reset::Value(value) => format!("{value}"),
        Reset::Constant(value) => code(format_args!("0x{value:x}")),
        Reset::Configuration(_) => "configuration".to_owned(),
        Reset::Identity(_) => "identity".to_owned(),
    }
}

fn doc(register: &Register) -> String {
    tidy(&register.doc)
}

fn bit_fields(out: &mut String, register: &Register) {
    let _ = writeln!(out, "### `{}`\n", register.name);
    let row = |f: &crate::regs::BitField| {
        let bits = byte_range(f.low as usize, f.width as usize);
        vec![bits, code(f.name), f.access.to_string(), tidy(f.doc)]
    };
    table(out, &["bits", "field", "access", "meaning"], register.fields.iter().map(row));
}

fn arguments(out: &mut String, map: &RegisterMap) {
    let shown = map.arguments().filter(|(_, r)| r.channel.unwrap_or(0) == 0);
    table(
        out,
        &["argument", "register", "kind", "AXI4 master"],
        shown.map(|(argument, register)| {
            let (number, port) = match (register.channel, &argument.port) {
                (Some(_), _) => (format!("{} + c", argument.index), "`m_axi_gmem`c".to_owned()),
                (None, port) => {
                    (argument.index.to_string(), port.as_ref().map_or_else(|| "-".to_owned(), code))
                }
            };
            let kind = if argument.port.is_some() { "pointer" } else { "number" };
            vec![number, code(name(register)), kind.to_owned(), port]
        }),
    );
}
