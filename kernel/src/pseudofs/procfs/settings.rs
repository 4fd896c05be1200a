//! `/proc/sys`: the settings that programs read, and the few that can be changed.

use crate::arch::{inter_processor, latency};
use crate::base::{Errno, Result, VirtualAddress};
use crate::fs::inode::Inode;
use crate::fs::pseudo::{self, Attributes, Changes, FixedDirectory, PseudoFile, Text};
use crate::fs::types::DeviceNumber;
use crate::log::symbols;
use crate::memory::{frame_soak, heap};
use crate::process::{call_trace, dispatch, out_of_memory, provoke, uts};
use crate::pseudofs::{append, parse_number, trimmed};
use crate::security::random;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The directory.
pub(super) fn directory(device: DeviceNumber, attributes: Attributes) -> Arc<dyn Inode> {
    let builder = Builder { device };
    let number = attributes.number;
    let root = FixedDirectory::new()
        .with("kernel", builder.kernel(pseudo::number(number, b"kernel")))
        .with("vm", builder.memory(pseudo::number(number, b"vm")))
        .with("fs", builder.files(pseudo::number(number, b"fs")));
    pseudo::directory(attributes.allowing(Changes::Times), Arc::new(root))
}

#[derive(Clone, Copy)]
struct Builder {
    device: DeviceNumber,
}

impl Builder {
    fn directory(self, number: u64, entries: FixedDirectory) -> Arc<dyn Inode> {
        pseudo::directory(Attributes::new(self.device, number, 0o555).allowing(Changes::Times), Arc::new(entries))
    }
    fn file(self, parent: u64, name: &str, permissions: u32, file: impl PseudoFile) -> Arc<dyn Inode> {
        let attributes = Attributes::new(self.device, pseudo::number(parent, name.as_bytes()), permissions);
        pseudo::file(attributes.allowing(Changes::Times), file)
    }
    fn text(self, parent: u64, name: &str, read: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Arc<dyn Inode> {
        let text = Text(move |text: &mut Vec<u8>| {
            read(text);
            text.push(b'\n');
            Ok(())
        });
        self.file(parent, name, 0o444, text)
    }

    fn kernel(self, number: u64) -> Arc<dyn Inode> {
        let text = |name: &str, value: &'static str| {
            self.text(number, name, move |text| text.extend_from_slice(value.as_bytes()))
        };
        let random_number = pseudo::number(number, b"random");
        let random = FixedDirectory::new()
            .with(
                "boot_id",
                self.text(random_number, "boot_id", |text| text.extend_from_slice(boot_identifier().as_bytes())),
            )
            .with("uuid", self.text(random_number, "uuid", |text| text.extend_from_slice(identifier().as_bytes())))
            .with("entropy_avail", self.text(random_number, "entropy_avail", |text| text.extend_from_slice(b"256")))
            .with("poolsize", self.text(random_number, "poolsize", |text| text.extend_from_slice(b"256")));
        let entries = FixedDirectory::new()
            .with("ostype", text("ostype", "Linux"))
            .with("osrelease", text("osrelease", uts::RELEASE))
            .with("version", text("version", uts::VERSION))
            .with("hostname", self.file(number, "hostname", 0o644, Name::Host))
            .with("domainname", self.file(number, "domainname", 0o644, Name::Domain))
            .with("printk", self.file(number, "printk", 0o644, ConsoleLevels))
            .with("ashlar_latency", self.file(number, "ashlar_latency", 0o644, Latency))
            .with("ashlar_frame_soak", self.file(number, "ashlar_frame_soak", 0o600, FrameSoak))
            .with("ashlar_provoke", self.file(number, "ashlar_provoke", 0o200, Provoke))
            .with("ashlar_soak", self.file(number, "ashlar_soak", 0o200, Soak))
            .with("ashlar_trace", self.file(number, "ashlar_trace", 0o644, Trace))
            .with("sched_rt_runtime_us", self.file(number, "sched_rt_runtime_us", 0o644, RealtimeBandwidth::Runtime))
            .with("sched_rt_period_us", self.file(number, "sched_rt_period_us", 0o644, RealtimeBandwidth::Period))
            .with("pid_max", text("pid_max", "32768"))
            .with("threads-max", text("threads-max", "32768"))
            .with("cap_last_cap", text("cap_last_cap", "40"))
            .with("ngroups_max", text("ngroups_max", "65536"))
            .with("randomize_va_space", text("randomize_va_space", "2"))
            .with("core_pattern", text("core_pattern", "core"))
            .with("overflowuid", text("overflowuid", "65534"))
            .with("overflowgid", text("overflowgid", "65534"))
            .with("tainted", text("tainted", "0"))
            .with("random", self.directory(random_number, random));
        self.directory(number, entries)
    }

    fn memory(self, number: u64) -> Arc<dyn Inode> {
        let text = |name: &str, value: &'static str| {
            self.text(number, name, move |text| text.extend_from_slice(value.as_bytes()))
        };
        let entries = FixedDirectory::new()
            .with("overcommit_memory", text("overcommit_memory", "0"))
            .with("overcommit_ratio", text("overcommit_ratio", "50"))
            .with("drop_caches", self.file(number, "drop_caches", 0o200, DropCaches))
            .with("max_map_count", text("max_map_count", "65530"))
            .with("mmap_min_addr", text("mmap_min_addr", "65536"))
            .with("swappiness", text("swappiness", "0"));
        self.directory(number, entries)
    }

    fn files(self, number: u64) -> Arc<dyn Inode> {
        let text = |name: &str, value: &'static str| {
            self.text(number, name, move |text| text.extend_from_slice(value.as_bytes()))
        };
        let entries = FixedDirectory::new()
            .with("nr_open", text("nr_open", "1048576"))
            .with("file-max", text("file-max", "9223372036854775807"))
            .with("pipe-max-size", text("pipe-max-size", "1048576"));
        self.directory(number, entries)
    }
}

/// The names that `uname` gives.
#[derive(Clone, Copy)]
enum Name {
    Host,
    Domain,
}

impl PseudoFile for Name {
    fn read(&self, text: &mut Vec<u8>) -> Result<()> {
        let name = match self {
            Self::Host => uts::host_name(),
            Self::Domain => uts::domain_name(),
        };
        text.extend_from_slice(&name);
        text.push(b'\n');
        Ok(())
    }
    fn write(&self, _offset: u64, bytes: &[u8]) -> Result<()> {
        let name = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        match self {
            Self::Host => uts::set_host_name(name),
            Self::Domain => uts::set_domain_name(name),
        }
    }
}

/// `kernel.printk`: the console level and three numbers that stay.
struct ConsoleLevels;

impl PseudoFile for ConsoleLevels {
    fn read(&self, text: &mut Vec<u8>) -> Result<()> {
        append!(text, "{}\t4\t1\t7\n", crate::log::console_level());
        Ok(())
    }
    fn write(&self, _offset: u64, bytes: &[u8]) -> Result<()> {
        let first = trimmed(bytes).split(u8::is_ascii_whitespace).next().unwrap_or_default();
        crate::log::set_console_level(parse_number(first)?);
        Ok(())
    }
}

/// `kernel.ashlar_trace`: whose system calls are traced: `off`, `all` or a process number.
struct Trace;

impl PseudoFile for Trace {
    fn read(&self, text: &mut Vec<u8>) -> Result<()> {
        append!(text, "{}\n", call_trace::target());
        Ok(())
    }
    fn write(&self, _offset: u64, bytes: &[u8]) -> Result<()> {
        let word = core::str::from_utf8(trimmed(bytes)).map_err(|_| Errno::EINVAL)?;
        call_trace::set(call_trace::parse(word).ok_or(Errno::EINVAL)?);
        Ok(())
    }
}

/// `kernel.ashlar_latency`: the longest sections without interrupts, and without preemption, of each CPU. Writing `on` begins anew, `off` ends.
struct Latency;

impl PseudoFile for Latency {
    fn read(&self, text: &mut Vec<u8>) -> Result<()> {
        let place = |text: &mut Vec<u8>, place: latency::Place| {
            for (sign, address) in [("", place.address), (" < ", place.caller)] {
                // A return address may lie just behind the function's end.
                match symbols::find(VirtualAddress::new(address.wrapping_sub(1))) {
                    Some(found) if address != 0 => append!(text, "{sign}{}+{:#x}", found.name, found.offset + 1),
                    _ => append!(text, "{sign}{address:#x}"),
                }
            }
        };
        append!(text, "{}\n", if latency::is_on() { "on" } else { "off" });
        for cpu in inter_processor::possible() {
            for section in latency::Section::ALL {
                let Some(longest) = latency::longest(cpu, section) else { continue };
                let kind = match section {
                    latency::Section::InterruptsOff => "interrupts",
                    latency::Section::PreemptionOff => "preemption",
                };
                append!(text, "cpu{} {kind} off for {} ns from ", cpu.0, longest.duration.0);
                place(text, longest.from);
                text.extend_from_slice(b" to ");
                place(text, longest.to);
                text.push(b'\n');
            }
        }
        Ok(())
    }
    fn write(&self, _offset: u64, bytes: &[u8]) -> Result<()> {
        if !latency::BUILT_IN {
            return Err(Errno::EOPNOTSUPP);
        }
        match trimmed(bytes) {
            b"on" => latency::start(),
            b"off" => latency::stop(),
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
}

/// What the real-time policies may use: `kernel.sched_rt_runtime_us` in each `kernel.sched_rt_period_us`.
#[derive(Clone, Copy)]
enum RealtimeBandwidth {
    Runtime,
    Period,
}

impl PseudoFile for RealtimeBandwidth {
    fn read(&self, text: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Runtime => append!(text, "{}\n", dispatch::realtime_runtime()),
            Self::Period => append!(text, "{}\n", dispatch::realtime_period()),
        }
        Ok(())
    }
    fn write(&self, _offset: u64, bytes: &[u8]) -> Result<()> {
        let value = parse_number(bytes)?;
        match self {
            Self::Runtime => dispatch::set_realtime_bandwidth(value, dispatch::realtime_period().cast_signed()),
            Self::Period => dispatch::set_realtime_bandwidth(dispatch::realtime_runtime(), value),
        }
    }
}

/// `kernel.ashlar_provoke`: writing a word commits the bug that it names.
struct Provoke;

impl PseudoFile for Provoke {
    fn read(&self, _text: &mut Vec<u8>) -> Result<()> {
        Err(Errno::EACCES)
    }
    fn write(&self, _offset: u64, bytes: &[u8]) -> Result<()> {
        let word = core::str::from_utf8(trimmed(bytes)).map_err(|_| Errno::EINVAL)?;
        provoke::commit(provoke::Bug::parse(word).ok_or(Errno::EINVAL)?);
        Ok(())
    }
}

/// `kernel.ashlar_soak`: for tests. Writing a number has the writer's CPU do that many operations of a soak of the heap, together with others that write
/// at the time; 0 ends it, and has the heap give back what is free. `EIO`: an object was damaged.
struct Soak;

/// `vm.drop_caches`: 1 gives back pages of files, of which none are kept beyond their files; 2 what the kernel keeps for itself; 3 both. With 4 Linux says
/// nothing about it in its log any more; nothing is said here.
struct DropCaches;

impl PseudoFile for DropCaches {
    fn read(&self, _text: &mut Vec<u8>) -> Result<()> {
        Err(Errno::EACCES)
    }
    fn write(&self, _offset: u64, bytes: &[u8]) -> Result<()> {
        match parse_number::<u64>(bytes)? {
            1 | 4 => {}
            2 | 3 => out_of_memory::give_back_caches(),
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
}

impl PseudoFile for Soak {
    fn read(&self, _text: &mut Vec<u8>) -> Result<()> {
        Err(Errno::EACCES)
    }
    fn write(&self, _offset: u64, bytes: &[u8]) -> Result<()> {
        static PLACES: heap::soak::Places = heap::soak::Places::new();
        let operations: u64 = parse_number(bytes)?;
        let mut seed = [0; 8];
        random::fill(&mut seed);
        let done = match operations {
            0 => PLACES.clear(&heap::soak::Global),
            _ => PLACES.soak(&heap::soak::Global, operations, u64::from_ne_bytes(seed)),
        };
        if operations == 0 {
            heap::shrink();
        }
        done.map_err(|_| Errno::EIO)
    }
}

/// `kernel.ashlar_frame_soak`: rounds of random allocations to do; what they have found.
struct FrameSoak;

impl PseudoFile for FrameSoak {
    fn read(&self, text: &mut Vec<u8>) -> Result<()> {
        let findings = frame_soak::findings();
        append!(text, "rounds {} wrong {} inconsistent {:?}\n", findings.rounds, findings.wrong, findings.inconsistent);
        Ok(())
    }
    fn write(&self, _offset: u64, bytes: &[u8]) -> Result<()> {
        const MOST_ROUNDS: u64 = 100_000_000;
        let rounds = parse_number::<u64>(bytes)?;
        if rounds > MOST_ROUNDS {
            return Err(Errno::EINVAL);
        }
        let mut seed = [0; 8];
        random::fill(&mut seed);
        frame_soak::soak(rounds, u64::from_ne_bytes(seed));
        Ok(())
    }
}

/// A random UUID (version 4).
fn identifier() -> alloc::string::String {
    let mut bytes = [0u8; 16];
    random::fill(&mut bytes);
    let [a, b, c, d, e, f, version, h, variant, j, k, l, m, n, o, p] = bytes;
    let (version, variant) = (version & 0x0f | 0x40, variant & 0x3f | 0x80);
    alloc::format!(
        "{a:02x}{b:02x}{c:02x}{d:02x}-{e:02x}{f:02x}-{version:02x}{h:02x}-{variant:02x}{j:02x}-{k:02x}{l:02x}{m:02x}{n:02x}{o:02x}{p:02x}"
    )
}

/// The same until the next boot.
fn boot_identifier() -> &'static str {
    static IDENTIFIER: spin::Once<alloc::string::String> = spin::Once::new();
    IDENTIFIER.call_once(identifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_version_and_variant() {
        let text = identifier();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&text.as_bytes()[19]));
        assert_eq!(boot_identifier(), boot_identifier());
    }
}
