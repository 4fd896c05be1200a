//! Values that memory calls take.

use super::{BitNames, FieldNames, ValueNames};

/// `PROT_*`.
pub static PROTECTION: BitNames = BitNames {
    unknown: "PROT_???",
    zero: "PROT_NONE",
    field: None,
    bits: &[
        (1, "PROT_READ"),
        (2, "PROT_WRITE"),
        (4, "PROT_EXEC"),
        (8, "PROT_SEM"),
        (0x100_0000, "PROT_GROWSDOWN"),
        (0x200_0000, "PROT_GROWSUP"),
    ],
};

/// `MAP_*`.
pub static MAP: BitNames = BitNames {
    unknown: "MAP_???",
    zero: "MAP_FILE",
    field: Some(FieldNames {
        mask: 0xf,
        values: &[(0, "MAP_FILE"), (1, "MAP_SHARED"), (2, "MAP_PRIVATE"), (3, "MAP_SHARED_VALIDATE")],
    }),
    bits: &[
        (0x10, "MAP_FIXED"),
        (0x20, "MAP_ANONYMOUS"),
        (0x40, "MAP_32BIT"),
        (0x100, "MAP_GROWSDOWN"),
        (0x800, "MAP_DENYWRITE"),
        (0x1000, "MAP_EXECUTABLE"),
        (0x2000, "MAP_LOCKED"),
        (0x4000, "MAP_NORESERVE"),
        (0x8000, "MAP_POPULATE"),
        (0x1_0000, "MAP_NONBLOCK"),
        (0x2_0000, "MAP_STACK"),
        (0x4_0000, "MAP_HUGETLB"),
        (0x8_0000, "MAP_SYNC"),
        (0x10_0000, "MAP_FIXED_NOREPLACE"),
    ],
};

/// `mremap`.
pub static REMAP: BitNames = BitNames {
    unknown: "MREMAP_???",
    zero: "0",
    field: None,
    bits: &[(1, "MREMAP_MAYMOVE"), (2, "MREMAP_FIXED"), (4, "MREMAP_DONTUNMAP")],
};

/// `msync`.
pub static SYNCHRONISE: BitNames = BitNames {
    unknown: "MS_???",
    zero: "0",
    field: None,
    bits: &[(2, "MS_INVALIDATE"), (1, "MS_ASYNC"), (4, "MS_SYNC")],
};

/// `mlockall`.
pub static LOCK_ALL: BitNames = BitNames {
    unknown: "MCL_???",
    zero: "0",
    field: None,
    bits: &[(1, "MCL_CURRENT"), (2, "MCL_FUTURE"), (4, "MCL_ONFAULT")],
};

/// `mlock2`.
pub static LOCK: BitNames = BitNames { unknown: "MLOCK_???", zero: "0", field: None, bits: &[(1, "MLOCK_ONFAULT")] };

/// `memfd_create`.
pub static MEMORY_FILE: BitNames = BitNames {
    unknown: "MFD_???",
    zero: "0",
    field: None,
    bits: &[(1, "MFD_CLOEXEC"), (2, "MFD_ALLOW_SEALING"), (4, "MFD_HUGETLB")],
};

/// `madvise`.
pub static ADVICE: ValueNames = ValueNames {
    unknown: "MADV_???",
    values: &[
        (0, "MADV_NORMAL"),
        (1, "MADV_RANDOM"),
        (2, "MADV_SEQUENTIAL"),
        (3, "MADV_WILLNEED"),
        (4, "MADV_DONTNEED"),
        (8, "MADV_FREE"),
        (9, "MADV_REMOVE"),
        (10, "MADV_DONTFORK"),
        (11, "MADV_DOFORK"),
        (12, "MADV_MERGEABLE"),
        (13, "MADV_UNMERGEABLE"),
        (14, "MADV_HUGEPAGE"),
        (15, "MADV_NOHUGEPAGE"),
        (16, "MADV_DONTDUMP"),
        (17, "MADV_DODUMP"),
        (18, "MADV_WIPEONFORK"),
        (19, "MADV_KEEPONFORK"),
        (20, "MADV_COLD"),
        (21, "MADV_PAGEOUT"),
        (22, "MADV_POPULATE_READ"),
        (23, "MADV_POPULATE_WRITE"),
        (24, "MADV_DONTNEED_LOCKED"),
        (25, "MADV_COLLAPSE"),
        (100, "MADV_HWPOISON"),
        (101, "MADV_SOFT_OFFLINE"),
    ],
};

/// The mode of a memory policy.
pub static POLICY: BitNames = BitNames {
    unknown: "MPOL_???",
    zero: "MPOL_DEFAULT",
    field: Some(FieldNames {
        mask: 0x7,
        values: &[
            (0, "MPOL_DEFAULT"),
            (1, "MPOL_PREFERRED"),
            (2, "MPOL_BIND"),
            (3, "MPOL_INTERLEAVE"),
            (4, "MPOL_LOCAL"),
            (5, "MPOL_PREFERRED_MANY"),
        ],
    }),
    bits: &[(0x2000, "MPOL_F_NUMA_BALANCING"), (0x4000, "MPOL_F_RELATIVE_NODES"), (0x8000, "MPOL_F_STATIC_NODES")],
};

/// What `get_mempolicy` is asked.
pub static POLICY_QUESTION: BitNames = BitNames {
    unknown: "MPOL_F_???",
    zero: "0",
    field: None,
    bits: &[(1, "MPOL_F_NODE"), (2, "MPOL_F_ADDR"), (4, "MPOL_F_MEMS_ALLOWED")],
};

/// `MPOL_MF_*`.
pub static POLICY_MOVE: BitNames = BitNames {
    unknown: "MPOL_MF_???",
    zero: "0",
    field: None,
    bits: &[(1, "MPOL_MF_STRICT"), (2, "MPOL_MF_MOVE"), (4, "MPOL_MF_MOVE_ALL")],
};
