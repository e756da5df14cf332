//! Batches: how commands cross a language line.

/// Several commands as two blocks: how a batch crosses a language line in one call.
///
/// `lengths` holds, for each command, the number of its arguments and then each argument's length; `bytes` holds
/// the arguments, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    bytes: &'a [u8],
    lengths: &'a [u32],
}

impl<'a> Batch<'a> {
    /// The commands of the two blocks; `None` where the lengths do not fit the bytes, or a command has no name.
    pub(crate) fn new(bytes: &'a [u8], lengths: &'a [u32]) -> Option<Batch<'a>> {
        let batch = Batch { bytes, lengths };
        let (mut rest, mut len) = (lengths, 0_usize);
        while let Some((&count, after)) = rest.split_first() {
            let count = usize::try_from(count).ok().filter(|&count| count > 0)?;
            let arguments = after.get(..count)?;
            for &argument in arguments {
                len = len.checked_add(argument as usize)?;
            }
            rest = after.get(count..)?;
        }
        (len == bytes.len()).then_some(batch)
    }

    /// The commands, each as its arguments.
    pub(crate) fn commands(self) -> impl Iterator<Item = BatchArguments<'a>> {
        let Batch { mut bytes, mut lengths } = self;
        std::iter::from_fn(move || {
            let (&count, after) = lengths.split_first()?;
            let (own, rest) = after.split_at_checked(count as usize)?;
            let len = own.iter().map(|&len| len as usize).sum();
            let (arguments, others) = bytes.split_at_checked(len)?;
            (lengths, bytes) = (rest, others);
            Some(BatchArguments { bytes: arguments, lengths: own })
        })
    }
}

/// One command's arguments inside a [`Batch`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchArguments<'a> {
    bytes: &'a [u8],
    lengths: &'a [u32],
}

impl<'a> Iterator for BatchArguments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&len, lengths) = self.lengths.split_first()?;
        let (argument, bytes) = self.bytes.split_at_checked(len as usize)?;
        (self.lengths, self.bytes) = (lengths, bytes);
        Some(argument)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.lengths.len(), Some(self.lengths.len()))
    }
}

impl ExactSizeIterator for BatchArguments<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_refused_where_lengths_and_bytes_differ() {
        assert!(Batch::new(b"GETk", &[2, 3, 1]).is_some());
        assert!(Batch::new(b"", &[]).is_some());
        for (bytes, lengths) in [
            (&b"GETk"[..], &[2, 3][..]),
            (b"GETk", &[2, 3, 2]),
            (b"GETkk", &[2, 3, 1]),
            (b"GET", &[0, 1, 3]),
            (b"GET", &[u32::MAX, 3]),
        ] {
            assert!(Batch::new(bytes, lengths).is_none(), "{lengths:?}");
        }
    }

    #[test]
    fn a_batch_gives_back_its_commands() {
        let batch = Batch::new(b"GETkSETkv", &[2, 3, 1, 3, 3, 1, 1]).expect("well-formed");
        let commands: Vec<Vec<&[u8]>> = batch.commands().map(Iterator::collect).collect();
        assert_eq!(commands, [vec![&b"GET"[..], b"k"], vec![b"SET", b"k", b"v"]]);
    }
}
