//! The first layer's filters as a picture.

use bn_inception::Model;
use bn_inception_dashboard::run_log::FilterGrid;
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::encode;

/// Pixels of the picture for one weight.
const ZOOM: u32 = 4;

/// Every filter of the first layer that sees colours or, before a separable layer, of the one that sees each colour by
/// itself.
pub(super) fn grid(model: &Model, step: u64) -> Option<FilterGrid> {
    let stem = &model.stem;
    let (layer, unit) = match &stem.depthwise {
        Some(depthwise) => ("stem.depthwise", depthwise),
        None => ("stem.conv1", &stem.conv1),
    };
    let weight = unit.weight.val().without_autodiff();
    let [filters, channels, height, width] = weight.dims();
    let values = weight.try_into_vec_as::<f32>().ok()?;
    let columns = (filters as f64).sqrt().ceil() as u32;
    let rows = (filters as u32).div_ceil(columns.max(1));
    let (tile_width, tile_height) = (width as u32 * ZOOM + 1, height as u32 * ZOOM + 1);
    let mut sheet = RgbImage::new(columns * tile_width + 1, rows * tile_height + 1);
    for (number, values) in values.chunks_exact(channels * height * width).enumerate() {
        let tile = tile(values, [channels, height, width]);
        let (zoomed_width, zoomed_height) = (tile_width - 1, tile_height - 1);
        let tile = imageops::resize(&tile, zoomed_width, zoomed_height, FilterType::Nearest);
        let (column, row) = (number as u32 % columns, number as u32 / columns);
        let (x, y) = (1 + column * tile_width, 1 + row * tile_height);
        imageops::replace(&mut sheet, &tile, x.into(), y.into());
    }
    Some(FilterGrid {
        step,
        layer: layer.to_owned(),
        filters,
        columns: columns as usize,
        picture: encode::png(&sheet)?,
    })
}

/// One filter, its smallest weight black and its largest white; three channels as colours.
fn tile(values: &[f32], [channels, height, width]: [usize; 3]) -> RgbImage {
    let min = values.iter().copied().fold(f32::INFINITY, f32::min);
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = if max > min { 255.0 / (max - min) } else { 0.0 };
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let place = y as usize * width + x as usize;
        let of = |channel: usize| {
            let channel = channel.min(channels - 1);
            ((values[channel * height * width + place] - min) * scale) as u8
        };
        Rgb([of(0), of(1), of(2)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn_inception::Preset;
    use burn::tensor::Device;

    #[test]
    fn every_filter_has_a_tile() {
        for (preset, layer, side) in
            [(Preset::Caffe, "stem.conv1", 7), (Preset::TfSlim, "stem.depthwise", 7), (Preset::Small, "stem.conv1", 3)]
        {
            let config = preset.config().with_width(0.25);
            let model = config.init(&Device::flex()).unwrap();
            let found = grid(&model, 1).unwrap();
            assert_eq!(found.layer, layer);
            assert!(found.columns * found.columns >= found.filters);
            let tile = side * ZOOM + 1;
            assert_eq!(found.picture.width, found.columns as u32 * tile + 1);
        }
    }

    #[test]
    fn a_filter_fills_the_range() {
        let values = [-1.0, 0.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let found = tile(&values, [3, 2, 2]);
        assert_eq!(found.get_pixel(0, 0).0, [0, 127, 127]);
        assert_eq!(found.get_pixel(0, 1).0, [255, 127, 127]);
    }
}
