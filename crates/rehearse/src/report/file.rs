//! A file that appears under its name only when it is complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is written under a temporary name in the same folder. If this is dropped before it is finished, the file is removed.
#[derive(Debug)]
pub struct Pending {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<File>,
}

impl Pending {
    /// Creates the temporary file, so that an unwritable folder is reported before the work begins.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
        if path.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.part", std::process::id()));
        let temporary = path.with_file_name(temporary);
        let file = File::create(&temporary)?;
        Ok(Self { path: path.to_owned(), temporary, file: Some(file) })
    }

    /// Writes the text and renames the file to its final name.
    ///
    /// # Errors
    /// The disk is full, or the file cannot be renamed. No file is left behind.
    pub fn finish(mut self, text: &str) -> io::Result<()> {
        if let Some(mut file) = self.file.take() {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
        }
        fs::rename(&self.temporary, &self.path)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // After `finish` no file has the temporary name.
        fs::remove_file(&self.temporary).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_file_leaves_nothing_behind_and_does_not_change_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        fs::write(&path, "old").unwrap();
        drop(Pending::begin(&path).unwrap());
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), fs::read_dir(folder.path()).unwrap().count()), ("old", 1));
        Pending::begin(&path).unwrap().finish("new").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), fs::read_dir(folder.path()).unwrap().count()), ("new", 1));
    }

    #[test]
    fn a_full_disk_is_reported_and_does_not_change_an_older_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        fs::write(&path, "old").unwrap();
        let mut pending = Pending::begin(&path).unwrap();
        pending.file = Some(File::options().write(true).open("/dev/full").unwrap());
        assert_eq!(pending.finish("new").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), fs::read_dir(folder.path()).unwrap().count()), ("old", 1));
    }

    #[test]
    fn a_missing_folder_is_reported_at_the_beginning() {
        assert!(Pending::begin(Path::new("/nowhere/at/all/report.html")).is_err());
        assert!(Pending::begin(Path::new("/")).is_err());
    }
}
