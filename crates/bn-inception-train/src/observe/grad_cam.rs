//! Grad-CAM (Selvaraju et al. 2017) at the last inception block.
//!
//! Grad-CAM weights each feature map by the mean gradient of the predicted class's logit over the map's positions.
//! After block 5b this network has a global average and a linear layer only, where that gradient is the same at every
//! position, `weight[class, channel] / (H·W)`: no backward pass is needed, and Grad-CAM is CAM (section 3.1 of the
//! paper). A test compares it with autodiff.

use bn_inception::Model;
use bn_inception_dashboard::run_log::{GradCam, Overlay};
use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, TensorReadError};
use image::{Rgb, RgbImage};

use super::encode;
use super::probe::{Probe, ProbeImage};
use crate::rank::predicted;

/// The end point examined.
const LAYER: &str = "5b";

/// Number of images of the probe shown.
const IMAGES: usize = 4;

/// Dark blue over violet and orange to yellow, evenly in brightness: readable in grey and by the colour-blind. Sampled
/// from the perceptually uniform map `plasma`.
const COLOURS: [[f32; 3]; 5] =
    [[13.0, 8.0, 135.0], [126.0, 3.0, 168.0], [204.0, 71.0, 120.0], [248.0, 149.0, 64.0], [240.0, 249.0, 33.0]];

/// The probe's first images with the evidence for the class that `model` predicts; `None` without images.
pub(super) fn overlays(model: &Model, probe: &Probe, step: u64) -> Result<Option<GradCam>, TensorReadError> {
    let count = IMAGES.min(probe.list().len());
    let Some(images) = probe.images().filter(|_| count > 0) else {
        return Ok(None);
    };
    let images = images.clone().narrow(0, 0, count);
    let features = model.features(images);
    let Some(maps) = features.get(LAYER) else {
        return Ok(None);
    };
    let probabilities = softmax(model.classifier.forward(maps.clone()), 1);
    let [_, classes] = probabilities.dims();
    let probabilities = probabilities.try_into_vec_as::<f32>()?;
    let rows = probabilities.chunks_exact(classes);
    // A broken network predicts nothing: its images have no finite heat and are left out below.
    let predicted: Vec<usize> = rows.map(|row| predicted(row).unwrap_or_default()).collect();
    let heat = heat(model, maps.clone(), &predicted);
    let [_, height, width] = heat.dims();
    let heat = heat.try_into_vec_as::<f32>()?;
    let rows = probe.list().iter().zip(heat.chunks_exact(height * width));
    let overlays = rows.zip(&predicted).enumerate();
    let overlays = overlays.filter_map(|(number, ((image, heat), &predicted))| {
        let probability = probabilities[number * classes + predicted];
        overlay(image, heat, [height, width], predicted, probability)
    });
    Ok(Some(GradCam { step, layer: LAYER.to_owned(), overlays: overlays.collect() }))
}

/// ReLU of the maps weighted by the gradient of each image's `predicted` logit: `[N, C, H, W]` → `[N, H, W]`.
fn heat(model: &Model, maps: Tensor<4>, predicted: &[usize]) -> Tensor<3> {
    let [count, channels, height, width] = maps.dims();
    let weight = model.classifier.weight.val().without_autodiff();
    let rows = predicted.iter().map(|class| weight.clone().narrow(0, *class, 1));
    let weight = Tensor::cat(rows.collect(), 0).reshape([count, channels, 1, 1]);
    let weight = weight.div_scalar((height * width) as f64);
    let heat = (maps * weight).sum_dim(1).clamp_min(0.0);
    heat.reshape([count, height, width])
}

fn overlay(image: &ProbeImage, heat: &[f32], size: [usize; 2], predicted: usize, probability: f32) -> Option<Overlay> {
    let small = encode::shrink(&image.image);
    let strongest = heat.iter().copied().fold(0.0, f32::max);
    if !strongest.is_finite() || !probability.is_finite() {
        return None;
    }
    let scale = if strongest > 0.0 { strongest.recip() } else { 0.0 };
    let painted = RgbImage::from_fn(small.width(), small.height(), |x, y| {
        let at = [y as f32 / small.height() as f32, x as f32 / small.width() as f32];
        let heat = scale * interpolated(heat, size, at);
        let colour = colour(heat);
        let pixel = small.get_pixel(x, y).0;
        // Weak evidence lets the photograph through, strong evidence covers half of it.
        let share = 0.25 + 0.35 * heat;
        let mix = |c: usize| f32::from(pixel[c]) * (1.0 - share) + colour[c] * share;
        Rgb([mix(0) as u8, mix(1) as u8, mix(2) as u8])
    });
    Some(Overlay {
        file: image.file.clone(),
        image: encode::jpeg(&small)?,
        overlay: encode::jpeg(&painted)?,
        class: image.class,
        predicted,
        probability,
    })
}

/// The map's value at `at`, in shares of its height and width, bilinear between the cells' centres.
fn interpolated(heat: &[f32], [height, width]: [usize; 2], at: [f32; 2]) -> f32 {
    let split = |share: f32, cells: usize| {
        let place = (share * cells as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
        let low = place as usize;
        (low, (low + 1).min(cells - 1), place - low as f32)
    };
    let (top, bottom, down) = split(at[0], height);
    let (left, right, across) = split(at[1], width);
    let row = |y: usize| heat[y * width + left] * (1.0 - across) + heat[y * width + right] * across;
    row(top) * (1.0 - down) + row(bottom) * down
}

fn colour(heat: f32) -> [f32; 3] {
    let place = heat.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f32;
    let low = (place as usize).min(COLOURS.len() - 2);
    let part = place - low as f32;
    std::array::from_fn(|c| COLOURS[low][c] * (1.0 - part) + COLOURS[low + 1][c] * part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn_inception::Preset;
    use burn::module::Module;
    use burn::tensor::{Device, Distribution};

    /// Gradients of the logit by autodiff, averaged over places, as Grad-CAM is defined.
    #[test]
    fn the_heat_is_that_of_backpropagation() {
        let device = Device::flex();
        let config = Preset::Caffe.config().with_width(0.1).with_classes(5);
        let model = config.init(&device).unwrap();
        let images = Tensor::<4>::random([2, 3, 64, 64], Distribution::Default, &device);
        let maps = model.features(images).get("5b").unwrap().clone();
        let predicted = [3, 1];
        let found = heat(&model, maps.clone(), &predicted);

        let leaf = maps.clone().autodiff().require_grad();
        let classifier = model.classifier.clone().train();
        let logits = classifier.forward(leaf.clone());
        let one = |row: usize| logits.clone().narrow(0, row, 1).narrow(1, predicted[row], 1);
        let gradients = (one(0) + one(1)).sum().backward();
        let gradient = leaf.grad(&gradients).unwrap();
        let weight = gradient.mean_dim(3).mean_dim(2);
        let [count, _, height, width] = maps.dims();
        let expected = (maps * weight).sum_dim(1).clamp_min(0.0);
        let difference = (found.clone() - expected.reshape([count, height, width])).abs();
        let largest = found.max().into_scalar::<f32>();
        assert!(largest > 0.0);
        assert!(difference.max().into_scalar::<f32>() < 1e-6 * largest);
    }

    #[test]
    fn heat_between_cells_is_blended() {
        let heat = [0.0, 1.0, 2.0, 3.0];
        let at = |y, x| interpolated(&heat, [2, 2], [y, x]);
        assert_eq!([at(0.0, 0.0), at(0.25, 0.25), at(0.5, 0.5), at(0.99, 0.99)], [0.0, 0.0, 1.5, 3.0]);
        assert_eq!(interpolated(&[4.0], [1, 1], [0.3, 0.9]), 4.0);
        assert_eq!((colour(0.0), colour(1.0)), (COLOURS[0], COLOURS[4]));
    }
}
