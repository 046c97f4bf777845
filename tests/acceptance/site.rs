//! A lab with `handfast serve` as a process on its right side, and kernel clients on its left.

use crate::common;
use handfast::lab::{Lab, LabConfig, Namespace, RIGHT};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process, setrlimit, waitid};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const HANDFAST: &str = env!("CARGO_BIN_EXE_handfast");
/// The server's address that each site has.
pub const SERVER: [u8; 4] = [10, 77, 0, 2];
/// What a step may take at most, unless a test says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A lab with a server in it.
pub struct Site {
    pub server: Server,
    // Dropped last.
    pub lab: Lab,
}

impl Site {
    /// The usual lab with a server of these flags; `None`, and said aloud, where labs cannot be made.
    pub fn start(test: &str, flags: &str) -> Option<Site> {
        Self::start_in(test, &LabConfig::default(), flags)
    }

    pub fn start_in(test: &str, config: &LabConfig, flags: &str) -> Option<Site> {
        let lab = common::lab(test, config)?;
        // Thousands of connections at once are as many descriptors.
        let most = Some(1 << 16);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
        Some(Site { server: Server::start(&lab, flags), lab })
    }

    /// Runs `f` on a thread of the clients' namespace.
    pub fn client<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        inside(&self.lab.left, f)
    }

    /// A connection of the kernel to a port of the server.
    pub fn connect(&self, port: u16) -> TcpStream {
        self.client(|| connect((SERVER, port).into()))
    }

    /// Runs a program in the clients' namespace; gives what it printed.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        self.lab.left.run(program, args).unwrap()
    }
}

/// `handfast serve` as a process.
pub struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    admin: PathBuf,
}

impl Server {
    /// Starts it in the right namespace, and returns when it says that it serves.
    pub fn start(lab: &Lab, flags: &str) -> Server {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let admin = std::env::temp_dir().join(format!("hf-accept-{}-{number}.sock", std::process::id()));
        let mut child = Command::new("ip")
            .args(["netns", "exec", lab.right.name(), HANDFAST, "serve"])
            .args(["--interface", RIGHT, "--address", "10.77.0.2/24", "--no-pin"])
            .args(flags.split_whitespace())
            .arg("--admin")
            .arg(&admin)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        out.read_line(&mut greeting).unwrap();
        assert!(greeting.starts_with("serving "), "{greeting}");
        Server { child, out, admin }
    }

    /// `handfast stats --json`.
    pub fn stats(&self) -> Value {
        let output = Command::new(HANDFAST).args(["stats", "--json", "--admin"]).arg(&self.admin).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("exactly one JSON object")
    }

    /// Asks for the stats until they are as wanted.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let stats = self.stats();
            if wanted(&stats) {
                return stats;
            }
            assert!(start.elapsed() < PATIENCE, "not {what} within {PATIENCE:?}: {stats}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How many connections and entries are in any state but LISTEN and CLOSED.
    pub fn alive(stats: &Value) -> u64 {
        let states = stats["states"].as_object().unwrap();
        let alive = states.iter().filter(|(state, _)| !matches!(state.as_str(), "listen" | "closed"));
        alive.map(|(_, count)| count.as_u64().unwrap()).sum()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until all of the process's threads have ended; its exit code can still be had.
    pub fn wait_until_gone(&self) {
        let id = WaitId::Pid(Pid::from_child(&self.child));
        waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end; gives the exit code and what was printed since the greeting.
    pub fn wait(&mut self) -> (Option<i32>, String) {
        let mut printed = String::new();
        self.out.read_to_string(&mut printed).unwrap();
        (self.child.wait().unwrap().code(), printed)
    }

    /// SIGTERM; it must end by itself with an exact ledger, which is returned.
    pub fn end(mut self) -> String {
        self.signal(Signal::TERM);
        let (code, ledger) = self.wait();
        assert_eq!(code, Some(0), "{ledger}");
        assert!(ledger.ends_with("ledger: exact\n"), "{ledger}");
        ledger
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.admin);
    }
}

/// Runs `f` inside a namespace.
pub fn inside<T: Send>(namespace: &Namespace, f: impl FnOnce() -> T + Send) -> T {
    namespace.inside(f).unwrap()
}

/// A kernel connection that gives up reading and writing in the end.
pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap_or_else(|e| panic!("connecting to {to}: {e}"));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

/// A number in the stats, by its path.
pub fn number(stats: &Value, path: &str) -> u64 {
    stats.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {stats}"))
}

/// The sum of a map of numbers in the stats.
pub fn total(stats: &Value, path: &str) -> u64 {
    let map = stats.pointer(path).and_then(Value::as_object).unwrap_or_else(|| panic!("{path} in {stats}"));
    map.values().map(|count| count.as_u64().unwrap()).sum()
}

/// Whether a program is there; if not, says aloud what is skipped.
pub fn has(program: &str, test: &str) -> bool {
    let found =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(program).exists());
    if !found {
        crate::common::skip(test, &format!("{program} is not installed"));
    }
    found
}

/// Numbers that look random and are the same in each run (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn octets(&mut self, len: usize) -> Vec<u8> {
        let mut octets: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        octets.truncate(len);
        octets
    }
}
