//! Hands the linker script to the linker when the kernel is built for bare metal.

fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    if variable("CARGO_CFG_TARGET_OS") != "none" {
        return;
    }
    let script = format!("{}/{}.ld", variable("CARGO_MANIFEST_DIR"), variable("CARGO_CFG_TARGET_ARCH"));
    println!("cargo::rerun-if-changed={script}");
    for argument in [&format!("-T{script}"), "--no-pie", "-zmax-page-size=4096", "-znoexecstack", "--gc-sections"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
