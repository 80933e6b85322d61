//! Function libraries as one payload: what FUNCTION DUMP gives and FUNCTION RESTORE takes.
//!
//! ```text
//! for each library: FUNCTION, source; then the footer of any payload (`payload.rs`)
//! ```
//!
//! Not here: libraries of a snapshot (`encode.rs`, `decode.rs`), what a source holds (`node/function.rs`).

use alloc::vec::Vec;

use super::{
    opcode, payload,
    primitive::{Reader, put_string},
};
use crate::error::Error;

/// The payload of libraries.
pub fn dump(sources: &[&[u8]], version: u16) -> Vec<u8> {
    let mut out = Vec::new();
    for source in sources {
        out.push(opcode::FUNCTION);
        put_string(source, true, &mut out);
    }
    payload::seal(out, version)
}

/// The sources in a payload.
///
/// # Errors
/// The footer does not vouch for it, or it holds something else.
pub fn undump(payload: &[u8], skip_checksum: bool) -> Result<Vec<Vec<u8>>, Error> {
    let mut reader = Reader::new(payload::unseal(payload, skip_checksum)?);
    let mut sources = Vec::new();
    while !reader.is_at_end() {
        match reader.byte() {
            Ok(opcode::FUNCTION) => {}
            Ok(opcode::FUNCTION_PRE_GA) => {
                return Err(Error::new("ERR Pre-GA function format not supported"));
            }
            _ => return Err(Error::new("ERR given type is not a function")),
        }
        let source =
            reader.string().map_err(|_| Error::new("ERR failed loading the given functions payload"))?;
        sources.push(source.into_owned());
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_come_back_from_a_payload() {
        let sources: [&[u8]; 2] = [b"#!lua name=a\nx", b"#!lua name=b\ny"];
        let payload = dump(&sources, 11);
        assert_eq!(undump(&payload, false).unwrap(), sources);
        assert_eq!(undump(&dump(&[], 11), false).unwrap(), Vec::<Vec<u8>>::new());
        assert!(undump(&payload[1..], false).is_err());
    }

    #[test]
    fn other_payloads_are_refused() {
        let check = |bytes: &[u8], expected: &str| {
            let sealed = payload::seal(bytes.to_vec(), 11);
            assert_eq!(undump(&sealed, false).unwrap_err().as_str(), expected);
        };
        check(&[opcode::FUNCTION_PRE_GA], "ERR Pre-GA function format not supported");
        check(&[0, 1, b'x'], "ERR given type is not a function");
        check(&[opcode::FUNCTION, 5, b'x'], "ERR failed loading the given functions payload");
    }
}
