//! What a store has in all: so many credentials, and exactly these. Sealed, so that nobody without the key can make
//! another, and counted, so that an older one is known.

use hodei_worker_core::{Result, credential::SecretKey};

use super::header::Header;
use crate::crypto::{self, DIGEST, Key};

/// The sum of a set: what is added and taken away again leaves nothing, in whatever order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum([u64; 4]);

impl Sum {
    fn of(digest: &[u8; DIGEST]) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(digest.chunks_exact(8)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        Self(words)
    }
    fn plus(self, other: Self) -> Self {
        let mut carry = false;
        let mut words = [0; 4];
        for ((to, one), other) in words.iter_mut().zip(self.0).zip(other.0) {
            let (sum, first) = one.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*to, carry) = (sum, first || second);
        }
        Self(words)
    }
    fn minus(self, other: Self) -> Self {
        // In numbers of 256 bits, taking away is adding the complement and one.
        self.plus(Self(other.0.map(|word| !word))).plus(Self([1, 0, 0, 0]))
    }
    fn bytes(self) -> [u8; DIGEST] {
        let mut bytes = [0; DIGEST];
        for (to, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

/// How often a store was changed, and what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Manifest {
    pub(super) generation: u64,
    pub(super) count: u64,
    pub(super) sum: Sum,
}

/// What manifests are made with.
pub(super) struct Notary {
    sealing: Key,
    counting: Key,
    bound_to: Vec<u8>,
}

impl Notary {
    /// For the store of that head, as it is written: manifests open beside no other.
    pub(super) fn new(header: &Header, written: &[u8], master: &Key) -> Self {
        let key = |purpose: &[u8]| crypto::derive(master.as_slice(), &header.salt, &[purpose]);
        Self {
            sealing: key(b"hodei-credentials/manifest/1"),
            counting: key(b"hodei-credentials/entries/1"),
            bound_to: [b"hodei-credentials/manifest".as_slice(), crypto::sha256(written).as_slice()].concat(),
        }
    }

    /// What a credential adds to the sum, by what stands in its row.
    pub(super) fn weigh(&self, key: &SecretKey, row: &[u8]) -> Sum {
        Sum::of(&crypto::mac(&self.counting, &[key.as_str().as_bytes(), row]))
    }

    pub(super) fn seal(&self, manifest: &Manifest) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(16 + DIGEST);
        bytes.extend_from_slice(&manifest.generation.to_be_bytes());
        bytes.extend_from_slice(&manifest.count.to_be_bytes());
        bytes.extend_from_slice(&manifest.sum.bytes());
        crypto::seal(&self.sealing, &bytes, &self.bound_to)
    }

    pub(super) fn open(&self, sealed: &[u8]) -> Option<Manifest> {
        let bytes = crypto::open(&self.sealing, sealed, &self.bound_to)?;
        let (generation, rest) = bytes.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<8>()?;
        let sum = <&[u8; DIGEST]>::try_from(rest).ok()?;
        Some(Manifest {
            generation: u64::from_be_bytes(*generation),
            count: u64::from_be_bytes(*count),
            sum: Sum::of(sum),
        })
    }

    /// What an anchor keeps of a manifest.
    pub(super) fn tag(&self, manifest: &Manifest) -> [u8; DIGEST] {
        crypto::mac(
            &self.counting,
            &[
                b"anchor",
                &manifest.generation.to_be_bytes(),
                &manifest.count.to_be_bytes(),
                &manifest.sum.bytes(),
            ],
        )
    }
}

impl Manifest {
    /// With that row in the place of the one before.
    pub(super) fn changed(mut self, before: Option<Sum>, after: Option<Sum>) -> Self {
        self.generation += 1;
        if let Some(before) = before {
            (self.count, self.sum) = (self.count.saturating_sub(1), self.sum.minus(before));
        }
        if let Some(after) = after {
            (self.count, self.sum) = (self.count + 1, self.sum.plus(after));
        }
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // These are tests.
mod tests {
    use super::*;

    #[test]
    fn c1_a_sum_does_not_depend_on_the_order_and_forgets_what_is_taken_away() {
        let notary = Notary::new(&Header::new().unwrap(), b"head", &Key::new([7; 32]));
        let key = |name: &str| SecretKey::new(name).unwrap();
        let weights: Vec<_> = (0..50).map(|n| notary.weigh(&key(&format!("k{n}")), &[n])).collect();
        let empty = Manifest::default();
        let all = weights.iter().fold(empty, |sum, one| sum.changed(None, Some(*one)));
        let backwards = weights.iter().rev().fold(empty, |sum, one| sum.changed(None, Some(*one)));
        assert_eq!((all, all.count), (backwards, 50));
        let none = weights.iter().fold(all, |sum, one| sum.changed(Some(*one), None));
        assert_eq!((none.count, none.sum, none.generation), (0, Sum::default(), 100));
        assert_ne!(notary.weigh(&key("k1"), &[1]), notary.weigh(&key("k1"), &[2]));
        assert_ne!(notary.weigh(&key("k1"), &[1]), notary.weigh(&key("k2"), &[1]));
    }

    #[test]
    fn c1_a_manifest_opens_under_its_own_key_and_store_alone() {
        let header = Header::new().unwrap();
        let notary = Notary::new(&header, b"head", &Key::new([7; 32]));
        let manifest = Manifest { generation: 4, count: 2, ..Manifest::default() };
        let sealed = notary.seal(&manifest).unwrap();
        assert_eq!(notary.open(&sealed), Some(manifest));
        assert_eq!(Notary::new(&header, b"head", &Key::new([8; 32])).open(&sealed), None);
        assert_eq!(Notary::new(&header, b"another", &Key::new([7; 32])).open(&sealed), None);
        assert_eq!(Notary::new(&Header::new().unwrap(), b"head", &Key::new([7; 32])).open(&sealed), None);
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(notary.open(&flipped), None, "bit {bit}");
        }
    }
}
