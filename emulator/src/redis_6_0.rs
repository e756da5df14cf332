//! Redis 6.0 as Azure Cache for Redis runs it: its commands, and its ACL rules, in which containers such as
//! CLIENT have categories and most of their subcommands none.
//!
//! The tables are facts of 6.0.20, so that a newer server behind the front can be made to look like it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

const COMMANDS: &str = include_str!("redis_6_0/commands.txt");
const SUBCOMMANDS: &str = include_str!("redis_6_0/subcommands.txt");
const OPTIONS: &str = include_str!("redis_6_0/options.txt");

/// What 6.0 makes of a command's arguments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    Known,
    WrongCount,
    /// The argument at this position is no option of 6.0.
    UnknownOption(usize),
}

/// Whether 6.0 has the command; lower case, as everywhere here.
pub(crate) fn has_command(name: &str) -> bool {
    commands().contains_key(name)
}

/// Whether the command writes; true for those of later versions too.
pub(crate) fn is_write(name: &str) -> bool {
    commands().get(name).is_some_and(|categories| categories.contains("write"))
        || LATER_WRITES.contains(&name)
}

const LATER_WRITES: [&str; 18] = [
    "blmove",
    "blmpop",
    "bzmpop",
    "copy",
    "function",
    "geosearchstore",
    "getdel",
    "getex",
    "hexpire",
    "hpexpire",
    "hpersist",
    "lmove",
    "lmpop",
    "xautoclaim",
    "zdiffstore",
    "zinterstore",
    "zmpop",
    "zrangestore",
];

/// Whether 6.0 has the subcommand, for a container it has; true for what is no container.
pub(crate) fn has_subcommand(name: &str, subcommand: &str) -> bool {
    subcommands().get(name).is_none_or(|known| known.contains(subcommand))
}

/// Checks the arguments of a command, its name among them.
pub(crate) fn check_arguments(name: &str, arguments: &[&[u8]]) -> Arguments {
    for row in options().get(name).into_iter().flatten() {
        let found = match row {
            Limit::Min(count) if arguments.len() < *count => return Arguments::WrongCount,
            Limit::Max(count) if arguments.len() > *count => return Arguments::WrongCount,
            Limit::Min(_) | Limit::Max(_) => None,
            Limit::Words { from, to, words } => (*from..arguments.len().min(*to))
                .find(|&at| words.iter().any(|word| arguments[at].eq_ignore_ascii_case(word.as_bytes()))),
        };
        if let Some(position) = found {
            return Arguments::UnknownOption(position);
        }
    }
    Arguments::Known
}

/// What a user may do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Permissions {
    commands: BTreeSet<&'static str>,
    /// Container and subcommand, where the container as a whole is not allowed.
    subcommands: BTreeSet<(&'static str, String)>,
    keys: Vec<String>,
}

impl Permissions {
    /// Reads an access policy, such as `+@read +@connection allkeys`. The error has the server's words.
    pub(crate) fn parse(policy: &str) -> Result<Permissions, String> {
        let mut permissions = Permissions::default();
        for rule in policy.split_whitespace() {
            permissions
                .apply(rule)
                .map_err(|why| format!("Error in ACL SETUSER modifier '{rule}': {why}"))?;
        }
        Ok(permissions)
    }

    fn apply(&mut self, rule: &str) -> Result<(), &'static str> {
        const UNKNOWN: &str = "Unknown command or category name in ACL";
        match rule {
            "allcommands" => return self.apply("+@all"),
            "nocommands" => return self.apply("-@all"),
            "allkeys" => return self.apply("~*"),
            "resetkeys" => self.keys.clear(),
            _ => match (rule.split_at_checked(1), rule.split_once('|')) {
                (Some(("~", pattern)), _) => self.keys.push(pattern.to_owned()),
                (Some(("+" | "-", _)), _) if rule[1..].starts_with('@') => {
                    self.apply_category(rule.starts_with('+'), &rule[2..]).ok_or(UNKNOWN)?;
                }
                (Some(("+", _)), Some((name, subcommand))) => {
                    let (name, _) = commands().get_key_value(&name[1..]).ok_or(UNKNOWN)?;
                    self.subcommands.insert((name, subcommand.to_lowercase()));
                }
                (Some(("+", name)), None) => {
                    self.commands.insert(commands().get_key_value(name).ok_or(UNKNOWN)?.0);
                }
                (Some(("-", name)), None) => {
                    let (name, _) = commands().get_key_value(name).ok_or(UNKNOWN)?;
                    self.forbid(name);
                }
                _ => return Err("Syntax error"),
            },
        }
        Ok(())
    }

    /// Nothing if there is no such category.
    fn apply_category(&mut self, allow: bool, category: &str) -> Option<()> {
        let inside = |categories: &BTreeSet<&str>| category == "all" || categories.contains(category);
        let mut members = commands().iter().filter(|(_, categories)| inside(categories)).peekable();
        members.peek()?;
        for (name, _) in members {
            if allow {
                self.commands.insert(name);
            } else {
                self.forbid(name);
            }
        }
        Some(())
    }

    fn forbid(&mut self, name: &'static str) {
        self.commands.remove(name);
        self.subcommands.retain(|(container, _)| *container != name);
    }

    pub(crate) fn allows(&self, name: &str, subcommand: &str) -> bool {
        self.commands.contains(name)
            || self.subcommands.iter().any(|(container, own)| *container == name && own == subcommand)
    }

    /// The same in the rules of the server behind the front, whose categories are others. 6.0 has no rights
    /// on channels: everyone has all.
    pub(crate) fn rules(&self) -> Vec<String> {
        let mut rules = vec!["-@all".to_owned(), "allchannels".to_owned()];
        rules.extend(self.commands.iter().map(|name| format!("+{name}")));
        // What is no subcommand of CLUSTER is refused by the front, and need not be one for the server.
        let known = |name: &str, subcommand: &str| name != "cluster" || has_subcommand(name, subcommand);
        let subcommands = self.subcommands.iter().filter(|(name, subcommand)| known(name, subcommand));
        rules.extend(subcommands.map(|(name, subcommand)| format!("+{name}|{subcommand}")));
        rules.extend(self.keys.iter().map(|pattern| format!("~{pattern}")));
        rules
    }
}

enum Limit {
    Min(usize),
    Max(usize),
    Words { from: usize, to: usize, words: Vec<&'static str> },
}

fn rows(table: &'static str) -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    table.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().map(|name| (name, words.collect()))
    })
}

fn commands() -> &'static BTreeMap<&'static str, BTreeSet<&'static str>> {
    static TABLE: OnceLock<BTreeMap<&str, BTreeSet<&str>>> = OnceLock::new();
    TABLE.get_or_init(|| rows(COMMANDS).map(|(name, words)| (name, words.into_iter().collect())).collect())
}

fn subcommands() -> &'static BTreeMap<&'static str, BTreeSet<&'static str>> {
    static TABLE: OnceLock<BTreeMap<&str, BTreeSet<&str>>> = OnceLock::new();
    TABLE.get_or_init(|| rows(SUBCOMMANDS).map(|(name, words)| (name, words.into_iter().collect())).collect())
}

fn options() -> &'static BTreeMap<&'static str, Vec<Limit>> {
    static TABLE: OnceLock<BTreeMap<&str, Vec<Limit>>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table: BTreeMap<&str, Vec<Limit>> = BTreeMap::new();
        for (name, words) in rows(OPTIONS) {
            let number = words[1].parse().expect("a row of the table has a number");
            let limit = match words[0] {
                "min" => Limit::Min(number),
                "max" => Limit::Max(number),
                "at" => Limit::Words { from: number, to: number + 1, words: words[2..].to_vec() },
                _ => Limit::Words { from: number, to: usize::MAX, words: words[2..].to_vec() },
            };
            table.entry(name).or_default().push(limit);
        }
        table
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_give_the_rights_they_give_on_6_0() {
        let parse = |policy: &str| Permissions::parse(policy).expect("a policy");
        let contributor = parse("+@all -@dangerous +cluster|info +cluster|slots allkeys");
        let reader = parse("+@read +@connection +cluster|slots allkeys");
        // Command, and whether contributor and reader may run it.
        for (name, subcommand, by_contributor, by_reader) in [
            ("client", "setname", false, true),
            ("cluster", "slots", true, true),
            ("cluster", "shards", false, false),
            ("hello", "", true, true),
            ("info", "", false, false),
            ("keys", "", false, true),
            ("role", "", false, true),
            ("select", "", true, false),
            ("readonly", "", true, false),
            ("multi", "", true, false),
            ("eval", "", true, false),
            ("subscribe", "", true, false),
            ("set", "", true, false),
            ("get", "", true, true),
        ] {
            assert_eq!(contributor.allows(name, subcommand), by_contributor, "contributor: {name}");
            assert_eq!(reader.allows(name, subcommand), by_reader, "reader: {name}");
        }
        assert!(reader.rules().contains(&"+get".to_owned()) && reader.rules().contains(&"~*".to_owned()));
        for bad in ["+@nonexistent", "+getex", "on", "-client|list", ">password", "+"] {
            let error = Permissions::parse(bad).expect_err(bad);
            assert!(error.starts_with("Error in ACL SETUSER modifier '"), "{error}");
        }
    }

    #[test]
    fn options_of_later_versions_are_found() {
        let check = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            check_arguments(&line[..line.find(' ').unwrap_or(line.len())], &words)
        };
        assert_eq!(check("set k GET"), Arguments::Known);
        assert_eq!(check("set k v GET"), Arguments::UnknownOption(3));
        assert_eq!(check("lpop k 2"), Arguments::WrongCount);
        assert_eq!(check("hello"), Arguments::WrongCount);
        assert_eq!(check("xadd k NOMKSTREAM * f v"), Arguments::UnknownOption(2));
        assert_eq!(check("xadd k * f minid"), Arguments::Known);
        assert!(has_command("lpos") && !has_command("getex"));
        assert!(has_subcommand("client", "id") && !has_subcommand("client", "info"));
    }
}
