//! A check of the kernel's sources: no sequentially consistent store.
//!
//! Who stores something for another CPU and then loads what that one stores (it says that it sleeps and looks for a wake-up; it wakes and looks who
//! sleeps) needs the two in order. A `SeqCst` store and a `SeqCst` load promise that, and are a store-release and a load-acquire on 64-bit Arm, of
//! which QEMU's emulation on x86 lets the load overtake the store. With a fence between, or a read-modify-write for the store, the order holds everywhere.

use anyhow::Result;

use crate::sources::{self, Source, line_of};
use crate::workspace;

/// Checks the tree; prints what is wrong and gives the status.
pub fn run() -> Result<u8> {
    let complaints = check(&sources::read(&workspace::root(), "kernel/src")?);
    for complaint in &complaints {
        println!("{complaint}");
    }
    Ok(u8::from(!complaints.is_empty()))
}

fn check(files: &[Source]) -> Vec<String> {
    // Models of the host take `SeqCst` for less than it is: there the fences stand beside.
    let in_kernel = |file: &&Source| file.module.last().is_none_or(|name| name != "model");
    files.iter().filter(in_kernel).flat_map(complaints_of).collect()
}

fn complaints_of(file: &Source) -> Vec<String> {
    let stores = file.code.match_indices(".store(").filter_map(|(start, name)| {
        let arguments = arguments(&file.code[start + name.len()..])?;
        arguments.contains("SeqCst").then(|| {
            let (path, line) = (file.path.display(), line_of(&file.code, start));
            format!("{path}:{line}: a SeqCst store: put fence(SeqCst) after a relaxed one, or swap")
        })
    });
    stores.collect()
}

/// What stands before the parenthesis that closes.
fn arguments(code: &str) -> Option<&str> {
    let mut open = 0;
    for (place, letter) in code.char_indices() {
        match letter {
            '(' => open += 1,
            ')' if open == 0 => return code.get(..place),
            ')' => open -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(code: &str) -> usize {
        let file = Source { path: "kernel/src/a.rs".into(), module: vec!["a".to_owned()], code: code.to_owned() };
        check(&[file]).len()
    }

    #[test]
    fn finds_stores_and_no_others() {
        assert_eq!(complaints("a.store(f(1), SeqCst); b.store(2,\n Ordering::SeqCst)"), 2);
        assert_eq!(complaints("a.store(1, Relaxed); fence(SeqCst); a.load(SeqCst); a.swap(1, SeqCst); a.store(1"), 0);
    }
}
