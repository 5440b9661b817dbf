//! What was printed of long lists, entry by entry, for whoever reads them again.
//!
//! ```text
//!  a list is printed --> kept: of each entry, what it held and how it was printed
//!  read again        --> entries that still hold the same are copied from there, the others are printed
//! ```
//! An entry is known by its `Stamp`, which goes when anything in it changes: nothing need be told of commits, and what
//! they leave behind is not found again. Readers that see the same of every entry share what is kept (`Look`).
//!
//! Must not know: who reads, what NACM says, when something was read.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::ffi::Stamp;
use super::schema::SchemaNode;

/// What is kept at most, of all lists together.
pub const SEGMENTS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Shorter lists are printed as fast as they are found here.
const LONG_LIST: usize = 64;

/// Who sees the same of every entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SightId(pub u64);

/// What decides how an entry is printed, besides what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Look {
    /// libyang's, about defaults.
    pub(super) options: u32,
    /// Without it, all of each entry is seen.
    pub(super) sight: Option<SightId>,
}

/// Which list, and how it is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The path of the node that the list is in; empty for the top.
    pub(super) above: String,
    pub(super) list: SchemaNode,
    pub(super) look: Look,
}

/// All that is kept.
#[derive(Debug)]
pub struct Segments {
    long_list: usize,
    bytes_max: usize,
    shelf: RefCell<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    lists: HashMap<Arc<Place>, Kept>,
    /// What was looked at longest ago comes first.
    by_use: BTreeMap<Use, Arc<Place>>,
    bytes: usize,
    readings: u64,
    uses: u64,
    printed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    reading: u64,
    /// Of all uses.
    number: u64,
}

#[derive(Debug)]
struct Kept {
    list: PrintedList,
    last_use: Use,
    bytes: usize,
}

impl Default for Segments {
    fn default() -> Self {
        Self::new(LONG_LIST, SEGMENTS_BYTES_MAX)
    }
}

impl Segments {
    /// Of lists with at least so many entries, so many bytes.
    pub fn new(long_list: usize, bytes_max: usize) -> Self {
        Self { long_list, bytes_max, shelf: RefCell::default() }
    }

    pub(super) fn long_list(&self) -> usize {
        self.long_list
    }

    /// What is read until the next call is one reading.
    pub(super) fn begin_reading(&self) {
        self.shelf.borrow_mut().readings += 1;
    }

    /// How often somebody has read.
    pub fn readings(&self) -> u64 {
        self.shelf.borrow().readings
    }

    /// How many entries had to be printed.
    pub fn printed(&self) -> u64 {
        self.shelf.borrow().printed
    }

    /// What is kept takes so much memory.
    pub fn bytes(&self) -> usize {
        self.shelf.borrow().bytes
    }

    /// Begins to read a list. What was kept of it is not here meanwhile.
    pub(super) fn list(&self, place: Place) -> ListReading<'_> {
        let known = self.shelf.borrow_mut().remove(&place);
        let fresh = known.is_none().then(PrintedList::default);
        let known = known.map(|kept| kept.list).unwrap_or_default();
        ListReading { segments: self, place, known, next: 0, run: 0..0, fresh, is_too_long: false, printed: 0 }
    }

    /// Where there is no room, what was not looked at for longest goes; nothing of this same reading does, so that whoever
    /// reads more than there is room for finds a part of it the next time.
    fn put(&self, place: Place, list: PrintedList) {
        let mut shelf = self.shelf.borrow_mut();
        let bytes = list.bytes() + place.above.len();
        if bytes > self.bytes_max {
            return;
        }
        while shelf.bytes + bytes > self.bytes_max {
            let oldest = shelf.by_use.first_key_value().filter(|(last_use, _)| last_use.reading < shelf.readings);
            let Some(oldest) = oldest.map(|(_, place)| Arc::clone(place)) else { return };
            shelf.remove(&oldest);
        }
        shelf.uses += 1;
        let last_use = Use { reading: shelf.readings, number: shelf.uses };
        let place = Arc::new(place);
        shelf.bytes += bytes;
        shelf.by_use.insert(last_use, Arc::clone(&place));
        shelf.lists.insert(place, Kept { list, last_use, bytes });
    }

    /// Lets go of what no reading after the `reading`th has looked at.
    pub fn forget_unused_since(&self, reading: u64) {
        let mut shelf = self.shelf.borrow_mut();
        while let Some((last_use, place)) = shelf.by_use.first_key_value()
            && last_use.reading <= reading
        {
            let place = Arc::clone(place);
            shelf.remove(&place);
        }
    }
}

impl Shelf {
    fn remove(&mut self, place: &Place) -> Option<Kept> {
        let kept = self.lists.remove(place)?;
        self.by_use.remove(&kept.last_use);
        self.bytes -= kept.bytes;
        Some(kept)
    }
}

/// The entries of one list as they were printed, one behind the other.
#[derive(Debug, Default)]
struct PrintedList {
    text: Vec<u8>,
    entries: Vec<Entry>,
    /// An entry that was changed or came later has a higher one.
    newest: Option<Stamp>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    stamp: Stamp,
    /// Where its text ends; it begins where that of the one before ends. Of what is not kept there is none.
    end: usize,
}

impl PrintedList {
    fn bytes(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    fn begin_of(&self, entry: usize) -> usize {
        entry.checked_sub(1).map_or(0, |before| self.entries[before].end)
    }

    fn text_of(&self, entries: &Range<usize>) -> &[u8] {
        &self.text[self.begin_of(entries.start)..self.begin_of(entries.end)]
    }

    fn add(&mut self, stamp: Stamp, text: &[u8]) {
        self.text.extend_from_slice(text);
        self.entries.push(Entry { stamp, end: self.text.len() });
        self.newest = self.newest.max(Some(stamp));
    }

    fn add_from(&mut self, other: &PrintedList, entries: &Range<usize>) {
        let (begun, begin) = (self.text.len(), other.begin_of(entries.start));
        self.text.extend_from_slice(other.text_of(entries));
        for Entry { stamp, end } in &other.entries[entries.clone()] {
            self.entries.push(Entry { stamp: *stamp, end: end - begin + begun });
            self.newest = self.newest.max(Some(*stamp));
        }
    }
}

/// A list that is being read, entry after entry.
#[must_use = "what is known of the list is kept when its reading is finished"]
pub(super) struct ListReading<'s> {
    segments: &'s Segments,
    place: Place,
    /// As it was.
    known: PrintedList,
    /// Of what is known, the entry behind the one that was found last.
    next: usize,
    /// Entries of it that were found and not handed out yet.
    run: Range<usize>,
    /// As it is, from where it differs; until then the list is as it was.
    fresh: Option<PrintedList>,
    /// There is more of it than is kept of all lists.
    is_too_long: bool,
    printed: u64,
}

impl ListReading<'_> {
    /// Whether the entry is known; then it is put into `out`, or will be. Else all before it is there, and it is to be
    /// printed and [added](Self::add).
    pub(super) fn find(&mut self, stamp: Stamp, out: &mut Vec<u8>) -> bool {
        let Some(at) = self.position(stamp) else {
            self.differs(out);
            return false;
        };
        let is_kept = self.known.begin_of(at) < self.known.entries[at].end;
        if at > self.next || !is_kept {
            // Those between are gone.
            self.differs(out);
        }
        self.next = at + 1;
        if !is_kept {
            return false;
        }
        if self.run.is_empty() {
            self.run = at..at;
        }
        self.run.end = at + 1;
        true
    }

    /// An entry that was printed. Without its text it will have to be printed the next time, too.
    pub(super) fn add(&mut self, stamp: Stamp, text: Option<&[u8]>) {
        self.printed += 1;
        if let Some(fresh) = self.fresh.as_mut().filter(|_| !self.is_too_long) {
            fresh.add(stamp, text.unwrap_or_default());
            self.is_too_long = fresh.bytes() > self.segments.bytes_max;
            if self.is_too_long {
                *fresh = PrintedList::default();
            }
        }
    }

    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        if self.next < self.known.entries.len() {
            self.differs(out);
        }
        self.hand_out(out);
        self.segments.shelf.borrow_mut().printed += self.printed;
        if self.is_too_long {
            return;
        }
        let mut list = match self.fresh {
            Some(fresh) => fresh,
            None => self.known,
        };
        list.text.shrink_to_fit();
        list.entries.shrink_to_fit();
        self.segments.put(self.place, list);
    }

    /// Those that stay keep their order among each other, so nobody looks back; what was changed since is not looked for.
    fn position(&mut self, stamp: Stamp) -> Option<usize> {
        if self.known.newest.is_none_or(|newest| newest < stamp) {
            return None;
        }
        let rest = &self.known.entries[self.next..];
        rest.iter().position(|entry| entry.stamp == stamp).map(|found| self.next + found)
    }

    fn differs(&mut self, out: &mut Vec<u8>) {
        self.hand_out(out);
        if self.fresh.is_none() {
            let mut fresh = PrintedList::default();
            fresh.text.reserve(self.known.text.len());
            fresh.entries.reserve(self.known.entries.len());
            fresh.add_from(&self.known, &(0..self.next));
            self.fresh = Some(fresh);
        }
    }

    fn hand_out(&mut self, out: &mut Vec<u8>) {
        let run = std::mem::take(&mut self.run);
        out.extend_from_slice(self.known.text_of(&run));
        if let Some(fresh) = self.fresh.as_mut().filter(|_| !self.is_too_long) {
            fresh.add_from(&self.known, &run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yang::testing::schema;

    fn place(above: &str) -> Place {
        let list = schema().node("/sample:top/item").unwrap();
        Place { above: above.to_owned(), list, look: Look { options: 0, sight: None } }
    }

    /// Reads a list of these: what is answered, and which of them had to be printed.
    fn read(segments: &Segments, above: &str, entries: &[(Stamp, &str)]) -> (String, Vec<String>) {
        segments.begin_reading();
        let (mut out, mut printed) = (Vec::new(), Vec::new());
        let mut reading = segments.list(place(above));
        for (stamp, text) in entries {
            if !reading.find(*stamp, &mut out) {
                out.extend_from_slice(text.as_bytes());
                reading.add(*stamp, Some(text.as_bytes()));
                printed.push((*text).to_owned());
            }
        }
        reading.finish(&mut out);
        (String::from_utf8(out).unwrap(), printed)
    }

    #[test]
    fn only_what_is_new_is_printed() {
        let segments = Segments::new(1, 1 << 16);
        let [a, b, c, d, e] = std::array::from_fn(|_| Stamp::fresh());
        let mut list = vec![(a, "a"), (b, "bb"), (c, "ccc"), (d, "d")];
        for (what, change, expected) in [
            ("the first time", None, "a bb ccc d"),
            ("again", None, ""),
            ("one has changed", Some((1..2, vec![(e, "b")])), "b"),
            ("again after that", None, ""),
            ("two are gone", Some((0..2, vec![])), ""),
            ("the last one is gone", Some((1..2, vec![])), ""),
            ("one came first", Some((0..0, vec![(Stamp::fresh(), "x")])), "x"),
            ("one came last", Some((2..2, vec![(Stamp::fresh(), "z")])), "z"),
            ("all are gone", Some((0..3, vec![])), ""),
        ] {
            if let Some((range, with)) = change {
                list.splice(range, with);
            }
            let told: String = list.iter().map(|(_, text)| *text).collect();
            assert_eq!(
                read(&segments, "", &list),
                (told, expected.split_whitespace().map(str::to_owned).collect()),
                "{what}"
            );
        }
    }

    #[test]
    fn what_cannot_be_kept_is_printed_each_time() {
        let segments = Segments::new(1, 1 << 16);
        let (a, b) = (Stamp::fresh(), Stamp::fresh());
        for turn in 0..3 {
            let mut out = Vec::new();
            let mut reading = segments.list(place(""));
            assert!(!reading.find(a, &mut out), "it came without its text");
            reading.add(a, None);
            assert_eq!(reading.find(b, &mut out), turn > 0);
            if turn == 0 {
                reading.add(b, Some(b"b"));
            }
            reading.finish(&mut out);
            assert_eq!(out, if turn == 0 { b"".as_slice() } else { b"b" });
        }
    }

    #[test]
    fn what_was_not_read_for_longest_goes_first_but_nothing_of_the_same_reading() {
        let text = "x".repeat(400);
        let entry = || vec![(Stamp::fresh(), text.as_str())];
        let segments = Segments::new(1, 1_000);
        let (one, two, three) = (entry(), entry(), entry());
        let is_known = |above: &str, list: &[(Stamp, &str)]| read(&segments, above, list).1.is_empty();
        read(&segments, "/one", &one);
        read(&segments, "/two", &two);
        assert!(is_known("/one", &one), "both have room");
        read(&segments, "/three", &three);
        assert!(segments.bytes() <= 1_000);
        assert!(is_known("/one", &one) && is_known("/three", &three) && !is_known("/two", &two));

        let segments = Segments::new(1, 1_000);
        let mut printed = Vec::new();
        for _ in 0..2 {
            segments.begin_reading();
            for (above, list) in [("/one", &one), ("/two", &two), ("/three", &three)] {
                let mut out = Vec::new();
                let mut reading = segments.list(place(above));
                if !reading.find(list[0].0, &mut out) {
                    reading.add(list[0].0, Some(text.as_bytes()));
                    printed.push(above);
                }
                reading.finish(&mut out);
            }
        }
        assert_eq!(printed, ["/one", "/two", "/three", "/three"]);
    }

    #[test]
    fn a_list_that_is_longer_than_all_that_is_kept_is_not_kept_and_pushes_nothing_out() {
        let segments = Segments::new(1, 1_000);
        let (small, long) = (vec![(Stamp::fresh(), "small")], "y".repeat(600));
        read(&segments, "/small", &small);
        let large = vec![(Stamp::fresh(), long.as_str()), (Stamp::fresh(), "z"), (Stamp::fresh(), long.as_str())];
        for _ in 0..2 {
            let (told, printed) = read(&segments, "/large", &large);
            assert_eq!((told.len(), printed.len()), (1_201, 3));
        }
        assert!(read(&segments, "/small", &small).1.is_empty());
    }

    #[test]
    fn what_nobody_reads_any_more_is_let_go_of() {
        let segments = Segments::new(1, 1 << 16);
        let entry = vec![(Stamp::fresh(), "text")];
        read(&segments, "/one", &entry);
        let before = segments.readings();
        read(&segments, "/two", &entry);
        segments.forget_unused_since(before);
        assert!(read(&segments, "/two", &entry).1.is_empty() && segments.bytes() > 0);
        segments.forget_unused_since(segments.readings());
        assert_eq!(segments.bytes(), 0);
    }
}
