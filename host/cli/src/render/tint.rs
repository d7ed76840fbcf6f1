//! Skip maps: a dimmed frame whose patches are tinted by how much of their work was skipped.

use image::{Rgb, RgbImage};

/// Colours at shares 0, 1/4, .. 1: from pale to deep, readable without colour vision.
const RAMP: [[f32; 3]; 5] =
    [[236.0, 240.0, 243.0], [168.0, 218.0, 205.0], [78.0, 178.0, 166.0], [28.0, 118.0, 138.0], [18.0, 54.0, 98.0]];
/// Colour of a patch where nothing could be skipped.
const NOT_ELIGIBLE: [f32; 3] = [206.0, 206.0, 206.0];
/// How much of the picture shows through.
const PICTURE: f32 = 0.3;

/// Colour of a share from 0 to 1.
pub fn colour(share: f32) -> Rgb<u8> {
    let at = share.clamp(0.0, 1.0) * (RAMP.len() - 1) as f32;
    let low = (at as usize).min(RAMP.len() - 2);
    let part = at - low as f32;
    Rgb(std::array::from_fn(|c| (RAMP[low][c] + part * (RAMP[low + 1][c] - RAMP[low][c])).round() as u8))
}

/// Tints a frame of `grid` (down, across) patches. `shares` holds one share per patch, none where nothing could be
/// skipped; patches beyond its end were not decoded further.
pub fn tint(picture: &RgbImage, grid: [usize; 2], shares: &[Option<f32>]) -> RgbImage {
    let (high, wide) = (picture.height() / grid[0] as u32, picture.width() / grid[1] as u32);
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let patch = (y / high.max(1)) as usize * grid[1] + (x / wide.max(1)) as usize;
        let over = shares.get(patch).copied().flatten().map_or(NOT_ELIGIBLE, |s| colour(s).0.map(f32::from));
        let Rgb(pixel) = *picture.get_pixel(x, y);
        let light = pixel.iter().map(|&c| f32::from(c)).sum::<f32>() / 3.0;
        Rgb(over.map(|c| (c * (1.0 - PICTURE) + light * PICTURE).round() as u8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_darken_with_the_share() {
        let light = |s: f32| colour(s).0.iter().map(|&c| u32::from(c)).sum::<u32>();
        let steps: Vec<u32> = (0..=20).map(|i| light(i as f32 / 20.0)).collect();
        assert!(steps.windows(2).all(|w| w[1] < w[0]), "{steps:?}");
        assert_eq!(colour(f32::NAN), colour(0.0));
    }

    #[test]
    fn each_patch_has_its_own_tint() {
        let picture = RgbImage::from_pixel(4, 2, Rgb([100; 3]));
        let tinted = tint(&picture, [1, 2], &[Some(1.0), None]);
        assert_eq!(tinted.get_pixel(0, 0), tinted.get_pixel(1, 1));
        assert_ne!(tinted.get_pixel(0, 0), tinted.get_pixel(2, 0));
    }
}
