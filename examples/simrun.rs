use handfast::sim::*;
fn main() {
    let get = |k: &str, d: u64| std::env::var(k).ok().and_then(|v| v.parse().ok()).unwrap_or(d);
    let zero = std::env::var("ZERO").is_ok();
    let mut asked = Asked::default();
    if zero {
        asked = Asked {
            loss: Some(0.0),
            reorder: Some(0.0),
            duplicate: Some(0.0),
            corrupt: Some(0.0),
            skips: Some(0.0),
            stalls: Some(0.0),
            tx_full: Some(0.0),
            mtu_dips: Some(0.0),
            kills: Some(0),
            ..asked
        };
    }
    let config = SimConfig {
        seed: get("SEED", 1),
        connections: get("CONNS", 10000),
        per_world: get("PER", 200) as u32,
        hosts: get("HOSTS", 2) as usize,
        threads: get("THREADS", 1) as usize,
        asked,
        duration: None,
        steps: std::env::var("TRACE").is_ok(),
    };
    let report = run(&config, &|_| ());
    println!("{:#?}", report);
    println!("{:.0} connections/s", report.tally.connections as f64 / report.seconds);
    if report.failure.is_some() {
        std::process::exit(1)
    }
}
