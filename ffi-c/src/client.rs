//! The client: facts in, outputs out.

use crate::ResultCode;
use crate::config::Config;
use crate::handle::{self, Failure, Guarded, place, seed_of};
use crate::input::{Cause, Now};
use crate::output::{Output, Owner, Slice};
use crate::source::Token;
use crate::{RESPASS_NEVER_US, RESPASS_RESULT_OK};
use respass_core::{Client, Command, CommandId, ConnId, DisconnectCause, ErrorCode, SubmitError};
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::time::Duration;

/// A Redis client without sockets, clocks and threads.
pub struct Core(Guarded<State>);

struct State {
    client: Client,
    /// Of a recycled output.
    spare: Option<Box<Owner>>,
}

fn change(core: Option<&mut Core>, body: impl FnOnce(&mut State) -> Result<(), Failure>) -> ResultCode {
    core.map_or_else(|| Failure::null().code, |core| core.0.call(body))
}

fn refused(error: SubmitError) -> Failure {
    Failure { code: error.code as ResultCode, text: error.text }
}

/// A core that connects when the first command is submitted. `seed` points at 32 bytes from the system's random
/// source. The configuration is copied; where it cannot work, `respass_config_error_text` says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_new(
    config: Option<&mut Config>,
    seed: *const u8,
    now: Now,
    core: Option<&mut MaybeUninit<*mut Core>>,
) -> ResultCode {
    let Some(config) = config else { return Failure::null().code };
    config.0.call(|config| {
        let place = place(core)?;
        let seed = seed_of(block!(seed, 32)?);
        let client = Client::new(config.clone(), seed, now.into())
            .map_err(|error| Failure { code: ErrorCode::InvalidConfig as ResultCode, text: error.text })?;
        place.write(Box::into_raw(Box::new(Core(Guarded::new(State { client, spare: None })))));
        Ok(())
    })
}

/// Releases the core. Its outputs stay as they are.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_free(core: Option<Box<Core>>) {
    handle::free(core);
}

/// Why the latest call on this core failed: borrowed until the next non-const call on it.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_error_text(
    core: Option<&Core>,
    text: Option<&mut MaybeUninit<Slice>>,
) -> ResultCode {
    let Some(core) = core else { return Failure::null().code };
    handle::make(|| {
        place(text)?.write(Slice::of(core.0.error().as_bytes()));
        Ok(())
    })
}

/// Connects without waiting for a command, and stays connected.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_connect(core: Option<&mut Core>, now: Now) -> ResultCode {
    change(core, |core| {
        core.client.connect(now.into());
        Ok(())
    })
}

/// Accepts one command. Exactly one output answers it. `timeout_us` 0 stands for the configured time limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_submit(
    core: Option<&mut Core>,
    argc: usize,
    argv: *const *const c_char,
    argv_len: *const usize,
    timeout_us: u64,
    now: Now,
    command: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    change(core, |core| {
        let place = place(command)?;
        let starts = block!(argv, argc)?;
        let lengths = block!(argv_len, argc)?;
        // Most commands are short: no allocation for them.
        let (mut few, mut many) = ([&[][..]; 8], Vec::new());
        let arguments = match few.get_mut(..argc) {
            Some(few) => few,
            None => {
                many.resize(argc, &[][..]);
                &mut many[..]
            }
        };
        for (argument, (&start, &len)) in arguments.iter_mut().zip(starts.iter().zip(lengths)) {
            *argument = bytes!(start, len)?;
        }
        let mut command = Command::new(arguments);
        if timeout_us > 0 {
            command = command.timeout(Duration::from_micros(timeout_us));
        }
        place.write(core.client.submit(command, now.into()).map_err(refused)?.as_u64());
        Ok(())
    })
}

/// Accepts several commands under the configured time limit: all of them or none. `lengths` holds, for each command,
/// the number of its arguments and then each argument's length; `bytes` holds the arguments, one after the other.
/// The commands have consecutive ids from `first_command` on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_submit_batch(
    core: Option<&mut Core>,
    bytes: *const c_void,
    bytes_len: usize,
    lengths: *const u32,
    lengths_len: usize,
    now: Now,
    first_command: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    change(core, |core| {
        let place = place(first_command)?;
        let (bytes, lengths) = (bytes!(bytes, bytes_len)?, block!(lengths, lengths_len)?);
        let ids = core.client.submit_batch(bytes, lengths, now.into()).map_err(refused)?;
        place.write(ids.first.as_u64());
        Ok(())
    })
}

/// Accepts commands that have nothing to do with each other, laid out as in `respass_core_submit_batch`. Each gets an
/// id; one that cannot be sent fails by itself. Only blocks that do not fit each other are refused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_submit_each(
    core: Option<&mut Core>,
    bytes: *const c_void,
    bytes_len: usize,
    lengths: *const u32,
    lengths_len: usize,
    now: Now,
    first_command: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    change(core, |core| {
        let place = place(first_command)?;
        let (bytes, lengths) = (bytes!(bytes, bytes_len)?, block!(lengths, lengths_len)?);
        let ids = core.client.submit_each(bytes, lengths, now.into()).map_err(refused)?;
        place.write(ids.first.as_u64());
        Ok(())
    })
}

/// Accepts a transaction, laid out as in `respass_core_submit_batch`. It has one answer, EXEC's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_submit_transaction(
    core: Option<&mut Core>,
    bytes: *const c_void,
    bytes_len: usize,
    lengths: *const u32,
    lengths_len: usize,
    now: Now,
    command: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    change(core, |core| {
        let place = place(command)?;
        let (bytes, lengths) = (bytes!(bytes, bytes_len)?, block!(lengths, lengths_len)?);
        let id = core.client.submit_transaction(bytes, lengths, now.into()).map_err(refused)?;
        place.write(id.as_u64());
        Ok(())
    })
}

/// Gives up on a command. Does nothing where it has ended already.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_cancel(core: Option<&mut Core>, command: u64) -> ResultCode {
    change(core, |core| {
        core.client.cancel(CommandId::from_u64(command));
        Ok(())
    })
}

/// Ends everything: what waits is told so, the socket is to be closed, and nothing follows.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_close(core: Option<&mut Core>, now: Now) -> ResultCode {
    change(core, |core| {
        core.client.close(now.into());
        Ok(())
    })
}

/// The socket that was asked for is connected.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_connected(core: Option<&mut Core>, conn: u64, now: Now) -> ResultCode {
    change(core, |core| {
        core.client.handle_connected(ConnId::from_u64(conn), now.into());
        Ok(())
    })
}

/// Bytes came in.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_received(
    core: Option<&mut Core>,
    conn: u64,
    bytes: *const c_void,
    bytes_len: usize,
    now: Now,
) -> ResultCode {
    change(core, |core| {
        core.client.handle_received(ConnId::from_u64(conn), bytes!(bytes, bytes_len)?, now.into());
        Ok(())
    })
}

/// Bytes to write: borrowed until the next non-const call on this core. Report with `respass_core_transmitted` what
/// the socket took; further bytes may follow then, so repeat until there are none.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_transmit(
    core: Option<&mut Core>,
    conn: u64,
    now: Now,
    bytes: Option<&mut MaybeUninit<Slice>>,
) -> ResultCode {
    change(core, |core| {
        let place = place(bytes)?;
        place.write(Slice::of(core.client.transmit(ConnId::from_u64(conn), now.into())));
        Ok(())
    })
}

/// The socket took the first `len` bytes of what `respass_core_transmit` showed.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_transmitted(
    core: Option<&mut Core>,
    conn: u64,
    len: usize,
    now: Now,
) -> ResultCode {
    change(core, |core| {
        core.client.handle_transmitted(ConnId::from_u64(conn), len, now.into());
        Ok(())
    })
}

/// There is no socket any more, or none was made. `cause` is a `RESPASS_CAUSE_…`; the text says more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_disconnected(
    core: Option<&mut Core>,
    conn: u64,
    cause: u32,
    text: *const c_char,
    text_len: usize,
    now: Now,
) -> ResultCode {
    change(core, |core| {
        let text = String::from_utf8_lossy(bytes!(text, text_len)?).into_owned();
        let cause = match cause {
            cause if cause == Cause::ConnectFailed as u32 => DisconnectCause::ConnectFailed(text),
            cause if cause == Cause::Closed as u32 => DisconnectCause::Closed,
            cause if cause == Cause::Broken as u32 => DisconnectCause::Broken(text),
            _ => return Err(Failure::argument("there is no such cause")),
        };
        core.client.handle_disconnected(ConnId::from_u64(conn), cause, now.into());
        Ok(())
    })
}

/// A source issued a token, or says that there is none. The token stays the caller's.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_token(core: Option<&mut Core>, token: Option<&Token>, now: Now) -> ResultCode {
    change(core, |core| {
        match token.ok_or_else(Failure::null)? {
            Token::Issued(token) => core.client.handle_token(token, now.into()),
            Token::Failed(failure) => core.client.handle_token_failed(failure, now.into()),
        }
        Ok(())
    })
}

/// Time has passed. Safe to call at any moment.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_timeout(core: Option<&mut Core>, now: Now) -> ResultCode {
    change(core, |core| {
        core.client.handle_timeout(now.into());
        Ok(())
    })
}

/// What to do next; the kind is RESPASS_OUTPUT_KIND_NONE where nothing is left. What `output` held before is not
/// looked at: clear it first.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_next_output(
    core: Option<&mut Core>,
    output: Option<&mut MaybeUninit<Output>>,
) -> ResultCode {
    change(core, |core| {
        let place = place(output)?;
        place.write(Output::of_core(core.client.poll_output(), &mut core.spare));
        Ok(())
    })
}

/// As `respass_output_clear`, but keeps the memory for the next replies.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_recycle(core: Option<&mut Core>, output: Option<&mut Output>) -> ResultCode {
    let Some(output) = output else { return RESPASS_RESULT_OK };
    let owner = output.owner.take();
    crate::output::respass_output_clear(Some(output));
    change(core, |core| {
        if let Some(mut owner) = owner {
            core.client.recycle(std::mem::take(&mut owner.batch));
            core.spare = Some(owner);
        }
        Ok(())
    })
}

/// When `respass_core_timeout` wants to be called, on the monotonic clock; `RESPASS_NEVER_US` where it does not.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_next_wakeup(
    core: Option<&Core>,
    now: Now,
    wakeup_us: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    let Some(core) = core else { return Failure::null().code };
    core.0.look(|core| {
        let wakeup = core.client.poll_timeout(now.into());
        place(wakeup_us)?.write(wakeup.map_or(RESPASS_NEVER_US, |wakeup| wakeup.at.as_micros()));
        Ok(())
    })
}

const fn may_move_between_threads<T: Send>() {}
const _: () = may_move_between_threads::<Core>();
