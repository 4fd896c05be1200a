//! Path walks.

use crate::base::Errno;
use crate::fs::OpenFlags;
use crate::fs::testing::World;
use crate::fs::walk::{Last, LookupFlags, TrailingSlash};

fn world() -> World {
    let world = World::new();
    world.mkdir("/a", 0o755).unwrap();
    world.mkdir("/a/b", 0o755).unwrap();
    world.mkdir("/a/b/c", 0o755).unwrap();
    world.write("/a/file", b"file").unwrap();
    world.symlink("b", "/a/link").unwrap();
    world.symlink("/a/b/c", "/absolute").unwrap();
    world.symlink("../file", "/a/b/up").unwrap();
    world.symlink("missing", "/dangling").unwrap();
    world.symlink("loop2", "/loop1").unwrap();
    world.symlink("loop1", "/loop2").unwrap();
    world
}

#[test]
fn paths_lead_where_linux_says() {
    let world = world();
    for (path, expected) in [
        ("/", Ok("/")),
        ("//", Ok("/")),
        ("/..", Ok("/")),
        ("/../..//a/./b", Ok("/a/b")),
        ("/a/", Ok("/a")),
        ("/a/.", Ok("/a")),
        ("/a/b/../link/c", Ok("/a/b/c")),
        ("/a/link/", Ok("/a/b")),
        ("/absolute/..", Ok("/a/b")),
        ("/a/b/up", Ok("/a/file")),
        ("/a/b/up/", Err(Errno::ENOTDIR)),
        ("/a/file/", Err(Errno::ENOTDIR)),
        ("/a/file/.", Err(Errno::ENOTDIR)),
        ("/a/file/..", Err(Errno::ENOTDIR)),
        ("/a/file/x", Err(Errno::ENOTDIR)),
        ("/dangling", Err(Errno::ENOENT)),
        ("/loop1", Err(Errno::ELOOP)),
        ("/loop1/x", Err(Errno::ELOOP)),
        ("/missing/..", Err(Errno::ENOENT)),
        ("", Err(Errno::ENOENT)),
        ("a", Ok("/a")),
        (".", Ok("/")),
    ] {
        assert_eq!(world.canonical(path), expected.map(String::from), "{path}");
    }
    let long = format!("/{}", "n".repeat(256));
    assert_eq!(world.canonical(&long), Err(Errno::ENAMETOOLONG));
    assert_eq!(world.canonical(&long[..256]), Err(Errno::ENOENT));
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let world = World::new();
    world.write("/l0", b"").unwrap();
    for number in 1..=41 {
        world.symlink(&format!("l{}", number - 1), &format!("/l{number}")).unwrap();
    }
    assert_eq!(world.canonical("/l40"), Ok(String::from("/l0")));
    assert_eq!(world.canonical("/l41"), Err(Errno::ELOOP));
}

#[test]
fn a_root_confines_a_walk() {
    let world = world();
    let inside = world.resolve("/a/b").unwrap();
    world.context.set_root(inside.clone());
    assert_eq!(world.canonical("/c/../../../.."), Ok(String::from("/")));
    assert_eq!(world.canonical("/up"), Err(Errno::ENOENT));
    // Who is outside stays outside: `..` of the old working directory is not stopped by the new root.
    assert_eq!(world.canonical("../a/file"), Ok(String::from("/a/file")));
}

#[test]
fn openat2_confines_as_asked() {
    let world = world();
    let base = world.resolve("/a").unwrap();
    let resolve = |path: &str, flags: LookupFlags| {
        let found = world.walker().resolve(Some(&base), path.as_bytes(), flags | LookupFlags::FOLLOW)?;
        Ok(String::from_utf8(found.path_from(&world.context.root()).0).unwrap())
    };
    assert_eq!(resolve("b/../file", LookupFlags::BENEATH), Ok(String::from("/a/file")));
    assert_eq!(resolve("b/../..", LookupFlags::BENEATH), Err(Errno::EXDEV));
    assert_eq!(resolve("/a", LookupFlags::BENEATH), Err(Errno::EXDEV));
    assert_eq!(resolve("/b", LookupFlags::IN_ROOT), Ok(String::from("/a/b")));
    assert_eq!(resolve("../../b", LookupFlags::IN_ROOT), Ok(String::from("/a/b")));
    assert_eq!(resolve("link/c", LookupFlags::NO_LINKS), Err(Errno::ELOOP));
    assert_eq!(resolve("/a/b", LookupFlags::NO_LINKS), Ok(String::from("/a/b")));
}

#[test]
fn the_last_component_is_told_apart() {
    let world = world();
    let last = |path: &str| world.walker().resolve_parent(None, path.as_bytes(), LookupFlags::empty()).map(|p| p.last);
    assert!(matches!(last("/a/new/"), Ok(Last::Name(_, TrailingSlash::Present))));
    assert!(matches!(last("/a/link"), Ok(Last::Name(_, TrailingSlash::Absent))));
    assert!(matches!(last("/a/.."), Ok(Last::Directory(_))));
    assert!(matches!(last("/"), Ok(Last::Directory(_))));
}

#[test]
fn opening_treats_the_end_of_a_path_as_linux_does() {
    let world = world();
    let create = OpenFlags::CREATE | OpenFlags::READ_WRITE;
    let open = |path: &str, flags: OpenFlags| world.open(path, flags, 0o644).map(|_| ());
    assert_eq!(open("/new/", create), Err(Errno::EISDIR));
    assert_eq!(open("/a", create), Err(Errno::EISDIR));
    assert_eq!(open("/a/..", create), Err(Errno::EISDIR));
    assert_eq!(open("/a", OpenFlags::WRITE_ONLY), Err(Errno::EISDIR));
    assert_eq!(open("/a", OpenFlags::DIRECTORY), Ok(()));
    assert_eq!(open("/a/file", OpenFlags::DIRECTORY), Err(Errno::ENOTDIR));
    assert_eq!(open("/a/link", OpenFlags::NO_FOLLOW), Err(Errno::ELOOP));
    assert_eq!(open("/a/link", OpenFlags::NO_FOLLOW | OpenFlags::PATH), Ok(()));
    assert_eq!(open("/a/file", create | OpenFlags::EXCLUSIVE), Err(Errno::EEXIST));
    assert_eq!(open("/dangling", create | OpenFlags::EXCLUSIVE), Err(Errno::EEXIST));
    assert_eq!(open("/dangling", create), Ok(()));
    assert_eq!(world.canonical("/missing"), Ok(String::from("/missing")));
    assert_eq!(open("/a/b/up", create), Ok(()));
    assert_eq!(open("/none/x", create), Err(Errno::ENOENT));
    assert_eq!(open("/a/file/x", create), Err(Errno::ENOTDIR));
    let nameless = world.open("/a", OpenFlags::TEMPORARY | OpenFlags::READ_WRITE, 0o600).unwrap();
    assert_eq!(nameless.metadata().links, 0);
}
