//! Line plots: panels side by side over one legend.

use crate::render::font;
use anyhow::{Result, anyhow};
use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

const PANEL: (u32, u32) = (600, 520);
const HEADING: u32 = 52;
const LEGEND_ROW: u32 = 30;
const LEGEND_COLUMN: u32 = 290;
const MARGIN: u32 = 24;
const INK: RGBColor = RGBColor(30, 30, 30);
const FAINT: RGBColor = RGBColor(225, 225, 225);
/// Told apart also by readers who see few colours (after Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(90, 90, 90),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(130, 80, 30),
];

/// One curve.
#[derive(Clone, Debug)]
pub struct Line {
    /// Name in the legend; lines of one name look the same in every panel.
    pub name: String,
    /// Points in order. Those above the panel's range are drawn on its upper edge.
    pub points: Vec<(f64, f64)>,
}

/// One pair of axes.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Heading.
    pub title: String,
    /// Name of the horizontal axis.
    pub x_name: String,
    /// Name of the vertical axis.
    pub y_name: String,
    /// Horizontal range.
    pub x: Range<f64>,
    /// Vertical range.
    pub y: Range<f64>,
    /// A level to mark across the panel, with its name.
    pub level: Option<(f64, String)>,
    /// Curves.
    pub lines: Vec<Line>,
}

/// Draws panels from the left, with a heading above and a legend below.
///
/// # Errors
/// A text cannot be drawn.
pub fn draw(heading: &str, panels: &[Panel]) -> Result<RgbImage> {
    font::register()?;
    let names = names(panels);
    let width = panels.len() as u32 * PANEL.0;
    let per_row = (width.saturating_sub(3 * MARGIN) / LEGEND_COLUMN).max(1) as usize;
    let height = HEADING + PANEL.1 + names.len().div_ceil(per_row) as u32 * LEGEND_ROW + MARGIN;
    let mut image = RgbImage::from_pixel(width, height, image::Rgb([255; 3]));
    {
        let root = BitMapBackend::with_buffer(&mut image, (width, height)).into_drawing_area();
        let (top, rest) = root.split_vertically(HEADING);
        let (middle, bottom) = rest.split_vertically(PANEL.1);
        text(&top, heading, (width as i32 / 2, HEADING as i32 / 2), 22, HPos::Center)?;
        for (panel, area) in panels.iter().zip(middle.split_evenly((1, panels.len()))) {
            draw_panel(&area, panel, &names)?;
        }
        legend(&bottom, &names, per_row)?;
        root.present().map_err(failed)?;
    }
    Ok(image)
}

/// Names of all lines, each once, in order.
fn names(panels: &[Panel]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in panels.iter().flat_map(|p| &p.lines) {
        if !names.contains(&line.name) {
            names.push(line.name.clone());
        }
    }
    names
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

fn draw_panel(area: &Area<'_>, panel: &Panel, names: &[String]) -> Result<()> {
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, (font::FAMILY, 18).into_font().color(&INK))
        .margin_left(8)
        .margin_right(MARGIN)
        .x_label_area_size(52)
        .y_label_area_size(64)
        .build_cartesian_2d(panel.x.clone(), panel.y.clone())
        .map_err(failed)?;
    let label = (font::FAMILY, 15).into_font().color(&INK);
    let (x_digits, y_digits) = (digits(&panel.x, 1), digits(&panel.y, 2));
    chart
        .configure_mesh()
        .x_desc(&panel.x_name)
        .y_desc(&panel.y_name)
        .axis_desc_style(label.clone())
        .label_style(label)
        .x_labels(8)
        .y_labels(9)
        .x_label_formatter(&move |x| format!("{x:.x_digits$}"))
        .y_label_formatter(&move |y| format!("{y:.y_digits$}"))
        .max_light_lines(0)
        .bold_line_style(FAINT)
        .draw()
        .map_err(failed)?;
    if let Some((level, name)) = &panel.level {
        let ends = [(panel.x.start, *level), (panel.x.end, *level)];
        chart.draw_series(DashedLineSeries::new(ends, 6, 5, INK.into())).map_err(failed)?;
        let style = (font::FAMILY, 14).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Bottom));
        chart.draw_series([Text::new(format!(" {name}"), (panel.x.start, *level), style)]).map_err(failed)?;
    }
    for line in &panel.lines {
        let at = names.iter().position(|n| *n == line.name).unwrap_or(0);
        let points: Vec<(f64, f64)> = line.points.iter().map(|&(x, y)| (x, y.min(panel.y.end))).collect();
        let style = colour(at).stroke_width(2);
        chart.draw_series(LineSeries::new(points.iter().copied(), style)).map_err(failed)?;
        chart
            .draw_series(points.iter().map(|&point| EmptyElement::at(point) + marker(at, (0, 0))))
            .map_err(failed)?;
    }
    Ok(())
}

/// Digits behind the point that tell the labels of a range apart; `usual` ones where the range is some tenths to four.
fn digits(range: &Range<f64>, usual: usize) -> usize {
    match range.end - range.start {
        span if span > 4.0 => 0,
        span if span > 0.1 => usual,
        _ => 4,
    }
}

fn colour(at: usize) -> RGBColor {
    COLOURS[at % COLOURS.len()]
}

/// The mark of a line's points: its shape changes from line to line too.
fn marker<B: DrawingBackend>(at: usize, place: (i32, i32)) -> DynElement<'static, B, (i32, i32)> {
    let filled = colour(at).filled();
    let (x, y) = place;
    match (at + at / COLOURS.len()) % 4 {
        0 => Circle::new(place, 4, filled).into_dyn(),
        1 => TriangleMarker::new(place, 6, filled).into_dyn(),
        2 => Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], filled).into_dyn(),
        _ => Cross::new(place, 4, colour(at).stroke_width(2)).into_dyn(),
    }
}

fn legend(area: &Area<'_>, names: &[String], per_row: usize) -> Result<()> {
    for (i, name) in names.iter().enumerate() {
        let x = (3 * MARGIN + LEGEND_COLUMN * (i % per_row) as u32) as i32;
        let y = (LEGEND_ROW / 2 + LEGEND_ROW * (i / per_row) as u32) as i32;
        area.draw(&PathElement::new([(x, y), (x + 40, y)], colour(i).stroke_width(2))).map_err(failed)?;
        area.draw(&marker(i, (x + 20, y))).map_err(failed)?;
        text(area, name, (x + 50, y), 16, HPos::Left)?;
    }
    Ok(())
}

fn text(area: &Area<'_>, words: &str, at: (i32, i32), size: i32, align: HPos) -> Result<()> {
    let style = (font::FAMILY, size).into_font().color(&INK).pos(Pos::new(align, VPos::Center));
    area.draw(&Text::new(words, at, style)).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot cannot be drawn: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_its_curves_colours() -> Result<()> {
        let line =
            |name: &str, y: f64| Line { name: name.to_owned(), points: vec![(0.4, y), (0.9, f64::INFINITY)] };
        let panel = Panel {
            title: "t".to_owned(),
            x_name: "x".to_owned(),
            y_name: "y".to_owned(),
            x: 0.3..1.0,
            y: 0.0..1.0,
            level: Some((0.5, "half".to_owned())),
            lines: vec![line("a", 0.2), line("b", 0.4)],
        };
        let image = draw("heading", &[panel.clone(), panel])?;
        assert_eq!(image.width(), 2 * PANEL.0);
        for RGBColor(r, g, b) in &COLOURS[..2] {
            assert!(image.pixels().filter(|p| p.0 == [*r, *g, *b]).count() > 200);
        }
        Ok(())
    }
}
