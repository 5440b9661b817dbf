use super::*;

fn parse(text: &str) -> Result<Settings, String> {
    Settings::parse(text, Path::new("/r/procyon.toml")).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(parse("").unwrap(), Settings::default());
}

#[test]
fn what_is_written_is_taken_and_the_rest_stays() {
    let settings = parse(
        "listen_ssh = [\"0.0.0.0:22\", \"[::1]:830\"]\n[limits]\nsessions = 7\n[python]\ninterpreter = \"/opt/python\"\n",
    )
    .unwrap();
    assert_eq!(settings.listen_ssh.len(), 2);
    assert_eq!(settings.limits, Limits { sessions: 7, ..Limits::default() });
    assert_eq!(settings.python.interpreter, Path::new("/opt/python"));
}

#[test]
fn what_is_wrong_is_told_with_line_and_remedy() {
    let told: Vec<String> = [
        "node = \"a\"\nlisten-ssh = []\n",
        "[limits]\n\nsession = 5\n",
        "[pyton]\ninterpreter = \"/x\"\n",
        "[limits]\nsessions = -1\n",
        "[limits]\nsessions = \"many\"\n",
        "[limits]\nsessions = 0\n",
        "listen_ssh = [\"here\"]\n",
        "[python]\ninterpreter = \"python3\"\n",
        "node = \n",
        "limits = 3\n",
    ]
    .iter()
    .map(|text| parse(text).unwrap_err())
    .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    /r/procyon.toml:2: unknown key `listen-ssh`; did you mean `listen_ssh`?
    /r/procyon.toml:3: unknown key `limits.session`; did you mean `limits.sessions`?
    /r/procyon.toml:1: unknown key `pyton`; did you mean `python`?
    /r/procyon.toml:2: invalid value: integer `-1`, expected usize (key `limits.sessions`)
    /r/procyon.toml:2: invalid type: string "many", expected usize (key `limits.sessions`)
    /r/procyon.toml:2: a limit is at least 1 (key `limits.sessions`)
    /r/procyon.toml:1: invalid socket address syntax (key `listen_ssh`)
    /r/procyon.toml:2: an absolute path is wanted (it begins with /) (key `python.interpreter`)
    /r/procyon.toml:1: string values must be quoted, expected literal string
    /r/procyon.toml:1: invalid type: integer `3`, expected struct Limits (key `limits`)
    "#);
}

#[test]
fn the_list_of_keys_is_what_the_types_know() {
    let value = serde_json::to_value(Settings::default()).unwrap();
    let mut known = Vec::new();
    for (key, value) in value.as_object().unwrap() {
        known.push(key.clone());
        known.extend(value.as_object().into_iter().flatten().map(|(inner, _)| format!("{key}.{inner}")));
    }
    let mut listed: Vec<_> = KEYS.iter().map(|key| (*key).to_owned()).collect();
    known.sort();
    listed.sort();
    assert_eq!(listed, known);
    let limits: Vec<_> = Limits::default().as_pairs().iter().map(|(key, _)| format!("limits.{key}")).collect();
    assert_eq!(limits, KEYS.iter().filter(|key| key.starts_with("limits.")).copied().collect::<Vec<_>>());
}

#[test]
fn a_file_that_was_named_must_be_there_and_the_one_of_the_root_need_not() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::at(folder.path()).unwrap();
    assert_eq!(Settings::load(&layout, None).unwrap(), Settings::default());
    let absent = folder.path().join("absent.toml");
    assert!(matches!(Settings::load(&layout, Some(&absent)), Err(SettingsError::Unreadable { .. })));
    std::fs::write(layout.settings_file(), "node = \"0/0/CPU0\"").unwrap();
    assert_eq!(Settings::load(&layout, None).unwrap().node, "0/0/CPU0");
    std::fs::write(&absent, vec![b'#'; 2 * 1024 * 1024]).unwrap();
    assert!(matches!(Settings::load(&layout, Some(&absent)), Err(SettingsError::TooBig { .. })));
}

#[test]
fn a_module_is_named_with_its_features() {
    let parsed = |text: &str| text.parse::<ModuleSpec>();
    assert_eq!(parsed("my-module").unwrap(), ModuleSpec { name: "my-module".into(), features: vec![] });
    let spec = parsed("ietf-x:a,b-c").unwrap();
    assert_eq!(spec.features, ["a", "b-c"]);
    assert_eq!(spec.to_string(), "ietf-x:a,b-c");
    assert_eq!(parsed("x:*").unwrap().features, ["*"]);
    for text in ["", "../x", "x:,", "9x", "x:a b", "x:a:b"] {
        assert!(parsed(text).is_err(), "{text}");
    }
}
