//! The entries of a PC's boot protocols: 32-bit protected mode, paging off, to 64-bit mode on the tables of
//! `arch::x86_64::boot::tables`, at P4 slot 510.
//!
//! | entry | who comes | `ebx` | the image lies |
//! |---|---|---|---|
//! | `ashlar_pvh_entry` | QEMU's `-kernel`, by the PVH note | start information | where it was linked to be loaded |
//! | `ashlar_multiboot2_entry` | GRUB, under BIOS and UEFI, by the Multiboot2 header | boot information | at any multiple of 2 MiB below 1 GiB |
//!
//! The 32-bit code lies at the image's beginning (section `.boot`) and is linked at its physical address. It adds `ebp`, the image's displacement, to
//! each address; what is linked at slot 510 it reaches by subtracting the base, too. Memory that it writes is in `.bss`, zero at entry, and in
//! `.boot` itself.
//!
//! Multiboot2's header asks for a place above 2 MiB because firmware uses what it likes below, and the lowest there is, because UEFI has its tables
//! and runtime services at the top: OVMF keeps pages from 8 MiB on, where a kernel that could not be moved would have to end.

#![allow(unsafe_code, reason = "entry code in assembly")]

use ashlar_kernel::arch::x86_64::boot::{self, Protocol, tables};
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
    // The header by which a Multiboot2 loader finds the entry: magic, architecture (i386), length, what makes the sum zero.
    ".pushsection .multiboot2, \"a\"",
    ".p2align 3",
    "ashlar_multiboot2_header:",
    ".long 0xe85250d6, 0, ashlar_multiboot2_end - ashlar_multiboot2_header",
    ".long -(0xe85250d6 + (ashlar_multiboot2_end - ashlar_multiboot2_header))",
    // Each tag: type u16, flags u16 (1: the loader may not know it), size u32, content, and zeros up to a multiple of 8.
    // The memory map must be given.
    ".short 1, 0",
    ".long 12, 6, 0",
    // The entry, which is not the ELF file's.
    ".short 3, 0",
    ".long 12, ashlar_multiboot2_entry, 0",
    // Modules begin on pages.
    ".short 6, 1",
    ".long 8",
    // The image may be moved: lowest address, last byte, alignment, 1 for as low as possible.
    ".short 10, 1",
    ".long 24, 0x200000, 0x3fffffff, 0x200000, 1",
    ".short 0, 0",
    ".long 8",
    "ashlar_multiboot2_end:",
    ".popsection",
    ".pushsection .boot, \"awx\"",
    ".code32",
    ".globl ashlar_pvh_entry",
    "ashlar_pvh_entry:",
    "cli",
    "cld",
    "xorl %ebp, %ebp",
    "movl ${pvh}, %eax",
    "jmp ashlar_enter",
    "ashlar_multiboot2_entry:",
    "cli",
    "cld",
    // Where is this? A call tells, and the information's second word, which is reserved, is all the stack that there is.
    "leal 8(%ebx), %esp",
    "call 1f",
    "1: popl %ebp",
    "subl $1b, %ebp",
    "movl ${multiboot2}, %eax",
    // A loader that does not know the tag about moving has not moved the image; one that puts it at another boundary cannot be helped.
    "testl $0x1fffff, %ebp",
    "jz ashlar_enter",
    "9: hlt",
    "jmp 9b",
    "ashlar_enter:",
    "leal ({stack} + {stack_top} - {base})(%ebp), %esp",
    "pushl %ebx",
    "pushl %eax",
    // P4
    "leal ({p4} - {base})(%ebp), %edi",
    "leal ({identity_p3} - {base} + 3)(%ebp), %eax",
    "movl %eax, (%edi)",
    "leal ({physmap_p3} - {base} + 3)(%ebp), %eax",
    "movl %eax, 256*8(%edi)",
    "leal ({image_p3} - {base} + 3)(%ebp), %eax",
    "movl %eax, 510*8(%edi)",
    "leal 3(%edi), %eax",
    "movl %eax, 511*8(%edi)",
    // Identity: the first 2 MiB, and the 2 MiB in which this code lies
    "leal ({identity_p3} - {base})(%ebp), %edi",
    "leal ({identity_p2} - {base} + 3)(%ebp), %eax",
    "movl %eax, (%edi)",
    "leal ({identity_p2} - {base})(%ebp), %edi",
    "movl $0x83, (%edi)",
    "leal (ashlar_pvh_entry)(%ebp), %ecx",
    "andl $~0x1fffff, %ecx",
    "leal 0x83(%ecx), %eax",
    "shrl $21, %ecx",
    "movl %eax, (%edi, %ecx, 8)",
    // The image: its P2 maps 32 MiB with 2 MiB leaves, from the displacement on
    "leal ({image_p3} - {base})(%ebp), %edi",
    "leal ({image_p2} - {base} + 3)(%ebp), %eax",
    "movl %eax, (%edi)",
    "leal ({image_p2} - {base})(%ebp), %edi",
    "leal 0x83(%ebp), %eax",
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
    "leal ({physmap_p3} - {base})(%ebp), %edi",
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
    "4: leal ({physmap_p2} - {base} + 3)(%ebp), %eax",
    "movl $4, %ecx",
    "5: movl %eax, (%edi)",
    "addl $0x1000, %eax",
    "addl $8, %edi",
    "decl %ecx",
    "jnz 5b",
    "leal ({physmap_p2} - {base})(%ebp), %edi",
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
    "leal ({p4} - {base})(%ebp), %eax",
    "movl %eax, %cr3",
    "movl $0xc0000080, %ecx",
    "rdmsr",
    "orl $0x100, %eax", // LME
    "testl $(1 << 20), %esi",
    "jz 8f",
    "orl $0x800, %eax", // NXE
    "8: wrmsr",
    "addl %ebp, ashlar_boot_gdt_pointer + 2(%ebp)",
    "addl %ebp, ashlar_boot_far_pointer(%ebp)",
    "movl %cr0, %eax",
    "orl $0x80010001, %eax", // paging, write protection, protected mode
    "movl %eax, %cr0",
    "lgdt ashlar_boot_gdt_pointer(%ebp)",
    "ljmpl *ashlar_boot_far_pointer(%ebp)",
    ".p2align 3",
    "ashlar_boot_gdt:",
    ".quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
    "ashlar_boot_gdt_pointer:",
    ".word 23",
    ".long ashlar_boot_gdt",
    "ashlar_boot_far_pointer:",
    ".long ashlar_boot_64",
    ".word 8",
    ".code64",
    "ashlar_boot_64:",
    "movl $16, %eax",
    "movl %eax, %ss",
    "movl %eax, %ds",
    "movl %eax, %es",
    "movabsq $({stack} + {stack_top}), %rsp",
    "movl -4(%rsp), %edi",
    "movl -8(%rsp), %esi",
    "movl %ebp, %edx",
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
    pvh = const Protocol::Pvh as u32,
    multiboot2 = const Protocol::Multiboot2 as u32,
    enter = sym enter,
    options(att_syntax),
);

/// The first Rust code, on the boot stack.
extern "sysv64" fn enter(information: u32, protocol: u32, displacement: u32) -> ! {
    let (protocol, information) = (Protocol::from_number(protocol), PhysicalAddress::new(information.into()));
    // SAFETY: the entry code calls this once, on the boot stack and tables, with interrupts disabled.
    unsafe { boot::initialize_early(protocol, information, displacement.into()) };
    symbols::set_table(tables::symbol_table(), VirtualAddress::new(KERNEL_BASE));
    crate::start::start()
}
