//! The first configuration: the administrator (RFC 7317) and who may do what (RFC 8341), as XML.
//!
//! By default everybody reads, nobody writes and nobody calls an rpc, so that an account without rights gets reads only.
//! The rules open the rest: everything to the group `admin`, the operations that read to every group, but no password hashes.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quick_xml::escape::escape;
use quick_xml::events::Event;

use crate::northbound::Fragment;
use crate::settings::Layout;

/// The account of on-box scripts without one of their own.
pub(super) const SCRIPT_USER: &str = "script";
/// What a first configuration may have grown to by hand.
const BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Operations that only read; without them a right to read would be of no use.
const READING_OPERATIONS: [(&str, &str); 8] = [
    ("ietf-netconf", "get"),
    ("ietf-netconf", "get-config"),
    ("ietf-netconf-monitoring", "get-schema"),
    ("notifications", "create-subscription"),
    ("ietf-subscribed-notifications", "establish-subscription"),
    ("ietf-subscribed-notifications", "modify-subscription"),
    ("ietf-subscribed-notifications", "delete-subscription"),
    ("ietf-yang-push", "resync-subscription"),
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuthorizedKey {
    pub(super) name: String,
    pub(super) algorithm: String,
    /// Base64, as in the key file.
    pub(super) data: String,
}

#[derive(Debug)]
pub(super) struct FirstUser {
    name: String,
    password_hash: Option<String>,
    keys: Vec<AuthorizedKey>,
}

impl FirstUser {
    /// Keys are told apart by name in YANG: those without one, or with one that is taken, get a number.
    pub(super) fn new(name: String, password_hash: Option<String>, keys: Vec<AuthorizedKey>) -> Self {
        let mut named: Vec<AuthorizedKey> = Vec::new();
        for mut key in keys {
            let base = if key.name.is_empty() { "key".to_owned() } else { key.name.clone() };
            let mut number = 1;
            while key.name.is_empty() || named.iter().any(|other| other.name == key.name) {
                number += 1;
                key.name = if key.name.is_empty() { base.clone() } else { format!("{base} {number}") };
            }
            named.push(key);
        }
        Self { name, password_hash, keys: named }
    }

    pub(super) fn to_xml(&self) -> String {
        let mut rules = String::new();
        for (module, operation) in READING_OPERATIONS {
            let _ = write!(
                rules,
                "
      <rule>
        <name>{operation}</name>
        <module-name>{module}</module-name>
        <rpc-name>{operation}</rpc-name>
        <access-operations>exec</access-operations>
        <action>permit</action>
      </rule>"
            );
        }
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- The agent commits this at its first start; afterwards it is not read again. -->
<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">
  <system xmlns="urn:ietf:params:xml:ns:yang:ietf-system">
    <authentication>
      <user>
        <name>{name}</name>{credentials}
      </user>
    </authentication>
  </system>
  <nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm">
    <enable-nacm>true</enable-nacm>
    <read-default>permit</read-default>
    <write-default>deny</write-default>
    <exec-default>deny</exec-default>
    <groups>
      <group>
        <name>admin</name>
        <user-name>{name}</user-name>
      </group>
      <group>
        <name>scripts</name>
        <user-name>{SCRIPT_USER}</user-name>
      </group>
    </groups>
    <rule-list>
      <name>admin</name>
      <group>admin</group>
      <rule>
        <name>everything</name>
        <module-name>*</module-name>
        <access-operations>*</access-operations>
        <action>permit</action>
      </rule>
    </rule-list>
    <rule-list>
      <name>readers</name>
      <group>*</group>
      <rule>
        <name>no-passwords</name>
        <path xmlns:sys="urn:ietf:params:xml:ns:yang:ietf-system">/sys:system/sys:authentication/sys:user/sys:password</path>
        <access-operations>read</access-operations>
        <action>deny</action>
      </rule>{rules}
    </rule-list>
  </nacm>
</config>
"#,
            name = escape(&self.name),
            credentials = self.credentials(),
        )
    }

    fn credentials(&self) -> String {
        let mut xml = String::new();
        if let Some(hash) = &self.password_hash {
            let _ = write!(xml, "\n        <password>{}</password>", escape(hash));
        }
        for key in &self.keys {
            let _ = write!(
                xml,
                "
        <authorized-key>
          <name>{}</name>
          <algorithm>{}</algorithm>
          <key-data>{}</key-data>
        </authorized-key>",
                escape(&key.name),
                escape(&key.algorithm),
                escape(&key.data)
            );
        }
        xml
    }
}

#[derive(Debug, thiserror::Error)]
pub enum InitialConfigError {
    #[error("cannot read the first configuration {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("{path}: {message}; expected one <config> element; make a new root with procyon init, or mend the file")]
    Malformed { path: PathBuf, message: String },
}

/// What `init` has written: the children of `<config>`, with nothing around them. `None` where the file is not there.
pub fn read_initial(layout: &Layout) -> Result<Option<Fragment>, InitialConfigError> {
    use std::io::Read;
    let path = layout.initial_config();
    let mut text = String::new();
    let read = std::fs::File::open(&path).and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(length) if length as u64 > BYTES_MAX => {
            Err(InitialConfigError::Malformed { path, message: format!("more than {BYTES_MAX} bytes") })
        }
        Ok(_) => children_of_config(&text, &path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(InitialConfigError::Io { path, error }),
    }
}

fn children_of_config(text: &str, path: &Path) -> Result<Fragment, InitialConfigError> {
    let malformed = |message: String| InitialConfigError::Malformed { path: path.to_owned(), message };
    let mut reader = quick_xml::Reader::from_str(text);
    let mut depth = 0_usize;
    let mut from = None;
    let mut to = None;
    loop {
        let before = reader.buffer_position();
        match reader.read_event().map_err(|error| malformed(error.to_string()))? {
            Event::Start(start) => {
                if depth == 0 {
                    if start.local_name().as_ref() != "config" || from.is_some() {
                        return Err(malformed("its top is not <config>".into()));
                    }
                    from = Some(reader.buffer_position());
                }
                depth += 1;
            }
            Event::End(_) => {
                depth -= 1;
                if depth == 0 {
                    to = Some(before);
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let offset = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    let inner = from.zip(to).and_then(|(from, to)| text.get(offset(from)..offset(to)));
    let inner = inner.ok_or_else(|| malformed("it ends too early".into()))?;
    Ok(Fragment(Bytes::copy_from_slice(inner.trim().as_bytes())))
}
