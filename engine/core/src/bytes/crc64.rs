//! CRC64 "Jones": the checksum at the end of RDB files and DUMP payloads.
//!
//! The arithmetic is that of `crc-fast`, which multiplies without carries where the processor can: with a table the
//! checksum was a sixth of a snapshot's time.
//!
//! Always true: checksumming in pieces gives what checksumming at once gives.

use crc_fast::{CrcAlgorithm, Digest};

/// Goes on with the checksum `crc` of what came before; start with 0.
pub fn update(crc: u64, bytes: &[u8]) -> u64 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc64Redis, crc);
    digest.update(bytes);
    digest.finalize()
}

/// The checksum of `bytes`.
pub fn checksum(bytes: &[u8]) -> u64 {
    update(0, bytes)
}

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

    /// The polynomial 0xad93d23594c935a9, bits reflected.
    const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

    /// The definition, bit by bit.
    fn step(crc: u64, byte: u8) -> u64 {
        let shift = |crc: u64, _| if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ POLYNOMIAL };
        (0..8).fold(crc ^ u64::from(byte), shift)
    }

    #[test]
    fn every_length_up_to_several_blocks_is_the_definition() {
        let bytes: Vec<u8> = (0..2000u32).map(|index| (index * 7 + index / 256) as u8).collect();
        let mut expected = 0;
        for len in 0..bytes.len() {
            assert_eq!(checksum(&bytes[..len]), expected, "{len} bytes");
            expected = step(expected, bytes[len]);
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
