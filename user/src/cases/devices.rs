//! Device files that set something, and what sysfs says of the processors.

use crate::runner::Case;
use crate::system;
use std::fs;

pub(super) const CASES: &[Case] = &[
    ("devices/limit-of-latency", limit_of_latency),
    ("devices/vulnerabilities-of-processors", vulnerabilities),
    ("devices/states-of-processors", states),
];

fn open() -> i32 {
    system::open(c"/dev/cpu_dma_latency", libc::O_RDWR, 0).unwrap_or(-1)
}

/// The limit in force, as a file that has just been opened reads it.
fn limit() -> i32 {
    let (file, mut bytes) = (open(), [0; 4]);
    let _ = system::read(file, &mut bytes);
    let _ = system::close(file);
    i32::from_ne_bytes(bytes)
}

fn limit_of_latency() {
    let listed = |path: &str, wanted: &str| {
        fs::read_to_string(path).unwrap_or_default().lines().any(|line| line.trim_start() == wanted)
    };
    println!("{} {}", listed("/proc/misc", "125 cpu_dma_latency"), listed("/proc/devices", "10 misc"));
    let mut status = system::zeroed::<libc::stat>();
    let (one, other) = (open(), open());
    println!("{:?} {:o} {:#x}", system::fstat(one, &mut status), status.st_mode, status.st_rdev);
    println!("{}", limit());
    println!("{:?} {}", system::write(one, &100_i32.to_ne_bytes()), limit());
    println!("{:?} {}", system::write(other, &50_i32.to_ne_bytes()), limit());
    println!("{:?} {}", system::write(one, &20_i32.to_ne_bytes()), limit());
    // Two descriptors of one open file have one wish.
    let copy = system::dup(one).unwrap_or(-1);
    let _ = system::close(one);
    println!("{}", limit());
    let _ = system::close(copy);
    println!("{}", limit());
    for text in ["1f\n", "0x10", "-3", "7fffffff", "80000000", "", "x", "12 ", "12\n", "123456789abcdef01", "00000"] {
        println!("{text:?} {:?} {}", system::write(other, text.as_bytes()), limit());
    }
    println!("{:?} {}", system::write(other, &(-1_i32).to_ne_bytes()), limit());
    println!("{:?} {}", system::write(other, &0_i32.to_ne_bytes()), limit());
    // A write does not move what is read next; a read does.
    let mut bytes = [9; 4];
    println!("{:?} {bytes:?}", system::read(other, &mut bytes[..3]));
    println!("{:?} {:?}", system::read(other, &mut bytes), system::read(other, &mut bytes));
    let _ = system::close(other);
    println!("{}", limit());
}

/// Whether each is there at all: what is done about it is each kernel's own.
fn vulnerabilities() {
    let directory = "/sys/devices/system/cpu/vulnerabilities";
    let mut names: Vec<_> = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    names.sort();
    for path in names {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Which it is depends on the processor, whose units' tests are in the kernel.
        let is_answer = ["Not affected", "Vulnerable", "Mitigation: ", "Processor vulnerable", "KVM: "]
            .iter()
            .any(|answer| text.starts_with(answer));
        println!("{name}: {is_answer} {}", text.ends_with('\n'));
    }
}

fn states() {
    let read = |path: &str| fs::read_to_string(format!("/sys/devices/system/cpu/{path}")).unwrap_or_default();
    let states = read("hotplug/states");
    let named: Vec<(u32, &str)> = states
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(n, name)| (n.trim().parse().unwrap_or(999), name))
        .collect();
    let (first, last) = (named.first().copied().unwrap_or_default(), named.last().copied().unwrap_or_default());
    println!("{first:?} {} {}", last.1, named.is_sorted());
    println!("{}", read("cpu0/hotplug/state") == format!("{}\n", last.0));
    // Where there is a second one it goes and comes by its number.
    let go = |state: u32| fs::write("/sys/devices/system/cpu/cpu1/hotplug/target", format!("{state}\n")).is_ok();
    let at = || (read("cpu1/hotplug/state"), read("cpu1/online"), read("cpu1/hotplug/target"));
    let expected = |state: u32, online: &str| (format!("{state}\n"), format!("{online}\n"), format!("{state}\n"));
    let works = read("cpu1/online").is_empty()
        || (go(first.0)
            && at() == expected(first.0, "0")
            && go(last.0)
            && at() == expected(last.0, "1")
            && !go(100_000));
    println!("{works}");
}
