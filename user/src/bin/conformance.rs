//! Prints the transcript of every conformance case, or of those whose names start with the words given.

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("--signal-state") => ashlar_user::cases::signals::children::print_state(),
        Some("--process-state") => ashlar_user::cases::processes::programs::print_state(&words[1..]),
        Some("--base-registers") => ashlar_user::cases::threads::base_registers::print_base_registers(),
        _ => ashlar_user::runner::run(&ashlar_user::cases::all(), &words),
    }
}
