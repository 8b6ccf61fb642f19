//! Templates as kgateway v2.1 has them (the language is that of Inja, <https://github.com/pantor/inja>), read into a tree.

use serde_json::Value;

use super::expression::{Expression, parse_expression};
use super::source::{Source, Wrong};

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Text that stays as it is.
    Text(String),
    /// `{{ expression }}`
    Print(Expression),
    /// `{% if %}`, with what stands behind `else`.
    If(Expression, Vec<Self>, Vec<Self>),
    /// `{% for value in list %}`
    ForList { at: String, value: String, list: Expression, body: Vec<Self> },
    /// `{% for key, value in object %}`
    ForObject { at: String, key: String, value: String, object: Expression, body: Vec<Self> },
    /// `{% set a.b = expression %}`
    Set(Vec<String>, Expression),
}

/// The longest template.
const MAX_BYTES: usize = 64 * 1024;
/// The deepest nesting of statements; every `else if` is one level more.
const MAX_DEPTH: usize = 40;

/// Reads a template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Wrong> {
    if text.len() > MAX_BYTES {
        return Err(Wrong::new("", format!("it has {} bytes", text.len()), "use at most 65536 bytes"));
    }
    let mut parser = Parser { source: Source::new(text), depth: 0 };
    let (nodes, end) = parser.nodes(&[])?;
    debug_assert!(end.is_none(), "nothing ends a template but its end");
    Ok(nodes)
}

/// How a statement begins, which is how it must end.
#[derive(Clone, Copy)]
enum Close {
    /// `%}`
    Statement,
    /// The end of a line that begins with `##`.
    Line,
}

/// Nodes, and the statement that ends them, if it was not the end of the template.
type Part = (Vec<Node>, Option<(&'static str, Close)>);

struct Parser<'a> {
    source: Source<'a>,
    depth: usize,
}

impl Parser<'_> {
    /// Reads up to a statement that is one of `ends`, or the end of the template where there are none.
    fn nodes(&mut self, ends: &[&'static str]) -> Result<Part, Wrong> {
        self.deeper()?;
        let mut nodes = Vec::new();
        loop {
            let text = self.source.text();
            if !text.is_empty() {
                nodes.push(Node::Text(text.to_owned()));
            }
            let close = if self.source.at_end() {
                if let Some(end) = ends.last() {
                    return Err(self
                        .source
                        .wrong(format!("{end} is missing"), format!("end it with {{% {end} %}}")));
                }
                break;
            } else if self.source.take("{{-") || self.source.take("{{") {
                let expression = parse_expression(&mut self.source)?;
                self.source.close("}}", "-}}")?;
                nodes.push(Node::Print(expression));
                continue;
            } else if self.source.take("{#") {
                self.source.skip_comment()?;
                continue;
            } else if self.source.take("{%-") || self.source.take("{%+") || self.source.take("{%") {
                Close::Statement
            } else {
                self.source.take("##");
                Close::Line
            };
            self.source.set_line(matches!(close, Close::Line));
            self.source.skip_blanks();
            let at = self.source.position();
            let word = self.source.word().unwrap_or_default();
            if let Some(end) = ends.iter().find(|end| **end == word) {
                self.depth -= 1;
                return Ok((nodes, Some((end, close))));
            }
            nodes.push(self.statement(&at, word, close)?);
        }
        self.depth -= 1;
        Ok((nodes, None))
    }

    fn deeper(&mut self) -> Result<(), Wrong> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("statements are nested more than {MAX_DEPTH} deep");
            return Err(self.source.wrong(message, "use fewer levels"));
        }
        Ok(())
    }

    fn statement(&mut self, at: &str, word: &str, close: Close) -> Result<Node, Wrong> {
        match word {
            "if" => self.branches(close),
            "for" => self.repetition(at, close),
            "set" => {
                let path = self.name()?.split('.').map(str::to_owned).collect();
                self.source.expect("=")?;
                let value = parse_expression(&mut self.source)?;
                self.end(close)?;
                Ok(Node::Set(path, value))
            }
            "else" | "endif" | "endfor" => {
                Err(Wrong::new(at, format!("{word} has no beginning"), "begin it with if or for"))
            }
            "include" | "extends" | "block" | "endblock" => Err(Wrong::new(
                at,
                format!("{word} is not possible: there are no other templates"),
                "write it all in one template",
            )),
            _ => Err(Wrong::new(
                at,
                format!("{word:?} is no statement"),
                "use if, else, endif, for, endfor or set; what is printed stands in {{ }}",
            )),
        }
    }

    fn branches(&mut self, close: Close) -> Result<Node, Wrong> {
        let condition = parse_expression(&mut self.source)?;
        self.end(close)?;
        let (then, end) = self.nodes(&["else", "endif"])?;
        let mut otherwise = Vec::new();
        if let Some(("else", close)) = end {
            if self.source.take_word("if") {
                // The endif that ends it ends the whole chain.
                self.deeper()?;
                otherwise.push(self.branches(close)?);
                self.depth -= 1;
                return Ok(Node::If(condition, then, otherwise));
            }
            self.end(close)?;
            let (nodes, end) = self.nodes(&["endif"])?;
            otherwise = nodes;
            self.end(end.map_or(close, |(_, close)| close))?;
        } else if let Some((_, close)) = end {
            self.end(close)?;
        }
        Ok(Node::If(condition, then, otherwise))
    }

    fn repetition(&mut self, at: &str, close: Close) -> Result<Node, Wrong> {
        let first = self.name()?.to_owned();
        let second = if self.source.take(",") { Some(self.name()?.to_owned()) } else { None };
        if !self.source.take_word("in") {
            return Err(self
                .source
                .wrong("for has no in", "write {% for item in list %} or {% for key, value in object %}"));
        }
        let over = parse_expression(&mut self.source)?;
        self.end(close)?;
        let (body, end) = self.nodes(&["endfor"])?;
        self.end(end.map_or(close, |(_, close)| close))?;
        let at = at.to_owned();
        Ok(match second {
            None => Node::ForList { at, value: first, list: over, body },
            Some(value) => Node::ForObject { at, key: first, value, object: over, body },
        })
    }

    fn name(&mut self) -> Result<&str, Wrong> {
        self.source.word().ok_or_else(|| self.source.wrong("a name is missing", "give the variable a name"))
    }

    fn end(&mut self, close: Close) -> Result<(), Wrong> {
        match close {
            Close::Statement => self.source.close("%}", "-%}"),
            Close::Line => self.source.close_line(),
        }
    }
}

/// The form in which the proxy gets a template.
pub(super) fn encode(nodes: &[Node]) -> Value {
    nodes.iter().map(encode_node).collect()
}

fn encode_node(node: &Node) -> Value {
    let list = Value::Array;
    let text = |text: &String| Value::from(text.clone());
    match node {
        Node::Text(it) => text(it),
        Node::Print(it) => list(vec!["p".into(), it.encode()]),
        Node::If(condition, then, otherwise) => {
            list(vec!["i".into(), condition.encode(), encode(then), encode(otherwise)])
        }
        Node::ForList { at, value, list: over, body } => {
            list(vec!["a".into(), text(at), text(value), over.encode(), encode(body)])
        }
        Node::ForObject { at, key, value, object, body } => {
            list(vec!["o".into(), text(at), text(key), text(value), object.encode(), encode(body)])
        }
        Node::Set(path, value) => list(vec!["s".into(), path.clone().into(), value.encode()]),
    }
}
