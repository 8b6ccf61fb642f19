//! The services that extensions ask, in a process of their own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// A running process of the program `extension-server` of this package; it ends when dropped.
pub struct ExtensionServer {
    child: Child,
    address: SocketAddr,
}

impl ExtensionServer {
    /// Starts `program`, which is what Cargo calls `CARGO_BIN_EXE_extension-server`, with services of a kind: `services`,
    /// `silent`, `http` or `nonsense`.
    pub fn start(program: &str, kind: &str) -> Self {
        Self::at(program, kind, 0)
    }

    /// The same at a port.
    pub fn at(program: &str, kind: &str, port: u16) -> Self {
        let mut command = Command::new(program);
        command.args([kind, &port.to_string()]);
        Self::run(command)
    }

    /// Starts a program that prints its address and ends when its standard input does.
    pub(crate) fn run(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let mut line = String::new();
        let output = child.stdout.take().expect("its output is a pipe");
        BufReader::new(output).read_line(&mut line).expect("read the address of the services");
        let address = line.trim().parse().unwrap_or_else(|error| panic!("{line:?}: {error}"));
        Self { child, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ExtensionServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
