//! However the server ends, the interface is an ordinary one again.

use crate::site::{PATIENCE, SERVER, Server, Site, connect, has, inside};
use handfast::lab::RIGHT;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

impl Site {
    /// Opens and closes connections while `f` runs; gives how many succeeded with what `f` gives.
    fn under_load<T: Send>(&self, f: impl FnOnce(&AtomicU64) -> T + Send) -> T {
        let (stop, opened) = (AtomicBool::new(false), AtomicU64::new(0));
        let hammer = || {
            while !stop.load(Ordering::Relaxed) {
                let to = SocketAddr::from((SERVER, 7));
                match TcpStream::connect_timeout(&to, Duration::from_millis(200)) {
                    Ok(mut stream) => {
                        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
                        let _ = stream.write_all(b"x").and_then(|()| stream.read_exact(&mut [0; 1]));
                        opened.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        };
        std::thread::scope(|scope| {
            let load = scope.spawn(|| self.client(hammer));
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(&opened)));
            stop.store(true, Ordering::Relaxed);
            load.join().unwrap();
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn assert_detached(&self) {
        let link = self.lab.right.run("ip", &["link", "show", RIGHT]).unwrap();
        assert!(!link.contains("xdp"), "still attached: {link}");
    }
}

fn wait_until(count: &AtomicU64, least: u64) {
    let start = std::time::Instant::now();
    while count.load(Ordering::Relaxed) < least {
        assert!(start.elapsed() < PATIENCE, "only {count:?} of {least}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn killed_in_mid_load_it_leaves_an_ordinary_interface_and_can_be_restarted_at_once() {
    let Some(mut site) = Site::start("kill", "--service echo@7") else { return };
    site.under_load(|opened| {
        wait_until(opened, 200);
        let link = site.lab.right.run("ip", &["link", "show", RIGHT]).unwrap();
        assert!(link.contains("xdp"), "it was attached: {link}");
        site.server.signal(Signal::KILL);
        // As soon as the process is gone, so is the program.
        site.server.wait_until_gone();
        site.assert_detached();
    });

    // The kernel can use it like any other.
    site.lab.right.run("ip", &["addr", "add", "10.77.0.2/24", "dev", RIGHT]).unwrap();
    if has("ping", "ping of the interface after kill -9") {
        let said = site.run("ping", &["-q", "-c", "3", "-i", "0.05", "-W", "2", "10.77.0.2"]);
        assert!(said.contains("3 received"), "{said}");
    }
    let listener = inside(&site.lab.right, || TcpListener::bind(SocketAddr::from((SERVER, 2222))).unwrap());
    let mut client = site.connect(2222);
    client.write_all(b"kernel").unwrap();
    let mut read = [0; 6];
    listener.accept().unwrap().0.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"kernel");
    drop((client, listener));
    site.lab.right.run("ip", &["addr", "del", "10.77.0.2/24", "dev", RIGHT]).unwrap();

    site.server = Server::start(&site.lab, "--service echo@7");
    site.under_load(|opened| wait_until(opened, 200));
    site.server.end();
}

#[test]
fn a_restart_needs_no_pause() {
    let Some(mut site) = Site::start("restart", "--service echo@7") else { return };
    for signal in [Signal::KILL, Signal::KILL, Signal::TERM, Signal::INT, Signal::KILL] {
        drop(site.connect(7));
        site.server.signal(signal);
        let next = if signal == Signal::KILL {
            // The old one may not have gone yet: the new one waits for the queue.
            Server::start(&site.lab, "--service echo@7")
        } else {
            let (code, ledger) = site.server.wait();
            assert!(code == Some(0) && ledger.ends_with("ledger: exact\n"), "{code:?} {ledger}");
            Server::start(&site.lab, "--service echo@7")
        };
        site.server = next;
    }
    drop(site.connect(7));
    site.server.end();
}

#[test]
fn sigterm_in_mid_load_drains_with_an_exact_ledger_and_aborts_nothing() {
    let Some(mut site) = Site::start("drain", "--service echo@7 --drain 5s") else { return };
    let mut held = site.client(|| connect((SERVER, 7).into()));
    site.under_load(|opened| {
        wait_until(opened, 200);
        site.server.signal(Signal::TERM);
        // The held client sees the FIN, and closes in turn.
        assert_eq!(held.read(&mut [0; 1]).unwrap(), 0);
        drop(held);
        site.server.wait_until_gone();
    });
    let (code, ledger) = site.server.wait();
    site.assert_detached();
    assert!(code == Some(0) && ledger.ends_with("ledger: exact\n"), "{code:?} {ledger}");
    assert!(!ledger.contains("DOES NOT HOLD"), "{ledger}");
}
