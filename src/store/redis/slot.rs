//! Hash slots of a Redis cluster: which keys live together.

/// Slots of a cluster. One server has them all.
pub(super) const SLOTS: u16 = 16_384;

/// The slot of a key: CRC-16 (XMODEM) of its hash tag, or of all of it.
pub(super) fn of(key: &[u8]) -> u16 {
    let crc = tag(key).iter().fold(0_u16, |crc, byte| (crc << 8) ^ CRC[usize::from((crc >> 8) as u8 ^ byte)]);
    crc % SLOTS
}

/// What each byte does to the CRC.
const CRC: [u16; 256] = {
    let (mut table, mut byte) = ([0_u16; 256], 0);
    while byte < table.len() {
        let (mut crc, mut bit) = ((byte as u16) << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// What is between the first `{` and the next `}`, if there is anything.
fn tag(key: &[u8]) -> &[u8] {
    let tagged = || {
        let start = key.iter().position(|&byte| byte == b'{')? + 1;
        let length = key[start..].iter().position(|&byte| byte == b'}')?;
        (length > 0).then(|| &key[start..start + length])
    };
    tagged().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(of(b"123456789"), 0x31C3 % SLOTS);
        assert_eq!(of(b"{user1000}.following"), of(b"{user1000}.followers"));
        assert_eq!(of(b"foo{{bar}}zap"), of(b"{bar"));
        assert_eq!(of(b"foo{bar}{zap}"), of(b"bar"));
        assert_ne!(of(b"foo{}{bar}"), of(b"bar"));
    }

    #[test]
    fn everything_of_an_owner_is_in_one_slot() {
        assert_eq!(of(b"as:g:{owner}:grant"), of(b"as:u:{owner}"));
        assert_eq!(of(b"as:ug:{owner}"), of(b"owner"));
    }
}
