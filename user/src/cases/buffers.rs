//! Buffers of which only a part can be reached: what each kind of file takes or gives before it says `EFAULT`.

use crate::raw;
use crate::runner::Case;
use crate::system::{self, Mapping, Must, Outcome, PAGE};

pub(super) const CASES: &[Case] =
    &[("buffers/pipe", pipe), ("buffers/event-counter", event_counter), ("buffers/terminal", terminal)];

/// Two pages that hold letters, and behind them one that nothing may touch.
struct Cliff(Mapping);

impl Cliff {
    fn new() -> Self {
        let pages = Mapping::private(3);
        (0..2 * PAGE).for_each(|at| pages.write(at, b'a' + (at % 23) as u8));
        pages.unmap(2 * PAGE, PAGE).must();
        Self(pages)
    }

    /// The address from which on `reachable` bytes can be reached (none: an address in the hole).
    fn before(&self, reachable: usize) -> usize {
        self.0.at(2 * PAGE - reachable)
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
    raw!(libc::SYS_write, descriptor, cliff.before(shape.1), shape.0)
}

fn read(descriptor: i32, cliff: &Cliff, shape: (usize, usize)) -> Outcome {
    raw!(libc::SYS_read, descriptor, cliff.before(shape.1), shape.0)
}

fn available(descriptor: i32) -> i32 {
    let mut count = [-1];
    let _ = system::ioctl(descriptor, libc::FIONREAD, &mut count[..]);
    count[0]
}

fn pipe_ends(flags: i32) -> [i32; 2] {
    system::pipe2(flags).must()
}

fn pipe() {
    let cliff = Cliff::new();
    for before in ["", "xyz"] {
        for flags in [0, libc::O_DIRECT] {
            for shape in SHAPES {
                let [reader, writer] = pipe_ends(flags | libc::O_NONBLOCK);
                let _ = system::write(writer, before.as_bytes());
                print!("{before:3} {shape:?} {:?}", write(writer, &cliff, shape));
                print!(" {}", available(reader));
                // What a failed write leaves behind keeps nobody from writing on.
                print!(" {:?}", system::write(writer, b"end"));
                let mut total = 0;
                let mut buffer = [0u8; 3 * PAGE];
                // A packet that could not be written may leave an empty one behind (Linux 6.1) or none (6.18).
                while let Ok(count) = system::read(reader, &mut buffer) {
                    total += count;
                }
                println!(" {total}");
                let _ = (system::close(reader), system::close(writer));
            }
        }
    }
    // The other way: what was copied before the fault is gone from the pipe, or is not.
    for shape in SHAPES {
        let [reader, writer] = pipe_ends(libc::O_NONBLOCK);
        let full = [b'q'; 3 * PAGE];
        let _ = system::write(writer, &full);
        println!("{shape:?} {:?} {}", read(reader, &cliff, shape), available(reader));
        let _ = (system::close(reader), system::close(writer));
    }
    // Several ranges, the second out of reach.
    for lengths in [(3, 3), (PAGE, 8), (PAGE + 3, 8), (2 * PAGE, 8)] {
        let [reader, writer] = pipe_ends(libc::O_NONBLOCK);
        // `struct iovec`, twice.
        let ranges = [cliff.before(2 * PAGE), lengths.0, cliff.before(0), lengths.1];
        let written = raw!(libc::SYS_writev, writer, &ranges[..], 2);
        println!("{lengths:?} {:?} {}", written, available(reader));
    }
}

fn event_counter() {
    let cliff = Cliff::new();
    for shape in [(8, 0), (8, 3), (8, 7), (16, 7), (16, 8), (7, 7), (7, 3)] {
        let file = system::eventfd(5, libc::EFD_NONBLOCK).must();
        // A count that cannot be handed over is taken all the same.
        print!("{shape:?} {:?}", read(file, &cliff, shape));
        println!(" {:?} {:?}", read(file, &cliff, (8, 8)), write(file, &cliff, shape));
        let _ = system::close(file);
    }
}

fn terminal() {
    let cliff = Cliff::new();
    let (master, slave) = system::pseudo_terminals().must();
    for descriptor in [master, slave] {
        let _ = system::fcntl(descriptor, libc::F_SETFL, libc::O_RDWR | libc::O_NONBLOCK);
    }
    let mut settings = system::zeroed();
    let _ = system::tcgetattr(slave, &mut settings);
    system::cfmakeraw(&mut settings);
    let _ = system::tcsetattr(slave, libc::TCSANOW, &settings);
    let drain = |descriptor: i32| {
        let mut total = 0;
        let mut buffer = [0u8; 4096];
        let mut patience = 50;
        while patience > 0 {
            match system::read(descriptor, &mut buffer) {
                Ok(count) => total += count,
                Err(_) => {
                    let _ = system::usleep(200);
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
