//! The long list of the benchmarks, in a module of their own: entries with five leaves.

use std::fmt::Write as _;
use std::fs;
use std::ops::Range;

use procyon::datastore::Datastores;
use procyon::yang::schema::{ModuleSpec, Schema};
use procyon::yang::tree::Tree;

const MODULE: &str = "module bench { yang-version 1.1; namespace urn:bench; prefix b;
  container top {
    list app {
      key name;
      leaf name { type string; }
      leaf executable { type string; mandatory true; }
      leaf arguments { type string; }
      leaf policy { type enumeration { enum always; enum never; enum on-failure; } default on-failure; }
      leaf retries { type uint32; default 3; must \". > 0\"; }
    }
  }
}";

pub(crate) fn schema() -> &'static Schema {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bench.yang"), MODULE).unwrap();
    let module = ModuleSpec { name: "bench".to_owned(), revision: None, features: Vec::new() };
    Schema::load(&[dir.path().to_owned()], &[module]).unwrap()
}

/// A datastore with so many entries in running.
pub(crate) fn stored(schema: &'static Schema, size: usize) -> Datastores {
    let mut tree = Tree::parse_config(schema, entries(0..size).as_bytes()).unwrap();
    tree.validate_config().unwrap();
    Datastores::new(schema, tree)
}

pub(crate) fn entries(range: Range<usize>) -> String {
    let mut text = String::from("<top xmlns=\"urn:bench\">");
    for index in range {
        let _ = write!(
            text,
            "<app><name>app-{index:06}</name><executable>/usr/bin/app-{index}</executable>\
             <arguments>--id {index} --verbose</arguments><policy>always</policy><retries>7</retries></app>"
        );
    }
    text.push_str("</top>");
    text
}
