//! The PVH entry: 32-bit protected mode, paging off, `ebx` at the start information, to 64-bit mode on the tables of
//! `arch::x86_64::boot::tables`, at P4 slot 510.
//!
//! The 32-bit code lies at 1 MiB (section `.boot`), where virtual and physical addresses are the same; it reaches what is
//! linked at slot 510 by subtracting the base. Frames of memory that it writes are in `.bss`, zero at entry.

#![allow(unsafe_code, reason = "entry code in assembly")]

use ashlar_kernel::arch::x86_64::boot::{self, tables};
use ashlar_kernel::arch::x86_64::mmu::KERNEL_BASE;
use ashlar_kernel::base::{PhysicalAddress, VirtualAddress};
use ashlar_kernel::log::symbols;

core::arch::global_asm!(
    // The note by which a PVH loader finds the entry: name size, descriptor size, type XEN_ELFNOTE_PHYS32_ENTRY.
    ".pushsection .note.pvh, \"a\", @note",
    ".p2align 2",
    ".long 4, 4, 18",
    ".asciz \"Xen\"",
    ".long ashlar_pvh_entry",
    ".popsection",
    ".pushsection .boot, \"awx\"",
    ".code32",
    ".globl ashlar_pvh_entry",
    "ashlar_pvh_entry:",
    "cli",
    "cld",
    "movl %ebx, %ebp",
    // P4
    "movl $({p4} - {base}), %edi",
    "movl $({identity_p3} - {base} + 3), (%edi)",
    "movl $({physmap_p3} - {base} + 3), 256*8(%edi)",
    "movl $({image_p3} - {base} + 3), 510*8(%edi)",
    "movl $({p4} - {base} + 3), 511*8(%edi)",
    // The first 2 MiB, identity
    "movl $({identity_p3} - {base}), %edi",
    "movl $({identity_p2} - {base} + 3), (%edi)",
    "movl $({identity_p2} - {base}), %edi",
    "movl $0x83, (%edi)",
    // The image: its P2 maps the first GiB of memory with 2 MiB leaves
    "movl $({image_p3} - {base}), %edi",
    "movl $({image_p2} - {base} + 3), (%edi)",
    "movl $({image_p2} - {base}), %edi",
    "movl $0x83, %eax",
    "movl $16, %ecx",
    "2: movl %eax, (%edi)",
    "addl $0x200000, %eax",
    "addl $8, %edi",
    "decl %ecx",
    "jnz 2b",
    // Physmap: 1 GiB leaves where the CPU has them (CPUID 0x80000001, edx bit 26)
    "movl $0x80000001, %eax",
    "cpuid",
    "movl %edx, %esi",
    "movl $({physmap_p3} - {base}), %edi",
    "testl $(1 << 26), %esi",
    "jz 4f",
    "movl $0x83, %eax",
    "xorl %edx, %edx",
    "movl $512, %ecx",
    "3: movl %eax, (%edi)",
    "movl %edx, 4(%edi)",
    "addl $0x40000000, %eax",
    "adcl $0, %edx",
    "addl $8, %edi",
    "decl %ecx",
    "jnz 3b",
    "jmp 6f",
    // otherwise 2 MiB leaves over the first 4 GiB
    "4: movl $({physmap_p2} - {base} + 3), %eax",
    "movl $4, %ecx",
    "5: movl %eax, (%edi)",
    "addl $0x1000, %eax",
    "addl $8, %edi",
    "decl %ecx",
    "jnz 5b",
    "movl $({physmap_p2} - {base}), %edi",
    "movl $0x83, %eax",
    "movl $2048, %ecx",
    "7: movl %eax, (%edi)",
    "addl $0x200000, %eax",
    "addl $8, %edi",
    "decl %ecx",
    "jnz 7b",
    // Long mode
    "6: movl $0x20, %eax", // PAE
    "movl %eax, %cr4",
    "movl $({p4} - {base}), %eax",
    "movl %eax, %cr3",
    "movl $0xc0000080, %ecx",
    "rdmsr",
    "orl $0x100, %eax", // LME
    "testl $(1 << 20), %esi",
    "jz 8f",
    "orl $0x800, %eax", // NXE
    "8: wrmsr",
    "movl %cr0, %eax",
    "orl $0x80010001, %eax", // paging, write protection, protected mode
    "movl %eax, %cr0",
    "lgdt ashlar_boot_gdt_pointer",
    "ljmp $8, $ashlar_boot_64",
    ".p2align 3",
    "ashlar_boot_gdt:",
    ".quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
    "ashlar_boot_gdt_pointer:",
    ".word 23",
    ".long ashlar_boot_gdt",
    ".code64",
    "ashlar_boot_64:",
    "movl $16, %eax",
    "movl %eax, %ss",
    "movl %eax, %ds",
    "movl %eax, %es",
    "movabsq $({stack} + {stack_top}), %rsp",
    "movl %ebp, %edi",
    "xorl %ebp, %ebp",
    "movabsq ${enter}, %rax",
    "callq *%rax",
    "ud2",
    ".popsection",
    p4 = sym tables::P4,
    identity_p3 = sym tables::IDENTITY_P3,
    identity_p2 = sym tables::IDENTITY_P2,
    physmap_p3 = sym tables::PHYSMAP_P3,
    physmap_p2 = sym tables::PHYSMAP_P2,
    image_p3 = sym tables::IMAGE_P3,
    image_p2 = sym tables::IMAGE_P2,
    stack = sym tables::BOOT_STACK,
    stack_top = const tables::BOOT_STACK_TOP,
    base = const KERNEL_BASE,
    enter = sym enter,
    options(att_syntax),
);

/// The first Rust code, on the boot stack.
extern "sysv64" fn enter(start_information: u64) -> ! {
    // SAFETY: the entry code calls this once, on the boot stack and tables, with interrupts disabled.
    unsafe { boot::initialize_early(PhysicalAddress::new(start_information)) };
    symbols::set_table(tables::symbol_table(), VirtualAddress::new(KERNEL_BASE));
    crate::start::start()
}
