//! Orthogonal updates of convolution filters.
//!
//! Muon (Jordan et al. 2024, *Muon: An optimizer for hidden layers in neural networks*) replaces the momentum of a
//! matrix by the nearest matrix whose singular values are all 1, so that a step turns every direction of a layer alike,
//! not only the few that dominate its gradient. A layer's filters are the matrix `[out_channels, in_channels · k · k]`.
//!
//! As in that author's runs on CIFAR-10 (*airbench*), three Newton–Schulz iterations approximate the nearest orthogonal
//! matrix (the singular values end between about 0.7 and 1.2), and before each step the filters are scaled to a root
//! mean square norm of 1. The batch normalisation after them makes the network invariant to their scale, so this
//! changes nothing but what a learning rate means: about the angle, in radians, that a step turns a layer by. L2
//! regularisation has no place then.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use super::flat::Buffer;

/// Coefficients of an iteration, `a·X + b·(X·Xᵀ)·X + c·(X·Xᵀ)²·X`, which raises small singular values fast.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];
const ITERATIONS: usize = 3;

/// Smallest norm that is divided by.
const TINY: f32 = 1e-12;

/// The filters of one convolution in the flat buffers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filters {
    pub range: Range<usize>,
    /// Place of their gradients.
    pub gradients: Range<usize>,
    /// Number of output channels.
    pub rows: usize,
    /// Learning rate.
    pub rate: f64,
}

impl Filters {
    fn shape(&self) -> [usize; 2] {
        [self.rows, self.range.len() / self.rows.max(1)]
    }
}

/// The constants of a step, the same for all filters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Factors {
    /// Factor of the gradients.
    pub scale: f64,
    pub momentum: f64,
}

/// Takes one step of all `filters`, which are in the order of the buffers: values, gradients, velocity. `device`
/// computes the matrix products of what is in memory.
pub(super) fn update(filters: &[Filters], factors: Factors, buffers: [&mut Buffer; 3], device: &Device) {
    let [values, gradients, velocity] = buffers;
    match values {
        Buffer::Host(values) => in_memory(filters, factors, values, gradients.host(), velocity.host(), device),
        Buffer::Device(values) => {
            let own = values.device();
            on_device(filters, factors, values, gradients.on(&own), velocity.on(&own));
        }
    }
}

fn in_memory(
    filters: &[Filters],
    factors: Factors,
    mut values: &mut [f32],
    gradients: &[f32],
    mut velocity: &mut [f32],
    device: &Device,
) {
    let (scale, momentum) = (factors.scale as f32, factors.momentum as f32);
    let mut work = Vec::with_capacity(filters.len());
    let mut end = 0;
    for filters in filters {
        let gap = filters.range.start - end;
        let values = own(&mut values, gap, filters);
        let velocity = own(&mut velocity, gap, filters);
        work.push((filters, values, &gradients[filters.gradients.clone()], velocity));
        end = filters.range.end;
    }
    work.into_par_iter().for_each(|(filters, values, gradients, velocity)| {
        let mut direction = Vec::with_capacity(values.len());
        for (velocity, gradient) in velocity.iter_mut().zip(gradients) {
            let gradient = gradient * scale;
            *velocity = *velocity * momentum + gradient;
            direction.push(gradient + *velocity * momentum);
        }
        let direction = Tensor::from_data(TensorData::new(direction, filters.shape()), device);
        let direction = orthogonal(direction).into_data().convert::<f32>();
        let direction = direction.try_into_vec::<f32>().expect("converted to `f32`");
        let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt().max(TINY);
        let (unit, rate) = ((filters.rows as f32).sqrt() / norm, filters.rate as f32);
        for (value, direction) in values.iter_mut().zip(direction) {
            *value = *value * unit - direction * rate;
        }
    });
}

/// The numbers of `filters` at the start of `buffer`, after a gap; the buffer is what follows them.
fn own<'a>(buffer: &mut &'a mut [f32], gap: usize, filters: &Filters) -> &'a mut [f32] {
    let own = buffer.split_off_mut(..gap + filters.range.len()).unwrap_or_default();
    &mut own[gap..]
}

fn on_device(
    filters: &[Filters],
    Factors { scale, momentum }: Factors,
    values: &mut Tensor<1>,
    gradients: &Tensor<1>,
    velocity: &mut Tensor<1>,
) {
    let (old_values, old_velocity) = (values.clone(), velocity.clone());
    let (mut new_values, mut new_velocity) = (Vec::new(), Vec::new());
    let mut end = 0;
    let keep = |range: Range<usize>, values: &mut Vec<Tensor<1>>, velocities: &mut Vec<Tensor<1>>| {
        if !range.is_empty() {
            values.push(old_values.clone().slice([range.clone()]));
            velocities.push(old_velocity.clone().slice([range]));
        }
    };
    for filters in filters {
        let range = || [filters.range.clone()];
        keep(end..filters.range.start, &mut new_values, &mut new_velocity);
        end = filters.range.end;
        let gradient = gradients.clone().slice([filters.gradients.clone()]).mul_scalar(scale);
        let speed = old_velocity.clone().slice(range()).mul_scalar(momentum) + gradient.clone();
        let direction = gradient + speed.clone().mul_scalar(momentum);
        let direction = orthogonal(direction.reshape(filters.shape())).reshape([filters.range.len()]);
        let value = old_values.clone().slice(range());
        let norm = value.clone().square().sum().sqrt().clamp_min(TINY);
        let unit = norm.recip().mul_scalar((filters.rows as f64).sqrt());
        new_values.push(value * unit - direction.mul_scalar(filters.rate));
        new_velocity.push(speed);
    }
    keep(end..old_values.dims()[0], &mut new_values, &mut new_velocity);
    *values = Tensor::cat(new_values, 0);
    *velocity = Tensor::cat(new_velocity, 0);
}

/// A matrix with nearly the singular vectors of `x` and singular values near 1.
fn orthogonal(x: Tensor<2>) -> Tensor<2> {
    let [rows, columns] = x.dims();
    // The products with its transpose are then the smaller ones.
    let mut x = if rows > columns { x.transpose() } else { x };
    let norm = x.clone().square().sum().sqrt().clamp_min(TINY).reshape([1, 1]);
    x = x / norm;
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..ITERATIONS {
        let square = x.clone().matmul(x.clone().transpose());
        let factor = square.clone().mul_scalar(b) + square.clone().matmul(square).mul_scalar(c);
        x = x.clone().mul_scalar(a) + factor.matmul(x);
    }
    if rows > columns { x.transpose() } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_xoshiro::SplitMix64;
    use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

    /// Numbers in -1 to 1.
    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let mut random = SplitMix64::seed_from_u64(seed);
        (0..count).map(|_| random.next_u64() as u32 as i32 as f32 / i32::MAX as f32).collect()
    }

    fn matrix(values: &[f32], shape: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    }

    #[test]
    fn singular_values_become_nearly_one() {
        for shape in [[5, 40], [40, 5], [1, 9], [12, 12]] {
            let x = orthogonal(matrix(&numbers(3, shape[0] * shape[1]), shape));
            let wide = if shape[0] > shape[1] { x.transpose() } else { x };
            let [rows, _] = wide.dims();
            // For any unit vector v, |vᵀX| lies between the smallest and the largest singular value.
            for seed in 0..20 {
                let v = matrix(&numbers(seed, rows), [1, rows]);
                let v = v.clone() / v.square().sum().sqrt().reshape([1, 1]);
                let found = v.matmul(wide.clone()).square().sum().sqrt().into_scalar::<f32>();
                assert!((0.3..1.3).contains(&found), "{shape:?}: {found}");
            }
        }
    }

    #[test]
    fn an_orthogonal_direction_is_hardly_changed() {
        let mut rotation = vec![0.0; 4 * 6];
        for row in 0..4 {
            rotation[row * 6 + (row + 1)] = if row % 2 == 0 { 1.0 } else { -1.0 };
        }
        let found = orthogonal(matrix(&rotation, [4, 6])).into_data().try_into_vec::<f32>().unwrap();
        for (found, expected) in found.iter().zip(&rotation) {
            assert!((found - expected).abs() < 0.3, "{found} is not {expected}");
        }
    }

    /// A gap, filters, a gap, filters, a gap.
    fn filters() -> [Filters; 2] {
        let filters = |start, gradients, [rows, columns]: [usize; 2], rate| {
            let length = rows * columns;
            Filters { range: start..start + length, gradients: gradients..gradients + length, rows, rate }
        };
        [filters(7, 3, [8, 27], 0.1), filters(240, 219, [16, 8], 0.03)]
    }

    const SIZE: usize = 400;

    /// Values and velocity after three steps.
    fn three_steps(make: fn(Vec<f32>) -> Buffer) -> [Vec<f32>; 2] {
        let mut values = make(numbers(1, SIZE));
        let mut velocity = make(vec![-0.0; SIZE]);
        for step in 0..3 {
            let mut gradients = make(numbers(10 + step, SIZE));
            let factors = Factors { scale: 0.5, momentum: 0.6 };
            update(&filters(), factors, [&mut values, &mut gradients, &mut velocity], &Device::flex());
        }
        [values, velocity].map(|mut buffer| buffer.host().to_vec())
    }

    fn on_flex(values: Vec<f32>) -> Buffer {
        Buffer::Device(Box::new(Tensor::from_data(values.as_slice(), &Device::flex())))
    }

    #[test]
    fn a_step_turns_filters_of_constant_norm_and_nothing_else() {
        let [values, velocity] = three_steps(Buffer::Host);
        let before = numbers(1, SIZE);
        for index in (0..SIZE).filter(|index| !filters().iter().any(|filters| filters.range.contains(index))) {
            assert_eq!(values[index], before[index]);
            assert_eq!(velocity[index].to_bits(), (-0.0_f32).to_bits());
        }
        for filters in filters() {
            let norm = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt();
            let unit = (filters.rows as f32).sqrt();
            let after = norm(&values[filters.range.clone()]) / unit;
            // The step is nearly perpendicular to the filters and of at most their norm times the rate.
            assert!((after - 1.0).abs() < 1.5 * filters.rate as f32, "{after}");
            let start = &before[filters.range.clone()];
            let dot: f32 = values[filters.range.clone()].iter().zip(start).map(|(a, b)| a * b).sum();
            let angle = (dot / (after * unit * norm(start))).acos();
            assert!(angle > filters.rate as f32 && angle < 4.0 * filters.rate as f32, "{angle}");
        }
    }

    #[test]
    fn memory_and_tensors_agree() {
        let (memory, tensors) = (three_steps(Buffer::Host), three_steps(on_flex));
        for (memory, tensors) in memory.iter().flatten().zip(tensors.iter().flatten()) {
            assert!((memory - tensors).abs() < 1e-5, "{memory} is not {tensors}");
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                three_steps(Buffer::Host).map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
            })
        };
        assert!(with(1) == with(3));
    }
}
