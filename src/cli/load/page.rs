//! The file that a report's page goes to.

use crate::SetupError;
use crate::load::{Latencies, Report, Timeline};
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An open file, made before the run, so that a run is not lost to a wrong path. What an earlier run left there stays until
/// this one has something to say; where there was nothing and this one never has, nothing is left, unless the process is
/// killed or cut short: then the empty file stays.
pub struct PageFile {
    file: File,
    path: PathBuf,
    /// Whether it was made by us, and nothing was said yet.
    is_new: bool,
}

impl PageFile {
    /// Creates it, or opens what is there.
    ///
    /// # Errors
    /// It cannot be.
    pub fn create(path: &Path) -> Result<Self, SetupError> {
        let mut how = File::options();
        how.write(true);
        let (opened, is_new) = match how.clone().create_new(true).open(path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => (how.create(true).truncate(false).open(path), false),
            opened => (opened, true),
        };
        let file = opened.map_err(|e| error(path, &e))?;
        Ok(PageFile { file, path: path.to_path_buf(), is_new })
    }

    /// Writes the page.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(mut self, report: &Report, latencies: &Latencies, timeline: &Timeline) -> Result<(), SetupError> {
        let page = report
            .page(latencies, timeline)
            .map_err(|e| SetupError::new("drawing the plots", e.to_string(), "please report this as a bug"))?;
        self.put(&page).map_err(|e| error(&self.path, &e))
    }

    fn put(&mut self, page: &str) -> io::Result<()> {
        self.is_new = false;
        let mut meta = self.file.metadata()?;
        // Another run had made it, never began, and took it away.
        if meta.nlink() == 0 {
            self.file = File::options().write(true).create(true).truncate(false).open(&self.path)?;
            meta = self.file.metadata()?;
        }
        // A pipe has no length that could be set.
        if meta.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(page.as_bytes())
    }
}

impl Drop for PageFile {
    fn drop(&mut self) {
        let place = |meta: Metadata| (meta.dev(), meta.ino(), meta.len());
        let (ours, there) = (self.file.metadata().map(place).ok(), fs::symlink_metadata(&self.path).map(place).ok());
        // Somebody else may have put something there meanwhile.
        if self.is_new && ours == there && ours.is_some_and(|(.., len)| len == 0) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn error(path: &Path, e: &io::Error) -> SetupError {
    let cure = match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room, or name another place with `--report`",
        _ => "check the path given to `--report`",
    };
    SetupError::of_system(format!("writing {}", path.display()), e, cure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_outlives_the_file_of_another_run_that_never_began() {
        let path = std::env::temp_dir().join(format!("hf-page-{}.html", std::process::id()));
        let [first, mut second] = [(); 2].map(|()| PageFile::create(&path).unwrap());
        drop(first);
        assert!(!path.exists(), "what it made stays, with nothing in it");
        second.put("a page").unwrap();
        drop(second);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a page");
        fs::remove_file(&path).unwrap();
    }
}
