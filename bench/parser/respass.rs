//! Decodes a file of RESP over and over, as the client uses the decoder: receive a chunk, take every complete
//! frame, hand the batch over and get its buffers back. `run.py` drives it.

use respass::resp::{DecodeError, DecodeLimits, Decoder, Node};
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

const USAGE: &str =
    "usage: bench-parser FILE REPLIES CHUNK_LEN SECONDS|xPASSES (a CHUNK_LEN of 0: the whole file)";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, replies, chunk_len, amount] = arguments.as_slice() else { return Err(USAGE.into()) };
    let stream = fs::read(file)?;
    let chunk_len = match chunk_len.parse()? {
        0 => stream.len(),
        len => len,
    };
    let mut bench = Bench { decoder: Decoder::new(DecodeLimits::default()), spare: <_>::default() };
    if bench.pass(&stream, chunk_len)? != replies.parse::<usize>()? {
        return Err("the file holds another number of replies".into());
    }
    let cpu_start = cpu_time()?;
    let mut passes = 0;
    if let Some(count) = amount.strip_prefix('x') {
        passes = count.parse()?;
        for _ in 0..passes {
            bench.pass(&stream, chunk_len)?;
        }
    } else {
        let end = Instant::now() + Duration::from_secs_f64(amount.parse()?);
        while Instant::now() < end {
            bench.pass(&stream, chunk_len)?;
            passes += 1;
        }
    }
    let cpu = cpu_time()?.saturating_sub(cpu_start);
    println!("{{\"passes\": {passes}, \"cpu_s\": {:.9}}}", cpu.as_secs_f64());
    Ok(())
}

struct Bench {
    decoder: Decoder,
    /// The batch that the binding gave back.
    spare: (Vec<u8>, Vec<Node>),
}

impl Bench {
    /// Decodes the stream once; the number of replies in it.
    fn pass(&mut self, stream: &[u8], chunk_len: usize) -> Result<usize, DecodeError> {
        let mut replies = 0;
        for chunk in stream.chunks(chunk_len) {
            self.decoder.receive(chunk);
            let before = replies;
            while let Some(frame) = self.decoder.next_frame()? {
                black_box(frame);
                replies += 1;
            }
            if replies > before {
                self.spare = black_box(self.decoder.take(std::mem::take(&mut self.spare)));
            }
        }
        Ok(replies)
    }
}

/// What this thread used so far. The first number of Linux' schedstat: nanoseconds on a CPU.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = schedstat.split_whitespace().next().ok_or("an empty schedstat")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}
