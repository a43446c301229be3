//! Types of `MIL.proto` to types of the IR.

use crate::{Error, ErrorKind};
use anemone_formats::coreml::mil;
use anemone_mil::{Dim, TensorType, Type};

/// The type of something that must have one.
///
/// # Errors
/// When it is absent or not a type that the IR can hold.
pub(crate) fn required(ty: Option<&mil::ValueType>) -> Result<Type, Error> {
    match ty.and_then(|t| t.kind.as_ref()) {
        Some(kind) => of_kind(kind),
        None => Err(Error::new(ErrorKind::Type, "has no type")),
    }
}

fn of_kind(kind: &mil::TypeKind) -> Result<Type, Error> {
    let inner = |t: &Option<Box<mil::ValueType>>| required(t.as_deref());
    Ok(match kind {
        mil::TypeKind::Tensor(t) => Type::Tensor(tensor(t)?),
        mil::TypeKind::List(l) => {
            let len = l.length.as_ref().map_or(Ok(Dim::Unknown), dim)?;
            Type::List { elem: Box::new(inner(&l.element)?), len }
        }
        mil::TypeKind::Tuple(t) => {
            Type::Tuple(t.types.iter().map(|t| required(Some(t))).collect::<Result<_, _>>()?)
        }
        mil::TypeKind::Dictionary(d) => {
            Type::Dict(Box::new(inner(&d.key_type)?), Box::new(inner(&d.value_type)?))
        }
        mil::TypeKind::State(s) => match inner(&s.wrapped_type)? {
            Type::Tensor(t) => Type::State(t),
            other => {
                let message = format!("is a state of {other}; a state must hold a tensor");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        },
    })
}

fn tensor(t: &mil::TensorType) -> Result<TensorType, Error> {
    let Some(dtype) = t.dtype() else {
        let message = format!("has element type code {}, which MIL.proto does not define", t.data_type);
        return Err(Error::new(ErrorKind::Type, message));
    };
    if t.rank < 0 {
        let message =
            "is a tensor of variable rank, which is not supported; fix its rank in the source model";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    if usize::try_from(t.rank) != Ok(t.dimensions.len()) {
        let message = format!("says rank {}, but has {} dims", t.rank, t.dimensions.len());
        return Err(Error::new(ErrorKind::Type, message));
    }
    Ok(TensorType { dtype, dims: t.dimensions.iter().map(dim).collect::<Result<_, _>>()? })
}

fn dim(d: &mil::Dimension) -> Result<Dim, Error> {
    match &d.dimension {
        Some(mil::DimensionKind::Constant(c)) => usize::try_from(c.size).map(Dim::Known).map_err(|_| {
            let message = format!("has a dim of {}, more than this machine can address", c.size);
            Error::new(ErrorKind::Length, message)
        }),
        Some(mil::DimensionKind::Unknown(u)) if u.variadic => {
            let message =
                "has a dim that stands for any number of dims, which is not supported; fix its rank";
            Err(Error::new(ErrorKind::Unsupported, message))
        }
        Some(mil::DimensionKind::Unknown(_)) | None => Ok(Dim::Unknown),
    }
}
