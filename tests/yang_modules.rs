//! Every module in `yang/implemented.toml` loads, with its features, at the revision that the table says.

use std::path::Path;

use yang5::context::{Context, ContextFlags};

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
        "/ietf-netconf:cancel-commit",
        "/Cisco-IOS-XR-um-script-cfg:script/snmps",
    ] {
        assert!(context.find_path(path).is_err(), "{path} is still there");
    }
    for path in [
        "/ietf-system:system/authentication/user/authorized-key/key-data",
        "/ietf-system:system-state/platform/os-name",
        "/ietf-system:system-state/clock/current-datetime",
        "/Cisco-IOS-XR-um-appmgr-cfg:appmgr/process-scripts/process-script/procyon-appmgr:after",
        "/Cisco-IOS-XR-appmgr-oper:appmgr/process-scripts/process-script/info/procyon-appmgr:reason",
        "/Cisco-IOS-XR-um-script-cfg:script/Cisco-IOS-XR-um-config-validation-cfg:configs/config/checksum/sha256",
        "/procyon-files:harddisk",
    ] {
        assert!(context.find_path(path).is_ok(), "{path} is missing");
    }
}
