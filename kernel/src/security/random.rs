//! The kernel's random numbers: one ChaCha20 generator for `getrandom`, `/dev/urandom`, `AT_RANDOM` and address-space layout.
//!
//! It lives this low because `memory` and `process` need it; `device::random` shows it as files. The generator is seeded
//! at first use from the CPU's own random bits and the clock, and takes more of both every [`RESEED_INTERVAL`] requests.
//! A key is never used after it was replaced: the next key is made from the old one's output and the new entropy, so neither what came
//! before nor the entropy can be computed from it. Any context may call [`fill`] and [`mix`].

use crate::arch::{Cpu, Current, TimerHardware};
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// Requests between two additions of entropy.
const RESEED_INTERVAL: u32 = 1024;
/// Longer requests are made outside the lock, by a generator of their own.
const LONGEST_UNDER_LOCK: usize = 256;

struct Generator {
    stream: Option<ChaCha20Rng>,
    requests: u32,
}

impl Generator {
    /// The running stream, seeded and fresh.
    fn stream(&mut self) -> &mut ChaCha20Rng {
        if self.requests == 0 {
            self.requests = RESEED_INTERVAL;
            let entropy = collect_entropy();
            self.rekey(&entropy);
        }
        self.requests -= 1;
        self.stream.get_or_insert_with(|| ChaCha20Rng::from_seed(collect_entropy()))
    }

    /// Replaces the key by one made from the old key's output and `entropy`.
    fn rekey(&mut self, entropy: &[u8; 32]) {
        let mut key = *entropy;
        if let Some(stream) = &mut self.stream {
            let mut old = [0; 32];
            stream.fill_bytes(&mut old);
            for (byte, old) in key.iter_mut().zip(old) {
                *byte ^= old;
            }
        }
        self.stream = Some(ChaCha20Rng::from_seed(key));
    }
}

static GENERATOR: SpinLock<Generator, InterruptsDisabled> =
    SpinLock::new(LockRank::Hardware, Generator { stream: None, requests: 0 });

/// Entropy that is to be had at once: the CPU's random instruction where there is one, and the clock.
fn collect_entropy() -> [u8; 32] {
    let mut seed = [0; 32];
    for chunk in seed.chunks_exact_mut(8) {
        let mut word = Current::now().0.rotate_left(32);
        for _ in 0..4 {
            if let Some(random) = Current::random() {
                word ^= random;
                break;
            }
            // Without such an instruction: the jitter between two readings of the clock, spread by an odd multiplier.
            word = word.wrapping_add(Current::now().0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    seed
}

/// Fills `bytes` with random ones.
pub fn fill(bytes: &mut [u8]) {
    if bytes.len() <= LONGEST_UNDER_LOCK {
        GENERATOR.lock().stream().fill_bytes(bytes);
    } else {
        own_stream().fill_bytes(bytes);
    }
}

/// A random number.
#[must_use]
pub fn number() -> u64 {
    GENERATOR.lock().stream().next_u64()
}

/// A stream of its own, for requests that are made in pieces (a long read of `/dev/urandom`).
#[must_use]
pub fn own_stream() -> RandomStream {
    let mut seed = [0; 32];
    GENERATOR.lock().stream().fill_bytes(&mut seed);
    RandomStream(ChaCha20Rng::from_seed(seed))
}

/// An endless sequence of random bytes.
#[derive(Debug)]
pub struct RandomStream(ChaCha20Rng);

impl RandomStream {
    /// Fills `bytes` with the next ones.
    pub fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

/// Stirs bytes of unknown quality in: interrupt timing, a device's serial number, what is written to `/dev/random`.
pub fn mix(bytes: &[u8]) {
    for chunk in bytes.chunks(32) {
        let mut entropy = collect_entropy();
        for (target, source) in entropy.iter_mut().zip(chunk) {
            *target ^= source;
        }
        GENERATOR.lock().rekey(&entropy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_requests_never_give_the_same() {
        let (mut first, mut second) = ([0; 32], [0; 32]);
        fill(&mut first);
        fill(&mut second);
        assert_ne!(first, second);
        assert_ne!(number(), number());
    }

    #[test]
    fn long_requests_are_filled_to_the_end() {
        let mut bytes = vec![0; 10_000];
        fill(&mut bytes);
        assert!(bytes.chunks(64).all(|chunk| chunk.iter().any(|&byte| byte != 0)));
        let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
        assert!((38_000..42_000).contains(&ones), "{ones} of 80000 bits set");
    }

    #[test]
    fn mixing_changes_the_stream_and_keeps_it_running() {
        mix(&[0; 100]);
        let mut bytes = [0; 16];
        fill(&mut bytes);
        assert_ne!(bytes, [0; 16]);
    }
}
