//! Inputs and comparisons shared by the tests.
#![allow(dead_code, clippy::unwrap_used)]

/// Random number generator (xorshift).
pub struct Random(pub u64);

impl Random {
    /// A number from 0 to 1, without 1.
    pub fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() * n as f32) as usize % n
    }

    /// An approximately normal number: a centred sum of four uniform ones.
    pub fn normal(&mut self) -> f32 {
        ((0..4).map(|_| self.next()).sum::<f32>() - 2.0) * 1.7
    }

    pub fn normals(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.normal()).collect()
    }
}

/// Approximately normal random values.
pub fn random(len: usize, seed: u64) -> Vec<f32> {
    Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1).normals(len)
}

/// Small integers, whose products and sums are exact in `f32`.
pub fn integers(len: usize, seed: u64) -> Vec<f32> {
    random(len, seed).into_iter().map(|v| (v * 2.0).round().clamp(-4.0, 4.0)).collect()
}

/// Root mean square of the error, relative to that of the expected values.
pub fn relative_rms(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let error: f64 = found.iter().zip(expected).map(|(&f, e)| (f64::from(f) - e).powi(2)).sum();
    let size: f64 = expected.iter().map(|e| e * e).sum();
    if error == 0.0 { 0.0 } else { (error / size).sqrt() }
}

/// Asserts that the relative RMS error is at most `gate`.
#[track_caller]
pub fn assert_close(what: &str, found: &[f32], expected: &[f64], gate: f64) {
    let rms = relative_rms(found, expected);
    assert!(rms <= gate, "{what}: relative RMS error {rms:.3e} above {gate:.0e}");
}

/// Bit patterns, for comparisons in which every difference counts and NaN equals itself.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}
