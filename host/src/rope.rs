//! Rotary position tables, the same bits on every machine.

/// Cosines, then sines, for each position: `positions * head_dim` words.
///
/// Frequencies and angles are rounded to binary32 as the common implementations do; sine and cosine of the rounded
/// angle are computed in binary64 by a software library, so that no machine's own differs.
#[must_use]
pub fn table(theta: f32, head_dim: usize, positions: usize) -> Vec<f32> {
    let half = head_dim / 2;
    let frequency = |i: usize| {
        let exponent = (2 * i) as f32 / head_dim as f32;
        1.0 / (libm::pow(theta.into(), exponent.into()) as f32)
    };
    let frequencies: Vec<f32> = (0..half).map(frequency).collect();
    let mut out = Vec::with_capacity(positions * head_dim);
    for position in 0..positions {
        let angles = frequencies.iter().map(|f| f64::from(position as f32 * f));
        out.extend(angles.clone().map(|a| libm::cos(a) as f32));
        out.extend(angles.map(|a| libm::sin(a) as f32));
    }
    out
}
