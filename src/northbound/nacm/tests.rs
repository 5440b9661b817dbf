//! Scenarios after RFC 8341 appendix A, and one table per section of the decision procedure.

use super::*;

fn rule(name: &str, parts: &[(&'static str, &str)]) -> Element {
    let leaves = parts.iter().map(|(name, value)| Element::leaf(*name, value));
    Element::node("rule", std::iter::once(Element::leaf("name", name)).chain(leaves).collect())
}

fn list(name: &str, groups: &[&str], rules: Vec<Element>) -> Element {
    let groups = groups.iter().map(|group| Element::leaf("group", group));
    Element::node("rule-list", std::iter::once(Element::leaf("name", name)).chain(groups).chain(rules).collect())
}

fn group(name: &str, users: &[&str]) -> Element {
    let users = users.iter().map(|user| Element::leaf("user-name", user));
    Element::node("group", std::iter::once(Element::leaf("name", name)).chain(users).collect())
}

fn people() -> Element {
    let groups = vec![
        group("admin", &["admin", "andy"]),
        group("limited", &["wilma", "bam-bam"]),
        group("guest", &["guest", "guest@example.com"]),
    ];
    Element::node("groups", groups)
}

fn nacm(mut parts: Vec<Element>) -> Nacm {
    parts.insert(0, people());
    Nacm::from_element(Some(&Element::node("nacm", parts).in_module(MODULE)))
}

fn path(text: &str) -> DataPath {
    DataPath::parse(text).unwrap()
}

/// The rules of appendix A.3 to A.5, joined into one configuration.
fn appendix() -> Nacm {
    nacm(vec![
        list(
            "guest-acl",
            &["guest"],
            vec![
                rule(
                    "deny-ncm",
                    &[("module-name", "ietf-netconf-monitoring"), ("access-operations", "*"), ("action", "deny")],
                ),
                rule("deny-edit", &[("rpc-name", "edit-config"), ("module-name", "ietf-netconf"), ("action", "deny")]),
            ],
        ),
        list(
            "limited-acl",
            &["limited"],
            vec![
                rule(
                    "permit-ncm",
                    &[("module-name", "ietf-netconf-monitoring"), ("access-operations", "read"), ("action", "permit")],
                ),
                rule(
                    "permit-kill",
                    &[("rpc-name", "kill-session"), ("module-name", "ietf-netconf"), ("action", "permit")],
                ),
                rule(
                    "permit-dummy",
                    &[
                        ("path", "/m:interfaces/interface[name='dummy']"),
                        ("access-operations", "read create update"),
                        ("action", "permit"),
                    ],
                ),
                rule("quiet", &[("notification-name", "sys-config-change"), ("module-name", "m"), ("action", "deny")]),
            ],
        ),
        list(
            "admin-acl",
            &["admin"],
            vec![rule("permit-all", &[("module-name", "*"), ("access-operations", "*"), ("action", "permit")])],
        ),
        list("any-acl", &["*"], vec![rule("deny-secret", &[("path", "/m:secret"), ("action", "deny")])]),
    ])
}

#[test]
fn operations_are_decided_by_the_first_rule_that_fits() {
    let nacm = appendix();
    let cases = [
        ("guest", "ietf-netconf", "edit-config", DefaultDeny::Nothing, Decision::Deny),
        ("guest", "ietf-netconf", "get-config", DefaultDeny::Nothing, Decision::Permit),
        ("guest", "ietf-netconf-monitoring", "get-schema", DefaultDeny::Nothing, Decision::Deny),
        ("guest", "ietf-netconf", "close-session", DefaultDeny::All, Decision::Permit),
        ("guest", "ietf-netconf", "kill-session", DefaultDeny::Nothing, Decision::Deny),
        ("guest", "ietf-netconf", "delete-config", DefaultDeny::Nothing, Decision::Deny),
        ("wilma", "ietf-netconf", "kill-session", DefaultDeny::All, Decision::Permit),
        ("wilma", "ietf-system", "system-restart", DefaultDeny::All, Decision::Deny),
        ("andy", "ietf-system", "system-restart", DefaultDeny::All, Decision::Permit),
        ("nobody", "m", "reset", DefaultDeny::Nothing, Decision::Permit),
        ("nobody", "m", "reset", DefaultDeny::All, Decision::Deny),
    ];
    for (user, module, rpc, deny, expected) in cases {
        let subject = nacm.subject(user, &[], false);
        assert_eq!(nacm.exec(&subject, module, rpc, deny), expected, "{user} {rpc}");
    }
}

#[test]
fn data_is_decided_by_rules_then_by_the_schema_then_by_the_defaults() {
    let nacm = appendix();
    use Access::{Create, Delete, Read, Update};
    use DefaultDeny::{All, Nothing, Write};
    let dummy = "/m:interfaces/interface[name='dummy']/mtu";
    let cases = [
        ("wilma", Create, dummy, Nothing, Decision::Permit),
        ("wilma", Update, dummy, Write, Decision::Permit),
        ("wilma", Delete, dummy, Nothing, Decision::Deny),
        ("wilma", Update, "/m:interfaces/interface[name='eth0']/mtu", Nothing, Decision::Deny),
        ("wilma", Read, "/m:interfaces/interface[name='eth0']/mtu", Nothing, Decision::Permit),
        ("wilma", Read, "/m:interfaces", Write, Decision::Permit),
        ("wilma", Read, "/m:keys", All, Decision::Deny),
        ("wilma", Read, "/m:secret/word", Nothing, Decision::Deny),
        ("guest", Read, "/ietf-netconf-monitoring:netconf-state", Nothing, Decision::Deny),
        ("andy", Delete, "/m:secret", All, Decision::Permit),
        // In no group: the list for `*` is not looked at.
        ("nobody", Read, "/m:secret", Nothing, Decision::Permit),
        ("nobody", Update, "/m:secret", Nothing, Decision::Deny),
    ];
    for (user, access, node, deny, expected) in cases {
        let subject = nacm.subject(user, &[], false);
        assert_eq!(nacm.data(&subject, access, &path(node), deny), expected, "{user} {access:?} {node}");
    }
}

#[test]
fn notifications_are_read_access() {
    let nacm = appendix();
    let cases = [
        ("wilma", "m", "sys-config-change", DefaultDeny::Nothing, Decision::Deny),
        ("wilma", "m", "other", DefaultDeny::Nothing, Decision::Permit),
        ("wilma", "m", "other", DefaultDeny::All, Decision::Deny),
        ("andy", "m", "sys-config-change", DefaultDeny::All, Decision::Permit),
        ("wilma", "nc-notifications", "replayComplete", DefaultDeny::All, Decision::Permit),
    ];
    for (user, module, name, deny, expected) in cases {
        let subject = nacm.subject(user, &[], false);
        assert_eq!(nacm.notification(&subject, module, name, None, deny), expected, "{user} {name}");
    }
    let subject = nacm.subject("wilma", &[], false);
    let inside = path("/m:secret/word");
    assert_eq!(nacm.notification(&subject, "m", "spoken", Some(&inside), DefaultDeny::Nothing), Decision::Deny);
}

#[test]
fn groups_of_the_transport_count_only_where_they_are_enabled() {
    let vouched = ["admin".to_owned()];
    let delete = |nacm: &Nacm| {
        let subject = nacm.subject("stranger", &vouched, false);
        nacm.data(&subject, Access::Delete, &path("/m:a"), DefaultDeny::Nothing)
    };
    let rules = || list("a", &["admin"], vec![rule("all", &[("action", "permit")])]);
    assert_eq!(delete(&nacm(vec![rules()])), Decision::Permit);
    assert_eq!(delete(&nacm(vec![Element::leaf("enable-external-groups", "false"), rules()])), Decision::Deny);
}

#[test]
fn nothing_is_refused_when_it_is_off_or_in_the_recovery_session() {
    let off = nacm(vec![Element::leaf("enable-nacm", "false"), Element::leaf("exec-default", "deny")]);
    let on = nacm(vec![Element::leaf("exec-default", "deny"), Element::leaf("read-default", "deny")]);
    for (nacm, recovery) in [(&off, false), (&on, true)] {
        let subject = nacm.subject("nobody", &[], recovery);
        assert!(nacm.exec(&subject, "ietf-netconf", "delete-config", DefaultDeny::All).is_permit());
        assert!(nacm.data(&subject, Access::Delete, &path("/m:a"), DefaultDeny::All).is_permit());
        assert!(nacm.permits_all_reads(&subject));
    }
    let subject = on.subject("nobody", &[], false);
    assert!(!on.exec(&subject, "m", "reset", DefaultDeny::Nothing).is_permit());
    assert!(!on.data(&subject, Access::Read, &path("/m:a"), DefaultDeny::Nothing).is_permit());
}

#[test]
fn a_path_that_cannot_be_read_opens_no_door() {
    let with =
        |action: &str| nacm(vec![list("l", &["guest"], vec![rule("typo", &[("path", "m:a["), ("action", action)])])]);
    let read = |nacm: &Nacm| {
        let subject = nacm.subject("guest", &[], false);
        nacm.data(&subject, Access::Read, &path("/m:a"), DefaultDeny::All)
    };
    assert_eq!(read(&with("permit")), Decision::Deny);
    assert_eq!(read(&with("deny")), Decision::Deny);
    let deny = with("deny");
    let subject = deny.subject("guest", &[], false);
    assert_eq!(deny.data(&subject, Access::Read, &path("/m:b"), DefaultDeny::Nothing), Decision::Deny);
    assert_eq!(
        deny.problems(),
        ["rule `typo` of rule-list `l`: `m:a[` does not start with a slash; write it as /module:node/node"]
    );
}

#[test]
fn a_reader_whom_no_rule_hides_anything_from_needs_no_decisions() {
    let nacm = appendix();
    let all = |user| nacm.permits_all_reads(&nacm.subject(user, &[], false));
    assert!(all("andy"));
    assert!(!all("nobody") && !all("wilma") && !all("guest"));
}

#[test]
fn what_is_the_same_for_all_entries_is_decided_without_them() {
    let nacm = appendix();
    let everywhere = |user, place| {
        let deny = if place == "/m:keys" { DefaultDeny::All } else { DefaultDeny::Nothing };
        nacm.read_everywhere(&nacm.subject(user, &[], false), &path(place), deny)
    };
    use Decision::{Deny, Permit};
    // Permitted for one entry, and by default for the rest.
    assert_eq!(everywhere("wilma", "/m:interfaces/interface/mtu"), Some(Permit));
    assert_eq!(everywhere("wilma", "/m:secret"), Some(Deny));
    assert_eq!(everywhere("wilma", "/m:keys"), Some(Deny));
    assert_eq!(everywhere("guest", "/ietf-netconf-monitoring:netconf-state"), Some(Deny));
    assert_eq!(everywhere("andy", "/m:keys"), Some(Permit));
    let rules = vec![
        rule("own", &[("path", "/m:user[name=$USER]"), ("action", "permit")]),
        rule("others", &[("path", "/m:user/password"), ("action", "deny")]),
    ];
    let nacm = super::tests::nacm(vec![list("l", &["guest"], rules)]);
    let subject = nacm.subject("guest", &[], false);
    let place = |place| nacm.read_everywhere(&subject, &path(place), DefaultDeny::Nothing);
    assert_eq!((place("/m:user"), place("/m:user/password")), (Some(Permit), None));
}

#[test]
fn a_writer_whom_the_first_rule_permits_everything_needs_no_decisions() {
    let nacm = appendix();
    let may = |user| nacm.permits_all_writes(&nacm.subject(user, &[], false));
    assert!(may("andy"));
    for user in ["nobody", "wilma", "guest"] {
        assert!(!may(user), "{user}");
    }
    assert!(nacm.permits_all_writes(&nacm.subject("anyone", &[], true)));
    let narrow = |parts| list("l", &["guest"], vec![rule("first", parts), rule("all", &[("action", "permit")])]);
    for parts in [
        &[("action", "permit"), ("access-operations", "create update")][..],
        &[("action", "permit"), ("module-name", "m")],
        &[("action", "deny"), ("path", "/m:a")],
    ] {
        let nacm = super::tests::nacm(vec![narrow(parts)]);
        assert!(!nacm.permits_all_writes(&nacm.subject("guest", &[], false)), "{parts:?}");
    }
}

#[test]
fn without_configuration_reading_and_calling_are_free_and_writing_is_not() {
    let nacm = Nacm::default();
    let subject = nacm.subject("anyone", &[], false);
    assert!(nacm.exec(&subject, "m", "reset", DefaultDeny::Nothing).is_permit());
    assert!(nacm.data(&subject, Access::Read, &path("/m:a"), DefaultDeny::Nothing).is_permit());
    assert!(!nacm.data(&subject, Access::Create, &path("/m:a"), DefaultDeny::Nothing).is_permit());
}

#[test]
fn refusals_are_counted_and_reported() {
    let mut counters = Counters::default();
    counters.operation_denied();
    counters.data_write_denied();
    counters.data_write_denied();
    let state = counters.state();
    assert_eq!(state.text_of("denied-operations"), Some("1"));
    assert_eq!(state.text_of("denied-data-writes"), Some("2"));
    assert_eq!(state.text_of("denied-notifications"), Some("0"));
}
