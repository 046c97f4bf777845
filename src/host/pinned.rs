//! Who else works on a core: `/proc`, as far as it shows us other processes.

use std::path::Path;

/// What the threads of workers are called, in whatever program they run.
pub const WORKER: &str = "hf-worker-";

/// The process, as `name (pid 123)`, of another worker that is pinned to this core alone; our own are not meant.
pub fn worker_pinned_to(core: usize) -> Option<String> {
    let ours = std::process::id();
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid = process.file_name().to_str()?.parse::<u32>().ok().filter(|pid| *pid != ours)?;
        let path = process.path();
        let mut threads = std::fs::read_dir(path.join("task")).ok()?.flatten();
        threads.any(|thread| is_worker_on(&thread.path(), core)).then(|| super::process_name(&path, pid))
    })
}

fn is_worker_on(thread: &Path, core: usize) -> bool {
    let read = |file| std::fs::read_to_string(thread.join(file)).unwrap_or_default();
    read("comm").starts_with(WORKER) && only_core(&read("status")) == Some(core)
}

/// The one core that a thread may use, out of `/proc/PID/task/TID/status`; `None` where there are several.
fn only_core(status: &str) -> Option<usize> {
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_pinned_where_it_may_use_one_core() {
        for (list, core) in [("3", Some(3)), ("0-3", None), ("0,2", None), ("", None)] {
            let status =
                format!("Name:\thf-worker-0\nCpus_allowed:\tf\nCpus_allowed_list:\t{list}\nMems_allowed:\t1\n");
            assert_eq!(only_core(&status), core, "{list}");
        }
        assert_eq!(only_core("Name:\tx\n"), None);
    }
}
