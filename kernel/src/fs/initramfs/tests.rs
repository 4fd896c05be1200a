use super::*;
use crate::base::Errno;
use crate::fs::testing::World;
use proptest::prelude::*;

/// One entry of an archive, with every field free.
struct Entry<'a> {
    name: &'a str,
    mode: u32,
    number: u32,
    links: u32,
    data: &'a [u8],
    device: (u32, u32),
}

const PLAIN: Entry<'static> = Entry { name: "", mode: 0o100_644, number: 1, links: 1, data: b"", device: (0, 0) };

fn header(entry: &Entry<'_>, size: u32, name_size: u32) -> Vec<u8> {
    let fields =
        [entry.number, entry.mode, 7, 8, entry.links, 1000, size, 0, 0, entry.device.0, entry.device.1, name_size, 0];
    // The order in the archive: inode, mode, uid, gid, nlink, mtime.
    let text: String = fields.iter().map(|field| format!("{field:08x}")).collect();
    format!("070701{text}").into_bytes()
}

fn entry(archive: &mut Vec<u8>, entry: &Entry<'_>) {
    let start = archive.len();
    archive.extend(header(entry, entry.data.len() as u32, entry.name.len() as u32 + 1));
    archive.extend(entry.name.as_bytes());
    archive.push(0);
    while !(archive.len() - start).is_multiple_of(4) {
        archive.push(0);
    }
    archive.extend(entry.data);
    while !(archive.len() - start).is_multiple_of(4) {
        archive.push(0);
    }
}

fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for one in entries {
        entry(&mut bytes, one);
    }
    entry(&mut bytes, &Entry { name: "TRAILER!!!", mode: 0, ..PLAIN });
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
    packed.extend(b"name\0");
    packed.extend(miniz_oxide::deflate::compress_to_vec(bytes, 6));
    packed.extend([0; 8]);
    packed
}

fn sample() -> Vec<u8> {
    let large = vec![0xab; 10_000];
    archive(&[
        Entry { name: "bin", mode: 0o040_755, ..PLAIN },
        Entry { name: "bin/a", data: &large, ..PLAIN },
        Entry { name: "bin/link", mode: 0o120_777, data: b"a", ..PLAIN },
        Entry { name: "hard1", number: 9, links: 2, ..PLAIN },
        Entry { name: "hard2", number: 9, links: 2, data: b"shared", ..PLAIN },
        Entry { name: "null", mode: 0o020_666, device: (1, 3), ..PLAIN },
        Entry { name: "fifo", mode: 0o010_600, ..PLAIN },
        Entry { name: "no/such/directory", data: b"lost", ..PLAIN },
        Entry { name: "last", data: b"end", ..PLAIN },
    ])
}

fn check_sample(world: &World) {
    assert_eq!(world.read("/bin/link").unwrap(), vec![0xab; 10_000]);
    assert_eq!(world.read("/hard1").unwrap(), b"shared");
    assert_eq!(world.resolve("/hard2").unwrap().inode().header().links(), 2);
    assert_eq!(world.resolve("/null").unwrap().inode().metadata().device_id, DeviceNumber::new(1, 3));
    assert_eq!(world.read("/last").unwrap(), b"end");
    let metadata = world.resolve("/bin").unwrap().inode().metadata();
    assert_eq!((metadata.uid, metadata.gid, metadata.mode), (7, 8, 0o040_755));
    assert_eq!(metadata.modified.split().0, 1000);
    assert_eq!(world.resolve("/bin/a").unwrap().inode().metadata().modified.split().0, 1000);
    assert_eq!(world.canonical("/no"), Err(Errno::ENOENT));
}

#[test]
fn plain_and_compressed_archives_are_unpacked() {
    for image in [sample(), gzip(&sample())] {
        let world = World::new();
        let outcome = unpack(&image, &world.context);
        assert_eq!(outcome, Outcome { failure: None, entries: 8 });
        check_sample(&world);
    }
}

#[test]
fn archives_in_a_row_add_to_and_replace_each_other() {
    let world = World::new();
    let mut image = sample();
    image.extend(gzip(&archive(&[Entry { name: "last", data: b"new", ..PLAIN }])));
    image.extend([0; 4096]);
    image.resize(image.len().next_multiple_of(4), 0);
    image.extend(archive(&[Entry { name: "more", data: b"more", ..PLAIN }]));
    assert_eq!(unpack(&image, &world.context).failure, None);
    assert_eq!(world.read("/last").unwrap(), b"new");
    assert_eq!(world.read("/more").unwrap(), b"more");
}

#[test]
fn damage_is_named_as_linux_names_it_and_what_came_before_stays() {
    let good = sample();
    for (image, failure) in [
        (b"garbage".to_vec(), "invalid magic at start of compressed archive"),
        (b"0707070000".repeat(20), "incorrect cpio method used: use -H newc option"),
        (b"0707010000".to_vec(), "unexpected end of archive"),
        ([0xfd, 0x37, 0x7a].to_vec(), "compression method not configured"),
        ([0x1f, 0x8b, 9, 0, 0, 0, 0, 0, 0, 0, 0].to_vec(), "Not a gzip file"),
        (gzip(&good)[..200].to_vec(), "uncompression error"),
        (gzip(&good[..5000]), "junk at the end of compressed archive"),
        (good[..5000].to_vec(), "unexpected end of archive"),
    ] {
        let world = World::new();
        assert_eq!(unpack(&image, &world.context).failure, Some(failure));
    }
    let world = World::new();
    let mut damaged = good.clone();
    let at = damaged.windows(6).rposition(|window| window == b"070701").unwrap();
    damaged[at] = b'x';
    assert_eq!(unpack(&damaged, &world.context).failure, Some("no cpio magic"));
    check_sample(&world);
    let cut = World::new();
    let _ = unpack(&good[..5000], &cut.context);
    let size = cut.resolve("/bin/a").unwrap().inode().size();
    assert_eq!(size, 10_000);
}

#[test]
fn sizes_near_the_end_of_their_field_do_no_harm() {
    for (size, name_size) in
        [(u32::MAX, 2), (u32::MAX - 3, u32::MAX), (0, u32::MAX), (5, 0), (u32::MAX, 0), (1, 4097), (0x8000_0000, 2)]
    {
        for mode in [0o100_644, 0o120_777, 0o040_755, 0o020_666, 0, u32::MAX] {
            let world = World::new();
            let mut image = header(&Entry { mode, ..PLAIN }, size, name_size);
            image.extend(b"f\0");
            image.extend([0x41; 300]);
            let outcome = unpack(&image, &world.context);
            assert!(outcome.failure.is_some(), "{size:x} {name_size:x} {mode:o}");
            let _ = unpack(&gzip(&image), &world.context);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn damaged_anywhere_it_ends_quietly(
        damage in proptest::collection::vec((0usize..11_500, any::<u8>()), 1..20),
        cut in 0usize..12_000,
        packed in any::<bool>(),
    ) {
        let mut image = sample();
        for (at, byte) in damage {
            if let Some(place) = image.get_mut(at) {
                *place = byte;
            }
        }
        image.truncate(cut);
        let image = if packed { gzip(&image) } else { image };
        let world = World::new();
        let _ = unpack(&image, &world.context);
    }
}

#[test]
fn contents_longer_than_the_window_come_through_whole() {
    let mut state = 1u64;
    let data: Vec<u8> = (0..300_000u32)
        .map(|index| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if index % 1000 < 500 { (state >> 56) as u8 } else { b'a' }
        })
        .collect();
    let image = archive(&[Entry { name: "f", data: &data, ..PLAIN }]);
    for image in [gzip(&image), image] {
        let world = World::new();
        assert_eq!(unpack(&image, &world.context).failure, None);
        assert!(world.read("/f").unwrap() == data);
    }
}
