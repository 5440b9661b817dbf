//! The command `procyon import`: files in, a candidate and a list of what did not fit out.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::conserver::Site;
use super::draft::Candidate;
use super::{conserver, procserv, supervisord, unit};

/// A larger file is none of these.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Prints the candidate on standard output and the rest on standard error.
///
/// # Errors
/// A file that cannot be read, or that is none of those that are understood.
pub fn import(files: &[PathBuf]) -> anyhow::Result<()> {
    let mut candidate = Candidate::default();
    let mut site = Site::default();
    for path in files {
        let said = path.display();
        let facts = fs::metadata(path).with_context(|| format!("`{said}` cannot be read"))?;
        if !facts.is_file() || facts.len() > FILE_BYTES_MAX {
            bail!("`{said}` is no file of at most {FILE_BYTES_MAX} bytes");
        }
        let text = fs::read_to_string(path).with_context(|| format!("`{said}` cannot be read"))?;
        read(path, &text, &mut site, &mut candidate)?;
    }
    site.settle(&mut candidate);
    candidate.settle();
    std::io::stdout().write_all(candidate.to_xml().as_bytes())?;
    let mut rest = std::io::stderr();
    for left in &candidate.left {
        writeln!(rest, "{}:{}: not in the candidate: {}: {}", left.file, left.line, left.what, left.why)?;
    }
    Ok(())
}

fn read(path: &Path, text: &str, site: &mut Site, candidate: &mut Candidate) -> anyhow::Result<()> {
    let file = path.display().to_string();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match kind(&name, text) {
        Some(Kind::Unit) => unit::read(&file, text, candidate),
        Some(Kind::ProcServConf) => procserv::read_conf(&file, text, candidate),
        Some(Kind::Conserver) => site.read(&file, text, candidate),
        Some(Kind::Passwords) => conserver::read_passwords(&file, text, candidate),
        Some(Kind::Supervisord) => supervisord::read(&file, text, candidate),
        None => bail!(
            "`{file}` is not understood: there are NAME.service, procServ.conf, conserver.cf, conserver.passwd and supervisord.conf"
        ),
    }
    Ok(())
}

enum Kind {
    Unit,
    ProcServConf,
    Conserver,
    Passwords,
    Supervisord,
}

/// By its name, and where that says nothing by what stands in it.
fn kind(name: &str, text: &str) -> Option<Kind> {
    let has_line = |begins: &str| text.lines().any(|line| line.trim_start().starts_with(begins));
    if name.ends_with(".service") {
        Some(Kind::Unit)
    } else if name.ends_with(".passwd") {
        Some(Kind::Passwords)
    } else if name.ends_with(".cf") || has_line("console ") && text.contains('{') {
        Some(Kind::Conserver)
    } else if has_line("[program:") || has_line("[supervisord]") {
        Some(Kind::Supervisord)
    } else if name.starts_with("procServ") || has_line("[") && has_line("command") {
        Some(Kind::ProcServConf)
    } else {
        None
    }
}
