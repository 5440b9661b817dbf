//! Memory, from the text of /proc/meminfo.

use crate::yang::value::Element;

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    pub total: u64,
    pub free: u64,
    pub available: u64,
}

/// `None` where the text has no `MemTotal`.
pub fn parse_meminfo(text: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    let total = bytes("MemTotal")?;
    let free = bytes("MemFree").unwrap_or(0);
    // Kernels before 3.14 do not estimate what is available.
    let available = bytes("MemAvailable").unwrap_or(free);
    Some(Memory { total, free, available })
}

/// The page size, from the bytes of /proc/self/auxv: pairs of machine words, of which key 6 is the page size.
pub fn page_size(auxv: &[u8]) -> Option<u64> {
    const KEY: usize = 6;
    const WORD: usize = size_of::<usize>();
    let word = |bytes: &[u8]| usize::from_ne_bytes(bytes.try_into().expect("a chunk is a word"));
    let pairs = auxv.chunks_exact(2 * WORD).map(|pair| (word(&pair[..WORD]), word(&pair[WORD..])));
    pairs.into_iter().find(|(key, _)| *key == KEY).and_then(|(_, value)| u64::try_from(value).ok())
}

/// The state at `/Cisco-IOS-XR-nto-misc-oper:memory-summary`. A host has no boot ram, image or flash set aside.
pub fn summary(node: &str, memory: Memory, page_size: u64) -> Element {
    let summary = Element::node(
        "summary",
        vec![
            Element::leaf("page-size", page_size),
            Element::leaf("ram-memory", memory.total),
            Element::leaf("free-physical-memory", memory.free),
            Element::leaf("system-ram-memory", memory.total),
            Element::leaf("free-application-memory", memory.available),
            Element::leaf("image-memory", 0),
            Element::leaf("boot-ram-size", 0),
            Element::leaf("reserved-memory", 0),
            Element::leaf("io-memory", 0),
            Element::leaf("flash-system", 0),
        ],
    );
    let node = Element::node("node", vec![Element::leaf("node-name", node), summary]);
    Element::node("memory-summary", vec![Element::node("nodes", vec![node])]).in_module("Cisco-IOS-XR-nto-misc-oper")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = "MemTotal:        4015544 kB\nMemFree:          812344 kB\nMemAvailable:    2920112 kB\n\
                            Buffers:           65308 kB\nHugePages_Total:       0\n";

    #[test]
    fn a_recorded_text_is_read_as_bytes() {
        let memory = parse_meminfo(RECORDED).unwrap();
        assert_eq!(memory, Memory { total: 4_111_917_056, free: 831_840_256, available: 2_990_194_688 });
    }

    #[test]
    fn an_old_kernel_and_nonsense_are_survived() {
        let memory = parse_meminfo("MemTotal: 2 kB\nMemFree: 1 kB\n").unwrap();
        assert_eq!(memory.available, 1024);
        assert_eq!(parse_meminfo("MemTotal: many kB"), None);
        assert_eq!(parse_meminfo("MemTotal: 18446744073709551615 kB"), None);
        assert_eq!(parse_meminfo(""), None);
    }

    #[test]
    fn the_page_size_is_one_of_the_auxiliary_values() {
        let bytes: Vec<u8> = [16usize, 1, 6, 4096, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(page_size(&bytes), Some(4096));
        assert_eq!(page_size(&bytes[..20]), None);
    }

    #[test]
    fn the_summary_has_the_node_as_key() {
        let element = summary("0/RP0/CPU0", parse_meminfo(RECORDED).unwrap(), 4096);
        let node = element.descend(&["nodes", "node"]).unwrap();
        assert_eq!(node.text_of("node-name"), Some("0/RP0/CPU0"));
        assert_eq!(node.child("summary").unwrap().text_of("ram-memory"), Some("4111917056"));
    }
}
