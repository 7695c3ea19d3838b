//! The pass over all values of a network that takes an optimizer step and updates their average.

use std::ops::Range;

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::flat::{Buffer, CHUNK};

/// The constants of a step, the same for all values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rule {
    /// Factor of the gradients.
    pub scale: f64,
    pub momentum: f64,
    pub nesterov: bool,
    /// Share of the average that stays.
    pub keep: f64,
}

/// Neighbouring values that are treated alike.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub range: Range<usize>,
    /// Place of their gradients; values without them stay.
    pub gradients: Option<Range<usize>>,
    /// Learning rate.
    pub rate: f64,
    /// L2 coefficient.
    pub decay: f64,
    /// True if their average is updated.
    pub averaged: bool,
}

impl Part {
    /// Takes over the values of `next` if they follow these, and are treated alike.
    pub(super) fn extend(&mut self, next: &Self) -> bool {
        let follows = match (&self.gradients, &next.gradients) {
            (Some(own), Some(next)) => own.end == next.start,
            (None, None) => true,
            _ => false,
        };
        let alike = (self.rate, self.decay, self.averaged) == (next.rate, next.decay, next.averaged);
        if !follows || !alike || self.range.end != next.range.start {
            return false;
        }
        self.range.end = next.range.end;
        if let (Some(own), Some(next)) = (&mut self.gradients, &next.gradients) {
            own.end = next.end;
        }
        true
    }
}

/// Updates `values`, their `velocity` (with momentum) and their `average` (if there is one). The `parts` cover all
/// values, in order.
///
/// In memory this is one parallel pass. On a device it is a few tensor operations for each part, with the same bits
/// where the device's arithmetic is IEEE's.
pub(super) fn update(
    rule: Rule,
    parts: &[Part],
    values: &mut Buffer,
    gradients: &mut Buffer,
    velocity: Option<&mut Buffer>,
    average: Option<&mut Buffer>,
) {
    match values {
        Buffer::Host(values) => {
            let velocity = velocity.map(Buffer::host).unwrap_or_default();
            let average = average.map(Buffer::host).unwrap_or_default();
            in_memory(rule, parts, values, gradients.host(), velocity, average);
        }
        Buffer::Device(values) => {
            let device = values.device();
            let velocity = velocity.map(|velocity| velocity.on(&device));
            let average = average.map(|average| average.on(&device));
            on_device(rule, parts, values, gradients.on(&device), velocity, average);
        }
    }
}

/// Up to [`CHUNK`] values of a part.
struct Chunk<'a> {
    part: &'a Part,
    values: &'a mut [f32],
    /// Empty if the values stay.
    gradients: &'a [f32],
    /// Empty without momentum.
    velocity: &'a mut [f32],
    /// Empty without an average.
    average: &'a mut [f32],
}

fn in_memory(
    rule: Rule,
    parts: &[Part],
    mut values: &mut [f32],
    gradients: &[f32],
    mut velocity: &mut [f32],
    mut average: &mut [f32],
) {
    let mut chunks = Vec::new();
    for part in parts {
        for start in part.range.clone().step_by(CHUNK) {
            let length = CHUNK.min(part.range.end - start);
            let first = start - part.range.start;
            let own = |range: &Range<usize>| &gradients[range.clone()][first..first + length];
            chunks.push(Chunk {
                part,
                values: values.split_off_mut(..length).unwrap_or_default(),
                gradients: part.gradients.as_ref().map(own).unwrap_or_default(),
                velocity: velocity.split_off_mut(..length).unwrap_or_default(),
                average: average.split_off_mut(..length).unwrap_or_default(),
            });
        }
    }
    chunks.into_par_iter().for_each(|chunk| chunk.update(rule));
}

impl Chunk<'_> {
    fn update(self, rule: Rule) {
        let Self { part, values, gradients, velocity, average } = self;
        let (scale, momentum) = (rule.scale as f32, rule.momentum as f32);
        let (rate, decay) = (part.rate as f32, part.decay as f32);
        let gradient = |gradient: f32, value: f32| {
            let scaled = gradient * scale;
            if decay == 0.0 { scaled } else { scaled + value * decay }
        };
        if velocity.is_empty() {
            for (value, slope) in values.iter_mut().zip(gradients) {
                *value -= gradient(*slope, *value) * rate;
            }
        } else {
            for ((value, slope), velocity) in values.iter_mut().zip(gradients).zip(velocity) {
                let gradient = gradient(*slope, *value);
                *velocity = *velocity * momentum + gradient;
                let step = if rule.nesterov { gradient + *velocity * momentum } else { *velocity };
                *value -= step * rate;
            }
        }
        if part.averaged {
            let (keep, add) = (rule.keep as f32, (1.0 - rule.keep) as f32);
            for (average, value) in average.iter_mut().zip(values) {
                *average = *average * keep + *value * add;
            }
        }
    }
}

fn on_device(
    rule: Rule,
    parts: &[Part],
    values: &mut Tensor<1>,
    gradients: &Tensor<1>,
    velocity: Option<&mut Tensor<1>>,
    average: Option<&mut Tensor<1>>,
) {
    let (mut new_values, mut new_velocity, mut new_average) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        let own = |tensor: &Tensor<1>| tensor.clone().slice([part.range.clone()]);
        let mut value = own(values);
        let mut speed = velocity.as_deref().map(own);
        if let Some(range) = &part.gradients {
            let mut gradient = gradients.clone().slice([range.clone()]).mul_scalar(rule.scale);
            if part.decay != 0.0 {
                gradient = gradient + value.clone().mul_scalar(part.decay);
            }
            let step = match speed.take() {
                None => gradient,
                Some(old) => {
                    let new = old.mul_scalar(rule.momentum) + gradient.clone();
                    speed = Some(new.clone());
                    if rule.nesterov { gradient + new.mul_scalar(rule.momentum) } else { new }
                }
            };
            value = value - step.mul_scalar(part.rate);
        }
        if let Some(average) = average.as_deref().map(own) {
            new_average.push(match part.averaged {
                true => average.mul_scalar(rule.keep) + value.clone().mul_scalar(1.0 - rule.keep),
                false => average,
            });
        }
        new_velocity.extend(speed);
        new_values.push(value);
    }
    *values = Tensor::cat(new_values, 0);
    if let Some(velocity) = velocity {
        *velocity = Tensor::cat(new_velocity, 0);
    }
    if let Some(average) = average {
        *average = Tensor::cat(new_average, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use rand_xoshiro::SplitMix64;
    use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

    const SIZE: usize = 5 * CHUNK / 2;

    /// Numbers of many magnitudes and both signs, some of them zero.
    fn numbers(seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::seed_from_u64(seed);
        let number = |bits: u64| {
            let magnitude = 10_f32.powi((bits >> 32) as i32 % 5 - 4);
            if bits.is_multiple_of(97) { -0.0 } else { magnitude * (bits as u32 as i32 as f32) / i32::MAX as f32 }
        };
        (0..SIZE).map(|_| number(random.next_u64())).collect()
    }

    /// Filters, a part that is frozen, one with a rate of its own, and one without gradients.
    fn parts() -> [Part; 4] {
        let (a, b, c) = (CHUNK + 100, CHUNK + 103, 2 * CHUNK);
        let part = |range: Range<usize>, gradients| Part { range, gradients, rate: 0.1, decay: 0.0, averaged: true };
        [
            Part { decay: 5e-4, ..part(0..a, Some(0..a)) },
            Part { averaged: false, ..part(a..b, None) },
            Part { rate: 0.003, ..part(b..c, Some(a..a + c - b)) },
            part(c..SIZE, None),
        ]
    }

    type State = [Vec<f32>; 3];

    fn three_steps(rule: Rule, with: [bool; 2], make: fn(Vec<f32>) -> Buffer) -> State {
        let mut values = make(numbers(1));
        let mut velocity = make(vec![-0.0; SIZE]);
        let mut average = make(numbers(2));
        for step in 3..6 {
            let mut gradients = make(numbers(step));
            let velocity = with[0].then_some(&mut velocity);
            let average = with[1].then_some(&mut average);
            update(rule, &parts(), &mut values, &mut gradients, velocity, average);
        }
        [values, velocity, average].map(|mut buffer| buffer.host().to_vec())
    }

    fn on_flex(values: Vec<f32>) -> Buffer {
        Buffer::Device(Box::new(Tensor::from_data(values.as_slice(), &Device::flex())))
    }

    #[test]
    fn one_pass_in_memory_has_the_bits_of_separate_tensor_operations() {
        let bits = |state: State| state.map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>());
        for nesterov in [false, true] {
            for with in [[true, true], [true, false], [false, true]] {
                for scale in [1.0, 0.37] {
                    let rule = Rule { scale, momentum: 0.9, nesterov, keep: 0.998 };
                    let expected = bits(three_steps(rule, with, on_flex));
                    let found = bits(three_steps(rule, with, Buffer::Host));
                    assert!(found == expected, "{rule:?} {with:?}");
                    assert!(found[0] != bits([numbers(1), vec![], vec![]])[0]);
                }
            }
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let rule = Rule { scale: 0.37, momentum: 0.9, nesterov: true, keep: 0.998 };
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| three_steps(rule, [true, true], Buffer::Host))
        };
        assert!(with(1) == with(5));
    }

    #[test]
    fn what_stays_keeps_its_bits() {
        let rule = Rule { scale: 1.0, momentum: 0.9, nesterov: true, keep: 0.998 };
        let [values, velocity, average] = three_steps(rule, [true, true], Buffer::Host);
        let frozen = parts()[1].range.clone();
        assert_eq!(values[frozen.clone()], numbers(1)[frozen.clone()]);
        assert_eq!(average[frozen.clone()], numbers(2)[frozen.clone()]);
        assert!(velocity[frozen].iter().all(|value| value.to_bits() == (-0.0_f32).to_bits()));
        let statistics = parts()[3].range.clone();
        assert_eq!(values[statistics.clone()], numbers(1)[statistics.clone()]);
        assert_ne!(average[statistics.clone()], numbers(2)[statistics]);
    }

    #[test]
    fn parts_are_joined_only_if_alike_and_side_by_side() {
        let part = |range: Range<usize>, gradients| Part { range, gradients, rate: 0.1, decay: 0.0, averaged: true };
        let mut joined = part(0..3, Some(5..8));
        assert!(joined.extend(&part(3..4, Some(8..9))));
        assert_eq!(joined, part(0..4, Some(5..9)));
        let others = [
            part(4..5, None),
            part(4..5, Some(10..11)),
            Part { decay: 0.1, ..part(4..5, Some(9..10)) },
            part(5..6, Some(9..10)),
        ];
        for other in others {
            assert!(!joined.extend(&other), "{other:?}");
        }
    }
}
