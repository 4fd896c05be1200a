//! Pipes and FIFOs as threads use them.

use super::*;

fn read(file: &OpenFile, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let count = file.read(&mut IoDestination::kernel(&mut bytes))?;
    bytes.truncate(count);
    Ok(bytes)
}

fn write(file: &OpenFile, bytes: &[u8]) -> Result<usize> {
    file.write(&mut IoSource::kernel(bytes))
}

fn poll(file: &OpenFile) -> PollEvents {
    file.operations().poll(file, &mut PollTable::asking())
}

#[test]
fn bytes_go_through_and_the_end_is_seen() {
    let (reader, writer) = create(0, 0, OpenFlags::empty());
    assert_eq!(write(&writer, b"hello"), Ok(5));
    assert_eq!(read(&reader, 100), Ok(b"hello".to_vec()));
    assert_eq!(read(&writer, 1), Err(Errno::EBADF));
    assert_eq!(write(&reader, b"x"), Err(Errno::EBADF));
    drop(writer);
    assert_eq!(read(&reader, 100), Ok(vec![]));
}

#[test]
fn without_readers_writing_fails() {
    let (reader, writer) = create(0, 0, OpenFlags::empty());
    drop(reader);
    assert_eq!(write(&writer, b"hello"), Err(Errno::EPIPE));
}

#[test]
fn non_blocking_ends_do_not_wait() {
    let (reader, writer) = create(0, 0, OpenFlags::NON_BLOCKING);
    assert_eq!(read(&reader, 1), Err(Errno::EAGAIN));
    assert_eq!(write(&writer, &vec![0; 100_000]), Ok(65536));
    assert_eq!(write(&writer, b"x"), Err(Errno::EAGAIN));
    assert_eq!(read(&reader, 4095), Ok(vec![0; 4095]));
    // A slot is free only when its page is empty.
    assert_eq!(write(&writer, b"x"), Err(Errno::EAGAIN));
    assert_eq!(read(&reader, 1), Ok(vec![0]));
    assert_eq!(write(&writer, b"x"), Ok(1));
}

#[test]
fn poll_tells_what_is_possible() {
    let (reader, writer) = create(0, 0, OpenFlags::NON_BLOCKING);
    assert_eq!(poll(&reader), PollEvents::empty());
    assert_eq!(poll(&writer), PollEvents::WRITABLE);
    write(&writer, &vec![0; 65536]).unwrap();
    assert_eq!(poll(&reader), PollEvents::READABLE);
    assert_eq!(poll(&writer), PollEvents::empty());
    drop(writer);
    assert_eq!(poll(&reader), PollEvents::READABLE | PollEvents::HUP);
    let (reader, writer) = create(0, 0, OpenFlags::empty());
    drop(reader);
    assert_eq!(poll(&writer), PollEvents::WRITABLE | PollEvents::ERR);
}

#[test]
fn the_size_is_rounded_up_and_holds_what_is_there() {
    let (_reader, writer) = create(0, 0, OpenFlags::NON_BLOCKING);
    assert_eq!(writer.operations().pipe_size(), Ok(65536));
    assert_eq!(writer.operations().set_pipe_size(5000), Ok(8192));
    write(&writer, &[0; 8192]).unwrap();
    assert_eq!(writer.operations().set_pipe_size(4096), Err(Errno::EBUSY));
    assert_eq!(writer.operations().set_pipe_size(1 << 21), Err(Errno::EPERM));
    assert_eq!(writer.operations().set_pipe_size(0), Err(Errno::EBUSY));
}

#[test]
fn a_long_write_and_its_reader_take_turns() {
    let (reader, writer) = create(0, 0, OpenFlags::empty());
    let bytes: Vec<u8> = (0..300_000u32).map(|number| (number % 251) as u8).collect();
    let expected = bytes.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            assert_eq!(write(&writer, &bytes), Ok(300_000));
        });
        let mut got = Vec::new();
        loop {
            let piece = read(&reader, 7000).unwrap();
            if piece.is_empty() {
                break;
            }
            got.extend(piece);
        }
        assert!(got == expected);
    });
}

#[test]
fn a_partner_that_has_left_again_was_there() {
    let pipe = Arc::new(Pipe::new(0, 0));
    for (mine, other) in [(Sides::READ, OpenFlags::WRITE_ONLY), (Sides::WRITE, OpenFlags::empty())] {
        let (end, partners) = PipeEnd::open(&pipe, mine);
        // It runs as soon as it is woken, and is gone before the first one goes on.
        drop(fifo::open(&pipe, other).unwrap());
        fifo::wait_for_partner(&pipe, mine, partners).unwrap();
        drop(end);
    }
}

#[test]
fn a_fifo_opens_when_both_sides_are_there() {
    let pipe = Arc::new(Pipe::new(0, 0));
    assert_eq!(fifo::open(&pipe, OpenFlags::WRITE_ONLY | OpenFlags::NON_BLOCKING).err(), Some(Errno::ENXIO));
    let early = fifo::open(&pipe, OpenFlags::NON_BLOCKING).unwrap();
    let file = OpenFile::anonymous(Arc::new(early), OpenFlags::NON_BLOCKING);
    // No writer has come yet: the end of the file, but no hang-up.
    assert_eq!((poll(&file), read(&file, 1)), (PollEvents::empty(), Ok(vec![])));
    let late = fifo::open(&pipe, OpenFlags::WRITE_ONLY | OpenFlags::NON_BLOCKING).unwrap();
    drop(late);
    assert_eq!(poll(&file), PollEvents::HUP);
    drop(file);
    let both = fifo::open(&pipe, OpenFlags::READ_WRITE).unwrap();
    drop(both);
    std::thread::scope(|scope| {
        scope.spawn(|| fifo::open(&pipe, OpenFlags::WRITE_ONLY).unwrap());
        fifo::open(&pipe, OpenFlags::empty()).unwrap();
    });
}
