//! Tests of pooling against the reference implementation, and of its border rules.

use super::common::*;
use bn_inception_kernels::*;
use proptest::prelude::*;

fn check_all(s: &Pool2dShape, x: &[f32]) {
    let n = s.output_len();
    let (mut y, mut indices) = (vec![0.0; n], vec![u32::MAX; n]);
    max_pool2d(s, x, &mut y, &mut indices).unwrap();
    let (expected, expected_indices) = reference::max_pool2d(s, x);
    assert_eq!(bits(&y), bits(&expected), "max of {s:?}");
    assert_eq!(indices, expected_indices, "indices of {s:?}");
    let dy = random(n, 9);
    let mut dx = vec![f32::NAN; s.input_len()];
    max_pool2d_backward(s, &dy, &indices, &mut dx).unwrap();
    assert_close(&format!("max gradient of {s:?}"), &dx, &reference::max_pool2d_backward(s, &dy, &indices), 1e-6);
    let x: Vec<f32> = x.iter().map(|v| if v.is_finite() { *v } else { 1.0 }).collect();
    for include in [false, true] {
        avg_pool2d(s, include, &x, &mut y).unwrap();
        assert_close(&format!("average of {s:?} {include}"), &y, &reference::avg_pool2d(s, include, &x), 1e-6);
        avg_pool2d_backward(s, include, &dy, &mut dx).unwrap();
        assert_close(
            &format!("average gradient of {s:?} {include}"),
            &dx,
            &reference::avg_pool2d_backward(s, include, &dy),
            1e-6,
        );
    }
}

#[test]
fn the_pools_of_the_network_match_the_reference() {
    for size in [1, 2, 4, 7, 8, 14, 28, 33] {
        for (kernel, stride, padding) in
            [(3, 2, [0; 4]), (3, 2, [1; 4]), (3, 1, [1; 4]), (3, 2, [0, 0, 1, 1]), (1, 1, [0; 4])]
        {
            for ceil in [false, true] {
                if let Ok(s) = Pool2dShape::new([3, 2, size, size], [kernel; 2], [stride; 2], padding, ceil) {
                    check_all(&s, &random(s.input_len(), 1));
                    check_all(&s, &integers(s.input_len(), 2)); // ties
                }
            }
        }
    }
}

#[test]
fn output_extents_follow_the_ceil_rule() {
    for (size, padding, ceil, expected) in [
        (112, [0; 4], true, 56),
        (112, [0; 4], false, 55),
        (112, [1; 4], false, 56),
        (7, [0; 4], true, 3),
        // Rounding up would give 3, but the third window would start in the trailing padding.
        (4, [1; 4], true, 3),
        (3, [1; 4], true, 2),
    ] {
        let s = Pool2dShape::new([1, 1, size, size], [3, 3], [2, 2], padding, ceil).unwrap();
        assert_eq!((s.out_height(), s.out_width()), (expected, expected), "{size} {padding:?} {ceil}");
    }
}

#[test]
fn padding_is_minus_infinity_to_the_maximum_and_optional_to_the_average() {
    let s = Pool2dShape::new([1, 1, 2, 2], [3, 3], [1, 1], [1; 4], false).unwrap();
    let x = [-1.0, -2.0, -3.0, -4.0];
    let (mut y, mut indices) = ([0.0; 4], [9; 4]);
    max_pool2d(&s, &x, &mut y, &mut indices).unwrap();
    assert_eq!((y, indices), ([-1.0; 4], [0; 4]));
    avg_pool2d(&s, false, &x, &mut y).unwrap();
    assert_eq!(y, [-2.5; 4]);
    avg_pool2d(&s, true, &x, &mut y).unwrap();
    assert_eq!(y, [-10.0 / 9.0; 4]);
}

#[test]
fn nan_and_minus_infinity_reach_the_maximum() {
    let s = Pool2dShape::new([1, 1, 3, 6], [3, 3], [3, 3], [0; 4], false).unwrap();
    let mut x = vec![f32::NEG_INFINITY; 18];
    let (mut y, mut indices) = ([0.0; 2], [9; 2]);
    max_pool2d(&s, &x, &mut y, &mut indices).unwrap();
    assert_eq!((y, indices), ([f32::NEG_INFINITY; 2], [0, 3]));
    (x[1], x[3], x[13]) = (f32::NAN, 5.0, f32::INFINITY);
    max_pool2d(&s, &x, &mut y, &mut indices).unwrap();
    assert!(y[0].is_nan() && indices == [1, 3] && y[1] == 5.0);
    check_all(&s, &x);
}

#[test]
fn results_do_not_depend_on_the_thread_count() {
    let s = Pool2dShape::new([4, 5, 15, 14], [3, 3], [2, 2], [0; 4], true).unwrap();
    let (x, dy) = (random(s.input_len(), 1), random(s.output_len(), 2));
    assert_same_on_all_pools(|| {
        let (mut y, mut indices, mut dx) = (vec![0.0; dy.len()], vec![0; dy.len()], vec![0.0; x.len()]);
        max_pool2d(&s, &x, &mut y, &mut indices).unwrap();
        max_pool2d_backward(&s, &dy, &indices, &mut dx).unwrap();
        let max = [bits(&y), indices, bits(&dx)];
        avg_pool2d(&s, true, &x, &mut y).unwrap();
        avg_pool2d_backward(&s, true, &dy, &mut dx).unwrap();
        (max, [bits(&y), bits(&dx)])
    });
}

#[test]
fn wrong_input_is_named() {
    let s = Pool2dShape::new([1, 2, 4, 4], [2, 2], [2, 2], [0; 4], false).unwrap();
    let (x, y, short, i) = (vec![0.0; 32], vec![0.0; 8], vec![0.0; 3], vec![0; 8]);
    let expect = |result: Result<(), ShapeError>, buffer, expected| {
        assert_eq!(result, Err(ShapeError::Length { buffer, expected, found: 3 }));
    };
    expect(max_pool2d(&s, &short, &mut y.clone(), &mut i.clone()), "x", 32);
    expect(max_pool2d(&s, &x, &mut short.clone(), &mut i.clone()), "y", 8);
    expect(max_pool2d(&s, &x, &mut y.clone(), &mut [0; 3]), "indices", 8);
    expect(max_pool2d_backward(&s, &short, &i, &mut x.clone()), "dy", 8);
    expect(max_pool2d_backward(&s, &y, &[0; 3], &mut x.clone()), "indices", 8);
    expect(max_pool2d_backward(&s, &y, &i, &mut short.clone()), "dx", 32);
    expect(avg_pool2d(&s, true, &short, &mut y.clone()), "x", 32);
    expect(avg_pool2d(&s, true, &x, &mut short.clone()), "y", 8);
    expect(avg_pool2d_backward(&s, true, &short, &mut x.clone()), "dy", 8);
    expect(avg_pool2d_backward(&s, true, &y, &mut short.clone()), "dx", 32);
    let mut bad = i.clone();
    bad[5] = 16;
    let error = ShapeError::Index { position: 5, index: 16, plane: 16 };
    assert_eq!(max_pool2d_backward(&s, &y, &bad, &mut x.clone()), Err(error));
    assert_eq!(
        Pool2dShape::new([1, 1, 4, 4], [2, 2], [1, 1], [0, 2, 0, 0], false),
        Err(ShapeError::PaddingTooLarge { axis: "width", padding: 2, kernel: 2 })
    );
    assert_eq!(
        Pool2dShape::new([1, 1, 4, 2], [3, 3], [1, 1], [0; 4], false),
        Err(ShapeError::KernelTooLarge { axis: "width", kernel: 3, padded: 2 })
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape_matches_the_reference(
        planes in 1usize..4, size in [1usize..20, 1usize..40], kernel in [1usize..6, 1usize..6], stride in [1usize..5, 1usize..5],
        padding in [0usize..5, 0usize..5, 0usize..5, 0usize..5], ceil in any::<bool>(), seed in any::<u64>(),
    ) {
        if let Ok(s) = Pool2dShape::new([planes, 1, size[0], size[1]], kernel, stride, padding, ceil) {
            check_all(&s, &integers(s.input_len(), seed));
        }
    }
}
