//! A log made small, part by part: each part is a whole of its own, so that reading may begin at any of them.
//!
//! The parts one after the other are what `zcat` takes for one file. Must not know: where the bytes come from.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::marks::Part;

/// What a part holds, unpacked: so much is read in vain at most.
pub const PART_BYTES: u64 = 256 * 1024;

/// Packs everything that `from` holds; tells where the parts begin, and last the end.
///
/// # Errors
/// Those of reading and writing.
pub fn pack(from: &mut impl Read, to: impl Write) -> io::Result<Vec<Part>> {
    let mut to = Counted { inner: to, count: 0 };
    let mut parts = vec![Part { raw: 0, packed: 0 }];
    let mut raw = 0;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        from.by_ref().take(PART_BYTES).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(parts);
        }
        let mut encoder = GzEncoder::new(&mut to, Compression::fast());
        encoder.write_all(&bytes)?;
        encoder.finish()?;
        raw += bytes.len() as u64;
        parts.push(Part { raw, packed: to.count });
    }
}

struct Counted<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use flate2::read::MultiGzDecoder;

    use super::*;

    #[test]
    fn what_is_packed_can_be_read_from_any_part_on() {
        let raw: Vec<u8> = (0..PART_BYTES * 5 / 2).map(|at| (at % 251) as u8).collect();
        let mut packed = Vec::new();
        let parts = pack(&mut Cursor::new(&raw), &mut packed).unwrap();
        let ends: Vec<u64> = parts.iter().map(|part| part.raw / 1024).collect();
        assert_eq!(ends, [0, 256, 512, 640]);
        assert_eq!(parts.last().unwrap().packed, packed.len() as u64);
        for part in &parts[..parts.len() - 1] {
            let mut read = Vec::new();
            let from = usize::try_from(part.packed).unwrap();
            MultiGzDecoder::new(&packed[from..]).read_to_end(&mut read).unwrap();
            assert_eq!(read, raw[usize::try_from(part.raw).unwrap()..]);
        }
    }
}
