//! The folder of definition files, read.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::Hands;
use crate::lifecycle::definition::{Definition, ProcessName};
use crate::lifecycle::manager::{Input, Problem};
use crate::lifecycle::xml;

type Files = Vec<(String, Result<Arc<Definition>, Problem>)>;

impl Hands {
    pub(super) async fn read_all_definitions(&mut self) {
        let folder = self.places.definitions.clone();
        let read = tokio::task::spawn_blocking(move || read_all(&folder)).await;
        match read.map_err(std::io::Error::other).flatten() {
            Ok(files) => {
                self.is_folder_read = true;
                let gone = self.manager.files_besides(&files).into_iter().map(|file| (file, None));
                let files = gone.chain(files.into_iter().map(|(file, read)| (file, Some(read)))).collect();
                self.feed(Input::Folder(Ok(()))).await;
                self.feed(Input::Files(files)).await;
                self.feed(Input::FilesRead).await;
            }
            // What was read before stays in force; before the first reading nothing is begun, and nothing ended.
            Err(trouble) => {
                self.is_folder_read = false;
                warn!(folder = %self.places.definitions.display(), %trouble, "the definitions cannot be listed");
                self.feed(Input::Folder(Err(trouble.to_string()))).await;
            }
        }
    }

    pub(super) async fn read_definitions_at(&mut self, paths: BTreeSet<PathBuf>) {
        let read_them = move || {
            let named = paths.iter().filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)));
            let definitions = named.filter(|(file, _)| ProcessName::of_file(file).is_some());
            definitions.map(|(file, path)| (file, read(path))).collect::<Vec<_>>()
        };
        let files = tokio::task::spawn_blocking(read_them).await.unwrap_or_default();
        for (file, read) in &files {
            if let Some(Err(problem)) = read {
                warn!(%file, %problem, "a definition is not in force");
            }
        }
        self.feed(Input::Files(files)).await;
    }
}

/// Every definition file there is.
fn read_all(folder: &Path) -> io::Result<Files> {
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
fn read(path: &Path) -> Option<Result<Arc<Definition>, Problem>> {
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
