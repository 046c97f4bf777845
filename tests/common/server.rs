//! A lab with `handfast serve` as a process on its right side, and kernel clients on its left.

use super::lab;
use handfast::lab::{Lab, LabConfig, Namespace, RIGHT};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process, prlimit, setrlimit, waitid,
};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
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
        let lab = lab(test, config)?;
        // Thousands of connections at once are as many descriptors.
        let most = Some(1 << 16);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
        Some(Site { server: Server::start(&lab, flags), lab })
    }

    /// The usual lab with a server in such an environment.
    pub fn start_with(test: &str, environment: &[(&str, &str)], flags: &str) -> Option<Site> {
        let lab = lab(test, &LabConfig::default())?;
        Some(Site { server: Server::start_with(&lab, environment, flags), lab })
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

/// How long a server may take to end, or to notice what has happened, on a busy machine.
const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// `handfast serve` as a process. What it writes to stderr is shown when the test fails.
pub struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    greeting: String,
    admin: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Starts it in the right namespace, and returns when it says that it serves.
    pub fn start(lab: &Lab, flags: &str) -> Server {
        Self::start_with(lab, &[], flags)
    }

    /// The same with these variables set.
    pub fn start_with(lab: &Lab, environment: &[(&str, &str)], flags: &str) -> Server {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = |kind| std::env::temp_dir().join(format!("hf-test-{}-{number}.{kind}", std::process::id()));
        let (admin, log) = (file("sock"), file("log"));
        let mut child = Command::new("ip")
            .args(["netns", "exec", lab.right.name(), HANDFAST, "serve"])
            .args(["--interface", RIGHT, "--address", "10.77.0.2/24"])
            .args((!flags.contains("--first-core")).then_some("--no-pin"))
            .args(flags.split_whitespace())
            .arg("--admin")
            .arg(&admin)
            .env_remove("HANDFAST_HUGE_PAGES")
            .env_remove("GLIBC_TUNABLES")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut server = Server { child, out, greeting: String::new(), admin, log };
        server.out.read_line(&mut server.greeting).unwrap();
        assert!(server.greeting.starts_with("serving "), "{}", server.greeting);
        server
    }

    /// Its first line.
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// A variable of its environment.
    pub fn variable(&self, name: &str) -> Option<String> {
        let all = std::fs::read_to_string(format!("/proc/{}/environ", self.child.id())).unwrap();
        all.split('\0').find_map(|one| one.strip_prefix(name)?.strip_prefix('=')).map(String::from)
    }

    /// The flags of each mapping of its heap, as `/proc/PID/smaps` has them.
    pub fn heap_flags(&self) -> Vec<String> {
        let maps = std::fs::read_to_string(format!("/proc/{}/smaps", self.child.id())).unwrap();
        let flags =
            |heap: &str| heap.lines().find_map(|line| line.strip_prefix("VmFlags:")).unwrap().trim().to_string();
        maps.split("[heap]").skip(1).map(flags).collect()
    }

    /// Its socket for `handfast stats`.
    pub fn admin(&self) -> &Path {
        &self.admin
    }

    /// What it has written to stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until its log says this.
    pub fn wait_until_it_says(&self, part: &str) {
        let start = Instant::now();
        while !self.log().contains(part) {
            assert!(start.elapsed() < LONG_PATIENCE, "it does not say `{part}`");
            std::thread::sleep(Duration::from_millis(20));
        }
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

    /// Lets it have no more descriptors than this; gives how many it could have before.
    pub fn limit_descriptors(&self, most: Option<u64>) -> Option<u64> {
        let limit = Rlimit { current: most, ..getrlimit(Resource::Nofile) };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, limit).unwrap().current
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
        let start = Instant::now();
        while self.is_running() {
            assert!(start.elapsed() < LONG_PATIENCE, "it goes on and on");
            std::thread::sleep(Duration::from_millis(5));
        }
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
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
        for file in [&self.admin, &self.log] {
            let _ = std::fs::remove_file(file);
        }
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
