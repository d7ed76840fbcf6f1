//! Skip maps: a dimmed frame whose patches are tinted by how much of their work was skipped.

use image::{Rgb, RgbImage};

/// Colours at shares 0, 1/4, .. 1: from orange, all computed, to blue, all skipped.
const RAMP: [[f32; 3]; 5] = [
    [238.0, 134.0, 42.0],
    [246.0, 196.0, 130.0],
    [228.0, 230.0, 226.0],
    [112.0, 176.0, 204.0],
    [20.0, 92.0, 150.0],
];
/// Colour of a patch where nothing could be skipped.
const NOT_ELIGIBLE: [f32; 3] = [78.0, 78.0, 82.0];
/// How much of the picture shows through.
const PICTURE: f32 = 0.32;

/// Colour of a share from 0 to 1.
fn colour(share: f32) -> Rgb<u8> {
    let at = share.clamp(0.0, 1.0) * (RAMP.len() - 1) as f32;
    let low = (at as usize).min(RAMP.len() - 2);
    let part = at - low as f32;
    Rgb(std::array::from_fn(|c| (RAMP[low][c] + part * (RAMP[low + 1][c] - RAMP[low][c])).round() as u8))
}

/// A colour with a pixel of the picture behind it, from 0 to 255.
fn over(colour: [f32; 3], light: f32) -> Rgb<u8> {
    Rgb(colour.map(|c| (c * (1.0 - PICTURE) + light * PICTURE).round() as u8))
}

/// Colour of a share on a dark picture, for legends.
pub fn legend(share: f32) -> Rgb<u8> {
    over(colour(share).0.map(f32::from), 40.0)
}

/// Tints a frame of `grid` (down, across) patches. `shares` holds one share per patch, none where nothing
/// could be skipped; patches beyond its end were not decoded further.
pub fn tint(picture: &RgbImage, grid: [usize; 2], shares: &[Option<f32>]) -> RgbImage {
    let (high, wide) = (picture.height() / grid[0] as u32, picture.width() / grid[1] as u32);
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let patch = (y / high.max(1)) as usize * grid[1] + (x / wide.max(1)) as usize;
        let ground =
            shares.get(patch).copied().flatten().map_or(NOT_ELIGIBLE, |s| colour(s).0.map(f32::from));
        let Rgb(pixel) = *picture.get_pixel(x, y);
        let light = pixel.iter().map(|&c| f32::from(c)).sum::<f32>() / 3.0;
        over(ground, light)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_from_orange_to_blue() {
        let blueness = |s: f32| i32::from(colour(s).0[2]) - i32::from(colour(s).0[0]);
        let steps: Vec<i32> = (0..=20).map(|i| blueness(i as f32 / 20.0)).collect();
        assert!(steps.windows(2).all(|w| w[1] > w[0]), "{steps:?}");
        assert_eq!((colour(-1.0), colour(2.0)), (colour(0.0), colour(1.0)));
    }

    #[test]
    fn each_patch_has_its_own_tint() {
        let picture = RgbImage::from_pixel(4, 2, Rgb([100; 3]));
        let tinted = tint(&picture, [1, 2], &[Some(1.0), None]);
        assert_eq!(tinted.get_pixel(0, 0), tinted.get_pixel(1, 1));
        assert_ne!(tinted.get_pixel(0, 0), tinted.get_pixel(2, 0));
    }
}
