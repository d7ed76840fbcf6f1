//! Animations that loop.

use super::canvas::{Align, Canvas, INK};
use super::scale_for;
use anyhow::{Context, Result};
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, RgbImage};

const TILE: u32 = 256;
const GAP: u32 = 8;
const HEADING: u32 = 32;
const TEXT: u32 = 18;
/// Four frames a second.
const FRAME_MS: u32 = 250;
/// The last frame stands this much longer before the loop begins again.
const PAUSE_MS: u32 = 750;

/// Side by side videos of equal frames: one row per sequence, one named column per way of decoding it.
pub struct Columns {
    /// Names of the columns; shown where there are several.
    pub names: Vec<String>,
    /// `rows[sequence][column][frame]`.
    pub rows: Vec<Vec<Vec<RgbImage>>>,
}

impl Columns {
    fn frames(&self) -> usize {
        self.rows.iter().flatten().map(Vec::len).max().unwrap_or(0)
    }

    /// One frame of the animation; videos that have ended keep their last picture.
    fn draw(&self, frame: usize) -> Result<RgbImage> {
        let (width, height) =
            self.rows.iter().flatten().flatten().next().map_or((1, 1), RgbImage::dimensions);
        let scale = scale_for(width, TILE);
        let (width, height) = (width * scale, height * scale);
        let heading = if self.names.len() > 1 { HEADING } else { 0 };
        let across = self.names.len() as u32 * (width + GAP) - GAP;
        let down = self.rows.len() as u32 * (height + GAP) - GAP;
        let mut canvas = Canvas::new(across, heading + down);
        for (column, name) in self.names.iter().enumerate().filter(|_| heading > 0) {
            let at = (column as u32 * (width + GAP) + width / 2, heading / 2);
            canvas.text(name, at, TEXT, INK, Align::Centre);
        }
        for (row, videos) in self.rows.iter().enumerate() {
            for (column, video) in videos.iter().enumerate() {
                let place = (column as u32 * (width + GAP), heading + row as u32 * (height + GAP));
                if let Some(picture) = video.get(frame.min(video.len().saturating_sub(1))) {
                    canvas.put(place.0, place.1, picture, scale);
                }
            }
        }
        canvas.finish()
    }
}

/// The bytes of a GIF file.
///
/// # Errors
/// The encoder fails.
pub fn animate(columns: &Columns) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut out, 10);
    encoder.set_repeat(Repeat::Infinite).context("the animation cannot be encoded")?;
    let frames = columns.frames();
    for index in 0..frames {
        let ms = if index + 1 == frames { FRAME_MS + PAUSE_MS } else { FRAME_MS };
        let picture = DynamicImage::ImageRgb8(columns.draw(index)?).into_rgba8();
        let frame = Frame::from_parts(picture, 0, 0, Delay::from_numer_denom_ms(ms, 1));
        encoder.encode_frame(frame).context("the animation cannot be encoded")?;
    }
    drop(encoder);
    Ok(out)
}
