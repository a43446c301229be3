use super::conv::Input;
use super::*;
use crate::kernels::conv::ConvGeometry;
use crate::kernels::conv::tests::{naive, random_geometry};
use crate::kernels::pool2d::{Divisor, PoolKind, PoolPlan};
use crate::kernels::testing::{Rng, assert_close, on_every_pool};
use crate::kernels::window::Window;

/// `[batch, channels, positions]` to `[batch, positions, channels]`.
fn last(x: &[f32], channels: usize, positions: usize) -> Vec<f32> {
    let image = |x: &[f32]| -> Vec<f32> {
        (0..positions)
            .flat_map(|p| (0..channels).map(move |c| x[c * positions + p]).collect::<Vec<_>>())
            .collect()
    };
    x.chunks(channels * positions).flat_map(image).collect()
}

fn finishes() -> [Finish; 5] {
    let finish = |activation, residual, half| Finish { activation, residual, half };
    [
        finish(Activation::None, Residual::None, false),
        finish(Activation::Relu, Residual::Before, false),
        finish(Activation::Silu, Residual::After, false),
        finish(Activation::Relu6, Residual::None, false),
        finish(Activation::Gelu, Residual::None, false),
    ]
}

fn finished(finish: Finish, x: f32, other: f32) -> f32 {
    let act = |x: f32| match finish.activation {
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => {
            // Abramowitz and Stegun 7.1.26, good to 1.5e-7.
            let z = f64::from(x.abs()) / std::f64::consts::SQRT_2;
            let t = 1.0 / (1.0 + 0.327_591_1 * z);
            let poly = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
            let erf = 1.0 - poly.iter().fold(0.0, |sum, c| (sum + c) * t) * (-z * z).exp();
            (f64::from(x) / 2.0 * (1.0 + erf * f64::from(x.signum()))) as f32
        }
        _ => x,
    };
    match finish.residual {
        Residual::None => act(x),
        Residual::Before => act(x + other),
        Residual::After => act(x) + other,
    }
}

fn check(g: ConvGeometry, finish: Finish, rng: &mut Rng) {
    let (x, weights) = (rng.floats(g.input_len()), rng.floats(g.weights_len()));
    let (bias, other) = (rng.floats(g.channels_out), rng.floats(g.output_len()));
    let sums = naive(&g, &x, &weights, &bias, |v| v);
    let want: Vec<f32> = sums.iter().zip(&other).map(|(&x, &o)| finished(finish, x, o)).collect();
    let (positions_in, positions_out) = (g.window.input_len(), g.window.output_len());
    let want = last(&want, g.channels_out, positions_out);
    let other = last(&other, g.channels_out, positions_out);
    let x_last = last(&x, g.channels_in, positions_in);
    on_every_pool(|pool| {
        let what = format!("{} {finish:?} {g:?}", pool.isa().name());
        for (input, x) in [(Input::ChannelsLast, &x_last), (Input::ChannelsFirst, &x)] {
            if input == Input::ChannelsFirst && !LastConv::copies(&g) {
                continue;
            }
            let conv = LastConv::new(g, &weights, Some(&bias), finish, input, pool).unwrap();
            let mut out = vec![f32::NAN; g.output_len()];
            let mut scratch = vec![f32::NAN; conv.scratch()];
            conv.run(x, Some(&other), &mut out, &mut scratch, pool);
            assert_close(&out, &want, 1e-5, &format!("{what} {input:?}"));
        }
        if g.groups == g.channels_in && g.groups == g.channels_out {
            let conv = LastDepthwise::new(&g, &weights, Some(&bias), finish, pool.isa()).unwrap();
            let mut out = vec![f32::NAN; g.output_len()];
            conv.run(&x_last, Some(&other), &mut out, pool);
            assert_close(&out, &want, 1e-5, &what);
        }
    });
}

#[test]
fn random_convolutions_with_channels_last_agree_with_the_definition() {
    let mut rng = Rng::new(5);
    for i in 0..60 {
        if let Some(g) = random_geometry(&mut rng, i % 3 + 1) {
            check(g, finishes()[i % 5], &mut rng);
        }
    }
}

#[test]
fn many_channels_agree_with_the_definition() {
    let mut rng = Rng::new(6);
    for (i, (channels_in, channels_out, groups, size, kernel, stride)) in [
        (32, 64, 1, 9, 1, 1),
        (16, 24, 1, 30, 1, 2),
        (20, 40, 1, 7, 3, 1),
        (3, 33, 1, 19, 3, 2),
        (4, 8, 1, 12, 5, 1),
        (8, 16, 1, 14, 5, 1),
        (7, 9, 1, 11, 3, 2),
        (16, 24, 1, 13, 5, 3),
        (32, 32, 4, 8, 3, 1),
        (70, 5, 1, 6, 1, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let pads = [(kernel / 2, kernel / 2); 2];
        let window = Window::padded(&[size, size + 2], &[kernel; 2], &[stride; 2], &[1, 1], &pads).unwrap();
        check(
            ConvGeometry { batch: 2, channels_in, channels_out, groups, window },
            finishes()[i % 5],
            &mut rng,
        );
    }
}

#[test]
fn depthwise_with_channels_last_agrees_with_the_definition() {
    let mut rng = Rng::new(7);
    for (i, (channels, size, kernel, stride, dilation)) in [
        (16, 56, 3, 1, 1),
        (40, 29, 3, 2, 1),
        (3, 7, 3, 1, 1),
        (19, 9, 5, 1, 1),
        (33, 21, 5, 2, 1),
        (17, 15, 3, 1, 2),
        (1, 2, 5, 1, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let half = kernel / 2 * dilation;
        let pads = [(half, half), (half, 1 + half)];
        let window =
            Window::padded(&[size, size], &[kernel; 2], &[stride; 2], &[dilation; 2], &pads).unwrap();
        let g = ConvGeometry {
            batch: 2,
            channels_in: channels,
            channels_out: channels,
            groups: channels,
            window,
        };
        check(g, finishes()[i % 5], &mut rng);
    }
}

#[test]
fn results_are_rounded_to_f16_after_every_step() {
    let window = Window::padded(&[3], &[1], &[1], &[1], &[(0, 0)]).unwrap();
    let g = ConvGeometry { batch: 1, channels_in: 5, channels_out: 5, groups: 1, window };
    let mut rng = Rng::new(8);
    let (x, weights, other) = (rng.floats(15), rng.floats(25), rng.floats(15));
    let half = |x: f32| half::f16::from_f32(x).to_f32();
    let sums = naive(&g, &x, &weights, &[0.0; 5], |v| v);
    let finish = Finish { activation: Activation::Relu, residual: Residual::Before, half: true };
    let want: Vec<f32> =
        last(&sums, 5, 3).iter().zip(&other).map(|(&x, &o)| half(half(x) + o).max(0.0)).collect();
    on_every_pool(|pool| {
        let conv = LastConv::new(g, &weights, None, finish, Input::ChannelsLast, pool).unwrap();
        let mut out = [f32::NAN; 15];
        conv.run(&last(&x, 5, 3), Some(&other), &mut out, &mut [], pool);
        // The sums may round to neighbours in f16.
        assert_close(&out, &want, 1.5e-3, pool.isa().name());
    });
}

#[test]
fn pools_with_channels_last_agree_with_those_with_channels_first() {
    let mut rng = Rng::new(9);
    let kinds =
        [PoolKind::Max, PoolKind::Average(Divisor::Inside), PoolKind::Average(Divisor::Taps), PoolKind::L2];
    for (i, (channels, size, kernel, stride)) in
        [(5, 20, 3, 2), (16, 9, 2, 2), (70, 7, 3, 1), (130, 5, 5, 1)].into_iter().enumerate()
    {
        let pad = [(kernel / 2, kernel / 2); 2];
        let window = Window::padded(&[size, size + 1], &[kernel; 2], &[stride; 2], &[1, 1], &pad).unwrap();
        let x = rng.floats(2 * channels * window.input_len());
        on_every_pool(|pool| {
            let plan = PoolPlan::new(kinds[i], window);
            let mut want = vec![f32::NAN; 2 * channels * window.output_len()];
            let mut scratch = vec![f32::NAN; plan.scratch(pool)];
            plan.run(&x, 2 * channels, &mut want, &mut scratch, pool);
            let mut out = vec![f32::NAN; want.len()];
            let pooling = LastPool::new(kinds[i], window, 2, channels);
            pooling.run(&last(&x, channels, window.input_len()), &mut out, pool);
            assert_close(&out, &last(&want, channels, window.output_len()), 1e-6, &format!("{:?}", kinds[i]));
        });
    }
}
