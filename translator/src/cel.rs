//! Expressions in CEL, read here so that Envoy never gets one that it refuses.
//!
//! Envoy takes a parsed expression (`google.api.expr.v1alpha1.Expr`) and refuses a whole listener or scope for a function that it does
//! not know. A name that it does not know is worse: it is accepted, and the expression never holds. Both are faults here.

mod convert;
mod vocabulary;

use std::thread;

use envoy_types::pb::google::api::expr::v1alpha1::Expr;

use crate::problem::Fault;

/// The longest expression; Envoy's time for one is bounded by its size.
const MAX_BYTES: usize = 4096;
/// The deepest nesting of brackets.
const MAX_BRACKETS: u16 = 32;
/// The deepest nesting of parts. Each is two nested messages, and Envoy reads no message with more than a hundred.
const MAX_DEPTH: usize = 40;
/// The parser takes 200 KiB for one pair of brackets (without optimization); an overflow of the stack cannot be caught.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Reads an expression over Envoy's attributes of a request
/// (<https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/advanced/attributes>).
///
/// # Errors
/// What is wrong with it; the field is empty.
pub(crate) fn parse(text: &str) -> Result<Expr, Fault> {
    let fault = |message: String, remedy: &str| Fault::new("", message, remedy);
    if text.trim().is_empty() {
        return Err(fault(
            "the expression is empty".to_owned(),
            "write one, such as request.method == 'GET'",
        ));
    }
    if text.len() > MAX_BYTES {
        return Err(fault(format!("the expression has {} bytes", text.len()), "use at most 4096 bytes"));
    }
    let outcome = thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(STACK_BYTES);
        builder.spawn_scoped(scope, || read(text)).ok()?.join().ok()
    });
    outcome.unwrap_or_else(|| {
        Err(fault("it cannot be read, by a defect of Postern".to_owned(), "report it with the expression"))
    })
}

fn read(text: &str) -> Result<Expr, Fault> {
    let parsed =
        cel::parser::Parser::new().max_recursion_depth(MAX_BRACKETS).parse(text).map_err(|errors| {
            let first = errors.errors.first();
            let message = first.map_or_else(
                || "it is not CEL".to_owned(),
                |error| format!("it is not CEL: column {}: {}", error.pos.1, one_line(&error.msg)),
            );
            Fault::new(
                "",
                message,
                "mend the expression; strings need quotes, and and or are written && and ||",
            )
        })?;
    let expression = convert::expression(&parsed, MAX_DEPTH)?;
    vocabulary::check(&expression)?;
    Ok(expression)
}

/// True if the expression speaks of one of Envoy's attributes, such as `response`.
pub(crate) fn mentions(expression: &Expr, attribute: &str) -> bool {
    vocabulary::attributes(expression).contains(attribute)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
