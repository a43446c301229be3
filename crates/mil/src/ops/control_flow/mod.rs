//! Control flow: constants, branches, loops, selection and lists.
//!
//! Rules: the MIL op reference of coremltools 9.0, `ops/defs/iOS15/control_flow.py`. The functions that its registry
//! takes for `cond` and `while_loop` are nested blocks here: `[true, false]` and `[condition, body]`.

mod list;

use super::common::{BOOL, T, broadcast_offsets, broadcast_shape};
use super::rearrange::{T_BASIC, of_rank, one, packed};
use super::{Accept, Effect, Fault, Form, OpDef, Site, Version, Work, tensor, variadic};
use crate::eval::EvalSite;
use crate::{Block, Dim, Literal, Opset, TensorType, Type, ValueId, broadcast};
use anemone_tensor::{DType, Tensor};

/// The ops of this family.
pub static OPS: &[&OpDef] = &[
    &CONST_SYMBOLIC,
    &COND,
    &CONST,
    &list::LIST_GATHER,
    &list::LIST_LENGTH,
    &list::LIST_READ,
    &list::LIST_SCATTER,
    &list::LIST_WRITE,
    &list::MAKE_LIST,
    &SELECT,
    &WHILE_LOOP,
];

/// The results as declared: what a constant is, its value says.
fn declared(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    Ok(types(site, &site.op.outputs))
}

fn types(site: &Site<'_>, values: &[ValueId]) -> Vec<Type> {
    values.iter().map(|&v| site.function.value(v).ty.clone()).collect()
}

static CONST: OpDef = OpDef {
    name: "const",
    doc: "A constant. Readers turn it into a value; it only stands as an op in programs as they are written.",
    versions: &[Version { since: Opset::Ios13, params: &[], domains: &[] }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: declared,
    eval: None,
    work: Work::none,
};

static CONST_SYMBOLIC: OpDef = OpDef {
    name: "_const_symbolic",
    doc: "A constant with symbols in it, for tests within coremltools; no package has one.",
    versions: &[Version { since: Opset::Ios13, params: &[], domains: &[] }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: declared,
    eval: None,
    work: Work::none,
};

/// The nested blocks of an op, which must be two.
fn two_blocks<'a>(site: &Site<'a>, names: &str) -> Result<[&'a Block; 2], Fault> {
    match site.op.blocks.as_slice() {
        &[first, second] => Ok([site.function.block(first), site.function.block(second)]),
        blocks => Err(Fault::new(format!("has {} nested blocks, but must have two: {names}", blocks.len()))),
    }
}

/// What two types have in common: dims that differ become unknown.
fn join(a: &Type, b: &Type) -> Type {
    let both = |a: &TensorType, b: &TensorType| {
        let dims = a.dims.iter().zip(&b.dims).map(|(a, b)| if a == b { a.clone() } else { Dim::Unknown });
        TensorType { dtype: a.dtype, dims: dims.collect() }
    };
    match (a, b) {
        (Type::Tensor(a), Type::Tensor(b)) => both(a, b).into(),
        (Type::List { elem: a, len: n }, Type::List { elem: b, len: m }) => {
            let len = if n == m { n.clone() } else { Dim::Unknown };
            Type::List { elem: Box::new(join(a, b)), len }
        }
        _ => a.clone(),
    }
}

static COND: OpDef = OpDef {
    name: "cond",
    doc: "What the first nested block hands out where `pred` is true, else what the second does.",
    versions: &[Version { since: Opset::Ios13, params: &[tensor("pred", BOOL)], domains: &[] }],
    effect: Effect::Control,
    form: Form::Other,
    infer: infer_cond,
    eval: None,
    work: Work::none,
};

fn infer_cond(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    of_rank("pred", site.tensor("pred")?, 0)?;
    let [yes, no] = two_blocks(site, "what to do when true, and when false")?;
    let (yes, no) = (types(site, &yes.outputs), types(site, &no.outputs));
    if yes.len() != no.len() {
        return Err(Fault::new(format!(
            "the true block hands out {} values and the false block {}, but the numbers must be equal",
            yes.len(),
            no.len()
        )));
    }
    let pairs = yes.iter().zip(&no).enumerate();
    let merged = pairs.map(|(i, (a, b))| match (a, b) {
        _ if a.compatible(b) => Ok(join(a, b)),
        (Type::Tensor(t), Type::Tensor(f)) if t.dtype == f.dtype && t.rank() == f.rank() => Ok(join(a, b)),
        _ => Err(Fault::new(format!(
            "value {i} is {a} from the true block and {b} from the false one, but the types must agree"
        ))),
    });
    merged.collect()
}

static WHILE_LOOP: OpDef = OpDef {
    name: "while_loop",
    doc: "Hands `loop_vars` through the second nested block as long as the first one says so.",
    versions: &[Version { since: Opset::Ios13, params: &[variadic("loop_vars", Accept::Any)], domains: &[] }],
    effect: Effect::Control,
    form: Form::Other,
    infer: infer_while_loop,
    eval: None,
    work: Work::none,
};

fn infer_while_loop(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let [condition, body] = two_blocks(site, "the condition and the body")?;
    let vars = types(site, site.values("loop_vars"));
    for (block, name) in [(condition, "condition"), (body, "body")] {
        let inputs = types(site, &block.inputs);
        if inputs.len() != vars.len() {
            return Err(Fault::new(format!(
                "the {name} block takes {} values, but must take {}, one for each of `loop_vars`",
                inputs.len(),
                vars.len()
            )));
        }
        let wrong = vars.iter().zip(&inputs).position(|(v, i)| !v.compatible(i));
        if let Some(i) = wrong {
            let allowed = format!("{}, which the {name} block takes", inputs[i]);
            return Err(Fault::arg("loop_vars", format!("{} in place {i}", vars[i]), allowed));
        }
    }
    let decides = types(site, &condition.outputs);
    match decides.as_slice() {
        [Type::Tensor(t)] if t.dtype == DType::Bool && t.element_count().is_none_or(|n| n == 1) => {}
        _ => return Err(Fault::new("the condition block must hand out one boolean")),
    }
    let results = types(site, &body.outputs);
    if results.len() != vars.len() {
        return Err(Fault::new(format!(
            "the body block hands out {} values, but must hand out {}, one for each of `loop_vars`",
            results.len(),
            vars.len()
        )));
    }
    match results.iter().zip(&vars).position(|(r, v)| !same_kind(r, v)) {
        Some(i) => Err(Fault::arg(
            "loop_vars",
            format!("{} in place {i}", vars[i]),
            format!("{}, which the body block hands out", results[i]),
        )),
        None => Ok(results),
    }
}

/// Same element type and rank; extents may change from one round to the next.
fn same_kind(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Tensor(a), Type::Tensor(b)) => a.dtype == b.dtype && a.rank() == b.rank(),
        (Type::List { elem: a, .. }, Type::List { elem: b, .. }) => same_kind(a, b),
        _ => a.compatible(b),
    }
}

static SELECT: OpDef = OpDef {
    name: "select",
    doc: "Elements of `a` where `cond` is true, of `b` elsewhere; the three broadcast.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[tensor("cond", BOOL), tensor("a", T), tensor("b", T)],
        domains: &[T_BASIC],
    }],
    effect: Effect::Pure,
    form: Form::Select,
    infer: infer_select,
    eval: Some(eval_select),
    work: Work::per_output,
};

fn infer_select(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let (cond, a, b) = (site.tensor("cond")?, site.tensor("a")?, site.tensor("b")?);
    if a.dtype != b.dtype {
        return Err(Fault::arg("b", b.dtype, format!("{}, the type of `a`", a.dtype)));
    }
    let clash = |param: &str, e: crate::Broadcast| {
        let place = format!("{} in dim {} from the end", e.right, e.axis_from_end);
        Fault::arg(param, place, format!("{} or 1 there, to broadcast", e.left))
    };
    let dims = broadcast(&a.dims, &b.dims).map_err(|e| clash("b", e))?;
    let dims = broadcast(&dims, &cond.dims).map_err(|e| clash("cond", e))?;
    Ok(one(a.dtype, dims))
}

fn eval_select(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (cond, a, b) = (site.tensor("cond")?, site.tensor("a")?, site.tensor("b")?);
    let shape = broadcast_shape(&broadcast_shape(a.shape(), b.shape())?, cond.shape())?;
    let width = a.dtype().bits() / 8;
    if a.dtype() != b.dtype() || width == 0 {
        return Err(Fault::arg("b", b.dtype(), format!("{}, of whole bytes", a.dtype())));
    }
    let at = |t: &Tensor| broadcast_offsets(t.shape(), &shape);
    let (conds, a_at, b_at) = (at(&cond)?, at(&a)?, at(&b)?);
    let chosen = cond.to_bools();
    let mut out = Vec::with_capacity(conds.len() * width);
    for ((c, i), j) in conds.into_iter().zip(a_at).zip(b_at) {
        let (from, at) = if chosen[c] { (&a, i) } else { (&b, j) };
        out.extend_from_slice(&from.bytes()[at * width..][..width]);
    }
    Ok(vec![packed(a.dtype(), &shape, out)?.into()])
}

#[cfg(test)]
mod tests {
    use crate::ops::case::{bools, iota, run};
    use crate::ops::{Fault, Site};
    use crate::{Builder, DType, Dim, Literal, Opset, Tensor, TensorType, Type};

    #[test]
    fn select_broadcasts_all_three() {
        let inputs = [("a", &[iota(&[2])][..]), ("b", &[Tensor::scalar_f64(DType::F32, 9.0)][..])];
        let cond = Tensor::vector_bool(&[true, false]).reshaped([2, 1]).expect("fits");
        let y = run("select", Opset::Ios15, &inputs, &[("cond", cond.into())]).expect("broadcasts");
        assert_eq!((y[0].shape(), y[0].to_f64s()), (&[2, 2][..], vec![0., 1., 9., 9.]));
        assert!(run("select", Opset::Ios15, &inputs, &[("cond", bools(&[true; 3]))]).is_err());
    }

    fn branch(b: &mut Builder, dtype: DType, dims: &[usize]) -> Result<crate::BlockId, Fault> {
        let zeros = Tensor::zeros(dtype, dims).expect("fits");
        b.nested(|b| {
            let value = b.constant("value", zeros);
            let y = b.op("identity").arg("x", value).one("inner")?;
            b.output(y);
            Ok(())
        })
    }

    #[test]
    fn branches_must_agree_but_for_extents() {
        let mut b = Builder::new("main", Opset::Ios15);
        let pred = b.input("pred", TensorType::scalar(DType::Bool));
        let yes = branch(&mut b, DType::F32, &[2, 3]).expect("identity");
        let no = branch(&mut b, DType::F32, &[4, 3]).expect("identity");
        let y = b.op("cond").arg("pred", pred).block(yes).block(no).one("y").expect("same rank");
        assert_eq!(*b.ty(y), TensorType::new(DType::F32, [Dim::Unknown, 3.into()]).into());
        let other = branch(&mut b, DType::I32, &[2, 3]).expect("identity");
        assert!(b.op("cond").arg("pred", pred).block(yes).block(other).one("z").is_err());
        assert!(b.op("cond").arg("pred", pred).block(yes).one("z").is_err());
    }

    #[test]
    fn a_loop_hands_its_variables_through() {
        let mut b = Builder::new("main", Opset::Ios15);
        let ty = TensorType::new(DType::F32, [2]);
        let x = b.input("x", ty.clone());
        let condition = b.nested(|b| {
            b.block_input("i", ty.clone());
            let go = b.constant("go", Tensor::scalar_bool(false));
            b.output(go);
            Ok::<_, Fault>(())
        });
        let body = b.nested(|b| {
            let i = b.block_input("j", ty.clone());
            let y = b.op("identity").arg("x", i).one("next")?;
            b.output(y);
            Ok::<_, Fault>(())
        });
        let (condition, body) = (condition.expect("built"), body.expect("built"));
        let y = b.op("while_loop").args("loop_vars", vec![x]).block(condition).block(body).one("y");
        assert_eq!(*b.ty(y.expect("agrees")), Type::from(ty));
        let none = b.op("while_loop").args("loop_vars", vec![x, x]).block(condition).block(body).all("z");
        assert!(none.is_err());
    }

    #[test]
    fn lists_carry_the_type_of_their_elements() {
        let mut b = Builder::new("main", Opset::Ios15);
        let three = b.constant("three", Tensor::scalar_i32(3));
        let ls = b.op("make_list").int("init_length", 2).bool("dynamic_length", false);
        let ls = ls.args("elem_shape", vec![three]).str("dtype", "fp32").one("ls").expect("constants");
        let x = b.input("x", TensorType::new(DType::F32, [3]));
        let elem = Type::from(TensorType::new(DType::F32, [3]));
        let list = Type::List { elem: Box::new(elem.clone()), len: Dim::Known(2) };
        assert_eq!(*b.ty(ls), list);
        let ls = b.op("list_write").arg("ls", ls).int("index", 0).arg("value", x).one("w").expect("fits");
        let got = b.op("list_gather").arg("ls", ls).ints("indices", &[1, 0]).one("g").expect("a list");
        assert_eq!(*b.ty(got), TensorType::new(DType::F32, [2, 3]).into());
        let wrong = b.input("wrong", TensorType::new(DType::F32, [4]));
        assert!(b.op("list_write").arg("ls", ls).int("index", 0).arg("value", wrong).one("v").is_err());
        let read = b.op("list_read").arg("ls", ls).int("index", 0).one("r").expect("a list");
        assert_eq!(*b.ty(read), elem);
    }

    #[test]
    fn lists_grow_when_written_beyond_their_end() {
        let elem = Type::from(TensorType::new(DType::F32, [2]));
        let empty = Literal::List { elem, items: Vec::new() };
        let mut b = Builder::new("main", Opset::Ios15);
        let ls = b.input("ls", empty.ty());
        let x = b.input("x", TensorType::new(DType::F32, [2]));
        b.op("list_write").arg("ls", ls).int("index", 1).arg("value", x).one("y").expect("fits");
        let f = b.finish();
        let op = f.op(f.walk()[0].1);
        let site = Site::new(&f, op).expect("known");
        let value = Literal::from(Tensor::from_f32s([2], &[1., 2.]).expect("fits"));
        let values = [vec![Tensor::scalar_i32(1).into()], vec![empty], vec![value.clone()]];
        let y = site.def.evaluate(&crate::eval::EvalSite { site, values: &values }).expect("grows");
        let Literal::List { items, .. } = &y[0] else { panic!("a list") };
        assert_eq!(items[1], value);
        assert_eq!(items[0].as_tensor().expect("zeros").to_f64s(), [0., 0.]);
    }
}
