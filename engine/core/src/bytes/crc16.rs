//! Hash slots of cluster keys: CRC16 (XMODEM) of the key, or of its `{tag}`, modulo 16384.
//!
//! Exists for CLUSTER KEYSLOT and clients that ask where a key would live.

/// How many slots a cluster has.
pub const SLOTS: u16 = 16384;

/// The slot of a key.
///
/// Only what stands between the first `{` and the next `}` is hashed, so that keys can be kept together; if that
/// is nothing, the whole key is.
pub fn key_slot(key: &[u8]) -> u16 {
    checksum(tag(key).unwrap_or(key)) % SLOTS
}

fn tag(key: &[u8]) -> Option<&[u8]> {
    let after = &key[key.iter().position(|&byte| byte == b'{')? + 1..];
    let tag = &after[..after.iter().position(|&byte| byte == b'}')?];
    (!tag.is_empty()).then_some(tag)
}

/// CRC16 with polynomial 0x1021, starting at zero, bits not reflected.
pub fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(checksum(b"123456789"), 0x31c3);
        assert_eq!(checksum(b""), 0);
        assert_eq!(key_slot(b"foo"), 12182);
        assert_eq!(key_slot(b"bar"), 5061);
        assert_eq!(key_slot(b""), 0);
    }

    #[test]
    fn only_a_tag_that_is_not_empty_counts() {
        assert_eq!(key_slot(b"{user1000}.following"), key_slot(b"user1000"));
        assert_eq!(key_slot(b"foo{{bar}}zap"), checksum(b"{bar") % SLOTS);
        assert_eq!(key_slot(b"foo{bar}{zap}"), key_slot(b"bar"));
        assert_eq!(key_slot(b"foo{}{bar}"), checksum(b"foo{}{bar}") % SLOTS);
        assert_eq!(key_slot(b"foo{bar"), checksum(b"foo{bar") % SLOTS);
        assert_eq!(key_slot(b"a}b{c}"), key_slot(b"c"));
    }
}
