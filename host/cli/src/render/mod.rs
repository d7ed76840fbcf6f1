//! Pictures: frames as images, skip maps, contact sheets and animations.

mod canvas;
pub mod font;
pub mod gif;
pub mod sheet;
pub mod tint;

use anyhow::{Context, Result};
use fastcar_host::model::Frame;
use image::{ImageFormat, Rgb, RgbImage};
use std::io::Cursor;

/// A frame as an image: grey where it has one or two channels, colour where it has three or four.
pub fn image_of(frame: &Frame) -> RgbImage {
    let pixel = |x: u32, y: u32| {
        let at = (y as usize * frame.width + x as usize) * frame.channels;
        match frame.pixels[at..at + frame.channels] {
            [r, g, b, ..] => Rgb([r, g, b]),
            [grey, ..] => Rgb([grey; 3]),
            [] => Rgb([0; 3]),
        }
    };
    RgbImage::from_fn(frame.width as u32, frame.height as u32, pixel)
}

/// How often each pixel is repeated, so that a picture of this width is about `wanted` pixels wide.
fn scale_for(width: u32, wanted: u32) -> u32 {
    (wanted / width.max(1)).max(1)
}

/// A picture as the bytes of a PNG file.
///
/// # Errors
/// The encoder fails.
pub fn png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, ImageFormat::Png).context("the PNG picture cannot be encoded")?;
    Ok(out.into_inner())
}
