//! Many nodes' replies to one command become one.

use crate::command::{Merge, Routing};
use crate::resp::{Kind, Node, Reply};

/// What one node answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) reply: Reply<'a>,
    /// Of a command that was split by its keys: which of them this part answers, in the order of its own.
    pub(crate) positions: &'a [u32],
}

/// Appends the one reply to a tape. `count` is the number of keys in all parts together.
pub(crate) fn merge(
    merge: Merge,
    routing: Routing,
    parts: &[Part<'_>],
    count: usize,
    out_nodes: &mut Vec<Node>,
    out_bytes: &mut Vec<u8>,
) {
    let chosen = match merge {
        Merge::OneSucceeded => parts.iter().find(|part| part.reply.kind() != Kind::Error).or(parts.first()),
        _ => parts.iter().find(|part| part.reply.kind() == Kind::Error),
    };
    if let Some(part) = chosen {
        return part.reply.append_to(out_nodes, out_bytes);
    }
    let (nodes_len, bytes_len) = (out_nodes.len(), out_bytes.len());
    let merged = match (merge, routing) {
        (Merge::None, Routing::MultiShard { .. }) => in_order(parts, count, out_nodes, out_bytes),
        (Merge::None, _) => one_after_the_other(parts, out_nodes, out_bytes),
        (Merge::OneSucceeded | Merge::AllSucceeded, _) => first_of(parts, |_| true, out_nodes, out_bytes),
        (Merge::Special, _) => first_of(parts, |reply| reply.kind() != Kind::Null, out_nodes, out_bytes),
        (Merge::And, _) => folded(parts, |one, other| i64::from(one != 0 && other != 0), out_nodes),
        (Merge::Or, _) => folded(parts, |one, other| i64::from(one != 0 || other != 0), out_nodes),
        (Merge::Min, _) => folded(parts, i64::min, out_nodes),
        (Merge::Max, _) => folded(parts, i64::max, out_nodes),
        (Merge::Sum, _) => folded(parts, i64::saturating_add, out_nodes),
    };
    if merged.is_none() {
        out_nodes.truncate(nodes_len);
        out_bytes.truncate(bytes_len);
        text_node(Kind::Error, b"ERR shards gave replies of different kinds", out_nodes, out_bytes);
    }
}

/// Appends the reply to SCAN with another cursor in it.
pub(crate) fn rewrite_scan_cursor(
    reply: Reply<'_>,
    cursor: &[u8],
    out_nodes: &mut Vec<Node>,
    out_bytes: &mut Vec<u8>,
) {
    let mut elements = reply.elements();
    let is_scan = reply.kind() == Kind::Array && elements.len() == 2;
    let (true, Some(own), Some(found)) = (is_scan, elements.next(), elements.next()) else {
        return reply.append_to(out_nodes, out_bytes);
    };
    if !own.kind().has_bytes() {
        return reply.append_to(out_nodes, out_bytes);
    }
    out_nodes.push(reply.node());
    text_node(Kind::BulkString, cursor, out_nodes, out_bytes);
    found.append_to(out_nodes, out_bytes);
}

fn text_node(kind: Kind, text: &[u8], out_nodes: &mut Vec<Node>, out_bytes: &mut Vec<u8>) {
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    out_nodes.push(Node::new(kind, len, out_bytes.len() as u64));
    out_bytes.extend_from_slice(text);
}

/// The first that is wanted; the first of all where none is.
fn first_of(
    parts: &[Part<'_>],
    is_wanted: impl Fn(&Reply<'_>) -> bool,
    out_nodes: &mut Vec<Node>,
    out_bytes: &mut Vec<u8>,
) -> Option<()> {
    let wanted = parts.iter().find(|part| is_wanted(&part.reply)).or(parts.first())?;
    wanted.reply.append_to(out_nodes, out_bytes);
    Some(())
}

/// An array with each key's element where the caller named the key; null where no part has it.
fn in_order(
    parts: &[Part<'_>],
    count: usize,
    out_nodes: &mut Vec<Node>,
    out_bytes: &mut Vec<u8>,
) -> Option<()> {
    out_nodes.push(Node::new(Kind::Array, u32::try_from(count).ok()?, count as u64 + 1));
    let first = out_nodes.len();
    out_nodes.resize(first + count, Node::new(Kind::Null, 0, 0));
    for part in parts {
        let elements = part.reply.elements();
        if part.reply.kind() != Kind::Array || elements.len() != part.positions.len() {
            return None;
        }
        for (element, &position) in elements.zip(part.positions) {
            let mut node = element.node();
            if node.kind.is_aggregate() {
                return None;
            }
            if node.kind.has_bytes() {
                node.value = out_bytes.len() as u64;
                out_bytes.extend_from_slice(element.as_bytes());
            }
            *out_nodes.get_mut(first + position as usize)? = node;
        }
    }
    Some(())
}

/// One aggregate of all parts' elements; nulls have none.
fn one_after_the_other(parts: &[Part<'_>], out_nodes: &mut Vec<Node>, out_bytes: &mut Vec<u8>) -> Option<()> {
    let kind = parts.iter().map(|part| part.reply.kind()).find(|&kind| kind != Kind::Null);
    let Some(kind) = kind else { return first_of(parts, |_| true, out_nodes, out_bytes) };
    if !kind.is_aggregate() {
        // One node's word, as it is.
        return (parts.len() == 1).then(|| first_of(parts, |_| true, out_nodes, out_bytes))?;
    }
    let start = out_nodes.len();
    out_nodes.push(Node::new(kind, 0, 0));
    let mut count = 0_u32;
    for part in parts.iter().filter(|part| part.reply.kind() != Kind::Null) {
        if part.reply.kind() != kind {
            return None;
        }
        count = count.checked_add(part.reply.node().count)?;
        for element in part.reply.elements() {
            element.append_to(out_nodes, out_bytes);
        }
    }
    let spanned = (out_nodes.len() - start) as u64;
    *out_nodes.get_mut(start)? = Node::new(kind, count, spanned);
    Some(())
}

/// Integers, or arrays of equally many integers, taken together two at a time.
fn folded(parts: &[Part<'_>], fold: impl Fn(i64, i64) -> i64, out_nodes: &mut Vec<Node>) -> Option<()> {
    let (first, others) = parts.split_first()?;
    let start = out_nodes.len();
    append_integers(first.reply, out_nodes)?;
    let shape = first.reply.node();
    for other in others.iter().map(|part| part.reply) {
        let node = other.node();
        if node.kind == Kind::Integer && shape.kind == Kind::Integer {
            fold_into(out_nodes.get_mut(start)?, other, &fold)?;
        } else if node.kind == Kind::Array && shape.kind == Kind::Array && node.count == shape.count {
            for (own, element) in out_nodes.get_mut(start + 1..)?.iter_mut().zip(other.elements()) {
                fold_into(own, element, &fold)?;
            }
        } else {
            return None;
        }
    }
    Some(())
}

fn append_integers(reply: Reply<'_>, out_nodes: &mut Vec<Node>) -> Option<()> {
    let is_flat =
        reply.kind() == Kind::Array && reply.elements().all(|element| element.kind() == Kind::Integer);
    if reply.kind() != Kind::Integer && !is_flat {
        return None;
    }
    out_nodes.push(reply.node());
    out_nodes.extend(reply.elements().map(|element| element.node()));
    Some(())
}

fn fold_into(own: &mut Node, other: Reply<'_>, fold: impl Fn(i64, i64) -> i64) -> Option<()> {
    own.value = fold(own.value.cast_signed(), other.as_integer()?).cast_unsigned();
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{DecodeLimits, Decoder};

    const SPLIT: Routing = Routing::MultiShard { first: 1, step: 1 };
    const KINDS: &str = "-ERR shards gave replies of different kinds";

    /// A value as RESP, without line ends: `*2 $a :1`.
    fn shown(reply: Reply<'_>) -> String {
        let text = String::from_utf8_lossy(reply.as_bytes()).into_owned();
        let children = || reply.elements().map(|element| format!(" {}", shown(element))).collect::<String>();
        match reply.kind() {
            Kind::Integer => format!(":{}", reply.as_integer().expect("an integer")),
            Kind::BulkString => format!("${text}"),
            Kind::SimpleString => format!("+{text}"),
            Kind::Error => format!("-{text}"),
            Kind::Null => "_".to_owned(),
            Kind::Map => format!("%{}{}", reply.node().count, children()),
            Kind::Set => format!("~{}{}", reply.node().count, children()),
            _ => format!("*{}{}", reply.node().count, children()),
        }
    }

    /// Lets `look` see the replies that the bytes are, and gives back the reply that it appends.
    fn appended(replies: &str, append: impl Fn(&[Reply<'_>], &mut Vec<Node>, &mut Vec<u8>)) -> String {
        let mut decoder = Decoder::new(DecodeLimits::default());
        decoder.receive(replies.replace(' ', "\r\n").as_bytes());
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next_frame().expect("RESP") {
            frames.push(frame);
        }
        let (nodes, bytes) = decoder.tape();
        let replies: Vec<_> = frames.iter().map(|frame| Reply::at(nodes, bytes, frame.node)).collect();
        // A tape that holds something already.
        let (mut out_nodes, mut out_bytes) = (vec![Node::new(Kind::BulkString, 4, 0)], b"here".to_vec());
        append(&replies, &mut out_nodes, &mut out_bytes);
        let reply = Reply::at(&out_nodes, &out_bytes, 1);
        assert_eq!(reply.span() + 1, out_nodes.len(), "nothing but one reply");
        assert_eq!(Reply::at(&out_nodes, &out_bytes, 0).as_bytes(), b"here");
        shown(reply)
    }

    fn merged(how: Merge, routing: Routing, replies: &str) -> String {
        appended(replies, |replies, nodes, bytes| {
            let parts: Vec<_> = replies.iter().map(|&reply| Part { reply, positions: &[] }).collect();
            merge(how, routing, &parts, 0, nodes, bytes);
        })
    }

    fn in_order_of(positions: &[&[u32]], count: usize, replies: &str) -> String {
        appended(replies, |replies, nodes, bytes| {
            let parts = replies.iter().zip(positions).map(|(&reply, &positions)| Part { reply, positions });
            merge(Merge::None, SPLIT, &parts.collect::<Vec<_>>(), count, nodes, bytes);
        })
    }

    #[test]
    fn values_are_where_their_keys_were_named() {
        let replies = "*2 $1 a $-1 *3 $1 b $2 cc $0  ";
        assert_eq!(in_order_of(&[&[1, 4], &[0, 2, 3]], 5, replies), "*5 $b $a $cc $ _");
        assert_eq!(in_order_of(&[&[0]], 1, "*1 _ "), "*1 _");
        assert_eq!(in_order_of(&[], 0, ""), "*0");
        assert_eq!(in_order_of(&[&[0], &[1]], 2, "*1 $1 a -MOVED "), "-MOVED");
    }

    #[test]
    fn a_part_that_answers_other_keys_than_it_was_asked_is_not_believed() {
        for (positions, replies) in [
            (&[&[0_u32, 1][..]][..], "*1 $1 a "),
            (&[&[0]], "*2 $1 a $1 b "),
            (&[&[7]], "*1 $1 a "),
            (&[&[0]], "$1 a "),
            (&[&[0]], "*1 *1 :1 "),
        ] {
            assert_eq!(in_order_of(positions, 2, replies), KINDS, "{replies}");
        }
    }

    #[test]
    fn elements_of_all_shards_come_one_after_the_other() {
        for (replies, expected) in [
            ("*1 $1 a *0 *2 $1 b :1 ", "*3 $a $b :1"),
            ("*1 *2 $1 a *0 *1 :3 ", "*2 *2 $a *0 :3"),
            ("~1 $1 a ~1 $1 b ", "~2 $a $b"),
            ("%1 $1 a :1 %1 $1 b *1 :2 ", "%2 $a :1 $b *1 :2"),
            ("*0 *0 ", "*0"),
            ("_ *1 :1 *-1 ", "*1 :1"),
            ("_ _ ", "_"),
            ("$1 a ", "$a"),
            ("*1 :1 ~1 :2 ", KINDS),
            ("*1 $1 a +OK ", KINDS),
            ("+OK +OK ", KINDS),
            ("*1 :1 -ERR -WHAT ", "-ERR"),
        ] {
            assert_eq!(merged(Merge::None, Routing::AllShards, replies), expected, "{replies}");
        }
    }

    #[test]
    fn numbers_of_all_shards_become_one() {
        let max = i64::MAX;
        for (how, replies, expected) in [
            (Merge::Sum, ":1 :2 :3 ", ":6"),
            (Merge::Sum, &format!(":{max} :1 "), &format!(":{max}")),
            (Merge::Sum, ":-1 ", ":-1"),
            (Merge::Sum, ":1 +OK ", KINDS),
            (Merge::Sum, "+1 :1 ", KINDS),
            (Merge::Min, ":3 :-2 ", ":-2"),
            (Merge::Min, "*2 :1 :5 *2 :2 :3 ", "*2 :1 :3"),
            (Merge::Max, ":3 :7 ", ":7"),
            (Merge::And, ":1 :1 ", ":1"),
            (Merge::And, "*3 :1 :1 :0 *3 :1 :0 :0 ", "*3 :1 :0 :0"),
            (Merge::Or, "*2 :1 :0 *2 :0 :0 ", "*2 :1 :0"),
            (Merge::And, "*2 :1 :1 *1 :1 ", KINDS),
            (Merge::And, "*1 :1 :1 ", KINDS),
            (Merge::And, "*1 $1 a *1 :1 ", KINDS),
            (Merge::And, "*1 :1 *1 $1 a ", KINDS),
            (Merge::Sum, ":1 -LOADING -ERR ", "-LOADING"),
        ] {
            assert_eq!(merged(how, Routing::AllShards, replies), expected, "{replies}");
        }
    }

    #[test]
    fn success_is_one_nodes_or_everybodys() {
        for (how, replies, expected) in [
            (Merge::AllSucceeded, "+OK +OK ", "+OK"),
            (Merge::AllSucceeded, "$2 ab $2 cd ", "$ab"),
            (Merge::AllSucceeded, "+OK -ERR -NO ", "-ERR"),
            (Merge::OneSucceeded, "-NOTBUSY +OK -NOTBUSY ", "+OK"),
            (Merge::OneSucceeded, "-NOTBUSY -UNKILLABLE ", "-NOTBUSY"),
            (Merge::Special, "_ $1 k $1 l ", "$k"),
            (Merge::Special, "_ $-1 ", "_"),
            (Merge::Special, "_ -ERR ", "-ERR"),
        ] {
            assert_eq!(merged(how, Routing::AllShards, replies), expected, "{replies}");
        }
    }

    #[test]
    fn no_parts_are_no_reply_that_could_be_merged() {
        for how in [Merge::None, Merge::OneSucceeded, Merge::AllSucceeded, Merge::Sum, Merge::Special] {
            assert_eq!(merged(how, Routing::AllShards, ""), KINDS);
        }
    }

    #[test]
    fn a_scans_cursor_is_replaced_and_nothing_else() {
        let rewritten = |replies| {
            appended(replies, |replies, nodes, bytes| rewrite_scan_cursor(replies[0], b"12345", nodes, bytes))
        };
        assert_eq!(rewritten("*2 $1 0 *2 $1 a $2 bb "), "*2 $12345 *2 $a $bb");
        assert_eq!(rewritten("*2 $1 7 *0 "), "*2 $12345 *0");
        assert_eq!(rewritten("-ERR "), "-ERR");
        assert_eq!(rewritten("*1 $1 0 "), "*1 $0");
        assert_eq!(rewritten("*2 :0 *0 "), "*2 :0 *0");
    }
}
