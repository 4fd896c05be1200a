//! Whether the host's processor executes machines well enough to be used unasked.
//!
//! `/dev/kvm` can be there and yet be of no use: inside some virtual machines it hands privileged code to an interpreter, a
//! million times slower than QEMU's translator. So a kernel of a few instructions that counts down in privileged mode is run once and
//! timed, and the answer kept below `target/` until the host starts again or another emulator is installed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::elf_writer::{self, Note};
use crate::initramfs::Kernel;
use crate::progress::step;
use crate::qemu::{Accelerator, Boot, Clock, Configuration, Debugger, Serial, TemporaryFile};
use crate::target::{Architecture, Machine};
use crate::{provision, workspace};

/// Where the timing kernel is loaded.
const ADDRESS: u64 = 0x10_0000;
/// Bytes of the PVH note, which the code follows.
const NOTE: usize = 20;
/// What a processor that executes the loop itself needs by far not, with the start of QEMU.
const LIMIT: Duration = Duration::from_millis(1500);

/// 32-bit code: four million turns of a loop of two instructions, then QEMU's end by port 0x501.
const INSTRUCTIONS: &[u8] = &[
    0xb9, 0x00, 0x09, 0x3d, 0x00, // mov ecx, 4000000
    0x49, 0x75, 0xfd, // dec ecx; jnz back
    0xb0, 0x00, // mov al, 0
    0xe6, 0xe9, // out 0xe9, al
    0x66, 0xba, 0x01, 0x05, // mov dx, 0x501
    0x31, 0xc0, 0xef, // xor eax, eax; out dx, eax
    0xf4, 0xeb, 0xfd, // hlt; jump back
];

/// Whether `/dev/kvm` is there and may be opened by this user.
pub fn is_accessible() -> bool {
    std::fs::File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// Whether machines of `architecture` are better executed by the host than emulated; looks once and remembers. Anything that goes
/// wrong means no: emulation always works.
pub fn is_fast(architecture: Architecture) -> bool {
    // The loop is code of the PC.
    if architecture != Architecture::X86_64 || Architecture::host() != Some(architecture) || !is_accessible() {
        return false;
    }
    let Some((file, key)) = place(architecture) else { return false };
    if let Some(known) = std::fs::read_to_string(&file).ok().and_then(|text| recall(&text, &key)) {
        return known;
    }
    let fast = step("Trying the host's processor (KVM)", || measure(architecture)).unwrap_or(false);
    let _ = std::fs::write(&file, format!("{key} {}\n", if fast { "fast" } else { "slow" }));
    fast
}

/// The file that keeps the answer, and what the answer holds for: this start of the host, this emulator.
fn place(architecture: Architecture) -> Option<(std::path::PathBuf, String)> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let emulator = provision::emulator(architecture).ok()?;
    Some((workspace::products(architecture).ok()?.join("kvm"), key(&boot, &emulator)))
}

fn key(boot: &str, emulator: &Path) -> String {
    format!("{} {}", boot.trim(), emulator.display())
}

/// The answer in `text`, if it is for `key`.
fn recall(text: &str, key: &str) -> Option<bool> {
    match text.trim_end().strip_prefix(key)? {
        " fast" => Some(true),
        " slow" => Some(false),
        _ => None,
    }
}

/// Runs the loop; whether it ended in time.
fn measure(architecture: Architecture) -> Result<bool> {
    let kernel = TemporaryFile::new("loop", &image()?)?;
    let initrd = TemporaryFile::new("loop.cpio", &[])?;
    let configuration = Configuration {
        architecture,
        machine: Machine::Pc,
        machine_properties: String::new(),
        cpu: None,
        cpus: 1,
        memory: "32M".to_owned(),
        boot: Boot::Direct,
        system: Kernel::Ashlar,
        kernel: kernel.path().to_path_buf(),
        initrd: initrd.path().to_path_buf(),
        append: String::new(),
        accelerator: Accelerator::Kvm,
        clock: Clock::Real,
        debugger: Debugger::None,
        serial: Serial::Pipes,
        extra: Vec::new(),
    };
    let start = Instant::now();
    let (_, report) = configuration.start()?.wait_with_report(Some(LIMIT))?;
    Ok(!report.is_empty() && start.elapsed() < LIMIT)
}

/// The timing kernel's file.
fn image() -> Result<Vec<u8>> {
    let mut content = Vec::new();
    for word in [4_u32, 4, 18] {
        content.extend_from_slice(&word.to_le_bytes());
    }
    content.extend_from_slice(b"Xen\0");
    let entry = ADDRESS + u64::try_from(elf_writer::content_offset(true) + NOTE)?;
    content.extend_from_slice(&u32::try_from(entry)?.to_le_bytes());
    content.extend_from_slice(INSTRUCTIONS);
    elf_writer::program(Architecture::X86_64, ADDRESS, &content, NOTE, Some(Note { offset: 0, size: NOTE }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_its_boot_and_emulator() {
        let key = key("abc\n", Path::new("/usr/bin/qemu"));
        assert_eq!(recall("abc /usr/bin/qemu fast\n", &key), Some(true));
        assert_eq!(recall("abc /usr/bin/qemu slow\n", &key), Some(false));
        assert_eq!(recall("abd /usr/bin/qemu fast\n", &key), None);
        assert_eq!(recall("", &key), None);
    }
}
