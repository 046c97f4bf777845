//! TCP headers and options from and to octets.

use super::{Flags, Header, Options, Segment, Timestamps};
use crate::ledger::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::seq::SeqNum;
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;
/// Where in the header the checksum stands.
pub const CHECKSUM_AT: usize = std::mem::offset_of!(Layout, checksum);
/// Most octets of options: the data offset has four bits.
pub const MAX_OPTIONS: usize = 40;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    src_port: U16,
    dst_port: U16,
    seq: U32,
    ack: U32,
    offset: u8,
    flags: u8,
    wnd: U16,
    checksum: U16,
    urgent: U16,
}

const _: () = assert!(size_of::<Layout>() == HEADER_LEN);

/// Reads a segment whose checksum was seen to before, into what was [`Segment::empty`]; says its source port and its
/// destination port.
///
/// # Errors
/// [`DropReason::TcpHeader`] when the header is shorter than 20 octets or longer than the segment;
/// [`DropReason::TcpOption`] when an option has length 0 or 1 or reaches beyond the header.
///
/// Deviation: RFC 9293 §3.1 (MUST-7), option with an illegal length. No RST follows, which would help whoever forged it; an
/// option of another length than its kind has is skipped.
#[inline(always)]
pub fn read<'a>(octets: &'a [u8], segment: &mut Segment<'a>) -> Result<(u16, u16), DropReason> {
    let (h, _) = Layout::ref_from_prefix(octets).map_err(|_| DropReason::TcpHeader)?;
    let header_len = usize::from(h.offset >> 4) * 4;
    if header_len < HEADER_LEN {
        return Err(DropReason::TcpHeader);
    }
    let (header, text) = octets.split_at_checked(header_len).ok_or(DropReason::TcpHeader)?;
    let Segment { header: Header { seq, ack, flags, wnd, urgent, options }, text: place } = segment;
    parse_options(&header[HEADER_LEN..], options)?;
    *flags = Flags(h.flags);
    *seq = SeqNum(h.seq.get());
    *ack = SeqNum(if flags.has(Flags::ACK) { h.ack.get() } else { 0 });
    *wnd = h.wnd.get();
    *urgent = if flags.has(Flags::URG) { h.urgent.get() } else { 0 };
    *place = text;
    Ok((h.src_port.get(), h.dst_port.get()))
}

/// Writes a header with its options, all that `buf` has room for; `checksum` makes the field of that name from the sum of
/// the rest.
///
/// # Panics
/// If `buf` is not 20 + [`Options::encoded_len`] octets long.
#[inline(always)]
pub fn emit(buf: &mut [u8], src_port: u16, dst_port: u16, header: &Header, checksum: impl FnOnce(Sum) -> u16) {
    let [offset, flags] = [(buf.len() as u8 / 4) << 4, header.flags.0];
    let words = [
        u32::from(src_port) << 16 | u32::from(dst_port),
        header.seq.0,
        header.ack.0,
        u32::from_be_bytes([offset, flags, 0, 0]) | u32::from(header.wnd),
        u32::from(header.urgent),
    ];
    // Summed from the values: reading back what was just stored in smaller pieces stalls.
    let sum = words.into_iter().fold(Sum::ZERO, Sum::word);
    let (slots, _) = buf.as_chunks_mut::<4>();
    let (head, rest) = slots.split_first_chunk_mut::<5>().expect("room for a header");
    let sum = match (rest, header.options.timestamps) {
        // As nearly every segment.
        ([front, val, ecr], Some(Timestamps { tsval, tsecr })) if !header.options.sack_permitted => {
            let words = [TIMESTAMPS_ALONE, tsval, tsecr];
            [*front, *val, *ecr] = words.map(u32::to_be_bytes);
            words.into_iter().fold(sum, Sum::word)
        }
        ([], _) => sum,
        (rest, _) => emit_options(rest, &header.options, sum),
    };
    *head = words.map(u32::to_be_bytes);
    let [a, b, ..] = &mut head[4];
    [*a, *b] = checksum(sum).to_be_bytes();
}

/// Writes the options; says the sum of them and of what was before.
#[inline(never)]
fn emit_options(slots: &mut [[u8; 4]], options: &Options, sum: Sum) -> Sum {
    if let (Ok(slots), Some(words)) = (<&mut [[u8; 4]; 5]>::try_from(&mut *slots), usual_syn(options)) {
        *slots = words.map(u32::to_be_bytes);
        return words.into_iter().fold(sum, Sum::word);
    }
    let options = Words::of(options);
    for (slot, word) in slots.iter_mut().zip(options.words) {
        *slot = word.to_be_bytes();
    }
    options.words.into_iter().fold(sum, Sum::word)
}

/// Timestamps as most hosts write them, behind two NOPs (RFC 7323, appendix A).
const TIMESTAMPS_ALONE: u32 = u32::from_be_bytes([NOP, NOP, TIMESTAMPS, 10]);
/// Timestamps behind a SACK-permitted, which takes the place of the NOPs.
const SACK_AND_TIMESTAMPS: u32 = u32::from_be_bytes([SACK_PERMITTED, 2, TIMESTAMPS, 10]);
/// A maximum segment size, still without it.
const MSS_FRONT: u32 = u32::from_be_bytes([MSS, 4, 0, 0]);
/// A window scale behind a NOP, still without it.
const SCALE_FRONT: u32 = u32::from_be_bytes([NOP, WINDOW_SCALE, 3, 0]);

impl Options {
    /// Octets that [`emit`] writes for them: a multiple of 4, at most [`MAX_OPTIONS`].
    #[inline(always)]
    pub fn encoded_len(&self) -> usize {
        if self.are_timestamps() {
            return 12;
        }
        let fixed = 4 * usize::from(self.mss.is_some()) + 4 * usize::from(self.window_scale.is_some());
        let fixed = fixed
            + match (self.timestamps.is_some(), self.sack_permitted) {
                (true, _) => 12,
                (false, true) => 4,
                (false, false) => 0,
            };
        match self.sack_that_fits(fixed) {
            0 => fixed,
            blocks => fixed + 4 + 8 * blocks,
        }
    }

    /// Whether they are timestamps and nothing else, as in nearly every segment.
    #[inline(always)]
    fn are_timestamps(&self) -> bool {
        let others = self.sack_permitted || self.mss.is_some() || self.window_scale.is_some();
        self.timestamps.is_some() && !others && self.sack.as_slice().is_empty()
    }

    /// SACK blocks for which there is room behind `used` octets of other options.
    #[inline]
    fn sack_that_fits(&self, used: usize) -> usize {
        self.sack.as_slice().len().min((MAX_OPTIONS - used).saturating_sub(4) / 8)
    }
}

/// The words of a SYN that offers all there is, as [`Words::of`] has them.
#[inline(always)]
fn usual_syn(options: &Options) -> Option<[u32; 5]> {
    let (mss, shift, Timestamps { tsval, tsecr }) = (options.mss?, options.window_scale?, options.timestamps?);
    let (mss, scale) = (MSS_FRONT | u32::from(mss), SCALE_FRONT | u32::from(shift));
    options.sack_permitted.then_some([mss, SACK_AND_TIMESTAMPS, tsval, tsecr, scale])
}

/// Options as 32-bit words in host order. Each is aligned by NOPs in front, as every receiver's fast path expects; a
/// SACK-permitted takes the place of the NOPs in front of timestamps.
struct Words {
    words: [u32; MAX_OPTIONS / 4],
    len: usize,
}

impl Words {
    #[inline]
    fn of(options: &Options) -> Words {
        let mut w = Words { words: [0; MAX_OPTIONS / 4], len: 0 };
        if let Some(mss) = options.mss {
            w.push(MSS_FRONT | u32::from(mss));
        }
        if let Some(Timestamps { tsval, tsecr }) = options.timestamps {
            w.push(if options.sack_permitted { SACK_AND_TIMESTAMPS } else { TIMESTAMPS_ALONE });
            w.push(tsval);
            w.push(tsecr);
        } else if options.sack_permitted {
            w.push(u32::from_be_bytes([NOP, NOP, SACK_PERMITTED, 2]));
        }
        if let Some(shift) = options.window_scale {
            w.push(SCALE_FRONT | u32::from(shift));
        }
        let blocks = options.sack_that_fits(w.len * 4);
        if blocks > 0 {
            w.push(u32::from_be_bytes([NOP, NOP, SACK, 2 + 8 * blocks as u8]));
            for (left, right) in &options.sack.as_slice()[..blocks] {
                w.push(left.0);
                w.push(right.0);
            }
        }
        w
    }

    #[inline]
    fn push(&mut self, word: u32) {
        self.words[self.len] = word;
        self.len += 1;
    }
}

/// Reads options to where they are to stand, as they are large.
#[inline(always)]
fn parse_options(octets: &[u8], options: &mut Options) -> Result<(), DropReason> {
    // What almost every segment after the handshake has (RFC 7323, appendix A).
    if let Some([TIMESTAMPS_ALONE, tsval, tsecr]) = words(octets) {
        options.timestamps = Some(Timestamps { tsval, tsecr });
        return Ok(());
    }
    if octets.is_empty() || is_usual_syn(octets, options) { Ok(()) } else { parse_each(octets, options) }
}

/// Reads the options of a SYN in the order in which Linux, and we, write them; says whether it was that.
#[inline(always)]
fn is_usual_syn(octets: &[u8], options: &mut Options) -> bool {
    let Some([mss, SACK_AND_TIMESTAMPS, tsval, tsecr, scale]) = words(octets) else { return false };
    if mss & !0xffff != MSS_FRONT || scale & !0xff != SCALE_FRONT {
        return false;
    }
    options.mss = Some(mss as u16);
    options.window_scale = Some(scale as u8);
    options.sack_permitted = true;
    options.timestamps = Some(Timestamps { tsval, tsecr });
    true
}

/// Octets as so many words in host order, if they are as many.
#[inline(always)]
fn words<const N: usize>(octets: &[u8]) -> Option<[u32; N]> {
    let (words, []) = octets.as_chunks() else { return None };
    words.as_array().map(|words: &[[u8; 4]; N]| words.map(u32::from_be_bytes))
}

/// A known kind with a length that is not its own is skipped like an unknown kind, as other stacks do: its
/// length still says where the next one begins. Of several of a kind the last counts.
#[inline(never)]
fn parse_each(mut octets: &[u8], options: &mut Options) -> Result<(), DropReason> {
    loop {
        let len = match *octets {
            [] | [END, ..] => return Ok(()),
            [NOP, ..] => 1,
            [_, len, ..] if len >= 2 => usize::from(len),
            _ => return Err(DropReason::TcpOption),
        };
        let (option, rest) = octets.split_at_checked(len).ok_or(DropReason::TcpOption)?;
        match *option {
            [MSS, _, a, b] => options.mss = Some(u16::from_be_bytes([a, b])),
            [WINDOW_SCALE, _, shift] => options.window_scale = Some(shift),
            [SACK_PERMITTED, _] => options.sack_permitted = true,
            [TIMESTAMPS, _, v0, v1, v2, v3, e0, e1, e2, e3] => {
                let [tsval, tsecr] = [[v0, v1, v2, v3], [e0, e1, e2, e3]].map(u32::from_be_bytes);
                options.timestamps = Some(Timestamps { tsval, tsecr });
            }
            [SACK, _, ref blocks @ ..] => {
                if let (blocks, []) = blocks.as_chunks::<8>() {
                    for &[l0, l1, l2, l3, r0, r1, r2, r3] in blocks {
                        let left = u32::from_be_bytes([l0, l1, l2, l3]);
                        options.sack.push(SeqNum(left), SeqNum(u32::from_be_bytes([r0, r1, r2, r3])));
                    }
                }
            }
            _ => {}
        }
        octets = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden::hex;
    use proptest::prelude::*;

    fn options(digits: &str) -> Result<Options, DropReason> {
        let mut options = Options::default();
        parse_options(&hex(digits), &mut options).map(|()| options)
    }

    #[test]
    fn the_usual_options_of_a_syn_are_those_of_any() {
        let octets = hex("020405b4 0402080a 01020304 05060708 01030307");
        let (mut quickly, mut each) = (Options::default(), Options::default());
        assert!(is_usual_syn(&octets, &mut quickly));
        assert!(parse_each(&octets, &mut each).is_ok());
        assert_eq!(quickly, each);
        for other in ["020405b4 0402080a 01020304 05060708 01030207", "020405b4 0402080a 01020304 05060708 01030307 00"]
        {
            assert!(!is_usual_syn(&hex(other), &mut Options::default()), "{other}");
        }
        for changed in [
            Options { mss: None, ..each },
            Options { window_scale: None, ..each },
            Options { timestamps: None, ..each },
            Options { sack_permitted: false, ..each },
        ] {
            assert_eq!(usual_syn(&changed), None);
        }
    }

    proptest! {
        #[test]
        fn a_usual_syn_says_what_it_would_say_in_any_order(mss: u16, shift: u8, tsval: u32, tsecr: u32) {
            let timestamps = Some(Timestamps { tsval, tsecr });
            let options = Options { mss: Some(mss), window_scale: Some(shift), sack_permitted: true, timestamps, ..Options::default() };
            let Words { words, len } = Words::of(&options);
            prop_assert_eq!(usual_syn(&options).map(Vec::from), Some(words[..len].to_vec()));
            let octets: Vec<u8> = words[..len].iter().flat_map(|word| word.to_be_bytes()).collect();
            let mut read = Options::default();
            prop_assert!(is_usual_syn(&octets, &mut read));
            prop_assert_eq!(read, options);
        }
    }

    #[test]
    fn options_with_illegal_lengths_are_refused_and_odd_ones_skipped() {
        let mss = Options { mss: Some(1460), ..Options::default() };
        let table: &[(&str, Result<Options, DropReason>, &str)] = &[
            ("", Ok(Options::default()), "none"),
            ("01010101", Ok(Options::default()), "padding alone"),
            ("020405b4", Ok(mss), "MSS"),
            ("020405b4 00 ff00", Ok(mss), "nothing behind the end is read"),
            ("fd 06 aabbccdd 01 01 020405b4", Ok(mss), "an unknown kind is skipped"),
            ("0203 05 020405b4 01", Ok(mss), "a wrong length for MSS: skipped"),
            ("0303 03 0303 0e 0000", Ok(Options { window_scale: Some(14), ..Options::default() }), "the last counts"),
            ("0402 0000", Ok(Options { sack_permitted: true, ..Options::default() }), "SACK permitted"),
            ("0502 0101", Ok(Options::default()), "SACK without a block"),
            ("0509 00000001 000000 01 0000", Ok(Options::default()), "SACK with part of a block"),
            ("0200 0000", Err(DropReason::TcpOption), "length 0"),
            ("fd00 0000", Err(DropReason::TcpOption), "length 0 of an unknown kind"),
            ("0201 0000", Err(DropReason::TcpOption), "length 1"),
            ("01010204", Err(DropReason::TcpOption), "beyond the header"),
            ("01010102", Err(DropReason::TcpOption), "no room for a length"),
            ("0101080b 00000001 00000002", Err(DropReason::TcpOption), "one octet beyond the header"),
        ];
        for (digits, expected, why) in table {
            assert_eq!(options(digits), *expected, "{why}");
        }
    }

    #[test]
    fn timestamps_are_read_on_the_fast_path_and_off_it() {
        let timestamps = Some(Timestamps { tsval: 1, tsecr: 2 });
        let expected = Ok(Options { timestamps, ..Options::default() });
        assert_eq!(options("0101 080a 00000001 00000002"), expected);
        assert_eq!(options("080a 00000001 00000002 0101"), expected);
    }

    #[test]
    fn five_sack_blocks_do_not_fit_and_four_do() {
        let block = "00000001 00000002";
        let read = options(&format!("0101 0522 {block}{block}{block}{block}")).unwrap();
        assert_eq!(read.sack.as_slice().len(), 4);
        assert_eq!(read.encoded_len(), 36);
        let with_timestamps = Options { timestamps: Some(Timestamps::default()), ..read };
        assert_eq!(with_timestamps.encoded_len(), 40, "three blocks beside timestamps");
    }

    #[test]
    fn data_offset_outside_the_segment_is_refused() {
        let mut segment = [0u8; 24];
        for (words, expected) in [(4, false), (5, true), (6, true), (7, false), (0, false)] {
            segment[12] = words << 4;
            assert_eq!(read(&segment, &mut Segment::empty()).is_ok(), expected, "{words} words");
        }
        assert_eq!(read(&segment[..19], &mut Segment::empty()), Err(DropReason::TcpHeader));
    }
}
