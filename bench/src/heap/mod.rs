//! The kernel's heap beside its rivals: objects that come and go at random, that come together and go together, that go on another thread.

#![allow(unsafe_code, reason = "drives allocators by hand")]

mod rivals;

use crate::measure::{self, Effort, Random};
use crate::report::{Report, Table};
use anyhow::Result;
use rivals::{Ashlar, Buddy, Mimalloc, Rival, SendTalc, Spinning, Tlsf, be_cpu};
use std::alloc::Layout;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const COLUMNS: [&str; 6] = [
    "Ashlar",
    "linked_list_allocator (spinlock)",
    "talc (spinlock)",
    "rlsf (spinlock)",
    "buddy_system_allocator (spinlock)",
    "mimalloc (of another class)",
];
/// Steps that are drawn beforehand and played in a circle.
const STEPS: usize = 1 << 16;
/// Steps of a window that is timed.
const STRIDE: usize = 2048;

/// Numbers of live objects.
const LIVE: [usize; 4] = [100, 1000, 10_000, 100_000];

#[derive(Clone, Copy)]
struct Slot {
    object: *mut u8,
    layout: Layout,
}

// SAFETY: whoever has the slot has the object.
unsafe impl Send for Slot {}

/// What happens: which object goes, and how large the one is that takes its place.
struct Script {
    sizes: Vec<usize>,
    steps: Vec<(usize, usize)>,
}

impl Script {
    fn new(live: usize, largest: usize) -> Self {
        let mut random = Random::new(0x5eed_0001 + live as u64);
        let sizes = (0..live).map(|_| 1 + random.below(largest)).collect();
        let steps = (0..STEPS).map(|_| (random.below(live), 1 + random.below(largest))).collect();
        Self { sizes, steps }
    }
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap_or(Layout::new::<u64>())
}

/// An object whose user writes to it.
#[inline]
fn make<R: Rival>(rival: &R, size: usize) -> Slot {
    let layout = layout(size);
    let object = rival.allocate(layout);
    assert!(!object.is_null(), "a benchmark runs out of memory");
    // SAFETY: at least one byte was allocated.
    unsafe { object.write(1) };
    Slot { object, layout }
}

/// Its user reads it a last time.
#[inline]
fn unmake<R: Rival>(rival: &R, slot: Slot) {
    // SAFETY: made by `make`, unmade once.
    unsafe {
        std::hint::black_box(slot.object.read());
        rival.free(slot.object, slot.layout);
    }
}

fn end<R: Rival>(rival: &R, slots: Vec<Slot>) {
    if R::FREES {
        slots.into_iter().for_each(|slot| unmake(rival, slot));
    }
}

/// Plays the script for at most `operations` steps or some time, whatever is first. Gives nanoseconds of a step, a free and an allocation, in
/// the fastest window.
fn play<R: Rival>(rival: &R, script: &Script, mut slots: Vec<Slot>, operations: usize) -> (Vec<Slot>, f64) {
    let patience = Duration::from_millis(40);
    let mut steps = script.steps.iter().cycle();
    let mut play = |count: usize| {
        for (index, size) in steps.by_ref().take(count) {
            if let Some(slot) = slots.get_mut(*index) {
                unmake(rival, *slot);
                *slot = make(rival, *size);
            }
        }
    };
    play(STRIDE);
    let start = Instant::now();
    let (mut done, mut best) = (0, f64::INFINITY);
    // In windows so short that another program's turn falls into few of them.
    while done < operations && start.elapsed() < patience {
        best = best.min(measure::each(measure::time(|| play(STRIDE)), STRIDE as u64));
        done += STRIDE;
    }
    (slots, best)
}

fn steady<R: Rival>(script: &Script, operations: usize) -> f64 {
    let rival = R::begin();
    let slots = script.sizes.iter().map(|size| make(&rival, *size)).collect();
    let (slots, each) = play(&rival, script, slots, operations);
    end(&rival, slots);
    each
}

/// How long each free and allocation of a run takes: those of the beginning, then those of the steps. Every run does the same.
fn each_operation<R: Rival>(script: &Script, operations: usize, times: &mut Vec<u32>) {
    let rival = R::begin();
    let mut place = 0;
    let mut note = |time: Duration| {
        let time = u32::try_from(time.as_nanos()).unwrap_or(u32::MAX);
        match times.get_mut(place) {
            Some(best) => *best = time.min(*best),
            None => times.push(time),
        }
        place += 1;
    };
    let patience = Instant::now() + Duration::from_millis(200);
    let mut slots = Vec::with_capacity(script.sizes.len());
    for size in &script.sizes {
        let start = Instant::now();
        slots.push(make(&rival, *size));
        note(start.elapsed());
    }
    for (step, (index, size)) in script.steps.iter().cycle().take(operations).enumerate() {
        if let Some(slot) = slots.get_mut(*index) {
            let start = Instant::now();
            unmake(&rival, *slot);
            note(start.elapsed());
            let start = Instant::now();
            *slot = make(&rival, *size);
            note(start.elapsed());
        }
        if step % STRIDE == 0 && Instant::now() > patience {
            break;
        }
    }
    end(&rival, slots);
}

/// The longest operation of a script, each by the fastest of its repetitions.
fn worst<R: Rival>(script: &Script, operations: usize, repetitions: usize) -> Option<f64> {
    let mut times = Vec::new();
    (0..repetitions).for_each(|_| each_operation::<R>(script, operations, &mut times));
    times.into_iter().max().map(f64::from)
}

/// All objects come, then go in another order, twice: the first time is not measured, for a rival that finds the memory in the processor's cache because
/// another one has just used it would be ahead. Gives nanoseconds of an object.
fn together<R: Rival>(script: &Script) -> f64 {
    let rival = R::begin();
    let mut slots = Vec::with_capacity(script.sizes.len());
    let mut time = Duration::ZERO;
    for _ in 0..2 {
        time = measure::time(|| slots.extend(script.sizes.iter().map(|size| make(&rival, *size))));
        Random::new(99).shuffle(&mut slots);
        time += measure::time(|| slots.drain(..).for_each(|slot| unmake(&rival, slot)));
    }
    measure::each(time, script.sizes.len() as u64)
}

/// One thread allocates, another one frees. Gives nanoseconds of an object.
fn across<R: Rival>(script: &Script, batches: usize) -> f64 {
    const BATCH: usize = 128;
    let rival = R::begin();
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Vec<Slot>>(8);
    let (give_back, empty) = std::sync::mpsc::channel();
    let start = Barrier::new(2);
    let mut time = Duration::ZERO;
    std::thread::scope(|scope| {
        let freeing = scope.spawn(|| {
            be_cpu(1);
            start.wait();
            for mut batch in receiver {
                batch.drain(..).for_each(|slot| unmake(&rival, slot));
                let _ = give_back.send(batch);
            }
        });
        start.wait();
        time = measure::time(|| {
            let mut steps = script.steps.iter().cycle();
            for _ in 0..batches {
                let mut batch: Vec<Slot> = empty.try_recv().unwrap_or_default();
                batch.extend(steps.by_ref().take(BATCH).map(|(_, size)| make(&rival, *size)));
                let _ = sender.send(batch);
            }
            drop(sender);
            freeing.join()
        });
    });
    measure::each(time, (batches * BATCH) as u64)
}

/// Two threads, each with its own objects. Gives nanoseconds of a step, on the slower one.
fn side_by_side<R: Rival>(script: &Script, operations: usize) -> f64 {
    let rival = R::begin();
    let start = Barrier::new(2);
    let slowest = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 1..=2 {
            let (rival, start, slowest) = (&rival, &start, &slowest);
            scope.spawn(move || {
                be_cpu(number);
                let slots: Vec<Slot> = script.sizes.iter().map(|size| make(rival, *size)).collect();
                start.wait();
                let (slots, each) = play(rival, script, slots, operations);
                // Positive numbers are ordered as their bits are.
                slowest.fetch_max(each.to_bits(), Ordering::Relaxed);
                end(rival, slots);
            });
        }
    });
    f64::from_bits(slowest.into_inner())
}

/// One measurement of every heap, in the order of [`COLUMNS`].
macro_rules! of_each {
    ($repetitions:expr, $measure:ident($($argument:expr),*)) => {
        measure::smallest(
            $repetitions,
            &mut [
                &mut || Some($measure::<Ashlar>($($argument),*)),
                &mut || Some($measure::<Spinning<linked_list_allocator::Heap>>($($argument),*)),
                &mut || Some($measure::<Spinning<SendTalc>>($($argument),*)),
                &mut || Some($measure::<Spinning<Tlsf>>($($argument),*)),
                &mut || Some($measure::<Spinning<Buddy>>($($argument),*)),
                &mut || Some($measure::<Mimalloc>($($argument),*)),
            ],
        )
    };
}

/// Measures all of it.
///
/// # Errors
/// None.
pub fn run(effort: Effort) -> Result<Report> {
    let repetitions = effort.repetitions();
    let (operations, watched, batches) = match effort {
        Effort::Quick => (1 << 14, 1 << 12, 50),
        Effort::Thorough => (1 << 16, 1 << 14, 200),
    };
    be_cpu(0);
    rivals::map_hugely();
    let before = measure::conditions();
    let mut report = Report::new("heap", "The kernel's heap beside others");
    let sizes = [("512 B", 512), ("4 KiB", 4096)];
    for (name, largest) in sizes {
        let title = format!("One object goes, another comes: sizes to {name}");
        let mut table = Table::new(&title, "ns for a free and an allocation, less is better", &COLUMNS);
        for live in LIVE {
            let script = Script::new(live, largest);
            table.row(&format!("{live} live objects"), of_each!(repetitions, steady(&script, operations)));
        }
        table.note("Which object goes and how large the next one is are drawn beforehand, evenly. Each object is written when it comes and read when it goes.");
        report.add(table);
    }
    let mut table = Table::new("All come, then all go in another order", "ns for an object, less is better", &COLUMNS);
    for (name, largest) in sizes {
        for live in [1000, 10_000] {
            let script = Script::new(live, largest);
            table.row(&format!("{live} objects to {name}"), of_each!(repetitions, together(&script)));
        }
    }
    table.note("It happens twice, and the second time counts: which rival had its turn before makes no difference.");
    report.add(table);
    let mut table = Table::new("Two threads", "ns for an object or a step, less is better", &COLUMNS);
    for (name, largest) in sizes {
        let script = Script::new(1000, largest);
        table.row(&format!("one allocates, one frees, to {name}"), of_each!(repetitions, across(&script, batches)));
    }
    for (name, largest) in sizes {
        let script = Script::new(1000, largest);
        table.row(&format!("each its own, to {name}"), of_each!(repetitions, side_by_side(&script, operations)));
    }
    table.note(
        "Wall-clock time; in the first two rows batches of 128 objects go through a channel, which is measured along.",
    );
    report.add(table);
    let mut table = Table::new("The worst single operation", "ns, less is better", &COLUMNS);
    for (name, largest) in sizes {
        for live in [1000, 100_000] {
            let script = Script::new(live, largest);
            let figures = vec![
                worst::<Ashlar>(&script, watched, repetitions),
                worst::<Spinning<linked_list_allocator::Heap>>(&script, watched, repetitions),
                worst::<Spinning<SendTalc>>(&script, watched, repetitions),
                worst::<Spinning<Tlsf>>(&script, watched, repetitions),
                worst::<Spinning<Buddy>>(&script, watched, repetitions),
                worst::<Mimalloc>(&script, watched, repetitions),
            ];
            table.row(&format!("{live} live objects to {name}"), figures);
        }
    }
    table.note(
        "Filling included. Every repetition does the same, so each operation counts with the fastest of its repetitions, and the slowest operation is told: what \
         another program's turn costs is left out as far as it does not hit all of them. Two looks at the clock are part of it.",
    );
    report.add(table);
    report.introduce(&format!(
        "Made by `cargo xtask bench --allocators`; the fastest of {repetitions} repetitions counts (of steps, the fastest 2,048 in a row), rivals take turns. {before} at the start, {} at the end.\n\n\
         Ours takes frames from the kernel's own allocator on its emulated machine; a thread stands for a CPU, with a preemption count in its thread-local storage. The others are what kernels \
         use: one spinlock around all of it (which in a kernel masks interrupts as well: not measured) and one arena of 512 MiB. That and the emulated machine's memory are mapped by huge pages where the \
         host has some, as a kernel maps its memory. mimalloc is an allocator for programs and no rival: it may ask a whole \
         operating system for memory, and its threads are not interrupted by handlers that allocate.",
        measure::conditions()
    ));
    Ok(report)
}
