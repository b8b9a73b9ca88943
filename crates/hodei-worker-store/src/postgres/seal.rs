//! What binds bytes to their place, so that a row in the wrong place, or with the wrong bytes, is noticed.

use hodei_worker_core::{Error, ErrorKind, Result};
use sha2::{Digest as _, Sha256};

/// What `seal` in the database computes.
fn seal(what: &str, place: i64, version: i64, bytes: &[u8]) -> [u8; 8] {
    let length = i32::try_from(what.len()).unwrap_or(i32::MAX);
    let hash: [u8; 32] = Sha256::new()
        .chain_update(place.to_be_bytes())
        .chain_update(version.to_be_bytes())
        .chain_update(length.to_be_bytes())
        .chain_update(what)
        .chain_update(bytes)
        .finalize()
        .into();
    let mut seal = [0; 8];
    seal.copy_from_slice(&hash[..8]);
    seal
}

/// Refuses what does not bear the seal of its place. `what` is `kind/name`.
pub(super) fn check(what: &str, place: i64, version: i64, bytes: &[u8], found: &[u8]) -> Result<()> {
    if seal(what, place, version, bytes) == found {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, "a stored record does not add up")
        .with_context("record", what)
        .with_context("position", place)
        .with_context("version", version)
        .with_help("the row was changed by hand or damaged: restore the database from a backup"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l6_a_seal_is_of_one_place_and_of_one_content() {
        let good = seal("event/a", 1, 2, b"x");
        assert!(check("event/a", 1, 2, b"x", &good).is_ok());
        for (what, place, version, bytes) in [
            ("event/b", 1, 2, b"x"),
            ("event/a", 2, 2, b"x"),
            ("event/a", 1, 3, b"x"),
            ("event/a", 1, 2, b"y"),
        ] {
            assert_eq!(check(what, place, version, bytes, &good).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
