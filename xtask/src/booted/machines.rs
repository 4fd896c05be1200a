//! Every board, every way to end, small memory, odd archives.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::console::Console;
use super::{Job, Setup};
use crate::cpio::Archive;
use crate::initramfs::{self, Job as Task, Kernel};
use crate::qemu::{Boot, Configuration, Outcome, TemporaryFile};
use crate::spin_table::Release;
use crate::target::{Architecture, Machine};

const PATIENCE: Duration = Duration::from_secs(60);

/// The boards that are booted: a name, QEMU's, its properties.
fn boards(architecture: Architecture) -> &'static [(&'static str, Machine, &'static str)] {
    match architecture {
        Architecture::X86_64 => &[
            ("q35", Machine::Q35, ""),
            ("pc", Machine::Pc, ""),
            ("microvm", Machine::Microvm, ""),
            ("microvm-without-acpi", Machine::Microvm, ",acpi=off"),
            ("q35-without-acpi", Machine::Q35, ",acpi=off"),
            ("q35-without-pit", Machine::Q35, ",pit=off"),
        ],
        Architecture::Aarch64 => &[
            ("virt", Machine::Virt, ""),
            ("virt-gic2", Machine::Virt, ",gic-version=2"),
            ("virt-gic3-without-its", Machine::Virt, ",gic-version=3,its=off"),
            // Entered at EL2.
            ("virt-virtualization", Machine::Virt, ",virtualization=on"),
            ("virt-without-high-memory", Machine::Virt, ",highmem=off"),
        ],
    }
}

/// The boards that are switched off in each way.
fn ending(architecture: Architecture) -> &'static [(&'static str, Machine)] {
    match architecture {
        Architecture::X86_64 => &[("q35", Machine::Q35), ("pc", Machine::Pc), ("microvm", Machine::Microvm)],
        Architecture::Aarch64 => &[("virt", Machine::Virt)],
    }
}

/// The processors that are booted, beside the one that all tests run on.
fn processors(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        Architecture::X86_64 => &["qemu64", "max", "Haswell"],
        Architecture::Aarch64 => {
            &["cortex-a53", "cortex-a72", "neoverse-n1", "max,sve=off", "max,pauth-impdef=on,lpa2=off"]
        }
    }
}

/// A processor and board on which a part of all tests runs again.
pub struct Variation {
    /// The prefix of its tests' names.
    pub name: &'static str,
    /// QEMU's processor model.
    pub cpu: &'static str,
    /// Properties of the architecture's first board.
    pub properties: &'static str,
    /// Processors.
    pub cpus: u32,
    /// Jobs and groups of jobs.
    pub tests: &'static [&'static str],
}

impl Variation {
    /// Whether the job `name` is among its tests.
    pub fn has(&self, name: &str) -> bool {
        self.tests.iter().any(|test| name == *test || name.strip_prefix(test).is_some_and(|rest| rest.starts_with('/')))
    }
}

/// The variations: without large-system atomics and PAN, and with them; each with another interrupt controller.
pub fn variations(architecture: Architecture) -> &'static [Variation] {
    const TESTS: &[&str] = &["conformance", "applets/processes", "applets/shell", "sessions/interrupt"];
    /// What several processors are tried with: processes, their pipes and signals.
    const SEVERAL: &[&str] = &["conformance", "applets/processes", "applets/shell", "clients", "sessions/interrupt"];
    match architecture {
        Architecture::X86_64 => &[Variation { name: "4-cpus", cpu: "max", properties: "", cpus: 4, tests: SEVERAL }],
        Architecture::Aarch64 => &[
            Variation { name: "cortex-a72", cpu: "cortex-a72", properties: ",gic-version=2", cpus: 1, tests: TESTS },
            Variation { name: "neoverse-n1", cpu: "neoverse-n1", properties: ",gic-version=3", cpus: 1, tests: TESTS },
            Variation { name: "4-cpus", cpu: "max,pauth-impdef=on", properties: "", cpus: 4, tests: SEVERAL },
        ],
    }
}

/// The jobs.
pub fn jobs(architecture: Architecture) -> Vec<Job> {
    let mut jobs = Vec::new();
    for &(name, machine, properties) in boards(architecture) {
        jobs.push(Job::single(&format!("machines/{name}"), move |setup| {
            if setup.system == Kernel::Linux && machine == Machine::Microvm {
                return Ok(()); // Has no second serial line for the status, and hangs with ACPI.
            }
            expect(setup, "echo alive; exit 42", "alive\n", Outcome::Exited(42), |machine_| {
                machine_.machine = machine;
                properties.clone_into(&mut machine_.machine_properties);
            })
        }));
    }
    for &(board, machine) in ending(architecture) {
        for way in ["poweroff -f", "reboot -f", "halt -f"] {
            let name = format!("machines/{board}-{}", way.trim_end_matches(" -f"));
            jobs.push(Job::single(&name, move |setup| {
                if setup.system == Kernel::Linux && (way == "halt -f" || machine == Machine::Microvm) {
                    return Ok(()); // Linux stops there without ending QEMU.
                }
                expect(
                    setup,
                    &format!("echo alive; {way}; sleep 10"),
                    "alive\n",
                    Outcome::PoweredOff,
                    |configuration| {
                        configuration.machine = machine;
                    },
                )
            }));
        }
    }
    for &cpu in processors(architecture) {
        let name = format!("machines/cpu-{}", cpu.replace(',', "-"));
        jobs.push(Job::single(&name, move |setup| {
            expect(setup, "echo alive", "alive\n", Outcome::Exited(0), |configuration| {
                configuration.cpu = Some(cpu.to_owned());
            })
        }));
    }
    jobs.push(Job::single("machines/memory-24M", |setup| small(setup, "24M")));
    jobs.push(Job::single("machines/memory-64M", |setup| small(setup, "64M")));
    jobs.push(Job::single("machines/memory-6G", |setup| {
        let script = "awk '/MemTotal/ { print ($2 > 6000000) }' /proc/meminfo";
        expect(setup, script, "1\n", Outcome::Exited(0), |configuration| "6G".clone_into(&mut configuration.memory))
    }));
    jobs.push(Job::single("machines/numa", numa));
    jobs.push(Job::single("machines/cpus-2", |setup| several_cpus(setup, 2)));
    jobs.push(Job::single("machines/cpus-8", |setup| several_cpus(setup, 8)));
    jobs.push(Job::single("machines/cpus-64", |setup| several_cpus(setup, 64)));
    if architecture == Architecture::Aarch64 {
        jobs.push(Job::single("machines/cpus-4-gic2", version_2));
        jobs.push(Job::single("machines/spin-table", |setup| spin_table(setup, Release::Own)));
        jobs.push(Job::single("machines/spin-table-shared", |setup| spin_table(setup, Release::Shared)));
    }
    jobs.push(Job::single("machines/maxcpus", maxcpus));
    jobs.push(Job::single("machines/idle", idle));
    jobs.push(Job::single("machines/initramfs-gzip", gzip));
    jobs.push(Job::single("machines/initramfs-several", several));
    jobs.push(Job::single("machines/initramfs-damaged", damaged));
    jobs.push(Job::single("machines/exit-statuses", exit_statuses));
    jobs
}

/// Boots to run `script`, and checks what it printed last and how the machine ended.
pub(super) fn expect(
    setup: &Setup,
    script: &str,
    output: &str,
    outcome: Outcome,
    change: impl FnOnce(&mut Configuration),
) -> Result<()> {
    expect_with(setup, &tree(setup, script)?, output, outcome, change)
}

fn tree(setup: &Setup, script: &str) -> Result<Vec<u8>> {
    let words = ["sh", "-c", &format!("echo MARK; {script}")].map(str::to_owned).to_vec();
    initramfs::for_job(setup.architecture, setup.system, &setup.packages, &Task::Program(words), &Setup::terminal())
}

fn expect_with(
    setup: &Setup,
    initrd: &[u8],
    output: &str,
    outcome: Outcome,
    change: impl FnOnce(&mut Configuration),
) -> Result<()> {
    let initrd = TemporaryFile::new("machine.cpio", initrd)?;
    let mut configuration = setup.machine(initrd.path().to_path_buf());
    change(&mut configuration);
    let mut console = Console::start(&configuration)?;
    console.expect("MARK\r\n", PATIENCE)?;
    console.expect(&output.replace('\n', "\r\n"), PATIENCE)?;
    let ended = console.finish(PATIENCE)?;
    ensure!(ended == outcome, "the machine ended otherwise: {ended:?}, expected {outcome:?}");
    Ok(())
}

fn small(setup: &Setup, memory: &str) -> Result<()> {
    if setup.system == Kernel::Linux {
        return Ok(()); // Debian's Linux needs more.
    }
    let script = "seq 500 | sort -rn | head -1; ls / | wc -l > /dev/null; exit 3";
    expect(setup, script, "500\n", Outcome::Exited(3), |configuration| memory.clone_into(&mut configuration.memory))
}

/// Two nodes, whose memory is not in one piece: the kernel finds them and has all of it.
fn numa(setup: &Setup) -> Result<()> {
    if setup.system == Kernel::Linux || setup.architecture != Architecture::X86_64 {
        return Ok(());
    }
    let script = "dmesg | grep -c 'NUMA: 2 nodes'; awk '/MemTotal/ { print ($2 > 480000) }' /proc/meminfo";
    expect(setup, script, "1\n1\n", Outcome::Exited(0), |configuration| {
        "512M".clone_into(&mut configuration.memory);
        let nodes = ["memory-backend-ram,id=m0,size=128M", "memory-backend-ram,id=m1,size=384M"];
        let near = ["node,nodeid=0,memdev=m0,cpus=0", "node,nodeid=1,memdev=m1", "dist,src=0,dst=1,val=30"];
        configuration.extra.extend(nodes.iter().flat_map(|node| ["-object".to_owned(), (*node).to_owned()]));
        configuration.extra.extend(near.iter().flat_map(|node| ["-numa".to_owned(), (*node).to_owned()]));
    })
}

/// All of so many processors run, and work that they share is done.
fn several_cpus(setup: &Setup, cpus: u32) -> Result<()> {
    let work = "for i in 1 2 3 4; do (seq 300 | sort -rn | head -1) & done; wait";
    let script = format!("nproc; grep -c '^cpu[0-9]' /proc/stat; {work}");
    let output = format!("{cpus}\n{cpus}\n300\n300\n300\n300\n");
    expect(setup, &script, &output, Outcome::Exited(0), |configuration| {
        configuration.cpus = cpus;
        "512M".clone_into(&mut configuration.memory);
    })
}

/// A GICv2, which says with an interrupt from another processor which one that was; the first processor goes and comes.
fn version_2(setup: &Setup) -> Result<()> {
    let script = "for i in 1 2 3 4; do (seq 300 | sort -rn | head -1) & done; wait; \
        cd /sys/devices/system/cpu; taskset 4 sh -c 'echo 0 >cpu0/online; cat online; echo 1 >cpu0/online'; nproc; \
        dmesg | grep -c 'unexpected line'";
    expect(setup, script, "300\n300\n300\n300\n1-3\n4\n0\n", Outcome::Exited(1), |configuration| {
        configuration.cpus = 4;
        ",gic-version=2".clone_into(&mut configuration.machine_properties);
    })
}

/// Firmware without PSCI, which enters the kernel at EL2: the CPUs come from the spin table, those beyond `maxcpus=` wait, and none can be taken off line.
fn spin_table(setup: &Setup, release: Release) -> Result<()> {
    let script = "nproc; for i in 1 2 3 4; do (seq 300 | sort -rn | head -1) & done; wait; \
        cd /sys/devices/system/cpu; cat possible online; ls cpu1/online; dmesg | grep -c 'does not answer'";
    let output = "3\n300\n300\n300\n300\n0-3\n0-2\nls: cpu1/online: No such file or directory\n0\n";
    expect(setup, script, output, Outcome::Exited(1), |configuration| {
        configuration.boot = Boot::SpinTable(release);
        configuration.cpus = 4;
        configuration.cpu = Some("cortex-a72".to_owned());
        ",secure=on,virtualization=on,gic-version=2".clone_into(&mut configuration.machine_properties);
        configuration.append.push_str(" maxcpus=3");
    })
}

/// `maxcpus=` leaves the others alone.
fn maxcpus(setup: &Setup) -> Result<()> {
    expect(setup, "grep -c '^cpu[0-9]' /proc/stat", "2\n", Outcome::Exited(0), |configuration| {
        configuration.cpus = 4;
        configuration.append.push_str(" maxcpus=2");
    })
}

/// A machine with nothing to do has no ticks: far fewer interrupts than a hundred a second.
fn idle(setup: &Setup) -> Result<()> {
    if setup.system == Kernel::Linux {
        return Ok(()); // Its configuration says how it idles.
    }
    let count = "awk '/^intr/ { print $2 }' /proc/stat";
    let script = format!(
        "a=$({count}); sleep 2; b=$({count}); [ $((b - a)) -lt 60 ] && echo quiet; exit $((b - a < 60 ? 0 : 9))"
    );
    expect(setup, &script, "quiet\n", Outcome::Exited(0), |_| ())
}

fn gzip(setup: &Setup) -> Result<()> {
    let content = compress(&tree(setup, "echo from gzip")?)?;
    expect_with(setup, &content, "from gzip\n", Outcome::Exited(0), |_| ())
}

fn compress(content: &[u8]) -> Result<Vec<u8>> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content)?;
    Ok(encoder.finish()?)
}

/// A plain archive, zeros, a compressed one: the later one wins.
fn several(setup: &Setup) -> Result<()> {
    let mut content = tree(setup, "cat /etc/added /etc/hostname")?;
    let mut second = Archive::new();
    second.file("etc/added", 0o644, b"added\n");
    second.file("etc/hostname", 0o644, b"replaced\n");
    content.extend_from_slice(&[0; 1024]);
    content.extend_from_slice(&compress(&second.finish())?);
    expect_with(setup, &content, "added\nreplaced\n", Outcome::Exited(0), |_| ())
}

/// An archive that is cut off, and one that is noise: told, and no hang.
fn damaged(setup: &Setup) -> Result<()> {
    let good = tree(setup, "echo alive")?;
    let cut = good.get(..good.len() / 3).unwrap_or_default();
    for content in [cut, b"070701 this is no archive at all, whatever its first six letters say", &[0xff; 5000]] {
        let initrd = TemporaryFile::new("damaged.cpio", content)?;
        let console = Console::start(&setup.machine(initrd.path().to_path_buf()))?;
        let ended = console.finish(PATIENCE)?;
        let right = match setup.system {
            Kernel::Ashlar => ended == Outcome::Panicked,
            Kernel::Linux => ended != Outcome::TimedOut,
        };
        ensure!(right, "with a damaged initramfs the machine ended so: {ended:?}");
    }
    Ok(())
}

fn exit_statuses(setup: &Setup) -> Result<()> {
    for status in [0, 1, 127, 128, 255] {
        expect(setup, &format!("exit {status}"), "", Outcome::Exited(status), |_| ())?;
    }
    Ok(())
}
