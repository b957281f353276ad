//! The three protobuf wire forms that log entries are made of.

use std::borrow::Cow;

/// Appends a base-128 varint.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Length of `value` as a varint, in bytes.
pub(crate) const fn varint_len(value: u64) -> usize {
    // 7 bits a byte: ceil(bits / 7) without a division, 1 for 0.
    ((64 - (value | 1).leading_zeros()) * 9 + 64) as usize / 64
}

/// Appends field `number` as a varint, unless it has its default value.
pub(crate) fn number(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        varint(out, u64::from(number) << 3);
        varint(out, value);
    }
}

/// Appends the tag and length of a length-delimited field; its content follows.
pub(crate) fn delimited(out: &mut Vec<u8>, number: u32, len: usize) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, len as u64);
}

/// Appends field `number` as a string, unless it is empty.
///
/// `value` must be UTF-8, see [`text`].
pub(crate) fn string(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    if !value.is_empty() {
        text_field(out, number, value);
    }
}

/// Appends field `number`, also if it is empty.
pub(crate) fn text_field(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    if let (Some(tag), Some(len)) = (short_tag(number), short(value.len())) {
        out.extend_from_slice(&[tag, len]);
    } else {
        delimited(out, number, value.len());
    }
    out.extend_from_slice(value);
}

/// Appends field `number` as a `cilium.KeyValue`, whatever bytes `key` and `value` hold.
pub(crate) fn key_value(out: &mut Vec<u8>, number: u32, key: &[u8], value: &[u8]) {
    let (key, value) = (text(key), text(value));
    let len = string_len(&key) + string_len(&value);
    out.reserve(len + 12);
    // The usual header takes one byte for every tag and length.
    if let (Some(tag), Some(len), Some(key_len @ 1..)) = (short_tag(number), short(len), short(key.len())) {
        out.extend_from_slice(&[tag, len, 1 << 3 | 2, key_len]);
        out.extend_from_slice(&key);
    } else {
        delimited(out, number, len);
        string(out, 1, &key);
    }
    string(out, 2, &value);
}

/// The tag of a length-delimited field, if it takes one byte.
fn short_tag(number: u32) -> Option<u8> {
    short(usize::try_from(number << 3 | 2).ok()?)
}

/// A varint of one byte.
fn short(value: usize) -> Option<u8> {
    u8::try_from(value).ok().filter(|value| *value < 0x80)
}

/// `value` as UTF-8.
///
/// HTTP allows any byte from 0x80 in header values, protobuf strings do not: a receiver drops an entry with one. What is
/// not UTF-8 becomes U+FFFD, so that no client can keep its requests out of the log.
pub(crate) fn text(value: &[u8]) -> Cow<'_, [u8]> {
    // Nearly everything is ASCII, and what is valid is much cheaper to see than to convert.
    if value.is_ascii() || std::str::from_utf8(value).is_ok() {
        Cow::Borrowed(value)
    } else {
        Cow::Owned(String::from_utf8_lossy(value).into_owned().into_bytes())
    }
}

/// Length of a string field with a tag of one byte, that is with a number below 16.
pub(crate) fn string_len(value: &[u8]) -> usize {
    if value.is_empty() { 0 } else { 1 + varint_len(value.len() as u64) + value.len() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_are_those_of_prost(value: u64) {
            let mut ours = Vec::new();
            varint(&mut ours, value);
            let mut theirs = Vec::new();
            prost::encoding::encode_varint(value, &mut theirs);
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(varint_len(value), ours.len());
        }
    }

    #[test]
    fn varint_lengths_change_at_seven_bit_steps() {
        for bits in 0..64 {
            for value in [1_u64 << bits, (1_u64 << bits) - 1, u64::MAX >> (63 - bits)] {
                assert_eq!(varint_len(value), prost::encoding::encoded_len_varint(value), "{value}");
            }
        }
    }
}
