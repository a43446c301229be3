//! Byte sequences from protobuf's encoding guide, and one test per kind of malformed input.

use super::*;
use crate::{Error, ErrorKind};
use std::collections::BTreeMap;

message! {
    /// Every kind of field.
    pub struct Sample {
        /// Number.
        1 => number: i64,
        /// Text.
        2 => text: String,
        /// Nested.
        3 => nested: Option<Box<Sample>>,
        /// Children.
        4 => children: Vec<Sample>,
        /// Map.
        5 => map: BTreeMap<String, i64>,
        /// Packed.
        6 => packed: Vec<i32>,
        /// One of.
        0 => choice: Option<Choice>,
        /// Floats.
        9 => floats: Packed<f32>,
        /// Raw.
        10 => raw: Bytes,
        /// Samples by name.
        11 => named: BTreeMap<String, Sample>,
        /// Single float.
        12 => float: f32,
    }
}

oneof! {
    /// A choice.
    pub enum Choice {
        /// Number.
        7 => Number(i64),
        /// Message.
        8 => Message(Box<Sample>),
    }
}

fn read(raw: &[u8]) -> Result<Sample, Error> {
    decode(&Bytes::copy_from_slice(raw))
}

fn kind(raw: &[u8]) -> Option<ErrorKind> {
    read(raw).err().map(|e| e.kind())
}

#[test]
fn the_examples_of_the_encoding_guide_read_and_write() {
    let sample = Sample { number: 150, ..Sample::default() };
    assert_eq!(encode(&sample), [0x08, 0x96, 0x01]);
    let sample = Sample { text: "testing".into(), ..Sample::default() };
    assert_eq!(encode(&sample), b"\x12\x07testing");
    let sample = Sample { nested: Some(Box::new(Sample { number: 150, ..Sample::default() })), ..sample };
    assert_eq!(read(b"\x12\x07testing\x1a\x03\x08\x96\x01"), Ok(sample));
    let sample = Sample { packed: vec![3, 270, 86942], ..Sample::default() };
    assert_eq!(encode(&sample), [0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05]);
    let negative = Sample { number: -2, ..Sample::default() };
    assert_eq!(encode(&negative), [&[0x08, 0xfe][..], &[0xff; 8], &[0x01]].concat());
    assert_eq!(read(&encode(&negative)), Ok(negative));
}

#[test]
fn unpacked_and_mixed_repeated_numbers_are_read() {
    let sample = read(&[0x30, 3, 0x32, 2, 4, 5, 0x30, 6]);
    assert_eq!(sample.map(|s| s.packed), Ok(vec![3, 4, 5, 6]));
    let one = 1f32.to_le_bytes();
    let raw = [&[0x4d][..], &one, &[0x4a, 4], &one, &[0x4d], &one].concat();
    assert_eq!(read(&raw).map(|s| s.floats.iter().collect::<Vec<_>>()), Ok(vec![1.0; 3]));
}

#[test]
fn unknown_fields_of_every_level_survive() {
    let raw = b"\x08\x01\x1a\x06\x08\x02\xa2\x06\x01z\xf8\x07\x05";
    let sample = read(raw).unwrap_or_default();
    assert_eq!(sample.unknown.fields(), [&b"\xf8\x07\x05"[..]]);
    assert_eq!(encode(&sample), raw);
}

#[test]
fn defaults_are_left_out_except_in_a_oneof() {
    assert_eq!(read(&[0x08, 0]).map(|s| encode(&s)), Ok(vec![]));
    assert_eq!(read(&[0x38, 0]).map(|s| encode(&s)), Ok(vec![0x38, 0]));
    assert_eq!(read(&[0x42, 0]).map(|s| encode(&s)), Ok(vec![0x42, 0]));
    let minus_zero = Sample { float: -0.0, ..Sample::default() };
    assert_eq!(encode(&minus_zero), [0x65, 0, 0, 0, 0x80]);
}

#[test]
fn the_last_member_of_a_oneof_wins_and_messages_merge() {
    let sample = read(&[0x42, 2, 0x08, 5, 0x38, 9]);
    assert_eq!(sample.map(|s| s.choice), Ok(Some(Choice::Number(9))));
    let merged = read(&[0x1a, 2, 0x08, 5, 0x1a, 3, 0x12, 1, b'x']).unwrap_or_default();
    let expected = Sample { number: 5, text: "x".into(), ..Sample::default() };
    assert_eq!(merged.nested, Some(Box::new(expected)));
}

#[test]
fn maps_are_written_sorted_and_the_last_entry_of_a_key_wins() {
    let raw = b"\x2a\x05\x0a\x01b\x10\x01\x2a\x05\x0a\x01a\x10\x02\x2a\x05\x0a\x01b\x10\x00";
    let sample = read(raw).unwrap_or_default();
    assert_eq!(encode(&sample), b"\x2a\x05\x0a\x01a\x10\x02\x2a\x05\x0a\x01b\x10\x00");
}

#[test]
fn bytes_share_the_input() {
    let src = Bytes::from_static(b"\x52\x03abc");
    let sample: Sample = decode(&src).unwrap_or_default();
    assert_eq!(sample.raw.as_ptr(), src[2..].as_ptr());
}

#[test]
fn input_that_ends_early_is_truncated_at_its_offset() {
    for raw in [&b"\x08"[..], b"\x08\x80", b"\x12\x05abc", b"\x65\x00\x00", b"\x1a\x04\x12\x05ab"] {
        assert_eq!(kind(raw), Some(ErrorKind::Truncated), "{raw:?}");
    }
    assert_eq!(read(b"\x08\x01\x12\x05abc").err().and_then(|e| e.offset()), Some(3));
}

#[test]
fn a_length_beyond_any_address_is_truncated_not_wrapped() {
    let raw = [&[0x12][..], &[0xff; 9], &[0x01]].concat();
    assert_eq!(kind(&raw), Some(ErrorKind::Truncated));
}

#[test]
fn varints_longer_than_64_bits_are_malformed() {
    assert_eq!(kind(&[&[0x08][..], &[0xff; 9], &[0x02]].concat()), Some(ErrorKind::Malformed));
    assert_eq!(kind(&[&[0x08][..], &[0x80; 10], &[0x01]].concat()), Some(ErrorKind::Malformed));
}

#[test]
fn groups_and_undefined_tags_are_refused() {
    assert_eq!(kind(&[0x0b]), Some(ErrorKind::Unsupported));
    assert_eq!(kind(&[0x0c]), Some(ErrorKind::Unsupported));
    assert_eq!(kind(&[0x0e]), Some(ErrorKind::Malformed));
    assert_eq!(kind(&[0x00]), Some(ErrorKind::Malformed));
    assert_eq!(kind(&[0x80, 0x80, 0x80, 0x80, 0x10]), Some(ErrorKind::Malformed));
}

#[test]
fn a_known_field_with_the_wrong_layout_is_named_with_its_path() {
    let error = read(b"\x22\x00\x22\x04\x1a\x02\x10\x01").err();
    let error = error.map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(
        error,
        "field 2 is encoded as Varint, but must be Len (at byte 6, in children[1].nested.text)"
    );
    let error = read(b"\x5a\x07\x0a\x01k\x12\x02\x10\x01").err();
    assert_eq!(error.map(|e| e.path().to_owned()), Some("named[\"k\"].text".to_owned()));
}

#[test]
fn text_must_be_utf8() {
    assert_eq!(kind(b"\x12\x02a\xff"), Some(ErrorKind::NotUtf8));
}

#[test]
fn nesting_stops_at_the_limit() {
    let nest = |levels: usize| {
        let wrap = |inner: Vec<u8>, _| {
            let mut out = Vec::new();
            fields::write_tag(3, Wire::Len, &mut out);
            fields::write_sized(&mut out, |out| out.extend(inner));
            out
        };
        (0..levels).fold(Vec::new(), wrap)
    };
    assert_eq!(kind(&nest(MAX_DEPTH)), None);
    assert_eq!(kind(&nest(MAX_DEPTH + 1)), Some(ErrorKind::TooDeep));
}

#[test]
fn a_flood_of_empty_messages_is_too_large() {
    assert_eq!(kind(&[0x22, 0].repeat(100_000)), Some(ErrorKind::TooLarge));
}
