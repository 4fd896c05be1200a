//! The allocator of physical frames beside its rivals ([`rivals`]).
//!
//! All manage 4 GiB of frames that are never touched, only numbered. What is measured stands with each row; the share of memory that comes back
//! as 2 MiB blocks is counted, not timed.

mod rivals;

use crate::measure::{Effort, Random, Worst, busy_time, conditions, each, processor_time, smallest};
use crate::report::{Report, Table};
use anyhow::Result;
use rivals::{Buddy, FlatBitmap, HUGE_FRAMES, LockedBitmap, Ours, Rival};
use std::sync::Barrier;
use std::time::Duration;

/// 4 GiB.
const FRAMES: u64 = 1 << 20;
/// Frames that bulk rows take.
const BULK: u64 = FRAMES / 4;
/// Rounds of random reallocation.
const ROUNDS: usize = 100;
const COLUMNS: [&str; 4] = ["Ashlar", "buddy_system_allocator", "spinlocked bitmap", "flat lock-free bitmap"];

const NOTE: &str = "Ashlar's code is the kernel's, compiled as for the kernel's release; raising and lowering the preemption count is part of it. \
    `buddy_system_allocator` and the spinlocked bitmap are behind their locks, as a kernel needs them.";

/// LLFree is not to be had as a package; this is what its authors say.
const PUBLISHED: &str = "LLFree itself, *published* (Wrenger et al., \"LLFree: Scalable and Optionally-Persistent Page-Frame Allocation\", USENIX ATC 2023; another \
    machine, inside Linux, so not to be compared number by number): where Linux's allocator goes from 94 ns for a 4 KiB frame on one core to 984 ns on 26 cores, \
    LLFree takes up to 88 % less time for concurrent 4 KiB allocations and up to 98 % less for 2 MiB; compaction has to move 64 % fewer pages.";

/// Measures one figure on each rival, with `$work::<R>(arguments)`.
macro_rules! on_each {
    ($effort:expr, $work:ident($($argument:expr),*)) => {
        smallest(
            $effort.repetitions(),
            &mut [
                &mut || $work::<Ours>($($argument),*),
                &mut || $work::<Buddy>($($argument),*),
                &mut || $work::<LockedBitmap>($($argument),*),
                &mut || $work::<FlatBitmap>($($argument),*),
            ],
        )
    };
}

/// Measures all of it.
///
/// # Errors
/// Threads that could not be watched.
pub fn run(effort: Effort) -> Result<Report> {
    let mut report = Report::new("frames", "The allocator of physical frames");
    let before = conditions();
    let single = single_thread(effort);
    let several = several_threads(effort);
    let worst = worst_operations(effort);
    let fragmentation = fragmentation();
    report.introduce(&format!(
        "Made by `cargo xtask bench --allocators`: 4 GiB of frames, the smallest of {} repetitions, rivals in turn. The machine had {before} when it began, {} when it ended.\n\n{NOTE}\n\n{PUBLISHED}",
        effort.repetitions(),
        conditions(),
    ));
    for table in [single, several, worst, fragmentation] {
        report.add(table);
    }
    Ok(report)
}

fn single_thread(effort: Effort) -> Table {
    let mut table = Table::new("One thread", "CPU ns per get + put, less is better", &COLUMNS);
    table.row("get + put", on_each!(effort, pairs()));
    table.row("256 gets, 256 puts", on_each!(effort, batches(256)));
    table.row("1 GiB in a row", on_each!(effort, bulk(Order::Same)));
    table.row("1 GiB, freed at random", on_each!(effort, bulk(Order::Random)));
    table.row("2 MiB get + put", on_each!(effort, huge_pairs()));
    table.row("1 GiB in 2 MiB blocks", on_each!(effort, huge_bulk()));
    table.note(
        "\"1 GiB in a row\" gives all frames back in one call where the allocator has one; \"freed at random\" one by one, in random order.",
    );
    table
}

fn several_threads(effort: Effort) -> Table {
    let mut table = Table::new("Several threads", "CPU ns per get + put, less is better", &COLUMNS);
    for threads in [1, 2, 4] {
        table.row(&format!("{threads} x get + put"), on_each!(effort, threaded(threads, Work::Pairs)));
    }
    for threads in [1, 2, 4] {
        table.row(&format!("{threads} x 256 and 256"), on_each!(effort, threaded(threads, Work::Batches)));
    }
    for threads in [1, 2, 4] {
        table.row(&format!("{threads} x 2 MiB"), on_each!(effort, threaded(threads, Work::Huge)));
    }
    table.note("All threads' time on processors, waiting for locks included, over all operations: flat is ideal.");
    table
}

fn worst_operations(effort: Effort) -> Table {
    let mut table = Table::new("The worst single operation", "ns, less is better", &COLUMNS);
    table.row("get", on_each!(effort, worst(Watched::Get)));
    table.row("put", on_each!(effort, worst(Watched::Put)));
    table.note(
        "The longest of 65,536 gets, and of as many puts in random order, on memory of which a random half is taken; the smallest of all repetitions, \
         because an interruption by another program is longer. Reading the clock twice is part of it.",
    );
    table
}

fn fragmentation() -> Table {
    let mut table =
        Table::new("Huge blocks that come back", "% of free memory as 2 MiB blocks, more is better", &COLUMNS);
    let figures = [recovered::<Ours>(), recovered::<Buddy>(), recovered::<LockedBitmap>(), recovered::<FlatBitmap>()];
    let at = |round: usize| figures.iter().map(|shares| shares.get(round).copied()).collect();
    for round in [0, 10, 25, 50, ROUNDS] {
        table.row(&format!("after {round} rounds"), at(round));
    }
    table.note(
        "All of memory is taken frame by frame, a random half given back; then in each round a random tenth of what is taken is given back and as much taken again. \
         The last row was checked by allocating the blocks.",
    );
    table
}

/// Nanoseconds of a get and the put of the same frame.
fn pairs<R: Rival>() -> Option<f64> {
    const PAIRS: u64 = 200_000;
    let rival = R::new(FRAMES);
    let mut local = rival.local(0);
    let time = busy_time(|| {
        for _ in 0..PAIRS {
            let frame = rival.get(&mut local)?;
            rival.put(&mut local, std::hint::black_box(frame));
        }
        Some(())
    });
    Some(each(time, PAIRS))
}

fn batches<R: Rival>(size: usize) -> Option<f64> {
    const BATCHES: u64 = 500;
    let rival = R::new(FRAMES);
    let mut local = rival.local(0);
    let mut held = Vec::with_capacity(size);
    let time = busy_time(|| {
        for _ in 0..BATCHES {
            for _ in 0..size {
                held.extend(rival.get(&mut local));
            }
            held.drain(..).for_each(|frame| rival.put(&mut local, frame));
        }
    });
    Some(each(time, BATCHES * size as u64))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Same,
    Random,
}

fn bulk<R: Rival>(order: Order) -> Option<f64> {
    let rival = R::new(FRAMES);
    let mut local = rival.local(0);
    let mut held = vec![0; usize::try_from(BULK).ok()?];
    let taking = busy_time(|| held.iter_mut().for_each(|frame| *frame = rival.get(&mut local).unwrap_or_default()));
    let giving = match order {
        Order::Same => busy_time(|| rival.put_all(&mut local, &held)),
        Order::Random => {
            Random::new(7).shuffle(&mut held);
            busy_time(|| held.iter().for_each(|frame| rival.put(&mut local, *frame)))
        }
    };
    Some(each(taking + giving, BULK))
}

fn huge_pairs<R: Rival>() -> Option<f64> {
    const PAIRS: u64 = 20_000;
    let rival = R::new(FRAMES);
    let mut local = rival.local(0);
    let time = busy_time(|| {
        for _ in 0..PAIRS {
            let frame = rival.get_huge(&mut local)?;
            rival.put_huge(&mut local, std::hint::black_box(frame));
        }
        Some(())
    });
    Some(each(time, PAIRS))
}

fn huge_bulk<R: Rival>() -> Option<f64> {
    const BLOCKS: u64 = BULK / HUGE_FRAMES;
    const TURNS: u64 = 4;
    let rival = R::new(FRAMES);
    let mut local = rival.local(0);
    let mut held = Vec::new();
    let time = busy_time(|| {
        for _ in 0..TURNS {
            held.extend((0..BLOCKS).filter_map(|_| rival.get_huge(&mut local)));
            held.drain(..).for_each(|frame| rival.put_huge(&mut local, frame));
        }
    });
    Some(each(time, TURNS * BLOCKS))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Pairs,
    Batches,
    Huge,
}

fn threaded<R: Rival>(threads: usize, work: Work) -> Option<f64> {
    const BATCH: usize = 256;
    let rival = R::new(FRAMES);
    let start = Barrier::new(threads);
    let operations: u64 = match work {
        Work::Pairs => 400_000,
        Work::Batches => 800 * BATCH as u64,
        Work::Huge => 20_000,
    };
    let one = |thread: usize| {
        let mut local = rival.local(thread);
        let mut held = Vec::with_capacity(BATCH);
        start.wait();
        let before = processor_time();
        match work {
            Work::Pairs => {
                for _ in 0..operations {
                    let frame = rival.get(&mut local)?;
                    rival.put(&mut local, std::hint::black_box(frame));
                }
            }
            Work::Batches => {
                for _ in 0..operations / BATCH as u64 {
                    held.extend((0..BATCH).filter_map(|_| rival.get(&mut local)));
                    held.drain(..).for_each(|frame| rival.put(&mut local, frame));
                }
            }
            Work::Huge => {
                for _ in 0..operations {
                    let frame = rival.get_huge(&mut local)?;
                    rival.put_huge(&mut local, std::hint::black_box(frame));
                }
            }
        }
        Some(processor_time().saturating_sub(before))
    };
    let times: Option<Vec<Duration>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        workers.into_iter().map(|worker| worker.join().ok().flatten()).collect()
    });
    Some(each(times?.iter().sum(), operations * threads as u64))
}

/// Takes everything and gives a random half back. What is still taken, in random order.
fn half_full<R: Rival>(rival: &R, local: &mut R::Local, random: &mut Random) -> Vec<u64> {
    let mut held: Vec<u64> = std::iter::from_fn(|| rival.get(local)).collect();
    random.shuffle(&mut held);
    let free = held.split_off(held.len() / 2);
    free.iter().for_each(|frame| rival.put(local, *frame));
    held
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Watched {
    Get,
    Put,
}

fn worst<R: Rival>(watched: Watched) -> Option<f64> {
    const OPERATIONS: usize = 1 << 16;
    let rival = R::new(FRAMES / 4);
    let mut local = rival.local(0);
    let held = half_full(&rival, &mut local, &mut Random::new(11));
    let mut worst = Worst::default();
    match watched {
        Watched::Get => {
            for _ in 0..OPERATIONS {
                let _ = worst.watch(|| rival.get(&mut local));
            }
        }
        Watched::Put => held.iter().take(OPERATIONS).for_each(|frame| worst.watch(|| rival.put(&mut local, *frame))),
    }
    Some(worst.nanoseconds())
}

/// The share of free memory, in percent, that is whole 2 MiB blocks: at the start and after each round.
fn recovered<R: Rival>() -> Vec<f64> {
    let rival = R::new(FRAMES);
    let mut local = rival.local(0);
    let mut random = Random::new(3);
    let mut held = half_full(&rival, &mut local, &mut random);
    let mut shares = vec![share_of_whole(&held)];
    for _ in 0..ROUNDS {
        let kept = held.len() - held.len() / 10;
        random.shuffle(&mut held);
        let freed = held.split_off(kept);
        freed.iter().for_each(|frame| rival.put(&mut local, *frame));
        held.extend((0..freed.len()).filter_map(|_| rival.get(&mut local)));
        shares.push(share_of_whole(&held));
    }
    // What counts is what can be had.
    let free = free_frames(&held);
    let blocks = std::iter::from_fn(|| rival.get_huge(&mut local)).count() as u64;
    if let Some(last) = shares.last_mut() {
        *last = percent(blocks * HUGE_FRAMES, free);
    }
    shares
}

fn free_frames(held: &[u64]) -> u64 {
    FRAMES - held.len() as u64
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

fn share_of_whole(held: &[u64]) -> f64 {
    let group = |frame: u64| usize::try_from(frame / HUGE_FRAMES - 1).unwrap_or(0);
    let mut is_used = vec![false; usize::try_from(FRAMES / HUGE_FRAMES).unwrap_or(0)];
    held.iter().for_each(|frame| is_used[group(*frame)] = true);
    let whole = is_used.iter().filter(|used| !**used).count() as u64;
    percent(whole * HUGE_FRAMES, free_frames(held))
}
