//! Signals: delivery, masks, queues, restarts, faults, stops.

use crate::call;
use crate::runner::{Case, describe, in_child};
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst};

pub(super) const CASES: &[Case] = &[
    ("signals/handler-runs", handler_runs),
    ("signals/fault-information", fault_information),
    ("signals/default-actions", default_actions),
    ("signals/blocked-stay-pending", blocked),
    ("signals/realtime-queue-in-order", realtime_queue),
    ("signals/restart", restart),
    ("signals/interrupt", interrupt),
    ("signals/nodefer-and-mask", nodefer),
    ("signals/resethand", resethand),
    ("signals/alternate-stack", alternate_stack),
    ("signals/sigsuspend", sigsuspend),
    ("signals/sigtimedwait", sigtimedwait),
    ("signals/stop-and-continue", stop_and_continue),
    ("signals/child-signal-information", child_information),
    ("signals/ignored-children-are-reaped", ignored_children),
    ("signals/errors", errors),
    ("signals/registers-survive", registers_survive),
    ("signals/vector-registers-survive", vector_registers),
    ("signals/nested", nested),
    ("signals/signalfd", signalfd),
    ("signals/blocked-fault-kills", blocked_fault),
    ("signals/pipe", sigpipe),
    ("signals/exec-resets-handlers", exec_resets),
    ("signals/divide-and-trap", divide_and_trap),
];

static COUNT: AtomicUsize = AtomicUsize::new(0);
static SEEN: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
static LAST: AtomicI32 = AtomicI32::new(0);

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

extern "C" fn note(signal: i32, information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let index = COUNT.fetch_add(1, SeqCst);
    let information = unsafe { &*information };
    SEEN[index % 8].store((signal as u64) << 32 | u64::from(information.si_code as u32), SeqCst);
    LAST.store(unsafe { information.si_value().sival_ptr } as i32, SeqCst);
}

fn install(signal: i32, handler: Handler, flags: i32) {
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = flags | libc::SA_SIGINFO;
    assert_eq!(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) }, 0);
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        signals.iter().for_each(|signal| {
            libc::sigaddset(&mut set, *signal);
        });
        set
    }
}

fn block(signals: &[i32]) {
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set_of(signals), std::ptr::null_mut()) };
}

fn unblock(signals: &[i32]) {
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &set_of(signals), std::ptr::null_mut()) };
}

fn seen() -> Vec<String> {
    (0..COUNT.load(SeqCst).min(8))
        .map(|index| SEEN[index].load(SeqCst))
        .map(|both| format!("{}:{}", both >> 32, both as u32 as i32))
        .collect()
}

fn handler_runs() {
    install(libc::SIGUSR1, note, 0);
    println!("{:?}", call!(raise(libc::SIGUSR1)));
    println!("{:?}", call!(kill(libc::getpid(), libc::SIGUSR1)));
    println!("{:?}", seen());
}

/// Where a handler's context goes on.
fn instruction_of(context: *const libc::c_void) -> usize {
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    let instruction = context.uc_mcontext.gregs[libc::REG_RIP as usize] as usize;
    #[cfg(not(target_arch = "x86_64"))]
    let instruction = context.uc_mcontext.pc as usize;
    instruction
}

extern "C" fn fault(signal: i32, information: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let information = unsafe { &*information };
    let address = unsafe { information.si_addr() } as usize;
    let shown = if !(0x10_0000..1 << 47).contains(&address) {
        format!("{address:#x}")
    } else if matches!(signal, libc::SIGFPE | libc::SIGILL) && address == instruction_of(context) {
        // Where in the program that is changes with each build.
        "of the instruction".into()
    } else {
        format!("page offset {:#x}", address & 0xfff)
    };
    println!("signal {signal} code {} address {shown}", information.si_code);
    use std::io::Write;
    let _ = std::io::stdout().flush();
    unsafe { libc::_exit(3) }
}

fn faulting(action: impl FnOnce()) {
    println!(
        "{}",
        in_child(|| {
            for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
                install(signal, fault, 0);
            }
            action();
            0
        })
    );
}

fn fault_information() {
    faulting(|| unsafe { (0x123 as *mut u8).write_volatile(1) });
    faulting(|| {
        let _ = unsafe { (0x456 as *const u8).read_volatile() };
    });
    let page = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }
    .cast::<u8>();
    faulting(|| unsafe { page.add(0x10).write_volatile(1) });
    faulting(|| {
        let _ = unsafe { (0xffff_8000_0000_0000usize as *const u8).read_volatile() };
    });
    faulting(|| unsafe { std::mem::transmute::<*mut u8, fn()>(page)() });
    faulting(|| {
        let name = crate::c("/tmp/conformance-bus");
        unsafe {
            let file = libc::open(name.as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600);
            libc::unlink(name.as_ptr());
            let memory =
                libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file, 0).cast::<u8>();
            memory.add(0x20).read_volatile();
        }
    });
    #[cfg(target_arch = "x86_64")]
    faulting(|| {
        let _ = unsafe { (0x8000_1234_0000_0000usize as *const u8).read_volatile() };
    });
}

#[cfg(target_arch = "x86_64")]
fn divide_and_trap() {
    use std::arch::asm;
    faulting(|| unsafe { asm!("xor edx, edx", "xor ecx, ecx", "div ecx", out("rax") _, out("rcx") _, out("rdx") _) });
    faulting(|| unsafe { asm!("ud2") });
    faulting(|| unsafe { asm!("int3") });
    faulting(|| unsafe { asm!("hlt") });
    faulting(|| unsafe { asm!("cli") });
    faulting(|| unsafe { asm!("int 0x3") });
    faulting(|| unsafe { asm!("int 0x20") });
    faulting(|| unsafe { asm!("in al, dx", out("al") _, in("dx") 0x60u16) });
    faulting(|| unsafe { asm!("mov {0}, cr3", out(reg) _) });
}

#[cfg(not(target_arch = "x86_64"))]
fn divide_and_trap() {
    use std::arch::asm;
    faulting(|| unsafe { asm!("udf #0") });
    faulting(|| unsafe { asm!("brk #0") });
    faulting(|| unsafe { asm!("brk #1000") });
    faulting(|| unsafe { asm!("mrs {0}, ttbr0_el1", out(reg) _) });
    faulting(|| unsafe { asm!("hvc #0") });
    faulting(|| unsafe { asm!("smc #0") });
}

fn default_actions() {
    for signal in 1..=64 {
        if [32, 33].contains(&signal) || (libc::SIGSTOP..=libc::SIGTTOU).contains(&signal) {
            continue;
        }
        println!(
            "{signal}: {}",
            in_child(|| {
                unsafe { libc::signal(signal, libc::SIG_DFL) };
                let _ = call!(kill(libc::getpid(), signal));
                0
            })
        );
    }
}

fn blocked() {
    install(libc::SIGUSR1, note, 0);
    install(libc::SIGUSR2, note, 0);
    block(&[libc::SIGUSR1, libc::SIGUSR2]);
    for _ in 0..3 {
        let _ = call!(raise(libc::SIGUSR2));
        let _ = call!(raise(libc::SIGUSR1));
    }
    let mut pending = set_of(&[]);
    println!(
        "{:?} usr1 {} usr2 {} hup {}",
        call!(sigpending(&mut pending)),
        unsafe { libc::sigismember(&pending, libc::SIGUSR1) },
        unsafe { libc::sigismember(&pending, libc::SIGUSR2) },
        unsafe { libc::sigismember(&pending, libc::SIGHUP) }
    );
    println!("before {:?}", seen());
    unblock(&[libc::SIGUSR1, libc::SIGUSR2]);
    println!("after {:?}", seen());
}

fn realtime_queue() {
    extern "C" fn show(signal: i32, information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        println!("{signal} code {} value {}", unsafe { (*information).si_code }, unsafe {
            (*information).si_value().sival_ptr as usize
        });
    }
    for signal in [34, 40, 64] {
        install(signal, show, 0);
    }
    block(&[34, 40, 64]);
    for value in 1..=3usize {
        for signal in [64, 34, 40] {
            let value = libc::sigval { sival_ptr: (value * 100 + signal as usize) as *mut _ };
            let _ = call!(sigqueue(libc::getpid(), signal, value));
        }
    }
    unblock(&[34, 40, 64]);
}

fn delayed_signal(signal: i32) -> i32 {
    let parent = unsafe { libc::getpid() };
    let child = unsafe { libc::fork() };
    if child == 0 {
        unsafe {
            libc::usleep(100_000);
            libc::kill(parent, signal);
            libc::usleep(200_000);
            libc::_exit(0)
        }
    }
    child
}

fn restart() {
    install(libc::SIGUSR1, note, libc::SA_RESTART);
    let mut ends = [0; 2];
    let _ = call!(pipe(ends.as_mut_ptr()));
    let parent = unsafe { libc::getpid() };
    let child = unsafe { libc::fork() };
    if child == 0 {
        unsafe {
            libc::usleep(100_000);
            libc::kill(parent, libc::SIGUSR1);
            libc::usleep(100_000);
            libc::write(ends[1], c"hi".as_ptr().cast(), 2);
            libc::_exit(0)
        }
    }
    let mut buffer = [0u8; 4];
    println!("read {:?} {:?}", call!(read(ends[0], buffer.as_mut_ptr().cast(), 4)), seen());
    let mut status = 0;
    println!("wait {} {}", unsafe { libc::waitpid(child, &mut status, 0) } == child, describe(status));
    // These never restart, whatever the flag.
    let child = delayed_signal(libc::SIGUSR1);
    let mut descriptor = libc::pollfd { fd: ends[0], events: libc::POLLIN, revents: 0 };
    println!("poll {:?}", call!(poll(&mut descriptor, 1, 5000)));
    let _ = call!(waitpid(child, &mut status, 0));
    let child = delayed_signal(libc::SIGUSR1);
    let time = libc::timespec { tv_sec: 5, tv_nsec: 0 };
    println!("nanosleep {:?}", call!(nanosleep(&time, std::ptr::null_mut())));
    let _ = call!(waitpid(child, &mut status, 0));
}

fn interrupt() {
    install(libc::SIGUSR1, note, 0);
    let mut ends = [0; 2];
    let _ = call!(pipe(ends.as_mut_ptr()));
    let child = delayed_signal(libc::SIGUSR1);
    let mut buffer = [0u8; 4];
    println!("read {:?}", call!(read(ends[0], buffer.as_mut_ptr().cast(), 4)));
    let mut status = 0;
    let _ = call!(waitpid(child, &mut status, 0));
    let child = delayed_signal(libc::SIGUSR1);
    println!("wait {:?}", call!(waitpid(child, &mut status, 0)));
    let _ = call!(waitpid(child, &mut status, 0));
    let child = delayed_signal(libc::SIGUSR1);
    println!("pause {:?}", call!(pause()));
    let _ = call!(waitpid(child, &mut status, 0));
    println!("{:?}", seen());
}

fn nodefer() {
    static DEPTH: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn again(signal: i32, _information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        let depth = DEPTH.fetch_add(1, SeqCst);
        println!("enter {depth}");
        if depth < 2 {
            unsafe { libc::raise(signal) };
        }
        println!("leave {depth}");
    }
    install(libc::SIGUSR1, again, libc::SA_NODEFER);
    let _ = call!(raise(libc::SIGUSR1));
    DEPTH.store(1, SeqCst);
    install(libc::SIGUSR1, again, 0);
    let _ = call!(raise(libc::SIGUSR1));
}

fn resethand() {
    println!(
        "{}",
        in_child(|| {
            install(libc::SIGUSR1, note, libc::SA_RESETHAND);
            let _ = call!(raise(libc::SIGUSR1));
            println!("{:?}", seen());
            let _ = call!(raise(libc::SIGUSR1));
            0
        })
    );
}

fn alternate_stack() {
    static STACK: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn look(_signal: i32, _information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        let here = &raw const _signal as usize;
        let base = STACK.load(SeqCst);
        println!("on it: {}", (base..base + 65536).contains(&here));
        let mut old: libc::stack_t = unsafe { std::mem::zeroed() };
        println!("{:?} flags {}", call!(sigaltstack(std::ptr::null(), &mut old)), old.ss_flags);
        let new = libc::stack_t { ss_sp: base as *mut _, ss_flags: 0, ss_size: 65536 };
        println!("change while on it {:?}", call!(sigaltstack(&new, std::ptr::null_mut())));
    }
    let memory = vec![0u8; 65536].leak();
    STACK.store(memory.as_ptr() as usize, SeqCst);
    let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: 65536 };
    println!("{:?}", call!(sigaltstack(&stack, std::ptr::null_mut())));
    install(libc::SIGUSR1, look, libc::SA_ONSTACK);
    let _ = call!(raise(libc::SIGUSR1));
    let small = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: 100 };
    println!("too small {:?}", call!(sigaltstack(&small, std::ptr::null_mut())));
    let odd = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 77, ss_size: 65536 };
    println!("odd flags {:?}", call!(sigaltstack(&odd, std::ptr::null_mut())));
    // A stack overflow is caught on the other stack.
    println!(
        "{}",
        in_child(|| {
            install(libc::SIGSEGV, fault_quietly, libc::SA_ONSTACK);
            let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
            unsafe { libc::setrlimit(libc::RLIMIT_STACK, &limit) };
            overflow(0) as i32
        })
    );
}

extern "C" fn fault_quietly(signal: i32, information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let _ = (signal, information);
    unsafe { libc::_exit(17) }
}

#[inline(never)]
fn overflow(depth: u64) -> u64 {
    let block = std::hint::black_box([depth; 64]);
    if depth == u64::MAX {
        return 0;
    }
    overflow(depth + 1) + std::hint::black_box(&block)[3]
}

fn sigsuspend() {
    install(libc::SIGUSR1, note, 0);
    block(&[libc::SIGUSR1]);
    let child = delayed_signal(libc::SIGUSR1);
    println!("{:?} {:?}", call!(sigsuspend(&set_of(&[]))), seen());
    let mut now = set_of(&[]);
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), &mut now) };
    println!("mask restored {}", unsafe { libc::sigismember(&now, libc::SIGUSR1) });
    let mut status = 0;
    let _ = call!(waitpid(child, &mut status, 0));
}

fn sigtimedwait() {
    block(&[libc::SIGUSR1, 40]);
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let short = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    println!("{:?}", call!(sigtimedwait(&set_of(&[libc::SIGUSR1]), &mut information, &short)));
    let _ = call!(sigqueue(libc::getpid(), 40, libc::sigval { sival_ptr: 7 as *mut _ }));
    println!(
        "{:?} code {} value {}",
        call!(sigwaitinfo(&set_of(&[40]), &mut information)),
        information.si_code,
        unsafe { information.si_value().sival_ptr } as usize
    );
    let child = delayed_signal(libc::SIGUSR1);
    println!(
        "{:?} code {} from child {}",
        call!(sigwaitinfo(&set_of(&[libc::SIGUSR1]), &mut information)),
        information.si_code,
        unsafe { information.si_pid() } == child
    );
    let bad = libc::timespec { tv_sec: 0, tv_nsec: -1 };
    println!("{:?}", call!(sigtimedwait(&set_of(&[libc::SIGUSR1]), &mut information, &bad)));
}

fn stop_and_continue() {
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            unsafe { libc::pause() };
        }
    }
    let mut status = 0;
    let wait = |flags: i32, status: &mut i32| unsafe { libc::waitpid(child, status, flags) } == child;
    for signal in [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
        let _ = call!(kill(child, signal));
        if signal == libc::SIGSTOP {
            println!("{} {}", wait(libc::WUNTRACED, &mut status), describe(status));
            println!("again {:?}", call!(waitpid(child, &mut status, libc::WUNTRACED | libc::WNOHANG)));
            let _ = call!(kill(child, libc::SIGCONT));
            println!("{} {}", wait(libc::WCONTINUED, &mut status), describe(status));
        }
    }
    let _ = call!(kill(child, libc::SIGSTOP));
    let _ = call!(kill(child, libc::SIGKILL));
    println!("{} {}", wait(0, &mut status), describe(status));
}

fn child_information() {
    extern "C" fn show(signal: i32, information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        println!("{signal} code {} status {}", unsafe { (*information).si_code }, unsafe {
            (*information).si_status()
        });
        COUNT.fetch_add(1, SeqCst);
    }
    install(libc::SIGCHLD, show, libc::SA_RESTART);
    println!("{}", in_child(|| 7));
    println!(
        "{}",
        in_child(|| {
            let _ = call!(raise(libc::SIGKILL));
            0
        })
    );
    install(libc::SIGCHLD, show, libc::SA_RESTART | libc::SA_NOCLDSTOP);
    let child = unsafe { libc::fork() };
    if child == 0 {
        let _ = call!(raise(libc::SIGSTOP));
        unsafe { libc::_exit(9) };
    }
    let mut status = 0;
    let _ = call!(waitpid(child, &mut status, libc::WUNTRACED));
    println!("{}", describe(status));
    let _ = call!(kill(child, libc::SIGCONT));
    let _ = call!(waitpid(child, &mut status, 0));
    println!("{} {}", describe(status), COUNT.load(SeqCst));
}

fn ignored_children() {
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    println!("{}", in_child(|| 3));
}

fn errors() {
    println!(
        "{:?} {:?} {:?}",
        call!(kill(libc::getpid(), 65)),
        call!(kill(libc::getpid(), -1)),
        call!(kill(libc::getpid(), 0))
    );
    println!("{:?} {:?}", call!(kill(0x3fff_ffff, 0)), call!(kill(-0x3fff_ffff, 0)));
    let action: libc::sigaction = unsafe { std::mem::zeroed() };
    println!(
        "{:?} {:?} {:?}",
        call!(sigaction(libc::SIGKILL, &action, std::ptr::null_mut())),
        call!(sigaction(65, &action, std::ptr::null_mut())),
        call!(sigaction(libc::SIGKILL, std::ptr::null(), std::ptr::null_mut()))
    );
    println!(
        "{:?}",
        crate::raw!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, std::ptr::null::<u8>(), std::ptr::null::<u8>(), 7)
    );
    let set = set_of(&[]);
    println!("{:?}", crate::raw!(libc::SYS_rt_sigprocmask, 9, &set, std::ptr::null::<u8>(), 8));
    println!("{:?}", crate::raw!(libc::SYS_rt_sigaction, libc::SIGUSR1, 8, std::ptr::null::<u8>(), 8));
    println!("{:?} {:?}", crate::raw!(libc::SYS_tgkill, -1, 1, 1), crate::raw!(libc::SYS_tkill, 0, 1));
}

fn registers_survive() {
    install(libc::SIGALRM, note, libc::SA_RESTART);
    let interval = libc::timeval { tv_sec: 0, tv_usec: 10_000 };
    let _ = unsafe {
        libc::setitimer(
            libc::ITIMER_REAL,
            &libc::itimerval { it_interval: interval, it_value: interval },
            std::ptr::null_mut(),
        )
    };
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

fn vector_registers() {
    extern "C" fn clobber(_signal: i32, _information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        let mut values = std::hint::black_box([3.5f64; 16]);
        values.iter_mut().for_each(|value| *value = value.sqrt() * 2.0);
        std::hint::black_box(values);
    }
    install(libc::SIGUSR1, clobber, 0);
    let values: Vec<f64> = (0..64).map(f64::from).collect();
    let before: f64 = values.iter().map(|value| value * 1.5).sum();
    let _ = call!(raise(libc::SIGUSR1));
    let after: f64 = values.iter().map(|value| value * 1.5).sum();
    println!("{}", before == after);
}

fn nested() {
    extern "C" fn outer(_signal: i32, _information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        println!("outer in");
        unsafe { libc::raise(libc::SIGUSR2) };
        println!("outer out");
    }
    extern "C" fn inner(_signal: i32, _information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        println!("inner");
    }
    install(libc::SIGUSR1, outer, 0);
    install(libc::SIGUSR2, inner, 0);
    let _ = call!(raise(libc::SIGUSR1));
}

fn signalfd() {
    block(&[libc::SIGUSR1]);
    let descriptor = unsafe { libc::signalfd(-1, &set_of(&[libc::SIGUSR1]), libc::SFD_NONBLOCK) };
    let mut information: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    println!("{:?}", call!(read(descriptor, (&raw mut information).cast(), 128)));
    let _ = call!(raise(libc::SIGUSR1));
    println!(
        "{:?} {} {}",
        call!(read(descriptor, (&raw mut information).cast(), 128)),
        information.ssi_signo,
        information.ssi_code
    );
    println!("{:?}", call!(read(descriptor, (&raw mut information).cast(), 64)));
}

fn blocked_fault() {
    println!(
        "{}",
        in_child(|| {
            install(libc::SIGSEGV, note, 0);
            block(&[libc::SIGSEGV]);
            unsafe { (8 as *mut u8).write_volatile(1) };
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            unsafe { libc::signal(libc::SIGSEGV, libc::SIG_IGN) };
            unsafe { (8 as *mut u8).write_volatile(1) };
            0
        })
    );
}

fn sigpipe() {
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    println!(
        "{}",
        in_child(|| {
            let mut ends = [0; 2];
            let _ = call!(pipe(ends.as_mut_ptr()));
            let _ = call!(close(ends[0]));
            let _ = call!(write(ends[1], c"x".as_ptr().cast(), 1));
            0
        })
    );
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let mut ends = [0; 2];
    let _ = call!(pipe(ends.as_mut_ptr()));
    let _ = call!(close(ends[0]));
    println!("{:?}", call!(write(ends[1], c"x".as_ptr().cast(), 1)));
}

fn exec_resets() {
    println!(
        "{}",
        in_child(|| {
            install(libc::SIGUSR1, note, 0);
            unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
            block(&[libc::SIGHUP]);
            let program = c"/proc/self/exe".as_ptr();
            let arguments = [program, c"--signal-state".as_ptr(), std::ptr::null()];
            let _ = call!(execv(program, arguments.as_ptr()));
            1
        })
    );
}

/// What the exec'd program prints: which signals are caught, ignored and blocked.
pub fn print_state() {
    for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGHUP] {
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
        let mut mask = set_of(&[]);
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), &mut mask) };
        println!("{signal}: action {} blocked {}", action.sa_sigaction, unsafe { libc::sigismember(&mask, signal) });
    }
}
