//! What the guest uses of the crate `wide`, one byte after another: what its lanes mean.
#![allow(non_camel_case_types, reason = "the names of `wide`")]

use std::ops::{BitAnd, BitOr};

/// Sixteen bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct u8x16([u8; 16]);

/// Sixteen bytes with a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct i8x16([i8; 16]);

impl u8x16 {
    /// Zeros.
    pub const ZERO: u8x16 = u8x16([0; 16]);

    /// These bytes.
    pub const fn new(bytes: [u8; 16]) -> u8x16 {
        u8x16(bytes)
    }

    /// One byte, sixteen times.
    pub const fn splat(byte: u8) -> u8x16 {
        u8x16([byte; 16])
    }

    /// The bytes.
    pub const fn to_array(self) -> [u8; 16] {
        self.0
    }

    /// All ones where two bytes are equal.
    pub fn simd_eq(self, other: u8x16) -> u8x16 {
        self.zip(other, |a, b| truth(a == b))
    }

    /// All ones where the byte is less.
    pub fn simd_lt(self, other: u8x16) -> u8x16 {
        self.zip(other, |a, b| truth(a < b))
    }

    /// The lesser of two bytes.
    pub fn min(self, other: u8x16) -> u8x16 {
        self.zip(other, u8::min)
    }

    /// The greater of two bytes.
    pub fn max(self, other: u8x16) -> u8x16 {
        self.zip(other, u8::max)
    }

    /// The highest bit of each byte, that of the first byte lowest.
    pub fn to_bitmask(self) -> u32 {
        self.0.iter().rev().fold(0, |mask, byte| mask << 1 | u32::from(byte >> 7))
    }

    /// Whether the highest bit of any byte is set.
    pub fn any(self) -> bool {
        self.to_bitmask() != 0
    }

    /// Whether the highest bit of all bytes is set.
    pub fn all(self) -> bool {
        self.to_bitmask() == 0xffff
    }

    /// The same bits with a sign.
    pub fn cast_signed(self) -> i8x16 {
        i8x16(self.0.map(u8::cast_signed))
    }

    fn zip(self, other: u8x16, of: impl Fn(u8, u8) -> u8) -> u8x16 {
        u8x16(std::array::from_fn(|at| of(self.0[at], other.0[at])))
    }
}

impl i8x16 {
    /// One byte, sixteen times.
    pub const fn splat(byte: i8) -> i8x16 {
        i8x16([byte; 16])
    }

    /// All ones where the byte is greater.
    pub fn simd_gt(self, other: i8x16) -> i8x16 {
        i8x16(std::array::from_fn(|at| truth(self.0[at] > other.0[at]).cast_signed()))
    }

    /// The same bits without a sign.
    pub fn cast_unsigned(self) -> u8x16 {
        u8x16(self.0.map(i8::cast_unsigned))
    }
}

impl BitAnd for u8x16 {
    type Output = u8x16;

    fn bitand(self, other: u8x16) -> u8x16 {
        self.zip(other, u8::bitand)
    }
}

impl BitOr for u8x16 {
    type Output = u8x16;

    fn bitor(self, other: u8x16) -> u8x16 {
        self.zip(other, u8::bitor)
    }
}

fn truth(holds: bool) -> u8 {
    if holds { u8::MAX } else { 0 }
}
