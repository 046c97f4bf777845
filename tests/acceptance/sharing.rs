//! An address shared with the host: our ports are ours, everything else on the interface goes on.

use crate::common;
use crate::site::{PATIENCE, SERVER, Server, Site, connect, has, inside, number};
use handfast::lab::{LabConfig, RIGHT};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};

#[test]
fn the_hosts_own_sessions_go_on_beside_ours() {
    let Some(lab) = common::lab("sharing", &LabConfig::default()) else { return };
    lab.right.run("ip", &["addr", "add", "10.77.0.2/24", "dev", RIGHT]).unwrap();
    // What stands for ssh: a session from before, that must survive start and end of the server.
    let listener = inside(&lab.right, || TcpListener::bind(SocketAddr::from((SERVER, 22))).unwrap());
    let mut session = inside(&lab.left, || connect((SERVER, 22).into()));
    let mut shell = listener.accept().unwrap().0;
    shell.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut talk = move |octets: &[u8]| {
        session.write_all(octets).unwrap();
        let mut heard = vec![0; octets.len()];
        shell.read_exact(&mut heard).unwrap();
        shell.write_all(&heard).unwrap();
        session.read_exact(&mut heard).unwrap();
        assert!(heard == octets);
    };
    talk(b"before");

    let site = Site { server: Server::start(&lab, "--share-address --service echo@7 --time-wait 1s"), lab };
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            site.client(|| {
                for _ in 0..2_000 {
                    let mut stream = connect((SERVER, 7).into());
                    stream.write_all(b"ours").unwrap();
                    stream.read_exact(&mut [0; 4]).unwrap();
                }
            })
        });
        while !load.is_finished() {
            talk(&[b's'; 4096]);
        }
        load.join().unwrap();
    });
    // New sessions of the host, and its UDP, are also as before.
    drop(site.connect(22));
    let (host, peer) = (
        inside(&site.lab.right, || UdpSocket::bind((std::net::Ipv4Addr::from(SERVER), 5353)).unwrap()),
        site.client(|| UdpSocket::bind("10.77.0.1:0").unwrap()),
    );
    peer.send_to(b"datagram", (std::net::Ipv4Addr::from(SERVER), 5353)).unwrap();
    host.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(host.recv(&mut [0; 16]).unwrap(), 8);
    if has("ping", "ping of a shared address") {
        let said = site.run("ping", &["-q", "-c", "3", "-i", "0.05", "-W", "2", "10.77.0.2"]);
        assert!(said.contains("3 received"), "{said}");
    }
    let stats = site.server.wait_for("closed", |stats| Server::alive(stats) == 0);
    assert_eq!(number(&stats, "/connections/opened"), 2_000, "{stats}");
    assert!(number(&stats, "/xdp/pass_shared") > 10, "{stats}");
    assert_eq!(number(&stats, "/connections/reset") + number(&stats, "/connections/aborted"), 0, "{stats}");
    site.server.end();
    talk(b"after");
}
