//! The text of a template, and how far it is read.

use serde_json::Value;

use crate::problem::Fault;

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// `line 1, column 4`; empty where it is about all of it.
    at: String,
    message: String,
    remedy: String,
}

impl Wrong {
    pub(super) fn new(at: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { at: at.to_owned(), message: message.into(), remedy: remedy.into() }
    }

    /// The same as a fault of `field`.
    pub(super) fn of(self, field: &str) -> Fault {
        let place = if self.at.is_empty() { String::new() } else { format!("{}: ", self.at) };
        Fault::new(field, format!("{place}{}", self.message), self.remedy)
    }
}

/// A template that is read from its beginning to its end.
pub(super) struct Source<'a> {
    text: &'a str,
    read: usize,
    /// The statement that is read ends with its line.
    line: bool,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text: text.trim_start_matches('\u{feff}'), read: 0, line: false }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.read..]
    }

    pub(super) fn at_end(&self) -> bool {
        self.read == self.text.len()
    }

    /// Where reading is, for people.
    pub(super) fn position(&self) -> String {
        let before = &self.text[..self.read];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |it| it.chars().count()) + 1;
        format!("line {line}, column {column}")
    }

    pub(super) fn wrong(&self, message: impl Into<String>, remedy: impl Into<String>) -> Wrong {
        Wrong::new(&self.position(), message, remedy)
    }

    /// Reads text up to what opens an expression, a statement, a comment or a line statement.
    pub(super) fn text(&mut self) -> &'a str {
        let begin = self.read;
        let opening = |at: usize| {
            let rest = &self.text[at..];
            let line_begins = at == 0 || self.text.as_bytes()[at - 1] == b'\n';
            ["{{", "{%", "{#"].iter().any(|open| rest.starts_with(open))
                || line_begins && rest.starts_with("##")
        };
        let candidates = self.text[begin..].match_indices(['{', '#']).map(|(at, _)| begin + at);
        self.read = candidates.into_iter().find(|at| opening(*at)).unwrap_or(self.text.len());
        let text = &self.text[begin..self.read];
        if ["{{-", "{%-", "{#-"].iter().any(|open| self.rest().starts_with(open)) {
            without_blank_end(text)
        } else {
            text
        }
    }

    pub(super) fn set_line(&mut self, line: bool) {
        self.line = line;
    }

    pub(super) fn skip_blanks(&mut self) {
        let line = self.line;
        let blank = |c: char| matches!(c, ' ' | '\t' | '\r') || c == '\n' && !line;
        self.read = self.text.len() - self.rest().trim_start_matches(blank).len();
    }

    /// Reads `token`, if it is next.
    pub(super) fn take(&mut self, token: &str) -> bool {
        if !token.starts_with('{') {
            self.skip_blanks();
        }
        let next = self.rest().starts_with(token);
        if next {
            self.read += token.len();
        }
        next
    }

    pub(super) fn expect(&mut self, token: &str) -> Result<(), Wrong> {
        if self.take(token) {
            return Ok(());
        }
        Err(self.wrong(format!("{token} is missing"), "mend the template"))
    }

    /// Reads a name, which may have dots, slashes and hyphens in it.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        self.skip_blanks();
        let rest = self.rest();
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '@' | '$')) {
            return None;
        }
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_' | '-');
        let length = 1 + rest[1..].find(|c| !inner(c)).unwrap_or(rest.len() - 1);
        // The hyphen of what closes an expression is not part of the name.
        let closes = |rest: &str| rest.starts_with("}}") || rest.starts_with("%}");
        let length =
            if rest[..length].ends_with('-') && closes(&rest[length..]) { length - 1 } else { length };
        self.read += length;
        Some(&rest[..length])
    }

    /// Reads `word`, if it is the next name.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let before = self.read;
        let found = self.word() == Some(word);
        if !found {
            self.read = before;
        }
        found
    }

    /// True if what closes an expression or a statement is next.
    pub(super) fn at_close(&mut self) -> bool {
        self.skip_blanks();
        let rest = self.rest();
        let line_ends = self.line && (rest.is_empty() || rest.starts_with('\n'));
        line_ends || ["}}", "-}}", "%}", "-%}"].iter().any(|close| rest.starts_with(close))
    }

    /// Reads what closes an expression or a statement; with `trimming`, all white space behind it too.
    pub(super) fn close(&mut self, plain: &str, trimming: &str) -> Result<(), Wrong> {
        if self.take(trimming) {
            self.line = false;
            self.skip_blanks();
            return Ok(());
        }
        if self.take(plain) {
            return Ok(());
        }
        Err(self.wrong(
            format!("{plain} is missing"),
            format!("close it with {plain}; an expression has operators between its parts"),
        ))
    }

    /// Reads the end of a line.
    pub(super) fn close_line(&mut self) -> Result<(), Wrong> {
        self.skip_blanks();
        self.line = false;
        if self.at_end() {
            return Ok(());
        }
        if self.rest().starts_with('\n') {
            self.read += 1;
            return Ok(());
        }
        Err(self.wrong("the line does not end here", "write what follows ## alone on its line"))
    }

    /// Reads the rest of a comment.
    pub(super) fn skip_comment(&mut self) -> Result<(), Wrong> {
        let Some(end) = self.rest().find("#}") else {
            return Err(self.wrong("#} is missing", "close the comment with #}"));
        };
        let trims = self.rest()[..end].ends_with('-');
        self.read += end + 2;
        if trims {
            let rest = self.rest().trim_start_matches([' ', '\t']);
            let rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest);
            self.read = self.text.len() - rest.len();
        }
        Ok(())
    }

    /// Reads a value in JSON: a string, a number, a list or an object.
    pub(super) fn literal(&mut self) -> Option<Result<Value, Wrong>> {
        self.skip_blanks();
        let rest = self.rest();
        let wrong = || {
            self.wrong(
                "it is no value in JSON",
                "write strings in double quotes, lists as [1, 2], objects as {\"a\": 1}",
            )
        };
        let value = if rest.starts_with(['"', '[', '{']) {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            let value = values.next().and_then(Result::ok).ok_or_else(wrong);
            value.map(|value| (value, values.byte_offset()))
        } else {
            let length = number_length(rest)?;
            serde_json::from_str(&rest[..length]).map(|value| (value, length)).map_err(|_| wrong())
        };
        Some(value.map(|(value, length)| {
            self.read += length;
            value
        }))
    }
}

/// The length of what may be a number at the beginning of `text`.
fn number_length(text: &str) -> Option<usize> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let bytes = text.as_bytes();
    let part = |at: usize| match bytes[at] {
        b'+' | b'-' => at == 0 || matches!(bytes[at - 1], b'e' | b'E'),
        c => c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'E'),
    };
    Some((0..text.len()).find(|at| !part(*at)).unwrap_or(text.len()))
}

/// Without the white space at the end of `text`, where it is alone on its line.
fn without_blank_end(text: &str) -> &str {
    let trimmed = text.trim_end_matches([' ', '\t']);
    if trimmed.is_empty() || trimmed.ends_with(['\n', '\r']) { trimmed } else { text }
}
