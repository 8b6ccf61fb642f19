//! `docs/reference/cli.md` against the command line: what the page names is there, and what is there the page names.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Arg, Command, CommandFactory};

use super::Cli;

const PAGE: &str = include_str!("../../../docs/reference/cli.md");
/// The section about what the commands that talk to a cluster have in common.
const SHARED: &str = "Talking to a cluster";
/// Options of other programs that the page names.
const OF_OTHERS: [&str; 2] = ["--config-path", "--server-side"];

/// The sections of the page by their titles; what comes before the first is under the empty one.
fn sections() -> BTreeMap<&'static str, &'static str> {
    let mut parts = PAGE.split("\n## ");
    let first = parts.next().map(|text| ("", text));
    first.into_iter().chain(parts.map(|part| part.split_once('\n').unwrap_or((part, "")))).collect()
}

/// Every command that is not hidden and has no commands below it, by its full name, such as `proxy config`.
fn commands() -> BTreeMap<String, Command> {
    fn collect(command: &Command, name: &str, out: &mut BTreeMap<String, Command>) {
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let name = format!("{name}{}", sub.get_name());
            if sub.has_subcommands() {
                collect(sub, &format!("{name} "), out);
            } else {
                out.insert(name, sub.clone());
            }
        }
    }
    let mut root = Cli::command();
    root.build();
    let mut out = BTreeMap::new();
    collect(&root, "", &mut out);
    out
}

/// The options of a command that are its own, without `--help` and what every command has.
fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let own = |arg: &&Arg| !arg.is_positional() && !arg.is_hide_set() && !arg.is_global_set();
    command.get_arguments().filter(own).filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
}

fn spellings(arg: &Arg) -> Vec<String> {
    let long = arg.get_long().map(|long| format!("--{long}"));
    long.into_iter().chain(arg.get_short().map(|short| format!("-{short}"))).collect()
}

/// What the help writes for the value of an option, or the values that it can have.
fn value_of(arg: &Arg) -> Option<String> {
    if !arg.get_action().takes_values() {
        return None;
    }
    let possible: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|it| !it.is_hide_set())
        .map(|it| it.get_name().to_owned())
        .collect();
    let named =
        || arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect::<String>();
    Some(if possible.is_empty() { named() } else { possible.join("|") })
}

/// The usage at the beginning of a section.
fn usage(section: &str) -> Option<&str> {
    section.split_once("```\n")?.1.split_once("```").map(|(usage, _)| usage)
}

/// The options in a usage, each with its value: `[-n NAMESPACE | -A]` has two.
fn stated(usage: &str) -> BTreeMap<&str, Option<&str>> {
    let words: Vec<&str> = usage.split([' ', '[', ']', '\n', '…']).filter(|word| !word.is_empty()).collect();
    let mut out = BTreeMap::new();
    for (index, word) in words.iter().enumerate().filter(|(_, word)| word.starts_with('-')) {
        let value = words.get(index + 1).filter(|next| !next.starts_with('-') && **next != "|");
        out.insert(*word, value.copied());
    }
    out
}

#[test]
fn every_command_is_in_the_table() {
    let listed: BTreeSet<String> = sections()[""]
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once('`')?.1.split_once('`'))
        .map(|(command, _)| {
            let words =
                command.split(' ').take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(listed, commands().into_keys().collect());
}

#[test]
fn every_usage_is_that_of_the_help() {
    let sections = sections();
    let mut wrong = Vec::new();
    for (name, command) in commands() {
        let Some(section) = sections.get(format!("postern {name}").as_str()) else {
            assert_eq!(options(&command).count(), 0, "`{name}` has options and no section");
            continue;
        };
        let usage = usage(section).unwrap_or_else(|| panic!("the section of `{name}` has no usage"));
        assert!(usage.starts_with(&format!("postern {name}")), "{usage}");
        let stated = stated(usage);
        let known: BTreeMap<String, &Arg> =
            options(&command).flat_map(|arg| spellings(arg).into_iter().map(move |it| (it, arg))).collect();
        for (option, value) in &stated {
            match known.get(*option).map(|arg| value_of(arg)) {
                None => wrong.push(format!("`{name}` has no {option}")),
                Some(right) if right.as_deref() == *value => {}
                Some(right) => wrong.push(format!("`{name}` {option} {value:?} is {right:?}")),
            }
        }
        for arg in options(&command) {
            let spellings = spellings(arg);
            let is_there = spellings.iter().any(|it| stated.contains_key(it.as_str()));
            let is_shared = sections[SHARED].contains(&format!("`{name}`"))
                && spellings.iter().any(|it| sections[SHARED].contains(it));
            if !is_there && !is_shared {
                wrong.push(format!("the usage of `{name}` lacks {spellings:?} {:?}", value_of(arg)));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Where a section speaks of an option below its usage, it says the default, if there is one and the usage does not.
#[test]
fn defaults_are_those_of_the_help() {
    let sections = sections();
    let mut wrong = Vec::new();
    for (name, command) in commands() {
        let Some(section) = sections.get(format!("postern {name}").as_str()) else { continue };
        let text = section.replace(usage(section).unwrap_or_default(), "");
        let words: BTreeSet<&str> =
            text.split([' ', '\n', '(', ')', ',', '`', '|']).map(|word| word.trim_end_matches('.')).collect();
        let open = |arg: &&Arg| arg.get_action().takes_values() && arg.get_possible_values().is_empty();
        for arg in options(&command).filter(open) {
            let is_told = spellings(arg).iter().any(|it| words.contains(it.as_str()));
            let default = arg.get_default_values().first().and_then(|it| it.to_str()).unwrap_or_default();
            if is_told && !default.is_empty() && !words.contains(default) {
                wrong.push(format!("`{name}` {:?} is {default} by default", spellings(arg)));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_page_names_no_option_that_is_not_there() {
    let commands = commands();
    let mut known: BTreeSet<String> =
        commands.values().flat_map(|command| command.get_arguments().flat_map(spellings)).collect();
    known.extend(OF_OTHERS.map(ToOwned::to_owned));
    let words = PAGE.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    for word in words.filter(|word| word.starts_with("--") && word.len() > 2 && !word.starts_with("---")) {
        assert!(known.contains(word), "no command has {word}");
    }
}
