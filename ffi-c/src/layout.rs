//! C sees the fields of the public structs where Rust put them.

use crate::error::ErrorReport;
use crate::input::Now;
use crate::output::{Answer, Output, Slice};
use crate::reply::Tape;
use crate::status::{AuthStatus, ConnectionStatus};
use crate::subscriber::MessageView;
use respass_core::MessageEntry;
use respass_core::resp::Node;
use std::fmt::Write;
use std::mem::offset_of;
use std::process::Command;

/// Lines of C that compile where C agrees.
macro_rules! layout {
    ($($name:ident: $type:ty { $($field:ident),* })*) => {{
        let mut lines = String::from("#include <respass.h>\n");
        $(
            let name = stringify!($name);
            let size = size_of::<$type>();
            writeln!(lines, "typedef char size_of_{name}[sizeof({name}) == {size} ? 1 : -1];").expect("room");
            $(
                let (field, offset) = (stringify!($field), offset_of!($type, $field));
                writeln!(
                    lines,
                    "typedef char offset_of_{name}_{field}[offsetof({name}, {field}) == {offset} ? 1 : -1];"
                )
                .expect("room");
            )*
        )*
        lines
    }};
}

fn lines() -> String {
    layout! {
        respass_slice: Slice { data, len }
        respass_now: Now { monotonic_us, unix_us }
        respass_node: Node { kind, count, value }
        respass_answer: Answer { command, node }
        respass_tape: Tape { nodes, nodes_len, bytes }
        respass_error: ErrorReport { code, outcome, message, hint }
        respass_auth_status: AuthStatus { is_ready, reserved, expires_on_us, reauth_count, oid, last_error }
        respass_output: Output {
            kind, code, outcome, reserved, id, text, bytes, nodes, nodes_len, answers, answers_len, messages,
            messages_len, token, owner
        }
        respass_connection_status: ConnectionStatus {
            conn, host, port, lane, is_ready, reserved, expires_on_us, expires_at_us
        }
        respass_message: MessageView { kind, count, subscriber, pattern, channel, payload }
        respass_message_entry: MessageEntry {
            kind, count, pattern_offset, pattern_len, channel_offset, channel_len, payload_offset, payload_len
        }
    }
}

#[test]
fn c_finds_every_field_where_rust_put_it() {
    let folder = std::env::temp_dir().join(format!("respass-layout-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let source = folder.join("layout.c");
    std::fs::write(&source, lines()).expect("a file");
    let include = concat!("-I", env!("CARGO_MANIFEST_DIR"), "/include");
    let output = Command::new("cc").args(["-std=c99", "-fsyntax-only", include]).arg(&source).output();
    std::fs::remove_dir_all(&folder).expect("an end");
    let output = output.expect("cc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
