//! Calls of the inference engine.

use bn_inception_kernels::infer::{End, Engine};

/// Output at `end`, and its dimensions, for `images`, `[batch, 3, height, width]`.
///
/// # Panics
/// If the images are too small, or too large for memory; if the network has no such end.
pub(super) fn run(engine: &Engine, end: End, images: &[f32], size: [usize; 3]) -> (Vec<f32>, Vec<usize>) {
    let result = engine.output_shape_at(end, size).and_then(|shape| {
        let mut output = vec![0.0; shape.iter().product()];
        engine.forward_to(end, images, size, &mut output)?;
        Ok((output, shape))
    });
    result.unwrap_or_else(|error| panic!("{error}"))
}
