//! What can be chosen on the command line: the machine architecture, the board that QEMU models, the build profile.

use clap::ValueEnum;

/// A machine architecture that Ashlar is built for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Architecture {
    /// 64-bit PC.
    #[default]
    #[value(name = "x86_64", alias = "amd64", alias = "x86-64")]
    X86_64,
    /// 64-bit Arm.
    #[value(name = "aarch64", alias = "arm64")]
    Aarch64,
}

impl Architecture {
    /// Linux's and Rust's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Debian's name.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Rust's name of the bare machine.
    pub fn bare_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-none",
            Self::Aarch64 => "aarch64-unknown-none-softfloat",
        }
    }

    /// Rust's name of Linux on the machine, for programs of user space.
    pub fn linux_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The machine number in an ELF header.
    pub fn elf_machine(self) -> u16 {
        match self {
            Self::X86_64 => object::elf::EM_X86_64,
            Self::Aarch64 => object::elf::EM_AARCH64,
        }
    }

    /// The program that emulates it.
    pub fn emulator(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86_64",
            Self::Aarch64 => "qemu-system-aarch64",
        }
    }

    /// The file that boot loaders of the machine take: the ELF program itself, or a raw image.
    pub fn boot_file(self) -> &'static str {
        match self {
            Self::X86_64 => "ashlar",
            Self::Aarch64 => "Image",
        }
    }

    /// The board that is modelled unless another is asked for.
    pub fn board(self) -> Machine {
        match self {
            Self::X86_64 => Machine::Q35,
            Self::Aarch64 => Machine::Virt,
        }
    }

    /// The serial line that is the console.
    pub fn serial_console(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS0",
            Self::Aarch64 => "ttyAMA0",
        }
    }

    /// The serial line that Linux tells a status on: the second port of the PC, a PCI card on `virt`, which has one port of its own.
    pub fn linux_status_line(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS1",
            Self::Aarch64 => "ttyS0",
        }
    }

    /// With `-icount shift=` this the counter that programs read ticks once per instruction: the time-stamp counter's frequency is 1 GHz,
    /// the generic timer's 62.5 MHz.
    pub fn counting_shift(self) -> u32 {
        match self {
            Self::X86_64 => 0,
            Self::Aarch64 => 4,
        }
    }

    /// The architecture that the tool runs on, if it is one of ours.
    pub fn host() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }
}

/// A board that QEMU models.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Machine {
    /// PC of 2009: PCI Express, ACPI.
    Q35,
    /// PC of 1996: PCI, ACPI.
    Pc,
    /// A minimal PC without PCI, that starts quickest.
    Microvm,
    /// QEMU's own board with 64-bit Arm processors.
    Virt,
}

impl Machine {
    /// QEMU's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q35 => "q35",
            Self::Pc => "pc",
            Self::Microvm => "microvm",
            Self::Virt => "virt",
        }
    }

    /// The architecture of its processors.
    pub fn architecture(self) -> Architecture {
        match self {
            Self::Q35 | Self::Pc | Self::Microvm => Architecture::X86_64,
            Self::Virt => Architecture::Aarch64,
        }
    }
}

/// A board as the user asks for it, in QEMU's own words: its name, then properties, as `virt,gic-version=2`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Board {
    /// Which.
    pub machine: Machine,
    /// Nothing, or a comma and the properties.
    pub properties: String,
}

impl Board {
    /// Reads the command line's word.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, properties) = text.split_at(text.find(',').unwrap_or(text.len()));
        let machine = Machine::value_variants().iter().find(|machine| machine.name() == name).ok_or_else(|| {
            let names: Vec<_> = Machine::value_variants().iter().map(|machine| machine.name()).collect();
            format!("the machines are {}, with QEMU's properties after a comma", names.join(", "))
        })?;
        Ok(Self { machine: *machine, properties: properties.to_owned() })
    }
}

/// How the kernel is compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// Quick to build, with all internal checks.
    #[default]
    Debug,
    /// Optimised as far as it goes: what is measured.
    Release,
}

impl Profile {
    /// The folder below `target/` that cargo uses.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_read_with_their_properties() {
        let board = Board::parse("virt,gic-version=2,its=off").unwrap();
        assert_eq!((board.machine, board.properties.as_str()), (Machine::Virt, ",gic-version=2,its=off"));
        assert_eq!(Board::parse("pc").unwrap().properties, "");
        assert!(Board::parse("toaster").is_err());
    }

    #[test]
    fn each_architecture_has_a_board_of_its_own() {
        for architecture in Architecture::value_variants() {
            assert_eq!(architecture.board().architecture(), *architecture);
        }
    }
}
