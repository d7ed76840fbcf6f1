//! Picture and token metrics: PSNR, SSIM, agreement.
//!
//! PSNR is `10 log10(255^2 / MSE)` over 8-bit values; identical pictures have infinite PSNR. Where several pictures are
//! taken together, their squared errors are pooled first, so that one identical frame does not make the mean infinite.
//!
//! SSIM is that of Wang, Bovik, Sheikh and Simoncelli (IEEE Transactions on Image Processing 13(4), 2004): a Gaussian
//! window of 11 x 11 pixels with sigma 1.5, `K1 = 0.01`, `K2 = 0.03`, `L = 255`, the mean over all windows that lie
//! inside the picture, channel by channel.

use crate::model::Frame;

/// Pixels across SSIM's window.
pub const SSIM_WINDOW: usize = 11;
const SSIM_SIGMA: f64 = 1.5;
const PEAK: f64 = 255.0;

/// Pictures that cannot be compared.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// Their sizes differ.
    #[error("pictures of {left} and {right} cannot be compared: width, height and channels must be equal")]
    Size {
        /// Width x height x channels of the first.
        left: String,
        /// The same of the second.
        right: String,
    },
    /// Different numbers of pictures.
    #[error("videos of {left} and {right} frames cannot be compared: the counts must be equal and not 0")]
    Count {
        /// Frames of the first.
        left: usize,
        /// Frames of the second.
        right: usize,
    },
    /// Too small for SSIM.
    #[error(
        "SSIM needs pictures of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, these are {width} x {height}"
    )]
    Small {
        /// Width.
        width: usize,
        /// Height.
        height: usize,
    },
}

/// Squared errors of some pixels, to be pooled.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct SquaredError {
    sum: u64,
    count: u64,
}

impl SquaredError {
    /// Compares two pictures.
    ///
    /// # Errors
    /// [`MetricError::Size`].
    pub fn of(a: &Frame, b: &Frame) -> Result<Self, MetricError> {
        same_size(a, b)?;
        let square = |(&x, &y): (&u8, &u8)| u64::from(x.abs_diff(y)).pow(2);
        Ok(Self { sum: a.pixels.iter().zip(&b.pixels).map(square).sum(), count: a.pixels.len() as u64 })
    }

    /// Compares two videos frame by frame.
    ///
    /// # Errors
    /// [`MetricError::Size`], [`MetricError::Count`].
    pub fn of_video(a: &[Frame], b: &[Frame]) -> Result<Self, MetricError> {
        same_count(a, b)?;
        a.iter().zip(b).try_fold(Self::default(), |sum, (a, b)| Ok(sum.and(Self::of(a, b)?)))
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { sum: self.sum + other.sum, count: self.count + other.count }
    }

    /// Mean squared error; 0 for no pixels.
    #[must_use]
    pub fn mean(self) -> f64 {
        self.sum as f64 / (self.count as f64).max(1.0)
    }

    /// PSNR in dB.
    #[must_use]
    pub fn psnr_db(self) -> f64 {
        10.0 * libm::log10(PEAK * PEAK / self.mean())
    }
}

/// PSNR of two pictures in dB; infinite where they are identical.
///
/// # Errors
/// [`MetricError::Size`].
pub fn psnr_db(a: &Frame, b: &Frame) -> Result<f64, MetricError> {
    Ok(SquaredError::of(a, b)?.psnr_db())
}

/// PSNR of each frame of two videos in dB.
///
/// # Errors
/// [`MetricError::Size`], [`MetricError::Count`].
pub fn psnr_per_frame_db(a: &[Frame], b: &[Frame]) -> Result<Vec<f64>, MetricError> {
    same_count(a, b)?;
    a.iter().zip(b).map(|(a, b)| psnr_db(a, b)).collect()
}

/// SSIM of two pictures.
///
/// # Errors
/// [`MetricError::Size`], [`MetricError::Small`].
pub fn ssim(a: &Frame, b: &Frame) -> Result<f64, MetricError> {
    same_size(a, b)?;
    let (width, height) = (a.width, a.height);
    if width < SSIM_WINDOW || height < SSIM_WINDOW || a.channels == 0 {
        return Err(MetricError::Small { width, height });
    }
    let channel = |c: usize| {
        let plane =
            |f: &Frame| f.pixels[c..].iter().step_by(f.channels).map(|&p| f64::from(p)).collect::<Vec<_>>();
        plane_ssim(&plane(a), &plane(b), width)
    };
    Ok((0..a.channels).map(channel).sum::<f64>() / a.channels as f64)
}

/// Mean SSIM of the frames of two videos.
///
/// # Errors
/// As [`ssim`], and [`MetricError::Count`].
pub fn video_ssim(a: &[Frame], b: &[Frame]) -> Result<f64, MetricError> {
    same_count(a, b)?;
    let sum = a.iter().zip(b).try_fold(0.0, |sum, (a, b)| Ok(sum + ssim(a, b)?))?;
    Ok(sum / a.len() as f64)
}

/// Share of equal entries; 1 for empty lists.
#[must_use]
pub fn agreement(a: &[u32], b: &[u32]) -> f64 {
    let (same, all) = (a.iter().zip(b).filter(|(x, y)| x == y).count(), a.len().max(b.len()));
    if all == 0 { 1.0 } else { same as f64 / all as f64 }
}

fn same_size(a: &Frame, b: &Frame) -> Result<(), MetricError> {
    let size = |f: &Frame| (f.width, f.height, f.channels);
    if size(a) == size(b) && a.pixels.len() == b.pixels.len() {
        return Ok(());
    }
    let text = |f: &Frame| format!("{} x {} x {}", f.width, f.height, f.channels);
    Err(MetricError::Size { left: text(a), right: text(b) })
}

fn same_count(a: &[Frame], b: &[Frame]) -> Result<(), MetricError> {
    if a.len() == b.len() && !a.is_empty() {
        return Ok(());
    }
    Err(MetricError::Count { left: a.len(), right: b.len() })
}

/// SSIM of one channel: the mean over windows of luminance, contrast and structure.
fn plane_ssim(a: &[f64], b: &[f64], width: usize) -> f64 {
    let kernel = kernel();
    let filtered = |f: &dyn Fn(f64, f64) -> f64| {
        let values: Vec<f64> = a.iter().zip(b).map(|(&x, &y)| f(x, y)).collect();
        blur(&values, width, &kernel)
    };
    let (mean_a, mean_b) = (filtered(&|x, _| x), filtered(&|_, y| y));
    let (aa, bb, ab) = (filtered(&|x, _| x * x), filtered(&|_, y| y * y), filtered(&|x, y| x * y));
    let (c1, c2) = ((0.01 * PEAK).powi(2), (0.03 * PEAK).powi(2));
    let window = |i: usize| {
        let (ma, mb) = (mean_a[i], mean_b[i]);
        let (var_a, var_b, cov) = (aa[i] - ma * ma, bb[i] - mb * mb, ab[i] - ma * mb);
        (2.0 * ma * mb + c1) * (2.0 * cov + c2) / ((ma * ma + mb * mb + c1) * (var_a + var_b + c2))
    };
    (0..mean_a.len()).map(window).sum::<f64>() / mean_a.len() as f64
}

/// One dimension of the Gaussian window; its sum is 1.
fn kernel() -> [f64; SSIM_WINDOW] {
    let middle = (SSIM_WINDOW / 2) as f64;
    let weight = |i: usize| libm::exp(-(i as f64 - middle).powi(2) / (2.0 * SSIM_SIGMA * SSIM_SIGMA));
    let sum: f64 = (0..SSIM_WINDOW).map(weight).sum();
    std::array::from_fn(|i| weight(i) / sum)
}

/// The window's weighted mean wherever it lies inside the picture.
fn blur(values: &[f64], width: usize, kernel: &[f64; SSIM_WINDOW]) -> Vec<f64> {
    let dot = |part: &mut dyn Iterator<Item = f64>| part.zip(kernel).map(|(v, k)| v * k).sum::<f64>();
    let across = width - SSIM_WINDOW + 1;
    let rows: Vec<f64> = values
        .chunks_exact(width)
        .flat_map(|row| row.windows(SSIM_WINDOW).map(|w| dot(&mut w.iter().copied())))
        .collect();
    let down = values.len() / width - SSIM_WINDOW + 1;
    let column = |i: usize| dot(&mut rows[i..].iter().step_by(across).copied());
    (0..across * down).map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(width: usize, height: usize, pixel: impl Fn(usize, usize) -> u8) -> Frame {
        let pixels =
            (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| pixel(x, y)).collect();
        Frame { width, height, channels: 1, pixels }
    }

    fn texture(x: usize, y: usize) -> u8 {
        (x * 37 + y * 101 + x * y * 7) as u8 / 2 + 40
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    #[test]
    fn identical_pictures_are_perfect() -> Result<(), MetricError> {
        let a = frame(16, 13, texture);
        assert_eq!(psnr_db(&a, &a)?, f64::INFINITY);
        close(ssim(&a, &a)?, 1.0);
        Ok(())
    }

    /// A shift by d everywhere has MSE d^2: 20 log10(255 / d) dB.
    #[test]
    fn constant_shift() -> Result<(), MetricError> {
        let (a, b) = (frame(16, 16, texture), frame(16, 16, |x, y| texture(x, y) + 5));
        close(psnr_db(&a, &b)?, 34.151_403_521_958_73);
        let black_white = psnr_db(&frame(4, 4, |_, _| 0), &frame(4, 4, |_, _| 255))?;
        close(black_white, 0.0);
        Ok(())
    }

    /// Flat pictures have no variance: only the luminance term remains.
    #[test]
    fn flat_pictures_differ_in_luminance_alone() -> Result<(), MetricError> {
        let (a, b) = (frame(11, 11, |_, _| 100), frame(11, 11, |_, _| 110));
        let c1 = 6.502_5;
        close(ssim(&a, &b)?, (2.0 * 100.0 * 110.0 + c1) / (100.0f64.powi(2) + 110.0f64.powi(2) + c1));
        Ok(())
    }

    /// A texture mirrored in grey about its own mean has covariance minus its variance, here 20^2.
    #[test]
    fn inverted_structure_is_negative() -> Result<(), MetricError> {
        let a = frame(11, 11, |x, _| if x % 2 == 0 { 100 } else { 140 });
        let b = frame(11, 11, |x, _| if x % 2 == 0 { 140 } else { 100 });
        let value = ssim(&a, &b)?;
        let c2 = 58.522_5;
        assert!((value - (c2 - 2.0 * 400.0) / (c2 + 2.0 * 400.0)).abs() < 1e-4, "{value}");
        close(value, ssim(&b, &a)?);
        Ok(())
    }

    #[test]
    fn the_window_is_the_published_one() {
        let kernel = kernel();
        close(kernel.iter().sum(), 1.0);
        close(kernel[4] / kernel[5], (-1.0f64 / 4.5).exp());
        // The centre of MATLAB's fspecial('gaussian', 11, 1.5).
        assert!((kernel[5] * kernel[5] - 0.070_762).abs() < 1e-6);
    }

    /// Of one window, by the definition, without separating the dimensions.
    #[test]
    fn ssim_by_its_definition() -> Result<(), MetricError> {
        let (a, b) = (frame(11, 11, texture), frame(11, 11, |x, y| (x * 20 + y) as u8));
        let k = kernel();
        let mean = |f: &dyn Fn(usize) -> f64| (0..121).map(|i| k[i / 11] * k[i % 11] * f(i)).sum::<f64>();
        let (pa, pb) = (|i: usize| f64::from(a.pixels[i]), |i: usize| f64::from(b.pixels[i]));
        let (ma, mb) = (mean(&pa), mean(&pb));
        let var_a = mean(&|i| (pa(i) - ma).powi(2));
        let var_b = mean(&|i| (pb(i) - mb).powi(2));
        let cov = mean(&|i| (pa(i) - ma) * (pb(i) - mb));
        let (c1, c2) = (6.502_5, 58.522_5);
        let luminance = (2.0 * ma * mb + c1) / (ma * ma + mb * mb + c1);
        close(ssim(&a, &b)?, luminance * (2.0 * cov + c2) / (var_a + var_b + c2));
        Ok(())
    }

    #[test]
    fn channels_are_taken_apart() -> Result<(), MetricError> {
        let (a, b) = (frame(12, 12, texture), frame(12, 12, |x, y| texture(y, x)));
        let two = |first: &Frame, second: &Frame| Frame {
            channels: 2,
            pixels: first.pixels.iter().zip(&second.pixels).flat_map(|(&p, &q)| [p, q]).collect(),
            ..first.clone()
        };
        close(ssim(&two(&a, &a), &two(&a, &b))?, f64::midpoint(1.0, ssim(&a, &b)?));
        Ok(())
    }

    #[test]
    fn pooling_is_not_the_mean_of_decibels() -> Result<(), MetricError> {
        let (a, b) = (frame(8, 8, |_, _| 10), frame(8, 8, |_, _| 20));
        assert_eq!(psnr_per_frame_db(&[a.clone(), a.clone()], &[a.clone(), b.clone()])?[0], f64::INFINITY);
        let pooled = SquaredError::of_video(&[a.clone(), a.clone()], &[a, b])?;
        close(pooled.mean(), 50.0);
        Ok(())
    }

    #[test]
    fn misfits_are_refused() {
        let (a, b) = (frame(8, 8, texture), frame(8, 9, texture));
        let text = |r: Result<f64, MetricError>| r.map_err(|e| e.to_string());
        let sizes = "pictures of 8 x 8 x 1 and 8 x 9 x 1 cannot be compared: width, height and channels must be equal";
        assert_eq!(text(psnr_db(&a, &b)), Err(sizes.to_owned()));
        let small = "SSIM needs pictures of at least 11 x 11 pixels, these are 8 x 8";
        assert_eq!(text(ssim(&a, &a)), Err(small.to_owned()));
        let count = "videos of 0 and 1 frames cannot be compared: the counts must be equal and not 0";
        assert_eq!(text(video_ssim(&[], &[a])), Err(count.to_owned()));
    }

    #[test]
    fn agreement_counts_equal_entries() {
        close(agreement(&[1, 2, 3, 4], &[1, 0, 3, 0]), 0.5);
        close(agreement(&[1, 2], &[1, 2, 3, 4]), 0.5);
        close(agreement(&[], &[]), 1.0);
    }
}
