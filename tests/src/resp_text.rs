//! Replies as text, for comparing.

use respass::resp::{Kind, Reply};

/// Strings as they are, aggregates in brackets, nulls as `nil`.
pub fn text_of(reply: &Reply<'_>) -> String {
    match reply.kind() {
        Kind::Array | Kind::Set | Kind::Push | Kind::Map => {
            let elements: Vec<String> = reply.elements().map(|element| text_of(&element)).collect();
            format!("[{}]", elements.join(" "))
        }
        Kind::Integer => reply.as_integer().unwrap_or_default().to_string(),
        Kind::Double => reply.as_double().unwrap_or_default().to_string(),
        Kind::Boolean => reply.as_boolean().unwrap_or_default().to_string(),
        Kind::Null => "nil".to_owned(),
        Kind::SimpleString | Kind::Error | Kind::BulkString | Kind::BigNumber | Kind::VerbatimString => {
            String::from_utf8_lossy(reply.as_bytes()).into_owned()
        }
    }
}

/// What came to a subscriber, as one line.
pub fn line_of(message: &respass::Message<'_>) -> String {
    let text = String::from_utf8_lossy;
    let kind = format!("{:?}", message.kind).to_lowercase();
    let parts =
        [message.pattern, message.channel, message.payload].into_iter().filter(|part| !part.is_empty());
    let count = (message.count > 0).then(|| message.count.to_string());
    let words: Vec<String> = parts.map(|part| text(part).into_owned()).chain(count).collect();
    [vec![kind], words].concat().join(" ")
}
