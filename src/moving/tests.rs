//! Each file as it is printed in the guide that people set their hosts up by.

use super::draft::Candidate;
use super::{conserver, procserv, supervisord, unit};

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
        <console>
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
    ioc@.service:18: --logfile=/var/log/procServ/%i/out.log: every container has its log in a folder of its own; `procyon console` and the state name it
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
        <console>
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
    test-ioc.service:7: --logfile=/home/iocuser/test-ioc.log: every container has its log in a folder of its own; `procyon console` and the state name it
    "#);
}

#[test]
fn conservers_files_of_the_guide_are_accounted_for() {
    let main = "config * {\n}\n\ndefault full { rw *; }\ndefault * {\n        timestamp \"\";\n        include full;\n        \
                master localhost;\n}\n\n#include /etc/conserver/procs.cf\n\naccess * {\n        trusted 127.0.0.1;\n        \
                allowed 127.0.0.1;\n}\n";
    let procs = "console test-ioc {\n    type uds;\n    uds /var/run/procServ/test-ioc/control;\n}\n";
    let client = "config * {\n        master localhost;\n}\n";
    let mut candidate = Candidate::default();
    conserver::read("conserver.cf", main, &mut candidate);
    conserver::read("procs.cf", procs, &mut candidate);
    conserver::read("console.cf", client, &mut candidate);
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
    conserver.cf:11: #include /etc/conserver/procs.cf: name /etc/conserver/procs.cf as well
    conserver.cf:4: rw *: who may use consoles is said by access rules (NACM)
    conserver.cf:13: access *: who may use consoles is said by access rules (NACM)
    conserver.passwd:1: *any*:...: nobody comes in without being known: give people accounts (ietf-system) and groups (NACM)
    "#);
}

#[test]
fn a_console_at_a_templates_socket_is_an_instance_of_the_template() {
    let mut candidate = Candidate::default();
    conserver::read(
        "procs.cf",
        "console test-ioc { type uds; uds /var/run/procServ/test-ioc/control; }\nconsole other { type uds; uds /x; }\n",
        &mut candidate,
    );
    unit::read("ioc@.service", IOC, &mut candidate);
    candidate.settle();
    let names: Vec<&str> = candidate.containers.keys().map(String::as_str).collect();
    assert_eq!(names, ["ioc@test-ioc", "other"]);
    assert_eq!(candidate.containers["ioc@test-ioc"].template.as_deref(), Some("ioc"));
}

#[test]
fn consoles_of_other_programs_are_connected_to() {
    let mut candidate = Candidate::default();
    let text = "console rack { type host; host lantronix; port 3; portbase 10000; portinc 10; protocol raw; motd \"slow\"; }\n\
                console tty { type device; device /dev/ttyS0; }\nconsole none { type host; host x; }\n";
    conserver::read("c.cf", text, &mut candidate);
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
    let mut candidate = Candidate::default();
    let text = "console top { type exec; exec top -d 100%; execrunas nobody:; rw ops; }\nconsole half {";
    conserver::read("c.cf", text, &mut candidate);
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
    c.cf:2: end of the file: something before it is not closed
    c.cf:1: rw ops: who may use consoles is said by access rules (NACM)
    c.cf:2: console half: its type stands elsewhere, or is not known
    "#);
}

#[test]
fn instances_of_manage_procs_become_containers() {
    let mut candidate = Candidate::default();
    let text = "[ioc1]\ncommand = ./st.cmd 'a b'\nchdir = /opt/ioc1\nuser = iocuser\ngroup = iocs\nport = 0\n\n\
                [ioc2]\ncommand: /bin/x\nport: 2002\ncolour: red\n";
    procserv::read_conf("procServ.conf", text, &mut candidate);
    insta::assert_snapshot!(shown(&candidate), @r#"
    <containers xmlns="urn:procyon:container">
      <container>
        <name>ioc1</name>
        <command>./st.cmd 'a b'</command>
        <working-directory>/opt/ioc1</working-directory>
        <user>iocuser</user>
        <primary-group>iocs</primary-group>
        <stop>
          <signal>KILL</signal>
        </stop>
        <restart>
          <holdoff>15</holdoff>
        </restart>
        <terminal/>
      </container>
      <container>
        <name>ioc2</name>
        <command>/bin/x</command>
        <stop>
          <signal>KILL</signal>
        </stop>
        <restart>
          <holdoff>15</holdoff>
        </restart>
        <terminal/>
        <console>
          <listener>
            <name>control</name>
            <tcp>
              <port>2002</port>
            </tcp>
            <write>true</write>
          </listener>
        </console>
      </container>
    </containers>
    procServ.conf:11: [ioc2] colour = red: there is nothing like it here
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
    supervisord.conf:11: [program:web] stdout_logfile=/var/log/web.log: every container has its log in a folder of its own
    supervisord.conf:21: [program:empty] directory=%(here)s: %(here) stands for nothing here: write out what it holds
    supervisord.conf:24: [group:site] programs=web,nothing: there is no program nothing
    supervisord.conf:1: [program:empty]: it has no command
    "#);
}
