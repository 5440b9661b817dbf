//! The text of a commit file and of a snapshot: a header of `name: value` lines, a blank line, the payload, a trailer.
//!
//! ```text
//!  procyon-commit 1
//!  id: 1000000001
//!  user: admin
//!  ...
//!  length: 120
//!
//!  <payload of that many bytes>
//!  sha256: 9f86d0...
//! ```
//! The checksum covers everything before its own line. A file without a whole trailer was never acknowledged. Commits that
//! were made durable together are one file: `procyon-commits 1`, whose payload is their texts one after the other.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Who changed the configuration, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitMeta {
    pub user: String,
    /// By which door: `netconf`, `shell`, `script my-app run 12`, `agent`.
    pub client: String,
    pub session: u32,
    /// RFC 3339.
    pub time: String,
    pub label: Option<String>,
    pub comment: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRecord {
    pub id: u64,
    pub meta: CommitMeta,
    /// The change, in whatever form the caller writes changes.
    pub diff: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// The end is missing: the power went while it was written.
    Torn,
    /// It is whole in length but not what was written.
    Damaged(String),
    /// It is whole, and written by a program that knows another form.
    OtherForm(String),
}

/// Names and values in the order of the file.
type Header = Vec<(String, String)>;

const COMMIT_TITLE: &str = "procyon-commit 1";
const GROUP_TITLE: &str = "procyon-commits 1";
const SNAPSHOT_TITLE: &str = "procyon-snapshot 1";
/// `sha256: `, 64 digits and a newline.
const TRAILER_BYTES: usize = 8 + 64 + 1;

fn commit_text(record: &CommitRecord) -> Vec<u8> {
    let meta = &record.meta;
    let mut header = vec![
        ("id", record.id.to_string()),
        ("user", meta.user.clone()),
        ("client", meta.client.clone()),
        ("session", meta.session.to_string()),
        ("time", meta.time.clone()),
    ];
    header.extend(meta.label.clone().map(|label| ("label", label)));
    header.extend(meta.comment.clone().map(|comment| ("comment", comment)));
    whole(COMMIT_TITLE, &header, &record.diff)
}

pub(super) fn snapshot_text(id: u64, payload: &[u8]) -> Vec<u8> {
    whole(SNAPSHOT_TITLE, &[("id", id.to_string())], payload)
}

/// The text of one file for all of `records`; never none.
pub(super) fn file_text(records: &[CommitRecord]) -> Vec<u8> {
    if let [record] = records {
        return commit_text(record);
    }
    let texts: Vec<Vec<u8>> = records.iter().map(commit_text).collect();
    let lengths: Vec<String> = texts.iter().map(|text| text.len().to_string()).collect();
    whole(GROUP_TITLE, &[("lengths", lengths.join(" "))], &texts.concat())
}

/// All commits of a file, oldest first.
pub(super) fn read_file(bytes: &[u8]) -> Result<Vec<CommitRecord>, Broken> {
    let title = GROUP_TITLE.trim_end_matches(|digit: char| digit.is_ascii_digit());
    if !bytes.starts_with(title.as_bytes()) {
        return read_commit(bytes).map(|record| vec![record]);
    }
    let damaged = || Broken::Damaged("its header does not say where each commit begins".to_owned());
    let (header, mut rest) = opened(GROUP_TITLE, bytes)?;
    let (_, lengths) = header.iter().find(|(name, _)| name == "lengths").ok_or_else(damaged)?;
    let mut records = Vec::new();
    for length in lengths.split(' ') {
        let length: usize = length.parse().map_err(|_| damaged())?;
        let (text, behind) = rest.split_at_checked(length).ok_or_else(damaged)?;
        records.push(read_commit(text)?);
        rest = behind;
    }
    if rest.is_empty() { Ok(records) } else { Err(damaged()) }
}

fn read_commit(bytes: &[u8]) -> Result<CommitRecord, Broken> {
    let (header, payload) = opened(COMMIT_TITLE, bytes)?;
    let find = |wanted: &str| header.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let need = |wanted: &str| find(wanted).ok_or_else(|| Broken::Damaged(format!("its header lacks {wanted}")));
    let number = |wanted: &str| {
        need(wanted)?.parse().map_err(|_| Broken::Damaged(format!("{wanted} in its header is not a number")))
    };
    let session: u64 = number("session")?;
    Ok(CommitRecord {
        id: number("id")?,
        meta: CommitMeta {
            user: need("user")?,
            client: need("client")?,
            session: u32::try_from(session).map_err(|_| Broken::Damaged("its session is not a number".to_owned()))?,
            time: need("time")?,
            label: find("label"),
            comment: find("comment"),
        },
        diff: payload.to_vec(),
    })
}

pub(super) fn read_snapshot(bytes: &[u8]) -> Result<(u64, Vec<u8>), Broken> {
    let (header, payload) = opened(SNAPSHOT_TITLE, bytes)?;
    let id = header.iter().find(|(name, _)| name == "id").and_then(|(_, id)| id.parse().ok());
    let id = id.ok_or_else(|| Broken::Damaged("its header lacks the id".to_owned()))?;
    Ok((id, payload.to_vec()))
}

fn whole(title: &str, header: &[(&str, String)], payload: &[u8]) -> Vec<u8> {
    let mut text = format!("{title}\n");
    for (name, value) in header {
        let _ = writeln!(text, "{name}: {}", escaped(value));
    }
    let _ = write!(text, "length: {}\n\n", payload.len());
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(payload);
    bytes.push(b'\n');
    let sum = checksum(&bytes);
    bytes.extend_from_slice(format!("sha256: {sum}\n").as_bytes());
    bytes
}

/// A sound file of another form, for tests.
#[cfg(test)]
pub(super) fn foreign_text(title: &str) -> Vec<u8> {
    whole(title, &[("id", "1".to_owned())], b"whatever this is")
}

fn opened<'b>(title: &str, bytes: &'b [u8]) -> Result<(Header, &'b [u8]), Broken> {
    let damaged = |reason: &str| Broken::Damaged(reason.to_owned());
    let body_bytes = bytes.len().checked_sub(TRAILER_BYTES).ok_or(Broken::Torn)?;
    let (body, trailer) = bytes.split_at(body_bytes);
    let trailer = std::str::from_utf8(trailer).ok().and_then(|text| text.strip_prefix("sha256: ")?.strip_suffix('\n'));
    let sum = trailer.filter(|sum| sum.bytes().all(|byte| byte.is_ascii_hexdigit())).ok_or(Broken::Torn)?;
    if checksum(body) != sum {
        return Err(damaged("its checksum does not match its content"));
    }
    let end = body.windows(2).position(|pair| pair == b"\n\n").ok_or_else(|| damaged("its header has no end"))?;
    let text = std::str::from_utf8(&body[..end]).map_err(|_| damaged("its header is not UTF-8"))?;
    let mut lines = text.lines();
    match lines.next() {
        Some(first) if first == title => {}
        Some(first) if is_other_form(title, first) => return Err(Broken::OtherForm(first.to_owned())),
        Some(_) | None => return Err(damaged("its first line is not the one of this kind of file")),
    }
    let mut header = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or_else(|| damaged("its header has a line without a colon"))?;
        header.push((name.to_owned(), unescaped(value)));
    }
    let length = header.iter().find(|(name, _)| name == "length").and_then(|(_, length)| length.parse().ok());
    let payload = &body[end + 2..];
    let length: usize = length.ok_or_else(|| damaged("its header lacks the length"))?;
    if payload.len() != length + 1 {
        return Err(damaged("its length is not what its header says"));
    }
    Ok((header, &payload[..length]))
}

/// The same kind of file, with another number.
fn is_other_form(title: &str, first: &str) -> bool {
    let kind = |line: &str| line.rsplit_once(' ').map(|(kind, form)| (kind.to_owned(), form.parse::<u32>().is_ok()));
    kind(first).is_some_and(|(kind, is_number)| is_number && title.starts_with(&format!("{kind} ")))
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A value on one line, whatever a user has written into it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some(other) => text.push(other),
                None => {}
            },
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> CommitRecord {
        CommitRecord {
            id: 1_000_000_001,
            meta: CommitMeta {
                user: "admin".to_owned(),
                client: "netconf".to_owned(),
                session: 7,
                time: "2026-11-21T10:00:00Z".to_owned(),
                label: None,
                comment: Some("two\nlines: \\ and more".to_owned()),
            },
            diff: b"<top/>\n\nsha256: none".to_vec(),
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        assert_eq!(read_commit(&commit_text(&record())), Ok(record()));
        assert_eq!(read_snapshot(&snapshot_text(5, b"")), Ok((5, Vec::new())));
    }

    #[test]
    fn a_cut_file_is_torn_and_a_changed_one_is_damaged() {
        let text = commit_text(&record());
        for length in 0..text.len() {
            assert!(read_commit(&text[..length]).is_err(), "{length}");
        }
        assert_eq!(read_commit(&text[..text.len() - 1]), Err(Broken::Torn));
        for index in 0..text.len() - TRAILER_BYTES {
            let mut other = text.clone();
            other[index] ^= 1;
            assert!(matches!(read_commit(&other), Err(Broken::Damaged(_))), "{index}");
        }
    }

    #[test]
    fn commits_of_one_file_read_back_and_a_cut_anywhere_is_seen() {
        let records: Vec<CommitRecord> = (5..8).map(|id| CommitRecord { id, ..record() }).collect();
        let text = file_text(&records);
        assert_eq!(read_file(&text), Ok(records));
        assert_eq!(read_file(&file_text(&[record()])), Ok(vec![record()]));
        for length in 0..text.len() {
            assert!(read_file(&text[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_file_of_a_form_that_is_not_known_yet_is_not_called_damaged() {
        for (title, other) in [(COMMIT_TITLE, "procyon-commit 2"), (GROUP_TITLE, "procyon-commits 12")] {
            let text = foreign_text(other);
            assert_eq!(read_file(&text), Err(Broken::OtherForm(other.to_owned())), "{title}");
        }
        assert_eq!(
            read_snapshot(&foreign_text("procyon-snapshot 2")),
            Err(Broken::OtherForm("procyon-snapshot 2".to_owned()))
        );
        assert!(matches!(read_snapshot(&foreign_text("something else")), Err(Broken::Damaged(_))));
    }

    #[test]
    fn a_commit_file_can_be_read_by_people() {
        let text = String::from_utf8(commit_text(&CommitRecord { diff: b"<top/>".to_vec(), ..record() })).unwrap();
        insta::assert_snapshot!(text.rsplit_once("sha256").unwrap().0, @r"
        procyon-commit 1
        id: 1000000001
        user: admin
        client: netconf
        session: 7
        time: 2026-11-21T10:00:00Z
        comment: two\nlines: \\ and more
        length: 6

        <top/>
        ");
    }
}
