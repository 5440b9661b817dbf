use sha_crypt::PasswordVerifier;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn request(&self) -> Request {
        Request { root: self.folder.path().join("root"), admin: "ana".into(), ..Request::default() }
    }

    fn refusal(&self, change: impl FnOnce(&mut Request)) -> String {
        let mut request = self.request();
        change(&mut request);
        let told = init(&request).unwrap_err().to_string();
        assert!(!request.root.join("keys").exists(), "nothing is left of a refused root");
        told.replace(self.folder.path().to_str().unwrap(), "F")
    }
}

#[test]
fn a_root_holds_its_tree_its_keys_and_the_first_configuration() {
    let place = Place::new();
    let key = place.file("id.pub", &format!("# mine\n{KEY} ana & <co>\n\n{KEY}\n"));
    let request = Request { authorized_keys: vec![key], password: Some("pleaseletmein".into()), ..place.request() };
    let layout = init(&request).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(layout.keys()), mode(layout.config()), mode(layout.repository("process"))], [0o700, 0o700, 0o755]);
    assert_eq!([mode(layout.host_key_ed25519()), mode(layout.initial_config())], [0o600, 0o600]);
    for path in [layout.host_key_ed25519(), layout.host_key_ecdsa()] {
        russh::keys::load_secret_key(&path, None).unwrap();
    }
    assert_eq!(Layout::open(&request.root).unwrap(), layout);

    let text = fs::read_to_string(layout.initial_config()).unwrap();
    let hash = text.split_once("<password>").unwrap().1.split_once("</password>").unwrap().0;
    assert!(hash.starts_with("$6$"), "{hash}");
    let parsed = sha_crypt::PasswordHash::new(hash).unwrap();
    ShaCrypt::default().verify_password(b"pleaseletmein", &parsed).unwrap();
    assert!(ShaCrypt::default().verify_password(b"other", &parsed).is_err());
    insta::assert_snapshot!(text.replace(hash, "HASH"), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <!-- The agent commits this at its first start; afterwards it is not read again. -->
    <config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">
      <system xmlns="urn:ietf:params:xml:ns:yang:ietf-system">
        <authentication>
          <user>
            <name>ana</name>
            <password>HASH</password>
            <authorized-key>
              <name>ana &amp; &lt;co&gt;</name>
              <algorithm>ssh-ed25519</algorithm>
              <key-data>AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ</key-data>
            </authorized-key>
            <authorized-key>
              <name>key</name>
              <algorithm>ssh-ed25519</algorithm>
              <key-data>AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ</key-data>
            </authorized-key>
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
            <user-name>ana</user-name>
          </group>
          <group>
            <name>scripts</name>
            <user-name>script</user-name>
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
          </rule>
          <rule>
            <name>get</name>
            <module-name>ietf-netconf</module-name>
            <rpc-name>get</rpc-name>
            <access-operations>exec</access-operations>
            <action>permit</action>
          </rule>
          <rule>
            <name>get-config</name>
            <module-name>ietf-netconf</module-name>
            <rpc-name>get-config</rpc-name>
            <access-operations>exec</access-operations>
            <action>permit</action>
          </rule>
          <rule>
            <name>get-schema</name>
            <module-name>ietf-netconf-monitoring</module-name>
            <rpc-name>get-schema</rpc-name>
            <access-operations>exec</access-operations>
            <action>permit</action>
          </rule>
          <rule>
            <name>create-subscription</name>
            <module-name>notifications</module-name>
            <rpc-name>create-subscription</rpc-name>
            <access-operations>exec</access-operations>
            <action>permit</action>
          </rule>
          <rule>
            <name>establish-subscription</name>
            <module-name>ietf-subscribed-notifications</module-name>
            <rpc-name>establish-subscription</rpc-name>
            <access-operations>exec</access-operations>
            <action>permit</action>
          </rule>
          <rule>
            <name>modify-subscription</name>
            <module-name>ietf-subscribed-notifications</module-name>
            <rpc-name>modify-subscription</rpc-name>
            <access-operations>exec</access-operations>
            <action>permit</action>
          </rule>
          <rule>
            <name>delete-subscription</name>
            <module-name>ietf-subscribed-notifications</module-name>
            <rpc-name>delete-subscription</rpc-name>
            <access-operations>exec</access-operations>
            <action>permit</action>
          </rule>
          <rule>
            <name>resync-subscription</name>
            <module-name>ietf-yang-push</module-name>
            <rpc-name>resync-subscription</rpc-name>
            <access-operations>exec</access-operations>
            <action>permit</action>
          </rule>
        </rule-list>
      </nacm>
    </config>
    "#);
}

#[test]
fn the_first_configuration_is_read_without_its_wrapping() {
    let place = Place::new();
    let layout = init(&Request { password: Some("x".into()), ..place.request() }).unwrap();
    let fragment = String::from_utf8(read_initial(&layout).unwrap().unwrap().0.to_vec()).unwrap();
    assert!(fragment.starts_with("<system xmlns=") && fragment.ends_with("</nacm>"), "{fragment}");
    for text in
        ["<config>", "<other/>", "<other></other>", "", "<config></other>", "<config></config><config></config>"]
    {
        fs::write(layout.initial_config(), text).unwrap();
        assert!(read_initial(&layout).is_err(), "{text}");
    }
    fs::remove_file(layout.initial_config()).unwrap();
    assert_eq!(read_initial(&layout).unwrap(), None);
}

#[test]
fn what_cannot_be_is_refused_with_a_remedy() {
    let place = Place::new();
    let private = place.file("id", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    let empty = place.file("empty.pub", "\n# nothing\n");
    let bad = place.file("bad.pub", &format!("{KEY} fine\nssh-ed25519 AAAA\n"));
    let absent = place.folder.path().join("absent.pub");
    let password = |request: &mut Request| request.password = Some("x".into());
    let told = [
        place.refusal(|_| ()),
        place.refusal(|request| request.password = Some(String::new())),
        place.refusal(|request| request.authorized_keys = vec![private]),
        place.refusal(|request| request.authorized_keys = vec![empty]),
        place.refusal(|request| request.authorized_keys = vec![bad]),
        place.refusal(|request| request.authorized_keys = vec![absent]),
        place.refusal(|request| {
            password(request);
            request.admin = "a b".into();
        }),
        place.refusal(|request| {
            password(request);
            request.admin = "script".into();
        }),
        place.refusal(|request| {
            password(request);
            request.root = request.root.join("deeper");
        }),
    ];
    insta::assert_snapshot!(told.join("\n"), @r#"
    the administrator has no way to log in; add --authorized-key FILE (a public key, as ~/.ssh/id_ed25519.pub) or --password-stdin
    the password is empty or longer than 511 bytes, or holds a control character; choose another
    F/id holds a private key; give the public one, F/id.pub
    F/empty.pub holds no public key; expected a line such as `ssh-ed25519 AAAA... name`
    F/bad.pub:2: not a public key of OpenSSH (length invalid); expected a line such as `ssh-ed25519 AAAA... name`
    F/absent.pub: No such file or directory (os error 2); check that the folder above exists and is writable, and that the disk is not full
    `a b` cannot be a user name; use 1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or `_`
    `script` is the account that on-box scripts run under; choose another name for the administrator
    F/root/deeper: No such file or directory (os error 2); check that the folder above exists and is writable, and that the disk is not full
    "#);
}

#[test]
fn a_root_is_never_made_over_another_or_over_somebody_elses_files() {
    let place = Place::new();
    let request = Request { password: Some("x".into()), ..place.request() };
    fs::create_dir(&request.root).unwrap();
    fs::write(request.root.join("letter.txt"), "dear").unwrap();
    assert!(matches!(init(&request), Err(InitError::NotEmpty { .. })));
    fs::remove_file(request.root.join("letter.txt")).unwrap();
    fs::write(request.root.join("procyon.toml"), "").unwrap();
    let layout = init(&request).unwrap();
    let before = fs::read(layout.host_key_ed25519()).unwrap();
    assert!(matches!(init(&request), Err(InitError::AlreadyInitialised { .. })));
    assert_eq!(fs::read(layout.host_key_ed25519()).unwrap(), before);
}
