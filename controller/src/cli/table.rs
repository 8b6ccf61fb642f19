//! Tables as `kubectl` prints them: no lines, columns as wide as they must be.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table as Inner, presets};

use crate::terminal::{Paint, Style};

/// A table that is filled row by row.
pub(super) struct Table {
    inner: Inner,
}

impl Table {
    /// A table with these headers. An empty list is a table without.
    pub(super) fn new(paint: Paint, headers: &[&str]) -> Self {
        let mut inner = Inner::new();
        inner.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if paint == Paint::plain() {
            inner.force_no_tty();
        } else {
            inner.enforce_styling().style_text_only();
        }
        if !headers.is_empty() {
            inner.set_header(headers.iter().map(|header| Cell::new(header).add_attribute(Attribute::Bold)));
        }
        Self { inner }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: Vec<Styled>) {
        self.inner.add_row(cells.into_iter().map(Styled::into_cell));
    }

    /// The lines, each indented by `indent` columns, without space at their ends.
    pub(super) fn render(mut self, indent: u16) -> String {
        for (index, column) in self.inner.column_iter_mut().enumerate() {
            column.set_padding((if index == 0 { indent } else { 0 }, 3));
        }
        let mut out = String::new();
        for line in self.inner.lines() {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// The text of a cell.
#[derive(Clone, Debug)]
pub(super) struct Styled {
    text: String,
    style: Style,
}

impl Styled {
    /// `text` in `style`.
    pub(super) fn new(style: Style, text: impl Into<String>) -> Self {
        Self { text: text.into(), style }
    }

    fn into_cell(self) -> Cell {
        // A line break would tear the columns apart.
        let text = self.text.replace(['\n', '\r', '\t'], " ");
        let cell = Cell::new(text);
        match self.style {
            Style::Plain => cell,
            Style::Bold => cell.add_attribute(Attribute::Bold),
            Style::Dim => cell.add_attribute(Attribute::Dim),
            Style::Good => cell.fg(Color::DarkGreen),
            Style::Warn => cell.fg(Color::DarkYellow),
            Style::Bad => cell.fg(Color::DarkRed),
        }
    }
}

impl From<&str> for Styled {
    fn from(text: &str) -> Self {
        Self::new(Style::Plain, text)
    }
}

impl From<String> for Styled {
    fn from(text: String) -> Self {
        Self::new(Style::Plain, text)
    }
}

/// `text`, or what `kubectl` writes where there is none.
pub(super) fn or_none(text: impl Into<String>) -> Styled {
    let text = text.into();
    if text.is_empty() { Styled::new(Style::Dim, "<none>") } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_are_not() {
        let mut table = Table::new(Paint::plain(), &["NAME", "STATUS"]);
        table.row(vec!["web".into(), Styled::new(Style::Bad, "broken\nline")]);
        table.row(vec!["a-long-name".into(), or_none("")]);
        assert_eq!(
            table.render(2),
            "  NAME          STATUS\n  web           broken line\n  a-long-name   <none>\n"
        );
    }
}
