//! Threads, futexes, thread-local storage.

use crate::runner::{Case, in_child};
use crate::{call, raw};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::thread;

pub(super) const CASES: &[Case] = &[
    ("threads/create-and-join", create_and_join),
    ("threads/local-storage", local_storage),
    ("threads/mutex-and-condition", mutex_and_condition),
    ("threads/channels", channels),
    ("threads/futex-errors", futex_errors),
    ("threads/futex-wait-value-and-timeout", futex_wait),
    ("threads/futex-requeue", futex_requeue),
    ("threads/futex-between-processes", futex_between_processes),
    ("threads/exit-group-ends-all", exit_group),
    ("threads/exec-ends-others", exec_ends_others),
    ("threads/signal-to-one-thread", signal_to_one),
    ("threads/robust-list", robust),
    ("threads/many", many),
    ("threads/base-registers", base_registers),
];

fn create_and_join() {
    let handles: Vec<_> = (0..8u64).map(|index| thread::spawn(move || (0..=index * 1000).sum::<u64>())).collect();
    println!("{:?}", handles.into_iter().map(|handle| handle.join().unwrap_or(0)).collect::<Vec<_>>());
}

fn local_storage() {
    thread_local! { static VALUE: Cell<u64> = const { Cell::new(7) }; }
    VALUE.set(1);
    let others: Vec<u64> = (0..4)
        .map(|index| {
            thread::spawn(move || {
                let before = VALUE.get();
                VALUE.set(index);
                thread::yield_now();
                before * 100 + VALUE.get()
            })
            .join()
            .unwrap_or(0)
        })
        .collect();
    println!("{others:?} {}", VALUE.get());
}

fn mutex_and_condition() {
    let shared = Arc::new((Mutex::new(0u64), Condvar::new()));
    let handles: Vec<_> = (0..4)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                for _ in 0..1000 {
                    *shared.0.lock().unwrap() += 1;
                    shared.1.notify_one();
                }
            })
        })
        .collect();
    let mut count = shared.0.lock().unwrap();
    while *count < 4000 {
        count = shared.1.wait(count).unwrap();
    }
    drop(count);
    handles.into_iter().for_each(|handle| handle.join().unwrap());
    let lock = Arc::new(RwLock::new(0));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let lock = lock.clone();
            thread::spawn(move || (0..500).for_each(|_| *lock.write().unwrap() += 1))
        })
        .collect();
    writers.into_iter().for_each(|handle| handle.join().unwrap());
    println!("{} {}", *shared.0.lock().unwrap(), *lock.read().unwrap());
}

fn channels() {
    let (sender, receiver) = mpsc::sync_channel(4);
    let producers: Vec<_> = (0..4u64)
        .map(|index| {
            let sender = sender.clone();
            thread::spawn(move || (0..500).for_each(|value| sender.send(index * 1000 + value).unwrap()))
        })
        .collect();
    drop(sender);
    println!("{}", receiver.iter().sum::<u64>());
    producers.into_iter().for_each(|handle| handle.join().unwrap());
}

const WAIT: i32 = libc::FUTEX_WAIT;
const WAKE: i32 = libc::FUTEX_WAKE;

fn futex_errors() {
    let word = AtomicU32::new(1);
    let address = word.as_ptr();
    println!("value {:?}", raw!(libc::SYS_futex, address, WAIT, 2, 0));
    println!("unaligned {:?}", raw!(libc::SYS_futex, address as usize + 1, WAIT, 1, 0));
    println!(
        "unmapped {:?} {:?}",
        raw!(libc::SYS_futex, 0x1000, WAIT, 1, 0),
        raw!(libc::SYS_futex, 0x1000, WAKE, 1, 0)
    );
    println!("private unmapped wake {:?}", raw!(libc::SYS_futex, 0x1000, WAKE | libc::FUTEX_PRIVATE_FLAG, 1, 0));
    println!("kernel {:?}", raw!(libc::SYS_futex, 0xffff_8000_0000_0000usize, WAKE, 1, 0));
    println!("unknown {:?}", raw!(libc::SYS_futex, address, 99, 1, 0));
    println!("bitset 0 {:?}", raw!(libc::SYS_futex, address, libc::FUTEX_WAIT_BITSET, 1, 0, 0, 0));
    println!("nobody {:?}", raw!(libc::SYS_futex, address, WAKE, 1, 0));
    let bad = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    println!("bad time {:?}", raw!(libc::SYS_futex, address, WAIT, 1, &raw const bad));
    println!("unlock not owned {:?}", raw!(libc::SYS_futex, address, libc::FUTEX_UNLOCK_PI, 0, 0));
}

fn futex_wait() {
    let word = Arc::new(AtomicU32::new(0));
    let time = libc::timespec { tv_sec: 0, tv_nsec: 30_000_000 };
    println!("{:?}", raw!(libc::SYS_futex, word.as_ptr(), WAIT, 0, &raw const time));
    let other = word.clone();
    let waiter = thread::spawn(move || {
        while other.load(SeqCst) == 0 {
            let _ = raw!(libc::SYS_futex, other.as_ptr(), WAIT | libc::FUTEX_PRIVATE_FLAG, 0, 0);
        }
    });
    unsafe { libc::usleep(50_000) };
    word.store(1, SeqCst);
    println!("{:?}", raw!(libc::SYS_futex, word.as_ptr(), WAKE | libc::FUTEX_PRIVATE_FLAG, 10, 0));
    waiter.join().unwrap();
}

fn futex_requeue() {
    let words = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let woken = Arc::new(AtomicUsize::new(0));
    let handles: Vec<_> = (0..3)
        .map(|_| {
            let (words, woken) = (words.clone(), woken.clone());
            thread::spawn(move || {
                let _ = raw!(libc::SYS_futex, words[0].as_ptr(), WAIT, 0, 0);
                woken.fetch_add(1, SeqCst);
            })
        })
        .collect();
    unsafe { libc::usleep(200_000) };
    println!(
        "wrong value {:?}",
        raw!(libc::SYS_futex, words[0].as_ptr(), libc::FUTEX_CMP_REQUEUE, 1, 10, words[1].as_ptr(), 5)
    );
    println!("{:?}", raw!(libc::SYS_futex, words[0].as_ptr(), libc::FUTEX_CMP_REQUEUE, 1, 10, words[1].as_ptr(), 0));
    println!(
        "{:?} {:?}",
        raw!(libc::SYS_futex, words[0].as_ptr(), WAKE, 10, 0),
        raw!(libc::SYS_futex, words[1].as_ptr(), WAKE, 10, 0)
    );
    handles.into_iter().for_each(|handle| handle.join().unwrap());
    println!("{}", woken.load(SeqCst));
}

fn futex_between_processes() {
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    let word = unsafe { AtomicU32::from_ptr(memory.cast()) };
    println!(
        "{}",
        in_child(|| {
            if unsafe { libc::fork() } == 0 {
                unsafe { libc::usleep(50_000) };
                word.store(1, SeqCst);
                let _ = raw!(libc::SYS_futex, memory, WAKE, 1, 0);
                unsafe { libc::_exit(0) };
            }
            while word.load(SeqCst) == 0 {
                let _ = raw!(libc::SYS_futex, memory, WAIT, 0, 0);
            }
            4
        })
    );
}

fn exit_group() {
    println!(
        "{}",
        in_child(|| {
            (0..4).for_each(|_| {
                drop(thread::spawn(|| {
                    loop {
                        unsafe { libc::pause() };
                    }
                }))
            });
            thread::spawn(|| unsafe { libc::syscall(libc::SYS_exit_group, 21) }).join().ok();
            1
        })
    );
}

fn exec_ends_others() {
    println!(
        "{}",
        in_child(|| {
            (0..3).for_each(|_| {
                drop(thread::spawn(|| {
                    loop {
                        std::hint::spin_loop()
                    }
                }))
            });
            thread::spawn(|| {
                let arguments =
                    [c"x".as_ptr(), c"--process-state".as_ptr(), c"from-a-thread".as_ptr(), std::ptr::null()];
                call!(execve(c"/proc/self/exe".as_ptr(), arguments.as_ptr(), [std::ptr::null()].as_ptr()))
            })
            .join()
            .ok();
            1
        })
    );
}

fn signal_to_one() {
    static RECEIVER: AtomicU32 = AtomicU32::new(0);
    extern "C" fn note(_signal: i32) {
        RECEIVER.store(unsafe { libc::syscall(libc::SYS_gettid) } as u32, SeqCst);
    }
    unsafe { libc::signal(libc::SIGUSR1, note as *const () as usize) };
    let barrier = Arc::new(Barrier::new(2));
    let inner = barrier.clone();
    let (sender, receiver) = mpsc::channel();
    let handle = thread::spawn(move || {
        sender.send(unsafe { libc::syscall(libc::SYS_gettid) } as i32).unwrap();
        while RECEIVER.load(SeqCst) == 0 {
            unsafe { libc::usleep(1000) };
        }
        inner.wait();
    });
    let thread = receiver.recv().unwrap_or(0);
    println!("{:?}", raw!(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1));
    barrier.wait();
    handle.join().unwrap();
    println!("{}", RECEIVER.load(SeqCst) == thread as u32);
    println!("{:?}", raw!(libc::SYS_tgkill, libc::getpid() + 1, thread, 0));
}

fn robust() {
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    let mutex = memory.cast::<libc::pthread_mutex_t>();
    unsafe {
        let mut attributes = std::mem::zeroed();
        libc::pthread_mutexattr_init(&mut attributes);
        libc::pthread_mutexattr_setpshared(&mut attributes, libc::PTHREAD_PROCESS_SHARED);
        libc::pthread_mutexattr_setrobust(&mut attributes, libc::PTHREAD_MUTEX_ROBUST);
        libc::pthread_mutex_init(mutex, &attributes);
    }
    println!(
        "{}",
        in_child(|| {
            unsafe { libc::pthread_mutex_lock(mutex) };
            0
        })
    );
    println!("{}", crate::errno_name(unsafe { libc::pthread_mutex_lock(mutex) }));
    println!("{} {}", unsafe { libc::pthread_mutex_consistent(mutex) }, unsafe { libc::pthread_mutex_unlock(mutex) });
}

fn many() {
    let total: usize = (0..10)
        .map(|_| {
            let handles: Vec<_> =
                (0..20).map(|_| thread::Builder::new().stack_size(64 * 1024).spawn(|| 1usize).unwrap()).collect();
            handles.into_iter().map(|handle| handle.join().unwrap()).sum::<usize>()
        })
        .sum();
    println!("{total}");
}

/// User mode's base registers, as far as the CPU lets it read and write them itself.
#[cfg(target_arch = "x86_64")]
mod base {
    use crate::{Outcome, raw};
    use std::arch::asm;

    pub const SET_GS: i32 = 0x1001;
    pub const GET_FS: i32 = 0x1003;
    pub const GET_GS: i32 = 0x1004;

    /// HWCAP2 bit 1: user mode may use the instructions.
    pub fn has_instructions() -> bool {
        unsafe { libc::getauxval(libc::AT_HWCAP2) & 2 != 0 }
    }

    pub fn get(code: i32) -> Outcome {
        let mut value = 0i64;
        raw!(libc::SYS_arch_prctl, code, &raw mut value).map(|_| value)
    }

    pub fn write_gs(value: i64) {
        if has_instructions() {
            unsafe { asm!("wrgsbase {}", in(reg) value, options(nostack, preserves_flags)) };
        } else {
            let _ = raw!(libc::SYS_arch_prctl, SET_GS, value);
        }
    }

    pub fn read_gs() -> i64 {
        if !has_instructions() {
            return get(GET_GS).unwrap_or(-1);
        }
        let value: i64;
        unsafe { asm!("rdgsbase {}", out(reg) value, options(nostack, preserves_flags)) };
        value
    }

    /// Gives way with `value` in FS base and says what is there afterwards. Nothing that needs thread-local storage runs meanwhile.
    pub fn yield_with_fs(value: i64, kept: i64) -> i64 {
        if !has_instructions() {
            std::thread::yield_now();
            return value;
        }
        let seen: i64;
        unsafe {
            asm!(
                "wrfsbase {value}", "mov eax, {yield_call}", "syscall", "rdfsbase {seen}", "wrfsbase {kept}",
                value = in(reg) value, seen = out(reg) seen, kept = in(reg) kept,
                yield_call = const libc::SYS_sched_yield,
                out("rax") _, out("rcx") _, out("r11") _, options(nostack),
            );
        }
        seen
    }
}

/// What a new program finds in its second base register.
#[cfg(target_arch = "x86_64")]
pub fn print_base_registers() {
    println!("{:?} {:#x}", base::get(base::GET_GS), base::read_gs());
}

/// What a new program finds in its second base register: such a machine has none.
#[cfg(not(target_arch = "x86_64"))]
pub fn print_base_registers() {}

/// The base registers that user mode writes itself belong to the thread: switches keep them apart, a new thread or process begins with
/// its maker's, a new program with none.
#[cfg(target_arch = "x86_64")]
fn base_registers() {
    use base::{GET_FS, GET_GS, SET_GS, get, read_gs, write_gs, yield_with_fs};
    const OWN: i64 = 0x7000_0000_1000;
    print_base_registers();
    println!("set {:?} {:#x}", raw!(libc::SYS_arch_prctl, SET_GS, 0x1234_5000u64), read_gs());
    println!("kernel address {:?}", raw!(libc::SYS_arch_prctl, SET_GS, 0xffff_8000_0000_0000u64));
    println!("not an address {:?}", raw!(libc::SYS_arch_prctl, GET_GS, 16));
    write_gs(OWN);
    println!("written {}", get(GET_GS) == Ok(OWN));
    let count_wrong = |index: i64| {
        let inherited = read_gs() == OWN;
        write_gs(index << 12);
        let wrong = (0..200).filter(|_| {
            thread::yield_now();
            read_gs() != index << 12
        });
        wrong.count() + usize::from(!inherited)
    };
    let threads: Vec<_> = (1..=3).map(|index| thread::spawn(move || count_wrong(index))).collect();
    let wrong: usize = threads.into_iter().map(|handle| handle.join().unwrap()).sum();
    println!("threads {wrong} {}", read_gs() == OWN);
    let status = in_child(|| {
        let other = unsafe { libc::fork() };
        let index = if other == 0 { 5 } else { 6 };
        let kept = get(GET_FS).unwrap_or(0);
        let mut wrong = count_wrong(index);
        wrong += (0..200).filter(|_| yield_with_fs(index << 20, kept) != index << 20).count();
        wrong += usize::from(read_gs() != index << 12);
        if other == 0 {
            unsafe { libc::_exit(i32::from(wrong != 0)) };
        }
        let mut status = 0;
        unsafe { libc::waitpid(other, &mut status, 0) };
        i32::from(wrong != 0) + 2 * i32::from(status != 0)
    });
    println!("processes {status} {}", read_gs() == OWN);
    in_child(|| {
        let arguments = [c"x".as_ptr(), c"--base-registers".as_ptr(), std::ptr::null()];
        call!(execve(c"/proc/self/exe".as_ptr(), arguments.as_ptr(), [std::ptr::null()].as_ptr())).map_or(1, |_| 0)
    });
}

#[cfg(not(target_arch = "x86_64"))]
fn base_registers() {}
