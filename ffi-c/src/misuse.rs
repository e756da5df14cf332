//! Every exported function, called with every handle that it must not take: each answer is the documented one. What
//! there is to call comes from the header, so a function without its row here fails the test.

use crate::batch::*;
use crate::client::*;
use crate::config::*;
use crate::core::*;
use crate::credential::*;
use crate::error::respass_error_of_reply;
use crate::handle::{self, Object};
use crate::input::Now;
use crate::output::*;
use crate::reply::*;
use crate::request::*;
use crate::session::*;
use crate::source::*;
use crate::subscriber::*;
use crate::*;
use std::collections::BTreeSet;
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};

const NOW: Now = Now { monotonic_us: 1, unix_us: 1 };
const SEED: *const u8 = [7; 32].as_ptr();
const TEXT: *const c_char = c"localhost".as_ptr();
const LEN: usize = 9;

/// A function, the type of the handle that is put in, and a call with everything else in order.
type Row<O> = (&'static str, fn(*mut O) -> ResultCode);
type Free<O> = (&'static str, fn(*mut O));

extern "C" fn ignore(_: *mut c_void, request: *mut TokenRequest) {
    respass_token_request_free(request);
}

/// The place of a result, of any type.
macro_rules! out {
    () => {
        Some(&mut MaybeUninit::uninit())
    };
}

/// The function that frees, and the rows of all others.
macro_rules! rows {
    ($object:ty: $free:ident; $($name:ident: |$handle:ident| $call:expr;)*) => {
        (
            vec![$((stringify!($name), (|$handle| from_c!($call)) as fn(*mut $object) -> ResultCode)),*],
            (stringify!($free), (|handle| from_c!($free(handle))) as fn(*mut $object)),
        )
    };
}

/// Calls every row with every handle that it must not take. Returns what was called, with the type of the handle.
fn check<O: Object>(
    of: &'static str,
    make: impl Fn() -> *mut O,
    (rows, (free_name, free)): (Vec<Row<O>>, Free<O>),
) -> Vec<(String, String)> {
    for (name, call) in &rows {
        assert_eq!(call(null_mut()), RESPASS_RESULT_NULL, "{name}: NULL");
        for foreign in [foreign_to::<O>(), std::ptr::without_provenance_mut(0x7fff_1234_5678)] {
            assert_eq!(call(foreign), RESPASS_RESULT_HANDLE, "{name}: of another type");
        }
        let handle = make();
        let mut busy = 0;
        let held = handle::look(handle, |_| {
            busy = call(handle);
            Ok(())
        });
        assert!(held.is_ok(), "{name}");
        assert_eq!(busy, RESPASS_RESULT_BUSY, "{name}: busy");
        handle::inherit(handle);
        assert_eq!(call(handle), RESPASS_RESULT_FORKED, "{name}: inherited");
        handle::free(handle);
        assert_eq!(call(handle), RESPASS_RESULT_HANDLE, "{name}: stale");
        let other = make();
        assert_eq!(call(handle), RESPASS_RESULT_HANDLE, "{name}: stale, and its slot used again");
        handle::look(other, |_| -> Result<(), _> { panic!("on purpose") }).expect_err("a panic");
        assert_eq!(call(other), RESPASS_RESULT_PANIC, "{name}: after a panic");
        handle::free(other);
    }
    check_free(free_name, free, &make);
    let names = rows.iter().map(|(name, _)| *name).chain([free_name]);
    names.map(|name| (name.to_owned(), of.to_owned())).collect()
}

fn check_free<O: Object>(name: &str, free: fn(*mut O), make: &dyn Fn() -> *mut O) {
    let is_alive = |handle| handle::look::<O, ()>(handle, |_| Ok(())).is_ok();
    free(null_mut());
    free(foreign_to::<O>());
    let (freed, kept) = (make(), make());
    free(freed);
    free(freed);
    let again = make();
    free(freed);
    assert!(is_alive(kept) && is_alive(again) && !is_alive(freed), "{name}: stale");
    let held = handle::look(kept, |_| {
        free(kept);
        Ok(())
    });
    assert!(held.is_ok(), "{name}");
    assert!(is_alive(kept), "{name}: busy");
    handle::look(kept, |_| -> Result<(), _> { panic!("on purpose") }).expect_err("a panic");
    handle::inherit(again);
    for handle in [kept, again] {
        free(handle);
        let failure = handle::look::<O, ()>(handle, |_| Ok(())).expect_err("it is gone");
        assert_eq!(failure.code, RESPASS_RESULT_HANDLE, "{name}: after a panic or a fork");
    }
}

/// A live handle, but of another type.
fn foreign_to<O: Object>() -> *mut O {
    let other = if O::TAG == Batch::TAG { config().cast::<O>() } else { batch().cast::<O>() };
    assert!(!other.is_null());
    other
}

fn made<O>(make: impl FnOnce(&mut MaybeUninit<*mut O>) -> ResultCode) -> *mut O {
    let mut place = MaybeUninit::new(null_mut());
    assert_eq!(make(&mut place), RESPASS_RESULT_OK);
    from_c!(place.assume_init())
}

fn config() -> *mut Config {
    made(|config| from_c!(respass_config_new(TEXT, LEN, 1, Some(config))))
}

fn core() -> *mut Core {
    made(|core| from_c!(respass_core_new(config(), SEED, NOW, Some(core))))
}

fn source() -> *mut Source {
    made(|source| from_c!(respass_source_new(SEED, NOW, Some(source))))
}

fn batch() -> *mut Batch {
    made(|batch| respass_batch_new(Some(batch)))
}

fn credential() -> *mut Credential {
    made(|credential| respass_credential_callback(Some(ignore), null_mut(), Some(credential)))
}

fn request() -> *mut TokenRequest {
    made(|request| respass_token_request_new(source(), None, null_mut(), Some(request)))
}

fn check_configurations() -> Vec<(String, String)> {
    let rows = rows! {
        Config: respass_config_free;
        respass_config_error_text: |h| respass_config_error_text(h, out!());
        respass_config_set_tls: |h| respass_config_set_tls(h);
        respass_config_add_ca: |h| respass_config_add_ca(h, TEXT, LEN);
        respass_config_set_client_certificate:
            |h| respass_config_set_client_certificate(h, TEXT, LEN, TEXT, LEN);
        respass_config_set_server_name: |h| respass_config_set_server_name(h, TEXT, LEN);
        respass_config_set_password: |h| respass_config_set_password(h, TEXT, LEN, TEXT, LEN);
        respass_config_set_token: |h| respass_config_set_token(h, TEXT, LEN);
        respass_config_allow_plaintext_token: |h| respass_config_allow_plaintext_token(h);
        respass_config_set_client_name: |h| respass_config_set_client_name(h, TEXT, LEN);
        respass_config_set_database: |h| respass_config_set_database(h, 1);
        respass_config_set_queued_bytes_max: |h| respass_config_set_queued_bytes_max(h, 1);
        respass_config_set_own_connections_max: |h| respass_config_set_own_connections_max(h, 1);
        respass_config_set_cluster: |h| respass_config_set_cluster(h, 1);
        respass_config_set_maintenance_events: |h| respass_config_set_maintenance_events(h, 1);
        respass_config_set_address_map: |h| respass_config_set_address_map(h, 1);
        respass_config_allow_host: |h| respass_config_allow_host(h, TEXT, LEN);
        respass_config_map_address: |h| respass_config_map_address(h, TEXT, LEN, 1, TEXT, LEN, 2);
        respass_config_set_timeout: |h| respass_config_set_timeout(h, 1, 1);
        respass_config_set_credential: |h| respass_config_set_credential(h, credential());
        respass_core_new: |h| respass_core_new(h, SEED, NOW, out!());
        respass_open: |h| respass_open(h, out!(), out!());
    };
    let mut called = check("respass_config", config, rows);
    let rows = rows! {
        Credential: respass_credential_free;
        respass_config_set_credential: |h| respass_config_set_credential(config(), h);
    };
    called.extend(check("respass_credential", credential, rows));
    called
}

fn check_cores() -> Vec<(String, String)> {
    let rows = rows! {
        Core: respass_core_free;
        respass_core_error_text: |h| respass_core_error_text(h, out!());
        respass_core_connect: |h| respass_core_connect(h, NOW);
        respass_core_submit: |h| respass_core_submit(h, 1, &TEXT, &LEN, 0, NOW, out!());
        respass_core_submit_batch:
            |h| respass_core_submit_batch(h, TEXT.cast(), LEN, [1, 9].as_ptr(), 2, NOW, out!());
        respass_core_submit_each:
            |h| respass_core_submit_each(h, TEXT.cast(), LEN, [1, 9].as_ptr(), 2, NOW, out!());
        respass_core_submit_transaction:
            |h| respass_core_submit_transaction(h, TEXT.cast(), LEN, [1, 9].as_ptr(), 2, NOW, out!());
        respass_core_cancel: |h| respass_core_cancel(h, 1);
        respass_core_close: |h| respass_core_close(h, NOW);
        respass_core_connected: |h| respass_core_connected(h, 1, NOW);
        respass_core_received: |h| respass_core_received(h, 1, TEXT.cast(), LEN, NOW);
        respass_core_transmit: |h| respass_core_transmit(h, 1, NOW, out!());
        respass_core_transmitted: |h| respass_core_transmitted(h, 1, 1, NOW);
        respass_core_disconnected: |h| respass_core_disconnected(h, 1, 2, TEXT, LEN, NOW);
        respass_core_token: |h| respass_core_token(h, null(), NOW);
        respass_core_timeout: |h| respass_core_timeout(h, NOW);
        respass_core_next_output: |h| respass_core_next_output(h, out!());
        respass_core_recycle: |h| respass_core_recycle(h, None);
        respass_core_next_wakeup: |h| respass_core_next_wakeup(h, NOW, out!());
        respass_core_auth_status: |h| respass_core_auth_status(h, out!());
        respass_core_connection_count: |h| respass_core_connection_count(h, out!());
        respass_core_connection_at: |h| respass_core_connection_at(h, 0, out!());
        respass_core_open_session: |h| respass_core_open_session(h, NOW, out!());
        respass_core_submit_in: |h| respass_core_submit_in(h, 1, 1, &TEXT, &LEN, 0, NOW, out!());
        respass_core_submit_transaction_in:
            |h| respass_core_submit_transaction_in(h, 1, TEXT.cast(), LEN, [1, 9].as_ptr(), 2, NOW, out!());
        respass_core_close_session: |h| respass_core_close_session(h, 1, NOW);
        respass_core_open_subscriber: |h| respass_core_open_subscriber(h, NOW, out!());
        respass_core_open_monitor: |h| respass_core_open_monitor(h, NOW, out!());
        respass_core_subscribe: |h| respass_core_subscribe(h, 1, 1, 1, &TEXT, &LEN, NOW);
        respass_core_unsubscribe: |h| respass_core_unsubscribe(h, 1, 1, 1, &TEXT, &LEN, NOW);
        respass_core_close_subscriber: |h| respass_core_close_subscriber(h, 1, NOW);
    };
    let mut called = check("respass_core", core, rows);
    let token = || handle::insert(News::Failed(respass_core::TokenFailure::transient("no")));
    let rows = rows! {
        Token: respass_token_free;
        respass_core_token: |h| respass_core_token(core(), h, NOW);
    };
    called.extend(check("respass_token", token, rows));
    called
}

fn check_sources() -> Vec<(String, String)> {
    let rows = rows! {
        Source: respass_source_free;
        respass_source_error_text: |h| respass_source_error_text(h, out!());
        respass_source_subscribe: |h| respass_source_subscribe(h);
        respass_source_unsubscribe: |h| respass_source_unsubscribe(h);
        respass_source_request: |h| respass_source_request(h, 0, NOW, out!());
        respass_source_fetched: |h| respass_source_fetched(h, TEXT, LEN, 0, 0, 0, NOW);
        respass_source_failed: |h| respass_source_failed(h, TEXT, LEN, 0, 0, false, NOW);
        respass_source_timeout: |h| respass_source_timeout(h, NOW);
        respass_source_next_output: |h| respass_source_next_output(h, out!());
        respass_source_next_wakeup: |h| respass_source_next_wakeup(h, out!());
        respass_token_request_new: |h| respass_token_request_new(h, None, null_mut(), out!());
    };
    let mut called = check("respass_source", source, rows);
    let rows = rows! {
        TokenRequest: respass_token_request_free;
        respass_token_request_resolve: |h| respass_token_request_resolve(h, TEXT, LEN, 0, 0, 0);
        respass_token_request_fail: |h| respass_token_request_fail(h, TEXT, LEN, 0, 0, false);
    };
    called.extend(check("respass_token_request", request, rows));
    called
}

fn check_clients() -> Vec<(String, String)> {
    let rows = rows! {
        Client: respass_close;
        respass_command: |h| respass_command(h, 1, &TEXT, null(), out!(), out!());
        respass_append: |h| respass_append(h, 1, &TEXT, null(), out!());
        respass_append_batch: |h| respass_append_batch(h, batch(), out!());
        respass_next_reply: |h| respass_next_reply(h, out!(), out!());
        respass_next_replies: |h| respass_next_replies(h, out!(), out!());
        respass_transaction: |h| respass_transaction(h, batch(), out!(), out!());
        respass_client_idle: |h| respass_client_idle(h, 0);
        respass_client_next_notice: |h| respass_client_next_notice(h, out!());
        respass_client_auth_status: |h| respass_client_auth_status(h, out!());
        respass_client_connection_count: |h| respass_client_connection_count(h, out!());
        respass_client_connection_at: |h| respass_client_connection_at(h, 0, out!());
        respass_session_open: |h| respass_session_open(h, out!(), out!());
        respass_session_command: |h| respass_session_command(h, 1, 1, &TEXT, null(), out!(), out!());
        respass_session_transaction: |h| respass_session_transaction(h, 1, batch(), out!(), out!());
        respass_session_close: |h| respass_session_close(h, 1);
        respass_subscribe: |h| respass_subscribe(h, 1, 1, &TEXT, null(), out!());
        respass_unsubscribe: |h| respass_unsubscribe(h, 1, 1, &TEXT, null(), out!());
        respass_monitor: |h| respass_monitor(h, out!());
        respass_next_message: |h| respass_next_message(h, 0, out!(), out!());
    };
    let mut called = check("respass_client", unconnected, rows);
    let rows = rows! {
        Batch: respass_batch_free;
        respass_batch_add: |h| respass_batch_add(h, 1, &TEXT, null());
        respass_batch_clear: |h| respass_batch_clear(h);
        respass_append_batch: |h| respass_append_batch(unconnected(), h, out!());
        respass_transaction: |h| respass_transaction(unconnected(), h, out!(), out!());
        respass_session_transaction: |h| respass_session_transaction(unconnected(), 1, h, out!(), out!());
    };
    called.extend(check("respass_batch", batch, rows));
    let rows = rows! {
        Reply: respass_reply_free;
        respass_reply_kind: |h| respass_reply_kind(h, out!());
        respass_reply_integer: |h| respass_reply_integer(h, out!());
        respass_reply_double: |h| respass_reply_double(h, out!());
        respass_reply_text: |h| respass_reply_text(h, out!());
        respass_reply_length: |h| respass_reply_length(h, out!());
        respass_reply_element: |h| respass_reply_element(h, 0, out!());
        respass_reply_tape: |h| respass_reply_tape(h, out!());
    };
    let reply = || handle::insert(Piece { batch: std::sync::Arc::default(), node: 0 });
    called.extend(check("respass_reply", reply, rows));
    called
}

/// Functions that take no handle, called without a place for their result.
fn check_others() -> Vec<(String, String)> {
    let results = [
        ("respass_config_new", from_c!(respass_config_new(TEXT, LEN, 1, None))),
        ("respass_config_from_url", from_c!(respass_config_from_url(TEXT, LEN, None, out!()))),
        ("respass_source_new", from_c!(respass_source_new(SEED, NOW, None))),
        ("respass_batch_new", respass_batch_new(None)),
        ("respass_credential_password", from_c!(respass_credential_password(TEXT, LEN, TEXT, LEN, None))),
        ("respass_credential_callback", respass_credential_callback(Some(ignore), null_mut(), None)),
    ];
    for (name, result) in results {
        assert_eq!(result, RESPASS_RESULT_NULL, "{name}");
    }
    respass_output_clear(None);
    respass_version();
    assert_eq!(from_c!(respass_error_of_reply(null(), LEN)), 0);
    let others = ["respass_output_clear", "respass_version", "respass_error_of_reply"];
    let names = results.into_iter().map(|(name, _)| name).chain(others);
    names.map(|name| (name.to_owned(), String::new())).collect()
}

/// Each function of the header with each type of handle that it takes; without a type where it takes none.
fn declared() -> BTreeSet<(String, String)> {
    let header = include_str!("../include/respass.h");
    let code = header.split("RESPASS_INLINE_H").next().expect("a first part");
    let opaque: Vec<&str> = code
        .lines()
        .filter_map(|line| line.strip_prefix("typedef struct ")?.strip_suffix(';')?.split_once(' '))
        .filter_map(|(name, again)| (name == again).then_some(name))
        .collect();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut found = BTreeSet::new();
    for declaration in code.split(';') {
        let Some((head, parameters)) = declaration.split_once('(') else { continue };
        let name = head.rsplit([' ', '*']).next().expect("a name");
        if !name.starts_with("respass_") || head.contains("typedef") {
            continue;
        }
        let takes = |handle: &&&str| parameters.contains(&format!("struct {handle} *"));
        let is_out = |handle: &str| {
            parameters.matches(&format!("struct {handle} *")).count()
                == parameters.matches(&format!("struct {handle} **")).count()
        };
        let types: Vec<&str> =
            opaque.iter().filter(takes).copied().filter(|handle| !is_out(handle)).collect();
        let types = if types.is_empty() { vec![""] } else { types };
        found.extend(types.into_iter().map(|handle| (name.to_owned(), handle.to_owned())));
    }
    found
}

#[test]
fn no_function_takes_a_handle_that_it_must_not_take() {
    let groups = [check_configurations(), check_cores(), check_sources(), check_clients(), check_others()];
    let called: BTreeSet<_> = groups.into_iter().flatten().collect();
    let declared = declared();
    assert!(declared.len() > 80, "the header was not understood: {declared:?}");
    let missing: Vec<_> = declared.difference(&called).collect();
    let unknown: Vec<_> = called.difference(&declared).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "no row: {missing:?}; not in the header: {unknown:?}");
}

#[test]
fn handles_of_many_threads_do_not_meet() {
    let work = || {
        for _ in 0..2000 {
            let handles: Vec<_> = (0..20).map(|_| batch()).collect();
            let different: BTreeSet<_> = handles.iter().map(|handle| handle.addr()).collect();
            assert_eq!(different.len(), handles.len());
            for handle in handles {
                assert_eq!(respass_batch_clear(handle), RESPASS_RESULT_OK);
                respass_batch_free(handle);
                assert_eq!(respass_batch_clear(handle), RESPASS_RESULT_HANDLE);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(work);
        }
    });
}
