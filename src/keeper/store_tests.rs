use std::os::unix::net::UnixDatagram;

use super::*;
use crate::sys::fdpass;

/// In systemd's place: keeps what it is told to keep.
struct Systemd {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
    kept: Vec<(String, OwnedFd)>,
}

impl Systemd {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { folder, socket, kept: Vec::new() }
    }

    /// What has been said, with all that it implies done.
    fn hear(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Ok(Some(Frame { bytes, fds })) = fdpass::receive(&self.socket) {
            let text = String::from_utf8(bytes).unwrap();
            let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or_default().to_owned();
            if text.contains("FDSTOREREMOVE=1") {
                self.kept.retain(|(kept, _)| *kept != name);
            }
            self.kept.extend(fds.into_iter().map(|fd| (name.clone(), fd)));
            said.push(text);
        }
        said
    }

    /// The next life of the unit.
    fn start(&mut self, root: &str, descriptors_max: usize) -> Store {
        self.hear();
        let manager = Manager::at(self.folder.path().join("notify").as_os_str()).unwrap();
        let mut kept: Vec<_> = self.kept.iter().map(|(name, fd)| (name.clone(), fd.try_clone().unwrap())).collect();
        // In the order in which systemd has them, which is the last first.
        kept.reverse();
        Store::with(manager, root, "the test serves", kept, descriptors_max)
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe().unwrap()
}

fn keys(store: &mut Store) -> Vec<(String, Vec<u8>, usize)> {
    let found = store.fetch().unwrap();
    found.into_iter().map(|left| (left.key, left.bytes, left.fds.len())).collect()
}

#[test]
fn a_next_life_finds_what_was_put_last_under_each_key_and_nothing_that_was_taken_back() {
    let mut systemd = Systemd::new();
    let (reader, writer) = pipe();
    let mut store = systemd.start("here", 100);
    store.put("a", b"one", &[reader.as_fd()]).unwrap();
    store.put("a", b"two", &[reader.as_fd(), writer.as_fd()]).unwrap();
    store.put("b", &vec![7; DEPOSIT_BYTES_MAX], &[]).unwrap();
    store.put("gone", b"x", &[writer.as_fd()]).unwrap();
    store.take_back("gone").unwrap();
    store.take_back("never there").unwrap();
    drop(store);
    let mut second = systemd.start("here", 100);
    let expected = [("a".to_owned(), b"two".to_vec(), 2), ("b".to_owned(), vec![7; DEPOSIT_BYTES_MAX], 0)];
    assert_eq!(keys(&mut second), expected);
    // What was taken back has left a parcel that is used again: systemd hears of no other.
    second.put("c", b"three", &[]).unwrap();
    assert!(systemd.hear().is_empty());
    second.take_back("b").unwrap();
    drop(second);
    let mut third = systemd.start("here", 100);
    assert_eq!(keys(&mut third), [("a".to_owned(), b"two".to_vec(), 2), ("c".to_owned(), b"three".to_vec(), 0)]);
}

#[test]
fn what_was_left_for_another_root_is_forgotten() {
    let mut systemd = Systemd::new();
    systemd.start("there", 100).put("a", b"one", &[]).unwrap();
    assert_eq!(keys(&mut systemd.start("here", 100)), []);
    assert_eq!(keys(&mut systemd.start("there", 100)), []);
}

#[test]
fn a_full_store_refuses_what_is_new_keeps_what_is_there_and_says_so() {
    let mut systemd = Systemd::new();
    let mut store = systemd.start("here", 4);
    store.put("a", b"1", &[]).unwrap();
    store.put("b", b"1", &[]).unwrap();
    assert_eq!(store.put("c", b"1", &[]), Err(Errno::EDQUOT));
    store.put("a", b"2", &[]).unwrap();
    assert_eq!(store.kept(), Kept { by: Keeping::Systemd, refused: 1 });
    store.take_back("b").unwrap();
    store.put("c", b"2", &[]).unwrap();
    assert_eq!(store.kept().refused, 0);
    drop(store);
    let expected = [("a".to_owned(), b"2".to_vec(), 0), ("c".to_owned(), b"2".to_vec(), 0)];
    assert_eq!(keys(&mut systemd.start("here", 4)), expected);
}

#[test]
fn what_half_a_parcel_holds_is_found_and_put_into_a_whole_one() {
    let mut systemd = Systemd::new();
    let (_reader, writer) = pipe();
    let mut store = systemd.start("here", 100);
    store.put("a", b"one", &[writer.as_fd()]).unwrap();
    drop(store);
    systemd.hear();
    systemd.kept.remove(0);
    let expected = [("a".to_owned(), b"one".to_vec(), 1)];
    assert_eq!(keys(&mut systemd.start("here", 100)), expected);
    systemd.hear();
    assert_eq!(systemd.kept.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["parcel-1", "parcel-1"]);
    assert_eq!(keys(&mut systemd.start("here", 100)), expected);
}

#[test]
fn what_is_no_parcel_is_let_go() {
    let mut systemd = Systemd::new();
    let (reader, writer) = pipe();
    systemd.kept = vec![("parcel-3".to_owned(), reader), ("parcel-3".to_owned(), writer)];
    assert_eq!(keys(&mut systemd.start("here", 100)), []);
    assert_eq!(systemd.hear(), ["FDSTOREREMOVE=1\nFDNAME=parcel-3\n"]);
    assert!(systemd.kept.is_empty());
}

#[test]
fn systemd_hears_that_we_serve() {
    let mut systemd = Systemd::new();
    systemd.start("here", 100).ready().unwrap();
    assert_eq!(systemd.hear(), ["READY=1\nSTATUS=the test serves\n"]);
}
