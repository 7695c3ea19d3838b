//! Tests of batch normalisation against the reference implementation and against finite differences.

use super::common::*;
use bn_inception_kernels::*;

const SHAPES: &[[usize; 3]] = &[[1, 1, 2], [2, 3, 1], [4, 5, 7], [3, 2, 16], [9, 4, 49], [8, 33, 196], [2, 1, 5000]];

struct Fixture {
    shape: BatchNormShape,
    x: Vec<f32>,
    dy: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Fixture {
    fn new([batch, channels, spatial]: [usize; 3]) -> Self {
        let shape = BatchNormShape::new(batch, channels, spatial).unwrap();
        let n = shape.tensor_len();
        Self { shape, x: random(n, 1), dy: random(n, 2), gamma: random(channels, 3), beta: random(channels, 4) }
    }

    fn params(&self, relu: bool) -> BatchNormParams<'_> {
        BatchNormParams { gamma: &self.gamma, beta: &self.beta, epsilon: 1e-5, relu }
    }

    /// `y`, `mean`, `var`.
    fn forward(&self, relu: bool) -> [Vec<f32>; 3] {
        let c = self.gamma.len();
        let (mut y, mut mean, mut var) = (vec![f32::NAN; self.x.len()], vec![f32::NAN; c], vec![f32::NAN; c]);
        batch_norm_train(&self.shape, &self.params(relu), &self.x, &mut y, &mut mean, &mut var).unwrap();
        [y, mean, var]
    }

    /// `dx`, `dgamma`, `dbeta`.
    fn backward(&self, relu: bool, mean: &[f32], var: &[f32]) -> [Vec<f32>; 3] {
        let c = self.gamma.len();
        let (mut dx, mut dgamma, mut dbeta) = (vec![f32::NAN; self.x.len()], vec![f32::NAN; c], vec![f32::NAN; c]);
        let out = BatchNormGradients { dx: &mut dx, dgamma: &mut dgamma, dbeta: &mut dbeta };
        batch_norm_train_backward(&self.shape, &self.params(relu), &self.x, mean, var, &self.dy, out).unwrap();
        [dx, dgamma, dbeta]
    }
}

#[test]
fn training_passes_are_close() {
    for &extents in SHAPES {
        let fixture = Fixture::new(extents);
        for relu in [false, true] {
            let [y, mean, var] = fixture.forward(relu);
            let expected = reference::batch_norm_train(&fixture.shape, &fixture.params(relu), &fixture.x);
            assert_close(&format!("mean {extents:?}"), &mean, &expected.mean, 1e-7);
            assert_close(&format!("var {extents:?}"), &var, &expected.var, 1e-7);
            if fixture.shape.values_per_channel() > 2 {
                // With two nearly equal values the rounding of the mean to f32 is as large as their difference.
                assert_close(&format!("y {extents:?} relu {relu}"), &y, &expected.y, 1e-6);
            }
            let [dx, dgamma, dbeta] = fixture.backward(relu, &mean, &var);
            let expected =
                reference::batch_norm_train_backward(&fixture.shape, &fixture.params(relu), &fixture.x, &fixture.dy);
            assert_close(&format!("dbeta {extents:?} relu {relu}"), &dbeta, &expected.dbeta, 1e-6);
            if fixture.shape.values_per_channel() > 2 {
                // With two values the gradient is a difference of nearly equal terms, all of it rounding error.
                assert_close(&format!("dgamma {extents:?} relu {relu}"), &dgamma, &expected.dgamma, 1e-6);
                assert_close(&format!("dx {extents:?} relu {relu}"), &dx, &expected.dx, 1e-6);
            }
        }
    }
}

#[test]
fn statistics_survive_a_large_offset() {
    let mut fixture = Fixture::new([8, 2, 500]);
    fixture.x.iter_mut().for_each(|v| *v = *v * 0.01 + 1000.0);
    let [_, mean, var] = fixture.forward(false);
    let expected = reference::batch_norm_train(&fixture.shape, &fixture.params(false), &fixture.x);
    assert_close("mean", &mean, &expected.mean, 1e-7);
    assert_close("var", &var, &expected.var, 1e-7);
}

#[test]
fn the_gradient_is_the_slope_of_the_loss() {
    // Loss Σ dy · y in f64; central differences of the reference check both reference and kernel.
    let fixture = Fixture::new([3, 2, 5]);
    for relu in [false, true] {
        let [_, mean, var] = fixture.forward(relu);
        let [dx, ..] = fixture.backward(relu, &mean, &var);
        let loss = |x: &[f32]| -> f64 {
            let y = reference::batch_norm_train(&fixture.shape, &fixture.params(relu), x).y;
            y.iter().zip(&fixture.dy).map(|(y, &g)| y * f64::from(g)).sum()
        };
        for i in 0..fixture.x.len() {
            let (mut up, mut down) = (fixture.x.clone(), fixture.x.clone());
            up[i] += 1e-3;
            down[i] -= 1e-3;
            let slope = (loss(&up) - loss(&down)) / f64::from(up[i] - down[i]);
            assert!(
                (slope - f64::from(dx[i])).abs() < 2e-3 * (1.0 + slope.abs()),
                "relu {relu} at {i}: {} against {slope}",
                dx[i]
            );
        }
    }
}

#[test]
fn evaluation_is_close_and_keeps_nan() {
    for &extents in SHAPES {
        let mut fixture = Fixture::new(extents);
        fixture.x[1] = f32::NAN;
        for relu in [false, true] {
            let mut y = vec![0.0; fixture.x.len()];
            batch_norm_eval(&fixture.shape, &fixture.x, &fixture.gamma, &fixture.beta, relu, &mut y).unwrap();
            let mut expected =
                reference::batch_norm_eval(&fixture.shape, &fixture.x, &fixture.gamma, &fixture.beta, relu);
            assert!(y[1].is_nan() && expected[1].is_nan());
            (y[1], expected[1]) = (0.0, 0.0);
            assert_close(&format!("y {extents:?} relu {relu}"), &y, &expected, 1e-6);
        }
    }
}

#[test]
fn results_do_not_depend_on_the_thread_count() {
    let fixture = Fixture::new([8, 33, 196]);
    assert_same_on_all_pools(|| {
        let [y, mean, var] = fixture.forward(true);
        let [dx, dgamma, dbeta] = fixture.backward(true, &mean, &var);
        [y, mean, var, dx, dgamma, dbeta].map(|v| bits(&v))
    });
}

#[test]
fn wrong_lengths_are_named() {
    let fixture = Fixture::new([2, 3, 5]);
    let (x, c, short) = (vec![0.0; 30], vec![0.0; 3], vec![0.0; 7]);
    let params = fixture.params(false);
    let expect = |result: Result<(), ShapeError>, buffer, expected| {
        assert_eq!(result, Err(ShapeError::Length { buffer, expected, found: 7 }));
    };
    let train = |params: &BatchNormParams<'_>, x: &[f32], y: &[f32], mean: &[f32], var: &[f32]| {
        batch_norm_train(&fixture.shape, params, x, &mut y.to_vec(), &mut mean.to_vec(), &mut var.to_vec())
    };
    expect(train(&BatchNormParams { gamma: &short, ..params }, &x, &x, &c, &c), "gamma", 3);
    expect(train(&BatchNormParams { beta: &short, ..params }, &x, &x, &c, &c), "beta", 3);
    expect(train(&params, &short, &x, &c, &c), "x", 30);
    expect(train(&params, &x, &short, &c, &c), "y", 30);
    expect(train(&params, &x, &x, &short, &c), "mean", 3);
    expect(train(&params, &x, &x, &c, &short), "var", 3);
    let names = ["x", "mean", "var", "dy", "dx", "dgamma", "dbeta"];
    let good = [&x, &c, &c, &x, &x, &c, &c];
    for (i, name) in names.into_iter().enumerate() {
        let mut a = good.map(|v| v.clone());
        let expected = a[i].len();
        a[i] = short.clone();
        let [x, mean, var, dy, mut dx, mut dgamma, mut dbeta] = a;
        let out = BatchNormGradients { dx: &mut dx, dgamma: &mut dgamma, dbeta: &mut dbeta };
        expect(batch_norm_train_backward(&fixture.shape, &params, &x, &mean, &var, &dy, out), name, expected);
    }
    expect(batch_norm_eval(&fixture.shape, &x, &short, &c, false, &mut x.clone()), "scale", 3);
    expect(batch_norm_eval(&fixture.shape, &x, &c, &short, false, &mut x.clone()), "shift", 3);
    assert_eq!(BatchNormShape::new(1, 0, 1), Err(ShapeError::Zero { what: "channels" }));
    assert_eq!(BatchNormShape::new(usize::MAX, 2, 2), Err(ShapeError::Overflow { what: "input" }));
}
