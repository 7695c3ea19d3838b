//! A separable convolution as a plain one.

use crate::plan::error::NetworkError;

/// Filters `[out_channels, in_channels, kernel, kernel]` of the convolution equivalent to a depthwise convolution with
/// a depth multiplier directly followed by a 1×1: the separable stem. Products are summed in `f64`.
///
/// `depthwise` is `[in_channels · multiplier, 1, kernel, kernel]`, `pointwise` is
/// `[out_channels, in_channels · multiplier]`. The bias of the 1×1 stays as it is.
///
/// # Errors
/// [`NetworkError::Length`] for a slice of another length.
pub fn merge_separable(
    depthwise: &[f32],
    pointwise: &[f32],
    [out_channels, in_channels, multiplier, kernel]: [usize; 4],
) -> Result<Vec<f32>, NetworkError> {
    let (taps, middle) = (kernel * kernel, in_channels * multiplier);
    for (what, expected, found) in [
        ("depthwise weight", middle * taps, depthwise.len()),
        ("pointwise weight", out_channels * middle, pointwise.len()),
    ] {
        if expected != found {
            return Err(NetworkError::Length { layer: "separable".to_owned(), what, expected, found });
        }
    }
    let mut weight = Vec::with_capacity(out_channels * in_channels * taps);
    for o in 0..out_channels {
        for i in 0..in_channels {
            for t in 0..taps {
                let sum: f64 = (i * multiplier..(i + 1) * multiplier)
                    .map(|m| f64::from(pointwise[o * middle + m]) * f64::from(depthwise[m * taps + t]))
                    .sum();
                weight.push(sum as f32);
            }
        }
    }
    Ok(weight)
}
