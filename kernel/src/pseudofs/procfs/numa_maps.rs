//! `/proc/PID/numa_maps`: each area's policy, and on which nodes its pages are.

use crate::memory::address_space::AreaReport;
use crate::memory::area::AreaFlags;
use crate::pseudofs::append;
use alloc::vec::Vec;

/// Appends an area's line. Pages have no place on lists by their use, so none is counted as active.
pub(super) fn write_area(text: &mut Vec<u8>, area: &AreaReport) {
    let Some(nodes) = &area.nodes else { return };
    append!(text, "{:08x} ", area.range.start.value());
    match &nodes.policy {
        Some(policy) => append!(text, "{policy}"),
        None => text.extend_from_slice(b"default"),
    }
    match area.details.name.as_slice() {
        b"[heap]" => text.extend_from_slice(b" heap"),
        b"[stack]" => text.extend_from_slice(b" stack"),
        name if name.is_empty() || area.flags.contains(AreaFlags::SPECIAL) => {}
        name => {
            text.extend_from_slice(b" file=");
            for byte in name {
                match byte {
                    b'\n' | b'\t' | b'=' | b' ' => append!(text, "\\{byte:03o}"),
                    other => text.push(*other),
                }
            }
        }
    }
    let resident: u64 = nodes.pages.iter().sum();
    if resident != 0 {
        let mut field = |name: &str, value: u64, is_told: bool| {
            if is_told {
                append!(text, " {name}={value}");
            }
        };
        field("anon", nodes.anonymous, nodes.anonymous != 0);
        field("dirty", nodes.dirty, nodes.dirty != 0);
        field("mapped", resident, resident != nodes.anonymous && resident != nodes.dirty);
        field("mapmax", nodes.most_users.into(), nodes.most_users > 1);
        field("active", 0, true);
        for (node, pages) in nodes.pages.iter().enumerate().filter(|(_, pages)| **pages != 0) {
            append!(text, " N{node}={pages}");
        }
        text.extend_from_slice(b" kernelpagesize_kB=4");
    }
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{VirtualAddress, VirtualRange};
    use crate::memory::address_space::{AreaUsage, NodeUsage};
    use crate::memory::object::ObjectDetails;

    fn line(name: &[u8], nodes: NodeUsage) -> String {
        let start = VirtualAddress::new(0x40_1000);
        let area = AreaReport {
            range: VirtualRange::new(start, 0x3000).unwrap(),
            flags: AreaFlags::READ,
            offset: 0,
            details: ObjectDetails { name: name.to_vec(), ..ObjectDetails::default() },
            usage: AreaUsage::default(),
            nodes: Some(Box::new(nodes)),
        };
        let mut text = Vec::new();
        write_area(&mut text, &area);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_are_as_linux_writes_them() {
        assert_eq!(line(b"", NodeUsage::default()), "00401000 default\n");
        let mut nodes = NodeUsage { anonymous: 2, dirty: 2, most_users: 1, ..NodeUsage::default() };
        nodes.pages[..2].copy_from_slice(&[1, 1]);
        assert_eq!(
            line(b"[heap]", nodes.clone()),
            "00401000 default heap anon=2 dirty=2 active=0 N0=1 N1=1 kernelpagesize_kB=4\n"
        );
        let nodes = NodeUsage { anonymous: 0, dirty: 1, most_users: 4, ..nodes };
        assert_eq!(
            line(b"/dev/zero (deleted)", nodes),
            "00401000 default file=/dev/zero\\040(deleted) dirty=1 mapped=2 mapmax=4 active=0 N0=1 N1=1 kernelpagesize_kB=4\n"
        );
    }
}
