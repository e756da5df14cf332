//! The driver carries bytes and time; what to do about them is the core's to decide.

use respass_futures::{
    CommandFuture, Message, Monitor, Notices, PipelineFuture, Redis, Reply, Session, Subscriber, Tokens,
};
use std::fs;
use std::path::Path;

/// Words of decisions, and who has them instead.
const BANNED: [(&str, &str); 19] = [
    ("Duration::from_secs", "no delay is made here: Wakeup"),
    ("Duration::from_millis", "no delay is made here: Wakeup"),
    ("retry", "when to try again is the core's"),
    ("backoff", "when to try again is the core's"),
    ("timeouts.", "Config is passed on unread"),
    ("limits.", "Config is passed on unread"),
    ("HELLO", "the handshake is the core's"),
    ("\"AUTH\"", "the handshake is the core's"),
    ("\"MULTI\"", "submit_transaction"),
    ("MOVED", "redirects are the core's"),
    ("\"ASK", "redirects are the core's"),
    ("SUBSCRIBE\"", "subscribe, unsubscribe"),
    ("\"WATCH\"", "submit_in"),
    ("\"BLPOP\"", "which commands block is the core's"),
    ("\\r\\n", "framing is the core's"),
    ("expires_at -", "the life of tokens is the source's"),
    ("std::thread", "the executor's threads"),
    ("rustls", "TLS is the core's"),
    ("unsafe ", "forbidden"),
];

#[test]
fn the_driver_holds_no_decision() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut lines = 0;
    for entry in fs::read_dir(folder).expect("the sources").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = fs::read_to_string(entry.path()).expect("a readable file");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            lines += 1;
            for (word, instead) in BANNED {
                assert!(!line.contains(word), "{name}: {word} ({instead})\n{line}");
            }
        }
    }
    assert!(lines > 500, "only {lines} lines of code were found: the search is broken");
}

#[test]
fn handles_and_futures_can_go_anywhere() {
    fn anywhere<T: Send + Sync + Unpin + 'static>() {}
    anywhere::<Redis>();
    anywhere::<CommandFuture>();
    anywhere::<PipelineFuture>();
    anywhere::<Notices>();
    anywhere::<Session>();
    anywhere::<Subscriber>();
    anywhere::<Monitor>();
    anywhere::<Message>();
    anywhere::<Reply>();
    anywhere::<Tokens>();
}
