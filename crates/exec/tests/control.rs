//! Nested blocks, states and shapes that depend on data, in the engine; expected values are counted by hand.

use anemone_exec::{Options, Session, State};
use anemone_mil::ops::Fault;
use anemone_mil::text::plain_interface;
use anemone_mil::{Builder, DType, Dim, Level, Opset, Program, Tensor, TensorType, Type, ValueId, verify};
use anemone_model::{Features, Predict, PredictError};

fn session(mut b: Builder, y: ValueId, options: Options) -> Session {
    b.output(y);
    let function = b.finish();
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Imported).expect("verifies");
    Session::new(verified.function(None).expect("one"), &options).expect("loads")
}

fn numbers(features: &Features, name: &str) -> Vec<f64> {
    features.tensor(name).expect("a tensor").to_f64s()
}

fn floats(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_f32s(shape, values).expect("fits")
}

/// Adds `x` to a sum until the sum is at least `limit`, and swaps it with `other` in every round.
fn summing(go_on: impl Fn(&mut Builder, ValueId) -> ValueId) -> (Builder, ValueId) {
    let mut b = Builder::new("main", Opset::Ios17);
    let ty = TensorType::new(DType::F32, [2]);
    let (x, other) = (b.input("x", ty.clone()), b.input("other", ty.clone()));
    let condition = b.nested(|b| {
        let a = b.block_input("a", ty.clone());
        b.block_input("c", ty.clone());
        let go = go_on(b, a);
        b.output(go);
        Ok::<_, Fault>(())
    });
    let body = b.nested(|b| {
        let (a, c) = (b.block_input("d", ty.clone()), b.block_input("e", ty.clone()));
        let next = b.op("add").arg("x", a).arg("y", x).one("next")?;
        b.output(c);
        b.output(next);
        Ok::<_, Fault>(())
    });
    let op = b.op("while_loop").args("loop_vars", vec![x, other]);
    let results = op.block(condition.expect("built")).block(body.expect("built")).all("y").expect("agrees");
    let y = b.op("sub").arg("x", results[0]).arg("y", results[1]).one("z").expect("same type");
    (b, y)
}

fn below(b: &mut Builder, a: ValueId, limit: f64) -> ValueId {
    let axes =
        b.op("reduce_sum").arg("x", a).ints("axes", &[0]).bool("keep_dims", false).one("s").expect("s");
    b.op("less").arg("x", axes).float("y", "x", limit).one("go").expect("go")
}

#[test]
fn a_loop_swaps_its_variables_and_reads_what_is_around_it() {
    let (b, y) = summing(|b, a| below(b, a, 20.0));
    let mut session = session(b, y, Options::default());
    let inputs = Features::from_iter([("x", floats(&[2], &[1., 2.])), ("other", floats(&[2], &[4., 5.]))]);
    for _ in 0..2 {
        let outputs = session.predict(&inputs).expect("ends");
        // (1,2),(4,5) -> (4,5),(2,4) -> (2,4),(5,7) -> (5,7),(3,6) -> (3,6),(6,9) -> (6,9),(4,8) -> (4,8),(7,11)
        // -> (7,11),(5,10) -> (5,10),(8,13) -> (8,13)
        assert_eq!(numbers(&outputs, "z"), [8. - 6., 13. - 12.]);
    }
    assert!(session.describe().contains("add kernel"), "{}", session.describe());
}

#[test]
fn a_loop_without_end_is_named_and_can_be_allowed_more() {
    let (b, y) = summing(|b, _| b.constant("always", Tensor::scalar_bool(true)));
    let mut session = session(b, y, Options { max_steps: 100, ..Options::default() });
    let inputs = Features::from_iter([("x", floats(&[2], &[1., 2.])), ("other", floats(&[2], &[4., 5.]))]);
    for _ in 0..2 {
        let error = session.predict(&inputs).expect_err("never ends");
        assert!(matches!(&error, PredictError::StepLimit { limit: 100, .. }), "{error}");
        assert!(error.to_string().contains("while_loop \"y"), "{error}");
    }
}

#[test]
fn a_branch_is_taken_by_its_condition() {
    let mut b = Builder::new("main", Opset::Ios17);
    let x = b.input("x", TensorType::new(DType::F16, [3]));
    let pred = b.input("pred", TensorType::scalar(DType::Bool));
    let mut branch = |kind: &str| {
        b.nested(|b| {
            let inner = b.op("square").arg("x", x).one("inner")?;
            let y = b.op(kind).arg("x", inner).one("outer")?;
            b.output(y);
            Ok::<_, Fault>(())
        })
        .expect("built")
    };
    let (yes, no) = (branch("relu"), branch("sqrt"));
    let y = b.op("cond").arg("pred", pred).block(yes).block(no).one("y").expect("same type");
    let z = b.op("abs").arg("x", y).one("z").expect("same type");
    let mut session = session(b, z, Options::default());
    for (pred, expected) in [(true, [4., 9., 16.]), (false, [2., 3., 4.]), (true, [4., 9., 16.])] {
        let x = floats(&[3], &[-2., 3., 4.]).cast(DType::F16);
        let inputs = Features::from_iter([("x", x), ("pred", Tensor::scalar_bool(pred))]);
        assert_eq!(numbers(&session.predict(&inputs).expect("runs"), "z"), expected);
    }
}

/// `cache += x`, and out comes twice the sum.
fn accumulator() -> Session {
    let mut b = Builder::new("main", Opset::Ios18);
    let ty = TensorType::new(DType::F16, [2]);
    let cache = b.input("cache", Type::State(ty.clone()));
    let x = b.input("x", ty);
    let old = b.op("read_state").arg("input", cache).one("old").expect("a state");
    let new = b.op("add").arg("x", old).arg("y", x).one("new").expect("same type");
    b.op("write_state").arg("input", cache).arg("data", new).all("none").expect("fits");
    let again = b.op("read_state").arg("input", cache).one("again").expect("a state");
    let y = b.op("add").arg("x", again).arg("y", again).one("y").expect("same type");
    session(b, y, Options::default())
}

#[test]
fn states_last_from_one_prediction_to_the_next_and_do_not_mix() {
    let mut session = accumulator();
    assert!(session.has_states());
    let (mut a, mut b) = (session.new_state().expect("small"), session.new_state().expect("small"));
    let inputs = Features::from_iter([("x", floats(&[2], &[1., 2.]).cast(DType::F16))]);
    let mut step = |state: &mut State| numbers(&session.run(&inputs, Some(state)).expect("runs"), "y");
    assert_eq!(step(&mut a), [2., 4.]);
    assert_eq!(step(&mut a), [4., 8.]);
    assert_eq!(step(&mut b), [2., 4.]);
    b.set("cache", &floats(&[2], &[10., 20.]).cast(DType::F16)).expect("fits");
    assert_eq!(step(&mut b), [22., 44.]);
    assert_eq!(a.tensor("cache").expect("there").to_f64s(), [2., 4.]);
    assert_eq!(a.tensor("cache").expect("there").dtype(), DType::F16);
}

#[test]
fn a_missing_or_foreign_state_is_named() {
    let mut session = accumulator();
    let inputs = Features::from_iter([("x", floats(&[2], &[1., 2.]).cast(DType::F16))]);
    let error = session.run(&inputs, None).expect_err("no state");
    assert!(error.to_string().starts_with("state `cache` is missing"), "{error}");
    let mut state = session.new_state().expect("small");
    let error = state.set("cache", &floats(&[2], &[0.; 2])).expect_err("fp32");
    assert_eq!(error.to_string(), "state `cache` is fp32 [2], but must be fp16 [2]");
    let error = state.set("other", &floats(&[2], &[0.; 2])).expect_err("unknown");
    assert!(error.to_string().contains("it has: cache"), "{error}");
}

#[test]
fn shapes_that_depend_on_data_run_with_kernels() {
    let mut b = Builder::new("main", Opset::Ios17);
    let x = b.input("x", TensorType::new(DType::F32, [2, 3]));
    let places = b.op("non_zero").arg("x", x).one("places").expect("a tensor");
    let rows = b.op("cast").arg("x", places).str("dtype", "fp32").one("rows").expect("numbers");
    let wide = b.op("add").arg("x", rows).float("y", "x", 0.5).one("wide").expect("numbers");
    let y =
        b.op("reduce_sum").arg("x", wide).ints("axes", &[0]).bool("keep_dims", false).one("y").expect("sum");
    let z = b.op("square").arg("x", y).one("z").expect("same type");
    assert!(matches!(b.ty(wide).tensor().map(|t| &t.dims[0]), Some(Dim::Unknown | Dim::Symbol(_))));
    let mut session = session(b, z, Options::default());
    for (values, expected) in [
        ([0., 1., 0., 0., 0., 1.], [(0. + 1. + 1f64).powi(2), (1. + 2. + 1f64).powi(2)]),
        ([0., 0., 0., 0., 0., 0.], [0., 0.]),
        ([1., 1., 0., 0., 0., 0.], [1., 4.]),
    ] {
        let outputs = session.predict(&Features::from_iter([("x", floats(&[2, 3], &values))])).expect("runs");
        assert_eq!(numbers(&outputs, "z"), expected);
    }
}

#[test]
fn tensors_beyond_the_limit_are_refused_by_name_before_they_are_made() {
    let mut b = Builder::new("main", Opset::Ios17);
    let x = b.input("x", TensorType::new(DType::F32, [1, 8]));
    let y = b.op("tile").arg("x", x).ints("reps", &[1 << 20, 1 << 20]).one("wide").expect("inferred");
    let y = b.op("reduce_sum").arg("x", y).ints("axes", &[0]).one("y").expect("inferred");
    let mut session = session(b, y, Options::default());
    let inputs = Features::from_iter([("x", floats(&[1, 8], &[1.; 8]))]);
    let error = session.predict(&inputs).expect_err("too large");
    assert!(matches!(error, PredictError::Memory { .. }), "{error}");
    assert!(error.to_string().starts_with("result `wide` of tile"), "{error}");
}

/// Writes `x` into the rows of a cache from `at` on; out comes the sum of the cache.
fn cached() -> Session {
    let mut b = Builder::new("main", Opset::Ios18);
    let cache = b.input("cache", Type::State(TensorType::new(DType::F16, [4, 2])));
    let x = b.input("x", TensorType::new(DType::F16, [1, 2]));
    let begin = b.input("begin", TensorType::new(DType::I32, [2]));
    let end = b.input("end", TensorType::new(DType::I32, [2]));
    let old = b.op("read_state").arg("input", cache).one("old").expect("a state");
    let update = b.op("slice_update").arg("x", old).arg("update", x).arg("begin", begin).arg("end", end);
    let new = update.one("new").expect("fits");
    b.op("write_state").arg("input", cache).arg("data", new).all("none").expect("fits");
    let now = b.op("read_state").arg("input", cache).one("now").expect("a state");
    let y =
        b.op("reduce_sum").arg("x", now).ints("axes", &[0]).bool("keep_dims", false).one("y").expect("sum");
    session(b, y, Options::default())
}

#[test]
fn a_cache_is_changed_where_it_is() {
    let mut session = cached();
    let mut state = session.new_state().expect("small");
    let given = |row: i32, v: f32| {
        let x = floats(&[1, 2], &[v, v + 1.]).cast(DType::F16);
        let (begin, end) = (Tensor::vector_i32(&[row, 0]), Tensor::vector_i32(&[row + 1, 2]));
        Features::from_iter([("x", x), ("begin", begin), ("end", end)])
    };
    for (row, v, expected) in [(0, 1., [1., 2.]), (2, 10., [11., 13.]), (0, 5., [15., 17.])] {
        let outputs = session.run(&given(row, v), Some(&mut state)).expect("runs");
        assert_eq!(numbers(&outputs, "y"), expected);
    }
    assert_eq!(state.tensor("cache").expect("there").to_f64s(), [5., 6., 0., 0., 10., 11., 0., 0.]);
    let plan = session.describe();
    assert!(plan.contains("slice_update state") && plan.matches("read_state").count() == 1, "{plan}");
    let error = session.run(&given(4, 1.), Some(&mut state)).expect_err("there are 4 rows");
    assert!(error.to_string().contains("slice_update \"new\""), "{error}");
    // An observer sees every value, so that each has to be made.
    let mut seen = Vec::new();
    let mut observe = |name: &str, _: &Tensor| seen.push(name.to_owned());
    let outputs = session.run_observed(&given(3, 1.), Some(&mut state), &mut observe).expect("runs");
    assert_eq!(numbers(&outputs, "y"), [16., 19.]);
    assert_eq!(seen, ["old", "new", "now", "y"]);
}
