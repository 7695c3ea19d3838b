//! Calls of the inference engine.

use bn_inception_kernels::infer::Engine;

/// Logits `[batch, classes]` of `images`, `[batch, 3, height, width]`.
///
/// # Panics
/// If the images are too small, or too large for memory.
pub(super) fn logits(engine: &Engine, images: &[f32], size: [usize; 3]) -> Vec<f32> {
    let mut logits = vec![0.0; size[0] * engine.network().classes()];
    match engine.forward(images, size, &mut logits) {
        Ok(()) => logits,
        Err(error) => panic!("{error}"),
    }
}
