//! The part of tonic-build that limitador's build names, for a feature that is not on. Nothing is generated.

use std::io;
use std::path::Path;

/// Settings of the generator, which are forgotten.
#[derive(Debug)]
pub struct Builder;

/// Leads to [`Builder::compile_protos`], which fails.
pub fn configure() -> Builder {
    Builder
}

impl Builder {
    /// Gives an argument to protoc.
    #[must_use]
    pub fn protoc_arg(self, _: impl AsRef<str>) -> Self {
        self
    }

    /// Fails.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn compile_protos(self, _: &[impl AsRef<Path>], _: &[impl AsRef<Path>]) -> io::Result<()> {
        Err(io::Error::other("this program is built without a generator of protobuf types"))
    }
}
