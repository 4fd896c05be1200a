//! The options of a tmpfs mount: `size=`, `nr_blocks=`, `nr_inodes=`, `mode=`, `uid=`, `gid=`.

use crate::base::{Errno, PAGE_SIZE, Result};
use alloc::format;
use alloc::string::String;

/// Options as they were given; what is absent has its default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MountOptions {
    /// The most pages; 0 for no limit.
    pub pages: Option<u64>,
    /// The most inodes; 0 for no limit.
    pub inodes: Option<u64>,
    /// The root's permissions.
    pub mode: Option<u32>,
    /// The root's owner.
    pub uid: Option<u32>,
    /// The root's group.
    pub gid: Option<u32>,
}

/// A number with an optional suffix `k`, `m`, `g`, `t`.
fn parse_size(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T']);
    let shift = match text.get(digits.len()..) {
        Some("") => 0,
        Some("k" | "K") => 10,
        Some("m" | "M") => 20,
        Some("g" | "G") => 30,
        Some("t" | "T") => 40,
        _ => return Err(Errno::EINVAL),
    };
    let number: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    number.checked_mul(1 << shift).ok_or(Errno::EINVAL)
}

fn parse_number(text: &str, radix: u32) -> Result<u32> {
    u32::from_str_radix(text, radix).map_err(|_| Errno::EINVAL)
}

impl MountOptions {
    /// Reads the option text.
    ///
    /// # Errors
    /// `EINVAL` for an option that is not known or a value that is not one.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
        let mut options = Self::default();
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            match key {
                "size" => {
                    options.pages = Some(match value.strip_suffix('%') {
                        Some(percent) => {
                            let percent: u64 = percent.parse().map_err(|_| Errno::EINVAL)?;
                            super::total_pages().checked_mul(percent).ok_or(Errno::EINVAL)? / 100
                        }
                        None => parse_size(value)?.div_ceil(PAGE_SIZE as u64),
                    });
                }
                "nr_blocks" => options.pages = Some(parse_size(value)?),
                "nr_inodes" => options.inodes = Some(parse_size(value)?),
                "mode" => options.mode = Some(parse_number(value, 8)? & 0o7777),
                "uid" => options.uid = Some(parse_number(value, 10)?),
                "gid" => options.gid = Some(parse_number(value, 10)?),
                "huge" | "mpol" | "inode32" | "inode64" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }

    /// As `/proc/mounts` shows them, each with a comma before it.
    #[must_use]
    pub fn show(&self) -> String {
        let mut text = String::new();
        if let Some(pages) = self.pages {
            text.push_str(&format!(",size={}k", pages.saturating_mul(4)));
        }
        if let Some(inodes) = self.inodes {
            text.push_str(&format!(",nr_inodes={inodes}"));
        }
        if let Some(mode) = self.mode
            && mode != 0o1777
        {
            text.push_str(&format!(",mode={mode:03o}"));
        }
        if let Some(uid) = self.uid.filter(|uid| *uid != 0) {
            text.push_str(&format!(",uid={uid}"));
        }
        if let Some(gid) = self.gid.filter(|gid| *gid != 0) {
            text.push_str(&format!(",gid={gid}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_shown() {
        let options = MountOptions::parse(b"size=1m,mode=755,nr_inodes=2k,uid=3").unwrap();
        assert_eq!((options.pages, options.inodes, options.mode), (Some(256), Some(2048), Some(0o755)));
        assert_eq!(options.show(), ",size=1024k,nr_inodes=2048,mode=755,uid=3");
        assert_eq!(MountOptions::parse(b"size=5q"), Err(Errno::EINVAL));
        assert_eq!(MountOptions::parse(b"sizes=5"), Err(Errno::EINVAL));
        assert_eq!(MountOptions::parse(b"size=99999999999999999999"), Err(Errno::EINVAL));
        assert_eq!(MountOptions::parse(b""), Ok(MountOptions::default()));
    }
}
