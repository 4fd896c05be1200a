//! Recordings of Linux that are one file of transcripts: `== NAME` before each; for another architecture a second file holds what is
//! different there, and by a line `== NAME (absent)` what does not exist there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use super::RECORDED_IN_COMMON;
use crate::target::Architecture;
use crate::workspace;

/// The recording `tests/NAME.txt`, with `tests/NAME.ARCHITECTURE.txt`.
#[derive(Clone, Copy, Debug)]
pub struct Recording(pub &'static str);

/// What follows the name of a case that does not exist on the architecture.
const ABSENT: &str = " (absent)";

impl Recording {
    /// Its file, or that of what is different on `architecture`.
    fn file(self, architecture: Architecture) -> PathBuf {
        let name = match architecture {
            RECORDED_IN_COMMON => format!("{}.txt", self.0),
            other => format!("{}.{}.txt", self.0, other.name()),
        };
        workspace::root().join("tests").join(name)
    }

    /// What one file holds.
    pub fn read(self, architecture: Architecture) -> Transcripts {
        split(&std::fs::read_to_string(self.file(architecture)).unwrap_or_default())
    }

    /// What Linux says on `architecture`.
    pub fn recorded(self, architecture: Architecture) -> Transcripts {
        let mut transcripts = self.read(RECORDED_IN_COMMON);
        if architecture != RECORDED_IN_COMMON {
            overlay(&mut transcripts, self.read(architecture));
        }
        transcripts
    }

    /// Writes one file.
    pub fn write(self, architecture: Architecture, text: &str) -> Result<()> {
        super::write_recording(&self.file(architecture), text)
    }
}

/// Makes `transcripts` those of another architecture, which differ by `differences`.
fn overlay(transcripts: &mut Transcripts, differences: Transcripts) {
    for (name, transcript) in differences {
        match name.strip_suffix(ABSENT) {
            Some(gone) => drop(transcripts.remove(gone)),
            None => drop(transcripts.insert(name, transcript)),
        }
    }
}

/// By what `found` differs from `common`, as a recording.
pub fn difference(common: &Transcripts, found: &Transcripts) -> String {
    let mut text = String::new();
    for (name, transcript) in found.iter().filter(|(name, transcript)| common.get(*name) != Some(transcript)) {
        text.push_str(&format!("== {name}\n{transcript}"));
    }
    for name in common.keys().filter(|name| !found.contains_key(*name)) {
        text.push_str(&format!("== {name}{ABSENT}\n"));
    }
    text
}

/// Transcripts by case.
pub type Transcripts = BTreeMap<String, String>;

/// Splits a file at its heads.
pub fn split(text: &str) -> Transcripts {
    let mut transcripts = Transcripts::new();
    let mut name = "";
    for line in text.lines() {
        if let Some(next) = line.strip_prefix("== ") {
            name = next;
            transcripts.insert(name.to_owned(), String::new());
        } else if let Some(transcript) = transcripts.get_mut(name) {
            transcript.push_str(line);
            transcript.push('\n');
        }
    }
    transcripts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcripts_are_split() {
        let found = split("== a/b\none\ntwo\n== a/c\n== d/e\nthree\n");
        assert_eq!(found["a/b"], "one\ntwo\n");
        assert_eq!(found["a/c"], "");
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn another_architecture_is_kept_as_a_difference() {
        let common = split("== a/b\none\n== a/c\ntwo\n== d/e\nthree\n");
        let found = split("== a/b\none\n== a/c\nother\n== f/g\nnew\n");
        let text = difference(&common, &found);
        assert_eq!(text, "== a/c\nother\n== f/g\nnew\n== d/e (absent)\n");
        let mut restored = common;
        overlay(&mut restored, split(&text));
        assert_eq!(restored, found);
    }
}
