//! Padding of convolutions and pools, as `(before, after)` in pixels.

use crate::config::{MaxPooling, StridedPadding};

/// Padding before and after one spatial dimension, in pixels.
pub(crate) type Padding = (usize, usize);

/// Number of windows of `kernel` pixels, `stride` apart, in `size` padded pixels.
pub(crate) fn windows(size: usize, kernel: usize, stride: usize, padding: Padding) -> usize {
    (size + padding.0 + padding.1).saturating_sub(kernel) / stride + 1
}

/// TensorFlow's `SAME`: `ceil(size / stride)` windows, an odd pixel of padding at the end.
fn same(size: usize, kernel: usize, stride: usize) -> Padding {
    let covered = (size.div_ceil(stride) - 1) * stride + kernel;
    let total = covered.saturating_sub(size);
    (total / 2, total - total / 2)
}

impl StridedPadding {
    /// Padding of a convolution along a dimension of `size` pixels.
    pub(crate) fn of_conv(self, size: usize, kernel: usize, stride: usize) -> Padding {
        match self {
            // At stride 1 both conventions centre the odd kernel.
            StridedPadding::Same if stride > 1 => same(size, kernel, stride),
            _ => (kernel / 2, kernel / 2),
        }
    }
}

impl MaxPooling {
    /// Padding of the 3x3 max pool of an inception block. At stride 1 (block 5b) every implementation pads by one
    /// pixel; so does this one at stride 2 on odd sizes, where Caffe's rule does not match the convolutions beside it.
    pub(crate) fn of_block(self, size: usize, stride: usize) -> Padding {
        if stride == 1 || size % 2 == 1 {
            return (1, 1);
        }
        self.of_stem(size)
    }

    /// Padding of a 3x3/2 max pool of the stem along a dimension of `size` pixels.
    pub(crate) fn of_stem(self, size: usize) -> Padding {
        match self {
            MaxPooling::Floor => (0, 0),
            MaxPooling::FloorPadded => (1, 1),
            MaxPooling::Same => same(size, 3, 2),
            // One more pixel makes the overhanging window whole; on odd sizes none overhangs.
            MaxPooling::Ceil => (0, (size + 1) % 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_sizes() {
        // The paper's 112 → 56 → 28, and MXNet's 112 → 55 → 27.
        let pooled = |rule: MaxPooling, size| windows(size, 3, 2, rule.of_stem(size));
        for (rule, expected) in [
            (MaxPooling::Ceil, [56, 28, 14, 7]),
            (MaxPooling::Same, [56, 28, 14, 7]),
            (MaxPooling::FloorPadded, [56, 28, 14, 7]),
            (MaxPooling::Floor, [55, 27, 13, 6]),
        ] {
            assert_eq!([112, 56, 28, 14].map(|size| pooled(rule, size)), expected, "{rule:?}");
        }
        assert_eq!(pooled(MaxPooling::Ceil, 7), 3);
        assert_eq!(pooled(MaxPooling::Same, 7), 4);
        assert_eq!(MaxPooling::Same.of_stem(112), (0, 1));
    }

    #[test]
    fn block_pools_fit_the_strided_convolutions_beside_them() {
        for rule in [MaxPooling::Ceil, MaxPooling::FloorPadded, MaxPooling::Same] {
            for padding in [StridedPadding::Symmetric, StridedPadding::Same] {
                for size in 2..40 {
                    let pooled = windows(size, 3, 2, rule.of_block(size, 2));
                    let convolved = windows(size, 3, 2, padding.of_conv(size, 3, 2));
                    assert_eq!(pooled, convolved, "{rule:?} {padding:?} {size}");
                }
            }
        }
    }

    #[test]
    fn same_convolutions_shift_by_one_pixel_on_even_sizes() {
        assert_eq!(StridedPadding::Same.of_conv(224, 7, 2), (2, 3));
        assert_eq!(StridedPadding::Same.of_conv(28, 3, 2), (0, 1));
        assert_eq!(StridedPadding::Same.of_conv(27, 3, 2), (1, 1));
        assert_eq!(StridedPadding::Symmetric.of_conv(224, 7, 2), (3, 3));
        assert_eq!(StridedPadding::Same.of_conv(28, 3, 1), (1, 1));
    }
}
