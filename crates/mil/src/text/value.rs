//! Parsing of types and values.

use super::MAX_RANK;
use super::cursor::{Parser, Result};
use super::lex::Token;
use super::literal::nan_bits;
use super::number::parse_float;
use super::parse::Entry;
use crate::{BlobRef, Const, DType, Dim, Literal, Name, Tensor, TensorType, Type, Weight, WeightData};
use anemone_tensor::num::element_count;

impl Parser<'_, '_> {
    pub(super) fn ty(&mut self) -> Result<Type> {
        let Token::Ident(word) = self.token else { return self.expected("a type") };
        if let Some(dtype) = DType::from_name(word) {
            self.advance()?;
            return Ok(TensorType::scalar(dtype).into());
        }
        if !is_type_word(word) {
            return self.expected("a type");
        }
        self.enter("types")?;
        self.advance()?;
        self.punct('<')?;
        let ty = match word {
            "tensor" => self.tensor_rest().map(Type::Tensor)?,
            "state" => self.state_rest()?,
            "list" => {
                let elem = Box::new(self.ty()?);
                self.punct(',')?;
                Type::List { elem, len: self.dim()? }
            }
            "tuple" => self.tuple_rest()?,
            _ => {
                let key = Box::new(self.ty()?);
                self.punct(',')?;
                Type::Dict(key, Box::new(self.ty()?))
            }
        };
        self.punct('>')?;
        self.depth -= 1;
        Ok(ty)
    }

    fn state_rest(&mut self) -> Result<Type> {
        let at = self.at;
        match self.ty()? {
            Type::Tensor(t) => Ok(Type::State(t)),
            other => self.fail(at, format!("a state holds a tensor, not {other}")),
        }
    }

    fn tuple_rest(&mut self) -> Result<Type> {
        let mut items = Vec::new();
        while self.token != Token::Punct('>') {
            self.separator(items.is_empty())?;
            items.push(self.ty()?);
        }
        Ok(Type::Tuple(items))
    }

    fn tensor_rest(&mut self) -> Result<TensorType> {
        let dtype = match self.token {
            Token::Ident(word) => DType::from_name(word),
            _ => None,
        };
        let Some(dtype) = dtype else { return self.expected("an element type") };
        self.advance()?;
        self.punct(',')?;
        self.punct('[')?;
        let mut dims = Vec::new();
        while !self.eat(']')? {
            self.separator(dims.is_empty())?;
            if dims.len() == MAX_RANK {
                return self.fail(self.at, format!("a tensor has more than {MAX_RANK} dims"));
            }
            dims.push(self.dim()?);
        }
        Ok(TensorType { dtype, dims })
    }

    fn dim(&mut self) -> Result<Dim> {
        let dim = match &self.token {
            Token::Punct('?') => Some(Dim::Unknown),
            Token::Ident(s) => Some(Dim::Symbol((*s).into())),
            Token::Number(n) => n.parse().ok().map(Dim::Known),
            _ => None,
        };
        let Some(dim) = dim else { return self.expected("an extent, `?` or a symbol") };
        self.advance()?;
        Ok(dim)
    }

    /// A type, and in parentheses a literal of it or its place in a weight file.
    pub(super) fn value(&mut self) -> Result<Const> {
        let ty = self.ty()?;
        self.punct('(')?;
        let value = match self.token {
            Token::Ident("BLOBFILE") => Const::Weight(self.blob(&ty)?),
            _ => Const::Literal(self.literal(&ty)?),
        };
        self.punct(')')?;
        Ok(value)
    }

    fn blob(&mut self, ty: &Type) -> Result<Weight> {
        let at = self.at;
        self.advance()?;
        self.punct('(')?;
        self.word("path")?;
        self.punct('=')?;
        let path_at = self.at;
        let path = self.value()?;
        let path = self.string_entry(Entry { key: "path".into(), at: path_at, value: path })?;
        self.punct(',')?;
        self.word("offset")?;
        self.punct('=')?;
        let offset = self.offset()?;
        self.punct(')')?;
        let origin = BlobRef { path, offset };
        let shape =
            ty.tensor().filter(|t| t.dtype != DType::String).and_then(|t| Some((t.dtype, t.known_shape()?)));
        let bytes = shape.as_ref().and_then(|(d, s)| d.packed_len(element_count(s)?));
        let (Some((dtype, shape)), Some(expected)) = (shape, bytes) else {
            return self
                .fail(at, format!("a weight cannot be {ty}; it must be a tensor of numbers of fixed size"));
        };
        let data = match (self.resolver)(&origin, dtype, &shape) {
            Some(bytes) if bytes.len() == expected => WeightData::Bytes(bytes),
            Some(bytes) => {
                let actual = bytes.len();
                return self
                    .fail(at, format!("{ty} takes {expected} bytes, but the weight file gives {actual}"));
            }
            None => WeightData::Missing,
        };
        Ok(Weight { dtype, shape, data, origin: Some(origin) })
    }

    fn offset(&mut self) -> Result<u64> {
        let at = self.at;
        let Const::Literal(Literal::Tensor(t)) = self.value()? else {
            return self.fail(at, "a blob's offset must be a number".into());
        };
        let bytes: Option<[u8; 8]> = t.bytes().as_ref().try_into().ok();
        match bytes.filter(|_| t.dtype() == DType::U64 && t.rank() == 0) {
            Some(bytes) => Ok(u64::from_le_bytes(bytes)),
            None => self.fail(at, format!("a blob's offset is {}, but must be uint64", t.dtype())),
        }
    }

    fn literal(&mut self, ty: &Type) -> Result<Literal> {
        self.enter("literals")?;
        let literal = match ty {
            Type::Tensor(t) => self.tensor_literal(t)?,
            Type::List { elem, len } => {
                let at = self.at;
                self.punct('[')?;
                let mut items = Vec::new();
                while !self.eat(']')? {
                    self.separator(items.is_empty())?;
                    items.push(self.item(elem)?);
                }
                if !len.compatible(&Dim::Known(items.len())) {
                    return self
                        .fail(at, format!("the list has {} elements, its type says {len}", items.len()));
                }
                Literal::List { elem: (**elem).clone(), items }
            }
            Type::Tuple(types) => {
                self.punct('(')?;
                let mut items = Vec::new();
                for ty in types {
                    self.separator(items.is_empty())?;
                    items.push(self.item(ty)?);
                }
                self.punct(')')?;
                Literal::Tuple(items)
            }
            Type::Dict(key, value) => self.dict_literal(key, value)?,
            Type::State(_) => return self.fail(self.at, "a state has no literal".into()),
        };
        self.depth -= 1;
        Ok(literal)
    }

    fn dict_literal(&mut self, key: &Type, value: &Type) -> Result<Literal> {
        self.punct('{')?;
        let mut entries = Vec::new();
        while !self.eat('}')? {
            self.separator(entries.is_empty())?;
            self.punct('{')?;
            let k = self.item(key)?;
            self.punct(',')?;
            let v = self.item(value)?;
            self.punct('}')?;
            entries.push((k, v));
        }
        Ok(Literal::Dict { key: key.clone(), value: value.clone(), entries })
    }

    /// A literal of the type that its place gives it, or a value with a type of its own.
    fn item(&mut self, expected: &Type) -> Result<Literal> {
        let at = self.at;
        match self.token {
            Token::Ident(word) if is_type_word(word) => match self.value()? {
                Const::Literal(literal) => Ok(literal),
                Const::Weight(_) => self.fail(at, "only a whole value can be in a weight file".into()),
            },
            _ => self.literal(expected),
        }
    }

    fn tensor_literal(&mut self, ty: &TensorType) -> Result<Literal> {
        let at = self.at;
        let shape = ty.known_shape().filter(|s| element_count(s).is_some());
        let Some(shape) = shape else {
            return self.fail(at, format!("a literal needs fixed extents that fit memory, not {ty}"));
        };
        if ty.dtype == DType::String {
            let mut values: Vec<Name> = Vec::new();
            self.elements(&shape, &mut values, &mut |p| p.string().map(Into::into))?;
            return Ok(Literal::Strings { shape, values });
        }
        let bytes = match ty.dtype {
            DType::U64 => {
                let mut values = Vec::new();
                self.elements(&shape, &mut values, &mut |p| p.unsigned())?;
                Tensor::new(
                    DType::U64,
                    shape,
                    values.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>(),
                )
            }
            dtype if dtype.is_float() => {
                let mut numbers = Vec::new();
                self.elements(&shape, &mut numbers, &mut |p| p.float(dtype))?;
                let values: Vec<f64> = numbers.iter().map(|n| n.0).collect();
                let nans: Vec<(usize, u64)> =
                    numbers.iter().enumerate().filter_map(|(i, n)| Some((i, n.1?))).collect();
                Tensor::from_f64s(dtype, shape, &values).and_then(|t| with_bits(t, &nans))
            }
            dtype => {
                let mut values = Vec::new();
                self.elements(&shape, &mut values, &mut |p| p.integer(dtype))?;
                Tensor::from_i64s(dtype, shape, &values)
            }
        };
        bytes.map(Literal::Tensor).or_else(|e| self.fail(at, e.to_string()))
    }

    /// Elements in row-major order: in one pair of brackets per dim, or all in a single pair.
    fn elements<T>(
        &mut self,
        shape: &[usize],
        out: &mut Vec<T>,
        element: &mut dyn FnMut(&mut Self) -> Result<T>,
    ) -> Result<()> {
        let Some((&extent, inner)) = shape.split_first() else {
            out.push(element(self)?);
            return Ok(());
        };
        let at = self.at;
        self.punct('[')?;
        let total = element_count(shape).unwrap_or(0);
        let flat = inner.is_empty() || total == 0 || self.token != Token::Punct('[');
        let wanted = if flat { total } else { extent };
        let mut count = 0usize;
        while !self.eat(']')? {
            self.separator(count == 0)?;
            if count == wanted {
                return self.fail(self.at, format!("more than the {wanted} elements that the type asks for"));
            }
            let inner = if flat { &[] } else { inner };
            self.elements(inner, out, element)?;
            count += 1;
        }
        if count < wanted {
            return self.fail(at, format!("{count} elements, but the type asks for {wanted}"));
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String> {
        match std::mem::replace(&mut self.token, Token::End) {
            Token::Str(s) => {
                self.advance()?;
                Ok(s)
            }
            other => {
                self.token = other;
                self.expected("a string in quotes")
            }
        }
    }

    fn unsigned(&mut self) -> Result<u64> {
        let value = match &self.token {
            Token::Number(n) => n.parse().ok(),
            _ => None,
        };
        let Some(value) = value else { return self.expected("an integer from 0 to 18446744073709551615") };
        self.advance()?;
        Ok(value)
    }

    fn integer(&mut self, dtype: DType) -> Result<i64> {
        let range = dtype.int_range();
        let value = match (&self.token, range) {
            (Token::Number(n), Some((low, high))) => n.parse().ok().filter(|v| (low..=high).contains(v)),
            (Token::Ident("true"), None) => Some(1),
            (Token::Ident("false"), None) => Some(0),
            _ => None,
        };
        let Some(value) = value else {
            let wanted =
                range.map_or("`true` or `false`".into(), |(l, h)| format!("an integer from {l} to {h}"));
            return self.expected(&wanted);
        };
        self.advance()?;
        Ok(value)
    }

    /// A float, and for a NaN its bits when they are given.
    fn float(&mut self, dtype: DType) -> Result<(f64, Option<u64>)> {
        let value = match self.token {
            Token::Number(text) | Token::Ident(text) => parse_float(text),
            _ => None,
        };
        let Some(value) = value else { return self.expected("a number") };
        self.advance()?;
        if !value.is_nan() || !self.eat('(')? {
            return Ok((value, None));
        }
        let bits = match self.token {
            Token::Number(n) => n.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok()),
            _ => None,
        };
        let Some(bits) = bits.filter(|b| dtype.bits() == 64 || b >> dtype.bits() == 0) else {
            return self.expected(&format!("the {} bits of a NaN as 0x…", dtype.bits()));
        };
        self.advance()?;
        self.punct(')')?;
        Ok((value, Some(bits).filter(|&b| b != nan_bits(dtype))))
    }
}

/// True for words that begin a type.
pub(super) fn is_type_word(word: &str) -> bool {
    matches!(word, "tensor" | "list" | "dict" | "tuple" | "state") || DType::from_name(word).is_some()
}

/// The tensor with the bits of some elements replaced; elements are whole bytes.
fn with_bits(t: Tensor, bits: &[(usize, u64)]) -> Result<Tensor, anemone_tensor::TensorError> {
    if bits.is_empty() {
        return Ok(t);
    }
    let width = t.dtype().bits() / 8;
    let mut bytes = t.bytes().to_vec();
    for &(i, b) in bits {
        if let Some(slot) = bytes.get_mut(i * width..(i + 1) * width) {
            slot.copy_from_slice(&b.to_le_bytes()[..width]);
        }
    }
    Tensor::new(t.dtype(), t.shape().to_vec(), bytes)
}
