//! Build, run, test, measure and document Ashlar.

fn main() {}
