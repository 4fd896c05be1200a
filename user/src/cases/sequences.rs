//! Restartable sequences, and memory barriers on other CPUs.

use crate::raw;
use crate::runner::{Case, in_child};
use crate::system::{self, Mapping, SIGNATURE, library_area, rseq, run_sequence};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};
use std::thread;

pub(super) const CASES: &[Case] = &[
    ("sequences/errors", errors),
    ("sequences/the-cpu", cpu),
    ("sequences/ended-by-a-signal", signal),
    ("sequences/ended-by-others-turns", preemption),
    ("sequences/ended-by-a-barrier", barrier),
    ("sequences/malformed", malformed),
    ("sequences/children", children),
    ("sequences/barriers", barriers),
];

/// More rounds than anybody waits for.
const MANY: u64 = 1 << 40;

/// The library's area is taken back: memory for a new one, in a mapping of its own.
fn area() -> Mapping {
    let (library, is_registered) = library_area();
    if is_registered {
        let _ = rseq(library, 32, 1, SIGNATURE);
    }
    Mapping::private(1)
}

/// An area in use. It is taken back before its memory goes: who is interrupted with an area that is not there ends with SIGSEGV, and whether
/// that happens before the program's own end is chance.
struct Area(Mapping);

impl Area {
    /// A new one, and what registering it answered.
    fn register() -> Self {
        let memory = area();
        println!("{:?}", rseq(memory.start(), 32, 0, SIGNATURE));
        Self(memory)
    }
}

impl Deref for Area {
    type Target = Mapping;
    fn deref(&self) -> &Mapping {
        &self.0
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        let _ = rseq(self.0.start(), 32, 1, SIGNATURE);
    }
}

fn errors() {
    let (library, is_registered) = library_area();
    println!("the library has {is_registered}");
    println!("again {:?}", rseq(library, 32, 0, SIGNATURE));
    println!("another signature {:?}", rseq(library, 32, 0, SIGNATURE + 1));
    println!("another area {:?}", rseq(library + 32, 32, 0, SIGNATURE));
    println!("another length {:?}", rseq(library, 64, 0, SIGNATURE));
    println!("back with another signature {:?}", rseq(library, 32, 1, SIGNATURE + 1));
    println!("back with another length {:?}", rseq(library, 31, 1, SIGNATURE));
    println!("another back {:?}", rseq(library + 32, 32, 1, SIGNATURE));
    println!("flags {:?} {:?}", rseq(library, 32, 2, SIGNATURE), rseq(library, 32, 3, SIGNATURE));
    println!("back {:?} {:?}", rseq(library, 32, 1, SIGNATURE), rseq(library, 32, 1, SIGNATURE));
    let memory = Mapping::private(1);
    println!("odd {:?}", rseq(memory.at(8), 32, 0, SIGNATURE));
    println!("short {:?} long {:?}", rseq(memory.start(), 16, 0, SIGNATURE), rseq(memory.start(), 64, 0, SIGNATURE));
    println!("kernel {:?}", rseq(0xffff_8000_0000_0000, 32, 0, SIGNATURE));
    println!("last {:?}", rseq(usize::MAX - 31, 32, 0, SIGNATURE));
    println!("null {:?} {:?}", rseq(0, 32, 0, SIGNATURE), rseq(0, 32, 1, SIGNATURE));
    println!("good {:?} {:?}", rseq(memory.start(), 32, 0, 7), rseq(memory.start(), 32, 0, 7));
    println!("{}", memory.word(0).load(SeqCst) == memory.word(4).load(SeqCst));
    println!("back {:?}", rseq(memory.start(), 32, 1, 7));
    println!("{:x} {:x}", memory.word(0).load(SeqCst), memory.word(4).load(SeqCst));
}

/// The area says where the thread is, wherever it is sent.
fn cpu() {
    let memory = area();
    println!("{:?}", rseq(memory.start(), 32, 0, SIGNATURE));
    let mut allowed = [0u64; 16];
    let _ = raw!(libc::SYS_sched_getaffinity, 0, 128, &mut allowed[..]);
    let mut right = true;
    for _ in 0..3 {
        for cpu in (0..64).filter(|cpu| allowed[0] >> cpu & 1 != 0) {
            let mask = [1u64 << cpu, 0];
            let _ = raw!(libc::SYS_sched_setaffinity, 0, 16, &mask[..]);
            right &= memory.word(0).load(SeqCst) == cpu && memory.word(4).load(SeqCst) == cpu;
        }
    }
    println!("{right}");
    // Who writes there is not corrected before the thread has been elsewhere, or at all.
    println!("{:?}", rseq(memory.start(), 32, 1, SIGNATURE));
}

static HANDLED: AtomicI32 = AtomicI32::new(0);

fn signal() {
    let memory = Area::register();
    system::catch(libc::SIGALRM, |_| _ = HANDLED.fetch_add(1, SeqCst));
    let _ = raw!(libc::SYS_setitimer, libc::ITIMER_REAL, &system::every(20_000), 0);
    let ended = (0..5).filter(|_| run_sequence(&memory, MANY)).count();
    println!("{ended} {}", HANDLED.load(SeqCst) != 0);
    println!("{}", memory.read_word(8));
    println!("short {}", (0..1000).filter(|_| run_sequence(&memory, 1)).count() < 1000);
}

fn preemption() {
    static END: AtomicBool = AtomicBool::new(false);
    let memory = Area::register();
    let _ = raw!(libc::SYS_sched_setaffinity, 0, 8, &[1u64][..]);
    let other = thread::spawn(|| {
        while !END.load(SeqCst) {
            std::hint::spin_loop();
        }
    });
    println!("{}", (0..5).filter(|_| run_sequence(&memory, MANY)).count());
    END.store(true, SeqCst);
    println!("{}", other.join().is_ok());
}

const QUERY: i32 = 0;
const RSEQ: i32 = 128;

fn membarrier(command: i32, flags: i32, cpu: i32) -> String {
    format!("{:?}", raw!(libc::SYS_membarrier, command, flags, cpu))
}

/// A barrier for sequences ends those of other threads.
fn barrier() {
    static READY: AtomicBool = AtomicBool::new(false);
    println!("{} {}", membarrier(RSEQ, 0, 0), membarrier(RSEQ << 1, 0, 0));
    let memory = Area::register();
    let other = thread::spawn(|| {
        while !READY.load(SeqCst) {
            std::hint::spin_loop();
        }
        let _ = system::usleep(20_000);
        [membarrier(RSEQ, 0, 0), membarrier(RSEQ, 1, 0), membarrier(RSEQ, 1, 4000), membarrier(RSEQ, 1, -5)].join(" ")
    });
    READY.store(true, SeqCst);
    println!("{}", run_sequence(&memory, MANY));
    println!("{}", other.join().unwrap_or_default());
}

fn malformed() {
    // In place of a sequence's description: its words.
    let with = |name: &str, place: Option<usize>, words: [u64; 4], flags: u32| {
        let status = in_child(|| {
            let memory = area();
            memory.copy_in(128, &SIGNATURE.to_ne_bytes());
            let abort = memory.at(132) as u64;
            for (index, word) in words.into_iter().enumerate() {
                memory.write_word(64 + 8 * index, if word == 1 { abort } else { word });
            }
            memory.word(16).store(flags, SeqCst);
            let registered = rseq(memory.start(), 32, 0, SIGNATURE);
            memory.write_word(8, place.unwrap_or(memory.at(64)) as u64);
            let _ = system::usleep(20_000);
            println!("{name}: {registered:?} {}", memory.read_word(8));
            0
        });
        println!("{status}");
    };
    with("elsewhere", None, [0, 0x1000, 16, 1], 0);
    with("elsewhere, with flags", None, [1 << 32, 0x1000, 16, 1], 7);
    with("version", None, [2, 0x1000, 16, 1], 0);
    with("kernel", None, [0, 0xffff_8000_0000_0000, 16, 1], 0);
    with("long", None, [0, 0x1000, u64::MAX, 1], 0);
    with("end inside", None, [0, 0x1000, 16, 0x1008], 0);
    with("no signature", None, [0, 0x1000, 16, 0x2000], 0);
    with("kernel's", Some(0xffff_8000_0000_0000), [0; 4], 0);
    with("nothing", Some(0x1000), [0; 4], 0);
    // The area itself.
    let status = in_child(|| {
        let _ = area();
        println!("nowhere {:?}", rseq(0x1000, 32, 0, SIGNATURE));
        0
    });
    println!("{status}");
    let status = in_child(|| {
        let memory = area();
        let _ = rseq(memory.start(), 32, 0, SIGNATURE);
        let _ = memory.protect(0, 4096, libc::PROT_NONE);
        let _ = system::usleep(20_000);
        println!("hidden");
        0
    });
    println!("{status}");
    // Flags that once held restarting off, inside a sequence.
    let status = in_child(|| {
        let memory = area();
        memory.word(16).store(1, SeqCst);
        let _ = rseq(memory.start(), 32, 0, SIGNATURE);
        system::catch(libc::SIGALRM, system::nothing);
        let _ = raw!(libc::SYS_setitimer, libc::ITIMER_REAL, &system::every(20_000), 0);
        println!("flags {}", run_sequence(&memory, MANY));
        0
    });
    println!("{status}");
}

fn children() {
    let (library, _) = library_area();
    println!(
        "{}",
        in_child(|| {
            println!("a child has it {:?}", rseq(library, 32, 0, SIGNATURE));
            0
        })
    );
    let answer = thread::spawn(move || {
        let (own, is_registered) = library_area();
        format!(
            "{} {is_registered} {:?} {:?}",
            own != library,
            rseq(own, 32, 0, SIGNATURE),
            rseq(library, 32, 0, SIGNATURE)
        )
    });
    println!("a thread has its own {}", answer.join().unwrap_or_default());
}

fn barriers() {
    let known = raw!(libc::SYS_membarrier, QUERY, 0, 0).map(|commands| commands & 0x1ff);
    println!("query {known:?} flags {}", membarrier(QUERY, 1, 0));
    for command in [1, 2, 4, 8, 16, 32, 64, 128, 256, 3, 1 << 20, -1] {
        println!(
            "{command}: {} flags {} {}",
            membarrier(command, 0, 0),
            membarrier(command, 1, 0),
            membarrier(command, 2, 0)
        );
    }
    println!(
        "{}",
        in_child(|| {
            println!("a child {} {}", membarrier(8, 0, 0), membarrier(32, 0, 0));
            0
        })
    );
    // With other threads at work.
    static END: AtomicBool = AtomicBool::new(false);
    let threads: Vec<_> = (0..2)
        .map(|_| {
            thread::spawn(|| {
                while !END.load(SeqCst) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    let fine = (0..20).all(|round| {
        [1, 2, 8, 32, 128]
            .iter()
            .all(|command| round % 10 != 0 && *command == 1 || membarrier(*command, 0, 0) == "Ok(0)")
    });
    END.store(true, SeqCst);
    println!("{fine} {}", threads.into_iter().all(|thread| thread.join().is_ok()));
}
