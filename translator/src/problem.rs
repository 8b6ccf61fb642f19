//! What is wrong with an object, in words that name the field and the remedy.

use serde::Serialize;

use crate::object::ObjectKey;

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something that was asked for does not happen.
    Error,
    /// Everything asked for happens, but perhaps not what was meant.
    Warning,
}

/// One thing that is wrong with one field of one object. Never stops the translation of anything else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// The object to mend.
    pub object: ObjectKey,
    /// The path of the field, such as `spec.rules[0].matches[1].path.value`.
    pub field: String,
    /// What is wrong, naming the value.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// A problem of a field before it is known whose field it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The field, relative to where the value stands.
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl Fault {
    pub(crate) fn new(
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), message: message.into(), remedy: remedy.into() }
    }

    /// The same fault seen from further out.
    pub(crate) fn within(mut self, outer: &str) -> Self {
        self.field.insert_str(0, outer);
        self
    }
}

/// Collects the problems of one unit of translation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn error(
        &mut self,
        object: &ObjectKey,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(Severity::Error, object, field.into(), message.into(), remedy.into());
    }

    pub(crate) fn warning(
        &mut self,
        object: &ObjectKey,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(Severity::Warning, object, field.into(), message.into(), remedy.into());
    }

    fn push(
        &mut self,
        severity: Severity,
        object: &ObjectKey,
        field: String,
        message: String,
        remedy: String,
    ) {
        let problem = Problem { severity, object: object.clone(), field, message, remedy };
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
