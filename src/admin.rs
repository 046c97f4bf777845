//! The admin socket of a running stack: one request line, one JSON answer.
//!
//! A Unix stream socket, mode 0600, served by a thread of its own, one client after another; a slow client delays other
//! clients for four seconds at most, two to ask and two to take the answer, however it dawdles, and workers never.

use crate::SetupError;
use crate::setup_error::descriptors_for;
use crate::stats::Snapshot;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The request for a snapshot.
const REQUEST: &str = "stats";
/// The longest request line in octets.
const MAX_REQUEST: u64 = 64;
/// The longest answer in octets.
const MAX_ANSWER: u64 = 4 << 20;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long whoever asks waits: the server may have to wait for its workers first.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);

/// The address of a Unix socket holds no longer path.
const TOO_LONG: &str = "the path of a socket has 107 octets at most";

/// What is answered.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Stats(Box<Snapshot>),
    Error(String),
}

/// A served admin socket; dropping it ends the thread and removes the file.
pub struct Admin {
    path: PathBuf,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Serves snapshots at `path`, whose folder is made if it is missing. A file left by a process that is gone is
    /// replaced.
    ///
    /// # Errors
    /// Another process serves there, or the file cannot be made.
    pub fn serve(
        path: &Path,
        snapshot: impl Fn() -> Result<Snapshot, SetupError> + Send + 'static,
    ) -> Result<Admin, SetupError> {
        if UnixStream::connect(path).is_ok() {
            return Err(SetupError::new(
                format!("admin socket {}", path.display()),
                "another handfast serves there",
                "give this one its own with `--admin SOCKET`",
            ));
        }
        let fail = |e: io::Error| {
            let what = format!("admin socket {}", path.display());
            match e.kind() {
                // The name beside it, see `listen`, is longer.
                ErrorKind::InvalidInput => SetupError::new(
                    what,
                    format!("{TOO_LONG}, and `.PID` comes to it at first"),
                    "give a shorter one with `--admin SOCKET`",
                ),
                _ => {
                    let cure = "give a path in a folder that you may write to, with `--admin SOCKET`";
                    SetupError::of_system(what, &e, cure)
                }
            }
        };
        let listener = listen(path).map_err(fail)?;
        let ending = Arc::new(AtomicBool::new(false));
        let end = ending.clone();
        let thread = std::thread::Builder::new()
            .name("hf-admin".into())
            .spawn(move || answer_all(&listener, &end, &snapshot))
            .map_err(fail)?;
        Ok(Admin { path: path.to_path_buf(), ending, thread: Some(thread) })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // The connection wakes the thread out of `accept`.
        let woken = UnixStream::connect(&self.path).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Asks the stack at `path` for a snapshot.
///
/// # Errors
/// Nothing serves there, or it did not answer as it should.
pub fn ask(path: &Path) -> Result<Snapshot, SetupError> {
    let what = || format!("asking the stack at {}", path.display());
    if std::fs::metadata(path).is_ok_and(|meta| !is_socket(&meta)) {
        let cure = "name the socket of `handfast serve` with `--admin SOCKET`";
        return Err(SetupError::new(what(), "it is no socket", cure));
    }
    let answer = UnixStream::connect(path)
        .map_err(|e| unreached(&e))
        .and_then(|stream| exchange(stream).map_err(|e| unanswered(&e)));
    match answer {
        Ok(Answer::Stats(snapshot)) => Ok(*snapshot),
        Ok(Answer::Error(cause)) => Err(SetupError::new(what(), cause, "try again")),
        Err((cause, cure)) => Err(SetupError::new(what(), cause, cure)),
    }
}

/// Whether nobody serves at `path`: the socket has gone, or is left of a process that was killed.
pub fn nobody_serves(path: &Path) -> bool {
    UnixStream::connect(path).is_err_and(|e| matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused))
}

/// Cause and cure where no connection came about.
fn unreached(e: &io::Error) -> (String, &'static str) {
    let served = "start `handfast serve`, or name its socket with `--admin SOCKET`";
    match e.kind() {
        ErrorKind::NotFound => ("no stack serves there, or it has ended: there is no such socket".into(), served),
        ErrorKind::ConnectionRefused => ("the stack has ended, and left its socket (ECONNREFUSED)".into(), served),
        ErrorKind::PermissionDenied => {
            ("it belongs to another user (EACCES)".into(), "ask as the user who serves, or as root with `sudo`")
        }
        ErrorKind::InvalidInput => (TOO_LONG.into(), served),
        _ => (e.to_string(), descriptors_for(e).unwrap_or(served)),
    }
}

/// Cause and cure where a connection brought no answer.
fn unanswered(e: &io::Error) -> (String, &'static str) {
    let ours = "is this the socket of `handfast serve`?";
    match e.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => (
            "it hung up without an answer: the stack has ended, or is another program".into(),
            "ask again, or name another socket with `--admin SOCKET`",
        ),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            (format!("no answer within {} s", ANSWER_WITHIN.as_secs()), ours)
        }
        _ => (e.to_string(), ours),
    }
}

fn exchange(mut stream: UnixStream) -> io::Result<Answer> {
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    writeln!(stream, "{REQUEST}")?;
    let mut text = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut text)?;
    if text.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_str(&text).map_err(io::Error::other)
}

/// Binds beside `path` and moves the socket there: at no time can others connect, and a stale file is replaced.
fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    if std::fs::symlink_metadata(path).is_ok_and(|meta| !is_socket(&meta)) {
        return Err(io::Error::other("a file that is no socket stands there"));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let _ = std::fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside)?;
    let moved = std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&beside, path));
    if moved.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    moved.map(|()| listener)
}

fn is_socket(meta: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&meta.file_type())
}

fn answer_all(listener: &UnixListener, ending: &AtomicBool, snapshot: &dyn Fn() -> Result<Snapshot, SetupError>) {
    for client in listener.incoming() {
        if ending.load(Ordering::Acquire) {
            return;
        }
        match client.and_then(|client| answer(&client, snapshot)) {
            Ok(()) => {}
            Err(e) => {
                tracing::debug!("admin client: {e}");
                // Out of descriptors, for example: do not spin.
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Reads and writes until a moment: the socket's own time-outs begin anew with each octet.
struct Until<'a> {
    stream: &'a UnixStream,
    deadline: Instant,
}

impl<'a> Until<'a> {
    fn over(stream: &'a UnixStream) -> Self {
        Until { stream, deadline: Instant::now() + PATIENCE }
    }

    /// # Errors
    /// There is none left.
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        // Within one call the kernel waits anew for each piece that it copies: this is less than one.
        self.stream.write(&octets[..octets.len().min(4_096)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn answer(client: &UnixStream, snapshot: &dyn Fn() -> Result<Snapshot, SetupError>) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(Until::over(client).take(MAX_REQUEST)).read_line(&mut line)?;
    let answer = if line.trim_end() == REQUEST {
        snapshot().map_or_else(|e| Answer::Error(e.to_string()), |s| Answer::Stats(Box::new(s)))
    } else {
        Answer::Error(format!("unknown request; known is `{REQUEST}`"))
    };
    let mut text = serde_json::to_vec(&answer).map_err(io::Error::other)?;
    text.push(b'\n');
    Until::over(client).write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path of its own for each test; the folder goes with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("hf-admin-{}-{name}", std::process::id()));
            Place(folder)
        }
        fn socket(&self) -> PathBuf {
            self.0.join("run/admin.sock")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn sample() -> Snapshot {
        let mut snapshot = Snapshot::sum([]);
        snapshot.connections.opened = 7;
        snapshot
    }

    #[test]
    fn several_clients_one_after_another_get_the_snapshot() {
        let place = Place::new("several");
        let admin = Admin::serve(&place.socket(), || Ok(sample())).unwrap();
        for _ in 0..5 {
            assert_eq!(ask(&place.socket()).unwrap(), sample());
        }
        drop(admin);
        assert!(!place.socket().exists());
        let gone = ask(&place.socket()).unwrap_err().to_string();
        assert!(gone.contains("it has ended") && gone.contains("start `handfast serve`"), "{gone}");
    }

    #[test]
    fn who_asks_with_no_descriptor_left_is_told_so() {
        let (cause, cure) = unreached(&io::Error::from_raw_os_error(libc::EMFILE));
        assert!(cause.contains("open files") && cure.contains("`ulimit -n`"), "{cause}; {cure}");
    }

    #[test]
    fn a_stack_that_was_killed_or_ends_as_it_is_asked_is_said_to_have_ended() {
        let place = Place::new("ended");
        std::fs::create_dir_all(place.socket().parent().unwrap()).unwrap();
        assert!(nobody_serves(&place.socket()));
        let listener = UnixListener::bind(place.socket()).unwrap();
        let hangs_up = std::thread::spawn(move || drop(listener.accept().unwrap()));
        let hung_up = ask(&place.socket()).unwrap_err().to_string();
        hangs_up.join().unwrap();
        let killed = ask(&place.socket()).unwrap_err().to_string();
        assert!(hung_up.contains("the stack has ended, or") && hung_up.contains("; ask again"), "{hung_up}");
        assert!(killed.contains("the stack has ended, and left its socket"), "{killed}");
        assert!(nobody_serves(&place.socket()));
    }

    #[test]
    fn only_the_owner_may_connect() {
        let place = Place::new("mode");
        let _admin = Admin::serve(&place.socket(), || Ok(sample())).unwrap();
        let mode = std::fs::metadata(place.socket()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let place = Place::new("stale");
        std::fs::create_dir_all(place.socket().parent().unwrap()).unwrap();
        drop(UnixListener::bind(place.socket()).unwrap());
        let _admin = Admin::serve(&place.socket(), || Ok(sample())).unwrap();
        let second = Admin::serve(&place.socket(), || Ok(sample())).err().unwrap();
        assert!(second.to_string().contains("another handfast serves there"), "{second}");
        assert!(ask(&place.socket()).is_ok());
    }

    #[test]
    fn a_path_that_is_too_long_is_told_to_be() {
        let place = Place::new("long");
        let long = place.0.join("x".repeat(120));
        let error = Admin::serve(&long, || Ok(sample())).err().unwrap().to_string();
        assert!(error.contains("107 octets at most") && error.contains("; give a shorter one"), "{error}");
        assert!(ask(&long).unwrap_err().to_string().contains("107 octets at most"));
    }

    #[test]
    fn a_plain_file_is_never_replaced() {
        let place = Place::new("plain");
        std::fs::create_dir_all(place.socket().parent().unwrap()).unwrap();
        std::fs::write(place.socket(), "mine").unwrap();
        assert!(Admin::serve(&place.socket(), || Ok(sample())).is_err());
        assert_eq!(std::fs::read_to_string(place.socket()).unwrap(), "mine");
    }

    #[test]
    fn a_client_that_says_nonsense_or_nothing_leaves_the_next_one_served() {
        let place = Place::new("nonsense");
        let _admin = Admin::serve(&place.socket(), || Ok(sample())).unwrap();
        let mut rude = UnixStream::connect(place.socket()).unwrap();
        rude.write_all(&[b'x'; 1000]).unwrap();
        drop(UnixStream::connect(place.socket()).unwrap());
        assert!(ask(&place.socket()).is_ok());
    }

    /// Each octet comes in time, the request never.
    #[test]
    fn a_client_that_drips_is_cut_off() {
        let place = Place::new("drip");
        let _admin = Admin::serve(&place.socket(), || Ok(sample())).unwrap();
        let mut slow = UnixStream::connect(place.socket()).unwrap();
        let pause = PATIENCE / 8;
        // Half as long again as it may take; without an end of it `ask` would wait in vain for as many octets as a line holds.
        let octets = (0..12).take_while(|_| {
            std::thread::sleep(pause);
            slow.write_all(b"x").is_ok()
        });
        assert!(octets.count() < 12, "it was borne");
        assert!(ask(&place.socket()).is_ok());
    }

    #[test]
    fn a_worker_that_does_not_answer_is_told_to_the_client() {
        let place = Place::new("silent");
        let silent = || Err(SetupError::new("worker 0", "it did not answer", "wait"));
        let _admin = Admin::serve(&place.socket(), silent).unwrap();
        assert!(ask(&place.socket()).unwrap_err().to_string().contains("it did not answer"));
    }
}
