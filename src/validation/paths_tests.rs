//! Paths as scripts write them, each with what it means.

use std::path::PathBuf;

use super::*;
use crate::yang::schema::ModuleSpec;

/// The sample, and a module with a long name, as native models have.
fn names() -> Names {
    let top = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let modules = ["sample", "Cisco-IOS-XR-um-hostname-cfg"].map(|name| ModuleSpec {
        name: name.to_owned(),
        revision: None,
        features: vec!["*".to_owned()],
    });
    Names::of(Schema::load(&[top.join("tests/yang"), top.join("yang")], &modules).unwrap())
}

#[test]
fn a_module_is_known_by_name_by_prefix_and_without_its_maker() {
    let names = names();
    let said = |path: &str| names.resolve(None, path).map(|target| target.path()).map_err(|error| error.to_string());
    for path in [
        "/Cisco-IOS-XR-um-hostname-cfg:hostname/system-network-name",
        "/um-hostname-cfg:hostname/system-network-name",
        "/um-hostname-cfg:hostname/um-hostname-cfg:system-network-name",
    ] {
        assert_eq!(said(path).unwrap(), "/Cisco-IOS-XR-um-hostname-cfg:hostname/system-network-name");
    }
    assert_eq!(said("/s:top/name").unwrap(), "/sample:top/name");
    insta::assert_snapshot!(said("/nobody:top").unwrap_err(), @"`top` of `/nobody:top` is not in the configuration's schema: no module has that name or prefix");
    insta::assert_snapshot!(said("/top/name").unwrap_err(), @"`top` of `/top/name` is not in the configuration's schema: the first step names its module");
    insta::assert_snapshot!(said("/s:top/status").unwrap_err(), @"`status` of `/s:top/status` is not in the configuration's schema");
    insta::assert_snapshot!(said("/s:top[").unwrap_err(), @"`/s:top[` is no path: write /module:container/list[key='value']/leaf");
}

#[test]
fn keys_share_a_bracket_and_integers_need_no_quotes() {
    let names = names();
    let said = |path: &str| names.resolve(None, path).map(|target| target.path()).map_err(|error| error.to_string());
    assert_eq!(said("/s:top/pair[right='b',left='a']").unwrap(), "/sample:top/pair[left='a'][right='b']");
    assert_eq!(
        said("/s:top/pair[left=\"it's\"][right='x,y]']/left").unwrap(),
        "/sample:top/pair[left=\"it's\"][right='x,y]']/left"
    );
    assert_eq!(said("/s:top/rule[id=7]/text").unwrap(), "/sample:top/rule[id='7']/text");
    assert_eq!(said("/s:top/tag[.='a']").unwrap(), "/sample:top/tag[.='a']");
    for path in ["/s:top/pair[left='a']/right", "/s:top/rule/text", "/s:top/rule[no=7]", "/s:top/rule[id=7,no=8]"] {
        assert!(names.resolve(None, path).is_err_and(|error| error.name() == "ErrListKey"), "{path}");
    }
}

#[test]
fn a_path_may_go_on_from_a_node() {
    let names = names();
    let from = |base: &str, path: &str| names.resolve(Some(base), path).unwrap().path();
    assert_eq!(from("/sample:top/rule[id='7']", "text"), "/sample:top/rule[id='7']/text");
    assert_eq!(from("/sample:top/rule[id='7']", "/text"), "/sample:top/rule[id='7']/text");
    assert_eq!(from("/sample:top/name", ""), "/sample:top/name");
}

#[test]
fn an_edit_holds_the_keys_on_its_way_and_the_value_at_its_end() {
    let names = names();
    let target = names.resolve(None, "/s:top/rule[id=7]/text").unwrap();
    insta::assert_snapshot!(target.setting(Some("a<b")), @r#"<top xmlns="urn:sample"><rule><id>7</id><text>a&lt;b</text></rule></top>"#);
    insta::assert_snapshot!(target.removal(), @r#"<top xmlns="urn:sample"><rule><id>7</id><text xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="remove"></text></rule></top>"#);
    let key = names.resolve(None, "/s:top/rule[id=7]/id").unwrap();
    insta::assert_snapshot!(key.setting(Some("7")), @r#"<top xmlns="urn:sample"><rule><id>7</id></rule></top>"#);
    let tag = names.resolve(None, "/s:top/tag[.='a']").unwrap();
    insta::assert_snapshot!(tag.setting(None), @r#"<top xmlns="urn:sample"><tag>a</tag></top>"#);
}

#[test]
fn integers_are_integers_and_truth_is_truth() {
    let names = names();
    let of = |path: &str, text: &str| typed(names.resolve(None, path).unwrap().node(), text);
    assert_eq!(of("/s:top/mtu", "1400"), Value::from(1400));
    assert_eq!(of("/s:top/inner/b", "-3"), Value::from(-3));
    assert_eq!(of("/s:top/name", "17"), Value::from("17"));
}

#[test]
fn a_callback_hears_of_changes_at_below_and_above_what_it_registered() {
    let names = names();
    let registered = names.registered("/s:top/rule/text/*").unwrap();
    let concerned = |path: &str| concerns(&registered, &Change { path: path.to_owned(), edit: Edit::Delete });
    for path in ["/sample:top/rule[id='7']/text", "/sample:top/rule[id='7']", "/sample:top"] {
        assert!(concerned(path), "{path}");
    }
    for path in ["/sample:top/rule[id='7']/id", "/sample:top/name", "/sample:root-list[k='a']"] {
        assert!(!concerned(path), "{path}");
    }
    assert_eq!(names.registered("/*").unwrap(), Vec::new(), "everything");
}

#[test]
fn what_a_commit_changes_is_told_as_configuration() {
    let names = names();
    let change = |path: &str, edit| Change { path: path.to_owned(), edit };
    let changes = [
        change("/sample:top/mtu", Edit::Modify { value: "1400".into() }),
        change("/sample:top/rule[id='7']", Edit::Delete),
    ];
    let (taken, set) = taken_and_set(&names, &changes);
    insta::assert_snapshot!(taken, @r#"<top xmlns="urn:sample"><rule><id>7</id></rule></top>"#);
    insta::assert_snapshot!(set, @r#"<top xmlns="urn:sample"><mtu>1400</mtu></top>"#);
}
