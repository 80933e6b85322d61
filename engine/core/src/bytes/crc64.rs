//! CRC64 "Jones": the checksum at the end of RDB files and DUMP payloads.
//!
//! Eight bytes a step through eight tables that are computed at compile time.
//!
//! Always true: checksumming in pieces gives what checksumming at once gives.

/// The polynomial 0xad93d23594c935a9, bits reflected.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// Goes on with the checksum `crc` of what came before; start with 0.
pub fn update(mut crc: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mixed = (crc ^ u64::from_le_bytes(*word)).to_le_bytes();
        crc = (0..8).fold(0, |sum, index| sum ^ TABLES[7 - index][usize::from(mixed[index])]);
    }
    rest.iter().fold(crc, |crc, &byte| step(crc, byte))
}

/// The checksum of `bytes`.
pub fn checksum(bytes: &[u8]) -> u64 {
    update(0, bytes)
}

fn step(crc: u64, byte: u8) -> u64 {
    TABLES[0][usize::from(crc as u8 ^ byte)] ^ (crc >> 8)
}

/// `TABLES[n][byte]`: what `byte` does to the checksum when `n` more bytes follow it in the same step.
static TABLES: [[u64; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ POLYNOMIAL };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut distance = 1;
    while distance < 8 {
        let mut byte = 0;
        while byte < 256 {
            let nearer = tables[distance - 1][byte];
            tables[distance][byte] = tables[0][(nearer & 0xff) as usize] ^ (nearer >> 8);
            byte += 1;
        }
        distance += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_checksums() {
        assert_eq!(checksum(b""), 0);
        assert_eq!(checksum(b"a"), 0x5fb3_5402_5b27_7b14);
        assert_eq!(checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn empty_rdb_files_end_with_their_known_checksums() {
        let table: [(&[u8; 9], u64); 4] = [
            (b"REDIS0009", 0x9aac_7abc_fb0f_ad74),
            (b"REDIS0010", 0xa9fd_37fe_89a7_7eeb),
            (b"REDIS0011", 0xc022_8a8d_7438_9762),
            (b"REDIS0012", 0x10d0_db41_20be_f4d3),
        ];
        for (magic, stored) in table {
            assert_eq!(update(checksum(magic), b"\xff").to_le_bytes(), stored.to_be_bytes());
        }
    }

    proptest! {
        #[test]
        fn pieces_add_up(bytes: Vec<u8>, cut: usize) {
            let (head, tail) = bytes.split_at(cut % (bytes.len() + 1));
            prop_assert_eq!(update(checksum(head), tail), checksum(&bytes));
            prop_assert_eq!(bytes.iter().fold(0, |crc, &byte| step(crc, byte)), checksum(&bytes));
        }
    }
}
