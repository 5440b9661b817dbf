//! Puts a stamp before each line of a stream, however the stream is cut.

#[derive(Debug, Default)]
pub struct Stamper {
    inside_line: bool,
}

impl Stamper {
    /// One that goes on with a line, or begins one.
    pub fn inside(inside_line: bool) -> Self {
        Self { inside_line }
    }

    /// The bytes with the stamp before each line that begins in them.
    pub fn stamp(&mut self, stamp: &str, bytes: &[u8]) -> Vec<u8> {
        let mut stamped = Vec::with_capacity(bytes.len() + stamp.len() * 2);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.inside_line {
                stamped.extend_from_slice(stamp.as_bytes());
            }
            stamped.extend_from_slice(line);
            self.inside_line = !line.ends_with(b"\n");
        }
        stamped
    }

    /// Whether who comes now sees the rest of a line first.
    pub fn is_inside_line(&self) -> bool {
        self.inside_line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_one_stamp_however_it_comes() {
        let mut stamper = Stamper::default();
        let stamped: Vec<u8> =
            [&b"a"[..], b"b\r\nc\n\n", b"", b"d"].iter().flat_map(|piece| stamper.stamp("> ", piece)).collect();
        assert_eq!(stamped, b"> ab\r\n> c\n> \n> d");
        assert!(stamper.is_inside_line());
    }
}
