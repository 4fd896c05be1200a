//! Nodes of a machine: its memory and its processors shared out, and how far the nodes are from each other.

use anyhow::Result;

use crate::usage;

/// The most nodes that a machine may have.
pub const MOST_NODES: u32 = 16;
/// The distance of nodes about which nothing was said.
const REMOTE: u8 = 20;

/// How far one node is from another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Distance {
    /// From this node.
    from: u32,
    /// To that one.
    to: u32,
    /// In the tables' measure: 10 is the node itself, 255 out of reach.
    value: u8,
}

impl Distance {
    /// Reads `FROM,TO,VALUE`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(',').collect();
        let [from, to, value] = words.as_slice() else {
            return Err("a distance is two nodes and a number, as in 0,1,30".to_owned());
        };
        let node = |word: &str| word.parse::<u32>().map_err(|_| format!("{word} is no node"));
        let value = value.parse::<u8>().ok().filter(|value| *value > 10);
        let value = value.ok_or("the distance of two nodes is a number from 11 to 255")?;
        let distance = Self { from: node(from)?, to: node(to)?, value };
        if distance.from == distance.to {
            return Err("the distance of a node to itself is always 10".to_owned());
        }
        Ok(distance)
    }
}

/// QEMU's arguments for `nodes` nodes of a machine with `memory` (in QEMU's words) and `cpus`; the last nodes get what does not divide. With fewer
/// processors than nodes the last ones have none.
pub fn arguments(nodes: u32, memory: &str, cpus: u32, distances: &[Distance]) -> Result<Vec<String>> {
    let Some(total) = mebibytes(memory).filter(|total| *total >= u64::from(nodes)) else {
        usage!("--memory {memory}: {nodes} nodes need a MiB each, and memory in whole MiB");
    };
    let mut words = Vec::new();
    let share = total / u64::from(nodes);
    for node in 0..nodes {
        let size = if node + 1 == nodes { total - share * u64::from(nodes - 1) } else { share };
        words.extend(["-object".to_owned(), format!("memory-backend-ram,id=node{node},size={size}M")]);
        let first = u64::from(cpus) * u64::from(node) / u64::from(nodes);
        let end = u64::from(cpus) * u64::from(node + 1) / u64::from(nodes);
        let (first, end) = if cpus < nodes { (node.into(), u64::from((node + 1).min(cpus))) } else { (first, end) };
        let own = if first < end { format!(",cpus={first}-{}", end - 1) } else { String::new() };
        words.extend(["-numa".to_owned(), format!("node,nodeid={node},memdev=node{node}{own}")]);
    }
    if let Some(wrong) = distances.iter().find(|distance| distance.from.max(distance.to) >= nodes) {
        usage!("--distance {},{}: the nodes are 0 to {}", wrong.from, wrong.to, nodes - 1);
    }
    // QEMU wants all of them or none. What is said of one direction holds for the other, unless that one is said too.
    let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))).filter(|(from, to)| from != to);
    for (from, to) in pairs.filter(|_| !distances.is_empty()) {
        let said = |from: u32, to: u32| distances.iter().rfind(|distance| (distance.from, distance.to) == (from, to));
        let value = said(from, to).or_else(|| said(to, from)).map_or(REMOTE, |distance| distance.value);
        words.extend(["-numa".to_owned(), format!("dist,src={from},dst={to},val={value}")]);
    }
    Ok(words)
}

/// A size in QEMU's words in MiB, if it is a whole number of them.
fn mebibytes(memory: &str) -> Option<u64> {
    let (digits, unit) = memory.split_at(memory.len().checked_sub(1)?);
    let number: u64 = digits.parse().ok()?;
    match unit {
        "M" => Some(number),
        "G" => number.checked_mul(1024),
        "K" => (number.is_multiple_of(1024)).then_some(number / 1024),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_processors_are_shared_out() {
        let words = arguments(2, "513M", 4, &[]).unwrap().join(" ");
        assert_eq!(
            words,
            "-object memory-backend-ram,id=node0,size=256M -numa node,nodeid=0,memdev=node0,cpus=0-1 \
             -object memory-backend-ram,id=node1,size=257M -numa node,nodeid=1,memdev=node1,cpus=2-3"
        );
        let words = arguments(3, "3G", 2, &[]).unwrap().join(" ");
        assert!(words.contains("memdev=node0,cpus=0-0") && words.contains("memdev=node1,cpus=1-1"));
        assert!(words.ends_with("nodeid=2,memdev=node2") && words.contains("id=node2,size=1024M"));
        assert!(arguments(2, "1M", 1, &[]).is_err() && arguments(2, "3000K", 1, &[]).is_err());
    }

    #[test]
    fn a_distance_holds_both_ways_unless_said_otherwise() {
        let said = ["0,1,30", "1,0,40", "0,2,50"].map(|text| Distance::parse(text).unwrap());
        let words = arguments(3, "300M", 3, &said).unwrap();
        let distances: Vec<&str> = words.iter().filter_map(|word| word.strip_prefix("dist,")).collect();
        assert_eq!(
            distances,
            [
                "src=0,dst=1,val=30",
                "src=0,dst=2,val=50",
                "src=1,dst=0,val=40",
                "src=1,dst=2,val=20",
                "src=2,dst=0,val=50",
                "src=2,dst=1,val=20"
            ]
        );
        assert!(arguments(2, "300M", 3, &said).is_err());
        for wrong in ["0,1", "0,0,20", "0,1,10", "a,1,20", "0,1,300"] {
            assert!(Distance::parse(wrong).is_err());
        }
    }
}
