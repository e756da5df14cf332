//! The client: facts in, outputs out.

use crate::config::Config;
use crate::handle::{self, Failure, place, seed_of};
use crate::input::{Cause, Now};
use crate::output::{Output, Owned, Slice};
use crate::source::{News, Token};
use crate::status::{AuthStatus, ConnectionStatus, connection_at};
use crate::{RESPASS_NEVER_US, ResultCode};
use respass_core::{Client, Command, CommandId, ConnId, DisconnectCause, ErrorCode, SubmitError};
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::time::Duration;

/// A Redis client without sockets, clocks and threads.
pub struct Core {
    _opaque: [u8; 0],
}

object!(Core, Box<State>, 1);

pub(crate) struct State {
    pub(crate) client: Client,
    /// Of a recycled output.
    spare: Option<Owned>,
    /// What `AuthStatus` points at.
    status: respass_core::AuthStatus,
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Failure {
        Failure::new(error.code as ResultCode, error.text)
    }
}

/// A core that connects when the first command is submitted. `seed` points at 32 bytes from the system's random
/// source. The configuration is copied; where it cannot work, `respass_config_error_text` says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_new(
    config: *mut Config,
    seed: *const u8,
    now: Now,
    core: Option<&mut MaybeUninit<*mut Core>>,
) -> ResultCode {
    enter!(mut config => {
        let place = place(core)?;
        let seed = seed_of(block!(seed, 32)?);
        let client = Client::new(config.core.clone(), seed, now.into())
            .map_err(|error| Failure::new(ErrorCode::InvalidConfig as ResultCode, error.text))?;
        let status = client.auth_status();
        place.write(handle::insert::<Core>(Box::new(State { client, spare: None, status })));
    })
}

/// Releases the core. Its outputs stay as they are.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_free(core: *mut Core) {
    handle::free(core);
}

/// Why the latest call on this core failed: borrowed until the next non-const call on it.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_error_text(
    core: *const Core,
    text: Option<&mut MaybeUninit<Slice>>,
) -> ResultCode {
    handle::code(handle::failure_text(core, |latest| {
        place(text)?.write(Slice::of(latest.as_bytes()));
        Ok(())
    }))
}

/// Connects without waiting for a command, and stays connected.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_connect(core: *mut Core, now: Now) -> ResultCode {
    enter!(mut core => core.client.connect(now.into()))
}

/// Accepts one command. Exactly one output answers it. Where `argv_len` is NULL, each argument ends with a NUL.
/// `timeout_us` 0 stands for the configured time limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_submit(
    core: *mut Core,
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
            place.write(core.client.submit(command, now.into())?.as_u64());
            Ok(())
        })?;
    })
}

/// Accepts several commands under the configured time limit: all of them or none. `lengths` holds, for each command,
/// the number of its arguments and then each argument's length; `bytes` holds the arguments, one after the other.
/// The commands have consecutive ids from `first_command` on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_submit_batch(
    core: *mut Core,
    bytes: *const c_void,
    bytes_len: usize,
    lengths: *const u32,
    lengths_len: usize,
    now: Now,
    first_command: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    enter!(mut core => {
        let place = place(first_command)?;
        let (bytes, lengths) = (bytes!(bytes, bytes_len)?, block!(lengths, lengths_len)?);
        let ids = core.client.submit_batch(bytes, lengths, now.into())?;
        place.write(ids.first.as_u64());
    })
}

/// Accepts commands that have nothing to do with each other, laid out as in `respass_core_submit_batch`. Each gets an
/// id; one that cannot be sent fails by itself. Only blocks that do not fit each other are refused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_submit_each(
    core: *mut Core,
    bytes: *const c_void,
    bytes_len: usize,
    lengths: *const u32,
    lengths_len: usize,
    now: Now,
    first_command: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    enter!(mut core => {
        let place = place(first_command)?;
        let (bytes, lengths) = (bytes!(bytes, bytes_len)?, block!(lengths, lengths_len)?);
        let ids = core.client.submit_each(bytes, lengths, now.into())?;
        place.write(ids.first.as_u64());
    })
}

/// Accepts a transaction, laid out as in `respass_core_submit_batch`. It has one answer, EXEC's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_submit_transaction(
    core: *mut Core,
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
        let id = core.client.submit_transaction(bytes, lengths, now.into())?;
        place.write(id.as_u64());
    })
}

/// Gives up on a command. Does nothing where it has ended already.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_cancel(core: *mut Core, command: u64) -> ResultCode {
    enter!(mut core => core.client.cancel(CommandId::from_u64(command)))
}

/// Ends everything: what waits is told so, the socket is to be closed, and nothing follows.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_close(core: *mut Core, now: Now) -> ResultCode {
    enter!(mut core => core.client.close(now.into()))
}

/// The socket that was asked for is connected.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_connected(core: *mut Core, conn: u64, now: Now) -> ResultCode {
    enter!(mut core => core.client.handle_connected(ConnId::from_u64(conn), now.into()))
}

/// Bytes came in.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_received(
    core: *mut Core,
    conn: u64,
    bytes: *const c_void,
    bytes_len: usize,
    now: Now,
) -> ResultCode {
    enter!(mut core => core.client.handle_received(ConnId::from_u64(conn), bytes!(bytes, bytes_len)?, now.into()))
}

/// Bytes to write: borrowed until the next non-const call on this core. Report with `respass_core_transmitted` what
/// the socket took; further bytes may follow then, so repeat until there are none.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_transmit(
    core: *mut Core,
    conn: u64,
    now: Now,
    bytes: Option<&mut MaybeUninit<Slice>>,
) -> ResultCode {
    enter!(mut core => {
        let place = place(bytes)?;
        place.write(Slice::of(core.client.transmit(ConnId::from_u64(conn), now.into())));
    })
}

/// The socket took the first `len` bytes of what `respass_core_transmit` showed.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_transmitted(core: *mut Core, conn: u64, len: usize, now: Now) -> ResultCode {
    enter!(mut core => core.client.handle_transmitted(ConnId::from_u64(conn), len, now.into()))
}

/// There is no socket any more, or none was made. `cause` is a `RESPASS_CAUSE_…`; the text says more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_disconnected(
    core: *mut Core,
    conn: u64,
    cause: u32,
    text: *const c_char,
    text_len: usize,
    now: Now,
) -> ResultCode {
    enter!(mut core => {
        let text = String::from_utf8_lossy(bytes!(text, text_len)?).into_owned();
        let cause = match cause {
            cause if cause == Cause::ConnectFailed as u32 => DisconnectCause::ConnectFailed(text),
            cause if cause == Cause::Closed as u32 => DisconnectCause::Closed,
            cause if cause == Cause::Broken as u32 => DisconnectCause::Broken(text),
            _ => return Err(Failure::argument("there is no such cause")),
        };
        core.client.handle_disconnected(ConnId::from_u64(conn), cause, now.into());
    })
}

/// A source issued a token, or says that there is none. The token stays the caller's.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_token(core: *mut Core, token: *const Token, now: Now) -> ResultCode {
    enter!(mut core => {
        handle::look(token, |news| {
            match news {
                News::Issued(token) => core.client.handle_token(token, now.into()),
                News::Failed(failure) => core.client.handle_token_failed(failure, now.into()),
            }
            Ok(())
        })?;
    })
}

/// Time has passed. Safe to call at any moment.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_timeout(core: *mut Core, now: Now) -> ResultCode {
    enter!(mut core => core.client.handle_timeout(now.into()))
}

/// What to do next; the kind is RESPASS_OUTPUT_KIND_NONE where nothing is left. What `output` held before is not
/// looked at: clear it first.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_next_output(
    core: *mut Core,
    output: Option<&mut MaybeUninit<Output>>,
) -> ResultCode {
    enter!(mut core => {
        let place = place(output)?;
        place.write(Output::of_core(core.client.poll_output(), &mut core.spare));
    })
}

/// As `respass_output_clear`, but keeps the memory for the next replies.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_recycle(core: *mut Core, output: Option<&mut Output>) -> ResultCode {
    enter!(mut core => {
        if let Some(mut owned) = output.and_then(Output::take) {
            core.client.recycle(std::mem::take(&mut owned.batch));
            owned.messages = None;
            core.spare = Some(owned);
        }
    })
}

/// When `respass_core_timeout` wants to be called, on the monotonic clock; `RESPASS_NEVER_US` where it does not.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_next_wakeup(
    core: *const Core,
    now: Now,
    wakeup_us: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    enter!(core => {
        let wakeup = core.client.poll_timeout(now.into());
        place(wakeup_us)?.write(wakeup.map_or(RESPASS_NEVER_US, |wakeup| wakeup.at.as_micros()));
    })
}

/// How the core stands with its login. The texts are borrowed until the next non-const call on it.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_auth_status(
    core: *mut Core,
    status: Option<&mut MaybeUninit<AuthStatus>>,
) -> ResultCode {
    enter!(mut core => {
        let place = place(status)?;
        core.status = core.client.auth_status();
        place.write(AuthStatus::of(&core.status));
    })
}

/// How many connections there are; `respass_core_connection_at` tells of each of them, as it is now.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_connection_count(
    core: *mut Core,
    count: Option<&mut MaybeUninit<usize>>,
) -> ResultCode {
    enter!(mut core => {
        let place = place(count)?;
        core.status = core.client.auth_status();
        place.write(core.status.connections.len());
    })
}

/// One of the connections that `respass_core_connection_count` counted. Its texts are borrowed until the next
/// non-const call on the core.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_connection_at(
    core: *const Core,
    index: usize,
    connection: Option<&mut MaybeUninit<ConnectionStatus>>,
) -> ResultCode {
    enter!(core => place(connection)?.write(connection_at(&core.status, index)?))
}
