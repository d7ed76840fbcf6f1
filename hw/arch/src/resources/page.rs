//! `docs/resources.md`, written from the model itself.

use super::assumptions::{
    ASSUMPTIONS, BRAM_PER_URAM, CARD_COLUMN_PERCENT, CARD_LOGIC_PERCENT, LUTRAM_WORDS, SMALL_PERCENT,
};
use super::{Amounts, Resource, ResourceUse, Resources};
use crate::board::Board;
use crate::config::AccelConfig;
use std::fmt::Write;

/// How to write the page again, as it says in its head.
pub const BLESS: &str = "FASTCAR_BLESS=1 cargo test -p fastcar-arch --test resources";

/// Each preset and the board that it is meant for.
const CLASSES: [(&str, &str); 5] =
    [("tiny", "kv260"), ("edge", "zcu104"), ("u50", "u50"), ("u55c", "u55c"), ("u280", "u280")];

/// The page: model, totals, shares, blocks of each preset, figures.
#[must_use]
pub fn markdown() -> String {
    let mut out =
        format!("<!-- Generated from `fastcar_arch::resources`. To write it again: {BLESS} -->\n\n");
    out.push_str(MODEL.trim_start());
    rules(&mut out);
    let classes: Vec<(AccelConfig, Board)> = CLASSES
        .iter()
        .filter_map(|(preset, board)| AccelConfig::preset(preset).ok().zip(Board::named(board).ok()))
        .collect();
    shares(&mut out, &classes);
    out.push_str(BLOCKS);
    for (config, _) in &classes {
        blocks(&mut out, config);
    }
    out.push_str(FIGURES);
    table(&mut out, &["figure", "value", "reason"]);
    for a in ASSUMPTIONS {
        let reason = a.reason.split_whitespace().collect::<Vec<_>>().join(" ");
        row(&mut out, [format!("`{}`", a.name), format!("{} {}", a.value, a.unit), reason]);
    }
    out
}

const MODEL: &str = r"
# Resources

What a configuration is expected to take of an FPGA, to size the presets: from before most blocks were written. **No image has been placed and routed yet.** Bits and
cycles do not depend on this page.

**The LUTs are too few.** What Yosys makes of a channel's blocks (`tests/baselines/rtl`: port, walkers, block lists, attention, cluster) adds up to some 11,000 LUTs on
`tiny`, 12,500 on `edge` and 39,600 on `u55c`, where this page has 6,000, 9,400 and 22,000. `edge` has room for that; **`u55c`, `u280` and `u50` as they stand do not fit
their cards**, and will have fewer columns or leaner blocks.

Counted from the structure of the machine, for each memory channel:

* **MAC array.** One beat a cycle for every column: an INT8 product a byte, or two FP4 products. The INT8 product and the
  first FP4 product of a byte take a DSP48E2, which two columns share; so do all second FP4 products of beats of 16 and 32
  bytes, and 28 of 64 with beats of 64, where the others are made of LUTs. Products are added over blocks of 32 (DSPs in
  chains of four, then LUT trees), shifted into the 48-bit window and added to the accumulators by a DSP for each row and
  column of a beat. In axpy mode (p.v) a softmax weight of 25 bits fills the DSP's wide port, so that a pair of columns serves
  **one** query head, with a memory of partial sums of its own.
* **Accumulators.** 48 bits for each row and column; a beat of FP4 weights adds to all its rows at once, so that many rows
  share a word. Results are read in the cycles of scale beats, when nothing is added: one read and one write port.
* **Stream buffers.** The main and the read-ahead stream share one memory, since a port brings one beat a cycle and the
  array takes one. Record and write buffers are memories of their own.
* **Score buffer.** 32 bits for each token of the longest context, for each pair of columns.

Counted once:

* **Vector buffer.** Every slot's lines, all the time: a step holds all slots' vectors. Two banks by parity.
* **Activation buffer.** One central copy, broadcast block by block: all clusters walk the input blocks in the same order,
  and each has a short queue. A copy in each cluster would take as much memory as the streams.
* **Vector lanes, gates, command processor, networks** by the figures below.

Not counted: the platform of a card, with its crossing to the HBM ports; debugging aids.

";

/// The sentences that state figures.
fn rules(out: &mut String) {
    let _ = writeln!(
        out,
        "Memories of up to {LUTRAM_WORDS} words are LUTs; larger ones block RAM, or UltraRAM where {BRAM_PER_URAM} times its number"
    );
    let _ = writeln!(out, "is less than that of the block RAMs.\n\n## Totals\n");
    let _ = writeln!(
        out,
        "Each preset, and the share it takes of the board that it is made for. A share in bold is above its limit:"
    );
    let _ = writeln!(
        out,
        "{CARD_LOGIC_PERCENT} % of the LUTs and flip-flops and {CARD_COLUMN_PERCENT} % of everything else on a data-centre card, {SMALL_PERCENT} % on a small board.\n"
    );
}

const BLOCKS: &str = "\n## Blocks\n\nWhat all instances of a block take together.\n";

const FIGURES: &str = "\n## Figures\n\n";

fn table(out: &mut String, columns: &[&str]) {
    let _ = writeln!(out, "| {} |\n| {} |", columns.join(" | "), vec!["---"; columns.len()].join(" | "));
}

fn row(out: &mut String, cells: impl IntoIterator<Item = String>) {
    let _ = writeln!(out, "| {} |", cells.into_iter().collect::<Vec<_>>().join(" | "));
}

fn headings<'a>(first: &[&'a str], names: &'a [String]) -> Vec<&'a str> {
    first.iter().copied().chain(names.iter().map(String::as_str)).collect()
}

fn names() -> Vec<String> {
    Resource::ALL.iter().map(Resource::to_string).collect()
}

fn shares(out: &mut String, classes: &[(AccelConfig, Board)]) {
    table(out, &headings(&["preset", "board"], &names()));
    let cell = |u: &ResourceUse| {
        let share = format!("{:.1} %", 100.0 * u.share);
        format!("{} ({})", u.used, if u.fits() { share } else { format!("**{share}**") })
    };
    for (config, board) in classes {
        let uses = Resources::of(config).fit(board);
        let first = [config.name(), board.name()].map(|name| format!("`{name}`"));
        row(out, first.into_iter().chain(uses.iter().map(cell)));
    }
}

fn blocks(out: &mut String, config: &AccelConfig) {
    let _ = writeln!(out, "\n### `{}`\n", config.name());
    table(out, &headings(&["block", "count"], &names()));
    let resources = Resources::of(config);
    let cells = |a: Amounts| Resource::ALL.map(|r| a.get(r).to_string());
    for block in &resources.blocks {
        row(out, [block.name.to_owned(), block.count.to_string()].into_iter().chain(cells(block.total())));
    }
    row(out, ["**total**".to_owned(), String::new()].into_iter().chain(cells(resources.total())));
}
