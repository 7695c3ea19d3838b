//! Parity fixtures, lively weights, comparison of tensors, and tests whose requirements are missing.

#![cfg_attr(not(feature = "flex"), allow(dead_code))] // without Flex, `parity` is all there is

use std::io::Write as _;
use std::path::PathBuf;

use bn_inception::{Model, State, TensorRole};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use serde_json::Value;

pub struct Fixture {
    bytes: Vec<u8>,
    pub json: Value,
}

impl Fixture {
    pub fn open(name: &str) -> Self {
        let file = |extension| {
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity");
            std::fs::read(folder.join(name).with_extension(extension)).unwrap()
        };
        Self { bytes: file("safetensors"), json: serde_json::from_slice(&file("json")).unwrap() }
    }

    pub fn values(&self, name: &str) -> Vec<f32> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap();
        let words = view.data().chunks_exact(4);
        words.map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
    }

    pub fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let shape = file.tensor(name).unwrap().shape().to_vec();
        Tensor::from_data(TensorData::new(self.values(name), shape), device)
    }
}

pub fn host<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().iter::<f32>().collect()
}

/// ‖a − b‖ / ‖b‖, NaN if both are zero.
pub fn relative(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    difference / norm(&mut b.iter().map(|b| f64::from(*b)))
}

pub fn assert_close(what: &str, a: &[f32], b: &[f32], bound: f64) {
    let error = if a == b { 0.0 } else { relative(a, b) };
    assert!(error <= bound, "{what}: relative difference {error:.2e}, allowed {bound:.0e}");
}

/// The formula of the fixtures' README: element `i` of the tensor called `name`, in [-1, 1).
pub fn formula(name: &str, len: usize) -> impl Iterator<Item = f32> {
    let seed = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (1..=len as u64).map(move |i| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f32 / 8_388_608.0 - 1.0
    })
}

/// Values in [-1, 1) that differ between names: statistics and shifts that are not 0 and 1, so that a tensor that is
/// left out shows.
pub fn lively(model: &Model) -> State {
    let mut state = model.state();
    for (seed, (name, data)) in state.iter_mut().enumerate() {
        if TensorRole::of(name) == TensorRole::Weight {
            continue;
        }
        let shape = data.shape().to_vec();
        let wave = |i: usize| ((i * 7 + seed * 13) as f32 * 0.61).sin();
        let around = |centre: f32, spread: f32| (0..shape[0]).map(|i| centre + spread * wave(i)).collect::<Vec<_>>();
        let values = match name.rsplit('.').next().unwrap() {
            "running_var" => around(1.0, 0.6),
            "gamma" => around(1.0, 0.4),
            _ => around(0.0, 0.2),
        };
        *data = TensorData::new(values, shape);
    }
    state
}

/// Says on standard error that a test is skipped for want of `requirement`, or fails it if `BN_INCEPTION_REQUIRE`, a
/// comma-separated list, names the requirement.
pub fn missing(requirement: &str, why: &str) {
    let required = std::env::var("BN_INCEPTION_REQUIRE").unwrap_or_default();
    let required = required.split(',').any(|name| name.trim() == requirement);
    assert!(!required, "BN_INCEPTION_REQUIRE demands {requirement}: {why}");
    // Not `eprintln!`, which the test harness captures when a test passes.
    let _ = writeln!(std::io::stderr(), "skipped: no {requirement}: {why}");
}
