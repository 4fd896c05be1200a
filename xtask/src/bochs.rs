//! Starting Bochs, the other emulator of a PC: its processors have what QEMU's translator lacks (PCID, INVPCID, x2APIC, the TSC-deadline timer).
//!
//! It boots discs only ([`crate::iso`]). Its serial line is a TCP connection that it makes to us; it ends by being switched off, which its log tells: a
//! status comes by no way.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::provision;
use crate::qemu::TemporaryFile;

/// Its processor with most features that the kernel uses.
const MODEL: &str = "corei7_skylake_x";
/// How long it may take until it connects its serial line.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the log has when the machine was switched off.
const SWITCHED_OFF: &str = "ACPI control: soft power off";

/// A machine to start.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// The processor's model; `None` is the best.
    pub cpu: Option<&'a str>,
    /// Processors.
    pub cpus: u32,
    /// Memory, in MiB.
    pub memory: u32,
    /// The disc that it boots.
    pub disc: &'a Path,
}

/// The files of one that runs.
pub struct Files {
    /// Held until the end; Bochs reads them when it starts.
    _settings: [TemporaryFile; 2],
    log: TemporaryFile,
}

impl Files {
    /// Whether the machine was switched off.
    pub fn say_switched_off(&self) -> bool {
        // Its lines are text, but for what the machine made it print.
        let log = std::fs::read(self.log.path()).unwrap_or_default();
        String::from_utf8_lossy(&log).contains(SWITCHED_OFF)
    }
}

impl Machine<'_> {
    /// The configuration file.
    fn settings(&self, port: u16, log: &Path) -> String {
        format!(
            "plugin_ctrl: e1000=0, es1370=0, ne2k=0, sb16=0, usb_uhci=0\n\
             display_library: term\n\
             romimage: file=/usr/share/bochs/BIOS-bochs-latest\n\
             vgaromimage: file=/usr/share/vgabios/vgabios.bin\n\
             cpu: model={model}, count={cpus}, ips=50000000, reset_on_triple_fault=0\n\
             memory: guest={memory}, host={memory}\n\
             clock: sync=none\n\
             ata0: enabled=1\n\
             ata0-master: type=cdrom, path={disc}, status=inserted\n\
             boot: cdrom\n\
             com1: enabled=1, mode=socket-client, dev=127.0.0.1:{port}\n\
             speaker: enabled=0\n\
             panic: action=fatal\n\
             error: action=report\n\
             info: action=ignore\n\
             log: {log}\n",
            model = self.cpu.unwrap_or(MODEL),
            cpus = self.cpus,
            memory = self.memory,
            disc = self.disc.display(),
            log = log.display(),
        )
    }

    /// Starts it; gives the process, its serial line and its files.
    pub fn start(&self) -> Result<(Child, TcpStream, Files)> {
        let program = provision::bochs()?;
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen for the serial line")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let log = TemporaryFile::new("bochs.log", &[])?;
        let settings = TemporaryFile::new("bochsrc", self.settings(port, log.path()).as_bytes())?;
        // Debian's has its debugger built in, which waits for a word.
        let words = TemporaryFile::new("bochs.words", b"continue\n")?;
        let mut command = Command::new(&program);
        command.arg("-q").arg("-f").arg(settings.path()).arg("-rc").arg(words.path());
        // The screen, which nobody looks at, is drawn with escape sequences.
        command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let files = Files { _settings: [settings, words], log };
        match accept(&listener, &mut child) {
            Ok(line) => Ok((child, line, files)),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                let said = std::fs::read(files.log.path()).unwrap_or_default();
                Err(error.context(String::from_utf8_lossy(&said).into_owned()))
            }
        }
    }
}

/// The connection that the child makes.
fn accept(listener: &TcpListener, child: &mut Child) -> Result<TcpStream> {
    let end = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((line, _)) => {
                line.set_nonblocking(false)?;
                return Ok(line);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("no serial line"),
        }
        if let Some(status) = child.try_wait()? {
            bail!("Bochs did not start ({status})");
        }
        if Instant::now() >= end {
            bail!("Bochs did not connect its serial line");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_what_was_asked_for() {
        let machine = Machine { cpu: None, cpus: 2, memory: 256, disc: Path::new("/tmp/a.iso") };
        let text = machine.settings(4321, Path::new("/tmp/log"));
        for line in [
            "cpu: model=corei7_skylake_x, count=2, ",
            "memory: guest=256, ",
            "ata0-master: type=cdrom, path=/tmp/a.iso, ",
            "dev=127.0.0.1:4321\n",
            "log: /tmp/log\n",
        ] {
            assert!(text.contains(line), "{line}");
        }
    }
}
