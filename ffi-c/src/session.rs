//! Sessions: a connection for one caller alone, which WATCH needs; of cores and of blocking clients.

use crate::ResultCode;
use crate::batch::{Batch, Commands};
use crate::client::{Client, hand_over};
use crate::core::Core;
use crate::error::{ErrorReport, told};
use crate::handle::{self, place};
use crate::input::Now;
use crate::reply::Reply;
use respass_core::{Command, SessionId};
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::time::Duration;

/// A session: a connection that nobody else uses, from its first command on. WATCH and UNWATCH are allowed in it.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_open_session(
    core: *mut Core,
    now: Now,
    session: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    enter!(mut core => {
        let place = place(session)?;
        place.write(core.client.open_session(now.into())?.as_u64());
    })
}

/// As `respass_core_submit`, in a session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_submit_in(
    core: *mut Core,
    session: u64,
    argc: usize,
    argv: *const *const c_char,
    argv_len: *const usize,
    timeout_us: u64,
    now: Now,
    command: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    enter!(mut core => {
        let place = place(command)?;
        arguments!(argc, argv, argv_len, |arguments| {
            let mut command = Command::new(arguments);
            if timeout_us > 0 {
                command = command.timeout(Duration::from_micros(timeout_us));
            }
            let session = SessionId::from_u64(session);
            place.write(core.client.submit_in(session, command, now.into())?.as_u64());
            Ok(())
        })?;
    })
}

/// As `respass_core_submit_transaction`, in a session: where a key that it watches was written to, the answer is a node
/// of kind RESPASS_KIND_NULL; where its connection was lost since WATCH, the transaction fails with
/// RESPASS_ERROR_CODE_WATCH_LOST.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_submit_transaction_in(
    core: *mut Core,
    session: u64,
    bytes: *const c_void,
    bytes_len: usize,
    lengths: *const u32,
    lengths_len: usize,
    now: Now,
    command: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    enter!(mut core => {
        let place = place(command)?;
        let (bytes, lengths) = (bytes!(bytes, bytes_len)?, block!(lengths, lengths_len)?);
        let session = SessionId::from_u64(session);
        let id = core.client.submit_transaction_in(session, bytes, lengths, now.into())?;
        place.write(id.as_u64());
    })
}

/// Ends a session, and with it what it watches. Does nothing where it has ended already.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_close_session(core: *mut Core, session: u64, now: Now) -> ResultCode {
    enter!(mut core => core.client.close_session(SessionId::from_u64(session), now.into()))
}

/// A session: a connection that no other call uses, from its first command on. WATCH and UNWATCH are allowed in it.
/// Sessions end with `respass_session_close`, and with their client.
#[unsafe(no_mangle)]
pub extern "C" fn respass_session_open(
    client: *mut Client,
    session: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(
        error,
        handle::change(client, |client| {
            let place = place(session)?;
            place.write(client.driver.open_session()?.as_u64());
            Ok(())
        }),
    )
}

/// As `respass_command`, in a session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_session_command(
    client: *mut Client,
    session: u64,
    argc: usize,
    argv: *const *const c_char,
    argv_len: *const usize,
    reply: Option<&mut MaybeUninit<*mut Reply>>,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(
        error,
        handle::change(client, |client| {
            arguments!(argc, argv, argv_len, |arguments| {
                let session = SessionId::from_u64(session);
                let submit = |core: &mut respass_core::Client, now| {
                    core.submit_in(session, Command::new(arguments), now)
                };
                hand_over(client.driver.run(submit)?, reply);
                Ok(())
            })
        }),
    )
}

/// As `respass_transaction`, in a session: where a key that it watches was written to, the reply is of kind
/// RESPASS_KIND_NULL; where its connection was lost since WATCH, the call fails with RESPASS_ERROR_CODE_WATCH_LOST.
/// Either way, begin again with WATCH.
#[unsafe(no_mangle)]
pub extern "C" fn respass_session_transaction(
    client: *mut Client,
    session: u64,
    batch: *const Batch,
    reply: Option<&mut MaybeUninit<*mut Reply>>,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(
        error,
        handle::change(client, |client| {
            handle::look(batch, |Commands { bytes, lengths, .. }| {
                let session = SessionId::from_u64(session);
                let submit = |core: &mut respass_core::Client, now| {
                    core.submit_transaction_in(session, bytes, lengths, now)
                };
                hand_over(client.driver.run(submit)?, reply);
                Ok(())
            })
        }),
    )
}

/// Ends a session, and with it what it watches. Does nothing where it has ended already.
#[unsafe(no_mangle)]
pub extern "C" fn respass_session_close(client: *mut Client, session: u64) -> ResultCode {
    enter!(mut client => client.driver.close_session(SessionId::from_u64(session)))
}
