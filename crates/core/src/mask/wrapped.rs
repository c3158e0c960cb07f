//! Finds encoded secrets that are wrapped into lines of any width.
//!
//! A line end may stand anywhere in them, so a line is searched for short pieces of the encoded text. That is done only
//! for lines that consist of nothing else than characters of the encoding: there a match by chance is unlikely.

use std::collections::HashSet;
use std::ops::Range;

/// Length of a piece of base64: 36 bits.
const BASE64: usize = 6;
/// Length of a piece in a shorter line, which must consist of pieces.
const BASE64_SHORT: usize = 4;
/// Length of a piece of hexadecimal digits: 48 bits.
const HEX: usize = 12;
/// Encoded texts that are longer are not searched for in short lines.
const LONGEST_SHORT: usize = 512;
/// Maximum number of pieces; further secrets are found only where they are not wrapped.
const MOST: usize = 1 << 18;

/// The pieces of all encoded secrets.
#[derive(Debug, Clone, Default)]
pub(super) struct WrappedForms {
    base64: HashSet<[u8; BASE64]>,
    short: HashSet<[u8; BASE64_SHORT]>,
    hex: HashSet<[u8; HEX]>,
}

impl WrappedForms {
    /// Adds a text in base64, in either alphabet.
    pub(super) fn add_base64(&mut self, text: &[u8]) {
        let text: Vec<u8> = text.iter().map(|byte| standard(*byte)).collect();
        if self.base64.len() + text.len() > MOST {
            return;
        }
        self.base64.extend(text.array_windows::<BASE64>());
        if text.len() <= LONGEST_SHORT {
            self.short.extend(text.array_windows::<BASE64_SHORT>());
        }
    }

    /// Adds a text in hexadecimal digits.
    pub(super) fn add_hex(&mut self, text: &[u8]) {
        if self.hex.len() + text.len() <= MOST {
            self.hex.extend(text.to_ascii_lowercase().array_windows::<HEX>());
        }
    }

    /// Adds the ranges of `line` that belong to an encoded secret.
    pub(super) fn search(&self, line: &[u8], found: &mut Vec<Range<usize>>) {
        let start = line.len() - line.trim_ascii_start().len();
        let text = line.trim_ascii();
        let body = text.len() - text.iter().rev().take_while(|byte| **byte == b'=').count();
        let text = &text[..body];
        if text.len() < BASE64_SHORT || self.short.is_empty() && self.base64.is_empty() {
            return;
        }
        if !text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte)) {
            return;
        }
        let plain: Vec<u8> = text.iter().map(|byte| standard(*byte)).collect();
        if plain.len() < BASE64 {
            if plain.array_windows::<BASE64_SHORT>().all(|piece| self.short.contains(piece)) {
                found.push(start..start + plain.len());
            }
            return;
        }
        let mut add = |at: usize, len: usize| found.push(start + at..start + at + len);
        for (at, piece) in plain.array_windows::<BASE64>().enumerate() {
            if self.base64.contains(piece) {
                add(at, BASE64);
            }
        }
        if text.len() >= HEX && text.iter().all(u8::is_ascii_hexdigit) {
            for (at, piece) in text.to_ascii_lowercase().array_windows::<HEX>().enumerate() {
                if self.hex.contains(piece) {
                    add(at, HEX);
                }
            }
        }
    }
}

/// The character of the standard alphabet for one of either alphabet.
fn standard(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => byte,
    }
}
