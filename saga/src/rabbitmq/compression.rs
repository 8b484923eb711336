//! Packs travel compressed (docs/decisions/0018-compressed-packs.md), each as an LZ4 frame of one
//! block, which any tool for LZ4 reads. Pure.
//!
//! The frame is put together here because the library's own, made for streams, costs four times as
//! much as the compression in it.

use lapin::message::Delivery;
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

/// The content encoding of a compressed message, for who looks at it. Readers go by its first
/// bytes, whatever a tool that moved it made of its properties.
pub(super) const ENCODING: &str = "lz4";

/// Fewer bytes, a handful of events, stay readable. The broker pays by the message there.
const LEAST: usize = 4 * 1024;
/// What a block of a frame with this header holds at most.
pub(super) const MOST: usize = 256 * 1024;
/// An LZ4 frame whose blocks stand for themselves and hold [`MOST`], without checksums, as messages
/// have none either. No JSON begins like it.
const HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x50, 0xfb];
/// No block follows.
const END: [u8; 4] = [0; 4];
/// How much longer a pack is than its frame, mostly.
const USUAL_RATIO: usize = 4;

/// The pack as it travels; none if it travels as it is.
pub(super) fn compressed(json: &[u8]) -> Option<Vec<u8>> {
    if !(LEAST..=MOST).contains(&json.len()) {
        return None;
    }
    let start = HEADER.len() + size_of::<u32>();
    let mut frame = vec![0; start + get_maximum_output_size(json.len())];
    let size = compress_into(json, &mut frame[start..]).ok()?;
    if start + size + END.len() >= json.len() {
        return None;
    }
    frame[..HEADER.len()].copy_from_slice(&HEADER);
    frame[HEADER.len()..start].copy_from_slice(&u32::try_from(size).ok()?.to_le_bytes());
    frame.truncate(start + size);
    frame.extend(END);
    Some(frame)
}

/// The message as it was before it was compressed. One that is no whole frame of ours stays as it
/// is, and is no event then.
pub(super) fn decompressed(mut delivery: Delivery) -> Delivery {
    if let Some(json) = block(&delivery.data).and_then(unfolded) {
        delivery.data = json;
    }
    delivery
}

/// The only block of a frame.
fn block(frame: &[u8]) -> Option<&[u8]> {
    let (size, rest) = frame.strip_prefix(&HEADER)?.split_first_chunk()?;
    let block = rest.strip_suffix(&END)?;
    (block.len() == u32::from_le_bytes(*size) as usize).then_some(block)
}

fn unfolded(block: &[u8]) -> Option<Vec<u8>> {
    let rooms = [(block.len() * USUAL_RATIO).min(MOST), MOST];
    rooms.into_iter().find_map(|room| {
        let mut json = vec![0; room];
        let size = decompress_into(block, &mut json).ok()?;
        json.truncate(size);
        json.shrink_to_fit();
        Some(json)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use lz4_flex::frame::FrameDecoder;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn arrives(body: Vec<u8>) -> Vec<u8> {
        decompressed(Delivery::mock(1, "e".into(), "k".into(), false, body)).data
    }

    fn json() -> Vec<u8> {
        let events = (0..500).map(|number| format!(r#"{{"specversion":"1.0","id":"{number}"}}"#));
        format!("[{}]", events.collect::<Vec<_>>().join(",")).into_bytes()
    }

    #[test]
    fn a_compressed_pack_arrives_as_it_was() {
        for json in [json(), vec![b' '; MOST], vec![b' '; LEAST]] {
            let frame = compressed(&json).unwrap();
            assert!(frame.len() < json.len() / 2);
            assert_eq!(arrives(frame), json);
        }
    }

    #[test]
    fn any_tool_for_lz4_reads_it() {
        let mut read = Vec::new();
        let frame = compressed(&json()).unwrap();
        FrameDecoder::new(&*frame).read_to_end(&mut read).unwrap();
        assert_eq!(read, json());
    }

    /// From a fixed seed.
    fn noise(bytes: usize, seed: u64) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        SmallRng::seed_from_u64(seed).fill(&mut noise[..]);
        noise
    }

    #[test]
    fn noise_in_a_frame_is_no_more_than_a_block_holds() {
        for (seed, bytes) in (1..2_000).map(|bytes| (bytes as u64, bytes)) {
            let size = u32::try_from(bytes).unwrap().to_le_bytes();
            let block = noise(bytes, seed);
            let frame = [HEADER.as_slice(), &size, &block, &END].concat();
            assert!(arrives(frame).len() <= MOST);
        }
    }

    #[test]
    fn what_is_too_small_or_too_large_or_does_not_shrink_travels_as_it_is() {
        assert_eq!(compressed(&noise(LEAST, 1)), None);
        assert_eq!(compressed(&vec![b' '; LEAST - 1]), None);
        assert_eq!(compressed(&vec![b' '; MOST + 1]), None);
    }

    #[test]
    fn what_is_no_whole_frame_arrives_as_it_is() {
        let frame = compressed(&json()).unwrap();
        let cut = frame[..frame.len() / 2].to_vec();
        let mut damaged = frame.clone();
        damaged[HEADER.len() + 4..][..64].fill(0xff);
        let two = [frame.clone(), frame].concat();
        for body in [
            b"[]".to_vec(),
            Vec::new(),
            HEADER.to_vec(),
            cut,
            damaged,
            two,
        ] {
            assert_eq!(arrives(body.clone()), body);
        }
    }
}
