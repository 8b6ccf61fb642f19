//! Where each field of a document stands.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use saphyr_parser::{Event, Parser};

/// Line and column, both counted from 1.
pub(crate) type Position = (usize, usize);

/// The positions of all fields of one document, by path (`spec.rules[0].name`). For a member of an object it is the
/// position of its key.
#[derive(Debug, Default)]
pub(crate) struct FieldIndex(BTreeMap<String, Position>);

enum Frame {
    Object { length: usize, in_value: bool },
    Array { length: usize, next: usize },
}

impl FieldIndex {
    /// Reads the positions out of `text`, as far as it parses.
    pub(crate) fn of(text: &str) -> Self {
        let mut fields = BTreeMap::new();
        let mut path = String::new();
        let mut frames: Vec<Frame> = Vec::new();
        for event in Parser::new_from_str(text) {
            let Ok((event, span)) = event else { break };
            let position = (span.start.line(), span.start.col() + 1);
            match event {
                Event::MappingEnd | Event::SequenceEnd => {
                    frames.pop();
                    end_value(&mut frames);
                }
                Event::Scalar(..) | Event::Alias(_) | Event::MappingStart(..) | Event::SequenceStart(..) => {
                    if let (Event::Scalar(key, ..), Some(Frame::Object { length, in_value })) =
                        (&event, frames.last_mut())
                        && !*in_value
                    {
                        path.truncate(*length);
                        if !path.is_empty() {
                            path.push('.');
                        }
                        path.push_str(key);
                        *in_value = true;
                        fields.entry(path.clone()).or_insert(position);
                        continue;
                    }
                    if let Some(Frame::Array { length, next }) = frames.last_mut() {
                        path.truncate(*length);
                        // Writing to a String cannot fail.
                        let _ = write!(path, "[{next}]");
                        *next += 1;
                        fields.insert(path.clone(), position);
                    } else if frames.is_empty() {
                        fields.insert(String::new(), position);
                    }
                    match event {
                        Event::MappingStart(..) => {
                            frames.push(Frame::Object { length: path.len(), in_value: false });
                        }
                        Event::SequenceStart(..) => frames.push(Frame::Array { length: path.len(), next: 0 }),
                        _ => end_value(&mut frames),
                    }
                }
                _ => {}
            }
        }
        Self(fields)
    }

    /// The position of `field`, else of the nearest field around it that exists.
    pub(crate) fn find(&self, field: &str) -> Position {
        let mut path = field;
        loop {
            if let Some(position) = self.0.get(path) {
                return *position;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None if path.is_empty() => return (1, 0),
                None => path = "",
            }
        }
    }
}

fn end_value(frames: &mut [Frame]) {
    if let Some(Frame::Object { in_value, .. }) = frames.last_mut() {
        *in_value = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "---
kind: HTTPRoute
metadata: {name: web, labels: {a.b/c: d}}
spec:
  rules:
  - name: first
    matches:
    - path: {type: Exact, value: /x}
    - headers: [{name: a}, {name: b}]
  -
    name: second
  after: 1
";

    #[test]
    fn finds_fields_at_every_depth() {
        let index = FieldIndex::of(TEXT);
        assert_eq!(index.find("kind"), (2, 1));
        assert_eq!(index.find("metadata.name"), (3, 12));
        assert_eq!(index.find("metadata.labels.a.b/c"), (3, 32));
        assert_eq!(index.find("spec.rules[0].matches[0].path.value"), (8, 27));
        assert_eq!(index.find("spec.rules[0].matches[1].headers[1].name"), (9, 29));
        assert_eq!(index.find("spec.rules[1].name"), (11, 5));
    }

    #[test]
    fn falls_back_to_the_field_around() {
        let index = FieldIndex::of(TEXT);
        assert_eq!(index.find("spec.rules[0].filters[2].type"), (6, 5));
        assert_eq!(index.find("spec.parentRefs[0]"), (4, 1));
        assert_eq!(index.find("status"), (2, 1));
    }

    #[test]
    fn keeps_what_stands_before_a_syntax_error() {
        let index = FieldIndex::of("a:\n  b: 1\n  c: [1, 2\nd: }");
        assert_eq!(index.find("a.b"), (2, 3));
    }
}
