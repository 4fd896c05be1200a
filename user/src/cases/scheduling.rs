//! Scheduling policies as programs set and see them.

use crate::raw;
use crate::runner::Case;
use crate::system::{self, Errno, Outcome};

pub(super) const CASES: &[Case] = &[
    ("scheduling/attributes", attributes),
    ("scheduling/sizes-of-attributes", sizes),
    ("scheduling/reservations", reservations),
    ("scheduling/reservations-of-several", several),
    ("scheduling/permission", permission),
];

/// `struct sched_attr`, and room after it.
#[derive(Clone, Copy, Default)]
struct Attributes {
    size: u32,
    policy: i32,
    flags: u64,
    niceness: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    utilisation: [u32; 2],
    beyond: [u32; 2],
}

const SIZE: u32 = 56;
const DEADLINE: i32 = 6;
const MILLISECOND: u64 = 1_000_000;

fn policy(policy: i32, niceness: i32, priority: u32, flags: u64) -> Attributes {
    Attributes { size: SIZE, policy, flags, niceness, priority, ..Attributes::default() }
}

fn reservation(runtime: u64, deadline: u64, period: u64) -> Attributes {
    Attributes { size: SIZE, policy: DEADLINE, runtime, deadline, period, ..Attributes::default() }
}

impl Attributes {
    /// As it lies in memory.
    fn to_words(self) -> [u32; 16] {
        let low = |value: u64| value as u32;
        let high = |value: u64| (value >> 32) as u32;
        [
            self.size,
            self.policy.cast_unsigned(),
            low(self.flags),
            high(self.flags),
            self.niceness.cast_unsigned(),
            self.priority,
            low(self.runtime),
            high(self.runtime),
            low(self.deadline),
            high(self.deadline),
            low(self.period),
            high(self.period),
            self.utilisation[0],
            self.utilisation[1],
            self.beyond[0],
            self.beyond[1],
        ]
    }

    fn from_words(words: &[u32; 16]) -> Self {
        let wide = |index: usize| u64::from(words[index]) | u64::from(words[index + 1]) << 32;
        Self {
            size: words[0],
            policy: words[1].cast_signed(),
            flags: wide(2),
            niceness: words[4].cast_signed(),
            priority: words[5],
            runtime: wide(6),
            deadline: wide(8),
            period: wide(10),
            utilisation: [words[12], words[13]],
            beyond: [words[14], words[15]],
        }
    }
}

fn set(attributes: Attributes) -> Outcome {
    raw!(libc::SYS_sched_setattr, 0, &attributes.to_words()[..], 0)
}

fn show() {
    let mut shown = [0; 16];
    let outcome = raw!(libc::SYS_sched_getattr, 0, &mut shown[..], SIZE, 0);
    let Attributes { policy, flags, niceness, priority, runtime, deadline, period, .. } =
        Attributes::from_words(&shown);
    print!("{outcome:?} policy {policy} flags {flags:x} nice {niceness} priority {priority}");
    // Newer kernels show the slice of ordinary policies, too.
    if policy == DEADLINE { println!(" {runtime} {deadline} {period}") } else { println!() }
}

fn attributes() {
    for wanted in [
        policy(libc::SCHED_FIFO, 0, 50, 0),
        policy(libc::SCHED_FIFO, 0, 0, 0),
        policy(libc::SCHED_FIFO, 0, 100, 0),
        policy(libc::SCHED_OTHER, 0, 1, 0),
        policy(4, 0, 0, 0),
        policy(7, 0, 0, 0),
        policy(-1, 0, 0, 0),
        // SCHED_FLAG_KEEP_POLICY and SCHED_FLAG_KEEP_PARAMS.
        policy(libc::SCHED_OTHER, 0, 20, 8),
        policy(libc::SCHED_FIFO, 0, 0, 0x10),
        policy(libc::SCHED_OTHER, 0, 0, 0x10),
        policy(libc::SCHED_OTHER, 0, 0, 0x80),
        policy(libc::SCHED_OTHER, 0, 0, 0x1000_0000),
        policy(libc::SCHED_BATCH, 5, 0, 1),
        policy(libc::SCHED_IDLE, 0, 0, 0),
        policy(libc::SCHED_OTHER, 100, 0, 0),
        policy(libc::SCHED_OTHER, -100, 0, 0),
        policy(libc::SCHED_OTHER, 0, 0, 0),
    ] {
        print!("{:?}: ", set(wanted));
        show();
    }
}

fn sizes() {
    for size in [48, 0, 47, 4097] {
        println!("{size} {:?}", set(Attributes { size, ..policy(libc::SCHED_OTHER, 1, 0, 0) }));
    }
    for beyond in [0, 1] {
        let mut wanted = Attributes { size: 64, beyond: [0, beyond], ..policy(libc::SCHED_OTHER, 1, 0, 0) }.to_words();
        println!("{:?} {}", raw!(libc::SYS_sched_setattr, 0, &mut wanted[..], 0), wanted[0]);
    }
    println!("{:?}", set(Attributes { size: 48, ..policy(libc::SCHED_OTHER, 1, 0, 0x20) }));
    let mut words = Attributes { utilisation: [7; 2], ..Attributes::default() }.to_words();
    for size in [47, 48, 4097] {
        let outcome = raw!(libc::SYS_sched_getattr, 0, &mut words[..], size, 0);
        let shown = Attributes::from_words(&words);
        println!("{outcome:?} {} {:?}", shown.size, shown.utilisation);
    }
    println!("{:?}", set(policy(libc::SCHED_OTHER, 0, 0, 0)));
}

fn reservations() {
    // One of them asks to be told of its overruns: on a machine that is kept from running there are some.
    system::ignore(libc::SIGXCPU);
    for wanted in [
        reservation(10 * MILLISECOND, 30 * MILLISECOND, 0),
        reservation(1023, 30 * MILLISECOND, 0),
        reservation(31 * MILLISECOND, 30 * MILLISECOND, 0),
        reservation(10 * MILLISECOND, 30 * MILLISECOND, 20 * MILLISECOND),
        reservation(2000, 50_000, 0),
        reservation(2 * MILLISECOND, 5000 * MILLISECOND, 0),
        Attributes { priority: 1, ..reservation(10 * MILLISECOND, 30 * MILLISECOND, 0) },
        Attributes { flags: 6, ..reservation(5 * MILLISECOND, 20 * MILLISECOND, 40 * MILLISECOND) },
    ] {
        print!("{:?}: ", set(wanted));
        show();
    }
    // What was reserved is one thread's, unless children start without.
    println!("fork {:?}", fork_and(|| ()));
    println!("{:?}", set(Attributes { flags: 1, ..reservation(10 * MILLISECOND, 30 * MILLISECOND, 0) }));
    println!("fork {:?}", fork_and(show));
    let mut nobody = [0_u64; 16];
    println!("{:?}", raw!(libc::SYS_sched_setaffinity, 0, 128, &nobody[..]));
    nobody[14] = 1;
    println!("{:?}", set(policy(libc::SCHED_OTHER, 0, 0, 0)));
    println!("{:?}", raw!(libc::SYS_sched_setaffinity, 0, 128, &nobody[..]));
}

/// As many as fit into 95 % of all processors together get six tenths of one each.
fn several() {
    let mut mask = [0_u64; 16];
    let _ = raw!(libc::SYS_sched_getaffinity, 0, 128, &mut mask[..]);
    let processors = mask.iter().map(|word| word.count_ones()).sum::<u32>() as usize;
    let (told, wait) = (system::pipe(), system::pipe());
    let children: Vec<_> = (0..2 * processors)
        .map(|_| {
            let child = system::fork(|| {
                let result = set(reservation(6 * MILLISECOND, 10 * MILLISECOND, 0));
                let _ = system::write(told[1], if result.is_ok() { b"y" } else { b"n" });
                let _ = system::read(wait[0], &mut [0]);
                0
            });
            let mut answer = [0];
            let _ = system::read(told[0], &mut answer);
            (child, answer[0])
        })
        .collect();
    let admitted = children.iter().filter(|(_, answer)| *answer == b'y').count();
    println!("{}", admitted == processors * 95 / 60);
    let _ = system::write(wait[1], &vec![0; children.len()]);
    for (child, _) in children {
        let _ = system::waitpid(child, &mut 0, 0);
    }
}

fn fork_and(work: impl FnOnce()) -> Result<(), Errno> {
    let child = system::try_fork(|| {
        work();
        0
    })?;
    system::waitpid(child, &mut 0, 0).map(|_| ())
}

fn permission() {
    let result = fork_and(|| {
        println!("{:?} {:?}", system::limit(libc::RLIMIT_NICE, 0), system::limit(libc::RLIMIT_RTPRIO, 0));
        println!("{:?}", set(policy(libc::SCHED_OTHER, 5, 0, 0)));
        println!("{:?}", system::setresuid(1000, 1000, 1000));
        for wanted in [
            policy(libc::SCHED_OTHER, 4, 0, 0),
            policy(libc::SCHED_OTHER, 6, 0, 0),
            policy(libc::SCHED_FIFO, 0, 1, 0),
            reservation(10 * MILLISECOND, 30 * MILLISECOND, 0),
            policy(libc::SCHED_IDLE, 0, 0, 0),
            policy(libc::SCHED_OTHER, 6, 0, 0),
            policy(libc::SCHED_IDLE, 0, 0, 1),
            policy(libc::SCHED_IDLE, 0, 0, 0),
        ] {
            println!("{:?}", set(wanted));
        }
    });
    println!("{result:?}");
}
