//! How many of busybox's applets the cases of `tests/applets/*.sh` run.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::recorded::APPLETS;
use super::{Job, Setup, applet_census};
use crate::initramfs;

/// The least number of applets that the cases run.
const LEAST_APPLETS: usize = 120;

/// Counts the applets that the cases run, and says which are left.
fn census(setup: &Setup) -> Result<()> {
    let applets = initramfs::applet_names(setup.architecture)?;
    let (mut run, mut cases) = (BTreeSet::new(), 0);
    for group in APPLETS.groups(None)? {
        let recorded = group.recorded(setup.architecture);
        for case in group.cases {
            let (output, _) = recorded.get(&case.name).cloned().unwrap_or_default();
            let mut found = applet_census::of(&case.script, &applets);
            found
                .retain(|name| !output.contains(&format!("{name}: not found")) && !output.contains("applet not found"));
            run.append(&mut found);
            cases += 1;
        }
    }
    println!("applets: {cases} cases run {} different ones of busybox's {}", run.len(), applets.len());
    ensure!(run.len() >= LEAST_APPLETS, "fewer than {LEAST_APPLETS}: {run:?}");
    Ok(())
}

/// The job that counts them.
pub fn job() -> Job {
    Job::single("applets/census", census)
}
