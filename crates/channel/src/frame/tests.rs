use cilium_proto::cilium_proxy::v1::{Begin, Commit, Upsert};
use proptest::prelude::*;

use super::*;

fn kinds() -> impl Strategy<Value = Vec<Kind>> {
    let kind = prop_oneof![
        (any::<u64>(), "\\PC{0,20}").prop_map(|(txn, type_url)| Kind::Begin(Begin {
            txn,
            type_url,
            ..Begin::default()
        })),
        ("\\PC{0,20}", any::<Vec<u8>>()).prop_map(|(name, resource)| Kind::Upsert(Upsert { name, resource })),
        any::<u64>().prop_map(|txn| Kind::Commit(Commit { txn, ..Commit::default() })),
    ];
    proptest::collection::vec(kind, 0..8)
}

/// Hands out its bytes in the given pieces.
struct Pieces<'a>(std::slice::Chunks<'a, u8>);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.0.next().unwrap_or_default();
        buffer[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_arrive_whole_however_they_are_cut(kinds in kinds(), piece in 1..40_usize) {
        let bytes: Vec<u8> = kinds.iter().cloned().flat_map(encode).collect();
        let mut source = Pieces(bytes.chunks(piece));
        let mut buffer = FrameBuffer::new(1 << 20);
        let mut arrived = Vec::new();
        while buffer.fill(&mut source).unwrap() > 0 {
            while let Some(kind) = buffer.take().unwrap() {
                arrived.push(kind);
            }
        }
        prop_assert_eq!(arrived, kinds);
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes: Vec<u8>) {
        let mut buffer = FrameBuffer::new(1 << 10);
        buffer.fill(&mut bytes.as_slice()).unwrap();
        while let Ok(Some(_)) = buffer.take() {}
    }
}
