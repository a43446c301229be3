//! Typed ids into the arenas of a function.

use std::sync::Arc;

/// A shared name.
pub type Name = Arc<str>;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u32);

        impl $name {
            /// The id of arena slot `index`; slots beyond 2^32 share the last id, which no program reaches.
            pub(crate) fn of(index: usize) -> Self {
                $name(u32::try_from(index).unwrap_or(u32::MAX))
            }

            /// Position in the arena, usable as an index of side tables.
            pub fn index(self) -> usize {
                usize::try_from(self.0).unwrap_or(usize::MAX)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// An op of a function.
    OpId, "op"
);
id!(
    /// A value of a function.
    ValueId, "%"
);
id!(
    /// A block of a function.
    BlockId, "^"
);
