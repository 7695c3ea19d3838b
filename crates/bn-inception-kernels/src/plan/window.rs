//! Windows of convolutions and pools: paddings, counts, limits.

use super::error::NetworkError;

/// Padding `(before, after)` of a layer's windows, along a dimension with an even and with an odd number of pixels. All
/// published rules depend on parity only, and are the same for height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Padding of an even number of pixels.
    pub even: (usize, usize),
    /// Padding of an odd number of pixels.
    pub odd: (usize, usize),
}

impl Placement {
    /// The same padding for all sizes.
    pub const fn both(before: usize, after: usize) -> Self {
        Self { even: (before, after), odd: (before, after) }
    }

    /// Padding along a dimension of `size` pixels.
    pub fn of(self, size: usize) -> (usize, usize) {
        if size.is_multiple_of(2) { self.even } else { self.odd }
    }
}

/// Number of complete windows along a dimension, `None` if there is none.
pub(crate) fn windows(size: usize, kernel: usize, stride: usize, (before, after): (usize, usize)) -> Option<usize> {
    Some((size + before + after).checked_sub(kernel)? / stride + 1)
}

/// Height and width of the output of a layer whose windows have this kernel, stride and padding; without windows those
/// of its input, `size`.
///
/// # Errors
/// [`NetworkError::TooSmall`], with the extent of the network's input, if not even one window fits.
pub(crate) fn output_size(
    layer: &str,
    size: [usize; 2],
    window: Option<(usize, usize, Placement)>,
    [height, width]: [usize; 2],
) -> Result<[usize; 2], NetworkError> {
    let Some((kernel, stride, padding)) = window else { return Ok(size) };
    match size.map(|pixels| windows(pixels, kernel, stride, padding.of(pixels))) {
        [Some(down), Some(across)] => Ok([down, across]),
        _ => Err(NetworkError::TooSmall { layer: layer.to_owned(), height, width }),
    }
}

/// Checks for a stride of 1 that the padding keeps the size, and for a stride of 2 that it does not exceed that.
pub(crate) fn check_window(layer: &str, kernel: usize, stride: usize, padding: Placement) -> Result<(), NetworkError> {
    if stride != 1 {
        NetworkError::require(layer, "stride", 2, stride)?;
    }
    let limit = kernel / 2;
    let fits = |&found: &usize| found == limit || (stride == 2 && found < limit);
    let Placement { even, odd } = padding;
    match [even.0, even.1, odd.0, odd.1].iter().find(|p| !fits(p)) {
        Some(&found) => NetworkError::require(layer, "padding", limit, found),
        None => Ok(()),
    }
}

/// Checks kernel, stride and padding of a convolution of images or of a feature map.
pub(crate) fn check_convolution(
    layer: &str,
    of_images: bool,
    kernel: usize,
    stride: usize,
    padding: Placement,
) -> Result<(), NetworkError> {
    let is = |what, expected, found| NetworkError::require(layer, what, expected, found);
    match (of_images, kernel) {
        (true, 7) => is("stride", 2, stride)?,
        (true, 3) | (false, 1) => is("stride", 1, stride)?,
        (false, 3) => {}
        (true, _) => is("kernel", 7, kernel)?,
        (false, _) => is("kernel", 3, kernel)?,
    }
    check_window(layer, kernel, stride, padding)
}

/// Reciprocals of the divisors of a 3×3/1 average pool padded by 1.
pub(crate) fn reciprocals([height, width]: [usize; 2], includes_padding: bool) -> Vec<f32> {
    // Number of pixels of the window around `i` that are inside.
    let inside = |i: usize, size: usize| {
        if includes_padding { 3 } else { (i + 2).min(size) - i.saturating_sub(1) }
    };
    let count = |i: usize| inside(i / width, height) * inside(i % width, width);
    (0..height * width).map(|i| 1.0 / count(i) as f32).collect()
}
