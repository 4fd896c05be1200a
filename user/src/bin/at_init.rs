//! `/init` of the boot measurement: says how many instructions the machine has executed and how much memory is free, and switches it off.

use ashlar_user::system;

fn main() {
    let instructions = ashlar_user::counter::now();
    let mut information: libc::sysinfo = system::zeroed();
    let _ = system::sysinfo(&mut information);
    let unit = u64::from(information.mem_unit);
    println!("at-init instructions {instructions}");
    println!("at-init free {}", information.freeram * unit);
    println!("at-init total {}", information.totalram * unit);
    if std::process::id() == 1 {
        let _ = system::power_off();
    }
}
