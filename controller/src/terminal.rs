//! Colours and columns.

use std::env;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal};

/// What is printed for whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text for people; coloured on a terminal, unless `NO_COLOR` is set.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// A way to emphasise text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// More important.
    Bold,
    /// Less important.
    Dim,
    /// Well.
    Good,
    /// Perhaps not well.
    Warn,
    /// Not well.
    Bad,
}

/// Whether to paint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    colours: bool,
}

/// Text with a style, painted when it is printed. Padding (`{:<20}`) counts only what is seen.
#[derive(Clone, Copy, Debug)]
pub struct Painted<T> {
    text: T,
    style: Style,
    colours: bool,
}

impl Paint {
    /// Colours if standard output is a terminal that wants them.
    pub fn stdout() -> Self {
        Self { colours: io::stdout().is_terminal() && wanted() }
    }

    /// Colours if standard error is a terminal that wants them.
    pub fn stderr() -> Self {
        Self { colours: io::stderr().is_terminal() && wanted() }
    }

    /// Never colours.
    pub const fn plain() -> Self {
        Self { colours: false }
    }

    /// `text` in `style`.
    pub fn paint<T: Display>(self, style: Style, text: T) -> Painted<T> {
        Painted { text, style, colours: self.colours }
    }
}

/// As <https://no-color.org> and old terminals ask for.
fn wanted() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self.style {
            Style::Plain => "",
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Warn => "33",
            Style::Bad => "31",
        };
        if !self.colours || code.is_empty() {
            return self.text.fmt(f);
        }
        write!(f, "\x1b[{code}m")?;
        self.text.fmt(f)?;
        f.write_str("\x1b[0m")
    }
}

/// `1 file`, `2 files`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_what_is_seen() {
        let paint = Paint { colours: true };
        assert_eq!(format!("{:<4}|", paint.paint(Style::Bad, "x")), "\x1b[31mx   \x1b[0m|");
        assert_eq!(format!("{}", Paint::plain().paint(Style::Bad, "x")), "x");
    }
}
