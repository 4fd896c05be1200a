//! `cargo xtask iso`: a CD image with GRUB that boots the kernel on PCs with BIOS and with UEFI, from a CD or a USB stick.
//!
//! | file on the disc | what |
//! |---|---|
//! | `boot/ashlar` | the kernel without its section headers and debugging information: GRUB would load these too |
//! | `boot/initramfs` | the file tree that it starts with |
//! | `boot/grub/grub.cfg` | boots the two at once, with GRUB on the screen and on the first serial line |
//!
//! `grub-mkrescue` puts GRUB for both kinds of firmware beside them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf};

use crate::initramfs::{self, Kernel, Terminal};
use crate::progress::{quietly, step};
use crate::target::{Architecture, Profile};
use crate::{kernel_build, provision, usage, workspace};

/// What GRUB can do on the disc: boot, be seen, and a little for somebody who looks for a mistake.
const MODULES: &str =
    "normal multiboot2 linux serial terminal iso9660 part_gpt part_msdos search configfile echo ls cat reboot halt";

/// What to put on the disc.
#[derive(Args, Debug)]
pub struct IsoOptions {
    /// Take the optimised kernel
    #[arg(long)]
    release: bool,
    /// Take this initramfs (cpio "newc", plain or gzip) instead of the one with busybox and a shell
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Add to the kernel's command line; unknown words and what follows `--` go to init
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    append: Option<String>,
}

/// A disc to make.
#[derive(Clone, Copy, Debug)]
pub struct Disc<'a> {
    /// Which kernel it is, and so by which protocol GRUB boots it.
    pub system: Kernel,
    /// The kernel's file.
    pub kernel: &'a Path,
    /// The initramfs.
    pub initrd: &'a Path,
    /// The kernel's command line.
    pub command_line: &'a str,
}

/// Makes `target/ashlar/x86_64/ashlar.iso` and prints where it is.
pub fn run(options: &IsoOptions) -> Result<u8> {
    let architecture = Architecture::X86_64;
    let given = match &options.initrd {
        None => None,
        Some(file) => match std::fs::read(file) {
            Ok(content) => Some(content),
            Err(error) => usage!("cannot read {}: {error}", file.display()),
        },
    };
    let mut words = vec![format!("console={}", architecture.serial_console())];
    if given.is_none() {
        words.push("rdinit=/init".to_owned());
    }
    words.extend(options.append.clone());
    let command_line = words.join(" ");
    if command_line.contains(['\n', '\0']) {
        usage!("--append: a command line is one line");
    }
    provision::disc_tools()?;
    let profile = if options.release { Profile::Release } else { Profile::Debug };
    let kernel = kernel_build::build(architecture, profile)?.bootable;
    let folder = workspace::products(architecture)?;
    let content = match given {
        Some(content) => content,
        None => initramfs::for_disc(architecture, &Terminal { kind: "vt100".to_owned(), size: None })?,
    };
    let initrd = folder.join("ashlar.iso.initramfs");
    std::fs::write(&initrd, content).with_context(|| format!("cannot write {}", initrd.display()))?;
    let disc = Disc { system: Kernel::Ashlar, kernel: &kernel, initrd: &initrd, command_line: &command_line };
    let file = folder.join("ashlar.iso");
    let made = step("Making the image", || disc.make(&file));
    let _ = std::fs::remove_file(&initrd);
    made?;
    let shown = file.strip_prefix(workspace::root()).unwrap_or(&file);
    println!("{}", shown.display());
    Ok(0)
}

impl Disc<'_> {
    /// Makes the image `file`.
    pub fn make(&self, file: &Path) -> Result<()> {
        provision::disc_tools()?;
        let tree = file.with_extension(format!("{}.disc", std::process::id()));
        let made = self.make_from(&tree, file);
        let _ = std::fs::remove_dir_all(&tree);
        made
    }

    fn make_from(&self, tree: &Path, file: &Path) -> Result<()> {
        let boot = tree.join("boot");
        std::fs::create_dir_all(boot.join("grub")).with_context(|| format!("cannot create {}", tree.display()))?;
        let kernel = std::fs::read(self.kernel).with_context(|| format!("cannot read {}", self.kernel.display()))?;
        let kernel = match self.system {
            Kernel::Ashlar => loaded_part(&kernel)?,
            Kernel::Linux => kernel,
        };
        std::fs::write(boot.join("ashlar"), kernel).context("cannot write the kernel for the disc")?;
        std::fs::copy(self.initrd, boot.join("initramfs")).context("cannot write the initramfs for the disc")?;
        std::fs::write(boot.join("grub/grub.cfg"), self.menu()).context("cannot write grub.cfg")?;
        let partial = file.with_extension(format!("{}.partial", std::process::id()));
        let mut command = Command::new("grub-mkrescue");
        command.arg(format!("--install-modules={MODULES}")).args(["--locales=", "--fonts=", "--themes=", "-o"]);
        quietly(command.arg(&partial).arg(tree)).context("cannot make the disc's image")?;
        std::fs::rename(&partial, file).with_context(|| format!("cannot write {}", file.display()))
    }

    /// GRUB's configuration.
    fn menu(&self) -> String {
        let (load, module) = match self.system {
            Kernel::Ashlar => ("multiboot2", "module2"),
            Kernel::Linux => ("linux", "initrd"),
        };
        format!(
            "# Made by `cargo xtask iso`.\n\
             set timeout=0\n\
             if serial --unit=0 --speed=115200; then\n\
             \tterminal_input console serial\n\
             \tterminal_output console serial\n\
             fi\n\
             menuentry Ashlar {{\n\
             \t{load} /boot/ashlar {words}\n\
             \t{module} /boot/initramfs\n\
             }}\n",
            words = grub_words(self.command_line).join(" "),
        )
    }
}

/// The words of a kernel's command line, each quoted for GRUB's shell. GRUB puts double quotes of its own around what has blanks in it; those of the
/// line, which do the same, are taken away.
fn grub_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for character in line.chars() {
        match (character, words.last_mut()) {
            ('"', _) => is_quoted = !is_quoted,
            (' ' | '\t', _) if !is_quoted => words.push(String::new()),
            (_, Some(word)) => word.push(character),
            (_, None) => {}
        }
    }
    words.iter().filter(|word| !word.is_empty()).map(|word| initramfs::quote(word)).collect()
}

/// The kernel file with nothing but its headers and what is loaded. Each segment keeps its place within a page.
fn loaded_part(kernel: &[u8]) -> Result<Vec<u8>> {
    type Entry = elf::ProgramHeader64<Endianness>;
    let header = elf::FileHeader64::<Endianness>::parse(kernel).context("the kernel is no ELF file")?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, kernel)?;
    ensure!(header.e_phoff(endian) == 64, "the kernel's program headers do not follow its header");
    let mut file = kernel.get(..64 + size_of_val(segments)).context("the kernel's file is cut off")?.to_vec();
    // Where the section headers are (u64 at 40), and how large they are, how many, and which has the names (3 u16 at 58).
    for place in (40..48).chain(58..64) {
        if let Some(byte) = file.get_mut(place) {
            *byte = 0;
        }
    }
    let mut moved: Vec<(u64, u64, u64)> = Vec::new();
    for segment in segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD) {
        let content = segment.data(endian, kernel).ok().context("the kernel's file is cut off")?;
        let offset = segment.p_offset(endian);
        while u64::try_from(file.len())? % 4096 != offset % 4096 {
            file.push(0);
        }
        moved.push((offset, offset + segment.p_filesz(endian), u64::try_from(file.len())?));
        file.extend_from_slice(content);
    }
    for (index, segment) in segments.iter().enumerate() {
        let offset = segment.p_offset(endian);
        // A note lies within what is loaded.
        let place = moved.iter().find(|(start, end, _)| (*start..*end).contains(&offset));
        let place = place.map_or(0, |(start, _, place)| place + offset - start);
        let field = 64 + index * size_of::<Entry>() + 8;
        file.get_mut(field..field + 8).context("no program header")?.copy_from_slice(&place.to_le_bytes());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf_writer::{Note, program};

    #[test]
    fn words_survive_grubs_shell() {
        assert_eq!(grub_words("console=ttyS0  quiet"), ["console=ttyS0", "quiet"]);
        assert_eq!(grub_words("a=\"b c\" -- $x;y 'z"), ["'a=b c'", "--", "'$x;y'", "''\\''z'"]);
        assert_eq!(grub_words(""), [""; 0]);
    }

    #[test]
    fn the_menu_boots_each_kernel_by_its_protocol() {
        let menu = |system| {
            let file = Path::new("file");
            Disc { system, kernel: file, initrd: file, command_line: "quiet" }.menu()
        };
        let ashlar = menu(Kernel::Ashlar);
        assert!(ashlar.contains("multiboot2 /boot/ashlar quiet\n") && ashlar.contains("module2 /boot/initramfs\n"));
        assert!(menu(Kernel::Linux).contains("\tlinux /boot/ashlar quiet\n\tinitrd /boot/initramfs\n"));
    }

    #[test]
    fn only_what_is_loaded_stays() {
        let note = Some(Note { offset: 0, size: 4 });
        let small = program(Architecture::X86_64, 0x10_0000, b"noteCODE", 4, note).unwrap();
        // Debugging information behind it, and where its headers are said to be.
        let mut large = [small.as_slice(), &[7; 9000]].concat();
        large[40] = 0x99;
        large[60] = 5;
        let file = loaded_part(&large).unwrap();
        assert!(file.len() <= 4096 + small.len() && file.ends_with(b"noteCODE"));
        let header = elf::FileHeader64::<Endianness>::parse(file.as_slice()).unwrap();
        let endian = header.endian().unwrap();
        assert_eq!((header.e_shoff(endian), header.e_shnum(endian)), (0, 0));
        let segments = header.program_headers(endian, file.as_slice()).unwrap();
        let load = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_LOAD).unwrap();
        assert!(load.data(endian, file.as_slice()).unwrap().ends_with(b"noteCODE"));
        let note = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_NOTE).unwrap();
        assert_eq!(note.data(endian, file.as_slice()), Ok(b"note".as_slice()));
        assert!(loaded_part(b"no kernel").is_err());
    }
}
