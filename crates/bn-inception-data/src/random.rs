//! Random numbers that depend on their purpose, never on what was drawn before.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Uses of random numbers in loading; no two share a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// The order from which slices of a dataset are cut.
    Split = 1,
    /// The order of an epoch.
    Order = 2,
    /// The augmentation of one image.
    Image = 3,
}

/// The generator for one `purpose` in `epoch`, for item `index` (0 if there is only one).
pub(crate) fn generator(purpose: Purpose, seed: u64, epoch: u64, index: u64) -> ChaCha8Rng {
    from_words([seed, epoch, index, purpose as u64])
}

/// The generator with these four words, little-endian, as its key.
pub(crate) fn from_words(words: [u64; 4]) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn purposes_epochs_and_indices_have_their_own_numbers() {
        let mut first = Vec::new();
        for purpose in [Purpose::Split, Purpose::Order, Purpose::Image] {
            for (seed, epoch, index) in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)] {
                first.push(generator(purpose, seed, epoch, index).next_u64());
            }
        }
        let all = first.len();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), all);
    }
}
