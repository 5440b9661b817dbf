//! Every module in `yang/implemented.toml` loads, with its features, at the revision that the table says; what the host
//! tells fits them.

#![expect(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::path::Path;

use procyon::northbound::nacm::Counters;
use procyon::northbound::provider::{Provider, StateQuery};
use procyon::system::{Record, Settings, System};
use procyon::yang::value::Element;
use yang5::context::{Context, ContextFlags};
use yang5::data::{DataFormat, DataParserFlags, DataTree, DataValidationFlags};

#[derive(serde::Deserialize)]
struct Implemented {
    module: Vec<Module>,
}

#[derive(serde::Deserialize)]
struct Module {
    name: String,
    revision: String,
    #[serde(default)]
    features: Vec<String>,
}

fn load() -> (Implemented, Context) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yang");
    let table: Implemented =
        toml::from_str(&std::fs::read_to_string(folder.join("implemented.toml")).unwrap()).unwrap();
    let mut context = Context::new(ContextFlags::empty()).unwrap();
    context.set_searchdir(&folder).unwrap();
    for module in &table.module {
        let features: Vec<&str> = module.features.iter().map(String::as_str).collect();
        let loaded = context.load_module(&module.name, Some(&module.revision), &features);
        assert!(loaded.is_ok(), "{}@{}: {:?}", module.name, module.revision, loaded.err());
    }
    (table, context)
}

#[test]
fn every_implemented_module_loads_at_its_revision() {
    let (table, context) = load();
    for module in &table.module {
        let loaded = context.get_module_implemented(&module.name).unwrap();
        assert_eq!(loaded.revision(), Some(module.revision.as_str()), "{}", module.name);
        for feature in &module.features {
            assert!(loaded.feature_value(feature).unwrap(), "{}:{feature}", module.name);
        }
    }
}

#[test]
fn what_is_not_served_is_not_in_the_tree() {
    let (_, context) = load();
    for path in [
        "/ietf-system:system/hostname",
        "/ietf-system:system/clock",
        "/ietf-system:system/dns-resolver",
        "/ietf-system:system-restart",
        "/Cisco-IOS-XR-um-script-cfg:script/snmps",
    ] {
        assert!(context.find_path(path).is_err(), "{path} is still there");
    }
    for path in [
        "/ietf-system:system/authentication/user/authorized-key/key-data",
        "/ietf-system:system-state/platform/os-name",
        "/ietf-system:system-state/clock/current-datetime",
        "/Cisco-IOS-XR-um-appmgr-cfg:appmgr/process-scripts/process-script/procyon-appmgr:after",
        "/Cisco-IOS-XR-appmgr-oper:appmgr/process-scripts/process-script/info/procyon-appmgr:why",
        "/Cisco-IOS-XR-um-script-cfg:script/Cisco-IOS-XR-um-config-validation-cfg:configs",
        "/procyon-files:harddisk",
        "/ietf-netconf:cancel-commit",
        "/ietf-netconf:commit/procyon-history:label",
        "/Cisco-IOS-XR-cfgmgr-rollback-act:roll-back-configuration-last/count",
        "/Cisco-IOS-XR-config-cfgmgr-exec-oper:config-manager/global/config-commit/commits/commit/client-name",
    ] {
        assert!(context.find_path(path).is_ok(), "{path} is missing");
    }
}

/// As the northbound prints state: a default namespace wherever the module changes.
fn print(context: &Context, element: &Element, out: &mut String) {
    let name = &element.name;
    let namespace = element.module.as_ref().map_or(String::new(), |module| {
        format!(" xmlns=\"{}\"", context.get_module_implemented(module).unwrap().namespace())
    });
    out.push_str(&format!("<{name}{namespace}>"));
    if let Some(text) = &element.text {
        out.push_str(&text.replace('&', "&amp;").replace('<', "&lt;"));
    }
    element.children.iter().for_each(|child| print(context, child, out));
    out.push_str(&format!("</{name}>"));
}

#[tokio::test]
async fn what_the_host_tells_fits_its_modules() {
    let (_, context) = load();
    let folder = tempfile::tempdir().unwrap();
    let system = System::start(Settings::below(folder.path()));
    system.log.log(Record::committed("fred <&>", 1_000_000_001, 7));
    for root in system.provider.state_roots() {
        let elements = system.provider.state(root, StateQuery { selection: None }).await.unwrap();
        let mut text = String::new();
        elements.iter().for_each(|element| print(&context, element, &mut text));
        assert!(!text.is_empty(), "{root}");
        let options = DataParserFlags::STRICT;
        // libyang wants state that is mandatory, so this is the whole of its judgement.
        let tree = DataTree::parse_string(&context, &text, DataFormat::XML, options, DataValidationFlags::PRESENT);
        assert!(tree.is_ok(), "{root}: {:?}\n{text}", tree.err());
    }
}

#[test]
fn the_counters_of_access_control_fit_their_module() {
    let (_, context) = load();
    let mut text = String::new();
    print(&context, &Counters::default().state(), &mut text);
    let options = DataParserFlags::STRICT;
    let tree = DataTree::parse_string(&context, &text, DataFormat::XML, options, DataValidationFlags::PRESENT);
    assert!(tree.is_ok(), "{:?}\n{text}", tree.err());
}

fn judge(context: &Context, text: &str) -> Result<(), String> {
    let options = DataParserFlags::STRICT | DataParserFlags::NO_STATE;
    DataTree::parse_string(context, text, DataFormat::XML, options, DataValidationFlags::NO_STATE)
        .map(drop)
        .map_err(|error| error.to_string())
}

#[test]
fn an_app_is_judged_by_its_constraints() {
    let (_, context) = load();
    let app = |content: &str| {
        let text = format!(
            "<appmgr xmlns=\"http://cisco.com/ns/yang/Cisco-IOS-XR-um-appmgr-cfg\"><process-scripts><process-script>\
             <process-script-name>my-process-app</process-script-name>{content}\
             </process-script></process-scripts></appmgr>"
        );
        judge(&context, &text)
    };
    let long = format!("<run-args>{}</run-args>", "x".repeat(801));
    let cases = [
        ("<executable>test.py</executable><run-args>--threshold 10</run-args><restart>always</restart>", true),
        ("<executable>exec/pkg/test.py</executable><username>fred</username><autorun/>", true),
        ("<restart>on-failure</restart><max-retries>3</max-retries>", true),
        ("<executable>a.py</executable><after xmlns=\"urn:procyon:appmgr\">not-yet-there</after>", true),
        ("", false),
        ("<autorun/>", false),
        ("<executable>-rf</executable>", false),
        ("<executable>a b.py</executable>", false),
        ("<restart>sometimes</restart>", false),
        ("<restart>always</restart><max-retries>3</max-retries>", false),
        ("<restart>on-failure</restart><max-retries>11</max-retries>", false),
        ("<restart>never</restart><username>x</username>", false),
        (long.as_str(), false),
    ];
    for (content, legal) in cases {
        let verdict = app(content);
        assert_eq!(verdict.is_ok(), legal, "{content}: {verdict:?}");
    }
}

#[test]
fn a_script_has_a_checksum() {
    let (_, context) = load();
    let script = |content: &str| {
        judge(
            &context,
            &format!("<script xmlns=\"http://cisco.com/ns/yang/Cisco-IOS-XR-um-script-cfg\">{content}</script>"),
        )
    };
    let sum = "5103a843032505decc37ff21089336e4bcc6a1061341056ca8add3ac5d6620ef";
    let process =
        |rest: &str| format!("<processes><process><process-name>a.py</process-name>{rest}</process></processes>");
    script(&process(&format!("<checksum><sha256>{sum}</sha256></checksum>"))).unwrap();
    assert!(script(&process("")).unwrap_err().contains("checksum"));
    assert!(script("<snmps><snmp><snmp-name>a.py</snmp-name></snmp></snmps>").is_err());
}

#[test]
fn a_password_is_clear_text_or_a_hash_that_is_understood() {
    let (_, context) = load();
    let user = |password: &str| {
        let text = format!(
            "<system xmlns=\"urn:ietf:params:xml:ns:yang:ietf-system\"><authentication><user><name>fred</name>\
             <password>{password}</password></user></authentication></system>"
        );
        judge(&context, &text)
    };
    user("$0$secret").unwrap();
    user(&procyon::system::users::hash_clear_text("$0$secret", [1; 12]).unwrap()).unwrap();
    assert!(user("secret").is_err());
}
