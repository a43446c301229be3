//! Plans for several shapes of the inputs.

use anemone_exec::{Options, Session};
use anemone_mil::text::plain_interface;
use anemone_mil::{Builder, DType, Dim, Level, Opset, Program, Tensor, TensorType, verify};
use anemone_model::{Features, Predict};

#[test]
fn no_more_plans_are_kept_than_the_options_say_and_each_shape_is_still_computed() {
    let mut b = Builder::new("main", Opset::Ios17);
    let x = b.input("x", TensorType::new(DType::F32, [Dim::Unknown]));
    let y = b.op("mul").arg("x", x).float("y", "x", 2.0).one("y").expect("same shape");
    b.output(y);
    let function = b.finish();
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Imported).expect("verifies");
    let options = Options { plans: 2, ..Options::default() };
    let mut session = Session::new(verified.function(None).expect("one"), &options).expect("loads");
    for n in [1usize, 2, 3, 1, 4, 2, 2] {
        let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let x = Tensor::from_f32s([n], &values).expect("fits");
        let found = session.predict(&Features::from_iter([("x", x)])).expect("computes");
        let doubled: Vec<f32> = values.iter().map(|v| v * 2.0).collect();
        assert_eq!(found.tensor("y").expect("given").to_f32s(), doubled);
        assert!(session.plan_count() <= 2, "{} plans", session.plan_count());
    }
    assert_eq!(session.plan_count(), 2);
}
