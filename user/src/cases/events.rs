//! Pipes, polling, event descriptors.

use crate::raw;
use crate::runner::{Case, in_child};
use crate::system::{self, DescriptorSet, Errno, Must, SignalSet};
use std::ffi::CStr;

pub(super) const CASES: &[Case] = &[
    ("events/pipe", pipe),
    ("events/pipe-nonblocking", pipe_nonblocking),
    ("events/pipe-capacity", pipe_capacity),
    ("events/pipe-packets", pipe_packets),
    ("events/pipe-many-writers", many_writers),
    ("events/fifo", fifo),
    ("events/poll", poll),
    ("events/select", select),
    ("events/epoll-level-and-edge", epoll),
    ("events/epoll-errors", epoll_errors),
    ("events/eventfd", eventfd),
    ("events/splice-and-tee", splice),
    ("events/poll-wakes-on-close", wakes_on_close),
    ("events/ppoll-mask", ppoll_mask),
    ("events/descriptors-in-epoll-close", closed_in_epoll),
];

fn make_pipe(flags: i32) -> (i32, i32) {
    let [reader, writer] = system::pipe2(flags).must();
    (reader, writer)
}

fn write(descriptor: i32, length: usize) -> Result<isize, Errno> {
    system::write(descriptor, &vec![b'x'; length])
}

fn read(descriptor: i32, length: usize) -> Result<isize, Errno> {
    system::read(descriptor, &mut vec![0u8; length])
}

fn pipe() {
    let (reader, writer) = make_pipe(0);
    println!("{:?} {:?} {:?}", write(writer, 100), read(reader, 60), read(reader, 60));
    println!("{:?} {:?} {:?}", write(reader, 1), read(writer, 1), system::lseek(reader, 0, 0));
    let _ = write(writer, 5);
    let mut waiting = [0i32];
    let outcome = system::ioctl(reader, libc::FIONREAD, &mut waiting);
    println!("{outcome:?} {}", waiting[0]);
    let _ = system::close(writer);
    println!("{:?} {:?}", read(reader, 10), read(reader, 10));
    println!("{:?} {:?}", raw!(libc::SYS_pipe2, 8, 0), raw!(libc::SYS_pipe2, &[0i32; 2], 0x1234));
    let (reader, writer) = make_pipe(0);
    system::fork(|| {
        let _ = write(writer, 200_000);
        0
    });
    let _ = system::close(writer);
    let mut total = 0;
    while let Ok(count @ 1..) = read(reader, 70_000) {
        total += count;
    }
    println!("{total}");
    let _ = system::wait();
}

fn pipe_nonblocking() {
    let (reader, writer) = make_pipe(libc::O_NONBLOCK);
    println!("{:?}", read(reader, 1));
    let mut total = 0;
    while let Ok(count) = write(writer, 4096) {
        total += count;
    }
    println!("{total} {:?} {:?}", write(writer, 1), write(writer, 10_000));
    println!("{:?} {:?} {:?}", read(reader, 4095), write(writer, 4096), write(writer, 1));
    println!("{:?} {:?}", read(reader, 1), write(writer, 4096));
}

fn pipe_capacity() {
    let (reader, writer) = make_pipe(libc::O_NONBLOCK);
    println!("{:?}", system::fcntl(reader, libc::F_GETPIPE_SZ, 0));
    println!(
        "{:?} {:?}",
        system::fcntl(reader, libc::F_SETPIPE_SZ, 5000),
        system::fcntl(writer, libc::F_GETPIPE_SZ, 0)
    );
    let _ = write(writer, 8192);
    println!(
        "{:?} {:?}",
        system::fcntl(reader, libc::F_SETPIPE_SZ, 4096),
        system::fcntl(reader, libc::F_SETPIPE_SZ, 1 << 20)
    );
}

fn pipe_packets() {
    let (reader, writer) = make_pipe(libc::O_DIRECT);
    let _ = write(writer, 10);
    let _ = write(writer, 20);
    println!("{:?} {:?}", read(reader, 100), read(reader, 5));
    let _ = write(writer, 3);
    println!("{:?}", read(reader, 100));
}

fn many_writers() {
    let (reader, writer) = make_pipe(0);
    for index in 0..4u8 {
        system::fork(|| {
            let bytes = [b'a' + index; 1000];
            for _ in 0..50 {
                let _ = system::write(writer, &bytes);
            }
            0
        });
    }
    let _ = system::close(writer);
    let mut counts = [0usize; 4];
    let mut all = Vec::new();
    let mut buffer = [0u8; 4096];
    while let Ok(count @ 1..) = system::read(reader, &mut buffer) {
        all.extend_from_slice(&buffer[..count as usize]);
    }
    all.iter().for_each(|byte| counts[usize::from(byte - b'a')] += 1);
    println!("{counts:?} whole {}", all.chunks(1000).all(|chunk| chunk.iter().all(|byte| *byte == chunk[0])));
    system::wait_for_all();
}

fn fifo() {
    let name = c"/tmp/conformance-fifo";
    let _ = system::unlink(name);
    println!("{:?}", system::mkfifo(name, 0o600));
    println!(
        "{}",
        in_child(|| {
            system::fork(|| {
                let _ = write(open(name, libc::O_WRONLY), 7);
                0
            });
            let reader = open(name, libc::O_RDONLY);
            println!("{:?}", read(reader, 7));
            let _ = system::wait();
            println!("{:?}", read(reader, 7));
            0
        })
    );
    println!("{:?}", system::open(name, libc::O_WRONLY | libc::O_NONBLOCK, 0));
    let both = open(name, libc::O_RDWR);
    println!("{:?} {:?}", write(both, 3), read(both, 3));
    let _ = system::unlink(name);
}

fn open(name: &CStr, flags: i32) -> i32 {
    system::open(name, flags, 0o600).unwrap_or(-1)
}

fn polled(descriptor: i32, events: i16) -> String {
    let mut entry = [system::pollfd(descriptor, events)];
    format!("{:?} {:#x}", system::poll(&mut entry, 0), entry[0].revents)
}

fn poll() {
    let (reader, writer) = make_pipe(libc::O_NONBLOCK);
    println!("{} / {}", polled(reader, libc::POLLIN), polled(writer, libc::POLLOUT));
    let _ = write(writer, 1);
    println!("{} / {}", polled(reader, libc::POLLIN | libc::POLLRDNORM), polled(reader, 0));
    while write(writer, 4096).is_ok() {}
    println!("{}", polled(writer, libc::POLLOUT));
    let _ = system::close(writer);
    println!("{}", polled(reader, libc::POLLIN));
    let (reader, writer) = make_pipe(0);
    let _ = system::close(reader);
    println!("{}", polled(writer, libc::POLLOUT));
    println!("{} / {}", polled(99, libc::POLLIN), polled(-1, libc::POLLIN));
    let file = open(c"/proc/self/exe", libc::O_RDONLY);
    println!("{}", polled(file, libc::POLLIN | libc::POLLOUT));
    println!("{:?} {:?}", raw!(libc::SYS_ppoll, 8, 1, 0, 0, 8), raw!(libc::SYS_ppoll, 0, 0xffff_ffffu32, 0, 0, 8));
}

fn select() {
    let (reader, writer) = make_pipe(0);
    let _ = write(writer, 1);
    let (mut readers, mut writers) = (DescriptorSet::of(&[reader]), DescriptorSet::of(&[writer]));
    println!(
        "{:?} {} {}",
        system::select(writer + 1, Some(&mut readers), Some(&mut writers), None),
        readers.contains(reader),
        writers.contains(writer)
    );
    let _ = read(reader, 1);
    let mut time = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
    println!(
        "{:?} {}",
        system::select(writer + 1, Some(&mut readers), None, Some(&mut time)),
        readers.contains(reader)
    );
    readers.insert(50);
    println!(
        "{:?} {:?}",
        system::select(51, Some(&mut readers), None, None),
        system::select(-1, None, None, Some(&mut time))
    );
    time.tv_usec = -1;
    println!("{:?}", system::select(0, None, None, Some(&mut time)));
}

fn epoll_wait(descriptor: i32) -> Vec<(u64, u32)> {
    let mut events = system::no_events::<8>();
    let count = system::epoll_wait(descriptor, &mut events, 0).map_or(0, i32::unsigned_abs) as usize;
    let mut ready: Vec<_> = events.iter().take(count).map(|event| (event.u64, event.events)).collect();
    ready.sort_unstable();
    ready
}

fn control(descriptor: i32, operation: i32, target: i32, events: u32, data: u64) -> Result<i32, Errno> {
    let mut event = libc::epoll_event { events, u64: data };
    system::epoll_ctl(descriptor, operation, target, &mut event)
}

fn epoll() {
    let (reader, writer) = make_pipe(libc::O_NONBLOCK);
    let descriptor = system::epoll_create1(libc::EPOLL_CLOEXEC).unwrap_or(-1);
    println!(
        "{:?} {:?}",
        control(descriptor, libc::EPOLL_CTL_ADD, reader, libc::EPOLLIN as u32, 1),
        control(descriptor, libc::EPOLL_CTL_ADD, writer, libc::EPOLLOUT as u32, 2)
    );
    println!("{:?}", epoll_wait(descriptor));
    let _ = write(writer, 3);
    println!("{:?} {:?}", epoll_wait(descriptor), epoll_wait(descriptor));
    println!(
        "{:?} {:?} {:?}",
        control(descriptor, libc::EPOLL_CTL_MOD, reader, (libc::EPOLLIN | libc::EPOLLET) as u32, 3),
        epoll_wait(descriptor),
        epoll_wait(descriptor)
    );
    let _ = write(writer, 1);
    println!("edge again {:?} {:?}", epoll_wait(descriptor), epoll_wait(descriptor));
    println!(
        "{:?} {:?} {:?}",
        control(descriptor, libc::EPOLL_CTL_MOD, reader, (libc::EPOLLIN | libc::EPOLLONESHOT) as u32, 4),
        epoll_wait(descriptor),
        epoll_wait(descriptor)
    );
    println!("{:?} {:?}", control(descriptor, libc::EPOLL_CTL_DEL, writer, 0, 0), epoll_wait(descriptor));
    let _ = system::close(writer);
    let _ = control(descriptor, libc::EPOLL_CTL_MOD, reader, libc::EPOLLIN as u32, 5);
    println!("{:?}", epoll_wait(descriptor));
    let mut events = system::no_events::<1>();
    let _ = control(descriptor, libc::EPOLL_CTL_DEL, reader, 0, 0);
    println!("{:?}", system::epoll_wait(descriptor, &mut events, 30));
}

fn epoll_errors() {
    let descriptor = system::epoll_create1(0).unwrap_or(-1);
    let (reader, _) = make_pipe(0);
    println!(
        "{:?} {:?}",
        control(descriptor, libc::EPOLL_CTL_ADD, 99, 1, 0),
        control(descriptor, libc::EPOLL_CTL_ADD, descriptor, 1, 0)
    );
    println!(
        "{:?} {:?} {:?}",
        control(descriptor, libc::EPOLL_CTL_ADD, reader, 1, 0),
        control(descriptor, libc::EPOLL_CTL_ADD, reader, 1, 0),
        control(descriptor, 9, reader, 1, 0)
    );
    println!(
        "{:?} {:?}",
        control(descriptor, libc::EPOLL_CTL_DEL, descriptor, 0, 0),
        control(reader, libc::EPOLL_CTL_ADD, descriptor, 1, 0)
    );
    let file = open(c"/proc/self/exe", libc::O_RDONLY);
    println!("{:?}", control(descriptor, libc::EPOLL_CTL_ADD, file, 1, 0));
    let mut events = system::no_events::<1>();
    println!("{:?} {:?}", system::epoll_wait(descriptor, &mut [], 0), system::epoll_wait(reader, &mut events, 0));
    println!("{:?} {:?}", system::epoll_create(0), system::epoll_create1(77));
    let other = system::epoll_create1(0).unwrap_or(-1);
    println!(
        "{:?} {:?}",
        control(descriptor, libc::EPOLL_CTL_ADD, other, 1, 0),
        control(other, libc::EPOLL_CTL_ADD, descriptor, 1, 0)
    );
}

fn eventfd() {
    let descriptor = system::eventfd(3, libc::EFD_NONBLOCK).unwrap_or(-1);
    let mut value = 0u64;
    let outcome = raw!(libc::SYS_read, descriptor, &mut value, 8);
    println!("{outcome:?} {value}");
    println!("{:?}", raw!(libc::SYS_read, descriptor, &mut value, 8));
    value = 5;
    println!(
        "{:?} {:?} {}",
        raw!(libc::SYS_write, descriptor, &value, 8),
        raw!(libc::SYS_write, descriptor, &value, 4),
        polled(descriptor, libc::POLLIN | libc::POLLOUT)
    );
    value = u64::MAX - 1;
    println!("{:?}", raw!(libc::SYS_write, descriptor, &value, 8));
    value = u64::MAX;
    println!("{:?}", raw!(libc::SYS_write, descriptor, &value, 8));
    let semaphore = system::eventfd(2, libc::EFD_NONBLOCK | libc::EFD_SEMAPHORE).unwrap_or(-1);
    for _ in 0..3 {
        let outcome = raw!(libc::SYS_read, semaphore, &mut value, 8);
        println!("{outcome:?} {value}");
    }
    println!("{:?}", system::eventfd(0, 0x7777));
}

fn splice() {
    let (reader, writer) = make_pipe(0);
    let (second_reader, second_writer) = make_pipe(0);
    let _ = write(writer, 10);
    println!("{:?} {:?}", system::tee(reader, second_writer, 6, 0), read(second_reader, 100));
    println!("{:?} {:?}", system::splice(reader, None, second_writer, None, 4, 0), read(second_reader, 100));
    let file = open(c"/tmp/conformance-splice", libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC);
    let _ = system::unlink(c"/tmp/conformance-splice");
    println!("{:?} {:?}", system::splice(reader, None, file, None, 100, 0), system::lseek(file, 0, libc::SEEK_END));
    let mut offset = 2i64;
    let outcome = system::splice(file, Some(&mut offset), writer, None, 3, 0);
    println!("{outcome:?} {offset}");
    println!("{:?} {:?}", read(reader, 100), system::splice(file, None, file, None, 3, 0));
    println!("{:?}", system::splice(reader, Some(&mut offset), file, None, 3, 0));
}

fn wakes_on_close() {
    let (reader, writer) = make_pipe(0);
    system::fork(|| {
        let _ = system::close(reader);
        let _ = system::usleep(50_000);
        0
    });
    let _ = system::close(writer);
    let mut entry = [system::pollfd(reader, libc::POLLIN)];
    println!("{:?} {:#x}", system::poll(&mut entry, 10_000), entry[0].revents);
    let _ = system::wait();
}

fn ppoll_mask() {
    system::catch(libc::SIGUSR1, system::nothing);
    system::block(&[libc::SIGUSR1]);
    let _ = system::raise(libc::SIGUSR1);
    let empty = SignalSet::of(&[]);
    let time = libc::timespec { tv_sec: 5, tv_nsec: 0 };
    println!("{:?}", system::ppoll(&mut [], &time, &empty));
    println!("{:?}", raw!(libc::SYS_ppoll, 0, 0, &time, empty.raw(), 9));
}

fn closed_in_epoll() {
    let descriptor = system::epoll_create1(0).unwrap_or(-1);
    let (reader, writer) = make_pipe(0);
    let copy = system::dup(reader).unwrap_or(-1);
    let _ = control(descriptor, libc::EPOLL_CTL_ADD, reader, libc::EPOLLIN as u32, 1);
    let _ = write(writer, 1);
    let _ = system::close(reader);
    println!("{:?}", epoll_wait(descriptor));
    let _ = system::close(copy);
    println!("{:?}", epoll_wait(descriptor));
}
