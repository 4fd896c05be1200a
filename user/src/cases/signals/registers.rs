//! What a handler must not disturb.

use super::{COUNT, note};
use crate::system::{self, Delivery, install};
use std::sync::atomic::Ordering::SeqCst;

pub(super) fn registers_survive() {
    install(libc::SIGALRM, note, libc::SA_RESTART);
    let _ = system::setitimer(libc::ITIMER_REAL, &system::every(10_000), None);
    let mut hash = 1u64;
    let mut floating = 1.0f64;
    let mut rounds = 0u32;
    while COUNT.load(SeqCst) < 5 || !rounds.is_multiple_of(1000) {
        hash = hash.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(rounds % 1000);
        floating = floating * 1.000_1 + f64::from(rounds % 1000);
        rounds += 1;
        if rounds.is_multiple_of(1000) {
            let (expected_hash, expected_floating) = reference();
            assert!(
                hash == expected_hash && floating.to_bits() == expected_floating.to_bits(),
                "registers were changed"
            );
            hash = 1;
            floating = 1.0;
        }
    }
    println!("five signals, registers whole");
}

fn reference() -> (u64, f64) {
    (0..1000u32).fold((1, 1.0), |(hash, floating): (u64, f64), round| {
        (
            hash.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(round),
            floating * 1.000_1 + f64::from(round),
        )
    })
}

pub(super) fn vector_registers() {
    fn clobber(_delivery: &mut Delivery<'_>) {
        let mut values = std::hint::black_box([3.5f64; 16]);
        values.iter_mut().for_each(|value| *value = value.sqrt() * 2.0);
        std::hint::black_box(values);
    }
    install(libc::SIGUSR1, clobber, 0);
    let values: Vec<f64> = (0..64).map(f64::from).collect();
    let before: f64 = values.iter().map(|value| value * 1.5).sum();
    let _ = system::raise(libc::SIGUSR1);
    let after: f64 = values.iter().map(|value| value * 1.5).sum();
    println!("{}", before == after);
}
