//! Several commands, gathered before they are given.

use crate::ResultCode;
use crate::handle::{self, Failure, place};
use std::ffi::c_char;
use std::mem::MaybeUninit;

/// Several commands, for `respass_append_batch` and `respass_transaction`. It stays as it is when it is given.
pub struct Batch {
    _opaque: [u8; 0],
}

object!(Batch, Commands, 8);

/// As `respass_core_submit_batch` takes them.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    pub(crate) bytes: Vec<u8>,
    pub(crate) lengths: Vec<u32>,
    pub(crate) count: usize,
}

impl Commands {
    fn add(&mut self, arguments: &[&[u8]]) -> Result<(), Failure> {
        let too_long = |_| Failure::argument("an argument of 4 GiB or more");
        let from = self.lengths.len();
        let count = u32::try_from(arguments.len()).map_err(too_long)?;
        self.lengths.push(count);
        for argument in arguments {
            match u32::try_from(argument.len()) {
                Ok(len) => self.lengths.push(len),
                Err(error) => {
                    self.lengths.truncate(from);
                    return Err(too_long(error));
                }
            }
        }
        for argument in arguments {
            self.bytes.extend_from_slice(argument);
        }
        self.count += 1;
        Ok(())
    }
}

/// A batch without commands.
#[unsafe(no_mangle)]
pub extern "C" fn respass_batch_new(batch: Option<&mut MaybeUninit<*mut Batch>>) -> ResultCode {
    enter!(place(batch)?.write(handle::insert(Commands::default())))
}

/// Releases the batch.
#[unsafe(no_mangle)]
pub extern "C" fn respass_batch_free(batch: *mut Batch) {
    handle::free(batch);
}

/// One command more. Where `argv_len` is NULL, each argument ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_batch_add(
    batch: *mut Batch,
    argc: usize,
    argv: *const *const c_char,
    argv_len: *const usize,
) -> ResultCode {
    enter!(mut batch => arguments!(argc, argv, argv_len, |arguments| {
        if arguments.is_empty() {
            return Err(Failure::argument("a command without a name"));
        }
        batch.add(arguments)
    })?)
}

/// Takes all commands out, and keeps the memory for others.
#[unsafe(no_mangle)]
pub extern "C" fn respass_batch_clear(batch: *mut Batch) -> ResultCode {
    enter!(mut batch => {
        batch.bytes.clear();
        batch.lengths.clear();
        batch.count = 0;
    })
}
