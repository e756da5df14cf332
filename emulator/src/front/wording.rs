//! Replies in the words of the emulated version, whatever version the server behind the front is.
//!
//! The texts are those of 6.0.20 and 7.4.1; the server is expected to be a 7.0, but texts that are unknown
//! here go through as they are.

use super::reply;
use crate::dialect::{Dialect, Product, Refused};
use crate::fault::HelloShape;

/// Appends `frame` with its errors, at any depth, reworded for `user`; `redirect` rewords those of the servers.
pub(super) fn errors(
    dialect: Dialect,
    redirect: impl Fn(&str) -> Option<String>,
    user: &str,
    frame: &[u8],
    output: &mut Vec<u8>,
) {
    // Most replies hold none, and a byte that only looks like one is sorted out below.
    if !frame.contains(&b'-') {
        return output.extend_from_slice(frame);
    }
    let mut rest = frame;
    while !rest.is_empty() {
        let Some(len) = reply::head_len(rest) else {
            return output.extend_from_slice(rest);
        };
        let (head, behind) = rest.split_at(len);
        match head.strip_prefix(b"-").and_then(|line| std::str::from_utf8(line).ok()) {
            Some(line) => {
                let line = line.trim_end_matches("\r\n");
                let reworded = redirect(line).unwrap_or_else(|| error(dialect.product, user, line));
                output.push(b'-');
                output.extend_from_slice(reworded.as_bytes());
                output.extend_from_slice(b"\r\n");
            }
            None => output.extend_from_slice(head),
        }
        rest = behind;
    }
}

fn error(product: Product, user: &str, text: &str) -> String {
    let reworded = match product {
        Product::Managed => error_7_4(user, text),
        Product::Cache => error_6_0(text),
    };
    reworded.unwrap_or_else(|| text.to_owned())
}

/// NOPERM for a command, which is refused in the front.
pub(super) fn no_permission(product: Product, user: &str, name: &str) -> String {
    error(product, user, &format!("{NOPERM_COMMAND}{name}' command"))
}

/// The error in place of a command that the server never saw. `user` is empty before a login.
pub(super) fn refusal(product: Product, user: &str, allowed: bool, refused: &Refused) -> String {
    match &refused.after_rights {
        Some(_) if user.is_empty() => "NOAUTH Authentication required.".to_owned(),
        Some((name, _)) if !allowed => no_permission(product, user, name),
        _ => refused.text.clone(),
    }
}

const NOPERM_COMMAND: &str = "NOPERM this user has no permissions to run the '";
const NOPERM_KEY: &str = "NOPERM this user has no permissions to access one of the keys used as arguments";
const NOPERM_CHANNEL: &str =
    "NOPERM this user has no permissions to access one of the channels used as arguments";

fn error_7_4(user: &str, text: &str) -> Option<String> {
    match text {
        NOPERM_KEY => return Some("NOPERM No permissions to access a key".to_owned()),
        NOPERM_CHANNEL => return Some("NOPERM No permissions to access a channel".to_owned()),
        _ => (),
    }
    if let Some(command) = text.strip_prefix(NOPERM_COMMAND) {
        return Some(format!("NOPERM User {user} has no permissions to run the '{command}"));
    }
    text.starts_with("NOAUTH HELLO").then(|| text.replace("HELLO AUTH <user>", "HELLO <proto> AUTH <user>"))
}

fn error_6_0(text: &str) -> Option<String> {
    if text.starts_with("WRONGPASS ") {
        return Some("WRONGPASS invalid username-password pair".to_owned());
    }
    if let Some(command) = text.strip_prefix(NOPERM_COMMAND) {
        let name = command.split(['|', '\'']).next()?;
        return Some(format!("{NOPERM_COMMAND}{name}' command or its subcommand"));
    }
    let unknown = |subcommand: &str, container: &str| {
        Some(format!(
            "ERR Unknown subcommand or wrong number of arguments for '{subcommand}'. Try {container} HELP"
        ))
    };
    if let Some((subcommand, container)) =
        text.strip_prefix("ERR unknown subcommand '").and_then(|rest| rest.split_once("'. Try "))
    {
        return unknown(subcommand, container.trim_end_matches(" HELP."));
    }
    if let Some((container, subcommand)) = text
        .strip_prefix("ERR wrong number of arguments for '")
        .and_then(|rest| rest.strip_suffix("' command"))
        .and_then(|name| name.split_once('|'))
    {
        return unknown(subcommand, &container.to_uppercase());
    }
    let (command, _) = text.strip_prefix("ERR Can't execute ")?.split_once(": only (P|S)SUBSCRIBE")?;
    let allowed = "(P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT";
    Some(format!("ERR Can't execute {command}: only {allowed} are allowed in this context"))
}

/// The answer to HELLO with the version of the dialect, bent if a fault wants it so.
pub(super) fn greeting(dialect: Dialect, broken: Option<HelloShape>, frame: &[u8]) -> Vec<u8> {
    let frame = with_version(frame, dialect.version());
    match broken {
        Some(HelloShape::NonMap) if frame.starts_with(b"%7\r\n") => [b"*14\r\n", &frame[4..]].concat(),
        Some(HelloShape::Short) if frame.ends_with(b"*0\r\n") => {
            let module = "*1\r\n%4\r\n$4\r\nname\r\n$11\r\nsearchlight\r\n$3\r\nver\r\n:20803\r\n\
                          $4\r\npath\r\n$19\r\n/enterprise-managed\r\n$4\r\nargs\r\n*11\r\n";
            let module = module.to_owned() + &"$8\r\nargument\r\n".repeat(10);
            [&frame[..frame.len() - 4], module.as_bytes()].concat()
        }
        _ => frame,
    }
}

fn with_version(frame: &[u8], version: &str) -> Vec<u8> {
    const KEY: &[u8] = b"$7\r\nversion\r\n";
    let Some(begin) = frame.windows(KEY.len()).position(|window| window == KEY).map(|at| at + KEY.len())
    else {
        return frame.to_vec();
    };
    let Some(len) = reply::head_len(&frame[begin..]) else {
        return frame.to_vec();
    };
    let value = format!("${}\r\n{version}\r\n", version.len());
    [&frame[..begin], value.as_bytes(), &frame[begin + len..]].concat()
}

/// The answer to INFO with the version of the dialect, and without the addresses of a cluster's servers.
pub(super) fn info(dialect: Dialect, frame: &[u8]) -> Vec<u8> {
    const VERSION: &str = "redis_version:";
    let text = frame.windows(2).position(|pair| pair == b"\r\n").map(|at| &frame[at + 2..]);
    let text = text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    // A bulk string ends in a line end of its own, which INFO's last line has too.
    let lines = text.trim_end_matches("\r\n").split("\r\n");
    let lines = lines.filter(|line| !dialect.clustered || !tells_address(line));
    let lines = lines.map(|line| match line.starts_with(VERSION) {
        true => VERSION.to_owned() + dialect.version(),
        false => line.to_owned(),
    });
    let body = lines.collect::<Vec<_>>().join("\r\n") + "\r\n";
    if body.trim_ascii().is_empty() {
        return frame.to_vec();
    }
    format!("{}{}\r\n{body}\r\n", char::from(frame[0]), body.len()).into_bytes()
}

/// Whether a line of INFO says where a server is that clients do not see.
fn tells_address(line: &str) -> bool {
    let (key, _) = line.split_once(':').unwrap_or_default();
    let is_replica =
        key.strip_prefix("slave").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    is_replica || ["tcp_port", "master_host", "master_port"].contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{ClusterRefusal, Select};
    use crate::options::Profile;

    fn reword(profile: Profile, frame: &str) -> String {
        let dialect = Dialect::new(profile, ClusterRefusal::Disabled, Select::Refuse);
        let mut output = Vec::new();
        errors(dialect, |_| None, "me", frame.as_bytes(), &mut output);
        String::from_utf8(output).expect("text")
    }

    #[test]
    fn errors_have_the_words_of_the_version_at_any_depth() {
        let nested = "*3\r\n$10\r\n-NOPERM no\r\n\
                      -WRONGPASS invalid username-password pair or user is disabled.\r\n+OK\r\n";
        assert_eq!(
            reword(Profile::AcrSingle, nested),
            "*3\r\n$10\r\n-NOPERM no\r\n-WRONGPASS invalid username-password pair\r\n+OK\r\n"
        );
        let command = "-NOPERM this user has no permissions to run the 'client|setname' command\r\n";
        assert_eq!(
            reword(Profile::AcrSingle, command),
            "-NOPERM this user has no permissions to run the 'client' command or its subcommand\r\n"
        );
        assert_eq!(
            reword(Profile::AmrNocluster, command),
            "-NOPERM User me has no permissions to run the 'client|setname' command\r\n"
        );
        assert_eq!(
            reword(Profile::AcrSingle, "-ERR wrong number of arguments for 'client|setname' command\r\n"),
            "-ERR Unknown subcommand or wrong number of arguments for 'setname'. Try CLIENT HELP\r\n"
        );
        assert_eq!(
            reword(Profile::AcrSingle, "-ERR unknown subcommand 'FOO'. Try SCRIPT HELP.\r\n"),
            "-ERR Unknown subcommand or wrong number of arguments for 'FOO'. Try SCRIPT HELP\r\n"
        );
    }
}
