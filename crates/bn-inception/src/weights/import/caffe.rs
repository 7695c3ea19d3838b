//! Caffe layers: the blobs of each type.

use std::collections::BTreeMap;

use bn_inception_formats::{Archive, Array};

/// Names of a layer type's blobs, in order.
const BLOBS: [(&str, &[&str]); 7] = [
    ("Convolution", &["weight", "bias"]),
    ("InnerProduct", &["weight", "bias"]),
    ("Scale", &["scale", "shift"]),
    // Sums, and the factor by which both must be divided.
    ("BatchNorm", &["mean", "variance", FACTOR]),
    // `yjxiong/caffe`: bn_layer.cpp and its variants for cuDNN and several GPUs.
    ("BN", &["scale", "shift", "mean", "variance"]),
    ("SyncBN", &["scale", "shift", "mean", "variance"]),
    ("CuDNNBN", &["scale", "shift", "mean", "variance"]),
];

const FACTOR: &str = "factor";

/// The blobs of every layer as `LAYER.PART`, such as `conv1/7x7_s2.weight` and `conv1/7x7_s2/bn.mean`, means and
/// variances divided. Blobs of unknown layers keep their names.
pub(super) fn map(archive: Archive) -> BTreeMap<String, Array> {
    let Archive { graph, mut tensors, .. } = archive;
    for layer in graph {
        let known = BLOBS.iter().find(|(kind, _)| *kind == layer.operator);
        let Some((kind, parts)) = known else { continue };
        let blob = |index: usize| format!("{}.{index}", layer.name);
        let mut blobs = Vec::with_capacity(parts.len());
        for (index, part) in parts.iter().enumerate() {
            if let Some(array) = tensors.remove(&blob(index)) {
                blobs.push((*part, array));
            }
        }
        let factor = blobs.iter().position(|(part, _)| *part == FACTOR);
        let factor = factor.map(|at| blobs.remove(at).1.into_values());
        // Caffe: statistics of a layer that saw no batch are 0.
        let factor = factor.map(|values| match values.first() {
            Some(0.0) | None => 0.0,
            Some(factor) => 1.0 / factor,
        });
        for (part, array) in blobs {
            let statistic = ["mean", "variance"].contains(&part);
            let array = match factor.filter(|_| statistic) {
                Some(factor) => scaled(array, factor),
                None => array,
            };
            let array = match (*kind, part) {
                ("Convolution", "weight") => array,
                ("InnerProduct", "weight") => squeezed(array),
                _ => flat(array),
            };
            tensors.insert(format!("{}.{part}", layer.name), array);
        }
    }
    tensors
}

fn scaled(array: Array, factor: f32) -> Array {
    let shape = array.shape.clone();
    let values = array.into_values().iter().map(|v| v * factor).collect();
    Array::new(shape, values)
}

/// `[1, C, 1, 1]` and the like as `[C]`.
fn flat(array: Array) -> Array {
    let shape = vec![array.shape.iter().product()];
    Array { shape, ..array }
}

/// `[1, 1, classes, channels]` as `[classes, channels]`.
fn squeezed(array: Array) -> Array {
    let ones = array.shape.iter().take_while(|d| **d == 1).count();
    let keep = ones.min(array.shape.len().saturating_sub(2));
    let shape = array.shape[keep..].to_vec();
    Array { shape, ..array }
}
