//! What is wrong with the input, as a person reads it: where, which object and field, what, and what to do.

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::Arc;

use postern_translator::{ObjectKey, Problem, Severity};
use serde::{Serialize, Serializer};

/// How bad a [`Diagnostic`] is. `Error` makes `postern check` fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something that was asked for does not happen.
    Error,
    /// Everything asked for happens, but perhaps not what was meant.
    Warning,
    /// Nothing is wrong; good to know.
    Note,
}

impl Level {
    /// The word that is printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A place in a file. Lines and columns count from 1; 0 means unknown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// The file, as it was named on the command line.
    #[serde(serialize_with = "as_text")]
    pub file: Arc<PathBuf>,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

fn as_text<S: Serializer>(path: &Arc<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// `file:line:column`, which terminals and editors know how to open.
impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        Ok(())
    }
}

/// One finding about the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub level: Level,
    /// Where it is; `None` only for an object that no file holds, such as an implied Namespace.
    #[serde(flatten)]
    pub location: Option<Location>,
    /// The object, if the document was understood far enough to know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The path of the field, such as `spec.rules[0].matches[1].path.value`; empty for the whole object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Diagnostic {
    /// The finding of the translator `problem`, found at `location`.
    pub fn of_problem(problem: &Problem, location: Option<Location>) -> Self {
        Self {
            level: match problem.severity {
                Severity::Error => Level::Error,
                Severity::Warning => Level::Warning,
            },
            location,
            object: Some(problem.object.to_string()),
            field: problem.field.clone(),
            message: problem.message.clone(),
            remedy: problem.remedy.clone(),
        }
    }

    /// The object of the finding, if it is `key`.
    pub fn is_about(&self, key: &ObjectKey) -> bool {
        self.object.as_deref() == Some(key.to_string().as_str())
    }
}

/// By place, then by severity: the order in which a file is read.
impl Ord for Diagnostic {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.location, self.level, &self.object, &self.field, &self.message, &self.remedy).cmp(&(
            &other.location,
            other.level,
            &other.object,
            &other.field,
            &other.message,
            &other.remedy,
        ))
    }
}

impl PartialOrd for Diagnostic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
