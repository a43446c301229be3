//! The definition of a convolution, and kernels against it.

use super::*;
use crate::kernels::testing::{Rng, assert_close, on_every_pool};

pub(crate) fn naive(
    g: &ConvGeometry,
    x: &[f32],
    weights: &[f32],
    bias: &[f32],
    finish: impl Fn(f32) -> f32,
) -> Vec<f32> {
    let w = &g.window;
    let [_, ih, iw] = w.input;
    let mut out = Vec::new();
    for b in 0..g.batch {
        for o in 0..g.channels_out {
            for q in 0..w.output_len() {
                let at = [q / (w.output[1] * w.output[2]), q / w.output[2] % w.output[1], q % w.output[2]];
                let mut sum = f64::from(bias[o]);
                for c in 0..g.group_in() {
                    let channel = o / g.group_out() * g.group_in() + c;
                    for t in 0..w.taps() {
                        let k =
                            [t / (w.kernel[1] * w.kernel[2]), t / w.kernel[2] % w.kernel[1], t % w.kernel[2]];
                        let source: Option<Vec<usize>> = (0..3).map(|d| w.source(d, at[d], k[d])).collect();
                        if let Some(i) = source {
                            let x = x[(b * g.channels_in + channel) * w.input_len()
                                + (i[0] * ih + i[1]) * iw
                                + i[2]];
                            sum += f64::from(x) * f64::from(weights[(o * g.group_in() + c) * w.taps() + t]);
                        }
                    }
                }
                out.push(finish(sum as f32));
            }
        }
    }
    out
}

pub(crate) fn random_geometry(rng: &mut Rng, rank: usize) -> Option<ConvGeometry> {
    let list = |rng: &mut Rng, low, high| (0..rank).map(|_| rng.int(low, high)).collect::<Vec<_>>();
    let input = list(rng, 1, [70, 24, 7][rank - 1]);
    let (kernel, stride, dilation) = (list(rng, 1, 5), list(rng, 1, 3), list(rng, 1, 2));
    let pads: Vec<_> = (0..rank).map(|_| (rng.int(0, 3), rng.int(0, 3))).collect();
    let window = Window::padded(&input, &kernel, &stride, &dilation, &pads).ok()?;
    let groups = rng.int(1, 4);
    let (channels_in, channels_out) = (groups * rng.int(1, 5), groups * rng.int(1, 20));
    Some(ConvGeometry { batch: rng.int(1, 2), channels_in, channels_out, groups, window })
}

fn check(g: ConvGeometry, rng: &mut Rng) {
    let (x, weights) = (rng.floats(g.input_len()), rng.floats(g.weights_len()));
    let bias = rng.floats(g.channels_out);
    let want = naive(&g, &x, &weights, &bias, |v| v.max(0.0));
    on_every_pool(|pool| {
        let plan = ConvPlan::new(g, &weights, Some(&bias), Activation::Relu, pool.isa()).unwrap();
        let mut out = vec![f32::NAN; g.output_len()];
        let mut scratch = vec![f32::NAN; plan.scratch(pool)];
        plan.run(&x, &mut out, &mut scratch, pool);
        assert_close(&out, &want, 1e-5, &format!("{} {g:?}", pool.isa().name()));
    });
}

#[test]
fn random_convolutions_agree_with_the_definition() {
    let mut rng = Rng::new(3);
    for i in 0..60 {
        if let Some(g) = random_geometry(&mut rng, i % 3 + 1) {
            check(g, &mut rng);
        }
    }
}

#[test]
fn depthwise_agrees_with_the_definition() {
    let mut rng = Rng::new(4);
    for (size, kernel, stride, multiplier) in [
        (56, 3, 1, 1),
        (57, 3, 2, 1),
        (7, 3, 1, 1),
        (20, 5, 1, 2),
        (33, 5, 2, 1),
        (16, 4, 1, 3),
        (19, 7, 3, 1),
    ] {
        let window = Window::padded(
            &[size, size],
            &[kernel, kernel],
            &[stride, stride],
            &[1, 1],
            &[(kernel / 2, kernel / 2), (1, 2)],
        );
        let window = window.unwrap();
        check(
            ConvGeometry { batch: 2, channels_in: 5, channels_out: 5 * multiplier, groups: 5, window },
            &mut rng,
        );
    }
}

#[test]
fn pointwise_and_many_groups_agree_with_the_definition() {
    let mut rng = Rng::new(6);
    let pointwise = Window::padded(&[9, 13], &[1, 1], &[1, 1], &[1, 1], &[(0, 0), (0, 0)]).unwrap();
    let strided = Window::padded(&[9, 13], &[1, 1], &[2, 2], &[1, 1], &[(0, 0), (0, 0)]).unwrap();
    for window in [pointwise, strided] {
        for groups in [1, 8] {
            check(ConvGeometry { batch: 1, channels_in: 32, channels_out: 64, groups, window }, &mut rng);
        }
    }
}

#[test]
fn impossible_geometries_are_refused() {
    let window = Window::padded(&[5], &[3], &[1], &[1], &[(0, 0)]).unwrap();
    let g = ConvGeometry { batch: 1, channels_in: 4, channels_out: 6, groups: 4, window };
    let refused = ConvPlan::new(g, &[0.0; 72], None, Activation::None, Isa::best()).err().unwrap();
    assert_eq!(refused.to_string(), "4 input and 6 output channels do not divide into 4 groups");
    let g = ConvGeometry { groups: 2, ..g };
    assert!(ConvPlan::new(g, &[0.0; 35], None, Activation::None, Isa::best()).is_err());
    assert!(Window::padded(&[2], &[3], &[1], &[1], &[(0, 0)]).is_err());
    assert!(Window::padded(&[2], &[1], &[0], &[1], &[(0, 0)]).is_err());
    assert!(Window::new(&[2], &[usize::MAX], &[1], &[2], &[0], &[1]).is_err());
}
