//! Unpacked Debian packages as one file tree, as an installed system has it.
//!
//! `/bin`, `/sbin` and `/lib*` are links into `/usr` ([`Archive::merged`]). No script of a package runs; what programs would miss then
//! is made here: the users and groups that every Debian system has, the name service's order, the links that `update-alternatives` sets.
//! Documentation is left out, as container images leave it out: `/usr/share/doc`, manuals, translations. There is no `ld.so.cache`: the
//! dynamic linker finds libraries in its own folders.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cpio::Archive;
use crate::provision::packages::Unpacked;

/// Folders that are left out.
const LEFT_OUT: &[&str] = &[
    "usr/share/bug",
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
];

/// Users that every Debian system has: name, number, group, home, shell.
const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n\
    daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
    bin:x:2:2:bin:/bin:/usr/sbin/nologin\n\
    sys:x:3:3:sys:/dev:/usr/sbin/nologin\n\
    sync:x:4:65534:sync:/bin:/bin/sync\n\
    games:x:5:60:games:/usr/games:/usr/sbin/nologin\n\
    man:x:6:12:man:/var/cache/man:/usr/sbin/nologin\n\
    mail:x:8:8:mail:/var/mail:/usr/sbin/nologin\n\
    www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n\
    backup:x:34:34:backup:/var/backups:/usr/sbin/nologin\n\
    nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";

/// Their groups, and those that device files belong to.
const GROUPS: &[(&str, u32)] = &[
    ("root", 0),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("adm", 4),
    ("tty", 5),
    ("disk", 6),
    ("mail", 8),
    ("man", 12),
    ("kmem", 15),
    ("dialout", 20),
    ("www-data", 33),
    ("backup", 34),
    ("utmp", 43),
    ("video", 44),
    ("staff", 50),
    ("games", 60),
    ("users", 100),
    ("nogroup", 65534),
];

/// `/etc/nsswitch.conf`.
const NAME_SERVICE: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
    protocols: files\nservices: files\nethers: files\nrpc: files\n";

/// A tree of `packages`, without busybox.
pub fn tree(packages: &[Unpacked]) -> Result<Archive> {
    let mut archive = Archive::merged();
    for package in packages {
        add_folder(&mut archive, &package.files, "")
            .with_context(|| format!("cannot pack {}", package.files.display()))?;
    }
    let mut choices = BTreeMap::new();
    for package in packages {
        let script = std::fs::read(package.control.join("postinst")).unwrap_or_default();
        collect_alternatives(&String::from_utf8_lossy(&script), &mut choices);
    }
    for (link, choice) in choices {
        if archive.contains(&choice.path) && !archive.contains(&link) {
            let place = format!("/etc/alternatives/{}", choice.name);
            archive.symlink(&link, &place);
            archive.symlink(&place, &choice.path);
        }
    }
    let groups: String = GROUPS.iter().map(|(name, number)| format!("{name}:x:{number}:\n")).collect();
    for (file, content) in [
        ("etc/passwd", USERS),
        ("etc/group", groups.as_str()),
        ("etc/nsswitch.conf", NAME_SERVICE),
        ("etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.1.1\tashlar\n"),
    ] {
        if !archive.contains(file) {
            archive.file(file, 0o644, content.as_bytes());
        }
    }
    if !archive.contains("etc/mtab") {
        archive.symlink("etc/mtab", "../proc/self/mounts");
    }
    archive.directory_with_mode("var/tmp", 0o1777);
    Ok(archive)
}

/// Adds what is in `folder`, which is `place` in the tree, in the order of the names.
fn add_folder(archive: &mut Archive, folder: &Path, place: &str) -> Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let place = if place.is_empty() { name.to_owned() } else { format!("{place}/{name}") };
        if LEFT_OUT.contains(&place.as_str()) {
            continue;
        }
        let metadata = entry.path().symlink_metadata()?;
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            archive.directory_with_mode(&place, mode);
            add_folder(archive, &entry.path(), &place)?;
        } else if metadata.is_symlink() {
            archive.symlink(&place, &std::fs::read_link(entry.path())?.to_string_lossy());
        } else {
            archive.file(&place, mode, &std::fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// What `update-alternatives` would make of a link.
#[derive(PartialEq, Eq, Debug)]
struct Alternative {
    name: String,
    path: String,
    priority: i32,
}

/// Adds the links that a package's script sets, where no better choice is known: `update-alternatives --install LINK NAME PATH PRIORITY
/// [--slave LINK NAME PATH]...`. What a script computes cannot be read here and is passed over.
fn collect_alternatives(script: &str, choices: &mut BTreeMap<String, Alternative>) {
    let script = script.replace("\\\n", " ");
    for line in script.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace().map(|word| word.trim_matches(['"', '\'', ';'])).peekable();
        if !words.any(|word| word.ends_with("update-alternatives")) {
            continue;
        }
        let mut priority = None;
        while let Some(word) = words.next() {
            if word != "--install" && word != "--slave" {
                continue;
            }
            let (Some(link), Some(name), Some(path)) = (words.next(), words.next(), words.next()) else { break };
            if word == "--install" {
                priority = words.next().and_then(|number| number.parse().ok());
            }
            let Some(priority) = priority else { break };
            if [link, name, path].iter().any(|word| word.contains(['$', '`'])) {
                continue;
            }
            let better = choices.get(link).is_none_or(|known| known.priority < priority);
            if better {
                choices.insert(link.to_owned(), Alternative { name: name.to_owned(), path: path.to_owned(), priority });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_are_read_and_the_best_wins() {
        let mut choices = BTreeMap::new();
        let mawk = "#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then\n\
            \tupdate-alternatives --quiet --install /usr/bin/awk awk /usr/bin/mawk 5 \\\n\
            \t\t--slave /usr/bin/nawk nawk /usr/bin/mawk\nfi\n";
        collect_alternatives(mawk, &mut choices);
        assert_eq!(choices["/usr/bin/awk"].path, "/usr/bin/mawk");
        assert_eq!(choices["/usr/bin/nawk"].priority, 5);
        collect_alternatives("update-alternatives --install /usr/bin/awk awk /usr/bin/gawk 10\n", &mut choices);
        collect_alternatives("update-alternatives --install /usr/bin/awk awk /usr/bin/old 2\n", &mut choices);
        assert_eq!(choices["/usr/bin/awk"].path, "/usr/bin/gawk");
        let computed = "for i in vi view; do update-alternatives --install /usr/bin/$i $i /usr/bin/vim 30; done\n\
            # update-alternatives --install /usr/bin/x x /usr/bin/y 1\n";
        collect_alternatives(computed, &mut choices);
        assert_eq!(choices.len(), 2);
    }

    #[test]
    fn packages_become_one_tree() {
        let folder = std::env::temp_dir().join(format!("ashlar-debian-{}", std::process::id()));
        let files = folder.join("files");
        for path in ["lib/x", "bin", "usr/share/doc/x"] {
            std::fs::create_dir_all(files.join(path)).unwrap();
        }
        std::fs::write(files.join("lib/x/a.so"), "a").unwrap();
        std::fs::write(files.join("usr/share/doc/x/copyright"), "c").unwrap();
        std::os::unix::fs::symlink("mawk", files.join("bin/awk")).unwrap();
        let archive = tree(&[Unpacked { files, control: folder.join("control") }]).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        for path in ["/usr/lib/x/a.so", "/lib/x/a.so", "/usr/bin/awk", "/etc/passwd", "/var/tmp", "/bin"] {
            assert!(archive.contains(path), "{path}");
        }
        assert!(!archive.contains("/usr/share/doc/x/copyright"));
    }
}
