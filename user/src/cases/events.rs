//! Pipes, polling, event descriptors.

use crate::runner::{Case, in_child};
use crate::{call, raw};

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
    let mut ends = [0; 2];
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), flags) }, 0);
    (ends[0], ends[1])
}

fn write(descriptor: i32, length: usize) -> crate::Outcome {
    let bytes = vec![b'x'; length];
    call!(write(descriptor, bytes.as_ptr().cast(), length))
}

fn read(descriptor: i32, length: usize) -> crate::Outcome {
    let mut bytes = vec![0u8; length];
    call!(read(descriptor, bytes.as_mut_ptr().cast(), length))
}

fn pipe() {
    let (reader, writer) = make_pipe(0);
    println!("{:?} {:?} {:?}", write(writer, 100), read(reader, 60), read(reader, 60));
    println!("{:?} {:?} {:?}", write(reader, 1), read(writer, 1), call!(lseek(reader, 0, 0)));
    let _ = write(writer, 5);
    let mut waiting = 0i32;
    println!("{:?} {waiting}", {
        let outcome = call!(ioctl(reader, libc::FIONREAD, &raw mut waiting));
        outcome
    });
    let _ = call!(close(writer));
    println!("{:?} {:?}", read(reader, 10), read(reader, 10));
    println!("{:?} {:?}", raw!(libc::SYS_pipe2, 8, 0), raw!(libc::SYS_pipe2, &[0i32; 2], 0x1234));
    let (reader, writer) = make_pipe(0);
    let child = unsafe { libc::fork() };
    if child == 0 {
        let _ = write(writer, 200_000);
        unsafe { libc::_exit(0) };
    }
    let _ = call!(close(writer));
    let mut total = 0;
    while let Ok(count @ 1..) = read(reader, 70_000) {
        total += count;
    }
    println!("{total}");
    let _ = unsafe { libc::wait(std::ptr::null_mut()) };
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
    println!("{:?}", call!(fcntl(reader, libc::F_GETPIPE_SZ)));
    println!("{:?} {:?}", call!(fcntl(reader, libc::F_SETPIPE_SZ, 5000)), call!(fcntl(writer, libc::F_GETPIPE_SZ)));
    let _ = write(writer, 8192);
    println!(
        "{:?} {:?}",
        call!(fcntl(reader, libc::F_SETPIPE_SZ, 4096)),
        call!(fcntl(reader, libc::F_SETPIPE_SZ, 1 << 20))
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
        if unsafe { libc::fork() } == 0 {
            let bytes = [b'a' + index; 1000];
            for _ in 0..50 {
                unsafe { libc::write(writer, bytes.as_ptr().cast(), 1000) };
            }
            unsafe { libc::_exit(0) };
        }
    }
    let _ = call!(close(writer));
    let mut counts = [0usize; 4];
    let mut all = Vec::new();
    let mut buffer = [0u8; 4096];
    while let Ok(count @ 1..) = call!(read(reader, buffer.as_mut_ptr().cast(), 4096)) {
        all.extend_from_slice(&buffer[..count as usize]);
    }
    all.iter().for_each(|byte| counts[usize::from(byte - b'a')] += 1);
    println!("{counts:?} whole {}", all.chunks(1000).all(|chunk| chunk.iter().all(|byte| *byte == chunk[0])));
    while unsafe { libc::wait(std::ptr::null_mut()) } > 0 {}
}

fn fifo() {
    let name = c"/tmp/conformance-fifo";
    let _ = call!(unlink(name.as_ptr()));
    println!("{:?}", call!(mkfifo(name.as_ptr(), 0o600)));
    println!(
        "{}",
        in_child(|| {
            if unsafe { libc::fork() } == 0 {
                let writer = unsafe { libc::open(name.as_ptr(), libc::O_WRONLY) };
                let _ = write(writer, 7);
                unsafe { libc::_exit(0) };
            }
            let reader = unsafe { libc::open(name.as_ptr(), libc::O_RDONLY) };
            println!("{:?}", read(reader, 7));
            let _ = unsafe { libc::wait(std::ptr::null_mut()) };
            println!("{:?}", read(reader, 7));
            0
        })
    );
    println!("{:?}", call!(open(name.as_ptr(), libc::O_WRONLY | libc::O_NONBLOCK)));
    let both = unsafe { libc::open(name.as_ptr(), libc::O_RDWR) };
    println!("{:?} {:?}", write(both, 3), read(both, 3));
    let _ = call!(unlink(name.as_ptr()));
}

fn polled(descriptor: i32, events: i16) -> String {
    let mut entry = libc::pollfd { fd: descriptor, events, revents: 0 };
    format!("{:?} {:#x}", call!(poll(&mut entry, 1, 0)), entry.revents)
}

fn poll() {
    let (reader, writer) = make_pipe(libc::O_NONBLOCK);
    println!("{} / {}", polled(reader, libc::POLLIN), polled(writer, libc::POLLOUT));
    let _ = write(writer, 1);
    println!("{} / {}", polled(reader, libc::POLLIN | libc::POLLRDNORM), polled(reader, 0));
    while write(writer, 4096).is_ok() {}
    println!("{}", polled(writer, libc::POLLOUT));
    let _ = call!(close(writer));
    println!("{}", polled(reader, libc::POLLIN));
    let (reader, writer) = make_pipe(0);
    let _ = call!(close(reader));
    println!("{}", polled(writer, libc::POLLOUT));
    println!("{} / {}", polled(99, libc::POLLIN), polled(-1, libc::POLLIN));
    let file = unsafe { libc::open(c"/proc/self/exe".as_ptr(), libc::O_RDONLY) };
    println!("{}", polled(file, libc::POLLIN | libc::POLLOUT));
    println!("{:?} {:?}", raw!(libc::SYS_ppoll, 8, 1, 0, 0, 8), raw!(libc::SYS_ppoll, 0, 0xffff_ffffu32, 0, 0, 8));
}

fn select() {
    let (reader, writer) = make_pipe(0);
    let _ = write(writer, 1);
    unsafe {
        let mut readers: libc::fd_set = std::mem::zeroed();
        let mut writers: libc::fd_set = std::mem::zeroed();
        libc::FD_SET(reader, &mut readers);
        libc::FD_SET(writer, &mut writers);
        println!(
            "{:?} {} {}",
            call!(select(writer + 1, &mut readers, &mut writers, std::ptr::null_mut(), std::ptr::null_mut())),
            libc::FD_ISSET(reader, &readers),
            libc::FD_ISSET(writer, &writers)
        );
        let _ = read(reader, 1);
        let mut time = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
        println!(
            "{:?} {}",
            call!(select(writer + 1, &mut readers, std::ptr::null_mut(), std::ptr::null_mut(), &mut time)),
            libc::FD_ISSET(reader, &readers)
        );
        libc::FD_SET(50, &mut readers);
        println!(
            "{:?} {:?}",
            call!(select(51, &mut readers, std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut())),
            call!(select(-1, std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut(), &mut time))
        );
        time.tv_usec = -1;
        println!("{:?}", call!(select(0, std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut(), &mut time)));
    }
}

fn epoll_wait(descriptor: i32) -> Vec<(u64, u32)> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
    let count = unsafe { libc::epoll_wait(descriptor, events.as_mut_ptr(), 8, 0) }.max(0) as usize;
    let mut ready: Vec<_> = events[..count].iter().map(|event| (event.u64, event.events)).collect();
    ready.sort_unstable();
    ready
}

fn control(descriptor: i32, operation: i32, target: i32, events: u32, data: u64) -> crate::Outcome {
    let mut event = libc::epoll_event { events, u64: data };
    call!(epoll_ctl(descriptor, operation, target, &mut event))
}

fn epoll() {
    let (reader, writer) = make_pipe(libc::O_NONBLOCK);
    let descriptor = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
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
    let _ = call!(close(writer));
    let _ = control(descriptor, libc::EPOLL_CTL_MOD, reader, libc::EPOLLIN as u32, 5);
    println!("{:?}", epoll_wait(descriptor));
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 1];
    let _ = control(descriptor, libc::EPOLL_CTL_DEL, reader, 0, 0);
    println!("{:?}", call!(epoll_wait(descriptor, events.as_mut_ptr(), 1, 30)));
}

fn epoll_errors() {
    let descriptor = unsafe { libc::epoll_create1(0) };
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
    let file = unsafe { libc::open(c"/proc/self/exe".as_ptr(), libc::O_RDONLY) };
    println!("{:?}", control(descriptor, libc::EPOLL_CTL_ADD, file, 1, 0));
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 1];
    println!(
        "{:?} {:?}",
        call!(epoll_wait(descriptor, events.as_mut_ptr(), 0, 0)),
        call!(epoll_wait(reader, events.as_mut_ptr(), 1, 0))
    );
    println!("{:?} {:?}", call!(epoll_create(0)), call!(epoll_create1(77)));
    let other = unsafe { libc::epoll_create1(0) };
    println!(
        "{:?} {:?}",
        control(descriptor, libc::EPOLL_CTL_ADD, other, 1, 0),
        control(other, libc::EPOLL_CTL_ADD, descriptor, 1, 0)
    );
}

fn eventfd() {
    let descriptor = unsafe { libc::eventfd(3, libc::EFD_NONBLOCK) };
    let mut value = 0u64;
    println!("{:?} {value}", {
        let outcome = call!(read(descriptor, (&raw mut value).cast(), 8));
        outcome
    });
    println!("{:?}", call!(read(descriptor, (&raw mut value).cast(), 8)));
    value = 5;
    println!(
        "{:?} {:?} {}",
        call!(write(descriptor, (&raw const value).cast(), 8)),
        call!(write(descriptor, (&raw const value).cast(), 4)),
        polled(descriptor, libc::POLLIN | libc::POLLOUT)
    );
    value = u64::MAX - 1;
    println!("{:?}", call!(write(descriptor, (&raw const value).cast(), 8)));
    value = u64::MAX;
    println!("{:?}", call!(write(descriptor, (&raw const value).cast(), 8)));
    let semaphore = unsafe { libc::eventfd(2, libc::EFD_NONBLOCK | libc::EFD_SEMAPHORE) };
    for _ in 0..3 {
        println!("{:?} {value}", {
            let outcome = call!(read(semaphore, (&raw mut value).cast(), 8));
            outcome
        });
    }
    println!("{:?}", call!(eventfd(0, 0x7777)));
}

fn splice() {
    let (reader, writer) = make_pipe(0);
    let (second_reader, second_writer) = make_pipe(0);
    let _ = write(writer, 10);
    println!("{:?} {:?}", call!(tee(reader, second_writer, 6, 0)), read(second_reader, 100));
    println!(
        "{:?} {:?}",
        call!(splice(reader, std::ptr::null_mut(), second_writer, std::ptr::null_mut(), 4, 0)),
        read(second_reader, 100)
    );
    let file =
        unsafe { libc::open(c"/tmp/conformance-splice".as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC, 0o600) };
    let _ = call!(unlink(c"/tmp/conformance-splice".as_ptr()));
    println!(
        "{:?} {:?}",
        call!(splice(reader, std::ptr::null_mut(), file, std::ptr::null_mut(), 100, 0)),
        call!(lseek(file, 0, libc::SEEK_END))
    );
    let mut offset = 2i64;
    println!("{:?} {offset}", {
        let outcome = call!(splice(file, &mut offset, writer, std::ptr::null_mut(), 3, 0));
        outcome
    });
    println!(
        "{:?} {:?}",
        read(reader, 100),
        call!(splice(file, std::ptr::null_mut(), file, std::ptr::null_mut(), 3, 0))
    );
    println!("{:?}", call!(splice(reader, &mut offset, file, std::ptr::null_mut(), 3, 0)));
}

fn wakes_on_close() {
    let (reader, writer) = make_pipe(0);
    let child = unsafe { libc::fork() };
    if child == 0 {
        unsafe {
            libc::close(reader);
            libc::usleep(50_000);
            libc::_exit(0)
        };
    }
    let _ = call!(close(writer));
    let mut entry = libc::pollfd { fd: reader, events: libc::POLLIN, revents: 0 };
    println!("{:?} {:#x}", call!(poll(&mut entry, 1, 10_000)), entry.revents);
    let _ = unsafe { libc::wait(std::ptr::null_mut()) };
}

fn ppoll_mask() {
    extern "C" fn nothing(_signal: i32) {}
    unsafe {
        libc::signal(libc::SIGUSR1, nothing as *const () as usize);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&mut set, libc::SIGUSR1);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        libc::raise(libc::SIGUSR1);
        let empty: libc::sigset_t = std::mem::zeroed();
        let time = libc::timespec { tv_sec: 5, tv_nsec: 0 };
        println!("{:?}", call!(ppoll(std::ptr::null_mut(), 0, &time, &empty)));
        println!("{:?}", raw!(libc::SYS_ppoll, 0, 0, &raw const time, &raw const empty, 9));
    }
}

fn closed_in_epoll() {
    let descriptor = unsafe { libc::epoll_create1(0) };
    let (reader, writer) = make_pipe(0);
    let copy = unsafe { libc::dup(reader) };
    let _ = control(descriptor, libc::EPOLL_CTL_ADD, reader, libc::EPOLLIN as u32, 1);
    let _ = write(writer, 1);
    let _ = call!(close(reader));
    println!("{:?}", epoll_wait(descriptor));
    let _ = call!(close(copy));
    println!("{:?}", epoll_wait(descriptor));
}
