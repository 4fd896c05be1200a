//! The programs of `user/`, each run on the host's Linux first and then on the booted kernel: both must say the same, whatever the
//! architectures of the two are.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::batch::{self, Case};
use super::{Job, Setup, Verdict, recorded};
use crate::target::Architecture;
use crate::user_build;

/// Programs that measure or that must not run on the host.
const NOT_TESTS: &[&str] = &["at_init", "bench", "conformance", "hostile", "leave", "traced"];

/// One of them: for the machine, and for this host.
struct Program {
    name: String,
    guest: PathBuf,
    host: PathBuf,
}

/// The job, if any program matches `filter`.
pub fn jobs(architecture: Architecture, filter: Option<&str>) -> Result<Vec<Job>> {
    let mut programs = user_build::build(architecture)?;
    programs.retain(|name, _| {
        !NOT_TESTS.contains(&name.as_str()) && filter.is_none_or(|word| format!("user/{name}").contains(word))
    });
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let native = match Architecture::host() {
        Some(host) if host != architecture => user_build::build(host)?,
        _ => programs.clone(),
    };
    let programs = programs.into_iter().filter_map(|(name, guest)| {
        let host = native.get(&name)?.clone();
        Some(Program { name, guest, host })
    });
    let programs: Vec<Program> = programs.collect();
    Ok(vec![Job::new("user", move |setup| match compare(setup, &programs) {
        Ok(verdicts) => verdicts,
        Err(error) => vec![Verdict::of("user", Err(error))],
    })])
}

fn compare(setup: &Setup, programs: &[Program]) -> Result<Vec<Verdict>> {
    let mut files = Vec::new();
    for Program { name, guest, .. } in programs {
        files.push((name.clone(), std::fs::read(guest).with_context(|| format!("cannot read {}", guest.display()))?));
    }
    let cases: Vec<Case> = programs
        .iter()
        .map(|Program { name, .. }| Case {
            name: name.clone(),
            script: format!("exec /usr/local/bin/{name}\n"),
            limit: 60,
        })
        .collect();
    let answers = batch::run(setup, &cases, |archive| {
        for (name, content) in &files {
            archive.file(&format!("usr/local/bin/{name}"), 0o755, content);
        }
    })?;
    let verdicts = programs.iter().zip(answers).map(|(Program { name, host, .. }, answer)| {
        let result = match on_host(host) {
            Ok(expected) => recorded::judge(&expected, &answer),
            Err(error) => Err(format!("on the host's Linux: {error:#}")),
        };
        Verdict { name: format!("user/{name}"), result }
    });
    Ok(verdicts.collect())
}

/// Output and status on this host; a check that fails here is a mistake in the program.
fn on_host(path: &PathBuf) -> Result<(String, u32)> {
    let output = Command::new("timeout")
        .args(["-s", "KILL", "60"])
        .arg(path)
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .output()
        .context("cannot run it")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("it failed ({}):\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok((text, 0))
}
