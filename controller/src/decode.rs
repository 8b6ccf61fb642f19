//! Reads objects from whatever serde can read.

use postern_translator::{Kind, Object};

/// Reads an object of `kind`, see [`Object::deserialize`].
///
/// The code of all types is compiled once for every deserializer that comes this way, which takes megabytes off the program. What the
/// API server sends has its own copy, which is faster.
pub(crate) fn object(
    kind: Kind,
    from: &mut dyn erased_serde::Deserializer<'_>,
) -> Result<Object, erased_serde::Error> {
    Object::deserialize(kind, from)
}
