//! Several processors as programs see them: where they stand, taking them off line and bringing them back, what interrupts them.
//!
//! What is expected is what Debian's Linux says in the same QEMU (`cargo xtask test --linux`), but for what only one of the two counts.

use anyhow::Result;

use super::machines::expect;
use super::{Job, Setup};
use crate::initramfs::Kernel;
use crate::qemu::Outcome;
use crate::target::Architecture;

/// What a CPU shares with which others, from its directory.
const PLACES: &str = "cd /sys/devices/system/cpu; for c in 0 3 5 6; do cd cpu$c; \
    echo $c: $(cat topology/physical_package_id topology/core_id topology/core_cpus topology/core_siblings_list \
    topology/package_cpus topology/cluster_cpus_list cache/index*/level cache/index*/type cache/index*/shared_cpu_list); \
    cd ..; done; cat smt/active";

/// The jobs.
pub fn jobs(_architecture: Architecture) -> Vec<Job> {
    vec![
        Job::single("processors/topology", topology),
        Job::single("processors/off-and-on", off_and_on),
        Job::single("processors/pinned", pinned),
        Job::single("processors/maxcpus-and-more", started_later),
        Job::single("processors/last", last),
        Job::single("processors/stress", stress),
        Job::single("processors/idle", idle),
        Job::single("processors/interrupts", interrupts),
    ]
}

/// Runs `script` with `cpus` processors, which end it with status 0, and compares what it says.
fn run(setup: &Setup, cpus: u32, script: &str, output: &str) -> Result<()> {
    expect(setup, script, output, Outcome::Exited(0), |configuration| configuration.cpus = cpus)
}

/// Two packages of two cores of two threads; x86's `max` calls threads cores.
fn topology(setup: &Setup) -> Result<()> {
    let output = match setup.architecture {
        Architecture::X86_64 => {
            "0: 0 0 01 0-3 0f 0 1 1 2 3 Data Instruction Unified Unified 0 0 0 0-3\n\
             3: 0 3 08 0-3 0f 3 1 1 2 3 Data Instruction Unified Unified 3 3 3 0-3\n\
             5: 1 1 20 4-7 f0 5 1 1 2 3 Data Instruction Unified Unified 5 5 5 4-7\n\
             6: 1 2 40 4-7 f0 6 1 1 2 3 Data Instruction Unified Unified 6 6 6 4-7\n0\n"
        }
        Architecture::Aarch64 => {
            "0: 0 0 03 0-3 0f 0-3 1 1 Data Instruction 0 0\n\
             3: 0 1 0c 0-3 0f 0-3 1 1 Data Instruction 3 3\n\
             5: 1 0 30 4-7 f0 4-7 1 1 Data Instruction 5 5\n\
             6: 1 1 c0 4-7 f0 4-7 1 1 Data Instruction 6 6\n1\n"
        }
    };
    expect(setup, PLACES, output, Outcome::Exited(0), |configuration| {
        configuration.cpus = 8;
        configuration.extra.extend(["-smp", "sockets=2,cores=2,threads=2"].map(str::to_owned));
    })
}

/// `online` of a CPU, and where it shows.
fn off_and_on(setup: &Setup) -> Result<()> {
    let script = "cd /sys/devices/system/cpu; \
        for word in 2 x off 1 N y no on; do echo $word 2>/dev/null >cpu3/online; echo $? $word $(cat online offline); done; \
        echo 0 >cpu1/online; echo $(cat online offline possible present); nproc; ls -d cpu1/topology 2>/dev/null; \
        cat cpu0/topology/package_cpus_list cpu1/online; grep -c ^processor /proc/cpuinfo; grep -c ^cpu /proc/stat; \
        head -1 /proc/interrupts | wc -w; (seq 300 | sort -rn | head -1); echo 1 >cpu1/online; nproc; cat cpu1/topology/package_cpus_list; \
        ls /sys/devices/system/cpu | grep -c 'cpu[0-9]'";
    let output = "1 2 0-3\n1 x 0-3\n0 off 0-2 3\n0 1 0-3\n0 N 0-2 3\n0 y 0-3\n0 no 0-2 3\n0 on 0-3\n\
        0,2-3 1 0-3 0-3\n3\n0,2-3\n0\n3\n4\n3\n300\n4\n0-3\n4\n";
    run(setup, 4, script, output)
}

/// A thread that may use one CPU alone, which goes off line: one that runs may use all then; one that sleeps keeps its mask until it wakes.
fn pinned(setup: &Setup) -> Result<()> {
    let script = "cd /sys/devices/system/cpu; show() { awk '/Cpus_allowed_list/ { print $2 }' /proc/$1/status; }; \
        taskset 8 sh -c 'while :; do :; done' & runs=$!; taskset 8 sleep 100 & sleeps=$!; sleep 0.3; \
        show $runs; show $sleeps; echo 0 >cpu3/online; show $runs; show $sleeps; \
        taskset 8 true 2>/dev/null; echo $?; dmesg | grep -c 'no longer affine to cpu3'; \
        echo 1 >cpu3/online; show $runs; show $sleeps; kill $runs $sleeps; wait; \
        taskset 4 sh -c 'echo 0 >cpu2/online; cat online; awk \"/Cpus_allowed_list/ { print \\$2 }\" /proc/self/status'; echo 1 >cpu2/online";
    run(setup, 4, script, "3\n3\n0-3\n3\n1\n1\n0-3\n3\n0-1,3\n0-3\n")
}

/// `maxcpus=1`: the others are present, and come when they are asked to.
fn started_later(setup: &Setup) -> Result<()> {
    let script = "cd /sys/devices/system/cpu; echo $(cat possible present online offline); nproc; \
        for cpu in 2 1 3; do echo 1 >cpu$cpu/online; cat online; done; nproc; cat cpu0/topology/package_cpus_list; \
        for i in 1 2 3 4; do (seq 300 | sort -rn | head -1) & done; wait";
    let output = "0-3 0-3 0 1-3\n1\n0,2\n0-2\n0-3\n4\n0-3\n300\n300\n300\n300\n";
    expect(setup, script, output, Outcome::Exited(0), |configuration| {
        configuration.cpus = 4;
        configuration.append.push_str(" maxcpus=1");
    })
}

/// The last CPU stays; x86's first one always does.
fn last(setup: &Setup) -> Result<()> {
    let script = "cd /sys/devices/system/cpu; for cpu in 0 1 2 3; do (echo 0 >cpu$cpu/online) 2>/dev/null; echo $?; done; cat online; \
        seq 100 | sort -rn | head -1; for cpu in 0 1 2; do (echo 1 >cpu$cpu/online) 2>/dev/null; done; cat online";
    let output = match setup.architecture {
        Architecture::X86_64 => "1\n0\n0\n0\n0\n100\n0-2\n",
        Architecture::Aarch64 => "0\n0\n0\n1\n3\n100\n0-3\n",
    };
    run(setup, 4, script, output)
}

/// Processes and their pipes come and go, some bound to one CPU, while CPUs do: each result is right, and no memory is lost.
fn stress(setup: &Setup) -> Result<()> {
    let script = "cd /sys/devices/system/cpu; free() { awk '/MemFree/ { print $2 }' /proc/meminfo; }; \
        work() { for i in 1 2 3 4 5 6 7 8 9 10; do taskset $1 sh -c 'seq 200 | sort -rn | head -1'; done; }; \
        work f >/dev/null; before=$(free); \
        for mask in f 2 4 8 e f; do n=$((n + 1)); work $mask >/tmp/out.$n 2>/tmp/errors.$n & done; \
        for round in 1 2 3 4 5 6; do for cpu in 1 2 3; do echo 0 >cpu$cpu/online; done; \
        for cpu in 3 1 2; do echo 1 >cpu$cpu/online; done; done; wait; cat online; \
        cat /tmp/out.* /tmp/errors.* | grep -v 'set pid' | sort | uniq; \
        rm /tmp/out.* /tmp/errors.*; sleep 1; after=$(free); [ $((before - after)) -lt 4096 ]; echo $?";
    run(setup, 4, script, "0-3\n200\n0\n")
}

/// With nothing to do no CPU has a tick: in three seconds fewer than thirty timer interrupts on each.
fn idle(setup: &Setup) -> Result<()> {
    if setup.system == Kernel::Linux {
        return Ok(()); // Its configuration says how it idles.
    }
    let row = match setup.architecture {
        Architecture::X86_64 => "LOC",
        Architecture::Aarch64 => "arch_timer",
    };
    let script = format!(
        "counts() {{ awk '/{row}/ {{ print $2, $3, $4, $5 }}' /proc/interrupts; }}; sleep 1; a=$(counts); sleep 3; b=$(counts); \
         echo $a $b | awk '{{ for (i = 1; i <= 4; i++) print ($(i + 4) - $i < 30) }}'"
    );
    run(setup, 4, &script, "1\n1\n1\n1\n")
}

/// Each CPU counts what interrupts it, and `/proc/stat` has the sum.
fn interrupts(setup: &Setup) -> Result<()> {
    let (row, line) = match setup.architecture {
        Architecture::X86_64 => ("RES", "ttyS0"),
        Architecture::Aarch64 => ("IPI0", "uart-pl011"),
    };
    let script = format!(
        "taskset 2 sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done'; \
         awk 'NR == 1 {{ print NF, $1, $4 }} /{row}:/ {{ print $1, (NF > 5) }} /{line}/ {{ print \"line\", (NF > 6) }}' /proc/interrupts; \
         awk '/^intr/ {{ print ($2 > 0), (NF > 20) }} /^softirq/ {{ print NF }} /^ctxt/ {{ print ($2 > 0) }}' /proc/stat"
    );
    let output = format!("4 CPU0 CPU3\nline 1\n{row}: 1\n1 1\n1\n12\n");
    run(setup, 4, &script, &output)
}
