//! Random bytes from the operating system, for secrets and for identifiers that nobody can guess.

use std::io;

use bakery_core::hex;
use rustix::rand::{GetRandomFlags, getrandom};

/// `N` random bytes. Blocks only while the system starts and has not collected entropy yet.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled += rustix::io::retry_on_intr(|| getrandom(&mut bytes[filled..], GetRandomFlags::empty()))?;
    }
    Ok(bytes)
}

/// `N` random bytes as `2 * N` lower-case hex digits.
pub fn hex<const N: usize>() -> io::Result<String> {
    bytes::<N>().map(|bytes| hex::encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_returns_other_bytes() {
        let (one, two) = (hex::<32>().unwrap(), hex::<32>().unwrap());
        assert_eq!((one.len(), two.len()), (64, 64));
        assert_ne!(one, two);
    }
}
