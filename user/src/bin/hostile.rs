//! Throws bad arguments at every system call: null, kernel, unaligned, page-crossing, huge and random ones.
//!
//! Usage: `hostile [CALLS-PER-NUMBER] [SEED]`. Each call number runs in a process of its own, under another user, in a session of its own, with an
//! alarm, so that a call that blocks, stops or kills its caller does no more than that. At the end memory in use must be what it was after
//! the warm-up round, and the program must still be able to fork, write and map: `hostile: done` is the last line. Panics show in the kernel's log.

use ashlar_user::system::{self, Mapping, PAGE, READ_WRITE};
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// One past the highest number tried.
const NUMBERS: i64 = 470;

/// The most children that share the calls of one number, where the calls end them.
const MOST_CHILDREN: u64 = 12;

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// By itself, or by a call of its own.
    Ended,
    /// It was killed when its time was up.
    TookTooLong,
}

/// A small generator, so that a seed gives the same calls everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.next() % from.len() as u64) as usize]
    }
}

/// Calls that end or replace the caller as they should, or that would stop the machine or the clock as root. `reboot` is tried
/// under the other user only.
fn is_left_out(number: i64, root: bool) -> bool {
    let always = [libc::SYS_exit, libc::SYS_exit_group, libc::SYS_rt_sigreturn];
    let as_root = [
        libc::SYS_reboot,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_tgkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_pidfd_send_signal,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_mount,
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_adjtimex,
        libc::SYS_clock_adjtime,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_kexec_load,
        libc::SYS_unlinkat,
        libc::SYS_renameat2,
        libc::SYS_vhangup,
        libc::SYS_process_vm_writev,
        libc::SYS_init_module,
        libc::SYS_delete_module,
        libc::SYS_syslog,
        libc::SYS_setpriority,
        libc::SYS_prlimit64,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setaffinity,
    ];
    always.contains(&number) || (root && as_root.contains(&number))
}

fn main() {
    let argument =
        |index: usize, default: u64| std::env::args().nth(index).and_then(|word| word.parse().ok()).unwrap_or(default);
    let (count, seed) = (argument(1, 500), argument(2, 1));
    // The first round makes every cache and table grow to its size; the second must then leave memory as it was.
    round(count / 4 + 1, seed);
    let before = free_pages();
    let calls = round(count, seed + 1000);
    let after = free_pages();
    for (number, made) in calls.iter().enumerate() {
        println!("hostile: number {number} calls {made}");
    }
    println!("hostile: {} calls", calls.iter().sum::<u64>());
    println!("hostile: free pages before {before} after {after}");
    let sane = healthy();
    println!("hostile: {}", if sane { "done" } else { "the system is not healthy" });
    std::process::exit(i32::from(!sane));
}

/// One pass over all numbers, as another user and as root. Gives how many calls were made of each.
fn round(count: u64, seed: u64) -> Vec<u64> {
    let mut calls = vec![0; NUMBERS as usize];
    for root in [false, true] {
        for number in (0..NUMBERS).filter(|number| !is_left_out(*number, root)) {
            let seed = seed.wrapping_mul(0x9e37_79b9).wrapping_add(number as u64 * 2 + u64::from(root) + 1);
            calls[number as usize] += persist(number, count, seed, root);
        }
    }
    sweep();
    calls
}

/// Makes `count` calls, by several children where the calls end them; one that takes too long is not followed by another.
fn persist(number: i64, count: u64, seed: u64, root: bool) -> u64 {
    let mut total = 0;
    for attempt in 0..MOST_CHILDREN {
        let (made, fate) = in_child(number, count - total, seed.wrapping_add(attempt << 32), root);
        total += made;
        if total >= count || fate == Fate::TookTooLong {
            break;
        }
    }
    total
}

/// A page that both processes see: the child counts its calls there.
fn counter() -> &'static AtomicU32 {
    static PAGE: std::sync::OnceLock<&'static Mapping> = std::sync::OnceLock::new();
    PAGE.get_or_init(|| Mapping::shared(1).leak()).word(0)
}

fn in_child(number: i64, count: u64, seed: u64, root: bool) -> (u64, Fate) {
    let made = counter();
    made.store(0, SeqCst);
    let child = system::fork(|| {
        prepare(root);
        attack(number, count, Random(seed | 1), made);
        0
    });
    let mut status = 0;
    // The alarm interrupts a blocked call; a child that is stopped, or that blocks the alarm, is killed.
    for _ in 0..400 {
        match system::waitpid(child, &mut status, libc::WNOHANG) {
            Ok(0) => _ = system::usleep(5000),
            _ => return (u64::from(made.load(SeqCst)), Fate::Ended),
        };
    }
    let _ = system::kill(child, libc::SIGKILL);
    let _ = system::waitpid(child, &mut status, 0);
    (u64::from(made.load(SeqCst)), Fate::TookTooLong)
}

/// Makes the child what the calls are made in: descriptors to hit, no way to harm, and an alarm that comes again and again.
fn prepare(root: bool) {
    let _ = system::setsid();
    let _ = system::chdir(c"/tmp");
    let null = system::open(c"/dev/null", libc::O_RDWR, 0).unwrap_or(-1);
    for descriptor in 0..3 {
        let _ = system::dup2(null, descriptor);
    }
    let _ = system::pipe2(libc::O_NONBLOCK);
    let _ = system::eventfd(0, libc::EFD_NONBLOCK);
    let _ = system::epoll_create1(0);
    let _ = system::memfd_create(c"x", 0);
    let _ = system::open(c"/tmp", libc::O_RDONLY, 0);
    let _ = system::open(c"/proc/self/maps", libc::O_RDONLY, 0);
    // No core, few processes, little memory and file space: the calls may ask for as much as they like.
    for (resource, value) in [
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_NPROC, 60),
        (libc::RLIMIT_AS, 256 << 20),
        (libc::RLIMIT_FSIZE, 1 << 20),
        (libc::RLIMIT_NOFILE, 64),
        (libc::RLIMIT_CPU, 20),
    ] {
        let _ = system::limit(resource, value);
    }
    let _ = system::install_plain(libc::SIGALRM, system::nothing, 0);
    let _ = system::setitimer(libc::ITIMER_REAL, &system::every(2000), None);
    if !root {
        let _ = system::setgroups(&[]);
        let _ = system::setresgid(65534, 65534, 65534);
        let _ = system::setresuid(65534, 65534, 65534);
    }
}

fn attack(number: i64, count: u64, mut random: Random, made: &AtomicU32) {
    let own = system::getpid();
    // Three pages: the first and last cannot be touched, so that a buffer at either end crosses into nothing.
    let memory = Mapping::anonymous(3, libc::PROT_NONE, libc::MAP_PRIVATE).leak();
    let _ = memory.protect(PAGE, PAGE, READ_WRITE);
    let (area, page) = (memory.start() as u64, memory.at(PAGE) as u64);
    let mut bytes = [0u8; PAGE];
    let pool = [
        0,
        1,
        2,
        3,
        4,
        5,
        7,
        8,
        9,
        16,
        24,
        64,
        127,
        128,
        255,
        4095,
        4096,
        4097,
        65536,
        1 << 20,
        1 << 31,
        (1 << 31) - 1,
        (1 << 32) - 1,
        1 << 32,
        1 << 47,
        (1 << 47) - 4096,
        (1 << 47) - 1,
        1 << 62,
        1 << 63,
        (1 << 63) - 1,
        u64::MAX,
        u64::MAX - 1,
        u64::MAX - 4095,
        -100i64 as u64,
        0xffff_8000_0000_0000,
        0xffff_ff00_0020_0000,
        0xffff_ffff_ffff_f000,
        0x8000_0000_0000_0000,
        page,
        page + 1,
        page + 8,
        page + 4088,
        page + 4095,
        page + 4096,
        area,
        own as u64,
    ];
    for _ in 0..count {
        // What the pointers point to is hostile too.
        match random.next() % 4 {
            0 => bytes.fill(0),
            1 => bytes.fill(0xff),
            2 => bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&random.pick(&pool).to_le_bytes())),
            _ => bytes.iter_mut().for_each(|byte| *byte = random.next() as u8),
        }
        let mut arguments = [0u64; 6];
        for argument in &mut arguments {
            *argument = if random.next().is_multiple_of(8) { random.next() } else { random.pick(&pool) };
        }
        if let [first, ..] = &mut arguments
            && [libc::SYS_clone].contains(&number)
        {
            // A child that shares memory would run on the caller's stack: that is the program's own undoing, not the kernel's.
            *first &= !(libc::CLONE_VM as u64);
        }
        memory.copy_in(PAGE, &bytes);
        // A call may undo this process (take its memory, write to it): that is why each number has a process of its own.
        made.fetch_add(1, SeqCst);
        let _ = system::by_number(number, arguments.map(u64::cast_signed));
        if system::getpid() != own {
            system::exit_now(0);
        }
    }
}

/// Ends what the children left behind: everything of the other user, orphans of this process, and files.
fn sweep() {
    let child = system::fork(|| {
        let _ = system::setresuid(65534, 65534, 65534);
        let _ = system::kill(-1, libc::SIGKILL);
        0
    });
    let mut status = 0;
    let _ = system::waitpid(child, &mut status, 0);
    let _ = system::usleep(300_000);
    while system::waitpid(-1, &mut status, libc::WNOHANG).is_ok_and(|child| child > 0) {}
    remove_files();
}

/// Removes what the calls made in their working directory, which holds memory.
fn remove_files() {
    for entry in std::fs::read_dir("/tmp").into_iter().flatten().flatten() {
        let _ = std::fs::remove_dir_all(entry.path()).or_else(|_| std::fs::remove_file(entry.path()));
    }
}

fn free_pages() -> u64 {
    // What the kernel keeps for the next thread or object is free, too; only root may ask for it.
    let _ = std::fs::write("/proc/sys/vm/drop_caches", "2");
    let mut information: libc::sysinfo = system::zeroed();
    let _ = system::sysinfo(&mut information);
    information.freeram * u64::from(information.mem_unit) / 4096
}

/// Whether the system still does its work.
fn healthy() -> bool {
    let _ = std::io::stdout().flush();
    let child = system::fork(|| {
        let memory = vec![1u8; 1 << 20];
        i32::from(memory.iter().map(|byte| u32::from(*byte)).sum::<u32>() != 1 << 20)
    });
    let mut status = 1;
    let _ = system::waitpid(child, &mut status, 0);
    status == 0
        && std::fs::write("/tmp/hostile-health", "well").is_ok()
        && std::fs::read("/tmp/hostile-health").is_ok_and(|bytes| bytes == b"well")
}
