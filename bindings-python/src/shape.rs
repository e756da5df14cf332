//! What commands make of their replies: the shapes by number and name.

/// Defines the shapes. The numbers are constants of the Python module.
macro_rules! shapes {
    ($($(#[$doc:meta])* $shape:ident = $number:literal, $name:literal;)*) => {
        /// What a command makes of its reply.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Shape {
            $($(#[$doc])* $shape = $number,)*
        }

        impl Shape {
            /// The shape of a number; an unknown number leaves the reply as it comes.
            pub(crate) fn of(number: u8) -> Shape {
                match number {
                    $($number => Shape::$shape,)*
                    _ => Shape::Raw,
                }
            }

            /// The shapes by name, for the Python module.
            pub(crate) const NAMES: &[(&str, Shape)] = &[$(($name, Shape::$shape),)*];
        }
    };
}

shapes! {
    /// As it comes.
    Raw = 0, "RAW";
    /// `OK` is true; anything else as it comes (SET with and without GET).
    Ok = 1, "OK";
    /// An integer is a truth value.
    Bool = 2, "BOOL";
    /// Pairs, as a map or as a flat array, are a dict.
    Dict = 3, "DICT";
    /// An array is a set.
    Set = 4, "SET";
    /// A number, as such or as text, is a float.
    Float = 5, "FLOAT";
    /// `PONG` is true.
    Pong = 6, "PONG";
    /// Text is `str`, whatever `decode_responses` says.
    Text = 7, "TEXT";
    /// Any answer but an error is true.
    Yes = 8, "YES";
    /// A list of truth values.
    Bools = 9, "BOOLS";
    /// A list of `str`.
    Texts = 10, "TEXTS";
    /// Text is `bytes`, also within lists, whatever `decode_responses` says.
    Bytes = 11, "BYTES";
    /// A list of tuples: a member and its score.
    Scored = 12, "SCORED";
    /// A list of two: an integer and a score.
    ScoredRank = 13, "SCORED_RANK";
    /// A list of floats.
    Floats = 14, "FLOATS";
    /// A list of pairs of floats.
    Points = 15, "POINTS";
    /// Places, alone or each with its distance, hash and coordinates.
    Found = 16, "FOUND";
    /// Entries of a stream: tuples of an id and a dict.
    Entries = 17, "ENTRIES";
    /// Lists of two: a stream's name and its entries.
    Streams = 18, "STREAMS";
    /// A list of an id, entries, and what else comes.
    Claimed = 19, "CLAIMED";
    /// A cursor and a list.
    Scan = 20, "SCAN";
    /// A cursor and a dict.
    ScanMap = 21, "SCAN_MAP";
    /// A cursor and tuples of members and scores.
    ScanScored = 22, "SCAN_SCORED";
    /// A dict whose keys are `str`.
    Record = 23, "RECORD";
    /// A list of those.
    Records = 24, "RECORDS";
    /// A dict of `str` and `str`.
    TextMap = 25, "TEXT_MAP";
    /// A tuple of integers.
    Ints = 26, "INTS";
    /// As RESP2 has it: maps are flat lists, numbers with a fraction are text.
    Resp2 = 27, "RESP2";
    /// Likewise, and pairs are not lists of their own.
    Resp2Flat = 28, "RESP2_FLAT";
}
