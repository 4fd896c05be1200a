//! Memory policies: on which nodes a thread, an area or shared memory wants its pages.
//!
//! [`MemoryPolicy`] is Linux's `struct mempolicy`, as plain data; the default (no policy) is `None` everywhere. [`MemoryPolicy::placement`] says where one
//! page goes. Who owns a policy decides how long it lives: threads (`process`), areas, memory objects ([`super::SharedPolicies`]).

use super::placement::{Beyond, Placement};
use super::{NamedNodes, NodeId, NodeMask, current_node};
use crate::base::{Errno, Result};
use core::fmt;

/// How nodes are chosen: Linux's `MPOL_*`, without `MPOL_DEFAULT`, which is no policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// This node first.
    Preferred,
    /// These nodes alone.
    Bind,
    /// These nodes in turn.
    Interleave,
    /// The CPU's node first.
    Local,
    /// These nodes first.
    PreferredMany,
}

bitflags::bitflags! {
    /// What comes with a mode in one number.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct ModeFlags: u32 {
        /// Pages may be moved to where they are used (`MPOL_F_NUMA_BALANCING`); a hint.
        const BALANCING = 1 << 13;
        /// The nodes are numbered among those allowed (`MPOL_F_RELATIVE_NODES`).
        const RELATIVE = 1 << 14;
        /// The nodes stay the same whatever is allowed (`MPOL_F_STATIC_NODES`).
        const STATIC = 1 << 15;
    }
}

/// A mode as programs number it: a policy, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamedMode {
    /// `MPOL_DEFAULT`.
    Default,
    /// Another one.
    Policy(Mode),
}

impl NamedMode {
    /// Takes mode and flags out of what a program gave.
    ///
    /// # Errors
    /// `EINVAL`: no such mode, or flags that exclude each other or do not go with it.
    pub fn parse(number: i32) -> Result<(Self, ModeFlags)> {
        let flags = ModeFlags::from_bits_truncate(number.cast_unsigned());
        let mode = match number.cast_unsigned() & !ModeFlags::all().bits() {
            0 => Self::Default,
            1 => Self::Policy(Mode::Preferred),
            2 => Self::Policy(Mode::Bind),
            3 => Self::Policy(Mode::Interleave),
            4 => Self::Policy(Mode::Local),
            5 => Self::Policy(Mode::PreferredMany),
            _ => return Err(Errno::EINVAL),
        };
        if flags.contains(ModeFlags::STATIC | ModeFlags::RELATIVE)
            || (flags.contains(ModeFlags::BALANCING) && mode != Self::Policy(Mode::Bind))
        {
            return Err(Errno::EINVAL);
        }
        Ok((mode, flags))
    }
}

/// A policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryPolicy {
    mode: Mode,
    flags: ModeFlags,
    /// The nodes that it means here and now.
    nodes: NodeMask,
    /// Those that the program named, for [`ModeFlags::STATIC`] and [`ModeFlags::RELATIVE`].
    named: NodeMask,
    /// Where the search begins in place of the CPU's node (`set_mempolicy_home_node`).
    home: Option<NodeId>,
}

impl MemoryPolicy {
    /// The policy that a program describes, where it may use the nodes `allowed`, which have memory; `None` for the default.
    ///
    /// # Errors
    /// `EINVAL`: nodes for a mode that takes none, none for one that needs them, or none of them allowed.
    pub fn new(mode: NamedMode, flags: ModeFlags, named: &NamedNodes, allowed: NodeMask) -> Result<Option<Self>> {
        let is_fixed = flags.intersects(ModeFlags::STATIC | ModeFlags::RELATIVE);
        let mode = match (mode, named.is_empty()) {
            (NamedMode::Default, true) => return Ok(None),
            (NamedMode::Default, false) => return Err(Errno::EINVAL),
            (NamedMode::Policy(Mode::Preferred), true) if !is_fixed => Mode::Local,
            (NamedMode::Policy(Mode::Local), true) if !is_fixed => Mode::Local,
            (NamedMode::Policy(Mode::Local), _) | (NamedMode::Policy(_), true) => return Err(Errno::EINVAL),
            (NamedMode::Policy(mode), false) => mode,
        };
        let mut policy = Self {
            mode,
            flags,
            nodes: NodeMask::EMPTY,
            named: if is_fixed { named.low() } else { allowed },
            home: None,
        };
        if mode == Mode::Local {
            return Ok(Some(policy));
        }
        let nodes = if flags.contains(ModeFlags::RELATIVE) {
            named.fold(allowed.count()).onto(allowed)
        } else {
            named.low().intersection(allowed)
        };
        policy.nodes = match (mode, nodes.first()) {
            (_, None) => return Err(Errno::EINVAL),
            (Mode::Preferred, Some(first)) => NodeMask::single(first),
            _ => nodes,
        };
        Ok(Some(policy))
    }

    /// The mode.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }
    /// Mode and flags as `get_mempolicy` tells them.
    #[must_use]
    pub const fn number(&self) -> u32 {
        let mode = match self.mode {
            Mode::Preferred => 1,
            Mode::Bind => 2,
            Mode::Interleave => 3,
            Mode::Local => 4,
            Mode::PreferredMany => 5,
        };
        mode | self.flags.bits()
    }
    /// The nodes as `get_mempolicy` tells them.
    #[must_use]
    pub fn told_nodes(&self) -> NodeMask {
        if self.flags.intersects(ModeFlags::STATIC | ModeFlags::RELATIVE) { self.named } else { self.nodes }
    }
    /// Whether it has pages on none of `nodes`, whatever happens.
    #[must_use]
    pub const fn keeps_off(&self, nodes: NodeMask) -> bool {
        matches!(self.mode, Mode::Bind) && self.nodes.intersection(nodes).is_empty()
    }
    /// The node from which interleaving goes on.
    #[must_use]
    pub fn next_node(&self) -> Option<NodeId> {
        if self.mode == Mode::Interleave { self.nodes.next_after(None) } else { None }
    }
    /// The same with another home node.
    ///
    /// # Errors
    /// `EOPNOTSUPP`: the mode has none.
    pub fn with_home(self, home: NodeId) -> Result<Self> {
        match self.mode {
            Mode::Bind | Mode::PreferredMany => Ok(Self { home: Some(home), ..self }),
            Mode::Preferred | Mode::Interleave | Mode::Local => Err(Errno::EOPNOTSUPP),
        }
    }
    /// Where the page goes that has the number `index` in what the policy is for.
    #[must_use]
    pub fn placement(&self, index: u64) -> Placement {
        let near = || self.home.unwrap_or_else(current_node);
        match self.mode {
            Mode::Local => Placement::LOCAL,
            Mode::Preferred => Placement::near(self.nodes.first().unwrap_or_else(current_node)),
            Mode::Bind => Placement::among(near(), self.nodes, Beyond::Never),
            Mode::PreferredMany => Placement::among(near(), self.nodes, Beyond::Nearest),
            Mode::Interleave => {
                let count = u64::from(self.nodes.count().max(1));
                let turn = u32::try_from(index % count).ok().and_then(|turn| self.nodes.nth(turn));
                Placement::near(turn.unwrap_or_else(current_node)).interleaved()
            }
        }
    }
}

/// As `/proc/PID/numa_maps` writes it.
impl fmt::Display for MemoryPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.mode {
            Mode::Preferred => "prefer",
            Mode::Bind => "bind",
            Mode::Interleave => "interleave",
            Mode::Local => "local",
            Mode::PreferredMany => "prefer (many)",
        })?;
        if !self.flags.is_empty() {
            formatter.write_str("=")?;
            let names =
                [(ModeFlags::STATIC, "static"), (ModeFlags::RELATIVE, "relative"), (ModeFlags::BALANCING, "balancing")];
            let told = names.iter().filter(|(flag, _)| self.flags.contains(*flag));
            for (index, (_, name)) in told.enumerate() {
                write!(formatter, "{}{name}", if index == 0 { "" } else { "|" })?;
            }
        }
        if self.nodes.is_empty() { Ok(()) } else { write!(formatter, ":{}", self.nodes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: NodeMask = NodeMask::from_bits(0b1101);

    fn named(bits: u64) -> NamedNodes {
        let mut nodes = NamedNodes::NONE;
        nodes.0[0] = bits;
        nodes
    }

    fn make(number: i32, bits: u64) -> Result<Option<MemoryPolicy>> {
        let (mode, flags) = NamedMode::parse(number)?;
        MemoryPolicy::new(mode, flags, &named(bits), ALLOWED)
    }

    fn told(number: i32, bits: u64) -> Result<(u32, u64, String)> {
        let policy = make(number, bits)?.ok_or(Errno::ENOENT)?;
        Ok((policy.number(), policy.told_nodes().bits(), policy.to_string()))
    }

    const STATIC: i32 = 1 << 15;
    const RELATIVE: i32 = 1 << 14;
    const BALANCING: i32 = 1 << 13;

    #[test]
    fn modes_and_flags_are_checked_as_linux_does() {
        assert_eq!(make(0, 0), Ok(None));
        assert_eq!(make(STATIC, 0), Ok(None));
        for (number, bits) in [
            (0, 1),
            (-1, 1),
            (6, 1),
            (7, 1),
            (0x100, 1),
            (2, 0),
            (3, 0),
            (5, 0),
            (4, 1),
            (4 | STATIC, 0),
            (1 | STATIC, 0),
            (1 | RELATIVE, 0),
            (2 | STATIC | RELATIVE, 1),
            (3 | BALANCING, 1),
            (BALANCING, 0),
            // Not allowed, or not there at all.
            (2, 0b10),
            (1, 1 << 40),
            (3 | STATIC, 0b10),
        ] {
            assert_eq!(make(number, bits), Err(Errno::EINVAL), "{number:#x} {bits:#b}");
        }
    }

    #[test]
    fn what_is_told_is_what_linux_tells() {
        let fine = |number, bits: u64, text: &str| Ok((number, bits, text.to_owned()));
        assert_eq!(told(1, 0b1100), fine(1, 0b100, "prefer:2"));
        assert_eq!(told(1, 0), fine(4, 0, "local"));
        assert_eq!(told(2, 0b1111), fine(2, 0b1101, "bind:0,2-3"));
        assert_eq!(told(3 | STATIC, 0b11), fine(3 | 1 << 15, 0b11, "interleave=static:0"));
        // The second and fourth of those allowed; the fourth is the first again.
        assert_eq!(told(3 | RELATIVE, 0b1010), fine(3 | 1 << 14, 0b1010, "interleave=relative:0,2"));
        assert_eq!(told(2 | BALANCING, 1), fine(2 | 1 << 13, 1, "bind=balancing:0"));
        assert_eq!(told(5, 0b101), fine(5, 0b101, "prefer (many):0,2"));
    }

    #[test]
    fn nodes_beyond_the_first_words_count_as_nodes() {
        let mut far = NamedNodes::NONE;
        far.0[15] = 1;
        let bind = |flags| MemoryPolicy::new(NamedMode::Policy(Mode::Bind), flags, &far, ALLOWED);
        assert_eq!(bind(ModeFlags::empty()), Err(Errno::EINVAL));
        // 960 modulo 3.
        assert_eq!(bind(ModeFlags::RELATIVE).unwrap().unwrap().nodes, NodeMask::from_bits(1));
    }

    #[test]
    fn each_mode_places_its_pages() {
        let policy = |number, bits| make(number, bits).unwrap().unwrap();
        let interleaved = policy(3, 0b1101);
        let turns: Vec<_> = (6..10).map(|index| interleaved.placement(index).first().0).collect();
        assert_eq!(turns, [0, 2, 3, 0]);
        assert_eq!(policy(1, 0b100).placement(5).first(), NodeId(2));
        assert_eq!(interleaved.next_node(), Some(NodeId(0)));
        let bind = policy(2, 0b1100);
        assert_eq!(bind.next_node(), None);
        let off = |policy: MemoryPolicy, nodes| policy.keeps_off(NodeMask::from_bits(nodes));
        assert!(off(bind, 0b0011) && !off(bind, 0b0110) && !off(interleaved, 0b0010));
        assert_eq!(bind.with_home(NodeId(3)).unwrap().placement(0).first(), NodeId(3));
        assert_eq!(policy(1, 0b100).with_home(NodeId(0)), Err(Errno::EOPNOTSUPP));
    }
}
