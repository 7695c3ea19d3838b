//! The network of section 4.1.

use bn_inception::BatchNorm;
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::mnist::PIXELS;

/// Units of each hidden layer, and digits.
const WIDTHS: [usize; 5] = [PIXELS, UNITS, UNITS, UNITS, 10];

/// Units of a hidden layer.
pub const UNITS: usize = 100;

/// ε added to the variance, and weight of the newest batch in the running statistics (ours).
const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// A fully connected layer, with a batch normalisation before its sigmoid or without.
#[derive(Module, Debug)]
pub struct Hidden {
    linear: Linear,
    norm: Option<BatchNorm>,
}

impl Hidden {
    /// The sigmoids' inputs: `[N, inputs]` → `[N, UNITS]`.
    fn pre_activation(&self, x: Tensor<2>) -> Tensor<2> {
        let z = self.linear.forward(x);
        match &self.norm {
            // One unit is one feature map with a single position.
            Some(norm) => {
                let [images, units] = z.dims();
                let y = norm.forward(z.reshape([images, units, 1, 1]));
                y.reshape([images, units])
            }
            None => z,
        }
    }
}

/// Three hidden layers of sigmoids and a linear output.
#[derive(Module, Debug)]
pub struct Network {
    hidden: Vec<Hidden>,
    output: Linear,
}

impl Network {
    /// A network whose weights are normally distributed with deviation `std` and depend on `seed` alone: the same with
    /// and without batch normalisation. Biases start at 0; a layer before batch normalisation has none (section 3.2).
    pub fn new(batch_norm: bool, std: f64, seed: u64, device: &Device) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut linear = |from: usize, to: usize, biased: bool| {
            let mut draw = || -> f32 { StandardNormal.sample(&mut random) };
            let values: Vec<f32> = (0..from * to).map(|_| std as f32 * draw()).collect();
            let weight = Tensor::from_data(TensorData::new(values, [from, to]), device);
            Linear {
                weight: Param::from_tensor(weight),
                bias: biased.then(|| Param::from_tensor(Tensor::zeros([to], device))),
            }
        };
        let hidden = WIDTHS[..4].windows(2).map(|widths| Hidden {
            linear: linear(widths[0], widths[1], !batch_norm),
            norm: batch_norm.then(|| BatchNorm::new(widths[1], EPSILON, MOMENTUM, true, device)),
        });
        Self { hidden: hidden.collect(), output: linear(WIDTHS[3], WIDTHS[4], true) }
    }

    /// `[N, PIXELS]` → logits `[N, 10]`. On an autodiff device batch normalisation uses the batch's statistics.
    pub fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let x = self.hidden.iter().fold(images, |x, layer| sigmoid(layer.pre_activation(x)));
        self.output.forward(x)
    }

    /// Number of learned values, without the statistics of batch normalisation.
    pub fn parameters(&self) -> usize {
        let normed = self.hidden.iter().filter(|layer| layer.norm.is_some());
        self.num_params() - normed.count() * 2 * UNITS
    }

    /// The sigmoids' inputs in each hidden layer, `[N, UNITS]`.
    pub fn pre_activations(&self, images: Tensor<2>) -> Vec<Tensor<2>> {
        let mut x = images;
        let layers = self.hidden.iter().map(|layer| {
            let z = layer.pre_activation(x.clone());
            x = sigmoid(z.clone());
            z
        });
        layers.collect()
    }
}
