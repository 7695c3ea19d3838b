//! Tests of the convolution passes against the reference implementation.

use super::common::*;
use bn_inception_kernels::*;
use proptest::prelude::*;

/// Input, output channels, kernel, stride, padding, groups.
type Row = ([usize; 4], usize, [usize; 2], [usize; 2], [usize; 4], usize);

const SHAPES: &[Row] = &[
    ([1, 1, 1, 1], 1, [1, 1], [1, 1], [0; 4], 1),
    ([1, 1, 5, 5], 1, [3, 3], [1, 1], [1; 4], 1),
    ([2, 3, 7, 9], 5, [3, 3], [1, 1], [1; 4], 1),
    ([3, 5, 8, 8], 7, [3, 3], [2, 2], [1; 4], 1),
    // TensorFlow's "same" with stride 2: nothing before, one after.
    ([2, 4, 8, 8], 6, [3, 3], [2, 2], [0, 0, 1, 1], 1),
    ([4, 3, 16, 16], 8, [7, 7], [2, 2], [3; 4], 1),
    ([2, 3, 17, 13], 8, [7, 7], [2, 2], [2, 2, 3, 3], 1),
    // The separable stem: depth multiplier 8.
    ([2, 3, 17, 16], 24, [7, 7], [2, 2], [3; 4], 3),
    ([2, 8, 6, 5], 12, [3, 3], [1, 1], [1; 4], 4),
    // Pointwise, also with stride and padding.
    ([9, 17, 7, 7], 19, [1, 1], [1, 1], [0; 4], 1),
    ([3, 6, 9, 8], 4, [1, 1], [2, 2], [0; 4], 1),
    ([2, 3, 4, 4], 4, [1, 1], [1, 1], [1; 4], 1),
    // Strides larger than the kernel leave input pixels without gradient.
    ([2, 3, 11, 10], 4, [2, 2], [3, 4], [0, 1, 2, 0], 1),
    // Large padding, wide and tall kernels, windows outside of the input.
    ([2, 2, 3, 3], 3, [5, 5], [1, 1], [4, 4, 4, 4], 1),
    ([1, 2, 6, 30], 3, [1, 7], [1, 2], [0, 3, 0, 3], 1),
    ([1, 2, 30, 6], 3, [7, 1], [2, 1], [3, 0, 3, 0], 1),
    ([1, 2, 3, 500], 3, [3, 3], [1, 1], [1; 4], 1),
    // More matrix rows than an unrolled block, more outputs than a copied block, several runs.
    ([5, 70, 4, 4], 66, [3, 3], [1, 1], [1; 4], 1),
    ([7, 100, 7, 7], 40, [3, 3], [2, 2], [1; 4], 1),
    ([8, 16, 28, 28], 24, [3, 3], [1, 1], [1; 4], 1),
    ([6, 40, 14, 14], 70, [1, 1], [1, 1], [0; 4], 1),
];

fn shape(&(input, out_channels, kernel, stride, padding, groups): &Row) -> Conv2dShape {
    Conv2dShape::new(input, out_channels, kernel, stride, padding, groups).unwrap()
}

/// Results and expected results of all passes; outputs are initialised with NaN, which reveals elements not written.
fn passes(s: &Conv2dShape, make: fn(usize, u64) -> Vec<f32>) -> [(&'static str, Vec<f32>, Vec<f64>); 3] {
    let (x, w, dy) = (make(s.input_len(), 1), make(s.weight_len(), 2), make(s.output_len(), 3));
    let nan = |n: usize| vec![f32::NAN; n];
    let (mut y, mut dx, mut dw) = (nan(s.output_len()), nan(s.input_len()), nan(s.weight_len()));
    conv2d(s, &x, &w, &mut y).unwrap();
    conv2d_backward_input(s, &w, &dy, &mut dx).unwrap();
    conv2d_backward_weight(s, &x, &dy, &mut dw).unwrap();
    [
        ("y", y, reference::conv2d(s, &x, &w)),
        ("dx", dx, reference::conv2d_backward_input(s, &w, &dy)),
        ("dw", dw, reference::conv2d_backward_weight(s, &x, &dy)),
    ]
}

#[test]
fn random_inputs_are_close() {
    for row in SHAPES {
        for (what, found, expected) in passes(&shape(row), random) {
            assert_close(&format!("{what} of {row:?}"), &found, &expected, 1e-6);
        }
    }
}

#[test]
fn small_integers_are_exact() {
    for row in SHAPES {
        for (what, found, expected) in passes(&shape(row), integers) {
            let found: Vec<f64> = found.into_iter().map(f64::from).collect();
            assert!(found == expected, "{what} of {row:?} is not exact");
        }
    }
}

#[test]
fn every_layer_of_the_half_width_network_is_close() {
    // Map, in, out, kernel, stride of the distinct layer kinds, at batch 2.
    for (map, ic, oc, k, stride) in
        [(64, 3, 32, 7, 2), (32, 32, 96, 3, 1), (16, 160, 32, 1, 1), (8, 96, 128, 3, 2), (4, 96, 112, 3, 1)]
    {
        let row = ([2, ic, map, map], oc, [k, k], [stride; 2], [k / 2; 4], 1);
        for (what, found, expected) in passes(&shape(&row), random) {
            assert_close(&format!("{what} of {row:?}"), &found, &expected, 1e-6);
        }
    }
}

#[test]
fn results_do_not_depend_on_the_thread_count() {
    for row in SHAPES {
        let s = shape(row);
        let (x, w, dy) = (random(s.input_len(), 1), random(s.weight_len(), 2), random(s.output_len(), 3));
        assert_same_on_all_pools(|| {
            let (mut y, mut dx, mut dw) =
                (vec![0.0; s.output_len()], vec![0.0; s.input_len()], vec![0.0; s.weight_len()]);
            conv2d(&s, &x, &w, &mut y).unwrap();
            conv2d_backward_input(&s, &w, &dy, &mut dx).unwrap();
            conv2d_backward_weight(&s, &x, &dy, &mut dw).unwrap();
            [bits(&y), bits(&dx), bits(&dw)]
        });
    }
}

#[test]
fn batches_of_one_to_nine_agree_with_single_images() {
    for batch in 1..=9 {
        let row = ([batch, 6, 5, 7], 10, [3, 3], [1, 1], [1; 4], 1);
        for (what, found, expected) in passes(&shape(&row), random) {
            assert_close(&format!("{what} at batch {batch}"), &found, &expected, 1e-6);
        }
    }
}

#[test]
fn wrong_lengths_are_named() {
    let s = shape(&([2, 4, 5, 5], 6, [3, 3], [1, 1], [1; 4], 2));
    let (x, w, y) = (vec![0.0; 200], vec![0.0; 108], vec![0.0; 300]);
    let short = vec![0.0; 5];
    let expect = |result: Result<(), ShapeError>, buffer, expected| {
        assert_eq!(result, Err(ShapeError::Length { buffer, expected, found: 5 }));
    };
    expect(conv2d(&s, &short, &w, &mut y.clone()), "x", 200);
    expect(conv2d(&s, &x, &short, &mut y.clone()), "weight", 108);
    expect(conv2d(&s, &x, &w, &mut short.clone()), "y", 300);
    expect(conv2d_backward_input(&s, &short, &y, &mut x.clone()), "weight", 108);
    expect(conv2d_backward_input(&s, &w, &short, &mut x.clone()), "dy", 300);
    expect(conv2d_backward_input(&s, &w, &y, &mut short.clone()), "dx", 200);
    expect(conv2d_backward_weight(&s, &short, &y, &mut w.clone()), "x", 200);
    expect(conv2d_backward_weight(&s, &x, &short, &mut w.clone()), "dy", 300);
    expect(conv2d_backward_weight(&s, &x, &y, &mut short.clone()), "dw", 108);
}

#[test]
fn impossible_shapes_are_refused() {
    let new = Conv2dShape::new;
    assert_eq!(new([0, 1, 1, 1], 1, [1, 1], [1, 1], [0; 4], 1), Err(ShapeError::Zero { what: "batch" }));
    assert_eq!(new([1, 1, 1, 1], 1, [1, 1], [1, 0], [0; 4], 1), Err(ShapeError::Zero { what: "stride width" }));
    assert_eq!(new([1, 1, 1, 1], 1, [1, 1], [1, 1], [0; 4], 0), Err(ShapeError::Zero { what: "groups" }));
    assert_eq!(
        new([1, 1, 3, 5], 1, [5, 5], [1, 1], [1, 0, 0, 0], 1),
        Err(ShapeError::KernelTooLarge { axis: "height", kernel: 5, padded: 4 })
    );
    assert_eq!(
        new([1, 4, 3, 3], 6, [1, 1], [1, 1], [0; 4], 4),
        Err(ShapeError::Groups { what: "output channels", channels: 6, groups: 4 })
    );
    for input in [[usize::MAX, 2, 2, 2], [1 << 20, 1 << 20, 1 << 20, 1 << 20]] {
        assert_eq!(new(input, 1, [1, 1], [1, 1], [0; 4], 1), Err(ShapeError::Overflow { what: "input" }));
    }
    assert_eq!(
        new([1, 1, 1, 1], 1, [1, 1], [1, 1], [usize::MAX, 0, 1, 0], 1),
        Err(ShapeError::Overflow { what: "padded input" })
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape_is_exact_on_integers(
        batch in 1usize..6, groups in 1usize..4, ic in 1usize..10, oc in 1usize..20, height in 1usize..20, width in 1usize..40,
        kernel in [1usize..6, 1usize..6], stride in [1usize..4, 1usize..4], padding in [0usize..4, 0usize..4, 0usize..4, 0usize..4],
    ) {
        let input = [batch, ic * groups, height, width];
        let Ok(s) = Conv2dShape::new(input, oc * groups, kernel, stride, padding, groups) else {
            return Ok(());
        };
        for (what, found, expected) in passes(&s, integers) {
            let found: Vec<f64> = found.into_iter().map(f64::from).collect();
            prop_assert!(found == expected, "{} is not exact", what);
        }
    }
}
