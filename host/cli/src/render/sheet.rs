//! Contact sheets: one block per sequence, one row per way of decoding it, one column per frame.

use super::canvas::{Align, Canvas, FAINT, INK, text_width};
use super::{scale_for, tint};
use anyhow::Result;
use image::RgbImage;

const TILE: u32 = 128;
const GAP: u32 = 8;
const MARGIN: u32 = 24;
const TEXT: u32 = 16;
const TITLE: u32 = 20;
const LINE: u32 = 28;
const LEGEND_WIDTH: u32 = 240;

/// A row of frames.
pub struct Row {
    /// Name to the left.
    pub label: String,
    /// Frames, all of one size.
    pub tiles: Vec<RgbImage>,
}

/// A sequence.
pub struct Block {
    /// Heading: the prompt.
    pub title: String,
    /// Facts behind the heading.
    pub facts: String,
    /// Rows from the top.
    pub rows: Vec<Row>,
}

/// Sizes that all blocks share.
struct Layout {
    scale: u32,
    tile: (u32, u32),
    left: u32,
    columns: u32,
}

impl Layout {
    fn new(blocks: &[Block]) -> Self {
        let rows = || blocks.iter().flat_map(|b| &b.rows);
        let (width, height) = rows().find_map(|r| r.tiles.first()).map_or((1, 1), |t| t.dimensions());
        let scale = scale_for(width, TILE);
        let label = rows().map(|r| text_width(&r.label, TEXT)).max().unwrap_or(0);
        let columns = rows().map(|r| r.tiles.len() as u32).max().unwrap_or(0);
        Self { scale, tile: (width * scale, height * scale), left: MARGIN + label + 2 * GAP, columns }
    }

    fn column(&self, index: usize) -> u32 {
        self.left + index as u32 * (self.tile.0 + GAP)
    }

    fn block_height(&self, block: &Block) -> u32 {
        2 * LINE + block.rows.len() as u32 * (self.tile.1 + GAP) + LINE
    }

    fn width(&self, blocks: &[Block], legend: &str) -> u32 {
        let heading = |b: &Block| text_width(&b.title, TITLE) + text_width(&b.facts, TEXT) + 3 * GAP;
        let text = blocks.iter().map(heading).max().unwrap_or(0);
        let legend = self.left + LEGEND_WIDTH + text_width(legend, TEXT) + 4 * GAP;
        (self.column(self.columns as usize) - GAP).max(text + MARGIN).max(legend) + MARGIN
    }
}

/// Draws blocks; `legend` explains the tints of skip maps where there are any.
///
/// # Errors
/// A text cannot be drawn.
pub fn sheet(blocks: &[Block], legend: Option<&str>) -> Result<RgbImage> {
    let layout = Layout::new(blocks);
    let height: u32 = blocks.iter().map(|b| layout.block_height(b)).sum();
    let legend_height = if legend.is_some() { LINE + GAP } else { 0 };
    let width = layout.width(blocks, legend.unwrap_or_default());
    let mut canvas = Canvas::new(width, MARGIN / 2 + height + legend_height + GAP);
    let mut y = MARGIN / 2;
    for block in blocks {
        draw_block(&mut canvas, &layout, block, y);
        y += layout.block_height(block);
    }
    if let Some(text) = legend {
        draw_legend(&mut canvas, layout.left, y, text);
    }
    canvas.finish()
}

fn draw_block(canvas: &mut Canvas, layout: &Layout, block: &Block, top: u32) {
    let middle = top + LINE / 2;
    canvas.text(&block.title, (MARGIN, middle), TITLE, INK, Align::Left);
    let behind = MARGIN + text_width(&block.title, TITLE) + 3 * GAP;
    canvas.text(&block.facts, (behind, middle + 1), TEXT, FAINT, Align::Left);
    for column in 0..layout.columns {
        let at = (layout.column(column as usize) + layout.tile.0 / 2, top + LINE + LINE / 2);
        canvas.text(&column.to_string(), at, TEXT, FAINT, Align::Centre);
    }
    canvas.text("frame", (layout.left - 2 * GAP, top + LINE + LINE / 2), TEXT, FAINT, Align::Right);
    for (i, row) in block.rows.iter().enumerate() {
        let y = top + 2 * LINE + i as u32 * (layout.tile.1 + GAP);
        canvas.text(&row.label, (layout.left - 2 * GAP, y + layout.tile.1 / 2), TEXT, INK, Align::Right);
        for (column, tile) in row.tiles.iter().enumerate() {
            canvas.put(layout.column(column), y, tile, layout.scale);
        }
    }
}

fn draw_legend(canvas: &mut Canvas, left: u32, top: u32, text: &str) {
    let zero = left + text_width("0 %", TEXT) + GAP;
    let middle = top + LINE / 2;
    canvas.text("0 %", (left, middle), TEXT, FAINT, Align::Left);
    for x in 0..LEGEND_WIDTH - 100 {
        let share = x as f32 / (LEGEND_WIDTH - 101) as f32;
        canvas.fill(zero + x, middle - 8, 1, 16, tint::legend(share));
    }
    canvas.text(
        &format!("100 %  {text}"),
        (zero + LEGEND_WIDTH - 100 + GAP, middle),
        TEXT,
        FAINT,
        Align::Left,
    );
}
