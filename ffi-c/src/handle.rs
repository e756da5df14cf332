//! The line between C and Rust: everything unsafe is here.
//!
//! A handle is no address: it is the number of a slot, with the generation of what lies there and the type that it is
//! of. So a handle that was freed, or is of another type, or was never given out, is told apart without a look at
//! memory that may not exist. A slot is held by one call at a time; it remembers a panic, and in which process it was
//! filled. Out-parameters cross as `Option<&mut MaybeUninit<T>>`, which is a pointer that may be NULL to both
//! languages; what is left to believe are blocks of bytes.

use crate::{
    RESPASS_RESULT_ARGUMENT, RESPASS_RESULT_BUSY, RESPASS_RESULT_FORKED, RESPASS_RESULT_HANDLE,
    RESPASS_RESULT_NULL, RESPASS_RESULT_OK, RESPASS_RESULT_PANIC, ResultCode,
};
use std::borrow::Cow;
use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Why a call did nothing.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: ResultCode,
    /// A `RESPASS_OUTCOME_…`, or 0 where there was no command.
    pub(crate) outcome: u32,
    pub(crate) text: Cow<'static, str>,
    pub(crate) hint: &'static str,
}

impl Failure {
    pub(crate) fn new(code: ResultCode, text: impl Into<Cow<'static, str>>) -> Failure {
        Failure { code, outcome: 0, text: text.into(), hint: "" }
    }

    pub(crate) fn argument(text: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(RESPASS_RESULT_ARGUMENT, text)
    }

    pub(crate) fn null() -> Failure {
        Failure::new(RESPASS_RESULT_NULL, "a pointer is NULL that must not be")
    }

    fn panic() -> Failure {
        Failure::new(RESPASS_RESULT_PANIC, "a bug in respass made this handle unusable: free it")
    }

    fn handle() -> Failure {
        Failure::new(
            RESPASS_RESULT_HANDLE,
            "the handle was freed, is of another type, or was never given out",
        )
    }

    fn busy() -> Failure {
        Failure::new(RESPASS_RESULT_BUSY, "another call uses this handle now: one at a time")
    }

    fn forked() -> Failure {
        Failure::new(RESPASS_RESULT_FORKED, "the handle is of the parent process: make one in the child")
    }
}

/// The opaque type that C knows, and what stands behind it.
pub(crate) trait Object: Sized + 'static {
    type State: Send + 'static;
    /// The lowest bits of a handle. Odd: no address of an allocation is.
    const TAG: usize;
    fn table() -> &'static Table<Self::State>;
    /// Drops what a child of `fork` inherited, without a word to anybody.
    fn forsake(state: Self::State) {
        drop(state);
    }
}

/// Makes `$opaque` the handles of `$state`. Each type has a number of its own, below 16.
macro_rules! object {
    ($opaque:ty, $state:ty, $number:literal $(, $forsake:expr)?) => {
        impl $crate::handle::Object for $opaque {
            type State = $state;
            const TAG: usize = 2 * $number + 1;

            fn table() -> &'static $crate::handle::Table<$state> {
                static TABLE: $crate::handle::Table<$state> = $crate::handle::Table::new();
                &TABLE
            }
            $(
                fn forsake(state: $state) {
                    $forsake(state);
                }
            )?
        }
    };
}

/// Runs the body of an exported function and makes its end a result code: with what stands behind a handle, which it
/// may change (`mut`) or not, or with none. `?` leaves the body.
macro_rules! enter {
    (mut $handle:ident => $body:expr) => {
        $crate::handle::code($crate::handle::change($handle, |$handle| {
            $body;
            Ok(())
        }))
    };
    ($handle:ident => $body:expr) => {
        $crate::handle::code($crate::handle::look($handle, |$handle| {
            $body;
            Ok(())
        }))
    };
    ($body:expr) => {
        $crate::handle::code($crate::handle::make(|| {
            $body;
            Ok(())
        }))
    };
}

pub(crate) fn code(result: Result<(), Failure>) -> ResultCode {
    result.map_or_else(|failure| failure.code, |()| RESPASS_RESULT_OK)
}

/// Runs a call that may change what stands behind the handle.
pub(crate) fn change<O: Object, R>(
    handle: *mut O,
    body: impl FnOnce(&mut O::State) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let mut claim = O::table().claim(O::TAG, handle.addr())?;
    let result = claim.run(|kept| body(&mut kept.state));
    if let Err(failure) = &result {
        claim.kept().failure.clone_from(&failure.text);
    }
    result
}

/// Runs a call that does not change what stands behind the handle.
pub(crate) fn look<O: Object, R>(
    handle: *const O,
    body: impl FnOnce(&O::State) -> Result<R, Failure>,
) -> Result<R, Failure> {
    O::table().claim(O::TAG, handle.addr())?.run(|kept| body(&kept.state))
}

/// Runs a call that has no handle.
pub(crate) fn make<R>(body: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| Err(Failure::panic()))
}

/// Why the latest call on this handle failed: borrowed until the next that may change it.
pub(crate) fn failure_text<O: Object, R>(
    handle: *const O,
    body: impl FnOnce(&str) -> Result<R, Failure>,
) -> Result<R, Failure> {
    O::table().claim(O::TAG, handle.addr())?.run(|kept| body(&kept.failure))
}

/// A new handle. There may be 16 million of a type.
pub(crate) fn insert<O: Object>(state: O::State) -> *mut O {
    std::ptr::without_provenance_mut(O::table().insert(O::TAG, state))
}

/// Ends a handle and returns what stood behind it, as a call that may change it.
pub(crate) fn take<O: Object>(handle: *mut O) -> Result<O::State, Failure> {
    // Says why not; `end` would take a poisoned one, too.
    drop(O::table().claim(O::TAG, handle.addr())?);
    O::table().end(O::TAG, handle.addr()).map(|(state, _)| state).ok_or_else(Failure::handle)
}

/// Ends a handle, whatever happened to it; one that is in use, or none any more, is left alone.
pub(crate) fn free<O: Object>(handle: *mut O) {
    if let Some((state, is_forked)) = O::table().end(O::TAG, handle.addr()) {
        let release = || if is_forked { O::forsake(state) } else { drop(state) };
        // Nobody is left to be told. A panic leaks the rest.
        let _ = catch_unwind(AssertUnwindSafe(release));
    }
}

/// Makes the handle one of a parent process.
#[cfg(test)]
pub(crate) fn inherit<O: Object>(handle: *mut O) {
    let slot = O::table().find(O::TAG, handle.addr()).expect("a handle");
    slot.forks.fetch_sub(1, Ordering::Relaxed);
}

/// A call as C makes it.
#[cfg(test)]
macro_rules! from_c {
    ($call:expr) => {{
        #[allow(unused_unsafe, reason = "some functions take nothing that they must believe")]
        // SAFETY: the tests hand over what the header wants, but for handles.
        unsafe {
            $call
        }
    }};
}

/// All that stands behind the handles of one type. Slots are used again and never given back: whoever comes with an
/// old handle finds the slot, and that its generation is over.
pub(crate) struct Table<T> {
    /// Each twice as large as the one before it.
    chunks: [AtomicPtr<Slot<T>>; CHUNKS],
    /// Slots that were used at some time.
    used: AtomicUsize,
    /// The latest freed slot plus one, below a count that tells two visits of the same slot apart.
    free: AtomicU64,
}

struct Slot<T> {
    /// The generation, above BUSY and POISONED. A slot without anything in it is busy.
    state: AtomicUsize,
    /// The slot freed before this one, plus one.
    next: AtomicU32,
    /// The process, as `FORKS` counts them.
    forks: AtomicU32,
    kept: UnsafeCell<Option<Kept<T>>>,
}

struct Kept<T> {
    state: T,
    /// Of the latest call that failed.
    failure: Cow<'static, str>,
}

// Of a handle, from its low end: type, slot, generation.
const TAG_BITS: u32 = 5;
const SLOT_BITS: u32 = if usize::BITS == 64 { 24 } else { 16 };
const GENERATION_MAX: usize = usize::MAX >> (TAG_BITS + SLOT_BITS);
const FIRST_CHUNK: usize = 32;
const CHUNKS: usize = (SLOT_BITS - FIRST_CHUNK.ilog2()) as usize;

// Of a slot's state, from its low end: flags, generation.
const BUSY: usize = 1;
const POISONED: usize = 2;
const FLAG_BITS: u32 = 2;

const fn generation_of(handle: usize) -> usize {
    handle >> (TAG_BITS + SLOT_BITS)
}

const fn slot_of(handle: usize) -> usize {
    (handle >> TAG_BITS) & ((1 << SLOT_BITS) - 1)
}

impl<T> Table<T> {
    pub(crate) const fn new() -> Table<T> {
        Table {
            chunks: [const { AtomicPtr::new(std::ptr::null_mut()) }; CHUNKS],
            used: AtomicUsize::new(0),
            free: AtomicU64::new(0),
        }
    }

    fn insert(&self, tag: usize, state: T) -> usize {
        let index = self.pop_free().unwrap_or_else(|| self.used.fetch_add(1, Ordering::Relaxed));
        let slot = self.slot_made(index);
        slot.forks.store(forks(), Ordering::Relaxed);
        let idle = slot.state.load(Ordering::Acquire) & !BUSY;
        // SAFETY: the slot is busy, and this thread got its number from the table: nobody else has it.
        unsafe { *slot.kept.get() = Some(Kept { state, failure: Cow::Borrowed("") }) };
        slot.state.store(idle, Ordering::Release);
        (idle >> FLAG_BITS) << (TAG_BITS + SLOT_BITS) | index << TAG_BITS | tag
    }

    /// Finds what the handle stands for and holds it.
    fn claim(&self, tag: usize, handle: usize) -> Result<Claim<'_, T>, Failure> {
        if handle == 0 {
            return Err(Failure::null());
        }
        let slot = self.find(tag, handle).ok_or_else(Failure::handle)?;
        let idle = generation_of(handle) << FLAG_BITS;
        let is_forked = || slot.forks.load(Ordering::Relaxed) != FORKS.load(Ordering::Relaxed);
        match slot.state.compare_exchange(idle, idle | BUSY, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => {
                let claim = Claim { slot, then: idle };
                if is_forked() { Err(Failure::forked()) } else { Ok(claim) }
            }
            Err(state) if state >> FLAG_BITS != generation_of(handle) => Err(Failure::handle()),
            // What a thread of the parent held is held for ever.
            Err(_) if is_forked() => Err(Failure::forked()),
            Err(state) if state & BUSY != 0 => Err(Failure::busy()),
            Err(_) => Err(Failure::panic()),
        }
    }

    /// Takes what the handle stands for out of the table, and whether another process put it in.
    fn end(&self, tag: usize, handle: usize) -> Option<(T, bool)> {
        let slot = self.find(tag, handle)?;
        let idle = generation_of(handle) << FLAG_BITS;
        let hold = |from| {
            slot.state.compare_exchange(from, idle | BUSY, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        if !hold(idle) && !hold(idle | POISONED) {
            return None;
        }
        // SAFETY: the slot was idle or poisoned and is busy now: this thread alone has it.
        let kept = unsafe { (*slot.kept.get()).take() };
        let is_forked = slot.forks.load(Ordering::Relaxed) != FORKS.load(Ordering::Relaxed);
        let next = if generation_of(handle) == GENERATION_MAX { 1 } else { generation_of(handle) + 1 };
        slot.state.store(next << FLAG_BITS | BUSY, Ordering::Release);
        self.push_free(slot_of(handle));
        kept.map(|kept| (kept.state, is_forked))
    }

    fn find(&self, tag: usize, handle: usize) -> Option<&Slot<T>> {
        if handle & ((1 << TAG_BITS) - 1) == tag { self.slot(slot_of(handle)) } else { None }
    }

    fn slot(&self, index: usize) -> Option<&Slot<T>> {
        let (chunk, offset) = place_of(index);
        let start = self.chunks.get(chunk)?.load(Ordering::Acquire);
        // SAFETY: a chunk that is there has as many slots, as `slot_made` says, and stays for ever.
        (!start.is_null()).then(|| unsafe { &*start.add(offset) })
    }

    fn slot_made(&self, index: usize) -> &Slot<T> {
        let (chunk, _) = place_of(index);
        let place = self.chunks.get(chunk).expect("16 million handles of a type at most");
        if place.load(Ordering::Acquire).is_null() {
            let made: Box<[Slot<T>]> = (0..FIRST_CHUNK << chunk).map(|_| Slot::new()).collect();
            let made = Box::into_raw(made);
            let start = made.cast::<Slot<T>>();
            let null = std::ptr::null_mut();
            if place.compare_exchange(null, start, Ordering::AcqRel, Ordering::Acquire).is_err() {
                // SAFETY: another thread was first, so nobody knows of this chunk.
                drop(unsafe { Box::from_raw(made) });
            }
        }
        self.slot(index).expect("the chunk is there")
    }

    fn pop_free(&self) -> Option<usize> {
        let mut head = self.free.load(Ordering::Acquire);
        loop {
            let index = (head as u32).checked_sub(1)? as usize;
            let next = self.slot(index)?.next.load(Ordering::Relaxed);
            let popped = (head >> 32).wrapping_add(1) << 32 | u64::from(next);
            match self.free.compare_exchange_weak(head, popped, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(index),
                Err(now) => head = now,
            }
        }
    }

    fn push_free(&self, index: usize) {
        let Some(slot) = self.slot(index) else { return };
        let mut head = self.free.load(Ordering::Relaxed);
        loop {
            slot.next.store(head as u32, Ordering::Relaxed);
            let pushed = (head >> 32).wrapping_add(1) << 32 | (index as u64 + 1);
            match self.free.compare_exchange_weak(head, pushed, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }
}

/// The chunk that a slot is in, and where in it.
const fn place_of(index: usize) -> (usize, usize) {
    let from_first = index + FIRST_CHUNK;
    let chunk = from_first.ilog2() - FIRST_CHUNK.ilog2();
    (chunk as usize, from_first - (FIRST_CHUNK << chunk))
}

impl<T> Slot<T> {
    fn new() -> Slot<T> {
        Slot {
            state: AtomicUsize::new(1 << FLAG_BITS | BUSY),
            next: AtomicU32::new(0),
            forks: AtomicU32::new(0),
            kept: UnsafeCell::new(None),
        }
    }
}

/// A slot that this call holds.
struct Claim<'a, T> {
    slot: &'a Slot<T>,
    /// The state to leave it in.
    then: usize,
}

impl<T> Claim<'_, T> {
    fn kept(&mut self) -> &mut Kept<T> {
        // SAFETY: the slot was idle and is busy now, until this claim ends: nobody else looks inside.
        let kept = unsafe { &mut *self.slot.kept.get() };
        kept.as_mut().expect("an idle slot is filled")
    }

    fn run<R>(&mut self, body: impl FnOnce(&mut Kept<T>) -> Result<R, Failure>) -> Result<R, Failure> {
        let kept = self.kept();
        catch_unwind(AssertUnwindSafe(|| body(kept))).unwrap_or_else(|_| {
            self.then |= POISONED;
            Err(Failure::panic())
        })
    }
}

impl<T> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        self.slot.state.store(self.then, Ordering::Release);
    }
}

/// Forks between the first process and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

fn forks() -> u32 {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        // SAFETY: the function that a child runs touches an atomic number and nothing else.
        let status = unsafe { pthread_atfork(None, None, Some(count_fork)) };
        assert_eq!(status, 0, "no memory to watch for forks");
    });
    FORKS.load(Ordering::Relaxed)
}

extern "C" fn count_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" {
    fn pthread_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> c_int;
}

/// The place that a result goes to. To be asked for before anything is done.
pub(crate) fn place<T>(out: Option<&mut MaybeUninit<T>>) -> Result<&mut MaybeUninit<T>, Failure> {
    out.ok_or_else(Failure::null)
}

/// A caller's block of bytes or numbers, borrowed for the call.
macro_rules! block {
    ($data:expr, $len:expr) => {{
        // SAFETY: the crate's contract: `data` points at `len` elements that nobody changes during the call.
        unsafe { $crate::handle::block_of($data, $len) }
    }};
}

/// A caller's bytes, whatever C calls them, borrowed for the call.
macro_rules! bytes {
    ($data:expr, $len:expr) => {
        block!($data.cast::<u8>(), $len)
    };
}

/// A caller's text, borrowed for the call.
macro_rules! text {
    ($data:expr, $len:expr) => {
        bytes!($data, $len).and_then($crate::handle::text_of)
    };
}

/// A caller's command, as `arguments_of` gives it.
macro_rules! arguments {
    ($argc:expr, $argv:expr, $argv_len:expr, $body:expr) => {{
        // SAFETY: the crate's contract: as many pointers and lengths, each to bytes that nobody changes.
        unsafe { $crate::handle::arguments_of($argc, $argv, $argv_len, $body) }
    }};
}

pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(bytes).map_err(|_| Failure::argument("a text is not UTF-8"))
}

/// A seed from its 32 bytes.
pub(crate) fn seed_of(bytes: &[u8]) -> [u8; 32] {
    let mut seed = [0; 32];
    seed.copy_from_slice(bytes);
    seed
}

/// # Safety
///
/// Unless `len` is 0, `data` is NULL, misaligned, or points at `len` elements that nobody changes during `'a`.
pub(crate) unsafe fn block_of<'a, T>(data: *const T, len: usize) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(Failure::null());
    }
    if !data.is_aligned() || len > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Failure::argument("a block is misaligned, or longer than memory"));
    }
    // SAFETY: not NULL, aligned and not too long, as just checked; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// Hands over a command's arguments. Without lengths, each ends with a NUL.
///
/// # Safety
///
/// `argv` and `argv_len` are blocks of `argc` elements, as [`block_of`] wants them (`argv_len` may be NULL); so is
/// each argument of its length, or up to its NUL.
pub(crate) unsafe fn arguments_of<R>(
    argc: usize,
    argv: *const *const c_char,
    argv_len: *const usize,
    body: impl FnOnce(&[&[u8]]) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let starts = block!(argv, argc)?;
    let lengths = if argv_len.is_null() { None } else { Some(block!(argv_len, argc)?) };
    // Most commands are short: no allocation for them.
    let (mut few, mut many) = ([&[][..]; 8], Vec::new());
    let arguments = match few.get_mut(..argc) {
        Some(few) => few,
        None => {
            many.resize(argc, &[][..]);
            &mut many[..]
        }
    };
    for (index, (argument, &start)) in arguments.iter_mut().zip(starts).enumerate() {
        *argument = match lengths {
            Some(lengths) => bytes!(start, lengths[index])?,
            None if start.is_null() => return Err(Failure::null()),
            // SAFETY: not NULL, as just checked; the NUL is the caller's promise.
            None => unsafe { CStr::from_ptr(start) }.to_bytes(),
        };
    }
    body(arguments)
}
