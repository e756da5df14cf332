//! Which of a cluster's slots a key belongs to.

/// How many slots a cluster has.
pub(crate) const SLOT_COUNT: u16 = 16384;

/// The slot of a key: CRC16 of it, or of its hash tag, the bytes between the first `{` and the next `}`.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % SLOT_COUNT
}

/// An empty tag is none: the whole key counts.
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = memchr::memchr(b'{', key)?;
    let rest = key.get(open + 1..)?;
    let tag = rest.get(..memchr::memchr(b'}', rest)?)?;
    (!tag.is_empty()).then_some(tag)
}

/// CRC16/XMODEM, four bytes at a time: byte by byte, each step would wait for the one before it.
fn crc16(bytes: &[u8]) -> u16 {
    let (fours, rest) = bytes.as_chunks::<4>();
    let crc = fours.iter().fold(0_u16, |crc, &[a, b, c, d]| {
        let [high, low] = crc.to_be_bytes();
        SHIFTED[3][usize::from(a ^ high)]
            ^ SHIFTED[2][usize::from(b ^ low)]
            ^ SHIFTED[1][usize::from(c)]
            ^ SHIFTED[0][usize::from(d)]
    });
    rest.iter().fold(crc, |crc, &byte| (crc << 8) ^ SHIFTED[0][usize::from((crc >> 8) as u8 ^ byte)])
}

const POLYNOMIAL: u16 = 0x1021;

/// The checksum of each byte with so many zeros behind it.
static SHIFTED: [[u16; 256]; 4] = {
    let mut tables = [[0_u16; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 * tables.len() {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
            bit += 1;
            if bit % 8 == 0 {
                tables[bit / 8 - 1][byte] = crc;
            }
        }
        byte += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_has_its_published_check_value() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn the_checksum_is_that_of_its_definition_for_every_length() {
        let bytes: Vec<u8> = (0..300_u32).map(|number| (number * 37 % 251) as u8).collect();
        let mut by_bits = 0_u16;
        for (len, &byte) in bytes.iter().enumerate() {
            assert_eq!(crc16(&bytes[..len]), by_bits, "{len}");
            by_bits ^= u16::from(byte) << 8;
            for _ in 0..8 {
                by_bits = (by_bits << 1) ^ if by_bits & 0x8000 == 0 { 0 } else { POLYNOMIAL };
            }
        }
    }

    #[test]
    fn slots_are_those_that_servers_compute() {
        for (key, slot) in [("foo", 12182), ("bar", 5061), ("somekey", 11058), ("", 0), ("k", 7629)] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
        assert_eq!(slot_of(&[0xff; 300]), crc16(&[0xff; 300]) % SLOT_COUNT);
    }

    #[test]
    fn only_the_tag_counts_where_there_is_one() {
        for (key, hashed) in [
            ("{user1000}.following", "user1000"),
            ("a{b}c{d}", "b"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("}{x}", "x"),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot_of(hashed.as_bytes()), "{key}");
        }
    }

    #[test]
    fn an_empty_or_unclosed_tag_is_none() {
        for key in ["foo{}{bar}", "{}", "foo{", "foo}{", "{foo", "a{}"] {
            assert_eq!(slot_of(key.as_bytes()), crc16(key.as_bytes()) % SLOT_COUNT, "{key}");
        }
    }
}
