//! Buffers of which only a part can be reached: what each kind of file takes or gives before it says `EFAULT`.

use crate::runner::Case;
use crate::{Outcome, c, call};
use libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE};
use std::ffi::c_void;

pub(super) const CASES: &[Case] =
    &[("buffers/pipe", pipe), ("buffers/event-counter", event_counter), ("buffers/terminal", terminal)];

const PAGE: usize = 4096;

/// Two pages that hold letters, and behind them one that nothing may touch.
struct Cliff(*mut u8);

impl Cliff {
    fn new() -> Self {
        // SAFETY: new anonymous memory is written within its length; nothing refers to the page that is closed afterwards.
        unsafe {
            let pages =
                libc::mmap(std::ptr::null_mut(), 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            assert_ne!(pages, MAP_FAILED);
            let pages = pages.cast::<u8>();
            (0..2 * PAGE).for_each(|at| pages.add(at).write(b'a' + (at % 23) as u8));
            libc::munmap(pages.add(2 * PAGE).cast(), PAGE);
            Self(pages)
        }
    }
    /// The address from which on `reachable` bytes can be reached (none: an address in the hole).
    fn before(&self, reachable: usize) -> *mut c_void {
        self.0.wrapping_add(2 * PAGE - reachable).cast()
    }
}

/// How long, and how much of it can be reached.
const SHAPES: [(usize, usize); 11] = [
    (1, 0),
    (8, 3),
    (8, 7),
    (100, 99),
    (PAGE, PAGE - 1),
    (PAGE, 3),
    (PAGE + 8, 3),
    (PAGE + 8, PAGE),
    (PAGE + 8, PAGE + 3),
    (2 * PAGE + 8, PAGE + 8),
    (2 * PAGE + 8, 2 * PAGE),
];

fn write(descriptor: i32, cliff: &Cliff, shape: (usize, usize)) -> Outcome {
    call!(write(descriptor, cliff.before(shape.1), shape.0))
}

fn read(descriptor: i32, cliff: &Cliff, shape: (usize, usize)) -> Outcome {
    call!(read(descriptor, cliff.before(shape.1), shape.0))
}

fn available(descriptor: i32) -> i32 {
    let mut count = -1;
    let _ = call!(ioctl(descriptor, libc::FIONREAD, &raw mut count));
    count
}

fn pipe_ends(flags: i32) -> [i32; 2] {
    let mut ends = [0; 2];
    let _ = call!(pipe2(ends.as_mut_ptr(), flags));
    ends
}

fn pipe() {
    let cliff = Cliff::new();
    for before in ["", "xyz"] {
        for flags in [0, libc::O_DIRECT] {
            for shape in SHAPES {
                let [reader, writer] = pipe_ends(flags | libc::O_NONBLOCK);
                let _ = call!(write(writer, before.as_ptr().cast(), before.len()));
                print!("{before:3} {shape:?} {:?}", write(writer, &cliff, shape));
                print!(" {}", available(reader));
                // What a failed write leaves behind keeps nobody from writing on.
                print!(" {:?}", call!(write(writer, b"end".as_ptr().cast(), 3)));
                let mut total = 0;
                let mut buffer = [0u8; 3 * PAGE];
                // A packet that could not be written may leave an empty one behind (Linux 6.1) or none (6.18).
                while let Ok(count) = call!(read(reader, buffer.as_mut_ptr().cast(), buffer.len())) {
                    total += count;
                }
                println!(" {total}");
                let _ = (call!(close(reader)), call!(close(writer)));
            }
        }
    }
    // The other way: what was copied before the fault is gone from the pipe, or is not.
    for shape in SHAPES {
        let [reader, writer] = pipe_ends(libc::O_NONBLOCK);
        let full = [b'q'; 3 * PAGE];
        let _ = call!(write(writer, full.as_ptr().cast(), full.len()));
        println!("{shape:?} {:?} {}", read(reader, &cliff, shape), available(reader));
        let _ = (call!(close(reader)), call!(close(writer)));
    }
    // Several ranges, the second out of reach.
    for lengths in [(3, 3), (PAGE, 8), (PAGE + 3, 8), (2 * PAGE, 8)] {
        let [reader, writer] = pipe_ends(libc::O_NONBLOCK);
        let ranges = [
            libc::iovec { iov_base: cliff.before(2 * PAGE), iov_len: lengths.0 },
            libc::iovec { iov_base: cliff.before(0), iov_len: lengths.1 },
        ];
        println!("{lengths:?} {:?} {}", call!(writev(writer, ranges.as_ptr(), 2)), available(reader));
    }
}

fn event_counter() {
    let cliff = Cliff::new();
    for shape in [(8, 0), (8, 3), (8, 7), (16, 7), (16, 8), (7, 7), (7, 3)] {
        let file = call!(eventfd(5, libc::EFD_NONBLOCK)).unwrap_or(-1) as i32;
        // A count that cannot be handed over is taken all the same.
        print!("{shape:?} {:?}", read(file, &cliff, shape));
        println!(" {:?} {:?}", read(file, &cliff, (8, 8)), write(file, &cliff, shape));
        let _ = call!(close(file));
    }
}

fn terminal() {
    let cliff = Cliff::new();
    let master =
        call!(open(c("/dev/ptmx").as_ptr(), libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK)).unwrap_or(-1) as i32;
    let mut number = 0u32;
    let unlock = 0;
    let _ = call!(ioctl(master, libc::TIOCSPTLCK, &raw const unlock));
    let _ = call!(ioctl(master, libc::TIOCGPTN, &raw mut number));
    let slave = call!(open(c(&format!("/dev/pts/{number}")).as_ptr(), libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK))
        .unwrap_or(-1) as i32;
    // SAFETY: the settings are plain numbers, and libc fills them in.
    unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        libc::tcgetattr(slave, &raw mut settings);
        libc::cfmakeraw(&raw mut settings);
        libc::tcsetattr(slave, libc::TCSANOW, &raw const settings);
    }
    let drain = |descriptor: i32| {
        let mut total = 0;
        let mut buffer = [0u8; 4096];
        let mut patience = 50;
        while patience > 0 {
            match call!(read(descriptor, buffer.as_mut_ptr().cast(), buffer.len())) {
                Ok(count) => total += count,
                Err(_) => {
                    let _ = call!(usleep(200));
                    patience -= 1;
                }
            }
        }
        total
    };
    for shape in [(1, 0), (8, 3), (100, 99), (3000, 2999), (3000, 2048), (3000, 2050)] {
        let slave_wrote = write(slave, &cliff, shape);
        let passed = drain(master);
        println!("{shape:?} slave {slave_wrote:?} {passed}");
        if shape.0 <= 100 {
            let master_wrote = write(master, &cliff, shape);
            println!("{shape:?} master {master_wrote:?} {}", drain(slave));
        }
    }
}
