//! `/init` of the boot measurement: says how many instructions the machine has executed and how much memory is free, and switches it off.

#![allow(unsafe_code, reason = "system calls through libc")]

fn main() {
    let instructions = ashlar_user::counter::now();
    // SAFETY: `information` is a valid place for the answer.
    unsafe {
        let mut information = std::mem::zeroed::<libc::sysinfo>();
        libc::sysinfo(&raw mut information);
        let unit = u64::from(information.mem_unit);
        println!("at-init instructions {instructions}");
        println!("at-init free {}", information.freeram * unit);
        println!("at-init total {}", information.totalram * unit);
        if std::process::id() == 1 {
            libc::reboot(libc::RB_POWER_OFF);
        }
    }
}
