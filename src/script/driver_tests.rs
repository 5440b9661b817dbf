//! The repository against real folders, a real watch and a real server.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::checksum::Sha256;
use crate::script::fetch::FetchLimits;
use crate::script::handle::Handle;
use crate::script::history::{Action, HistoryRow};
use crate::script::history_file::HistoryFile;
use crate::script::plan::Requested;
use crate::script::repository::Status;

const BODY: &str = "'''Says hello.'''\nprint('hello')\n";
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Apps(Mutex<Vec<(String, String)>>);

impl InUse for Apps {
    fn apps_using(&self, _script_type: ScriptType, name: &ScriptName) -> Vec<String> {
        let users = self.0.lock().unwrap();
        users.iter().filter(|(script, _)| *script == name.as_str()).map(|(_, app)| app.clone()).collect()
    }
}

struct Bench {
    root: TempDir,
    handle: Handle,
    events: mpsc::Receiver<ScriptEvent>,
    apps: Arc<Apps>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

fn limits() -> FetchLimits {
    FetchLimits { time_max: Duration::from_millis(1500), bytes_max: 100_000, ..FetchLimits::default() }
}

impl Bench {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(root: TempDir) -> Self {
        let settings = Settings { harddisk: root.path().join("harddisk"), limits: limits(), extra_certificates: None };
        let history = Box::new(HistoryFile::new(root.path().join("state/scripts")));
        let (handle, driver, events) = open(settings, history).await.unwrap();
        let (apps, stop) = (Arc::new(Apps::default()), CancellationToken::new());
        let running = tokio::spawn(driver.run(apps.clone(), stop.clone()));
        Self { root, handle, events, apps, stop, running }
    }

    async fn stop(self) -> TempDir {
        self.stop.cancel();
        self.running.await.unwrap();
        self.root
    }

    fn harddisk(&self) -> std::path::PathBuf {
        self.root.path().join("harddisk")
    }

    fn shelf(&self) -> std::path::PathBuf {
        self.harddisk().join("mirror/script-mgmt/process")
    }

    fn on_shelf(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.shelf())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    async fn add(&self, source: &str, names: &[&str]) -> Result<(), ChangeError> {
        let scripts = names.iter().map(|name| Requested { name: script(name), expected: None }).collect();
        self.add_requested(source, scripts).await
    }

    async fn add_requested(&self, source: &str, scripts: Vec<Requested>) -> Result<(), ChangeError> {
        let source = self.handle.parse_source(source).unwrap();
        let user = "admin".to_owned();
        self.handle
            .add(AddRequest { manner: Manner::Add, script_type: ScriptType::Process, source, scripts, user })
            .await
    }

    async fn remove(&self, names: &[&str]) -> Result<(), ChangeError> {
        let names = names.iter().map(|name| script(name)).collect();
        self.handle.remove(RemoveRequest { script_type: ScriptType::Process, names, user: "admin".to_owned() }).await
    }

    /// The history of a script, newest first.
    fn history(&self, name: &str) -> Vec<HistoryRow> {
        let inventory = self.handle.inventory();
        let rows = inventory.rows().filter(|(key, _)| **key == process(name)).map(|(_, row)| row.clone());
        let mut rows: Vec<HistoryRow> = rows.collect();
        rows.reverse();
        rows
    }

    fn told(&self, name: &str) -> Vec<(String, String)> {
        self.history(name).into_iter().map(|row| (row.action.to_string(), row.description)).collect()
    }

    async fn until(&self, claim: impl Fn(&Inventory) -> bool) {
        let mut view = self.handle.watch();
        let waited = tokio::time::timeout(PATIENCE, view.wait_for(|inventory| claim(inventory))).await;
        assert!(waited.is_ok(), "the repository never came to the state that was waited for");
    }

    fn assert_nothing_staged(&self) {
        let staging = self.harddisk().join("mirror/script-mgmt/.staging");
        let left = fs::read_dir(staging).map_or(0, |entries| entries.count());
        assert_eq!(left, 0, "the staging folder is not empty");
    }
}

fn script(name: &str) -> ScriptName {
    ScriptName::parse(name).unwrap()
}

fn process(name: &str) -> ScriptKey {
    ScriptKey::new(ScriptType::Process, script(name))
}

fn rows(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(action, description)| ((*action).to_owned(), (*description).to_owned())).collect()
}

/// A server whose behaviour hangs on the first folder of the path.
struct Server {
    address: String,
    authorizations: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let authorizations = Arc::new(Mutex::new(Vec::new()));
        let seen = authorizations.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                // The client hanging up early is part of what is tested.
                std::thread::spawn(move || drop(serve(stream, &seen)));
            }
        });
        Self { address, authorizations }
    }

    fn at(&self, folder: &str) -> String {
        format!("{}/{folder}", self.address)
    }
}

fn serve(mut stream: TcpStream, authorizations: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("authorization: ") {
            authorizations.lock().unwrap().push(line[line.len() - value.len()..].trim().to_owned());
        }
        line.clear();
    }
    let path = first.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let folder = path.split('/').nth(1).unwrap_or_default();
    let (length, close) = (BODY.len(), "Connection: close\r\n");
    match folder {
        "good" => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{close}\r\n{BODY}"),
        "chunked" => write!(
            stream,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{close}\r\n{length:x}\r\n{BODY}\r\n0\r\n\r\n"
        ),
        "torn-chunk" => {
            write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{close}\r\n{length:x}\r\n{BODY}\r\n")
        }
        "truncated" => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n{close}\r\n{BODY}"),
        "lying" => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n{close}\r\n")?;
            stream.write_all(BODY.as_bytes())
        }
        "huge" => {
            write!(stream, "HTTP/1.1 200 OK\r\n{close}\r\n")?;
            (0..).try_for_each(|_| stream.write_all(&[b'#'; 8192]))
        }
        "silent" => reader.read_line(&mut line).map(drop),
        "dripping" => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{close}\r\n#")?;
            reader.read_line(&mut line).map(drop)
        }
        "redirect" => {
            let target = path.replacen("redirect", "good", 1);
            write!(stream, "HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n{close}\r\n")
        }
        "signed" => write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: /nowhere/a.py?signature=hidden\r\nContent-Length: 0\r\n{close}\r\n"
        ),
        "loop" => write!(stream, "HTTP/1.1 302 Found\r\nLocation: {path}\r\nContent-Length: 0\r\n{close}\r\n"),
        "file" => {
            write!(stream, "HTTP/1.1 301 Moved\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n{close}\r\n")
        }
        "mixed" if path.ends_with("bad.py") => write!(stream, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n{close}\r\n"),
        "mixed" => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{close}\r\n{BODY}"),
        _ => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n{close}\r\n"),
    }
}

#[tokio::test]
async fn scripts_added_from_a_server_are_on_the_shelf_and_logged_once() {
    let (mut bench, server) = (Bench::start().await, Server::start());
    for folder in ["good", "chunked", "redirect"] {
        bench.add(&server.at(folder), &["a.py", "b.py"]).await.unwrap();
    }
    assert_eq!(fs::read_to_string(bench.shelf().join("a.py")).unwrap(), BODY);
    // A copy by hand behind it: when that is seen, the watch has passed the writes of our own.
    fs::write(bench.shelf().join("z.py"), "").unwrap();
    bench.until(|inventory| inventory.file(&process("z.py")).is_some()).await;
    let expected = [
        ("MODIFY", format!("Added from {}/redirect by admin", server.address)),
        ("MODIFY", format!("Added from {}/chunked by admin", server.address)),
        ("NEW", format!("Added from {}/good by admin", server.address)),
    ];
    assert_eq!(bench.told("a.py"), expected.map(|(action, description)| (action.to_owned(), description)));
    assert_eq!(bench.told("z.py"), rows(&[("NEW", "User action IN_CLOSE_WRITE")]));
    let described = bench.handle.describe(ScriptType::Process, &script("a.py")).unwrap();
    assert_eq!(described.description.as_deref(), Some("Says hello."));
    assert_eq!(described.status, Status::ConfigChecksum);
    assert_eq!(
        bench.events.recv().await,
        Some(ScriptEvent::Added { key: process("a.py"), sum: Sha256::of(BODY.as_bytes()) })
    );
    bench.assert_nothing_staged();
}

#[tokio::test]
async fn a_server_that_misbehaves_is_told_apart_and_leaves_nothing() {
    let (bench, server) = (Bench::start().await, Server::start());
    let cases = [
        ("nowhere", "the server answers with status 404"),
        ("truncated", "cut short"),
        ("torn-chunk", "/torn-chunk/a.py: "),
        ("lying", "larger than the 100000 bytes"),
        ("huge", "larger than the 100000 bytes"),
        ("silent", "not done within 1.5 s"),
        ("dripping", "not done within 1.5 s"),
        ("loop", "more than 5 redirects"),
        ("file", "redirects to scheme `file`"),
    ];
    for (folder, expected) in cases {
        let error = bench.add(&server.at(folder), &["a.py"]).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{folder}: {error}");
        assert!(error.starts_with("`a.py` cannot be fetched: "), "{error}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = bench.add(&format!("http://{closed}/x"), &["a.py"]).await.unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
    assert!(bench.on_shelf().is_empty());
    assert!(bench.history("a.py").is_empty());
    bench.assert_nothing_staged();
}

#[tokio::test]
async fn a_password_reaches_the_server_and_no_history() {
    let (bench, server) = (Bench::start().await, Server::start());
    let url = server.at("redirect").replacen("http://", "http://me:secret@", 1);
    bench.add(&url, &["a.py"]).await.unwrap();
    assert_eq!(*server.authorizations.lock().unwrap(), ["Basic bWU6c2VjcmV0", "Basic bWU6c2VjcmV0"]);
    assert!(!bench.told("a.py")[0].1.contains("secret"));
    let url = server.at("nowhere").replacen("http://", "http://me:secret@", 1);
    assert!(!bench.add(&url, &["a.py"]).await.unwrap_err().to_string().contains("secret"));
    let error = bench.add(&server.at("signed"), &["a.py"]).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/a.py: ") && !error.contains("hidden"), "{error}");
}

#[tokio::test]
async fn one_bad_script_keeps_all_out_and_every_problem_is_named() {
    let (bench, server) = (Bench::start().await, Server::start());
    let good = Sha256::of(BODY.as_bytes());
    let scripts = [("a.py", good), ("b.py", Sha256::of(b"other")), ("bad.py", good)];
    let scripts = scripts.map(|(name, sum)| Requested { name: script(name), expected: Some(sum) }).to_vec();
    let error = bench.add_requested(&server.at("mixed"), scripts).await.unwrap_err().to_string();
    let expected = format!("checksum of `b.py` is wrong: expected {}, found {good}", Sha256::of(b"other"));
    assert!(error.contains(&expected), "{error}");
    assert!(error.contains("`bad.py` cannot be fetched") && error.contains("status 500"), "{error}");
    assert!(bench.on_shelf().is_empty());
    bench.assert_nothing_staged();
}

#[tokio::test]
async fn a_rename_that_fails_midway_brings_back_what_was_there() {
    let (bench, server) = (Bench::start().await, Server::start());
    fs::write(bench.shelf().join("a.py"), "old").unwrap();
    bench.until(|inventory| inventory.file(&process("a.py")).is_some()).await;
    fs::create_dir(bench.shelf().join("c.py")).unwrap();
    let error = bench.add(&server.at("good"), &["a.py", "b.py", "c.py"]).await.unwrap_err().to_string();
    assert!(error.contains("c.py is in the way: not a regular file"), "{error}");
    assert_eq!(bench.on_shelf(), ["a.py", "c.py"]);
    assert_eq!(fs::read_to_string(bench.shelf().join("a.py")).unwrap(), "old");
    bench.assert_nothing_staged();
}

#[tokio::test]
async fn eleven_scripts_or_one_twice_are_refused() {
    let bench = Bench::start().await;
    let names: Vec<String> = (0..11).map(|number| format!("s{number}.py")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = bench.add("harddisk:/", &names).await.unwrap_err().to_string();
    insta::assert_snapshot!(error, @"11 scripts are named; at most 10 are allowed in one call, so split it");
    let error = bench.add("harddisk:/", &["a.py", "a.py"]).await.unwrap_err().to_string();
    insta::assert_snapshot!(error, @"`a.py` is named twice; name each script once");
    let error = bench.add("harddisk:/", &[]).await.unwrap_err().to_string();
    insta::assert_snapshot!(error, @"no script is named; name 1 to 10 of them");
}

#[tokio::test]
async fn the_harddisk_is_a_source_and_nothing_outside_it() {
    let bench = Bench::start().await;
    let folder = bench.harddisk().join("mine");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.py"), BODY).unwrap();
    fs::write(bench.root.path().join("outside.py"), BODY).unwrap();
    std::os::unix::fs::symlink(bench.root.path().join("outside.py"), folder.join("outside.py")).unwrap();
    std::os::unix::fs::symlink(bench.root.path(), folder.join("up")).unwrap();
    std::os::unix::fs::symlink(folder.join("a.py"), folder.join("inside.py")).unwrap();
    nix::unistd::mkfifo(&folder.join("fifo.py"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for source in ["harddisk:/mine", "/harddisk:/mine", "mine", folder.to_str().unwrap()] {
        bench.add(source, &["a.py"]).await.unwrap();
    }
    bench.add("harddisk:/mine", &["inside.py"]).await.unwrap();
    let cases = [
        ("harddisk:/mine", "outside.py", "leads outside the harddisk"),
        ("harddisk:/mine/up", "outside.py", "leads outside the harddisk"),
        ("harddisk:/mine", "fifo.py", "not a regular file"),
        ("harddisk:/mine", "absent.py", "no such file on the harddisk"),
        ("harddisk:/mine/a.py", "absent.py", "no such file on the harddisk"),
    ];
    for (source, name, expected) in cases {
        let error = bench.add(source, &[name]).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    assert_eq!(bench.on_shelf(), ["a.py", "inside.py"]);
}

#[tokio::test]
async fn what_is_done_by_hand_appears() {
    let bench = Bench::start().await;
    let path = bench.shelf().join("a.py");
    fs::write(&path, "1").unwrap();
    bench.until(|inventory| inventory.file(&process("a.py")).is_some()).await;
    let second = Sha256::of(b"22");
    fs::write(bench.shelf().join(".a.tmp"), "22").unwrap();
    fs::rename(bench.shelf().join(".a.tmp"), &path).unwrap();
    bench.until(|inventory| inventory.file(&process("a.py")).is_some_and(|file| file.sum == second)).await;
    fs::remove_file(&path).unwrap();
    bench.until(|inventory| inventory.file(&process("a.py")).is_none()).await;
    let expected = [
        ("DELETE", "User action IN_DELETE"),
        ("MODIFY", "User action IN_CLOSE_WRITE"),
        ("NEW", "User action IN_CLOSE_WRITE"),
    ];
    assert_eq!(bench.told("a.py"), rows(&expected));
}

#[tokio::test]
async fn links_folders_and_strange_names_are_no_scripts() {
    let bench = Bench::start().await;
    fs::write(bench.root.path().join("secret"), "x").unwrap();
    std::os::unix::fs::symlink(bench.root.path().join("secret"), bench.shelf().join("link.py")).unwrap();
    fs::create_dir(bench.shelf().join("folder.py")).unwrap();
    fs::write(bench.shelf().join("two words.py"), "x").unwrap();
    fs::write(bench.shelf().join("big.py"), vec![b'#'; 100_001]).unwrap();
    fs::write(bench.shelf().join("z.py"), "x").unwrap();
    bench.until(|inventory| inventory.file(&process("z.py")).is_some()).await;
    let bench = Bench::start_in(bench.stop().await).await;
    let inventory = bench.handle.inventory();
    let names: Vec<String> = inventory.scripts().map(|(key, ..)| key.name.to_string()).collect();
    assert_eq!(names, ["z.py"]);
}

#[tokio::test]
async fn an_overflow_of_the_watch_is_made_good_by_a_look_at_everything() {
    let bench = Bench::start().await;
    let most: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    // This test's runtime has one thread: nobody reads the watch while the queue fills. Two names in turn, because the
    // kernel merges equal events that follow each other.
    let folder = bench.shelf();
    let touch = |name: &str| fs::write(folder.join(name), "").unwrap();
    for _ in 0..most / 2 + 1 {
        touch("a.py");
        touch("b.py");
    }
    touch("late.py");
    bench.until(|inventory| inventory.file(&process("late.py")).is_some()).await;
}

#[tokio::test]
async fn a_shelf_that_goes_is_made_anew_and_watched() {
    let bench = Bench::start().await;
    fs::write(bench.shelf().join("a.py"), "1").unwrap();
    bench.until(|inventory| inventory.file(&process("a.py")).is_some()).await;
    fs::rename(bench.shelf(), bench.root.path().join("moved")).unwrap();
    bench.until(|inventory| inventory.file(&process("a.py")).is_none()).await;
    fs::write(bench.shelf().join("b.py"), "1").unwrap();
    bench.until(|inventory| inventory.file(&process("b.py")).is_some()).await;
    fs::remove_dir_all(bench.shelf()).unwrap();
    bench.until(|inventory| inventory.file(&process("b.py")).is_none()).await;
    assert!(Path::new(&bench.shelf()).is_dir());
}

#[tokio::test]
async fn a_script_that_an_active_app_uses_is_replaced_but_not_removed() {
    let bench = Bench::start().await;
    fs::write(bench.harddisk().join("a.py"), BODY).unwrap();
    fs::write(bench.harddisk().join("b.py"), BODY).unwrap();
    bench.add("harddisk:/", &["a.py", "b.py"]).await.unwrap();
    bench.apps.0.lock().unwrap().push(("a.py".to_owned(), "my-app".to_owned()));
    bench.add("harddisk:/", &["a.py"]).await.unwrap();
    let error = bench.remove(&["b.py", "a.py"]).await.unwrap_err().to_string();
    insta::assert_snapshot!(error, @"`a.py` is used by app `my-app`, which is activated; deactivate it first: appmgr process-script deactivate name my-app");
    let error = bench.remove(&["b.py", "c.py"]).await.unwrap_err().to_string();
    insta::assert_snapshot!(error, @"`c.py` is not in the process folder of the script repository");
    assert_eq!(bench.on_shelf(), ["a.py", "b.py"]);
    bench.remove(&["b.py"]).await.unwrap();
    assert_eq!(bench.on_shelf(), ["a.py"]);
    assert_eq!(bench.told("b.py")[0], ("DELETE".to_owned(), "Removed by admin".to_owned()));
    bench.assert_nothing_staged();
}

#[tokio::test]
async fn the_history_outlives_a_restart_and_notes_what_happened_meanwhile() {
    let bench = Bench::start().await;
    for name in ["same.py", "changed.py", "gone.py"] {
        fs::write(bench.harddisk().join(name), BODY).unwrap();
    }
    bench.add("harddisk:/", &["same.py", "changed.py", "gone.py"]).await.unwrap();
    let shelf = bench.shelf();
    let root = bench.stop().await;
    fs::write(shelf.join("changed.py"), "other").unwrap();
    fs::remove_file(shelf.join("gone.py")).unwrap();
    let bench = Bench::start_in(root).await;
    assert_eq!(bench.told("same.py"), rows(&[("NEW", "Added from harddisk:/ by admin")]));
    assert_eq!(bench.told("changed.py")[0], ("MODIFY".to_owned(), "User action IN_CLOSE_WRITE".to_owned()));
    assert_eq!(bench.history("gone.py")[0].action, Action::Delete);
}

#[tokio::test]
async fn a_change_that_a_crash_left_half_done_is_undone_at_the_start() {
    let root = tempfile::tempdir().unwrap();
    let repository = root.path().join("harddisk/mirror/script-mgmt");
    let (shelf, staging) = (repository.join("process"), repository.join(".staging"));
    fs::create_dir_all(&shelf).unwrap();
    fs::create_dir_all(staging.join("1")).unwrap();
    fs::create_dir_all(staging.join("2")).unwrap();
    // An add that had replaced a.py and placed b.py, but not yet c.py.
    fs::write(shelf.join("a.py"), "new").unwrap();
    fs::write(staging.join("1/old-a.py"), "old").unwrap();
    fs::write(shelf.join("b.py"), "new").unwrap();
    fs::write(staging.join("1/new-c.py"), "new").unwrap();
    fs::write(staging.join("1/manifest"), "add process\na.py\nb.py\nc.py\nend\n").unwrap();
    // A remove that had taken d.py; a fetch that never ended; a torn manifest.
    fs::write(staging.join("2/old-d.py"), "kept").unwrap();
    fs::write(staging.join("2/manifest"), "remove process\nd.py\ne.py\nend\n").unwrap();
    fs::create_dir_all(staging.join("3")).unwrap();
    fs::write(staging.join("3/new-x.py"), "half").unwrap();
    fs::write(staging.join("3/manifest"), "add process\nx.").unwrap();
    let bench = Bench::start_in(root).await;
    assert_eq!(bench.on_shelf(), ["a.py", "d.py"]);
    assert_eq!(fs::read_to_string(bench.shelf().join("a.py")).unwrap(), "old");
    bench.assert_nothing_staged();
}

#[tokio::test]
async fn a_change_that_cannot_be_undone_is_kept_and_the_repository_serves() {
    let root = tempfile::tempdir().unwrap();
    let repository = root.path().join("harddisk/mirror/script-mgmt");
    let (blocked, batch) = (repository.join("process/a.py"), repository.join(".staging/1"));
    fs::create_dir_all(blocked.join("inner")).unwrap();
    fs::create_dir_all(&batch).unwrap();
    fs::write(batch.join("old-a.py"), "old").unwrap();
    fs::write(batch.join("manifest"), "remove process\na.py\nend\n").unwrap();
    let bench = Bench::start_in(root).await;
    assert!(repository.join(".staging/kept-1/old-a.py").exists());
    fs::write(bench.harddisk().join("b.py"), BODY).unwrap();
    bench.add("harddisk:/", &["b.py"]).await.unwrap();
    let root = bench.stop().await;
    fs::remove_dir_all(&blocked).unwrap();
    let bench = Bench::start_in(root).await;
    assert_eq!(bench.on_shelf(), ["a.py", "b.py"]);
    bench.assert_nothing_staged();
}

#[tokio::test]
async fn a_committed_checksum_decides_the_status_at_once() {
    let mut bench = Bench::start().await;
    fs::write(bench.harddisk().join("a.py"), BODY).unwrap();
    bench.handle.commit(Committed::new());
    bench.add("harddisk:/", &["a.py"]).await.unwrap();
    let status = |bench: &Bench| bench.handle.describe(ScriptType::Process, &script("a.py")).unwrap().status;
    assert_eq!(status(&bench), Status::ConfigChecksum);
    let (found, expected) = (Sha256::of(BODY.as_bytes()), Sha256::of(b"other"));
    bench.handle.commit(Committed::from([(process("a.py"), found)]));
    assert_eq!(status(&bench), Status::Ready);
    assert_eq!(bench.handle.checksums(ScriptType::Process), [(script("a.py"), found)].into());
    bench.handle.commit(Committed::from([(process("a.py"), expected)]));
    assert_eq!(status(&bench), Status::ChecksumMismatch);
    let mismatch = ScriptEvent::ChecksumMismatch { key: process("a.py"), expected, found };
    let told = tokio::time::timeout(PATIENCE, async {
        while let Some(event) = bench.events.recv().await {
            if event == mismatch {
                return;
            }
        }
        panic!("the driver ended without telling");
    });
    assert!(told.await.is_ok(), "the mismatch was never told");
}

#[tokio::test]
async fn two_requests_about_one_script_do_not_mix() {
    let (bench, server) = (Bench::start().await, Server::start());
    let (slow, quick) = (server.at("silent"), server.at("good"));
    let (first, second) = tokio::join!(bench.add(&slow, &["a.py"]), bench.add(&quick, &["a.py"]));
    assert!(first.unwrap_err().to_string().contains("not done within"));
    insta::assert_snapshot!(second.unwrap_err(), @"process script `a.py` is being changed by another request; try again when that is done");
    bench.add(&quick, &["a.py"]).await.unwrap();
}
