//! The file that a report's page goes to.

use crate::SetupError;
use crate::load::{Latencies, Report, Timeline};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// An open file, made before the run, so that a run is not lost to a wrong path. What an earlier run left there stays until
/// this one has something to say.
pub struct PageFile {
    file: File,
    path: PathBuf,
}

impl PageFile {
    /// Creates it, or opens what is there.
    ///
    /// # Errors
    /// It cannot be.
    pub fn create(path: &Path) -> Result<Self, SetupError> {
        let open = File::options().write(true).create(true).truncate(false).open(path);
        let file = open.map_err(|e| error(path, &e))?;
        Ok(PageFile { file, path: path.to_path_buf() })
    }

    /// Writes the page.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(mut self, report: &Report, latencies: &Latencies, timeline: &Timeline) -> Result<(), SetupError> {
        let page = report
            .page(latencies, timeline)
            .map_err(|e| SetupError::new("drawing the plots", e.to_string(), "please report this as a bug"))?;
        // A pipe has no length that could be set.
        let emptied = self.file.metadata().and_then(|m| if m.is_file() { self.file.set_len(0) } else { Ok(()) });
        emptied.and_then(|()| self.file.write_all(page.as_bytes())).map_err(|e| error(&self.path, &e))
    }
}

fn error(path: &Path, e: &std::io::Error) -> SetupError {
    let cure = match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room, or name another place with `--report`",
        _ => "check the path given to `--report`",
    };
    SetupError::new(format!("writing {}", path.display()), e.to_string(), cure)
}
