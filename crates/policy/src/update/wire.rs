//! The outer fields of resources and entries, with what they hold still serialised: equal parts need no second look.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use prost::DecodeError;
use prost::bytes::Buf;
use prost::encoding::{
    DecodeContext, WireType, check_wire_type, decode_key, decode_varint, skip_field, string, uint32,
};
use thiserror::Error;

/// Numbers of the fields of `PortNetworkPolicyRule.l7`, of which a rule has one.
const L7_RULES: RangeInclusive<u32> = HTTP_RULES..=102;
const HTTP_RULES: u32 = 100;

/// Bytes that are not the message.
#[derive(Debug, Error)]
pub(super) enum WireError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("an embedded message is cut off")]
    CutOff,
}

/// A `NetworkPolicy` with serialised entries.
#[derive(Debug, Default)]
pub(super) struct RawPolicy<'a> {
    pub endpoint_ips: Vec<String>,
    pub endpoint_id: u64,
    pub ingress: Vec<&'a [u8]>,
    pub egress: Vec<&'a [u8]>,
}

/// A `PortNetworkPolicy` with serialised rules.
#[derive(Debug, Default)]
pub(super) struct RawEntry<'a> {
    pub port: u32,
    pub end_port: u32,
    /// Number of `SocketAddress.Protocol`.
    pub protocol: u32,
    pub rules: Vec<&'a [u8]>,
}

/// A `PortNetworkPolicyRule` with its HTTP rules taken out, which many rules share.
#[derive(Debug)]
pub(super) struct RawRule<'a> {
    pub http: Option<&'a [u8]>,
    pub rest: Cow<'a, [u8]>,
}

impl<'a> RawPolicy<'a> {
    pub(super) fn decode(mut bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut policy = Self::default();
        while bytes.has_remaining() {
            let (tag, wire_type) = decode_key(&mut bytes)?;
            match tag {
                1 => string::merge_repeated(wire_type, &mut policy.endpoint_ips, &mut bytes, DecodeContext::default())?,
                2 => {
                    check_wire_type(WireType::Varint, wire_type)?;
                    policy.endpoint_id = decode_varint(&mut bytes)?;
                }
                3 => policy.ingress.push(message(wire_type, &mut bytes)?),
                4 => policy.egress.push(message(wire_type, &mut bytes)?),
                _ => skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?,
            }
        }
        Ok(policy)
    }
}

impl<'a> RawEntry<'a> {
    pub(super) fn decode(mut bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut entry = Self::default();
        while bytes.has_remaining() {
            let (tag, wire_type) = decode_key(&mut bytes)?;
            match tag {
                1 => uint32::merge(wire_type, &mut entry.port, &mut bytes, DecodeContext::default())?,
                2 => uint32::merge(wire_type, &mut entry.protocol, &mut bytes, DecodeContext::default())?,
                3 => entry.rules.push(message(wire_type, &mut bytes)?),
                4 => uint32::merge(wire_type, &mut entry.end_port, &mut bytes, DecodeContext::default())?,
                _ => skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?,
            }
        }
        Ok(entry)
    }
}

impl<'a> RawRule<'a> {
    /// `None`: there is more than one field of L7 rules. Bytes that are no rule stay as they are.
    pub(super) fn split(bytes: &'a [u8]) -> Option<Self> {
        let mut l7 = None;
        let mut left = bytes;
        while left.has_remaining() {
            let before = &bytes[..bytes.len() - left.len()];
            let Ok((tag, value)) = field(&mut left) else { return Some(Self { http: None, rest: bytes.into() }) };
            if L7_RULES.contains(&tag) && l7.replace((tag, value, before, left)).is_some() {
                return None;
            }
        }
        Some(match l7 {
            Some((HTTP_RULES, http, before, [])) => Self { http, rest: before.into() },
            Some((HTTP_RULES, http, before, after)) => Self { http, rest: [before, after].concat().into() },
            _ => Self { http: None, rest: bytes.into() },
        })
    }
}

/// Any field, with its bytes if it is an embedded message.
fn field<'a>(bytes: &mut &'a [u8]) -> Result<(u32, Option<&'a [u8]>), WireError> {
    let (tag, wire_type) = decode_key(bytes)?;
    if wire_type == WireType::LengthDelimited {
        return Ok((tag, Some(message(wire_type, bytes)?)));
    }
    skip_field(wire_type, tag, bytes, DecodeContext::default())?;
    Ok((tag, None))
}

/// The bytes of an embedded message.
fn message<'a>(wire_type: WireType, bytes: &mut &'a [u8]) -> Result<&'a [u8], WireError> {
    check_wire_type(WireType::LengthDelimited, wire_type)?;
    let length = decode_varint(bytes)?;
    let whole = *bytes;
    let split = usize::try_from(length).ok().and_then(|length| whole.split_at_checked(length));
    let (message, rest) = split.ok_or(WireError::CutOff)?;
    *bytes = rest;
    Ok(message)
}
