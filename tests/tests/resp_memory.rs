//! What the decoder allocates and how its work grows: memory follows the bytes received, time is linear in them.
//! A test binary of its own, because it counts what its threads allocate.

use respass::resp::{DecodeLimits, Decoder, Node};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Counts per thread, so that tests beside each other do not disturb the figures.
struct Counting;

#[derive(Clone, Copy, Default)]
struct Count {
    live: usize,
    peak: usize,
    /// What growing buffers may have copied.
    moved: usize,
}

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(Count { live: 0, peak: 0, moved: 0 }) };
}

fn count(freed: usize, allocated: usize, moved: usize) {
    COUNT.with(|cell| {
        let mut count = cell.get();
        // Memory may be freed by another thread than the one that allocated it.
        count.live = count.live.saturating_sub(freed) + allocated;
        count.peak = count.peak.max(count.live);
        count.moved += moved;
        cell.set(count);
    });
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size(), 0);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(layout.size(), 0, 0);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        count(layout.size(), len, layout.size().min(len));
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, len) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work`; how far memory rose above where it was, and how much growing buffers copied.
fn counted<T>(work: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = COUNT.get();
    COUNT.set(Count { peak: before.live, ..before });
    let result = work();
    let after = COUNT.get();
    (result, after.peak - before.live, after.moved - before.moved)
}

/// Feeds `stream` as the client does, in reads of `read_len`; the number of frames.
fn feed(stream: &[u8], read_len: usize) -> usize {
    let mut decoder = Decoder::new(DecodeLimits::default());
    let mut spare: (Vec<u8>, Vec<Node>) = <_>::default();
    let mut frames = 0;
    for chunk in stream.chunks(read_len) {
        decoder.receive(chunk);
        let before = frames;
        while decoder.next_frame().expect("good RESP").is_some() {
            frames += 1;
        }
        if frames > before {
            spare = decoder.take(spare);
        }
    }
    frames
}

const KIB: usize = 1 << 10;
/// The first buffer of bytes, and the first few nodes and open aggregates.
const FIXED: usize = 64 * KIB + KIB;

#[test]
fn a_declared_length_allocates_nothing() {
    for bytes in [
        "*16777216\r\n",
        "%8388608\r\n",
        "~16777216\r\n",
        ">16777216\r\n",
        "|8388607\r\n",
        "$536870912\r\n",
        "!536870912\r\n",
        "=536870912\r\n",
        "$?\r\n;536870912\r\n",
        "*2\r\n*16777214\r\n*0\r\n$536870912\r\n",
        "*4294967295\r\n",
        "%4611686018427387904\r\n",
    ] {
        for read_len in [1, bytes.len()] {
            let mut decoder = Decoder::new(DecodeLimits::default());
            let (_, peak, _) = counted(|| {
                for chunk in bytes.as_bytes().chunks(read_len) {
                    decoder.receive(chunk);
                    let _ = decoder.next_frame();
                }
            });
            assert!(peak <= bytes.len() + FIXED, "{bytes:?} allocates {peak} bytes");
        }
    }
}

#[test]
fn a_dripping_bulk_takes_what_was_received() {
    let mut decoder = Decoder::new(DecodeLimits::default());
    decoder.receive(b"$536870912\r\n");
    let chunk = [b'x'; KIB];
    let (_, peak, _) = counted(|| {
        for _ in 0..1000 {
            decoder.receive(&chunk);
            assert_eq!(decoder.next_frame(), Ok(None));
        }
    });
    assert!(peak <= 2 * 1000 * KIB + FIXED, "{peak}");
}

/// The shortest values against the 16 bytes of a node, twice as much because the tape doubles.
#[test]
fn the_tape_follows_the_bytes() {
    let mut stream = b"*1000000\r\n".to_vec();
    stream.extend(b"_\r\n".repeat(999_999));
    let (frames, peak, _) = counted(|| feed(&stream, 16 * KIB));
    assert_eq!(frames, 0);
    assert!(peak <= 2 * stream.len() + 2 * 16 * 1_000_000 + FIXED, "{peak}");
}

#[test]
fn a_large_bulk_takes_its_length_and_no_more() {
    const LEN: usize = 64 << 20;
    let stream = [format!("${LEN}\r\n").as_bytes(), &vec![b'x'; LEN], b"\r\n"].concat();
    let (frames, peak, moved) = counted(|| feed(&stream, 16 * KIB));
    assert_eq!(frames, 1);
    assert!(peak <= LEN + FIXED, "{peak}");
    assert!(moved <= 2 * LEN, "{moved} bytes copied by growing");
}

/// Growth is by doubling, so that all of it together copies about what was received.
#[test]
fn growth_copies_in_proportion() {
    for (count, read_len) in [(1_000_000, 16 * KIB), (1_000_000, 1000), (50_000, 1)] {
        let stream = array_of_bulks(count);
        let (frames, peak, moved) = counted(|| feed(&stream, read_len));
        assert_eq!(frames, 1);
        let needed = stream.len() + 16 * count;
        assert!(moved <= 2 * needed, "reads of {read_len}: {moved} bytes copied, {needed} needed");
        assert!(peak <= 2 * needed + FIXED, "reads of {read_len}: {peak} bytes allocated, {needed} needed");
    }
}

fn array_of_bulks(count: usize) -> Vec<u8> {
    let mut stream = format!("*{count}\r\n").into_bytes();
    for index in 0..count {
        stream.extend(format!("$9\r\n{index:09}\r\n").bytes());
    }
    stream
}

fn streamed_string(chunks: usize) -> Vec<u8> {
    [b"$?\r\n".as_slice(), &b";3\r\nabc\r\n".repeat(chunks), b";0\r\n"].concat()
}

fn one_bulk(len: usize) -> Vec<u8> {
    [format!("${len}\r\n").as_bytes(), &vec![b'x'; len], b"\r\n"].concat()
}

fn pipeline(count: usize) -> Vec<u8> {
    b"+OK\r\n$5\r\nvalue\r\n*2\r\n:1\r\n$-1\r\n".repeat(count)
}

fn attributes(count: usize) -> Vec<u8> {
    [b"|1\r\n+ttl\r\n:3600\r\n".repeat(count).as_slice(), b"+OK\r\n"].concat()
}

/// 32 times the size costs 32 times as much where work is linear, and 1,024 times where it is quadratic. Between them
/// lies room for caches and fresh pages; for other programs on the machine there are more attempts.
#[track_caller]
fn assert_linear(name: &str, size: usize, time: impl Fn(usize) -> Duration) {
    let fastest = |size: usize| (0..3).map(|_| time(size)).min().unwrap_or_default();
    let mut attempts = Vec::new();
    for _ in 0..6 {
        let (short, long) = (fastest(size), fastest(32 * size));
        if long <= short * 32 * 8 {
            return;
        }
        attempts.push((short, long));
    }
    panic!("{name}: time for a size, and for 32 times the size: {attempts:?}");
}

/// A line's end is looked for by the fastest instructions there are, so it takes a long line to see a byte looked at
/// twice.
#[test]
fn a_dripping_line_is_scanned_once() {
    let limits = DecodeLimits { line_len_max: usize::MAX, ..DecodeLimits::default() };
    assert_linear("line, reads of 32", 64 * KIB, |len| {
        let mut decoder = Decoder::new(limits);
        decoder.receive(b"+");
        let start = Instant::now();
        for _ in 0..len / 32 {
            decoder.receive(&[b'x'; 32]);
            assert_eq!(decoder.next_frame(), Ok(None));
        }
        start.elapsed()
    });
}

#[test]
fn work_is_linear() {
    type Make = fn(usize) -> Vec<u8>;
    let cases: [(&str, Make, usize, usize); 7] = [
        ("bulk, reads of 64", one_bulk, 128 * KIB, 64),
        ("array, 16 KiB reads", array_of_bulks, 20_000, 16 * KIB),
        ("array, reads of 1", array_of_bulks, 1_000, 1),
        ("array, reads of 7", array_of_bulks, 3_000, 7),
        ("streamed string, reads of 100", streamed_string, 4_000, 100),
        ("pipeline, 16 KiB reads", pipeline, 5_000, 16 * KIB),
        ("attributes in front, reads of 5", attributes, 1_000, 5),
    ];
    for (name, make, size, read_len) in cases {
        assert_linear(name, size, |size| {
            let stream = make(size);
            let start = Instant::now();
            feed(&stream, read_len);
            start.elapsed()
        });
    }
}
