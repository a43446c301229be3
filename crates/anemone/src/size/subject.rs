//! What is sized: weights in pieces, and the cache of keys and values.

use super::scheme::{Bytes, Scheme};

/// Where the figures come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The weights of a model.
    Model,
    /// A `config.json`.
    Config,
    /// A number of parameters alone.
    Count,
}

/// What a piece is of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Tables that tokens are looked up in.
    Embedding,
    /// A layer.
    Layer,
    /// What gives the scores of tokens.
    Head,
    /// Norms and the like between them, or a weight of a model whose parts are not known.
    Other,
}

/// Weights of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Output channels.
    pub rows: u64,
    /// Inputs of an output channel.
    pub columns: u64,
    /// How many there are.
    pub count: u64,
    /// How many of them one token needs.
    pub active: u64,
}

impl Group {
    /// So many weights, all of which every token needs.
    pub const fn new(rows: u64, columns: u64, count: u64) -> Group {
        Group { rows, columns, count, active: count }
    }
}

/// A part of the model that stays in one program where it fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub part: Part,
    /// Its weights.
    pub groups: Vec<Group>,
}

impl Piece {
    /// Elements of its weights.
    pub fn parameters(&self) -> u64 {
        sum(self.groups.iter().map(|g| g.rows.saturating_mul(g.columns).saturating_mul(g.count)))
    }

    /// Elements that one token needs.
    pub fn active(&self) -> u64 {
        sum(self.groups.iter().map(|g| g.rows.saturating_mul(g.columns).saturating_mul(g.active)))
    }

    /// Bytes by that scheme.
    pub fn bytes(&self, scheme: Scheme) -> Bytes {
        let each = self.groups.iter().map(|g| scheme.bytes(g.rows, g.columns).times(g.count));
        each.fold(Bytes::default(), Bytes::plus)
    }

    /// Bytes by that scheme that one token needs.
    pub fn active_bytes(&self, scheme: Scheme) -> Bytes {
        let each = self.groups.iter().map(|g| scheme.bytes(g.rows, g.columns).times(g.active));
        each.fold(Bytes::default(), Bytes::plus)
    }
}

pub(super) fn sum(each: impl Iterator<Item = u64>) -> u64 {
    each.fold(0, u64::saturating_add)
}

/// Keys and values that are kept between tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cache {
    /// None: the model keeps nothing, or it is not known.
    None,
    /// Of a decoder, in fp16.
    Layers {
        /// Elements that a position takes in one layer: keys and values.
        elements: u64,
        /// Per layer, the positions that it keeps at most.
        windows: Vec<Option<u64>>,
    },
    /// The states of a package.
    States(Vec<StateSize>),
}

/// One state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSize {
    /// Its name.
    pub name: String,
    /// Its bytes as the package declares it.
    pub bytes: u64,
    /// The positions that it holds: its last extent but one, where it has three or more.
    pub positions: Option<u64>,
}

impl Cache {
    /// Bytes for so many positions.
    ///
    /// For a decoder 2 x kv heads x head dim x 2 B per layer and position, windows cut off. A state with positions is
    /// scaled to them, another one counts as it is.
    pub fn bytes(&self, context: u64) -> u64 {
        match self {
            Cache::None => 0,
            Cache::Layers { elements, windows } => {
                let kept = windows.iter().map(|w| w.map_or(context, |w| w.min(context)));
                sum(kept).saturating_mul(*elements).saturating_mul(2)
            }
            Cache::States(states) => sum(states.iter().map(|s| match s.positions {
                Some(positions) => {
                    let scaled = u128::from(s.bytes) * u128::from(context) / u128::from(positions.max(1));
                    u64::try_from(scaled).unwrap_or(u64::MAX)
                }
                None => s.bytes,
            })),
        }
    }
}

/// What is sized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Where the figures come from.
    pub origin: Origin,
    /// What it is, in a few words.
    pub what: String,
    /// Its weights, in the order of use.
    pub pieces: Vec<Piece>,
    /// Parameters that are meant, where they differ from those of the pieces: bytes are scaled to them.
    pub meant: Option<u64>,
    /// Bytes of the weights as they are stored; `None` where there is no model yet.
    pub stored: Option<u64>,
    /// Keys and values.
    pub cache: Cache,
    /// Longest sequence that the model was made for, where it is known.
    pub positions: Option<u64>,
    /// What was assumed, one sentence each.
    pub notes: Vec<String>,
}

impl Subject {
    /// Parameters.
    pub fn parameters(&self) -> u64 {
        self.meant.unwrap_or_else(|| self.counted())
    }

    /// Parameters that one token needs; tables that it is looked up in are left out.
    pub fn active(&self) -> u64 {
        self.scaled(sum(self.pieces.iter().map(Piece::active)))
    }

    /// Bytes of all weights by that scheme.
    pub fn bytes(&self, scheme: Scheme) -> Bytes {
        let all = self.pieces.iter().map(|p| p.bytes(scheme)).fold(Bytes::default(), Bytes::plus);
        Bytes { values: self.scaled(all.values), tables: self.scaled(all.tables) }
    }

    /// Bytes of the weights that one token needs, by that scheme.
    pub fn active_bytes(&self, scheme: Scheme) -> u64 {
        self.scaled(sum(self.pieces.iter().map(|p| p.active_bytes(scheme).total())))
    }

    /// Bytes of a piece by that scheme.
    pub(super) fn piece_bytes(&self, piece: &Piece, scheme: Scheme) -> u64 {
        self.scaled(piece.bytes(scheme).total())
    }

    fn counted(&self) -> u64 {
        sum(self.pieces.iter().map(Piece::parameters))
    }

    fn scaled(&self, n: u64) -> u64 {
        let Some(meant) = self.meant else { return n };
        let scaled = u128::from(n) * u128::from(meant) / u128::from(self.counted().max(1));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}
