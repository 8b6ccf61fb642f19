//! Regular expressions as Envoy understands them (RE2). Whatever RE2 refuses would make Envoy refuse the whole host,
//! and whatever it reads differently would match something else, so both are refused here.

use regex_syntax::ast::{
    self, Ast, ClassPerlKind, ClassSetItem, ClassUnicode, ClassUnicodeKind, Flag, Flags, FlagsItemKind,
    HexLiteralKind, Literal, LiteralKind, RepetitionKind, RepetitionRange, Visitor,
};

use crate::problem::Fault;

/// RE2 refuses more repetitions than this, nested ones multiplied.
const MAX_REPETITIONS: u64 = 1000;

/// Checks a regular expression and returns it as it was given.
pub(crate) fn regex(value: &str) -> Result<String, Fault> {
    let refuse =
        |why: String| Fault::new(".value", why, "use RE2 syntax (no look-around, no back-references)");
    if value.is_empty() {
        return Err(refuse("the regular expression is empty".to_owned()));
    }
    let parsed = ast::parse::Parser::new()
        .parse(value)
        .map_err(|error| refuse(format!("{value:?} is not a regular expression: {}", error.kind())))?;
    let checked = ast::visit(&parsed, Re2 { repetitions: vec![1] });
    checked.map_err(|what| refuse(format!("{value:?} uses {what}, which Envoy does not know")))?;
    // Valid syntax can still be too big, or name a class that does not exist.
    regex::Regex::new(value).map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        refuse(format!("{value:?} is not a regular expression: {last}"))
    })?;
    Ok(value.to_owned())
}

/// Walks an expression and stops at the first thing that RE2 lacks.
struct Re2 {
    /// The product of the repetitions around the current place, innermost last.
    repetitions: Vec<u64>,
}

type Unknown = &'static str;

/// Envoy compiles expressions for bytes: a character beyond ASCII is several of them, which stand for it in a plain
/// sequence, but not in a class or before a repetition.
const BYTES: Unknown = "a character beyond ASCII in a class or under a repetition";

impl Visitor for Re2 {
    type Output = ();
    type Err = Unknown;

    fn finish(self) -> Result<(), Unknown> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Unknown> {
        match ast {
            Ast::Flags(set) => flags(&set.flags),
            Ast::Group(group) => group.flags().map_or(Ok(()), flags),
            Ast::Literal(found) => literal(found),
            Ast::ClassUnicode(class) => unicode(class),
            Ast::Assertion(assertion) => match assertion.kind {
                ast::AssertionKind::StartLine
                | ast::AssertionKind::EndLine
                | ast::AssertionKind::StartText
                | ast::AssertionKind::EndText
                | ast::AssertionKind::WordBoundary
                | ast::AssertionKind::NotWordBoundary => Ok(()),
                _ => Err("a word boundary of one side"),
            },
            Ast::Repetition(repetition) => {
                match repetition.ast.as_ref() {
                    Ast::Repetition(_) => return Err("a repetition of a repetition"),
                    Ast::Literal(found) if !found.c.is_ascii() => return Err(BYTES),
                    _ => {}
                }
                let most = match &repetition.op.kind {
                    RepetitionKind::Range(
                        RepetitionRange::Exactly(most)
                        | RepetitionRange::AtLeast(most)
                        | RepetitionRange::Bounded(_, most),
                    ) => u64::from(*most).max(1),
                    _ => 1,
                };
                let around = self.repetitions.last().copied().unwrap_or(1);
                let product = around.saturating_mul(most);
                self.repetitions.push(product);
                if product > MAX_REPETITIONS { Err("more than 1000 repetitions") } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn visit_post(&mut self, ast: &Ast) -> Result<(), Unknown> {
        if matches!(ast, Ast::Repetition(_)) {
            self.repetitions.pop();
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Unknown> {
        match item {
            ClassSetItem::Literal(found) => literal(found).and_then(|()| ascii(found)),
            ClassSetItem::Range(range) => {
                literal(&range.start)?;
                literal(&range.end)?;
                ascii(&range.start).and_then(|()| ascii(&range.end))
            }
            ClassSetItem::Unicode(class) => unicode(class),
            ClassSetItem::Bracketed(_) => Err("a class inside a class"),
            ClassSetItem::Perl(class) => match class.kind {
                ClassPerlKind::Digit | ClassPerlKind::Space | ClassPerlKind::Word => Ok(()),
            },
            ClassSetItem::Empty(_) | ClassSetItem::Ascii(_) | ClassSetItem::Union(_) => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ast::ClassSetBinaryOp) -> Result<(), Unknown> {
        Err("an operation on classes")
    }
}

fn flags(flags: &Flags) -> Result<(), Unknown> {
    let known = flags.items.iter().all(|item| match &item.kind {
        FlagsItemKind::Negation => true,
        FlagsItemKind::Flag(flag) => matches!(
            flag,
            Flag::CaseInsensitive | Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed
        ),
    });
    if known { Ok(()) } else { Err("a flag other than i, m, s and U") }
}

fn literal(literal: &Literal) -> Result<(), Unknown> {
    match &literal.kind {
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
        | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            Err("a character written with \\u or \\U (write \\x{…})")
        }
        LiteralKind::HexBrace(_) if u32::from(literal.c) > 0xFF => Err("an escape above \\x{FF}"),
        _ => Ok(()),
    }
}

fn ascii(literal: &Literal) -> Result<(), Unknown> {
    if literal.c.is_ascii() { Ok(()) } else { Err(BYTES) }
}

/// RE2 knows general categories by their short names, and scripts.
fn unicode(class: &ClassUnicode) -> Result<(), Unknown> {
    const UNKNOWN: Unknown = "a Unicode class other than a general category such as L or Lu, or a script";
    match &class.kind {
        ClassUnicodeKind::OneLetter(_) => Ok(()),
        ClassUnicodeKind::Named(name) if ["Cn", "LC", "Lc"].contains(&name.as_str()) => Err(UNKNOWN),
        ClassUnicodeKind::Named(name) if name.len() <= 2 || is_script(name) => Ok(()),
        ClassUnicodeKind::Named(_) | ClassUnicodeKind::NamedValue { .. } => Err(UNKNOWN),
    }
}

/// True if `\\p{sc=name}` exists and `name` is written as RE2 writes it: with a capital.
fn is_script(name: &str) -> bool {
    name.starts_with(char::is_uppercase) && regex::Regex::new(&format!("\\p{{sc={name}}}")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checked against Envoy 1.40 one by one.
    #[test]
    fn takes_what_envoy_takes() {
        for fine in [
            "/v[0-9]+/.*",
            "(?i)abc",
            "(?:a|b){2,5}",
            r"\d{1,8}",
            "[[:alpha:]]+",
            r"\p{L}",
            r"\p{Greek}",
            "/é",
            "(é)+",
            r"\x{41}",
            "a{1000}",
            "^/x$",
            r"\bword\b",
            "(?P<name>a)",
            "[^/]+",
        ] {
            assert_eq!(regex(fine).as_deref(), Ok(fine));
        }
        for refused in [
            "",
            "(",
            "*",
            "a**",
            "a{1001}",
            "(a{500}){3}",
            "(?x)a",
            "(?-u)a",
            r"\u0041",
            r"\p{Letter}",
            r"\p{Cn}",
            r"\p{LC}",
            r"\p{sc=Greek}",
            r"\x{100}",
            "[é]",
            "[a-é]",
            "é+",
            "[a-z&&[b]]",
            "[a[bc]]",
            r"\<a",
            "(?=a)",
            r"(a)\1",
        ] {
            assert!(regex(refused).is_err(), "{refused}");
        }
    }
}
