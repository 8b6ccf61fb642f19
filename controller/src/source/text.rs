//! Cuts the text of a file into its YAML documents without parsing it, so that an edit of one document leaves the
//! others untouched, and one that does not parse spoils no other.

/// One document: its text, and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk<'a> {
    /// The line of the file on which `text` begins, counted from 1.
    pub(crate) line: usize,
    /// The text, with its `---` line if it has one.
    pub(crate) text: &'a str,
}

/// The documents of `text` that hold more than blanks and comments.
///
/// In YAML `---` or `...` at the beginning of a line ends the document wherever it stands, even inside a block scalar,
/// which makes the cut exact.
pub(crate) fn documents(text: &str) -> Vec<Chunk<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut out = Vec::new();
    let (mut start, mut start_line) = (0, 1);
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if is_marker(line, "---") {
            if has_content(&text[start..offset]) {
                out.push(Chunk { line: start_line, text: &text[start..offset] });
            }
            (start, start_line) = (offset, index + 1);
        } else if is_marker(line, "...") {
            if has_content(&text[start..offset]) {
                out.push(Chunk { line: start_line, text: &text[start..offset] });
            }
            (start, start_line) = (offset + line.len(), index + 2);
        }
        offset += line.len();
    }
    if has_content(&text[start..]) {
        out.push(Chunk { line: start_line, text: &text[start..] });
    }
    out
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn has_content(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        !line.is_empty() && !line.starts_with('#')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(usize, &str)> {
        documents(text).into_iter().map(|c| (c.line, c.text)).collect()
    }

    #[test]
    fn cuts_at_markers_and_counts_lines() {
        assert_eq!(
            cut("a: 1\n---\nb: 2\n--- # c\nc: 3"),
            [(1, "a: 1\n"), (2, "---\nb: 2\n"), (4, "--- # c\nc: 3")]
        );
    }

    #[test]
    fn leaves_out_empty_documents_and_comments() {
        assert_eq!(cut("# licence\n---\n---\n\n# x\n---\na: 1\n---\n"), [(6, "---\na: 1\n")]);
        assert_eq!(cut(""), []);
        assert_eq!(cut("---\n# only this\n"), []);
        // What is cut can be read.
        for text in ["a: 1\n---\n\n---\nb: 2\n", "---\n# Source: x.yaml\n---\na: 1\n---\n---\n"] {
            for (_, text) in cut(text) {
                serde_yaml::from_str::<serde_yaml::Value>(text).expect(text);
            }
        }
    }

    #[test]
    fn keeps_dashes_that_are_not_markers() {
        assert_eq!(cut("a: |\n  ---\n  x\nb: ---x\n---x: 1\n").len(), 1);
    }

    #[test]
    fn ends_documents_at_dots() {
        assert_eq!(cut("a: 1\n...\nb: 2\n"), [(1, "a: 1\n"), (3, "b: 2\n")]);
    }

    #[test]
    fn reads_windows_lines() {
        assert_eq!(cut("a: 1\r\n---\r\nb: 2\r\n").len(), 2);
    }
}
