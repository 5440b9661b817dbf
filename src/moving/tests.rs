//! Each file as it is printed in the guide that people set their hosts up by.

use super::conserver::Site;
use super::draft::Candidate;
use super::{conserver, procserv, supervisord, unit};

/// Of conserver's files.
fn consoles(files: &[(&str, &str)]) -> Candidate {
    let (mut site, mut candidate) = (Site::default(), Candidate::default());
    for (file, text) in files {
        site.read(file, text, &mut candidate);
    }
    site.settle(&mut candidate);
    candidate
}

fn shown(candidate: &Candidate) -> String {
    let left = candidate.left.iter().map(|left| format!("{}:{}: {}: {}\n", left.file, left.line, left.what, left.why));
    candidate.to_xml() + &left.collect::<String>()
}

const IOC: &str = r"[Unit]
Description=procServ container for IOC %i
Documentation=file:/opt/iocs/e3-ioc-%i/README.md
Before=conserver.service
After=network.target remote-fs.target
AssertPathExists=/opt/iocs/e3-ioc-%i

[Service]
User=iocuser
Group=iocgroup
PermissionsStartOnly=true

ExecStartPre=/bin/mkdir -p /var/log/procServ/%i
ExecStartPre=/bin/chown -R iocuser:iocgroup /var/log/procServ/%i
ExecStartPre=/bin/mkdir -p /var/run/procServ/%i
ExecStartPre=/bin/chown -R iocuser:iocgroup /var/run/procServ/%i

ExecStart=/usr/bin/procServ \
                     --foreground \
                     --name=%i \
                     --logfile=/var/log/procServ/%i/out.log \
                     --info-file=/var/run/procServ/%i/info \
                     --ignore=^C^D \
                     --logoutcmd=^Q \
                     --chdir=/var/run/procServ/%i \
                     --port=unix:/var/run/procServ/%i/control \
                     /epics/base-7.0.5/require/3.4.1/bin/iocsh.bash \
                     /opt/iocs/e3-ioc-%i/st.cmd

[Install]
WantedBy=multi-user.target
";

#[test]
fn the_template_of_the_guide_becomes_a_template() {
    let mut candidate = Candidate::default();
    unit::read("ioc@.service", IOC, &mut candidate);
    insta::assert_snapshot!(shown(&candidate), @r#"
    <containers xmlns="urn:procyon:container">
      <template>
        <name>ioc</name>
        <description>procServ container for IOC %i</description>
        <documentation>file:/opt/iocs/e3-ioc-%i/README.md</documentation>
        <command>/epics/base-7.0.5/require/3.4.1/bin/iocsh.bash /opt/iocs/e3-ioc-%i/st.cmd</command>
        <working-directory>/var/run/procServ/%i</working-directory>
        <user>iocuser</user>
        <primary-group>iocgroup</primary-group>
        <directory>
          <path>/var/log/procServ/%i</path>
          <owner>iocuser</owner>
          <group>iocgroup</group>
        </directory>
        <directory>
          <path>/var/run/procServ/%i</path>
          <owner>iocuser</owner>
          <group>iocgroup</group>
        </directory>
        <required-path>
          <path>/opt/iocs/e3-ioc-%i</path>
          <when-missing>refuse</when-missing>
        </required-path>
        <stop>
          <signal>KILL</signal>
        </stop>
        <restart>
          <holdoff>15</holdoff>
        </restart>
        <terminal/>
        <log>
          <file>/var/log/procServ/%i/out.log</file>
        </log>
        <console>
          <title>%i</title>
          <ignored-keys>^C^D</ignored-keys>
          <logout-key>^Q</logout-key>
          <listener>
            <name>control</name>
            <unix>
              <path>/var/run/procServ/%i/control</path>
            </unix>
            <write>true</write>
          </listener>
        </console>
        <start-at-boot>true</start-at-boot>
      </template>
    </containers>
    ioc@.service:18: --info-file=/var/run/procServ/%i/info: containers-state tells process and console
    ioc@.service:1: instances: the file does not say which: add containers such as `ioc@NAME` with this template
    "#);
}

#[test]
fn an_instance_brings_its_template_along() {
    let mut candidate = Candidate::default();
    unit::read("/etc/systemd/system/ioc@test-ioc.service", IOC, &mut candidate);
    assert_eq!(candidate.containers["ioc@test-ioc"].template.as_deref(), Some("ioc"));
    assert!(candidate.templates.contains_key("ioc"));
}

#[test]
fn a_unit_that_runs_no_procserv_is_left_out_and_our_own_drop_in_is_one() {
    let mut candidate = Candidate::default();
    unit::read("web.service", "[Service]\nExecStart=/usr/bin/nginx\nLimitNOFILE=infinity\n", &mut candidate);
    assert!(candidate.containers.is_empty());
    let left: Vec<&str> = candidate.left.iter().map(|left| left.what.as_str()).collect();
    assert_eq!(left, ["ExecStart=/usr/bin/nginx", "LimitNOFILE=infinity", "web"]);
    unit::read("x.service", "[Service]\nExecStart=/usr/bin/procyon-keeper -f -P 0 /bin/x a\n", &mut candidate);
    assert_eq!(candidate.containers["x"].command, ["/bin/x", "a"]);
}

#[test]
fn the_first_unit_of_the_guide_becomes_a_container() {
    let text = r"[Unit]
Description=procServ container for test IOC
After=network.target remote-fs.target

[Service]
User=iocuser
ExecStart=/usr/bin/procServ \
                     --foreground \
                     --name=test-ioc \
                     --logfile=/home/iocuser/test-ioc.log \
                     --ignore=^C^D \
                     --port=2000 \
                     /epics/base-7.0.5/require/3.4.1/bin/iocsh.bash

[Install]
WantedBy=multi-user.target
";
    let mut candidate = Candidate::default();
    unit::read("test-ioc.service", text, &mut candidate);
    insta::assert_snapshot!(shown(&candidate), @r#"
    <containers xmlns="urn:procyon:container">
      <container>
        <name>test-ioc</name>
        <description>procServ container for test IOC</description>
        <command>/epics/base-7.0.5/require/3.4.1/bin/iocsh.bash</command>
        <user>iocuser</user>
        <stop>
          <signal>KILL</signal>
        </stop>
        <restart>
          <holdoff>15</holdoff>
        </restart>
        <terminal/>
        <log>
          <file>/home/iocuser/test-ioc.log</file>
        </log>
        <console>
          <title>test-ioc</title>
          <ignored-keys>^C^D</ignored-keys>
          <listener>
            <name>control</name>
            <tcp>
              <port>2000</port>
            </tcp>
            <write>true</write>
          </listener>
        </console>
        <start-at-boot>true</start-at-boot>
      </container>
    </containers>
    "#);
}

#[test]
fn conservers_files_of_the_guide_are_accounted_for() {
    let main = "config * {\n}\n\ndefault full { rw *; }\ndefault * {\n        timestamp \"\";\n        include full;\n        \
                master localhost;\n}\n\n#include /etc/conserver/procs.cf\n\naccess * {\n        trusted 127.0.0.1;\n        \
                allowed 127.0.0.1;\n}\n";
    let procs = "console test-ioc {\n    type uds;\n    uds /var/run/procServ/test-ioc/control;\n}\n";
    let client = "config * {\n        master localhost;\n}\n";
    let mut candidate = consoles(&[("conserver.cf", main), ("procs.cf", procs), ("console.cf", client)]);
    conserver::read_passwords("conserver.passwd", "*any*:\n", &mut candidate);
    insta::assert_snapshot!(shown(&candidate), @r#"
    <containers xmlns="urn:procyon:container">
      <container>
        <name>test-ioc</name>
        <connect>
          <unix>/var/run/procServ/test-ioc/control</unix>
        </connect>
        <console>
          <writers>one</writers>
        </console>
      </container>
    </containers>
    <conserver-listener xmlns="urn:procyon:console">
      <source>127.0.0.1</source>
      <trusted>127.0.0.1</trusted>
    </conserver-listener>
    <nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm">
      <rule-list>
        <name>writers of test-ioc</name>
        <group>*</group>
        <rule>
          <name>console</name>
          <path xmlns:c="urn:procyon:console">/c:consoles/c:console[c:name='container:test-ioc']</path>
          <access-operations>read update</access-operations>
          <action>permit</action>
        </rule>
      </rule-list>
    </nacm>
    conserver.cf:11: #include /etc/conserver/procs.cf: name /etc/conserver/procs.cf as well
    conserver.passwd:1: *any*:...: nobody comes in without being known: give people accounts (ietf-system) and groups (NACM)
    "#);
}

#[test]
fn a_console_at_a_templates_socket_is_an_instance_of_the_template() {
    let mut candidate = consoles(&[(
        "procs.cf",
        "console test-ioc { type uds; uds /var/run/procServ/test-ioc/control; }\nconsole other { type uds; uds /x; }\n",
    )]);
    unit::read("ioc@.service", IOC, &mut candidate);
    candidate.settle();
    let names: Vec<&str> = candidate.containers.keys().map(String::as_str).collect();
    assert_eq!(names, ["ioc@test-ioc", "other"]);
    assert_eq!(candidate.containers["ioc@test-ioc"].template.as_deref(), Some("ioc"));
}

#[test]
fn consoles_of_other_programs_are_connected_to() {
    let text = "console rack { type host; host lantronix; port 3; portbase 10000; portinc 10; protocol raw; motd \"slow\"; }\n\
                console tty { type device; device /dev/ttyS0; }\nconsole none { type host; host x; }\n";
    let candidate = consoles(&[("c.cf", text)]);
    insta::assert_snapshot!(shown(&candidate), @r#"
    <containers xmlns="urn:procyon:container">
      <container>
        <name>rack</name>
        <connect>
          <host>lantronix</host>
          <port>10030</port>
          <speaks>raw</speaks>
        </connect>
        <console>
          <writers>one</writers>
          <message-of-the-day>slow</message-of-the-day>
        </console>
      </container>
    </containers>
    c.cf:2: console tty: there is nothing like a console of type device here
    c.cf:3: console none: it has no port, or one that is not a number
    "#);
}

#[test]
fn every_endpoint_of_procserv_is_a_listener() {
    let mut candidate = Candidate::default();
    let text = "[Service]\nExecStart=/usr/bin/procServ -f -k ^K -x \"\" -l 2001 -P unix:ioc:iocs:0660:/run/a -P 2000 -P unix:@x /bin/x\n";
    unit::read("a.service", text, &mut candidate);
    insta::assert_snapshot!(shown(&candidate), @r#"
    <containers xmlns="urn:procyon:container">
      <container>
        <name>a</name>
        <command>/bin/x</command>
        <stop>
          <signal>KILL</signal>
        </stop>
        <restart>
          <holdoff>15</holdoff>
        </restart>
        <terminal/>
        <console>
          <kill-key>^K</kill-key>
          <listener>
            <name>control</name>
            <unix>
              <path>/run/a</path>
              <owner>ioc</owner>
              <group>iocs</group>
              <mode>660</mode>
            </unix>
            <write>true</write>
          </listener>
          <listener>
            <name>control-2</name>
            <tcp>
              <port>2000</port>
            </tcp>
            <write>true</write>
          </listener>
          <listener>
            <name>log</name>
            <tcp>
              <port>2001</port>
            </tcp>
            <speaks>log</speaks>
          </listener>
        </console>
      </container>
    </containers>
    a.service:2: --port=unix:@x: a listener is a port or a socket in the file system
    a.service:2: --logport=2001: only this host may connect: for others give the listener an address, and their networks as sources
    "#);
}

#[test]
fn a_console_that_runs_a_command_becomes_a_container() {
    let text = "console top { type exec; exec top -d 100%; execrunas nobody:; rw ops; }\nconsole half {";
    let candidate = consoles(&[("c.cf", text)]);
    insta::assert_snapshot!(shown(&candidate), @r#"
    <containers xmlns="urn:procyon:container">
      <container>
        <name>top</name>
        <command>/bin/sh -ce 'top -d 100%%'</command>
        <user>nobody</user>
        <terminal/>
        <console>
          <writers>one</writers>
        </console>
      </container>
    </containers>
    <nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm">
      <groups>
        <group>
          <name>writers of top</name>
          <user-name>ops</user-name>
        </group>
      </groups>
      <rule-list>
        <name>writers of top</name>
        <group>writers of top</group>
        <rule>
          <name>console</name>
          <path xmlns:c="urn:procyon:console">/c:consoles/c:console[c:name='container:top']</path>
          <access-operations>read update</access-operations>
          <action>permit</action>
        </rule>
      </rule-list>
    </nacm>
    c.cf:2: end of the file: something before it is not closed
    c.cf:2: console half: its type stands elsewhere, or is not known
    "#);
}

#[test]
fn instances_of_manage_procs_become_containers() {
    let mut candidate = Candidate::default();
    let text = "[DEFAULT]\nuser = iocuser\n\n[ioc1]\ncommand = ./st.cmd 'a b' 100%%\nchdir = /opt/ioc1\ngroup = iocs\nport = 0\n\n\
                [ioc2]\ncommand: /bin/x\nport: 2002\nuser: other\ncolour: red\nchdir: /opt/%(group)s\n\n[shared]\ninstance = no\n";
    procserv::read_conf("procServ.conf", text, &mut candidate);
    insta::assert_snapshot!(shown(&candidate), @r#"
    <containers xmlns="urn:procyon:container">
      <container>
        <name>ioc1</name>
        <command>./st.cmd 'a b' 100%%</command>
        <working-directory>/opt/ioc1</working-directory>
        <environment>
          <name>IOCNAME</name>
          <value>ioc1</value>
        </environment>
        <environment>
          <name>PROCSERV_NAME</name>
          <value>ioc1</value>
        </environment>
        <user>iocuser</user>
        <primary-group>iocs</primary-group>
        <stop>
          <signal>KILL</signal>
        </stop>
        <restart>
          <holdoff>15</holdoff>
        </restart>
        <terminal/>
        <console>
          <ignored-keys>^D^C^]</ignored-keys>
          <listener>
            <name>control</name>
            <unix>
              <path>/run/procServ/ioc1/control</path>
            </unix>
            <write>true</write>
          </listener>
        </console>
      </container>
      <container>
        <name>ioc2</name>
        <command>/bin/x</command>
        <working-directory>/</working-directory>
        <environment>
          <name>IOCNAME</name>
          <value>ioc2</value>
        </environment>
        <environment>
          <name>PROCSERV_NAME</name>
          <value>ioc2</value>
        </environment>
        <user>other</user>
        <stop>
          <signal>KILL</signal>
        </stop>
        <restart>
          <holdoff>15</holdoff>
        </restart>
        <terminal/>
        <console>
          <ignored-keys>^D^C^]</ignored-keys>
          <listener>
            <name>control</name>
            <unix>
              <path>/run/procServ/ioc2/control</path>
            </unix>
            <write>true</write>
          </listener>
          <listener>
            <name>port</name>
            <tcp>
              <port>2002</port>
            </tcp>
            <write>true</write>
          </listener>
        </console>
      </container>
    </containers>
    procServ.conf:14: [ioc2] colour = red: there is nothing like it here
    procServ.conf:15: [ioc2] chdir = /opt/%(group)s: options of other lines are not filled in here: write out what they hold
    "#);
}

#[test]
fn programs_of_supervisord_become_containers() {
    let mut candidate = Candidate::default();
    let text = "[supervisord]\nnodaemon=true\n\n[program:web]\ncommand=/usr/bin/web --port 80%(process_num)02d \"a b\" ; why\n\
                numprocs=2\nprocess_name=%(program_name)s_%(process_num)02d\nautorestart=true\nstopsignal=INT\n\
                environment=A=\"1,2\",B='x%%'\nstdout_logfile=/var/log/web.log\n\n[program:once]\ncommand=/bin/once\n\
                autostart=false\nautorestart=false\nstartretries=3\nuser=app\n\n[program:empty]\n\
                directory=%(here)s\n\n[group:site]\nprograms=web,nothing\n";
    supervisord::read("supervisord.conf", text, &mut candidate);
    insta::assert_snapshot!(shown(&candidate), @r#"
    <containers xmlns="urn:procyon:container">
      <container>
        <name>once</name>
        <command>/bin/once</command>
        <user>app</user>
        <restart>
          <policy>never</policy>
          <max-retries>3</max-retries>
        </restart>
        <start-at-boot>false</start-at-boot>
      </container>
      <container>
        <name>web@0</name>
        <group>site</group>
        <command>/usr/bin/web --port 80%i 'a b'</command>
        <environment>
          <name>A</name>
          <value>1,2</value>
        </environment>
        <environment>
          <name>B</name>
          <value>x%%</value>
        </environment>
        <stop>
          <signal>INT</signal>
        </stop>
        <restart>
          <policy>always</policy>
        </restart>
      </container>
      <container>
        <name>web@1</name>
        <group>site</group>
        <command>/usr/bin/web --port 80%i 'a b'</command>
        <environment>
          <name>A</name>
          <value>1,2</value>
        </environment>
        <environment>
          <name>B</name>
          <value>x%%</value>
        </environment>
        <stop>
          <signal>INT</signal>
        </stop>
        <restart>
          <policy>always</policy>
        </restart>
      </container>
    </containers>
    supervisord.conf:21: [program:empty] directory=%(here)s: %(here) stands for nothing here: write out what it holds
    supervisord.conf:24: [group:site] programs=web,nothing: there is no program nothing
    supervisord.conf:1: [program:empty]: it has no command
    supervisord.conf:1: [program:web] stdout_logfile=/var/log/web.log: several processes cannot have one log: put %(process_num)d into its name
    "#);
}

#[test]
fn what_holds_for_all_consoles_of_a_site_holds_for_each() {
    let text = "group ops { users alice, bob; }\ngroup shift { users ops, carol, !bob; }\n\
                break 3 { string \"\\d#.\\z\"; delay 600; confirm yes; }\nbreak 4 { string \"\\q\"; }\n\
                default * { logfile /var/log/conserver/&; logfilemax 4m; timestamp 1lab; include who; }\n\
                default who { rw shift, @wheel; ro *; }\n\
                console one { type host; host h; port 1; break 3; breaklist 2; rw dave; options ondemand; }\n\
                console two { type uds; uds /b; rw \"\"; rw *, !eve; timestamp 5m; }\n\
                access * { allowed 10.0.0.0/8, tower; trusted localhost; rejected 10.1.0.0/16; admin alice; }\n\
                config * { primaryport 7782; sslrequired no; }\ntask x { cmd y; }\n";
    insta::assert_snapshot!(shown(&consoles(&[("c.cf", text)])), @r#"
    <containers xmlns="urn:procyon:container">
      <container>
        <name>one</name>
        <connect>
          <host>h</host>
          <port>1</port>
          <speaks>telnet</speaks>
        </connect>
        <log>
          <file>/var/log/conserver/one</file>
          <stamp>[%a %b %e %H:%M:%S %Y]</stamp>
          <max-size>4194304</max-size>
        </log>
        <console>
          <writers>one</writers>
          <marks>true</marks>
          <break>
            <name>0</name>
            <send>\d#.\z</send>
            <pause>600</pause>
          </break>
          <break>
            <name>2</name>
            <send>\r~^b</send>
          </break>
        </console>
      </container>
      <container>
        <name>two</name>
        <connect>
          <unix>/b</unix>
        </connect>
        <log>
          <file>/var/log/conserver/two</file>
          <max-size>4194304</max-size>
        </log>
        <console>
          <writers>one</writers>
          <mark-every>300</mark-every>
          <break>
            <name>3</name>
            <send>\d#.\z</send>
            <pause>600</pause>
          </break>
        </console>
      </container>
    </containers>
    <conserver-listener xmlns="urn:procyon:console">
      <port>7782</port>
      <source>10.0.0.0/8</source>
      <source>127.0.0.1</source>
      <source>::1</source>
      <trusted>127.0.0.1</trusted>
      <trusted>::1</trusted>
    </conserver-listener>
    <nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm">
      <groups>
        <group>
          <name>ops</name>
          <user-name>alice</user-name>
          <user-name>bob</user-name>
        </group>
        <group>
          <name>shift</name>
          <user-name>alice</user-name>
          <user-name>carol</user-name>
        </group>
        <group>
          <name>writers of one</name>
          <user-name>dave</user-name>
        </group>
      </groups>
      <rule-list>
        <name>writers of one</name>
        <group>shift</group>
        <group>wheel</group>
        <group>writers of one</group>
        <rule>
          <name>console</name>
          <path xmlns:c="urn:procyon:console">/c:consoles/c:console[c:name='container:one']</path>
          <access-operations>read update</access-operations>
          <action>permit</action>
        </rule>
      </rule-list>
      <rule-list>
        <name>readers of one</name>
        <group>*</group>
        <rule>
          <name>console</name>
          <path xmlns:c="urn:procyon:console">/c:consoles/c:console[c:name='container:one']</path>
          <access-operations>read</access-operations>
          <action>permit</action>
        </rule>
      </rule-list>
      <rule-list>
        <name>writers of two</name>
        <group>*</group>
        <rule>
          <name>console</name>
          <path xmlns:c="urn:procyon:console">/c:consoles/c:console[c:name='container:two']</path>
          <access-operations>read update</access-operations>
          <action>permit</action>
        </rule>
      </rule-list>
      <rule-list>
        <name>readers of two</name>
        <group>*</group>
        <rule>
          <name>console</name>
          <path xmlns:c="urn:procyon:console">/c:consoles/c:console[c:name='container:two']</path>
          <access-operations>read</access-operations>
          <action>permit</action>
        </rule>
      </rule-list>
    </nacm>
    c.cf:3: confirm yes: nobody is asked again before it is sent
    c.cf:4: break 4: \q stands for nothing
    c.cf:9: allowed 10.0.0.0/8, tower: of the listener for conserver's client, sources are addresses and networks
    c.cf:9: rejected 10.1.0.0/16: whoever is not among the sources is turned away
    c.cf:9: admin alice: who may use consoles is said by access rules (NACM)
    c.cf:11: task x: there is nothing like it here
    c.cf:7: options ondemand: there is nothing like it here
    c.cf:8: rw *, !eve: who is left out is not: write a rule that denies it, before the others
    "#);
}

#[test]
fn a_site_without_consoles_says_what_its_defaults_are_for() {
    let candidate =
        consoles(&[("c.cf", "default * { rw ops; master here; }\nconsole x { type uds; uds /x; include gone; }\n")]);
    let left: Vec<&str> = candidate.left.iter().map(|left| left.what.as_str()).collect();
    assert_eq!(left, ["include gone"]);
    let left = consoles(&[("c.cf", "default * { rw ops; master here; }\n")]).left;
    assert_eq!((left.len(), left[0].why.as_str()), (1, "there is no console that it holds for"));
}

#[test]
fn a_log_goes_where_it_went() {
    let mut candidate = Candidate::default();
    let unit_of = |options: &str| format!("[Service]\nExecStart=/usr/bin/procServ -f {options} -P 2000 /bin/x\n");
    unit::read("a.service", &unit_of("-L /var/log/a --logstamp='[%%c] '"), &mut candidate);
    unit::read("b.service", &unit_of("-L b.log --logstamp"), &mut candidate);
    unit::read("c.service", &unit_of("--logfile=- --timefmt=%%F"), &mut candidate);
    let text = "[program:d]\ncommand=/bin/d\nstdout_logfile=/var/log/%(program_name)s.log\nstdout_logfile_maxbytes=50MB\n\
                stdout_logfile_backups=10\nstdout_syslog=true\nstderr_logfile=/var/log/d.err\n\n\
                [program:e]\ncommand=/bin/e\nstdout_logfile=NONE\nstdout_logfile_maxbytes=0\nstderr_logfile=AUTO\n";
    supervisord::read("s.conf", text, &mut candidate);
    let logs: Vec<String> =
        candidate.containers.iter().map(|(name, draft)| format!("{name}: {:?}", draft.log)).collect();
    insta::assert_snapshot!(logs.join("\n"), @r#"
    a: Log { file: Some("/var/log/a"), stamp: Some("[%a %b %e %H:%M:%S %Y] "), max_size: None, keep: None, is_in_syslog: false }
    b: Log { file: None, stamp: Some("%a %b %e %H:%M:%S %Y"), max_size: None, keep: None, is_in_syslog: false }
    c: Log { file: None, stamp: None, max_size: None, keep: None, is_in_syslog: false }
    d: Log { file: Some("/var/log/%n.log"), stamp: None, max_size: Some(52428800), keep: Some(10), is_in_syslog: true }
    e: Log { file: None, stamp: None, max_size: None, keep: None, is_in_syslog: false }
    "#);
    let left: Vec<String> = candidate.left.iter().map(|left| format!("{}: {}", left.what, left.why)).collect();
    insta::assert_snapshot!(left.join("\n"), @r#"
    --logfile=b.log: a log is a file with an absolute path
    --logfile=-: every container has a log file; `log/journal` has it in the journal too
    [program:d] stderr_logfile=/var/log/d.err: errors have their file beside the house's logs (`log-directory` of the state)
    [program:e] stdout_logfile=NONE: what is printed is always in a log; `log/max-size` bounds it
    [program:e] stdout_logfile_maxbytes=0: every log has a size at which it is put aside
    "#);
}
