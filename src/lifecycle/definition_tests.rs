//! The format of definitions, element by element as its documentation explains them.

use proptest::prelude::*;

use super::definition::*;
use super::pattern::Pattern;
use super::xml::{self, NAMESPACE, parse, print, tests::sample};

const REGISTRY: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<sipXecs-process xmlns="http://www.sipfoundry.org/sipX/schema/xml/sipXecs-process-01-00"
                 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
                 xsi:schemaLocation="http://www.sipfoundry.org/sipX/schema/xml/sipXecs-process-01-00 x.xsd">
  <!-- one script does it all -->
  <name>SIPRegistrar</name>
  <version>4.1.0</version>
  <commands>
    <configtest>
      <defaultdir>/var/log/registrar</defaultdir>
      <execute>/usr/bin/registrar.sh</execute>
      <parameter>--configtest</parameter>
    </configtest>
    <start>
      <user>daemon</user>
      <execute>/usr/bin/registrar.sh</execute>
      <parameter>--title</parameter>
      <parameter>two words &amp; more</parameter>
    </start>
    <stop>
      <execute>/usr/bin/registrar.sh</execute>
      <parameter>--stop</parameter>
    </stop>
    <reconfigure>
      <execute>/usr/bin/registrar.sh</execute>
    </reconfigure>
  </commands>
  <status>
    <pid>/var/run/registrar.pid</pid>
    <log>/var/log/registrar.log</log>
    <log>/var/log/registrar-cdr.log</log>
  </status>
  <resources>
    <osconfig>/etc/registrar-config</osconfig>
    <file configAccess="read-only" required="false">/etc/rules.xml</file>
    <imdb required="false">userforward</imdb>
    <process>ConfigServer</process>
    <sqldb>
      <dbname>SIPXCDR</dbname>
      <dbdriver>{PostgreSQL}</dbdriver>
      <userpassword></userpassword>
    </sqldb>
    <directory configAccess="no-access">
      <path>/etc/ssl/private</path>
      <filePattern configAccess="read-only">*.crt</filePattern>
      <filePattern>*.key</filePattern>
    </directory>
    <directory required="false">
      <path>/var/empty</path>
    </directory>
  </resources>
</sipXecs-process>
"#;

fn wrong(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// A definition with one thing in it replaced.
fn with(what: &str, by: &str) -> String {
    assert!(REGISTRY.contains(what), "{what}");
    wrong(&REGISTRY.replacen(what, by, 1))
}

#[test]
fn every_element_is_read() {
    let definition = parse(REGISTRY).unwrap();
    assert_eq!((definition.name.as_str(), definition.version.as_str()), ("SIPRegistrar", "4.1.0"));
    assert_eq!(definition.start.argv(), ["/usr/bin/registrar.sh", "--title", "two words & more"]);
    assert_eq!(definition.start.user.as_deref(), Some("daemon"));
    assert_eq!(definition.configtest.defaultdir.as_deref(), Some("/var/log/registrar".as_ref()));
    assert_eq!(definition.stop.defaultdir, None);
    assert!(definition.reconfigure.is_some());
    assert_eq!(definition.status.pid.as_deref(), Some("/var/run/registrar.pid".as_ref()));
    assert_eq!(definition.status.logs.len(), 2);
    let described: Vec<String> = definition
        .resources
        .iter()
        .map(|it| format!("{} required={} {}", it.described(), it.required, it.access))
        .collect();
    insta::assert_snapshot!(described.join("\n"), @"
    osconfig '/etc/registrar-config' required=true read-write
    file '/etc/rules.xml' required=false read-only
    imdb 'userforward' required=false read-write
    process 'ConfigServer' required=true read-write
    sqldb 'SIPXCDR' required=true read-write
    directory '/etc/ssl/private' required=true no-access
    directory '/var/empty' required=false read-write
    ");
    let Kind::Directory { patterns, .. } = &definition.resources[5].kind else { panic!() };
    let patterns: Vec<_> = patterns.iter().map(|it| (it.pattern.as_str(), it.access)).collect();
    assert_eq!(patterns, [("*.crt", Some(ConfigAccess::ReadOnly)), ("*.key", None)]);
    let Kind::Sqldb(sqldb) = &definition.resources[4].kind else { panic!() };
    assert_eq!((sqldb.server(), sqldb.username(), sqldb.driver()), ("localhost", "postgres", "{PostgreSQL}"));
    assert_eq!(sqldb.userpassword.as_deref(), Some(""));
}

#[test]
fn what_is_printed_is_what_was_read() {
    let definition = parse(REGISTRY).unwrap();
    let text = print(&definition);
    assert_eq!(parse(&text).unwrap(), definition);
    insta::assert_snapshot!(print(&parse(&sample("x", "")).unwrap()), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <sipXecs-process xmlns="http://www.sipfoundry.org/sipX/schema/xml/sipXecs-process-01-00">
      <name>x</name>
      <version>1</version>
      <commands>
        <configtest>
          <execute>/bin/true</execute>
        </configtest>
        <start>
          <execute>/bin/cat</execute>
        </start>
        <stop>
          <execute>/bin/true</execute>
        </stop>
      </commands>
      <status>
        <log>/var/log/x.log</log>
      </status>
    </sipXecs-process>
    "#);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    insta::assert_snapshot!(
        [
            with("<name>SIPRegistrar</name>", ""),
            with("<version>4.1.0</version>", "<version/>"),
            with("<name>SIPRegistrar</name>", "<name>a/b</name>"),
            with("<execute>/usr/bin/registrar.sh</execute>", "<execute>registrar.sh</execute>"),
            with("<execute>/usr/bin/registrar.sh</execute>", "<execute>/usr/../bin/x</execute>"),
            with("<parameter>--configtest</parameter>", "<parameter></parameter>"),
            with("required=\"false\"", "required=\"maybe\""),
            with("configAccess=\"read-only\"", "configAccess=\"all\""),
            with("<imdb required=\"false\">", "<imdb needed=\"false\">"),
            with("<filePattern>*.key", "<filePattern required=\"true\">*.key"),
            with("<path>/etc/ssl/private</path>", ""),
            with("*.crt", "a/*.crt"),
            with("<imdb required=\"false\">userforward</imdb>", "<table>x</table>"),
            with("</status>", ""),
            with("<process>ConfigServer", "<process>SIPRegistrar"),
            with("<status>", "<status>stray"),
            with("&amp;", "&nbsp;"),
            with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "<!DOCTYPE x>"),
            with("<stop>", "<halt/><stop>"),
            wrong("<process/>"),
            wrong(""),
            wrong("not XML at all"),
        ]
        .join("\n"),
        @r#"
        line 7: <sipXecs-process> has no element <version> here: expected is <name>
        line 7: the version is empty
        line 6: process name `a/b` is not valid: it begins with a letter, digit or `_`, goes on with those or `.`, `-`, `+`, and has 1 to 200 characters
        line 11: execute `registrar.sh` is not a full path: it begins with `/` and has no `.` or `..`
        line 11: execute `/usr/../bin/x` is not a full path: it begins with `/` and has no `.` or `..`
        line 12: parameter is empty
        line 35: `maybe` is no value of the attribute `required`: true or false
        line 35: `all` is no value of the attribute `configAccess`: read-write, read-only, write-only or no-access
        line 36: <imdb> has no attribute `needed`
        line 46: <filePattern> has no attribute `required`
        line 45: <directory> has no element <filePattern> here: expected is <path>
        line 45: file pattern `a/*.crt` holds a `/`: it names files of its directory, not of folders below
        line 36: <resources> has no element <table> here: expected is <file> or <osconfig> or <imdb> or <process> or <sqldb> or <directory>
        line 52: this is not XML: ill-formed document: expected `</status>`, but `</sipXecs-process>` was found
        line 2: process `SIPRegistrar` needs itself to run before it starts
        line 28: text stands in <status> outside of its elements
        line 18: this is not XML: the entity `nbsp` is not known
        line 1: a document type declaration has no place in a definition
        line 20: <commands> has no element <halt> here: expected is <stop>
        line 1: the top element is <process>, expected is <sipXecs-process xmlns="http://www.sipfoundry.org/sipX/schema/xml/sipXecs-process-01-00">
        line 1: this is not XML: there is no element
        line 1: this is not XML: text stands outside of the top element
        "#
    );
}

#[test]
fn a_definition_of_another_namespace_is_none() {
    let text = sample("x", "").replace(NAMESPACE, "urn:other");
    assert!(wrong(&text).contains("expected is <sipXecs-process xmlns="), "{}", wrong(&text));
    let prefixed = sample("x", "").replace("xmlns=", "xmlns:p=").replace('<', "<p:").replace("<p:/", "</p:");
    assert_eq!(parse(&prefixed).unwrap(), parse(&sample("x", "")).unwrap());
}

#[test]
fn a_definition_file_carries_the_name() {
    assert_eq!(ProcessName::of_file("a-process.xml"), Some("a"));
    assert_eq!(ProcessName::of_file("a-b-process.xml"), Some("a-b"));
    for other in ["-process.xml", ".a-process.xml", "a-process.xml~", "a.xml", "process.xml"] {
        assert_eq!(ProcessName::of_file(other), None, "{other}");
    }
    assert_eq!(ProcessName::parse("a").unwrap().file_name(), "a-process.xml");
}

#[test]
fn one_place_is_written_in_one_way() {
    assert_eq!(full_path("x", "/a//b/").unwrap(), std::path::Path::new("/a/b"));
    assert!(full_path("x", "a").is_err() && full_path("x", "/a/./b").is_err() && full_path("x", "/..").is_err());
}

fn any_text() -> impl Strategy<Value = String> {
    "[a-z<>&\"' ]{0,6}[a-z<&]".prop_map(|text| text.trim().to_owned())
}

fn any_command() -> impl Strategy<Value = Command> {
    let parameters = proptest::collection::vec(any_text(), 0..3);
    (proptest::option::of("/[a-z]{1,5}"), proptest::option::of("[a-z]{1,5}"), "/[a-z]{1,5}/[a-z]{1,5}", parameters)
        .prop_map(|(dir, user, execute, parameters)| Command {
            defaultdir: dir.map(Into::into),
            user,
            execute: execute.into(),
            parameters,
        })
}

fn any_resource() -> impl Strategy<Value = Resource> {
    let access = proptest::sample::select(ConfigAccess::ALL.to_vec());
    let path = || "/[a-z]{1,5}".prop_map(std::path::PathBuf::from);
    let name = "[a-z]{2,5}[0-9]".prop_map(|name| ProcessName::parse(&name).unwrap());
    let pattern = ("[a-z*.]{1,4}", proptest::option::of(access.clone()))
        .prop_map(|(pattern, access)| FilePattern { pattern: Pattern::parse(&pattern).unwrap(), access });
    let sqldb = (any_text(), proptest::option::of(any_text()), proptest::option::of(any_text()))
        .prop_map(|(dbname, server, userpassword)| Sqldb { server, dbname, userpassword, ..Sqldb::default() });
    let kind = prop_oneof![
        path().prop_map(|path| Kind::File { path }),
        path().prop_map(|path| Kind::OsConfig { path }),
        any_text().prop_map(|table| Kind::Imdb { table }),
        name.prop_map(|name| Kind::Process { name }),
        sqldb.prop_map(Kind::Sqldb),
        (path(), proptest::collection::vec(pattern, 0..3))
            .prop_map(|(path, patterns)| Kind::Directory { path, patterns }),
    ];
    (kind, any::<bool>(), access).prop_map(|(kind, required, access)| Resource { kind, required, access })
}

pub(super) fn any_definition() -> impl Strategy<Value = Definition> {
    let commands = (any_command(), any_command(), any_command(), proptest::option::of(any_command()));
    let logs = proptest::collection::vec("/[a-z]{1,5}".prop_map(std::path::PathBuf::from), 0..3);
    let pid = proptest::option::of("/run/[a-z]{1,5}".prop_map(std::path::PathBuf::from));
    ("[A-Z][a-z]{0,5}", any_text(), commands, pid, logs, proptest::collection::vec(any_resource(), 0..5)).prop_map(
        |(name, version, (configtest, start, stop, reconfigure), pid, logs, resources)| Definition {
            name: ProcessName::parse(&name).unwrap(),
            version,
            configtest,
            start,
            stop,
            reconfigure,
            status: Status { pid, logs },
            resources,
        },
    )
}

proptest! {
    #[test]
    fn printing_and_reading_give_the_same_definition(definition in any_definition()) {
        prop_assert_eq!(parse(&print(&definition)).unwrap(), definition);
    }

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(at in 0..REGISTRY.len(), noise in "[<>a-z/&;\"]{0,6}") {
        if REGISTRY.is_char_boundary(at) {
            let _ = xml::parse(&format!("{}{noise}{}", &REGISTRY[..at], &REGISTRY[at..]));
        }
    }
}
