//! Outputs, statistics and gradients against the reference in `f64`.

use super::networks::networks;
use super::{Case, GradientsOf, Operation, Random, Results, STYLES, Style};
use crate::infer::Engine;
use crate::train::reference;

/// Distance of two vectors over the length of the second, or over that of ones if it is shorter than a hundredth of it.
fn distance(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = square(&mut found.iter().zip(expected).map(|(&f, e)| f64::from(f) - e));
    difference / square(&mut expected.iter().copied()).max(0.01 * (expected.len() as f64).sqrt())
}

/// The reference's results for a case.
pub(super) fn expected(case: &Case, style: Style) -> reference::Results {
    let [batch, height, width] = case.size;
    let channels = case.network.channels()[0];
    let dims = [batch, channels, height, width];
    let mut all = reference::run(&case.network, &case.input, dims, &case.parameters(style), &case.output_gradient);
    if case.network.layers[0].operation == Operation::Images {
        // The engine leaves the gradient of images to others.
        all.input_gradient = std::mem::take(&mut all.first_conv_gradient);
    }
    all
}

/// The first result that is farther from the reference's than `gate`.
pub(super) fn wrong(found: &Results, expected: &reference::Results, gate: f64) -> Option<String> {
    let mut all: Vec<(String, &[f32], &[f64])> = vec![("output".to_owned(), &found.output, &expected.output)];
    for ((i, found), [mean, variance]) in found.statistics.iter().enumerate().zip(&expected.statistics) {
        all.push((format!("mean {i}"), &found.mean, mean));
        all.push((format!("variance {i}"), &found.variance, variance));
    }
    for ((i, found), expected) in found.gradients.iter().enumerate().zip(&expected.gradients) {
        all.push((format!("gradient of weight {i}"), &found.weight, &expected.weight));
        all.push((format!("gradient of scale {i}"), &found.scale, &expected.scale));
        all.push((format!("gradient of shift {i}"), &found.shift, &expected.shift));
    }
    if let Some(found) = &found.input_gradient {
        all.push(("gradient of the input".to_owned(), found, &expected.input_gradient));
    }
    let mut distances = all.into_iter().map(|(what, found, expected)| (what, distance(found, expected)));
    distances.find(|(_, d)| d.is_nan() || *d >= gate).map(|(what, d)| format!("{what} {d:.1e}"))
}

/// Distance from another gradient at which the rounding of the engine cannot make a difference.
pub(super) const MARGIN: f64 = 3e-6;

#[test]
fn gradients_are_those_of_the_reference() {
    let mut random = Random(0x9e3779b97f4a7c15);
    for (name, network, sizes) in networks() {
        for (size, style) in sizes.into_iter().flat_map(|size| STYLES.map(|style| (size, style))) {
            let (case, expected) = (0..50)
                .map(|_| Case::new(&network, size, &mut random))
                .map(|case| (expected(&case, style), case))
                .find_map(|(expected, case)| (expected.margin > MARGIN).then_some((case, expected)))
                .unwrap();
            for set in Engine::instruction_sets() {
                let found = case.run(&case.trainer(set, 2), style);
                assert_eq!(wrong(&found, &expected, 1e-4), None, "{name} {} {style:?} {set}", case.name());
            }
        }
    }
}

#[test]
fn a_call_computes_the_gradients_it_is_asked_for() {
    for (name, network, sizes) in networks() {
        let case = Case::new(&network, sizes[0], &mut Random(5));
        let trainer = case.trainer(Engine::instruction_sets()[0], 2);
        let all = case.run(&trainer, Style::Mixed);
        let nothing = case.forward(&trainer, Style::Mixed, GradientsOf::Nothing);
        assert!(nothing.tape.is_none());
        assert_eq!(nothing.output, all.output, "{name}");
        assert_eq!(nothing.statistics, all.statistics, "{name}");
        let some = case.forward(&trainer, Style::Mixed, GradientsOf::Parameters);
        let some = case.backward(&trainer, Style::Mixed, some);
        assert_eq!(some.input_gradient, None);
        assert_eq!(some.gradients, all.gradients, "{name}");
        assert!(all.input_gradient.is_some());
    }
}

/// Without normalisation a NaN stays in its image; statistics of the batch spread it.
#[test]
fn one_nan_makes_the_outputs_of_its_image_or_batch_nan() {
    let (_, network, sizes) = networks().pop().unwrap();
    let mut case = Case::new(&network, sizes[1], &mut Random(11));
    let image = case.input.len() / case.size[0];
    case.input[image + 5] = f32::NAN;
    for set in Engine::instruction_sets() {
        let trainer = case.trainer(set, 2);
        let classes = case.output_gradient.len() / case.size[0];
        let plain = case.forward(&trainer, Style::Plain, GradientsOf::Nothing).output;
        assert!(plain.iter().enumerate().all(|(i, y)| y.is_nan() == (i / classes == 1)), "{set}");
        let found = case.run(&trainer, Style::Normalized);
        assert!(found.output.iter().all(|y| y.is_nan()), "{set}");
        assert!(found.gradients.iter().all(|of| of.weight.iter().all(|g| g.is_nan())), "{set}");
    }
}
