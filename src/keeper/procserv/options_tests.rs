use super::*;

fn asked(words: &str) -> (Asked, Vec<String>) {
    parse(words.split_whitespace().map(OsString::from).collect(), Environment::default())
}

fn run(words: &str) -> Options {
    match asked(words) {
        (Asked::Run(options), _) => *options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_forms_name_the_endpoint_and_the_command_keeps_its_own_options() {
    let new = run("-n iocsh -P 2000 -P unix:/x /bin/cat -n --port");
    assert_eq!((new.endpoints.len(), new.argv().len(), new.command_text().as_str()), (2, 3, "/bin/cat"));
    let old = run("-n iocsh 2000 /bin/cat -x");
    assert_eq!((old.endpoints, old.command.len()), (vec!["2000".to_owned()], 2));
}

#[test]
fn the_template_unit_is_understood() {
    let options =
        run("--foreground --name=x --logfile=/var/log/procServ/x/out.log --info-file=/run/x/info --ignore=^C^D \
         --logoutcmd=^Q --chdir=/run/x --port=unix:/run/x/control /bin/bash script");
    assert!(options.foreground);
    assert_eq!((options.keys.kill, options.keys.toggle), (Some(0x18), Some(0x14)));
    let place = options.places().unwrap().remove(0);
    assert_eq!((place.0.to_string().as_str(), place.1), ("unix:/run/x/control", false));
    assert_eq!((options.keys.ignored, options.keys.logout), (vec![3, 4], Some(0x11)));
}

#[test]
fn numbers_are_read_as_c_reads_them() {
    let options = run("--holdoff 2s --killsig -15 --coresize -1 1 c");
    assert_eq!((options.holdoff, options.kill_signal, options.core_bytes), (Duration::from_secs(2), 15, None));
    let (_, remarks) = asked("--killsig 55 --allow 1 c");
    assert_eq!(remarks, ["invalid kill signal 55 (>31) - using default (9)", "--allow not supported"]);
    assert_eq!(run("--holdoff=-3 1 c").holdoff, HOLDOFF_DEFAULT);
}

#[test]
fn what_is_missing_is_said() {
    assert_eq!(asked("2000"), (Asked::Nonsense, vec!["missing argument".to_owned()]));
    assert_eq!(asked("-P 2000"), (Asked::Nonsense, vec!["missing argument".to_owned()]));
    assert_eq!(asked("-h --foo").0, Asked::Help);
}

#[test]
fn with_exec_the_command_comes_behind_the_name() {
    let options = run("-e /bin/sh 1 foo bar");
    assert_eq!(options.argv(), ["/bin/sh", "foo", "bar"]);
    assert_eq!((options.command_text().as_str(), options.executed()), ("foo", "/bin/sh".into()));
}

#[test]
fn the_stamp_is_the_bare_time_in_2_7_and_bracketed_later() {
    assert_eq!(run("1 c").stamp_format(), None);
    assert_eq!(run("--logstamp --timefmt %H 1 c").stamp_format().unwrap(), "%H");
    assert_eq!(run("--logstamp --wording 2.8 1 c").stamp_format().unwrap(), "[%c] ");
    assert_eq!(run("--logstamp=x 1 c").stamp_format().unwrap(), "x");
}

#[test]
fn open_doors_are_named_with_the_way_to_close_them() {
    let options = run("-P unix:/s -P 2000 -l 2001 c");
    let of = |options: &Options| {
        let places = options.places().unwrap();
        warnings(places.iter().map(|(place, _)| place))
    };
    let warnings = of(&options);
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].ends_with("unix:::0660:/s keeps it to owner and group"), "{warnings:?}");
    assert!(warnings[1].contains("0.0.0.0:2001") && warnings[1].contains("--restrict"), "{warnings:?}");
    let quiet = run("-P unix:::0660:/s -l 2001 --restrict c");
    assert!(of(&quiet).is_empty());
}
