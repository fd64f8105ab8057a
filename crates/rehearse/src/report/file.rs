//! A file that gets its name only when it is whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file under a temporary name beside the one that it is to have. Dropped before it is whole, it vanishes.
#[derive(Debug)]
pub struct Pending {
    path: PathBuf,
    part: PathBuf,
    file: Option<File>,
}

impl Pending {
    /// Makes it, so that a folder that cannot be written to is noticed at once.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
        if path.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(format!(".{}.part", std::process::id()));
        let part = path.with_file_name(part);
        let file = File::create(&part)?;
        Ok(Self { path: path.to_owned(), part, file: Some(file) })
    }

    /// Writes it whole, and gives it its name.
    ///
    /// # Errors
    /// The disk is full, or the name cannot be taken. Then nothing is left.
    pub fn finish(mut self, text: &str) -> io::Result<()> {
        if let Some(mut file) = self.file.take() {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
        }
        fs::rename(&self.part, &self.path)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // After it got its name there is nothing under the other one.
        fs::remove_file(&self.part).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_finished_leaves_nothing_and_an_older_one_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        fs::write(&path, "old").unwrap();
        drop(Pending::begin(&path).unwrap());
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), fs::read_dir(folder.path()).unwrap().count()), ("old", 1));
        Pending::begin(&path).unwrap().finish("new").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), fs::read_dir(folder.path()).unwrap().count()), ("new", 1));
    }

    #[test]
    fn on_a_full_disk_it_says_so_and_an_older_one_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        fs::write(&path, "old").unwrap();
        let mut pending = Pending::begin(&path).unwrap();
        pending.file = Some(File::options().write(true).open("/dev/full").unwrap());
        assert_eq!(pending.finish("new").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), fs::read_dir(folder.path()).unwrap().count()), ("old", 1));
    }

    #[test]
    fn a_folder_that_is_not_there_is_noticed_before_anything_is_rehearsed() {
        assert!(Pending::begin(Path::new("/nowhere/at/all/report.html")).is_err());
        assert!(Pending::begin(Path::new("/")).is_err());
    }
}
