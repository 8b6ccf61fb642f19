//! What Envoy writes to its log, line by line.

/// How bad a line is. Envoy's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `trace` and `debug`.
    Debug,
    /// `info`.
    Info,
    /// `warning`.
    Warning,
    /// `error`.
    Error,
    /// `critical`.
    Critical,
}

impl LogLevel {
    /// Envoy's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// One line of Envoy's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How bad it is; lines that Envoy did not format, such as those of a crash, count as [`LogLevel::Error`].
    pub level: LogLevel,
    /// The component that wrote it, such as `upstream`; may be empty.
    pub component: String,
    /// The text.
    pub text: String,
}

impl LogLine {
    /// The value of `--log-format` that [`LogLine::parse`] reads.
    pub const FORMAT: &'static str = "[%l][%n] %v";

    /// Reads one line.
    pub fn parse(line: &str) -> Self {
        Self::formatted(line).unwrap_or_else(|| Self {
            level: LogLevel::Error,
            component: String::new(),
            text: line.trim_end().to_owned(),
        })
    }

    fn formatted(line: &str) -> Option<Self> {
        let (level, rest) = line.strip_prefix('[')?.split_once("][")?;
        let (component, text) = rest.split_once("] ")?;
        let level = match level {
            "trace" | "debug" => LogLevel::Debug,
            "info" => LogLevel::Info,
            "warning" => LogLevel::Warning,
            "error" => LogLevel::Error,
            "critical" => LogLevel::Critical,
            _ => return None,
        };
        // Envoy prefixes the text with its source position: `[source/server/server.cc:123] `.
        let text = match text.strip_prefix("[source/").and_then(|rest| rest.split_once("] ")) {
            Some((_, text)) => text,
            None => text,
        };
        Some(Self { level, component: component.to_owned(), text: text.trim_end().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_formatted_and_other_lines() {
        let line = LogLine::parse("[warning][config] delta config for x rejected: y\n");
        assert_eq!((line.level, line.component.as_str()), (LogLevel::Warning, "config"));
        assert_eq!(line.text, "delta config for x rejected: y");
        let crash = LogLine::parse("Caught Segmentation fault, suspect faulting address 0x0");
        assert_eq!(crash.level, LogLevel::Error);
        assert_eq!(LogLine::parse("[odd] x").text, "[odd] x");
    }
}
