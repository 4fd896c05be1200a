//! Calls that Linux has and Ashlar has not, so that the reference and the tracer name them.

crate::system_call_rows! {
    /// Loads a program into the kernel.
    bpf { x86_64: 321, aarch64: 280, needs: Nothing, support: Absent };
    /// Loads a kernel module.
    init_module { x86_64: 175, aarch64: 105, needs: Nothing, support: Absent };
    /// Loads a kernel module from a file.
    finit_module { x86_64: 313, aarch64: 273, needs: Nothing, support: Absent };
    /// Unloads a kernel module.
    delete_module { x86_64: 176, aarch64: 106, needs: Nothing, support: Absent };
    /// Opens a performance counter.
    perf_event_open { x86_64: 298, aarch64: 241, needs: Nothing, support: Absent };
    /// Loads another kernel for execution.
    kexec_load { x86_64: 246, aarch64: 104, needs: Nothing, support: Absent };
    /// Loads another kernel for execution from a file.
    kexec_file_load { x86_64: 320, aarch64: 294, needs: Nothing, support: Absent };
}
