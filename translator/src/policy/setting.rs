//! A field that a policy can also switch off.

/// What a policy says of something that policies with less specific targets may say too.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Setting<T> {
    /// Switched off here, whatever a higher level says.
    Disabled,
    Enabled(T),
}

impl<T> Setting<T> {
    /// What is to be done, if anything is.
    pub(crate) const fn enabled(&self) -> Option<&T> {
        match self {
            Self::Disabled => None,
            Self::Enabled(it) => Some(it),
        }
    }
}
