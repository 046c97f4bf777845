//! A veth pair with a program at each end.

use handfast::lab::{LEFT, Lab, LabConfig, Namespace, RIGHT};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The server's address, on the right side.
pub const SERVER: &str = "10.77.0.1";
/// Its port.
pub const PORT: u16 = 9;
/// The client's addresses, as many as a run may need for its ports.
pub const CLIENTS: u8 = 64;
/// All of them are on-link with each other.
pub const PREFIX_LEN: u8 = 16;

pub const HANDFAST: &str = env!("CARGO_BIN_EXE_handfast");

/// The client's address of that number.
pub fn client(number: u8) -> String {
    format!("10.77.1.{}", number + 1)
}

/// `handfast serve` on the right side, as far as every measurement wants it.
pub fn serve_flags() -> Vec<String> {
    let admin = std::env::temp_dir().join(format!("hf-bench-{}.sock", std::process::id()));
    let (address, service) = (format!("{SERVER}/{PREFIX_LEN}"), format!("discard@{PORT}"));
    let flags = ["serve", "--interface", RIGHT, "--address", &address, "--service", &service, "--admin"];
    flags.into_iter().map(String::from).chain([admin.to_string_lossy().into_owned()]).collect()
}

/// `handfast load` on the left side from so many addresses, as far as every measurement wants it.
pub fn load_flags(addresses: u8) -> Vec<String> {
    let target = format!("{SERVER}:{PORT}");
    let flags = ["load", "--json", "--interface", LEFT, "--target", &target];
    let addresses = (0..addresses).flat_map(|n| ["--address".into(), format!("{}/{PREFIX_LEN}", client(n))]);
    flags.into_iter().map(String::from).chain(addresses).collect()
}

/// Who speaks TCP at an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tcp {
    Kernel,
    Handfast,
}

/// Where the two ends run, on the same two cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// A core for each end, one queue: every frame crosses from core to core.
    Apart,
    /// Two queues, and each end has a thread on either core: a queue's frames stay on their core, and the work of both ends
    /// is shared out evenly.
    Together,
}

impl Placement {
    pub const fn queues(self) -> u32 {
        match self {
            Placement::Apart => 1,
            Placement::Together => 2,
        }
    }

    /// As `taskset` takes them, in the order of the queues.
    pub const fn server_cores(self) -> &'static str {
        match self {
            Placement::Apart => "0",
            Placement::Together => "0,1",
        }
    }

    pub const fn client_cores(self) -> &'static str {
        match self {
            Placement::Apart => "1",
            Placement::Together => "0,1",
        }
    }
}

/// The two namespaces, made for one measurement: nothing of an earlier one is left in them.
pub struct Site {
    lab: Lab,
    placement: Placement,
}

impl Site {
    /// A pair whose ends are set up for who speaks there: the client left, the server right.
    pub fn new(client_is: Tcp, server_is: Tcp, placement: Placement) -> Outcome<Site> {
        let left_addresses = match client_is {
            Tcp::Kernel => (0..CLIENTS).map(|i| format!("{}/{PREFIX_LEN}", client(i))).collect(),
            Tcp::Handfast => vec![],
        };
        // A kernel leaves its checksums to an offload that only another kernel does without.
        let both_kernels = client_is == Tcp::Kernel && server_is == Tcp::Kernel;
        let lab = Lab::create(&LabConfig {
            left_addresses,
            left_checksum_offload: both_kernels,
            queues: placement.queues(),
        })?;
        let site = Site { lab, placement };
        if server_is == Tcp::Kernel {
            site.lab.right.run("ip", &["addr", "add", &format!("{SERVER}/{PREFIX_LEN}"), "dev", RIGHT])?;
            if client_is == Tcp::Handfast {
                site.lab.right.run("ethtool", &["-K", RIGHT, "tx", "off"])?;
            }
        }
        for (namespace, tcp) in [(&site.lab.left, client_is), (&site.lab.right, server_is)] {
            if tcp == Tcp::Kernel {
                tune(namespace)?;
            }
        }
        match placement {
            _ if !both_kernels => {}
            Placement::Apart => {
                site.thread_napi()?;
                site.pin_napi()?;
            }
            // Threads would do no better: what a core sends it receives for the other side at once.
            Placement::Together => {
                site.receive_by_napi()?;
                site.keep_sending_on_its_core()?;
            }
        }
        Ok(site)
    }

    /// Starts this benchmark's own binary as the server.
    pub fn own_server(&self, args: &[String]) -> Outcome<Program> {
        Program::own(&self.lab.right, self.placement.server_cores(), args)
    }

    /// And as the client.
    pub fn own_client(&self, args: &[String]) -> Outcome<Program> {
        Program::own(&self.lab.left, self.placement.client_cores(), args)
    }

    /// Starts `handfast` as the server.
    pub fn handfast_server(&self, args: &[String]) -> Outcome<Program> {
        Program::start(&self.lab.right, self.placement.server_cores(), HANDFAST, args)
    }

    /// And as the client.
    pub fn handfast_client(&self, args: &[String]) -> Outcome<Program> {
        Program::start(&self.lab.left, self.placement.client_cores(), HANDFAST, args)
    }

    pub fn right(&self) -> &Namespace {
        &self.lab.right
    }

    /// The server's Ethernet address.
    pub fn server_mac(&self) -> Outcome<String> {
        mac(&self.lab.right, RIGHT)
    }

    /// For a client that answers no ARP, or has no time to.
    pub fn tell_the_server_its_neighbours(&self) -> Outcome<()> {
        let mac = mac(&self.lab.left, LEFT)?;
        for number in 0..CLIENTS {
            self.lab.right.run("ip", &["neigh", "replace", &client(number), "lladdr", &mac, "dev", RIGHT])?;
        }
        Ok(())
    }

    /// Each side's receiving work in a thread: the kernel's best mode on a veth with a core for each side.
    pub fn thread_napi(&self) -> Outcome<()> {
        self.receive_by_napi()?;
        for (namespace, link) in [(&self.lab.left, LEFT), (&self.lab.right, RIGHT)] {
            namespace.run("sh", &["-c", &format!("echo 1 > /sys/class/net/{link}/threaded")])?;
        }
        Ok(())
    }

    /// By NAPI with GRO, which a veth has only when it is asked for.
    fn receive_by_napi(&self) -> Outcome<()> {
        for (namespace, link) in [(&self.lab.left, LEFT), (&self.lab.right, RIGHT)] {
            namespace.run("ethtool", &["-K", link, "gro", "on"])?;
        }
        Ok(())
    }

    /// Those threads on their sides' cores.
    pub fn pin_napi(&self) -> Outcome<()> {
        debug_assert_eq!(self.placement.queues(), 1, "a thread each");
        pin_napi(LEFT, self.placement.client_cores())?;
        pin_napi(RIGHT, self.placement.server_cores())
    }

    /// What a core sends goes by its queue (XPS).
    fn keep_sending_on_its_core(&self) -> Outcome<()> {
        for (namespace, link) in [(&self.lab.left, LEFT), (&self.lab.right, RIGHT)] {
            for queue in 0..self.placement.queues() {
                let mask = format!("echo {:x} > /sys/class/net/{link}/queues/tx-{queue}/xps_cpus", 1 << queue);
                namespace.run("sh", &["-c", &mask])?;
            }
        }
        Ok(())
    }
}

fn mac(namespace: &Namespace, link: &str) -> Outcome<String> {
    Ok(namespace.run("cat", &[&format!("/sys/class/net/{link}/address")])?.trim().to_string())
}

/// The settings that a kernel needs for many short connections.
fn tune(namespace: &Namespace) -> Outcome<()> {
    let settings = [
        "net.ipv4.ip_local_port_range=1024 65535",
        "net.ipv4.tcp_tw_reuse=1",
        "net.ipv4.tcp_max_tw_buckets=4000000",
        "net.ipv4.tcp_max_syn_backlog=65536",
        "net.core.somaxconn=65535",
        "net.ipv4.tcp_congestion_control=reno",
    ];
    for setting in settings {
        namespace.run("sysctl", &["-qw", setting])?;
    }
    Ok(())
}

/// Binds the NAPI thread of a link to a core; its name begins with the link's.
fn pin_napi(link: &str, core: &str) -> Outcome<()> {
    let name = format!("napi/{link}-");
    // The newest one is ours: links of other labs may have the same name.
    let mut found = None;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.starts_with(&name) {
            found = found.max(Some(pid));
        }
    }
    let pid = found.ok_or_else(|| format!("no NAPI thread of {link}: does this kernel know threaded NAPI?"))?;
    let done = Command::new("taskset").args(["-pc", core, &pid.to_string()]).output()?;
    if done.status.success() { Ok(()) } else { Err(format!("taskset could not pin {pid} to core {core}").into()) }
}

/// A program in a namespace and on its cores.
pub struct Program {
    child: Child,
    out: BufReader<ChildStdout>,
    what: String,
}

impl Program {
    fn own(namespace: &Namespace, cores: &str, args: &[String]) -> Outcome<Program> {
        let own = std::env::current_exe()?;
        Self::start(namespace, cores, &own.to_string_lossy(), args)
    }

    fn start(namespace: &Namespace, cores: &str, program: &str, args: &[String]) -> Outcome<Program> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", namespace.name(), "taskset", "-c", cores, program])
            .args(args)
            .stdout(Stdio::piped())
            .env("RUST_LOG", "error")
            .spawn()?;
        let out = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let what = format!("{program} {}", args.join(" "));
        Ok(Program { child, out, what })
    }

    /// Waits for its first line: it is ready.
    pub fn wait_until_ready(&mut self) -> Outcome<()> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        if line.is_empty() { Err(format!("it did not start: {}", self.what).into()) } else { Ok(()) }
    }

    /// Waits until it ends by itself; gives the JSON object that it printed.
    pub fn result(mut self) -> Outcome<Value> {
        let mut printed = String::new();
        self.out.read_to_string(&mut printed)?;
        serde_json::from_str(&printed).map_err(|e| format!("{}: {e}: {printed}", self.what).into())
    }

    /// Asks it to end, and waits a while for that.
    pub fn end(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
