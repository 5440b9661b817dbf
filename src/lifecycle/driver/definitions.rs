//! The folder of definition files, read.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use crate::lifecycle::definition::{Definition, ProcessName};
use crate::lifecycle::manager::Problem;
use crate::lifecycle::xml;

pub(super) type Files = Vec<(String, Result<Arc<Definition>, Problem>)>;

/// Every definition file there is.
pub(super) fn read_all(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if ProcessName::of_file(file).is_some()
            && let Some(read) = read(&path)
        {
            files.push((file.to_owned(), read));
        }
    }
    files.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(files)
}

/// `None` when the file is not there.
pub(super) fn read(path: &Path) -> Option<Result<Arc<Definition>, Problem>> {
    let because = |reason: String| Err(Problem { line: None, reason });
    let bytes = match bytes_of(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(because(format!("it cannot be read: {error}"))),
    };
    Some(match String::from_utf8(bytes) {
        Ok(text) => xml::parse(&text)
            .map(Arc::new)
            .map_err(|error| Problem { line: Some(error.line), reason: error.reason.to_string() }),
        Err(_) => because(xml::Reason::NotUtf8.to_string()),
    })
}

fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // Non-blocking, so that a planted FIFO cannot hold the reader for ever.
    let file: File = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(xml::BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
