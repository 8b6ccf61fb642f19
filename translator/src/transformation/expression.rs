//! Expressions of templates.

use serde_json::{Value, json};

use super::functions;
use super::source::{Source, Wrong};

/// What is computed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Literal(Value),
    /// A field of the body, or a variable of the template.
    Variable {
        at: String,
        name: String,
    },
    /// A function or an operator.
    Call {
        at: String,
        name: String,
        arguments: Vec<Self>,
    },
}

impl Expression {
    /// The form in which the proxy gets it.
    pub(super) fn encode(&self) -> Value {
        match self {
            Self::Literal(value) => json!(["l", value]),
            Self::Variable { at, name } => {
                json!(["v", at, name, name.split('.').collect::<Vec<_>>()])
            }
            Self::Call { at, name, arguments } => {
                let mut call = vec!["c".into(), at.clone().into(), name.clone().into()];
                call.extend(arguments.iter().map(Self::encode));
                Value::Array(call)
            }
        }
    }
}

/// The deepest nesting of brackets, calls and operators.
const MAX_DEPTH: usize = 24;

/// Operators of two values, with their precedence; all but `^` are left-associative. That `and` and `or` bind alike is Inja's way.
const OPERATORS: [(&str, u8); 14] = [
    ("and", 1),
    ("or", 1),
    ("in", 2),
    ("==", 2),
    ("!=", 2),
    (">=", 2),
    ("<=", 2),
    (">", 2),
    ("<", 2),
    ("+", 3),
    ("-", 3),
    ("*", 4),
    ("/", 4),
    ("%", 4),
];
const POWER: u8 = 5;

/// Reads an expression, up to what cannot be part of it.
pub(super) fn parse_expression(source: &mut Source<'_>) -> Result<Expression, Wrong> {
    Parser { source, depth: 0 }.expression(0)
}

struct Parser<'s, 'a> {
    source: &'s mut Source<'a>,
    depth: usize,
}

impl Parser<'_, '_> {
    fn expression(&mut self, least: u8) -> Result<Expression, Wrong> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.source.wrong(
                format!("the expression is nested more than {MAX_DEPTH} deep"),
                "give parts of it a name with {% set name = … %}",
            ));
        }
        let mut left = self.operand()?;
        let mut chain = 0;
        while let Some((at, name, precedence)) = self.operator(least) {
            chain += 1;
            if chain > MAX_DEPTH {
                return Err(self.too_many());
            }
            let right = self.expression(if name == "^" { precedence } else { precedence + 1 })?;
            left = Expression::Call { at, name: name.to_owned(), arguments: vec![left, right] };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn too_many(&self) -> Wrong {
        let message = format!("more than {MAX_DEPTH} operators stand in a row");
        self.source.wrong(message, "give parts of it a name with {% set name = … %}")
    }

    /// Reads an operator that binds at least as strongly as `least`.
    fn operator(&mut self, least: u8) -> Option<(String, &'static str, u8)> {
        if self.source.at_close() {
            return None;
        }
        let at = self.source.position();
        if POWER >= least && self.source.take("^") {
            return Some((at, "^", POWER));
        }
        let found = OPERATORS.iter().find(|(name, precedence)| {
            let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic());
            *precedence >= least && if is_word { self.source.take_word(name) } else { self.source.take(name) }
        });
        found.map(|(name, precedence)| (at, *name, *precedence))
    }

    fn operand(&mut self) -> Result<Expression, Wrong> {
        if self.source.at_close() {
            return Err(self.source.wrong("an expression is missing", "write a name, a value or a function"));
        }
        let mut operand = self.primary()?;
        for _ in 0..=MAX_DEPTH {
            let at = self.source.position();
            if self.source.at_close() {
                return Ok(operand);
            }
            if self.source.take(".") {
                let Some(path) = self.source.word() else {
                    return Err(self
                        .source
                        .wrong("a name is missing behind the dot", "write the name of a field"));
                };
                for name in path.split('.') {
                    let name = Expression::Literal(name.into());
                    operand = Expression::Call {
                        at: at.clone(),
                        name: ".".to_owned(),
                        arguments: vec![operand, name],
                    };
                }
            } else if self.source.take("|") {
                self.source.skip_blanks();
                let at = self.source.position();
                let Some(name) = self.source.word() else {
                    return Err(self.source.wrong("a function is missing behind |", "write its name"));
                };
                let mut arguments = vec![operand];
                if self.source.take("(") {
                    self.arguments(&mut arguments)?;
                }
                operand = functions::call(&at, name, arguments)?;
            } else {
                return Ok(operand);
            }
        }
        Err(self.too_many())
    }

    fn primary(&mut self) -> Result<Expression, Wrong> {
        let at = self.source.position();
        if let Some(literal) = self.source.literal() {
            return literal.map(Expression::Literal);
        }
        if self.source.take("(") {
            let inner = self.expression(0)?;
            self.source.expect(")")?;
            return Ok(inner);
        }
        let at = if self.source.at_close() { at } else { self.source.position() };
        let Some(word) = self.source.word() else {
            return Err(self.source.wrong(
                "no expression begins like this",
                "write a name, a value in JSON (strings in double quotes) or a function",
            ));
        };
        match word {
            "true" => Ok(Expression::Literal(Value::Bool(true))),
            "false" => Ok(Expression::Literal(Value::Bool(false))),
            "null" => Ok(Expression::Literal(Value::Null)),
            "not" => {
                let arguments = vec![self.expression(POWER)?];
                Ok(Expression::Call { at, name: word.to_owned(), arguments })
            }
            "and" | "or" | "in" => {
                Err(Wrong::new(&at, format!("{word} has nothing before it"), "write a value on both sides"))
            }
            name if self.source.take("(") => {
                let mut arguments = Vec::new();
                self.arguments(&mut arguments)?;
                functions::call(&at, name, arguments)
            }
            name if name.split('.').any(str::is_empty) => {
                Err(Wrong::new(&at, format!("{name} has a part without a name"), "remove the dot"))
            }
            name => Ok(Expression::Variable { at, name: name.to_owned() }),
        }
    }

    /// Reads what stands between the brackets of a function.
    fn arguments(&mut self, arguments: &mut Vec<Expression>) -> Result<(), Wrong> {
        if self.source.take(")") {
            return Ok(());
        }
        loop {
            arguments.push(self.expression(0)?);
            if self.source.take(")") {
                return Ok(());
            }
            if !self.source.take(",") {
                return Err(self
                    .source
                    .wrong(") is missing", "close the brackets; arguments have commas between them"));
            }
        }
    }
}
