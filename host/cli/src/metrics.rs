//! How far two videos are apart.

use fastcar_host::model::Frame;
use fastcar_host::quality::metrics::SquaredError;
use serde::Serialize;

/// Difference of two runs of frames.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Difference {
    /// Mean squared difference of pixel values, 0 to 255 squared.
    pub mse: f64,
    /// Peak signal-to-noise ratio in dB; none where the frames are the same.
    pub psnr_db: Option<f64>,
}

/// Compares frames pairwise, as far as both go; none where they have no frame in common.
pub fn difference(a: &[Frame], b: &[Frame]) -> Option<Difference> {
    let count = a.len().min(b.len());
    let error = SquaredError::of_video(&a[..count], &b[..count]).ok().filter(|_| count > 0)?;
    Some(Difference { mse: error.mean(), psnr_db: (error.mean() > 0.0).then(|| error.psnr_db()) })
}

/// Share of pairs that are equal; none where there is no pair.
pub fn agreement<T: PartialEq>(a: &[T], b: &[T]) -> Option<f64> {
    let total = a.len().min(b.len());
    let same = a.iter().zip(b).filter(|(a, b)| a == b).count();
    (total > 0).then(|| same as f64 / total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(value: u8) -> Vec<Frame> {
        vec![Frame { width: 2, height: 1, channels: 1, pixels: vec![value; 2] }]
    }

    #[test]
    fn psnr_of_a_known_difference() {
        let d = difference(&grey(10), &grey(15)).map(|d| (d.mse, d.psnr_db.map(|p| (p * 100.0).round())));
        assert_eq!(d, Some((25.0, Some(3415.0))));
        assert_eq!(difference(&grey(3), &grey(3)), Some(Difference { mse: 0.0, psnr_db: None }));
        assert_eq!(difference(&grey(3), &[]), None);
    }

    #[test]
    fn agreement_counts_pairs() {
        assert_eq!(agreement(&[1, 2, 3, 4], &[1, 2, 0]), Some(2.0 / 3.0));
        assert_eq!(agreement::<u32>(&[], &[]), None);
    }
}
