//! A picture in the making: enlarged images, rectangles and text on a plain ground.

use super::font;
use anyhow::{Result, anyhow};
use image::{Rgb, RgbImage};
use plotters::backend::BitMapBackend;
use plotters::drawing::IntoDrawingArea;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, TextStyle};

/// Ground of all pictures.
pub const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
/// Text.
pub const INK: Rgb<u8> = Rgb([34, 38, 46]);
/// Text of less weight.
pub const FAINT: Rgb<u8> = Rgb([116, 122, 134]);

/// Where a text stands relative to its point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Align {
    /// Begins there.
    Left,
    /// Centred there.
    Centre,
    /// Ends there.
    Right,
}

/// A text to be drawn: the point is its middle line.
struct Text {
    text: String,
    at: (i32, i32),
    size: u32,
    colour: Rgb<u8>,
    align: Align,
}

/// A picture in the making. Texts are drawn last.
pub struct Canvas {
    image: RgbImage,
    texts: Vec<Text>,
}

impl Canvas {
    /// A blank picture.
    pub fn new(width: u32, height: u32) -> Self {
        Self { image: RgbImage::from_pixel(width, height, PAPER), texts: Vec::new() }
    }

    /// Fills a rectangle.
    pub fn fill(&mut self, x: u32, y: u32, width: u32, height: u32, colour: Rgb<u8>) {
        for py in y..(y + height).min(self.image.height()) {
            for px in x..(x + width).min(self.image.width()) {
                self.image.put_pixel(px, py, colour);
            }
        }
    }

    /// Puts an image, every pixel as a square of `scale`.
    pub fn put(&mut self, x: u32, y: u32, image: &RgbImage, scale: u32) {
        for (px, py, &colour) in image.enumerate_pixels() {
            self.fill(x + px * scale, y + py * scale, scale, scale, colour);
        }
    }

    /// Writes a text on one line.
    pub fn text(&mut self, text: &str, at: (u32, u32), size: u32, colour: Rgb<u8>, align: Align) {
        let at = (at.0 as i32, at.1 as i32);
        self.texts.push(Text { text: text.to_owned(), at, size, colour, align });
    }

    /// The finished picture.
    ///
    /// # Errors
    /// A text cannot be drawn.
    pub fn finish(mut self) -> Result<RgbImage> {
        font::register()?;
        let size = self.image.dimensions();
        {
            let area = BitMapBackend::with_buffer(&mut self.image, size).into_drawing_area();
            for t in &self.texts {
                area.draw_text(&t.text, &style(t), t.at)
                    .map_err(|e| anyhow!("the text {:?} cannot be drawn: {e}", t.text))?;
            }
        }
        Ok(self.image)
    }
}

fn style(text: &Text) -> TextStyle<'static> {
    let Rgb([r, g, b]) = text.colour;
    let across = match text.align {
        Align::Left => HPos::Left,
        Align::Centre => HPos::Center,
        Align::Right => HPos::Right,
    };
    let style = TextStyle::from((font::FAMILY, text.size).into_font()).pos(Pos::new(across, VPos::Center));
    TextStyle { color: RGBColor(r, g, b).to_backend_color(), ..style }
}

/// Pixels across that a text of a size takes: the typeface has one width for all letters.
pub fn text_width(text: &str, size: u32) -> u32 {
    (text.chars().count() as f32 * size as f32 * 0.52).ceil() as u32
}
