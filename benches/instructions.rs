//! What a life costs in instructions, which do not flicker as times do: the benchmark runs itself under callgrind, which
//! counts within `serve` alone. `callgrind_annotate` shows where they go.
//!
//! ```text
//! cargo bench --bench instructions
//! callgrind_annotate target/callgrind/textbook.out
//! ```

mod lives;

use lives::{BURST, Lives, Shape};
use std::path::Path;
use std::process::{Command, ExitCode};

/// Lives before those that are counted, so that tables have the size that they keep.
const WARM_UP: usize = 200;
/// Bursts of lives that are counted.
const COUNTED: usize = 50;

/// Names a shape, and has the process live lives of it so many times.
const SHAPE: &str = "HANDFAST_LIVES";

const SHAPES: [(&str, Shape, &str); 3] = [
    ("textbook", Shape::Textbook, "the client closes first, 4 frames in, 3 out"),
    ("merged", Shape::Merged, "the same, FIN and ACK in one, 4 in, 2 out"),
    ("server-first", Shape::ServerFirst, "the server closes first and keeps the TIME-WAIT, 3 in, 3 out"),
];

fn main() -> ExitCode {
    if let Ok(wanted) = std::env::var(SHAPE) {
        let (name, bursts) = wanted.split_once(' ').expect("a shape and a number");
        let (_, shape, _) = SHAPES.into_iter().find(|(known, ..)| *known == name).expect("a known shape");
        let mut lives = Lives::new(shape);
        (0..bursts.parse().expect("a number")).for_each(|_| lives.live());
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("SKIPPED: instructions are counted by valgrind, which is not there; `apt-get install valgrind`");
        return ExitCode::SUCCESS;
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("callgrind");
    std::fs::create_dir_all(&directory).expect("a directory for the counts");
    for (name, _, what) in SHAPES {
        let few = count(&directory, name, WARM_UP);
        let more = count(&directory, name, WARM_UP + COUNTED);
        println!("{:>8} instructions a life  {name}: {what}", (more - few) / (COUNTED * BURST) as u64);
    }
    ExitCode::SUCCESS
}

/// Instructions in `serve` while so many bursts of lives are lived.
fn count(directory: &Path, name: &str, bursts: usize) -> u64 {
    let counts = directory.join(format!("{name}.out"));
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*lives::serve*"])
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(std::env::current_exe().expect("this program"))
        .env(SHAPE, format!("{name} {bursts}"))
        .output()
        .expect("valgrind runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = std::fs::read_to_string(&counts).expect("callgrind has written its counts");
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    total.and_then(|total| total.trim().parse().ok()).expect("callgrind says how many there were")
}
